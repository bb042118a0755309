"""A Modelfile serves the file as it was gated, or the line that does not is named."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.export.modelfile import write_modelfile

from pytest_modelgate.identity import hash_file
from pytest_modelgate.preflight.check import CheckResult
from pytest_modelgate.preflight.modelfile import find_modelfile
from pytest_modelgate.records import Message
from pytest_modelgate.tables import GenerationTable
from tests.faults.gguf_edit import Edit, edit
from tests.preflight.static_subjects import BASE_F16, Q4_K_M, Q8_0, alone, found

SYSTEM = "Label the message."
PROMPTS = {
    f"golden/{number}": (Message("system", SYSTEM), Message("user", text))
    for number, text in enumerate(("Hello!", "x" * 300, "one\n\ntwo"))
}
USUAL = (
    '"""{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}{{ if .Prompt }}<|im_start|>user\n'
    '{{ .Prompt }}<|im_end|>\n{{ end }}<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"""'
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the Modelfile that the training writes for the Q8_0 file."""
    path = tmp_path_factory.mktemp("modelfile") / "Modelfile"
    assert write_modelfile(Q8_0, path, GenerationTable(max_tokens=64, n_ctx=1024), SYSTEM)["written"]
    return path.read_text(encoding="utf-8")


@pytest.fixture
def judge(written: str, tmp_path: Path) -> Any:
    """Return what judges a changed Modelfile beside the file that it serves."""
    gguf = Path(shutil.copy(Q8_0, tmp_path))

    def judged(pattern: str = "", by: str = "", *, path: Path = gguf, **others: Any) -> CheckResult:
        text, count = (
            re.subn(pattern, lambda _: by, written, count=1, flags=re.DOTALL) if pattern else (written + by, 1)
        )
        assert count == 1, pattern
        (tmp_path / "Modelfile").write_text(text, encoding="utf-8")
        return found("modelfile", alone(path, modelfile=tmp_path / "Modelfile", **{"prompts": PROMPTS} | others))

    return judged


def test_the_training_s_own_passes(judge: Any) -> None:
    """What is written for a file passes for it."""
    assert (judge().outcome, judge().details) == ("passed", ())


@pytest.mark.parametrize(
    ("pattern", "by", "mode", "told"),
    [
        (r"FROM \S+", "FROM ./other.gguf", "F18", ":3: FROM serves ./other.gguf, and support-Q8_0.gguf was gated"),
        (r"FROM \S+", "FROM llama3.2", "F18", "FROM serves llama3.2"),
        (r"FROM \S+", f"FROM @sha256:{'0' * 64}", "F25", "by sha256"),
        (r'TEMPLATE """.*?"""', "", "F18", "no TEMPLATE"),
        (r'TEMPLATE """.*?"""', "TEMPLATE {{ .Prompt }}", "F18", "TEMPLATE writes a question otherwise"),
        (r"<\|im_end\|>\n\{\{ end", "<|im_end|>{{ end", "F18", "TEMPLATE writes"),
        (r"assistant\{\{", "assistant \n{{", "F18", "TEMPLATE writes"),
        (r'SYSTEM """.*?"""', 'SYSTEM "You are a pirate."', "F05", "another system text than the cases'"),
        (r'PARAMETER stop "<\|im_end\|>"', "", "F18", "no PARAMETER stop is '<|im_end|>'"),
        ("", 'PARAMETER stop "</s>"', "F18", "'</s>' is none of the model's"),
        ("", "PARAMETER stop }", "F18", "it cuts answers that hold it"),
        (r"num_ctx \d+", "num_ctx 128", "F18", "num_ctx 128 has no room for golden/1 and 64 tokens"),
        (r"num_ctx \d+", "num_ctx all", "F18", "no size of a context"),
        (r"num_predict \d+", "num_predict 16", "F18", "cuts answers that were gated with 64 tokens"),
        (r"temperature 0", "temperature 0.8", "F17", "PARAMETER temperature 0.8, gated was 0"),
        (r"repeat_penalty 1", "repeat_penalty 1.1", "F17", "PARAMETER repeat_penalty 1.1, gated was 1"),
        ("", "PARAMETER mirostat 2", "F17", "which the gate did not apply"),
        ("", "ADAPTER ./lora.gguf", "F12", "ADAPTER applies ./lora.gguf, and the file was gated without"),
        ("", "MESSAGE user Hello!", "F18", "MESSAGE puts 1 turns before every prompt"),
        ("", "TEMPLET x", "F18", ":15: 'TEMPLET' is no instruction (did you mean 'TEMPLATE'?)"),
    ],
)
def test_what_is_served_otherwise_fails(pattern: str, by: str, mode: str, told: str, judge: Any) -> None:
    """Each difference from what was gated fails, with its line and its failure mode."""
    result = judge(pattern, by)
    assert (result.outcome, result.mode) == ("failed", mode), result
    assert told in result.reason


@pytest.mark.parametrize(
    ("pattern", "by", "told"),
    [
        (r"PARAMETER temperature 0\n", "", "no PARAMETER temperature: Ollama's default"),
        (r'SYSTEM """.*?"""', "", "no SYSTEM; whoever calls must send"),
        (r'SYSTEM """.*?"""', f'SYSTEM " {SYSTEM} "', "but for blanks at its ends"),
        (r'PARAMETER stop "<\|endoftext\|>"', "", "no PARAMETER stop is '<|endoftext|>'"),
        ("", 'PARAMETER stop "<|im_start|>"', "is a control token, but none that ends an answer"),
        (r'TEMPLATE """.*?"""', f"TEMPLATE {USUAL}", "TEMPLATE writes an empty system text otherwise"),
    ],
)
def test_what_may_be_meant_so_warns(pattern: str, by: str, told: str, judge: Any) -> None:
    """What depends on the caller, and what no real conversation has, is told and fails nothing."""
    result = judge(pattern, by)
    assert result.outcome == "warned", result
    assert told in " ".join((result.reason, *result.details))


@pytest.mark.parametrize(
    ("pattern", "by", "told"),
    [
        (r'TEMPLATE """.*?"""', "TEMPLATE {{ .Prompt | html }}", "{{ .Prompt | html }} is not known here"),
        (r'TEMPLATE """.*?"""', "TEMPLATE {{ with .Prompt }}x{{ end }}", "{{ with .Prompt }} is not known here"),
        ("", "RENDERER qwen3-coder", "RENDERER qwen3-coder writes the prompts"),
    ],
)
def test_what_is_not_known_is_not_green(pattern: str, by: str, told: str, judge: Any) -> None:
    """A construct that is not evaluated here is named, and the check was not made."""
    result = judge(pattern, by)
    assert result.outcome == "not checked"
    assert told in result.reason


def test_a_case_with_an_empty_input_is_odd(judge: Any) -> None:
    """The usual template leaves an empty turn out: of a case that tries just that it is told, and fails nothing."""
    empty = {**PROMPTS, "adversarial/empty": (Message("system", SYSTEM), Message("user", ""))}
    assert judge(r'TEMPLATE """.*?"""', f"TEMPLATE {USUAL}", prompts=empty).outcome == "warned"


def test_a_template_that_refuses_everything_is_not_checked(judge: Any, tmp_path: Path) -> None:
    """Where no conversation could be compared, nothing was."""
    refusing = edit(Q8_0, tmp_path / "no.gguf", Edit({"tokenizer.chat_template": "{{ raise_exception('no') }}"}))
    result = judge(r"FROM \S+", "FROM ./no.gguf", path=refusing)
    assert (result.outcome, "refuses every conversation" in result.reason) == ("not checked", True)


def test_a_difference_is_shown(judge: Any) -> None:
    """Both texts are shown where they first differ."""
    result = judge(r"assistant\{\{", "assistance{{")
    assert [line.partition(":")[0] for line in result.details[:2]] == ["TEMPLATE", "the file"]
    assert "assistance" in result.details[0]


def test_cases_without_a_system_text_get_none(judge: Any) -> None:
    """A SYSTEM that no case has adds a turn; where cases have several, none can be the right one for all."""
    bare = {"golden/1": (Message("user", "Hello!"),)}
    assert (judge(prompts=bare).outcome, judge(prompts=bare).mode) == ("failed", "F05")
    both = {**PROMPTS, "golden/9": (Message("system", "Sum it up."), Message("user", "Hello!"))}
    assert judge(prompts=both).outcome == "warned"
    assert judge(r'SYSTEM """.*?"""', "", prompts=both).outcome == "passed"


def test_sampling_is_compared_with_the_gate_s(judge: Any) -> None:
    """A gate that samples wants the same temperature; top_k 1 is greedy whatever the temperature."""
    assert judge(r"temperature 0", "temperature 0.7", temperature=0.7).outcome == "passed"
    assert judge(temperature=0.7).outcome == "failed"
    assert judge(r"temperature 0", "temperature 0.7\nPARAMETER top_k 1").outcome == "passed"


def test_a_context_that_is_left_out_is_told(judge: Any) -> None:
    """Without num_ctx there may be as little room as an old Ollama's default."""
    long = {"golden/1": (Message("system", SYSTEM), Message("user", "x" * 5000))}
    assert judge(r"PARAMETER num_ctx \d+\n", "", prompts=long, n_ctx=4096).outcome == "warned"
    assert judge(r"PARAMETER num_ctx \d+\n", "", n_ctx=2048).outcome == "passed"


