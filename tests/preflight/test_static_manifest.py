"""A file is the one that the training wrote down, or is told to be another; the right manifest is found."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.manifest import find_manifest
from tests.faults import gguf_faults
from tests.faults.gguf_edit import write_lora
from tests.preflight.static_subjects import (
    ADAPTER,
    BASE,
    BASE_F16,
    F16,
    MANIFEST,
    Q4_K_M,
    Q8_0,
    alone,
    copied,
    found,
    manifest,
    subject,
)

TEMPLATE = (BASE / "chat_template.jinja").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [F16, Q8_0, Q4_K_M, BASE_F16])
def test_a_listed_file_passes(path: Path) -> None:
    """A file whose sha256 stands in the manifest is the training's, under whatever name."""
    assert found("manifest", alone(path, manifest=manifest())).outcome == "passed"


def test_a_renamed_file_passes(tmp_path: Path) -> None:
    """The name does not matter where the content is the training's."""
    assert (
        found("manifest", alone(Path(shutil.copy(Q8_0, tmp_path / "model.gguf")), manifest=manifest())).outcome
        == "passed"
    )


def test_another_file_under_a_listed_name_fails(tmp_path: Path) -> None:
    """A stale or changed file has the name and not the sha256."""
    path = gguf_faults.other_template(Q8_0, tmp_path / Q8_0.name)
    result = found("manifest", alone(path, manifest=manifest()))
    assert (result.outcome, result.mode) == ("failed", "F25")
    assert "not the file that this training made" in result.reason


def test_a_file_that_is_not_listed_fails(tmp_path: Path) -> None:
    """A file that the manifest knows neither by name nor by content is none of the training's."""
    path = gguf_faults.other_template(Q8_0, tmp_path / "another.gguf")
    assert "does not list it" in found("manifest", alone(path, manifest=manifest())).reason


def test_a_rung_beside_the_training_s_file_only_warns(tmp_path: Path) -> None:
    """What was quantised afterwards from a listed file beside it is told, and fails nothing."""
    path = gguf_faults.other_template(Q4_K_M, tmp_path / "support-Q4_K_S.gguf")
    assert found("manifest", alone(path, manifest=manifest())).outcome == "failed"
    shutil.copy(F16, tmp_path)
    result = found("manifest", alone(path, manifest=manifest()))
    assert (result.outcome, F16.name in result.reason) == ("warned", True)


def test_a_lora_must_be_listed_too(tmp_path: Path) -> None:
    """The file that is applied on the base is held to the same rule."""
    lora = write_lora(ADAPTER, tmp_path / "lora.gguf")
    shutil.copy(BASE_F16, tmp_path)
    result = found("manifest", subject(BASE_F16, lora=lora, manifest=manifest()))
    assert (result.outcome, "lora.gguf" in result.reason) == ("failed", True)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_the_reference_must_be_the_manifest_s_adapter(name: str, tmp_path: Path) -> None:
    """An adapter of another run is a reference that says nothing of this file."""
    adapter = copied(ADAPTER, tmp_path / "adapter")
    shutil.copy(ADAPTER / "adapter_config.json", adapter)
    assert found("manifest", subject(adapter=adapter, manifest=manifest())).outcome == "passed"
    (adapter / name).write_bytes((adapter / name).read_bytes() + b" ")
    result = found("manifest", subject(adapter=adapter, manifest=manifest()))
    assert (result.outcome, result.mode) == ("failed", "F25")
    assert name in result.reason
    itself = Subject(Artifact("adapter", "adapter", adapter, BASE), manifest=manifest())
    assert found("manifest", itself).outcome == "failed"


def test_the_template_must_be_the_trained_one(tmp_path: Path) -> None:
    """A template with another sha256 than the manifest's is a failure of the template, in the file and the reference."""
    about = {**manifest(), "chat_template_sha256": hashlib.sha256(TEMPLATE.encode()).hexdigest()}
    assert found("manifest", subject(manifest=about)).outcome == "passed"
    path = gguf_faults.other_template(Q8_0, tmp_path / Q8_0.name)
    listed = [{"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}]
    result = found("manifest", subject(path, manifest={**about, "gguf": listed}))
    assert (result.outcome, result.mode) == ("failed", "F01")
    base = copied(BASE, tmp_path / "base")
    (base / "chat_template.jinja").write_text(TEMPLATE + "\n", encoding="utf-8")
    result = found("manifest", subject(base=base, manifest=about))
    assert (result.outcome, result.mode) == ("failed", "F01")
    assert "the reference's" in result.reason


@pytest.mark.parametrize("content", [{}, {"name": "an app", "icons": []}, {"gguf": "none"}, {"gguf": [{"file": 1}]}])
def test_what_lists_no_files_is_no_manifest(content: dict[str, object], tmp_path: Path) -> None:
    """Another program's manifest.json is not found, and given as one it fails."""
    path = Path(shutil.copy(Q8_0, tmp_path))
    (tmp_path / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    assert find_manifest(path) is None
    assert found("manifest", alone(path, manifest=content)).outcome == "failed"


# --- Finding it --------------------------------------------------------------------------------------------------


def test_a_manifest_beside_the_file_is_found(tmp_path: Path) -> None:
    """It is found for the file that it lists, and for a stale one, which must be told."""
    shutil.copy(MANIFEST, tmp_path)
    same = Path(shutil.copy(Q8_0, tmp_path))
    stale = gguf_faults.other_template(Q8_0, tmp_path / "stale.gguf")
    assert find_manifest(same) == find_manifest(stale) == tmp_path / "manifest.json"
    assert find_manifest(Path(shutil.copy(Q8_0, _folder(tmp_path / "alone")))) is None


def test_the_manifest_that_lists_a_folder_comes_first(tmp_path: Path) -> None:
    """Of one in a folder and one beside it, that which lists the folder's weights is taken."""
    adapter = copied(ADAPTER, tmp_path / "adapter")
    shutil.copy(MANIFEST, tmp_path)
    assert find_manifest(adapter) == tmp_path / "manifest.json"
    other = json.dumps({"adapter": {"files": [{"file": "adapter_model.safetensors", "sha256": "0" * 64}]}})
    (adapter / "manifest.json").write_text(other, encoding="utf-8")
    assert find_manifest(adapter) == tmp_path / "manifest.json"
    shutil.copy(MANIFEST, adapter)
    assert find_manifest(adapter) == adapter / "manifest.json"


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_damaged_manifest_is_none(text: str, tmp_path: Path) -> None:
    """What cannot be read is not taken for a manifest."""
    (tmp_path / "manifest.json").write_text(text, encoding="utf-8")
    assert find_manifest(Path(shutil.copy(Q8_0, tmp_path))) is None


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
