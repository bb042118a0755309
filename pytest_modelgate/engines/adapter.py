"""
Run a PEFT adapter on its base, or a merged or plain Hugging Face folder, with transformers.

torch, transformers and peft are imported here (and in :mod:`~pytest_modelgate.engines.adapter_model`) alone, and only
when a target is loaded.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from pytest_modelgate.engines import EngineSettings, Result, host
from pytest_modelgate.engines.adapter_files import (
    ModelFiles,
    build_id,
    find_files,
    missing_extra,
    read_template,
    resolve_base,
)
from pytest_modelgate.engines.adapter_model import LoadedModel, Prompt, first_line
from pytest_modelgate.errors import EngineStartError
from pytest_modelgate.records import EngineInfo, Failure, Json, Request

if TYPE_CHECKING:
    from pytest_modelgate.engines.sampling import Chooser

__all__ = ["AdapterEngine", "build_id", "resolve_base"]

# Of clearly different lengths, so that a fault of padding, mask or positions shows.
_PROBES = (
    "Hello!",
    "Please refund my last payment, I cancelled my plan two days before it was renewed.",
    (
        "The app closes as soon as I open the settings. I have tried it on two phones, installed it anew and restarted "
        "both of them. It worked until Monday, so I think that the last update broke it. Please tell me what to do next."
    ),
)
_PROBE_STEPS = 8

_ADAPTER_FACTS = (
    "peft_type",
    "base_model_name_or_path",
    "r",
    "lora_alpha",
    "use_rslora",
    "use_dora",
    "target_modules",
    "modules_to_save",
)


class AdapterEngine:
    """
    Decode with transformers, in batches where that gives what one-by-one decoding gives.

    The target is loaded by the first :meth:`describe` or :meth:`generate`. Cases are batched by prompt length, so
    results come in another order than the requests. A generation's times are seconds from the moment its batch was
    taken up: every case of a batch waits for the batch's prefill, and a short answer does not for a long one.
    ``on_started`` is called with the key of each request of a batch that is taken up.
    """

    def __init__(self, path: Path, base: Path | None, settings: EngineSettings) -> None:
        self.on_started: Callable[[str], None] = _ignore
        self._path = path
        self._base = base
        self._settings = settings
        self._model: LoadedModel | None = None
        self._facts: Json = {}
        self._batch_size = 1

    def describe(self) -> EngineInfo:
        """Say what was loaded and how it is run."""
        self._load()
        return EngineInfo("transformers", self._facts["transformers"], self._settings.to_json(), self._facts)

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Yield refusals first, then the results of each batch as it finishes."""
        model = self._load()
        ready: list[tuple[Request, Prompt]] = []
        for request in requests:
            prompt = model.encode(request)
            if request.generation is not None and request.generation.grammar is not None:
                yield request.key, Failure("refused", "a grammar is not supported for transformers; give a GGUF")
            elif isinstance(prompt, Failure):
                yield request.key, prompt
            else:
                ready.append((request, prompt))
        ready.sort(key=lambda pair: (len(pair[1].ids), pair[0].max_tokens))
        for start in range(0, len(ready), self._batch_size):
            batch = ready[start : start + self._batch_size]
            for request, _ in batch:
                self.on_started(request.key)
            rows = model.decode(
                [prompt.ids for _, prompt in batch],
                [request.max_tokens for request, _ in batch],
                [_chooser(request) for request, _ in batch],
            )
            for (request, prompt), row in zip(batch, rows, strict=True):
                yield request.key, model.result(prompt, row)

    def peak_rss_bytes(self) -> int | None:
        """Return the largest resident memory of this process."""
        return host.peak_rss_bytes()

    def close(self) -> None:
        """Forget the model."""
        self._model = None

    def _load(self) -> LoadedModel:
        """Load the target once."""
        if self._model is None:
            started = time.perf_counter()
            model, self._facts = load_model(find_files(self._path, self._base), self._settings)
            self._facts["load_s"] = round(time.perf_counter() - started, 3)
            self._batch_size, self._facts["batching"] = _choose_batch_size(model, self._settings.batch_size)
            self._model = model
        return self._model


def _chooser(request: Request) -> Chooser | None:
    """Return what chooses the tokens of an answer, None for greedily."""
    from pytest_modelgate.engines.sampling import Chooser

    return None if request.generation is None else Chooser(request.generation, request.key)


def _choose_batch_size(model: LoadedModel, batch_size: int) -> tuple[int, str]:
    """
    Compare batched with one-by-one decoding on fixed conversations, and give batching up where they differ.

    A reference that is slow is better than one that is wrong. Returns the batch size and what to tell about it.
    """
    if batch_size == 1:
        return 1, "one by one, as asked"
    prompts = [model.probe(text, _PROBE_STEPS) for text in _PROBES]
    steps = [_PROBE_STEPS] * len(prompts)
    batched = [row.token_ids for row in model.decode(prompts, steps)]
    single = [model.decode([prompt], [_PROBE_STEPS])[0].token_ids for prompt in prompts]
    differing = sum(one != other for one, other in zip(batched, single, strict=True))
    if differing:
        return 1, f"one by one: batched decoding gave other tokens on {differing} of {len(prompts)} probes"
    return batch_size, f"batches of {batch_size}: {len(prompts)} probes gave the same tokens batched and one by one"


