"""What is installed, what is missing, and what a new user's first two commands do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.release.conftest import ROOT, SUITES, SupportProject

pytestmark = pytest.mark.model

PACKAGED = (
    *("pyproject.toml", "README.md", "LICENSE", "gates.toml"),
    *("pytest_modelgate", "training", "golden", "adversarial", "heldout"),
)


def test_a_missing_llama_cpp_names_the_extra(project: SupportProject) -> None:
    """Without llama-cpp-python a GGUF target is one line that says what to install, exit code 4."""
    (project.path / "sitecustomize.py").write_text("import sys\nsys.modules['llama_cpp'] = None\n", encoding="utf-8")
    environment = project.environment() | {"PYTHONPATH": str(project.path)}
    done = subprocess.run(
        project.command("--model", "demo"),
        cwd=project.path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 4
    assert "pip install 'pytest-modelgate[gguf]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of a copy of this checkout: setuptools takes up what an earlier build left beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder / "out", folder], check=True, capture_output=True)
    return next((folder / "out").glob("*.whl"))


def test_the_wheel_installs_two_top_level_names(wheel: Path) -> None:
    """pytest_modelgate and modelgate_training, nothing named training, tests or golden."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name.split("/")[0] for name in archive.namelist()}

    assert {name for name in names if not name.endswith(".dist-info")} == {"pytest_modelgate", "modelgate_training"}


def test_the_models_in_the_wheel_stay_small(wheel: Path) -> None:
    """All models in the package take at most 8 MB."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = [item.file_size for item in archive.infolist() if item.filename.endswith(".gguf")]

    assert sizes
    assert sum(sizes) <= 8_000_000


def test_the_wheel_alone_passes_its_own_demo(wheel: Path, tmp_path: Path) -> None:
    """Outside the checkout, `modelgate init --demo` and `pytest --model demo` are green."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    work = tmp_path / "work"
    work.mkdir()
    # The environment's own packages, without its editable install of this checkout: -S leaves .pth files unread.
    path = os.pathsep.join([str(site), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False
        )

    init = python("-m", "pytest_modelgate.cli", "init", "--demo")
    run = python("-m", "pytest", "-p", "no:cacheprovider", "--model", "demo")

    assert init.returncode == 0, init.stderr
    assert run.returncode == 0, run.stdout + run.stderr
    assert "verdict: passed" in run.stdout
    n_cases = sum(len((work / suite / "support.jsonl").read_bytes().splitlines()) for suite in SUITES)
    assert f"demo: {n_cases} of {n_cases} cases run" in run.stdout
