"""What prompts begin with in common is found, and counted once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.engines.prefix_tree import distinct_tokens, shared_length, walk

PROMPTS = st.lists(st.lists(st.integers(0, 2), max_size=8), max_size=12)


@given(st.lists(st.integers(0, 1)), st.lists(st.integers(0, 1)))
def test_shared_length(one: list[int], other: list[int]) -> None:
    """Up to the shared length both are equal, and no further."""
    length = shared_length(one, other)
    assert one[:length] == other[:length]
    assert length in {len(one), len(other)} or one[length] != other[length]


@given(PROMPTS)
def test_walk_shares_most_with_the_last(prompts: list[list[int]]) -> None:
    """In the order of a walk no earlier prompt shares more with one than the one right before it."""
    order = walk(prompts)
    assert sorted(order) == list(range(len(prompts)))
    for number, place in enumerate(order[1:], 1):
        shares = [shared_length(prompts[earlier], prompts[place]) for earlier in order[:number]]
        assert max(shares) == shares[-1]


@given(PROMPTS)
def test_distinct_tokens_are_the_prefixes(prompts: list[list[int]]) -> None:
    """The tree has one token for each different beginning."""
    prefixes = {tuple(prompt[:end]) for prompt in prompts for end in range(1, len(prompt) + 1)}
    assert distinct_tokens(prompts) == len(prefixes)
