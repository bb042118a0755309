"""Every link answers the same; the first pair that differs by more than its types explain is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_modelgate.engines.probe import Conversation, Encoded, ScoreRow, TokenizerFacts
from pytest_modelgate.engines.probe_process import open_probe
from pytest_modelgate.errors import EngineError
from pytest_modelgate.preflight import logits
from pytest_modelgate.preflight.check import Artifact, Finding, Subject
from pytest_modelgate.preflight.logits_links import Links
from pytest_modelgate.preflight.logits_rows import N_ROWS, N_TOKENS, choose_rows, long_row
from pytest_modelgate.records import Message
from tests.faults.candidate import good_candidate

VOCABULARY, END = 30, 29
Model = Callable[[Sequence[int], int], NDArray[np.float32]]


def sure(after: Sequence[int], right: int) -> NDArray[np.float32]:  # noqa: ARG001
    """Be a model that knows the right token."""
    found = np.zeros(VOCABULARY, np.float32)
    found[right] = 9.0
    return found


def unsure(after: Sequence[int], right: int) -> NDArray[np.float32]:  # noqa: ARG001
    """Be a model that knows nothing."""
    return np.zeros(VOCABULARY, np.float32)


def noisy(size: float) -> Model:
    """Be the sure model with noise."""
    return lambda after, right: (
        sure(after, right) + size * np.sin(np.arange(VOCABULARY) * (1 + right)).astype(np.float32)
    )


def endless(after: Sequence[int], right: int) -> NDArray[np.float32]:
    """Be a model that does not end its turn."""
    return sure(after, 3 if right == END else right)


def short_sighted(after: Sequence[int], right: int) -> NDArray[np.float32]:
    """Be a model that is lost behind many tokens."""
    return unsure(after, right) if len(after) > 400 else sure(after, right)


class FakeProbe:
    """Score with a function; a letter is a token."""

    def __init__(self, model: Model | None, **facts: Any) -> None:
        self.model = model
        self.changed = facts

    def facts(self) -> TokenizerFacts:
        """Say that there is an end of turn."""
        own = {"n_vocab": VOCABULARY, "turn_end_id": END, "n_ctx_train": 4096} | self.changed
        unused = {"bos_id": None, "eos_id": END, "adds_bos": False, "adds_eos": False, "stop_ids": (END,)}
        return TokenizerFacts(**unused, template=None, special={}, controls=(), **own)  # type: ignore[arg-type]

    def encode(self, conversations: Sequence[Conversation], *, add_generation_prompt: bool = True) -> list[Encoded]:
        """Return the letters of the last message."""
        assert add_generation_prompt
        return [Encoded(turns[-1].content, self.tokenize([turns[-1].content])[0]) for turns in conversations]

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Return a token for each letter."""
        return [tuple(ord(letter) % 26 for letter in text) for text in texts]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return numbers."""
        return [str(token) for token in ids]

    def score(self, rows: Sequence[ScoreRow], folder: Path) -> list[Path]:
        """Write what the function says."""
        if self.model is None:
            raise EngineError("it does not load")
        paths = []
        for number, row in enumerate(rows):
            whole = (*row.prompt_ids, *row.answer_ids)
            lines = [self.model(whole[:at], whole[at]) for at in range(len(row.prompt_ids), len(whole))]
            paths.append(folder / f"{number}.npy")
            np.save(paths[-1], np.stack(lines))
        return paths

    def close(self) -> None:
        """Do nothing."""


def subject(*links: str, n_ctx: int = 600) -> Subject:
    """Return a chain by its links' names, the target last."""
    *chain, target = (
        Artifact(name, "adapter" if name == "adapter" else "merged", Path(name), Path("base"))
        if "gguf" not in name
        else Artifact(name, "gguf", Path(name))
        for name in links
    )
    prompts = {f"golden/{number}": (Message("user", "please tell me " * 5 + "abc"[number % 3]),) for number in range(9)}
    answers = {key: f"label {'xyz'[number % 3]} done" for number, key in enumerate(prompts)}
    return Subject(target, tuple(chain), prompts=prompts, answers=answers, n_ctx=n_ctx)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """Return what every check of the stage finds, given a model for each link."""

    def find(what: Subject, models: Mapping[str, Model | None], **facts: Any) -> dict[str, Finding]:
        monkeypatch.setattr(
            logits,
            "open_probe",
            lambda _kind, path, **_others: FakeProbe(models[path.name], **facts.get(path.name, {})),
        )
        with logits.open_stage(what) as links:
            return {
                check.name: check.function(what, links)  # type: ignore[misc]
                for check in logits.CHECKS
                if all(what.has(need) for need in check.needs)
            }

    return find


