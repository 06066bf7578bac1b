"""Native code of the gradient of a kernel by Winograd's minimal filtering (see compiler/winograd.py for the algorithm).

A block of tiles at a time: inputs and cotangents are transformed into tables on the stack, [element][tile][channel],
and the product of both, for each of the 16 elements, is added to sums that become the gradient of a part of the batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...compiler.kernel import TILE_INPUTS as INPUTS
from ...compiler.kernel import TILE_OUTPUTS as OUTPUTS
from ..base import Value
from .bodies import BodyCode, Point
from .emit import Function, Int
from .loops import axis_range
from .winograd_tiles import ELEMENTS, Grid, Tiles, both_ways


class Gradient(Tiles):
    """Sizes are parts of the batch, input channels, rows and columns of the kernel, output channels; accesses 0 and 1
    the input and the cotangent, with strides of images, rows and columns behind those of the sizes; access 2 the sums
    of the transformed gradient, in rows of whole vectors. ``extra = (terms, images of a part at most, images, ...)``.
    """

    def __init__(self, f: Function):
        super().__init__(f)
        _, self.channels, _, _, self.outputs = f.kernel.sizes
        self.height, self.width = (extent or 1 for extent in self.tiling.reduced[1:])
        self.given = self.table("given", self.channels)
        self.asked = self.table("asked", self.outputs)

    def emit(self) -> None:
        f = self.f
        down, across = -(-self.height // OUTPUTS), -(-self.width // OUTPUTS)
        with f.loop(*axis_range(f, 0)) as parts:
            begin, end = (self._first_image(number) for number in (parts.index, f.add(parts.index, 1)))
            sums = self.moved(2, f.base(2), (0, parts.index))
            self._clear(sums)
            low, high = f.mul(begin, down * across), f.mul(end, down * across)
            with f.loop(low, high, self.block) as loop:
                count = f.minimum(f.sub(high, loop.index), self.block)
                self._transform(loop.index, count)
                self._multiply(sums, loop.index, count)
            self._finish(sums, parts.index)

    def _first_image(self, part: Int) -> Int:
        """Where a part begins: all are as large as they can be equally."""
        f = self.f
        return f.let(f"udiv i64 {f.mul(part, f.extra(2))}, {f.size(0)}")

    def _clear(self, sums: str) -> None:
        f, zero = self.f, self.builder.const(0, self.dtype)
        with f.loop(0, ELEMENTS * self.channels * self.asked.row, self.lanes) as loop:
            f.store(zero, f.advance(sums, self.dtype, loop.index), 1, self.lanes)

    def _transform(self, first: Int, count: Int) -> None:
        f, accesses = self.f, self.f.kernel.accesses
        rows, columns = accesses[0].strides[6:8]
        with f.loop(0, count) as loop:
            image, y, x, above, left = self.place_of(f.add(first, loop.index), self.height, self.width)
            pointer = self.moved(0, f.base(0), (5, image), (6, y), (7, x))
            for at, mask in self.each_vector(self.channels):
                here = f.advance(pointer, self.dtype, at)
                self.inputs(here, rows, columns, self.given, loop.index, at, mask)
            pointer = self.moved(1, f.base(1), (5, image), (6, y), (7, x))
            for at, mask in self.each_vector(self.outputs):
                grid = self._cotangents(f.advance(pointer, self.dtype, at), above, left, mask)
                self.keep(both_ways(self._spread, grid), self.asked, loop.index, at)

    def _cotangents(self, pointer: str, above: Int, left: Int, mask: str | None) -> Grid:
        """A tile of the cotangent; what another tile has is 0."""
        f, zero = self.f, self.builder.const(0, self.dtype).ref
        rows, columns = f.kernel.accesses[1].strides[6:8]
        grid = self.grid(pointer, rows, columns, mask, OUTPUTS)
        for skipped, places in ((above, ((0, 0), (0, 1))), (left, ((0, 0), (1, 0)))):
            if skipped == 0:
                continue
            mine = f.let(f"icmp eq i64 {skipped}, 0")
            for i, j in places:
                chosen = f.let(f"select i1 {mine}, {self.vector} {grid[i][j].ref}, {self.vector} {zero}")
                grid[i][j] = Value(chosen, self.dtype)
        return grid

    def _spread(self, y: Sequence[Value]) -> list[Value]:
        """A times two values."""
        zero = self.builder.const(0, self.dtype)
        return [y[0], self.combine("add", y[0], y[1]), self.combine("sub", y[0], y[1]), self.combine("sub", zero, y[1])]

    def _multiply(self, sums: str, first: Int, count: Int) -> None:
        f, rows, dtype = self.f, self.tiling.tile[0], self.dtype
        with f.loop(0, ELEMENTS) as elements:
            with self.each_row(f.add(first, self.block), elements.index, self.height, self.width) as place:
                self.ask_for_inputs(0, (5, 6, 7), place, INPUTS - OUTPUTS, self.channels)
                self.ask_for_inputs(1, (5, 6, 7), place, 0, self.outputs)
            given = f.advance(self.given.place, dtype, f.mul(elements.index, self.given.element))
            asked = f.advance(self.asked.place, dtype, f.mul(elements.index, self.asked.element))
            total = f.advance(sums, dtype, f.mul(elements.index, self.channels * self.asked.row))
            for column, masks in self.each_panel(self.outputs):
                columns = [f.advance(asked, dtype, f.add(column, j * self.lanes)) for j in range(len(masks))]

                def rows_from(first: Int, size: int, columns=columns, column=column, masks=masks) -> None:
                    a = f.advance(given, dtype, first)
                    none: list[str | None] = [None] * len(masks)
                    found = self.chain(a, range(size), self.given.row, columns, self.asked.row, count, none)
                    place = f.advance(total, dtype, f.add(f.mul(first, self.asked.row), column))
                    for number, value in enumerate(found):
                        row, j = divmod(number, len(masks))
                        there = f.advance(place, dtype, row * self.asked.row + j * self.lanes)
                        both = self.builder.add(f.load(there, dtype, 1, self.lanes), Value(value, dtype))
                        f.store(both, there, 1, self.lanes)

                whole = self.channels // rows * rows
                if whole == rows:
                    rows_from(0, rows)
                else:
                    with f.loop(0, whole, rows) as loop:
                        rows_from(loop.index, rows)
                if whole < self.channels:
                    rows_from(whole, self.channels - whole)

    def _finish(self, sums: str, part: Int) -> None:
        """From the sums of a part to its gradient."""
        f, body, dtype = self.f, self.body, self.dtype
        code = BodyCode(f, body, 4)
        start = Point.start(f, body, self.lanes).moved(0, part, body)
        with f.loop(0, self.channels) as loop:
            line = f.advance(sums, dtype, f.mul(loop.index, self.asked.row))
            row = start.moved(1, loop.index, body)
            for at, mask in self.each_vector(self.outputs):
                element = self.channels * self.asked.row
                grid = self.grid(f.advance(line, dtype, at), INPUTS * element, element, mask)
                places = itertools.product(range(3), repeat=2)
                for (i, j), value in zip(places, itertools.chain.from_iterable(both_ways(self._gathered, grid))):
                    point = row.moved(2, i, body).moved(3, j, body)
                    code.hoist(point)
                    there = point.moved(4, at, body)
                    there.mask = mask
                    code.run(there, value)

    def _gathered(self, u: Sequence[Value]) -> list[Value]:
        """G' times four values."""
        half = self.builder.const(0.5, self.dtype)
        inner = self.builder.mul(self.combine("add", u[1], u[2]), half)
        outer = self.builder.mul(self.combine("sub", u[1], u[2]), half)
        return [self.combine("add", u[0], inner), outer, self.combine("add", inner, u[3])]
