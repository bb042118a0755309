"""``modelgate quantize`` makes a ladder of files from one in full precision."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_modelgate.cli import main
from pytest_modelgate.gguf_file import read_gguf_facts

SUPPORT = Path(__file__).parents[1] / "examples" / "support"
F16 = SUPPORT / "support-f16.gguf"


@pytest.mark.model
def test_ladder_is_written_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each type becomes a file named after it, of the label that it says, and a line with its real bits per weight."""
    code = main(["quantize", str(F16), "--to", "Q8_0,Q4_K_M", "--out", str(tmp_path / "ladder")])

    assert code == 0
    labels = {path.name: read_gguf_facts(path).quantization for path in (tmp_path / "ladder").iterdir()}
    assert labels == {"support-Q8_0.gguf": "Q8_0", "support-Q4_K_M.gguf": "Q4_K_M"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["file", "support-Q8_0.gguf", "support-Q4_K_M.gguf"]
    assert lines[1].split()[2] == "8.53"


def test_quantised_source_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second loss on top of a first one is not made."""
    code = main(["quantize", str(SUPPORT / "support-Q8_0.gguf"), "--to", "Q4_K_M", "--out", str(tmp_path)])

    assert code == 4
    assert "support-Q8_0.gguf: is Q8_0: quantise the file in F16, BF16 or F32" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_unknown_type_is_named_with_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt type is a mistake before anything is written."""
    code = main(["quantize", str(F16), "--to", "Q8_0,Q4_KM", "--out", str(tmp_path)])

    assert code == 4
    error = capsys.readouterr().err
    assert "--to Q4_KM: is unknown" in error
    assert "Q4_K_M" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.model
def test_older_file_is_not_taken_for_this_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is older than its source may be of an earlier run: it is neither kept nor overwritten unasked."""
    old = tmp_path / "support-Q8_0.gguf"
    old.write_bytes(b"old")
    os.utime(old, (1, 1))
    given = ["quantize", str(F16), "--to", "Q8_0", "--out", str(tmp_path)]

    assert main(given) == 4
    assert "is older than support-f16.gguf" in capsys.readouterr().err
    assert old.read_bytes() == b"old"

    assert main([*given, "--force"]) == 0
    assert read_gguf_facts(old).quantization == "Q8_0"


def test_source_that_is_no_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no GGUF is a mistake, told in one line."""
    path = tmp_path / "notes.gguf"
    path.write_text("hello")

    assert main(["quantize", str(path), "--to", "Q8_0"]) == 4
    assert capsys.readouterr().err.count("\n") == 1
