"""Depthwise convolutions that read their images as they lie, without zeros around them: which ones, and their tiles.

Every element that such a kernel reads meets a few multiply-adds only, so that a copy of the image into the middle of
zeros would take longer than the arithmetic. The native code knows where the image ends instead
(backends/cpu/windows.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .kernel import Tiling, Window
from .tiling import split_panels
from .trees import CONTRACTION_BLOCK, contraction_chain

#: places of a kernel along the last axis, and outputs that see beyond the image there, which are all written out
WIDEST, MOST_BORDERS = 11, 32
#: vectors of sums in a tile of positions, with many registers and with few
POSITIONS = 16
#: terms of a gradient's sum along the last axis that share their loads
TOGETHER = 4


def reads_windows(name: str, op: Any, a: Sequence[int], b: Sequence[int], kernel: Sequence[int]) -> bool:
    """Whether a convolution or gradient of operands of shapes `a` and `b` runs on images without zeros around them."""
    if op.groups < 2 or a[1] != op.groups or b[0 if name != "convolution_weight_grad" else 1] != op.groups:
        return False
    if name != "convolution_weight_grad" and b[1] != 1:
        return False
    if kernel[-1] > WIDEST or op.low[-1] > MOST_BORDERS or op.high[-1] > MOST_BORDERS:
        return False
    if name != "convolution_weight_grad":
        return math.prod(kernel) <= CONTRACTION_BLOCK
    return b[-1] <= CONTRACTION_BLOCK


#: buffer, offset and strides of an operand
Place = tuple[int, int, tuple[int, ...]]


@dataclass(slots=True)
class Operand:
    """A buffer and how it is walked: along the axes of the space, and along the summed axes."""

    buffer: int
    offset: int
    strides: list[int]
    summed: list[int]


@dataclass(slots=True)
class Space:
    """The axes of a nest: extents, the axis of the result that each walks, and by which step and from where."""

    extents: list[int]
    axes: list[int]
    steps: list[int]
    starts: list[int]
    summed: list[int]
    fixed: int = 0  # axes that are outside of the panels at any rate
    windows: tuple[Window, ...] = ()


def window_tiling(registers: int, lanes: int, space: Space, packed: bool) -> Tiling:
    """The tiling of a depthwise convolution (`packed`) or of the gradient of its kernel.

    A tile of a convolution lies along the last axis of the image; one of the gradient has all places of the kernel if
    they fit.
    """
    extents, reduced, fixed, windows = tuple(space.extents[:-1]), tuple(space.summed), space.fixed, space.windows
    first, chunk = contraction_chain(reduced)
    several = math.prod(reduced[:first]) > 1 or chunk < reduced[first]
    vectors = -(-space.extents[-1] // lanes)
    if packed:
        size, width = _positions(registers, extents[-1], vectors, windows[-1], reduced)
        shape, together = (1,) * (len(extents) - 1) + (size,), reduced[-1]
        outside, blocks = len(extents) - 1, "inside" if several else "one"
        shapes: tuple[int | None, ...] = reduced
    else:
        shape, width, together = _places(registers, extents, fixed, vectors)
        outside, blocks = fixed, "outside" if several else "one"
        shapes = (None, *reduced[1:])
    panels = split_panels(vectors, width)
    return Tiling(lanes, shape, panels, outside, shapes, first, blocks, packed, windows=windows, together=together)


def _positions(registers: int, extent: int, vectors: int, window: Window, reduced: tuple[int, ...]) -> tuple[int, int]:
    """Positions along the last axis and vectors of channels of a tile."""
    taps = reduced[-1]
    best: tuple[float, int, int] | None = None
    for width in (1, 2, 4):
        if width > vectors:
            continue
        room = min(POSITIONS, registers - 2 - width * (taps + 1)) // width
        for parts in range(1, extent + 1):
            size = -(-extent // parts)
            if size > max(room, 1):
                continue
            loads = len({i * window.step + k * window.jump for i in range(size) for k in range(taps)}) + taps
            rows = math.prod(reduced[:-1])
            cost = rows * max(size * width * taps / 2, loads * width / 2, 2 * taps) + size * width + 8
            total = cost * -(-extent // size) * -(-vectors // width)
            if best is None or total < best[0]:
                best = total, size, width
            break
    assert best is not None
    return best[1], best[2]


def _places(registers: int, extents: tuple[int, ...], fixed: int, vectors: int) -> tuple[tuple[int, ...], int, int]:
    """Places of the kernel and vectors of channels of a tile, and how many terms are written out."""
    best: tuple[float, tuple[int, ...], int, int] | None = None
    row = extents[-1]
    for width in (2, 1):
        if width > vectors and width > 1:
            continue
        for together in (TOGETHER, 2, 1):
            room = (registers - 2 - width * together) // width // row
            tile, left = [1] * len(extents), max(room, 1)
            tile[-1] = row
            for axis in range(len(extents) - 2, fixed - 1, -1):
                parts = -(-extents[axis] // max(left, 1))
                tile[axis] = -(-extents[axis] // parts)
                left //= tile[axis]
            rows = math.prod(tile[:-1])
            sums = rows * row * width
            passes = math.prod(-(-n // size) for n, size in zip(extents[fixed:], tile[fixed:]))
            loads = rows * (row + together - 1) * width + width * together
            cost = max(sums * together / 2, loads / 2, 4 * together) / together * passes * -(-vectors // width)
            if sums + width * (together + 1) > registers:
                cost *= 2
            if best is None or cost < best[0]:
                best = cost, tuple(tile), width, together
    assert best is not None
    return best[1:]
