"""Compare what a text speaks of with the events of its input, also where it uses other words for them."""

from __future__ import annotations

import itertools

from pytest_modelgate.detectors.vocabulary import vocabulary
from pytest_modelgate.detectors.words import content, plain, stem, words

_SAME = (
    "alert alarm page notify notification warn",
    "begin start commence open launch kick kickoff onset live initiate",
    "stop halt pause cancel kill end abort suspend terminate cease finish conclude complete interrupt",
    "disable deactivate off",
    "enable activate",
    "deploy deployment release rollout ship push promote promotion publish",
    "rollback revert restore undo back reversal reinstate backout",
    "restart reboot reload bounce recycle cycle",
    "fix correct repair patch remedy",
    "detect find notice spot observe discover identify see recognise recognize",
    "fail failure crash break die error fault",
    "failover",
    "drop fall decline plunge sink decrease dip",
    "rise climb increase grow jump spike surge",
    "replace swap exchange renew",
    "remove delete drop purge clean cleanup clear",
    "raise lift increase enlarge expand scale",
    "limit cap throttle restrict",
    "report complain complaint call",
    "upgrade update",
    "expire expiry lapse",
    "block ban refuse reject deny",
    "lose loss lost",
    "outage downtime",
    "power electricity",
    "catch recover recovery",
    "switch flip toggle change edit modify modification",
    "move shift migrate redirect divert reroute",
    "import load ingest",
    "job batch run",
    "stream broadcast",
    "fibre fiber cable",
    "cut sever",
)
_GROUP: dict[str, set[int]] = {}
for _number, _line in enumerate(_SAME):
    for _word in _line.split():
        _GROUP.setdefault(stem(_word), set()).add(_number)

# Two words that stand for one: "rolled back" is a rollback.
_PAIRS = {
    (stem(first), stem(second)): stem(one)
    for first, second, one in (
        ("roll", "back", "rollback"),
        ("back", "out", "rollback"),
        ("fail", "over", "failover"),
        ("roll", "out", "rollout"),
        ("go", "live", "launch"),
        ("turn", "off", "disable"),
        ("switch", "off", "disable"),
        ("turn", "on", "enable"),
        ("switch", "on", "enable"),
        ("kick", "off", "kickoff"),
        ("shut", "down", "stop"),
        ("clean", "up", "cleanup"),
    )
}
# What every account of an incident says, whatever happened in it.
_GENERIC = frozenset(
    stem(word)
    for word in vocabulary(
        """
        incident outage problem issue event cause root factor customer user people team engineer service system
        error failure trouble situation impact affected disruption summary timeline postmortem report day hour
        minute second moment time everything anyone number per cent percent rate level new old normal first
        third on-call back
        """
    )
)
# Everyday words that name events nevertheless.
_EVENT_WORDS = frozenset(
    stem(word)
    for word in vocabulary(
        """
        begin start stop open call change move add clear close complete run put set turn finish end return
        receive restore send apply live push left order state show hear meet
        """
    )
)


def event_stems(text: str) -> list[str]:
    """Return the stems in ``text`` that may name an event or what it happened to, with two-word verbs as one."""
    stems = [stem(word) for word in words(text)]
    kept = set(content(text)) | _EVENT_WORDS
    found = [stems[index] for index in range(len(stems)) if stems[index] in kept and stems[index] not in _GENERIC]
    found += [_PAIRS[pair] for pair in itertools.pairwise(stems) if pair in _PAIRS]
    return found


class Events:
    """Hold what the events of an input are made of."""

    def __init__(self, input_text: str) -> None:
        self._stems = set(event_stems(plain(input_text)))
        self._groups = {group for word in self._stems for group in _GROUP.get(word, ())}

    def __contains__(self, word: str) -> bool:
        return word in self._stems or not self._groups.isdisjoint(_GROUP.get(word, ()))

    def shared(self, text: str) -> int:
        """Return how many different stems of ``text`` belong to the events."""
        return sum(word in self for word in set(event_stems(text)))