def load_model(files: ModelFiles, settings: EngineSettings) -> tuple[LoadedModel, Json]:
    """Load network and tokenizer from local files; return them with what was found."""
    try:
        import peft
        import torch
        import transformers
        from safetensors import SafetensorError
    except ImportError as error:
        raise missing_extra() from error

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(settings.n_threads or host.available_threads())
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise EngineStartError("device=cuda, but torch finds no CUDA device")
    try:
        tokenizer = load_tokenizer(files)
        network = _load_network(files, settings)
        if files.adapter is not None:
            network = _apply_adapter(network, files.adapter, settings.device)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        folder = files.adapter or files.model
        raise EngineStartError(f"{folder}: cannot be loaded: {type(error).__name__}: {first_line(error)}") from error
    n_vocab = network.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > n_vocab:
        raise EngineStartError(
            f"{files.tokenizer}: the tokenizer has {len(tokenizer)} tokens, the model's embedding only {n_vocab} rows"
        )
    text_config = network.config.get_text_config()
    model = LoadedModel(
        network=network,
        tokenizer=tokenizer,
        device=settings.device,
        n_ctx=settings.n_ctx,
        max_positions=getattr(text_config, "max_position_embeddings", None),
        n_vocab=n_vocab,
        stop_ids=stop_ids(network.generation_config, network.config, tokenizer),
        accepted=frozenset(inspect.signature(network.forward).parameters),
    )
    adapter = {name: files.adapter_config[name] for name in _ADAPTER_FACTS if name in files.adapter_config}
    # str(): torch's version is a class of its own, which the deciding process could not unpickle without torch.
    return model, {
        "parameters": network.num_parameters(),
        "dtype": settings.dtype,
        "adapter": adapter or None,
        "model": str(files.model),
        "tokenizer": str(files.tokenizer),
        "stop_tokens": [tokenizer.convert_ids_to_tokens(token) for token in sorted(model.stop_ids)],
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "transformers": str(transformers.__version__),
        "peft": str(peft.__version__),
    }


def load_tokenizer(files: ModelFiles) -> Any:
    """Load the tokenizer, with the adapter's own chat template where it has one."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(files.tokenizer, local_files_only=True, trust_remote_code=False)
    own_template = read_template(files.adapter) if files.adapter is not None else None
    if own_template is not None and files.tokenizer != files.adapter:
        tokenizer.chat_template = own_template
    elif not tokenizer.chat_template:
        tokenizer.chat_template = read_template(files.model)
    if not tokenizer.chat_template:
        raise EngineStartError(f"{files.tokenizer}: no chat template (chat_template.jinja or tokenizer_config.json)")
    return tokenizer


def _load_network(files: ModelFiles, settings: EngineSettings) -> Any:
    """Load the full weights in the dtype that was asked for, and refuse weights that were made up."""
    import torch
    from transformers import AutoModelForCausalLM

    network, loading = AutoModelForCausalLM.from_pretrained(
        files.model,
        dtype=getattr(torch, settings.dtype),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    if loading["missing_keys"]:
        # transformers fills them with random numbers and goes on.
        raise EngineStartError(f"{files.model}: the weights lack {_some(loading['missing_keys'])}")
    return network.to(settings.device).eval()


def _apply_adapter(network: Any, folder: Path, device: str) -> Any:
    """Put the adapter into the network; raise where any part of it would be lost (peft only warns, or says nothing)."""
    from peft import PeftConfig, PeftModel

    config = PeftConfig.from_pretrained(str(folder), local_files_only=True)
    if config.is_prompt_learning:
        raise EngineStartError(f"{folder}: {config.peft_type.value} adapters are not supported")
    config.inference_mode = True
    model = PeftModel(network, config)
    loaded = model.load_adapter(str(folder), "default", torch_device=device, local_files_only=True)
    if loaded.missing_keys:
        raise EngineStartError(f"{folder}: the adapter's weights lack {_some(loaded.missing_keys)}")
    if loaded.unexpected_keys:
        raise EngineStartError(f"{folder}: the adapter's weights do not fit the base: {_some(loaded.unexpected_keys)}")
    lora_b = [weight for name, weight in model.named_parameters() if ".lora_B." in name]
    if lora_b and not any(weight.any() for weight in lora_b):
        raise EngineStartError(f"{folder}: adapter has no effect: every lora_B is zero")
    # The layers were changed in place: the bare network with its plain forward() has the adapter in it.
    return model.get_base_model().eval()


def stop_ids(generation_config: Any, config: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends a turn: the two configurations', the tokenizer's and the chat template's."""
    found: set[int] = set()
    for value in (
        getattr(generation_config, "eos_token_id", None),
        getattr(config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    mark = "modelgate-answer"
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": mark}], tokenize=False
        )
    except (TemplateError, TypeError, ValueError):
        return frozenset(found)
    after_answer = tokenizer(text.rpartition(mark)[2], add_special_tokens=False)["input_ids"] if mark in text else []
    control = [token for token in after_answer if token in tokenizer.added_tokens_decoder]
    return frozenset(found.union(control[:1]))


def _some(names: Collection[str]) -> str:
    """Name one of many keys."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def _ignore(_key: str) -> None:
    """Do nothing about a request that is started."""
