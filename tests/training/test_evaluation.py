"""The gate is run on a training's own targets as a user would run it, and what it measured is read back."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.config import Config
from modelgate_training.documents import baseline
from modelgate_training.documents.baseline import controls, measure_baseline, other_arms, skip_baseline
from modelgate_training.documents.finish import batch_size, finish
from modelgate_training.errors import ConfigError, StageError
from modelgate_training.evaluation import OUTPUT, check_suites, evaluate, spec
from modelgate_training.figures import primary
from modelgate_training.registry import read
from modelgate_training.run_folder import RunFolder
from sklearn.metrics import f1_score

from tests.training.finished_run import GATES, SUITES, make_run, make_suites, record, right_answers, write_mark
from tests.training.support_model import BASE, BASE_F16, SUPPORT

WRONG = '{"intent": "billing", "sentiment": "neutral", "urgency": "low"}'


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Return a run whose files are there."""
    return make_run(tmp_path)


def base_and_candidate(run: RunFolder) -> tuple[dict[str, str], dict[str, str]]:
    """Return the answers of a base that always says one thing, and of a candidate that errs in three held-out cases."""
    right = right_answers(run)
    erring = [key for key in right if key.startswith("heldout/")][:3]
    return dict.fromkeys(right, WRONG), right | dict.fromkeys(erring, WRONG)


def macro_f1(run: RunFolder, answers: dict[str, str], suite: str) -> float:
    """Work out macro-F1 of the intents with another library."""
    cases = [case for case in run.tasks.cases if case.suite == suite]
    wanted = [case.expected["intent"] for case in cases]
    got = [json.loads(answers[f"{suite}/{case.id}"])["intent"] for case in cases]
    return float(f1_score(wanted, got, labels=sorted(set(wanted)), average="macro", zero_division=0))


# --- What is measured --------------------------------------------------------------------------------------------


def test_primary_metrics_are_those_of_another_library(run: RunFolder) -> None:
    """Of base and candidate, golden and held-out, macro-F1 is what scikit-learn says, and so is their difference."""
    theirs, ours = base_and_candidate(run)
    found = evaluate(
        run, {"adapter": record(run, "ours", ours)}, {"base": record(run, "theirs", theirs)}, run.evaluation
    )
    figure = found.figures("adapter")["support"]
    assert primary(run.tasks, "support") == figure["metric"] == "macro_f1.intent"
    for suite in ("golden", "heldout"):
        assert figure["n"][suite] == SUITES[suite]
        assert figure[suite] == pytest.approx(macro_f1(run, ours, suite), abs=1e-6)
        assert found.figures("base")["support"][suite] == pytest.approx(macro_f1(run, theirs, suite), abs=1e-6)
        gained = macro_f1(run, ours, suite) - macro_f1(run, theirs, suite)
        assert figure["over_base"][suite]["value"] == pytest.approx(gained, abs=1e-6)
        low, high = figure["interval"][suite]
        assert low <= figure[suite] <= high
    assert figure["golden"] == 1.0


