"""Gradients of depthwise kernels of images with their channels second: turned block by block, in near memory.

Copies of whole operands with their channels last would pass through the memory of all images twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .canonical import Item
from .grouping import Group
from .kernel import Window
from .trees import contraction_chain
from .views import contiguous
from .windows import Operand, Space, reads_windows, window_tiling

if TYPE_CHECKING:
    from .lowering import Lowering


def near_operands(lowering: Lowering, item: Item) -> list[tuple[int, int, tuple[int, ...]]] | None:
    """Buffers, offsets and strides of the image and the cotangent, if both are to be turned block by block."""
    x, g = item.inputs
    kernel, found = item.shape[3:], []
    if len(kernel) != 2 or x.dtype.is_half or not reads_windows(item.kind, item.op, x.shape, g.shape, kernel):
        return None
    lanes = lowering.tiles.lanes(item.dtype.itemsize)
    for operand in (x, g):
        view, plane = lowering.views[operand], operand.shape[2:]
        if view.strides[1] == 1 or view.strides[2:] != contiguous(plane) or math.prod(plane) < lanes:
            return None
        found.append((lowering.buffer(view.base).number, view.offset, view.strides))
    return found if x.shape[1] >= lanes // 2 else None


def lower_turned(
    lowering: Lowering,
    group: Group,
    item: Item,
    sources: list[tuple[int, int, tuple[int, ...]]],
    contract: Callable[..., None],
) -> None:
    """Add the kernel of such a gradient."""
    x, g = item.inputs
    op: Any = item.op
    parts, channels, _, *kernel = item.shape
    batch = x.shape[0] // parts
    lanes = lowering.tiles.lanes(item.dtype.itemsize)
    summed = [batch, *g.shape[2:]]
    space = Space([parts, *kernel, channels], [0, 3, 4, 1], [1] * 4, [0] * 4, summed, fixed=1)
    space.windows = tuple(
        Window(1 + n, 1 + n, op.dilations[n], op.strides[n], -op.low[n], x.shape[2 + n]) for n in range(2)
    )
    plan = window_tiling(lowering.tiles.registers(), lanes, space, False)._replace(turned=True)
    apart = lanes * max(plan.panels)
    images = batch if plan.first == 0 else 1

    def near(operand: Item) -> tuple[int, int, int]:
        """A buffer for the images of a chain, one if there are several chains to each; elements of a part, an image."""
        size = math.prod(operand.shape[2:]) * apart
        buffer = lowering.new_buffer("arena", item.dtype, (parts, images, size))
        return buffer.number, images * size, 0 if plan.first else size

    number, part, image = near(x)
    steps = x.shape[-1] * apart, apart
    corner = -sum(low * step for low, step in zip(op.low, steps))
    places = [dilation * step for dilation, step in zip(op.dilations, steps)]
    a = Operand(number, corner, [part, *places, 1], [image, *(n * step for n, step in zip(op.strides, steps))])
    number, part, image = near(g)
    b = Operand(number, 0, [part, 0, 0, 1], [image, g.shape[-1] * apart, apart])
    far = [
        Operand(number, offset, [batch * strides[0], 0, 0, strides[1]], [strides[0], *strides[2:]])
        for number, offset, strides in sources
    ]
    partial = None
    if plan.blocks == "outside":
        extents = tuple(space.extents)
        partial = lowering.new_buffer("arena", item.dtype, extents).number, contiguous(extents)
    contract(lowering, group, item, space, a, b, plan, contraction_chain(tuple(summed))[1], partial, far)
