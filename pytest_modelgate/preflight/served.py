"""
Compare how many tokens a server makes of a prompt with what the model's own template and tokenizer give.

A server shows no tokens of a prompt, but it counts them, and another template, a missing or a second BOS, a dropped system
turn or a prompt that was cut all change the count. The other way round is no proof: equal counts are not equal tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_modelgate.engines import Engine
from pytest_modelgate.engines.probe import Encoded, Probe, TokenizerFacts
from pytest_modelgate.preflight.check import Finding
from pytest_modelgate.records import Failure, Message, Request

__all__ = ["NAME", "N_CASES", "Difference", "check_served_prompts", "prompt_token_difference", "served_prompt_tokens"]

NAME = "served_prompt_tokens"
N_CASES = 20
"""So many prompts are sent, spread over all lengths, the shortest and the longest among them; each is answered with one token."""

_SHOWN = 3

Prompts = Mapping[str, Sequence[Message]]


@dataclass(frozen=True, slots=True)
class Difference:
    """
    Hold the prompts of which a server makes another number of tokens.

    ``counts``: the server's and our own count by key, those that differ alone; ``cause``: the one change of the prompts
    that explains every count, the equal ones too, with its failure mode; None where no known one does.
    """

    counts: Mapping[str, tuple[int, int]]
    mode: str = "F01"
    cause: str | None = None


def check_served_prompts(engine: Engine, probe: Probe, prompts: Prompts, n_cases: int = N_CASES) -> Finding:
    """
    Ask ``engine``, which must not stream, for one token after each of ``n_cases`` prompts, and compare the prompts' tokens.

    ``probe``: of what the served model was made from. Raises :class:`~pytest_modelgate.errors.EngineError` where the server
    is gone. What the server refuses to run, or cannot count, is not green.
    """
    chosen = choose(prompts, n_cases)
    own = dict(zip(chosen, probe.encode(list(chosen.values())), strict=True))
    if refused := {key: encoded.error for key, encoded in own.items() if encoded.error is not None}:
        key, error = next(iter(refused.items()))
        return Finding("failed", f"{key}: the model's own template does not render it: {error}")
    served, failed = served_prompt_tokens(engine, chosen)
    if failed:
        key, failure = next(iter(failed.items()))
        more = "" if len(failed) == 1 else f" (and {len(failed) - 1} more)"
        return Finding("failed", f"{key}: the server does not run it: {failure.message}{more}")
    if not any(served.values()):
        return Finding("not checked", "the server does not tell how many tokens a prompt has (usage.prompt_tokens)")
    figures = {"prompts": float(len(chosen))}
    found = prompt_token_difference(chosen, served, own, probe)
    if found is None:
        total = sum(served.values())
        reason = f"{len(chosen)} prompts have as many tokens served as by the model's own template, {total} in all"
        return Finding(
            "passed", reason, ("only counts can be compared: a server does not show tokens",), figures=figures
        )
    (key, (theirs, ours)), *_ = found.counts.items()
    likely = f"; likely {found.cause}" if found.cause else ""
    return Finding(
        "failed",
        f"{key}: the server makes {_tokens(theirs)} of the prompt, the model's own template {ours}{likely}",
        tuple(_lines(found, chosen, own)),
        mode=found.mode,
        figures=figures | {"different": float(len(found.counts))},
    )


def choose(prompts: Prompts, n_cases: int) -> dict[str, Sequence[Message]]:
    """Return ``n_cases`` prompts, evenly spaced by length from the shortest to the longest."""
    ordered = sorted(prompts, key=lambda key: (sum(len(message.content) for message in prompts[key]), key))
    last = len(ordered) - 1
    places = range(len(ordered)) if len(ordered) <= n_cases else (i * last // (n_cases - 1) for i in range(n_cases))
    return {ordered[place]: prompts[ordered[place]] for place in places}


def served_prompt_tokens(engine: Engine, prompts: Prompts) -> tuple[dict[str, int], dict[str, Failure]]:
    """Return how many tokens the server counts in each prompt, 0 where it does not tell, and what it did not run."""
    requests = [Request(key, 1, tuple(messages)) for key, messages in prompts.items()]
    served, failed = {}, {}
    for key, result in engine.generate(requests):
        if isinstance(result, Failure):
            failed[key] = result
        else:
            served[key] = result.prompt_tokens
    ordered = {key: served[key] for key in prompts if key in served}
    return ordered, {key: failed[key] for key in prompts if key in failed}


def prompt_token_difference(
    prompts: Prompts, served: Mapping[str, int], own: Mapping[str, Encoded], probe: Probe
) -> Difference | None:
    """
    Return where the server's counts differ from ``own``, what the probe made of the prompts, and the likely cause.

    None where no count differs.
    """
    counts = {key: (served[key], len(own[key].ids)) for key in prompts if served[key] != len(own[key].ids)}
    if not counts:
        return None
    for mode, cause, expected in _explanations(prompts, served, own, probe):
        if expected == served:
            return Difference(counts, mode, cause)
    return Difference(counts)


def _explanations(
    prompts: Prompts, served: Mapping[str, int], own: Mapping[str, Encoded], probe: Probe
) -> Iterator[tuple[str, str, Mapping[str, int]]]:
    """Yield failure mode, cause, and the counts that the server would have by it."""
    facts = probe.facts()
    ours = {key: len(encoded.ids) for key, encoded in own.items()}
    for mode, cause, change in _CHANGES:
        changed = {key: change(messages) for key, messages in prompts.items()}
        if any(changed[key] != tuple(prompts[key]) for key in prompts):
            yield mode, cause, _counts(probe, changed)
    yield (
        "F01",
        "the prompt does not end with the beginning of the answer's turn (add_generation_prompt)",
        _counts(probe, prompts, add_generation_prompt=False),
    )
    if all(_has_bos(encoded, facts) for encoded in own.values()):
        yield "F03", "it puts no BOS in front", {key: count - 1 for key, count in ours.items()}
        yield "F03", "it puts a second BOS in front", {key: count + 1 for key, count in ours.items()}
    elif facts.bos_id is not None:
        yield (
            "F03",
            "it puts a BOS in front, which the template does not write",
            {key: count + 1 for key, count in ours.items()},
        )
    most = max(served.values())
    cut = [key for key, count in ours.items() if count > most]
    if 1 < len(cut) < len(ours):  # one alone may as well have another cause
        yield (
            "F18",
            f"it cuts prompts at {most} tokens: its context is too short",
            {key: min(count, most) for key, count in ours.items()},
        )


def _counts(probe: Probe, prompts: Prompts, *, add_generation_prompt: bool = True) -> dict[str, int]:
    """Return how many tokens prompts have; -1, which no server counts, for one that cannot be rendered."""
    found = probe.encode(list(prompts.values()), add_generation_prompt=add_generation_prompt)
    return {key: len(encoded.ids) if encoded.error is None else -1 for key, encoded in zip(prompts, found, strict=True)}


def _has_bos(encoded: Encoded, facts: TokenizerFacts) -> bool:
    return facts.bos_id is not None and encoded.ids[:1] == (facts.bos_id,)


def _with_empty_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    has_system = any(message.role == "system" for message in messages)
    return tuple(messages) if has_system else (Message("system", ""), *messages)


def _without_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(message for message in messages if message.role != "system")


def _with_merged_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages with the system text at the beginning of the first user turn."""
    others = _without_system(messages)
    system = next((message.content for message in messages if message.role == "system"), None)
    if system is None or not others:
        return tuple(messages)
    return (replace(others[0], content=f"{system}\n\n{others[0].content}"), *others[1:])


def _stripped(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(replace(message, content=message.content.strip()) for message in messages)


_CHANGES: tuple[tuple[str, str, Callable[[Sequence[Message]], tuple[Message, ...]]], ...] = (
    ("F05", "it puts an empty system turn before a conversation that has none", _with_empty_system),
    ("F05", "it drops the system turn", _without_system),
    ("F05", "it puts the system text into the user's turn", _with_merged_system),
    ("F01", "it cuts white space off the ends of texts", _stripped),
)


def _lines(found: Difference, prompts: Prompts, own: Mapping[str, Encoded]) -> Iterator[str]:
    """Yield the first differing counts, and the prompt as we render it, for the first of them."""
    for key, (theirs, ours) in list(found.counts.items())[:_SHOWN]:
        yield f"{key}: served {theirs}, own {ours} ({theirs - ours:+d})"
    if len(found.counts) > _SHOWN:
        yield f"and {len(found.counts) - _SHOWN} more of {len(prompts)}"
    first = next(iter(found.counts))
    yield f"our own prompt of {first}: {own[first].text[:400]!r}"


def _tokens(count: int) -> str:
    return "1 token" if count == 1 else f"{count} tokens"
