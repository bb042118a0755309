"""Mistakes are told in one line that names the place, what was got and what is valid, before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
INTERRUPTED = pytest.ExitCode.INTERRUPTED

INTENT = 'metric = "accuracy.intent"\nmin = 0.5\n'
TASK = '[tasks.support]\nkind = "classification"\nfields = ["intent", "urgency"]\n'


def only_line(result: pytest.RunResult) -> str:
    """Return the one line that a refused run wrote as its error; nothing else may have happened."""
    shown = str(result.stdout) + str(result.stderr)
    assert "Traceback" not in shown
    assert "INTERNALERROR" not in shown
    lines = [line for line in result.errlines if line.strip()]
    assert len(lines) == 1, shown
    assert lines[0].startswith("ERROR: ")
    return lines[0].removeprefix("ERROR: ")


def suite_errors(result: pytest.RunResult) -> list[str]:
    """Return the lines under ERRORS, each a suite file's complaint."""
    shown = str(result.stdout) + str(result.stderr)
    assert "Traceback" not in shown
    assert "INTERNALERROR" not in shown
    start = next(number for number, line in enumerate(result.outlines) if line.startswith("=") and " ERRORS " in line)
    errors = []
    for line in result.outlines[start + 1 :]:
        if line.startswith("="):
            break
        if line.strip() and not line.startswith("_"):
            errors.append(line)
    return errors


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ('metrik = "json_parse_rate"\nmin = 1', "[gates.it] unknown key 'metrik' (did you mean 'metric'?); valid are"),
        ('metric = "acuracy"\nmin = 1', "[gates.it] metric 'acuracy' is unknown (did you mean 'accuracy'?); known"),
        ('metric = "qqq"\nmin = 1', "[gates.it] metric 'qqq' is unknown; known are accuracy[.FIELD]"),
        ('metric = "accuracy.intnt"\nmin = 1', "'intnt' is not a field (did you mean 'intent'?); fields are"),
        ('metric = "macro_f1"\nmin = 1', "metric 'macro_f1' needs a field: macro_f1.intent, macro_f1.urgency"),
        ('metric = "json_parse_rate.intent"\nmin = 1', "metric 'json_parse_rate' takes nothing after a dot"),
        ('metric = "latency_ms.p42"\nmax = 1', "metric 'latency_ms' needs one of latency_ms.p50, latency_ms.p95"),
        (
            'metric = "fpr.intent.refnd"\nmax = 0.1',
            "[gates.it] label 'refnd' is expected by no case (did you mean 'refund'?); expected are billing, bug, refund",
        ),
        ('metric = "fnr.urgency"\nmax = 0.1', "metric 'fnr' needs a field and a label, such as fnr.intent.LABEL, got"),
        (INTENT + 'suites = ["goldn"]', "[gates.it] suites: 'goldn' is unknown (did you mean 'golden'?); known are"),
        (INTENT + 'task = "suport"', "[gates.it] task: 'suport' is unknown (did you mean 'support'?); known are"),
        (
            INTENT + 'tags = ["paymint"]',
            "[gates.it] tags: 'paymint' is unknown (did you mean 'payment'?); known are app",
        ),
        (INTENT + 'targets = ["gguff"]', "[gates.it] targets: 'gguff' is unknown (did you mean 'gguf'?); known are"),
        (INTENT + 'targets = ["python"]', "[gates.it] targets: 'python' is unknown; known are"),
        (
            'metric = "critical_failures"\nmax = 1',
            "[gates.it] max 1 never blocks: its slice holds 1 cases",
        ),
        (
            'metric = "accuracy.intent"\nmax_regression = 1',
            "[gates.it] max_regression 1 never blocks: accuracy.intent lies between 0 and 1",
        ),
        (
            'metric = "accuracy.intent"\nuplift_over = { base = 1.0 }',
            "[gates.it] uplift_over base = 1 must lie between -1 and 1",
        ),
        (
            'metric = "accuracy.intent"\nuplift_over = { base = -1 }',
            "[gates.it] uplift_over base = -1 must lie between -1 and 1",
        ),
        (INTENT + 'severity = "blok"', "[gates.it] severity: input should be 'block' or 'warn', got 'blok'"),
        (
            'metric = "json_parse_rate"',
            "[gates.it] a gate needs one of 'min', 'max', 'max_regression', ",
        ),
        ('metric = "json_parse_rate"\nmin = 0.9\nmax = 0.5', "[gates.it] min 0.9 is above max 0.5"),
        ("min = 0.9", "[gates.it] key 'metric' is missing"),
        ('metric = "json_parse_rate"\nmin = nan', "[gates.it] min: input should be a finite number, got nan"),
        ('metric = "json_parse_rate"\nmin = true', "[gates.it] min: input should be a valid number, got True"),
        ('metric = "json_parse_rate"\nmin = "0.9"', "[gates.it] min: input should be a valid number, got '0.9'"),
        (INTENT + "confidence = 1.5", "[gates.it] confidence: input should be less than 1, got 1.5"),
        ('metric = "critical_failures"\nmax = 0\nconfidence = 0.95', "confidence: critical_failures has no interval"),
        (INTENT + "min_n = 1000", "[gates.it] min_n is 1000, but its slice holds only 6 cases"),
        (
            'metric = "critical_failures"\nmax = 0\nsuites = ["heldout"]',
            "[gates.it] selects no critical case: it could never be decided",
        ),
        (INTENT + 'suites = ["heldout"]\ntags = ["app"]', "[gates.it] selects no case with 'expected'"),
        (
            'metric = "schema_validity"\nmax = 0.99',
            "max alone never blocks a worse model: schema_validity is better higher",
        ),
        ('metric = "latency_ms.p95"\nmin = 10', "min alone never blocks a worse model: latency_ms.p95 is better lower"),
        ('metric = "truncation_rate"\nmax = 1', "max 1 is no limit for truncation_rate, a share between 0 and 1"),
        ('metric = "json_parse_rate"\nmin = 0', "min 0 is no limit for json_parse_rate, a share between 0 and 1"),
    ],
)
def test_gate_mistake_names_the_gate_and_what_is_valid(project: Project, gate: str, message: str) -> None:
    """A mistake in a gate is one line with the gate's table, what was got and the nearest or the valid names."""
    project.write_gates(it=gate)

    result = project.run()

    assert result.ret == USAGE_ERROR
    line = only_line(result)
    assert line.startswith("gates.toml: [gates.it]")
    assert message in line


