"""A file that is cut off, named otherwise than labelled, or stored otherwise than labelled is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

from pytest_modelgate.engines.llama import QUANTIZATIONS, quantize
from pytest_modelgate.gguf_file import read_gguf_header
from pytest_modelgate.preflight.check import Artifact
from tests.faults import gguf_faults
from tests.faults.gguf_edit import write_lora
from tests.preflight.static_subjects import ADAPTER, BASE_F16, F16, Q4_K_M, Q8_0, alone, found, manifest, subject

FILE_TYPE = "general.file_type"
LABELS = {"F16": 1, "Q8_0": 7, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}


def test_a_file_that_is_cut_off_fails(tmp_path: Path) -> None:
    """Where the file ends before its tensors do, both places are named, and the header is still read by other checks."""
    path = gguf_faults.truncated(Q8_0, tmp_path / Q8_0.name)
    result = found("file_whole", subject(path))
    assert (result.outcome, result.mode) == ("failed", "F25")
    assert str(path.stat().st_size) in result.reason
    assert found("architecture", subject(path)).outcome == "passed"


def test_a_lora_that_is_cut_off_fails(tmp_path: Path) -> None:
    """The LoRA file beside a base is looked at as well."""
    lora = write_lora(ADAPTER, tmp_path / "whole.gguf")
    assert found("file_whole", subject(BASE_F16, lora=lora)).outcome == "passed"
    cut = gguf_faults.truncated(lora, tmp_path / "lora.gguf")
    assert found("file_whole", subject(BASE_F16, lora=cut)).reason.startswith("lora.gguf: cut off")


def test_what_is_no_gguf_fails_in_one_line(tmp_path: Path) -> None:
    """A file of another kind fails with the reason, not with a traceback."""
    path = tmp_path / "x.gguf"
    path.write_bytes(b"<!doctype html>" * 9)
    result = found("file_whole", alone(path))
    assert result.outcome == "failed"
    assert "not a GGUF file" in result.reason
    assert "\n" not in result.reason


def test_a_header_is_read_as_the_gguf_package_reads_it() -> None:
    """Values, tensors and their places are those that gguf's own reader finds."""
    header, reader = read_gguf_header(Q4_K_M), gguf.GGUFReader(Q4_K_M)
    theirs = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert header.values == theirs
    assert {name: (one.dims, one.type, one.offset, one.n_bytes) for name, one in header.tensors.items()} == {
        one.name: (tuple(one.shape.tolist()), one.tensor_type.name, one.data_offset, one.n_bytes)
        for one in reader.tensors
    }
    assert header.end <= header.size_bytes == Q4_K_M.stat().st_size


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("support-Q8_0.gguf", "passed"),
        ("support.q8_0.gguf", "passed"),
        ("model-f16-Q8_0.gguf", "passed"),
        ("support.gguf", "passed"),
        ("model-Q1-2024.gguf", "passed"),
        ("support-Q4_K_M.gguf", "failed"),
        ("support-f16.gguf", "failed"),
        ("support-IQ2_XXS.gguf", "failed"),
    ],
)
def test_the_name_must_not_promise_another_label(name: str, outcome: str, tmp_path: Path) -> None:
    """The last quantisation in a name is compared with the header's label; a name without one promises nothing."""
    assert found("file_name", alone(Path(shutil.copy(Q8_0, tmp_path / name)))).outcome == outcome


@pytest.mark.parametrize(
    ("name", "outcome"), [("x-UD-Q4_K_XL", "passed"), ("x-Q4_K", "passed"), ("x-Q4_K_S", "failed")]
)
def test_names_of_a_recipe_s_sizes(name: str, outcome: str, tmp_path: Path) -> None:
    """A larger version of a recipe, and one without its size, are the recipe; another size is not."""
    assert found("file_name", alone(Path(shutil.copy(Q4_K_M, tmp_path / f"{name}.gguf")))).outcome == outcome


@pytest.mark.parametrize("ftype", [name for name in QUANTIZATIONS if name != "F16"])
def test_llama_cpp_s_own_recipes_fit_their_labels(ftype: str, tmp_path: Path) -> None:
    """What llama.cpp quantises passes under its label, and its real bits are reported."""
    path = tmp_path / f"x-{ftype}.gguf"
    quantize(F16, path, ftype)
    result = found("quantization", alone(path))
    assert (result.outcome, result.figures["fallback_share"]) == ("passed", 0.0)
    assert result.figures["bits_per_weight"] == pytest.approx(8 * path.stat().st_size / 2_087_168, rel=0.15)
    assert found("file_name", alone(path)).outcome == "passed"


