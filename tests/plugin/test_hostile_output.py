"""Whatever a model writes is judged, and is inert wherever it is shown."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING
from xml.etree.ElementTree import fromstring as parse_xml

import pytest

from tests import rendering

if TYPE_CHECKING:
    from tests.conftest import Project

RIGHT = '{"intent": "billing", "urgency": "low"}'
HOSTILE = {
    "ansi": "\x1b[31;1mred\x1b]0;title\x07\x9b2J",
    "github-command": "\n::error file=a.py,line=1::owned\n::add-mask::x\n##[error]owned",
    "azure-command": "##vso[task.setvariable variable=x]owned",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&gt;",
    "markdown": "| a | b |\n\n# title\n```\n[link](javascript:alert(1)) ![i](http://x/y.png) **bold** <!-- x",
    "lone-surrogate": "half \ud83d of a pair \udc00",
    "long": "lorem " * 1_700_000,
    "deep-list": "[" * 100_000,
    "deep-object": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "depth-of-a-hundred": "[" * 100 + "]" * 100,
    "long-integer": "9" * 5_000,
    "not-a-number": '{"intent": NaN, "urgency": "low"}',
    "infinite": '{"intent": 1e999, "urgency": "low"}',
    "duplicate-keys": '{"intent": "bug", "intent": "billing", "urgency": "low"}',
    "nul": '\x00{"intent": "billing", "urgency": "low"}',
    "nul-inside": '{"intent": "billing\\u0000", "urgency": "low"}',
    "surrogate-escape": '{"intent": "\\ud83d", "urgency": "low"}',
    "bidi": "\u202e\u2066{gnillib}\u2069 \u200b\u2028\u2029\U000e0041\ufeff",
    "xml": "]]></failure><testcase name='owned'/>\x08\x0b\ufffe\uffff",
    "format-string": "%s %d {0} {self} $(rm -rf /) `id`",
    "empty": "",
    "text-around": f"Sure! Here it is:\n```json\n{RIGHT}\n```",
    "two-values": RIGHT + RIGHT,
    "hostile-key": '{"intent": "billing", "urgency": "low", "::error::\\u001b[31m<b>": 1}',
    "hostile-value": '{"intent": "::error::\\u001b[31m</td><script>", "urgency": "low"}',
}
SAME_AS_RIGHT = {
    "white-space": f"\n\t {RIGHT} \r\n",
    "escaped": '{"intent": "\\u0062illing", "urgency": "low"}',
    "other-order": '{"urgency": "low", "intent": "billing"}',
}
LOOPS = frozenset({"long", "long-integer"})
"""Hostile outputs that run in circles as well; brackets alone are none."""

# What may stand in a file or on a terminal: anything that is visible as itself, and line ends.
NOT_INERT = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def assert_inert(text: str) -> None:
    """Fail if ``text`` holds a character that is not seen as itself, or a CI command."""
    raw = {character for character in text if unicodedata.category(character) in NOT_INERT} - {"\n"}
    assert raw == set()
    assert not re.search(r"(?m)^\s*::[A-Za-z]", text)
    assert "##[" not in text
    assert "##vso[" not in text


def assert_outputs_are_inert(project: Project, result: pytest.RunResult) -> None:
    """Fail if anything that the run showed or wrote is not inert."""
    shown = str(result.stdout) + str(result.stderr)
    assert "Traceback" not in shown
    assert "INTERNALERROR" not in shown
    assert_inert(shown)
    summary = (project.out / "summary.md").read_text(encoding="utf-8")
    assert_inert(summary)
    assert len(summary.encode()) < 1 << 20
    rendering.assert_inert(summary)
    report = (project.out / "report.json").read_bytes()
    report.decode("ascii")
    json.loads(report, parse_constant=pytest.fail)
    json.dumps(project.report, ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def all_cases() -> dict[str, str]:
    """Return every hostile output, and three that only look odd."""
    return HOSTILE | SAME_AS_RIGHT


def write_one_case_for_each(project: Project, texts: dict[str, str]) -> None:
    """Make a golden case for each text and record the text as its answer."""
    project.write_cases("golden", *(project.case(name, critical=name == "html") for name in texts))
    project.write_gates(
        form='metric = "schema_validity"\nmin = 0.9\nsuites = ["golden"]',
        parse='metric = "json_parse_rate"\nmin = 0.9\nsuites = ["golden"]',
        labels='metric = "macro_f1.intent"\nmin = 0.9\nsuites = ["golden"]',
    )
    (project.path / "journal.jsonl").unlink()
    project.record({f"golden/{name}": text for name, text in texts.items()})


def test_hostile_output_is_judged_and_shown_inert(
    project: Project, mode: tuple[str, ...], all_cases: dict[str, str]
) -> None:
    """Every hostile output is a miss, nothing crashes, and nothing raw reaches terminal, reports or JUnit XML."""
    write_one_case_for_each(project, all_cases)

    result = project.run("-v", "-rA", "--junitxml=junit.xml", *mode)

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    missed = {name: "failed" if name == "html" else "missed" for name in HOSTILE}
    golden = {name: outcome for name, outcome in project.outcomes.items() if name.startswith("golden/")}
    expected = missed | dict.fromkeys(SAME_AS_RIGHT, "passed")
    assert golden == {f"golden/{name}[cand]": outcome for name, outcome in expected.items()}
    assert project.gates == {"form[cand]": "failed", "parse[cand]": "failed", "labels[cand]": "failed"}
    assert_outputs_are_inert(project, result)
    junit = (project.path / "junit.xml").read_text(encoding="utf-8")
    assert_inert(junit)
    assert "owned" not in {case.get("name") for case in parse_xml(junit).iter("testcase")}  # noqa: S314 - our own run wrote it


def test_strict_run_shows_every_hostile_output_inert(project: Project, all_cases: dict[str, str]) -> None:
    """With --modelgate-strict each miss has a failure text of its own; all of them are inert."""
    write_one_case_for_each(project, all_cases)

    result = project.run("--modelgate-strict", "-vv", "--junitxml=junit.xml", "--tb=long")

    assert len(project.outcomes) == len(all_cases) + 4
    assert_outputs_are_inert(project, result)
    assert_inert((project.path / "junit.xml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("long", "json: the text has 10200000 characters, more than 1000000"),
        ("deep-list", "json: values are nested deeper than 100"),
        ("deep-object", "json: values are nested deeper than 100"),
        ("long-integer", "json: a number has more than 400 digits"),
        ("not-a-number", "json: NaN is not a JSON number"),
        ("infinite", "json: the number 1e999 is too large to represent"),
        ("duplicate-keys", "json: the key 'intent' appears twice in one object"),
        ("surrogate-escape", "json: a string holds a lone surrogate (half of a UTF-16 pair)"),
        ("empty", "json: the text is empty"),
        ("two-values", "json: text after the JSON value at character 39"),
        ("depth-of-a-hundred", "schema: $: "),
    ],
)
def test_hostile_output_breaks_a_named_contract(project: Project, name: str, reason: str) -> None:
    """The violation says in plain words what is wrong with the output; one that also runs in circles is told so."""
    write_one_case_for_each(project, {name: HOSTILE[name]})

    project.run()

    (row,) = [row for row in project.report["cases"] if (row["suite"], row["id"]) == ("golden", name)]
    first, *others = row["violations"]
    assert f"{first['contract']}: {first['message']}".startswith(reason)
    assert [broken["contract"] for broken in others] == ["repetition"] * (name in LOOPS)


def test_long_output_is_cut_in_reports(project: Project) -> None:
    """Ten megabytes of output do not make a report of ten megabytes; how much was left out is said."""
    write_one_case_for_each(project, {"long": HOSTILE["long"]})

    result = project.run()

    assert (project.out / "report.json").stat().st_size < 100_000
    (row,) = [row for row in project.report["cases"] if row["id"] == "long"]
    assert row["output"].endswith("… (+10184000 characters)")
    assert max(map(len, result.outlines)) < 1_000


def test_what_quotes_the_output_is_cut_in_reports(project: Project) -> None:
    """A label of 400,000 characters stands neither among labels nor in a mistake or a violation as a whole."""
    label = "x" * 400_000
    write_one_case_for_each(project, {"label": json.dumps({"intent": label, "urgency": label})})

    project.run()

    assert (project.out / "report.json").stat().st_size < 100_000
    (row,) = [row for row in project.report["cases"] if row["id"] == "label"]
    assert row["labels"]["intent"] == ['"billing"', f'"{"x" * 499}… (+399502 characters)']
    assert [wrong["message"][:20] for wrong in row["mistakes"]] == ['intent: "xxxxxxxxxxx', 'urgency: "xxxxxxxxxx']
    assert max(len(found["message"]) for found in row["mistakes"] + row["violations"]) < 600


@pytest.mark.parametrize(
    ("finish_reason", "more"), [("stop", ([], [])), ("length", (["truncation"], ["repetition"]))], ids=["ended", "cut"]
)
def test_a_section_a_thousand_times_over_is_told_once(
    project: Project, finish_reason: str, more: tuple[list[str], list[str]]
) -> None:
    """Each section's rules are told once, however often the output repeats it; what only compresses is a loop if cut."""
    project.write_gates(
        head='version = 1\n[suites]\nodd = "odd/*.jsonl"\n[performance]\nsuite = "odd"\n'
        '[tasks.note]\nkind = "sections"\n'
        'sections = [{ title = "Fix" }, { title = "Risk level", one_of = ["low", "high"] }]\n',
        form='metric = "contract_validity"\nmin = 0.5',
    )
    project.write_cases("odd", {"id": "odd", "input": "x", "expected": "Fix: restart it.\nRisk level: low"})
    project.record(
        {"odd/odd": "Fix:\nRisk level: none\n" * 40_000 + "R\u0131sk level: low"}, finish_reason=finish_reason
    )

    result = project.run()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (row,) = project.report["cases"]
    assert [found["contract"] for found in row["violations"]] == [*more[0], *["sections"] * 3, *more[1]]
    assert [found["message"] for found in row["violations"] if found["contract"] == "sections"] == [
        "section 'Fix' stands there twice",
        "section 'Fix' is empty",
        "section 'Risk level' must be one of low, high, got 'none'",
    ]
    assert "Traceback" not in str(result.stdout)


