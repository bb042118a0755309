"""The converter is fetched on purpose, checked, and never run unchecked."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from modelgate_training.cli import main
from modelgate_training.errors import StageError
from modelgate_training.export import converter

from tests.training.conftest import Project

SOURCE = "llama_cpp_python-0/vendor/llama.cpp"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is fetched away from the user's own cache."""
    monkeypatch.setenv("MODELGATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_archive(path: Path, *names: str) -> Path:
    """Write a source archive with these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            content = b"print('converter')\n"
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_with_another_hash_is_not_used(cache: Path, tmp_path: Path, error: Callable[[], str]) -> None:
    """What does not have the known hash is not even unpacked."""
    archive = write_archive(tmp_path / "x.tar.gz", f"{SOURCE}/convert_hf_to_gguf.py")
    assert main(["fetch-converter", "--archive", str(archive), "--sha256", "0" * 64]) == 1
    assert "expected 0000" in error()
    assert not cache.exists()


def test_an_unknown_version_must_be_vouched_for(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], str]
) -> None:
    """Without a known hash nothing is downloaded."""
    monkeypatch.setattr(converter, "KNOWN_ARCHIVES", {})
    assert main(["fetch-converter"]) == 4
    assert "vouch for one with --sha256" in error()
    assert not cache.exists()


def test_only_the_converter_is_kept(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a checked archive the converter's own files are kept, and nothing that climbs out of the folder."""
    archive = write_archive(
        tmp_path / "x.tar.gz",
        f"{SOURCE}/convert_hf_to_gguf.py",
        f"{SOURCE}/conversion/base.py",
        f"{SOURCE}/src/llama.cpp",
        "llama_cpp_python-0/setup.py",
    )
    assert main(["fetch-converter", "--archive", str(archive), "--sha256", converter._sha256(archive)]) == 0
    folder = converter.find_converter()
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert kept == {"convert_hf_to_gguf.py", "conversion/base.py", "fetched.json"}
    assert folder.parent == cache
    assert str(folder) in capsys.readouterr().out


def test_templates_and_vocabularies_are_kept_on_request(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What only tests need is kept when it is asked for, also later on, and stays when the converter is fetched again."""
    archive = write_archive(
        tmp_path / "x.tar.gz", f"{SOURCE}/convert_hf_to_gguf.py", f"{SOURCE}/models/templates/a.jinja"
    )
    fetch = ["fetch-converter", "--archive", str(archive), "--sha256", converter._sha256(archive)]
    assert main(fetch) == 0
    with pytest.raises(StageError, match="fetch them once: modelgate-train fetch-converter --models"):
        converter.find_models()

    assert main([*fetch, "--models"]) == 0
    assert (converter.find_models() / "templates/a.jinja").is_file()
    assert (cache / converter.converter_folder().name / "convert_hf_to_gguf.py").is_file()

    capsys.readouterr()
    assert main([*fetch, "--models"]) == 0
    assert "already in" in capsys.readouterr().out
    assert main([*fetch, "--force"]) == 0
    assert converter.find_models().is_dir()


def test_export_names_the_command_that_fetches_it(cache: Path, project: Project, error: Callable[[], str]) -> None:
    """Without the converter a run ends before it has trained anything, with the command to type."""
    assert not cache.exists()
    assert project.run("run") == 1
    assert "fetch it once: modelgate-train fetch-converter" in error()
    assert not (project.path / "run" / "base").exists()


def write_converter(folder: Path, script: str) -> None:
    """Write what stands for a fetched converter."""
    (folder / "conversion").mkdir(parents=True)
    (folder / "conversion" / "base.py").write_text("class TextModel: pass\n", encoding="utf-8")
    (folder / "convert.py").write_text(script, encoding="utf-8")
    (folder / "fetched.json").write_text('{"sha256": ""}', encoding="utf-8")


@pytest.mark.usefixtures("cache")
def test_the_converter_s_failure_is_one_line(tmp_path: Path) -> None:
    """What a converter script says last is what is said of its failure."""
    write_converter(converter.converter_folder(), "print('working')\nraise NotImplementedError('Model X is unknown')\n")
    with pytest.raises(StageError, match=r"^model: the converter failed: NotImplementedError: Model X is unknown$"):
        converter.run_converter("convert.py", tmp_path / "out", ["model"])


@pytest.mark.usefixtures("cache")
def test_a_converter_that_writes_nothing_failed(tmp_path: Path) -> None:
    """Exit code 0 without a file is a failure too."""
    write_converter(converter.converter_folder(), "pass\n")
    with pytest.raises(StageError, match="the converter failed: without a word"):
        converter.run_converter("convert.py", tmp_path / "out", ["model"])


@pytest.mark.usefixtures("cache")
def test_the_converter_may_not_reach_the_hub(tmp_path: Path) -> None:
    """A converter script runs offline, with the arguments that it was given, from its own folder."""
    script = (
        "import os, sys, pathlib\npathlib.Path(sys.argv[-1]).write_text(os.environ['HF_HUB_OFFLINE'] + sys.argv[1])\n"
    )
    write_converter(converter.converter_folder(), script)
    converter.run_converter("convert.py", tmp_path / "out", ["model"])
    assert (tmp_path / "out").read_text(encoding="utf-8") == "1model"
