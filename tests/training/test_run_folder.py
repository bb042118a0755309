"""What is done is skipped, what was interrupted goes on, and what no longer fits is refused, naming what changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.config import Config
from modelgate_training.errors import StageError
from modelgate_training.run_folder import RunFolder

from tests.training.conftest import Project


class Folder:
    """Hold a run folder whose stages are written by hand."""

    def __init__(self, project: Project) -> None:
        self.project = project

    @property
    def run(self) -> RunFolder:
        """Return the folder as a new process sees it."""
        return RunFolder(Config.model_validate(self.project.config))

    def complete(self, *stages: str) -> None:
        """Write the outputs and marks of stages."""
        for stage in stages:
            self.run.begin(stage)
            for path in self.run.outputs(stage):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{stage} {path.name}", encoding="utf-8")
            self.run.finish(stage, 1.0, {})


@pytest.fixture
def folder(project: Project) -> Folder:
    """Return a run folder."""
    return Folder(project)


def test_a_finished_stage_is_complete(folder: Folder) -> None:
    """Nothing changed: nothing is done again."""
    folder.complete("prepare", "base", "train")
    assert [stage for stage in ("prepare", "base", "train", "merge") if folder.run.is_complete(stage)] == [
        "prepare",
        "base",
        "train",
    ]


def test_a_changed_setting_is_named_with_both_values(folder: Folder) -> None:
    """A changed setting reaches its stage and those after it, not those before."""
    folder.complete("prepare", "base", "train", "merge")
    folder.project.config["lora"]["r"] = 8
    assert folder.run.changes("train") == ["lora.r was 4, is 8"]
    assert folder.run.is_complete("base")
    assert not folder.run.is_complete("merge")


def test_changed_rows_are_named(folder: Folder) -> None:
    """An edited file of rows is named."""
    folder.complete("prepare")
    with (folder.project.path / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"input": "one more row of words", "expected": {"intent": "bug"}}\n')
    assert folder.run.changes("prepare") == ["train.jsonl changed"]


def test_a_changed_program_is_named(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that another version of this program prepared are not taken for its own."""
    folder.complete("prepare")
    monkeypatch.setattr("modelgate_training.stage_inputs._code_digest", lambda name: f"other {name}")
    assert folder.run.changes("prepare") == ["this program changed (data)"]