Find = Callable[..., dict[str, Finding]]


def test_a_faithful_chain_passes(found: Find) -> None:
    """All links agree, the adapter differs from its base, and the target ends its turns."""
    models = {"base": unsure, "adapter": noisy(0.01), "merged": noisy(0.011), "f16.gguf": noisy(0.012)}
    results = found(subject("adapter", "merged", "f16.gguf"), models)
    assert {name: one.outcome for name, one in results.items()} == dict.fromkeys(results, "passed")
    assert len(results) == 4
    assert [line.partition(":")[0] for line in results["logits_parity"].details] == [
        "adapter -> merged",
        "merged -> f16.gguf",
    ]


def test_the_first_bad_pair_is_named(found: Find) -> None:
    """What is lost between the merged folder and the file is said to be lost there."""
    models = {"base": unsure, "adapter": sure, "merged": sure, "f16.gguf": noisy(9), "small.gguf": noisy(9)}
    result = found(subject("adapter", "merged", "f16.gguf", "small.gguf"), models)["logits_parity"]
    assert result.outcome == "failed"
    assert "it goes wrong at merged -> f16.gguf" in result.reason


def test_the_base_in_the_adapter_s_place_is_told(found: Find) -> None:
    """A file that is nearer to the untuned base needs no limit to fail."""
    results = found(subject("adapter", "t.gguf"), {"base": noisy(1), "adapter": sure, "t.gguf": noisy(1.01)})
    assert results["closer_to_adapter"].outcome == "failed"
    assert results["closer_to_adapter"].figures["kl.adapter"] > results["closer_to_adapter"].figures["kl.base"]


def test_an_adapter_without_an_effect_proves_nothing(found: Find) -> None:
    """Where adapter and base are the same, nearness is not checked."""
    results = found(subject("adapter", "t.gguf"), {"base": sure, "adapter": sure, "t.gguf": sure})
    assert results["closer_to_adapter"].outcome == "not checked"


@pytest.mark.parametrize(("reference", "words"), [(sure, "will not stop"), (endless, "not learned")])
def test_a_turn_that_does_not_end_is_told(reference: Model, words: str, found: Find) -> None:
    """It fails whether the export or the training lost it, and says which."""
    models = {"base": unsure, "adapter": reference, "t.gguf": endless}
    result = found(subject("adapter", "t.gguf"), models)["end_of_turn_probability"]
    assert result.outcome == "failed"
    assert words in result.reason


def test_a_file_alone_shows_whether_it_ends_its_turns(found: Find) -> None:
    """No reference is needed for that."""
    for model, outcome in ((sure, "passed"), (endless, "failed")):
        results = found(subject("t.gguf"), {"t.gguf": model})
        assert {name: one.outcome for name, one in results.items()} == {"end_of_turn_probability": outcome}


def test_a_template_without_an_end_is_not_checked(found: Find) -> None:
    """Where nothing ends a turn there is nothing to measure."""
    results = found(subject("t.gguf"), {"t.gguf": sure}, **{"t.gguf": {"turn_end_id": None}})
    assert results["end_of_turn_probability"].outcome == "not checked"


def test_far_positions_are_compared(found: Find) -> None:
    """A target that agrees on short prompts and is lost behind long ones fails that check alone."""
    models = {"base": unsure, "adapter": sure, "t.gguf": short_sighted}
    results = found(subject("adapter", "t.gguf"), models)
    assert {name for name, one in results.items() if one.outcome == "failed"} == {"long_prompt"}


