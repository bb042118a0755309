"""Speed is measured apart: serially, warmed, alone on the machine, and in turns with the last release."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from statsmodels.stats.weightstats import DescrStatsW

from pytest_modelgate import latency
from pytest_modelgate.engines import Engine, EngineSettings, Result
from pytest_modelgate.errors import EngineStartError
from pytest_modelgate.evaluation import Findings, evaluate
from pytest_modelgate.gates import GateResult
from pytest_modelgate.machine_lock import alone_on_this_machine, lock_path
from pytest_modelgate.metrics import find_metric
from pytest_modelgate.metrics.performance import STATISTICS, increase
from pytest_modelgate.records import EngineInfo, Failure, Generation, Performance, Request, Sample
from pytest_modelgate.release import Release, load_rules
from pytest_modelgate.specs import TargetKind, TargetSpec
from pytest_modelgate.targets import Target

if TYPE_CHECKING:
    from tests.conftest import Project

SUPPORT = Path(__file__).parents[2] / "examples" / "support"
ROOT = Path(__file__).parents[2]
COMPARED = 'metric = "latency_ms.p50"\nmax_increase = { ratio = 1.2, ms = 5 }'


@pytest.fixture(autouse=True)
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep these tests' locks away from those of runs on this machine."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


# The phase, with engines that write down what they are asked


@dataclass
class Script:
    """Answer every request at once with the times that are given; write down who was asked what."""

    name: str
    asked: list[str]
    total_s: float = 0.1
    fails_at: int = 10**9
    closed: int = 0

    def describe(self) -> EngineInfo:
        """Name it."""
        return EngineInfo("script", "1")

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Answer one by one."""
        for request in requests:
            self.asked.append(f"{self.name} {request.key.partition('/')[2]}")
            if len(self.asked) > self.fails_at:
                yield request.key, Failure("died", "the engine died")
            else:
                yield (
                    request.key,
                    Generation("{}", output_tokens=11, prompt_tokens=50, ttft_s=self.total_s / 2, total_s=self.total_s),
                )

    def peak_rss_bytes(self) -> int | None:
        """Return a size."""
        return 1000

    def close(self) -> None:
        """Count."""
        self.closed += 1


@dataclass(frozen=True)
class ScriptedTarget(Target):
    """Be a target whose engine is a script."""

    engine: Callable[[], Engine] = field(kw_only=True)
    serial: list[bool] = field(default_factory=list, kw_only=True)

    def open(self, *, serial: bool = False) -> Engine:
        """Return the script."""
        self.serial.append(serial)
        return self.engine()


def scripted(name: str, engine: Engine | Exception, role: str = "model", kind: TargetKind = "gguf") -> ScriptedTarget:
    """Return a target of this name."""

    def make() -> Engine:
        if isinstance(engine, Exception):
            raise engine
        return engine

    spec = TargetSpec(name, kind, Path(), name, role=role)  # type: ignore[arg-type]  # "baseline" may not be a role yet
    return ScriptedTarget(spec, "0" * 64, "0" * 64, 0, EngineSettings(), engine=make)


def release_of(project: Project, *targets: Target, gate: str = COMPARED, sample: int = 4) -> Release:
    """Return a release of these targets with ten golden cases, of which ``sample`` are measured after two."""
    project.write_cases("golden", *(project.case(f"c{n}") for n in range(10)))
    gates = project.write_gates(speed=gate)
    gates.write_text(gates.read_text() + f"\n[performance]\nsample = {sample}\nwarmup = 2\n", encoding="utf-8")
    return Release(load_rules(gates), targets)


def test_a_sample_is_spread_evenly_and_warmed(project: Project) -> None:
    """Two requests are run for nothing, then every declared case once, in deployment shape, without a draft."""
    asked: list[str] = []
    target = scripted("a", Script("a", asked))

    found = latency.measure(release_of(project, target), target)

    assert asked == ["a c0", "a c2", "a c0", "a c2", "a c5", "a c7"]
    assert [sample.case for sample in found.samples] == ["c0", "c2", "c5", "c7"]
    assert found.samples[0] == Sample("c0", 0.05, 0.1, 11, 50)
    assert target.serial == [True]
    assert found.against is None


