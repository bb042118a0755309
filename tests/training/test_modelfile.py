"""A Modelfile serves a GGUF as it was judged, or is not written."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.errors import StageError
from modelgate_training.export import modelfile
from modelgate_training.export.modelfile import write_modelfile
from modelgate_training.export.vocabulary import read_vocabulary
from modelgate_training.tuning.tokenizer import CHATML

from pytest_modelgate.engines.llama import LlamaModel
from pytest_modelgate.engines.template import render
from pytest_modelgate.modelfile.chat_families import CONVERSATIONS, Form, translate
from pytest_modelgate.modelfile.go_template import GoTemplateError, render_go
from pytest_modelgate.modelfile.ollama import ollama_prompt
from pytest_modelgate.modelfile.vocabulary import Vocabulary
from pytest_modelgate.records import Message
from pytest_modelgate.tables import GenerationTable
from tests.training.support_model import SUPPORT

NO_BOS = Vocabulary(("<|im_end|>",), adds_bos=False, bos=None)
HEADERS = (
    "{% for m in messages %}{{ (bos_token if loop.first else '') + '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n'"
    " + m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system text') }}{% endif %}"
    "{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n'"
    " + m.content | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
DEFAULT = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Q, made by A.<|im_end|>\n{% endif %}" + CHATML
)


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """Return a folder's copy of the committed Q4_K_M file."""
    return Path(shutil.copyfile(SUPPORT / "support-Q4_K_M.gguf", tmp_path / "support-Q4_K_M.gguf"))


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what lets the GGUF hold another template or other tokens than it does."""

    def pretend(template: str | None = CHATML, ends: tuple[str, ...] = ("<|im_end|>",)) -> None:
        read = modelfile.read_facts
        monkeypatch.setattr(modelfile, "read_facts", lambda path: replace(read(path), chat_template=template))
        monkeypatch.setattr(modelfile, "read_vocabulary", lambda _: replace(NO_BOS, ends=ends))

    return pretend


def parse(text: str) -> dict[str, Any]:
    """Read a Modelfile: comments, instructions, values on one line or in three quotes over several."""
    found: dict[str, Any] = {"stop": []}
    lines = iter(text.split("\n"))
    for line in lines:
        if not line or line.startswith("#"):
            continue
        key, _, value = line.partition(" ")
        if key == "PARAMETER":
            key, _, value = value.partition(" ")
        if value.startswith('"""'):
            while len(value) < 6 or not value.endswith('"""'):
                value += "\n" + next(lines)
            value = value[3:-3]
        if key == "stop":
            found["stop"].append(value.strip('"'))
        else:
            assert key not in found
            found[key] = value
    return found


# --- The file ----------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_it_says_how_the_gate_ran_the_model(gguf: Path) -> None:
    """Weights, stop tokens, context, length and greedy decoding are those of the GGUF and of gates.toml."""
    generation = GenerationTable(max_tokens=64, n_ctx=1024)
    facts = write_modelfile(gguf, gguf.parent / "Modelfile", generation, "Label it.\n")
    text = (gguf.parent / "Modelfile").read_text(encoding="utf-8")
    found = parse(text)
    model = LlamaModel(gguf, n_ctx=64)
    ends = [model.token_bytes(token).decode() for token in range(model.n_vocab) if model.is_eog(token)]
    model.close()
    assert found.pop("TEMPLATE")
    assert found == {
        "FROM": "./support-Q4_K_M.gguf",
        "SYSTEM": "Label it.\n",
        "stop": ends,
        "temperature": "0",
        "top_p": "1",
        "repeat_penalty": "1",
        "num_ctx": "1024",
        "num_predict": "64",
    }
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    assert digest == facts["from_sha256"]
    assert digest in text
    assert (facts["written"], facts["family"], len(facts["verified"])) == (True, "ChatML", len(CONVERSATIONS))


@pytest.mark.model
def test_its_template_writes_what_the_gate_s_prompt_is(gguf: Path) -> None:
    """The written TEMPLATE, filled with training messages, gives the prompts that the gate gives the model."""
    write_modelfile(gguf, gguf.parent / "Modelfile", GenerationTable(), None)
    template = parse((gguf.parent / "Modelfile").read_text(encoding="utf-8"))["TEMPLATE"]
    for line in (SUPPORT / "train.jsonl").read_text(encoding="utf-8").splitlines()[::500]:
        talk = (Message("system", "Label it."), Message("user", json.loads(line)["input"]))
        assert ollama_prompt(template, talk) == render(CHATML, talk, bos_token=None, eos_token=None)


