"""Looking up places: in an ascending table, of running extremes, in the order of several keys."""

from __future__ import annotations

import numpy as np

from ..dtypes import int64
from .base import Primitive, emit, same_dtype
from .movement import check_axes
from .rules import all_lead, reshape


class SearchSorted(Primitive):
    """For each wanted value the place, int64, in an ascending table before which it belongs.

    The table is (*batch, n), the wanted values (*batch, m). `side` "left" gives the first such place, "right" the last.
    By binary search: m log n comparisons. NaN counts as greater than every number.
    """

    name = "searchsorted"
    family = "indexing"
    attributes = ("side",)
    differentiable = False
    host = True

    def infer(self, table, wanted):
        """The wanted values' shape."""
        same_dtype(self, (table, wanted))
        if not table.shape or len(table.shape) != len(wanted.shape) or table.shape[:-1] != wanted.shape[:-1]:
            self.reject("the operands differ before the last axis", (table, wanted))
        return wanted.shape, int64

    def batch(self, inputs, batched, size):
        """One table for all lanes is searched once, for the values of all of them."""
        table, wanted = inputs
        if not batched[0] and len(table.shape) == 1:
            flat = reshape(wanted, (wanted.shape[0] * wanted.shape[1],))
            return reshape(emit(self.name, table, flat, attributes=self.key[1:]), wanted.shape)
        return emit(self.name, *all_lead(inputs, batched, size), attributes=self.key[1:])

    def numpy(self, table, wanted):
        """`numpy.searchsorted`, row by row."""
        if table.ndim == 1:
            return np.searchsorted(table, wanted, self.side).astype(np.int64)
        result = np.empty(wanted.shape, np.int64)
        for row in np.ndindex(table.shape[:-1]):
            result[row] = np.searchsorted(table[row], wanted[row], self.side)
        return result


class LexSort(Primitive):
    """The indices, int64, that order the last axis by several keys (count, ..., n): the last key first, stable.

    NaN comes last.
    """

    name = "lexsort"
    family = "indexing"
    differentiable = False
    host = True

    def infer(self, keys):
        """The shape of one key."""
        if len(keys.shape) < 2 or not keys.shape[0]:
            self.reject("at least one key with one axis is needed", (keys,))
        return keys.shape[1:], int64

    def batch(self, inputs, batched, size):
        """The batch axis goes behind that of the keys."""
        rank = len(inputs[0].shape)
        moved = emit("permute", inputs[0], attributes=((1, 0, *range(2, rank)),))
        return emit(self.name, moved)

    def numpy(self, keys):
        """`numpy.lexsort`."""
        return np.lexsort(keys, axis=-1).astype(np.int64)


class RunningPlace(Primitive):
    """For each place along `axis` the index, int64, of the extreme so far; the last of equal ones, NaN if there is one.

    `kind` is "max" or "min".
    """

    name = "running_place"
    family = "indexing"
    attributes = ("axis", "kind")
    differentiable = False
    host = True

    def infer(self, x):
        """The operand's shape."""
        check_axes(self, (self.axis,), x)
        return x.shape, int64

    def batch(self, inputs, batched, size):
        """The batch axis is one more axis that is kept."""
        return emit(self.name, inputs[0], attributes=(self.axis + 1, self.kind))

    def numpy(self, x):
        """`numpy.maximum.accumulate` of the values, then of the places that have them."""
        extreme = np.maximum if self.kind == "max" else np.minimum
        so_far = extreme.accumulate(x, self.axis)
        shape = [1] * x.ndim
        shape[self.axis] = x.shape[self.axis]
        places = np.arange(x.shape[self.axis]).reshape(shape)
        reached = (x == so_far) | (x != x)
        return np.maximum.accumulate(np.where(reached, places, 0), self.axis)
