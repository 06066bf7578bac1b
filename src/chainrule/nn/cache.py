"""The memory of attention layers while a sequence is generated."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from ..dtypes import as_dtype, default_float, int64
from ..errors import DTypeError, IndexOutOfRangeError, ShapeError
from ..functional._common import check_tensor, fail, write_state
from ..ops.base import emit, misuse
from ..tensor import Tensor, node_of, state
from .module import Module


class KeyValueCache(Module):
    """Keys and values of the tokens so far, for one attention layer: each token is projected once.

    Args:
        batch: number of sequences.
        num_heads: heads of the keys.
        capacity: tokens that fit.
        head_dim: features of a key; `value_dim`: of a value, default the same.
        dtype: default float32.
    Shapes:
        Buffers, which are no part of a state dict: `keys` (batch, num_heads, capacity, head_dim), `values`
        (..., value_dim) and `length`, an int64 number.
    Raises:
        ConfigError: a size that is not a positive whole number.
    Numerics:
        All arrays have the capacity from the start and the position is a value, not a size: a compiled step serves
        every position, and writes the cache in place.
    Example:
        >>> import chainrule as cr
        >>> cache = cr.nn.KeyValueCache(1, 1, capacity=3, head_dim=2)
        >>> k = cr.ones((1, 1, 2, 2))
        >>> keys, values, mask = cache.append(k, k)
        >>> mask.tolist(), int(cache.length)
        ([[True, False, False], [True, True, False]], 2)
    """

    keys: Tensor
    values: Tensor
    length: Tensor

    def __init__(
        self,
        batch: int,
        num_heads: int,
        capacity: int,
        head_dim: int,
        value_dim: int | None = None,
        dtype: Any = None,
    ):
        super().__init__()
        value_dim = head_dim if value_dim is None else value_dim
        sizes = {"batch": batch, "num_heads": num_heads, "capacity": capacity, "head_dim": head_dim,
                 "value_dim": value_dim}  # fmt: skip
        for name, value in sizes.items():
            if not hasattr(value, "__index__") or value < 1:
                raise misuse(f"KeyValueCache: {name} must be a positive whole number, not {value!r}")
        self.capacity = capacity
        dtype = default_float if dtype is None else as_dtype(dtype)
        lead = (batch, num_heads, capacity)
        self.register_buffer("keys", fn.zeros((*lead, head_dim), dtype=dtype), persistent=False)
        self.register_buffer("values", fn.zeros((*lead, value_dim), dtype=dtype), persistent=False)
        self.register_buffer("length", fn.zeros((), dtype=int64), persistent=False)

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add the keys and values of L tokens; gives all keys, all values and the mask for the L queries.

        Args:
            key: (batch, num_heads, L, head_dim), value: (batch, num_heads, L, value_dim).
        Returns:
            `keys`, `values` and a bool mask (L, capacity): query i sees the tokens up to its own.
        Raises:
            ShapeError, DTypeError: the operands do not fit the cache.
            IndexOutOfRangeError: there is no room for L more tokens (from a compiled step: when it runs; nothing is
                written then).
        """
        for name, new, old in (("key", key, self.keys), ("value", value, self.values)):
            check_tensor("KeyValueCache", new, name)
            wanted = (*old.shape[:2], key.shape[-2] if key.ndim == 4 else 1, old.shape[-1])
            if tuple(new.shape) != wanted:
                have = tuple(old.shape)
                fail(ShapeError, "KeyValueCache", f"{name} has shape {tuple(new.shape)}, the cache {have}", (new, old),
                     "axes are (batch, heads, tokens, features); all but the tokens agree")  # fmt: skip
            if new.dtype is not old.dtype:
                fail(DTypeError, "KeyValueCache", f"{name} is {new.dtype.name}, the cache {old.dtype.name}", (new, old),
                     f"make the cache with dtype={new.dtype.name!r}")  # fmt: skip
        count = key.shape[-2]
        if count > self.capacity:
            fail(ShapeError, "KeyValueCache", f"{count} tokens for a capacity of {self.capacity}", (key,))
        if state.trace is None and not state.lanes and int(self.length) + count > self.capacity:
            problem = f"{int(self.length)} tokens are in the cache, {count} more exceed its capacity of {self.capacity}"
            fail(IndexOutOfRangeError, "KeyValueCache", problem, (key,))
        # A program checks the place of the last token when it runs; that of the first follows from the one checked.
        unchecked = node_of(self.length + (count - 1))
        last = Tensor(emit("check_index", unchecked, attributes=(self.capacity, "KeyValueCache")))
        start = last - (count - 1)
        place = fn.arange(self.capacity) - start
        written = fn.logical_and(place >= 0, place < count)
        results = []
        for new, old in ((key, self.keys), (value, self.values)):
            spread = fn.take(new, fn.clip(place, 0, count - 1), axis=-2) if count > 1 else new
            results.append(fn.where(written[:, None], spread, old))
        for cell, result in zip((self.keys, self.values, self.length), (*results, last + 1)):
            write_state("KeyValueCache", cell, result)
        mask = place[None, :] <= fn.arange(count)[:, None]
        return results[0], results[1], mask

    def reset(self) -> None:
        """Forget all tokens."""
        self.length = fn.zeros((), dtype=int64)

    def forward(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `append`."""
        return self.append(key, value)

    def extra_repr(self) -> str:
        """The sizes."""
        batch, heads, _, width = self.keys.shape
        return f"batch={batch}, num_heads={heads}, capacity={self.capacity}, head_dim={width}"