def test_the_last_release_is_measured_in_turns(project: Project) -> None:
    """Each case goes to both before the next; who comes first changes."""
    asked: list[str] = []
    target, before = scripted("a", Script("a", asked)), scripted("b", Script("b", asked, total_s=0.2))

    found = latency.measure(release_of(project, target), target, before)

    assert asked[:4] == ["a c0", "b c0", "a c2", "b c2"]  # unmeasured
    assert asked[4:] == ["a c0", "b c0", "b c2", "a c2", "a c5", "b c5", "b c7", "a c7"]
    assert found.against is not None
    assert [sample.case for sample in found.against.samples] == [sample.case for sample in found.samples]
    assert {sample.total_s for sample in found.against.samples} == {0.2}
    assert (found.target, found.against.target) == ("a", "b")


@pytest.mark.parametrize("gate", ['metric = "latency_ms.p50"\nmax = 500', COMPARED + '\ntargets = "adapter"'])
def test_the_last_release_is_only_loaded_where_a_gate_compares_with_it(project: Project, gate: str) -> None:
    """Without max_increase for the target there is nothing to take turns for."""
    asked: list[str] = []
    target, before = scripted("a", Script("a", asked)), scripted("b", Script("b", asked))

    found = latency.measure(release_of(project, target, gate=gate), target, before)

    assert not any(line.startswith("b") for line in asked)
    assert found.against is None


def test_a_request_without_an_answer_fails_the_phase(project: Project) -> None:
    """Times of some of the cases are no sample of all; the engine is closed all the same."""
    engine = Script("a", [], fails_at=4)
    target = scripted("a", engine)

    found = latency.measure(release_of(project, target), target)

    assert found.error == "golden/c5: the engine died"
    assert found.samples == ()
    assert engine.closed == 1


def test_a_last_release_that_does_not_load_costs_only_the_comparison(project: Project) -> None:
    """The target has its times; the comparison is told as missing."""
    engine = Script("a", [])
    target, before = scripted("a", engine), scripted("b", EngineStartError("b.gguf: no such file"))

    found = latency.measure(release_of(project, target), target, before)

    assert len(found.samples) == 4
    assert found.error is None
    assert found.against == Performance("b", error="b.gguf: no such file")
    assert engine.closed == 2
    (result,) = results(project, found)
    assert (result.outcome, result.blocks) == ("incomplete", True)
    assert result.reason == "incomplete: b: b.gguf: no such file"


def test_recorded_answers_of_the_last_release_are_no_times(project: Project) -> None:
    """A replay is refused as the other side of a comparison of speed; it is not even opened."""
    target = scripted("a", Script("a", []))
    before = scripted("b", EngineStartError("opened"), kind="replay")

    found = latency.measure(release_of(project, target), target, before)

    assert found.against == Performance("b", error="recorded answers have no times: give the model itself")


@pytest.mark.parametrize(
    ("role", "kind", "is_measured"),
    [
        ("model", "gguf", True),
        ("model", "adapter", False),
        ("model", "replay", False),
        ("control", "adapter", True),
        ("control", "python", True),
        ("reference", "gguf", False),
    ],
)
def test_who_is_measured(project: Project, role: str, kind: TargetKind, *, is_measured: bool) -> None:
    """The targets that a gate on speed judges and every control, but no replay and no reference."""
    target = scripted("a", Script("a", []), role, kind)
    release = release_of(project, target, gate='metric = "ttft_ms.p50"\nmax = 5\ntargets = ["gguf", "replay"]')

    assert latency.targets_to_measure(release) == [target] * is_measured


