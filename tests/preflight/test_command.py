"""``modelgate preflight A B`` checks B against A, without a test run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_modelgate.cli import main
from tests.faults.gguf_faults import no_template, other_template

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "examples" / "support"
ADAPTER, F16 = str(SUPPORT / "adapter"), SUPPORT / "support-f16.gguf"
GATES = ("--gates", str(ROOT / "gates.toml"))

pytestmark = pytest.mark.model


def test_good_export_passes(capsys: pytest.CaptureFixture[str]) -> None:
    """An export that is its adapter's raises nothing, and every prompt of the suites was compared."""
    code = main(["preflight", ADAPTER, str(F16), *GATES, "--stage", "static", "--stage", "tokenizer"])

    out = capsys.readouterr().out
    assert code == 0
    assert "503 prompts are the same text on both sides" in out
    assert "failed" not in out


def test_broken_export_fails_with_its_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another template fails, is shown where it differs, and is named as the cause."""
    broken = other_template(F16, tmp_path / "support-f16.gguf")

    code = main(["preflight", ADAPTER, str(broken), *GATES, "--stage", "tokenizer"])

    out = capsys.readouterr().out
    assert code == 1
    assert "failed       chat_template            F01" in out
    assert "likely cause: F01, the chat template is another one than in training" in out


def test_file_alone_is_checked_for_what_it_can_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a reference a missing template is still found; what needs a reference says so."""
    broken = no_template(F16, tmp_path / "support-f16.gguf")

    code = main(["preflight", str(broken), "--json", "--stage", "tokenizer"])

    found = {one["check"]: one for one in json.loads(capsys.readouterr().out)}
    assert code in {1, 4}
    assert found["chat_template"]["outcome"] == "failed"
    assert found["token_ids"]["outcome"] == "not checked"
    assert "--reference" in found["token_ids"]["reason"]


def test_list_says_what_each_check_looks_for(capsys: pytest.CaptureFixture[str]) -> None:
    """--list names every check with its stage, its failure mode and what a pass means."""
    assert main(["preflight", "--list"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("tokenizer  token_ids") and " F02 " in line for line in lines)
    assert len({line.split()[1] for line in lines}) == len(lines)


def test_nothing_to_check_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a SPEC the command says how it is used."""
    assert main(["preflight"]) == 4
    assert "modelgate preflight adapter/ model.gguf" in capsys.readouterr().err


def test_server_has_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no file cannot be looked into."""
    assert main(["preflight", "http://127.0.0.1:1/v1#m"]) == 4
    assert "a preflight looks into files" in capsys.readouterr().err
