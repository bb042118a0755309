"""The llama.cpp engine obeys temperature, top_p, repeat_penalty, seed and grammar, alone and in batches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_modelgate.contracts.grammar import grammar_of
from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.engines.process import ProcessEngine
from pytest_modelgate.errors import EngineError
from pytest_modelgate.records import Failure, Generation, GenerationSettings, Message, Request
from tests.engines.conftest import ChainMaker, answered, failed

LABEL = grammar_of({"properties": {"a": {"enum": ["hello", 'x"y', "😀"]}}, "required": ["a"]})
HELD = GenerationSettings(grammar=LABEL)
DRAWN = GenerationSettings(temperature=1.5, top_p=0.9, repeat_penalty=1.2, seed=3)
ALONE = EngineSettings(n_ctx=512, n_threads=1, batch_size=1)
TOGETHER = EngineSettings(n_ctx=512, n_threads=1, batch_size=8)


def ask(generation: GenerationSettings | None, n: int = 6, max_tokens: int = 200) -> list[Request]:
    """Make requests that differ."""
    return [
        Request(f"golden/{number}", max_tokens, messages=(Message("user", f"hello {number}"),), generation=generation)
        for number in range(n)
    ]


def run(path: Path, requests: list[Request], settings: EngineSettings = ALONE) -> dict[str, Generation | Failure]:
    """Run requests on a file."""
    engine = GgufEngine(path, settings)
    try:
        return dict(engine.generate(requests))
    finally:
        engine.close()


def texts(path: Path, requests: list[Request], settings: EngineSettings = ALONE) -> dict[str, str]:
    """Return the text of each answer."""
    return {key: answered(result).text for key, result in run(path, requests, settings).items()}


@pytest.mark.parametrize("settings", [ALONE, TOGETHER], ids=["alone", "together"])
@pytest.mark.parametrize("generation", [HELD, replace(DRAWN, grammar=LABEL)], ids=["greedy", "drawn"])
def test_grammar_holds_and_tells_what_it_hides(
    random_gguf: Path, settings: EngineSettings, generation: GenerationSettings
) -> None:
    """Noise is held to its schema, and beside each answer stands what comes without the grammar."""
    found = run(random_gguf, ask(generation), settings)
    raw = texts(random_gguf, ask(generation.without_grammar()))

    assert len(found) == 6
    for key, result in found.items():
        generation_ = answered(result)
        assert generation_.finish_reason == "stop"
        assert json.loads(generation_.text)["a"] in {"hello", 'x"y', "😀"}
        assert generation_.raw_text == raw[key] != generation_.text


def test_answer_that_no_grammar_changes(says: ChainMaker) -> None:
    """Where the model writes what the schema wants, its raw text is its text, and nothing is generated twice."""
    path = says(*b'{"a', "<|im_end|>")

    ((_, result),) = run(path, ask(GenerationSettings(grammar='root ::= "{\\"a" "b"?'), 1)).items()

    assert answered(result).text == '{"a'
    assert answered(result).raw_text == '{"a'
    ((_, plain),) = run(path, ask(None, 1)).items()
    assert answered(plain).raw_text is None


@pytest.mark.parametrize("generation", [DRAWN, GenerationSettings(repeat_penalty=1.3)], ids=["drawn", "penalised"])
def test_order_and_company_change_nothing(random_gguf: Path, generation: GenerationSettings) -> None:
    """Answers are the same one by one, in another order, and in batches."""
    requests = ask(generation)
    alone = texts(random_gguf, requests)
    assert alone == texts(random_gguf, requests[::-1])
    assert alone == texts(random_gguf, requests, TOGETHER)
    assert alone != texts(random_gguf, ask(None))


def test_drafts_change_nothing(random_gguf: Path) -> None:
    """A right draft, a wrong one and one that the grammar forbids leave the answer as it is."""
    plain = run(random_gguf, ask(HELD))
    for draft in ('{"a": "hello"}', '{"a":"😀"}', "Sure!", answered(plain["golden/0"]).text):
        drafted = [replace(request, draft=draft) for request in ask(HELD)]
        found = run(random_gguf, drafted, TOGETHER)
        for key, result in found.items():
            assert answered(result).token_ids == answered(plain[key]).token_ids
            assert answered(result).raw_text == answered(plain[key]).raw_text


@pytest.mark.parametrize("settings", [ALONE, TOGETHER], ids=["alone", "together"])
def test_bad_grammar_fails_its_case_alone(random_gguf: Path, settings: EngineSettings) -> None:
    """A grammar that llama.cpp refuses is a failure in words; the others are answered."""
    first, *others = ask(HELD, 3)
    bad = replace(first, generation=GenerationSettings(grammar="root ::= ("))

    found = run(random_gguf, [bad, *others], settings)

    assert failed(found[bad.key]).message.startswith("llama.cpp refuses the grammar: root ::= (")
    assert all(answered(found[one.key]).raw_text is not None for one in others)


def test_raw_text_that_cannot_be_had(random_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer whose raw text fails is no answer: it would count as if the grammar hid nothing."""
    answer = GgufEngine._answer

    def fail(engine: GgufEngine, model: object, request: Request) -> Generation:
        if request.generation is not None and request.generation.grammar is None:
            raise EngineError("no")
        return answer(engine, model, request)  # type: ignore[arg-type]

    monkeypatch.setattr(GgufEngine, "_answer", fail)
    ((_, result),) = run(random_gguf, ask(HELD, 1)).items()
    assert failed(result).message == "without its grammar: no"


def test_in_a_process_of_its_own(random_gguf: Path) -> None:
    """Settings and raw texts cross to the engine's process and back; each case is told of once; nothing dies."""
    engine = ProcessEngine("gguf", {"path": str(random_gguf)}, ALONE)
    told: list[str] = []
    engine.on_started = told.append
    bad = replace(ask(HELD, 1)[0], key="bad", generation=GenerationSettings(grammar="nonsense"))
    try:
        found = dict(engine.generate([*ask(HELD, 3), bad]))
    finally:
        engine.close()
    here = run(random_gguf, ask(HELD, 3))
    assert failed(found.pop("bad")).kind == "refused"
    assert {key: (answered(one).text, answered(one).raw_text) for key, one in found.items()} == {
        key: (answered(one).text, answered(one).raw_text) for key, one in here.items()
    }
    assert sorted(told) == ["bad", "golden/0", "golden/1", "golden/2"]