def test_measurements_survive_the_journal(project: Project) -> None:
    """What was measured in turns can be judged again."""
    asked: list[str] = []
    target, before = scripted("a", Script("a", asked)), scripted("b", Script("b", asked))
    found = latency.measure(release_of(project, target), target, before)

    assert Performance.from_json(found.to_json()) == found


@pytest.mark.model
def test_real_models_in_turns() -> None:
    """A quantisation and the model it was made of answer the same prompts, each in a process of its own."""
    rules = load_rules(ROOT / "gates.toml")
    q4, f16 = (
        Target(
            TargetSpec(name, "gguf", SUPPORT / f"support-{name}.gguf", name),
            *("0" * 64, "0" * 64, 0),
            EngineSettings(n_ctx=1024),
        )
        for name in ("Q4_K_M", "f16")
    )
    gate = next(gate for gate in rules.gates if gate.name == "latency")
    table = gate.table.model_copy(update={"max_increase": load_increase(1.2, 5)})
    compared = Release(
        type(rules)(rules.gates_file, rules.tasks, rules.files, (type(gate)(gate.name, table, gate.metric, ("p95",)),)),
        (q4,),
    )

    found = latency.measure(compared, q4, f16)

    assert found.error is None
    assert found.against is not None
    assert len(found.samples) == len(found.against.samples) == 40
    for mine, theirs in zip(found.samples, found.against.samples, strict=True):
        assert mine.prompt_tokens == theirs.prompt_tokens > 50
        assert 0 < mine.ttft_s < mine.total_s
        assert mine.output_tokens > 5
    assert 20_000_000 < (found.peak_rss_bytes or 0) < (found.against.peak_rss_bytes or 0)


def load_increase(ratio: float, ms: float) -> object:
    """Return the table of a comparison."""
    from pytest_modelgate.tables import IncreaseTable

    return IncreaseTable(ratio=ratio, ms=ms)


# One at a time

HOLDER = """\
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from pytest_modelgate.machine_lock import alone_on_this_machine
with alone_on_this_machine("measuring", lambda line: print(line, flush=True)):
    print("holds", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return another process that measures until it is told to stop."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("ends_by", ["itself", "kill"])
def test_a_second_phase_waits_for_the_first(holder: subprocess.Popen[str], ends_by: str) -> None:
    """It says whom it waits for, and goes on when the other one is done, however that ended."""
    told: list[str] = []
    entered = threading.Event()

    def measure() -> None:
        with alone_on_this_machine("measuring", told.append):
            entered.set()

    waiting = threading.Thread(target=measure)
    waiting.start()
    assert not entered.wait(0.5)
    assert told == [f"waiting: another run (process {holder.pid}) is measuring speed on this machine"]
    if ends_by == "kill":
        holder.kill()
    else:
        holder.communicate("\n")
    waiting.join(20)
    assert entered.is_set()


def test_loading_does_not_wait_for_measuring(holder: subprocess.Popen[str]) -> None:
    """Each purpose has its own lock."""
    with alone_on_this_machine("loading", pytest.fail):
        assert holder.poll() is None


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    """A link that lies where the lock's folder should be is not followed, and nothing is waited for."""
    path = lock_path("measuring")
    assert path is not None
    path.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    path.parent.symlink_to(tmp_path / "elsewhere")

    assert lock_path("measuring") is None
    with alone_on_this_machine("measuring"):
        assert not list((tmp_path / "elsewhere").iterdir())


# What is measured


def times(
    ms: Sequence[float] | NDArray[np.float64], name: str = "cand", against: Performance | None = None
) -> Performance:
    """Return a phase in which requests took so long, a quarter of it to the first of five tokens."""
    samples = tuple(Sample(f"c{n}", one / 4000, one / 1000, 5, 40) for n, one in enumerate(map(float, ms)))
    return Performance(name, samples, price_per_hour=3.6, against=against)


