"""The adapter engine, on a tiny random Qwen2 with a LoRA adapter, against transformers' own generate()."""

from __future__ import annotations

import errno
import json
import pickle
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.adapter import AdapterEngine, build_id, resolve_base
from pytest_modelgate.engines.adapter_files import find_files
from pytest_modelgate.engines.adapter_model import LoadedModel, Prompt
from pytest_modelgate.engines.adapter_row import Row
from pytest_modelgate.errors import EngineStartError, MissingExtraError
from pytest_modelgate.records import Failure, Generation, Message, Request

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

# peft 0.21 asks transformers 5.23 for it.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = (
    "Hi",
    "Please refund my last payment, I cancelled before renewal.",
    "Where is my parcel?",
    "The app crashes on start. " * 12,
    "ünïcödé 🙂\n\ttab",
    "I want to talk to a person, now, please, and not to a machine again.",
    "ok",
)


def build_tokenizer() -> Any:
    """Train a small byte-level BPE."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    # As Llama's does: a second BOS before what the template renders must not happen.
    backend.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=CHATML)
    tokenizer.eos_token = "<|endoftext|>"
    return tokenizer


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make ``base`` (model and tokenizer) and ``adapter`` (LoRA with a random B) once."""
    root = tmp_path_factory.mktemp("models")
    tokenizer = build_tokenizer()
    torch.manual_seed(7)
    config = transformers.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        eos_token_id=0,
        use_cache=False,
    )
    model = transformers.Qwen2ForCausalLM(config)
    # What a real model's generation_config holds, none of which may leak into greedy decoding.
    model.generation_config.update(do_sample=True, temperature=0.7, top_p=0.8, repetition_penalty=1.3)
    model.save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, lora)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    adapted.peft_config["default"].base_model_name_or_path = "../base"
    adapted.save_pretrained(root / "adapter", save_embedding_layers=False)
    return root


@pytest.fixture
def copies(folders: Path, tmp_path: Path) -> Path:
    """Copy the folders, so that a test may break them."""
    return Path(shutil.copytree(folders, tmp_path / "models"))


@pytest.fixture(scope="session")
def reference(folders: Path) -> Any:
    """Load the adapter on its base in the ordinary way."""
    base = transformers.AutoModelForCausalLM.from_pretrained(folders / "base", dtype=torch.float32)
    return peft.PeftModel.from_pretrained(base, str(folders / "adapter")).eval()


def engine_for(path: Path, base: Path | None = None, **settings: Any) -> AdapterEngine:
    """Return an engine on one thread: the model is too small for two."""
    return AdapterEngine(path=path, base=base, settings=EngineSettings(n_threads=1, **settings))


def ask(texts: Sequence[str], max_tokens: int = 24) -> list[Request]:
    """Make one request of each text."""
    return [
        Request(
            key=str(number), max_tokens=max_tokens, messages=(Message("system", "Be brief."), Message("user", text))
        )
        for number, text in enumerate(texts)
    ]


def answers(engine: AdapterEngine, requests: Sequence[Request]) -> list[Generation]:
    """Return all generations in the order of the requests."""
    results = dict(engine.generate(requests))
    assert set(results) == {request.key for request in requests}
    found = [results[request.key] for request in requests]
    assert all(isinstance(result, Generation) for result in found), found
    return [result for result in found if isinstance(result, Generation)]


def prompt_ids(folders: Path, request: Request) -> list[int]:
    """Render and tokenise in one go, as transformers does it itself."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders / "base")
    messages = [{"role": message.role, "content": message.content} for message in request.messages or ()]
    ids: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    return ids


def transformers_tokens(model: Any, ids: list[int], max_tokens: int, eos: list[int]) -> tuple[int, ...]:
    """Return what transformers generates greedily for one prompt."""
    greedy = transformers.GenerationConfig(max_new_tokens=max_tokens, do_sample=False, eos_token_id=eos, pad_token_id=0)
    # generate() fills what the given configuration leaves open from the model's own.
    model.get_base_model().generation_config = greedy
    output = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    return tuple(output[0, len(ids) :].tolist())


def start_error(engine: AdapterEngine) -> str:
    """Return the message of an engine that must not start."""
    with pytest.raises(EngineStartError) as caught:
        engine.describe()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_batched_tokens_equal_those_of_transformers(folders: Path, reference: Any) -> None:
    """Short and long prompts in one batch give what transformers' generate() gives one by one."""
    requests = ask(TEXTS)
    engine = engine_for(folders / "adapter", batch_size=4)

    found = [generation.token_ids for generation in answers(engine, requests)]

    assert str(engine.describe().facts["batching"]).startswith("batches of 4")
    expected = [transformers_tokens(reference, prompt_ids(folders, request), 24, [0, 2]) for request in requests]
    assert expected == found
    assert len({tokens[:4] for tokens in found}) > 3