def test_a_short_context_has_no_long_prompt(found: Find) -> None:
    """It is not checked, and says so."""
    models = {"base": unsure, "adapter": sure, "t.gguf": sure}
    assert found(subject("adapter", "t.gguf", n_ctx=200), models)["long_prompt"].outcome == "not checked"


def test_a_target_that_does_not_load_is_not_green(found: Find) -> None:
    """Nothing passes, and parity fails with the engine's reason."""
    results = found(subject("adapter", "t.gguf"), {"base": unsure, "adapter": sure, "t.gguf": None})
    assert "passed" not in {one.outcome for one in results.values()}
    assert "it does not load" in results["logits_parity"].reason


def test_a_target_with_fewer_tokens_is_not_scored(found: Find) -> None:
    """It is not given ids that it does not have."""
    models = {"base": unsure, "adapter": sure, "t.gguf": sure}
    results = found(subject("adapter", "t.gguf"), models, **{"t.gguf": {"n_vocab": 20}})
    assert "has 20 tokens only" in results["logits_parity"].reason


def test_without_answers_nothing_is_checked(found: Find) -> None:
    """Cases without an expected answer are no green."""
    what = subject("adapter", "t.gguf")
    bare = Subject(what.target, what.chain, prompts=what.prompts)
    results = found(bare, {"base": sure, "adapter": sure, "t.gguf": sure})
    assert {one.outcome for one in results.values()} == {"not checked"}


def test_rows_are_few_and_their_answers_short() -> None:
    """Of many long answers 32 are scored, 40 tokens each; every second of them to its end."""
    prompts = {f"golden/{number:03}": (Message("user", "tell"),) for number in range(100)}
    what = Subject(Artifact("t", "gguf", Path("t")), prompts=prompts, answers=dict.fromkeys(prompts, "long" * 40))
    rows = choose_rows(what, FakeProbe(sure))
    assert len(rows.rows) == N_ROWS
    assert {len(row.answer_ids) for row in rows.rows} == {N_TOKENS}
    assert rows.ends == (False, True) * (N_ROWS // 2)
    assert all((row.answer_ids[-1] == END) == end for row, end in zip(rows.rows, rows.ends, strict=True))
    assert {rows.rows[0].key, rows.rows[-1].key} == {"golden/000", "golden/099"}


def test_a_long_row_fills_the_context() -> None:
    """It has as many tokens as there is room, and none where that is little."""
    rows = [ScoreRow("a", (1,) * 70, (2,) * 30)]
    row = long_row(rows, 1000)
    assert row is not None
    assert (len(row.prompt_ids), len(row.answer_ids)) == (1000 - N_TOKENS, N_TOKENS)
    assert long_row(rows, 100) is None
    assert long_row([], 1000) is None


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Links]:
    """Return the chain of the tiny support candidate on a few golden cases."""
    good = good_candidate()
    keys = list(good.answers)[:8]
    what = Subject(
        target=Artifact("Q8_0", "gguf", good.q8_0),
        chain=(Artifact("adapter", "adapter", good.adapter, good.base), Artifact("f16", "gguf", good.f16)),
        prompts={key: good.prompts[key] for key in keys},
        answers={key: good.answers[key] for key in keys},
        n_ctx=600,
    )
    links = Links(what, tmp_path_factory.mktemp("logits"), open_probe)
    yield links
    links.close()


def test_a_real_chain_agrees(real: Links) -> None:
    """Adapter, float16 file and 8 bits: every check passes, and float16 is the adapter up to rounding."""
    results = {check.name: check.function(real.subject, real) for check in logits.CHECKS}
    assert {name: one.outcome for name, one in results.items()} == dict.fromkeys(results, "passed")  # type: ignore[union-attr]
    first, second = real.edges()
    assert first.comparison.nmse < 1e-6
    assert (first.comparison.top1, second.comparison.top1) == (1.0, 1.0)
