"""The adapter is merged into whole weights only, of the base that it was trained on, and nothing half-done is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from modelgate_training.errors import StageError
from modelgate_training.export import merge, tokenizer_files
from modelgate_training.export.base_record import check_base, record_base
from modelgate_training.export.merge import merge_adapter, refuse_quantised
from modelgate_training.tuning.loading import load_model, load_tokenizer
from modelgate_training.tuning.tokenizer import CHATML, save_tokenizer, train_tokenizer

# peft 0.21 asks transformers 5.23 for it.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

Refused = Callable[..., str]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a base of two tiny layers and an adapter of it, once."""
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("made")
    write_base(folder / "base")
    save_tokenizer(train_tokenizer(["It broke."] * 50, 300), folder / "base")
    transformers.set_seed(3)
    adapted = peft.get_peft_model(
        load_model(folder / "base"), peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    )
    adapted.save_pretrained(str(folder / "adapter"))
    rewrite(folder / "adapter" / "adapter_config.json", base_model_name_or_path="../base", init_lora_weights=True)
    return folder


def write_base(folder: Path, **other: Any) -> None:
    """Write a model with random weights."""
    import transformers

    sizes = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    transformers.set_seed(5)
    transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes | heads | other)).save_pretrained(folder)


def rewrite(path: Path, **values: Any) -> None:
    """Set values of a JSON file; None takes one out."""
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    """Return a folder of the base that a test may change."""
    return Path(shutil.copytree(made / "base", tmp_path / "base"))


@pytest.fixture
def adapter(made: Path, tmp_path: Path) -> Path:
    """Return a folder of the adapter that a test may change."""
    return Path(shutil.copytree(made / "adapter", tmp_path / "adapter"))


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """Return where the merged model goes."""
    return tmp_path / "merged"


