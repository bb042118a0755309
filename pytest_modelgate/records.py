"""
Hold the values that travel: what is asked of an engine, what comes back, and what it was judged to be.

All of them cross process boundaries and become parts of the report, so each turns into primitives with
``to_json`` and back with ``from_json``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self, TypeAlias, get_args

Json: TypeAlias = dict[str, Any]
"""A JSON object made of primitives only."""

Outcome = Literal["passed", "missed", "failed", "error"]
"""How one case fared on one target (see docs/concepts.md)."""

FinishReason = Literal["stop", "length"]
"""``stop``: the model ended its turn itself; ``length``: it was cut off at ``max_tokens``."""

LongInputWay = Literal["cut", "condense", "refuse"]
"""What is done with an input that is too long (see :mod:`pytest_modelgate.truncation`)."""

MARKER = "[... {count} left out ...]"
"""What stands where something was left out; ``{count}`` becomes ``37 lines``."""

_FINISH_REASONS = frozenset(get_args(FinishReason))
_NUMBERS = frozenset({int, float})
_LARGEST = 1e300


@dataclass(frozen=True, slots=True)
class Message:
    """Hold one turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class LongInput:
    """
    Say how many tokens a task's input may have, and how a longer one is made to fit.

    ``tokens`` are counted by the tokenizer of the model that is asked. ``chunk``: for ``condense``, the size in tokens
    of the pieces of which each keeps something.
    """

    tokens: int
    how: LongInputWay
    chunk: int | None = None
    marker: str = MARKER


@dataclass(frozen=True, slots=True)
class InputSpan:
    """Say where a case's input stands in the messages, in characters of one turn, and the rule that it must obey."""

    rule: LongInput
    turn: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """
    Say how tokens are chosen (see :mod:`pytest_modelgate.engines.sampling`); the defaults are greedy decoding.

    ``seed`` and ``top_p`` count where ``temperature`` is above 0. ``grammar``: in GBNF, which the answer must obey, None
    for none.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    repeat_penalty: float = 1.0
    seed: int = 0
    grammar: str | None = None

    @property
    def is_greedy(self) -> bool:
        """Say whether the most probable token is always taken, with nothing in its way."""
        return self.temperature == 0 and self.repeat_penalty == 1 and self.grammar is None

    def without_grammar(self) -> GenerationSettings:
        """Return the settings under which the model shows what it writes by itself."""
        return replace(self, grammar=None)


@dataclass(frozen=True, slots=True)
class Request:
    """
    Ask an engine for one generation.

    ``key`` comes back with the answer. Exactly one of ``messages`` and ``prompt_ids`` is given; ``draft`` is a
    guess of the answer that an engine may verify instead of decoding token by token, ``drafts`` are further ones, the
    likeliest first. ``input_span``: what of the
    messages an engine with a tokenizer makes fit before it renders them; None where the task has no rule for it.
    ``generation``: how tokens are chosen, None for greedy decoding.
    """

    key: str
    max_tokens: int
    messages: tuple[Message, ...] | None = None
    prompt_ids: tuple[int, ...] | None = None
    draft: str | None = None
    input_span: InputSpan | None = None
    generation: GenerationSettings | None = None
    drafts: tuple[str, ...] = ()

    @property
    def all_drafts(self) -> tuple[str, ...]:
        """Return every guess of the answer, each once, the likeliest first."""
        return tuple(dict.fromkeys((*(() if self.draft is None else (self.draft,)), *self.drafts)))

    def to_json(self) -> Json:
        """Return the request as primitives."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Rebuild a request from :meth:`to_json`'s value."""
        messages = data.get("messages")
        prompt_ids = data.get("prompt_ids")
        span = data.get("input_span")
        generation = data.get("generation")
        return cls(
            key=data["key"],
            max_tokens=data["max_tokens"],
            messages=None if messages is None else tuple(Message(**message) for message in messages),
            prompt_ids=None if prompt_ids is None else tuple(prompt_ids),
            draft=data.get("draft"),
            input_span=None if span is None else InputSpan(**span | {"rule": LongInput(**span["rule"])}),
            generation=None if generation is None else GenerationSettings(**generation),
            drafts=tuple(data.get("drafts", ())),
        )


