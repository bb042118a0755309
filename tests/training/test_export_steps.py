"""From adapter to files: the stages that write GGUF files, on the committed tiny model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader
from modelgate_training.config import Config
from modelgate_training.data.rows import Row, write_rows
from modelgate_training.errors import StageError
from modelgate_training.export import gguf, steps
from modelgate_training.export.gguf import describe
from modelgate_training.export.merge import merge_adapter
from modelgate_training.run_folder import RunFolder

from tests.training.conftest import Project, rows
from tests.training.support_model import ADAPTER, BASE, BASE_F16, F16, need_converter, rewrite

pytestmark = [
    pytest.mark.model,
    # peft 0.21 asks transformers 5.23 for it.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


@pytest.fixture
def run(project: Project) -> RunFolder:
    """Return a run whose adapter was trained, with prepared rows."""
    need_converter()
    project.config["base"] = {"path": str(BASE), "own_tokenizer": True}
    project.config["export"] = {
        "name": "tiny",
        "quantizations": ["Q8_0", "Q4_K_M"],
        "lora": True,
        "imatrix": {"rows": 8},
    }
    found = RunFolder(Config.model_validate(project.config))
    shutil.copytree(ADAPTER, found.adapter)
    rewrite(found.adapter / "adapter_config.json", base_model_name_or_path=str(BASE))
    learned = [
        Row(
            str(number),
            "tickets",
            row["input"],
            json.dumps(row["expected"]),
            row["expected"],
            "g",
            f"train.jsonl:{number}",
        )
        for number, row in enumerate(rows(), 1)
    ]
    write_rows(found.train_rows, learned)
    return found


def tensors(path: Path) -> dict[str, bytes]:
    """Return the content of each tensor of a GGUF."""
    return {tensor.name: tensor.data.tobytes() for tensor in GGUFReader(str(path)).tensors}


def test_an_adapter_becomes_files(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """Merged, converted and quantised, the committed adapter gives the committed f16 file, and all that goes with it."""
    merge_adapter(BASE, run.adapter, run.merged)
    exported = steps.export(run)
    assert tensors(run.f16) == tensors(F16)
    assert exported[run.f16.name] == describe(run.f16)
    assert exported["lora"]["tensors"] == 28
    assert describe(run.lora_gguf)["tensor_types"] == {"F32": 28}

    quantised = steps.quantize(run)
    imatrix = quantised["imatrix"]
    path = steps.imatrix_path(run)
    assert (imatrix["matrices"], imatrix["calibration"]["rows"], imatrix["calibration"]["rows_read"]) == (14, 8, 48)
    assert imatrix["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(imatrix["calibration"]["files"]) == ["run/prepared/train.jsonl"]
    for name, file in run.quantised():
        assert quantised[file.name]["quantization"] == name
        assert quantised[file.name]["fallback_share"] == 0.0
    modelfile = run.modelfile.read_text(encoding="utf-8")
    assert "FROM ./tiny-Q4_K_M.gguf" in modelfile
    assert 'SYSTEM """Label the message.' in modelfile
    assert "PARAMETER num_predict 32\n" in modelfile
    assert quantised["modelfile"]["from"] == "tiny-Q4_K_M.gguf"
    assert not list(run.path.glob(".*"))
    json.dumps([exported, quantised])

    said = capsys.readouterr().out
    assert "export: tiny-f16.gguf 4.24 MB, 16.02 bits per weight (15 F16, 11 F32)\n" in said
    assert "export: tiny-lora.gguf 1.25 MB, rank 32, alpha 64\n" in said
    assert "quantize: importance of 14 matrices from 8 rows" in said
    assert "quantize: Modelfile for tiny-Q4_K_M.gguf: its ChatML template" in said


def test_the_base_is_exported_beside_it(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The untuned base is converted in the candidate's type, and what the file holds is said by its name."""
    asked: list[str] = []

    def copying(_script: str, target: Path, arguments: Sequence[str], **_: Any) -> None:
        asked.extend(arguments)
        shutil.copyfile(BASE_F16, target)

    monkeypatch.setattr(gguf, "run_converter", copying)
    facts = steps.export_base(run, BASE)
    assert asked == [str(BASE), "--outtype", "f16"]
    assert facts == {run.base_gguf.name: describe(run.base_gguf)}


def test_a_leak_stops_the_quantisation_before_it_starts(run: RunFolder, project: Project) -> None:
    """With an evaluation case among the calibration rows nothing is quantised."""
    project.write_rows("calib.jsonl", [{"input": "A parrot ate the receipt"}])
    project.config["export"]["imatrix"]["calibration"] = "calib.jsonl"
    leaking = RunFolder(Config.model_validate(project.config))
    shutil.copyfile(F16, run.f16)
    shutil.copytree(BASE, run.merged)
    with pytest.raises(StageError, match=r"calib\.jsonl:1 equals heldout\.jsonl:1"):
        steps.quantize(leaking)
    assert not list(run.path.glob("*Q*.gguf"))


@pytest.mark.parametrize("wanted", [True, False])
def test_a_stale_modelfile_is_taken_away(project: Project, run: RunFolder, *, wanted: bool) -> None:
    """What an earlier run wrote does not stay beside other files, whether a new one is written or not."""
    project.config["export"] = {"name": "tiny", "quantizations": [], "modelfile": wanted}
    bare = RunFolder(Config.model_validate(project.config))
    shutil.copyfile(F16, run.f16)
    bare.modelfile.write_text("stale", encoding="utf-8")
    facts: dict[str, Any] = steps.quantize(bare)
    assert bare.modelfile.exists() == wanted
    assert facts.get("modelfile", {}).get("from") == ("tiny-f16.gguf" if wanted else None)