@pytest.mark.parametrize("metric", ["unsafe_calls", "unsafe_call_rate"])
def test_unsafe_calls_need_an_unsafe_tool(project: Project, metric: str) -> None:
    """Where no tool is marked as unsafe, a gate on unsafe calls could never block."""
    project.write("tools.json", json.dumps([{"name": "unlock", "parameters": {"type": "object", "properties": {}}}]))
    project.write_cases("doors", {"id": "it", "input": "x", "expected": None})
    head = 'version = 1\n[suites]\ndoors = "doors/*.jsonl"\n[performance]\nsuite = "doors"\n'
    head += '[tasks.door]\nkind = "tool_call"\ntools = "tools.json"\n'
    project.write_gates(head=head, it=f'metric = "{metric}"\nmax = 0')

    result = project.run()

    assert result.ret == USAGE_ERROR
    assert only_line(result) == (
        f"gates.toml: [gates.it] {metric}: no tool is marked as unsafe; list some under 'unsafe' of the task"
    )


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("version = 1\n[task", "gates.toml: not TOML: Expected ']' at the end of a table declaration (at line 2"),
        ("version = 2\n" + TASK, "gates.toml: version: input should be 1, got 2"),
        (TASK, "gates.toml: key 'version' is missing"),
        (
            "version = 1\nsuits = 1\n" + TASK,
            "gates.toml: unknown key 'suits' (did you mean 'suites'?); valid are version",
        ),
        ("version = 1\n[tasks]\n", "gates.toml: [tasks] is empty"),
        (
            "version = 1\n" + TASK + 'primry = "intent"\n',
            "[tasks.support] unknown key 'primry' (did you mean 'primary'?)",
        ),
        ("version = 1\n" + TASK + 'primary = "mood"\n', "[tasks.support] primary 'mood' is not among fields"),
        ('version = 1\n[tasks.support]\nkind = "classification"\n', "a classification task lists the label fields"),
        ('version = 1\n[tasks.support]\nkind = "rubric"\n', "[tasks.support] key 'rubric' is missing"),
        (
            'version = 1\n[tasks.support]\nkind = "clasification"\n',
            "[tasks.support] kind 'clasification' is unknown (did you mean 'classification'?); valid are classification,",
        ),
        (
            "version = 1\n[tasks.support]\n",
            "[tasks.support] key 'kind' is missing; valid are classification, extraction,",
        ),
        (
            "version = 1\n[generation]\ntemperature = -1\n" + TASK,
            "[generation] temperature: input should be greater than",
        ),
        (
            'version = 1\n[performance]\nsuite = "goldn"\n' + TASK,
            "[performance] suite: 'goldn' is unknown (did you mean 'golden'?)",
        ),
        ("version = 1\n" + TASK + 'system = "nowhere.txt"\n', "[tasks.support] system: cannot read nowhere.txt"),
        ("version = 1\n" + TASK + 'schema = "nowhere.json"\n', "[tasks.support] schema: cannot read"),
        ("version = 1\n" + TASK + 'pydantic = "nowhere"\n', "a pydantic class is written package.module:Class"),
        ("version = 1\n" + TASK + 'pydantic = "no.where:It"\n', "[tasks.support] pydantic: cannot import 'no.where'"),
        ("version = 1\n" + TASK + 'pydantic = "json:It"\n', "module 'json' has no class 'It'"),
        ("version = 1\n" + TASK + 'pydantic = "json:JSONDecoder"\n', "json:JSONDecoder is not a pydantic model"),
        ("version = 1\n" + TASK + 'pydantic = "broken_labels:It"\n', "importing 'broken_labels' raised SyntaxError"),
        (
            'version = 1\n[suites]\ngolden = "golden/*.jsonl"\nheldout = "golden/s*.jsonl"\n' + TASK,
            "suites 'golden' and 'heldout' share golden/support.jsonl; a file belongs to one",
        ),
        (
            'version = 1\n[suites]\ngolden = "/abs/*.jsonl"\n' + TASK,
            "suite 'golden': '/abs/*.jsonl' is not a pattern of paths below",
        ),
        ('version = 1\n[suites]\ngolden = ""\n' + TASK, "suite 'golden': '' is not a pattern of paths below"),
        ('version = 1\n[suites]\n"my set" = "golden/*.jsonl"\n' + TASK, "[suites] 'my set': a suite's name must match"),
        ('version = 1\n[suites]\nskip = "golden/*.jsonl"\n' + TASK, "[suites] 'skip': the name is taken by a mark"),
        ("version = 1\n[suites]\n" + TASK, "[suites] is empty"),
    ],
)
def test_gates_file_mistake_names_the_place(project: Project, head: str, message: str) -> None:
    """A mistake elsewhere in gates.toml is one line with its place and what is valid."""
    project.write("broken_labels.py", "class It(:\n")
    project.write_gates(head=head, it=INTENT)

    result = project.run()

    assert result.ret == USAGE_ERROR
    assert message in only_line(result)


