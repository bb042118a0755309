"""Probes look into a GGUF and into an adapter: tokenizer without weights, logits of given answers with them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf_probe import GgufProbe
from pytest_modelgate.engines.probe import Probe, ScoreRow, TokenizerFacts
from pytest_modelgate.engines.probe_process import ProcessProbe, open_probe
from pytest_modelgate.errors import EngineDiedError, EngineError, EngineStartError
from pytest_modelgate.records import Message, Request
from tests.engines.conftest import TOKEN_IDS, VOCABULARY, TinyModel, answered

SUPPORT = Path(__file__).parents[2] / "examples" / "support"
F16, BASE, ADAPTER = SUPPORT / "support-f16.gguf", SUPPORT / "base", SUPPORT / "adapter"
SETTINGS = EngineSettings(n_ctx=512, n_threads=1)
ASKED = (Message("system", "Answer in JSON."), Message("user", "Where is my parcel?  \n"))
TEXTS = ("", "Where is my parcel?", "a<|im_end|>b", "  12345\t\r\n", "你好 👩‍👩‍👧‍👦", '{"a": [1, null]}')
ANSWER = '{"intent": "delivery"}<|im_end|>'

# peft 0.21 asks transformers 5.23 for it.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def gguf_probe() -> Iterator[GgufProbe]:
    """Give a probe of the f16 file, in this process."""
    probe = GgufProbe(F16, None, SETTINGS)
    yield probe
    probe.close()


@pytest.fixture(scope="module")
def adapter_probe() -> Any:
    """Give a probe of the adapter that the file was made from, in this process."""
    pytest.importorskip("transformers")
    from pytest_modelgate.engines.adapter_probe import AdapterProbe

    return AdapterProbe(ADAPTER, BASE, SETTINGS)


def row(probe: Probe, key: str = "one") -> ScoreRow:
    """Return a prompt with the answer that is scored in it."""
    (encoded,) = probe.encode([ASKED])
    return ScoreRow(key, encoded.ids, probe.tokenize([ANSWER])[0])


def scored(probe: Probe, rows: Sequence[ScoreRow], folder: Path) -> list[NDArray[np.float32]]:
    """Return the logits of each row."""
    folder.mkdir(exist_ok=True)
    return [np.load(path, allow_pickle=False) for path in probe.score(rows, folder)]


def nmse(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Return the mean squared difference over the mean square of ``theirs``."""
    return float(np.mean((ours - theirs) ** 2) / np.mean(theirs**2))


