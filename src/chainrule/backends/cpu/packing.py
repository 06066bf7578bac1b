"""Native code of copies of right operands in panels of vectors: one function for operands of all shapes."""

from __future__ import annotations

from ...dtypes import DType
from ..base import Value
from .emit import Function, Int
from .emit import llvm_type as element_type
from .loops import axis_range

#: bytes of a column that are loaded at once
PIECE = 16
#: vectors of columns that are copied together, and how many rows before their turn they are asked for
TOGETHER, AHEAD = 8, 8


def emit_pack(f: Function) -> None:
    """Copy b[(batch,) k, n] into the layout [vector of n][k][lane]; lanes beyond n hold anything.

    Accesses: 0 the operand with strides (batch,) vectors (= lanes * stride of n), k, n; 1 the copy.
    Sizes are (batch,) vectors, k. ``static = (batched, lanes, elements of a contiguous column that are
    loaded at once, at most K, or 0)``; ``extra = (K, N)``.
    """
    kernel = f.kernel
    batched, lanes, together = kernel.static
    axis_v = 1 if batched else 0
    dtype = kernel.accesses[0].dtype
    pack = _pack_columns if together else _pack_rows

    def vectors(source: str, result: str, begin: Int, end: Int) -> None:
        if f.stride(0, axis_v + 2) == 1:
            begin = _pack_together(f, source, result, begin, end, lanes, axis_v)
        with f.loop(begin, end) as loop:
            left = f.sub(f.extra(1), f.mul(loop.index, lanes))
            here = f.advance(source, dtype, f.mul(f.stride(0, axis_v), loop.index))
            there = f.advance(result, dtype, f.mul(f.stride(1, axis_v), loop.index))
            pack(f, here, there, f.minimum(left, lanes), lanes, axis_v)

    source, result = f.base(0), f.base(1)
    if not batched:
        vectors(source, result, *axis_range(f, 0))
        return
    with f.loop(*axis_range(f, 0)) as loop:
        source = f.advance(source, dtype, f.mul(f.stride(0, 0), loop.index))
        vectors(source, f.advance(result, dtype, f.mul(f.stride(1, 0), loop.index)), 0, f.size(1))


def _pack_together(f: Function, source: str, result: str, begin: Int, end: Int, lanes: int, axis_v: int) -> Int:
    """Several whole vectors of columns that lie side by side, one k after another; returns the first vector left.

    A row of a large operand lies in a page of its own: the fewer passes over the rows the better.
    """
    dtype = f.kernel.accesses[0].dtype
    stride_k, apart = f.stride(0, axis_v + 1), f.stride(1, axis_v)
    full = f.minimum(end, f.let(f"sdiv i64 {f.extra(1)}, {lanes}"))
    groups = f.let(f"and i64 {f.maximum(f.sub(full, begin), 0)}, {-TOGETHER}")
    stop = f.add(begin, groups)
    with f.loop(begin, stop, TOGETHER) as loop:
        here = f.advance(source, dtype, f.mul(loop.index, lanes))
        there = f.advance(result, dtype, f.mul(loop.index, apart))
        places = [f.advance(there, dtype, f.mul(apart, j)) for j in range(TOGETHER)]
        with f.loop(0, f.extra(0)) as inner:
            row = f.advance(here, dtype, f.mul(stride_k, inner.index))
            ahead = f.advance(row, dtype, f.mul(stride_k, AHEAD))
            line = f.mul(inner.index, lanes)
            for j, place in enumerate(places):
                f.prefetch(f.advance(ahead, dtype, j * lanes))
                value = f.load(f.advance(row, dtype, j * lanes), dtype, 1, lanes)
                f.store(value, f.advance(place, dtype, line), 1, lanes)
    return stop


def _pack_rows(f: Function, source: str, result: str, count: Int, lanes: int, axis_v: int) -> None:
    """A vector of columns, one k after another."""
    dtype = f.kernel.accesses[0].dtype
    stride_k, stride_n = f.stride(0, axis_v + 1), f.stride(0, axis_v + 2)
    mask = f.mask(count, lanes) if lanes > 1 else None
    with f.loop(0, f.extra(0)) as loop:
        here = f.advance(source, dtype, f.mul(stride_k, loop.index))
        value = f.load(here, dtype, stride_n if lanes > 1 else 0, lanes, mask)
        f.store(value, f.advance(result, dtype, f.mul(loop.index, lanes)), 1, lanes)