def test_learned_positions(folders: Path, tmp_path: Path) -> None:
    """A model that learned absolute positions gets those of each row, and none beyond its last."""
    torch.manual_seed(7)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=128, initializer_range=0.3)
    )
    model.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folders / "base").save_pretrained(tmp_path)
    requests = [
        Request(key=str(length), max_tokens=max_tokens, prompt_ids=tuple(range(3, 3 + length)))
        for length, max_tokens in ((126, 2), (100, 20), (30, 60))
    ]

    engine = engine_for(tmp_path, batch_size=3)

    found = answers(engine, requests)

    assert str(engine.describe().facts["batching"]).startswith("batches of 3")
    for request, generation in zip(requests, found, strict=True):
        ids = [*(request.prompt_ids or ()), *generation.token_ids]
        with torch.no_grad():
            logits = model.eval()(input_ids=torch.tensor([ids])).logits[0, -generation.output_tokens - 1 : -1]
        assert tuple(logits.argmax(-1).tolist()) == generation.token_ids


def test_merged_folder_gives_the_adapters_tokens(folders: Path, reference: Any, tmp_path: Path) -> None:
    """The merged folder of an adapter runs by itself."""
    base = transformers.AutoModelForCausalLM.from_pretrained(folders / "base", dtype=torch.float32)
    merged = peft.PeftModel.from_pretrained(base, str(folders / "adapter")).merge_and_unload(safe_merge=True)
    merged.save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(folders / "base").save_pretrained(tmp_path)

    (found,) = answers(engine_for(tmp_path), ask(TEXTS[1:2]))

    assert transformers_tokens(reference, prompt_ids(folders, ask(TEXTS[1:2])[0]), 24, [0, 2]) == found.token_ids


def test_adapter_differs_from_its_base(folders: Path) -> None:
    """The adapter is applied."""
    adapter, base = (answers(engine_for(folders / name), ask(TEXTS[:3])) for name in ("adapter", "base"))

    assert [one.token_ids for one in adapter] != [one.token_ids for one in base]


def test_log_probabilities_and_margins(folders: Path, reference: Any) -> None:
    """They equal those of one forward pass without cache or padding over prompt and answer."""
    requests = ask(TEXTS)
    for request, generation in zip(requests, answers(engine_for(folders / "adapter"), requests), strict=True):
        prompt = prompt_ids(folders, request)
        with torch.no_grad():
            logits = reference(input_ids=torch.tensor([[*prompt, *generation.token_ids]])).logits[
                0, len(prompt) - 1 : -1
            ]
        tokens = torch.tensor(generation.token_ids)
        logprobs = torch.log_softmax(logits, -1).gather(-1, tokens[:, None])[:, 0]
        best = logits.sort(-1, descending=True).values
        assert generation.logprobs == pytest.approx(logprobs.tolist(), abs=1e-4)
        assert generation.margins == pytest.approx((best[:, 0] - best[:, 1]).tolist(), abs=1e-4)


def test_counts_times_and_length_finish(folders: Path) -> None:
    """Each row stops at its own max_tokens and says so."""
    limits = (1, 3, 9)
    requests = [
        Request(key=str(limit), max_tokens=limit, messages=(Message("user", text),))
        for limit, text in zip(limits, TEXTS, strict=False)
    ]

    found = answers(engine_for(folders / "adapter"), requests)

    assert [generation.output_tokens for generation in found] == [1, 3, 9]
    for request, generation in zip(requests, found, strict=True):
        assert generation.finish_reason == "length"
        assert len(generation.token_ids) == len(generation.logprobs) == len(generation.margins)
        assert generation.prompt_tokens == len(prompt_ids(folders, request))
        assert 0 < generation.ttft_s <= generation.total_s
    assert found[0].total_s < found[2].total_s