def test_missing_gates_file_names_the_way_out(project: Project) -> None:
    """Without a gates file the run says where it was looked for and how to get one."""
    (project.path / "gates.toml").unlink()

    result = project.run()

    assert result.ret == USAGE_ERROR
    assert only_line(result) == (
        f"{project.path / 'gates.toml'}: no such gates file; 'modelgate init' writes one, --gates names another"
    )


def test_gates_file_that_is_not_utf8_is_refused(project: Project) -> None:
    """A gates file in another encoding is one line."""
    project.write("gates.toml", "version = 1 # \xe9".encode("latin-1"))

    result = project.run()

    assert result.ret == USAGE_ERROR
    assert only_line(result).startswith("gates.toml: not TOML: 'utf-8' codec can't decode byte 0xe9")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ('{"type": "objekt"}', "is not a valid JSON Schema at $.type: 'objekt' is not valid"),
        ('{"type": ', "is not JSON: Expecting value"),
        ('{"properties": {"intent": {"pattern": "["}}}', "is not a valid JSON Schema at $.properties.intent.pattern"),
        ('{"$ref": "https://example.org/labels.json"}', "refers to 'https://example.org/labels.json', which is not in"),
        ('{"$ref": "#/$defs/label"}', "refers to '#/$defs/label', which is not in the file"),
        ('{"$ref": "other.json"}', "a remote $ref is never fetched: copy it under $defs"),
    ],
)
def test_schema_mistake_names_the_file_and_the_place(project: Project, schema: str, message: str) -> None:
    """A schema that is none, or that leads outside its file, is one line; nothing is fetched."""
    path = project.write("golden/schema.json", schema)

    result = project.run()

    assert result.ret == USAGE_ERROR
    line = only_line(result)
    assert line.startswith(f"gates.toml: [tasks.support] schema: {path}")
    assert message in line