def test_an_adapter_that_was_gated_must_be_applied(judge: Any, tmp_path: Path) -> None:
    """A base with a LoRA needs an ADAPTER line that names it."""
    from tests.faults.gguf_edit import write_lora
    from tests.preflight.static_subjects import ADAPTER

    base, lora = Path(shutil.copy(BASE_F16, tmp_path)), write_lora(ADAPTER, tmp_path / "lora.gguf")
    assert judge(r"FROM \S+", "FROM ./base-f16.gguf", path=base, lora=lora).mode == "F11"
    by = "FROM ./base-f16.gguf\nADAPTER ./"
    assert judge(r"FROM \S+", f"{by}lora.gguf", path=base, lora=lora).outcome == "passed"
    assert judge(r"FROM \S+", f"{by}other.gguf", path=base, lora=lora).mode == "F12"


def test_the_file_s_own_bos_is_not_written_twice(judge: Any, tmp_path: Path) -> None:
    """Where llama.cpp adds a BOS and the file's template has none, nobody can say what is right."""
    path = edit(
        Q8_0,
        tmp_path / "bos.gguf",
        Edit(added={"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": 0}),
    )
    result = judge(r"FROM \S+", "FROM ./bos.gguf", path=path)
    assert (result.outcome, "begins its texts with a BOS" in result.reason) == ("not checked", True)


