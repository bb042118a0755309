"""
Compare the tensors of a target, as they are stored, with what they should be; no model is run.

Of an adapter on its base every tensor can be computed: the base's, with ``scale · B·A`` added where the adapter has it. How
much of that change a file holds is a projection, <T - W, D> / <D, D> for the target's tensor T, the base's W and the
change D: 1 where the adapter was applied, 0 where it was not, another number where its scale was lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from pytest_modelgate.errors import ModelgateError
from pytest_modelgate.preflight.check import Check, Finding, Needs, Subject
from pytest_modelgate.preflight.weights_change import LowRank
from pytest_modelgate.preflight.weights_diagnosis import Judged, Weights, limit_in, off_rows
from pytest_modelgate.preflight.weights_explain import name_rows
from pytest_modelgate.preflight.weights_measure import measure
from pytest_modelgate.preflight.weights_pairs import Pair
from pytest_modelgate.preflight.weights_tensors import Floats
from pytest_modelgate.preflight.weights_types import level_of, limit_of

__all__ = ["CHECKS", "open_stage"]

_SHOWN = 8
_NEAR = 0.04
_RIGHT = {"right", "rounded"}


@contextmanager
def open_stage(subject: Subject) -> Iterator[Weights]:
    """Open what the stage's checks look at, for as long as they run."""
    yield Weights(subject)


def _finite_weights(_: Subject, weights: Weights) -> Iterator[Finding]:
    """Look for values that are no numbers and matrices of zeros; needs the file alone."""
    if weights.broken is not None:
        yield Finding("failed", weights.broken, mode="F25")
        return
    if weights.opened.unread:
        names = weights.opened.unread
        yield Finding("not checked", f"{len(names)} tensors have a type that cannot be read, the first is {names[0]}")
    known = [one for one in weights.judged if one.scan is not None]
    for one in known:
        if one.scan is not None and one.scan.bad_at is not None:
            place = f"row {one.scan.bad_at[0]}, column {one.scan.bad_at[1]}"
            yield Finding(
                "failed", f"{one.name} holds {one.scan.bad} values that are no finite numbers, the first in {place}"
            )
    if zero := [one.name for one in known if one.state == "zero"]:
        yield Finding("failed", f"{_named(zero)} {'is' if len(zero) == 1 else 'are'} all zero")
    if missing := [one.name for one in weights.judged if one.state == "missing"]:
        yield Finding("failed", f"{_named(missing)} {'is' if len(missing) == 1 else 'are'} missing from the file")
    for one in known:
        rows = one.pair.target.n_rows if one.pair.target else 0
        if one.is_matrix and one.state == "unknown" and one.scan and rows < 2 * one.scan.zero_rows < 2 * rows:
            yield Finding("warned", f"{one.scan.zero_rows} of the {rows} rows of {one.name} are all zero")
    yield Finding("passed", f"{len(known)} tensors hold finite numbers, and none of them is all zero")


def _adapter_applied(_: Subject, weights: Weights) -> Finding:
    """Say whether the adapter's change is in the file."""
    if weights.opened.untrained_lora:
        return Finding("failed", "the LoRA file changes nothing: its B or its A is all zero")
    if (reason := _without_adapter(weights)) is not None:
        return reason
    adapted = weights.adapted
    applied = [one.figures.applied for one in adapted if one.figures]
    figures = {"applied": float(np.median(applied)), "applied.min": min(applied), "applied.max": max(applied)}
    shares = f"projection {figures['applied']:.3f}"
    absent = [one.name for one in adapted if one.state == "not applied"]
    if len(absent) == len(adapted):
        return Finding(
            "failed", f"the file holds the base without the adapter: none of {len(adapted)} tensors is changed ({shares})",
            figures=figures,
        )  # fmt: skip
    if absent:
        return Finding(
            "failed",
            f"{len(absent)} of {len(adapted)} adapted tensors are the base's: {_named(absent)}",
            figures=figures,
        )
    if weights.cause is not None and weights.cause.mode == "F25":
        reason_text = f"{weights.cause.sentence} ({shares})"
        return Finding("failed", reason_text, mode="F25", figures=figures)
    unclear = [one.name for one in adapted if one.state == "off" and one.figures and not _is_near_one(one)]
    if len(unclear) * 2 > len(adapted):
        return Finding("not checked", f"it cannot be told: {weights.cause.sentence if weights.cause else shares}")
    return Finding(
        "passed", f"the adapter is in all of {len(adapted)} tensors that it changes ({shares})", figures=figures
    )


