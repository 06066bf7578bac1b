"""Gradients of kernels whose cotangents lie with their channels second: vectors of channels without a copy.

Rows of as many channels as a vector has lanes are transposed in registers, once for every register tile: that is less
work than a copy with the channels last as long as the tiles are few.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .canonical import Item
from .narrow import COPY

if TYPE_CHECKING:
    from .lowering import Lowering

#: cycles for an element that is transposed in registers, beside multiply-adds; elements of a row from which on it pays
TURN, ROW = 0.2, 8


def turns_in_registers(lowering: Lowering, item: Item) -> bool:
    """Whether the cotangent of a kernel's gradient is transposed on its way into the multiply-adds."""
    g = item.inputs[1]
    strides = lowering.views[g].strides
    if g.shape[1] == 1 or strides[1] == 1 or strides[-1] != 1 or g.shape[-1] < ROW:
        return False
    op: Any = item.op
    channels = item.shape[1] // op.groups
    if channels < lowering.tiles.lanes(item.dtype.itemsize) // 2:
        return False
    tiles = -(-math.prod(item.shape[2:]) // (lowering.tiles.registers() // 3))
    return tiles * TURN < COPY