@pytest.mark.parametrize("place", ["generation_config", "tokenizer", "template"])
def test_stop_token(copies: Path, place: str) -> None:
    """A row ends at a stop token from any of its three sources; its text leaves the token out."""
    request = ask(TEXTS[1:2])
    (free,) = answers(engine_for(copies / "adapter"), request)
    stop = free.token_ids[5]
    first = free.token_ids.index(stop)
    tokenizer = transformers.AutoTokenizer.from_pretrained(copies / "base")
    token = tokenizer.convert_ids_to_tokens(stop)
    if place == "generation_config":
        file = copies / "base" / "generation_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_token_id": [0, stop]}))
    elif place == "tokenizer":
        tokenizer.eos_token = token
        tokenizer.save_pretrained(copies / "base")
    else:
        tokenizer.add_tokens([transformers.AddedToken(token, special=False)])
        # Only the end of the assistant's turn changes, so the prompt stays the same.
        ending = "{{ '" + token + "' if message.role == 'assistant' else '<|im_end|>' }}\n"
        tokenizer.chat_template = CHATML.replace("<|im_end|>\n", ending)
        tokenizer.save_pretrained(copies / "base")
    engine = engine_for(copies / "adapter")

    (found,) = answers(engine, request)

    assert token in engine.describe().facts["stop_tokens"]
    assert found.finish_reason == "stop"
    assert free.token_ids[: first + 1] == found.token_ids
    assert tokenizer.decode(found.token_ids[:-1]) == found.text


def test_special_tokens_inside_an_answer_are_shown(folders: Path) -> None:
    """A special token that does not end the turn is in the text, as it is with the GGUF engine."""
    model = engine_for(folders / "adapter")._load()
    ids = [model.tokenizer.convert_tokens_to_ids(token) for token in ("<|im_start|>", "o", "<|im_end|>")]

    result = model.result(Prompt((1, 2, 3, 4, 5)), Row(max_tokens=9, token_ids=ids, finish_reason="stop"))

    assert isinstance(result, Generation)
    assert result.text == "<|im_start|>o"


def test_given_token_ids_are_used_as_they_are(folders: Path) -> None:
    """A prompt of token ids equals the same prompt as messages; impossible ids are refused."""
    (request,) = ask(TEXTS[1:2])
    ids = tuple(prompt_ids(folders, request))
    engine = engine_for(folders / "adapter")
    requests = [
        request,
        Request(key="ids", max_tokens=24, prompt_ids=ids),
        Request(key="beyond", max_tokens=24, prompt_ids=(*ids, 100_000)),
        Request(key="negative", max_tokens=24, prompt_ids=(-1,)),
        Request(key="empty", max_tokens=24, prompt_ids=()),
    ]

    results = dict(engine.generate(requests))

    by_messages, by_ids = results["0"], results["ids"]
    assert isinstance(by_messages, Generation)
    assert isinstance(by_ids, Generation)
    assert by_messages.token_ids == by_ids.token_ids
    for key in ("beyond", "negative", "empty"):
        assert isinstance(results[key], Failure), key


def test_too_long_prompt_is_refused_and_the_others_go_on(folders: Path) -> None:
    """The message holds the three numbers and the remedy that helps."""
    request = Request(key="long", max_tokens=24, messages=(Message("user", "word " * 90),))
    tokens = len(prompt_ids(folders, request))

    results = dict(engine_for(folders / "adapter", n_ctx=64).generate([request, *ask(["Hi"])]))

    expected = (
        f"prompt is {tokens} tokens and max_tokens 24, together more than n_ctx 64: raise n_ctx or shorten the case"
    )
    assert Failure("refused", expected) == results["long"]
    assert isinstance(results["0"], Generation)


