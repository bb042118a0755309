"""A GGUF file gets its name when it was looked at: template, label, numbers; and says what it really holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from modelgate_training.errors import StageError
from modelgate_training.export import gguf
from modelgate_training.export.gguf import convert, describe, fallback_share, quantize, require_finite, summary

from tests.training.support_model import BASE, BASE_F16, F16, SUPPORT, need_converter, rewrite

Q4, Q8 = SUPPORT / "support-Q4_K_M.gguf", SUPPORT / "support-Q8_0.gguf"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a copy of the base's folder."""
    return Path(shutil.copytree(BASE, tmp_path / "base"))


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Let the committed file stand for what the converter writes; return how it was called."""
    calls: list[Sequence[str]] = []

    def copying(_script: str, target: Path, arguments: Sequence[str], **_: Any) -> None:
        calls.append(arguments)
        shutil.copyfile(BASE_F16, target)

    monkeypatch.setattr(gguf, "run_converter", copying)
    return calls


def set_weight(folder: Path, value: float) -> None:
    """Put one number into one matrix of a folder's weights."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = {name: weight.float() for name, weight in load_file(path).items()}
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] = value
    save_file(weights, path, metadata={"format": "pt"})


# --- 16 bits -----------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_the_converted_base_holds_its_weights(source: Path, tmp_path: Path) -> None:
    """Converted to bfloat16, the base has the committed f16 file's tensors, rounded, and norms and biases unrounded."""
    need_converter()
    target = tmp_path / "out.gguf"
    convert(source, target, own_tokenizer=True, dtype="bf16")
    ours, theirs = ({tensor.name: tensor for tensor in GGUFReader(str(path)).tensors} for path in (target, BASE_F16))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        wanted = np.asarray(theirs[name].data, np.float32)
        if tensor.tensor_type == GGMLQuantizationType.BF16:
            bits = np.asarray(tensor.data).view(np.uint16).astype(np.uint32) << 16
            np.testing.assert_allclose(bits.view(np.float32), wanted, rtol=2**-8, err_msg=name)
        else:
            np.testing.assert_array_equal(np.asarray(tensor.data, np.float32), wanted, err_msg=name)
    assert describe(target)["quantization"] == "BF16"


@pytest.mark.parametrize(("value", "dtype", "fits"), [(7e4, "f16", False), (7e4, "bf16", True), (6.5e4, "f16", True)])
def test_what_float16_cannot_hold_is_refused(
    source: Path, tmp_path: Path, written: list[Sequence[str]], value: float, dtype: str, fits: bool
) -> None:
    """A weight beyond 65504 stops a conversion to f16 before it starts, and the message names bf16."""
    set_weight(source, value)
    if fits:
        gguf._check_range(source, dtype)
        return
    with pytest.raises(StageError, match=r"up_proj\.weight holds 7e\+04, more than the 65504.*export\.dtype to bf16"):
        convert(source, tmp_path / "out.gguf", own_tokenizer=True, dtype=dtype)
    assert not written


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_not_converted(source: Path, tmp_path: Path, value: float) -> None:
    """NaN and infinity are found in the folder, whatever type is asked for."""
    set_weight(source, value)
    with pytest.raises(StageError, match="not finite"):
        convert(source, tmp_path / "out.gguf", own_tokenizer=True, dtype="bf16")


