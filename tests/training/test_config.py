"""A mistake in the configuration ends the program with one line and exit code 4, before any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml
from modelgate_training.cli import main
from modelgate_training.config_file import SHIPPED, json_schema, load_config

from tests.training.conftest import Project


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (("trainning",), {}, "unknown key 'trainning' in the top level (did you mean 'training'?)"),
        (("lora", "rank"), 4, "unknown key 'rank' in lora; valid are r, alpha, dropout, target_modules, rslora"),
        (("training", "epoch"), 1, "unknown key 'epoch' in training (did you mean 'epochs'?)"),
        (("base", "scratch", "hiden_size"), 8, "in base.scratch (did you mean 'hidden_size'?)"),
        (("base", "scratch", "augment"), {"tyops": 1}, "in base.scratch.augment (did you mean 'typos'?)"),
        (("data", "train"), [{"path": "a", "tsk": "b"}], "unknown key 'tsk' in data.train.0 (did you mean 'task'?)"),
        (("export", "imatrix"), {"calibraton": []}, "in export.imatrix (did you mean 'calibration'?)"),
        (("training", "patience"), 2, "training: best needs a checkpoint wherever the loss was measured"),
        (("data", "privacy"), "off", "data: privacy 'off' leaves secrets in the rows: say why in privacy_reason"),
        (("training", "lr"), -1, "training.lr: input should be greater than 0, got -1"),
        (("base", "path"), "Qwen/X", "base: give either 'path' (an existing model) or 'scratch' (make a small one)"),
        (("base", "scratch", "heads"), 5, "hidden_size 64 must be a multiple of heads 5"),
        (("data", "leaks"), "ignore", "data.leaks: input should be 'refuse' or 'drop', got 'ignore'"),
        (("data", "train"), ["nothing.jsonl"], "data.train: no file matches 'nothing.jsonl'"),
        (("gates",), "no.toml", "no.toml: no such gates file"),
        (("gates",), [], "gates: tuple should have at least 1 item"),
        (("export", "quantizations"), ["Q4_KM"], "export.quantizations: 'Q4_KM' is unknown; valid are F16, Q8_0"),
    ],
)
def test_a_mistake_is_named_with_what_is_valid(
    project: Project, error: Callable[[], str], key: tuple[str, ...], value: object, expected: str
) -> None:
    """Unknown keys name their section and the nearest valid key; bad values say what was got."""
    table = project.config
    for name in key[:-1]:
        table = table[name]
    table[key[-1]] = value
    if key[-1] == "patience":
        table |= {"evaluate": 3, "save": 4}
    assert project.run("prepare") == 4
    assert expected in error()


def test_a_missing_file_names_the_shipped_ones(error: Callable[[], str]) -> None:
    """A name that is no file gets the shipped configurations to choose from."""
    assert main(["run", "--config", "suport"]) == 4
    assert "suport: no such configuration file (did you mean 'support'?)" in error()


def test_set_overrides_one_value(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """--set is laid over the file and read as YAML; --dry-run shows each value with its origin and does nothing."""
    project.write_rows("other.jsonl", [{"input": "a b c", "expected": {"intent": "bug"}}])
    assert project.run("run", "--set", "lora.r=8", "--set", "data.train.0=other.jsonl", "--dry-run") == 0
    shown = capsys.readouterr().out.splitlines()
    origins = {line.split(":")[0]: line for line in shown}
    assert origins["lora.r"].split() == ["lora.r:", "8", "#", "--set"]
    assert '"path": "other.jsonl"' in origins["data.train"]
    assert origins["lora.target_modules"].endswith("# config.yaml")
    assert origins["lora.dropout"].endswith("# default")
    assert any(line.startswith("# trainable: ") for line in shown)
    assert any(line.startswith("# memory on a CPU: ") for line in shown)
    assert not (project.path / "run" / "prepared").exists()


def test_a_profile_is_laid_over_the_file(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """A profile changes what it names, gives back the default of what it sets to null, and is named as the origin."""
    project.config["profiles"] = {"small": {"lora": {"r": 2}, "training": {"lr": None}}}
    assert project.run("run", "--profile", "small", "--dry-run") == 0
    shown = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["lora.r:", "2", "#", "profile", "small"] for line in shown)
    assert any(line.split() == ["training.lr:", "0.0002", "#", "profile", "small"] for line in shown)


def test_an_unknown_profile_is_a_mistake(project: Project, error: Callable[[], str]) -> None:
    """A profile that the file does not have gets the nearest that it has."""
    project.config["profiles"] = {"tiny": {}}
    assert project.run("run", "--profile", "tinny", "--dry-run") == 4
    assert "no profile 'tinny' (did you mean 'tiny'?); it has tiny" in error()


def test_the_schema_describes_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON Schema names all sections, and each plain key says what it means."""
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    tables = [schema, *schema["$defs"].values()]
    keys = [(key, value) for table in tables for key, value in table["properties"].items()]
    bare = [key for key, value in keys if "description" not in value and "$ref" not in json.dumps(value)]
    assert bare == []
    assert {"gates", "data", "base", "lora", "training", "export"} <= schema["properties"].keys()


@pytest.mark.parametrize("override", ["lora.r", "=3", "output.x=1", "lora.r=[1"])
def test_a_bad_override_is_a_mistake(project: Project, error: Callable[[], str], override: str) -> None:
    """An override that cannot be understood says how one is written."""
    assert project.run("run", "--set", override, "--dry-run") == 4
    assert f"--set {override}: " in error()


