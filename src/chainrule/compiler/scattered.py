"""Operands whose terms lie so far apart that they drive one another out of the first-level cache, and copies of them.

That matters where vectors are short (`tiling.SHORT_VECTOR`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .canonical import Item
from .elements import Bodies
from .kernel import CACHE_WAY, LINE, MOST_WAYS, Body
from .tiling import PIECE_TERMS, is_short
from .views import contiguous
from .windows import Place

if TYPE_CHECKING:
    from .lowering import Lowering

#: multiply-adds for each element of an operand of a kernel's gradient from which on a copy of it pays
WORTH_COPYING = 256


def scattered(apart: int, count: int) -> bool:
    """Whether elements so many bytes apart fill half of a first-level cache, or of the part where they may lie."""
    lines = count * min(abs(apart), LINE) / LINE
    return lines * max(math.gcd(apart, CACHE_WAY), LINE) > MOST_WAYS * CACHE_WAY / 2


def copied(lowering: Lowering, x: Item) -> int:
    """A buffer with the elements of `x` in row-major order."""
    key = ("copied", x.index)
    if key not in lowering.packed:
        buffer = lowering.new_buffer("arena", x.dtype, x.shape)
        lowering.write(x, x.shape, buffer, 0, contiguous(x.shape))
        lowering.packed[key] = buffer.number
    return lowering.packed[key]


def transposed(lowering: Lowering, x: Item, room: int) -> int:
    """A buffer with the rows of a matrix, or of several, whose columns are contiguous; each has `room` elements.

    The columns are walked first: so one function serves columns of all numbers.
    """
    key = ("transposed", x.index, room)
    if key not in lowering.packed:
        *lead, m, k = x.shape
        buffer = lowering.new_buffer("arena", x.dtype, (*lead, m, room))
        axes = (1, 2, 0) if lead else (1, 0)
        lowering.write(x, (k, *lead, m), buffer, 0, (1, *(m * room for _ in lead), room), axes)
        lowering.packed[key] = buffer.number
    return lowering.packed[key]


def near_places(lowering: Lowering, item: Item, image: Place, cotangent: Place) -> tuple[Place, Place, bool]:
    """The operands of a kernel's gradient, or copies, and whether the cotangent's is one in panels of vectors.

    Of the image's the terms of a channel lie side by side. Of the cotangent's, the stride of the channels is that of
    the vectors. Both wait for what the gradient waits for: they should not be made in the forward pass and kept.
    """
    x, g = item.inputs
    op: Any = item.op
    begin, packed = len(lowering.steps), False
    if op.groups == 1 and is_short(lowering.tiles.lanes(x.dtype.itemsize), x.dtype.itemsize):
        outputs, channels, *kernel = item.shape[1:]
        places = math.prod(kernel)
        uses = outputs * places / math.prod(op.strides)
        if _is_far(image, x) and uses >= WORTH_COPYING:
            image = copied(lowering, x), 0, contiguous(x.shape)
        packed = _is_far(cotangent, g) and channels * places >= WORTH_COPYING
        if packed:
            cotangent = _in_panels(lowering, g, cotangent)
    for copy in lowering.steps[begin:]:
        copy.late = True
    return image, cotangent, packed


def _is_far(place: Place, x: Item) -> bool:
    """Whether the terms of a piece of a chain are scattered."""
    _, _, strides = place
    return strides[1] == 1 and x.shape[1] > 1 and scattered(strides[-1] * x.dtype.itemsize, PIECE_TERMS)


def _in_panels(lowering: Lowering, g: Item, place: Place) -> Place:
    """A copy of (N, C, *spatial) with the layout (N, vector of channels, *spatial, lane)."""
    source, offset, strides = place
    (images, channels, *spatial), lanes = g.shape, lowering.tiles.lanes(g.dtype.itemsize)
    shape = (images, -(-channels // lanes), *spatial, lanes)
    steps = contiguous(shape)
    key = ("panels", g.index)
    if key not in lowering.packed:
        buffer = lowering.new_buffer("arena", g.dtype, shape)
        lowering.packed[key] = buffer.number
        for first, count, used in ((0, channels // lanes, lanes), (channels // lanes, 1, channels % lanes)):
            if not count or not used:
                continue
            box = (images, count, *spatial, used)
            bodies = Bodies(lowering, box, [])
            taken = bodies.access(source, g.dtype, offset + first * lanes, (strides[0], lanes, *strides[2:], 1))
            put = bodies.access(buffer.number, g.dtype, first * steps[1], steps)
            lowering.add_map(bodies, Body([("load", taken)], [(0, put)]), box, "pack")
    return lowering.packed[key], 0, steps[:-1]
