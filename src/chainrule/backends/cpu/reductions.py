"""Native code of reductions.

Their trees (which element meets which, in what order) are fixed by `reduction_tree` in compiler/trees.py from shapes
alone; the code here follows them for any layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from ...compiler.kernel import LANES, Body
from ...dtypes import DType, bool_, float32, float64, int64
from ..base import ScalarBuilder, Value
from .bodies import BodyCode, Point, steady
from .columns import reduce_columns
from .emit import Function, Int, always_masked, whole_vectors
from .emit import llvm_type as element_type
from .extremes import extreme_lanes
from .loops import axis_range, each_vector, side_by_side, value_dtype
from .several_rows import ROWS, pays, reduce_rows
from .stacked import Stacked

#: vectors that one loop over a reduced axis carries, by the bits of a vector register: many, then fewer of the rest
TOGETHER = {512: (32, 16, 4), 256: (4,), 128: (2,)}
#: blocks of one sum that are walked at once, and instructions of an element up to which that pays
BLOCKS, LIGHT = 4, 4
#: vectors of a light chain that are written out: turns of a loop would fill what a processor looks at ahead
WRITTEN_OUT = 4
#: instructions of an element of which several chains are walked at once
FEW = 6


def combine(builder: ScalarBuilder, name: str, a: Value, b: Value) -> Value:
    """One step of the reduction called `name`."""
    if name == "sum":
        return builder.add(a, b)
    if name == "prod":
        return builder.mul(a, b)
    if name == "max":
        return builder.or_(a, b) if a.dtype is bool_ else builder.maximum(a, b)
    if name == "min":
        return builder.and_(a, b) if a.dtype is bool_ else builder.minimum(a, b)
    return builder.or_(a, b) if name == "any" else builder.and_(a, b)


def identity(name: str, dtype: DType) -> bool | int | float:
    """What a reduction starts from."""
    if name in ("sum", "prod"):
        return 0 if name == "sum" else 1
    if name in ("any", "all"):
        return name == "all"
    if dtype.kind == "b":
        return name == "min"
    largest = name == "min"
    if dtype.kind == "f":
        return float("inf") if largest else float("-inf")
    bits = dtype.itemsize * 8 - (dtype.kind == "i")
    return 2**bits - 1 if largest else (-(2**bits) if dtype.kind == "i" else 0)


def emit_reduce(f: Function) -> None:
    """A reduction. ``static = (name, first reduced axis, lanes, short, value)``; ``extra = (extent, block, ...)``.

    `inner` computes the element that goes in (its value number `value`), `body` works on the result. The axes from the
    first reduced one on are walked as one. With 16 lanes the reduced axis may be the vector axis. Otherwise a kept
    axis is: each lane of the vector is an output, for which a chain, or 16 virtual lanes one after another, are added.
    """
    kernel = f.kernel
    reduced, lanes = kernel.static[1], kernel.static[2]
    along = kernel.vector >= reduced
    chain = _spread_lanes if lanes > 1 else _arg_chain if kernel.static[0] in ("argmax", "argmin") else _chain
    axes = [a for a in range(reduced) if a != kernel.vector]
    at_once = along and kernel.static[0] not in ("max", "min") and pays(kernel, f.target.vector_bits)

    def nest(depth: int, inner: Point, outer: Point) -> None:
        if depth == len(axes):
            if along:
                dtype = value_dtype(f, kernel.inner, kernel.static[4])
                if kernel.static[0] in ("max", "min") and dtype in (float32, float64):
                    extreme_lanes(f, inner, outer, dtype)
                else:
                    _lanes(f, inner, outer)
            else:
                _kept_vectors(f, inner, outer, chain)
            return
        axis = axes[depth]
        begin, end = axis_range(f, axis)

        def moved(index: Int) -> tuple[Point, Point]:
            return inner.moved(axis, index, kernel.inner), outer.moved(axis, index, kernel.body)

        if at_once and depth == len(axes) - 1:
            rows = kernel.together or ROWS
            first = whole_vectors(f, begin, end, rows)
            with f.loop(begin, first, rows) as loop:
                _several_rows(f, [moved(f.add(loop.index, n)) for n in range(rows)])
            begin = first
        with f.loop(begin, end) as loop:
            nest(depth + 1, *moved(loop.index))

    nest(0, Point.start(f, kernel.inner, LANES), Point.start(f, kernel.body, 1 if along else LANES))


class Walk:
    """Places along the reduced axes of a kernel, which are walked as one.

    A place is an index for each axis; with one axis it is the index of the element itself and nothing is carried.
    """

    def __init__(self, f: Function):
        self.f = f
        self.axes = range(f.kernel.static[1], len(f.kernel.sizes))
        self.start: list[Int] = [0] * len(self.axes) if len(self.axes) > 1 else []
        self.kinds = ["i64"] * len(self.start)

    def at(self, point: Point, index: Int, place: Sequence[Int]) -> Point:
        """`point` moved to an element of the reduced axes."""
        body = self.f.kernel.inner
        moved = point
        for axis, here in zip(self.axes, place or [index]):
            moved = moved.moved(axis, here, body)
        moved.mask = point.mask
        return moved

    def after(self, place: Sequence[Int]) -> list[Int]:
        """The place of the next element."""
        f, result = self.f, list(place)
        carry: Int = 1
        for n in reversed(range(1, len(result))):
            here, size = f.add(result[n], carry), f.size(self.axes[n])
            if isinstance(here, int) and isinstance(size, int):
                carry, result[n] = (1, 0) if here == size else (0, here)
                continue
            over = f.let(f"icmp eq i64 {here}, {size}")
            result[n] = f.let(f"select i1 {over}, i64 0, i64 {here}")
            carry = f.let(f"zext i1 {over} to i64")
        if result:
            result[0] = f.add(result[0], carry)
        return result


class Rows:
    """The elements of short rows that lie one behind the other, a vector's worth of rows at once.

    Instead of being picked from memory for each place of a row, they are read and written in whole vectors.
    """

    def __init__(self, f: Function, point: Point, length: int, accesses: set[int]):
        self.f = f
        self.point = point
        self.length = length
        self.accesses = accesses
        self.read: dict[int, list[Value]] = {}
        self.written: dict[int, list[Value]] = {}

    @classmethod
    def of(cls, f: Function, point: Point, length: int) -> Rows | None:
        """The rows that begin at `point`, if some operands have such."""
        kernel = f.kernel
        first = kernel.static[1]
        if point.mask is not None or len(kernel.sizes) != first + 1:
            return None
        found = set()
        for number, access in enumerate(kernel.accesses):
            strides = access.strides
            if strides[first] == 1 and strides[kernel.vector] == length and f.interleaved(length, access.dtype, LANES):
                found.add(number)
        return cls(f, point, length, found) if found else None

    def given(self, index: int) -> dict[int, Value]:
        """The values of the loads from such rows at place `index`, by instruction."""
        found = {}
        for number, instruction in enumerate(self.f.kernel.inner.code):
            if instruction[0] == "load" and instruction[1] in self.accesses:
                access = instruction[1]
                if access not in self.read:
                    dtype = self.f.kernel.accesses[access].dtype
                    self.read[access] = self.f.load_rows(self.point.pointer(access), dtype, self.length, LANES)
                found[number] = self.read[access][index]
        return found

    def keep(self, values: dict[int, Value]) -> None:
        """Note what is stored to such rows."""
        for value, access in self.f.kernel.inner.stores:
            if access in self.accesses:
                self.written.setdefault(access, []).append(values[value])

    def finish(self) -> None:
        """Write what was noted."""
        for access, values in self.written.items():
            self.f.store_rows(values, self.point.pointer(access), LANES)


class Elements:
    """What goes into a reduction for the outputs at `point`; what all its elements share is computed here, once."""

    def __init__(self, f: Function, walk: Walk, point: Point, rows: Rows | None = None):
        self.f, self.walk, self.point, self.rows = f, walk, point, rows
        body, first = f.kernel.inner, f.kernel.static[1]
        self.code = BodyCode(f, body, f.kernel.vector)
        self.shared = self.code.at(point, steady(f.kernel, body, first))

    def at(self, index: Int, place: Sequence[Int]) -> Value:
        """One of the elements."""
        here, value, rows = self.walk.at(self.point, index, place), self.f.kernel.static[4], self.rows
        self.code.hoist(here, self.shared)
        if rows is None:
            return self.code.run(here)[value]
        assert isinstance(index, int)
        values = self.code.run(here, given=rows.given(index), skip=rows.accesses)
        rows.keep(values)
        return values[value]


def _spread_lanes(f: Function, points: list[Point]) -> list[Value]:
    """The tree of `_lanes` for a vector of outputs: the 16 lanes are 16 vectors, which take elements in turn."""
    (point,) = points
    kernel = f.kernel
    name, value = kernel.static[0], kernel.static[4]
    length, block = f.extra(0), f.extra(1)
    walk = Walk(f)
    elements = Elements(f, walk, point)
    dtype = value_dtype(f, kernel.inner, value)
    builder = f.builder(LANES)
    start, vector = builder.const(identity(name, dtype), dtype).ref, builder.llvm_type(dtype)

    def added(total: str, index: Int, place: Sequence[Int]) -> str:
        return combine(builder, name, Value(total, dtype), elements.at(index, place)).ref

    places = list(zip(walk.kinds, walk.start))
    with f.loop(0, length, block, [(vector, start), *places]) as blocks:
        stop = f.minimum(f.add(blocks.index, block), length)
        full = whole_vectors(f, blocks.index, stop, LANES)
        carried = [*((vector, start) for _ in range(LANES)), *zip(walk.kinds, blocks.values[1:])]
        with f.loop(blocks.index, full, LANES, carried) as loop:
            totals, place = loop.values[:LANES], list[Int](loop.values[LANES:])
            for lane in range(LANES):
                totals[lane] = added(totals[lane], f.add(loop.index, lane), place)
                place = walk.after(place)
            loop.next = [*totals, *place]
        totals, place = loop.values[:LANES], list[Int](loop.values[LANES:])
        before = f.block
        with f.when(f.let(f"icmp slt i64 {full}, {stop}")):  # the elements behind the last 16
            lanes = Stacked(f, vector, totals)
            with f.loop(full, stop, 1, list(zip(walk.kinds, place))) as loop:
                here = f.sub(loop.index, full)
                lanes.put(here, added(lanes.get(here), loop.index, loop.values))
                loop.next = walk.after(loop.values)
            kept, inside = lanes.all(), f.block
        totals = [f.let(f"phi {vector} [ {a}, %{before} ], [ {b}, %{inside} ]") for a, b in zip(totals, kept)]
        place = [f.let(f"phi i64 [ {a}, %{before} ], [ {b}, %{inside} ]") for a, b in zip(place, loop.values)]
        half = LANES // 2
        while half:
            totals = [
                combine(builder, name, Value(totals[n], dtype), Value(totals[n + half], dtype)).ref for n in range(half)
            ]
            half //= 2
        blocks.next = [combine(builder, name, Value(blocks.values[0], dtype), Value(totals[0], dtype)).ref, *place]
    return [Value(blocks.values[0], dtype)]


def _lanes(f: Function, inner: Point, outer: Point) -> None:
    """Blocks of 16 lanes each: lane l adds elements l, l+16, ...; lanes meet pairwise; blocks in order."""
    kernel = f.kernel
    name, value, reduced = kernel.static[0], kernel.static[4], kernel.vector
    length, block = f.extra(0), f.extra(1)
    code = BodyCode(f, kernel.inner, reduced)
    code.hoist(inner)
    dtype = value_dtype(f, kernel.inner, value)
    wide, narrow = f.builder(LANES), f.builder(1)
    start_wide, start_narrow = wide.const(identity(name, dtype), dtype), narrow.const(identity(name, dtype), dtype)
    vector, element = wide.llvm_type(dtype), element_type(dtype)

    def element_at(index: Int, count: Int | None) -> str:
        here = inner.moved(reduced, index, kernel.inner)
        if count is not None:
            here.mask = f.mask(count, LANES)
        elif kernel.ahead:
            code.fetch_next(here)
        given = code.run(here)[value].ref
        if count is not None:
            given = f.let(f"select <{LANES} x i1> {here.mask}, {vector} {given}, {vector} {start_wide.ref}")
        return given

    def added(total: str, index: Int, count: Int | None) -> str:
        return combine(wide, name, Value(total, dtype), Value(element_at(index, count), dtype)).ref

    def met(total: str, lanes: str) -> str:
        one = pairwise(f, name, lanes, dtype)
        return combine(narrow, name, Value(total, dtype), one).ref

    def chain(begin: Int, stop: Int) -> str:
        """The lanes of the elements begin..stop, which are in one block."""
        total, start = start_wide.ref, begin
        masked = always_masked(f)
        full = stop if masked else whole_vectors(f, begin, stop, LANES)
        together = side_by_side(f, kernel.inner)
        if together > 1:
            begin = whole_vectors(f, start, full, LANES * together)
            with f.loop(start, begin, LANES * together, [(vector, total)]) as loop:
                places = [f.add(loop.index, LANES * n) for n in range(together)]
                given = f.side_by_side([partial(element_at, place, None) for place in places])
                total = loop.values[0]
                for one in given:
                    total = combine(wide, name, Value(total, dtype), Value(one, dtype)).ref
                loop.next = [total]
            total = loop.values[0]
        elif light and not (isinstance(full, int) and full < LANES * WRITTEN_OUT):
            begin = whole_vectors(f, start, full, LANES * WRITTEN_OUT)
            with f.loop(start, begin, LANES * WRITTEN_OUT, [(vector, total)]) as loop:
                total = loop.values[0]
                for n in range(WRITTEN_OUT):
                    total = added(total, f.add(loop.index, LANES * n), None)
                loop.next = [total]
            total = loop.values[0]
        if begin != full:
            with f.loop(begin, full, LANES, [(vector, total)]) as loop:
                count = f.minimum(f.sub(stop, loop.index), LANES) if masked else None
                loop.next = [added(loop.values[0], loop.index, count)]
            total = loop.values[0]
        rest = f.sub(stop, full)
        if isinstance(rest, int):
            return added(total, full, rest) if rest else total
        if not masked:
            before = f.block
            with f.when(f.let(f"icmp sgt i64 {rest}, 0")):
                more = added(total, full, rest)
                inside = f.block
            total = f.let(f"phi {vector} [ {total}, %{before} ], [ {more}, %{inside} ]")
        return total

    light = kernel.baked and len(kernel.inner.code) <= LIGHT
    if kernel.row:
        result = met(start_narrow.ref, chain(0, kernel.row))
        BodyCode(f, kernel.body, reduced).run(outer, Value(result, dtype))
        return
    first: Int = 0
    before_all = start_narrow.ref
    if light:
        # whole blocks, a few at once: each is a chain of its own, and the chains hide each other's latency
        several, first = "%several", "%whole_blocks"  # for all rows alike, so on entry: a division takes its time
        f.entry.append(f"  {several} = mul i64 {block}, {BLOCKS}")
        f.entry.append(f"  %blocks_rest = urem i64 {length}, {several}")
        f.entry.append(f"  {first} = sub i64 {length}, %blocks_rest")
        with f.loop(0, first, several, [(element, before_all)]) as groups:
            begins = [f.add(groups.index, f.mul(block, n)) for n in range(BLOCKS)]
            with f.loop(0, block, LANES, [(vector, start_wide.ref)] * BLOCKS) as loop:
                loop.next = [added(v, f.add(b, loop.index), None) for v, b in zip(loop.values, begins)]
            total = groups.values[0]
            for lanes in loop.values:
                total = met(total, lanes)
            groups.next = [total]
        before_all = groups.values[0]
    with f.loop(first, length, block, [(element, before_all)]) as blocks:
        stop = f.minimum(f.add(blocks.index, block), length)
        blocks.next = [met(blocks.values[0], chain(blocks.index, stop))]
    BodyCode(f, kernel.body, reduced).run(outer, Value(blocks.values[0], dtype))


def _several_rows(f: Function, rows: Sequence[tuple[Point, Point]]) -> None:
    """`_lanes` for several rows at once."""
    name = f.kernel.static[0]
    dtype = value_dtype(f, f.kernel.inner, f.kernel.static[4])
    wide, narrow = f.builder(LANES), f.builder(1)
    start = wide.const(identity(name, dtype), dtype).ref, narrow.const(identity(name, dtype), dtype).ref

    def combined(lanes: str, given: str) -> str:
        return combine(wide, name, Value(lanes, dtype), Value(given, dtype)).ref

    def met(total: str, lanes: str) -> str:
        return combine(narrow, name, Value(total, dtype), pairwise(f, name, lanes, dtype)).ref

    reduce_rows(f, rows, dtype, start, combined, met)


def pairwise(f: Function, name: str, vector: str, dtype: DType) -> Value:
    """The lanes of `vector` combined in halves: l with l + n/2, and so on; lanes beyond the half hold anything."""
    element, builder = element_type(dtype), f.builder(LANES)
    kind = f"<{LANES} x {element}>"
    half = LANES // 2
    while half:
        picked = ", ".join(f"i32 {half + n if n < half else n}" for n in range(LANES))
        upper = f.let(f"shufflevector {kind} {vector}, {kind} poison, <{LANES} x i32> <{picked}>")
        vector = combine(builder, name, Value(vector, dtype), Value(upper, dtype)).ref
        half //= 2
    return Value(f.let(f"extractelement {kind} {vector}, i64 0"), dtype)


def _kept_vectors(f: Function, inner: Point, outer: Point, work) -> None:
    """Vectors along the kept vector axis; `work` reduces a few of them at once, to hide the latency of a chain."""
    kernel = f.kernel
    axis = kernel.vector
    begin, end = axis_range(f, axis)
    _, _, lanes, short, _ = kernel.static  # the processor runs short chains side by side by itself
    few = len(kernel.inner.code) <= FEW and not any(i[0] == "take" for i in kernel.inner.code)
    plain = few and kernel.static[0] not in ("argmax", "argmin") and lanes == 1 and not short
    several = TOGETHER.get(f.target.vector_bits, (4,)) if kernel.baked and plain else ()

    def at(start: Int, count: int, mask_count: Int | None = None) -> None:
        mask = None if mask_count is None else f.mask(mask_count, LANES)

        def moved(point: Point, number: Int, body: Body) -> Point:
            here = point.moved(axis, f.add(start, f.mul(number, LANES)), body)
            here.mask = mask
            return here

        results = work(f, [moved(inner, number, kernel.inner) for number in range(count)])
        epilogue = BodyCode(f, kernel.body, axis)
        epilogue.hoist(outer)
        if count == 1 or len(kernel.body.code) <= LIGHT:
            for number, result in enumerate(results):
                epilogue.run(moved(outer, number, kernel.body), result)
            return
        dtype = results[0].dtype
        kept = Stacked(f, f.builder(LANES).llvm_type(dtype), [result.ref for result in results])
        with f.loop(0, count) as loop:
            epilogue.run(moved(outer, loop.index, kernel.body), Value(kept.get(loop.index), dtype))

    if kernel.strips:
        name, dtype = kernel.static[0], value_dtype(f, kernel.inner, kernel.static[4])
        wide = f.builder(LANES)

        def combined(total: str, given: str) -> str:
            return combine(wide, name, Value(total, dtype), Value(given, dtype)).ref

        first_value = wide.const(identity(name, dtype), dtype).ref
        begin, several = reduce_columns(f, inner, outer, (begin, end), dtype, first_value, combined), ()
    for together in several:
        first = whole_vectors(f, begin, end, LANES * together)
        with f.loop(begin, first, LANES * together) as loop:
            at(loop.index, together)
        begin = first
    each_vector(f, begin, end, lambda index, count: at(index, 1, count))


def _reduction_length(f: Function) -> Int:
    """The number of elements reduced: a constant only if it is short and specialised, to unroll."""
    kernel = f.kernel
    return math.prod(kernel.sizes[kernel.static[1] :]) if kernel.static[3] else f.extra(0)


def _chain(f: Function, points: list[Point]) -> list[Value]:
    """Each lane one output: elements in order, in blocks whose sums are added in order."""
    kernel = f.kernel
    name, value = kernel.static[0], kernel.static[4]
    length = _reduction_length(f)
    dtype = value_dtype(f, kernel.inner, value)
    builder = f.builder(LANES)
    start = builder.const(identity(name, dtype), dtype)
    vector = builder.llvm_type(dtype)
    walk = Walk(f)

    rows = [Rows.of(f, point, length) if isinstance(length, int) else None for point in points]
    elements = [Elements(f, walk, point, whole) for point, whole in zip(points, rows)]

    def step(index: Int, place: Sequence[Int], totals: list[str]) -> list[str]:
        return [
            combine(builder, name, Value(total, dtype), each.at(index, place)).ref
            for each, total in zip(elements, totals)
        ]

    totals = [start.ref] * len(points)
    if isinstance(length, int):
        place = walk.start
        for index in range(length):
            totals = step(index, place, totals)
            place = walk.after(place)
        for whole in rows:
            if whole is not None:
                whole.finish()
    else:
        carried = [(vector, total) for total in totals]
        count, block = len(carried), f.extra(1)
        with f.loop(0, length, block, [*carried, *zip(walk.kinds, walk.start)]) as blocks:
            stop = f.minimum(f.add(blocks.index, block), length)
            with f.loop(blocks.index, stop, 1, [*carried, *zip(walk.kinds, blocks.values[count:])]) as loop:
                here = loop.values[count:]
                loop.next = [*step(loop.index, here, loop.values[:count]), *walk.after(here)]
            sums = [
                combine(builder, name, Value(a, dtype), Value(b, dtype)).ref
                for a, b in zip(blocks.values[:count], loop.values[:count])
            ]
            blocks.next = [*sums, *loop.values[count:]]
        totals = blocks.values[:count]
    return [Value(total, dtype) for total in totals]


def _arg_chain(f: Function, points: list[Point]) -> list[Value]:
    """Position of the first extreme element of each lane; NaN counts as extreme."""
    (point,) = points
    kernel = f.kernel
    name, value = kernel.static[0], kernel.static[4]
    walk = Walk(f)
    elements = Elements(f, walk, point)
    dtype = value_dtype(f, kernel.inner, value)
    b = f.builder(LANES)
    vector, index_vector = b.llvm_type(dtype), b.llvm_type(int64)
    flag = f"<{LANES} x i1>"
    length = f.extra(0)

    first = elements.at(0, walk.start)
    zero = b.const(0, int64).ref
    second = zip(walk.kinds, walk.after(walk.start))
    with f.loop(1, length, 1, [(vector, first.ref), (index_vector, zero), *second]) as loop:
        place_in = loop.values[2:]
        best, x = Value(loop.values[0], dtype), elements.at(loop.index, place_in)
        if dtype.kind == "b":
            less = b.and_(b.not_(best), x) if name == "argmax" else b.and_(best, b.not_(x))
        else:
            less = b.gt(x, best) if name == "argmax" else b.lt(x, best)
        if dtype.kind == "f":
            less = b.or_(less, b.and_(b.ne(x, x), b.eq(best, best)))
            less = b.and_(less, b.eq(best, best))
        here = f.splat(loop.index, "i64", LANES)
        taken = f.let(f"select {flag} {less.ref}, {vector} {x.ref}, {vector} {best.ref}")
        place = f.let(f"select {flag} {less.ref}, {index_vector} {here}, {index_vector} {loop.values[1]}")
        loop.next = [taken, place, *walk.after(place_in)]
    return [Value(loop.values[1], int64)]