def test_another_template_in_the_file_is_refused(source: Path, tmp_path: Path, written: list[Sequence[str]]) -> None:
    """A file with another chat template than the folder's gets no name, and nothing is left of it."""
    (source / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    with pytest.raises(StageError, match="holds another chat template than the folder"):
        convert(source, tmp_path / "out.gguf", own_tokenizer=True)
    assert written
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


@pytest.mark.usefixtures("written")
def test_another_type_than_asked_for_is_refused(source: Path, tmp_path: Path) -> None:
    """What the converter wrote is read, not believed."""
    with pytest.raises(StageError, match="wrote F16, asked for was bf16"):
        convert(source, tmp_path / "out.gguf", own_tokenizer=True, dtype="bf16")


def test_a_folder_with_code_of_its_own_is_refused(source: Path, tmp_path: Path) -> None:
    """The converter would run the code that a folder brings along."""
    rewrite(source / "config.json", auto_map={"AutoModel": "model.Model"})
    with pytest.raises(StageError, match="asks for code of its own"):
        convert(source, tmp_path / "out.gguf", own_tokenizer=True)


def write_tensor(path: Path, kind: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Write a GGUF with one good matrix and one that was changed."""
    good = np.arange(1, 65, dtype=np.float32).reshape(2, 32)
    writer = GGUFWriter(path, "test")
    for name, values in (("good", good), ("changed", change(good.copy()))):
        if kind == "BF16":
            bits = (values.view(np.uint32) >> 16).astype(np.uint16)
            writer.add_tensor(name, bits.view(np.uint8), raw_dtype=GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(name, values.astype(np.float16 if kind == "F16" else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "not finite"), (np.inf, "not finite"), (-np.inf, "not finite"), (None, "all zeros")]
)
def test_bad_numbers_are_found_in_every_type(tmp_path: Path, kind: str, value: float | None, reason: str) -> None:
    """NaN, infinity and a matrix of zeros are found by name, in each of the three types."""

    def spoil(values: np.ndarray) -> np.ndarray:
        if value is None:
            return values * 0
        values[1, 7] = value
        return values

    assert require_finite(write_tensor(tmp_path / "fine.gguf", kind, lambda values: values)) == 2
    with pytest.raises(StageError, match=f"changed .*{reason}"):
        require_finite(write_tensor(tmp_path / "bad.gguf", kind, spoil))


# --- Quantised ---------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_a_quantised_file_is_not_quantised_again(tmp_path: Path) -> None:
    """A second rounding on top of the first is refused, with what to start from."""
    with pytest.raises(StageError, match=r"Q8_0 weights: what is quantised already.*start from the f16 or bf16 file"):
        quantize(Q8, tmp_path / "out.gguf", "Q4_K_M")
    assert not list(tmp_path.iterdir())


@pytest.mark.model
def test_the_committed_quantisation_can_be_made_again(tmp_path: Path) -> None:
    """Quantising the committed f16 file gives the committed Q4_K_M tensors."""
    quantize(F16, tmp_path / "out.gguf", "Q4_K_M")
    ours, theirs = (GGUFReader(str(path)).tensors for path in (tmp_path / "out.gguf", Q4))
    assert [tensor.name for tensor in ours] == [tensor.name for tensor in theirs]
    assert all((one.data == other.data).all() for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("path", [F16, Q8, Q4])
def test_bits_per_weight_are_counted(path: Path) -> None:
    """Bits per weight and types are those of the tensors as another reader finds them."""
    tensors = GGUFReader(str(path)).tensors
    bits = 8 * sum(int(tensor.n_bytes) for tensor in tensors) / sum(int(tensor.n_elements) for tensor in tensors)
    found = describe(path)
    assert found["bits_per_weight"] == round(bits, 2)
    assert sum(found["tensor_types"].values()) == len(tensors)
    assert found["bytes"] == path.stat().st_size


def write_model(path: Path, width: int, inner: int) -> Path:
    """Write a Qwen2 of one layer with random weights and without a vocabulary, which quantising does not need."""
    writer, random = GGUFWriter(path, "qwen2"), np.random.default_rng(0)
    writer.add_context_length(64)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(3)
    writer.add_head_count_kv(3)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(1)
    shapes = {"token_embd": (500, width), "blk.0.ffn_down": (width, inner)}
    shapes |= dict.fromkeys(("blk.0.ffn_gate", "blk.0.ffn_up"), (inner, width))
    shapes |= {f"blk.0.attn_{part}": (width, width) for part in ("q", "k", "v", "output")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float16))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.model
def test_fallback_is_measured_and_said(tmp_path: Path) -> None:
    """Of a model 96 wide no row can be a k-quant but those of ffn_down, 256 wide: the rest falls back, and is counted."""
    quantize(write_model(tmp_path / "f16.gguf", 96, 256), tmp_path / "q4.gguf", "Q4_K_M")
    matrices = [tensor for tensor in GGUFReader(str(tmp_path / "q4.gguf")).tensors if len(tensor.shape) > 1]
    kept = sum(int(tensor.n_elements) for tensor in matrices if tensor.name == "blk.0.ffn_down.weight")
    share = fallback_share(tmp_path / "q4.gguf", "Q4_K_M")
    assert share == pytest.approx(1 - kept / sum(int(tensor.n_elements) for tensor in matrices))
    assert "84% of the weights fell back to other types than Q4_K_M's" in summary("q4", describe(tmp_path / "q4.gguf"))


def test_a_file_is_what_its_label_says() -> None:
    """The share of one quantisation is not asked of a file of another."""
    assert fallback_share(Q4, "Q4_K_M") == 0.0
    with pytest.raises(StageError, match="is labelled Q4_K_M, not Q6_K"):
        fallback_share(Q4, "Q6_K")


def test_a_file_that_is_no_gguf_is_named(tmp_path: Path) -> None:
    """A damaged file is one line."""
    (tmp_path / "x.gguf").write_bytes(F16.read_bytes()[:1000])
    with pytest.raises(StageError, match=r"x\.gguf: the file is cut off"):
        describe(tmp_path / "x.gguf")
