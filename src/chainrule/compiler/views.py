"""Views: movement operations as strides over the buffer of the item that computes the elements.

Permuting, broadcasting, slicing, flipping and most reshaping cost nothing: they only change where an operand's
element lies. A reshape that strides cannot express makes its result an item that is copied.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from .canonical import Item

MOVEMENTS = frozenset(("reshape", "permute", "broadcast", "slice", "flip"))


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


def base_view(item: Item) -> View:
    """The view of an item on itself; an iota's "buffer" is the numbers 0, 1, 2, ..."""
    if item.kind == "iota":
        axis = item.op.axis  # type: ignore[union-attr]
        return View(item, 0, tuple(int(a == axis) for a in range(len(item.shape))))
    return View(item, 0, contiguous(item.shape))


class Views:
    """The views of all items of a graph; `copied` are movements that must be materialised."""

    def __init__(self, items: list[Item]):
        self._views: dict[int, View] = {}
        self.copied: set[int] = set()
        for item in items:
            view = None
            if item.kind in MOVEMENTS:
                view = moved(self._views[item.inputs[0].index], item.inputs[0].shape, item)
                if view is None:
                    self.copied.add(item.index)
            self._views[item.index] = view or base_view(item)

    def __getitem__(self, item: Item) -> View:
        return self._views[item.index]


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
