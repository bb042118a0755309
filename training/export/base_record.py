"""
Keep with an adapter which base it was trained on, and find out whether a base is that one.

peft keeps a name alone. llama.cpp and peft take any base whose layers have the same shapes, and answer with it: an adapter
of another revision, or of the base without "Instruct" in its name, goes wrong without an error.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pytest_modelgate.identity import hash_file

from ..errors import StageError

RECORD = "base.json"
"""The file in an adapter's folder that says what its base consists of."""

_FILES = (
    *("config.json", "generation_config.json", "model.safetensors.index.json"),
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json", "merges.txt"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json"),
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def record_base(folder: Path, base: Path) -> dict[str, str]:
    """Write ``base.json`` into the adapter's ``folder``; return each file of the base with its sha256."""
    files = base_files(base)
    partial = folder / f".partial-{RECORD}"
    partial.write_text(json.dumps({"files": files}, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / RECORD)
    return files


def check_base(adapter: Path, base: Path) -> str:
    """
    Raise StageError unless ``base`` is what ``adapter`` was trained on; return how that was told.

    Where the adapter has a ``base.json`` the files' hashes decide. Where it has none, the base that
    ``adapter_config.json`` names must be this folder, one with the same files, or the revision it names of a model of
    the Hub.
    """
    record = adapter / RECORD
    if record.is_file():
        try:
            recorded = json.loads(record.read_text(encoding="utf-8"))["files"]
            recorded = {str(name): str(digest) for name, digest in recorded.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            raise StageError(f'{record}: not readable: must be {{"files": {{name: sha256}}}}') from None
        _compare(adapter, recorded, base, base_files(base))
        return "sha256 of its files"
    return _check_name(adapter, base)


def base_files(base: Path) -> dict[str, str]:
    """Return the sha256 of each file that decides what a base says: weights, settings, tokenizer, template."""
    paths = [*base.glob("*.safetensors"), *(base / name for name in _FILES)]
    return {path.name: hash_file(path) for path in sorted(paths) if path.is_file()}


def read_adapter_config(adapter: Path) -> dict[str, Any]:
    """Return what ``adapter_config.json`` says; raise StageError where it says nothing that can be read."""
    path = adapter / "adapter_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{path}: not readable: {error}") from None
    if not isinstance(config, dict):
        raise StageError(f"{path}: not a JSON object")
    return config


def _compare(adapter: Path, recorded: dict[str, str], base: Path, found: dict[str, str]) -> None:
    """Raise for the first file that is not the recorded one."""
    for name in sorted(recorded.keys() | found.keys()):
        before, now = recorded.get(name), found.get(name)
        if before != now:
            what = "is new" if before is None else "is gone" if now is None else "is another"
            raise StageError(f"{adapter}: was trained on another base than {base}: there, {name} {what} "
                             f"(sha256 {_short(before)} then, {_short(now)} now)")  # fmt: skip


def _check_name(adapter: Path, base: Path) -> str:
    """Compare the name that peft wrote down."""
    config = read_adapter_config(adapter)
    name, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(name, str) or not name:
        raise StageError(f"{adapter / 'adapter_config.json'}: names no base (base_model_name_or_path), and there is no "
                         f"{RECORD}: nobody can tell whether {base} is the right one")  # fmt: skip
    for folder in (adapter / name, Path(name)):
        if (folder / "config.json").is_file():
            if folder.resolve() != base.resolve():
                _compare(adapter, base_files(folder), base, base_files(base))
            return "the folder that it names"
    if _is_snapshot(base, name, revision):
        return "name" if revision is None else "name and revision"
    wanted = f"{name!r}" + (f" at revision {revision!r}" if revision else "")
    raise StageError(f"{adapter}: was trained on {wanted}, which {base} is not known to be")


def _is_snapshot(base: Path, name: str, revision: Any) -> bool:
    """Say whether a folder of the Hub's cache (models--OWNER--NAME/snapshots/COMMIT) is this model's revision."""
    snapshot = Path(base).absolute()
    if snapshot.parent.name != "snapshots" or snapshot.parent.parent.name != f"models--{name.replace('/', '--')}":
        return False
    if revision is None or (isinstance(revision, str) and snapshot.name == revision):
        return True
    reference = snapshot.parent.parent / "refs" / str(revision)  # a branch or tag: the cache knows what it stood for
    is_branch = isinstance(revision, str) and not _COMMIT.fullmatch(revision) and reference.is_file()
    return is_branch and reference.read_text(encoding="ascii").strip() == snapshot.name


def _short(digest: str | None) -> str:
    """Return the beginning of a hash."""
    return "none" if digest is None else digest[:12]