# --- Finding it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["./{name}", "{name}", "{folder}/{name}", "@sha256:{sha256}", "/blobs/sha256-{sha256}"]
)
def test_a_modelfile_that_names_the_file_is_found(form: str, tmp_path: Path) -> None:
    """By its place, relative or absolute, or by its content as Ollama keeps it; and FROM is right then."""
    path = Path(shutil.copy(Q8_0, tmp_path))
    named = form.format(name=path.name, folder=tmp_path, sha256=hash_file(path))
    (tmp_path / "Modelfile").write_text(f"FROM {named}\nTEMPLATE x\n", encoding="utf-8")
    assert find_modelfile(path) == tmp_path / "Modelfile"
    assert "FROM" not in found("modelfile", alone(path, modelfile=tmp_path / "Modelfile")).reason


def test_a_modelfile_of_another_file_is_not_found(tmp_path: Path) -> None:
    """Where several files lie together, it is that of the one that it names."""
    other, path = Path(shutil.copy(Q4_K_M, tmp_path)), Path(shutil.copy(Q8_0, tmp_path))
    (tmp_path / "Modelfile").write_text(f"FROM ./{other.name}\n", encoding="utf-8")
    assert find_modelfile(path) is None
    assert find_modelfile(other) is not None


def test_a_damaged_modelfile_is_found_and_told(tmp_path: Path) -> None:
    """One that Ollama refuses is not overlooked."""
    path = Path(shutil.copy(Q8_0, tmp_path))
    (tmp_path / "Modelfile").write_text(f'FROM ./{path.name}\nTEMPLATE """x\n', encoding="utf-8")
    where = find_modelfile(path)
    result = found("modelfile", alone(path, modelfile=where))
    assert (result.outcome, "Modelfile:2: TEMPLATE" in result.reason) == ("failed", True)


def test_a_copy_elsewhere_is_the_same_file(judge: Any, tmp_path: Path) -> None:
    """FROM may name a copy with the same content, and a path that is not there cannot be told."""
    (tmp_path / "deployed").mkdir()
    shutil.copy(Q8_0, tmp_path / "deployed" / "model.gguf")
    assert judge(r"FROM \S+", "FROM deployed/model.gguf").outcome == "passed"
    assert judge(r"FROM \S+", "FROM /elsewhere/support-Q8_0.gguf").outcome == "warned"
