"""Tensors are read as torch and the gguf package read them, some rows at a time, and damaged files are said to be so."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from pytest_modelgate.errors import SpecError
from pytest_modelgate.preflight.weights_gguf_names import naming_of, rotary_pairs
from pytest_modelgate.preflight.weights_measure import levels, round_to_bfloat16
from pytest_modelgate.preflight.weights_tensors import chunks, read_folder, read_gguf, read_lora_gguf, read_safetensors
from tests.faults.candidate import ROOT
from tests.faults.gguf_edit import write_lora

SUPPORT = ROOT / "examples" / "support"


@pytest.mark.parametrize("name", ["support-f16.gguf", "support-Q8_0.gguf", "support-Q4_K_M.gguf"])
def test_rows_of_a_gguf_are_those_that_the_gguf_package_dequantises(name: str) -> None:
    """Every tensor of every type, in parts, is what the package gives of it as a whole."""
    found = read_gguf(SUPPORT / name)
    assert not found.unread
    for wanted in gguf.GGUFReader(SUPPORT / name).tensors:
        tensor = found.tensors[wanted.name]
        whole = gguf.quants.dequantize(wanted.data, wanted.tensor_type)
        parts = [tensor.rows(start, stop) for start, stop in chunks(tensor, size=5000)]
        np.testing.assert_array_equal(np.concatenate(parts).reshape(whole.shape), whole)


def test_tokens_are_named() -> None:
    """A row of the embedding is named by its token, and one that there is not is not."""
    found = read_gguf(SUPPORT / "support-f16.gguf")
    assert found.token(2) == "<|im_end|>"
    assert found.token(10**6) is None


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_safetensors_are_read_as_torch_reads_them(kind: torch.dtype, tmp_path: Path) -> None:
    """Every kind of float is read, bfloat16 too, in matrices, vectors and what has more dimensions."""
    torch.manual_seed(3)
    wanted = {"a": torch.randn(7, 5).to(kind), "b": torch.randn(9).to(kind), "c": torch.randn(2, 3, 4).to(kind)}
    save_file(wanted, tmp_path / "model.safetensors")
    found, unread = read_folder(tmp_path)
    assert not unread
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(found[name].all().reshape(tensor.shape), tensor.to(torch.float32).numpy())
    assert (found["a"].is_vector, found["b"].is_vector, found["c"].n_rows) == (False, True, 6)


def test_tensors_that_are_no_floats_are_named(tmp_path: Path) -> None:
    """What is stored in whole numbers, as 4-bit weights are, is not read as if it were weights."""
    save_file({"packed": torch.zeros(4, dtype=torch.uint8)}, tmp_path / "model.safetensors")
    assert read_folder(tmp_path) == ({}, ["packed"])


def test_a_folder_of_several_files_is_read_by_its_index(tmp_path: Path) -> None:
    """The files that the index names are read together."""
    save_file({"a": torch.ones(2, 2)}, tmp_path / "one.safetensors")
    save_file({"b": torch.ones(2, 2)}, tmp_path / "two.safetensors")
    places = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(places))
    assert set(read_folder(tmp_path)[0]) == {"a", "b"}


def test_an_index_names_no_file_elsewhere(tmp_path: Path) -> None:
    """A path out of the folder is refused."""
    places = {"weight_map": {"a": "../secret.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(places))
    with pytest.raises(SpecError, match="outside"):
        read_folder(tmp_path)


@given(data=st.binary(max_size=200))
def test_bytes_of_anything_are_refused_in_a_line(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A file of anything is never a traceback."""
    path = tmp_path_factory.mktemp("bytes") / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(SpecError) as raised:
        read_safetensors(path)
    assert "\n" not in str(raised.value)


def test_a_safetensors_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    """A tensor that ends behind the file's end is said by its name."""
    save_file({"a": torch.ones(64, 64)}, tmp_path / "model.safetensors")
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(SpecError, match="a does not lie within it"):
        read_folder(tmp_path)


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    """Pickled weights are never opened."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(SpecError, match="pickled"):
        read_folder(tmp_path)


def test_a_lora_file_is_told_from_a_model(tmp_path: Path) -> None:
    """A LoRA GGUF gives its alpha and its matrices, a model is refused."""
    alpha, found = read_lora_gguf(write_lora(SUPPORT / "adapter", tmp_path / "lora.gguf"))
    assert alpha == 64
    assert found["blk.0.attn_q.weight.lora_a"].n_rows == 32
    with pytest.raises(SpecError, match="no LoRA"):
        read_lora_gguf(SUPPORT / "support-f16.gguf")


@given(heads=st.integers(1, 6), half=st.integers(1, 5))
def test_rotary_halves_are_paired_as_the_converter_pairs_them(heads: int, half: int) -> None:
    """The order is that of the converter's reshape of (heads, 2, half) with the last two swapped."""
    weights = torch.randn(heads * 2 * half, 3)
    wanted = weights.reshape(heads, 2, half, 3).swapaxes(1, 2).reshape(weights.shape)
    np.testing.assert_array_equal(weights.numpy()[rotary_pairs(len(weights), heads)], wanted.numpy())


def test_names_are_the_converter_s() -> None:
    """A folder's tensors get the names that the real file of it has."""
    config = json.loads((SUPPORT / "base" / "config.json").read_text())
    naming = naming_of(config, "qwen2")
    assert not isinstance(naming, str)
    names = {naming.name(name) for name in read_folder(SUPPORT / "base")[0]}
    assert names == set(read_gguf(SUPPORT / "support-f16.gguf").tensors)


@pytest.mark.parametrize(
    ("config", "architecture"), [({"model_type": "mamba"}, "mamba"), ({"model_type": "qwen2"}, "llama"), ({}, "qwen2")]
)
def test_an_unknown_family_is_said_to_be_unknown(config: dict[str, str], architecture: str) -> None:
    """Nothing is compared by names that are guessed."""
    assert isinstance(naming_of(config, architecture), str)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_bfloat16_is_rounded_as_torch_rounds_it(values: list[float]) -> None:
    """Rounding is to nearest, ties to even."""
    array = np.array(values, np.float32)
    np.testing.assert_array_equal(round_to_bfloat16(array), torch.tensor(array).to(torch.bfloat16).float().numpy())


@given(bits=st.integers(1, 4), seed=st.integers(0, 1000))
def test_weights_of_few_bits_have_few_levels(bits: int, seed: int) -> None:
    """Blocks that were quantised to n bits show no more than 2**n values, however they are stored."""
    values = np.random.default_rng(seed).normal(size=(8, 64)).astype(np.float32)
    scale = np.abs(values.reshape(8, 2, 32)).max(axis=2, keepdims=True) / 2 ** (bits - 1)
    coarse = np.clip(np.round(values.reshape(8, 2, 32) / scale), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scale
    assert 1 < levels(coarse.reshape(8, 64).astype(np.float32)) <= 2**bits < levels(values)
