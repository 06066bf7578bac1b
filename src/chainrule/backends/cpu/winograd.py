"""Native code of convolutions by Winograd's minimal filtering (see compiler/winograd.py for the algorithm).

A block of tiles at a time: its inputs are transformed into a table on the stack, [element][tile][channel]; each of the
16 elements is a matrix product with register tiles; and its sums are transformed into outputs. Tiles are counted
through all images of the range. What lies behind the last tile of a block is computed and left alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from ...compiler.kernel import TILE_INPUTS as INPUTS
from ...compiler.kernel import TILE_OUTPUTS as OUTPUTS
from ...compiler.kernel import Tiling
from ..base import Value
from .bodies import BodyCode, Point
from .emit import LINE, Function, Int
from .emit import llvm_type as element_type
from .loops import axis_range

ELEMENTS = INPUTS * INPUTS
#: operations of an epilogue that is written out for each output of a tile, at most: four chains that do not wait for
#: one another, and addresses that are known
LIGHT = 40
#: tiles ahead of which inputs are asked for: four rows at once are more than the memory's own prefetching follows
AHEAD = 4

Grid = list[list[Value]]


def emit_winograd(f: Function) -> None:
    """A convolution, an input's gradient, or a kernel's gradient, as the access of partial sums tells."""
    kernel = f.kernel
    assert isinstance(kernel.static, Tiling)
    (_Gradient if kernel.static.blocks == "outside" else _Forward)(f).emit()


class _Table(NamedTuple):
    """A table on the stack, and how far apart its rows and its elements are."""

    place: str
    row: int
    element: int


class _Winograd:
    """What forward pass and gradient share: tiles, their transformation, and tables of transformed tiles."""

    def __init__(self, f: Function):
        self.f = f
        static = f.kernel.static
        assert isinstance(static, Tiling)
        self.tiling = static
        self.lanes, self.block = self.tiling.lanes, self.tiling.block
        self.dtype = f.kernel.accesses[0].dtype
        self.builder = f.builder(self.lanes)
        self.element = element_type(self.dtype)
        self.vector = self.builder.llvm_type(self.dtype)
        self.body = f.kernel.body

    def table(self, name: str, width: int) -> _Table:
        """Memory for one number for each element, tile and channel; rows of whole vectors.

        A line between the elements keeps them from falling into the same set of the cache.
        """
        row = -(-width // self.lanes) * self.lanes
        apart = self.block * row + LINE // self.dtype.itemsize
        self.f.entry.append(f"  %{name} = alloca [{ELEMENTS * apart} x {self.element}], align 64")
        return _Table(f"%{name}", row, apart)

    def each_vector(self, width: int):
        """``(first channel, mask)`` inside a loop over whole vectors, then for the rest."""
        f, whole = self.f, width // self.lanes * self.lanes
        if whole == self.lanes:
            yield 0, None
        elif whole:
            with f.loop(0, whole, self.lanes) as loop:
                yield loop.index, None
        if whole < width:
            yield whole, f.mask(width - whole, self.lanes)

    def place_of(self, tile: Int, height: int, width: int) -> tuple[Int, Int, Int, Int, Int]:
        """Image, first row and column of a tile, and how many of its rows and columns others have."""
        f = self.f
        down, across = -(-height // OUTPUTS), -(-width // OUTPUTS)
        image = f.let(f"udiv i64 {tile}, {down * across}")
        inside = f.sub(tile, f.mul(image, down * across))
        row = f.let(f"udiv i64 {inside}, {across}")
        column = f.sub(inside, f.mul(row, across))
        places: list[Int] = []
        skipped: list[Int] = []
        for index, extent in ((row, height), (column, width)):
            first = f.mul(index, OUTPUTS)
            place = f.minimum(first, extent - OUTPUTS) if extent % OUTPUTS else first
            places.append(place)
            skipped.append(f.sub(first, place) if extent % OUTPUTS else 0)
        return image, places[0], places[1], skipped[0], skipped[1]

    def moved(self, access: int, pointer: str, *steps: tuple[int, Int]) -> str:
        """A pointer of an operand, moved along (axis, by)."""
        f = self.f
        for axis, index in steps:
            pointer = f.advance(pointer, self.dtype, f.mul(f.stride(access, axis), index))
        return pointer

    def combine(self, name: str, a: Value, b: Value) -> Value:
        return getattr(self.builder, name)(a, b)

    def sums(self, d: Sequence[Value]) -> list[Value]:
        """B' times four values."""
        pairs = (("sub", 0, 2), ("add", 1, 2), ("sub", 2, 1), ("sub", 1, 3))
        return [self.combine(name, d[a], d[b]) for name, a, b in pairs]

    def inputs(self, pointer: str, rows: int, columns: int, table: _Table, number: Int, at: Int, mask) -> None:
        """Transform a tile of inputs, `rows` and `columns` apart, and keep it as tile `number`."""
        self.fetch_ahead(pointer, rows, columns, INPUTS)
        self.keep(both_ways(self.sums, self.grid(pointer, rows, columns, mask)), table, number, at)

    def fetch_ahead(self, pointer: str, rows: int, columns: int, extent: int) -> None:
        """Ask for the columns, of tiles of `extent`, that a later tile is the first to need."""
        first = AHEAD * OUTPUTS + extent - OUTPUTS
        for i, j in itertools.product(range(extent), range(OUTPUTS)):
            self.f.prefetch(self.f.advance(pointer, self.dtype, i * rows + (first + j) * columns))

    def grid(self, pointer: str, rows: int, columns: int, mask: str | None = None, extent: int = INPUTS) -> Grid:
        """Vectors of a square of places."""
        f, dtype = self.f, self.dtype
        lines = [f.advance(pointer, dtype, i * rows) for i in range(extent)]
        return [
            [f.load(f.advance(line, dtype, j * columns), dtype, 1, self.lanes, mask) for j in range(extent)]
            for line in lines
        ]

    def keep(self, grid: Grid, table: _Table, number: Int, at: Int) -> None:
        f = self.f
        start = f.advance(table.place, self.dtype, f.add(f.mul(number, table.row), at))
        for element, value in enumerate(itertools.chain.from_iterable(grid)):
            f.store(value, f.advance(start, self.dtype, element * table.element), 1, self.lanes)

    def chain(self, a: str, steps: Sequence[int], along: int, columns: Sequence[str], apart: int, count: Int,
              masks: Sequence[str | None]) -> list[str]:  # fmt: skip
        """Sums over `count` terms: a row for each of `steps` from `a`, which moves by `along`, times each of `columns`,
        which move by `apart`."""
        f, dtype = self.f, self.dtype
        zero = self.builder.const(0, dtype).ref
        with f.loop(0, count, 1, [(self.vector, zero)] * (len(steps) * len(columns))) as loop:
            left = f.advance(a, dtype, f.mul(along, loop.index))
            moved = [f.advance(column, dtype, f.mul(apart, loop.index)) for column in columns]
            vectors = [f.load(p, dtype, 1, self.lanes, mask) for p, mask in zip(moved, masks)]
            totals = []
            for row, step in enumerate(steps):
                scalar = f.let(f"load {self.element}, ptr {f.advance(left, dtype, step)}")
                wide = Value(f.splat(scalar, self.element, self.lanes), dtype)
                for j, vector in enumerate(vectors):
                    total = Value(loop.values[row * len(vectors) + j], dtype)
                    totals.append(self.builder.fma(wide, vector, total).ref)
            loop.next = totals
        return loop.values

    def each_panel(self, width: int):
        """``(first channel, masks)`` for the panels of output channels, inside a loop over equal ones."""
        f, panels, lanes = self.f, self.tiling.panels, self.lanes
        rest, start = width % lanes, 0
        for wide, group in itertools.groupby(panels):
            count = len(list(group))
            end = start + count * wide * lanes
            masked = bool(rest) and end >= width
            whole = count - masked
            none: list[str | None] = [None] * wide
            if whole == 1:
                yield start, none
            elif whole:
                with f.loop(start, start + whole * wide * lanes, wide * lanes) as loop:
                    yield loop.index, none
            if masked:
                yield end - wide * lanes, [*none[:-1], f.mask(rest, lanes)]
            start = end