@pytest.fixture
def refused(base: Path, adapter: Path, merged: Path) -> Refused:
    """Return what merges, expects one line of refusal, and sees to it that nothing is left behind."""

    def attempt(into: Path = base) -> str:
        with pytest.raises(StageError) as caught:
            merge_adapter(into, adapter, merged)
        assert not merged.exists()
        assert not list(merged.parent.glob(".*"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return attempt


def change_weights(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write an adapter's weights anew."""
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


# --- What comes out ----------------------------------------------------------------------------------------------


def test_a_merge_into_quantised_weights_is_refused() -> None:
    """The 4-bit model that was trained is never merged into."""

    class Linear4bit:
        """Stand in for bitsandbytes' module."""

    class Model:
        """Hold one module."""

        def named_modules(self) -> list[tuple[str, object]]:
            """Return the module with its name."""
            return [("layers.0.q_proj", Linear4bit())]

    with pytest.raises(StageError, match=r"refused to merge: layers\.0\.q_proj is quantised"):
        refuse_quantised(Model())


@pytest.mark.parametrize(("limit", "dtype"), [(10**9, "float32"), (10, "bfloat16")])
def test_the_base_is_loaded_once(
    base: Path, adapter: Path, merged: Path, monkeypatch: pytest.MonkeyPatch, limit: int, dtype: str
) -> None:
    """A base is counted without its weights, and loaded once in the type that its size asks for."""
    loaded: list[Any] = []

    def counting(folder: Path, **options: Any) -> Any:
        loaded.append(options)
        return load_model(folder, **options)

    monkeypatch.setattr(merge, "load_model", counting)
    monkeypatch.setattr(merge, "_LARGE", limit)
    facts = merge_adapter(base, adapter, merged)
    assert len(loaded) == 1
    assert facts["dtype"] == dtype
    assert facts["changed_tensors"] == 2
    assert (merged / "model.safetensors").is_file()


def test_the_merged_model_computes_base_plus_adapter(base: Path, adapter: Path, merged: Path) -> None:
    """Merged weights are W + alpha/r · B·A, written out by hand."""
    import torch
    from safetensors.torch import load_file

    merge_adapter(base, adapter, merged)
    delta, before = load_file(adapter / "adapter_model.safetensors"), load_file(base / "model.safetensors")
    after = load_file(merged / "model.safetensors")
    for layer in range(2):
        name = f"model.layers.{layer}.self_attn.q_proj"
        low, high = (delta[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
        torch.testing.assert_close(after[f"{name}.weight"], before[f"{name}.weight"] + 8 / 8 * high @ low)


def test_pickled_weights_are_not_loaded(base: Path) -> None:
    """Weights that can run code when loaded are refused, wherever a model is loaded."""
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    with pytest.raises(StageError, match=r"base: only pickled weights \(pytorch_model\.bin\)"):
        load_model(base)


def test_the_base_s_files_are_carried_over(base: Path, adapter: Path, merged: Path) -> None:
    """Tokenizer, template and generation settings are the base's, byte for byte; a former merge is replaced."""
    rewrite(base / "generation_config.json", eos_token_id=[2, 0], repetition_penalty=1.25)
    merged.mkdir()
    (merged / "stale.safetensors").touch()
    merge_adapter(base, adapter, merged)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (merged / name).read_bytes() == (base / name).read_bytes(), name
    assert not (merged / "stale.safetensors").exists()


# --- One template ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["jinja", "config", "both"])
def test_both_loaders_see_one_template(base: Path, adapter: Path, merged: Path, where: str) -> None:
    """Wherever the base keeps its template, one file of the merged folder holds it, and it is the same text."""
    if where != "jinja":
        rewrite(base / "tokenizer_config.json", chat_template=CHATML)
    if where == "config":
        (base / "chat_template.jinja").unlink()
    merge_adapter(base, adapter, merged)
    held = [(merged / "chat_template.jinja").is_file(), "chat_template" in read(merged / "tokenizer_config.json")]
    assert sum(held) == 1
    assert load_tokenizer(merged).chat_template == CHATML


def read(path: Path) -> dict[str, Any]:
    """Return a JSON object."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_two_different_templates_are_refused(base: Path, refused: Refused) -> None:
    """Where two files disagree nobody knows which one is meant."""
    rewrite(base / "tokenizer_config.json", chat_template="{{ messages }}")
    assert "two different chat templates" in refused()


def test_a_base_without_template_is_refused(base: Path, refused: Refused) -> None:
    """A base without chat template is refused before anything is loaded, with what to do."""
    (base / "chat_template.jinja").unlink()
    assert "no chat template" in (line := refused())
    assert "take an instruct model" in line


def test_a_tokenizer_that_changed_on_the_way_is_refused(
    base: Path, adapter: Path, merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merged folder's tokenizer is loaded and compared with the base's before the folder gets its name."""
    copy = shutil.copyfile

    def damaging(source: Path, target: Path) -> None:
        copy(source, target)
        if target.name == "tokenizer.json":
            content = read(target)
            ids = content["model"]["vocab"]
            ids["H"], ids["e"] = ids["e"], ids["H"]
            target.write_text(json.dumps(content), encoding="utf-8")

    monkeypatch.setattr(tokenizer_files.shutil, "copyfile", damaging)
    with pytest.raises(StageError, match=r"the tokenizer writes .* as \[.*\], the base's as"):
        merge_adapter(base, adapter, merged)
    assert not merged.exists()
    assert not list(merged.parent.glob(".*"))


# --- The right base ----------------------------------------------------------------------------------------------


def test_the_recorded_base_is_known_by_its_files(base: Path, adapter: Path, tmp_path: Path) -> None:
    """With a record of its base's files an adapter finds its base under any name."""
    record_base(adapter, base)
    base.rename(tmp_path / "moved")
    assert check_base(adapter, tmp_path / "moved") == "sha256 of its files"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_a_base_that_changed_since_is_refused(base: Path, adapter: Path, refused: Refused, name: str) -> None:
    """One other byte in any of the base's files makes it another base."""
    record_base(adapter, base)
    (base / name).write_bytes((base / name).read_bytes() + b" ")
    assert f"was trained on another base than {base}: there, {name} is another" in refused()


def test_a_base_of_the_same_shape_is_refused(base: Path, tmp_path: Path, refused: Refused) -> None:
    """Without a record the folder that the adapter names counts: equal shapes with other weights are another base."""
    other = Path(shutil.copytree(base, tmp_path / "other"))
    write_base(other, initializer_range=0.5)
    shutil.copyfile(base / "chat_template.jinja", other / "chat_template.jinja")
    assert "was trained on another base" in refused(other)


@pytest.mark.parametrize(
    ("name", "revision", "fits"),
    [("o/m", None, True), ("o/m", "c0ffee", True), ("o/m", "main", True), ("o/m", "beef", False), ("o/n", None, False)],
)
def test_a_model_of_the_hub_is_known_by_name_and_revision(
    base: Path, adapter: Path, tmp_path: Path, name: str, revision: str | None, fits: bool
) -> None:
    """A folder of the Hub's cache is the adapter's base if model and commit, or what a branch stood for, are."""
    cache = tmp_path / "models--o--m"
    snapshot = shutil.copytree(base, cache / "snapshots" / "c0ffee")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("c0ffee", encoding="ascii")
    rewrite(adapter / "adapter_config.json", base_model_name_or_path=name, revision=revision)
    if fits:
        assert check_base(adapter, snapshot) == ("name and revision" if revision else "name")
    else:
        with pytest.raises(StageError, match="is not known to be"):
            check_base(adapter, snapshot)


def test_an_adapter_that_names_no_base_is_refused(adapter: Path, refused: Refused) -> None:
    """What cannot be told is not taken for right."""
    rewrite(adapter / "adapter_config.json", base_model_name_or_path=None)
    assert "names no base" in refused()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"hidden_size": 32}, "q_proj has 16 inputs here, 32 there"),
        ({"num_hidden_layers": 1}, "which has no layer model.layers.1.self_attn.q_proj"),
        ({"num_hidden_layers": 3}, r"lacks base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight and 1 more"),
    ],
)
def test_a_base_of_another_shape_is_refused(
    base: Path, adapter: Path, refused: Refused, other: dict[str, int], reason: str
) -> None:
    """Wider, shallower or deeper bases are refused by name of the layer; peft would only warn of the deeper one."""
    write_base(base, **other)
    record_base(adapter, base)
    assert reason in refused()


def test_a_missing_matrix_is_refused(adapter: Path, refused: Refused) -> None:
    """An adapter that lost a weight is refused; peft would draw it anew and only warn."""
    change_weights(adapter, lambda weights: dict(list(weights.items())[:-1]))
    assert "lacks base_model" in refused()


def test_a_weight_that_nobody_asked_for_is_refused(adapter: Path, refused: Refused) -> None:
    """An adapter with a weight more than its settings ask for is refused; peft would leave it out."""
    extra = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
    change_weights(adapter, lambda weights: weights | {extra: next(iter(weights.values())).clone()})
    assert "beside what its settings ask for" in refused()


@pytest.mark.parametrize(
    ("value", "reason"), [(0.0, "lora_B is all zeros in 1 layers"), (float("nan"), "not finite numbers")]
)
def test_a_layer_that_learned_nothing_is_refused(adapter: Path, refused: Refused, value: float, reason: str) -> None:
    """One layer's B of zeros was never trained, one of NaN went wrong; both are refused though others are fine."""
    name = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"
    change_weights(adapter, lambda weights: weights | {name: weights[name] * 0 + value})
    assert reason in refused()


def test_damaged_weights_are_refused(adapter: Path, refused: Refused) -> None:
    """A cut-off file is named, not met with a traceback."""
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert f"{path}: not readable" in refused()


def test_an_adapter_begun_on_another_base_is_refused(adapter: Path, refused: Refused) -> None:
    """PiSSA takes part of the base into the adapter: merged into the whole base it would count twice."""
    rewrite(adapter / "adapter_config.json", init_lora_weights="pissa")
    assert "cannot be merged: init_lora_weights = 'pissa'" in refused()


def test_a_merge_that_computes_something_else_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged and unmerged must answer alike on the same tokens."""
    calls = []

    def drifting(model: Any, ids: Any, compute: Any = merge._logits) -> Any:
        calls.append(model)
        return compute(model, ids) + (len(calls) - 1) * 0.1

    monkeypatch.setattr(merge, "_logits", drifting)
    assert "answers otherwise than beside its base" in refused()


def test_a_full_disk_leaves_nothing_that_looks_whole(
    base: Path, adapter: Path, merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written to the end is taken away, and what was there before stays."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    merge_adapter(base, adapter, merged)
    before = (merged / "model.safetensors").read_bytes()
    monkeypatch.setattr(merge, "copy_tokenizer", full)
    with pytest.raises(OSError, match="No space left"):
        merge_adapter(base, adapter, merged)
    assert (merged / "model.safetensors").read_bytes() == before
    assert not list(merged.parent.glob(".*"))
