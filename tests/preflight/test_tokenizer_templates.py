"""What two chat templates write is told apart: another template, a system turn, a BOS, an answer that nothing opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_modelgate.records import Message
from tests.engines.conftest import CHATML
from tests.preflight.tokenizing import PROMPTS, SYSTEM, checked, failures, outcomes, write

TURN = "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
OPENING = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
DEFAULT_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
INSTRUCTIONS = (
    "{% for message in messages %}{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]"
    "{% else %} {{ message.content }}<|im_end|>{% endif %}{% endfor %}"
)
"""A template that needs no generation prompt: the end of the user's turn opens the answer's."""
THINKING = CHATML.replace(
    "{{ message.content }}",
    "{% if loop.last and message.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ message.content }}",
)
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
)
USER_ONLY = {"golden/parcel": (Message("user", "Where is my parcel?"),)}


@pytest.mark.parametrize("template", [CHATML, INSTRUCTIONS, DEFAULT_SYSTEM + CHATML], ids=["chatml", "inst", "default"])
def test_equal_templates_pass(template: str, tmp_path: Path) -> None:
    """A template of any family agrees with itself, whatever it writes of its own."""
    target, reference = (write(tmp_path, name, template) for name in ("target", "reference"))
    assert failures(checked(target, reference)) == {}


def test_the_first_difference_is_shown(tmp_path: Path) -> None:
    """A case is named, with the text around the first difference on both sides."""
    target = write(tmp_path, "target", CHATML.replace("<|im_end|>\n", "<|im_end|>"))
    found = checked(target, write(tmp_path, "reference", CHATML))["chat_template"]
    assert (found.outcome, found.mode) == ("failed", "F01")
    assert found.reason == "golden/parcel: the prompt is another text than the reference's (and 11 more)"
    assert found.details == (
        r"target.gguf, at character 44: ...'r in JSON.<|im_end|><|im_start|>user\nWhere is my parcel?<|im'...",
        r"reference, at character 44: ...'r in JSON.<|im_end|>\n<|im_start|>user\nWhere is my parcel?<|i'...",
    )


def test_white_space_that_is_cut_off_is_seen(tmp_path: Path) -> None:
    """A template that trims shows in a fixed conversation, though no case has white space at its ends."""
    target = write(tmp_path, "target", CHATML.replace("message.content", "message.content | trim"))
    found = checked(target, write(tmp_path, "reference", CHATML))["chat_template"]
    assert found.outcome == "failed"
    assert found.reason.startswith("shape: space around: ")


@pytest.mark.parametrize("condition", ["true", "messages[0].role != 'system'"], ids=["always", "where there is none"])
def test_a_system_turn_that_is_inserted_is_named(condition: str, tmp_path: Path) -> None:
    """It is told apart from another template, in both checks that see it."""
    inserted = f"{{% if {condition} %}}{DEFAULT_SYSTEM}{{% endif %}}" + CHATML
    results = checked(write(tmp_path, "target", inserted), write(tmp_path, "reference", CHATML))
    assert failures(results) == {"chat_template": "F05", "system_prompt": "F05"}


def test_a_system_text_that_is_dropped_is_named(tmp_path: Path) -> None:
    """A template that leaves the system turn out drops the task's instructions."""
    dropping = CHATML.replace(TURN, "{% if message.role != 'system' %}" + TURN + "{% endif %}")
    results = checked(write(tmp_path, "target", dropping), write(tmp_path, "reference", CHATML))
    assert failures(results) == {"chat_template": "F05", "system_prompt": "F05"}
    assert results["system_prompt"].reason == "the system text stands in the prompt 0 times"


def test_a_system_text_that_is_doubled_is_named(tmp_path: Path) -> None:
    """The file alone shows it."""
    doubling = "{% for message in messages if message.role == 'system' %}" + TURN + "{% endfor %}" + CHATML
    results = checked(write(tmp_path, "target", doubling), None)
    assert failures(results) == {"system_prompt": "F05"}
    assert results["system_prompt"].reason == "the system text stands in the prompt 2 times"