def value(written: str, performance: Performance) -> float | None:
    """Return a metric of a phase."""
    found = find_metric(written, ())
    assert not isinstance(found, str)
    measured: float | None = found[0].function(performance, *found[1]).value
    return measured


def test_statistics_of_times() -> None:
    """Percentiles and means of all three times are numpy's."""
    ms = np.random.default_rng(1).lognormal(4, 0.5, 50)
    parts = {"latency_ms": ms, "ttft_ms": ms / 4, "inter_token_ms": ms * 0.75 / 4}

    for name, values in parts.items():
        for statistic in STATISTICS:
            wanted = np.mean(values) if statistic == "mean" else np.percentile(values, float(statistic[1:]))
            assert value(f"{name}.{statistic}", times(ms)) == pytest.approx(wanted)


def test_rates() -> None:
    """Output tokens are counted over whole answers, prompt tokens over the time to the first token."""
    measured = times([100, 300])

    assert value("tokens_per_second", measured) == pytest.approx(10 / 0.4)
    assert value("prompt_tokens_per_second", measured) == pytest.approx(80 / 0.1)
    assert value("cost_per_1k_requests", measured) == pytest.approx(0.2)


def test_answers_of_one_token_have_no_time_between_tokens() -> None:
    """They count for nothing there; a phase of nothing else has no such figure."""
    one = Performance("cand", (Sample("a", 0.1, 0.1, 1), Sample("b", 0.1, 0.3, 3)))

    assert value("inter_token_ms.mean", one) == pytest.approx(100)
    assert value("inter_token_ms.mean", Performance("cand", one.samples[:1])) is None
    assert value("prompt_tokens_per_second", one) is None


def test_bounds_of_a_mean_are_students() -> None:
    """They are those of statsmodels, and infinite for one value."""
    ms = [80.0, 100.0, 130.0, 90.0]
    found = find_metric("latency_ms.mean", ())
    assert not isinstance(found, str)
    bounds = found[0].function(times(ms), "mean").bounds
    alone = found[0].function(times(ms[:1]), "mean").bounds

    assert bounds is not None
    assert bounds(0.95) == pytest.approx(DescrStatsW(ms).tconfint_mean(alpha=0.1))
    assert alone is not None
    assert alone(0.95) == (-np.inf, np.inf)


# What gates make of it


def results(project: Project, performance: Performance) -> list[GateResult]:
    """Return the results of the gate on speed."""
    rules = load_rules(project.path / "gates.toml")
    findings = Findings({performance.target: "gguf"}, (), {performance.target: performance})
    return [result for result in evaluate(rules.gates, findings) if result.name == "speed"]


def judged(project: Project, gate: str, performance: Performance) -> GateResult:
    """Return the result of one gate on speed."""
    project.write_gates(speed=gate)
    (result,) = results(project, performance)
    return result


@pytest.mark.parametrize(
    ("statistic", "n", "needed"), [("p95", 58, 59), ("p99", 298, 299), ("p50", 4, 5), ("p95", 40, 59)]
)
def test_a_percentile_of_too_few_requests_is_inconclusive(
    project: Project, statistic: str, n: int, needed: int
) -> None:
    """A gate with confidence says how many it takes, and with that many it passes."""
    gate = f'metric = "latency_ms.{statistic}"\nmax = 500\nconfidence = 0.95'

    few, enough = (judged(project, gate, times([100.0] * count)) for count in (n, needed))

    assert few.outcome == "inconclusive"
    assert few.reason == (
        f"inconclusive: latency_ms.{statistic} is 100, but {n} requests are too few for a bound on {statistic} at 95% "
        f"confidence, which takes {needed} ([performance] sample)"
    )
    assert enough.outcome == "passed"


def test_few_requests_can_prove_that_a_model_is_slow(project: Project) -> None:
    """A lower bound takes few requests: twenty slow answers fail p95."""
    found = judged(
        project, 'metric = "latency_ms.p95"\nmax = 50\nconfidence = 0.95', times(np.linspace(90, 110, 20).tolist())
    )

    assert found.outcome == "failed"