def test_limit_is_exact_and_the_models_positions_count(folders: Path) -> None:
    """512 tokens together fit a model of 512 positions, 513 do not, whatever n_ctx says."""
    requests = [Request(key=str(extra), max_tokens=2 + extra, prompt_ids=(5,) * 510) for extra in (0, 1)]

    results = dict(engine_for(folders / "adapter", n_ctx=4096).generate(requests))

    refused = results["1"]
    assert isinstance(results["0"], Generation)
    assert isinstance(refused, Failure)
    assert "the model's 512 positions" in refused.message


@pytest.mark.parametrize("content", ["\ud800", "boom"])
def test_messages_that_cannot_be_rendered_are_refused(copies: Path, content: str) -> None:
    """A lone surrogate and a template's own exception fail one case, as text that can be written anywhere."""
    refusing = "{% if messages[0].content == 'boom' %}{{ raise_exception('no booms') }}{% endif %}"
    (copies / "base" / "chat_template.jinja").write_text(refusing + CHATML)
    request = Request(key="odd", max_tokens=4, messages=(Message("user", content),))

    results = dict(engine_for(copies / "adapter").generate([request, *ask(["Hi"])]))

    refused = results["odd"]
    assert isinstance(refused, Failure)
    assert refused.kind == "refused"
    refused.message.encode()
    assert isinstance(results["0"], Generation)


def test_unfinite_logits_are_a_failure_not_an_answer(copies: Path) -> None:
    """Damaged weights do not come back as text."""
    from safetensors.torch import load_file, save_file

    file = copies / "adapter" / "adapter_model.safetensors"
    weights = load_file(file)
    weights[next(name for name in weights if "lora_B" in name)][0, 0] = float("nan")
    save_file(weights, file)

    result = dict(engine_for(copies / "adapter").generate(ask(["Hi"])))["0"]

    assert isinstance(result, Failure)
    assert "not finite" in result.message


