"""Rows that share a sequence learn what they would learn alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modelgate_training.tuning.batches import collate, collate_packed
from modelgate_training.tuning.chat import Encoded
from modelgate_training.tuning.dataset import pack


@given(lengths=st.lists(st.integers(min_value=1, max_value=60), max_size=80), room=st.integers(1, 50))
def test_every_row_is_in_one_pack_that_it_fits(lengths: list[int], room: int) -> None:
    """No row is lost, doubled or cut; only a row that is too long by itself stands alone above the limit."""
    packs = pack(lengths, room)

    assert sorted(index for one in packs for index in one) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in one) <= room or len(one) == 1 for one in packs)


@given(lengths=st.lists(st.integers(min_value=1, max_value=50), min_size=1, max_size=80))
def test_packs_are_nearly_full(lengths: list[int]) -> None:
    """Two packs never hold so little that they would fit into one."""
    filled = sorted(sum(lengths[index] for index in one) for one in pack(lengths, 50))

    assert len(filled) < 2 or filled[0] + filled[1] > 50


@pytest.mark.model
def test_packed_rows_do_not_see_each_other() -> None:
    """The loss of a pack is that of its rows one by one, on a real model."""
    torch = pytest.importorskip("torch")
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(3)
    model: Any = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            intermediate_size=64,
        )
    ).eval()  # fmt: skip
    rows = [Encoded([int(token) for token in torch.randint(1, 50, (length,))], 2, "r") for length in (5, 9, 7)]
    with torch.inference_mode():
        packed = model(**collate_packed([rows], 0)).loss.item()
        single = [model(**collate([row], 0, learn_prompt=False)).loss.item() for row in rows]
    weights = [len(row.ids) - row.prompt for row in rows]

    expected = sum(loss * weight for loss, weight in zip(single, weights, strict=True)) / sum(weights)
    assert packed == pytest.approx(expected, abs=1e-5)