def test_values_deep_within_bounds_cross_workers(project: Project, mode: tuple[str, ...]) -> None:
    """An expected value as deep as is allowed, and an output that equals it, pass with and without xdist."""
    deep = {"value": json.loads("[" * 97 + "]" * 97)}
    project.write_gates(
        head='version = 1\n[suites]\nodd = "odd/*.jsonl"\n[performance]\nsuite = "odd"\n[tasks.any]\nkind = "extraction"\n',
        exact='metric = "exact_match"\nmin = 1',
    )
    project.write_cases("odd", {"id": "deep", "input": "x", "expected": deep})
    project.record()

    result = project.run(*mode)

    assert result.ret == 0
    assert project.outcomes == {"odd/deep[cand]": "passed"}


def test_schema_that_recurses_is_no_crash(project: Project) -> None:
    """A deep value under a schema that refers to itself is a violation, not a RecursionError."""
    tree = {"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"type": "object"}]}
    project.write("golden/tree.json", json.dumps(tree))
    project.write_gates(
        head='version = 1\n[suites]\nodd = "odd/*.jsonl"\n[performance]\nsuite = "odd"\n'
        '[tasks.any]\nkind = "extraction"\nschema = "golden/tree.json"\n',
        form='metric = "schema_validity"\nmin = 0.1',
    )
    project.write_cases("odd", {"id": "deep", "input": "x"}, {"id": "flat", "input": "x"})
    project.record({"odd/deep": "[" * 100 + "]" * 100, "odd/flat": "[[], {}]"})

    result = project.run()

    assert result.ret == 0
    assert project.outcomes["odd/flat[cand]"] == "passed"
    assert project.outcomes["odd/deep[cand]"] in {"passed", "missed"}
    assert "Traceback" not in str(result.stdout)


def test_hostile_input_and_expectation_are_shown_inert(project: Project) -> None:
    """What a case asks and expects is as inert as what the model wrote."""
    odd = "\x1b[31m::error::<script>alert(1)</script>\u202e|x|"
    project.write_gates(
        head='version = 1\n[suites]\nodd = "odd/*.jsonl"\n[performance]\nsuite = "odd"\n[tasks.any]\nkind = "extraction"\n',
        exact='metric = "exact_match"\nmin = 1',
    )
    project.write_cases("odd", {"id": "odd", "input": odd, "expected": {odd: odd}, "critical": True, "group": odd})
    project.record({"odd/odd": json.dumps({odd: "no", f"{odd}2": odd})})

    result = project.run()

    assert project.outcomes == {"odd/odd[cand]": "failed"}
    assert_outputs_are_inert(project, result)
