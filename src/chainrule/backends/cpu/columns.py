"""Sums down the columns of many rows: along whole stretches of a few rows, with the sums so far in the nearest cache.

The memory brings what lies one behind the other, a page at a time, faster than pieces of many rows. So a strip of
columns is walked along its rows, several of which share the reading and writing of the sums: enough for the memory to
bring the next ones of all of them unasked.
"""

from __future__ import annotations

from collections.abc import Callable

from ...compiler.kernel import LANES
from ...dtypes import DType
from ..base import Value
from .bodies import BodyCode, Point
from .emit import Function, Int, whole_vectors

#: bytes of a row in a strip, and rows that are walked along at once
STRIP, ROWS = 4096, 8

Combine = Callable[[str, str], str]


def reduce_columns(
    f: Function, inner: Point, outer: Point, columns: tuple[Int, Int], dtype: DType, first: str, combine: Combine
) -> Int:
    """Reduce the whole vectors of some columns by the chain of a single one; where the rest begins.

    `first`: what a vector of results begins with. `combine` takes two vectors.
    """
    kernel = f.kernel
    axis, reduced = kernel.vector, kernel.static[1]
    length, block = f.extra(0), f.extra(1)
    vector, most = f.builder(LANES).llvm_type(dtype), STRIP // dtype.itemsize
    code = BodyCode(f, kernel.inner, axis)
    begin, end = columns[0], whole_vectors(f, *columns, LANES)
    stacks = [f.fresh("stack") for _ in range(2)]
    f.entry += [f"  {stack} = alloca [{most // LANES} x {vector}], align 64" for stack in stacks]
    totals, sums = stacks

    def place(stack: str, column: Int) -> str:
        number = f.let(f"lshr i64 {column}, {LANES.bit_length() - 1}")
        return f.let(f"getelementptr {vector}, ptr {stack}, i64 {number}", "p")

    with f.loop(begin, end, most) as strip:
        width = f.minimum(f.sub(end, strip.index), most)
        corner = inner.moved(axis, strip.index, kernel.inner)

        def clear(stack: str) -> None:
            with f.loop(0, width, LANES) as along:
                f.line(f"store {vector} {first}, ptr {place(stack, along.index)}")

        def add_rows(row: Int, together: int) -> None:
            rows = [corner.moved(reduced, f.add(row, n), kernel.inner) for n in range(together)]
            pairs = whole_vectors(f, 0, width, 2 * LANES)
            for start, stop, vectors in ((0, pairs, 2), (pairs, width, 1)):
                with f.loop(start, stop, vectors * LANES) as along:
                    for number in range(vectors):
                        index = f.add(along.index, number * LANES)
                        here = place(sums, index)
                        total = f.let(f"load {vector}, ptr {here}")
                        for each in rows:
                            given = code.run(each.moved(axis, index, kernel.inner))[kernel.static[4]]
                            total = combine(total, given.ref)
                        f.line(f"store {vector} {total}, ptr {here}")

        clear(totals)
        with f.loop(0, length, block) as blocks:
            stop = f.minimum(f.add(blocks.index, block), length)
            clear(sums)
            full = whole_vectors(f, blocks.index, stop, ROWS)
            with f.loop(blocks.index, full, ROWS) as loop:
                add_rows(loop.index, ROWS)
            with f.loop(full, stop) as loop:
                add_rows(loop.index, 1)
            with f.loop(0, width, LANES) as along:
                total, more = (f.let(f"load {vector}, ptr {place(stack, along.index)}") for stack in stacks)
                f.line(f"store {vector} {combine(total, more)}, ptr {place(totals, along.index)}")
        epilogue = BodyCode(f, kernel.body, axis)
        epilogue.hoist(outer)
        with f.loop(0, width, LANES) as along:
            result = f.let(f"load {vector}, ptr {place(totals, along.index)}")
            here = outer.moved(axis, f.add(strip.index, along.index), kernel.body)
            epilogue.run(here, Value(result, dtype))
    return end
