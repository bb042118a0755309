"""
Find out how many cases may be decoded together, before the first is.

Fixed conversations are decoded together and one by one. Where tokens differ, something of padding, mask, positions or
cache is wrong with this network, and a simpler way is tried: a reference that is slow is better than one that is wrong.
How far their logits differ tells how near two choices may be before arithmetic decides between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_modelgate.engines.adapter_cache import can_share
from pytest_modelgate.engines.adapter_decoding import Decoder, Job, PaddedDecoder, SharedDecoder
from pytest_modelgate.engines.adapter_model import LoadedModel
from pytest_modelgate.engines.adapter_row import Row

if TYPE_CHECKING:
    from pytest_modelgate.engines.near_ties import NearTies

__all__ = ["Batching", "choose_batching"]

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
_WRONG = 2  # the token of a probe's draft that is not right


@dataclass(slots=True)
class Batching:
    """Hold how cases are decoded together, and how near choices may be."""

    model: LoadedModel
    batch_size: int
    is_shared: bool
    ties: NearTies

    def decoder(self, on_started: Callable[[str], None], *, least_gain: int | None = None) -> Decoder:
        """Return what answers jobs; ``least_gain`` as of a :class:`SharedDecoder`, None for its own."""
        if not self.is_shared:
            return PaddedDecoder(self.model, self.batch_size, self.ties, on_started)
        decoder = SharedDecoder(self.model, self.batch_size, self.ties, on_started)
        if least_gain is not None:
            decoder.least_gain = least_gain
        return decoder


def choose_batching(model: LoadedModel, batch_size: int) -> tuple[Batching | None, str]:
    """
    Return how to decode together, None for one by one, and what to tell about it.

    ``batch_size``: the most that are decoded together.
    """
    from pytest_modelgate.engines.near_ties import NearTies

    if batch_size == 1:
        return None, "one by one, as asked"
    prompts = [model.probe(text, _PROBE_STEPS) for text in _PROBES]
    single = [model.decode([prompt], [_PROBE_STEPS], keeps_logits=True)[0] for prompt in prompts]
    n_differing = 0
    for is_shared in (True, False) if can_share(model.network, model.accepted, model.limit) else (False,):
        # Nothing is doubtful yet.
        batching = Batching(model, batch_size, is_shared, NearTies(tolerance=-1.0))
        batched = _probed(batching, prompts, single)
        n_differing = sum(one.token_ids != other.token_ids for one, other in zip(batched, single, strict=True))
        if not n_differing:
            batching.ties = NearTies()
            batching.ties.learn(_largest_difference(batched, single))
            how = "" if is_shared else " without shared prompts and drafts"
            told = f"batches of {batch_size}{how}: {len(prompts)} probes gave the same tokens batched and one by one"
            return batching, told
    return None, f"one by one: batched decoding gave other tokens on {n_differing} of {len(prompts)} probes"


def _probed(batching: Batching, prompts: Sequence[Sequence[int]], single: Sequence[Row]) -> list[Row]:
    """Decode the probes together: with a draft that is right, with one that is wrong in one place, and with none."""
    wrong = list(single[1].token_ids)
    if len(wrong) > _WRONG:
        wrong[_WRONG] = (wrong[_WRONG] + 1) % batching.model.n_vocab
    drafts = [[single[0].token_ids], [wrong], []]
    jobs = [
        Job(str(number), prompt, _PROBE_STEPS, draft, keeps_logits=True)
        for number, (prompt, draft) in enumerate(zip(prompts, drafts, strict=True))
    ]
    rows = {job.key: row for job, row in batching.decoder(lambda _: None, least_gain=1).run(jobs)}
    return [rows[job.key] for job in jobs]


def _largest_difference(batched: Sequence[Row], single: Sequence[Row]) -> float:
    """Return by how much the logits of the same tokens differ at most; what is infinite in both does not."""
    largest = 0.0
    for one, other in zip(batched, single, strict=True):
        for mine, its in zip(one.logits or (), other.logits or (), strict=True):
            found = float((mine - its).abs().nan_to_num(0.0, posinf=float("inf")).max())
            largest = max(largest, found)
    return largest