def _pack_columns(f: Function, source: str, result: str, count: Int, lanes: int, axis_v: int) -> None:
    """A vector of columns that are contiguous along k, a few k at a time; the last ones end with k.

    As many k as 16 or 32 bytes hold are loaded of every column; the pieces are put side by side in vectors and
    transposed within each 16 bytes, which is as fast as whole square blocks of shuffles, and compiles in half the time.
    """
    dtype, together = f.kernel.accesses[0].dtype, f.kernel.static[2]
    length, stride_n = f.extra(0), f.stride(0, axis_v + 2)
    edge = f.sub(count, 1)
    columns = [f.advance(source, dtype, f.mul(f.minimum(n, edge), stride_n)) for n in range(lanes)]
    last = f.sub(length, together)
    with f.loop(0, length, together) as loop:
        start = f.minimum(loop.index, last)
        place = f.advance(result, dtype, f.mul(start, lanes))
        for k, vector in enumerate(load_columns(f, [f.advance(c, dtype, start) for c in columns], dtype, together)):
            f.store(vector, f.advance(place, dtype, k * lanes), 1, lanes)


def load_columns(f: Function, columns: list[str], dtype: DType, size: int) -> list[Value]:
    """The next `size` elements of contiguous columns, one column for each lane, as vectors across the columns.

    What is loaded of a column is loaded at once: columns that lie a power of two apart drive one another out of caches.
    """
    element, together = element_type(dtype), PIECE // dtype.itemsize
    if len(columns) == 4 * together and size % (2 * together) == 0:
        return _load_wide(f, columns, dtype, size)
    parts: list[list[str]] = [[] for _ in range(0, size, together)]
    for n in range(together):
        for number, part in enumerate(parts):
            places = [f.advance(column, dtype, number * together) for column in columns[n::together]]
            part.append(_joined(f, [f.load_raw(place, dtype, together) for place in places], element, together))
    rows = [row for part in parts for row in _transposed(f, part, element, len(columns))]
    return [Value(row, dtype) for row in rows]


def _load_wide(f: Function, columns: list[str], dtype: DType, size: int) -> list[Value]:
    """The same where a vector is 64 bytes: by pieces of 32 bytes, half as many loads as of 16 and fewer shuffles.

    Each 16 bytes are transposed where they are; the two columns of a vector are chosen so that what lies in 16 bytes
    then goes to its place by one shuffle of them.
    """
    element, together = element_type(dtype), PIECE // dtype.itemsize
    starts = range(0, size, 2 * together)
    halves: list[list[list[str]]] = []
    for first in (0, 2 * together):
        joined: list[list[str]] = [[] for _ in starts]
        for n in range(first, first + together):
            for rows, start in zip(joined, starts):
                places = [f.advance(columns[column], dtype, start) for column in (n, n + together)]
                pieces = [f.load_raw(place, dtype, 2 * together) for place in places]
                rows.append(_joined(f, pieces, element, 2 * together))
        halves.append([_transposed(f, rows, element, len(columns)) for rows in joined])
    result = []
    kind = f"<{len(columns)} x {element}>"
    for low, high in zip(*halves):
        for side in range(2):
            taken = [n * together + e for n in (side, 2 + side, 4 + side, 6 + side) for e in range(together)]
            order = ", ".join(f"i32 {place}" for place in taken)
            for one, other in zip(low, high):
                row = f.let(f"shufflevector {kind} {one}, {kind} {other}, <{len(columns)} x i32> <{order}>")
                result.append(Value(row, dtype))
    return result


def _joined(f: Function, pieces: list[str], element: str, size: int) -> str:
    """Vectors of `size` elements side by side in one."""
    while len(pieces) > 1:
        order = ", ".join(f"i32 {n}" for n in range(2 * size))
        kind = f"<{size} x {element}>"
        pieces = [
            f.let(f"shufflevector {kind} {a}, {kind} {b}, <{2 * size} x i32> <{order}>")
            for a, b in zip(pieces[::2], pieces[1::2])
        ]
        size *= 2
    return pieces[0]


def _transposed(f: Function, rows: list[str], element: str, lanes: int) -> list[str]:
    """Vectors of which every 16 bytes, one above the other, are a square block, with each block transposed."""
    size = len(rows)
    vector = f"<{lanes} x {element}>"

    def woven(a: str, b: str, first: int) -> str:
        """Half of each 16 bytes of a and b, from element `first` on, element by element in turn."""
        places = [start + first + n for start in range(0, lanes, size) for n in range(size // 2)]
        order = ", ".join(f"i32 {place}, i32 {lanes + place}" for place in places)
        return f.let(f"shufflevector {vector} {a}, {vector} {b}, <{lanes} x i32> <{order}>")

    for _ in range(size.bit_length() - 1):
        pairs = list(zip(rows[: size // 2], rows[size // 2 :]))
        rows = [woven(a, b, first) for a, b in pairs for first in (0, size // 2)]
    return rows
