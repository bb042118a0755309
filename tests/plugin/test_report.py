"""The report says what was judged by what; an old or half-written one is never taken for it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from pytest_modelgate.identity import hash_file

if TYPE_CHECKING:
    from tests.conftest import Project

SCHEMA = json.loads(Path(__file__).parents[2].joinpath("docs", "report.schema.json").read_text(encoding="utf-8"))
WRONG = json.dumps({"intent": "bug", "urgency": "low"})
# Two tokens of WRONG, each with a label: '{"intent": "bug"' and the rest.
TOKENS = {
    "output_tokens": 2,
    "prompt_tokens": 40,
    "margins": [3.0, 0.5],
    "ends": [WRONG.index(","), len(WRONG)],
    "logprobs": [math.log(0.5), math.log(0.25)],
}


def properties(schema: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema of a property or an item, with where it stands."""
    if isinstance(schema, dict):
        for name, value in schema.get("properties", {}).items():
            yield f"{path}.{name}", value
            yield from properties(value, f"{path}.{name}")
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                yield f"{path}[]", schema[key]
                yield from properties(schema[key], f"{path}[]")
        for name, value in schema.get("patternProperties", {}).items():
            yield f"{path}.{name}", value
        for branch in schema.get("anyOf", []):
            yield from properties(branch, path)


def test_schema_describes_every_key() -> None:
    """docs/report.schema.json is a schema, closed, and says of every key what it means."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    found = dict(properties(SCHEMA))
    assert len(found) > 80
    assert [path for path, schema in found.items() if not schema.get("description")] == []
    objects = [(path, schema) for path, schema in found.items() if "properties" in schema]
    assert [path for path, schema in objects if schema.get("additionalProperties") is not False] == []


@pytest.mark.parametrize("target", ["cand", "off"])
def test_report_obeys_its_schema(project: Project, target: str) -> None:
    """report.json validates, for a green run and for one with misses, errors and gates of every outcome."""
    if target == "off":
        project.record({"golden/late": WRONG, "golden/crash": "no"}, target="off", margins=[0.5, 0.25])
        project.write_cases("heldout", project.case("late", "refund"), project.case("new"))
        project.write_gates(
            failed='metric = "accuracy.intent"\nmin = 1\nsuites = ["golden"]\ntags = ["payment"]',
            passed='metric = "macro_f1.intent"\nmin = 0.1\nmax = 0.99\nsuites = ["golden"]\ntask = "support"',
            inconclusive='metric = "accuracy.intent"\nmin = 0.6\nsuites = ["golden"]\nconfidence = 0.9',
            incomplete='metric = "schema_validity"\nmin = 0.5',
            speed='metric = "latency_ms.p95"\nmax = 1\nseverity = "warn"',
            elsewhere='metric = "peak_rss_mb"\nmax = 1\ntargets = "gguf"',
        )

    project.run(target=target)

    jsonschema.Draft202012Validator(SCHEMA).validate(project.report)
    outcomes = {gate["outcome"] for gate in project.report["gates"]}
    assert outcomes == (
        {"passed"} if target == "cand" else {"passed", "failed", "inconclusive", "incomplete", "not evaluated"}
    )


def test_report_names_what_was_judged(project: Project) -> None:
    """Targets, gates file and suites are named with their hashes, the command as it can be run again."""
    project.run("-k", "not nothing and not this")

    report = project.report
    (target,) = report["targets"]
    assert (target["id"], target["role"], target["kind"], target["replayed"]) == ("cand", "model", "replay", 7)
    assert target["sha256"] == hash_file(project.path / "journal.jsonl")
    assert report["gates_file"] == {"path": "gates.toml", "sha256": hash_file(project.path / "gates.toml")}
    golden = report["suites"][0]
    assert golden == {
        "suite": "golden",
        "path": "golden/support.jsonl",
        "sha256": hash_file(project.path / "golden" / "support.jsonl"),
        "n": 3,
        "critical": 1,
    }
    words = shlex.split(report["command"])
    assert words[0] == "pytest"
    assert words[-4:] == ["--model", "replay:journal.jsonl#cand", "-k", "not nothing and not this"]
    assert report["selection"] == "full"


def test_record_in_the_report(project: Project) -> None:
    """A case's entry holds what was asked, expected and answered, and how it was judged."""
    project.record({"golden/money-back": WRONG}, target="off", **TOKENS)

    project.run(target="off")

    (row,) = [row for row in project.report["cases"] if row["id"] == "money-back"]
    assert row == {
        "id": "money-back",
        "task": "support",
        "suite": "golden",
        "target": "off",
        "outcome": "missed",
        "critical": False,
        "violations": [],
        "mistakes": [
            {"cause": "wrong_label", "message": 'intent: "bug" for "refund"'},
            {"cause": "wrong_label", "message": 'urgency: "low" for "high"'},
        ],
        "scores": {
            "json_parse": 1.0,
            "schema": 1.0,
            "exact": 0.0,
            "field.intent": 0.0,
            "field.urgency": 0.0,
            "quality": 0.0,
            "must_decline": 0.0,
            "declined": 0.0,
        },
        "labels": {"intent": ['"refund"', '"bug"'], "urgency": ['"high"', '"low"']},
        "confidences": {"intent": 0.5, "urgency": 0.25},
        "counts": {},
        "output": WRONG,
        "expected": {"intent": "refund", "urgency": "high"},
        "finish_reason": "stop",
        "prompt_tokens": 40,
        "output_tokens": 2,
        "min_margin": 0.5,
        "near_tie": False,
        "group": "refunds",
        "tags": [],
        "location": "golden/support.jsonl:3",
        "input": "About money-back.",
        "error": None,
    }


