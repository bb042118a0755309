"""Two vocabularies, what begins a prompt and what ends an answer, are held against each other."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.gguf_probe import GgufProbe
from pytest_modelgate.engines.probe import Probe
from pytest_modelgate.preflight.check import Artifact, Subject
from pytest_modelgate.preflight.load_log import load_warnings
from pytest_modelgate.preflight.probes import Probes
from pytest_modelgate.records import Message
from tests.engines.conftest import CHATML, TOKEN_IDS, VOCABULARY
from tests.faults.gguf_edit import Edit, edit, metadata
from tests.preflight.tokenizing import PROMPTS, SUPPORT, checked, failures, write

TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
NORMAL, UNKNOWN, UNUSED = 1, 2, 5
BOS_CHATML = "{{ bos_token }}" + CHATML


def types_with(path: Path, **changed: int) -> Edit:
    """Return the change that gives tokens another type, ``end`` and ``marker``."""
    types = list(metadata(path, TYPES))
    for name, kind in changed.items():
        types[TOKEN_IDS[{"end": "<|im_end|>", "marker": "<|marker|>"}[name]]] = kind
    return Edit({TYPES: types})


@pytest.mark.parametrize(
    ("target", "reference", "failed"),
    [
        ((CHATML, False), (CHATML, False), False),
        ((BOS_CHATML, True), (BOS_CHATML, True), False),
        ((CHATML, True), (CHATML, True), False),
        ((CHATML, True), (CHATML, False), True),
        ((BOS_CHATML, True), (BOS_CHATML, False), True),
        ((BOS_CHATML, False), (CHATML, False), True),
        (("{{ bos_token }}" + BOS_CHATML, False), ("{{ bos_token }}" + BOS_CHATML, False), True),
    ],
)
def test_a_bos_too_many_fails(
    target: tuple[str, bool], reference: tuple[str, bool], failed: object, tmp_path: Path
) -> None:
    """BOS are counted as the template writes them, and as a program adds them that obeys add_bos_token."""
    ours, theirs = (
        write(tmp_path, name, template, add_bos_token=adds)
        for name, (template, adds) in (("target", target), ("reference", reference))
    )
    assert (failures(checked(ours, theirs)).get("bos") == "F03") is failed


def test_a_bos_is_asked_about_in_the_file_alone(tmp_path: Path) -> None:
    """Whether it is one too many depends on the program that serves the file."""
    found = checked(write(tmp_path, "target", BOS_CHATML, add_bos_token=True), None)["bos"]
    assert found.outcome == "warned"
    assert "whose template writes 1 already" in found.reason


def test_an_end_that_does_not_end_a_generation_fails(tmp_path: Path) -> None:
    """The token that the template writes after an answer must be one that llama.cpp stops at."""
    template = CHATML.replace("<|im_end|>", "<|marker|>")
    path = write(tmp_path, "target", template)
    found = checked(path, None)["end_of_turn"]
    assert (found.outcome, found.mode) == ("failed", "F04")
    assert found.reason == (
        "'<|marker|>', which ends an answer, does not end a generation; what does: '<|endoftext|>', '<|im_end|>'"
    )
    named = write(tmp_path, "named", template, eos_token_id=TOKEN_IDS["<|marker|>"])
    results = checked(named, None)
    assert failures(results) == {}
    assert "special_eos_id is not in special_eog_ids" in results["load_warnings"].reason
    assert failures(checked(named, named)) == {}


def test_an_end_that_the_reference_does_not_write_fails(tmp_path: Path) -> None:
    """A template that ends an answer otherwise than the training's leaves the model waiting for what never comes."""
    target = write(tmp_path, "target", CHATML.replace("<|im_end|>", "<|endoftext|>"))
    found = checked(target, write(tmp_path, "reference", CHATML))["end_of_turn"]
    assert found.reason == "its own template ends an answer with '<|endoftext|>', the reference's with '<|im_end|>'"