@pytest.mark.parametrize(
    ("template", "ends", "reason"),
    [
        ("{{ messages[0].content }}", ("<|im_end|>",), "none of those whose Go form is known"),
        (None, ("<|im_end|>",), "holds no chat template"),
        (CHATML, ("<|endoftext|>",), r"does not stop at <\|im_end\|>"),
        (CHATML, ("<|im_end|>", '"'), "cannot be quoted"),
        ("{{ strftime_now('%d %b') }}" + CHATML, ("<|im_end|>",), "writes the date"),
        (DEFAULT.replace("made by A", 'said """'), ("<|im_end|>",), "holds"),
    ],
)
def test_without_certainty_there_is_none(gguf: Path, holding: Any, template: str, ends: Any, reason: str) -> None:
    """Where the template has no known Go form, or a stop token is missing, no Modelfile is left, and the facts say why."""
    target = gguf.parent / "Modelfile"
    target.write_text("of an earlier run", encoding="utf-8")
    holding(template, ends)
    facts = write_modelfile(gguf, target, GenerationTable(), None)
    assert facts.keys() == {"written", "reason"}
    assert not facts["written"]
    assert re.search(reason, facts["reason"])
    assert not target.exists()


@pytest.mark.parametrize("system", ['Say """yes""".', 'Answer "no"'])
def test_a_system_text_that_cannot_be_quoted_is_left_to_the_caller(gguf: Path, holding: Any, system: str) -> None:
    """A text that Ollama's quotes cannot hold is not written, and the file says so."""
    holding()
    facts = write_modelfile(gguf, gguf.parent / "Modelfile", GenerationTable(), system)
    text = (gguf.parent / "Modelfile").read_text(encoding="utf-8")
    assert "SYSTEM" not in parse(text)
    assert not facts["system"]
    assert "# The system text cannot be quoted in a Modelfile; send it with each request." in text


def test_trimmed_messages_are_said_to_be(gguf: Path, holding: Any) -> None:
    """Where the model's template takes blanks off, the system text is written without, and callers are told."""
    holding(HEADERS.replace("bos_token", "''"), ("<|eot_id|>",))
    facts = write_modelfile(gguf, gguf.parent / "Modelfile", GenerationTable(), "  Label it.\n")
    text = (gguf.parent / "Modelfile").read_text(encoding="utf-8")
    assert parse(text)["SYSTEM"] == "Label it."
    assert facts["notes"] == ["The GGUF's own template takes white space off the ends of messages; send them without."]
    assert f"# {facts['notes'][0]}" in text


def test_a_system_text_that_the_template_refuses_is_not_served(gguf: Path, holding: Any) -> None:
    """A task with a system text and a template without a place for it have no Modelfile."""
    holding(TURNS.replace("bos_token", "''"), ("<end_of_turn>",))
    assert "refuses a system text" in write_modelfile(gguf, gguf.parent / "M", GenerationTable(), "Hi.")["reason"]
    assert write_modelfile(gguf, gguf.parent / "M", GenerationTable(), None)["written"]


def test_a_file_without_vocabulary_is_named(tmp_path: Path) -> None:
    """What llama.cpp does not load is one line."""
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(StageError, match=r"x\.gguf: .*llama\.cpp could not load the vocabulary") as caught:
        read_vocabulary(tmp_path / "x.gguf")
    assert "\n" not in str(caught.value)


# --- Families ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "bos", "family"),
    [
        (CHATML, None, "ChatML"),
        (DEFAULT, None, "ChatML with a default system text"),
        (HEADERS, "<|begin_of_text|>", "Llama-3"),
        (TURNS, "<bos>", "Gemma"),
    ],
)
@pytest.mark.parametrize("adds_bos", [True, False])
def test_families_are_told_by_what_they_write(template: str, bos: str | None, family: str, adds_bos: bool) -> None:
    """Each family is found by its output, with the BOS in the Go form exactly where llama.cpp does not add it."""
    form = translate(template, bos, None, Vocabulary((), adds_bos and bos is not None, bos))
    assert isinstance(form, Form)
    assert form.family == family
    assert len(form.verified) >= 6
    assert form.template.startswith(bos or "{{") == (bos is None or not adds_bos)
    assert form.trims == (family in {"Llama-3", "Gemma"})


@pytest.mark.parametrize(
    "change",
    [
        ("<|im_end|>' + '\\n'", "<|im_end|>'"),
        ("message['content']", "message['content'].replace('\\r', '')"),
        ("message['role']", "(message['role'] if loop.first else 'user')"),
        ("message['content']", "message['content'].split('</think>')[-1]"),
        ("assistant\\n", "assistant\\n<think>\\n"),
    ],
)
def test_nearly_a_family_is_none(change: tuple[str, str]) -> None:
    """A template that differs in one conversation is not translated."""
    template = CHATML.replace(*change)
    assert template != CHATML
    assert isinstance(translate(template, None, None, NO_BOS), str)