def test_a_system_text_behind_the_users_is_named(tmp_path: Path) -> None:
    """Its place counts too."""
    behind = CHATML.replace("in messages", "in messages | reverse")
    assert checked(write(tmp_path, "target", behind), None)["system_prompt"].reason == (
        "the system text follows the user's"
    )


def test_a_template_without_a_system_role_is_no_fault_where_none_is_needed(tmp_path: Path) -> None:
    """Where cases have a system turn, it is one: they cannot be asked."""
    path = write(tmp_path, "target", NO_SYSTEM)
    assert failures(checked(path, None, prompts=USER_ONLY)) == {}
    assert failures(checked(path, path, prompts=USER_ONLY)) == {}
    results = checked(path, path)
    assert failures(results) == {"chat_template": "F01", "system_prompt": "F05"}
    assert results["chat_template"].reason == (
        "golden/parcel: the template does not render it: "
        "the chat template refused the messages: System role not supported (and 1 more)"
    )


def test_an_own_system_text_is_asked_about_where_cases_would_get_it(tmp_path: Path) -> None:
    """Without a reference nobody knows whether the training had it; cases with a system turn never get it."""
    path = write(tmp_path, "target", "{% if messages[0].role != 'system' %}" + DEFAULT_SYSTEM + "{% endif %}" + CHATML)
    found = checked(path, None, prompts=USER_ONLY)["system_prompt"]
    assert found.outcome == "warned"
    assert "You are a helpful assistant." in found.reason
    assert checked(path, None)["system_prompt"].outcome == "passed"


def test_a_bos_that_one_template_writes_is_named(tmp_path: Path) -> None:
    """One more token in front is no other template, and no system turn."""
    target = write(tmp_path, "target", "{{ bos_token }}" + CHATML)
    results = checked(target, write(tmp_path, "reference", CHATML))
    assert failures(results) == {"chat_template": "F03", "bos": "F03"}
    assert results["bos"].reason == "prompts begin with 1 BOS, the reference's with 0"


def test_a_cut_generation_prompt_is_named(tmp_path: Path) -> None:
    """It is seen in the file alone, and against a reference."""
    target, reference = write(tmp_path, "target", CHATML.replace(OPENING, "")), write(tmp_path, "reference", CHATML)
    alone = checked(target, None)
    assert failures(alone) == {"generation_prompt": "F01"}
    assert alone["generation_prompt"].reason == (
        r"an answer is written behind '<|im_start|>assistant\n', which the prompt does not end with: "
        "nothing opens the assistant's turn"
    )
    assert failures(checked(target, reference)) == {"chat_template": "F01", "generation_prompt": "F01"}


def test_an_answer_that_was_trained_behind_other_words_is_warned_of(tmp_path: Path) -> None:
    """A thinking family's template writes more before an answer that is given than the prompt ends with."""
    path = write(tmp_path, "target", THINKING)
    found = checked(path, None)["generation_prompt"]
    assert (found.outcome, found.mode) == ("warned", "F06")
    assert "<think>" in found.reason


def test_a_template_that_renders_nothing_is_told_in_one_line(tmp_path: Path) -> None:
    """A broken template fails every case, with its error."""
    results = checked(write(tmp_path, "target", "{% for %}"), None)
    assert results["chat_template"].outcome == "failed"
    assert "the chat template is wrong at line 1" in results["chat_template"].reason
    assert outcomes(results, "passed").isdisjoint(
        {"chat_template", "system_prompt", "generation_prompt", "prompt_fits"}
    )


def test_both_sides_may_refuse_a_shape(tmp_path: Path) -> None:
    """A conversation that neither template renders is no difference; one that one of them renders is."""
    strict = "{% if messages[0].content == '' %}{{ raise_exception('say something') }}{% endif %}" + CHATML
    path = write(tmp_path, "target", strict)
    prompts = {"golden/one": (SYSTEM, *USER_ONLY["golden/parcel"])}
    assert failures(checked(path, path, prompts=prompts)) == {}
    found = checked(path, write(tmp_path, "reference", CHATML), prompts=PROMPTS)["chat_template"]
    assert found.outcome == "failed"
    assert "say something" in found.details[0]
    assert found.details[1] == "reference: it is rendered"
