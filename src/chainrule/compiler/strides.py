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


def walking_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """The axes of `shape` in the order in which memory with these strides is walked; axis 0 stays the first."""
    return [*range(min(1, len(shape))), *sorted(range(1, len(shape)), key=lambda a: (-strides[a], a))]
