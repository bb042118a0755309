"""Gather everything that decides a release, checked before any model is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pytest_modelgate.baselines import FOLDER, Baseline, load_baseline
from pytest_modelgate.cases import Case, CaseRules, SuiteFile, load_suites
from pytest_modelgate.errors import GatesFileError
from pytest_modelgate.evidence import gather_evidence
from pytest_modelgate.gates import Gate, load_gates
from pytest_modelgate.gates_file import GatesFile, load_gates_file
from pytest_modelgate.identity import FileHashes
from pytest_modelgate.machine import describe_machine
from pytest_modelgate.nearest import did_you_mean
from pytest_modelgate.parity import parity_gates
from pytest_modelgate.quarantine import Quarantine, read_quarantine
from pytest_modelgate.raw_validity import raw_validity_gates
from pytest_modelgate.records import GenerationSettings, Request
from pytest_modelgate.specs import TargetKind, TargetSpec
from pytest_modelgate.targets import Target, prepare_target
from pytest_modelgate.tasks import Task, load_tasks


@dataclass(frozen=True, slots=True)
class Rules:
    """
    Hold what a release is judged by, whatever the targets: gates file, tasks, suites, gates.

    ``gates`` is empty while a suite file has an error: nothing can be said of a gate's slice then. ``baseline``: what
    was accepted before, None where nothing was.
    """

    gates_file: GatesFile
    tasks: Mapping[str, Task]
    files: tuple[SuiteFile, ...]
    gates: tuple[Gate, ...]
    quarantine: Quarantine = field(default_factory=lambda: Quarantine({}, {}))
    baseline: Baseline | None = None

    @property
    def cases(self) -> tuple[Case, ...]:
        """Return every case of every suite."""
        return tuple(case for file in self.files for case in file.cases)

    @property
    def baselines(self) -> Path:
        """Return the folder of accepted records."""
        return self.gates_file.root / FOLDER


@dataclass(frozen=True, slots=True)
class Release:
    """
    Hold the rules and the targets: those to be judged, and what they are compared with.

    ``targets``: everything that answers the cases: judged ones, controls and the first reference. ``references``: what
    the judged targets were made from, in order. ``baseline_model``: the last release, which is only timed.
    ``evidence``: for each judged target, which steps of a release were taken.
    """

    rules: Rules
    targets: tuple[Target, ...]
    references: tuple[Target, ...] = ()
    baseline_model: Target | None = None
    evidence: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)

    @property
    def gates_file(self) -> GatesFile:
        """Return the gates file."""
        return self.rules.gates_file

    @property
    def tasks(self) -> Mapping[str, Task]:
        """Return the tasks by name."""
        return self.rules.tasks

    @property
    def files(self) -> tuple[SuiteFile, ...]:
        """Return the suites' files."""
        return self.rules.files

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Return the gates."""
        return self.rules.gates

    @property
    def cases(self) -> tuple[Case, ...]:
        """Return every case of every suite."""
        return self.rules.cases

    @property
    def reference(self) -> Target | None:
        """Return the target that every judged one must agree with."""
        return self.references[0] if self.references else None

    @property
    def judged(self) -> tuple[Target, ...]:
        """Return the targets that ``--model`` names."""
        return tuple(target for target in self.targets if target.spec.role == "model")

    @property
    def controls(self) -> tuple[Target, ...]:
        """Return the arms to beat."""
        return tuple(target for target in self.targets if target.spec.role == "control")

    @property
    def kinds(self) -> dict[str, TargetKind]:
        """Return each judged target's kind by its id."""
        return {target.id: target.spec.kind for target in self.judged}

    def request(self, case: Case, target: Target, repeat: int = 0) -> Request:
        """Return what ``target`` is asked for ``case``; its key is :func:`request_key`'s."""
        task = self.tasks[case.task]
        messages = task.messages(case, target.system)
        return Request(
            request_key(case, repeat),
            self.gates_file.generation.max_tokens,
            messages=messages,
            input_span=task.input_span(case, messages),
            generation=self._generation(task),
        )

    def _generation(self, task: Task) -> GenerationSettings | None:
        """Return how the tokens of a task's outputs are chosen, None for greedily."""
        table = self.gates_file.generation
        settings = GenerationSettings(
            temperature=table.temperature,
            top_p=table.top_p,
            repeat_penalty=table.repeat_penalty,
            seed=table.seed,
            grammar=task.grammar,
        )
        return None if settings.is_greedy else settings


def request_key(case: Case, repeat: int = 0) -> str:
    """Return the name of a request: ``suite/id``, with ``#n`` for a repeat."""
    return f"{case.suite}/{case.id}" + (f"#{repeat}" if repeat else "")


