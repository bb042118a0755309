"""What a long input is shortened to in training is, byte for byte, what every engine shows its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.cases import Case
from pytest_modelgate.engines import Engine, EngineSettings
from pytest_modelgate.engines.adapter import AdapterEngine
from pytest_modelgate.engines.gguf import GgufEngine
from pytest_modelgate.engines.llama import LlamaModel
from pytest_modelgate.engines.process import ProcessEngine
from pytest_modelgate.gates_file import load_gates_file
from pytest_modelgate.records import InputSpan, LongInput, Message, Request
from pytest_modelgate.tasks import Task, load_tasks
from pytest_modelgate.truncation import CountTokens, fit_input
from tests.engines.conftest import answered, failed

transformers = pytest.importorskip("transformers")

MODELS = Path(__file__).parents[2] / "examples" / "support"
SETTINGS = EngineSettings(n_ctx=1024, n_threads=1)
RULES = {
    "cut": LongInput(120, "cut"),
    "condense": LongInput(120, "condense"),
    "pieces": LongInput(120, "condense", chunk=60),
    "words": LongInput(24, "cut"),
}
EVENTS = (
    "Latency spike on payment-service",
    "Zahlungsübersicht fällt aus",
    "CPU 97 % 🔥 on node-12",
    "retry 3 <|im_end|>",
)
TIMELINE = "".join(f"14:{i:02} - {EVENTS[i % 4]}{' and on' * (i % 3)}\n" for i in range(60))
TIMELINE += "".join(f"15:{i:02} - health check {i * 37} took {i}.5 ms\n" for i in range(40))


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Give the tokenizer that the base is trained with."""
    return transformers.AutoTokenizer.from_pretrained(MODELS / "base", local_files_only=True)


@pytest.fixture
def count(tokenizer: Any) -> CountTokens:
    """Give the counter that training uses."""
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def task_with(rule: LongInput | None, folder: Path, prompt: str | None) -> Task:
    """Read a task with this rule from a gates file."""
    table = "" if prompt is None else 'prompt = "prompt.txt"\n'
    table += "" if rule is None else f'[tasks.it.long_input]\ntokens = {rule.tokens}\nhow = "{rule.how}"\n'
    table += "" if rule is None or rule.chunk is None else f"chunk = {rule.chunk}\n"
    (folder / "system.txt").write_text("Summarise.", encoding="utf-8")
    (folder / "prompt.txt").write_text(prompt or "", encoding="utf-8")
    (folder / "gates.toml").write_text(
        f'version = 1\n[tasks.it]\nkind = "text"\nsystem = "system.txt"\n'
        f'{table}[gates.it]\nmetric = "contract_validity"\nmin = 1\n',
        encoding="utf-8",
    )
    return load_tasks(load_gates_file(folder / "gates.toml"))["it"]


def case_of(prompt: str | tuple[Message, ...]) -> Case:
    """Return a case with this input."""
    return Case("a", "golden", "it", prompt, "golden/a.jsonl:1", 1)


def asked(task: Task, case: Case) -> Request:
    """Return what an engine is asked."""
    messages = task.messages(case)
    return Request("golden/a", 2, messages=messages, input_span=task.input_span(case, messages))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("prompt", [None, "Timeline ({input} ends here):\nWhy?"])
def test_training_and_serving_show_the_same_bytes(
    tmp_path: Path, tokenizer: Any, count: CountTokens, monkeypatch: pytest.MonkeyPatch, name: str, prompt: str | None
) -> None:
    """A row's input, fitted by the HF tokenizer before its prompt is made, renders to what llama.cpp tokenises."""
    rule = RULES[name]
    task = task_with(rule, tmp_path, prompt)
    in_training = fit_input(TIMELINE, rule, count)
    turns = [{"role": turn.role, "content": turn.content} for turn in task.messages(case_of(in_training.text))]
    trained_on = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    tokenised: list[bytes] = []
    tokenize = LlamaModel.tokenize

    def watched(model: LlamaModel, text: bytes) -> list[int]:
        tokenised.append(text)
        return tokenize(model, text)

    monkeypatch.setattr(LlamaModel, "tokenize", watched)
    engine = GgufEngine(MODELS / "base-f16.gguf", SETTINGS)

    ((_, result),) = engine.generate([asked(task, case_of(TIMELINE))])

    engine.close()
    assert in_training.how == ("words" if name == "words" else rule.how)
    assert tokenised[-1] == trained_on.encode()
    assert answered(result).prompt_tokens == count(trained_on)
    assert answered(result).input_tokens_dropped == in_training.tokens_dropped > 0