def _adapter_scale(_: Subject, weights: Weights) -> Iterator[Finding]:
    """Say whether the adapter's change has the scale that its settings give it."""
    if (reason := _without_adapter(weights)) is not None:
        yield reason
        return
    adapted = weights.adapted
    groups: dict[float, list[Judged]] = {}
    for one in (one for one in adapted if one.state == "scaled"):
        applied = one.figures.applied if one.figures else math.nan
        near = next((factor for factor in groups if abs(applied - factor) < _NEAR * max(1, abs(factor))), applied)
        groups.setdefault(near, []).append(one)
    for factor, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        yield Finding(
            "failed", f"{len(found)} of {len(adapted)} adapted tensors hold {factor:.3g} times the adapter's change"
            f"{_name_factor(factor, found[0])}: {_named([one.name for one in found], 2)}",
        )  # fmt: skip
    if rounded := [one for one in adapted if one.state == "rounded" and one.figures]:
        kept = float(np.median([one.figures.applied for one in rounded if one.figures]))
        yield Finding(
            "warned",
            f"rounding to bfloat16 at the merge left {kept:.0%} of the adapter's change in {len(rounded)} tensors: merge in "
            f"float32 and convert to F16 or F32",
            mode="F13",
        )
    scale = [one for one in adapted if one.state in _RIGHT or (one.state in {"off", "rows"} and _is_near_one(one))]
    if len(scale) < len(adapted):
        yield Finding("not checked", f"{len(adapted) - len(scale)} of {len(adapted)} tensors do not show it")
    else:
        yield Finding(
            "passed", f"the change of all {len(adapted)} tensors has the scale that the adapter's settings give it"
        )


def _base_weights(_: Subject, weights: Weights) -> Finding:
    """Say whether what the adapter does not touch is the base's."""
    if weights.opened.reason is not None:
        return Finding("not checked", weights.opened.reason)
    cause = weights.cause
    if cause is not None and cause.mode == "F14":
        return Finding("failed", cause.sentence, cause.details)
    rest = [one for one in weights.compared if not one.is_adapted and not one.pair.is_tied]
    right = [one for one in rest if one.state in _RIGHT]
    if len(right) < len(rest) and cause is not None and cause.mode == "F25":
        return Finding(
            "failed", f"{len(rest) - len(right)} of {len(rest)} tensors that the adapter does not touch differ"
        )
    if len(right) < len(rest):
        return Finding(
            "not checked", f"{len(rest) - len(right)} of {len(rest)} tensors that the adapter does not touch differ"
        )
    return Finding("passed", f"all {len(rest)} tensors that the adapter does not touch are the base's")


def _tensor_parity(_: Subject, weights: Weights) -> Finding:
    """Compare every tensor with what it should be."""
    if weights.opened.reason is not None:
        return Finding("not checked", weights.opened.reason)
    compared = weights.compared
    known = [one.figures.nmse for one in compared if one.figures is not None]
    if not known:
        return Finding("not checked", "no tensor of the file has a counterpart in the reference")
    figures = {"tensors": float(len(compared)), "nmse.max": max(known), "nmse.median": float(np.median(known))}
    cause = weights.cause
    if cause is None:
        left_out = weights.opened.unmapped
        more = (f"{len(left_out)} tensors of the reference were not compared: {_named(left_out)}",) if left_out else ()
        reason = f"{len(compared)} tensors are what they should be, up to an NMSE of {figures['nmse.max']:.2g}"
        return Finding("passed", reason, more, figures=figures)
    off = sorted((one for one in compared if one.state not in _RIGHT), key=_distance, reverse=True)
    details = [*cause.details, *(_line(one) for one in off[:_SHOWN]), *_earlier(off[0], weights)]
    return Finding("failed", cause.sentence, tuple(details), cause.mode, figures)