def load_release(
    rules: Rules,
    specs: tuple[TargetSpec, ...],
    out: Path | None,
    *,
    n_threads: int | None = None,
    serial: bool = False,
    answers: bool = True,
) -> Release:
    """
    Check the files of every target.

    ``out``: where file hashes are remembered. ``n_threads``: for engines whose spec names none. ``serial``: one request
    at a time. ``answers``: the targets are to answer cases, not only to be looked at. With a reference, the default gates on agreement with it are added. Raises
    :class:`~pytest_modelgate.errors.ConfigurationError`.
    """
    hashes = FileHashes(None if out is None else out / "hashes.json")
    prepared = [prepare_target(spec, rules.gates_file.generation, hashes, n_threads) for spec in specs]
    if serial:
        prepared = [replace(target, settings=replace(target.settings, batch_size=1)) for target in prepared]
    if answers:
        for target in prepared:
            target.require_template()
    references = tuple(target for target in prepared if target.spec.role == "reference")
    baseline_model = next((target for target in prepared if target.spec.role == "baseline"), None)
    answering = {"model", "control"}
    targets = (*(target for target in prepared if target.spec.role in answering), *references[:1])
    _check_controls(rules, targets)
    _check_long_inputs(rules, targets)
    _check_generation(rules, prepared)
    if references and rules.gates:
        counting = [case for case in rules.cases if (case.suite, case.id) not in rules.quarantine.active]
        rules = replace(rules, gates=(*rules.gates, *parity_gates(rules.gates_file, rules.tasks, counting)))
    reviews = rules.gates_file.root / rules.gates_file.review.file
    evidence = {
        target.id: gather_evidence(target, reviews, hashes) for target in targets if target.spec.role == "model"
    }
    return Release(rules, targets, references, baseline_model, evidence)


def load_rules(gates_path: Path) -> Rules:
    """
    Load and check what does not depend on a target.

    Raises :class:`~pytest_modelgate.errors.ConfigurationError`; a bad line of a suite is kept in its file instead (see
    :func:`~pytest_modelgate.cases.load_suites`).
    """
    gates_file = load_gates_file(gates_path)
    tasks = load_tasks(gates_file)
    case_rules = CaseRules(
        tasks=tuple(tasks),
        columns={name: table.columns.given() for name, table in gates_file.tasks.items()},
        reject=lambda case: tasks[case.task].reject(case),
    )
    files = load_suites({name: list(globs) for name, globs in gates_file.suites.items()}, gates_file.root, case_rules)
    if any(file.error for file in files):
        return Rules(gates_file, tasks, files, ())
    cases = [case for file in files for case in file.cases]
    quarantine = read_quarantine(gates_file, cases)
    counting = [case for case in cases if (case.suite, case.id) not in quarantine.active]
    gates = load_gates(gates_file, tasks, counting)
    gates = (*gates, *raw_validity_gates(gates_file, tasks, counting))
    generation = gates_file.generation.model_dump()
    folder = gates_file.root / FOLDER
    baseline = load_baseline(folder, gates_path.name, tasks, cases, generation, describe_machine())
    return Rules(gates_file, tasks, files, gates, quarantine, baseline)


def _check_controls(rules: Rules, targets: tuple[Target, ...]) -> None:
    """Find a misspelt control: one that a gate asks for, while another that nobody asks for was given."""
    controls = [target.id for target in targets if target.spec.role == "control"]
    wanted = {name for gate in rules.gates for name in gate.table.uplift_over}
    for gate in rules.gates:
        for name in gate.table.uplift_over:
            near = did_you_mean(name, [control for control in controls if control not in wanted])
            if name not in controls and near:
                where = rules.gates_file.where("gates", gate.name)
                raise GatesFileError(f"{where} uplift_over: no control {name!r}{near}; given are {', '.join(controls)}")


def _check_long_inputs(rules: Rules, targets: tuple[Target, ...]) -> None:
    """Find a limit that no target's context holds: longer inputs would still be errors of the engine."""
    max_tokens = rules.gates_file.generation.max_tokens
    for name, task in rules.tasks.items():
        for target in targets:
            n_ctx = target.settings.n_ctx
            has_context = not target.is_replay and target.function is None
            if has_context and task.long_input is not None and task.long_input.tokens + max_tokens >= n_ctx:
                raise GatesFileError(
                    f"{rules.gates_file.where('tasks', name, 'long_input')} tokens {task.long_input.tokens} and max_tokens "
                    f"{max_tokens} leave no room for the prompt in n_ctx {n_ctx} of {target.id}: lower tokens or raise n_ctx"
                )


def _check_generation(rules: Rules, targets: Sequence[Target]) -> None:
    """Find a target whose engine cannot decode as gates.toml says: what it answered would be another deployment's."""
    where, table = rules.gates_file.where("generation"), rules.gates_file.generation
    for target in targets:
        if target.spec.kind == "endpoint" and not table.is_greedy:
            raise GatesFileError(
                f"{where} temperature, repeat_penalty and grammar are not supported for an endpoint ({target.id}); "
                f"leave them out, and let its server decode greedily"
            )
        if target.spec.kind in {"adapter", "merged"} and table.grammar != "none":
            raise GatesFileError(
                f'{where} grammar = "{table.grammar}" is not supported for {target.id} ({target.spec.kind}): '
                f"transformers has no grammars; give a GGUF, or leave grammar out"
            )
