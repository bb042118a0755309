"""Compare how a file's tensors are stored with what its label and its name promise, and with its manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pytest_modelgate.gguf_file import GgufHeader, TensorPlace, bits_of_type, block_of_type
from pytest_modelgate.preflight.check import CheckOutcome, Finding, Subject
from pytest_modelgate.preflight.listing import entry_of, listed_files
from pytest_modelgate.preflight.metadata import header_of, sha256_of

__all__ = ["FULL_PRECISION", "file_name", "quantization", "requantized"]

FULL_PRECISION = frozenset({"F32", "F16", "BF16"})
_MATRIX_DIMS = 2
_IMATRIX = "quantize.imatrix"
_FEW = 0.01
"""Share of the weights below which another type is an exception that every recipe has: routers, positions, small heads."""

_MOST = 0.5
"""Share of the weights beyond which those that fell back leave too few to say what the recipe gave."""

_MIXED: Mapping[str, str] = {
    **dict.fromkeys(("Q2_K_S", "Q2_K_L"), "Q2_K"),
    **dict.fromkeys(("Q3_K_S", "Q3_K_M", "Q3_K_L", "Q3_K_XL"), "Q3_K"),
    **dict.fromkeys(("Q4_K_S", "Q4_K_M", "Q4_K_L"), "Q4_K"),
    **dict.fromkeys(("Q5_K_S", "Q5_K_M", "Q5_K_L"), "Q5_K"),
    **dict.fromkeys(("IQ3_XS", "IQ3_M"), "IQ3_S"),
    "Q6_K_L": "Q6_K",
    "IQ2_S": "IQ2_XS",
    "IQ2_M": "IQ2_S",
    "MXFP4_MOE": "MXFP4",
}
"""The type that most tensors have under a label that mixes several; under any other label it is the label itself."""

_RECIPES: Mapping[str, frozenset[str]] = {
    "Q4_0": frozenset({"Q4_1", "Q5_K", "Q6_K", "Q8_0"}),
    "Q4_1": frozenset({"Q6_K", "Q8_0"}),
    "Q5_0": frozenset({"Q5_1", "Q6_K", "Q8_0"}),
    "Q5_1": frozenset({"Q6_K", "Q8_0"}),
    "Q8_0": frozenset(),
    "Q2_K": frozenset({"Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_0"}),
    "Q3_K": frozenset({"Q4_K", "Q5_K", "Q6_K", "Q8_0"}),
    "Q4_K": frozenset({"Q5_K", "Q6_K", "Q8_0"}),
    "Q5_K": frozenset({"Q6_K", "Q8_0"}),
    "Q6_K": frozenset({"Q8_0"}),
}
"""What llama.cpp's recipes give some tensors besides, by the type of most (``src/llama-quant.cpp``)."""

_STORED_OTHERWISE = re.compile(r"ffn_gate_inp|conv1d|shortconv|pos_embd|token_types|_norm|time_mix|altup|laurel")
"""Tensors that no recipe quantises."""

