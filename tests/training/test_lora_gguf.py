"""The adapter alone, as a GGUF: it does in llama.cpp what it does in peft, or it is not written."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from modelgate_training.errors import StageError
from modelgate_training.export import lora_gguf
from modelgate_training.export.lora_gguf import convert_lora

from pytest_modelgate.engines.llama import Entry, LlamaModel
from tests.training.support_model import ADAPTER, BASE, BASE_F16, F16, need_converter, rewrite

PROMPT = b'<|im_start|>user\nI was charged twice, please help.<|im_end|>\n<|im_start|>assistant\n{"intent": "'


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with copies of base and adapter."""
    for folder in (BASE, ADAPTER):
        shutil.copytree(folder, tmp_path / folder.name)
    yield tmp_path
    assert not list(tmp_path.glob(".*"))


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Convert the committed adapter, once; return the file and the facts."""
    need_converter()
    target = tmp_path_factory.mktemp("lora") / "support-lora.gguf"
    return target, convert_lora(ADAPTER, BASE, target)


def logits(path: Path, lora: Path | None = None) -> np.ndarray:
    """Return the logits of each token of the prompt, shape (tokens, vocabulary)."""
    import llama_cpp

    model = LlamaModel(path, n_ctx=256)
    try:
        if lora is not None:
            loaded = llama_cpp.llama_adapter_lora_init(model._model, str(lora).encode())
            assert loaded, "llama.cpp does not load it"
            adapters, scales = (llama_cpp.llama_adapter_lora_p_ctypes * 1)(loaded), (ctypes.c_float * 1)(1.0)
            assert llama_cpp.llama_set_adapters_lora(model._context, adapters, 1, scales) == 0
        ids = model.tokenize(PROMPT)
        return model.decode([Entry(token, place, wants_logits=True) for place, token in enumerate(ids)])
    finally:
        model.close()


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    """Return the mean squared error in units of the variance of ``wanted``."""
    return float(((got - wanted) ** 2).mean() / wanted.var())


@pytest.mark.model
def test_base_and_lora_file_answer_as_the_merged_model(lora: tuple[Path, dict[str, Any]]) -> None:
    """Beside its base in llama.cpp the adapter gives the merged model's logits, and far other ones than the base alone."""
    merged, base, both = logits(F16), logits(BASE_F16), logits(BASE_F16, lora[0])
    assert error(both, merged) < 1e-4
    assert error(base, merged) > 1e-2
    assert error(both, merged) < error(base, merged) / 1000


@pytest.mark.model
def test_every_matrix_is_in_the_file(lora: tuple[Path, dict[str, Any]]) -> None:
    """Two matrices for each of seven layers in two blocks, with the alpha of the settings."""
    path, facts = lora
    assert facts == {
        "bytes": path.stat().st_size,
        "tensors": 28,
        "alpha": 64,
        "rank": 32,
        "base_known_by": "the folder that it names",
    }


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("use_rslora", True, "√r times too weak; merge the adapter"),
        ("alpha_pattern", {"q_proj": 8}, "the common one; merge"),
        ("use_dora", True, "magnitudes; merge"),
        ("modules_to_save", ["norm"], "trained whole; merge"),
        ("init_lora_weights", "pissa", "another base; save it again as plain LoRA"),
        ("target_modules", ["q_proj", "lm_head"], "lm_head has an adapter"),
    ],
)
def test_what_would_be_lost_is_refused(
    folders: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: object, says: str
) -> None:
    """An adapter that llama.cpp would apply in part is not converted; the message says what is lost and what to do."""
    monkeypatch.setattr(lora_gguf, "run_converter", lambda *_, **__: pytest.fail("was converted"))
    rewrite(folders / "adapter" / "adapter_config.json", **{setting: value})
    with pytest.raises(StageError, match=r"not all of it fits a LoRA file") as caught:
        convert_lora(folders / "adapter", folders / "base", folders / "out.gguf")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_adapter_of_another_base_is_refused(folders: Path) -> None:
    """llama.cpp would take it where the shapes fit."""
    weights = folders / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    rewrite(folders / "adapter" / "adapter_config.json", base_model_name_or_path=str(BASE))
    with pytest.raises(StageError, match=r"another base than .*base: there, model\.safetensors is another"):
        convert_lora(folders / "adapter", folders / "base", folders / "out.gguf")


def test_pickled_weights_are_not_converted(folders: Path) -> None:
    """The converter would unpickle them."""
    adapter = folders / "adapter"
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(StageError, match="no weights"):
        convert_lora(adapter, folders / "base", folders / "out.gguf")


@pytest.mark.model
@pytest.mark.parametrize(("change", "says"), [("alpha", "is not this adapter"), ("matrix", "left some out")])
def test_a_file_that_holds_something_else_gets_no_name(
    lora: tuple[Path, dict[str, Any]], folders: Path, monkeypatch: pytest.MonkeyPatch, change: str, says: str
) -> None:
    """The converter's file is compared with the adapter before it gets its name."""

    def other(_script: str, target: Path, _arguments: Sequence[str]) -> None:
        shutil.copyfile(lora[0], target)

    monkeypatch.setattr(lora_gguf, "run_converter", other)
    if change == "alpha":
        rewrite(folders / "adapter" / "adapter_config.json", lora_alpha=32)
    else:
        from safetensors.numpy import load_file, save_file

        path = folders / "adapter" / "adapter_model.safetensors"
        weights = load_file(path)
        save_file(weights | {"base_model.model.model.layers.9.lora_A.weight": np.ones((1, 2), np.float32)}, path)
    with pytest.raises(StageError, match=says):
        convert_lora(folders / "adapter", folders / "base", folders / "out.gguf")
    assert not (folders / "out.gguf").exists()
