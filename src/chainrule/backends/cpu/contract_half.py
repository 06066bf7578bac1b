"""Native code of products of bfloat16 matrices, two terms an instruction, summed in float32 (AVX512-BF16).

``out[b, m, n] = epilogue(sum_k a[b, m, k] * b[b, k, n])`` with a and b in bfloat16, the sum in float32. The instruction
multiplies 16 pairs of neighbouring k with 16 other pairs and adds both products of each to a lane of float32. So k runs
in pairs. Operand b is packed: [vector of n][pair of k][lane][2]. Operand a is read where it lies if its k is contiguous
and even in number, one pair for all lanes; otherwise it is packed in the same layout, its rows in place of n.

Every output is one chain in ascending k, in the blocks of `compiler/trees.py`, whose sums are added in order: the tile,
the panel and the thread change nothing. The processor treats subnormal numbers as 0 here. Without the instruction
the operands become float32 before the product (`compiler/pairs.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ...dtypes import bfloat16, float32
from ..base import Value
from .bodies import BodyCode, Point
from .contract import transpose
from .emit import Function, Int
from .loops import axis_range

LANES = 16
PAIRS = "<32 x bfloat>"
VECTOR = "<16 x float>"
WORDS = "<16 x i32>"
#: vectors of columns that are packed together
TOGETHER = 4
DOT = "@llvm.x86.avx512bf16.dpbf16ps.512"


def multiply_pairs(f: Function, a: str, b: str, total: str) -> str:
    """`total` plus both products of every lane's pairs, which `a` and `b` hold in the bits of a float32."""
    f.declarations.add(f"declare {VECTOR} {DOT}({VECTOR}, {PAIRS}, {PAIRS})")
    left, right = (f.let(f"bitcast {VECTOR} {x} to {PAIRS}") for x in (a, b))
    return f.let(f"call {VECTOR} {DOT}({VECTOR} {total}, {PAIRS} {left}, {PAIRS} {right})")


