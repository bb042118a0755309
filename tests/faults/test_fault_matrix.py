"""
Every planted fault is caught, and for most the cause that is named is the planted one.

What was found is written down in docs/faults.json and docs/faults.md. The one test that finds it anew fails where they say
otherwise, and writes them where MODELGATE_WRITE_FAULTS=1 is set.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pytest

from tests.faults.candidate import ROOT, GoodCandidate, good_candidate
from tests.faults.gated import failed_gates
from tests.faults.kit import FAULTS
from tests.faults.matrix import GIVEN, Row, answers, checked, from_json, row, to_json, to_markdown
from tests.faults.shared_probes import SharedProbes

JSON, MARKDOWN = ROOT / "docs" / "faults.json", ROOT / "docs" / "faults.md"
WHOLE = GIVEN[-1]

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # peft 0.21 and transformers 5.23 warn of each other


@pytest.fixture(scope="module")
def good() -> GoodCandidate:
    """Return the tiny candidate of the support task."""
    return good_candidate()


@pytest.fixture
def probes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedProbes]:
    """Let all preflights of a test share the probes of what they have in common."""
    shared = SharedProbes(tmp_path_factory.mktemp("probes"))
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith("pytest_modelgate.") and hasattr(module, "open_probe"):
                patch.setattr(module, "open_probe", shared)
        yield shared
    shared.end()


@pytest.fixture(scope="module")
def written() -> list[Row]:
    """Return the published rows."""
    return from_json(JSON.read_text(encoding="utf-8"))


def test_every_fault_is_written_down(written: list[Row]) -> None:
    """There are at least 28 faults, each with what was seen of the file alone, with reference, and with manifest."""
    assert [(one.fault, one.given) for one in written] == [(name, given) for name in FAULTS for given in GIVEN]
    assert len(FAULTS) >= 28


def test_every_fault_is_caught(written: list[Row]) -> None:
    """Where reference and manifest are given, no planted fault passes every check."""
    assert [one.fault for one in written if one.given == WHOLE and not one.caught] == []
    assert all(one.by for one in written if one.caught)


def test_most_faults_are_named_rightly(written: list[Row]) -> None:
    """At least four of five are attributed to what was planted."""
    found = [one for one in written if one.given == WHOLE]
    assert sum(one.attributed for one in found) >= 0.8 * len(found)


def test_the_page_says_what_the_data_says(written: list[Row]) -> None:
    """The table that a person reads is made of the rows."""
    assert MARKDOWN.read_text(encoding="utf-8") == to_markdown(written)


@pytest.mark.model
@pytest.mark.usefixtures("probes")
def test_the_good_candidate_passes(good: GoodCandidate) -> None:
    """What the faults are planted in fails no check, whatever is given."""
    for gguf in (good.f16, good.q8_0):
        for results in checked(good, good.broken(gguf)).values():
            assert [one.reason for one in results if one.outcome == "failed"] == []


@pytest.mark.model
@pytest.mark.slow
def test_what_is_written_is_what_is_found(
    good: GoodCandidate, probes: SharedProbes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Planted anew, every fault is seen by the checks that docs/faults.json names."""
    usual = answers(good, good.q8_0)
    found: list[Row] = []
    for name, fault in FAULTS.items():
        folder = tmp_path_factory.mktemp("fault")
        broken = fault(good, folder)
        changed = answers(good, broken.gguf, broken.lora) != usual
        gates = set(failed_gates(broken, folder / "gated").values()) if broken.grammar else set()
        results = checked(good, broken)
        found += [row(name, given, broken, results[given], gates, changed=changed) for given in GIVEN]
        probes.end(beside=folder)
    if os.environ.get("MODELGATE_WRITE_FAULTS") == "1":
        JSON.write_text(to_json(found), encoding="utf-8")
        MARKDOWN.write_text(to_markdown(found), encoding="utf-8")
    written = from_json(JSON.read_text(encoding="utf-8"))
    differing = [json.loads(to_json([one]))[0] for one, old in zip(found, written, strict=True) if one != old]
    assert differing == [], "run this with MODELGATE_WRITE_FAULTS=1 to write it down anew"