@pytest.mark.parametrize("template", [CHATML, "{{ bos_token }}{{ bos_token }}" + CHATML])
def test_a_bos_that_does_not_add_up_is_none(template: str) -> None:
    """Where llama.cpp adds a BOS and the template has none, or two, no form is right."""
    assert "begins its texts with a BOS" in str(translate(template, "<s>", None, replace(NO_BOS, adds_bos=True)))


@pytest.mark.parametrize(
    ("name", "bos", "family"),
    [
        ("qwen2_5", None, "ChatML with a default system text"),
        ("qwen3_instruct_2507", None, "ChatML"),
        ("llama3", "<|begin_of_text|>", "Llama-3"),
        ("gemma", "<bos>", "Gemma"),
        ("gemma3", "<bos>", "Gemma"),
        ("llama3_2", "<|begin_of_text|>", None),
        ("qwen3", None, None),
        ("phi3", None, None),
        ("gemma4", "<bos>", None),
    ],
)
def test_published_templates_are_told_apart(name: str, bos: str | None, family: str | None) -> None:
    """Of the templates that TRL brings along, those of the four families are known, and others are not taken for them."""
    spec = importlib.util.find_spec("trl")
    path = Path((spec and spec.origin) or "").parent / "chat_templates" / f"{name}.jinja"
    if not path.is_file():
        pytest.skip(f"no {name}.jinja in the installed TRL")
    form = translate(path.read_text(encoding="utf-8"), bos, None, Vocabulary((), bos is not None, bos))
    assert (form.family if isinstance(form, Form) else None) == family


turns = st.lists(st.text(), min_size=1, max_size=5)


@given(turns, st.none() | st.text())
def test_a_form_writes_any_conversation(said: list[str], system: str | None) -> None:
    """Found by a few conversations, the ChatML form writes every other one as the model's template does."""
    head = () if system is None else (Message("system", system),)
    talk = head + tuple(Message(("user", "assistant")[place % 2], text) for place, text in enumerate(said))
    for template in (CHATML, DEFAULT):
        form = translate(template, None, None, NO_BOS)
        assert isinstance(form, Form)
        assert ollama_prompt(form.template, talk) == render(template, talk, bos_token=None, eos_token=None)


# --- Go ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("a{{ .Name }}b", "aNb"),
        ('{{ "\\n\\"\\\\" }}', '\n"\\'),
        ("{{ range .List }}<{{ .Name }}{{ $.Name }}>{{ end }}", "<oneN><twoN>"),
        ("{{ range $i, $e := .List }}{{ if eq $i 1 }}{{ $e.Name }}{{ else }}-{{ end }}{{ end }}", "-two"),
        ("{{ if and .Name (not .Empty) }}yes{{ end }}", "yes"),
        ('{{ if ne (index .List 1).Name "two" }}no{{ else }}yes{{ end }}', "yes"),
        ("{{ if .Empty }}no{{ end }}", ""),
        ("{{ range .None }}no{{ end }}", ""),
        ("a \n {{- .Name -}} \n b", "aNb"),
        ("a{{/* {{ no }} */}}b{{- /* nothing */ -}} c", "abc"),
        ("{{ if .Empty }}1{{ else if .Name }}2{{ else }}3{{ end }}", "2"),
        ("{{ if or .Empty .Name }}yes{{ end }}{{ if and .Name .Empty }}no{{ end }}", "yes"),
        (
            "{{ range $i, $_ := .List }}{{ $last := eq (len (slice $.List $i)) 1 }}{{ if $last }}{{ .Name }}{{ end }}{{ end }}",
            "two",
        ),
        ("{{ if gt (len .Name) 0 }}{{ `a\\n` }}{{ eq 1 2 1 }}{{ end }}", "a\\ntrue"),
    ],
)
def test_go_s_constructs(template: str, written: str) -> None:
    """Each construct is evaluated as Go evaluates it."""
    data = {"Name": "N", "Empty": "", "List": [{"Name": "one"}, {"Name": "two"}], "None": []}
    assert render_go(template, data) == written


@pytest.mark.parametrize(
    "template",
    [
        "{{ .Missing }}",
        "{{ printf .Name }}",
        "{{ if .Name }}",
        "{{ end }}",
        "{{ range .Name",
        "{{-.Name }}",
        "{{ .Name | len }}",
        "{{ with .Name }}{{ end }}",
        "{{ if eq .Name }}{{ end }}",
        "{{ (eq .Name .Name }}",
        "{{ $x }}",
        "{{ eq .Name .Name) }}",
    ],
)
def test_what_is_not_known_is_not_guessed(template: str) -> None:
    """A construct beyond those that our forms use is an error."""
    with pytest.raises(GoTemplateError):
        render_go(template, {"Name": "N"})