@dataclass(frozen=True, slots=True)
class Generation:
    """
    Hold the raw answer of one target to one request.

    ``token_ids``, ``logprobs`` (natural logarithm of the chosen token's probability) and ``margins`` (distance of
    the two best logits) have one entry for each generated token, the end-of-generation token included; ``ends`` the
    number of characters of ``text`` up to and with each token, empty where the engine cannot tell.
    ``input_tokens_dropped``: by how many tokens the case's input was shortened to fit its task's rule. Times are seconds
    from the moment the engine took the request up; ``ttft_s`` is the time to the first token. ``raw_text``: what the
    model writes without the grammar that ``text`` was made to obey, None where there was no grammar. ``near_tie``: in a
    batch a choice was too near to another, so the answer was generated alone.
    """

    text: str
    finish_reason: FinishReason = "stop"
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    margins: tuple[float, ...] = ()
    ends: tuple[int, ...] = ()
    prompt_tokens: int = 0
    output_tokens: int = 0
    ttft_s: float = 0.0
    total_s: float = 0.0
    input_tokens_dropped: int = 0
    raw_text: str | None = None
    near_tie: bool = False

    def to_json(self) -> Json:
        """Return the generation as primitives."""
        return asdict(self) | {
            "token_ids": list(self.token_ids),
            "logprobs": [round(value, 5) for value in self.logprobs],
            "margins": [round(value, 5) for value in self.margins],
            "ends": list(self.ends),
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """
        Rebuild a generation from :meth:`to_json`'s value; fields that are absent keep their defaults.

        Raises ValueError, TypeError or KeyError for a value that is none: journals are also written by hand.
        """
        values = {name: data[name] for name in cls.__slots__ if name in data}
        for name in ("token_ids", "logprobs", "margins", "ends"):
            values[name] = tuple(values.get(name, ()))
        generation = cls(**values)
        texts = (generation.text, generation.raw_text or "")
        if not all(isinstance(text, str) for text in texts) or generation.finish_reason not in _FINISH_REASONS:
            raise ValueError("text must be text, and finish_reason 'stop' or 'length'")
        counts = (
            generation.prompt_tokens,
            generation.output_tokens,
            generation.input_tokens_dropped,
            generation.ttft_s,
            generation.total_s,
        )
        for numbers in (generation.token_ids, generation.logprobs, generation.margins, generation.ends, counts):
            # Whole sequences at once: a journal of thousands of generations has millions of numbers.
            if not _NUMBERS.issuperset(map(type, numbers)) or not all(
                -_LARGEST < number < _LARGEST for number in numbers
            ):
                raise ValueError(f"not finite numbers: {str(numbers)[:80]}")
        return generation


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Say why an engine gave no generation for a request.

    ``kind``: ``refused`` (the request cannot be run, e.g. a prompt longer than the context), ``died`` (the engine's
    process ended while it worked on this request alone), ``hung`` (the watchdog ended it), ``missing`` (a replay
    holds no such generation), ``start`` (the engine could not load its target), ``judge`` (a judge that is asked over
    the network gave no verdict).
    """

    kind: Literal["refused", "died", "hung", "missing", "start", "judge"]
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
class Mistake:
    """Say what an answer got wrong by a cause that error analysis counts, such as ``wrong_label``."""

    cause: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """
    Hold one case on one target, judged.

    ``violations``: contracts that the output broke. ``mistakes``: what it got wrong, by cause. ``scores`` maps a
    score's name (``schema``, ``exact``, ``field.<name>``, ``quality``) to a number from 0 to 1; a score that does not
    apply is absent. ``labels`` maps a field to its expected and its given label, as text. ``confidences`` maps a field
    to the probability that the model gave its label. ``counts`` maps a name to counts that are summed over cases, such
    as true positives, false positives and false negatives of a field. ``input_tokens_dropped``: what of the input the
    model was not shown, 0 for nothing. ``near_tie``: two choices were so near that it was decided again, alone. ``error`` is set, and everything judged is empty, when the engine gave no
    generation.
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
    mistakes: tuple[Mistake, ...] = ()
    scores: dict[str, float] = field(default_factory=dict)
    labels: dict[str, tuple[str, str]] = field(default_factory=dict)
    confidences: dict[str, float] = field(default_factory=dict)
    counts: dict[str, tuple[float, ...]] = field(default_factory=dict)
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0
    input_tokens_dropped: int = 0
    min_margin: float | None = None
    near_tie: bool = False
    replayed: bool = False
    error: str | None = None

    def fails_run(self, *, strict: bool) -> bool:
        """Say whether the case by itself fails the run; ``strict``: every miss does."""
        return self.outcome in {"failed", "error"} or (strict and self.outcome == "missed")

    def to_json(self) -> Json:
        """Return the record as primitives."""
        # Not asdict, which copies every value deeply: a run of thousands of cases would wait for it.
        data = {name: getattr(self, name) for name in self.__slots__}
        return data | {
            "tags": list(self.tags),
            "violations": [asdict(violation) for violation in self.violations],
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
            "labels": {name: list(pair) for name, pair in self.labels.items()},
            "counts": {name: list(values) for name, values in self.counts.items()},
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Rebuild a record from :meth:`to_json`'s value."""
        return cls(
            **data
            | {
                "tags": tuple(data["tags"]),
                "violations": tuple(Violation(**violation) for violation in data["violations"]),
                "mistakes": tuple(Mistake(**mistake) for mistake in data["mistakes"]),
                "labels": {name: (pair[0], pair[1]) for name, pair in data["labels"].items()},
                "counts": {name: tuple(values) for name, values in data["counts"].items()},
            }
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """
    Hold one measured request of the serial phase; times in seconds.

    ``ttft_s``: to the first token; ``total_s``: to the complete answer. ``prompt_tokens`` is 0 where it was not recorded.
    """

    case: str
    ttft_s: float
    total_s: float
    output_tokens: int
    prompt_tokens: int = 0

    @property
    def inter_token_s(self) -> float | None:
        """Return the mean time between two tokens of this answer; None where it has fewer than two."""
        if self.output_tokens < 2:  # noqa: PLR2004  # one gap takes two tokens
            return None
        return (self.total_s - self.ttft_s) / (self.output_tokens - 1)


@dataclass(frozen=True, slots=True)
class Performance:
    """
    Hold what the serial phase measured of one target.

    ``peak_rss_bytes`` is the largest resident memory of the engine's process, model included; None where it has none.
    ``price_per_hour`` is what the machine costs. ``against``: the times of the baseline model, measured in turns with
    these, sample by sample on the same cases; None where there was none. ``others_busy``: how many cores other programs
    kept busy meanwhile, None where the system does not tell.
    """

    target: str
    samples: tuple[Sample, ...] = ()
    peak_rss_bytes: int | None = None
    price_per_hour: float | None = None
    error: str | None = None
    against: Performance | None = None
    others_busy: float | None = None

    @property
    def cost_per_1k_requests(self) -> float | None:
        """Return what a thousand answers cost, one at a time, in the currency of the price; None without a price."""
        if self.price_per_hour is None or not self.samples:
            return None
        seconds = sum(sample.total_s for sample in self.samples) / len(self.samples)
        return 1000 * seconds / 3600 * self.price_per_hour

    def to_json(self) -> Json:
        """Return the measurements as primitives."""
        return asdict(self) | {
            "samples": [asdict(sample) for sample in self.samples],
            "against": None if self.against is None else self.against.to_json(),
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Rebuild measurements from :meth:`to_json`'s value; raises ValueError, TypeError or KeyError if it is none."""
        samples = tuple(Sample(**sample) for sample in data["samples"])
        if not all(isinstance(number, int | float) for one in samples for number in (one.ttft_s, one.total_s)):
            raise ValueError("a time is no number")
        against = data.get("against")
        return cls(**data | {"samples": samples, "against": None if against is None else cls.from_json(against)})
