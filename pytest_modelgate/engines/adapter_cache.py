"""
Hold the keys and values of several rows in transformers' cache, each row with its own unused slots.

A slot is a place in the cache, a position is a place in a row's text. They are not the same: rows are of unequal length,
and a draft's wrong tokens stay in their slots until these are dropped. The mask says which slots a row uses; positions
went into the keys when they were computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch

__all__ = ["RowCache", "can_share"]

_WASTE = 32  # unused slots of every row, beyond a quarter, that are worth a copy of the cache


class RowCache:
    """
    Hold ``cache``, a ``DynamicCache``, and ``mask`` of shape (rows, slots).

    The mask is 1 where a slot is used, 0 where it is not.
    """

    def __init__(self, cache: Any, mask: torch.Tensor) -> None:
        self.cache = cache
        self.mask = mask

    @classmethod
    def empty(cls, n_rows: int, device: str) -> Self:
        """Return one without slots."""
        import torch
        from transformers import DynamicCache

        return cls(DynamicCache(), torch.zeros((n_rows, 0), dtype=torch.long, device=device))

    def repeated(self, n_rows: int) -> Self:
        """Return ``n_rows`` that each begin with the only row of this one."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for number, layer in enumerate(self.cache.layers):
            cache.update(layer.keys.expand(n_rows, -1, -1, -1), layer.values.expand(n_rows, -1, -1, -1), number)
        return type(self)(cache, self.mask.repeat(n_rows, 1))

    def keep(self, places: Sequence[int]) -> None:
        """Drop all rows but ``places``, and unused slots where they are many."""
        import torch

        if len(places) < len(self.mask):
            index = torch.tensor(places, dtype=torch.long, device=self.mask.device)
            self.mask = self.mask[index]
            self._change(lambda states: states[index])
        used = int(self.mask.sum(-1).max()) if len(places) else 0
        if self.mask.shape[1] - used <= _WASTE + used // 4:
            return
        order = self.mask.argsort(dim=-1, descending=True, stable=True)[:, :used]
        self.mask = self.mask.gather(1, order)
        self._change(
            lambda states: states.gather(2, order[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3]))
        )

    def join(self, other: RowCache) -> None:
        """Append the rows of ``other``."""
        import torch
        from torch.nn.functional import pad

        width = max(self.mask.shape[1], other.mask.shape[1])
        self.mask, more = (pad(mask, (0, width - mask.shape[1])) for mask in (self.mask, other.mask))
        for mine, its in zip(self.cache.layers, other.cache.layers, strict=True):
            for name in ("keys", "values"):
                states = [getattr(layer, name) for layer in (mine, its)]
                padded = [pad(one, (0, 0, 0, width - one.shape[2])) for one in states]
                setattr(mine, name, torch.cat(padded))
        self.mask = torch.cat([self.mask, more])

    def _change(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Put what ``change`` makes of them in place of all keys and values, of shape (rows, heads, slots, size)."""
        for layer in self.cache.layers:
            layer.keys, layer.values = change(layer.keys), change(layer.values)


def can_share(network: Any, accepted: frozenset[str], limit: int) -> bool:
    """
    Say whether rows of up to ``limit`` tokens of this network can be held with unused slots.

    They can where positions are given and every layer keeps keys and values of all tokens: not where a layer has a state
    that cannot be cut, or looks back over a window of slots that is not far wider than what a row needs.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if "position_ids" not in accepted:
        return False
    try:
        layers = DynamicCache(config=network.config).layers
    except (KeyError, AttributeError, TypeError, ValueError):  # a kind of layer that has another cache
        return False
    return bool(layers) and all(
        type(layer) is DynamicLayer or (type(layer) is DynamicSlidingWindowLayer and layer.sliding_window >= 2 * limit)
        for layer in layers
    )
