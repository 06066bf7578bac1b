"""Depthwise convolutions with vectors of positions along the last axis: for images that lie, and results that are
wanted, with their channels second, so that neither is turned.

Each channel of an image is a plane with a small kernel of its own.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .canonical import Item
from .grouping import Group
from .images import classes
from .kernel import Tiling, Window
from .narrow import COPY, channels_second
from .tiling import split_panels
from .trees import contraction_chain
from .windows import Operand, Space, reads_windows

if TYPE_CHECKING:
    from .lowering import Lowering

#: places of a kernel, all of which are written out; vectors of a panel; sums of a tile, and multiply-adds of one
MOST_PLACES, WIDEST, SUMS, WRITTEN = 49, 2, 16, 256
#: multiply-adds of a kernel whose tiles at the borders are written out too
ALL_WRITTEN = 512


def along_planes(lowering: Lowering, group: Group) -> bool:
    """Whether a depthwise convolution or its input's gradient should have vectors of positions: by estimated cycles."""
    item = group.anchor
    assert item is not None
    x, w = item.inputs
    op: Any = item.op
    kernel = w.shape[2:]
    if x.dtype.is_half or w.shape[0] != op.groups or not reads_windows(item.kind, op, x.shape, w.shape, kernel):
        return False
    steps = op.strides if item.kind == "convolution_input_grad" else op.strides[-1:]
    if any(s > 1 for s in steps) or math.prod(kernel) > MOST_PLACES or contraction_chain(kernel) != (0, kernel[0]):
        return False
    lanes, outputs = lowering.tiles.lanes(item.dtype.itemsize), item.shape[1]
    read = [x, *(i for i in (item, *group.items) if i.index in lowering.stored)]
    copies = {axis: sum(math.prod(i.shape) for i in read if lowering.views[i].strides[axis] != 1) for axis in (1, -1)}
    planes = item.shape[0] * outputs * _plane(lanes, item.shape[2:], kernel, _windows(item))[0]
    channels = math.prod(item.shape) / outputs * -(-outputs // lanes) * math.prod(kernel) / 2
    return planes + COPY * copies[-1] < channels + COPY * copies[1]


def _windows(item: Item) -> tuple[Window, ...]:
    """Where the terms of each output lie, axis by axis."""
    x, w = item.inputs
    op: Any = item.op
    found = []
    for n, places in enumerate(w.shape[2:]):
        start, step, jump = -op.low[n], op.strides[n], op.dilations[n]
        if item.kind != "convolution":
            _, _, _, _, _, start, jump = classes(1, op.low[n], op.dilations[n], places, item.shape[2 + n])[0]
        found.append(Window(2 + n, n, step, jump, start, x.shape[2 + n]))
    return tuple(found)


def planes_nest(lowering: Lowering, item: Item) -> tuple[Space, Operand, Operand]:
    """The nest of such a convolution: the image as a, the weights as b."""
    x, w = item.inputs
    op: Any = item.op
    rank = len(w.shape) - 2
    view = lowering.views[w]
    places, shift = [*view.strides[2:]], view.offset
    image, here, strides = channels_second(lowering, x)
    spatial = strides[2:]
    if item.kind != "convolution":
        chosen = [classes(1, op.low[n], op.dilations[n], w.shape[2 + n], item.shape[2 + n])[0] for n in range(rank)]
        shift += sum(first * s for (_, _, first, *_), s in zip(chosen, places))
        places = [turn * s for (_, _, _, turn, *_), s in zip(chosen, places)]
    axes, windows = [*range(rank + 2)], _windows(item)
    space = Space([*item.shape], axes, [1] * len(axes), [0] * len(axes), [*w.shape[2:]], fixed=2, windows=windows)
    here += sum(window.start * s for window, s in zip(windows, spatial))
    moves, jumps = ([n * s for n, s in zip(by, spatial)] for by in zip(*((w.step, w.jump) for w in windows)))
    a = Operand(image, here, [*strides[:2], *moves], jumps)
    b = Operand(lowering.buffer(view.base).number, shift, [0, view.strides[0], *[0] * rank], places)
    return space, a, b


def planes_tiling(lanes: int, space: Space) -> Tiling:
    """The tiling: rows that share what they read, as many as leave few over, of a panel of one or two vectors."""
    extents, reduced = tuple(space.extents), tuple(space.summed)
    panels, tile, together = split_panels(-(-extents[-1] // lanes), WIDEST), [1] * (len(extents) - 1), 1
    if len(reduced) > 1:
        _, tile[-1], together = _plane(lanes, extents[2:], reduced, space.windows)
    return Tiling(
        lanes, tuple(tile), panels, space.fixed, reduced, 0, "one", False, windows=space.windows, together=together
    )


def _plane(
    lanes: int, extents: tuple[int, ...], reduced: tuple[int, ...], windows: tuple[Window, ...]
) -> tuple[float, int, int]:
    """Estimated cycles of a plane, how many of its rows are a tile, and how many tiles are written out."""
    vectors, places = -(-extents[-1] // lanes), math.prod(reduced)
    wide = min(WIDEST, vectors)
    alone = 1.5 * places * vectors + 4 * vectors + 12  # cycles of a row some of whose terms may lie outside
    if len(reduced) == 1:
        return alone, 1, 1
    first, last = windows[-2].inside(extents[-2], reduced[-2])
    best = math.inf, 1, 1
    for rows in range(1, max(min(SUMS // wide, WRITTEN // (places * wide), extents[-2]), 1) + 1):
        read = len({i * windows[-2].step + k * windows[-2].jump for i in range(rows) for k in range(reduced[-2])})
        loads = places // reduced[-2] * read  # hardly one of which is aligned
        tiles = (last - first) // rows
        work, begun = (max(rows * places / 2, loads) + rows) * vectors, 10 * -(-vectors // wide)
        best = min(best, (tiles * (work + begun) + (extents[-2] - tiles * rows) * alone, rows, 1))
        different = 1 + len(windows[-2].beyond(extents[-2], reduced[-2], rows))
        if different * rows * places * wide * min(-(-vectors // wide), 3) <= ALL_WRITTEN:
            best = min(best, (extents[-2] / rows * work + -(-extents[-2] // rows) * begun, rows, different))
    return math.prod(extents[:-2]) * best[0], *best[1:]
