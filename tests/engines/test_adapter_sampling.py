"""The transformers engine obeys temperature, top_p, repeat_penalty and seed, as the llama.cpp engine does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.adapter import AdapterEngine
from pytest_modelgate.records import GenerationSettings, Message, Request
from tests.engines.conftest import answered, failed

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

FOLDER = Path(__file__).parents[2] / "examples" / "support"
DRAWN = GenerationSettings(temperature=1.3, top_p=0.95, repeat_penalty=1.1, seed=4)


@pytest.fixture(scope="module")
def engine() -> Iterator[AdapterEngine]:
    """Give the real tiny candidate."""
    made = AdapterEngine(FOLDER / "adapter", FOLDER / "base", EngineSettings(n_threads=1, batch_size=4))
    yield made
    made.close()


def ask(generation: GenerationSettings | None, n: int = 4) -> list[Request]:
    """Make requests of unequal length."""
    texts = [f"Where is my refund?{' Please!' * number}" for number in range(n)]
    return [
        Request(f"golden/{number}", 24, messages=(Message("user", text),), generation=generation)
        for number, text in enumerate(texts)
    ]


def tokens(engine: AdapterEngine, requests: Sequence[Request]) -> dict[str, tuple[int, ...]]:
    """Return the tokens of each answer."""
    return {key: answered(result).token_ids for key, result in engine.generate(requests)}


def test_penalty_is_that_of_transformers(engine: AdapterEngine) -> None:
    """A greedy answer with a penalty is what transformers' processor on the same network's logits gives."""
    (request,) = ask(GenerationSettings(repeat_penalty=4.0), 1)
    found = tokens(engine, [request])[request.key]
    model = engine._load()
    assert request.messages is not None
    prompt, said = model.tokenise(request.messages), list[int]()
    processor = RepetitionPenaltyLogitsProcessor(4.0)
    while len(said) < len(found):
        with torch.inference_mode():
            logits = model.network(torch.tensor([[*prompt, *said]])).logits[:, -1].float()
        said.append(int(processor(torch.tensor([said], dtype=torch.long), logits).argmax()))
    assert found == tuple(said)
    assert found != tokens(engine, ask(None, 1))[request.key]


def test_order_and_company_change_nothing(engine: AdapterEngine) -> None:
    """What a seed draws for a case does not depend on the cases beside it."""
    requests = ask(DRAWN)
    together = tokens(engine, requests)
    assert together == tokens(engine, requests[::-1])
    assert together == {key: found for one in requests for key, found in tokens(engine, [one]).items()}
    other = tokens(engine, [replace(one, generation=replace(DRAWN, seed=5)) for one in requests])
    assert other != together


def test_settings_that_say_nothing_are_greedy(engine: AdapterEngine) -> None:
    """Settings of greedy decoding give the tokens that no settings give."""
    assert tokens(engine, ask(GenerationSettings(top_p=0.5, seed=9))) == tokens(engine, ask(None))


def test_grammar_is_refused(engine: AdapterEngine) -> None:
    """A grammar is refused in one line, never left out."""
    ((_, result),) = engine.generate(ask(GenerationSettings(grammar='root ::= "a"'), 1))
    assert "a grammar is not supported for transformers" in failed(result).message
