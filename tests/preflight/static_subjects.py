"""Put the committed candidate before the static checks, with what a test changes of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from pytest_modelgate.preflight.check import Artifact, CheckResult, Subject
from pytest_modelgate.preflight.run import run_preflight

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "examples" / "support"
BASE, ADAPTER, MANIFEST = SUPPORT / "base", SUPPORT / "adapter", SUPPORT / "manifest.json"
F16, Q8_0, Q4_K_M = (SUPPORT / f"support-{name}.gguf" for name in ("f16", "Q8_0", "Q4_K_M"))
BASE_F16 = SUPPORT / "base-f16.gguf"


@cache
def manifest() -> Mapping[str, Any]:
    """Return the committed manifest."""
    return dict(json.loads(MANIFEST.read_text(encoding="utf-8")))


def subject(path: Path = Q8_0, *, adapter: Path = ADAPTER, base: Path = BASE, **others: Any) -> Subject:
    """Return a GGUF that was made from an adapter on its base."""
    target = Artifact(path.name, "gguf", path, lora=others.pop("lora", None))
    given: dict[str, Any] = {"chain": (Artifact("adapter", "adapter", adapter, base),), "n_ctx": 1024, "max_tokens": 64}
    return Subject(target, **given | others)


def alone(path: Path, **others: Any) -> Subject:
    """Return a GGUF of which nothing else is known."""
    return replace(subject(path, **others), chain=())


def found(check: str, given: Subject) -> CheckResult:
    """Return what one check finds."""
    return next(one for one in run_preflight(given, ("static",)) if one.check == check)


def copied(folder: Path, target: Path, **settings: Any) -> Path:
    """Copy a model's or adapter's folder, with other values in its one config; None takes a value out."""
    shutil.copytree(folder, target)
    name = "adapter_config.json" if (folder / "adapter_config.json").is_file() else "config.json"
    return changed(target / name, **settings).parent


def changed(path: Path, **settings: Any) -> Path:
    """Change values of a JSON file; None takes a value out."""
    values = json.loads(path.read_text(encoding="utf-8")) | settings
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None}), encoding="utf-8")
    return path
