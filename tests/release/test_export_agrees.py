"""The support candidate's exports are its adapter: the same answers, the same logits."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_modelgate.preflight.command import preflight
from pytest_modelgate.release import Release, load_release, load_rules
from pytest_modelgate.runner import TargetRun
from pytest_modelgate.specs import parse_specs

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "examples" / "support"

pytestmark = [pytest.mark.model, pytest.mark.slow]


def answers(release: Release) -> dict[str, dict[str, str]]:
    """Return every golden answer of each target that answers cases."""
    golden = [case for case in release.cases if case.suite == "golden"]
    found = {}
    for target in release.targets:
        run = TargetRun(release, target, golden, None)
        found[target.id] = {case.id: run.record(case).output for case in golden}
        run.close()
    return found


def test_q8_0_answers_golden_as_the_adapter_does() -> None:
    """Of all golden cases Q8_0's answer is the adapter's, character by character."""
    specs = parse_specs([str(SUPPORT / "support-Q8_0.gguf")], ROOT, references=[str(SUPPORT / "adapter")])

    found = answers(load_release(load_rules(ROOT / "gates.toml"), specs, None))

    assert len(found["adapter"]) == 124
    assert found["support-Q8_0"] == found["adapter"]


def test_f16_computes_what_the_adapter_does() -> None:
    """Teacher-forced on golden answers f16's logits are the adapter's, to an NMSE below 1e-6."""
    given = [str(SUPPORT / "adapter"), str(SUPPORT / "support-f16.gguf")]

    results = {one.check: one for one in preflight(given, ROOT / "gates.toml", ("logits",))}

    assert {one.outcome for one in results.values()} == {"passed"}
    assert results["logits_parity"].figures["nmse"] < 1e-6
    assert results["logits_parity"].figures["top1_agreement"] == 1.0
