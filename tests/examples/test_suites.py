"""The suites that ship: each gate lets right answers pass, and blocks alone what it is there to block."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pytest_modelgate.baselines import write_baseline
from pytest_modelgate.cases import Case
from pytest_modelgate.detectors.detector import Detector
from pytest_modelgate.detectors.rubric import BUILT_IN
from pytest_modelgate.detectors.sentences import sentences
from pytest_modelgate.detectors.terms import stands_in, technical_terms
from pytest_modelgate.records import Generation
from tests.examples.conftest import SUITES, Breaker, Example, Session

LEAST = {"golden": 60, "adversarial": 30, "heldout": 100}
LEAST_OF_SUPPORT = {"golden": 120, "adversarial": 60, "heldout": 300}
LEAST_CRITICAL = {"support": 20}
SAME_ON_PURPOSE = {("support", "length-many-spaces")}
"""Adversarial cases that say what a golden one says, to see whether what was done to the text changes the answer."""


# The suites


def test_suites_are_large_enough(example: Example) -> None:
    """No suite shrinks below what its figures were promised on, and golden holds critical cases."""
    counts = {suite: sum(key[0] == suite for key in example.cases) for suite in SUITES}
    critical = [case for case in example.rules.cases if case.suite == "golden" and case.critical]

    least = LEAST_OF_SUPPORT if example.name == "support" else LEAST
    assert {suite: n for suite, n in counts.items() if n < least[suite]} == {}
    assert len(critical) >= LEAST_CRITICAL.get(example.name, 5)


def test_no_case_stands_twice(example: Example) -> None:
    """Ids are unique over all suites, and no text of one suite of a task stands in another one."""
    by_id, by_text = defaultdict(list), defaultdict(set)
    for case in example.rules.cases:
        by_id[case.id].append(case.location)
        if (example.name, case.id) not in SAME_ON_PURPOSE and case.input.strip():
            by_text[case.task, " ".join(case.input.casefold().split())].add(case.suite)

    assert {name: places for name, places in by_id.items() if len(places) > 1} == {}
    assert {text: suites for text, suites in by_text.items() if len(suites) > 1} == {}


def test_groups_do_not_cross(example: Example) -> None:
    """What belongs together is either golden or held out."""
    suites = defaultdict(set)
    for case in example.rules.cases:
        suites[case.group].add(case.suite)

    assert {group for group, where in suites.items() if group and where >= {"golden", "heldout"}} == set()


# Right answers


def test_right_answers_pass_every_gate(session: Session) -> None:
    """Right answers let the release out; gates on speed and on a baseline have nothing to judge, and do not block."""
    result = session.run({"right": {}})

    report = session.report
    assert (report["verdict"], report["reasons"], result.ret) == ("passed", [], pytest.ExitCode.OK)
    assert report["selection"] == "full"
    outcomes = outcomes_of(report, "right")
    assert {gate.name: outcomes[gate.name] for gate in session.example.judging} == dict.fromkeys(
        (gate.name for gate in session.example.judging), "passed"
    )
    for gate in report["gates"]:
        if gate["outcome"] != "passed":
            table = session.example.gate(gate["name"].partition(".")[0]).table
            assert table.targets == ("gguf",) or table.max_regression is not None
            assert (gate["outcome"], gate["blocks"]) == ("not evaluated", False)


# Wrong answers: how to break just enough cases that one gate fails, and no other


def say_before(example: Example, case: Case) -> Generation:
    """Chat before the answer."""
    return Generation(f"Sure, here is what you asked for:\n{example.answer(case)}")


def say_after(example: Example, case: Case) -> Generation:
    """Chat after the answer."""
    return Generation(f"{example.answer(case)}\nDone.")


def cut_off(example: Example, case: Case) -> Generation:
    """Use up all tokens without ending the turn."""
    return Generation(example.answer(case), finish_reason="length")


def repeat_the_end(example: Example, case: Case) -> Generation:
    """Run in circles after the answer."""
    return Generation(example.answer(case) + " And then try it once more." * 24)


def add_key(example: Example, case: Case) -> Generation:
    """Give a key that the schema does not know, and no value."""
    return Generation(json.dumps(json.loads(example.answer(case)) | {"note": None}))


def relabel(field: str, labels: str) -> Breaker:
    """Give the next of the labels instead of the right one."""
    names = labels.split()

    def break_case(_: Example, case: Case) -> Generation | None:
        if not case.has_expected:
            return None
        wrong = names[(names.index(case.expected[field]) + 1) % len(names)]
        return Generation(json.dumps(case.expected | {field: wrong}))

    return break_case


def drop_section(title: str) -> Breaker:
    """Leave one section out."""

    def break_case(example: Example, case: Case) -> Generation:
        return Generation(re.sub(rf"^{title}:.*\n?(?:- .*\n?)*", "", example.answer(case), flags=re.MULTILINE))

    return break_case


def relabel_section(title: str, labels: str) -> Breaker:
    """Give the next of the labels in one section."""
    names = labels.split()

    def break_case(_: Example, case: Case) -> Generation | None:
        found = re.search(rf"^{title}: (\w+)$", str(case.expected), flags=re.MULTILINE)
        if found is None:
            return None
        wrong = names[(names.index(found[1]) + 1) % len(names)]
        return Generation(case.expected[: found.start(1)] + wrong + case.expected[found.end(1) :])

    return break_case


def say_little(shape: str) -> Breaker:
    """Keep the form and the terms, and say nothing with them: ``{terms}`` are those that the reference takes up."""

    def break_case(example: Example, case: Case) -> Generation | None:
        terms = [term for term in technical_terms(case.input) if stands_in(term, example.answer(case))]
        text = shape.format(terms=" ".join(terms), first=terms[0] if terms else "It")
        return Generation(text) if example.keeps_contract(case, text) else None

    return break_case


def capitalise_terms(example: Example, case: Case) -> Generation | None:
    """Write every technical term in other letters than the input does."""
    text = example.answer(case)
    for term in sorted(technical_terms(case.input), key=len, reverse=True):
        text = text.replace(term, term.swapcase())
    return Generation(text) if text != example.answer(case) and example.keeps_contract(case, text) else None


# Tool calls


def calls(*named: dict[str, Any]) -> Generation:
    """Answer with these calls."""
    return Generation(json.dumps(named))


def expected_calls(example: Example, case: Case) -> list[dict[str, Any]]:
    """Return the right calls."""
    found: list[dict[str, Any]] = json.loads(example.answer(case))
    return found


def name_another_tool(example: Example, case: Case) -> Generation | None:
    """Call the tool for messages instead of the first one."""
    named = expected_calls(example, case)
    if not named or named[0]["name"] == "send_message":
        return None
    return calls(named[0] | {"name": "send_message"}, *named[1:])


def alter_arguments(example: Example, case: Case) -> Generation | None:
    """Give another value in every argument."""
    named = expected_calls(example, case)
    wrong = [call | {"arguments": dict.fromkeys(call["arguments"], "elsewhere")} for call in named]
    return calls(*wrong) if wrong != named else None


def add_argument(example: Example, case: Case) -> Generation | None:
    """Give an argument that nobody asked for."""
    named = expected_calls(example, case)
    if not named:
        return None
    return calls(named[0] | {"arguments": named[0]["arguments"] | {"note": "please"}}, *named[1:])


def call_unsafe(_: Example, case: Case) -> Generation | None:
    """Open the door to whoever asks."""
    unlock = {"name": "unlock_door", "arguments": {"door": "front"}}
    return calls(unlock) if case.suite == "adversarial" else None


def call_something(_: Example, case: Case) -> Generation:  # noqa: ARG001 - a breaker's arguments
    """Switch on a light that nobody spoke of."""
    return calls({"name": "set_light", "arguments": {"room": "hallway", "state": "on"}})


def call_nothing(_: Example, case: Case) -> Generation:  # noqa: ARG001 - a breaker's arguments
    """Decline."""
    return calls()


# Records


def record(case: Case, **changes: Any) -> Generation:
    """Answer with the expected record, changed."""
    return Generation(json.dumps(case.expected | changes))


def wrap_in_list(_: Example, case: Case) -> Generation:
    """Give a list of one record."""
    return Generation(json.dumps([case.expected]))


def alter_critical_fields(_: Example, case: Case) -> Generation | None:
    """Misread the number, the sum and the currency of an invoice."""
    if case.expected["total"] is None or not case.expected["invoice_number"]:
        return None
    return record(case, invoice_number=case.expected["invoice_number"] + "7", total=1.25, currency="XYZ")


def alter_total(_: Example, case: Case) -> Generation:
    """Misread the sum."""
    return record(case, total=1.25)


def alter_other_fields(_: Example, case: Case) -> Generation | None:
    """Misread who sent the invoice and when."""
    given = {name: "1999-12-31" for name in ("date", "due_date") if case.expected[name]}
    vendor = {name: f"X{value}X" for name, value in case.expected["vendor"].items() if value}
    return record(case, vendor=case.expected["vendor"] | vendor, **given) if given or vendor else None


def leave_out_lines(_: Example, case: Case) -> Generation | None:
    """Give no line."""
    return record(case, lines=[]) if case.expected["lines"] else None


def invent_due_date(_: Example, case: Case) -> Generation | None:
    """Give a date where the text says none."""
    return record(case, due_date="2026-12-31") if case.expected["due_date"] is None else None


# Summaries


def lose(*criteria: str) -> Breaker:
    """Edit the reference until it no longer meets these criteria, and still meets the others."""

    def break_case(example: Example, case: Case) -> Generation | None:
        text = example.answer(case)
        for criterion in criteria:
            text = EDITS[criterion](text, case.input)
        scores = example.judge((case.suite, case.id), Generation(text)).scores
        missed = {name for name in BUILT_IN if not scores[f"field.{name}"]}
        return Generation(text) if missed == set(criteria) else None

    return break_case


def drop_sentences(detect: Detector) -> Callable[[str, str], str]:
    """Leave out each sentence that meets a criterion by itself."""
    return lambda text, given: " ".join(sentence for sentence in sentences(text) if not detect(sentence, given))


def forget_times(text: str, _: str) -> str:
    """Tell nothing of when things happened, or in which order."""
    text = re.sub(r"(?:(?:at|by|from|until|since|between|and|to) )?\b\d{1,2}:\d\d\b", "", text)
    text = re.sub(r"(?:within |for |after |took )?\b[\w-]+ (?:seconds?|minutes?|hours?|days?)\b(?: later)?", "", text)
    order = "after|afterwards|before|until|once|when|while|during|following|since|then|later|by the time|as soon as"
    return re.sub(rf"\b(?:{order})\b", "as", text)


def forget_names(text: str, given: str) -> str:
    """Say "something" for whatever has a name in the timeline, but for its times and figures."""
    names = {word for word in re.findall(r"[\w./:@-]+", given) if re.search(r"[A-Z_]|[a-z][\d.-]|\d[a-z-]", word)}
    for name in sorted((name.strip(".:-") for name in names), key=len, reverse=True):
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "something", text, flags=re.IGNORECASE)
    return text


EDITS: Mapping[str, Callable[[str, str], str]] = {
    "timeline_reference": forget_times,
    "contributing_factors": drop_sentences(BUILT_IN["contributing_factors"]),
    "specific_component": forget_names,
    "prevention_action": drop_sentences(BUILT_IN["prevention_action"]),
}

INTENTS = (
    "billing technical_issue account_access feature_request refund_request complaint cancellation general_question"
)

BROKEN: Mapping[str, Mapping[str, Breaker]] = {
    "support": {
        "schema_validity": add_key,
        "no_critical_failures": relabel("intent", INTENTS),
        "never_endless": cut_off,
        "intent_golden": relabel("intent", INTENTS),
        "intent_heldout": relabel("intent", INTENTS),
        "hostile_input_keeps_form": say_before,
    },
    "ci_failure": {
        "two_parts": say_before,
        "quality": say_little(
            "Root Cause: Somehow {terms} may well have upset one of those steps, though hardly anybody could tell.\n"
            "Fix: Try another time and ask whoever wrote all this."
        ),
        "terms": capitalise_terms,
        "no_critical_failures": drop_section("Fix"),
        "hostile_logs_keep_form": drop_section("Root Cause"),
        "never_endless": cut_off,
        "no_loops": repeat_the_end,
    },
    "incident": {
        "summary_form": drop_section("Threat Assessment"),
        "cause_form": drop_section("Legitimate Activity"),
        "risk_form": say_before,
        "risk_level": relabel_section("Risk Level", "Critical High Medium Low"),
        "priority": relabel_section("Priority", "P1 P2 P3 P4"),
        "summary_quality": say_little(
            "Summary: {terms} did something or other, which nobody can tell much about at present.\n"
            "Key Events:\n- Something\n- Something else\n- Nothing more\n"
            "Threat Assessment: It may be bad, or it may not."
        ),
        "cause_quality": say_little(
            "Malicious Activity:\n- Perhaps\nLegitimate Activity:\n- Perhaps\nMisconfigurations:\n- Perhaps\n"
            "Conclusion: {first} did it, or something else."
        ),
        "no_critical_failures": drop_section("Conclusion|Priority|Key Events"),
        "hostile_logs_keep_form": say_before,
        "never_endless": cut_off,
    },
    "invoice": {
        "record_parse": wrap_in_list,
        "schema_validity": add_key,
        "critical_fields": alter_critical_fields,
        "field_f1": alter_other_fields,
        "lines": leave_out_lines,
        "nothing_invented": invent_due_date,
        "no_critical_failures": alter_total,
        "hostile_texts_keep_form": say_before,
        "never_endless": cut_off,
    },
    "postmortem": {
        "rubric": lose("contributing_factors", "prevention_action"),
        "timeline_reference": lose("timeline_reference"),
        "contributing_factors": lose("contributing_factors"),
        "specific_component": lose("specific_component"),
        "prevention_action": lose("prevention_action"),
        "terms": capitalise_terms,
        "no_critical_failures": lose("contributing_factors", "prevention_action"),
        "never_endless": cut_off,
        "no_loops": repeat_the_end,
    },
    "smart_home": {
        "json_parse": say_after,
        "tool_name": name_another_tool,
        "required_arguments": alter_arguments,
        "calls": add_argument,
        "unsafe_calls": call_unsafe,
        "declines": call_something,
        "refuses_too_much": call_nothing,
        "no_critical_failures": call_nothing,
        "never_endless": cut_off,
    },
}


def test_every_gate_blocks_alone(session: Session) -> None:
    """For every gate there are answers that fail it and no other."""
    example = session.example
    broken = BROKEN[example.name]
    assert set(broken) == {gate.name for gate in example.judging}

    result = session.run({name: example.just_enough(example.gate(name), break_) for name, break_ in broken.items()})

    report = session.report
    assert (report["verdict"], result.ret) == ("blocked", pytest.ExitCode.TESTS_FAILED)
    for name in broken:
        outcomes = outcomes_of(report, name)
        judged = {gate.name: outcomes[gate.name] for gate in example.judging}
        assert judged == dict.fromkeys(judged, "passed") | {name: "failed"}, name
        failing = [case["id"] for case in report["cases"] if case["target"] == name and case["outcome"] == "failed"]
        assert len(failing) == (name == "no_critical_failures"), name


@pytest.mark.parametrize("example", ["incident"], indirect=True)
@pytest.mark.parametrize(
    ("task", "gate", "number"),
    [("summary", "summary_quality", 8), ("cause", "cause_quality", 8), ("risk", "priority", 16)],
)
def test_a_task_that_drowns_is_named(session: Session, task: str, gate: str, number: int) -> None:
    """Against a baseline of right answers, worse ones in one task are blocked by name, though they keep every limit."""
    example = session.example
    worse = itertools.islice(example.just_enough(example.gate(gate), BROKEN["incident"][gate]).items(), number)
    generation = example.rules.gates_file.generation.model_dump()
    rules = example.rules
    write_baseline(session.path / "baselines", rules.tasks, rules.cases, example.right_records, generation, {})

    result = session.run({"right": {}, "diluted": dict(worse)})

    report = session.report
    assert set(outcomes_of(report, "right").values()) == {"passed"}
    outcomes = outcomes_of(report, "diluted")
    drowned = f"no_task_drowns.max_regression.{task}"
    assert {name for name, outcome in outcomes.items() if outcome != "passed"} == {drowned}
    assert (report["verdict"], result.ret) == ("blocked", pytest.ExitCode.TESTS_FAILED)
    (reason,) = report["reasons"]
    assert reason.startswith(f"gate {drowned}[diluted]: ")
    assert f"worse than the baseline in task '{task}'" in reason


def outcomes_of(report: Mapping[str, Any], target: str) -> dict[str, str]:
    """Return the outcome of each gate of a target."""
    return {gate["name"]: gate["outcome"] for gate in report["gates"] if gate["target"] == target}
