"""Users' own functions are found by import path or entry point; whatever goes wrong is one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from pytest_modelgate.contracts.user import CONTRACTS, import_from, load_object
from pytest_modelgate.errors import GatesFileError

WHERE = "gates.toml: [tasks.support] contracts"


@pytest.fixture(autouse=True)
def _forget_modules() -> Iterator[None]:
    """Forget what a test imported, so that equal names in other tests are other modules."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refused(written: str, root: Path) -> str:
    """Return why ``written`` cannot be loaded."""
    with pytest.raises(GatesFileError) as caught:
        load_object(written, CONTRACTS, root, WHERE)
    return str(caught.value)


def test_function_of_a_file_beside_the_gates(tmp_path: Path) -> None:
    """A module is importable from the project's folder, in packages too, and the import path is as it was before."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "brand.py").write_text("def polite(text, case):\n    return None\n")
    path = list(sys.path)

    found = load_object("rules.brand:polite", CONTRACTS, tmp_path, WHERE)

    assert found("text", {}) is None
    assert sys.path == path
    assert import_from("rules.brand", "polite", tmp_path) is found


def test_function_of_the_environment(tmp_path: Path) -> None:
    """An installed module needs no file in the project."""
    assert load_object("json:dumps", CONTRACTS, tmp_path, WHERE)({"a": 1}) == '{"a": 1}'


def test_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a colon is one that an installed package offers; unknown ones are told with those that are."""
    points = [metadata.EntryPoint("polite", "json:dumps", CONTRACTS), metadata.EntryPoint("off", "no:where", CONTRACTS)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: points if group == CONTRACTS else [])

    assert load_object("polite", CONTRACTS, tmp_path, WHERE)("a") == '"a"'
    assert refused("off", tmp_path) == f"{WHERE}: cannot import 'off': No module named 'no'"
    assert refused("polit", tmp_path) == (
        f"{WHERE}: 'polit' is neither package.module:function nor one of the installed {CONTRACTS} (off, polite)"
    )


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("nowhere:check", "cannot import 'nowhere:check': No module named 'nowhere'"),
        ("broken:nothing", "cannot import 'broken:nothing': module 'broken' has no attribute 'nothing'"),
        ("broken:NUMBER", "broken:NUMBER is not a function"),
        ("raises:check", "importing 'raises:check' raised ZeroDivisionError: division by zero"),
        ("torn:check", "importing 'torn:check' raised SyntaxError: '(' was never closed (torn.py, line 1)"),
        (":check", "importing ':check' raised ValueError: Empty module name"),
        ("broken:", "cannot import 'broken:': module 'broken' has no attribute ''"),
        ("json", f"'json' is neither package.module:function nor one of the installed {CONTRACTS} (none)"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, written: str, reason: str) -> None:
    """The message begins with the place in gates.toml and says what was written and why it fails."""
    (tmp_path / "broken.py").write_text("NUMBER = 3\n")
    (tmp_path / "raises.py").write_text("1 / 0\n")
    (tmp_path / "torn.py").write_text("def check(\n")

    assert refused(written, tmp_path) == f"{WHERE}: {reason}"


def test_a_module_that_changes_the_import_path(tmp_path: Path) -> None:
    """A module that puts the project's folder first itself, or takes it away, is no crash."""
    (tmp_path / "adds.py").write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\ncheck = len\n")
    (tmp_path / "takes.py").write_text(f"import sys\nsys.path.remove({str(tmp_path)!r})\ncheck = len\n")
    path = list(sys.path)

    try:
        assert load_object("adds:check", CONTRACTS, tmp_path, WHERE) is len
        sys.path[:] = path
        assert load_object("takes:check", CONTRACTS, tmp_path, WHERE) is len
    finally:
        sys.path[:] = path