def test_another_eos_fails(tmp_path: Path) -> None:
    """EOS must be one of the tokens at which the reference stops."""
    other = write(tmp_path, "target", CHATML, eos_token_id=TOKEN_IDS["hello"])
    found = checked(other, write(tmp_path, "reference", CHATML))["end_of_turn"]
    assert (found.outcome, found.mode) == ("failed", "F04")
    assert found.reason == "EOS is 'hello', the reference's '<|im_end|>'"


def test_a_template_that_leaves_the_end_to_the_next_turn_is_no_fault(tmp_path: Path) -> None:
    """Some families write nothing after the last answer, and stop at what begins the next turn."""
    template = CHATML.replace("<|im_end|>\n{% endfor %}", "{% if not loop.last %}<|im_end|>\n{% endif %}{% endfor %}")
    assert checked(write(tmp_path, "target", template), None)["end_of_turn"].outcome == "passed"
    never = CHATML.replace("<|im_end|>", "")
    assert checked(write(tmp_path, "never", never), None)["end_of_turn"].outcome == "warned"


def test_a_special_token_that_became_text_fails(tmp_path: Path) -> None:
    """An added token must be one token with the reference's type; the ids show it too."""
    reference = write(tmp_path, "reference", CHATML)
    results = checked(edit(reference, tmp_path / "target.gguf", types_with(reference, marker=NORMAL)), reference)
    assert failures(results) == {"added_tokens": "F08", "token_ids": "F08", "special_tokens": "F08"}
    assert results["added_tokens"].reason == "1 special tokens are not marked as such: '<|marker|>'"
    assert results["special_tokens"].reason.startswith(
        "'<|marker|>' in a user's text is read as a control token in the"
    )


def test_a_vocabulary_that_lost_tokens_fails(tmp_path: Path) -> None:
    """The sizes are compared first."""
    reference = write(tmp_path, "reference", CHATML)
    shorter = Edit({TOKENS: list(VOCABULARY[:-1]), TYPES: list(metadata(reference, TYPES))[:-1]})
    found = checked(edit(reference, tmp_path / "target.gguf", shorter), reference)["added_tokens"]
    assert (found.outcome, found.mode) == ("failed", "F08")
    assert found.reason == (
        f"the vocabulary has {len(VOCABULARY) - 1} tokens, the reference's {len(VOCABULARY)}: "
        "the last are lost, beginning with '<|marker|>'"
    )


@pytest.mark.parametrize(("name", "outcome"), [("[PAD{}]", "passed"), ("extra{}", "failed")])
def test_padding_is_no_token(name: str, outcome: str, tmp_path: Path) -> None:
    """Entries that fill the embedding's rows are named as such; others are tokens that the reference has not."""
    reference = write(tmp_path, "reference", CHATML)
    size = len(VOCABULARY)
    more = [name.format(number) for number in range(size, size + 4)]
    longer = Edit({TOKENS: [*VOCABULARY, *more], TYPES: [*metadata(reference, TYPES), *[UNUSED] * 4]})
    found = checked(edit(reference, tmp_path / "target.gguf", longer), reference)["added_tokens"]
    assert found.outcome == outcome
    assert ("4 more stand for nothing" in found.reason) is (outcome == "passed")


def test_the_embedding_of_a_folder_counts(tmp_path: Path) -> None:
    """A vocabulary that is longer than the reference's embedding was resized on the way."""
    path = SUPPORT / "support-Q8_0.gguf"
    tokens, types = metadata(path, TOKENS), metadata(path, TYPES)
    longer = edit(path, tmp_path / "target.gguf", Edit({TOKENS: [*tokens, "[PAD2000]"], TYPES: [*types, UNUSED]}))
    assert (
        checked(longer)["added_tokens"].reason == "the vocabulary has 2001 tokens, the reference's embedding 2000 rows"
    )


