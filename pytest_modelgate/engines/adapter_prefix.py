"""
Say which prompts to run together, so that what they begin with is computed once: one system prompt for each task, say.

Knows tokens only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pytest_modelgate.engines.prefix_tree import shared_length, walk

__all__ = ["Group", "prefix_groups"]


@dataclass(frozen=True, slots=True)
class Group:
    """Hold the places of prompts that begin with the same ``length`` tokens; each has at least one more."""

    places: tuple[int, ...]
    length: int


def prefix_groups(prompts: Sequence[Sequence[int]], least_gain: int) -> list[Group]:
    """
    Divide ``prompts`` into groups, each with what all of it begin with.

    A branch of the prompts' tree becomes a group of its own where that saves at least ``least_gain`` tokens, for every
    group costs a pass through the network; what is left over stays with the branch around it.
    """
    order = walk(prompts)
    # The last token of a prompt is never shared: the logits after it choose the answer's first token.
    common = [
        min(shared_length(prompts[one], prompts[other]), len(prompts[one]) - 1, len(prompts[other]) - 1)
        for one, other in pairwise(order)
    ]
    owners = [0] * len(order)
    count = 1
    branches = [(0, len(order), 0, 0)]
    while branches:
        start, end, owner, length = branches.pop()
        if end - start <= 1:
            continue
        lowest = min(common[start : end - 1])
        if (end - start) * (lowest - length) - lowest >= least_gain:
            owners[start:end] = [count] * (end - start)
            owner, length = count, lowest
            count += 1
        cuts = [place + 1 for place in range(start, end - 1) if common[place] == lowest]
        branches += [(one, other, owner, length) for one, other in pairwise([start, *cuts, end])]
    return list(_grouped(prompts, order, owners, least_gain))


def _grouped(
    prompts: Sequence[Sequence[int]], order: Sequence[int], owners: Sequence[int], least_gain: int
) -> Iterator[Group]:
    """Yield the groups that ``owners`` names, in the order of a walk, with what all of each begin with."""
    members: dict[int, list[int]] = {}
    for place, owner in zip(order, owners, strict=True):
        members.setdefault(owner, []).append(place)
    for places in members.values():
        # In the order of a walk the first and the last have least in common; the shortest may end inside of it.
        first, last = prompts[places[0]], prompts[places[-1]]
        length = min(shared_length(first, last), *(len(prompts[place]) - 1 for place in places))
        worth = (len(places) - 1) * length >= least_gain
        yield Group(tuple(places), max(length, 0) if worth else 0)