def test_old_report_is_gone_while_the_run_goes_on(project: Project) -> None:
    """No verdict of an earlier run stands in the folder while another is under way."""
    project.run()
    project.write(
        "conftest.py",
        "import pathlib\ndef pytest_runtest_setup(item):\n"
        "    out = pathlib.Path(item.config.rootpath, '.modelgate')\n"
        "    assert sorted(path.name for path in out.iterdir()) == ['.gitignore', 'hashes.json']\n",
    )

    assert project.run().ret == 0


def test_report_is_written_last_and_whole(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """report.json appears in one step, after summary.md, and leaves no temporary file."""
    moved = []
    replace = Path.replace

    def watch(self: Path, target: Path) -> Path:
        moved.append((self.name, self.stat().st_size > 0, Path(target).name))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watch)

    project.run()

    assert [name for _, _, name in moved if name != "hashes.json"] == ["summary.md", "report.json"]
    assert all(whole for _, whole, _ in moved)
    assert sorted(path.name for path in project.out.iterdir()) == [
        ".gitignore",
        "hashes.json",
        "report.json",
        "summary.md",
    ]


def test_out_folder_stays_out_of_git(project: Project) -> None:
    """The folder ignores itself."""
    project.run("--modelgate-out", "build/gate")

    assert (project.path / "build" / "gate" / ".gitignore").read_text() == "*\n"
    assert not project.out.exists()


def test_report_that_cannot_be_written_blocks(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A green run whose report could not be written is not green, and says which file."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.path / "nowhere" / "summary.md"))

    result = project.run()

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    message = f"report could not be written: {project.path}/nowhere/summary.md: No such file or directory"
    assert message in result.outlines
    assert sorted(path.name for path in project.out.iterdir()) == [".gitignore", "hashes.json"]
    result.stdout.no_fnmatch_line("*verdict: passed*")


def test_step_summary_is_appended_to(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other steps of a CI job wrote stays; ours follows."""
    step = project.write("step.md", "# Before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))

    project.run()

    assert step.read_text(encoding="utf-8") == "# Before\n" + (project.out / "summary.md").read_text(encoding="utf-8")


def test_part_of_the_cases_is_no_full_report(project: Project) -> None:
    """A report says whether every case was run."""
    project.run("-m", "golden")
    assert project.report["selection"] == "partial"

    project.run()
    assert project.report["selection"] == "full"


def test_terminal_names_the_report(project: Project) -> None:
    """The last line of the summary is where the report lies."""
    result = project.run()

    assert f"report: {project.out / 'report.json'}" in result.outlines


def test_a_miss_without_labels_says_what_was_wrong(project: Project) -> None:
    """Where a kind has no labels to name, the line tells the mistakes that were found."""
    tool = {"name": "ring", "parameters": {"type": "object", "properties": {"room": {"type": "string"}}}}
    project.write("tools.json", json.dumps([tool]))
    project.rows.clear()
    project.write_cases("golden", {"id": "one", "input": "x", "expected": {"name": "ring", "arguments": {"room": "a"}}})
    project.write_gates(
        head='version = 1\n[suites]\ngolden = "golden/*.jsonl"\n[tasks.job]\nkind = "tool_call"\ntools = "tools.json"\n',
        form='metric = "json_parse_rate"\nmin = 0.5',
    )
    project.record({"golden/one": json.dumps({"name": "ring", "arguments": {"room": "b"}})})

    project.run().stdout.fnmatch_lines(["golden/support.jsonl:1: case 'one' on cand: missed", "  wrong     *room*"])
