"""How a product of few columns whose terms are dealt to several chains is walked (`trees.product_chains`)."""

from __future__ import annotations

import math

from .kernel import DEALT, Access, Tiling
from .tiling import loops_outside

#: vectors that hold neither sums nor b nor which term each lane takes
SPARE = 2


def side_by_side(registers: int, rows: int, vectors: int, across: bool) -> bool:
    """Whether the sums of all chains of `rows` rows fit in registers, beside what turns columns (`across`)."""
    sums = rows * vectors * DEALT
    return 2 * sums <= registers if across else sums + vectors + SPARE <= registers


def dense_rows(registers: int, lanes: int, columns: int) -> int:
    """Rows of a tile for vectors that hold parts of several rows of b; 0 if it does not pay."""
    vectors = -(-columns * DEALT // lanes)
    if vectors >= DEALT * -(-columns // lanes):
        return 0
    return max((registers - 2 * vectors - SPARE) // vectors, int(vectors + 2 * SPARE <= registers))


def dealt_tiling(plan: Tiling, registers: int, extents: tuple[int, ...], operands: list[Access], dense: int) -> Tiling:
    """The plan of a product as if of one chain, with chains; `dense`: rows of a tile of dense vectors, or 0.

    The chains are the first summed axis, their terms the second.
    """
    for access in operands:
        access.strides = (*access.strides, DEALT * access.strides[-1])
    plan = plan._replace(reduced=(DEALT, None), first=1)
    if dense:
        rows = min(extents[-1], dense)
        rows = 1 << rows.bit_length() - 1 if extents[-1] > rows else rows
        tile = (*(1 for _ in extents[1:]), rows)
        outside = loops_outside(tile, extents, "dealt", len(extents) - 1)
        return plan._replace(tile=tile, panels=(sum(plan.panels),), outside=outside, blocks="dealt", dense=True)
    few = side_by_side(registers, math.prod(plan.tile), max(plan.panels), plan.across)
    return plan._replace(blocks="dealt" if few else "inside")