CASE = '{"id": "a", "input": "hello", "expected": {"intent": "bug", "urgency": "low"}%s}'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a", "input": ', "not a JSON object: not JSON: Expecting value at character 21"),
        ('["a"]', "a case is a JSON object, got list"),
        ('{"id": "a", "id": "b", "input": "x"}', "the key 'id' appears twice in one object"),
        (CASE % ', "group": NaN', "NaN is not a JSON number"),
        (CASE % ', "expcted": 1', "key 'expcted' is unknown (did you mean 'expected'?); valid are id, task, input"),
        ('{"input": "x"}', "id must be text that matches [A-Za-z0-9_.-]+ (no '::'), got None"),
        ('{"id": "a::b", "input": "x"}', "id must be text that matches [A-Za-z0-9_.-]+ (no '::'), got 'a::b'"),
        ('{"id": "a b", "input": "x"}', "got 'a b'"),
        ('{"id": 7, "input": "x"}', "got 7"),
        ('{"id": "a"}', "a case has either 'input' or 'messages'"),
        ('{"id": "a", "input": 3}', "input must be text, got int"),
        ('{"id": "a", "messages": []}', "messages must be a list of at least one turn"),
        ('{"id": "a", "messages": [{"role": "boss", "content": "x"}]}', "role 'boss' is unknown; valid are system"),
        ('{"id": "a", "messages": [{"role": "user"}]}', 'each message is {"role": ..., "content": text}'),
        (CASE % ', "task": "suport"', "task 'suport' is unknown (did you mean 'support'?); known tasks: support"),
        (CASE % ', "tags": "app"', "tags must be a list of texts, got 'app'"),
        (CASE % ', "group": 4', "group must be text, got 4"),
        (CASE % ', "critical": "yes"', "critical must be true, false or a list of field names, got 'yes'"),
        (CASE % ', "critical": ["mood"]', "critical names 'mood', which is not a field of task 'support'"),
        ('{"id": "a", "input": "x", "critical": ["intent"]}', "critical names fields, but the case has no 'expected'"),
        ('{"id": "a", "input": "x", "expected": {"intent": "bug"}}', "expected must be an object with the fields"),
        (
            '{"id": "a", "input": "x", "expected": {"intent": "praise", "urgency": "low"}}',
            "expected breaks the task's own schema: $.intent: 'praise' is not one of ['billing', 'bug', 'refund']",
        ),
        ('{"id": "a", "input": "\\ud83d"}', "a string holds a lone surrogate (half of a UTF-16 pair)"),
        ('{"id": "a", "input": "x", "expected": ' + "[" * 200 + "]" * 200 + "}", "values are nested deeper than 100"),
        ('{"id": "a", "input": "x", "expected": ' + "9" * 5000 + "}", "a number has more than 400 digits"),
        ('{"id": "a", "input": "x", "expected": 1e999}', "the number 1e999 is too large to represent"),
    ],
)
def test_bad_line_names_file_line_and_reason(project: Project, line: str, message: str) -> None:
    """A bad line is one line of error with its file and number, exit code 2, and nothing is judged."""
    project.write_cases("heldout", project.case("fine"), line)

    result = project.run()

    assert result.ret == INTERRUPTED
    (error,) = suite_errors(result)
    assert error.startswith("heldout/support.jsonl:2: ")
    assert message in error
    assert project.report["verdict"] == "blocked"
    assert project.report["cases"] == []
    assert project.report["reasons"][0] == error


def test_line_that_is_not_utf8_is_named(project: Project) -> None:
    """A byte that is not UTF-8 is an error of its line."""
    lines = [json.dumps(project.case("fine")).encode(), '{"id": "b", "input": "caf\xe9"}'.encode("latin-1")]
    project.write("heldout/support.jsonl", b"\n".join(lines))

    result = project.run()

    assert result.ret == INTERRUPTED
    assert suite_errors(result) == ["heldout/support.jsonl:2: not UTF-8: byte 0xe9"]


def test_encoded_surrogate_bytes_are_not_utf8(project: Project) -> None:
    """A lone surrogate written as three bytes is refused like any other byte that is not UTF-8."""
    project.write("heldout/support.jsonl", b'{"id": "a", "input": "\xed\xa0\x80"}\n')

    result = project.run()

    assert result.ret == INTERRUPTED
    assert suite_errors(result) == ["heldout/support.jsonl:1: not UTF-8: byte 0xed"]


