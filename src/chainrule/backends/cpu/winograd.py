"""Native code of convolutions by Winograd's minimal filtering (see compiler/winograd.py for the algorithm).

A block of tiles at a time: its inputs are transformed into a table on the stack, [element][tile][channel]; each of the
16 elements is a matrix product with register tiles; and its sums are transformed into outputs. Tiles are counted
through all images of the range. What lies behind the last tile of a block is computed and left alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...compiler.kernel import TILE_INPUTS as INPUTS
from ...compiler.kernel import TILE_OUTPUTS as OUTPUTS
from ...compiler.kernel import Tiling
from ..base import Value
from .bodies import BodyCode, Point
from .emit import Function, Int
from .loops import axis_range
from .winograd_grad import Gradient
from .winograd_tiles import ELEMENTS, Grid, Tiles, both_ways

#: operations of an epilogue that is written out for each output of a tile, at most: four chains that do not wait for
#: one another, and addresses that are known
LIGHT = 40


def emit_winograd(f: Function) -> None:
    """A convolution, an input's gradient, or a kernel's gradient, as the access of partial sums tells."""
    kernel = f.kernel
    assert isinstance(kernel.static, Tiling)
    (Gradient if kernel.static.blocks == "outside" else Forward)(f).emit()


class Forward(Tiles):
    """Sizes are images, rows, columns, output channels; access 0 the input, with the strides of the kernel's places and
    the channels behind those of the sizes; access 1 the transformed kernel, whose last stride of the sizes is that of a
    vector and whose others are those of a row of elements, an element and a channel."""

    def __init__(self, f: Function):
        super().__init__(f)
        _, self.height, self.width, self.outputs = f.kernel.sizes
        self.channels = self.tiling.reduced[2] or 1
        self.given = self.table("given", self.channels)
        self.made = self.table("made", self.outputs)
        self.code = BodyCode(f, self.body, 3)

    def emit(self) -> None:
        f = self.f
        down, across = -(-self.height // OUTPUTS), -(-self.width // OUTPUTS)
        low, high = (f.mul(end, down * across) for end in axis_range(f, 0))
        with f.loop(low, high, self.block) as loop:
            count = f.minimum(f.sub(high, loop.index), self.block)
            self._transform(loop.index, count)
            self._multiply(loop.index, count)
            self._finish(loop.index, count)

    def _transform(self, first: Int, count: Int) -> None:
        f = self.f
        rows, columns = (f.kernel.accesses[0].strides[axis] for axis in (1, 2))
        with f.loop(0, count) as loop:
            image, y, x, _, _ = self.place_of(f.add(first, loop.index), self.height, self.width)
            pointer = self.moved(0, f.base(0), (0, image), (1, y), (2, x))
            for at, mask in self.each_vector(self.channels):
                here = f.advance(pointer, self.dtype, at)
                self.inputs(here, rows, columns, self.given, loop.index, at, mask)

    def _multiply(self, first: Int, count: Int) -> None:
        f, rows = self.f, self.tiling.tile[0]
        vector, element, channel = (f.kernel.accesses[1].strides[axis] for axis in (3, 5, 6))
        with f.loop(0, ELEMENTS) as elements:
            self._fetch(first, elements.index)
            given = f.advance(self.given.place, self.dtype, f.mul(elements.index, self.given.element))
            made = f.advance(self.made.place, self.dtype, f.mul(elements.index, self.made.element))
            kernel = f.advance(f.base(1), self.dtype, f.mul(elements.index, element))
            for column, masks in self.each_panel(self.outputs):
                number = f.let(f"udiv i64 {column}, {self.lanes}") if isinstance(column, str) else column // self.lanes
                columns = [f.advance(kernel, self.dtype, f.mul(f.add(number, j), vector)) for j in range(len(masks))]
                with f.loop(0, count, rows) as tiles:
                    a = f.advance(given, self.dtype, f.mul(tiles.index, self.given.row))
                    steps = [row * self.given.row for row in range(rows)]
                    none: list[str | None] = [None] * len(masks)
                    totals = self.chain(a, steps, 1, columns, channel, self.channels, none)
                    place = f.advance(made, self.dtype, f.add(f.mul(tiles.index, self.made.row), column))
                    for number_of, total in enumerate(totals):
                        row, j = divmod(number_of, len(masks))
                        there = f.advance(place, self.dtype, row * self.made.row + j * self.lanes)
                        f.store(Value(total, self.dtype), there, 1, self.lanes)

    def _fetch(self, first: Int, element: Int) -> None:
        """Ask for what the epilogue will read and write, and for the inputs of the next block."""
        f, body = self.f, self.body
        with self.each_row(first, element, self.height, self.width) as place:
            point = Point.start(f, body, self.lanes)
            for axis, index in enumerate(place):
                point = point.moved(axis, index, body)
            used = {i[1]: False for i in body.code if i[0] == "load"} | {access: True for _, access in body.stores}
            for access, written in used.items():
                operand = f.kernel.accesses[access]
                if operand.strides[3] == 1 and operand.strides[2]:
                    self.ask(point.pointer(access), operand.dtype, operand.strides[2], self.outputs, written)
        with self.each_row(f.add(first, self.block), element, self.height, self.width) as place:
            self.ask_for_inputs(0, (0, 1, 2), place, INPUTS - OUTPUTS, self.channels)

    def _finish(self, first: Int, count: Int) -> None:
        f, body = self.f, self.body
        start = Point.start(f, body, self.lanes)
        with f.loop(0, count) as loop:
            image, y, x, above, left = self.place_of(f.add(first, loop.index), self.height, self.width)
            tile = start.moved(0, image, body).moved(1, y, body).moved(2, x, body)
            for at, mask in self.each_vector(self.outputs):
                made = f.advance(self.made.place, self.dtype, f.add(f.mul(loop.index, self.made.row), at))
                grid = self.grid(made, INPUTS * self.made.element, self.made.element)
                self._outputs(both_ways(self._collected, grid), tile, at, mask, above, left)

    def _collected(self, m: Sequence[Value]) -> list[Value]:
        """A' times four values."""
        inner, outer = self.combine("add", m[1], m[2]), self.combine("sub", m[1], m[2])
        return [self.combine("add", m[0], inner), self.combine("sub", outer, m[3])]

    def _outputs(self, grid: Grid, tile: Point, at: Int, mask: str | None, above: Int, left: Int) -> None:
        """The epilogue on the outputs of a tile, but for those that another tile has."""
        f = self.f
        overlap = f.add(above, left)
        if sum(i[0] == "op" for i in self.body.code) > LIGHT:
            self._one_by_one(grid, tile, at, mask, above, left)
        elif overlap == 0:
            self._written_out(grid, tile, at, mask)
        else:
            whole = f.let(f"icmp eq i64 {overlap}, 0")
            with f.when(whole):
                self._written_out(grid, tile, at, mask)
            with f.when(f.let(f"xor i1 {whole}, true")):
                self._one_by_one(grid, tile, at, mask, above, left)

    def _written_out(self, grid: Grid, tile: Point, at: Int, mask: str | None) -> None:
        for i, j in itertools.product(range(OUTPUTS), repeat=2):
            self._epilogue(tile.moved(1, i, self.body).moved(2, j, self.body), at, mask, grid[i][j])

    def _one_by_one(self, grid: Grid, tile: Point, at: Int, mask: str | None, above: Int, left: Int) -> None:
        f, body = self.f, self.body
        slot = f"%slot{len(f.entry)}"
        f.entry.append(f"  {slot} = alloca [{OUTPUTS * OUTPUTS * self.lanes} x {self.element}], align 64")
        for number, value in enumerate(itertools.chain.from_iterable(grid)):
            f.store(value, f.advance(slot, self.dtype, number * self.lanes), 1, self.lanes)
        with f.loop(above, OUTPUTS) as rows, f.loop(left, OUTPUTS) as columns:
            place = f.mul(f.add(f.mul(rows.index, OUTPUTS), columns.index), self.lanes)
            value = f.load(f.advance(slot, self.dtype, place), self.dtype, 1, self.lanes)
            self._epilogue(tile.moved(1, rows.index, body).moved(2, columns.index, body), at, mask, value)

    def _epilogue(self, point: Point, at: Int, mask: str | None, anchor: Value) -> None:
        self.code.hoist(point)
        there = point.moved(3, at, self.body)
        there.mask = mask
        self.code.run(there, anchor)
