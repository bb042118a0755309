"""
Find what prompts begin with in common, so that it is computed once.

The tree of all prompts needs no nodes: in the order of a walk through it, which is the prompts' alphabetical order, what
a prompt shares with any earlier one it shares with the one right before it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["distinct_tokens", "shared_length", "walk"]


def shared_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    end = min(len(one), len(other))
    if one[:end] == other[:end]:
        return end
    low, high = 0, end  # the first `low` are equal, the first `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def walk(prompts: Sequence[Sequence[int]]) -> list[int]:
    """
    Return the places of ``prompts`` in the order of a walk through their tree, depth first.

    Equal prompts keep their order.
    """
    return sorted(range(len(prompts)), key=lambda place: array("i", prompts[place]))


def distinct_tokens(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens the tree of ``prompts`` holds: the least that must be computed."""
    order = walk(prompts)
    shared = sum(shared_length(prompts[one], prompts[other]) for one, other in pairwise(order))
    return sum(map(len, prompts)) - shared
