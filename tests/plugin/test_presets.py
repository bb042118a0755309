"""release_gates = "default" adds the published gates of a task's kind, with the published numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.errors import ConfigurationError
from pytest_modelgate.evidence import gather_evidence
from pytest_modelgate.gates_file import load_gates_file
from pytest_modelgate.identity import FileHashes, hash_file
from pytest_modelgate.specs import TargetSpec
from pytest_modelgate.targets import Target

if TYPE_CHECKING:
    from tests.conftest import Project

FAILED = pytest.ExitCode.TESTS_FAILED
USAGE_ERROR = pytest.ExitCode.USAGE_ERROR
BOTH = ("golden", "heldout")
PAPERS = ("model_card", "dataset_version", "report_reviewed")


@dataclass
class KindOfTask:
    """Hold a task of one kind: its table, its files, a right answer, and the gates that its kind adds."""

    table: str
    expected: Any
    gates: dict[str, tuple[Any, ...]]
    files: dict[str, str] = field(default_factory=dict)
    answer: str | None = None


COMMON = {
    "no_critical_failures": ("critical_failures", "max", 0, ()),
    "no_critical_regressions": ("critical_regressions", "max", 0, ()),
    "never_endless": ("truncation_rate", "max", 0.01, BOTH),
    "no_loops": ("repetition_rate", "max", 0.01, BOTH),
    **{name: (name, "min", 1, ()) for name in PAPERS},
}
VALIDITY = {"schema_validity": ("schema_validity", "min", 0.99, BOTH)}
TOOL = {
    "name": "ring",
    "description": "Ring.",
    "parameters": {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]},
}
SECTIONS = '[[tasks.job.sections]]\ntitle = "Risk"\none_of = ["High", "Low"]\n[[tasks.job.sections]]\ntitle = "Why"\n'
RISK = "Risk: High\nWhy: The pump leaks."
KINDS = {
    "classification": KindOfTask(
        'kind = "classification"\nschema = "schema.json"\nfields = ["intent", "urgency"]\nprimary = "urgency"\n',
        {"intent": "bug", "urgency": "low"},
        VALIDITY
        | {
            "json_parse": ("json_parse_rate", "min", 0.99, BOTH),
            "macro_f1": ("macro_f1.urgency", "min", 0.7, ("heldout",)),
            "macro_f1_golden": ("macro_f1.urgency", "min", 0.7, ("golden",)),
            "calibration": ("ece.urgency", "max", 0.15, ("heldout",)),
        },
        {"schema.json": '{"type": "object"}'},
    ),
    "extraction": KindOfTask(
        'kind = "extraction"\nschema = "schema.json"\nfields = ["total"]\ncritical_fields = "total"\n',
        {"total": 5},
        VALIDITY
        | {
            "record_parse": ("record_parse_rate", "min", 0.995, BOTH),
            "field_f1": ("field_f1", "min", 0.7, ("heldout",)),
            "field_f1_golden": ("field_f1", "min", 0.7, ("golden",)),
            "critical_fields": ("critical_field_accuracy", "min", 0.98, BOTH),
        },
        {"schema.json": '{"type": "object"}'},
    ),
    "tool_call": KindOfTask(
        'kind = "tool_call"\ntools = "tools.json"\n',
        {"name": "ring", "arguments": {"room": "hall"}},
        {
            "json_parse": ("json_parse_rate", "min", 0.995, BOTH),
            "tool_name": ("tool_name_accuracy", "min", 0.98, BOTH),
            "required_arguments": ("required_argument_accuracy", "min", 0.95, BOTH),
            "calls": ("exact_match", "min", 0.7, ("heldout",)),
            "calls_golden": ("exact_match", "min", 0.7, ("golden",)),
        },
        {"tools.json": json.dumps([TOOL])},
    ),
    "rubric": KindOfTask(
        'kind = "rubric"\nrubric = "rubric.json"\n',
        "The Pump-7 was down for 5 minutes.",
        {
            "rubric": ("rubric_pass_rate", "min", 0.7, ("heldout",)),
            "rubric_golden": ("rubric_pass_rate", "min", 0.7, ("golden",)),
            "terms": ("term_preservation", "min", 0.9, BOTH),
        },
        {"rubric.json": '{"criteria": [{"name": "down", "regex": "down"}]}'},
    ),
    "sections": KindOfTask(
        f'kind = "sections"\nprimary = "risk"\n{SECTIONS}',
        RISK,
        {
            "contract": ("contract_validity", "min", 0.99, BOTH),
            "macro_f1": ("macro_f1.risk", "min", 0.7, ("heldout",)),
            "macro_f1_golden": ("macro_f1.risk", "min", 0.7, ("golden",)),
        },
    ),
    "text": KindOfTask(
        'kind = "text"\n',
        "Yes.",
        {"quality": ("quality", "min", 0.7, ("heldout",)), "quality_golden": ("quality", "min", 0.7, ("golden",))},
    ),
}
DEFAULT = 'release_gates = "default"\n'
ON = f"{DEFAULT}target = 0.7\n"
FORM = 'metric = "contract_validity"\nmin = 0.5\n'


def write_task(project: Project, kind: str, *, gates: str = "", head: str = "version = 1\n") -> KindOfTask:
    """Write a project of one task of ``kind``, which asks for the published gates and answers rightly."""
    task = KINDS[kind]
    first, mark, rest = task.table.partition("\n")
    project.write("gates.toml", f"{head}[tasks.job]\n{first}{mark}{ON}{rest}{gates}")
    for name, content in task.files.items():
        project.write(name, content)
    for suite in ("golden", "adversarial", "heldout"):
        row = {"input": "The Pump-7 was down for 5 minutes.", "expected": task.expected}
        project.write_cases(suite, {"id": "one", "critical": True} | row, {"id": "two"} | row)
    (project.path / "journal.jsonl").unlink()
    answer = task.expected if isinstance(task.expected, str) else json.dumps(task.expected)
    project.record({f"{suite}/{case}": answer for suite in project.rows for case in ("one", "two")})
    return task


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_gates(project: Project, kind: str) -> None:
    """Each kind has the gates that all have and its own, each for its task alone, with the published limits."""
    task = write_task(project, kind)

    gates = load_gates_file(project.path / "gates.toml").gates

    told = {
        name.removeprefix("job-"): (
            gate.metric,
            *(("min", gate.min) if gate.max is None else ("max", gate.max)),
            gate.suites,
        )
        for name, gate in gates.items()
    }
    assert told == COMMON | task.gates
    assert all(name.startswith("job-") and gate.task == ("job",) for name, gate in gates.items())
    warns = {name.removeprefix("job-") for name, gate in gates.items() if gate.severity == "warn"}
    assert warns == {*PAPERS} | ({"calibration"} if kind == "classification" else set())


@pytest.mark.parametrize("suite", ["golden", "heldout"])
def test_the_target_is_to_be_reached_in_either_suite(project: Project, suite: str) -> None:
    """A model that is right in one suite and half wrong in the other is blocked by the other's gate."""
    write_task(project, "text")
    (project.path / "journal.jsonl").unlink()
    right = {f"{its}/{case}": "Yes." for its in project.rows for case in ("one", "two")}
    project.record(right | {f"{suite}/two": "No."})

    assert project.run().ret == FAILED
    gates = {"golden": "job-quality_golden[cand]", "heldout": "job-quality[cand]"}
    assert {its: project.gates[name] for its, name in gates.items()} == {
        its: "failed" if its == suite else "passed" for its in gates
    }