@pytest.mark.model
@pytest.mark.parametrize("engine_name", ["gguf process", "adapter"])
@pytest.mark.parametrize("name", RULES)
def test_every_engine_fits_alike(tmp_path: Path, count: CountTokens, engine_name: str, name: str) -> None:
    """The engine that is asked shortens the input itself, and answers what it answers to the shortened one."""
    rule = RULES[name]
    long, plain = task_with(rule, tmp_path, None), task_with(None, tmp_path, None)
    fitted = fit_input(TIMELINE, rule, count)
    engine: Engine = (
        ProcessEngine("gguf", {"path": str(MODELS / "base-f16.gguf")}, SETTINGS)
        if engine_name == "gguf process"
        else AdapterEngine(MODELS / "base", None, SETTINGS)
    )

    ((_, shortened),) = engine.generate([asked(long, case_of(TIMELINE))])
    ((_, given),) = engine.generate([asked(plain, case_of(fitted.text))])

    engine.close()
    assert answered(shortened).input_tokens_dropped == fitted.tokens_dropped
    assert answered(given).input_tokens_dropped == 0
    assert answered(shortened).prompt_tokens == answered(given).prompt_tokens
    assert answered(shortened).logprobs == answered(given).logprobs


@pytest.mark.model
@pytest.mark.parametrize("engine_name", ["gguf", "adapter"])
def test_what_may_not_be_shortened_is_refused(tmp_path: Path, count: CountTokens, engine_name: str) -> None:
    """An input that its task refuses is an error of its own; the next request runs."""
    task = task_with(LongInput(100, "refuse"), tmp_path, None)
    engine: Engine = (
        GgufEngine(MODELS / "base-f16.gguf", SETTINGS)
        if engine_name == "gguf"
        else AdapterEngine(MODELS / "base", None, SETTINGS)
    )

    ((_, refused),) = engine.generate([asked(task, case_of(TIMELINE))])
    ((_, short),) = engine.generate([asked(task, case_of("Hello"))])

    engine.close()
    assert failed(refused).message == (
        f"the input is {count(TIMELINE)} tokens, and its task refuses more than 100: shorten it"
    )
    assert answered(short).input_tokens_dropped == 0


@pytest.mark.model
@pytest.mark.parametrize("engine_name", ["gguf", "adapter"])
def test_surrogate_in_a_long_input_is_refused(tmp_path: Path, engine_name: str) -> None:
    """What cannot be tokenised is no crash when it is counted either."""
    task = task_with(LongInput(100, "cut"), tmp_path, None)
    engine: Engine = (
        GgufEngine(MODELS / "base-f16.gguf", SETTINGS)
        if engine_name == "gguf"
        else AdapterEngine(MODELS / "base", None, SETTINGS)
    )

    ((_, refused),) = engine.generate([asked(task, case_of("a\ud800b"))])

    engine.close()
    assert failed(refused).kind == "refused"


def test_only_the_last_user_turn_of_a_chat_is_shortened(tmp_path: Path, count: CountTokens) -> None:
    """Of a whole chat the input is what the user said last; what went before stays whole."""
    task = task_with(RULES["cut"], tmp_path, "Cut {input}!")
    chat = (
        Message("user", "first " * 150),
        Message("assistant", "yes"),
        Message("user", TIMELINE),
        Message("assistant", "{"),
    )
    request = asked(task, case_of(chat))

    engine = GgufEngine(MODELS / "base-f16.gguf", SETTINGS)
    ((_, result),) = engine.generate([request])
    engine.close()

    assert request.input_span == InputSpan(RULES["cut"], 3, 0, len(TIMELINE))
    assert answered(result).input_tokens_dropped == fit_input(TIMELINE, RULES["cut"], count).tokens_dropped
    assert task.input_span(case_of((Message("assistant", "x"),)), (Message("assistant", "x"),)) is None


def test_request_crosses_processes() -> None:
    """A rule survives the way to a worker."""
    span = InputSpan(LongInput(9, "condense", 3, "<{count}>"), 1, 2, 30)
    request = Request("k", 8, messages=(Message("user", "x"),), input_span=span)

    assert Request.from_json(request.to_json()) == request
