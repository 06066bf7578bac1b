"""Views: movement operations as strides over the buffer of the item that computes the elements.

Permuting, broadcasting, slicing, flipping and most reshaping cost nothing: they only change where an operand's
element lies. A reshape that strides cannot express makes its result an item that is copied.

Where the elements of a stored item lie is chosen here too (`Layout`). Leaves and results of the program are row-major.
Images that a convolution computes have their channels last; what is computed elementwise from them, or by reducing
them, keeps that order of axes. An item that is padded with zeros for a convolution is stored inside its padding, so that
padding it is a view as well.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Set
from dataclasses import dataclass

from .canonical import MOVEMENTS, UNBUFFERED, WHOLE, Item

#: kinds whose results have their channels last
CONVOLUTIONS = frozenset(("convolution", "convolution_input_grad"))
#: kinds that compute their result in a buffer in row-major order
ROW_MAJOR = WHOLE | frozenset(("bmm", "take", "take_along", "random_bits", "copy", "argsort", "sort", "csr_matmul"))


@dataclass(slots=True, frozen=True)
class View:
    """Element ``offset + sum(index[a] * strides[a])`` of what `base` computes."""

    base: Item
    offset: int
    strides: tuple[int, ...]


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


@dataclass(slots=True, frozen=True)
class Layout:
    """How a buffer holds an item: its axes in memory, outermost first, and the zeros around them.

    `low[a]` and `high[a]` zeros lie before and behind the elements along axis a.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    def allocated(self) -> tuple[int, ...]:
        """Extents of the buffer, outermost axis first."""
        return tuple(self.low[a] + self.shape[a] + self.high[a] for a in self.order)

    def strides(self) -> tuple[int, ...]:
        """Strides of the item's axes."""
        result = [0] * len(self.shape)
        for axis, stride in zip(self.order, contiguous(self.allocated())):
            result[axis] = stride
        return tuple(result)

    def offset(self) -> int:
        """Where the first element lies."""
        return sum(map(operator.mul, self.low, self.strides()))


class Views:
    """The views of all items of a graph; `copied` are movements that must be materialised.

    `layouts` has the items that are not stored in row-major order without padding.
    """

    def __init__(self, items: list[Item], outputs: list[Item], given: Mapping[int, View] | None = None):
        """`given`: where the elements of leaves lie, by their index, if not one behind the other."""
        self._views: dict[int, View] = {}
        self.copied: set[int] = set()
        self.layouts: dict[int, Layout] = {}
        self._fixed = {item.index for item in outputs}
        self._fixed |= {operand.index for item in items if item.kind in WHOLE for operand in item.inputs}
        self._padding = self._halos(items)
        for item in items:
            view = None
            if item.kind in MOVEMENTS:
                view = moved(self._views[item.inputs[0].index], item.inputs[0].shape, item)
                if view is None:
                    self.copied.add(item.index)
            elif item.kind == "pad" and item.inputs[0].index in self._padding:
                view = self._padded(item)
            self._views[item.index] = view or (given or {}).get(item.index) or self._own(item)

    def __getitem__(self, item: Item) -> View:
        return self._views[item.index]

    def add(self, item: Item) -> None:
        """Let an item made later than the others lie in a buffer of its own, in row-major order."""
        self._views[item.index] = View(item, 0, contiguous(item.shape))

    def _halos(self, items: list[Item]) -> dict[int, tuple[list[int], list[int]]]:
        """For each item that can be stored inside zeros, how many its users want around it."""
        found: dict[int, tuple[list[int], list[int]]] = {}
        for item in items:
            if item.kind != "pad" or item.index in self._fixed:
                continue
            x, fill = item.inputs
            op: object = item.op
            low, high = op.low, op.high  # type: ignore[attr-defined]
            zeros = fill.kind == "full" and fill.value == 0 and math.copysign(1, fill.value) > 0
            if not zeros or any(op.interior) or low[0] or high[0] or 0 in x.shape:  # type: ignore[attr-defined]
                continue
            if x.kind in UNBUFFERED or x.kind in WHOLE or x.index in self._fixed:
                continue
            before, behind = found.setdefault(x.index, ([0] * len(low), [0] * len(low)))
            before[:] = map(max, before, low)
            behind[:] = map(max, behind, high)
        return found

    def _padded(self, item: Item) -> View:
        x = item.inputs[0]
        view = self._views[x.index]
        first = sum(map(operator.mul, item.op.low, view.strides))  # type: ignore[union-attr]
        return View(view.base, view.offset - first, view.strides)

    def _own(self, item: Item) -> View:
        """The view of an item on itself; an iota's "buffer" is the numbers 0, 1, 2, ..."""
        rank = len(item.shape)
        if item.kind == "iota":
            axis = item.op.axis  # type: ignore[union-attr]
            return View(item, 0, tuple(int(a == axis) for a in range(rank)))
        order = self._order(item)
        low, high = self._padding.get(item.index, ((0,) * rank, (0,) * rank))
        if order == tuple(range(rank)) and not any(low) and not any(high):
            return View(item, 0, contiguous(item.shape))
        layout = self.layouts[item.index] = Layout(item.shape, order, tuple(low), tuple(high))
        return View(item, layout.offset(), layout.strides())

    def _order(self, item: Item) -> tuple[int, ...]:
        """The axes of an item in memory: that of its operands, if one of them is not in row-major order."""
        rank = len(item.shape)
        rows = tuple(range(rank))
        if rank < 3 or item.index in self._fixed or item.kind in ROW_MAJOR or item.kind in UNBUFFERED:
            return rows
        if item.kind in CONVOLUTIONS:
            return (0, *range(2, rank), 1)
        if item.kind == "convolution_weight_grad":  # parts that a sum follows keep the channels that are vectors last
            return (0, *range(2, rank), 1) if item.shape[0] > 1 else rows
        axes = getattr(item.op, "axes", None)
        kept = rows
        if item.op is not None and item.op.family == "reduction":
            gone = (item.op.axis,) if axes is None else axes
            kept = tuple(a for a in range(len(item.inputs[0].shape)) if a not in gone)
        for operand in item.inputs:
            if len(operand.shape) < rank or operand.kind in ("full", "scalar", "iota"):
                continue
            strides = [self._views[operand.index].strides[a] for a in kept]
            if any(stride <= 0 < size - 1 for stride, size in zip(strides, item.shape)):
                continue
            order = (0, *sorted(range(1, rank), key=lambda a: -strides[a]))
            if any(strides[a] != strides[b] for a, b in zip(order, rows)):
                return order
        return rows