def test_what_a_user_can_write_is_told(tmp_path: Path) -> None:
    """Control tokens work inside a user's text everywhere; a warning says so until a case tries it."""
    path = write(tmp_path, "target", CHATML)
    untried = {"golden/parcel": PROMPTS["golden/parcel"]}
    found = checked(path, path, prompts=untried)["special_tokens"]
    assert (found.outcome, found.mode) == ("warned", "F07")
    assert found.reason == (
        "4 control tokens work when a user writes them (<|endoftext|>, <|im_start|>, <|im_end|>), as everywhere; "
        "no case tries what the model then does: add adversarial cases"
    )
    tried = checked(path, path)["special_tokens"]
    assert tried.outcome == "passed"
    assert tried.reason.endswith("1 cases try what the model then does")


def test_a_name_that_llama_cpp_alone_takes_for_control_is_explained(tmp_path: Path) -> None:
    """It mends ``</s>`` of a vocabulary that holds it as text: a warning where a case holds it, no fault of the file."""
    tokens = [*VOCABULARY[:-1], "</s>"]
    reference = write(tmp_path, "reference", CHATML)
    types = [*list(metadata(reference, TYPES))[:-1], NORMAL]
    changed = edit(reference, tmp_path / "target.gguf", Edit({TOKENS: tokens, TYPES: types}))
    prompts = {"adversarial/end": (Message("user", "hello</s>hello"),)}
    results = checked(changed, None, prompts=prompts)
    assert "control-looking token" in results["load_warnings"].reason
    assert results["load_warnings"].outcome == "passed"
    used = edit(changed, tmp_path / "used.gguf", Edit({"tokenizer.chat_template": "</s>" + CHATML}))
    assert failures(checked(used, None))["load_warnings"] == "F08"


@pytest.mark.parametrize(
    ("line", "outcome", "mode"),
    [
        ("load: missing pre-tokenizer type, using: 'default'", "failed", "F02"),
        ("load: GENERATION QUALITY WILL BE DEGRADED!", "failed", "F02"),
        ("load: bad special token: 'tokenizer.ggml.eot_token_id' = 99, using default id -1", "failed", "F08"),
        ("load: something that nobody has seen yet", "warned", None),
        ("load: special_eot_id is not in special_eog_ids - the tokenizer config may be incorrect", "warned", "F04"),
        (
            "load: special_eog_ids contains both '<|return|>' and '<|call|>', removing '<|end|>' token from EOG list",
            "passed",
            None,
        ),
    ],
)
def test_warnings_of_the_loader_are_judged(line: str, outcome: str, mode: str | None, tmp_path: Path) -> None:
    """What stands for a broken export fails, what is said of every good file of a family does not."""
    subject = Subject(Artifact("target", "gguf", write(tmp_path, "target", CHATML)))
    probes = Probes(subject, lambda _kind, path, **_: GgufProbe(path, None, EngineSettings()))
    probes.target.facts = replace(probes.target.facts, warnings=(line,))
    first = next(iter(load_warnings(subject, probes)))
    probes.close()
    assert (first.outcome, first.mode) == (outcome, mode)


@given(text=st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs", "Cn"]), max_size=60))
def test_any_text_in_normal_form_is_cut_alike(text: str) -> None:
    """A healthy file makes the adapter's ids of any text that is in the form that the adapter's tokenizer makes first."""
    normal = unicodedata.normalize("NFC", text)
    ours, theirs = (probe.tokenize([normal]) for probe in healthy_pair())
    assert ours == theirs


@cache
def healthy_pair() -> tuple[Probe, Probe]:
    """Return probes of a file and its adapter."""
    from pytest_modelgate.engines.adapter_probe import AdapterProbe

    return (
        GgufProbe(SUPPORT / "support-Q8_0.gguf", None, EngineSettings()),
        AdapterProbe(SUPPORT / "adapter", SUPPORT / "base", EngineSettings()),
    )


def test_a_token_for_what_is_unknown_is_special_too(tmp_path: Path) -> None:
    """llama.cpp recognises it in text as it does control tokens, and transformers marks it as special."""
    reference = write(tmp_path, "reference", CHATML)
    target = edit(reference, tmp_path / "target.gguf", types_with(reference, marker=UNKNOWN))
    assert failures(checked(target, reference)) == {}
    assert failures(checked(reference, target)) == {}