class _Forward(_Winograd):
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
            self._multiply(count)
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

    def _multiply(self, count: Int) -> None:
        f, rows = self.f, self.tiling.tile[0]
        vector, element, channel = (f.kernel.accesses[1].strides[axis] for axis in (3, 5, 6))
        with f.loop(0, ELEMENTS) as elements:
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


class _Gradient(_Winograd):
    """Sizes are parts of the batch, input channels, rows and columns of the kernel, output channels; accesses 0 and 1
    the input and the cotangent, with strides of images, rows and columns behind those of the sizes; access 2 the sums
    of the transformed gradient. ``extra = (terms, images of a part at most, images, ...)``."""

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
                self._multiply(sums, count)
            self._finish(sums, parts.index)

    def _first_image(self, part: Int) -> Int:
        """Where a part begins: all are as large as they can be equally."""
        f = self.f
        return f.let(f"udiv i64 {f.mul(part, f.extra(2))}, {f.size(0)}")

    def _clear(self, sums: str) -> None:
        f, total = self.f, ELEMENTS * self.channels * self.outputs
        zero = self.builder.const(0, self.dtype)
        whole = total // self.lanes * self.lanes
        with f.loop(0, whole, self.lanes) as loop:
            f.store(zero, f.advance(sums, self.dtype, loop.index), 1, self.lanes)
        if whole < total:
            mask = f.mask(total - whole, self.lanes)
            f.store(zero, f.advance(sums, self.dtype, whole), 1, self.lanes, mask)

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
        self.fetch_ahead(pointer, rows, columns, OUTPUTS)
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

    def _multiply(self, sums: str, count: Int) -> None:
        f, rows, dtype = self.f, self.tiling.tile[0], self.dtype
        with f.loop(0, ELEMENTS) as elements:
            given = f.advance(self.given.place, dtype, f.mul(elements.index, self.given.element))
            asked = f.advance(self.asked.place, dtype, f.mul(elements.index, self.asked.element))
            total = f.advance(sums, dtype, f.mul(elements.index, self.channels * self.outputs))
            for column, masks in self.each_panel(self.outputs):
                columns = [f.advance(asked, dtype, f.add(column, j * self.lanes)) for j in range(len(masks))]

                def rows_from(first: Int, size: int, columns=columns, column=column, masks=masks) -> None:
                    a = f.advance(given, dtype, first)
                    none: list[str | None] = [None] * len(masks)
                    found = self.chain(a, range(size), self.given.row, columns, self.asked.row, count, none)
                    place = f.advance(total, dtype, f.add(f.mul(first, self.outputs), column))
                    for number, value in enumerate(found):
                        row, j = divmod(number, len(masks))
                        there = f.advance(place, dtype, row * self.outputs + j * self.lanes)
                        before = f.load(there, dtype, 1, self.lanes, masks[j])
                        both = self.builder.add(before, Value(value, dtype))
                        f.store(both, there, 1, self.lanes, masks[j])

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
            line = f.advance(sums, dtype, f.mul(loop.index, self.outputs))
            row = start.moved(1, loop.index, body)
            for at, mask in self.each_vector(self.outputs):
                element = self.channels * self.outputs
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


def both_ways(function, grid: Grid) -> Grid:
    """A linear function of the columns of a grid, then of its rows."""
    columns = [function(column) for column in zip(*grid)]
    return [function(row) for row in zip(*columns)]
