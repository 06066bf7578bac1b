"""Native code of copies of bfloat16 matrices in pairs, for products of two terms an instruction (AVX512-BF16)."""

from __future__ import annotations

from ...dtypes import bfloat16
from .emit import Function, Int
from .loops import axis_range
from .transpose import transposed

LANES = 16
WORDS = "<16 x i32>"
#: vectors of columns that are packed together
TOGETHER = 8


def emit_pair_pack(f: Function) -> None:
    """Copy x[(batch,) k, n] of bfloat16 in pairs of k, lanes along n: [lane][2]; an odd K ends with a 0.

    Accesses: 0 the operand with strides (batch,) vectors (= 16 * stride of n), k, n; 1 the copy, with strides (batch,)
    vectors, pairs. Sizes are (batch,) vectors, k with its padding. ``static = (batched, lanes, whether k is contiguous,
    else n is)``; ``extra = (K, N)``.
    """
    batched, _, unit = f.kernel.static
    axis_v = 1 if batched else 0
    panel, step = f.stride(1, axis_v), f.stride(1, axis_v + 1)

    def part(source: str, result: str, first: Int, vectors: int, count: Int | None) -> None:
        """Some vectors of columns from number `first` on, of which the last has `count` columns (None: all)."""
        here = f.advance(source, bfloat16, f.mul(f.stride(0, axis_v), first))
        there = f.advance(result, bfloat16, f.mul(first, panel))
        if unit:
            _transposed(f, here, there, step, f.stride(0, axis_v + 2), LANES if count is None else count)
            return
        places = [f.advance(there, bfloat16, f.mul(panel, j)) for j in range(vectors)]
        _interleaved(f, here, places, step, f.stride(0, axis_v + 1), None if count is None else f.mask(count, LANES))

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


def _interleaved(f: Function, source: str, results: list[str], step: Int, stride: Int, mask: str | None) -> None:
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
            place = f.advance(result, bfloat16, f.mul(index, step))
            f.line(f"store <{2 * LANES} x i16> {mixed}, ptr {place}, align 64")

    whole = f.let(f"lshr i64 {f.extra(0)}, 1")
    with f.loop(0, whole) as loop:
        pair(loop.index, True)
    with f.when(f.let(f"trunc i64 {f.extra(0)} to i1")):
        pair(whole, False)


def _transposed(f: Function, source: str, result: str, step: Int, stride: Int, count: Int) -> None:
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
        first = f.let(f"lshr i64 {start}, 1") if isinstance(start, str) else start // 2
        for number, vector in enumerate(transposed(f, loaded, "i32", 4)):
            place = f.advance(result, bfloat16, f.mul(f.add(first, number), step))
            f.line(f"store {WORDS} {vector}, ptr {place}, align 64")

    whole = f.let(f"and i64 {f.extra(0)}, -32")
    with f.loop(0, whole, 32) as loop:
        block(loop.index, None)
    rest = f.sub(f.extra(0), whole)
    with f.when(f.let(f"icmp sgt i64 {rest}, 0")):
        block(whole, f.mask(rest, 32))
