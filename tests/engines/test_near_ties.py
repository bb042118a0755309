"""The engine's batches give what deployment gives, on real files; what is too near is decided as deployed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.engines.llama import LlamaModel
from pytest_modelgate.engines.llama_batch import SharedContext
from pytest_modelgate.engines.near_ties import NearTies, largest_difference
from pytest_modelgate.records import Generation, Json, Message, Request
from tests.engines.conftest import answered

ROOT = Path(__file__).parents[2]
FILES = {name: ROOT / f"examples/support/support-{name}.gguf" for name in ("f16", "Q8_0", "Q4_K_M")}


@cache
def cases() -> list[Json]:
    """Return every sixteenth case of the support task."""
    suites = [ROOT / suite / "support.jsonl" for suite in ("golden", "heldout", "adversarial")]
    lines = [line for suite in suites for line in suite.read_text(encoding="utf-8").splitlines()]
    return [json.loads(line) for line in lines[::16]]


def requests(drafts: str = "none") -> list[Request]:
    """Return requests with drafts that are right, wrong or not there."""
    system = (ROOT / "golden/support.system.txt").read_text(encoding="utf-8").strip()
    found = []
    for number, case in enumerate(cases()):
        right = json.dumps(case.get("expected") or {"intent": "other"})
        guesses = {
            "none": (),
            "right": (right,),
            "half-wrong": ("The quick brown fox",) if number % 2 else (right.replace("intent", "topic"), right),
            "nonsense": ("The quick brown fox " * 9,),
        }[drafts]
        messages = (Message("system", system), Message("user", str(case["input"])))
        found.append(Request(str(number), 64, messages=messages, drafts=guesses))
    return found


def run(
    name: str, drafts: str = "none", *, batch_size: int = 8, n_seq: int | None = None
) -> tuple[dict[str, Generation], Json]:
    """Run the cases; return the generations and what the engine tells of its batches."""
    engine = GgufEngine(FILES[name], EngineSettings(n_ctx=1024, n_threads=1, batch_size=batch_size, n_seq=n_seq))
    found = {key: answered(result) for key, result in engine.generate(requests(drafts))}
    facts = engine.describe().facts
    engine.close()
    return found, facts


@cache
def one_by_one(name: str) -> dict[str, Generation]:
    """Return what deployment gives."""
    return run(name, batch_size=1)[0]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("drafts", "n_seq"), [("none", 1), ("none", 16), ("right", 5), ("half-wrong", 16), ("nonsense", 3)]
)
def test_batches_give_what_one_by_one_gives(name: str, drafts: str, n_seq: int) -> None:
    """On every file, with any drafts and any number of sequences, the tokens are deployment's."""
    found, facts = run(name, drafts, n_seq=n_seq)
    assert {key: one.token_ids for key, one in found.items()} == {
        key: one.token_ids for key, one in one_by_one(name).items()
    }
    assert {key: one.text for key, one in found.items()} == {key: one.text for key, one in one_by_one(name).items()}
    told = facts["batching"]
    assert told["near_ties"] == sum(one.near_tie for one in found.values())
    assert 0 < told["near_tie_tolerance"] < 1
    assert (told["draft_tokens_accepted"] > 0) == (drafts in {"right", "half-wrong"})
    assert told["n_cells"] <= (n_seq + 1) * 768  # of the longest of them, not of n_ctx


def test_one_by_one_is_told_as_such() -> None:
    """Without batches there is nothing to tell of them, and nothing is a near-tie."""
    found, facts = run("Q8_0", batch_size=1)
    assert "batching" not in facts
    assert not any(one.near_tie for one in found.values())


def test_near_ties_are_deployments_own() -> None:
    """What is marked was decided alone: its numbers are those of one-by-one decoding to the last digit."""
    found, _ = run("Q4_K_M", "right")
    marked = {key: one for key, one in found.items() if one.near_tie}
    assert marked
    assert all(one.margins == one_by_one("Q4_K_M")[key].margins for key, one in marked.items())
    # And what is not had no choice that was near.
    tolerance = run("Q4_K_M", "right")[1]["batching"]["near_tie_tolerance"]
    assert all(min(one.margins) >= tolerance - 1e-4 for one in found.values() if not one.near_tie)


def test_the_difference_is_found() -> None:
    """The self-test finds rounding where there is some, the same again and again."""
    found = []
    for name in ("f16", "Q4_K_M"):
        model = LlamaModel(FILES[name], n_ctx=256, n_threads=1)
        memory = SharedContext(model, n_cells=512, n_sequences=4, n_batch=128)
        found.append([largest_difference(model, memory), largest_difference(model, memory)])
        memory.close()
        model.close()
    assert found[0][0] == found[0][1] < 0.05
    assert found[0][0] < found[1][0] == found[1][1] < 0.5


def test_tolerance_grows() -> None:
    """An answer given again that differs by more than was thought makes the tolerance larger, never smaller."""
    ties = NearTies()
    ties.learn(0.1)
    ties.compare([3.0, 2.0], [3.1, 2.0, 9.0])
    assert ties.tolerance == 0.2
    ties.compare([3.0], [3.5])
    assert ties.tolerance == 0.5
