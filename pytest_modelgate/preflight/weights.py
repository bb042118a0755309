"""Compare the tensors of a file, as they are stored, with what they should be: the base, and what the adapter adds to it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pytest_modelgate.preflight.check import Check, Finding, Needs, Subject
from pytest_modelgate.preflight.weights_compare import ERRORS, Applied, TensorFacts, applied
from pytest_modelgate.preflight.weights_damage import describe_damage, swapped_rows
from pytest_modelgate.preflight.weights_stored import EMBEDDING, OUTPUT, StoredWeights, open_stage

__all__ = ["CHECKS", "open_stage"]

_SHOWN = 3
_NEAR_ONE = 0.02
"""How far the adapter's share may be from 1 before anything is lost; twice what float16 and Q2_K made of it."""

_NOTHING = 0.02
_MOSTLY_OTHER = 0.3
"""A change of which this share (over the adapter's) is not the adapter's is another one."""

_WRONG_BASE = 0.5
"""The share of the untouched tensors that must be off before it is the base that is wrong, not a tensor."""

_GARBAGE = 0.5
"""A normalised error from which on a matrix has next to nothing in common with what it should be."""

_ROW_SHARE = 0.02


def finite_weights(subject: Subject, stored: StoredWeights) -> Iterator[Finding]:  # noqa: ARG001
    """Look for numbers that are none, and for matrices of zeros."""
    broken = [one for one in stored.facts if one.n_bad_numbers]
    if broken:
        n = sum(one.n_bad_numbers for one in broken)
        yield Finding("failed", f"{n} weights are NaN or infinite, the first in {broken[0].name}")
    zeros = [one for one in stored.facts if one.is_zero and one.shape[0] > 1]
    if stored.unknown is None:
        zeros = [one for one in zeros if one.square_expected or not one.was_compared]
    if zeros:
        is_output = any(one.name in {OUTPUT, EMBEDDING} for one in zeros)
        names = ", ".join(one.name for one in zeros[:_SHOWN])
        yield Finding("failed", f"{len(zeros)} matrices are all zeros: {names}", mode="F10" if is_output else None)
    yield Finding("passed", f"{len(stored.facts)} tensors hold finite numbers, and no matrix is all zeros")


def base_weights(subject: Subject, stored: StoredWeights) -> Finding:  # noqa: ARG001
    """Compare the tensors that the adapter leaves alone with the base's."""
    if stored.unknown is not None:
        return Finding("not checked", stored.unknown)
    untouched = _untouched(stored)
    off = [one for one in untouched if not one.is_close and not _is_local(one) and not one.is_zero]
    if untouched and len(off) > _WRONG_BASE * len(untouched) and len(off) > 1:
        worst = max(off, key=lambda one: one.nmse)
        return Finding(
            "failed",
            f"{len(off)} of the {len(untouched)} tensors that the adapter leaves alone are not the base's (the worst {worst.name}, "
            f"normalised error {worst.nmse:.2g}): the file was made from another base",
        )
    return Finding(
        "passed",
        f"{len(untouched) - len(off)} of {len(untouched)} tensors that the adapter leaves alone are the base's",
    )


def adapter_applied(subject: Subject, stored: StoredWeights) -> Finding:
    """Look how much of the adapter's change is in the file."""
    if (reason := _why_no_share(subject, stored)) is not None:
        return Finding("not checked", reason)
    found = applied(_adapted(stored))
    figures = {"adapter_share": found.share}
    told = f"the file's change of the base is {found.share:.3g} times the adapter's"
    match _kind(found, stored):
        case "absent":
            return Finding(
                "failed", f"{told}: the adapter was not applied, the file holds the untuned base", figures=figures
            )
        case "other":
            return Finding(
                "failed",
                f"{told}, and {found.rest:.2g} times as much is something else: the file holds another adapter than the reference",
                figures=figures,
                mode="F25" if _is_foreign(subject) else None,
            )
        case "garbage":
            return Finding(
                "not checked", "the adapted matrices have nothing in common with what they should be", figures=figures
            )
    return Finding("passed", told, figures=figures)


def adapter_scale(subject: Subject, stored: StoredWeights) -> Finding:
    """Look whether the adapter's change has the scale that its settings give it, in every layer."""
    if (reason := _why_no_share(subject, stored)) is not None:
        return Finding("not checked", reason)
    adapted = _adapted(stored)
    found = applied(adapted)
    kind = _kind(found, stored)
    if kind == "scaled":
        return Finding(
            "failed", f"the adapter's change is in the file {found.share:.3g} times: {_factor(found.share, stored)}"
        )
    if kind != "applied":
        return Finding("not checked", "the adapter's change is not in the file")
    wrong = [one for one in adapted if abs(one.along / one.square_delta - 1) > _tolerance(applied([one]))]
    if wrong and found.rest <= _MOSTLY_OTHER + 3 * found.noise:
        shares = ", ".join(f"{one.name} {one.along / one.square_delta:.2g} times" for one in wrong[:_SHOWN])
        return Finding(
            "failed", f"in {len(wrong)} of {len(adapted)} matrices the adapter's change has another scale: {shares}"
        )
    return Finding("passed", f"the adapter's change has its scale in all {len(adapted)} matrices")