def _quantization_error(_: Subject, weights: Weights) -> Iterator[Finding]:
    """Compare what tensors lost with what their type loses."""
    coarse = [one for one in weights.judged if one.is_coarse]
    matrices = [one for one in weights.judged if one.scan is not None and not math.isnan(one.scan.levels)]
    if weights.opened.reason is not None:
        if len(coarse) * 2 > len(matrices):
            levels = float(np.median([one.scan.levels for one in coarse if one.scan]))
            yield Finding(
                "warned",
                f"{len(coarse)} of {len(matrices)} matrices lie on a grid of fewer bits than they are stored with ({levels:.0f} "
                f"different values among 32): quantised before, or merged into quantised weights",
            )
        yield Finding("not checked", weights.opened.reason)
        return
    if weights.cause is not None and weights.cause.mode not in {"F24", "F11", "F12", "F08", "F10"}:
        yield Finding("not checked", f"it cannot be told: {weights.cause.sentence}")
        return
    for kind, (error, limit, found) in sorted(_errors_by_type(weights.compared).items()):
        figures = {f"nmse.{kind}": error}
        told = f"{found} tensors of {kind} differ by an NMSE of {error:.2g} from what they should be"
        if limit_of(kind) is None:
            yield Finding("not checked", f"{told}; how much {kind} explains was not measured", figures=figures)
        elif error > limit:
            yield Finding(
                "failed", f"{told}, {2 * error / limit:.0f} times what {kind} was seen to give at most, and about what {level_of(error)} gives: they were "
                "quantised before", figures=figures,
            )  # fmt: skip
        elif error > limit / 2:
            yield Finding("warned", f"{told}, more than {kind} was seen to give ({limit / 2:.2g})", figures=figures)
        else:
            yield Finding("passed", f"{told}, which {kind} explains", figures=figures)


def _embedding_rows(_: Subject, weights: Weights) -> Iterator[Finding]:
    """Look for single tokens whose embedding is another."""
    if weights.opened.reason is not None:
        yield Finding("not checked", weights.opened.reason)
        return
    embeddings = [one for one in weights.compared if one.is_embedding and not one.pair.is_tied]
    for one in embeddings:
        if one.state == "rows":
            yield _differing_tokens(one, weights)
        elif one.state in _RIGHT and one.figures is not None and one.figures.extra_rows < 0:
            yield Finding("warned", f"{one.name} has {-one.figures.extra_rows} rows fewer than the reference's")
        elif one.state in _RIGHT:
            yield Finding("passed", f"every token's row of {one.name} is what it should be")
        else:
            yield Finding("not checked", f"{one.name} differs as a whole")


def _differing_tokens(one: Judged, weights: Weights) -> Finding:
    """Name the tokens whose embedding differs, and what it is instead."""
    rows = off_rows(one)
    named = name_rows(rows, weights.opened.token)
    count = "1 token's row" if len(rows) == 1 else f"{len(rows)} tokens' rows"
    target, expected = one.pair.target, one.pair.expected
    instead = ""
    if target is not None and expected is not None:
        found = {row: target.rows(row, row + 1)[0] for row in rows[:64]}
        wanted = {row: expected.rows(row, row + 1) for row in found}
        swapped = {
            row: other for row in found for other in found if other != row and _alike(found[row], wanted[other][1][0])
        }
        untrained = [
            row
            for row, (base, full) in wanted.items()
            if base is not None and base is not full and _alike(found[row], base[0])
        ]
        if len(swapped) == len(found):
            instead = ", which have changed places"
        elif len(untrained) == len(found):
            instead = ", and hold the base's values: what was trained is lost"
    return Finding("failed", f"{count} of {one.name} differ{'s' if len(rows) == 1 else ''}: {named}{instead}")


def _alike(one: Floats, other: Floats) -> bool:
    norm = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return norm > 0 and float(np.dot(one, other)) > (1 - _NEAR) * norm


def _without_adapter(weights: Weights) -> Finding | None:
    """Return why nothing can be said of an adapter, None where it can."""
    opened = weights.opened
    if opened.reason is not None or opened.adapter is None:
        return Finding("not checked", opened.reason or "the reference is no adapter")
    if weights.adapted:
        return None
    if not opened.adapter.changes:
        return Finding("not checked", "the adapter changes no tensor that is known here")
    changed = [one for one in weights.judged if one.pair.expected and one.pair.expected.change is not None]
    if changed and all(one.figures is not None for one in changed):
        return Finding("failed", "the adapter itself changes nothing: its B or its A is all zero", mode="F11")
    return Finding("not checked", "none of the tensors that the adapter changes can be compared")


def _is_near_one(one: Judged) -> bool:
    return one.figures is not None and abs(one.figures.applied - 1) < 0.3  # noqa: PLR2004  # half-way to being lost