@pytest.mark.parametrize(
    ("unsafe", "is_judged"), [("", False), ("unsafe = []\n", False), ('unsafe = ["ring"]\n', True)]
)
def test_unsafe_calls_where_a_tool_is_unsafe(project: Project, unsafe: str, is_judged: bool) -> None:
    """No unsafe call is asked of a task that lists unsafe tools, and of no other."""
    write_task(project, "tool_call")
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text().replace('tools = "tools.json"\n', f'tools = "tools.json"\n{unsafe}'))

    told = load_gates_file(gates).gates

    assert ("job-unsafe_calls" in told) == is_judged
    if is_judged:
        gate = told["job-unsafe_calls"]
        assert (gate.metric, gate.max, gate.suites, gate.severity) == ("unsafe_calls", 0, (), "block")


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_model_passes_them(project: Project, kind: str) -> None:
    """A model that answers rightly is released; the report says of each gate that it was published."""
    write_task(project, kind)

    result = project.run()

    assert result.ret == 0, [gate for gate in project.report["gates"] if gate["blocks"]]
    assert {gate["origin"] for gate in project.report["gates"]} == {f"published gate of {kind} tasks"}
    outcomes = {name.removeprefix("job-").partition("[")[0]: outcome for name, outcome in project.gates.items()}
    not_passed = {name: outcome for name, outcome in outcomes.items() if outcome != "passed"}
    expected = dict.fromkeys(PAPERS, "failed") | {"no_critical_regressions": "not evaluated"}
    assert not_passed == expected | ({"calibration": "not evaluated"} if kind == "classification" else {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_model_is_blocked_by_them(project: Project, kind: str) -> None:
    """A model that answers nothing is blocked by its kind's gate and for its critical cases."""
    write_task(project, kind)
    (project.path / "journal.jsonl").unlink()
    project.record({f"{suite}/{case}": "" for suite in project.rows for case in ("one", "two")})

    assert project.run().ret == FAILED
    failed = {name for name, outcome in project.gates.items() if outcome == "failed"}
    assert {"job-no_critical_failures[cand]"} < failed


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_is_needed(project: Project, kind: str) -> None:
    """What the primary metric must reach is nobody's to publish but yours."""
    write_task(project, kind)
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text().replace("target = 0.7\n", ""))

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(
        ['ERROR: gates.toml: [[]tasks.job[]] release_gates = "default" needs target, the least value of the primary*']
    )


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (f"{DEFAULT}target = 0", "target: input should be greater than 0, got 0"),
        (f"{DEFAULT}target = 1.1", "target: input should be less than or equal to 1, got 1.1"),
        (f'{DEFAULT}target = "high"', "target: *"),
        ('release_gates = "strict"', "release_gates: input should be 'none' or 'default', got 'strict'"),
        ("target = 0.5", "target is only read with release_gates*"),
    ],
)
def test_values_that_are_wrong(project: Project, written: str, told: str) -> None:
    """A target is a share above 0; one without the preset would do nothing."""
    write_task(project, "text")
    gates = project.path / "gates.toml"
    gates.write_text(gates.read_text().replace(ON, f"{written}\n") + f"[gates.it]\n{FORM}")

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: gates.toml: [[]tasks.job[]] {told}"])


