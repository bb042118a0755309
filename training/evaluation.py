"""
Have the gate judge targets, as a user would: ``pytest --model …`` in a process of its own, in the gates file's folder.

The project's own tests have no say in it: neither its pytest settings nor its conftests nor the plugins that are
installed beside the gate. What the run writes appears in its folder when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.identity import hash_file
from pytest_modelgate.journal import JOURNAL, read_lines
from pytest_modelgate.report.escape import plain
from pytest_modelgate.report.files import REPORT

from .errors import ConfigError, StageError
from .figures import figures_of, read_records, speed_json
from .run_folder import RunFolder

OUTPUT = "output.txt"
"""What the run of pytest printed."""

_LEFT_OUT = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_XDIST_WORKER", "GITHUB_STEP_SUMMARY")
_RESULTS = (0, 1)
"""Exit codes of pytest that are verdicts: passed and blocked."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """
    Hold what one run of the gate found, as primitives.

    ``targets``: by id, what each target and control is and what was measured of it: ``role``, ``kind``, ``verdict`` (None
    for a control), ``figures`` by task, ``contract_error_rate``, ``failing``, ``performance`` (None where nothing was
    measured), and more. ``gates``: as in report.json. ``about``: when, how long, on which machine, by which files.
    """

    verdict: str
    reasons: tuple[str, ...]
    targets: dict[str, dict[str, Any]]
    gates: tuple[dict[str, Any], ...]
    about: dict[str, Any]

    def figures(self, target: str) -> dict[str, Any]:
        """Return a target's figure for each task; nothing for a target that did not run."""
        return dict(self.targets.get(target, {}).get("figures", {}))

    def to_json(self) -> dict[str, Any]:
        """Return everything as one object."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            **self.about,
            "targets": self.targets,
            "gates": list(self.gates),
        }


def check_suites(run: RunFolder) -> None:
    """Raise ConfigError unless there are golden, adversarial and held-out cases to judge a candidate by."""
    if missing := run.tasks.missing_suites:
        raise ConfigError(
            f"{run.tasks.path}: no suite {' and no suite '.join(repr(name) for name in missing)}: a candidate is judged on "
            f"golden, adversarial and held-out cases, which are written before anything is trained; write cases and name "
            f'their files under [suites], such as {missing[0]} = ["{missing[0]}/*.jsonl"]'
        )


def spec(run: RunFolder, path: Path, **options: Path | int) -> str:
    """Return how the gate is told of a file or folder; paths are relative to the gates file's folder."""

    def written(value: Path | int) -> str:
        return _escaped(_relative(run, value)) if isinstance(value, Path) else str(value)

    return ",".join([written(path), *(f"{name}={written(value)}" for name, value in options.items())])


def evaluate(
    run: RunFolder,
    targets: Mapping[str, str],
    controls: Mapping[str, str],
    out: Path,
    accept_blocked: bool = True,
    journals: Iterable[Path] = (),
    base: str = "base",
) -> Evaluation:
    """
    Judge ``targets`` against ``controls``, specs by id, and return what was found; the report's files go to ``out``.

    ``journals``: of earlier runs, whose generations are taken up where they are of the same targets and cases. ``base``: the
    id of what the others are compared with. Raises StageError for a run that gave no verdict, and for a blocked one
    unless ``accept_blocked``.
    """
    folder = run.tasks.path.parent
    work = _start(out, journals)
    arguments = [f"--modelgate-gates={run.tasks.path.name}", f"--modelgate-out={_relative(run, work)}"]
    arguments += [f"--modelgate-model={text},id={name}" for name, text in targets.items()]
    arguments += [f"--modelgate-control={text},id={name}" for name, text in controls.items()]
    against = f" against {', '.join(controls)}" if controls else ""
    print(f"gate: {', '.join(targets)}{against}, {len(run.tasks.cases)} cases; {_shown(run, work / OUTPUT)} grows")
    code = _run_pytest(arguments, folder, work / OUTPUT)
    if code not in _RESULTS or not (work / REPORT).is_file():
        kept = out.with_name(f"{out.name}-failed.txt")
        (work / OUTPUT).replace(kept)
        raise StageError(
            f"the gate gave no verdict (pytest ended with {code}): {_telling_line(kept)}; see {_shown(run, kept)}"
        )
    work.rename(out)
    found = read_evaluation(run, out, base)
    print(f"gate: {_verdict_line(found)}; {_shown(run, out / 'summary.md')}")
    if found.verdict != "passed" and not accept_blocked:
        raise StageError(f"blocked: {'; '.join(found.reasons)}")
    return found