@pytest.mark.parametrize(
    ("stored", "label"),
    [("Q2_K", "Q4_K_M"), ("Q3_K_M", "Q4_K_M"), ("Q4_K_M", "Q5_K_M"), ("Q6_K", "Q8_0"), ("Q8_0", "Q4_K_M"), ("Q5_K_M", "Q4_K_M"),
     ("Q4_K_M", "F16"), ("Q8_0", "Q6_K")],
)  # fmt: skip
def test_another_quantisation_than_the_label_fails(stored: str, label: str, tmp_path: Path) -> None:
    """A file that is sold as another type fails, smaller or larger."""
    quantize(F16, tmp_path / "stored.gguf", stored)
    path = gguf_faults.rewrite(tmp_path / "stored.gguf", tmp_path / "sold.gguf", {FILE_TYPE: LABELS[label]})
    result = found("quantization", alone(path))
    assert (result.outcome, result.mode) == ("failed", "F21")
    assert label in result.reason


def test_a_file_without_a_label_is_no_promise(tmp_path: Path) -> None:
    """A missing label is told, not guessed."""
    path = gguf_faults.rewrite(Q8_0, tmp_path / Q8_0.name, {}, [FILE_TYPE])
    assert found("quantization", alone(path)).outcome == "warned"
    assert found("file_name", alone(path)).outcome == "warned"


def test_rows_that_a_block_does_not_divide_only_warn(tmp_path: Path) -> None:
    """Where rows have 64 weights, a Q4_K_M is mostly Q5_0 and Q8_0: the share is told, and fails nothing."""
    source, path = _narrow(tmp_path / "narrow-f16.gguf"), tmp_path / "narrow-Q4_K_M.gguf"
    quantize(source, path, "Q4_K_M")
    result = found("quantization", alone(path))
    assert result.outcome == "warned"
    assert "100% of the weights could not be Q4_K" in result.reason
    assert result.figures["fallback_share"] == 1.0


def test_the_manifest_s_types_must_be_the_file_s(tmp_path: Path) -> None:
    """A file of the manifest's name with other types of tensors fails, although its own label fits."""
    quantize(F16, tmp_path / Q8_0.name, "Q4_K_M")
    result = found("quantization", alone(tmp_path / Q8_0.name, manifest=manifest()))
    assert result.outcome == "failed"
    assert "15 Q8_0" in result.reason


def test_what_was_made_from_a_quantised_file_fails() -> None:
    """A chain in which a quantised file stands before the target is a second loss."""
    given = subject(Q8_0, chain=(Artifact("Q4_K_M", "gguf", Q4_K_M),))
    assert found("requantized", given).mode == "F24"
    assert found("requantized", given).outcome == "failed"
    from_f16 = subject(Q8_0, chain=(Artifact("f16", "gguf", F16),), manifest=manifest())
    assert found("requantized", from_f16).outcome == "passed"
    assert found("requantized", alone(Q8_0)).outcome == "not checked"


def test_the_importance_of_weights_is_reported(tmp_path: Path) -> None:
    """A file that was quantised by an importance matrix says so; one that the training made so must."""
    matrices = {name: one.dims[0] for name, one in read_gguf_header(F16).tensors.items() if len(one.dims) > 1}
    path, stage = tmp_path / Q4_K_M.name, {"imatrix": {"tokens": 9}, Q4_K_M.name: {}}
    quantize(F16, path, "Q4_K_M", {name: np.ones(columns, np.float32) for name, columns in matrices.items()})
    assert "with the importance of 15 matrices" in found("quantization", alone(path)).reason
    assert found("quantization", alone(path, manifest={"quantize": stage})).outcome == "passed"
    result = found("quantization", alone(Q4_K_M, manifest={"quantize": stage}))
    assert (result.outcome, result.mode) == ("failed", "F23")


def _narrow(path: Path) -> Path:
    """Write a model of one layer whose rows have 64 weights."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(1)
    for name, value in (("block_count", 1), ("context_length", 64), ("embedding_length", 64), ("feed_forward_length", 64),
                        ("attention.head_count", 1), ("rope.dimension_count", 64)):  # fmt: skip
        writer.add_uint32(f"llama.{name}", value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(64)
    rng = np.random.default_rng(7)
    for name in ("token_embd", "output", *(f"blk.0.{part}" for part in ("attn_q", "attn_k", "attn_v", "attn_output",
                                                                       "ffn_gate", "ffn_up", "ffn_down"))):  # fmt: skip
        writer.add_tensor(f"{name}.weight", rng.normal(size=(64, 64)).astype(np.float16))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(64, np.float32))
    for write in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        write()
    return path