SHIPPED_CONFIGS = sorted(SHIPPED.glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED_CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_are_valid(path: Path) -> None:
    """Every configuration that ships can be loaded by its name, with each profile, and holds no path of some machine."""
    profiles = [None, *(yaml.safe_load(path.read_text(encoding="utf-8")).get("profiles") or {})]
    for profile in profiles:
        config = load_config(path.stem, profile=profile)
        assert config.output == f"runs/{path.stem}" + (f"-{profile}" if profile else "")
        assert not any(Path(name).is_absolute() for name in (*config.gates, *(one.path for one in config.data.train)))


PUBLISHED = {
    "postmortem": "lora.r=16 lora.alpha=32 lora.dropout=0.05 lora.target_modules=[q_proj,v_proj] training.epochs=3 "
    "training.batch=4 training.accumulation=4 training.lr=2e-4 training.max_length=512 training.log_steps=10 "
    "training.patience=2 training.best=true base.path=Qwen/Qwen2.5-0.5B-Instruct",
    "incident": "lora.r=128 lora.alpha=128 lora.dropout=0 lora.rslora=true training.epochs=2 training.lr=2e-5 "
    "training.schedule=cosine training.warmup=20 training.weight_decay=0.01 training.batch=2 training.accumulation=8 "
    "training.optimizer=adamw_8bit training.precision=bf16 training.max_length=4096 data.seed=42",
    "invoice": "lora.r=16 lora.alpha=32 lora.dropout=0.05 training.lr=2e-4 training.batch=2 training.accumulation=8 "
    "training.warmup=0.03 training.weight_decay=0.01 training.schedule=cosine training.optimizer=paged_adamw_8bit "
    "training.packing=true training.max_length=2048 base.path=Qwen/Qwen3-4B-Instruct-2507",
    "support": "lora.r=16 lora.target_modules=[q_proj,k_proj,v_proj,o_proj] training.batch=1 "
    "training.gradient_checkpointing=true base.path=Qwen/Qwen2.5-0.5B-Instruct",
}


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_shipped_configurations_are_the_published_ones(name: str, published: str) -> None:
    """Laying the published hyper-parameters over a shipped configuration changes nothing."""
    assert load_config(name) == load_config(name, published.replace("2e-4", "2.0e-4").replace("2e-5", "2.0e-5").split())


@pytest.mark.parametrize("path", SHIPPED_CONFIGS, ids=lambda path: path.stem)
def test_the_schema_accepts_the_shipped_configurations(path: Path) -> None:
    """An editor that checks YAML by the schema underlines nothing in a file that is right, and does in one that is not."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    checker = jsonschema.Draft202012Validator(json_schema())
    assert [error.message for error in checker.iter_errors(document)] == []
    assert list(checker.iter_errors(document | {"trainning": {}})) != []


@pytest.mark.parametrize("path", SHIPPED_CONFIGS, ids=lambda path: path.stem)
def test_the_first_file_of_rows_can_be_set(path: Path) -> None:
    """However a file names its rows, --set reaches the first of them, and the others stay."""
    changed = load_config(path.stem, ["data.train.0.path=mine.jsonl"])
    assert changed.data.train[0].path == "mine.jsonl"
    assert changed.data.train[1:] == load_config(path.stem).data.train[1:]


def write_config(project: Project, text: str) -> list[str]:
    """Write a configuration as a user would, and return the arguments that name it."""
    file = project.path / "written.yaml"
    file.write_text(f"root: {project.path}\noutput: run\ngates: gates.toml\n{text}", encoding="utf-8")
    return ["prepare", "--dry-run", "--config", str(file)]


SMALL = "data: {train: train.jsonl}\nbase: {scratch: {steps: 1}}\n"


def test_words_that_yaml_takes_for_false_mean_what_they_say(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """`evaluate: no` and `privacy: off` are the documented words, whatever YAML makes of them."""
    text = "data: {train: train.jsonl, privacy: off, privacy_reason: made up}\nbase: {scratch: {steps: 1}}\n"
    assert main(write_config(project, text + "training: {evaluate: no}\n")) == 0
    shown = capsys.readouterr().out
    assert 'training.evaluate: "no"' in shown
    assert 'data.privacy: "off"' in shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{SMALL}lora: {{r: 4}}\nlora: {{r: 8}}\n", "not YAML: key 'lora' stands twice, again in line"),
        (f"{SMALL}card: {{goal: 2024-13-45}}\n", "not YAML: month must be in 1..12"),
        (f"{SMALL}profiles: {{small: {{lora: {{rank: 2}}}}}}\n", "profile small: unknown key 'rank' in lora"),
        (f"{SMALL}profiles: {{1: {{}}}}\n", "profiles: each profile is a name with a mapping of sections"),
        (f"{SMALL}card: {{goal: {'[' * 3000}{']' * 3000}}}\n", "nested without end"),
    ],
    ids=["twice", "date", "profile-key", "profile-name", "deep"],
)
def test_odd_yaml_is_one_line(project: Project, error: Callable[[], str], text: str, expected: str) -> None:
    """What YAML can hold beside a configuration is a mistake with one line."""
    assert main(write_config(project, text)) == 4
    assert expected in error()


def test_a_section_that_is_set_whole_is_set(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """The origin of a value inside a section that --set replaced is --set."""
    assert project.run("run", "--set", "lora={r: 6}", "--dry-run") == 0
    shown = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["lora.r:", "6", "#", "--set"] for line in shown)


def test_a_dry_run_finds_what_is_missing(project: Project, error: Callable[[], str]) -> None:
    """A dry run needs no base on disk, but the gates file and the rows."""
    (project.path / "train.jsonl").unlink()
    assert project.run("run", "--dry-run") == 4
    assert "data.train: no file matches 'train.jsonl'" in error()
