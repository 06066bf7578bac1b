"""Looking up places: in an ascending table, of running extremes, of the first in order, by several keys."""

from __future__ import annotations

import numpy as np

from ..dtypes import int64
from .base import Primitive, emit, same_dtype
from .movement import check_axes, check_ordered
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
        kind = np.int32 if x.shape[self.axis] < 1 << 31 else np.int64  # half the bytes, twice the speed
        reached = x == so_far
        if x.dtype.kind == "f":
            reached |= x != x
        places = reached * np.arange(x.shape[self.axis], dtype=kind).reshape(shape)
        return np.maximum.accumulate(places, self.axis, out=places).astype(np.int64)


#: extent up to which sorting everything is as fast as looking for the part that is wanted
_SHORT = 16


def _ordered_places(x: np.ndarray, largest: bool) -> np.ndarray:
    """The indices that order the last axis, greatest or least first; equal elements keep their order."""
    if not largest:
        return np.argsort(x, -1, kind="stable")
    return x.shape[-1] - 1 - np.flip(np.argsort(np.flip(x, -1), -1, kind="stable"), -1)


def _first_places(x: np.ndarray, count: int, largest: bool) -> np.ndarray:
    """The first `count` of `_ordered_places`: only what does not lie behind the last of them is sorted."""
    extent = x.shape[-1]
    if extent <= _SHORT or count in (0, extent):
        return _ordered_places(x, largest)[..., :count]
    place = extent - count if largest else count - 1
    bound = np.partition(x, place, -1)[..., place : place + 1]
    before, alike = x > bound if largest else x < bound, x == bound
    if x.dtype.kind == "f":  # a NaN is greater than every number, and like every other NaN
        missing, unbounded = x != x, bound != bound
        before |= missing & ~unbounded if largest else unbounded & ~missing
        alike |= missing & unbounded
    room = count - np.count_nonzero(before, -1, keepdims=True)
    if (np.count_nonzero(alike, -1, keepdims=True) > room).any():
        alike &= np.cumsum(alike, -1) <= room  # of equal ones the first
    places = (np.flatnonzero(before | alike) % extent).reshape(*x.shape[:-1], count)
    return np.take_along_axis(places, _ordered_places(np.take_along_axis(x, places, -1), largest), -1)


class FirstPlaces(Primitive):
    """The indices, int64, of the `count` first elements along `axis`, greatest or least first; of equal ones the first.

    NaN counts as greater than every number. What is not among them is not sorted.
    """

    name = "first_places"
    family = "indexing"
    attributes = ("axis", "count", "largest")
    differentiable = False
    host = True

    def infer(self, x):
        """The operand's shape, with an extent of `count` along the axis."""
        check_axes(self, (self.axis,), x)
        check_ordered(self, x)
        if not 0 <= self.count <= x.shape[self.axis]:
            self.reject(f"{self.count} elements of the {x.shape[self.axis]} along axis {self.axis}", (x,))
        return (*x.shape[: self.axis], self.count, *x.shape[self.axis + 1 :]), int64

    def batch(self, inputs, batched, size):
        """The batch axis is one more axis that is kept."""
        return emit(self.name, inputs[0], attributes=(self.axis + 1, self.count, self.largest))

    def numpy(self, x):
        """`numpy.partition` for the last element that is wanted, then those before it sorted."""
        found = _first_places(np.ascontiguousarray(np.moveaxis(x, self.axis, -1)), self.count, self.largest)
        return np.ascontiguousarray(np.moveaxis(found, -1, self.axis).astype(np.int64))