def test_the_verdict_is_that_of_each_target(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """One target that passes and one that is blocked: the run is blocked, and it is said which one it was."""
    theirs, ours = base_and_candidate(run)
    targets = {"good": record(run, "ours", ours), "bad": record(run, "theirs", theirs)}
    found = evaluate(run, targets, {"base": targets["bad"]}, run.evaluation)
    blocked = {gate["target"] for gate in found.gates if gate["blocks"] and gate["name"] == "intent"}
    assert (found.verdict, blocked) == ("blocked", {"bad"})
    assert found.targets["bad"]["verdict"] == "blocked"
    assert any("intent[bad]" in reason for reason in found.reasons)
    assert "gate: blocked: gate " in capsys.readouterr().out
    with pytest.raises(StageError, match="blocked: gate "):
        evaluate(run, targets, {"base": targets["bad"]}, run.evaluation, accept_blocked=False)


def test_an_answer_that_lacks_is_no_mistake_of_the_model(run: RunFolder) -> None:
    """A case without an answer is counted as an error, left out of the figure, and the target is blocked."""
    _, ours = base_and_candidate(run)
    lost = next(key for key in ours if key.startswith("golden/"))
    del ours[lost]
    found = evaluate(run, {"adapter": record(run, "ours", ours)}, {}, run.evaluation)
    target = found.targets["adapter"]
    assert (target["errors"], target["verdict"]) == (1, "blocked")
    assert target["figures"]["support"]["n"]["golden"] == SUITES["golden"] - 1
    assert target["figures"]["support"]["golden"] == 1.0


# --- How it is run -----------------------------------------------------------------------------------------------


def test_nothing_of_the_project_gets_in_the_way(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither conftests, pytest settings, a module called pytest, nor the environment change what the gate does."""
    settings = '[tool.pytest.ini_options]\naddopts = "-k nothing -x --unknown"\nfilterwarnings = ["error"]\n'
    (run.root / "pyproject.toml").write_text(settings, encoding="utf-8")
    (run.root / "conftest.py").write_text("raise RuntimeError('not to be imported')\n", encoding="utf-8")
    (run.root / "golden" / "conftest.py").write_text("raise RuntimeError('nor this')\n", encoding="utf-8")
    (run.root / "pytest.py").write_text("raise RuntimeError('nor that')\n", encoding="utf-8")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--maxfail=1 --collect-only")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    found = evaluate(run, {"adapter": record(run, "ours", right_answers(run))}, {}, run.evaluation)
    assert found.targets["adapter"]["cases"] == sum(SUITES.values())
    assert found.targets["adapter"]["figures"]["support"]["heldout"] == 1.0


def test_a_run_without_a_verdict_is_an_error_in_one_line(run: RunFolder) -> None:
    """What the gate says of a file that is no model is passed on, and no earlier report can be taken for this run's."""
    evaluate(run, {"adapter": record(run, "ours", right_answers(run))}, {}, run.evaluation)
    (run.path / "broken.gguf").write_bytes(b"GGUF")
    with pytest.raises(StageError) as raised:
        evaluate(run, {"Q8_0": spec(run, run.path / "broken.gguf")}, {}, run.evaluation)
    message = str(raised.value)
    assert "the gate gave no verdict (pytest ended with 4): ERROR: " in message
    assert "broken.gguf" in message
    assert "\n" not in message
    assert not run.evaluation.exists()
    assert "broken.gguf" in (run.path / "evaluation-failed.txt").read_text(encoding="utf-8")


@pytest.mark.model
def test_paths_with_commas_and_plus_signs_reach_the_gate(tmp_path: Path) -> None:
    """A run in a folder with a comma and a plus in its name is judged as any other."""
    run = make_run(tmp_path, output="a run, r8+lora")
    found = evaluate(run, {"Q8_0": spec(run, run.path / "support-Q8_0.gguf")}, {}, run.evaluation)
    assert found.targets["Q8_0"]["errors"] == 0
    assert found.targets["Q8_0"]["kind"] == "gguf"


@pytest.mark.model
def test_a_report_names_files_as_seen_from_the_project(run: RunFolder) -> None:
    """Neither command nor specs of a report that may be published name a folder of this machine."""
    targets = {"Q8_0": spec(run, run.path / "support-Q8_0.gguf")}
    evaluate(run, targets, {}, run.evaluation)
    report = json.loads((run.evaluation / "report.json").read_text(encoding="utf-8"))
    told = json.dumps([report["command"], report["targets"]])
    assert "run/support-Q8_0.gguf" in told
    assert str(run.root) not in told
    assert (run.evaluation / OUTPUT).read_text(encoding="utf-8").startswith("====")


@pytest.mark.model
def test_what_an_interrupted_run_generated_is_taken_up(run: RunFolder) -> None:
    """The generations that a killed run left behind are not made again, and its folder is gone."""
    targets = {"Q8_0": spec(run, run.path / "support-Q8_0.gguf")}
    evaluate(run, targets, {}, run.evaluation)
    left = run.path / ".partial-evaluation-0"
    run.evaluation.rename(left)
    lines = (left / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (left / "journal.jsonl").write_bytes(b"".join(lines[:10]) + lines[10][:30])
    evaluate(run, targets, {}, run.evaluation)
    report = json.loads((run.evaluation / "report.json").read_text(encoding="utf-8"))
    assert report["targets"][0]["replayed"] == 10
    assert not left.exists()


# --- Before training ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", ["golden", "adversarial", "heldout"])
def test_training_without_a_suite_is_refused(tmp_path: Path, suite: str) -> None:
    """Whichever of the three suites is missing, it is said which and what to do, with or without a baseline."""
    make_suites(tmp_path)
    kept = [name for name in SUITES if name != suite]
    suites = "".join(f'{name} = ["{name}/*.jsonl"]\n' for name in kept)
    gates = GATES.replace("version = 1\n", f"version = 1\n[suites]\n{suites}").replace(
        'suites = ["golden", "heldout"]', ""
    )
    (tmp_path / "gates.toml").write_text(gates, encoding="utf-8")
    config = {"root": str(tmp_path), "output": "run", "gates": "gates.toml", "base": {"path": str(BASE)}, "data": {}}
    run = RunFolder(Config.model_validate(config))
    with pytest.raises(ConfigError, match=f"no suite '{suite}': .*write cases and name their files under"):
        check_suites(run)
    with pytest.raises(ConfigError, match=f"no suite '{suite}'"):
        skip_baseline(run, "measured elsewhere")


def test_a_baseline_that_is_skipped_leaves_its_reason(run: RunFolder) -> None:
    """The reason is recorded, and the candidate is then compared with nothing."""
    facts = skip_baseline(run, "measured in run support-3")
    assert facts == {"skipped": "measured in run support-3"}
    write_mark(run, "baseline", facts)
    assert controls(run, BASE) == {}


def test_arms_are_found_from_the_gates_files_folder(run: RunFolder) -> None:
    """A prompt and a larger model are named from the root, a program by module; ids are the gate's own."""
    (run.root / "prompt,better.txt").write_text("Label it.", encoding="utf-8")
    wanted = {
        "prompted": "prompt,better.txt",
        "program": "rules:answer",
        "larger": "run/support-f16.gguf,n_ctx=512,id=mine",
    }
    arms = other_arms(
        RunFolder(run.config.model_copy(update={"baseline": run.config.baseline.model_copy(update=wanted)})), BASE
    )
    assert arms == {
        "prompted": "run/base-f16.gguf,system=prompt%2Cbetter.txt",
        "program": "python:rules:answer",
        "larger": "run/support-f16.gguf,n_ctx=512",
    }


def test_a_prompt_that_is_not_there_is_said(run: RunFolder) -> None:
    """A misspelt file of a better prompt is a mistake in the configuration."""
    settings = run.config.baseline.model_copy(update={"prompted": "promt.txt"})
    with pytest.raises(ConfigError, match=r"baseline.prompted: no such file: .*promt.txt"):
        other_arms(RunFolder(run.config.model_copy(update={"baseline": settings})), BASE)


def test_a_base_that_answers_nothing_is_no_baseline(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the base's engine failed on every case, nothing was measured, and training must not go on."""
    monkeypatch.setattr(baseline, "base_spec", lambda *_: record(run, "base", {"golden/of-another-suite": WRONG}))
    without_export(monkeypatch)
    with pytest.raises(StageError, match="the untuned base answered nothing: "):
        measure_baseline(run, BASE)


def test_the_base_is_judged_also_where_the_gates_file_has_one(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control called base in gates.toml does not keep the untuned base from being measured as such."""
    theirs, _ = base_and_candidate(run)
    text = record(run, "base", theirs)
    (run.root / "gates.toml").write_text(f'{GATES}\n[controls]\nbase = "{text}"\n', encoding="utf-8")
    run = RunFolder(run.config)
    monkeypatch.setattr(baseline, "base_spec", lambda *_: text)
    without_export(monkeypatch)
    facts = measure_baseline(run, BASE)
    assert facts["verdict"] == "blocked"
    assert facts["base"]["support"]["heldout"] == pytest.approx(macro_f1(run, theirs, "heldout"), abs=1e-6)


@pytest.mark.parametrize(
    ("layers", "width", "n_ctx", "batch"), [(2, 256, 1024, 32), (24, 896, 4096, 10), (36, 4096, 8192, 8)]
)
def test_small_models_answer_more_cases_together(
    tmp_path: Path, layers: int, width: int, n_ctx: int, batch: int
) -> None:
    """The batch grows with what fits into a gigabyte, between 8 and 32."""
    heads = {"num_attention_heads": width // 64, "num_key_value_heads": 2 if layers < 36 else 32}
    config = {"num_hidden_layers": layers, "hidden_size": width, **heads}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert batch_size(tmp_path, n_ctx) == batch
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    assert batch_size(tmp_path, n_ctx) == 8


# --- The real thing ----------------------------------------------------------------------------------------------


@pytest.mark.model
def test_base_and_candidate_of_the_tiny_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real base is blocked, the real candidate is better in every form, and everything is written down."""
    arms = {"prompted": "golden/support.system.txt", "program": "rules:answer"}
    run = make_run(tmp_path, baseline=arms, registry="registry")
    shutil.copyfile(SUPPORT / "rules.py", tmp_path / "rules.py")
    without_export(monkeypatch)
    facts = measure_baseline(run, BASE)
    assert facts["verdict"] == "blocked"
    assert facts.keys() >= {"base", "prompted", "program", "gguf"}
    assert facts["base"]["support"]["heldout"] < 0.5
    write_mark(run, "baseline", facts)

    facts = finish(run, BASE)
    assert facts["adapter_better_than_base"] == {"support": True}
    assert list(facts["verdicts"]) == ["adapter", "Q8_0", "Q4_K_M"]
    assert facts["figures"]["base"] == read_baseline(run)
    report = json.loads((run.evaluation / "report.json").read_text(encoding="utf-8"))
    replayed = {target["id"]: target["replayed"] for target in report["targets"]}
    assert replayed["base"] == sum(SUITES.values())  # taken from the baseline's journal
    evidence = {(gate["name"], gate["target"]): gate["outcome"] for gate in report["gates"]}
    assert {evidence[gate, name] for gate in ("card", "data") for name in facts["verdicts"]} == {"passed"}
    manifest = json.loads(run.manifest.read_text(encoding="utf-8"))
    speeds = {name: one["performance"] for name, one in manifest["evaluation"]["targets"].items()}
    for name in ("Q8_0", "Q4_K_M", "base"):
        assert speeds[name]["latency_ms"]["p50"] > 0
        assert speeds[name]["peak_rss_bytes"] > 1_000_000
    assert f"**{facts['verdict'].upper()}**" in run.card.read_text(encoding="utf-8")
    assert [row["manifest_sha256"] for row in read(run.root / "registry" / "runs.jsonl")] == [facts["manifest_sha256"]]
    assert not list(run.path.glob(".partial-*"))


def read_baseline(run: RunFolder) -> dict[str, Any]:
    """Return what the baseline measured of the base."""
    return dict(run.facts("baseline")["base"])


def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the base be exported by copying the file that was exported once."""

    def export_base(run: RunFolder, _: Path) -> dict[str, Any]:
        run.base_gguf.unlink(missing_ok=True)
        os.link(BASE_F16, run.base_gguf)
        return {run.base_gguf.name: {}}

    monkeypatch.setattr("modelgate_training.export.steps.export_base", export_base)
