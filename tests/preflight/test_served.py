"""A server that makes another number of tokens of a prompt renders it differently, and mostly one knows how."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_modelgate.engines import Result
from pytest_modelgate.engines.probe import Encoded, ScoreRow, TokenizerFacts
from pytest_modelgate.preflight.check import Finding
from pytest_modelgate.preflight.served import check_served_prompts, choose
from pytest_modelgate.records import EngineInfo, Failure, Generation, Message, Request

BOS, TURN, ROLE, END = 1000, 1001, 1002, 1003
Turns = Sequence[Message]


def tokens(messages: Turns, *, add_generation_prompt: bool = True, bos: bool = False) -> list[int]:
    """Return a prompt as ids: two marks before and one after each turn, and one for each character."""
    turns = [token for turn in messages for token in (TURN, ROLE, *map(ord, turn.content), END)]
    return [BOS] * bos + turns + [TURN, ROLE] * add_generation_prompt


class OwnProbe:
    """Render as the model was trained; ``bos``: its template writes a BOS."""

    def __init__(self, *, bos: bool = False, knows_bos: bool = True) -> None:
        self._bos = bos
        self._bos_id = BOS if knows_bos else None

    def facts(self) -> TokenizerFacts:
        """Say what is known of the tokenizer."""
        return TokenizerFacts(2000, self._bos_id, END, adds_bos=False, adds_eos=False, stop_ids=(END,), turn_end_id=END,
                              template="…", special={}, controls=())  # fmt: skip

    def encode(self, conversations: Sequence[Turns], *, add_generation_prompt: bool = True) -> list[Encoded]:
        """Render, and refuse a conversation that ends with a system turn."""
        return [
            Encoded(error="no user turn")
            if not messages or messages[-1].role == "system"
            else Encoded("text", tuple(tokens(messages, add_generation_prompt=add_generation_prompt, bos=self._bos)))
            for messages in conversations
        ]

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Not needed."""
        raise NotImplementedError

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Not needed."""
        raise NotImplementedError

    def score(self, rows: Sequence[ScoreRow], folder: Path) -> list[Path]:
        """Not needed."""
        raise NotImplementedError

    def close(self) -> None:
        """Do nothing."""


class Server:
    """Count a prompt's tokens in its own way."""

    def __init__(self, count: Callable[[Turns], int | Failure]) -> None:
        self._count = count
        self.asked: list[Request] = []

    def describe(self) -> EngineInfo:
        """Say who this is."""
        return EngineInfo("endpoint", "1")

    def generate(self, requests: Sequence[Request]) -> Iterator[Result]:
        """Answer in any order."""
        for request in reversed(requests):
            self.asked.append(request)
            count = self._count(request.messages or ())
            yield request.key, count if isinstance(count, Failure) else Generation("x", "length", prompt_tokens=count)

    def peak_rss_bytes(self) -> int | None:
        """Say nothing."""
        return None

    def close(self) -> None:
        """Do nothing."""


PROMPTS: dict[str, tuple[Message, ...]] = {
    "golden/system": (Message("system", "Be brief."), Message("user", "Hello")),
    "golden/bare": (Message("user", "Hello, who are you?"),),
    "golden/spaces": (Message("system", "Be brief."), Message("user", "  Hello\n")),
    "golden/turns": (Message("user", "a"), Message("assistant", "b"), Message("user", "c" * 50)),
    "golden/long": (Message("user", "d" * 80),),
}


def found(count: Callable[[Turns], int | Failure], probe: OwnProbe | None = None, n_cases: int = 20) -> Finding:
    """Return what is found of a server that counts so."""
    return check_served_prompts(Server(count), probe or OwnProbe(), PROMPTS, n_cases)


def test_equal_counts() -> None:
    """Equal counts pass, and what they do not show is said."""
    finding = found(lambda messages: len(tokens(messages)))
    assert finding.outcome == "passed"
    assert finding.reason.startswith("5 prompts have as many tokens served")
    assert finding.details == ("only counts can be compared: a server does not show tokens",)


def test_one_token_is_asked_for() -> None:
    """The server is asked for one token after each prompt."""
    server = Server(lambda messages: len(tokens(messages)))
    check_served_prompts(server, OwnProbe(), PROMPTS)
    assert {request.key: request.messages for request in server.asked} == PROMPTS
    assert {request.max_tokens for request in server.asked} == {1}


def without(role: str, messages: Turns) -> tuple[Message, ...]:
    """Return the turns of others."""
    return tuple(message for message in messages if message.role != role)


