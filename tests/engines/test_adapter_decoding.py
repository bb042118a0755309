"""Decoding together, with shared prompts and verified drafts, gives what decoding alone gives; on the real tiny candidate."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_modelgate.engines import EngineSettings
from pytest_modelgate.engines.adapter import AdapterEngine
from pytest_modelgate.engines.adapter_batching import choose_batching
from pytest_modelgate.engines.adapter_cache import RowCache, can_share
from pytest_modelgate.records import GenerationSettings, Message, Request
from tests.engines.conftest import answered

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# peft 0.21 asks transformers 5.23 for it.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "support"
SYSTEM = (ROOT / "golden" / "support.system.txt").read_text(encoding="utf-8")


def engine_of(batch_size: int) -> AdapterEngine:
    """Return an engine on one thread."""
    return AdapterEngine(FOLDER / "adapter", FOLDER / "base", EngineSettings(n_threads=1, batch_size=batch_size))


@pytest.fixture(scope="module")
def engine() -> Iterator[AdapterEngine]:
    """Give the real tiny candidate, five cases together."""
    made = engine_of(5)
    yield made
    made.close()


@pytest.fixture(scope="module")
def alone() -> dict[str, tuple[int, ...]]:
    """Give what one-by-one decoding answers to :func:`cases`."""
    made = engine_of(1)
    return {key: answered(result).token_ids for key, result in made.generate(cases())}


def cases() -> list[Request]:
    """Return a sample of the support task's cases, with the expected answers as drafts, and one without a system prompt."""
    lines = [
        json.loads(line)
        for suite in ("golden", "heldout")
        for line in (ROOT / suite / "support.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    requests = [
        Request(
            line["id"],
            48,
            messages=(Message("system", SYSTEM), Message("user", line["input"])),
            draft=json.dumps(line["expected"]),
        )
        for line in lines[::39]
    ]
    return [*requests, Request("bare", 20, messages=(Message("user", "Hi"),))]


def tokens(engine: AdapterEngine, requests: Sequence[Request]) -> dict[str, tuple[int, ...]]:
    """Return the tokens of each answer."""
    return {key: answered(result).token_ids for key, result in engine.generate(requests)}


def counts(engine: AdapterEngine) -> defaultdict[str, Any]:
    """Return how decoding together went so far."""
    return defaultdict(int, engine.describe().facts.get("decoding", {}))


def with_drafts(what: str) -> list[Request]:
    """Return the cases with drafts of one kind."""
    drafts = [request.draft or "" for request in cases()]
    made = {
        "right": drafts,
        "none": [""] * len(drafts),
        "exchanged": [*drafts[1:], drafts[0]],
        "broken": [draft.replace(": ", ":  ", 1).replace("e", "é", 2) for draft in drafts],
        "nonsense": ["\ud800", "]" * 60, "\0", " ", "{", "<|im_end|>" * 3, *drafts[6:]],
    }[what]
    return [replace(request, draft=draft) for request, draft in zip(cases(), made, strict=True)]


@pytest.mark.parametrize("what", ["right", "none", "exchanged", "broken", "nonsense"])
def test_drafts_change_no_token(engine: AdapterEngine, alone: dict[str, tuple[int, ...]], what: str) -> None:
    """Whatever a draft says, the answer is that of one-by-one decoding."""
    assert tokens(engine, with_drafts(what)) == alone


def test_right_drafts_save_passes(engine: AdapterEngine) -> None:
    """Right drafts take fewer passes through the network; exchanged ones still fewer than none."""
    passes = {}
    for what in ("none", "exchanged", "right"):
        before = counts(engine)["passes"]
        tokens(engine, with_drafts(what))
        passes[what] = counts(engine)["passes"] - before
    assert passes["right"] < passes["exchanged"] < passes["none"]
    assert passes["none"] > 2 * passes["right"]


def test_what_prompts_begin_with_is_computed_once(engine: AdapterEngine) -> None:
    """Of prompts that share 100 tokens, 105 go through the network: what is shared, and each one's own."""
    requests = [Request(str(own), 1, prompt_ids=(*range(10, 110), own)) for own in range(200, 205)]
    before = counts(engine)["computed"]
    results = [answered(result) for _, result in engine.generate(requests)]
    assert [result.prompt_tokens for result in results] == [101] * 5
    assert counts(engine)["computed"] - before == 105


def test_logprobs_and_margins_are_those_of_decoding_alone(engine: AdapterEngine) -> None:
    """Verified tokens have the log-probabilities and margins of the logits that chose them."""
    (request,) = cases()[:1]
    (single,) = (answered(result) for _, result in engine.generate([request]))
    together = answered(dict(engine.generate(cases()))[request.key])
    assert together.logprobs == pytest.approx(single.logprobs, abs=1e-4)
    assert together.margins == pytest.approx(single.margins, abs=1e-3)
    assert together.ends == single.ends
    assert (together.finish_reason, together.text) == (single.finish_reason, single.text)


def test_near_ties_are_decided_alone(alone: dict[str, tuple[int, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice nearer than the tolerance is not taken from a batch: the answer is given again alone, and says so."""
    engine = engine_of(5)
    engine._load()
    assert engine._batching is not None
    free = dict(engine.generate(cases()))
    lowest = {key: min(answered(result).margins) for key, result in free.items()}
    assert not any(answered(result).near_tie for result in free.values())
    # Between the fourth and the fifth: sums of another batch may differ in their last digit.
    engine._batching.ties.tolerance = sum(sorted(lowest.values())[3:5]) / 2
    decode, prompts = type(engine._load()).decode, []

    def watched(model: Any, asked: Any, *others: Any) -> Any:
        """Count what is decoded alone."""
        prompts.append(asked)
        return decode(model, asked, *others)

    monkeypatch.setattr(type(engine._load()), "decode", watched)
    found = dict(engine.generate(cases()))
    near = {key for key, result in found.items() if answered(result).near_tie}
    assert near == {key for key, margin in lowest.items() if margin <= engine._batching.ties.tolerance}
    assert [len(asked) for asked in prompts] == [1] * len(near)
    assert {key: answered(result).token_ids for key, result in found.items()} == alone


def test_a_draft_has_no_say_where_tokens_are_drawn(engine: AdapterEngine) -> None:
    """With a temperature no draft is tried, and answers are those without one."""
    drawn = GenerationSettings(temperature=0.8, top_p=0.9, seed=5)
    before = counts(engine)["draft_tokens"]
    requests = [replace(request, generation=drawn) for request in cases()]
    found = tokens(engine, requests)
    assert counts(engine)["draft_tokens"] == before
    assert found == tokens(engine, [replace(request, draft=None) for request in requests])


def test_one_request_is_decoded_as_deployed(engine: AdapterEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single request takes one token after the other: its times are deployment's."""
    widths = []
    model = engine._load()
    forward = type(model).forward

    def watched(model: Any, ids: Any, *others: Any) -> Any:
        """Note how many tokens go through at once."""
        widths.append(ids.shape)
        return forward(model, ids, *others)

    monkeypatch.setattr(type(model), "forward", watched)
    (request,) = cases()[:1]
    (result,) = (answered(result) for _, result in engine.generate([request]))
    assert widths == [(1, result.prompt_tokens), *[(1, 1)] * (result.output_tokens - 1)]


def tiny(kind: str) -> Any:
    """Return a random network of another family."""
    sizes: dict[str, Any] = {
        "vocab_size": 2000,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 4096,
        "initializer_range": 0.3,
    }
    torch.manual_seed(1)
    made = {
        "llama": lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes)),
        "wide window": lambda: transformers.MistralForCausalLM(
            transformers.MistralConfig(**sizes, sliding_window=4096)
        ),
        "narrow window": lambda: transformers.MistralForCausalLM(
            transformers.MistralConfig(**sizes, sliding_window=48)
        ),
        "gemma": lambda: transformers.Gemma3ForCausalLM(
            transformers.Gemma3TextConfig(
                **sizes, sliding_window=32, layer_types=["sliding_attention", "full_attention"]
            )
        ),
    }
    return made[kind]().eval()


@pytest.mark.parametrize(
    ("kind", "is_shared"), [("llama", True), ("wide window", True), ("narrow window", False), ("gemma", False)]
)
def test_other_families(kind: str, *, is_shared: bool) -> None:
    """A family whose cache looks back over a narrow window is batched without sharing; all answer as they do alone."""
    engine = engine_of(4)
    engine._model = replace(engine._load(), network=tiny(kind), stop_ids=frozenset())
    engine._batching, told = choose_batching(engine._model, 4)
    assert engine._batching is not None, told
    assert engine._batching.is_shared == is_shared == ("without" not in told)
    requests = [replace(request, max_tokens=12) for request in cases()]
    expected = {request.key: tokens(engine, [request])[request.key] for request in requests}
    assert tokens(engine, requests) == expected
    with_right = [replace(one, draft=engine._model.tokenizer.decode(expected[one.key])) for one in requests]
    assert tokens(engine, with_right) == expected


def test_networks_that_cannot_share() -> None:
    """Without positions, or with a state in place of keys and values, nothing is shared."""
    network = tiny("llama")
    assert can_share(network, frozenset({"position_ids"}), 512)
    assert not can_share(network, frozenset(), 512)
    mamba = transformers.MambaForCausalLM(
        transformers.MambaConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, state_size=4)
    )
    assert not can_share(mamba, frozenset({"position_ids"}), 512)


def test_rows_keep_what_they_use() -> None:
    """Dropping rows and unused slots leaves every row its own keys in their order."""
    cache = transformers.DynamicCache()
    slots = 80
    keys = torch.arange(3 * slots, dtype=torch.float32).reshape(3, 1, slots, 1).repeat(1, 2, 1, 4)
    cache.update(keys, -keys, 0)
    mask = torch.zeros((3, slots), dtype=torch.long)
    mask[0, :3] = mask[1, 70:] = mask[2, 10:14] = 1
    held = RowCache(cache, mask)
    held.keep([1, 2])
    layer = held.cache.layers[0]
    assert held.mask.tolist() == [[1] * 10, [1] * 4 + [0] * 6]
    assert layer.keys[0, 1, :, 3].tolist() == [slots + place for place in range(70, 80)]
    assert layer.values[1, 0, :4, 0].tolist() == [-2 * slots - place for place in range(10, 14)]
    other = RowCache.empty(1, "cpu")
    other.cache.update(torch.ones(1, 2, 12, 4), torch.ones(1, 2, 12, 4), 0)
    other.mask = torch.ones((1, 12), dtype=torch.long)
    held.join(other)
    assert held.mask.sum(-1).tolist() == [10, 4, 12]
    assert held.cache.layers[0].keys.shape == (3, 2, 12, 4)
    assert held.cache.layers[0].keys[1, 1, 3, 0] == 2 * slots + 13