def test_a_gate_of_the_same_name_changes_single_keys(project: Project) -> None:
    """What gates.toml says of a published gate stands; what it does not say stays as published."""
    write_task(
        project,
        "tool_call",
        gates='[gates.job-tool_name]\nmin = 0.5\nconfidence = 0.9\n[gates.job-calls]\nsuites = "golden"\n'
        '[gates.mine]\nmetric = "json_parse_rate"\nmin = 0.1\n',
    )

    project.run()

    gates = {gate["name"]: gate for gate in project.report["gates"]}
    assert gates["job-tool_name"]["limit"] == {"min": 0.5}
    assert gates["job-tool_name"]["metric"] == "tool_name_accuracy"
    assert gates["job-tool_name"]["slice"]["suites"] == ["golden", "heldout"]
    assert gates["job-calls"]["limit"] == {"min": 0.7}
    assert gates["job-calls"]["slice"]["suites"] == ["golden"]
    assert gates["mine"]["origin"] is None
    assert gates["job-calls"]["origin"] == "published gate of tool_call tasks"


@pytest.mark.parametrize(
    ("gates", "told"),
    [
        ("[gates.job-quality]\nmim = 0.5\n", "[[]gates.job-quality[]] unknown key 'mim' (did you mean 'min'?)*"),
        ("[gates]\njob-quality = 5\n", "*job-quality*"),
    ],
)
def test_a_change_that_is_wrong(project: Project, gates: str, told: str) -> None:
    """A slip in the change of a published gate is an error like in any other."""
    write_task(project, "text", gates=gates)

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: gates.toml: {told}"])


@pytest.mark.parametrize("name", PAPERS)
def test_papers_can_be_made_to_block(project: Project, name: str) -> None:
    """Card, data version and review warn as published, and block where gates.toml says so."""
    write_task(project, "text", gates=f'[gates.job-{name}]\nseverity = "block"\n')

    assert project.run().ret == FAILED
    assert project.report["reasons"] == [f"gate job-{name}[cand]: {name} 0 < 1"]


