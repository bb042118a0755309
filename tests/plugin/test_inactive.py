"""Without --model the plugin registers its options and nothing else, and costs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

HEAVY = ("torch", "transformers", "llama_cpp", "pydantic", "numpy", "scipy", "jsonschema", "jinja2", "gguf", "xdist")
MODEL = "replay:journal.jsonl#cand"


def python(code: str) -> str:
    """Run ``code`` in an interpreter of its own and return what it printed."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_is_quick() -> None:
    """Importing the entry point takes less than 20 ms beyond pytest itself."""
    code = (
        "import time, pytest; t = time.perf_counter(); import pytest_modelgate.plugin; print(time.perf_counter() - t)"
    )

    fastest = min(float(python(code)) for _ in range(3))

    assert fastest < 0.020


def test_import_brings_nothing_heavy() -> None:
    """Importing the entry point imports none of the packages that models and metrics need."""
    code = f"import sys, pytest_modelgate.plugin; print([name for name in {HEAVY!r} if name in sys.modules])"

    assert python(code).strip() == "[]"


def test_run_without_model_brings_nothing_heavy(project: Project) -> None:
    """A whole run without --model in a project with gates and suites imports nothing heavy either."""
    project.write(
        "conftest.py",
        "import json, pathlib, sys\n"
        "def pytest_unconfigure(config):\n"
        f"    loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "    pathlib.Path(__file__).with_name('loaded.json').write_text(json.dumps(loaded))\n",
    )
    project.write("test_own.py", "def test_it():\n    pass\n")

    result = project.run("-p", "no:xdist", "-p", "no:xdist.looponfail", models=[], fresh=True)

    assert result.ret == 0
    assert json.loads((project.path / "loaded.json").read_text()) == []


def test_nothing_is_registered(project: Project) -> None:
    """Without --model there is no collector, no controller, no header, and no folder."""
    project.write(
        "conftest.py",
        "def pytest_report_header(config):\n"
        "    plugins = config.pluginmanager.list_name_plugin()\n"
        "    return 'registered: ' + ' '.join(sorted(name for name, _ in plugins if 'modelgate' in name))\n",
    )
    project.write("test_own.py", "def test_it():\n    pass\n")

    result = project.run(models=[])
    result.stdout.fnmatch_lines(["registered: modelgate"])
    assert not project.out.exists()

    result = project.run()
    result.stdout.fnmatch_lines(
        [
            "registered: modelgate modelgate-carried modelgate-collector modelgate-controller modelgate-preflight modelgate-progress modelgate-xdist"
        ]
    )


@pytest.mark.parametrize("value", [(), ("--model", "small"), ("--model=small",)])
def test_conftest_with_its_own_model_option(project: Project, value: tuple[str, ...]) -> None:
    """A project whose conftest has its own --model works as before, with and without using it."""
    project.write(
        "conftest.py",
        "import pytest\n"
        "def pytest_addoption(parser):\n    parser.addoption('--model', default='none')\n"
        "@pytest.fixture\ndef model(request):\n    return request.config.getoption('--model')\n",
    )
    expected = "small" if value else "none"
    project.write("test_own.py", f"def test_it(model):\n    assert model == {expected!r}\n")

    result = project.run(*value, models=[], fresh=True)

    assert result.ret == 0
    result.assert_outcomes(passed=1)
    shown = "modelgate: --model is another plugin's option here; --modelgate-model judges a release"
    assert (shown in result.outlines) == bool(value)


def test_long_names_work_beside_a_conftests_own(project: Project) -> None:
    """Where a conftest has taken --model, --modelgate-model judges a release."""
    project.write(
        "conftest.py",
        "def pytest_addoption(parser):\n    parser.addoption('--model', default='none')\n"
        "    parser.addoption('--gates', default='none')\n",
    )

    result = project.run("--modelgate-model", MODEL, "--modelgate-gates", "gates.toml", models=[])

    assert result.ret == 0
    assert project.report["verdict"] == "passed"


def test_model_in_addopts(project: Project, mode: tuple[str, ...]) -> None:
    """A project may put --modelgate-model into its addopts."""
    project.write("pytest.ini", f"[pytest]\naddopts = --modelgate-model {MODEL}\n")

    result = project.run(*mode, models=[])

    assert result.ret == 0
    assert project.report["verdict"] == "passed"


@pytest.mark.parametrize("value", [("--model", "{}"), ("--model={}",)])
def test_model_of_another_project(project: Project, value: tuple[str, ...]) -> None:
    """A model elsewhere brings neither its project's gates nor its conftest, nor does the report go there."""
    other = project.path.parent / f"{project.path.name}-other"
    folder = other / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "conftest.py").write_text("raise SystemExit('imported')")
    (other / "pytest.ini").write_text("[pytest]\n")
    (other / "gates.toml").write_text("version = 'theirs'\n")
    project.write("gates.toml", "version = 'ours'\n")

    result = project.run(*(part.format(folder) for part in value), models=[], fresh=True)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: gates.toml: version: input should be 1, got 'ours'"])
    assert project.out.exists()
    assert not (other / ".modelgate").exists()


def test_ini_names_gates_and_out(project: Project) -> None:
    """modelgate_gates and modelgate_out in the ini file are relative to the rootdir; the command line wins."""
    (project.path / "gates.toml").rename(project.path / "release.toml")
    project.write("pytest.ini", "[pytest]\nmodelgate_gates = release.toml\nmodelgate_out = build/gate\n")

    assert project.run().ret == 0
    assert (project.path / "build" / "gate" / "report.json").exists()

    assert project.run("--modelgate-out", "elsewhere").ret == 0
    assert (project.path / "elsewhere" / "report.json").exists()
    assert project.run("--gates", "nowhere.toml").ret == pytest.ExitCode.USAGE_ERROR


def test_strict_projects(project: Project) -> None:
    """Under strict mode with warnings as errors the plugin's marks are known and it warns of nothing."""
    project.write("pytest.toml", "[pytest]\nstrict = true\nfilterwarnings = ['error']\n")

    result = project.run()

    assert result.ret == 0
    result.stdout.no_fnmatch_line("*warning*")


def test_help_names_the_options(project: Project) -> None:
    """--help lists every option under the plugin's own heading."""
    result = project.run("--help", models=[])

    result.stdout.fnmatch_lines(
        [
            "release gate for fine-tuned models:",
            "  --modelgate-model=SPEC",
            "  --modelgate-gates=FILE",
            "  --modelgate-out=DIR*",
            "  --modelgate-strict*",
            "  --modelgate-no-journal*",
        ]
    )
