"""Native code of products with sparse matrices."""

from __future__ import annotations

from ...compiler.kernel import LANES
from ...dtypes import int64
from ..base import Value
from .bodies import BodyCode, Point
from .emit import Function, Int
from .loops import axis_range, each_vector, vector_loop

#: vectors of features that one walk over a row's nonzeros adds up
TOGETHER = 4


def emit_csr(f: Function) -> None:
    """Rows of a sparse matrix times a dense one: accesses (result, indptr, indices, values, x).

    Threads take rows; a row's nonzeros are walked once for each `TOGETHER` vectors of features, whose sums stay in
    registers. ``extra = (check number, rows of x, nonzeros)``. Row ends are clamped to the nonzeros, so that no
    structure, however wrong, reads beyond an operand.
    """
    kernel = f.kernel
    ends = kernel.accesses[1].dtype
    builder = f.builder(1)
    begin, stop = axis_range(f, 0)
    with f.loop(begin, stop) as rows:

        def end(row: Int) -> str:
            place = f.load(f.advance(f.base(1), ends, row), ends, 0, 1)
            wide = builder.cast(place, int64).ref
            return str(f.maximum(f.minimum(wide, f.extra(2)), 0))

        first, last = end(rows.index), end(f.add(rows.index, 1))
        row = f.advance(f.base(0), kernel.accesses[0].dtype, f.mul(f.stride(0, 0), rows.index))
        _row(f, row, first, last)


def _row(f: Function, row: str, first: str, last: str) -> None:
    """All features of one row of the result."""
    features = f.size(1)
    if not isinstance(features, int):
        each_vector(f, 0, features, lambda start, count: _vectors(f, row, first, last, start, 1, count))
        return
    block = TOGETHER * LANES
    whole = features // block * block
    if whole:
        with f.loop(0, whole, block) as loop:
            _vectors(f, row, first, last, loop.index, TOGETHER, None)
    rest = features - whole
    if rest:
        _vectors(f, row, first, last, whole, -(-rest // LANES), rest % LANES or None)


def _vectors(f: Function, row: str, first: str, last: str, start: Int, number: int, count: Int | None) -> None:
    """`number` vectors of features from `start` on; `count` are the lanes in use of the last, None for all."""
    kernel = f.kernel
    dtype = kernel.accesses[0].dtype
    builder, single = f.builder(LANES), f.builder(1)
    code = BodyCode(f, kernel.body, 1)
    masks = [None] * (number - 1) + [None if count is None else f.mask(count, LANES)]
    zero = builder.const(0, dtype).ref
    kind = builder.llvm_type(dtype)
    step = f.size(1)
    with f.loop(first, last, 1, [(kind, zero)] * number) as loop:
        column = f.load(f.advance(f.base(2), kernel.accesses[2].dtype, loop.index), kernel.accesses[2].dtype, 0, 1)
        place = code._safe(column, f.extra(1), f.extra(0), Point(f, {}, {}, 1))
        value = f.load(f.advance(f.base(3), dtype, loop.index), dtype, 0, 1)
        factor = Value(f.splat(value.ref, single.llvm_type(dtype), LANES), dtype)
        source = f.advance(f.base(4), dtype, f.add(f.mul(step, place), start))
        loop.next = []
        for n, mask in enumerate(masks):
            x = f.load(f.advance(source, dtype, n * LANES), dtype, 1, LANES, mask)
            loop.next.append(builder.fma(factor, x, Value(loop.values[n], dtype)).ref)
    target = f.advance(row, dtype, f.mul(f.stride(0, 1), start))
    for n, mask in enumerate(masks):
        pointer = f.advance(target, dtype, f.mul(f.stride(0, 1), n * LANES))
        f.store(Value(loop.values[n], dtype), pointer, f.stride(0, 1), LANES, mask)


def emit_rows(f: Function) -> None:
    """A map over rows with given numbers, one after another: the numbers are the access that moves along axis 1 alone.

    ``static = (position, checks)``: ``extra[position:]`` are the check number and how many rows there are; `checks`
    says whether a number out of range may be met here first.
    """
    kernel = f.kernel
    position, _ = kernel.static
    numbers = next(n for n, access in enumerate(kernel.accesses) if access.strides == (0, 1, 0))
    dtype = kernel.accesses[numbers].dtype
    code = BodyCode(f, kernel.body, 2)
    begin, end = axis_range(f, 0)
    with f.loop(begin, end), f.loop(0, f.size(1)) as loop:
        row = f.advance(f.base(numbers), dtype, loop.index)
        start = Point(f, {}, {}, 1)
        place = code._safe(f.load(row, dtype, 0, 1), f.extra(position + 1), f.extra(position), start)
        pointers = {numbers: row}
        for n, access in enumerate(kernel.accesses):
            if n != numbers:
                pointers[n] = f.advance(f.base(n), access.dtype, f.mul(f.stride(n, 1), place))
        vector_loop(f, code, Point(f, pointers, {}, LANES), 0, f.size(2))
