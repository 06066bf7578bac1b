"""What native code by Winograd's minimal filtering has in common: tiles, their transformation, tables of transformed
tiles, and products of tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ...compiler.kernel import TILE_INPUTS as INPUTS
from ...compiler.kernel import TILE_OUTPUTS as OUTPUTS
from ...compiler.kernel import Tiling
from ...dtypes import DType
from ..base import Value
from .emit import LINE, Function, Int
from .emit import llvm_type as element_type

ELEMENTS = INPUTS * INPUTS

Grid = list[list[Value]]


class Table(NamedTuple):
    """A table on the stack, and how far apart its rows and its elements are."""

    place: str
    row: int
    element: int


class Tiles:
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

    def table(self, name: str, width: int) -> Table:
        """Memory for one number for each element, tile and channel; rows of whole vectors.

        A line between the elements keeps them from falling into the same set of the cache.
        """
        row = -(-width // self.lanes) * self.lanes
        apart = self.block * row + LINE // self.dtype.itemsize
        self.f.entry.append(f"  %{name} = alloca [{ELEMENTS * apart} x {self.element}], align 64")
        return Table(f"%{name}", row, apart)

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

    def inputs(self, pointer: str, rows: int, columns: int, table: Table, number: Int, at: Int, mask) -> None:
        """Transform a tile of inputs, `rows` and `columns` apart, and keep it as tile `number`."""
        self.keep(both_ways(self.sums, self.grid(pointer, rows, columns, mask)), table, number, at)

    @contextmanager
    def each_row(self, first: Int, element: Int, height: int, width: int) -> Iterator[tuple[Int, Int, Int]]:
        """Image, row and column of rows of tiles `first` ...: of all in a block while the products of all elements go
        on, which leave the memory in peace."""
        f = self.f
        count = -(-OUTPUTS * self.block // ELEMENTS)
        begin = f.mul(element, count)
        with f.loop(begin, f.add(begin, count)) as loop:
            number = f.let(f"udiv i64 {loop.index}, {OUTPUTS}")
            image, y, x, _, _ = self.place_of(f.add(first, number), height, width)
            yield image, f.add(y, f.let(f"urem i64 {loop.index}, {OUTPUTS}")), x

    def ask(self, pointer: str, dtype: DType, columns: int, width: int, write: bool = False) -> None:
        """Ask for the memory of a tile's row of `width` channels."""
        line = LINE // dtype.itemsize
        for j in range(OUTPUTS if columns * OUTPUTS > line else 1):
            for at in range(0, width, line):
                self.f.prefetch(self.f.advance(pointer, dtype, j * columns + at), write)

    def ask_for_inputs(self, access: int, axes: Sequence[int], place: Sequence[Int], reach: int, width: int) -> None:
        """Ask for what a row of a tile is the first to need of an operand, `reach` rows and columns from its start."""
        f, (_, row, column) = self.f, axes
        rows, columns = (f.kernel.accesses[access].strides[axis] for axis in (row, column))
        pointer = self.moved(access, f.base(access), *zip(axes, place))
        self.ask(f.advance(pointer, self.dtype, reach * (rows + columns)), self.dtype, columns, width)

    def grid(self, pointer: str, rows: int, columns: int, mask: str | None = None, extent: int = INPUTS) -> Grid:
        """Vectors of a square of places."""
        f, dtype = self.f, self.dtype
        lines = [f.advance(pointer, dtype, i * rows) for i in range(extent)]
        return [
            [f.load(f.advance(line, dtype, j * columns), dtype, 1, self.lanes, mask) for j in range(extent)]
            for line in lines
        ]

    def keep(self, grid: Grid, table: Table, number: Int, at: Int) -> None:
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


def both_ways(function, grid: Grid) -> Grid:
    """A linear function of the columns of a grid, then of its rows."""
    columns = [function(column) for column in zip(*grid)]
    return [function(row) for row in zip(*columns)]