def test_rows_that_come_out_the_same_train_nothing_again(folder: Folder) -> None:
    """A suite that grew is compared with the rows again; where they stay what they are, the adapter stays valid."""
    folder.complete("prepare", "base", "train")
    with (folder.project.path / "golden.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"id": "g9", "input": "Is there a manual?", "expected": {"intent": "bug"}}\n')
    assert folder.run.changes("prepare") == ["golden.jsonl changed"]
    assert not folder.run.is_complete("train")
    folder.complete("prepare")
    assert folder.run.is_complete("train")


def test_output_that_is_gone_is_named(folder: Folder) -> None:
    """A stage whose file was deleted is not complete."""
    folder.complete("prepare")
    folder.run.train_rows.unlink()
    assert folder.run.changes("prepare") == ["run/prepared/train.jsonl is gone"]


def test_an_interrupted_stage_goes_on_only_as_it_was(folder: Folder) -> None:
    """A begun stage is taken up with the same settings, and refused with others."""
    folder.complete("prepare", "base")
    folder.run.begin("train")
    (folder.run.checkpoints / "checkpoint-5").mkdir(parents=True)
    folder.run.begin("train")
    assert (folder.run.checkpoints / "checkpoint-5").is_dir()
    folder.project.config["training"]["lr"] = 0.5
    assert folder.run.changes("train") == ["training.lr was 0.002, is 0.5"]
    folder.run.begin("train")
    assert not folder.run.checkpoints.exists()


def test_a_torn_mark_is_no_mark(folder: Folder) -> None:
    """Half a mark does not make a stage complete."""
    folder.complete("prepare")
    mark = folder.run.path / "stages" / "prepare.json"
    mark.write_text(mark.read_text(encoding="utf-8")[:40], encoding="utf-8")
    assert not folder.run.is_complete("prepare")


def test_a_change_is_refused_without_force(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what changed and both ways out, and touches nothing."""
    Folder(project).complete("prepare")
    project.config["data"]["seed"] = 8
    kept = Path(project.path / "run" / "prepared" / "train.jsonl").read_bytes()
    assert project.run("prepare") == 1
    said = capsys.readouterr().err
    assert "prepare was finished with other inputs: data.seed was 7, is 8; --force makes it again, another" in said
    assert Path(project.path / "run" / "prepared" / "train.jsonl").read_bytes() == kept


def test_a_stage_needs_those_before_it(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Training is refused before the baseline was measured, with the way out."""
    Folder(project).complete("prepare", "base")
    assert project.run("train") == 1
    said = capsys.readouterr().err
    assert "train comes after baseline, which has not been run" in said
    assert "--no-baseline REASON" in said


def test_a_changed_prompt_reaches_what_was_trained_with_it(folder: Folder) -> None:
    """Rows do not hold the prompt, but the adapter was trained with it: another prompt needs another training."""
    folder.complete("prepare", "base", "train")
    (folder.project.path / "system.txt").write_text("Say what it is.", encoding="utf-8")
    folder.complete("prepare")
    assert folder.run.changes("train") == ["system.txt changed"]


def test_altered_output_is_named(folder: Folder) -> None:
    """A golden case that was written into the prepared rows by hand, or an emptied adapter, is not what the stage wrote."""
    folder.complete("prepare", "base", "train")
    with folder.run.train_rows.open("a", encoding="utf-8") as file:
        file.write("{}\n")
    (folder.run.adapter / "adapter_model.safetensors").write_bytes(b"")
    assert folder.run.changes("prepare") == ["run/prepared/train.jsonl was changed after prepare wrote it"]
    assert folder.run.changes("train")[-1] == "run/adapter/adapter_model.safetensors was changed after train wrote it"


def test_what_changes_while_a_stage_runs_spoils_it(folder: Folder) -> None:
    """A stage whose inputs were edited under it vouches for nothing."""
    run = folder.run
    run.begin("prepare")
    for path in run.outputs("prepare"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("rows", encoding="utf-8")
    with (folder.project.path / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n")
    with pytest.raises(StageError, match=r"prepare: something changed while it ran.*train\.jsonl changed"):
        run.finish("prepare", 1.0, {})
    assert run.mark("prepare") is None


def test_a_baseline_without_its_report_is_not_complete(folder: Folder) -> None:
    """What the candidate has to beat must be there, and be what was measured: another prompt is another baseline."""
    folder.project.config["baseline"] = {"prompted": "better.txt"}
    (folder.project.path / "better.txt").write_text("Label it well.", encoding="utf-8")
    folder.complete("prepare", "base", "baseline")
    (folder.project.path / "better.txt").write_text("Label it better.", encoding="utf-8")
    assert folder.run.changes("baseline") == ["better.txt changed"]
    (folder.run.baseline / "report.json").unlink()
    assert "run/baseline/report.json is gone" in folder.run.changes("baseline")


def test_two_processes_do_not_share_a_folder(folder: Folder, project: Project, error: Callable[[], str]) -> None:
    """A second run in the same folder is refused while the first one works, with its process id."""
    with folder.run.locked():
        assert project.run("prepare") == 1
    assert f"another process (pid {os.getpid()}) is working in this folder" in error()


def test_a_folder_that_cannot_be_written_is_one_line(project: Project, error: Callable[[], str]) -> None:
    """An output below a file ends with one line, not a traceback."""
    (project.path / "run").write_text("", encoding="utf-8")
    assert project.run("prepare") == 1
    assert "the run's folder: " in error()


def test_a_reason_for_no_baseline_is_for_those_who_measure_it(project: Project, error: Callable[[], str]) -> None:
    """The option is refused where it would mean nothing."""
    assert project.run("prepare", "--no-baseline", "why not") == 4
    assert "--no-baseline is for baseline, train and run" in error()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"output": "."}, "output and publish are folders of their own"),
        ({"publish": "run"}, "publish must be another folder than output"),
        ({"export": {"name": "base"}}, "export.name 'base' is what the untuned model's file is called"),
        ({"training": {"most_gap": float("inf")}}, "training.most_gap: input should be a finite number"),
    ],
)
def test_settings_that_would_destroy_or_confuse_are_refused(
    project: Project, error: Callable[[], str], change: dict[str, Any], expected: str
) -> None:
    """Folders that would overwrite each other, names that would collide and limits that are none are mistakes."""
    project.config |= change
    assert project.run("prepare") == 4
    assert expected in error()


def test_a_card_beside_the_adapter_changes_no_training(folder: Folder) -> None:
    """The last stage lays the card into the adapter's folder: the adapter is still what training wrote."""
    folder.complete("prepare", "base", "train")
    (folder.run.adapter / "README.md").write_text("# Card", encoding="utf-8")
    assert folder.run.is_complete("train")
