"""[generation] grammar = "schema", temperature and their like: what is checked, what is told, what blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.records import GenerationSettings, Message, Request
from pytest_modelgate.release import Release, load_rules
from pytest_modelgate.runner import journal_key
from tests.conftest import HEAD, SCHEMA, Project, label

HELD = HEAD.replace("version = 1", 'version = 1\n[generation]\ngrammar = "schema"')
RIGHT = json.dumps(label())


def with_raw(project: Project, raw: dict[str, str | None]) -> None:
    """Record right answers under the grammar, with these raw texts; right ones of the others."""
    journal = project.path / "journal.jsonl"
    rows = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        text = row["generation"]["text"]
        row["generation"]["raw_text"] = raw.get(f"{row['suite']}/{row['case']}", text)
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def gate(project: Project, name: str) -> dict[str, Any]:
    """Return one gate of report.json."""
    return next(one for one in project.report["gates"] if one["name"] == name)


def test_broken_model_does_not_hide_behind_its_grammar(project: Project, mode: tuple[str, ...]) -> None:
    """With a grammar every output is valid; a gate that nobody wrote blocks for what the model writes without."""
    project.write_gates(head=HELD)
    with_raw(project, {"golden/late": "Sure! " + RIGHT, "heldout/other": RIGHT + "}"})

    result = project.run(*mode)

    assert result.ret == 1
    assert project.gates["form[cand]"] == "passed"
    found = gate(project, "form_raw")
    assert (found["outcome"], found["origin"]) == ("failed", 'added by grammar = "schema"')
    assert found["observed"] == pytest.approx(5 / 7)
    result.stdout.fnmatch_lines(["  passes its schema: 100 % with grammar, 71.4 % without (n=7)"])
    assert "passes its schema: 100 % with grammar, 71.4 % without" in (project.out / "summary.md").read_text("utf-8")


def test_sound_model_passes(project: Project) -> None:
    """A model whose own text passes the schema is not kept back by the gate that was added."""
    project.write_gates(head=HELD)
    with_raw(project, {})

    assert project.run().ret == 0
    assert project.gates["form_raw[cand]"] == "passed"


def test_own_gate_on_raw_validity_is_the_only_one(project: Project) -> None:
    """Who says what raw validity is wanted gets no other gate on it."""
    own = 'metric = "raw_schema_validity"\nmin = 0.5'
    other = 'metric = "accuracy.intent"\nmin = 0.6'
    project.write_gates(head=HELD, form='metric = "schema_validity"\nmin = 0.99', raw=own, intent=other)
    with_raw(project, {"golden/late": "no"})

    assert project.run().ret == 0
    assert set(project.gates) == {"form[cand]", "raw[cand]", "intent[cand]"}


def test_without_a_gate_on_validity(project: Project) -> None:
    """Where no gate asks for valid output either, the published limit is set."""
    project.write_gates(head=HELD, intent='metric = "accuracy.intent"\nmin = 0.6')
    with_raw(project, {"golden/late": "no"})

    assert project.run().ret == 1
    assert gate(project, "raw_schema_validity")["limit"] == {"min": 0.99}


def test_unknown_raw_text_is_not_green(project: Project) -> None:
    """Answers under a grammar of which nobody recorded the raw text count as invalid without it."""
    project.write_gates(head=HELD)

    assert project.run().ret == 1
    assert gate(project, "form_raw")["observed"] == 0


def test_without_a_grammar_nothing_is_added(project: Project) -> None:
    """Without a grammar there is no such gate and no such line, and raw validity is that of the output."""
    raw = 'metric = "raw_schema_validity"\nmin = 0.99'
    project.write_gates(raw=raw, intent='metric = "accuracy.intent"\nmin = 0.6')

    result = project.run()

    assert result.ret == 0
    assert gate(project, "raw")["observed"] == 1
    result.stdout.no_fnmatch_line("*with grammar*")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'grammar = "schema"',
            'grammar = "json"',
            "[[]generation] grammar: input should be 'none' or 'schema', got 'json'",
        ),
        (
            'grammar = "schema"',
            "temperature = 11",
            "[[]generation] temperature: input should be less than or equal to 10*",
        ),
        ('grammar = "schema"', "top_p = 0.0", "[[]generation] top_p: input should be greater than 0, got 0.0"),
        ('grammar = "schema"', "seed = -1", "[[]generation] seed: input should be greater than or equal to 0, got -1"),
        (
            'grammar = "schema"',
            "repeat_penalty = 0.0",
            "[[]generation] repeat_penalty: input should be greater than 0*",
        ),
        ('schema = "golden/schema.json"', "", "*grammar = \"schema\" needs a schema file under 'schema'"),
    ],
)
def test_mistakes_are_one_line(project: Project, old: str, new: str, message: str) -> None:
    """A value that is none is refused in one line, before anything runs."""
    project.write_gates(head=HELD.replace(old, new), it='metric = "accuracy.intent"\nmin = 0.6')

    result = project.run()

    assert result.ret == 4
    result.stderr.fnmatch_lines([f"ERROR: gates.toml: {message}"])


def test_schema_that_no_grammar_keeps(project: Project) -> None:
    """A schema that the grammar could not keep is refused with its place, not mangled."""
    properties = SCHEMA["properties"]
    assert isinstance(properties, dict)
    strict = SCHEMA | {"properties": properties | {"urgency": {"type": "string", "pattern": "^(low|high)$"}}}
    project.write("golden/schema.json", json.dumps(strict))
    project.write_gates(head=HELD)

    result = project.run()

    assert result.ret == 4
    result.stderr.fnmatch_lines(["*[[]tasks.support] schema: as a grammar: *$.urgency: 'pattern' is not supported; *"])


def test_settings_reach_the_engine(project: Project) -> None:
    """What gates.toml says travels with every request, the grammar of its own task too; defaults say nothing."""
    rules = load_rules(project.path / "gates.toml")
    assert Release(rules, ()).request(rules.cases[0], target()).generation is None

    head = HELD.replace("grammar =", "temperature = 0.5\ntop_p = 0.9\nrepeat_penalty = 1.1\nseed = 3\ngrammar =")
    project.write_gates(head=head)
    rules = load_rules(project.path / "gates.toml")
    request = Release(rules, ()).request(rules.cases[0], target())
    assert request.generation is not None
    assert request.generation == GenerationSettings(0.5, 0.9, 1.1, 3, request.generation.grammar)
    assert "root ::=" in (request.generation.grammar or "")
    assert Request.from_json(json.loads(json.dumps(request.to_json()))) == request


def target() -> Any:
    """Return as much of a target as a request needs."""

    class Told:
        system = None

    return Told()


def test_journal_keeps_settings_apart() -> None:
    """An answer is only reused where everything that made it is the same; what changes no answer changes no key."""

    def key(name: str = "golden/a", **how: Any) -> str:
        generation = GenerationSettings(**how) if how else None
        return journal_key("identity", Request(name, 9, messages=(Message("user", "x"),), generation=generation))

    drawn: dict[str, Any] = {"temperature": 0.5}
    keys = [
        key(),
        key(repeat_penalty=1.1),
        key(grammar="root ::= []"),
        key(grammar="root ::= {}"),
        key(**drawn),
        key(**drawn, seed=1),
        key(**drawn, top_p=0.9),
        key("golden/b", **drawn),
    ]
    assert len(set(keys)) == len(keys)
    assert key(seed=1, top_p=0.5) == key() == key("golden/b")


def test_older_baselines_stay_comparable(project: Project) -> None:
    """What a baseline was generated with is compared as before: new settings count only where they say something."""
    generation = load_rules(project.path / "gates.toml").gates_file.generation
    assert set(generation.model_dump()) == {"temperature", "max_tokens", "n_ctx", "repeat_penalty", "grammar"}
    project.write_gates(head=HELD.replace('grammar = "schema"', "temperature = 1.0\nseed = 2"))
    assert load_rules(project.path / "gates.toml").gates_file.generation.model_dump()["seed"] == 2


@pytest.mark.parametrize("setting", ['grammar = "schema"', "temperature = 0.5", "repeat_penalty = 1.1"])
def test_endpoint_decodes_greedily_only(project: Project, setting: str) -> None:
    """A server that is not told of the settings would be judged as another deployment: refused in one line."""
    project.write_gates(head=HELD.replace('grammar = "schema"', setting))

    result = project.run(models=["http://127.0.0.1:9/v1#tiny"])

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: gates.toml: [[]generation] temperature, repeat_penalty and grammar are not *"])


@pytest.mark.parametrize("option", ["--model", "--reference"])
def test_transformers_has_no_grammars(project: Project, option: str) -> None:
    """A target that transformers runs is refused under a grammar, as a reference too, before anything is loaded."""
    project.write_gates(head=HELD)
    adapter = Path(__file__).parents[2] / "examples" / "support" / "adapter"
    models = ["replay:journal.jsonl#cand"] if option == "--reference" else [str(adapter)]

    result = project.run(*(("--reference", str(adapter)) if option == "--reference" else ()), models=models)

    assert result.ret == 4
    result.stderr.fnmatch_lines(['ERROR: gates.toml: [[]generation] grammar = "schema" is not supported for adapter*'])