@pytest.mark.parametrize(
    ("head", "suites"),
    [
        ('version = 1\n[suites]\ngolden = "golden/*.jsonl"\n', {("golden",)}),
        ('version = 1\n[suites]\nheldout = "heldout/*.jsonl"\n', {("heldout",)}),
        ('version = 1\n[suites]\nrelease = "release/*.jsonl"\n', set()),
    ],
)
def test_suites_that_are_not_there(project: Project, head: str, suites: set[tuple[str, ...]]) -> None:
    """A gate for a suite that the project does not have judges those that it has."""
    write_task(project, "text", head=head)
    project.write_cases("release", *project.rows["golden"])
    project.record({"release/one": "Yes.", "release/two": "Yes."})

    assert project.run().ret == 0
    gates = load_gates_file(project.path / "gates.toml").gates
    assert {gate.suites for gate in gates.values()} == suites | {()}


@pytest.mark.parametrize("suites", ["suites = 5", 'suites = "golden"', "suites = []", 'tasks = 5\nsuites = ["golden"]'])
def test_nonsense_beside_a_preset_is_one_line(project: Project, suites: str) -> None:
    """Adding gates to a file that is wrong elsewhere says what is wrong there."""
    write_task(project, "text", head=f"version = 1\n{suites.partition('tasks = 5')[2] or suites}\n")

    result = project.run()

    assert result.ret == USAGE_ERROR
    assert len([line for line in result.errlines if line]) == 1
    result.stderr.fnmatch_lines(["ERROR: gates.toml: *suites*"])


def test_a_published_gate_that_nothing_counts_for(project: Project) -> None:
    """A project without a critical case cannot have them at zero failures: the message says where the gate is from."""
    write_task(project, "text")
    for suite in ("golden", "adversarial", "heldout"):
        project.write_cases(suite, {"id": "one", "input": "x", "expected": "Yes."})

    result = project.run()

    assert result.ret == USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            (
                'ERROR: gates.toml: [[]gates.job-no_critical_failures[]] (of release_gates = "default") '
                "selects no critical case*"
            )
        ]
    )


# Papers


def gguf(tmp_path: Path, content: bytes = b"weights") -> Target:
    """Return a target whose file holds ``content``, in a folder of its own."""
    path = tmp_path / "models" / "cand.gguf"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return Target(TargetSpec("cand.gguf", "gguf", path, "cand"), "identity", hash_file(path), 7, EngineSettings())


def adapter(tmp_path: Path) -> Target:
    """Return an adapter folder."""
    path = tmp_path / "run" / "adapter"
    path.mkdir(parents=True, exist_ok=True)
    (path / "adapter_config.json").write_text("{}")
    (path / "adapter_model.safetensors").write_bytes(b"weights")
    return Target(TargetSpec("adapter", "adapter", path, "cand"), "identity", "of the folder", 7, EngineSettings())


def papers(target: Target, tmp_path: Path) -> dict[str, bool]:
    """Return which steps were taken."""
    return gather_evidence(target, tmp_path / "reviews.jsonl", FileHashes(None))


def manifest(**files: Any) -> str:
    """Return a manifest with the version of its data."""
    return json.dumps({"data": {"version": "2026-11"}} | files)


def test_nothing_is_no_paper(tmp_path: Path) -> None:
    """A model that lies there alone has no card, no version of its data and no review."""
    assert papers(gguf(tmp_path), tmp_path) == dict.fromkeys(PAPERS, False)


@pytest.mark.parametrize("name", ["README.md", "MODEL_CARD.md", "model_card.md"])
@pytest.mark.parametrize(("text", "counts"), [("words " * 40, True), ("words", False), (" " * 500, False), ("", False)])
def test_a_card_says_something(tmp_path: Path, name: str, text: str, counts: bool) -> None:
    """A card lies beside the model and is not empty."""
    target = gguf(tmp_path)
    (tmp_path / "models" / name).write_text(text)
    (tmp_path / "README.md").write_text("words " * 100)  # the project's own

    assert papers(target, tmp_path)["model_card"] == counts


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        (manifest(gguf=[{"file": "cand.gguf", "sha256": "HASH"}]), True),
        (manifest(gguf=[{"sha256": "0" * 64}, {"sha256": "HASH"}]), True),
        (manifest(gguf=[{"file": "cand.gguf", "sha256": "0" * 64}]), False),
        (manifest(gguf=[{"file": "cand.gguf"}]), False),
        (manifest(gguf=[]), False),
        (manifest(), False),
        (json.dumps({"gguf": [{"sha256": "HASH"}]}), False),
        (json.dumps({"gguf": [{"sha256": "HASH"}], "data": {"version": ""}}), False),
        (json.dumps({"gguf": [{"sha256": "HASH"}], "data": {"version": 3}}), False),
        (json.dumps({"gguf": [{"sha256": "HASH"}], "data": "2026-11"}), False),
        (manifest(gguf=5), False),
        (manifest(gguf={"sha256": "HASH"}), False),
        (manifest(gguf=[5, None, {"sha256": ["HASH"]}]), False),
        ("[]", False),
        ("not JSON", False),
        ("[" * 100_000, False),
    ],
)
def test_a_manifest_is_of_this_very_file(tmp_path: Path, content: str, counts: bool) -> None:
    """The manifest lists the hash of the file that is judged and the version of its data; another one's says nothing."""
    target = gguf(tmp_path)
    (tmp_path / "models" / "manifest.json").write_text(content.replace("HASH", target.sha256))

    assert papers(target, tmp_path)["dataset_version"] == counts


