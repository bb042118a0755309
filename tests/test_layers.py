"""Imports point one way, and each heavy library is touched in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pytest_modelgate"

# From left to right: a module imports only from groups to its left, or from its own group without a cycle.
LAYERS = (
    ("", "errors", "nearest", "paths", "records", "tables", "presets", "models", "contracts", "contracts.strict_json"),
    (
        "identity",
        "journal",
        "machine",
        "machine_lock",
        "statistics",
        "gguf_file",
        "adapter_lint",
        "specs",
        "gates_file",
    ),
    (
        "contracts.bounded",
        "contracts.closeness",
        "contracts.fields",
        "contracts.grammar",
        "contracts.leak",
        "contracts.normalizers",
        "contracts.pydantic_model",
        "contracts.refusal",
        "contracts.repetition",
        "contracts.schema",
        "contracts.sections",
        "contracts.tool_calls",
        "contracts.tools",
        "contracts.user",
        "truncation",
    ),
    ("cases", "detectors", "detectors.*", "metrics", "metrics.*"),
    ("kinds", "kinds.*", "paired", "quarantine"),
    ("tasks",),
    ("judgement", "gates", "baselines"),
    ("parity", "raw_validity"),
    ("decision", "measuring", "fail_fast"),
    ("comparing",),
    ("evaluation",),
    ("engines", "engines.*"),
    ("targets",),
    ("evidence",),
    ("release",),
    ("modelfile", "modelfile.*"),
    ("preflight", "preflight.*"),
    ("runner", "latency", "repeats", "imagined", "power", "doctor", "quantizing"),
    ("report", "report.*"),
    ("acceptance", "regate", "scaffold"),
    ("options",),
    ("carried",),
    ("collect", "xdist", "synthetic"),
    ("clearing", "benchmark", "progress"),
    ("controller",),
    ("activation",),
    ("plugin", "cli"),
)
ONLY_IN: dict[str, set[str]] = {
    "pytest": {
        "options",
        "carried",
        "collect",
        "xdist",
        "controller",
        "activation",
        "plugin",
        "synthetic",
        "clearing",
        "benchmark",
        "progress",
    },
    "_pytest": set(),
    "xdist": {"xdist"},
    "pytest_benchmark": {"benchmark"},
    "llama_cpp": {"engines.llama*"},
    "torch": {"engines.adapter*"},
    "transformers": {"engines.adapter*"},
    "peft": {"engines.adapter*"},
    "safetensors": {"engines.adapter*", "preflight.weights*"},
    "gguf": {"gguf_file", "engines.llama*", "preflight.weights*"},
    "scipy": {"statistics"},
    "jsonschema": {"contracts.schema"},
    "pydantic": {"contracts.pydantic_model", "tables", "gates_file"},
    "httpx": {"detectors.judge", "engines.endpoint*"},
    "sacrebleu": {"kinds.text"},
}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if "scaffold" not in path.relative_to(PACKAGE).parts[:-1]
}


def imports(name: str, *, top_level_only: bool = False) -> Iterator[str]:
    """Yield what a module imports, in full; ``top_level_only``: when it is itself imported."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("pytest_modelgate").lstrip(".")
                is_module = node.module.startswith("pytest_modelgate") and inner in MODULES
                yield f"pytest_modelgate.{inner}" if is_module else node.module


def own_imports(name: str) -> set[str]:
    """Return the modules of the package that a module imports anywhere, as names inside the package."""
    found = {module.removeprefix("pytest_modelgate").lstrip(".") for module in imports(name) if is_own(module)}
    return found - {name}


def is_own(module: str) -> bool:
    """Say whether a module is one of the package."""
    return module == "pytest_modelgate" or module.startswith("pytest_modelgate.")


def layer(name: str) -> int:
    """Return the number of a module's layer."""
    exact = [number for number, group in enumerate(LAYERS) if name in group]
    folder = [number for number, group in enumerate(LAYERS) if f"{name.partition('.')[0]}.*" in group]
    assert exact or folder, f"{name} has no layer: say in LAYERS where it belongs"
    return (exact or folder)[0]


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_to_the_left(name: str) -> None:
    """A module imports nothing from a layer to its right."""
    wrong = {other for other in own_imports(name) if layer(other) > layer(name)}

    assert wrong == set()


def test_no_cycles() -> None:
    """No module imports itself by way of others."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in own_imports(name):
                visit(other, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())
    assert done == set(MODULES)


@pytest.mark.parametrize("library", ONLY_IN)
def test_library_is_touched_in_its_place(library: str) -> None:
    """Each of these libraries is imported by the modules that are there for it, and by no other."""
    users = {name for name in MODULES for module in imports(name) if module.partition(".")[0] == library}
    allowed = {name for name in MODULES if any(fnmatch(name, place) for place in ONLY_IN[library])}

    assert users - allowed == set()


def test_entry_point_imports_next_to_nothing() -> None:
    """What every pytest run in the environment imports is the plugin and its options."""
    seen: set[str] = set()
    waiting = ["plugin"]
    while waiting:
        name = waiting.pop()
        seen.add(name)
        found = {
            m.removeprefix("pytest_modelgate").lstrip(".") for m in imports(name, top_level_only=True) if is_own(m)
        }
        waiting.extend(found - seen)

    assert seen == {"plugin", "options", "paths", "errors"}
