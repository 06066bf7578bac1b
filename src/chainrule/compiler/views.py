"""Views: movement operations as strides over the buffer of the item that computes the elements.

Permuting, broadcasting, slicing, flipping and most reshaping cost nothing: they only change where an operand's
element lies. A reshape that strides cannot express makes its result an item that is copied.

Where the elements of a stored item lie is chosen here too (`Layout`). Leaves and results of the program are row-major.
Images that a convolution computes have their channels last; what is computed elementwise from them, by reducing
them or by a reshape that copies them, keeps that order of axes. An item that is padded with zeros for a convolution is
stored inside its padding, so that padding it is a view as well.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from ..dtypes import bfloat16
from .attention import KINDS as ATTENTION
from .canonical import MOVEMENTS, UNBUFFERED, WHOLE, Item
from .strides import contiguous, reshape_groups, reshape_strides

#: kinds whose results have their channels last
CONVOLUTIONS = frozenset(("convolution", "convolution_input_grad"))
#: kinds that compute their result in a buffer in row-major order
ROW_MAJOR = WHOLE | frozenset(("bmm", "take", "take_along", "random_bits", "copy", "csr_matmul"))


@dataclass(slots=True, frozen=True)
class View:
    """Element ``offset + sum(index[a] * strides[a])`` of what `base` computes."""

    base: Item
    offset: int
    strides: tuple[int, ...]


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
        self._copies: dict[int, Item] = {}  # of reshapes, inside of the zeros that a convolution wants
        self._fixed = {item.index for item in outputs}
        self._fixed |= {operand.index for item in items if item.kind in WHOLE for operand in item.inputs}
        self._within: set[int] = set()  # pads that are views: their operand is stored inside its zeros
        self._padding = self._halos(items)
        self._free: set[int] = set()  # items computed from numbers and counts alone, which say nothing about an order
        #: items that are stored inside the concatenation that they are a part of, or as a result that is a view of them
        self.inside: dict[int, Item] = {}
        self.placed: set[tuple[int, int]] = set()  # concatenations and numbers of parts that are stored inside them
        places = self._parts(items)
        self._results = self._turned(outputs) if given is None else {}
        for item in items:
            view = places.get(item.index)
            if item.kind in MOVEMENTS:
                view = moved(self._views[item.inputs[0].index], item.inputs[0].shape, item)
                if view is None:
                    self.copied.add(item.index)
                    view = self._reshaped(item)
                else:
                    self._copies.pop(item.index, None)
            elif item.index in self._within:
                view = self._padded(item)
            elif item.kind == "copy" and (
                self.inside.get(self._views[item.inputs[0].index].base.index) is item
                or self._copies.get(item.inputs[0].index) is item
            ):
                view = self._views[item.inputs[0].index]
            self._views[item.index] = view or (given or {}).get(item.index) or self._own(item)

    def __getitem__(self, item: Item) -> View:
        return self._views[item.index]

    def add(self, item: Item) -> None:
        """Let an item made later than the others lie in a buffer of its own, in row-major order."""
        self._views[item.index] = View(item, 0, contiguous(item.shape))

    def move(self, item: Item, view: View) -> None:
        """Let an item lie elsewhere from now on; views of it stay where they were."""
        self._views[item.index] = view

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
            if x.kind in UNBUFFERED or x.kind in WHOLE or x.index in self._fixed or x.index in self._within:
                continue
            if x.kind == "copy" and x.inputs[0].kind == "reshape" and x.inputs[0].index not in self._fixed:
                self._copies[x.inputs[0].index] = x
            self._within.add(item.index)
            before, behind = found.setdefault(x.index, ([0] * len(low), [0] * len(low)))
            before[:] = map(max, before, low)
            behind[:] = map(max, behind, high)
        return found

    def _parts(self, items: list[Item]) -> dict[int, View]:
        """Where results of elementwise operations and of attention that are parts of one concatenation lie: in it.

        Not in graphs with images, whose concatenations take the order of axes of their parts.
        """
        found: dict[int, View] = {}
        if any(item.kind in CONVOLUTIONS for item in items):
            return found
        for item in items:
            if item.kind != "concat" or item.index in self._padding:
                continue
            axis, strides, offset = item.op.axis, contiguous(item.shape), 0  # type: ignore[union-attr]
            for number, part in enumerate(item.inputs):
                x, inner = _unwrapped(part, strides)
                placed = x.op is not None and x.op.family == "elementwise" and x.kind not in WHOLE
                placed |= x.kind == "part" and x.inputs[0].kind in ATTENTION and _in_step(x, offset, inner)
                taken = x.index in found or x.index in self._fixed or x.index in self._padding
                if placed and not taken:
                    found[x.index] = View(x, offset, inner)
                    self.inside[x.index] = item
                    self.placed.add((item.index, number))
                    self._fixed.add(item.index)  # in row-major order
                offset += part.shape[axis] * strides[axis]
        return found

    def _turned(self, outputs: list[Item]) -> dict[int, Item]:
        """Items that convolutions or elementwise operations compute, of which a result is a permutation."""
        found: dict[int, Item] = {}
        for item in outputs:
            turned = item.inputs[0] if item.kind == "copy" else item
            if turned.kind == "permute":
                x = turned.inputs[0]
                if x.kind in CONVOLUTIONS or (x.op is not None and x.op.family == "elementwise"):
                    found.setdefault(x.index, item)
        return found

    def _reshaped(self, item: Item) -> View | None:
        """Where a reshape that copies images puts them: in their order of axes, inside the zeros around them."""
        rank, x = len(item.shape), self._views[item.inputs[0].index]
        groups = reshape_groups(item.inputs[0].shape, item.shape)
        copy = self._copies.get(item.index)
        if copy is not None:
            order, padding = (0, *range(2, rank), 1), self._padding[copy.index]
            if _together(order, groups, [sum(zeros) for zeros in zip(*padding)]):
                return self._laid_out(item, order, *padding)
            del self._copies[item.index]
        if rank < 3 or item.index in self._fixed or x.base.index not in self.layouts:
            return None
        far = [max(abs(x.strides[axis]) for axis in old) for old, _ in groups]
        walked = [0, *sorted(range(1, len(groups)), key=lambda group: -far[group])]
        order = tuple(axis for group in walked for axis in groups[group][1])
        return self._laid_out(item, order, [0] * rank, [0] * rank) if order != tuple(range(rank)) else None

    def _laid_out(self, item: Item, order: tuple[int, ...], low: Sequence[int], high: Sequence[int]) -> View:
        layout = self.layouts[item.index] = Layout(item.shape, order, tuple(low), tuple(high))
        return View(item, layout.offset(), layout.strides())

    def _is_result(self, item: Item, order: tuple[int, ...]) -> bool:
        """Whether an item, with its axes in memory in this order, is what a result is a view of, row by row."""
        result = self._results.get(item.index)
        if result is None or item.index in self._padding:
            return False
        return result.inputs[0].op.axes == order  # type: ignore[union-attr]

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
        if self._is_result(item, order):
            self.inside[item.index] = self._results[item.index]
        return self._laid_out(item, order, low, high)

    def _order(self, item: Item) -> tuple[int, ...]:
        """The axes of an item in memory: that of its operands, if one of them is not in row-major order."""
        rank = len(item.shape)
        rows = tuple(range(rank))
        image = item.kind == "copy" and item.index in self._padding  # a leaf, for a convolution
        if rank < 3 or item.index in self._fixed or (item.kind in ROW_MAJOR and not image) or item.kind in UNBUFFERED:
            return rows
        if item.kind in CONVOLUTIONS or image:
            return (0, *range(2, rank), 1)
        if item.kind == "convolution_weight_grad":  # the channels that are vectors stay last
            return (0, *range(2, rank), 1)
        axes = getattr(item.op, "axes", None)
        kept = rows
        if item.op is not None and item.op.family == "reduction":
            gone = (item.op.axis,) if axes is None else axes
            kept = tuple(a for a in range(len(item.inputs[0].shape)) if a not in gone)
        repeated, informed = rows, False
        for operand in item.inputs:
            base = self._views[operand.index].base
            if base.kind in ("full", "scalar", "iota") or base.index in self._free:
                continue
            informed = True
            if len(operand.shape) < rank:
                continue
            strides = [self._views[operand.index].strides[a] for a in kept]
            still = [stride == 0 and size > 1 for stride, size in zip(strides, item.shape)]
            if min(strides) < 0 or (any(still) and repeated != rows):
                continue
            order = _in_memory(strides, still)
            if not any(still) and any(strides[a] != strides[b] for a, b in zip(order, rows)):
                return order
            if any(still):
                repeated = order
            else:
                return rows
        if not informed:
            self._free.add(item.index)
        return repeated


def _together(order: tuple[int, ...], groups: list[tuple[list[int], list[int]]], zeros: Sequence[int]) -> bool:
    """Whether what each group of axes is reshaped to lies side by side, with no zeros between."""
    for _, made in groups:
        first = order.index(made[0])
        if order[first : first + len(made)] != tuple(made) or (len(made) > 1 and any(zeros[axis] for axis in made)):
            return False
    return True


def _in_step(x: Item, offset: int, strides: tuple[int, ...]) -> bool:
    """Whether what lies there can be written by pairs, as attention writes bfloat16."""
    return x.dtype is not bfloat16 or (offset % 2 == 0 and all(s % 2 == 0 for s in strides[:-1]) and strides[-1] == 1)


def _unwrapped(part: Item, strides: tuple[int, ...]) -> tuple[Item, tuple[int, ...]]:
    """What a part shows with other axes of extent 1, and its strides for these of the part."""
    if part.kind != "reshape":
        return part, strides
    x = part.inputs[0]
    longer = [axis for axis, extent in enumerate(part.shape) if extent != 1]
    if [extent for extent in x.shape if extent != 1] != [part.shape[axis] for axis in longer]:
        return part, strides
    left = iter(longer)
    return x, tuple(strides[next(left)] if extent != 1 else 0 for extent in x.shape)


def _in_memory(strides: list[int], still: list[bool]) -> tuple[int, ...]:
    """Axes in the order of their strides, the first one in front; one along which an operand stands still comes behind
    the axis before it."""
    order = [0]
    for axis in sorted((a for a in range(1, len(strides)) if not still[a]), key=lambda a: -strides[a]):
        order.append(axis)
    for axis in range(1, len(strides)):
        if still[axis]:
            order.insert(order.index(axis - 1) + 1, axis)
    return tuple(order)


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
