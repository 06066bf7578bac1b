"""Native code of elementwise maps and scatters, and loops over axes in vectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ...compiler.kernel import LANES, TRANSCENDENTAL, Body, Kernel
from ...dtypes import DType, int64, uint32
from .bodies import MOST_LINES, BodyCode, Point
from .emit import LINE, Function, Int, always_masked, whole_vectors

#: rows after which what a gather reads now will be needed
ROWS_AHEAD = 8
#: instructions of an element up to which it is light
LIGHT = 4
#: vectors of a light map past the caches that one turn of its loop computes: more lines are under way at once
STREAMED = 8
#: vectors of a row that are written out one by one
SHORT_ROW = 16
#: vectors of elementary functions that 32 registers hold side by side, their constants included
SIDE_BY_SIDE = {"exp": 4, "expm1": 4, "elu": 4, "sigmoid": 4, "sinh": 4, "tanh": 2, "atan": 2}


def emit_map(f: Function) -> None:
    """An elementwise kernel: every element of the space once, the vector axis innermost."""
    kernel = f.kernel
    if "scalar" in kernel.static:
        point = Point.start(f, kernel.body, 1)
        BodyCode(f, kernel.body, kernel.vector).run(point)
        return
    code = BodyCode(f, kernel.body, kernel.vector)
    axes = [a for a in range(len(kernel.sizes)) if a != kernel.vector]

    def nest(depth: int, point: Point) -> None:
        if depth == len(axes):
            begin, end = axis_range(f, kernel.vector)
            vector_loop(f, code, point, begin, end)
            return
        begin, end = axis_range(f, axes[depth])
        with f.loop(begin, end) as loop:
            if depth == len(axes) - 1:
                code.fetch_ahead(point, axes[depth], f.minimum(f.add(loop.index, ROWS_AHEAD), f.sub(end, 1)))
            nest(depth + 1, point.moved(axes[depth], loop.index, kernel.body))

    f.both_ways(lambda: nest(0, Point.start(f, kernel.body, LANES)))


def axis_range(f: Function, axis: int) -> tuple[Int, Int]:
    """First and last-plus-one index of an iteration axis in this call."""
    if axis > 0:
        return 0, f.size(axis)
    scale = f.argument(f.layout.scale)
    return f.mul("%lo", scale), f.mul("%hi", scale)


def vector_loop(f: Function, code: BodyCode, point: Point, begin: Int, end: Int) -> None:
    """Run `code` for begin..end of its vector axis, `LANES` at a time, the last ones masked."""
    code.hoist(point)

    def at(index: Int, count: Int | None) -> None:
        here = point.moved(code.vector, index, code.body)
        if count is not None:
            here.mask = f.mask(count, point.width)
        elif f.kernel.ahead:
            code.fetch_next(here)
        code.run(here)

    if isinstance(begin, int) and isinstance(end, int) and _unrolled(f, code.body, end - begin):
        for start in range(begin, end, LANES):
            at(start, None if start + LANES <= end else end - start)
        return
    together = side_by_side(f, code.body)
    if together > 1:
        first = whole_vectors(f, begin, end, LANES * together)
        with f.loop(begin, first, LANES * together) as loop:
            places = [f.add(loop.index, LANES * n) for n in range(together)]
            f.side_by_side([partial(at, place, None) for place in places])
        begin = first
    elif f.past and len(code.body.code) <= LIGHT:
        first = whole_vectors(f, begin, end, LANES * STREAMED)
        with f.loop(begin, first, LANES * STREAMED) as loop:
            for number in range(STREAMED):
                at(f.add(loop.index, LANES * number), None)
        begin = first
    each_vector(f, begin, end, at)


def _unrolled(f: Function, body: Body, length: int) -> bool:
    """Whether a row is so short, and its elements take so little, that the loop would take longer than its work."""
    return f.kernel.baked and len(body.code) <= LIGHT and length <= SHORT_ROW * LANES


def side_by_side(f: Function, body: Body) -> int:
    """Vectors that a loop computes side by side: several where elements take many operations that wait for others."""
    if not f.kernel.baked or f.target.vector_bits < 512:
        return 1
    hard = {i[1].name for i in body.code if i[0] == "op" and i[1].name in TRANSCENDENTAL}
    return min((SIDE_BY_SIDE.get(name, 1) for name in hard), default=1)


def each_vector(f: Function, begin: Int, end: Int, at: Callable[[Int, Int | None], None]) -> None:
    """``at(index, lanes in use)`` for the vectors of begin..end; None means all lanes."""
    if always_masked(f):
        with f.loop(begin, end, LANES) as loop:
            at(loop.index, f.minimum(f.sub(end, loop.index), LANES))
        return
    full = whole_vectors(f, begin, end, LANES)
    if not (isinstance(full, int) and full == begin):
        with f.loop(begin, full, LANES) as loop:
            at(loop.index, None)
    rest = f.sub(end, full)
    if isinstance(rest, int):
        if rest:
            at(full, rest)
        return
    with f.when(f.let(f"icmp sgt i64 {rest}, 0")):
        at(full, rest)


def value_dtype(f: Function, body, value: int) -> DType:
    return body_dtypes(f.kernel, body)[value]


def body_dtypes(kernel: Kernel, body) -> list[DType]:
    """Dtype of every value of a body."""
    result: list[DType] = []
    for instruction in body.code:
        kind = instruction[0]
        if kind in ("load", "take"):
            result.append(kernel.accesses[instruction[1]].dtype)
        elif kind in ("scalar", "const"):
            result.append(instruction[2])
        elif kind == "index":
            result.append(int64)
        elif kind == "op":
            result.append(instruction[3])
        elif kind == "check":
            result.append(result[instruction[1]])
        elif kind == "random":
            result.append(uint32)
        else:
            result.append(int64)
    return result


def emit_scatter(f: Function) -> None:
    """Add updates at indices, in the order of the indices: accesses (result, indices, updates).

    Axis 1 runs over index positions one after another; every other axis is independent. `body` has the code
    load index, check; ``extra = (check number, size, stride of the indexed axis)``.
    """
    kernel = f.kernel
    vector = kernel.vector
    axes = [0, 1] + [a for a in range(2, len(kernel.sizes)) if a != vector]
    result_dtype = kernel.accesses[0].dtype
    code = BodyCode(f, kernel.body, vector)
    indices_vary = kernel.accesses[1].strides[vector] != 0

    def add_at(point: Point, offset: str | None) -> None:
        width = point.width
        builder = f.builder(width)
        update = f.load(point.pointer(2), result_dtype, f.stride(2, vector), width, point.mask)
        pointer = point.pointer(0)
        if offset is not None:
            pointer = f.advance(pointer, result_dtype, offset)
        old = f.load(pointer, result_dtype, f.stride(0, vector), width, point.mask)
        f.store(builder.add(old, update), pointer, f.stride(0, vector), width, point.mask)

    def lanes(point: Point) -> None:
        begin, end = 0, f.size(vector)
        if indices_vary:
            with f.loop(begin, end) as loop:
                here = point.moved(vector, loop.index, kernel.body)
                here.width = 1
                add_at(here, row(here))
            return
        offset = row(Point(f, point.pointers, point.indices, 1))
        full = whole_vectors(f, begin, end, LANES)
        with f.loop(begin, full, LANES) as loop:
            add_at(point.moved(vector, loop.index, kernel.body), offset)
        rest = f.sub(end, full)
        some = f"{'true' if rest > 0 else 'false'}" if isinstance(rest, int) else f.let(f"icmp sgt i64 {rest}, 0")
        with f.when(some):
            last = point.moved(vector, full, kernel.body)
            last.mask = f.mask(rest, LANES)
            add_at(last, offset)

    def row(point: Point) -> str:
        index = f.load(point.pointer(1), kernel.accesses[1].dtype, 0, 1)
        place = code._safe(index, f.extra(1), f.extra(0), point)
        return str(f.mul(place, f.extra(2)))

    def fetch(point: Point, index: Int) -> None:
        """Ask for the row that the update at position `index` is added to."""
        there = point.moved(1, index, kernel.body)
        place = f.load(there.pointer(1), kernel.accesses[1].dtype, 0, 1)
        start = f.mul(f.builder(1).cast(place, int64).ref, f.extra(2))
        line = LINE // result_dtype.itemsize
        for first in range(0, min(kernel.sizes[vector], MOST_LINES * line), line):
            f.prefetch(f.advance(there.pointer(0), result_dtype, f.add(start, first)), True)

    def nest(depth: int, point: Point) -> None:
        if depth == len(axes):
            lanes(point)
            return
        begin, end = axis_range(f, axes[depth])
        with f.loop(begin, end) as loop:
            if axes[depth] == 1 and kernel.ahead:
                fetch(point, f.minimum(f.add(loop.index, ROWS_AHEAD), f.sub(end, 1)))
            nest(depth + 1, point.moved(axes[depth], loop.index, kernel.body))

    nest(0, Point.start(f, kernel.body, LANES))
