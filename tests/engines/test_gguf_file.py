"""Reading a GGUF's header: what it says, and one clear line for every file that is not a model."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from pytest_modelgate.engines.llama import quantize
from pytest_modelgate.errors import SpecError
from pytest_modelgate.gguf_file import read_gguf_facts, require_chat_template
from tests.engines.conftest import TinyModel


def error_of(path: Path) -> str:
    """Return the error that reading ``path`` gives, checked to be one line that names the file."""
    with pytest.raises(SpecError) as caught:
        read_gguf_facts(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_facts(random_gguf: Path) -> None:
    """The header's facts are read, the template completely."""
    facts = read_gguf_facts(random_gguf)
    assert (facts.architecture, facts.name, facts.quantization) == ("qwen2", "tiny", "F32")
    assert (facts.n_vocab, facts.n_ctx_train) == (264, 4096)
    assert (facts.bos_id, facts.bos_token) == (260, "<|endoftext|>")
    assert (facts.eos_id, facts.eos_token) == (262, "<|im_end|>")
    assert facts.chat_template is not None
    assert facts.chat_template.endswith("{% endif %}")
    assert require_chat_template(facts) == facts.chat_template
    assert random_gguf.stat().st_size == facts.size_bytes
    assert facts.bits_per_weight == 32.0
    assert list(facts.tensor_types) == ["F32"]
    assert facts.tensor_types["F32"].count == 27
    assert facts.fallback_share == 0.0


def test_template_of_1024_bytes(tmp_path: Path, tiny_model: type[TinyModel]) -> None:
    """A template of exactly 1024 bytes keeps its last one (llama-cpp-python's metadata loses it)."""
    path = tiny_model(template="x" * 1023 + "y").write(tmp_path / "a.gguf")
    assert read_gguf_facts(path).chat_template == "x" * 1023 + "y"


def test_label_and_real_types(random_gguf: Path, tmp_path: Path) -> None:
    """Rows that 256 does not divide fall back, which the label hides and the facts show."""
    path = tmp_path / "tiny-Q4_K_M.gguf"
    quantize(random_gguf, path, "Q4_K_M")
    facts = read_gguf_facts(path)
    assert facts.quantization == "Q4_K_M"
    assert {"Q5_0", "Q8_0", "F32"} == set(facts.tensor_types)
    assert facts.fallback_share == 1.0
    assert 6.0 < facts.bits_per_weight < 7.0


def test_quantization_without_fallback(random_gguf: Path, tmp_path: Path) -> None:
    """Q8_0 fits rows of 64."""
    path = tmp_path / "tiny.gguf"
    quantize(random_gguf, path, "Q8_0")
    assert read_gguf_facts(path).fallback_share == 0.0


def test_missing_file(tmp_path: Path) -> None:
    """A file that is not there."""
    assert error_of(tmp_path / "a.gguf") == "no such file"


def test_folder(tmp_path: Path) -> None:
    """A folder in place of a file."""
    assert error_of(tmp_path) == "cannot be read: Is a directory"


def test_empty_file(tmp_path: Path) -> None:
    """A file of no bytes."""
    path = tmp_path / "a.gguf"
    path.touch()
    assert error_of(path) == "the file is empty"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"<!DOCTYPE html><html>", "starts with b'<!DOCTYPE html><'"),
        (b"hi", "starts with b'hi'"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"GGUF\x01\0\0\0" + bytes(40), "GGUF version 1 is not supported; supported are 2 and 3"),
        (b"GGUF\x09\0\0\0" + bytes(40), "GGUF version 9 is not supported"),
        (b"GGUF\0\0\0\x03" + bytes(40), "big-endian"),
        (b"GGUF\x03", "cut off within its header"),
        (b"GGUF\x03\0\0\0" + struct.pack("<QQ", 1, 2**62), "cut off within its header"),
        (b"GGUF\x03\0\0\0" + struct.pack("<QQQ", 0, 1, 2**63), "cut off within its header"),
        (b"GGUF\x03\0\0\0" + struct.pack("<QQQ1sI", 0, 1, 1, b"k", 77), "'k' has the unknown type 77"),
        (b"GGUF\x03\0\0\0" + struct.pack("<QQQ1sII", 1, 0, 1, b"t", 9, 0), "'t' has 9 dimensions"),
        (b"GGUF\x03\0\0\0" + struct.pack("<QQQ1sIQIQ", 1, 0, 1, b"t", 1, 4, 999, 0), "'t' has type 999"),
    ],
)
def test_no_gguf(tmp_path: Path, content: bytes, part: str) -> None:
    """Text, LFS pointers, foreign versions and damaged headers are told apart."""
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    assert part in error_of(path)