def output_layer(subject: Subject, stored: StoredWeights) -> Finding:  # noqa: ARG001
    """Compare the output layer of a tied model with its embedding."""
    if stored.unknown is not None:
        return Finding("not checked", stored.unknown)
    found = next((one for one in stored.facts if one.name == OUTPUT), None)
    if found is None:
        return Finding("passed", "the output layer is the embedding")
    if not found.was_compared:
        return Finding("not checked", "the reference has no such layer")
    if found.is_close or _is_local(found):
        return Finding("passed", "the output layer is the reference's")
    return Finding("failed", f"the output layer is not the reference's (normalised error {found.nmse:.2g})")


def embedding_rows(subject: Subject, stored: StoredWeights) -> Finding:  # noqa: ARG001
    """Look for single tokens whose embedding is another."""
    if stored.unknown is not None:
        return Finding("not checked", stored.unknown)
    for one in stored.facts:
        if one.name in {EMBEDDING, OUTPUT} and one.was_compared and _is_local(one) and one.n_bad_rows:
            names = stored.values.get("tokenizer.ggml.tokens", [])
            shown = ", ".join(repr(names[row]) if row < len(names) else str(row) for row in one.bad_rows[:_SHOWN])
            told = f"the rows of {one.n_bad_rows} tokens in {one.name} are not the reference's: {shown}"
            swap = swapped_rows(stored.read(one.name), stored.wanted(one.name), one.bad_rows)
            return Finding("failed", f"{told}; two of them have changed places" if swap else told)
    return Finding("passed", "no token's embedding stands out")


def tensor_parity(subject: Subject, stored: StoredWeights) -> Iterator[Finding]:
    """Compare every tensor with what it should be, where nothing larger is wrong."""
    if stored.unknown is not None:
        yield Finding("not checked", stored.unknown)
        return
    if stored.missing:
        yield Finding(
            "failed",
            f"{len(stored.missing)} tensors of the reference are not in the file, the first {stored.missing[0]}",
        )
    compared = [one for one in stored.facts if one.was_compared]
    share_is_known = _why_no_share(subject, stored) is None
    kind = _kind(applied(_adapted(stored)), stored) if share_is_known else "applied"
    off = [one for one in compared if not one.is_close and not one.is_zero and not one.n_bad_numbers]
    off = [one for one in off if one.nmse > _worst_of_types(one) and not _is_local(one) and one.name != OUTPUT]
    if kind in {"absent", "other", "scaled"}:
        off = [one for one in off if not one.is_adapted]
    if kind == "garbage":
        garbage = [one for one in off if one.is_adapted and one.nmse > _GARBAGE]
        told = (
            f"{len(garbage)} adapted matrices have nothing in common with what they should be, and the others are exact"
        )
        yield Finding("failed", f"{told}: merged into packed 4-bit weights?")
        return
    if base_weights(subject, stored).outcome == "failed":
        yield Finding("not checked", "the base is another one")
        return
    if off:
        worst = max(off, key=lambda one: one.nmse)
        details = tuple(f"{one.name}: normalised error {one.nmse:.2g}" for one in off[:_SHOWN])
        damage = describe_damage(stored.read(worst.name), stored.wanted(worst.name), worst.name, stored.heads)
        reason = f"{len(off)} of {len(compared)} tensors are not what they should be, the worst {worst.name} ({worst.nmse:.2g})"
        yield Finding("failed", f"{reason}: {damage}" if damage else reason, details)
    worst_of_all = max((one.nmse for one in compared), default=0.0)
    yield Finding(
        "passed", f"{len(compared)} tensors are what they should be; largest normalised error {worst_of_all:.2g}"
    )


