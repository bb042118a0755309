"""The manifest says what a candidate was made of and how it was judged, and stands where the run is complete alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader
from modelgate_training.config_file import config_sha256, load_config
from modelgate_training.documents import finish as finishing
from modelgate_training.documents.finish import SETTINGS, write_documents
from modelgate_training.documents.manifest import build_manifest, candidates, render
from modelgate_training.evaluation import Evaluation
from modelgate_training.registry import read
from modelgate_training.run_folder import RunFolder

from pytest_modelgate.evidence import gather_evidence
from pytest_modelgate.gates_file import load_gates_file
from pytest_modelgate.identity import FileHashes
from pytest_modelgate.specs import parse_spec
from pytest_modelgate.targets import prepare_target
from tests.training.finished_run import FACTS, VERSION, judged, make_run
from tests.training.support_model import BASE


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Evaluation]:
    """Return a run whose documents are written."""
    run = make_run(tmp_path_factory.mktemp("manifest"), registry="registry")
    found = judged(run)
    write_documents(run, BASE, found)
    return run, found


@pytest.fixture
def manifest(written: tuple[RunFolder, Evaluation]) -> dict[str, Any]:
    """Return the manifest of a run."""
    content: dict[str, Any] = json.loads(written[0].manifest.read_text(encoding="utf-8"))
    return content


def sha256(path: Path) -> str:
    """Hash a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_every_file_is_named_by_its_hash(written: tuple[RunFolder, Evaluation], manifest: dict[str, Any]) -> None:
    """Base (also one that lies elsewhere), adapter, GGUF files, rows and suites: each is listed with its sha256."""
    run, _ = written
    folders = {"base": BASE, "adapter": run.adapter}
    for name, folder in folders.items():
        listed = {one["file"]: one["sha256"] for one in manifest[name]["files"]}
        # The card, which lies in the adapter's folder too, names the manifest's hash: it cannot stand in it.
        assert listed == {path.name: sha256(path) for path in folder.iterdir() if path.name != "README.md"}
    files = {one["file"]: one["sha256"] for one in manifest["gguf"]}
    assert files == {path.name: sha256(path) for path in run.path.glob("*.gguf")}
    assert len(files) == 4
    data = manifest["data"]
    for one in [*data["train"], *data["suites"], *data["prompts"], data["gates"]]:
        assert one["sha256"] == sha256(run.root / one["file"])
    assert {one["file"] for one in data["suites"]} == {
        f"{suite}/support.jsonl" for suite in ("golden", "adversarial", "heldout")
    }


def test_bits_per_weight_are_the_files_own(written: tuple[RunFolder, Evaluation], manifest: dict[str, Any]) -> None:
    """What the manifest says of a GGUF file is what another reader counts in it."""
    run, _ = written
    for one in manifest["gguf"]:
        tensors = GGUFReader(str(run.path / one["file"])).tensors
        bits = 8 * sum(int(tensor.n_bytes) for tensor in tensors) / sum(int(tensor.n_elements) for tensor in tensors)
        assert one["bits_per_weight"] == pytest.approx(bits, abs=0.006)


def test_what_the_stages_found_is_taken_over(written: tuple[RunFolder, Evaluation], manifest: dict[str, Any]) -> None:
    """Data set version, counts, label audit, speed, seconds, seeds, template and configuration are all there."""
    run, _ = written
    assert manifest["data"]["version"] == VERSION
    assert manifest["data"]["counts"] == FACTS["prepare"]["counts"]
    assert manifest["training"] == FACTS["train"]
    assert manifest["seconds"] == dict.fromkeys(
        ("prepare", "base", "baseline", "train", "merge", "export", "quantize"), 12.5
    )
    assert manifest["seeds"] == {"data": 7, "base": None, "training": 13}
    template = (BASE / "chat_template.jinja").read_bytes()
    assert manifest["chat_template_sha256"] == hashlib.sha256(template).hexdigest()
    assert manifest["config_sha256"] == config_sha256(run.config)
    assert manifest["libraries"]["torch"]
    assert manifest["machine"]["cores"] >= 1