def test_a_model_exported_again_has_no_manifest(tmp_path: Path) -> None:
    """Overwriting the file under its old name leaves the manifest behind."""
    target = gguf(tmp_path)
    (tmp_path / "models" / "manifest.json").write_text(manifest(gguf=[{"sha256": target.sha256}]))
    assert papers(target, tmp_path)["dataset_version"]

    assert not papers(gguf(tmp_path, b"other weights"), tmp_path)["dataset_version"]


@pytest.mark.parametrize("place", ["run/adapter", "run"])
@pytest.mark.parametrize("is_of_it", [True, False])
def test_a_folders_manifest(tmp_path: Path, place: str, is_of_it: bool) -> None:
    """A folder's manifest lies in it or, as training leaves it, beside it, and lists the folder's weights."""
    target = adapter(tmp_path)
    weights = hash_file(tmp_path / "run" / "adapter" / "adapter_model.safetensors")
    listed = {"files": [{"file": "adapter_model.safetensors", "sha256": weights if is_of_it else "0" * 64}]}
    (tmp_path / place / "manifest.json").write_text(manifest(adapter=listed))

    assert papers(target, tmp_path)["dataset_version"] == is_of_it


def review(**more: Any) -> str:
    """Return a line of a review file."""
    return json.dumps({"sha256": "HASH", "reviewer": "Ana", "date": "2026-11-20"} | more)


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        ([review()], True),
        ([review(sha256="0" * 64), "", review()], True),
        ([review(sha256="0" * 64)], False),
        ([review(reviewer="")], False),
        ([review(date=None)], False),
        (['{"sha256": "HASH"}'], False),
        ([], False),
    ],
)
def test_a_review_is_of_this_very_file(tmp_path: Path, lines: list[str], counts: bool) -> None:
    """A review names the hash of what was reviewed, who did it and when."""
    target = gguf(tmp_path)
    (tmp_path / "reviews.jsonl").write_text("\n".join(lines).replace("HASH", target.sha256))

    assert papers(target, tmp_path)["report_reviewed"] == counts


@pytest.mark.parametrize(
    "content", ["not JSON", '{"sha256": "x"', "5\n", '["x"]', f"{review()}\n<<<<<<< HEAD\n", b"\xff\xfe", "[" * 100_000]
)
def test_a_broken_review_file_is_a_mistake(project: Project, tmp_path: Path, content: str | bytes) -> None:
    """A review file that cannot be read is never taken for one without reviews: one line, exit code 4."""
    project.write("reviews.jsonl", content)
    with pytest.raises(ConfigurationError, match="a review file holds one JSON object a line"):
        gather_evidence(gguf(tmp_path), project.path / "reviews.jsonl", FileHashes(None))

    result = project.run()

    assert result.ret == USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert line.startswith(f"ERROR: {project.path / 'reviews.jsonl'}: a review file holds one JSON object a line")


def test_reviews_may_lie_elsewhere(project: Project) -> None:
    """[review] names the file."""
    head = (project.path / "gates.toml").read_text()
    project.write("gates.toml", head.replace("version = 1", 'version = 1\n[review]\nfile = "docs/reviews.jsonl"'))
    project.write("reviews.jsonl", "not JSON")
    assert project.run().ret == 0

    project.write("docs/reviews.jsonl", "not JSON")
    assert project.run().ret == USAGE_ERROR