def test_duplicate_id_names_both_lines(project: Project) -> None:
    """Two cases of one file with one id are an error that names the first."""
    project.write_cases("heldout", project.case("same"), project.case("other"), project.case("same"))

    result = project.run()

    assert result.ret == INTERRUPTED
    assert suite_errors(result) == [
        "heldout/support.jsonl:3: duplicate case id 'same' (first at heldout/support.jsonl:1)"
    ]


def test_duplicate_id_across_files_names_both_files(project: Project) -> None:
    """An id is unique in its suite, not only in its file."""
    project.write_cases("heldout", project.case("late"), file="more.jsonl")

    result = project.run()

    assert result.ret == INTERRUPTED
    assert suite_errors(result) == ["heldout/support.jsonl:1: duplicate case id 'late' (first at heldout/more.jsonl:1)"]


def test_equal_ids_in_two_suites_are_two_cases(project: Project) -> None:
    """An id may occur again in another suite."""
    result = project.run("-k", "late")

    result.assert_outcomes(passed=3, failed=2, deselected=5)
    assert list(project.outcomes) == ["golden/late[cand]", "heldout/late[cand]"]


def test_every_bad_file_is_named(project: Project) -> None:
    """Each file with a bad line is one line, so that all can be repaired at once."""
    project.write_cases("golden", "nope")
    project.write_cases("heldout", "neither")

    result = project.run()

    assert result.ret == INTERRUPTED
    assert [error.partition(": ")[0] for error in suite_errors(result)] == [
        "golden/support.jsonl:1",
        "heldout/support.jsonl:1",
    ]


@pytest.mark.parametrize("arguments", [(), ("-n", "2"), ("-p", "no:xdist"), ("golden/support.jsonl",), ("-k", "late")])
def test_bad_file_ends_every_run_with_two(project: Project, arguments: tuple[str, ...]) -> None:
    """With a bad suite file nothing is judged and the exit code is 2, with and without xdist, whatever is selected."""
    project.write_cases("heldout", project.case("fine"), "not json")

    result = project.run(*arguments)

    assert result.ret == INTERRUPTED
    assert len(suite_errors(result)) == 1
    result.stdout.fnmatch_lines(["verdict: blocked", "  heldout/support.jsonl:2: not a JSON object: *"])
    result.stdout.no_fnmatch_line("*PASSED*")


def test_bad_file_blocks_where_collection_errors_are_let_go(project: Project) -> None:
    """--continue-on-collection-errors changes the exit code, not the verdict."""
    project.write_cases("heldout", "not json")

    result = project.run("--continue-on-collection-errors")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert project.report["verdict"] == "blocked"


