"""The published pipeline of judged incidents gives the published counts, and is refused for what it leaks."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from modelgate_training.data.judged.config import JudgedData
from modelgate_training.data.judged.pipeline import JudgedResult, build
from modelgate_training.errors import StageError

from tests.training.published_incidents import LONG_LOGS, MODELS, config, write_sources


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of the published shape."""
    path = tmp_path_factory.mktemp("judged")
    write_sources(path)
    return path


@pytest.fixture(scope="module")
def clean(folder: Path) -> JudgedResult:
    """Return what is made where evaluation incidents are left out."""
    return run(config(exclude_eval=True), folder)


def run(document: dict[str, Any], folder: Path, **given: Any) -> JudgedResult:
    """Return what the pipeline makes; the document goes through YAML, as a user's does."""
    return build(JudgedData.model_validate(yaml.safe_load(yaml.safe_dump(document, sort_keys=False))), folder, **given)


def counts(result: JudgedResult) -> dict[str, dict[str, Any]]:
    """Return each step's counts by its name."""
    return {step["step"]: step for step in result.counts}


def records(folder: Path, name: str, key: str = "incident_id") -> dict[str, dict[str, Any]]:
    """Read a source by incident."""
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    return {record[key]: record for record in map(json.loads, lines)}


def test_each_step_gives_the_published_count(clean: JudgedResult) -> None:
    """532 + 270 = 802; of 961 incidents 802; 750; 675 + 75; 2025 rows; 151 others, of which 75 are for evaluation."""
    steps = counts(clean)
    assert steps["merge_judgements"]["tables"] == {"judges_1": 532, "judges_2": 270}
    assert steps["merge_judgements"]["left"] == 802
    assert list(steps["join"]["tables"].values()) == [961, 826, 802, 826]
    assert (steps["join"]["given"], steps["join"]["left"]) == (961, 802)
    assert (steps["filter"]["left"], f"{steps['filter']['left'] / steps['filter']['given']:.1%}") == (750, "93.5%")
    assert (steps["split"]["left"], steps["split"]["evaluation"]) == (675, 75)
    assert (steps["select"]["left"], steps["select"]["evaluation_rows"]) == (2025, 225)
    assert (steps["augment"]["candidates"], steps["augment"]["new"]) == (826, 151)


def test_the_published_rule_is_refused_for_what_it_leaks(clean: JudgedResult, folder: Path) -> None:
    """Among the 85 that are appended are incidents of the evaluation; every one is named, at least 9."""
    with pytest.raises(StageError) as refused:
        run(config(), folder)
    message = str(refused.value)
    held_back = {row["incident_id"] for row in clean.evaluation_rows}
    named = message.partition("train on: ")[2].partition(";")[0].split(", ")
    assert message.startswith(f"{len(named)} incidents that are held back for evaluation have rows to train on: ")
    assert len(named) == len(set(named)) >= 9
    assert set(named) <= held_back
    assert message.endswith("leave them out with data.judged.steps.5.augment.exclude_eval: true")
    assert "\n" not in message


