"""
Hold the values that travel: what is asked of an engine, what comes back, and what it was judged to be.

All of them cross process boundaries and become parts of the report, so each turns into primitives with
``to_json`` and back with ``from_json``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self, TypeAlias, get_args

Json: TypeAlias = dict[str, Any]
"""A JSON object made of primitives only."""

Outcome = Literal["passed", "missed", "failed", "error"]
"""How one case fared on one target (see docs/concepts.md)."""

FinishReason = Literal["stop", "length"]
"""``stop``: the model ended its turn itself; ``length``: it was cut off at ``max_tokens``."""

_LARGEST = 1e300


@dataclass(frozen=True, slots=True)
class Message:
    """Hold one turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Request:
    """
    Ask an engine for one generation.

    ``key`` comes back with the answer. Exactly one of ``messages`` and ``prompt_ids`` is given; ``draft`` is a
    guess of the answer that an engine may verify instead of decoding token by token.
    """

    key: str
    max_tokens: int
    messages: tuple[Message, ...] | None = None
    prompt_ids: tuple[int, ...] | None = None
    draft: str | None = None

    def to_json(self) -> Json:
        """Return the request as primitives."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Rebuild a request from :meth:`to_json`'s value."""
        messages = data.get("messages")
        prompt_ids = data.get("prompt_ids")
        return cls(
            key=data["key"],
            max_tokens=data["max_tokens"],
            messages=None if messages is None else tuple(Message(**message) for message in messages),
            prompt_ids=None if prompt_ids is None else tuple(prompt_ids),
            draft=data.get("draft"),
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """
    Hold the raw answer of one target to one request.

    ``token_ids``, ``logprobs`` (natural logarithm of the chosen token's probability) and ``margins`` (distance of
    the two best logits) have one entry for each generated token, the end-of-generation token included. Times are
    seconds from the moment the engine took the request up; ``ttft_s`` is the time to the first token.
    """

    text: str
    finish_reason: FinishReason = "stop"
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    ttft_s: float = 0.0
    total_s: float = 0.0

    def to_json(self) -> Json:
        """Return the generation as primitives."""
        return asdict(self) | {
            "token_ids": list(self.token_ids),
            "logprobs": [round(value, 5) for value in self.logprobs],
            "margins": [round(value, 5) for value in self.margins],
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """
        Rebuild a generation from :meth:`to_json`'s value; fields that are absent keep their defaults.

        Raises ValueError, TypeError or KeyError for a value that is none: journals are also written by hand.
        """
        values = {name: data[name] for name in cls.__slots__ if name in data}
        for name in ("token_ids", "logprobs", "margins"):
            values[name] = tuple(values.get(name, ()))
        generation = cls(**values)
        if not isinstance(generation.text, str) or generation.finish_reason not in get_args(FinishReason):
            raise ValueError("text must be text, and finish_reason 'stop' or 'length'")
        counts = (generation.prompt_tokens, generation.output_tokens, generation.ttft_s, generation.total_s)
        for number in (*generation.token_ids, *generation.logprobs, *generation.margins, *counts):
            if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < _LARGEST:
                raise ValueError(f"not a finite number: {number!r}")
        return generation


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Say why an engine gave no generation for a request.

    ``kind``: ``refused`` (the request cannot be run, e.g. a prompt longer than the context), ``died`` (the engine's
    process ended while it worked on this request alone), ``hung`` (the watchdog ended it), ``missing`` (a replay
    holds no such generation), ``start`` (the engine could not load its target).
    """

    kind: Literal["refused", "died", "hung", "missing", "start"]
    message: str

    def to_json(self) -> Json:
        """Return the failure as primitives."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Say which engine runs a target, with what settings and what it found when it loaded it."""

    name: str
    version: str
    settings: Json = field(default_factory=dict)
    facts: Json = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return the description as primitives."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Violation:
    """Say which contract an output broke, and how."""

    contract: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """
    Hold one case on one target, judged.

    ``scores`` maps a score's name (``json_parse``, ``schema``, ``exact``, ``field.<name>``) to 0.0 or 1.0; a score
    that does not apply is absent. ``predicted`` and ``expected`` map field names to label text for metrics that need
    the labels themselves. ``error`` is set, and everything judged is empty, when the engine gave no generation.
    """

    target: str
    suite: str
    task: str
    case: str
    outcome: Outcome
    critical: bool = False
    tags: tuple[str, ...] = ()
    group: str | None = None
    location: str = ""
    input: str = ""
    expected: Any = None
    has_expected: bool = False
    output: str = ""
    violations: tuple[Violation, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0
    min_margin: float | None = None
    replayed: bool = False
    error: str | None = None

    def fails_run(self, *, strict: bool) -> bool:
        """Say whether the case by itself fails the run; ``strict``: every miss does."""
        return self.outcome in {"failed", "error"} or (strict and self.outcome == "missed")

    def to_json(self) -> Json:
        """Return the record as primitives."""
        return asdict(self) | {
            "tags": list(self.tags),
            "violations": [asdict(violation) for violation in self.violations],
            "labels": {name: list(pair) for name, pair in self.labels.items()},
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Rebuild a record from :meth:`to_json`'s value."""
        return cls(
            **data
            | {
                "tags": tuple(data["tags"]),
                "violations": tuple(Violation(**violation) for violation in data["violations"]),
                "labels": {name: (pair[0], pair[1]) for name, pair in data["labels"].items()},
            }
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """Hold one measured request of the serial phase; times in seconds."""

    case: str
    ttft_s: float
    total_s: float
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Performance:
    """
    Hold what the serial phase measured of one target.

    ``peak_rss_bytes`` is the largest resident memory of the engine's process, model included; None where it has none.
    """

    target: str
    samples: tuple[Sample, ...] = ()
    peak_rss_bytes: int | None = None
    error: str | None = None

    def to_json(self) -> Json:
        """Return the measurements as primitives."""
        return asdict(self) | {"samples": [asdict(sample) for sample in self.samples]}