def quantization_error(subject: Subject, stored: StoredWeights) -> Finding:
    """Compare the error of quantised tensors with what their type makes of them."""
    if stored.unknown is not None:
        return Finding("not checked", stored.unknown)
    if base_weights(subject, stored).outcome == "failed":
        return Finding("not checked", "the base is another one")
    share_is_known = _why_no_share(subject, stored) is None
    is_applied = not share_is_known or _kind(applied(_adapted(stored)), stored) == "applied"
    # Tensors without a change of the adapter tell, whatever became of that.
    looked = [
        one for one in stored.facts if one.was_compared and one.shape[0] > 1 and (is_applied or not one.is_adapted)
    ]
    noisy = [one for one in looked if one.expected_error < one.nmse <= _worst_of_types(one) and not _is_local(one)]
    if looked and len(noisy) > len(looked) / 2:
        middle = sorted(noisy, key=lambda one: one.nmse)[len(noisy) // 2]
        like = min(ERRORS, key=lambda name: abs(math.log(middle.nmse / (ERRORS[name] / 3))))
        return Finding(
            "failed",
            f"{len(noisy)} of {len(looked)} matrices have a larger error than {middle.type} makes ({middle.nmse:.2g}, about that of "
            f"{like}): quantised from a file that was quantised before",
        )
    return Finding(
        "passed", f"the error of {len(looked) - len(noisy)} of {len(looked)} matrices is within what their type makes"
    )


def _untouched(stored: StoredWeights) -> list[TensorFacts]:
    return [one for one in stored.facts if one.was_compared and not one.is_adapted and one.name != OUTPUT]


def _adapted(stored: StoredWeights) -> list[TensorFacts]:
    return [
        one for one in stored.facts if one.was_compared and one.is_adapted and not one.is_zero and not one.n_bad_numbers
    ]


def _why_no_share(subject: Subject, stored: StoredWeights) -> str | None:
    """Say why it cannot be told how much of the adapter is in the file, or return None."""
    if stored.unknown is not None:
        return stored.unknown
    if stored.adapter is None:
        return "the reference is no adapter"
    if not _adapted(stored):
        return "the adapter adds nothing: every B is zero"
    if base_weights(subject, stored).outcome == "failed":
        return "the base is another one"
    return None


def _kind(found: Applied, stored: StoredWeights) -> str:
    """Say what became of the adapter: applied, scaled, absent, other, or garbage in its matrices."""
    rest = max(0.0, found.rest - found.noise)
    if rest > _MOSTLY_OTHER:
        adapted = _adapted(stored)
        broken = [one for one in adapted if one.nmse > _GARBAGE and one.change > _GARBAGE * one.square_base]
        if len(broken) > len(adapted) / 2:
            return "garbage"
        # One matrix that was damaged is no other adapter.
        close = sum(abs(one.along / one.square_delta - 1) <= _tolerance(applied([one])) for one in adapted)
        return "applied" if close > len(adapted) / 2 else "other"
    if abs(found.share - 1) <= _tolerance(found):
        return "applied"
    if abs(found.share) <= _NOTHING + 6 * found.uncertainty:
        return "absent"
    close = sum(abs(one.along / one.square_delta - 1) <= _tolerance(applied([one])) for one in _adapted(stored))
    return "applied" if close > len(_adapted(stored)) / 2 else "scaled"


def _tolerance(found: Applied) -> float:
    """Return how far a share may be from one: six times what quantisation's noise makes of it, and a little."""
    return _NEAR_ONE + 6 * found.uncertainty


def _factor(share: float, stored: StoredWeights) -> str:
    """Name the mistake that gives this factor, by the adapter's rank."""
    ranks = {lora.rank for lora in (stored.adapter.changes.values() if stored.adapter else ())}
    for rank in ranks:
        for factor, name in (
            (1 / math.sqrt(rank), "1/√r, rsLoRA's scale is lost"),
            (1 / rank, "1/r"),
            (math.sqrt(rank), "√r"),
            (rank, "r"),
        ):
            if math.isclose(share, factor, rel_tol=0.05):
                return f"{name} (r = {rank})"
    return "its scale is lost"


def _worst_of_types(one: TensorFacts) -> float:
    """Return the error from which on a tensor is no longer noisy but another."""
    return max(ERRORS["Q2_K"], 2 * one.expected_error)


def _is_local(one: TensorFacts) -> bool:
    """Say whether only a few rows of a large matrix are off."""
    return one.shape[0] > 1 / _ROW_SHARE and 0 < one.n_bad_rows <= max(2, _ROW_SHARE * one.shape[0])


def _is_foreign(subject: Subject) -> bool:
    """Say whether a manifest is given, so that another run's file is likelier than another adapter's merge."""
    return subject.manifest is not None


_GGUF = ("gguf",)
_REFERENCE: tuple[Needs, ...] = ("reference",)
CHECKS: tuple[Check, ...] = (
    Check("finite_weights", "F16", "weights", "no weight is NaN or infinite, no matrix is all zeros", finite_weights),
    Check("base_weights", "F14", "weights", "what the adapter leaves alone is the base's", base_weights, _REFERENCE, _GGUF),
    Check("adapter_applied", "F11", "weights", "the adapter's change of the base is in the file", adapter_applied, _REFERENCE, _GGUF),
    Check("adapter_scale", "F12", "weights", "the adapter's change has the scale of its settings", adapter_scale, _REFERENCE, _GGUF),
    Check("output_layer", "F10", "weights", "an output layer that is tied to the embedding is the same", output_layer, _REFERENCE, _GGUF),
    Check("embedding_rows", "F08", "weights", "no token's embedding is another", embedding_rows, _REFERENCE, _GGUF),
    Check("tensor_parity", "F13", "weights", "every tensor is what base and adapter make it", tensor_parity, _REFERENCE, _GGUF),
    Check("quantization_error", "F24", "weights", "the error is what the type makes, not more", quantization_error, _REFERENCE, _GGUF),
)  # fmt: skip
"""The checks of the stage."""