@pytest.mark.parametrize("content", [None, "", "\n  \n\r\n"])
def test_empty_suite_is_refused(project: Project, content: str | None) -> None:
    """A suite without a case, its files missing, empty or blank, is a mistake, never a silent pass."""
    if content is None:
        (project.path / "heldout" / "support.jsonl").unlink()
    else:
        project.write("heldout/support.jsonl", content)

    result = project.run()

    assert result.ret == USAGE_ERROR
    found = "no file matches" if content is None else "1 matching files are empty"
    assert only_line(result).startswith(f"suite 'heldout' has no cases: {found} (heldout/*.jsonl in ")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("http://localhost:8080/v1", "an endpoint is written http://host:port/v1#model, without a key in it"),
        (
            "https://me:secret@example.org/v1#qwen",
            "an endpoint is written http://host:port/v1#model, without a key in it",
        ),
        ("python:rules:answer", "a Python function is no model; give it as --control python:rules:answer"),
        ("base.gguf+lora.gguf", "a LoRA on a GGUF is written base.gguf+lora.gguf, two files that are there"),
        ("nowhere.gguf", "no such file or folder: "),
        ("nowhere", "no such file or folder: "),
        ("notes.txt", "notes.txt is a file, but not a .gguf; valid are"),
        ("folder", "the folder holds neither adapter_config.json (a PEFT adapter) nor config.json (a model)"),
        ("replay:journal.jsonl", "a replay is written replay:journal.jsonl#target-id"),
        ("replay:#cand", "a replay is written replay:journal.jsonl#target-id"),
        ("replay:nowhere.jsonl#cand", "no such journal: "),
        ("replay:notes.txt#cand", "holds no generation of target 'cand'; recorded are none"),
        ("replay:journal.jsonl#other", "holds no generation of target 'other'; recorded are cand"),
        ("replay:/proc/self/mem#cand", "/proc/self/mem: cannot be read: Input/output error"),
        ("replay:journal.jsonl#cand,nctx=4", "option 'nctx=4' is unknown (did you mean 'n_ctx'?); valid are id, base"),
        ("replay:journal.jsonl#cand,n_ctx=many", "n_ctx must be a number, got 'many'"),
        ("replay:journal.jsonl#cand,n_ctx=2", "n_ctx must be at least 8, got 2"),
        ("replay:journal.jsonl#cand,timeout_s=nan", "timeout_s must be at least 1, got nan"),
        ("replay:journal.jsonl#cand,id=a b", "id must match [A-Za-z0-9_.-]+, got 'a b'"),
        ("replay:journal.jsonl#cand,id=a,id=b", "option 'id' is given twice"),
        ("replay:journal.jsonl#cand,base=folder", "base= is only for an adapter folder"),
        ("", "no target is named; valid are"),
    ],
)
def test_spec_mistake_names_the_spec_and_what_is_valid(project: Project, spec: str, message: str) -> None:
    """A --model that cannot be used is one line with the spec as written and what is valid."""
    project.write("notes.txt", "not a model\n")
    project.write("folder/readme.md", "nothing here\n")

    result = project.run(models=[spec])

    assert result.ret == USAGE_ERROR
    line = only_line(result)
    assert line.startswith(f"--model {spec}: ")
    assert message in line


@pytest.mark.parametrize("argument", ["gates.toml::intent[cand]", "gates.toml"])
def test_gate_id_cannot_be_selected(project: Project, argument: str) -> None:
    """A gate id on the command line is refused with an example of what can be selected."""
    result = project.run(argument)

    assert result.ret == USAGE_ERROR
    assert only_line(result) == (
        f"{argument}: gates are judged over the whole run and cannot be selected; "
        f"run without it, or select cases such as golden/support.jsonl::late"
    )


@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
def test_out_folder_that_cannot_be_written_is_refused(project: Project, arguments: tuple[str, ...]) -> None:
    """A folder for reports that cannot be made is a mistake that is told before anything runs."""
    project.write("taken", "a file")

    result = project.run("--modelgate-out", "taken", *arguments)

    assert result.ret == USAGE_ERROR
    assert only_line(result) == f"{project.path / 'taken'}: cannot be written: File exists"


def test_unknown_case_on_the_command_line_is_told(project: Project) -> None:
    """A node id that is no case is pytest's own usage error."""
    result = project.run("golden/support.jsonl::nope")

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: *golden/support.jsonl::nope"])


def test_file_outside_the_suites_is_told(project: Project) -> None:
    """A case file that no suite's pattern matches is not silently green."""
    project.write_cases("other", project.case("late"))

    result = project.run("other/support.jsonl")

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: *other/support.jsonl"])


def test_line_ends_and_byte_order_marks_of_windows_are_read(project: Project) -> None:
    """Files that Windows editors wrote, with its line ends and a byte order mark, mean the same."""
    for name in ("gates.toml", "golden/support.jsonl", "golden/schema.json", "golden/system.txt"):
        path = project.path / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))

    result = project.run()

    assert result.ret == 0
    assert len(project.outcomes) == 7


def test_a_mistake_leaves_no_verdict_of_an_earlier_run(project: Project) -> None:
    """A run that is refused takes the earlier report away, so that nobody reads it as its own."""
    assert project.run().ret == 0
    project.write("gates.toml", "version = ")

    assert project.run().ret == USAGE_ERROR

    assert not (project.out / "report.json").exists()
    assert not (project.out / "summary.md").exists()


def test_the_gates_file_of_another_folder_is_found(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """--gates is relative to where pytest was started, and the paths in it to its own folder."""
    inner = Path(project.path, "inner")
    inner.mkdir()
    monkeypatch.chdir(inner)

    result = project.run("--gates", "../gates.toml", models=["replay:../journal.jsonl#cand"])

    assert result.ret == 0
    result.stdout.fnmatch_lines(["cand: 7 of 7 cases run: 7 passed"])
