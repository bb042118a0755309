"""
Hold what a preflight is made of: a subject, checks, and what each check found.

A check is a function from a :class:`Subject` (and what the stage opened) to results; the stage that it belongs to says
what it costs. What a check needs and is not given makes it ``not checked``, said with the reason and never green.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pytest_modelgate.records import Json, Message

CheckOutcome = Literal["passed", "failed", "warned", "not checked"]
Stage = Literal["static", "tokenizer", "weights", "logits"]
"""What a check looks at: files and headers; tokenizers, no weights; weights as stored; the loaded model."""

Needs = Literal["reference", "base", "manifest", "modelfile", "prompts"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True, slots=True)
class Artifact:
    """
    Hold one link of the chain from the base to the file that ships.

    ``kind``: ``gguf``, or a folder: ``adapter`` (``base`` is its base's folder) or ``merged`` (any full model).
    ``lora``: a LoRA GGUF that is applied on ``path`` when it is served.
    """

    id: str
    kind: Literal["gguf", "adapter", "merged"]
    path: Path
    base: Path | None = None
    lora: Path | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """
    Hold a target and everything that it can be checked against.

    ``chain``: what the target was made from, in order, the reference first; the target is not in it, and it is empty
    without a reference. ``manifest``: what the training wrote, at ``manifest_path``. ``prompts``: each case's messages
    by ``suite/id``; ``answers``: the expected answer's text by the same key, where there is one. ``n_ctx`` and what stands
    behind it: how the gate lets the target answer, as ``[generation]`` of gates.toml.
    """

    target: Artifact
    chain: tuple[Artifact, ...] = ()
    manifest: Mapping[str, Any] | None = None
    manifest_path: Path | None = None
    modelfile: Path | None = None
    prompts: Mapping[str, tuple[Message, ...]] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    n_ctx: int = 2048
    max_tokens: int = 128
    temperature: float = 0.0
    repeat_penalty: float = 1.0

    @property
    def reference(self) -> Artifact | None:
        """Return what the target must agree with."""
        return self.chain[0] if self.chain else None

    def has(self, need: Needs) -> bool:
        """Say whether something is given that a check may need."""
        return {
            "reference": self.reference is not None,
            "base": self.reference is not None and self.reference.kind == "adapter",
            "manifest": self.manifest is not None,
            "modelfile": self.modelfile is not None,
            "prompts": bool(self.prompts),
        }[need]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """
    Hold what one check found on one target.

    ``mode`` is the failure mode that a failure stands for (``F02``), the check's own or a closer one. ``reason``: one
    line, what was found where; ``details``: further lines, such as both lists of pieces at a first difference.
    ``figures``: what was measured. ``seconds``: how long it took.
    """

    check: str
    mode: str
    target: str
    stage: Stage
    outcome: CheckOutcome
    reason: str
    details: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def id(self) -> str:
        """Return the name under which pytest reports it."""
        return f"preflight::{self.check}[{self.target}]"

    def to_json(self) -> Json:
        """Return the result as primitives."""
        return asdict(self) | {"details": list(self.details), "figures": dict(self.figures)}


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Hold what a check's function says: an outcome and its reason.

    ``mode``: the failure mode where it is not the check's own.
    """

    outcome: CheckOutcome
    reason: str
    details: tuple[str, ...] = ()
    mode: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """
    Hold one check: its name, the failure mode that it is for, its stage, and its function.

    ``needs``: what must be given. ``kinds``: which kinds of targets it can look at. ``function`` takes the subject and
    what its stage opened (nothing for ``static``; :class:`~pytest_modelgate.preflight.tokenizer.Probes`; the stored
    weights; the logits) and returns one finding, or several of which the worst is reported with the others as
    details. ``about``: one sentence on what a pass means, shown by ``modelgate preflight --list``.
    """

    name: str
    mode: str
    stage: Stage
    about: str
    function: Callable[..., Finding | Iterable[Finding]]
    needs: tuple[Needs, ...] = ()
    kinds: tuple[str, ...] = ("gguf",)
