"""Asking for what the epilogue of a tile reads while the terms of the tile are added up: a line with every term.

An optimiser's state, say, comes from far away, and in pieces of rows that no processor foresees. Asked for all at once,
so many lines keep those waiting that the multiply-adds need; asked for one by one, they cost nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bodies import Point
from .emit import LINE, Int

if TYPE_CHECKING:
    from .nest import Nest


class Fetching:
    """The lines that an epilogue reads of a tile of `rows` by `width` vectors whose first element is at `corner`."""

    def __init__(self, nest: Nest, corner: Point, rows: int, width: int):
        self.nest = nest
        self.corner = corner
        self.elements = LINE // nest.dtype.itemsize
        self.across = -(-width * nest.lanes // self.elements)
        self.lines = rows * self.across
        loaded = dict.fromkeys(code[1] for code in nest.f.kernel.body.code if code[0] == "load")
        whole = nest.f.kernel.sizes[nest.axis_n] <= width * nest.lanes  # rows, which follow one another
        self.accesses = [n for n in loaded if not whole and nest._static(n, 0) and nest._static(n, nest.axis_n) == 1]

    def ask(self, number: Int) -> None:
        """For line `number` of every operand."""
        nest, f, body = self.nest, self.nest.f, self.nest.f.kernel.body
        row = f.let(f"udiv i64 {number}, {self.across}")
        column = f.mul(f.let(f"urem i64 {number}, {self.across}"), self.elements)
        there = self.corner.moved(0, row, body).moved(nest.axis_n, column, body)
        for access in self.accesses:
            f.prefetch(there.pointer(access))
