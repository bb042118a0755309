"""
Run a PEFT adapter on its base, or a merged or plain Hugging Face folder, with transformers.

torch, transformers and peft are imported here (and in :mod:`~pytest_modelgate.engines.adapter_model`) alone, and only
when a target is loaded.
"""

from __future__ import annotations

import inspect
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from pytest_modelgate.engines import EngineSettings, Result, host
from pytest_modelgate.engines.adapter_batching import Batching, choose_batching
from pytest_modelgate.engines.adapter_decoding import Job
from pytest_modelgate.engines.adapter_files import (
    ModelFiles,
    build_id,
    find_files,
    missing_extra,
    read_template,
    resolve_base,
)
from pytest_modelgate.engines.adapter_model import LoadedModel, Prompt, first_line
from pytest_modelgate.engines.memory import check_folder
from pytest_modelgate.engines.prefix_tree import shared_length
from pytest_modelgate.errors import EngineStartError
from pytest_modelgate.records import EngineInfo, Failure, Generation, Json, Request

if TYPE_CHECKING:
    from pytest_modelgate.engines.sampling import Chooser

__all__ = ["AdapterEngine", "build_id", "resolve_base"]

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
    Decode with transformers, many cases together where that gives what one-by-one decoding gives.

    The target is loaded by the first :meth:`describe` or :meth:`generate`. With a ``batch_size`` of 1, and for a single
    request, decoding is deployment's: one token at a time, nothing beside it. Otherwise prompts share what they begin
    with, and drafts are verified; an answer with a choice too near to another is given again as in deployment. So
    results come in another order than the requests. A generation's times are seconds from the moment it was taken up:
    cases wait for what is computed beside them. ``on_started`` is called with the key of each request that is taken up.
    """

    def __init__(self, path: Path, base: Path | None, settings: EngineSettings) -> None:
        self.on_started: Callable[[str], None] = _ignore
        self._path = path
        self._base = base
        self._settings = settings
        self._model: LoadedModel | None = None
        self._batching: Batching | None = None
        self._facts: Json = {}
        self._counts: Counter[str] = Counter()

    def describe(self) -> EngineInfo:
        """Say what was loaded and how it is run."""
        self._load()
        facts = self._facts | self._decoding_facts()
        return EngineInfo("transformers", facts["transformers"], self._settings.to_json(), facts)

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Yield refusals first, then results as they are ready."""
        model = self._load()
        ready: dict[str, tuple[Request, Prompt]] = {}
        for request in requests:
            prompt = model.encode(request)
            if request.generation is not None and request.generation.grammar is not None:
                yield request.key, Failure("refused", "a grammar is not supported for transformers; give a GGUF")
            elif isinstance(prompt, Failure):
                yield request.key, prompt
            else:
                ready[request.key] = request, prompt
        if self._batching is None or len(ready) == 1:
            for request, prompt in ready.values():
                self.on_started(request.key)
                yield request.key, _alone(model, request, prompt)
        else:
            yield from self._together(model, self._batching, ready)

    def peak_rss_bytes(self) -> int | None:
        """Return the largest resident memory of this process."""
        return host.peak_rss_bytes()

    def close(self) -> None:
        """Forget the model."""
        self._model = self._batching = None

    def _together(
        self, model: LoadedModel, batching: Batching, ready: Mapping[str, tuple[Request, Prompt]]
    ) -> Iterator[Result]:
        """Run requests together, and alone where they are doubtful."""
        jobs = [
            Job(
                request.key,
                prompt.ids,
                request.max_tokens,
                [model.draft(text) for text in request.all_drafts],
                _chooser(request),
            )
            for request, prompt in ready.values()
        ]
        decoder = batching.decoder(self.on_started)
        for job, row in decoder.run(jobs):
            request, prompt = ready[job.key]
            self._counts["answers"] += 1
            if row.finish_reason is not None and not row.is_doubtful:
                self._counts["generated"] += len(row.token_ids)
                yield job.key, model.result(prompt, row)
                continue
            self._counts["near_ties"] += 1
            result = _alone(model, request, prompt)
            if isinstance(result, Generation):
                same = shared_length(row.token_ids, result.token_ids)
                batching.ties.compare(row.margins[:same], result.margins[:same])
                result = replace(result, near_tie=True)
            yield job.key, result
        self._counts.update(asdict(decoder.counts))

    def _load(self) -> LoadedModel:
        """Load the target once."""
        if self._model is None:
            started = time.perf_counter()
            files = find_files(self._path, self._base)
            check_folder(files.model, files.adapter, self._settings)
            model, self._facts = load_model(files, self._settings)
            self._facts["load_s"] = round(time.perf_counter() - started, 3)
            self._batching, self._facts["batching"] = choose_batching(model, self._settings.batch_size)
            self._model = model
        return self._model

    def _decoding_facts(self) -> Json:
        """Say how decoding together went, as far as there was any."""
        counts, batching = self._counts, self._batching
        if batching is None or not counts["answers"]:
            return {}
        return {
            "decoding": {
                "largest_logit_difference": round(batching.ties.difference, 7),
                "near_tie_tolerance": round(batching.ties.tolerance, 7),
                **{name: counts[name] for name in ("answers", "near_ties", "passes", "computed", "generated")},
                "draft_tokens": counts["proposed"],
                "draft_tokens_accepted": counts["accepted"],
            }
        }


def _alone(model: LoadedModel, request: Request, prompt: Prompt) -> Generation | Failure:
    """Run one request as in deployment."""
    (row,) = model.decode([prompt.ids], [request.max_tokens], [_chooser(request)])
    return model.result(prompt, row)


def _chooser(request: Request) -> Chooser | None:
    """Return what chooses the tokens of an answer, None for greedily."""
    from pytest_modelgate.engines.sampling import Chooser

    return None if request.generation is None else Chooser(request.generation, request.key)


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
        end_id=tokenizer.eos_token_id if (end := turn_end_id(tokenizer)) is None else end,
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
    end = turn_end_id(tokenizer)
    found = set() if end is None else {end}
    for value in (
        getattr(generation_config, "eos_token_id", None),
        getattr(config, "eos_token_id", None),
        tokenizer.eos_token_id,
    ):
        found.update(value if isinstance(value, list) else [] if value is None else [value])
    return frozenset(found)


def turn_end_id(tokenizer: Any) -> int | None:
    """Return the control token that the chat template writes after an answer, None where it writes none."""
    mark = "modelgate-answer"
    try:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": mark}], tokenize=False
        )
    except (TemplateError, TypeError, ValueError):
        return None
    after_answer = tokenizer(text.rpartition(mark)[2], add_special_tokens=False)["input_ids"] if mark in text else []
    return next((token for token in after_answer if token in tokenizer.added_tokens_decoder), None)


def _some(names: Collection[str]) -> str:
    """Name one of many keys."""
    first, *others = sorted(names)
    return f"{first} and {len(others)} more" if others else first


def _ignore(_key: str) -> None:
    """Do nothing about a request that is started."""
