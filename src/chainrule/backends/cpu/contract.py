"""Native code of contractions: register tiles of multiply-adds, with the epilogue on the tile.

``out[b, m, n] = epilogue(sum_k a[b, m, k] * b[b, k, n])``. A tile is `rows` values of m by a few vectors along n; the
loop over k carries it in registers: each step loads the vectors of b once and broadcasts `rows` scalars of a.
Every output is one chain of fused multiply-adds in ascending k, in blocks of k whose number depends on K only
(`compiler/trees.py`), whose sums are added in order: the tile, the panel and the thread change nothing.

The last tile of a range is moved back to end with it, so that it is whole; rows that were
done already, or belong to another thread's range, are computed as well but not written.
"""

from __future__ import annotations

from ..base import Value
from .bodies import BodyCode, Point
from .emit import Function, Int
from .emit import llvm_type as element_type
from .loops import always_masked, axis_range
from .toolchain import Target

UNROLL = 1


class CpuTiles:
    """Register tiles for a target.

    A tile leaves registers for one row of b and a broadcast of a. Measured: at least 8 accumulators cover the
    latency of a multiply-add; 8 x 3 and 8 x 2 run at the multiply-add peak, 8 x 1 below it.
    """

    def __init__(self, target: Target):
        self.target = target
        self.pairs = target.has_bfloat16_products

    def registers(self) -> int:
        return self.target.num_vector_registers

    def lanes(self, itemsize: int) -> int:
        return max(1, self.target.vector_bits // (8 * itemsize))

    def tile(self, itemsize: int, vectors: int, rows: int) -> tuple[int, tuple[int, ...]]:
        if vectors == 0:
            return (6, (2,)) if self.target.num_vector_registers < 32 else (8, (2,))
        if self.target.num_vector_registers < 32:
            return min(6, rows), _split(vectors, (2, 1))
        if vectors == 1:
            return min(14, rows), (1,)
        if rows >= 8:
            return 8, _split(vectors, (3, 2))
        return rows, _split(vectors, (4, 3) if rows > 2 else (8, 4))


def _split(vectors: int, widths: tuple[int, int]) -> tuple[int, ...]:
    """`vectors` as a sum of panel widths, wide ones first, without a panel of 1 where possible."""
    wide, narrow = widths
    count, rest = divmod(vectors, wide)
    panels = [wide] * count
    if rest and rest < narrow and panels:
        panels.pop()
        rest += wide
    while rest > 0:
        panels.append(min(narrow, rest))
        rest -= panels[-1]
    return tuple(panels)


class Contraction:
    """Emits one contraction kernel.

    ``static = (batched, lanes, rows, panels, packed, blocked, unrolled k)``; ``extra = (K, block of k, ...)``;
    accesses 0 and 1 are a and b with the stride of k last, access 2 the partial sums if blocked.
    Sizes are (batch,) m, n. A packed b has the layout [vector of n][k][lane].

    A generic contraction has no epilogue: one function serves every product of a dtype, packed or not, of any length.
    Its access 1 has the distance of two vectors of columns as its stride of n, and its access 2 is the result itself,
    in which partial sums are kept.
    """

    def __init__(self, f: Function):
        self.f = f
        kernel = f.kernel
        self.batched, self.lanes, self.rows, self.panels, self.packed, self.blocked, self.unrolled = kernel.static
        self.axis_m = 1 if self.batched else 0
        self.axis_n = self.axis_m + 1
        self.dtype = kernel.accesses[0].dtype
        self.element = element_type(self.dtype)
        self.vector = f.builder(self.lanes).llvm_type(self.dtype)
        self.plain = not kernel.baked
        self.length = self.unrolled or f.extra(0)
        widest = max(self.panels, default=1)
        f.entry.append(f"  %tile = alloca [{self.rows * widest * self.lanes} x {self.element}], align 64")

    def emit(self) -> None:
        f, body = self.f, self.f.kernel.body
        point = Point.start(f, body, self.lanes)
        a, b = f.base(0), f.base(1)
        partial = f.base(2) if self.blocked else None
        if not self.batched:
            self._columns(point, a, b, partial, *axis_range(f, 0))
            return
        with f.loop(*axis_range(f, 0)) as loop:
            here = point.moved(0, loop.index, body)
            a, b = self._step(a, 0, 0, loop.index), self._step(b, 1, 0, loop.index)
            partial = None if partial is None else self._step(partial, 2, 0, loop.index)
            self._columns(here, a, b, partial, 0, f.size(1))

    def _step(self, pointer: str, access: int, axis: int, index: Int) -> str:
        f = self.f
        return f.advance(pointer, self.dtype, f.mul(f.stride(access, axis), index))

    def _columns(self, point: Point, a: str, b: str, partial: str | None, low: Int, high: Int) -> None:
        """All panels of columns, for the rows low..high."""
        f, lanes = self.f, self.lanes
        size = f.size(self.axis_n)

        def panel(start: Int, width: int, rest: Int | None = None) -> None:
            counts: list[Int | None] = [None] * width
            if rest is not None:
                counts[-1] = rest
            self._panel(point, a, b, partial, low, high, start, counts)

        if not isinstance(size, int):
            self._generic_columns(point, a, b, partial, low, high, size)
            return
        rest = size % lanes
        start = position = 0
        while position < len(self.panels):
            width = self.panels[position]
            count = 1
            while position + count < len(self.panels) and self.panels[position + count] == width:
                count += 1
            position += count
            last = position == len(self.panels) and rest
            whole = count - 1 if last else count
            end = start + whole * width * lanes
            if whole == 1:
                panel(start, width)
            elif whole:
                with f.loop(start, end, width * lanes) as loop:
                    panel(loop.index, width)
            if last:
                panel(end, width, rest)
            start += count * width * lanes

    def _generic_columns(self, point, a, b, partial, low, high, size: str) -> None:
        """All panels where the number of columns is an argument."""
        f, lanes, width = self.f, self.lanes, self.panels[0]
        span = width * lanes
        if always_masked(f):
            with f.loop(0, size, span) as loop:
                left = [f.sub(f.sub(size, loop.index), j * lanes) for j in range(width)]
                counts: list[Int | None] = [f.maximum(f.minimum(count, lanes), 0) for count in left]
                self._panel(point, a, b, partial, low, high, loop.index, counts)
            return
        whole = f.mul(f.let(f"udiv i64 {size}, {span}"), span)
        with f.loop(0, whole, span) as loop:
            self._panel(point, a, b, partial, low, high, loop.index, [None] * width)
        with f.loop(whole, size, lanes) as loop:
            count = f.minimum(f.sub(size, loop.index), lanes)
            self._panel(point, a, b, partial, low, high, loop.index, [count])

    def _panel(self, point, a, b, partial, low, high, start: Int, counts: list[Int | None]) -> None:
        """A panel of vectors from column `start` on; ``counts[j]`` columns of vector j are in use, None: all."""
        f = self.f
        masks = [None if count is None else f.mask(count, self.lanes) for count in counts]
        if not self.blocked:
            self._tiles(point, a, b, partial, low, high, start, masks, 0, self.length)
            return
        with f.loop(0, self.length, f.extra(1)) as loop:
            stop = f.minimum(f.add(loop.index, f.extra(1)), self.length)
            self._tiles(point, a, b, partial, low, high, start, masks, loop.index, stop)

    def _tiles(self, point, a, b, partial, low, high, start, masks, first, last) -> None:
        """All register tiles of a panel. Each ends at `high` or before and begins at row 0 or after."""
        f, rows = self.f, self.rows
        edge = f.sub(high, rows)
        with f.loop(low, high, rows) as loop:
            top = f.maximum(f.minimum(loop.index, edge), 0)
            done = f.sub(loop.index, top)
            end = f.minimum(f.sub(high, top), rows)
            self._tile(point, a, b, partial, top, (done, end), start, masks, first, last)

    def _tile(self, point, a, b, partial, top, written, start, masks, first, last) -> None:
        """One register tile: rows top.., vectors start.. of this panel, k from first to last.

        Only the rows `written` (from, to) of the tile are new; the others may not even be there yet.
        """
        f, lanes, rows = self.f, self.lanes, self.rows
        zero = f.builder(lanes).const(0, self.dtype).ref
        width = len(masks)
        a_top = self._step(a, 0, self.axis_m, top)
        a_k, b_k = f.stride(0, self.axis_n + 1), f.stride(1, self.axis_n + 1)
        if self.plain:
            vector = f.let(f"udiv i64 {start}, {lanes}")
            columns = [
                f.advance(b, self.dtype, f.mul(f.add(vector, j), f.stride(1, self.axis_n))) for j in range(width)
            ]
        elif self.packed:
            vector = f.let(f"udiv i64 {start}, {lanes}") if isinstance(start, str) else start // lanes
            spans = [f.mul(f.mul(f.add(vector, j), f.extra(0)), lanes) for j in range(width)]
            columns = [f.advance(b, self.dtype, span) for span in spans]
            b_k = lanes
        else:
            columns = [f.advance(b, self.dtype, f.add(start, j * lanes)) for j in range(width)]
        bottom = rows - 1 if not self.plain else f.sub(f.sub(f.size(self.axis_m), top), 1)
        a_rows = [f.mul(f.stride(0, self.axis_m), f.minimum(i, bottom)) for i in range(rows)]

        def step(k: Int, totals: list[str]) -> list[str]:
            k_a, k_b = f.mul(k, a_k), f.mul(k, b_k)
            a_here = f.advance(a_top, self.dtype, k_a)
            builder = f.builder(lanes)
            vectors = []
            for j, column in enumerate(columns):
                pointer = f.advance(column, self.dtype, k_b)
                mask = masks[j] if self.plain or not self.packed else None
                vectors.append(f.load(pointer, self.dtype, 1, lanes, mask))
            result = []
            for i in range(rows):
                scalar = f.let(f"load {self.element}, ptr {f.advance(a_here, self.dtype, a_rows[i])}")
                broadcast = Value(f.splat(scalar, self.element, lanes), self.dtype)
                for j in range(width):
                    result.append(self._multiply_add(builder, broadcast, vectors[j], totals[i * width + j]))
            return result

        totals = [zero] * (rows * width)
        if self.unrolled:
            for k in range(self.unrolled):
                totals = step(k, totals)
        else:
            span = f.sub(last, first)
            whole = f.add(first, f.let(f"and i64 {span}, {-UNROLL}"))
            with f.loop(first, whole, UNROLL, [(self.vector, t) for t in totals]) as loop:
                inside = loop.values
                for n in range(UNROLL):
                    inside = step(f.add(loop.index, n), inside)
                loop.next = inside
            with f.loop(whole, last, 1, [(self.vector, t) for t in loop.values]) as rest:
                rest.next = step(rest.index, rest.values)
            totals = rest.values
        self._finish(point, partial, top, written, start, masks, first, last, totals)

    def _multiply_add(self, builder, a: Value, b: Value, total: str) -> str:
        c = Value(total, self.dtype)
        if self.dtype.kind == "f":
            return builder.fma(a, b, c).ref
        return builder.add(builder.mul(a, b), c).ref

    def _finish(self, point, partial, top, written, start, masks, first, last, totals) -> None:
        """The rows `written` of a tile through partial sums and epilogue to memory."""
        f, body = self.f, self.f.kernel.body
        only_stored = len(body.code) == 1 and len(body.stores) == 1 and not self.blocked
        if not only_stored or f.stride(body.stores[0][1], self.axis_n) != 1:
            self._through_stack(point, partial, top, written, start, masks, first, last, totals)
            return
        begins = f.let(f"icmp eq i64 {written[0]}, 0")
        whole = f.let(f"and i1 {begins}, {f.let(f'icmp eq i64 {written[1]}, {self.rows}')}")
        with f.when(whole):
            for i in range(self.rows):
                here = point.moved(self.axis_m, f.add(top, i), body)
                for j, mask in enumerate(masks):
                    there = here.moved(self.axis_n, f.add(start, j * self.lanes), body)
                    total = Value(totals[i * len(masks) + j], self.dtype)
                    f.store(total, there.pointer(body.stores[0][1]), 1, self.lanes, mask)
        with f.when(f.let(f"xor i1 {whole}, true")):
            self._through_stack(point, partial, top, written, start, masks, first, last, totals)

    def _through_stack(self, point, partial, top, written, start, masks, first, last, totals) -> None:
        """The tile by way of the stack, in a loop over its rows."""
        f, lanes, body = self.f, self.lanes, self.f.kernel.body
        bytes_, width = self.dtype.itemsize * lanes, len(masks)
        for number, total in enumerate(totals):
            place = f.advance("%tile", self.dtype, number * lanes)
            f.line(f"store {self.vector} {total}, ptr {place}, align {bytes_}")
        with f.loop(*written) as loop:
            row = f.add(top, loop.index)
            here = point.moved(self.axis_m, row, body)
            line = f.advance("%tile", self.dtype, f.mul(loop.index, width * lanes))
            partial_row = None if partial is None else self._step(partial, 2, self.axis_m, row)
            for j in range(width):
                column = f.add(start, j * lanes)
                place = f.advance(line, self.dtype, j * lanes)
                raw = f.let(f"load {self.vector}, ptr {place}, align {bytes_}")
                there = here.moved(self.axis_n, column, body)
                there.mask = mask = masks[j]
                value = Value(raw, self.dtype)
                if partial_row is None:
                    self._epilogue(here, there, value)
                    continue
                pointer = f.advance(partial_row, self.dtype, column)
                before = f.load(pointer, self.dtype, 1, lanes, mask)
                total = f.builder(lanes).add(before, value)
                fresh = f.let(f"icmp eq i64 {first}, 0")
                kept = f.let(f"select i1 {fresh}, {self.vector} {value.ref}, {self.vector} {total.ref}")
                f.store(Value(kept, self.dtype), pointer, 1, lanes, mask)
                if self.plain:
                    continue
                with f.when(f.let(f"icmp eq i64 {last}, {self.length}")):
                    self._epilogue(here, there, Value(kept, self.dtype))

    def _epilogue(self, row: Point, point: Point, anchor: Value) -> None:
        code = BodyCode(self.f, self.f.kernel.body, self.axis_n)
        code.hoist(row)
        code.run(point, anchor)


def emit_contract(f: Function) -> None:
    """A contraction kernel (see `Contraction`)."""
    Contraction(f).emit()


def transpose(f: Function, rows: list[str], element: str) -> list[str]:
    """The transpose of a square block held in vectors: log2(n) stages of exchanges."""
    size = len(rows)
    vector = f"<{size} x {element}>"
    step = 1
    while step < size:
        result = list(rows)
        for i in range(size):
            if i & step:
                continue
            a, b = rows[i], rows[i + step]
            low = [lane if not lane & step else size + lane - step for lane in range(size)]
            high = [lane + step if not lane & step else size + lane for lane in range(size)]
            for place, picked in ((i, low), (i + step, high)):
                chosen = ", ".join(f"i32 {lane}" for lane in picked)
                result[place] = f.let(f"shufflevector {vector} {a}, {vector} {b}, <{size} x i32> <{chosen}>")
        rows = result
        step *= 2
    return rows
