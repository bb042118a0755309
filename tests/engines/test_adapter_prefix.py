"""Prompts are grouped by what they begin with, so that it is computed once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_modelgate.engines.adapter_prefix import Group, prefix_groups

PROMPTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=20)


def cost(prompts: list[list[int]], groups: list[Group]) -> int:
    """Count the tokens that are computed."""
    return sum(group.length + sum(len(prompts[place]) - group.length for place in group.places) for group in groups)


@given(PROMPTS, st.integers(1, 20))
def test_every_prompt_is_in_one_group_that_begins_as_it_does(prompts: list[list[int]], least_gain: int) -> None:
    """No prompt is lost or doubled, a group's prompts begin alike, and each has a token of its own."""
    groups = prefix_groups(prompts, least_gain)
    assert sorted(place for group in groups for place in group.places) == list(range(len(prompts)))
    for group in groups:
        assert len({tuple(prompts[place][: group.length]) for place in group.places}) == 1
        assert all(len(prompts[place]) > group.length for place in group.places)


@given(PROMPTS, st.integers(1, 20))
def test_grouping_never_costs_tokens(prompts: list[list[int]], least_gain: int) -> None:
    """No more tokens are computed than without it."""
    assert cost(prompts, prefix_groups(prompts, least_gain)) <= sum(map(len, prompts))


def test_one_group_for_each_system_prompt() -> None:
    """Two tasks give two groups, each with its own beginning; a stray prompt shares what it can."""
    head = [7, 8]
    first = [[*head, *[1] * 40, 20 + number] for number in range(5)]
    second = [[*head, *[2] * 30, 20 + number, 9] for number in range(5)]
    stray = [[*head, 3, 3]]
    prompts = [*stray, *second, *first]
    groups = prefix_groups(prompts, 64)
    assert {(group.places, group.length) for group in groups} == {
        ((6, 7, 8, 9, 10), 42),
        ((1, 2, 3, 4, 5), 32),
        ((0,), 0),
    }


def test_little_in_common_is_not_worth_a_pass() -> None:
    """Prompts that share a few tokens are one group without a beginning."""
    (group,) = prefix_groups([[1, 2, number] for number in range(5)], 64)
    assert (set(group.places), group.length) == ({0, 1, 2, 3, 4}, 0)