def test_a_file_says_what_llama_cpp_knows_of_its_tokens(gguf_probe: GgufProbe) -> None:
    """Ids, ends and sizes are those of llama-cpp-python's own model."""
    from llama_cpp import Llama

    facts = gguf_probe.facts()
    model = Llama(str(F16), vocab_only=True, verbose=False)
    assert facts.n_vocab == model.n_vocab() == 2000
    assert facts.eos_id == model.token_eos() == facts.turn_end_id
    assert facts.special == {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    assert facts.controls == (0, 1, 2)
    assert facts.stop_ids == (0, 2)
    assert (facts.adds_bos, facts.adds_eos, facts.warnings) == (False, False, ())
    assert facts.n_ctx_train == 2048


def test_the_adapter_says_the_same(gguf_probe: GgufProbe, adapter_probe: Probe) -> None:
    """What transformers knows of the tokens is what a healthy file holds."""
    ours, theirs = gguf_probe.facts(), adapter_probe.facts()
    for name in (
        "n_vocab",
        "eos_id",
        "adds_bos",
        "adds_eos",
        "stop_ids",
        "turn_end_id",
        "template",
        "special",
        "controls",
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert theirs.n_rows == theirs.n_vocab


@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_a_file_is_asked_with_its_own_template(gguf_probe: GgufProbe, *, add_generation_prompt: bool) -> None:
    """Text and ids are those of transformers on the folder that the file was made from."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE, local_files_only=True)
    text = tokenizer.apply_chat_template(
        [{"role": one.role, "content": one.content} for one in ASKED],
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
    )
    (encoded,) = gguf_probe.encode([ASKED], add_generation_prompt=add_generation_prompt)
    assert encoded.text == text
    assert list(encoded.ids) == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_both_sides_cut_texts_alike(gguf_probe: GgufProbe, adapter_probe: Probe) -> None:
    """Texts become the same ids on both sides, special tokens in them recognised, and the same pieces."""
    ours = gguf_probe.tokenize(TEXTS)
    assert ours == adapter_probe.tokenize(TEXTS)
    assert 2 in ours[2]
    assert [gguf_probe.pieces(ids) for ids in ours] == [adapter_probe.pieces(ids) for ids in ours]


def test_the_engine_answers_the_prompt_that_the_probe_sees(tmp_path: Path) -> None:
    """A model whose answer repeats nothing but its prompt's length is asked with as many tokens as the probe counts."""
    from pytest_modelgate.engines.gguf import GgufEngine

    path = TinyModel().write(tmp_path / "tiny.gguf")
    probe, engine = GgufProbe(path, None, SETTINGS), GgufEngine(path, SETTINGS)
    ((_, result),) = engine.generate([Request("one", 4, ASKED)])
    (encoded,) = probe.encode([ASKED])
    given = Request("ids", 4, prompt_ids=encoded.ids)
    ((_, again),) = engine.generate([given])
    engine.close()
    assert answered(result).prompt_tokens == len(encoded.ids)
    assert answered(result).token_ids == answered(again).token_ids


def test_what_a_template_refuses_is_told_with_its_conversation(tmp_path: Path) -> None:
    """One conversation that cannot be rendered leaves the others as they are."""
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}{{ messages[0].content }}"
    probe = GgufProbe(TinyModel(template=template).write(tmp_path / "tiny.gguf"), None, SETTINGS)
    refused, rendered = probe.encode([ASKED, (Message("user", "hello"),)])
    assert refused.error == "the chat template refused the messages: no system role"
    assert (rendered.text, rendered.error) == ("hello", None)
    assert rendered.ids == (TOKEN_IDS["hello"],)
    assert probe.encode([(Message("user", "\ud800"),)])[0].error is not None


def test_a_file_without_a_template_renders_nothing(tmp_path: Path) -> None:
    """No template is guessed."""
    probe = GgufProbe(TinyModel(template=None).write(tmp_path / "tiny.gguf"), None, SETTINGS)
    assert probe.encode([ASKED])[0].error == "the file holds no chat template (tokenizer.chat_template)"
    assert (probe.facts().template, probe.facts().turn_end_id) == (None, None)


def test_pieces_outside_the_vocabulary_are_shown_as_such(gguf_probe: GgufProbe, adapter_probe: Probe) -> None:
    """An id that no token has is no reason to end."""
    assert gguf_probe.pieces([1, 2000]) == adapter_probe.pieces([1, 2000]) == ["<|im_start|>", "<2000?>"]
    assert gguf_probe.pieces([-1]) == ["<-1?>"]


def test_a_file_is_scored_as_llama_cpp_scores_it(gguf_probe: GgufProbe, tmp_path: Path) -> None:
    """Line i of an answer's logits is what its token i was chosen from, as llama-cpp-python computes it."""
    from llama_cpp import Llama

    one = row(gguf_probe)
    (ours,) = scored(gguf_probe, [one], tmp_path)
    model = Llama(str(F16), n_ctx=512, n_threads=1, logits_all=True, verbose=False)
    model.eval([*one.prompt_ids, *one.answer_ids])
    first = len(one.prompt_ids) - 1
    theirs = model.scores[first : first + len(one.answer_ids)]
    assert ours.shape == (len(one.answer_ids), 2000)
    assert ours.dtype == np.float32
    assert nmse(ours, theirs) < 1e-6


def test_the_adapter_is_scored_as_peft_scores_it(adapter_probe: Probe, tmp_path: Path) -> None:
    """The logits are those of peft's own model, the adapter switched on; those of the base are others."""
    torch, peft, transformers = (pytest.importorskip(name) for name in ("torch", "peft", "transformers"))
    from pytest_modelgate.engines.adapter_probe import AdapterProbe

    one = row(adapter_probe)
    tokens = torch.tensor([[*one.prompt_ids, *one.answer_ids]])
    network = transformers.AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, local_files_only=True)
    first, last = len(one.prompt_ids) - 1, tokens.shape[1] - 1
    with torch.inference_mode():
        plain = network(tokens).logits[0, first:last].numpy().copy()
        tuned = peft.PeftModel.from_pretrained(network, ADAPTER).eval()(tokens).logits[0, first:last].numpy()
    (ours,) = scored(adapter_probe, [one], tmp_path / "adapter")
    (base,) = scored(AdapterProbe(BASE, None, SETTINGS), [one], tmp_path / "base")
    assert nmse(ours, tuned) < 1e-8
    assert nmse(base, plain) < 1e-8
    assert nmse(ours, base) > 0.01