def test_batching_is_given_up_where_it_changes_tokens(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that gives other tokens than one-by-one decoding is found at the start, and the tokens stay right."""
    expected = [one.token_ids for one in answers(engine_for(folders / "adapter", batch_size=1), ask(TEXTS))]
    forward: Callable[..., Any] = LoadedModel.forward

    def broken(model: LoadedModel, ids: Any, mask: Any, *others: Any) -> Any:
        """Look at the padding too, as a batch without an attention mask does."""
        return forward(model, ids, torch.ones_like(mask), *others)

    monkeypatch.setattr(LoadedModel, "forward", broken)
    engine = engine_for(folders / "adapter", batch_size=4)

    found = [one.token_ids for one in answers(engine, ask(TEXTS))]

    assert "one by one: batched decoding gave other tokens on" in str(engine.describe().facts["batching"])
    assert expected == found


def test_describe_is_made_of_primitives(folders: Path) -> None:
    """What is told about the target can be sent and written, and unpickled without torch."""
    info = engine_for(folders / "adapter").describe()

    assert transformers.__version__ == info.version
    assert info.facts["adapter"]["lora_alpha"] == 8
    assert info.facts["stop_tokens"] == ["<|endoftext|>", "<|im_end|>"]
    assert json.loads(json.dumps(info.to_json())) == info.to_json()
    assert b"torch_version" not in pickle.dumps(info)
    assert (engine_for(folders / "adapter").peak_rss_bytes() or 0) > 50_000_000


def test_nothing_is_fetched(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading and generating opens no connection."""

    def refuse(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert answers(engine_for(folders / "adapter"), ask(["Hi"]))


def test_close_twice(folders: Path) -> None:
    """Closing is harmless at any time."""
    engine = engine_for(folders / "adapter")
    engine.close()
    engine.describe()
    engine.close()
    engine.close()


# What must not start


def edit_adapter_config(folder: Path, **changes: object) -> None:
    """Change values of ``adapter_config.json``."""
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_weights(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the tensors of a safetensors file."""
    from safetensors.torch import load_file, save_file

    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def test_base_that_is_not_local(copies: Path) -> None:
    """A hub name is not downloaded; the message says what to add."""
    edit_adapter_config(copies / "adapter", base_model_name_or_path="Qwen/Qwen2.5-0.5B-Instruct")

    message = start_error(engine_for(copies / "adapter"))

    assert "'Qwen/Qwen2.5-0.5B-Instruct' is not a local model folder" in message
    assert message.endswith("add ,base=DIR")
    assert answers(engine_for(copies / "adapter", base=copies / "base"), ask(["Hi"]))


def test_given_base_that_is_no_model(copies: Path) -> None:
    """A wrong base= is named, and the adapter's own is not taken instead."""
    assert "is not a model folder" in start_error(engine_for(copies / "adapter", base=copies / "nowhere"))


def test_base_that_is_an_adapter(copies: Path) -> None:
    """A base with an adapter in it would be changed by transformers without a word."""
    shutil.copy(copies / "adapter" / "adapter_config.json", copies / "base")

    assert "is an adapter itself" in start_error(engine_for(copies / "adapter"))


@pytest.mark.parametrize(("folder", "file"), [("base", "pytorch_model.bin"), ("adapter", "adapter_model.bin")])
def test_pickled_weights(copies: Path, folder: str, file: str) -> None:
    """Weights that can run code are refused."""
    for weights in (copies / folder).glob("*.safetensors"):
        weights.rename(copies / folder / file)

    assert f"only pickled weights ({file})" in start_error(engine_for(copies / "adapter"))


def test_no_weights(copies: Path) -> None:
    """A folder with a config alone is no model."""
    (copies / "base" / "model.safetensors").unlink()

    assert "no weights" in start_error(engine_for(copies / "base"))


def test_truncated_weights(copies: Path) -> None:
    """A partial file is one line, not a traceback."""
    file = copies / "base" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])

    assert "cannot be loaded: SafetensorError" in start_error(engine_for(copies / "base"))


def test_quantised_base(copies: Path) -> None:
    """A 4-bit base is no reference."""
    file = copies / "base" / "config.json"
    quantization = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    file.write_text(json.dumps(json.loads(file.read_text()) | quantization))

    assert "the weights are quantised (bitsandbytes)" in start_error(engine_for(copies / "adapter"))


def test_quantisation_that_is_no_object(copies: Path) -> None:
    """A quantization_config of another kind is refused in one line too."""
    file = copies / "base" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": "int4"}))

    assert "the weights are quantised ('int4')" in start_error(engine_for(copies / "adapter"))


def test_base_name_that_is_no_text(copies: Path) -> None:
    """An adapter whose base is not a name is refused in one line."""
    edit_adapter_config(copies / "adapter", base_model_name_or_path=["../base"])

    message = "adapter_config.json: base_model_name_or_path must be text, got ['../base']"
    assert start_error(engine_for(copies / "adapter")).endswith(message)


@pytest.mark.parametrize("method", ["is_file", "glob"])
def test_files_that_cannot_be_read(copies: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """What the file system refuses is one line."""

    def refuse(path: Path, *_: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, method, refuse)

    with pytest.raises(EngineStartError, match=rf"^{copies}/.*: cannot be read: Permission denied$"):
        find_files(copies / "adapter", None)


def test_zero_lora_b(copies: Path) -> None:
    """An adapter that changes nothing is not the fine-tuned model."""
    edit_weights(
        copies / "adapter" / "adapter_model.safetensors",
        lambda weights: {name: weight * 0 if "lora_B" in name else weight for name, weight in weights.items()},
    )

    assert start_error(engine_for(copies / "adapter")).endswith("adapter has no effect: every lora_B is zero")


def test_missing_adapter_weights(copies: Path) -> None:
    """Weights that the configuration promises and the file lacks are an error."""
    edit_weights(
        copies / "adapter" / "adapter_model.safetensors",
        lambda weights: {name: weight for name, weight in weights.items() if "layers.0" not in name},
    )

    assert "the adapter's weights lack" in start_error(engine_for(copies / "adapter"))


def test_unexpected_adapter_weights(copies: Path) -> None:
    """Weights that find no place are an error, although peft drops them silently."""
    edit_weights(
        copies / "adapter" / "adapter_model.safetensors",
        lambda weights: weights | {next(iter(weights)).replace("layers.0", "layers.7"): torch.ones(4, 32)},
    )

    assert "do not fit the base: base_model.model.model.layers.7" in start_error(engine_for(copies / "adapter"))


def test_missing_model_weights(copies: Path) -> None:
    """A layer that transformers would fill with random numbers is an error."""
    edit_weights(
        copies / "base" / "model.safetensors",
        lambda weights: {name: weight for name, weight in weights.items() if "layers.1.mlp" not in name},
    )

    assert "the weights lack model.layers.1.mlp.down_proj.weight and 2 more" in start_error(engine_for(copies / "base"))


def test_adapter_of_another_shape(copies: Path) -> None:
    """A base of another size is one line."""
    edit_adapter_config(copies / "adapter", r=8)

    assert "cannot be loaded: RuntimeError" in start_error(engine_for(copies / "adapter"))


def test_prompt_tuning_adapter(copies: Path) -> None:
    """An adapter that is not part of the layers would be lost."""
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2, base_model_name_or_path="../base")
    config.save_pretrained(copies / "adapter")

    assert "PROMPT_TUNING adapters are not supported" in start_error(engine_for(copies / "adapter"))


def test_no_chat_template(copies: Path) -> None:
    """Without a template there is no agreed way to render a case."""
    (copies / "base" / "chat_template.jinja").unlink()

    assert "no chat template" in start_error(engine_for(copies / "adapter"))


def test_tokenizer_larger_than_the_embedding(copies: Path) -> None:
    """Tokens without an embedding row would be an index error in the middle of a run."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(copies / "base")
    tokenizer.add_tokens(["<|new|>"])
    tokenizer.save_pretrained(copies / "adapter")

    assert "the model's embedding only" in start_error(engine_for(copies / "adapter"))


# Which files count


def test_adapters_own_tokenizer_and_template_win(copies: Path) -> None:
    """They lie where training saved them; the base's may be another."""
    own = CHATML.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>own\n{% endif %}")
    alone, with_tokenizer, without_template = (
        Path(shutil.copytree(copies / "adapter", copies / name)) for name in ("alone", "with", "without")
    )
    (alone / "chat_template.jinja").write_text(own)
    tokenizer = transformers.AutoTokenizer.from_pretrained(copies / "base")
    tokenizer.chat_template = own
    tokenizer.save_pretrained(with_tokenizer)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(without_template)

    rendered = {}
    for folder in (copies / "adapter", alone, with_tokenizer, without_template):
        model = engine_for(folder)._load()
        rendered[folder.name] = model.tokenizer.decode(model.tokenise([Message("user", "Hi")]))[-6:]

    assert {"adapter": "stant\n", "alone": "t|>own\n"[-6:], "with": "t|>own\n"[-6:], "without": "stant\n"} == rendered


def test_resolve_base(copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The given base wins; else the adapter's, seen from its folder or the current one; a hub name is None."""
    adapter = copies / "adapter"
    assert resolve_base(adapter, None) == adapter / "../base"
    assert resolve_base(adapter, copies / "base") == copies / "base"
    assert resolve_base(adapter, copies / "nowhere") is None
    edit_adapter_config(adapter, base_model_name_or_path="models/base")
    assert resolve_base(adapter, None) is None
    monkeypatch.chdir(copies.parent)
    assert resolve_base(adapter, None) == copies / "base"
    edit_adapter_config(adapter, base_model_name_or_path=None)
    assert resolve_base(adapter, None) is None


def test_static_functions_import_no_torch(folders: Path) -> None:
    """Finding a base and naming the build is cheap."""
    program = (
        "import sys; from pathlib import Path; from pytest_modelgate.engines.adapter import build_id, resolve_base; "
        "print(build_id(), resolve_base(Path(sys.argv[1]), None)); "
        "assert not {'torch', 'transformers', 'peft', 'safetensors', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folders / "adapter"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{build_id()} {folders / 'adapter'}")
    assert f"tokenizers {metadata.version('tokenizers')}" in build_id()


def test_missing_extra(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch the message names the extra."""
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(MissingExtraError, match=r"an adapter target needs .*pip install 'pytest-modelgate\[hf\]'"):
        engine_for(folders / "adapter").describe()