class PairContraction:
    """Emits one product.

    ``static = (batched, lanes, rows, panels, packed b, blocked, 0, packed a)``; ``extra = (K, block of k, ...)``;
    accesses 0 and 1 are a and b with the stride of k last, access 2 the partial sums if blocked. Sizes are (batch,) m,
    n.
    """

    def __init__(self, f: Function):
        self.f = f
        self.batched, _, self.rows, self.panels, _, self.blocked, _, self.packed_a = f.kernel.static
        self.axis_m = 1 if self.batched else 0
        self.axis_n = self.axis_m + 1
        f.declarations.add(f"declare {VECTOR} {DOT}({VECTOR}, {PAIRS}, {PAIRS})")
        f.entry.append(f"  %tile = alloca [{self.rows * max(self.panels) * LANES} x float], align 64")
        self.count = f.let(f"lshr i64 {f.add(f.extra(0), 1)}, 1")  # pairs of k
        self.panel = f.mul(padded_pairs(f), 2 * LANES)  # elements of one packed vector of columns

    def emit(self) -> None:
        f, body = self.f, self.f.kernel.body
        point = Point.start(f, body, LANES)
        a, b = f.base(0), f.base(1)
        partial = f.base(2) if self.blocked else None
        if not self.batched:
            self._columns(point, a, b, partial, *axis_range(f, 0))
            return
        with f.loop(*axis_range(f, 0)) as loop:
            here = point.moved(0, loop.index, body)
            a = f.advance(a, bfloat16, f.mul(f.stride(0, 0), loop.index))
            b = f.advance(b, bfloat16, f.mul(f.stride(1, 0), loop.index))
            if partial is not None:
                partial = f.advance(partial, float32, f.mul(f.stride(2, 0), loop.index))
            self._columns(here, a, b, partial, 0, f.size(1))

    def _columns(self, point: Point, a: str, b: str, partial: str | None, low: Int, high: Int) -> None:
        """All panels of columns, for the rows low..high."""
        f, size = self.f, self.f.size(self.axis_n)

        def panel(start: Int, counts: Sequence[Int | None]) -> None:
            masks = [None if count is None else f.mask(count, LANES) for count in counts]
            with f.loop(0, self.count, self._block()) as block:
                stop = f.minimum(f.add(block.index, self._block()), self.count)
                self._tiles(point, a, b, partial, low, high, start, masks, block.index, stop)

        if not isinstance(size, int):
            width = self.panels[0]
            with f.loop(0, size, width * LANES) as loop:
                left = [f.sub(f.sub(size, loop.index), j * LANES) for j in range(width)]
                panel(loop.index, [f.maximum(f.minimum(count, LANES), 0) for count in left])
            return
        start = 0
        for width, repeats in _runs(self.panels):
            whole = min(repeats, (size - start) // (width * LANES))
            if whole:
                with f.loop(start, start + whole * width * LANES, width * LANES) as loop:
                    panel(loop.index, [None] * width)
            start += whole * width * LANES
            if whole < repeats:  # the last panel, whose last vector is not full
                panel(start, [None] * (width - 1) + [size - start - (width - 1) * LANES])

    def _block(self) -> Int:
        return self.f.let(f"lshr i64 {self.f.extra(1)}, 1") if self.blocked else self.count

    def _tiles(self, point, a, b, partial, low, high, start, masks, first, last) -> None:
        """All register tiles of a panel, for the pairs first..last.

        Tiles of a packed a lie at multiples of their rows. Others end at `high` or before and begin at row 0 or after.
        """
        f, rows = self.f, self.rows
        if self.packed_a:
            begin = f.mul(f.let(f"udiv i64 {low}, {rows}"), rows) if isinstance(low, str) else low // rows * rows
            with f.loop(begin, high, rows) as loop:
                written = (f.maximum(f.sub(low, loop.index), 0), f.minimum(f.sub(high, loop.index), rows))
                self._tile(point, a, b, partial, loop.index, written, start, masks, first, last)
            return
        edge = f.sub(high, rows)
        with f.loop(low, high, rows) as loop:
            top = f.maximum(f.minimum(loop.index, edge), 0)
            written = (f.sub(loop.index, top), f.minimum(f.sub(high, top), rows))
            self._tile(point, a, b, partial, top, written, start, masks, first, last)

    def _rows_of_a(self, a: str, top: Int) -> tuple[str, list[Int], Int]:
        """Pointer to the tile's first row of a, offset of every row from it, and step from pair to pair."""
        f = self.f
        if self.packed_a:  # a tile lies within one vector of rows: rows divides the lanes
            vector, lane = f.let(f"lshr i64 {top}, 4"), f.let(f"and i64 {top}, {LANES - 1}")
            start = f.add(f.mul(vector, self.panel), f.mul(lane, 2))
            return f.advance(a, bfloat16, start), [2 * i for i in range(self.rows)], 2 * LANES
        stride = f.stride(0, self.axis_m)
        bottom: Int = self.rows - 1
        if not f.kernel.baked:
            bottom = f.sub(f.sub(f.size(self.axis_m), top), 1)
        offsets = [f.mul(stride, f.minimum(i, bottom)) for i in range(self.rows)]
        return f.advance(a, bfloat16, f.mul(stride, top)), offsets, 2

    def _tile(self, point, a, b, partial, top, written, start, masks, first, last) -> None:
        """One register tile: rows top.., vectors start.. of this panel. Only the rows `written` (from, to) are new."""
        f, width = self.f, len(masks)
        vector = f.let(f"lshr i64 {start}, 4") if isinstance(start, str) else start // LANES
        columns = [f.advance(b, bfloat16, f.mul(f.add(vector, j), self.panel)) for j in range(width)]
        corner, offsets, step = self._rows_of_a(a, top)
        zero = f.builder(LANES).const(0.0, float32).ref
        with f.loop(first, last, 1, [(VECTOR, zero)] * (self.rows * width)) as loop:
            here = f.advance(corner, bfloat16, f.mul(loop.index, step))
            k = f.mul(loop.index, 2 * LANES)
            vectors = [f.let(f"load {PAIRS}, ptr {f.advance(c, bfloat16, k)}, align 64") for c in columns]
            totals = []
            for i, offset in enumerate(offsets):
                word = f.let(f"load i32, ptr {f.advance(here, bfloat16, offset)}, align 2")
                pair = f.let(f"bitcast {WORDS} {f.splat(word, 'i32', LANES)} to {PAIRS}")
                for j, other in enumerate(vectors):
                    given = f"{VECTOR} {loop.values[i * width + j]}, {PAIRS} {pair}, {PAIRS} {other}"
                    totals.append(f.let(f"call {VECTOR} {DOT}({given})"))
            loop.next = totals
        self._finish(point, partial, top, written, start, masks, first, last, loop.values)

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
                    there = here.moved(self.axis_n, f.add(start, j * LANES), body)
                    total = Value(totals[i * len(masks) + j], float32)
                    f.store(total, there.pointer(body.stores[0][1]), 1, LANES, mask)
        with f.when(f.let(f"xor i1 {whole}, true")):
            self._through_stack(point, partial, top, written, start, masks, first, last, totals)

    def _through_stack(self, point, partial, top, written, start, masks, first, last, totals) -> None:
        """The tile by way of the stack, in a loop over its rows."""
        f, body, width = self.f, self.f.kernel.body, len(masks)
        for number, total in enumerate(totals):
            f.line(f"store {VECTOR} {total}, ptr {f.advance('%tile', float32, number * LANES)}, align 64")
        with f.loop(*written) as loop:
            row = f.add(top, loop.index)
            here = point.moved(self.axis_m, row, body)
            line = f.advance("%tile", float32, f.mul(loop.index, width * LANES))
            sums = None if partial is None else f.advance(partial, float32, f.mul(f.stride(2, self.axis_m), row))
            for j, mask in enumerate(masks):
                column = f.add(start, j * LANES)
                raw = f.let(f"load {VECTOR}, ptr {f.advance(line, float32, j * LANES)}, align 64")
                there = here.moved(self.axis_n, column, body)
                there.mask = mask
                value = Value(raw, float32)
                if sums is None:
                    self._epilogue(here, there, value)
                    continue
                pointer = f.advance(sums, float32, column)
                total = f.builder(LANES).add(f.load(pointer, float32, 1, LANES, mask), value)
                fresh = f.let(f"icmp eq i64 {first}, 0")
                kept = Value(f.let(f"select i1 {fresh}, {VECTOR} {raw}, {VECTOR} {total.ref}"), float32)
                f.store(kept, pointer, 1, LANES, mask)
                with f.when(f.let(f"icmp eq i64 {last}, {self.count}")):
                    self._epilogue(here, there, kept)

    def _epilogue(self, row: Point, point: Point, anchor: Value) -> None:
        code = BodyCode(self.f, self.f.kernel.body, self.axis_n)
        code.hoist(row)
        code.run(point, anchor)


def _runs(panels: tuple[int, ...]) -> list[tuple[int, int]]:
    """Equal neighbours of `panels` as (width, how many)."""
    runs: list[tuple[int, int]] = []
    for width in panels:
        if runs and runs[-1][0] == width:
            runs[-1] = (width, runs[-1][1] + 1)
        else:
            runs.append((width, 1))
    return runs


def emit_pair_contract(f: Function) -> None:
    """A product of bfloat16 matrices (see `PairContraction`)."""
    PairContraction(f).emit()


# --- packing --------------------------------------------------------------------------------------


def padded_pairs(f: Function) -> Int:
    """Pairs of k that a packed operand has room for: whole blocks of 16; ``extra[0]`` is K."""
    return f.mul(f.let(f"lshr i64 {f.add(f.extra(0), 2 * LANES - 1)}, 5"), LANES)


def emit_pair_pack(f: Function) -> None:
    """Copy x[(batch,) k, n] of bfloat16 into the layout [vector of n][pair of k][lane][2]; an odd K ends with a 0.

    Accesses: 0 the operand with strides (batch,) vectors (= 16 * stride of n), k, n; 1 the copy. Sizes are (batch,)
    vectors, k with its padding. ``static = (batched, lanes, whether k is contiguous, else n is)``; ``extra = (K, N)``.
    """
    batched, _, unit = f.kernel.static
    axis_v = 1 if batched else 0
    panel = f.mul(padded_pairs(f), 2 * LANES)

    def part(source: str, result: str, first: Int, vectors: int, count: Int | None) -> None:
        """Some vectors of columns from number `first` on, of which the last has `count` columns (None: all)."""
        here = f.advance(source, bfloat16, f.mul(f.stride(0, axis_v), first))
        there = f.advance(result, bfloat16, f.mul(first, panel))
        if unit:
            _transposed(f, here, there, f.stride(0, axis_v + 2), LANES if count is None else count)
            return
        places = [f.advance(there, bfloat16, f.mul(panel, j)) for j in range(vectors)]
        _interleaved(f, here, places, f.stride(0, axis_v + 1), None if count is None else f.mask(count, LANES))

    def vectors(source: str, result: str, begin: Int, end: Int) -> None:
        left = f.sub(f.extra(1), f.mul(begin, LANES))  # columns from `begin` on; those of whole vectors go first
        whole = f.minimum(f.let(f"sdiv i64 {left}, {LANES}"), f.sub(end, begin))
        if not unit:
            groups = f.mul(f.let(f"sdiv i64 {whole}, {TOGETHER}"), TOGETHER)
            with f.loop(0, groups, TOGETHER) as loop:
                part(source, result, f.add(begin, loop.index), TOGETHER, None)
            begin = f.add(begin, groups)
            whole = f.sub(whole, groups)
        with f.loop(begin, f.add(begin, whole)) as loop:
            part(source, result, loop.index, 1, None)
        with f.loop(f.add(begin, whole), end) as loop:
            part(source, result, loop.index, 1, f.sub(f.extra(1), f.mul(loop.index, LANES)))

    source, result = f.base(0), f.base(1)
    if not batched:
        vectors(source, result, *axis_range(f, 0))
        return
    with f.loop(*axis_range(f, 0)) as loop:
        source = f.advance(source, bfloat16, f.mul(f.stride(0, 0), loop.index))
        vectors(source, f.advance(result, bfloat16, f.mul(f.stride(1, 0), loop.index)), 0, f.size(1))


def _load_words(f: Function, pointer: str, width: int, mask: str) -> str:
    kind = f"<{width} x i16>"
    name = f"@llvm.masked.load.v{width}i16.p0"
    f.declarations.add(f"declare {kind} {name}(ptr, i32 immarg, <{width} x i1>, {kind})")
    return f.let(f"call {kind} {name}(ptr {pointer}, i32 2, <{width} x i1> {mask}, {kind} zeroinitializer)")


def _interleaved(f: Function, source: str, results: list[str], stride: Int, mask: str | None) -> None:
    """Rows 2i and 2i + 1 of vectors of columns, element by element in turn; the row after an odd number of them is 0.

    Several vectors go together, so that whole cache lines are read.
    """
    order = ", ".join(f"i32 {lane}, i32 {LANES + lane}" for lane in range(LANES))
    kind = f"<{LANES} x i16>"

    def row(pointer: str) -> str:
        if mask is None:
            return f.let(f"load {kind}, ptr {pointer}, align 2")
        return _load_words(f, pointer, LANES, mask)

    def pair(index: Int, both: bool) -> None:
        here = f.advance(source, bfloat16, f.mul(f.mul(index, 2), stride))
        following = f.advance(here, bfloat16, stride) if both else ""
        for number, result in enumerate(results):
            even = row(f.advance(here, bfloat16, number * LANES))
            odd = row(f.advance(following, bfloat16, number * LANES)) if both else "zeroinitializer"
            mixed = f.let(f"shufflevector {kind} {even}, {kind} {odd}, <{2 * LANES} x i32> <{order}>")
            place = f.advance(result, bfloat16, f.mul(index, 2 * LANES))
            f.line(f"store <{2 * LANES} x i16> {mixed}, ptr {place}, align 64")

    whole = f.let(f"lshr i64 {f.extra(0)}, 1")
    with f.loop(0, whole) as loop:
        pair(loop.index, True)
    with f.when(f.let(f"trunc i64 {f.extra(0)} to i1")):
        pair(whole, False)


def _transposed(f: Function, source: str, result: str, stride: Int, count: Int) -> None:
    """Blocks of 16 columns and 16 pairs, which lie along k, transposed in registers; beyond K is 0."""
    edge = f.sub(count, 1)
    rows = [f.advance(source, bfloat16, f.mul(f.minimum(r, edge), stride)) for r in range(LANES)]

    def block(start: Int, mask: str | None) -> None:
        loaded = []
        for row in rows:
            pointer = f.advance(row, bfloat16, start)
            if mask is None:
                loaded.append(f.let(f"load {WORDS}, ptr {pointer}, align 2"))
            else:
                loaded.append(f.let(f"bitcast <32 x i16> {_load_words(f, pointer, 32, mask)} to {WORDS}"))
        place = f.advance(result, bfloat16, f.mul(start, LANES))
        for number, vector in enumerate(transpose(f, loaded, "i32")):
            f.line(f"store {WORDS} {vector}, ptr {f.advance(place, bfloat16, number * 2 * LANES)}, align 64")

    whole = f.let(f"and i64 {f.extra(0)}, -32")
    with f.loop(0, whole, 32) as loop:
        block(loop.index, None)
    rest = f.sub(f.extra(0), whole)
    with f.when(f.let(f"icmp sgt i64 {rest}, 0")):
        block(whole, f.mask(rest, 32))