_IN_NAME = re.compile(
    r"(?<![A-Za-z0-9])(I?Q[1-8]_(?:[01]|K(?:_(?:XL|[SML]))?|XXS|XS|S|M|NL|XL)|TQ[12]_0|MXFP4(?:_MOE)?|BF16|FP?16|FP?32)"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_EXTENDED = re.compile(r"_X?L$")
"""Names that publishers give to a recipe with more bits in some layers, under the label of the recipe."""


@dataclass(frozen=True, slots=True)
class _Use:
    """Say how the weights of a file's matrices are stored: the share of each type, among those whose rows fit the label."""

    main: str
    shares: Mapping[str, float]
    fallback: float


def quantization(subject: Subject) -> Iterator[Finding]:
    """Compare the types of all tensors with those of the label's recipe, and report what a weight really takes."""
    header = header_of(subject.target.path)
    label = header.quantization
    if not header.tensors:
        yield Finding("failed", "the file holds no tensors")
        return
    told = f"{header.bits_per_weight:.2f} bits per weight: {_histogram(header)}{_importance(header)}"
    figures = {"bits_per_weight": round(header.bits_per_weight, 4)}
    if label is None:
        yield Finding("warned", f"the file has no label (general.file_type); {told}", figures=figures)
    else:
        use = _used(header, _MIXED.get(label, label))
        if use is None:
            yield Finding("warned", f"the label {label} is not known here; {told}", figures=figures)
        else:
            yield from _judged(label, use, told)
            yield Finding("passed", f"{label}, {told}", figures=figures | {"fallback_share": round(use.fallback, 4)})
    yield from _with_manifest(subject, header)
    yield from _imatrix(subject, header)


def file_name(subject: Subject) -> Finding:
    """Compare the label in the file's name with the one in its header."""
    name, label = subject.target.path.name, header_of(subject.target.path).quantization
    found = _IN_NAME.findall(subject.target.path.stem)
    if not found:
        return Finding("passed", f"{name} promises no quantisation")
    promised = re.sub("^FP", "F", found[-1].upper())
    if label is None:
        return Finding("warned", f"the name says {promised}, and the file has no label (general.file_type)")
    if promised == label or _EXTENDED.sub("", promised) in {label, *_family(label)}:
        return Finding("passed", f"the name says {promised}, the file {label}")
    return Finding("failed", f"the name says {promised}, the file's label (general.file_type) is {label}")


def requantized(subject: Subject) -> Finding:
    """Look for what a header or the manifest tells of a quantisation before the last; the stored weights tell the rest."""
    header, path = header_of(subject.target.path), subject.target.path
    for link in subject.chain:
        if link.kind == "gguf" and link.path.resolve() != path.resolve():
            before = _quantised_types(header_of(link.path))
            if before and _quantised_types(header):
                told = f"it was made from {link.id}, whose weights are quantised already ({', '.join(before)})"
                return Finding("failed", f"{told}: a second loss on top of the first")
    if subject.manifest is not None and _quantised_types(header):
        mine = entry_of(subject.manifest, path.name, sha256_of(path))
        sources = [
            one for one in listed_files(subject.manifest, ("gguf",)) if one.types and one.types <= FULL_PRECISION
        ]
        if mine is not None and mine.sha256 == sha256_of(path) and sources:
            return Finding("passed", f"the training quantised it from 16 bits ({sources[-1].name})")
    by = header.values.get("general.quantized_by")
    told = f", quantised by {by}" if by else ""
    return Finding("not checked", f"the header does not say what the file was made from{told}; the stored weights do")


def _judged(label: str, use: _Use, told: str) -> Iterator[Finding]:
    """Yield where the types are none of the label's."""
    known = {use.main} | _RECIPES.get(use.main, frozenset())
    usual = bits_of_type(use.main)
    less = {name: share for name, share in use.shares.items() if bits_of_type(name) < usual and name not in known}
    # A recipe for very few bits gives the layers that bear it still fewer.
    is_low = use.main not in _RECIPES and use.main not in FULL_PRECISION
    if sum(less.values()) > (use.shares.get(use.main, 0.0) if is_low else _FEW):
        share = f"{sum(less.values()):.0%} of the weights are {', '.join(sorted(less))}"
        yield Finding("failed", f"the label is {label}, and {share}, which is less; {told}")
    elif use.shares and use.main not in use.shares:
        most = max(use.shares, key=lambda name: use.shares[name])
        can_tell = use.fallback < _MOST and use.main != "MXFP4"  # that one is for experts alone
        outcome: CheckOutcome = "failed" if can_tell else "warned"
        yield Finding(outcome, f"the label is {label}, and no weight is {use.main}: most are {most}; {told}")
    other = {
        name: share for name, share in use.shares.items() if name not in known and name not in less and share > _FEW
    }
    if other and not is_low:
        share = f"{sum(other.values()):.0%} of the weights are {', '.join(sorted(other))}"
        yield Finding("warned", f"the label is {label}, and {share}, of another recipe; {told}")
    if use.fallback:
        told = f"{use.fallback:.0%} of the weights could not be {use.main}, because {block_of_type(use.main)} does not divide"
        figures = {"fallback_share": round(use.fallback, 4)}
        yield Finding(
            "warned", f"{told} their rows, and took other types: {label} says less than the file is", figures=figures
        )


def _used(header: GgufHeader, main: str) -> _Use | None:
    """Return how the matrices are stored, None for a type that is not known."""
    try:
        block = block_of_type(main)
    except KeyError:
        return None
    matrices = {name: one for name, one in header.tensors.items() if _is_quantised(name, one)}
    total = sum(one.elements for one in matrices.values())
    if not total:
        return _Use(main, {}, 0.0)
    fitting: Counter[str] = Counter()
    for one in matrices.values():
        if one.dims[0] % block == 0:
            fitting[one.type] += one.elements
    fell = total - sum(fitting.values())
    return _Use(main, {name: count / total for name, count in fitting.items()}, fell / total)


def _is_quantised(name: str, tensor: TensorPlace) -> bool:
    """Say whether a recipe quantises a tensor."""
    return len(tensor.dims) >= _MATRIX_DIMS and name.endswith("weight") and not _STORED_OTHERWISE.search(name)


def _with_manifest(subject: Subject, header: GgufHeader) -> Iterator[Finding]:
    """Yield where the manifest counted other types in the file of this name."""
    if subject.manifest is None:
        return
    mine = entry_of(subject.manifest, subject.target.path.name, None)
    counted = dict(Counter(one.type for one in header.tensors.values()))
    if mine is not None and mine.tensor_types and dict(mine.tensor_types) != counted:
        then = ", ".join(f"{count} {name}" for name, count in sorted(mine.tensor_types.items()))
        yield Finding(
            "failed", f"the manifest counted other types of tensors: {then}; the file has {_histogram(header)}"
        )


def _importance(header: GgufHeader) -> str:
    """Return on what the importance of weights was measured, as far as the header says it."""
    count, dataset = (header.values.get(f"{_IMATRIX}.{name}") for name in ("entries_count", "dataset"))
    return "" if count is None else f"; with the importance of {count} matrices" + (f" on {dataset}" if dataset else "")


def _imatrix(subject: Subject, header: GgufHeader) -> Iterator[Finding]:
    """Yield where no importance was measured, and a recipe or the training's manifest wants one."""
    if header.values.get(f"{_IMATRIX}.entries_count") is not None or not _quantised_types(header):
        return
    label = header.quantization or ""
    if label.startswith(("IQ1", "IQ2")):
        told = f"the label is {label}, which needs an importance matrix, and the header names none"
        yield Finding("warned", f"{told} (quantize.imatrix)", mode="F23")
    stage = (subject.manifest or {}).get("quantize")
    if isinstance(stage, dict) and stage.get("imatrix") and subject.target.path.name in stage:
        told = "the training quantised this file by an importance matrix, and the header names none (quantize.imatrix)"
        yield Finding("failed", told, mode="F23")


def _quantised_types(header: GgufHeader) -> list[str]:
    """Return the types of a file's matrices that hold fewer bits than the training had."""
    return sorted({one.type for name, one in header.tensors.items() if _is_quantised(name, one)} - FULL_PRECISION)


def _histogram(header: GgufHeader) -> str:
    """Return how many tensors have each type, and what share of the weights."""
    counts = Counter(one.type for one in header.tensors.values())
    weights: Counter[str] = Counter()
    for one in header.tensors.values():
        weights[one.type] += one.elements
    total = max(sum(weights.values()), 1)
    return ", ".join(f"{counts[name]} {name} ({weights[name] / total:.1%})" for name, _ in weights.most_common())


def _family(label: str) -> tuple[str, ...]:
    """Return the names under which a label's recipe is known without its size: Q4_K for Q4_K_M."""
    return (label.rpartition("_")[0],) if re.search(r"_[SML]$", label) else ()