def test_the_refused_set_has_the_published_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody checks, the published rule gives 2195 rows: 675 summaries, 760 causes, 760 risks."""
    monkeypatch.setattr("modelgate_training.data.judged.pipeline.leaked_incidents", lambda *_: [])
    unchecked = run(config(), folder)
    assert counts(unchecked)["augment"]["passed"] == 85
    assert len(unchecked.rows) == 2195
    assert Counter(row["task"] for row in unchecked.rows) == {"summary": 675, "cause": 760, "risk": 760}
    train = {row["incident_id"] for row in unchecked.rows}
    assert len(train & {row["incident_id"] for row in unchecked.evaluation_rows}) == 75


def test_without_evaluation_incidents_it_goes_on(clean: JudgedResult) -> None:
    """Of the 76 that are not held back 10 are good enough: 2045 rows, none of the evaluation."""
    augment = counts(clean)["augment"]
    assert (augment["excluded"], augment["passed"], augment["added"], augment["left"]) == (75, 10, 20, 2045)
    assert augment["tasks"] == {"summary": 675, "cause": 685, "risk": 685}
    assert Counter(row["task"] for row in clean.rows) == augment["tasks"]
    train = {row["incident_id"] for row in clean.rows}
    assert not train & {row["incident_id"] for row in clean.evaluation_rows}


def test_rows_of_an_incident_stand_together_in_the_order_of_the_tasks(clean: JudgedResult) -> None:
    """Summary, cause, risk, and again; then cause and risk of the appended ones."""
    made = [(row["task"], row["incident_id"]) for row in clean.rows]
    assert [task for task, _ in made[:2025]] == ["summary", "cause", "risk"] * 675
    assert [task for task, _ in made[2025:]] == ["cause", "risk"] * 10
    incidents = [incident for incident, _ in itertools.groupby(incident for _, incident in made)]
    assert len(incidents) == len(set(incidents)) == 685


def test_the_answers_are_the_best_and_the_risk_is_of_the_cause_s_model(clean: JudgedResult, folder: Path) -> None:
    """Compared with the files, read by other means."""
    analyses, judged = records(folder, "analyses.jsonl"), records(folder, "analysis-judges.jsonl", "incident")
    logs, scores = (
        records(folder, "logs.jsonl"),
        {**records(folder, "judges-1.jsonl"), **records(folder, "judges-2.jsonl")},
    )
    for row in clean.rows:
        incident = row["incident_id"]
        totals = {model: sum(parts.values()) for model, parts in judged[incident]["cause"].items()}
        table = scores[incident]["scores"] if row["task"] == "summary" else totals
        assert table[row["model"]] == max(table.values())
        texts = logs[incident]["summaries"] if row["task"] == "summary" else analyses[incident][row["task"]]
        assert row["expected"] == texts[row["model"]]
    assert {row["model"] for row in clean.rows} == set(MODELS)


def test_a_row_is_a_case_that_knows_where_it_comes_from(clean: JudgedResult, folder: Path) -> None:
    """Its id is incident and task, its group the incident, its source a file and a line."""
    assert len({row["id"] for row in clean.rows}) == len(clean.rows)
    for row in clean.rows[:30] + clean.evaluation_rows[:30]:
        assert row["id"] == f"{row['incident_id']}-{row['task']}"
        assert row["group"] == row["incident_id"]
        name, _, line = row["source"].rpartition(":")
        assert row["incident_id"] in (folder / name).read_text(encoding="utf-8").splitlines()[int(line) - 1]


def test_everybody_left_out_has_a_reason(clean: JudgedResult) -> None:
    """One rejection for each incident and step, and their counts by rule are the step's."""
    steps = counts(clean)
    for name, lost in (("join", 159), ("filter", 52), ("augment", 66)):
        rejected = [one for one in clean.rejected if one["step"] == name]
        assert len(rejected) == len({one["incident_id"] for one in rejected}) == lost
        assert all(one["reason"] and ":" in one["place"] for one in rejected)
        assert Counter(one["rule"] for one in rejected) == steps[name]["rejected"]
    assert set(steps["filter"]["rejected"]) == {
        "summary: score", "summary: length", "cause: score", "cause: length", "risk: score", "risk: length", "risk: label",
    }  # fmt: skip


def test_long_inputs_are_cut_between_lines_and_counted(clean: JudgedResult, folder: Path) -> None:
    """At most 3500 words are left, whole lines of the log, and a marker."""
    logs = records(folder, "logs.jsonl")
    cut = [row for row in clean.rows if row["input"] != logs[row["incident_id"]]["dag"]]
    assert 0 < counts(clean)["select"]["cut_inputs"] <= LONG_LOGS
    assert len({row["incident_id"] for row in cut}) == counts(clean)["select"]["cut_inputs"]
    for row in cut:
        whole = logs[row["incident_id"]]["dag"].splitlines()
        assert len(row["input"].split()) <= 3500
        assert len([line for line in row["input"].splitlines() if line not in whole]) == 1


def test_split_may_come_last(folder: Path) -> None:
    """Rows are then held back by incident, those that were appended too, and nothing leaks."""
    document = config()
    document["steps"].append(document["steps"].pop(3))
    result = run(document, folder)
    train, held_back = ({row["incident_id"] for row in rows} for rows in (result.rows, result.evaluation_rows))
    assert (len(train), len(held_back)) == (684, 76)
    assert not train & held_back
    assert len(result.rows) + len(result.evaluation_rows) == 750 * 3 + 10 * 2


def test_judges_can_be_filtered_one_by_one(folder: Path) -> None:
    """Steps work on any table that holds what they need, in any order."""
    document = config()
    document["tasks"] = {"cause": document["tasks"]["cause"]}
    document["steps"] = [
        {"join": {"tables": ["analyses", "analysis_judges"]}},
        {"filter": {"rules": {"cause": {"score": 14}}, "to": "good"}},
        {"filter": {"rules": {"cause": {"tokens": [50, 60]}}, "table": "good"}},
        {"select": {"tasks": "cause"}},
    ]
    result = run(document, folder)
    first, second = (step["left"] for step in result.counts[1:3])
    assert 826 > first > second == len(result.rows) > 0


def test_a_second_run_is_the_same(clean: JudgedResult, folder: Path) -> None:
    """Nothing depends on the order of sets or on a clock."""
    assert run(config(exclude_eval=True), folder) == clean