def moved(view: View, shape: tuple[int, ...], item: Item) -> View | None:
    """`view` (of an operand of `shape`) after the movement `item`, or None if strides cannot say it."""
    op: object = item.op
    strides, offset = view.strides, view.offset
    if item.kind == "permute":
        return View(view.base, offset, tuple(strides[a] for a in op.axes))  # type: ignore[attr-defined]
    if item.kind == "broadcast":
        wide = [0] * len(item.shape)
        for axis, place in enumerate(op.axes):  # type: ignore[attr-defined]
            wide[place] = strides[axis] if shape[axis] != 1 else 0
        return View(view.base, offset, tuple(wide))
    if item.kind == "slice":
        starts, steps = op.starts, op.steps  # type: ignore[attr-defined]
        offset += sum(start * stride for start, stride in zip(starts, strides))
        return View(view.base, offset, tuple(stride * step for stride, step in zip(strides, steps)))
    if item.kind == "windows":
        steps, dilations = op.strides, op.dilations  # type: ignore[attr-defined]
        outer, inner = strides[: len(strides) - len(steps)], strides[len(strides) - len(steps) :]
        across = tuple(stride * step for stride, step in zip(inner, steps))
        within = tuple(stride * gap for stride, gap in zip(inner, dilations))
        return View(view.base, offset, (*outer, *across, *within))
    if item.kind == "flip":
        axes = op.axes  # type: ignore[attr-defined]
        offset += sum((shape[a] - 1) * strides[a] for a in axes)
        return View(view.base, offset, tuple(-s if a in axes else s for a, s in enumerate(strides)))
    reshaped = reshape_strides(shape, strides, item.shape)
    return None if reshaped is None else View(view.base, offset, reshaped)


def reshape_strides(shape: tuple[int, ...], strides: tuple[int, ...], new: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides of `new` over the same elements in the same order, or None if there are none."""
    if 0 in shape:
        return contiguous(new)
    old = [(size, stride) for size, stride in zip(shape, strides) if size != 1]
    merged: list[tuple[int, int]] = []
    for size, stride in old:
        if merged and merged[-1][1] == size * stride:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    result: list[int] = []
    position = len(merged) - 1
    left, step = merged[position] if merged else (1, 0)
    for size in reversed(new):
        if size == 1:
            result.append(0)
            continue
        while left == 1:
            position -= 1
            if position < 0:
                return None
            left, step = merged[position]
        if left % size:
            return None
        result.append(step)
        step *= size
        left //= size
    return tuple(reversed(result))


def collapse(
    shape: tuple[int, ...], strides: list[tuple[int, ...]], barriers: Set[int] = frozenset(), by_chance: bool = True
) -> list[list[int]]:
    """Groups of adjacent axes that all operands walk as one; axes of size 1 are left out.

    An axis in `barriers` never joins the axis before it. Without `by_chance`, axes join only where operands stand
    still or are contiguous, not where a stride happens to fit: another shape then leads to the same loops.
    """
    groups: list[list[int]] = []
    whole = contiguous(shape)
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if groups and axis not in barriers and not any(b in barriers for b in range(groups[-1][-1] + 1, axis)):
            last = groups[-1][-1]
            if all(s[last] == s[axis] * size and (by_chance or s[axis] in (0, whole[axis])) for s in strides):
                groups[-1].append(axis)
                continue
        groups.append([axis])
    return groups