def read_evaluation(run: RunFolder, out: Path, base: str = "base") -> Evaluation:
    """Return what the report in ``out`` says; ``base``: see :func:`evaluate`."""
    report = json.loads((out / REPORT).read_text(encoding="utf-8"))
    records = read_records(report)
    arms = {arm["id"]: arm for arm in report["arms"]}
    means = _mean_seconds(out / JOURNAL)
    speeds = {
        one["target"]: {key: one[key] for key in one if key != "target"} | {"mean_s": means.get(one["target"])}
        for one in report["performance"]
    }
    targets = {}
    for target in report["targets"]:
        name, arm = target["id"], arms[target["id"]]
        mine = [record for record in records if record.target == name]
        targets[name] = {
            **{key: target[key] for key in ("role", "kind", "sha256", "size_bytes", "quantization")},
            "verdict": _verdict_of(report, target, mine),
            "cases": len(mine),
            "errors": sum(record.outcome == "error" for record in mine),
            "first_error": next((record.error for record in mine if record.outcome == "error"), None),
            "inputs_cut": sum(record.input_tokens_dropped > 0 for record in mine),
            "figures": figures_of(run.tasks, records, name, None if name == base else base),
            "contract_error_rate": arm["contract_error_rate"],
            "cost_per_1k_requests": arm["cost_per_1k_requests"],
            "failing": arm["failing"],
            "performance": speeds.get(name),
        }
    about = {key: report[key] for key in ("created", "duration_s", "machine", "versions", "gates_file", "suites")}
    about["report_sha256"] = hash_file(out / REPORT)
    return Evaluation(report["verdict"], tuple(report["reasons"]), targets, tuple(report["gates"]), about)


def measure_speed(run: RunFolder, targets: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """
    Return time and memory of targets that no gate on speed judges, measured as the gate measures them; specs by id.

    Each is loaded alone and asked the declared sample of cases, one at a time.
    """
    from pytest_modelgate import latency
    from pytest_modelgate.release import load_release, load_rules
    from pytest_modelgate.specs import parse_specs

    try:
        rules = load_rules(run.tasks.path)
        specs = parse_specs([f"{text},id={name}" for name, text in targets.items()], run.tasks.path.parent)
        release = load_release(rules, specs, None)
        return {target.id: speed_json(latency.measure(release, target)) for target in release.judged}
    except ModelgateError as error:
        raise StageError(str(error)) from error


# --- One run of pytest -------------------------------------------------------------------------------------------


def _start(out: Path, journals: Iterable[Path]) -> Path:
    """
    Return an empty folder to work in, with what earlier runs generated; an earlier verdict is taken away.

    A run that was killed may have left a process behind that still works: its folder goes, so that it can write nowhere.
    """
    begun = list(out.parent.glob(f".partial-{out.name}-*"))
    paths = [out / JOURNAL, *(old / JOURNAL for old in begun), *journals]
    generated = b"".join(path.read_bytes() for path in paths if path.is_file())
    work = out.with_name(f".partial-{out.name}-{uuid.uuid4().hex[:8]}")
    work.mkdir(parents=True)
    if generated:
        (work / JOURNAL).write_bytes(generated)
    for old in [*begun, out]:
        shutil.rmtree(old, ignore_errors=True)
    return work


def _run_pytest(arguments: Sequence[str], folder: Path, output: Path) -> int:
    """Run pytest in ``folder`` with nothing but the gate, and return its exit code."""
    command = [
        *(sys.executable, "-P", "-m", "pytest", "-c", os.devnull, "--rootdir=.", "--noconftest"),
        *("-p", "no:cacheprovider", "-p", "pytest_modelgate.plugin", "--color=no", "--tb=short"),
        *arguments,
    ]
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _telling_line(output: Path) -> str:
    """Return the line of pytest's output that says what is wrong."""
    lines = [line.strip() for line in output.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line.strip("=-!_ ")]
    errors = [line for line in lines if line.startswith(("ERROR", "E  ", "INTERNALERROR"))]
    return plain((errors or lines or ["it printed nothing"])[-1], 400)


def _verdict_line(found: Evaluation) -> str:
    """Return the verdict in a line."""
    if not found.reasons:
        return found.verdict
    more = f"; and {len(found.reasons) - 1} more reasons" if len(found.reasons) > 1 else ""
    return f"{found.verdict}: {plain(found.reasons[0], 200)}{more}"


def _verdict_of(report: Mapping[str, Any], target: Mapping[str, Any], records: Sequence[Any]) -> str | None:
    """Return whether this target alone would have passed."""
    if target["role"] != "model":
        return None
    blocked = any(gate["blocks"] and gate["target"] in {None, target["id"]} for gate in report["gates"])
    failed = any(record.fails_run(strict=False) for record in records)
    return "blocked" if blocked or failed or report["selection"] != "full" else "passed"


def _mean_seconds(journal: Path) -> dict[str, float]:
    """Return the mean time of a request of each target whose speed was measured last, which a report rounds away."""
    means = {}
    for _, row in read_lines(journal):
        samples = (row.get("performance") or {}).get("samples")
        if samples:
            means[str(row.get("target"))] = round(fmean(one["total_s"] for one in samples), 6)
    return means


def _relative(run: RunFolder, path: Path) -> str:
    """Return a path as seen from the gates file's folder: a report that is published names no machine's folders."""
    return Path(os.path.relpath(path.resolve(), run.tasks.path.parent.resolve())).as_posix()


def _shown(run: RunFolder, path: Path) -> str:
    """Return a path as a user of the program knows it."""
    return path.relative_to(run.root).as_posix() if path.is_relative_to(run.root) else str(path)


def _escaped(path: str) -> str:
    """Write a path so that the gate takes no part of it for an option."""
    return path.replace(",", "%2C").replace("+", "%2B")