def test_a_healthy_file_scores_as_its_adapter(gguf_probe: GgufProbe, adapter_probe: Probe, tmp_path: Path) -> None:
    """In 16 bit next to nothing is lost on the way from the adapter."""
    one = row(gguf_probe)
    (ours,), (theirs,) = (
        scored(probe, [one], tmp_path / name) for name, probe in (("gguf", gguf_probe), ("adapter", adapter_probe))
    )
    assert nmse(ours, theirs) < 1e-6


def test_rows_know_nothing_of_each_other(random_gguf: Path, tmp_path: Path) -> None:
    """A row's logits are the same whatever is scored before it."""
    probe = GgufProbe(random_gguf, None, SETTINGS)
    one = ScoreRow("one", (1, 2, 3), (4, 5))
    other = ScoreRow("other", tuple(range(60, 90)), (7,))
    first, _, again = scored(probe, [one, other, one], tmp_path)
    np.testing.assert_array_equal(first, again)


def test_a_row_longer_than_the_context_is_scored_whole(random_gguf: Path, tmp_path: Path) -> None:
    """The context grows with the longest row."""
    probe = GgufProbe(random_gguf, None, EngineSettings(n_ctx=16, n_threads=1))
    (logits,) = scored(probe, [ScoreRow("long", tuple(range(60, 100)), (4, 5, 6))], tmp_path)
    assert logits.shape == (3, len(VOCABULARY))
    assert np.isfinite(logits).all()


def test_facts_travel_as_primitives(gguf_probe: GgufProbe) -> None:
    """What a child process sends is what its probe said."""
    with_process = open_probe("gguf", F16)
    try:
        facts = with_process.facts()
        assert facts == gguf_probe.facts() == TokenizerFacts.from_json(facts.to_json())
        assert with_process.encode([ASKED]) == gguf_probe.encode([ASKED])
        assert with_process.tokenize(TEXTS) == gguf_probe.tokenize(TEXTS)
        assert with_process.pieces([0, 5, 9]) == gguf_probe.pieces([0, 5, 9])
    finally:
        with_process.close()


def test_an_adapter_is_looked_at_in_a_process_too(adapter_probe: Probe, tmp_path: Path) -> None:
    """The child loads tokenizer and network, and writes the same logits."""
    one = row(adapter_probe)
    probe = open_probe("adapter", ADAPTER, base=BASE, settings=SETTINGS)
    try:
        assert probe.facts() == adapter_probe.facts()
        (theirs,) = scored(probe, [one], tmp_path / "process")
    finally:
        probe.close()
    (ours,) = scored(adapter_probe, [one], tmp_path / "here")
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_process_that_dies_is_named_with_its_signal(random_gguf: Path) -> None:
    """What ends the process is an error of one line; the next question starts another process."""
    probe = open_probe("gguf", random_gguf)
    before = probe.facts()
    os.kill(pid_of(probe), signal.SIGKILL)
    with pytest.raises(EngineDiedError, match=r"random-F32\.gguf: process ended with signal SIGKILL \(9\)") as died:
        probe.facts()
    assert "\n" not in str(died.value)
    assert probe.facts() == before
    probe.close()
    probe.close()


def test_a_process_that_hangs_is_ended(random_gguf: Path) -> None:
    """The watchdog ends what gives no answer in time."""
    probe = open_probe("gguf", random_gguf, settings=EngineSettings(timeout_s=0.01))
    with pytest.raises(EngineDiedError, match=r"gave no answer for 0\.01 s and was ended"):
        probe.facts()


def test_files_that_cannot_be_looked_at_say_why(tmp_path: Path) -> None:
    """A missing, a damaged and a foreign file are errors of one line that name it."""
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(F16.read_bytes()[:500_000])
    foreign = tmp_path / "foreign.gguf"
    foreign.write_bytes(b"PK\x03\x04" * 40)
    for path, reason in ((tmp_path / "none.gguf", "no such file"), (damaged, "cut off"), (foreign, "not a GGUF")):
        probe = open_probe("gguf", path)
        with pytest.raises(EngineError, match=reason) as error:
            probe.facts()
        assert isinstance(error.value, EngineStartError)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def pid_of(probe: ProcessProbe) -> int:
    """Return the id of a probe's process."""
    child = probe._child  # nobody else needs it
    assert child is not None
    return child.pid