def with_empty_system(messages: Turns) -> tuple[Message, ...]:
    """Return messages that begin with a system turn."""
    return tuple(messages) if messages[0].role == "system" else (Message("system", ""), *messages)


def merged(messages: Turns) -> list[int]:
    """Return ids with the system text inside the user's turn."""
    if messages[0].role != "system":
        return tokens(messages)
    return tokens((Message("user", f"{messages[0].content}\n\n{messages[1].content}"), *messages[2:]))


CAUSES: dict[str, tuple[Callable[[Turns], int], bool, str, str]] = {
    "empty system turn": (lambda m: len(tokens(with_empty_system(m))), False, "F05", "an empty system turn"),
    "no system turn": (lambda m: len(tokens(without("system", m))), False, "F05", "drops the system turn"),
    "system in user's": (lambda m: len(merged(m)), False, "F05", "system text into the user's turn"),
    "stripped": (lambda m: sum(len(x.content.strip()) + 3 for x in m) + 2, False, "F01", "white space"),
    "no generation prompt": (lambda m: len(tokens(m)) - 2, False, "F01", "add_generation_prompt"),
    "no BOS": (lambda m: len(tokens(m)), True, "F03", "puts no BOS in front"),
    "second BOS": (lambda m: len(tokens(m)) + 2, True, "F03", "a second BOS"),
    "a BOS": (lambda m: len(tokens(m)) + 1, False, "F03", "which the template does not write"),
    "cut": (lambda m: min(len(tokens(m)), 30), False, "F18", "cuts prompts at 30 tokens"),
}


@pytest.mark.parametrize(("count", "bos", "mode", "part"), CAUSES.values(), ids=CAUSES)
def test_cause(count: Callable[[Turns], int], bos: bool, mode: str, part: str) -> None:
    """A difference that one change of the prompts explains is named by that change, in all prompts at once."""
    finding = found(count, OwnProbe(bos=bos))
    assert finding.outcome == "failed"
    assert finding.mode == mode
    assert part in finding.reason


def test_first_difference_is_shown() -> None:
    """The first case that differs is named with both counts."""
    finding = found(lambda m: len(tokens(with_empty_system(m))))
    assert finding.reason == (
        "golden/bare: the server makes 27 tokens of the prompt, the model's own template 24; "
        "likely it puts an empty system turn before a conversation that has none"
    )
    assert finding.details[0] == "golden/bare: served 27, own 24 (+3)"
    assert finding.figures == {"prompts": 5.0, "different": 3.0}


def test_unknown_cause() -> None:
    """A difference without a known cause is another template."""
    finding = found(lambda m: 2 * len(tokens(m)))
    assert (finding.outcome, finding.mode) == ("failed", "F01")
    assert "likely" not in finding.reason


def test_cause_must_explain_all() -> None:
    """What would explain the differing prompts but not the equal ones is no cause."""
    finding = found(lambda m: len(tokens(m)) + (m == PROMPTS["golden/long"]))
    assert "likely" not in finding.reason


def test_without_counts() -> None:
    """A server that does not count cannot be checked, which is not green."""
    assert found(lambda _: 0).outcome == "not checked"


def test_one_count_missing() -> None:
    """A server that counts some prompts only is not green either."""
    assert found(lambda m: len(tokens(m)) if len(m) > 1 else 0).outcome == "failed"


def test_refused() -> None:
    """A prompt that the server does not run fails with what it said."""
    finding = found(lambda m: Failure("refused", "context too long") if len(m) == 1 else len(tokens(m)))
    assert finding.outcome == "failed"
    assert finding.reason == "golden/bare: the server does not run it: context too long (and 1 more)"


def test_refused_by_the_template() -> None:
    """What the model's own template refuses cannot be compared, and fails."""
    finding = check_served_prompts(Server(lambda _: 5), OwnProbe(), {"golden/x": (Message("system", "a"),)})
    assert finding.outcome == "failed"
    assert finding.reason == "golden/x: the model's own template does not render it: no user turn"


@pytest.mark.parametrize("n_cases", [2, 3, 7, 20])
def test_choice(n_cases: int) -> None:
    """Prompts of all lengths are chosen, the shortest and the longest among them."""
    prompts = {f"golden/{n}": (Message("user", "x" * (n * 7 % 100)),) for n in range(100)}
    lengths = [len(messages[0].content) for messages in choose(prompts, n_cases).values()]
    assert len(set(lengths)) == n_cases
    assert (lengths[0], lengths[-1]) == (0, 99)
    assert lengths == sorted(lengths)
    assert max(b - a for a, b in pairwise(lengths)) <= 99 // (n_cases - 1) + 1
