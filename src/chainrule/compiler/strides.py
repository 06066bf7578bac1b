"""Strides in elements: of row-major arrays, and of reshaped ones."""

from __future__ import annotations


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major strides in elements."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


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


def reshape_groups(shape: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Axes of `shape` and those of `new`, in groups as small as they can be that hold the same elements."""
    groups: list[tuple[list[int], list[int]]] = []
    before = behind = 0
    while before < len(shape) and behind < len(new):
        old, made = [before], [behind]
        count, wanted = shape[before], new[behind]
        while count != wanted:
            if count < wanted:
                old.append(old[-1] + 1)
                count *= shape[old[-1]]
            else:
                made.append(made[-1] + 1)
                wanted *= new[made[-1]]
        groups.append((old, made))
        before, behind = old[-1] + 1, made[-1] + 1
    if groups:  # what is left over has one element
        groups[-1][0].extend(range(before, len(shape)))
        groups[-1][1].extend(range(behind, len(new)))
    return groups


def reshaped_strides(shape: tuple[int, ...], new: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of `shape` in memory where `new`, with the same elements, has `strides`."""
    result = [0] * len(shape)
    for old, made in reshape_groups(shape, new):
        step = strides[made[-1]]
        for axis in reversed(old):
            result[axis] = step
            step *= shape[axis]
    return tuple(result)


def walking_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """The axes of `shape` in the order in which memory with these strides is walked; axis 0 stays the first."""
    return [*range(min(1, len(shape))), *sorted(range(1, len(shape)), key=lambda a: (-strides[a], a))]
