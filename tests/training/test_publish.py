"""What is published fits together where it is put, and says what it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.documents.finish import write_documents
from modelgate_training.documents.publish import publish
from modelgate_training.errors import StageError
from modelgate_training.run_folder import RunFolder

from pytest_modelgate.engines.adapter_files import find_files
from tests.training.finished_run import judged, make_run
from tests.training.support_model import BASE

SCRATCH = {"vocab_size": 2000, "hidden_size": 256, "layers": 2}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return a complete run."""
    run = make_run(tmp_path)
    run.loss_curve.write_text("<svg/>", encoding="utf-8")
    run.modelfile.write_text("FROM ./support-Q4_K_M.gguf\n", encoding="utf-8")
    write_documents(run, BASE, judged(run))
    return run


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return a published manifest."""
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return content


def names(folder: Path) -> set[str]:
    """Return the names of all files, from the folder on."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_published_is_small(run: RunFolder, tmp_path: Path) -> None:
    """Adapter, quantised files, card and what belongs to them; no 16-bit file, no base from elsewhere, no journal."""
    folder = tmp_path / "examples" / "tiny"
    publish(run, folder)
    assert names(folder) == {
        *("adapter/adapter_config.json", "adapter/adapter_model.safetensors", "adapter/README.md"),
        *("support-Q8_0.gguf", "support-Q4_K_M.gguf", "Modelfile", "README.md", "loss.svg", "config.yaml"),
        *("evaluation/summary.md", "manifest.json"),
    }


def test_the_16_bit_file_is_published_where_nothing_was_quantised(tmp_path: Path) -> None:
    """A candidate that is used as it was exported is not left out."""
    run = make_run(tmp_path, export={"name": "support", "quantizations": []})
    write_documents(run, BASE, judged(run))
    publish(run, tmp_path / "out")
    assert {name for name in names(tmp_path / "out") if name.endswith(".gguf")} == {"support-f16.gguf"}


def test_a_published_adapter_finds_its_base(run: RunFolder, tmp_path: Path) -> None:
    """The base is named as seen from the published folder; the gate loads the two without being told."""
    folder = tmp_path / "deep" / "er" / "tiny"
    publish(run, folder)
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert not Path(config["base_model_name_or_path"]).is_absolute()
    assert find_files(folder / "adapter", None).model.resolve() == BASE.resolve()


def test_a_base_that_was_made_here_goes_with_its_adapter(tmp_path: Path) -> None:
    """It is copied, and the adapter names the copy: the folder can be moved as a whole."""
    run = make_run(tmp_path, base={"scratch": SCRATCH})
    shutil.copytree(BASE, run.base)
    write_documents(run, run.base, judged(run))
    publish(run, tmp_path / "out")
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    config = json.loads((moved / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "../base"
    assert find_files(moved / "adapter", None).model.resolve() == (moved / "base").resolve()


def test_a_base_from_the_hub_keeps_its_name(tmp_path: Path) -> None:
    """A name on the Hub is no folder, and is left alone."""
    run = make_run(tmp_path, base={"path": "Qwen/Qwen2.5-0.5B-Instruct"})
    before = (run.adapter / "adapter_config.json").read_bytes()
    write_documents(run, BASE, judged(run))
    publish(run, tmp_path / "out")
    assert (tmp_path / "out" / "adapter" / "adapter_config.json").read_bytes() == before


def test_the_published_manifest_lists_the_files_as_they_lie(run: RunFolder, tmp_path: Path) -> None:
    """Every published file is listed with its hash; without that list the manifest is the run's own, which card and registry name."""
    folder = tmp_path / "out"
    publish(run, folder)
    manifest = manifest_of(folder)
    published = manifest.pop("published")
    assert {one["file"]: one["sha256"] for one in published["files"]} == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names(folder) - {"manifest.json"}
    }
    assert manifest == manifest_of(run.path)
    assert published["manifest_sha256"] == hashlib.sha256(run.manifest.read_bytes()).hexdigest()
    assert published["manifest_sha256"] in (folder / "README.md").read_text(encoding="utf-8")


def test_files_of_others_stay_and_a_second_time_replaces_the_first(run: RunFolder, tmp_path: Path) -> None:
    """Rows and notes beside the published files are left alone; what the adapter's folder held before is gone."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "train.jsonl").write_text("{}\n", encoding="utf-8")
    publish(run, folder)
    (folder / "adapter" / "old.safetensors").write_text("", encoding="utf-8")
    publish(run, folder)
    assert "train.jsonl" in names(folder)
    assert "adapter/old.safetensors" not in names(folder)


def test_a_run_that_is_not_complete_is_not_published(run: RunFolder, tmp_path: Path) -> None:
    """Without a manifest there is nothing to vouch for the files, and nothing is copied."""
    run.manifest.unlink()
    with pytest.raises(StageError, match="no manifest: the run is not complete"):
        publish(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_copy_that_fails_leaves_no_manifest(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk is full half-way, an earlier manifest does not vouch for the new files."""
    folder = tmp_path / "out"
    publish(run, folder)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        publish(run, folder)
    assert not (folder / "manifest.json").exists()


def test_folders_of_others_are_left_alone(run: RunFolder, tmp_path: Path) -> None:
    """A folder called adapter that no run put there is not replaced."""
    kept = tmp_path / "mine" / "adapter" / "notes.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine", encoding="utf-8")
    with pytest.raises(StageError, match="adapter is there and was not published by a run"):
        publish(run, tmp_path / "mine")
    assert kept.read_text(encoding="utf-8") == "mine"