def test_the_evaluation_is_what_the_gate_reported(
    written: tuple[RunFolder, Evaluation], manifest: dict[str, Any]
) -> None:
    """Verdict, gates and primary metrics of base and candidate stand in the manifest, with the report's hash."""
    run, found = written
    report = json.loads((run.evaluation / "report.json").read_text(encoding="utf-8"))
    evaluation = manifest["evaluation"]
    assert evaluation["verdict"] == report["verdict"] == "blocked"  # recordings have neither card nor data version
    assert evaluation["gates"] == report["gates"]
    assert evaluation["report_sha256"] == sha256(run.evaluation / "report.json")
    assert {name: one["figures"] for name, one in evaluation["targets"].items()} == {
        name: found.figures(name) for name in ("adapter", "Q8_0", "Q4_K_M", "base")
    }


def test_the_registry_has_a_row_of_the_run(written: tuple[RunFolder, Evaluation], manifest: dict[str, Any]) -> None:
    """The row names what the run was, what it made and how it was judged, and the very manifest."""
    run, found = written
    (row,) = read(run.root / "registry" / "runs.jsonl")
    assert row["manifest_sha256"] == sha256(run.manifest)
    assert row["adapter_sha256"] == sha256(run.adapter / "adapter_model.safetensors")
    assert row["gguf"] == {one["file"]: one["sha256"] for one in manifest["gguf"]}
    assert (row["run"], row["dataset_version"], row["verdict"]) == ("run", VERSION, "blocked")
    assert row["config_sha256"] == config_sha256(run.config)
    assert row["base"] == {"path": str(BASE), "revision": "base"}
    figure = found.figures("adapter")["support"]
    assert row["primary"]["adapter"]["support"] == {key: figure[key] for key in ("metric", "golden", "heldout")}


def test_the_settings_make_the_same_run_again(written: tuple[RunFolder, Evaluation]) -> None:
    """The configuration that is written beside the manifest resolves to the same values."""
    run, _ = written
    assert load_config(str(run.path / SETTINGS)) == run.config


@pytest.mark.parametrize("name", ["adapter", "Q4_K_M"])
def test_the_gate_finds_card_and_data_version(written: tuple[RunFolder, Evaluation], name: str) -> None:
    """A later ``pytest --model`` on the run's files sees the card, and the version of the data they were trained on."""
    run, _ = written
    path = run.adapter if name == "adapter" else candidates(run)[name]
    target = prepare_target(
        parse_spec(f"{path},base={BASE}" if name == "adapter" else str(path), run.root),
        load_gates_file(run.tasks.path).generation,
        FileHashes(None),
    )
    evidence = gather_evidence(target, run.root / "reviews.jsonl", FileHashes(None))
    assert evidence == {"model_card": True, "dataset_version": True, "report_reviewed": False}


def test_nothing_looks_complete_before_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing the card fails, there is neither a manifest nor a row; the manifest is the last file of all."""
    run = make_run(tmp_path, registry="registry")
    found = judged(run)
    order = []
    original = finishing.write_text

    def watched(path: Path, text: str) -> None:
        order.append(path.name)
        original(path, text)

    monkeypatch.setattr(finishing, "write_text", watched)
    write_documents(run, BASE, found)
    assert order[-3:] == ["README.md", "README.md", "manifest.json"]

    run.manifest.unlink()

    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(finishing, "build_card", full)
    with pytest.raises(OSError, match="No space"):
        write_documents(run, BASE, found)
    assert not run.manifest.exists()
    assert len(read(run.root / "registry" / "runs.jsonl")) == 1


def test_a_manifest_holds_no_number_that_json_lacks(tmp_path: Path) -> None:
    """A loss that is no number cannot slip into a manifest that other programs could not read."""
    run = make_run(tmp_path)
    manifest = build_manifest(run, BASE)
    assert json.loads(render(manifest)) == manifest
    manifest["training"]["loss"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        render(manifest)
