"""An identity changes with everything that may change an answer, and with nothing else."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.identity import FileHashes, digest, generation_key, hash_file, messages_digest
from pytest_modelgate.records import InputSpan, LongInput, Message, Request
from pytest_modelgate.runner import journal_key
from pytest_modelgate.specs import TargetSpec
from pytest_modelgate.targets import _identity

GREEDY = {"temperature": 0.0, "repeat_penalty": 1.0, "grammar": "none", "seed": 0, "repeat": 0}
ASKED = Request("golden/a", 64, messages=(Message("system", "s"), Message("user", "u")))


def test_digest_is_of_the_value() -> None:
    """The order of keys does not matter, everything else does."""
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    values: list[Any] = [
        {"a": 1},
        {"a": "1"},
        {"a": 1.5},
        {"a": True},
        {"a": None},
        {"a": [1]},
        {"b": 1},
        [1],
        "a",
        "\ud800",
    ]
    assert len({digest(value) for value in values}) == len(values)


def test_changed_byte_changes_the_hash(tmp_path: Path) -> None:
    """One byte of a large file is enough."""
    path = tmp_path / "model.gguf"
    path.write_bytes(bytes(3 << 20))
    before = FileHashes(None).sha256(path)

    with path.open("r+b") as file:
        file.seek(2 << 20)
        file.write(b"\x01")

    assert FileHashes(None).sha256(path) != before


def test_hash_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unchanged file is not read again, also by a later process."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    expected = FileHashes(tmp_path / "out" / "hashes.json").sha256(path)
    monkeypatch.setattr("pytest_modelgate.identity.hash_file", lambda _: pytest.fail("read again"))

    assert FileHashes(tmp_path / "out" / "hashes.json").sha256(path) == expected


@pytest.mark.parametrize("change", ["same size and time", "replaced", "grown"])
def test_changed_file_is_hashed_again(tmp_path: Path, change: str) -> None:
    """A remembered hash is not believed for a file that changed, even with its size and time set back."""
    path, cache = tmp_path / "model.gguf", tmp_path / "hashes.json"
    path.write_bytes(b"weights")
    before = FileHashes(cache).sha256(path)
    status = path.stat()

    if change == "same size and time":
        path.write_bytes(b"WEIGHTS")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "replaced":
        other = tmp_path / "other"
        other.write_bytes(b"WEIGHTS")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.replace(path)
    else:
        path.write_bytes(b"weights.")

    assert FileHashes(cache).sha256(path) == hash_file(path) != before


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"x": 3}', '{"%s": [1]}', '{"%s": "abc"}', "\xff"])
def test_damaged_memory_only_costs_hashing(tmp_path: Path, content: str) -> None:
    """Whatever stands in the cache, the hash is that of the file."""
    path, cache = tmp_path / "model.gguf", tmp_path / "hashes.json"
    path.write_bytes(b"weights")
    cache.write_bytes(content.replace("%s", str(path)).encode("latin-1"))

    assert FileHashes(cache).sha256(path) == hash_file(path)
    assert FileHashes(cache).sha256(path) == hash_file(path)


def test_memory_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    """A full or read-only disk costs hashing again, and no more."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"weights")
    (tmp_path / "taken").write_text("a file")

    assert FileHashes(tmp_path / "taken" / "hashes.json").sha256(path) == hash_file(path)


def test_folder(tmp_path: Path) -> None:
    """A folder's files are hashed by name, those that match."""
    for name in ("model.safetensors", "config.json", "readme.md"):
        (tmp_path / name).write_text(name)

    found = FileHashes(None).folder(tmp_path, ["*.json", "*.safetensors", "config.*"])

    assert found == {name: hash_file(tmp_path / name) for name in ("config.json", "model.safetensors")}


def test_generation_key_differs_for_every_part() -> None:
    """Another target, message, role, limit or setting is another generation; the case's name is not."""
    keys = {
        "same": generation_key("t", ASKED, GREEDY),
        "identity": generation_key("u", ASKED, GREEDY),
        "text": generation_key("t", Request("k", 64, messages=(Message("system", "s"), Message("user", "v"))), GREEDY),
        "role": generation_key("t", Request("k", 64, messages=(Message("user", "s"), Message("user", "u"))), GREEDY),
        "turns": generation_key("t", Request("k", 64, messages=(Message("user", "u"),)), GREEDY),
        "limit": generation_key("t", Request("k", 65, messages=ASKED.messages), GREEDY),
        "ids": generation_key("t", Request("k", 64, prompt_ids=(1, 2)), GREEDY),
        **{name: generation_key("t", ASKED, GREEDY | {name: "other"}) for name in GREEDY},
    }

    assert len(set(keys.values())) == len(keys)
    assert generation_key("t", Request("other/name", 64, messages=ASKED.messages), GREEDY) == keys["same"]
    assert generation_key("t", Request("k", 64, messages=ASKED.messages, draft="guess"), GREEDY) == keys["same"]


def test_generation_key_follows_the_rule_for_long_inputs() -> None:
    """What is left out of a long input is part of what is asked; a task without a rule keeps its old keys."""
    rules = (LongInput(9, "cut"), LongInput(8, "cut"), LongInput(9, "condense"), LongInput(9, "condense", 3))
    spans = [*(InputSpan(rule, 1, 0, 1) for rule in rules), InputSpan(LongInput(9, "cut", marker="…"), 1, 0, 1)]
    asked = [replace(ASKED, input_span=span) for span in spans]

    assert len({generation_key("t", request, GREEDY) for request in (ASKED, *asked)}) == len(asked) + 1
    assert messages_digest(ASKED) == digest([["system", "s"], ["user", "u"]])


def test_journal_key_is_of_a_greedy_generation() -> None:
    """The journal tells repeats apart; the first try is an ordinary run's, so that either takes up the other's."""
    assert journal_key("t", ASKED) == journal_key("t", ASKED, 0) == generation_key("t", ASKED, GREEDY)
    assert journal_key("t", ASKED, 2) == generation_key("t", ASKED, GREEDY | {"repeat": 2})


def test_messages_are_not_run_together() -> None:
    """Where one message ends is part of what was asked."""
    one = Request("k", 8, messages=(Message("user", "ab"), Message("user", "c")))
    two = Request("k", 8, messages=(Message("user", "a"), Message("user", "bc")))

    assert messages_digest(one) != messages_digest(two)


def test_target_identity_follows_what_shapes_answers() -> None:
    """Files, engine build and shaping settings change the identity; threads and time limits do not."""
    spec = TargetSpec("m.gguf", "gguf", Path("m.gguf"), "m")

    def identity(build: str = "1", files: dict[str, str] | None = None, **settings: Any) -> str:
        return _identity(spec, files or {"weights": "a"}, build, EngineSettings(**settings))

    others = [
        identity(build="2"),
        identity(files={"weights": "b"}),
        identity(n_ctx=1024),
        identity(batch_size=1),
        identity(dtype="bfloat16"),
        identity(device="cuda"),
        identity(n_gpu_layers=-1),
    ]
    assert len({identity(), *others}) == len(others) + 1
    assert identity(n_threads=3) == identity(timeout_s=5.0) == identity()


def test_cache_is_readable(tmp_path: Path) -> None:
    """The cache is a JSON file that holds nothing but stamps and hashes."""
    path, cache = tmp_path / "model.gguf", tmp_path / "hashes.json"
    path.write_bytes(b"weights")
    FileHashes(cache).sha256(path)

    ((name, entry),) = json.loads(cache.read_text()).items()
    assert name == str(path)
    assert entry[0] == 7
    assert entry[4] == hash_file(path)