def test_every_truncation(random_gguf: Path, tmp_path: Path) -> None:
    """A file cut off anywhere is refused with one line."""
    content = random_gguf.read_bytes()
    path = tmp_path / "a.gguf"
    for size in [*range(4, 12000, 97), 100_000, len(content) - 33]:
        path.write_bytes(content[:size])
        assert "the file is cut off" in error_of(path)


def test_truncation_names_the_tensor(random_gguf: Path, tmp_path: Path) -> None:
    """Where weights are missing, the tensor and both sizes are named."""
    path = tmp_path / "a.gguf"
    path.write_bytes(random_gguf.read_bytes()[:-5000])
    assert "the file is cut off: tensor 'blk.1.ffn_down.weight' ends at byte " in error_of(path)


def test_vocabulary_only(tmp_path: Path, tiny_model: type[TinyModel]) -> None:
    """A file without tensors is no model."""
    assert "vocabulary only" in error_of(tiny_model(tensors=False).write(tmp_path / "a.gguf"))


def test_part_of_a_model(tmp_path: Path, tiny_model: type[TinyModel]) -> None:
    """One of several parts is refused: its identity would not cover the others."""
    path = tiny_model(values={"split.count": 3}).write(tmp_path / "a.gguf")
    assert "one of 3 parts of a model" in error_of(path)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("split.count", "3", "'split.count' must be a whole number"),
        ("general.alignment", "32", "'general.alignment' must be a whole number"),
        ("general.file_type", "x", "'general.file_type' must be a whole number"),
        ("general.name", 7, "'general.name' must be text"),
        ("qwen2.context_length", "4096", "'qwen2.context_length' must be a whole number"),
        ("tokenizer.chat_template", 7, "'tokenizer.chat_template' must be text"),
        ("tokenizer.ggml.bos_token_id", "a", "'tokenizer.ggml.bos_token_id' must be a whole number"),
        ("tokenizer.ggml.eos_token_id", -1, "'tokenizer.ggml.eos_token_id' is -1, the vocabulary has 264 tokens"),
        ("tokenizer.ggml.eos_token_id", 264, "'tokenizer.ggml.eos_token_id' is 264, the vocabulary has 264 tokens"),
    ],
)
def test_malformed_values(tmp_path: Path, tiny_model: type[TinyModel], key: str, value: int | str, reason: str) -> None:
    """A value of the wrong kind, or a token outside the vocabulary, is one line that names the key."""
    path = tiny_model(template=None, values={key: value}).write(tmp_path / "a.gguf")
    assert error_of(path) == f"the header is damaged: {reason}"


def test_list_in_place_of_a_number(tmp_path: Path) -> None:
    """The length of a list of numbers is not taken for the number."""
    path = tmp_path / "a.gguf"
    entry = struct.pack("<Q11sIIQI", 11, b"split.count", 9, 4, 1, 3)
    path.write_bytes(b"GGUF\x03\0\0\0" + struct.pack("<QQ", 0, 1) + entry)
    assert error_of(path) == "the header is damaged: 'split.count' must be a whole number"


def test_no_template(tmp_path: Path, tiny_model: type[TinyModel]) -> None:
    """A file without a template is readable, and refused where a template is needed."""
    facts = read_gguf_facts(tiny_model(template=None).write(tmp_path / "a.gguf"))
    assert facts.chat_template is None
    with pytest.raises(SpecError, match="holds no chat template"):
        require_chat_template(facts)
