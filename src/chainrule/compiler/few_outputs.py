"""Gradients of kernels with fewer outputs than a vector has lanes: vectors of input channels instead.

The cotangent is broadcast. Each place of the kernel is a sum over other elements of the image then, so that register
tiles extend along the outputs only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .canonical import Item
from .windows import Operand, Place, Space

if TYPE_CHECKING:
    from .lowering import Lowering

#: cycles from one multiply-add of a sum to the next
CHAIN = 4.5


def few_outputs(lowering: Lowering, item: Item) -> bool:
    """Whether the gradient of a kernel is computed in vectors of input channels: by cycles for one place."""
    _, outputs, channels = item.shape[:3]
    op: Any = item.op
    outputs //= op.groups
    lanes = lowering.tiles.lanes(item.dtype.itemsize)
    return max(outputs * -(-channels // lanes) / 2, CHAIN) < channels * -(-outputs // lanes) / 2


def few_outputs_nest(item: Item, image: Place, cotangent: Place) -> tuple[Space, Operand, Operand]:
    """The nest of such a gradient: the cotangent as a, the image, whose channels are last, as b."""
    op: Any = item.op
    parts, outputs, channels, *kernel = item.shape
    rank, outs = len(kernel), outputs // op.groups
    x, g = item.inputs
    batch = x.shape[0] // parts
    base, offset, strides = image
    other, shift, moves = cotangent
    space = Space(
        [parts, op.groups, *kernel, outs, channels], [0, 1, *range(3, 3 + rank), 1, 2], [1, outs, *[1] * (rank + 2)],
        [0] * (rank + 4), [batch, *g.shape[2:]], fixed=rank + 2,
    )  # fmt: skip
    a = Operand(other, shift, [batch * moves[0], outs * moves[1], *[0] * rank, moves[1], 0], [moves[0], *moves[2:]])
    places = [dilation * step for dilation, step in zip(op.dilations, strides[2:])]
    along = [stride * step for stride, step in zip(op.strides, strides[2:])]
    b = Operand(base, offset, [batch * strides[0], channels, *places, 0, 1], [strides[0], *along])
    return space, a, b