def _name_factor(factor: float, one: Judged) -> str:
    """Say what makes a change ``factor`` times too large."""
    change = one.pair.expected.change if one.pair.expected else None
    if not isinstance(change, LowRank) or change.magnitude is not None:
        return ""
    rank, root = change.rank, math.sqrt(change.rank)
    known = [(root, f"√{rank}: it was scaled by alpha/√r as if it were rsLoRA")]
    if change.rslora:
        known = [(1 / root, f"1/√{rank}: rsLoRA's scale alpha/√r was taken for alpha/r")]
    known += [
        (1 / change.scale, "its scale was left out"),
        (change.alpha / change.scale, "alpha was not divided by the rank"),
        (1 / change.alpha if change.alpha else 0.0, "alpha was left out"),
        (2.0, "it was added twice"),
        (-1.0, "it was subtracted"),
    ]
    name = next((name for value, name in known if abs(factor - value) < _NEAR * abs(value)), None)
    return "" if name is None else f" ({name})"


def _errors_by_type(compared: Iterable[Judged]) -> dict[str, tuple[float, float, int]]:
    """Return for each type of matrices the NMSE without the adapter's change, its limit, and of how many tensors it is."""
    sums: dict[str, list[float]] = {}
    for one in compared:
        target, figures = one.pair.target, one.figures
        if target is None or figures is None or target.is_vector or one.pair.is_tied or one.state in {"rows", "zero"}:
            continue
        error = figures.left * figures.energy if figures.change > 0 else figures.error
        entry = sums.setdefault(target.type, [0.0, 0.0, 0.0, 0.0])
        for place, value in enumerate((error, one.limit * figures.energy, figures.energy, 1.0)):
            entry[place] += value
    return {kind: (error / all_, limit / all_, int(n)) for kind, (error, limit, all_, n) in sums.items() if all_ > 0}


def _earlier(one: Judged, weights: Weights) -> Iterator[str]:
    """Say of each other link of the chain whether the tensor is right there: where it went wrong."""
    for link, open_link in weights.opened.links.items():
        try:
            tensor = open_link().get(one.name)
        except ModelgateError as error:
            yield f"{link}: {error}"
            continue
        figures = None if tensor is None else measure(Pair(one.name, tensor, one.pair.expected))
        if tensor is None or figures is None:
            yield f"{link}: has no {one.name} to compare"
        else:
            is_right = figures.nmse <= limit_in(tensor, figures)
            yield f"{link}: {one.name} is {'right' if is_right else 'wrong'} there (NMSE {figures.nmse:.2g})"


def _distance(one: Judged) -> float:
    return math.inf if one.figures is None else one.figures.nmse / one.limit


def _line(one: Judged) -> str:
    """Return one differing tensor as a line."""
    figures = one.figures
    if figures is None or one.pair.target is None:
        return f"{one.name}: {one.state}"
    applied = f", projection {figures.applied:.3f}" if figures.change > 0 else ""
    explains = f"{one.pair.target.type} explains {one.limit:.2g}"
    return f"{one.name}: NMSE {figures.nmse:.2g} ({explains}), cosine {figures.likeness:.3f}{applied}"


def _named(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


def _check(
    name: str,
    mode: str,
    about: str,
    function: Callable[[Subject, Weights], Finding | Iterable[Finding]],
    needs: tuple[Needs, ...] = (),
) -> Check:
    return Check(name, mode, "weights", about, function, needs, ("gguf", "merged"))


CHECKS: tuple[Check, ...] = (
    _check("finite_weights", "F16", "no weight is NaN or infinite, no tensor all zero or missing", _finite_weights),
    _check(
        "adapter_applied", "F11", "the adapter's change is in every tensor that it changes", _adapter_applied, ("base",)
    ),
    _check("adapter_scale", "F12", "the adapter's change has the scale of its settings", _adapter_scale, ("base",)),
    _check("base_weights", "F14", "what the adapter does not touch is its base's", _base_weights, ("base",)),
    _check("embedding_rows", "F08", "every token's embedding is what it should be", _embedding_rows, ("reference",)),
    _check("quantization_error", "F24", "no tensor lost more than its type explains", _quantization_error),
    _check("tensor_parity", "F13", "every tensor is what base and adapter make it", _tensor_parity, ("reference",)),
)
"""The checks of the stage, those that explain the others first."""