def test_without_confidence_the_value_decides(project: Project) -> None:
    """The point estimate of forty requests passes."""
    assert judged(project, 'metric = "latency_ms.p95"\nmax = 500', times([100.0] * 40)).outcome == "passed"


@pytest.mark.parametrize(
    ("now", "before", "outcome"),
    [(100, 100, "passed"), (119, 100, "passed"), (121, 100, "failed"), (14, 10, "passed"), (16, 10, "failed")],
)
def test_both_ratio_and_milliseconds_must_be_exceeded(
    project: Project, now: float, before: float, outcome: str
) -> None:
    """The larger of 1.2 times and 5 ms more is allowed."""
    found = judged(project, COMPARED, times([now] * 20, against=times([before] * 20, "last")))

    assert found.outcome == outcome
    assert found.baseline == pytest.approx(before)
    assert f"last took {before} ms on the same 20 requests in turns (x {now / before:.3g})" in found.reason


def test_cases_are_compared_with_themselves(project: Project) -> None:
    """Answers of very different length that all take 5 % longer are proved to be within 10 %, as pairs only."""
    before = np.random.default_rng(2).lognormal(4, 1, 60)
    gate = 'metric = "latency_ms.p50"\nmax_increase = { ratio = 1.1 }\nconfidence = 0.95'

    paired = judged(project, gate, times(before * 1.05, against=times(before, "last")))
    shuffled = times(np.random.default_rng(3).permutation(before), "last")
    unpaired = judged(project, gate, times(before * 1.05, against=shuffled))

    assert paired.outcome == "passed"
    assert unpaired.outcome == "inconclusive"


def test_a_gate_with_confidence_proves_what_is_slower(project: Project) -> None:
    """Answers that take 30 % longer fail 1.1 times."""
    before = np.random.default_rng(2).lognormal(4, 1, 60)
    gate = 'metric = "latency_ms.p50"\nmax_increase = { ratio = 1.1 }\nconfidence = 0.95'

    found = judged(project, gate, times(before * 1.3, against=times(before, "last")))

    assert found.outcome == "failed"
    assert found.interval is not None
    assert found.interval[0] > 0


def test_a_compared_percentile_takes_as_many_requests(project: Project) -> None:
    """Nothing is proved of p95 by forty pairs."""
    gate = 'metric = "latency_ms.p95"\nmax_increase = { ratio = 1.1 }\nconfidence = 0.95'

    found = judged(project, gate, times([100.0] * 40, against=times([100.0] * 40, "last")))

    assert found.outcome == "inconclusive"
    assert "40 requests are too few for a bound on p95 at 95% confidence, which takes 59" in found.reason


@pytest.mark.parametrize("statistic", ["p50", "mean"])
def test_a_model_that_is_as_fast_is_seldom_failed(statistic: str) -> None:
    """Of 200 comparisons of a model with itself at the very limit about 1 in 20 exceeds 95 % confidence."""
    random = np.random.default_rng(4)
    alarms = 0
    for _ in range(200):
        length = random.lognormal(4, 0.7, 60)
        mine, theirs = (length * random.lognormal(0, 0.05, 60) for _ in range(2))
        found = increase(times(mine), times(theirs), "latency_ms", statistic, ratio=1, ms=0)
        assert found is not None
        alarms += bool(np.quantile(found.excess, 0.05) > 0)

    assert alarms <= 20  # P(more | 5 %) < 0.1 %


def test_times_of_another_machine_are_advice(project: Project) -> None:
    """Without --baseline-model and a time of this machine nothing is decided, and it is said what would."""
    found = judged(project, COMPARED, times([100.0] * 20))

    assert (found.outcome, found.blocks) == ("not evaluated", False)
    assert found.reason == (
        "not evaluated: no time of the last release to compare with; give the last release as --baseline-model SPEC, "
        "which is measured in turns with it"
    )
