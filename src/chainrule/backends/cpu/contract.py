"""Native code of products of matrices whose sizes are arguments, for what is not compiled: one function for all.

``out[b, m, n] = sum_k a[b, m, k] * b[b, k, n]``. A tile is `rows` values of m by a few vectors along n; the loop over k
carries it in registers: each step loads the vectors of b once and broadcasts `rows` scalars of a.
Every output is a number of chains of fused multiply-adds in ascending k, blocks of k or every so many of them
(`compiler/trees.py`), whose sums are added in order: the tile, the panel and the thread change nothing.

The last tile of a range is moved back to end with it, so that it is whole; rows that were
done already, or belong to another thread's range, are computed as well but not written.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..base import Value
from .emit import Function, Int, always_masked
from .emit import llvm_type as element_type
from .half import multiply_pairs
from .loops import axis_range
from .toolchain import Target


class CpuTiles:
    """What the target offers register tiles."""

    def __init__(self, target: Target):
        self.target = target
        self.pairs = target.has_bfloat16_products

    def registers(self) -> int:
        return self.target.num_vector_registers

    def lanes(self, itemsize: int) -> int:
        return max(1, self.target.vector_bits // (8 * itemsize))

    def generic(self) -> tuple[int, int]:
        return (6, 2) if self.target.num_vector_registers < 32 else (8, 2)


class Contraction:
    """Emits a product of any sizes: one function serves every product of a dtype, packed or not, of any length.

    ``static = (batched, lanes, rows, vectors of a tile, pairs)``; ``extra = (K, *trees.product_blocks)``.
    Accesses 0 and 1 are a and b with the stride of k last, access 2 the result, in which partial sums are kept. Sizes
    are (batch,) m, n. The stride of n of access 1 is the distance of two vectors of columns. With `pairs`, an element
    of a or b is a pair of bfloat16 (see `Tiling`).
    """

    def __init__(self, f: Function):
        self.f = f
        self.batched, self.lanes, self.rows, self.width, self.pairs = f.kernel.static
        self.axis_m = 1 if self.batched else 0
        self.axis_n = self.axis_m + 1
        self.dtype = f.kernel.accesses[0].dtype
        self.element = element_type(self.dtype)
        self.vector = f.builder(self.lanes).llvm_type(self.dtype)
        f.entry.append(f"  %tile = alloca [{self.rows * self.width * self.lanes} x {self.element}], align 64")

    def emit(self) -> None:
        f = self.f
        a, b, result = (f.base(n) for n in range(3))
        if not self.batched:
            self._columns(a, b, result, *axis_range(f, 0))
            return
        with f.loop(*axis_range(f, 0)) as loop:
            a, b, result = (self._step(p, n, 0, loop.index) for n, p in enumerate((a, b, result)))
            self._columns(a, b, result, 0, f.size(1))

    def _step(self, pointer: str, access: int, axis: int, index: Int) -> str:
        f = self.f
        return f.advance(pointer, self.dtype, f.mul(f.stride(access, axis), index))

    def _columns(self, a: str, b: str, result: str, low: Int, high: Int) -> None:
        """All panels of columns, for the rows low..high."""
        f, lanes, span = self.f, self.lanes, self.width * self.lanes
        size = f.size(self.axis_n)
        if always_masked(f):
            with f.loop(0, size, span) as loop:
                left = [f.sub(f.sub(size, loop.index), j * lanes) for j in range(self.width)]
                counts: list[Int | None] = [f.maximum(f.minimum(count, lanes), 0) for count in left]
                self._panel(a, b, result, low, high, loop.index, counts)
            return
        whole = f.mul(f.let(f"udiv i64 {size}, {span}"), span)
        with f.loop(0, whole, span) as loop:
            self._panel(a, b, result, low, high, loop.index, [None] * self.width)
        with f.loop(whole, size, lanes) as loop:
            count = f.minimum(f.sub(size, loop.index), lanes)
            self._panel(a, b, result, low, high, loop.index, [count])

    def _panel(
        self, a: str, b: str, result: str, low: Int, high: Int, start: str, counts: Sequence[Int | None]
    ) -> None:
        """A panel of vectors from column `start` on; ``counts[j]`` columns of vector j are in use, None: all.

        Each tile ends at `high` or before and begins at row 0 or after.
        """
        f, rows = self.f, self.rows
        length, span, chains, apart = (f.extra(number) for number in range(4))
        masks = [None if count is None else f.mask(count, self.lanes) for count in counts]
        edge = f.sub(high, rows)
        with f.loop(0, chains) as chain:
            first = f.mul(chain.index, apart)
            stop = f.minimum(f.add(first, span), length)
            with f.loop(low, high, rows) as loop:
                top = f.maximum(f.minimum(loop.index, edge), 0)
                written = f.sub(loop.index, top), f.minimum(f.sub(high, top), rows)
                self._tile(a, b, result, top, written, start, masks, first, stop)

    def _tile(self, a: str, b: str, result: str, top: Int, written, start: str, masks, first: Int, last: Int) -> None:
        """One register tile: rows top.., vectors start.. of this panel, k from first to last.

        Only the rows `written` (from, to) of the tile are new; the others may not even be there yet.
        """
        f, lanes, rows, width = self.f, self.lanes, self.rows, len(masks)
        builder = f.builder(lanes)
        zero = builder.const(0, self.dtype).ref
        corner = self._step(a, 0, self.axis_m, top)
        vector = f.let(f"udiv i64 {start}, {lanes}")
        columns = [self._step(b, 1, self.axis_n, f.add(vector, j)) for j in range(width)]
        bottom = f.sub(f.sub(f.size(self.axis_m), top), 1)
        offsets = [f.mul(f.stride(0, self.axis_m), f.minimum(i, bottom)) for i in range(rows)]
        with f.loop(first, last, f.extra(4), [(self.vector, zero)] * (rows * width)) as loop:
            here = self._step(corner, 0, self.axis_n + 1, loop.index)
            vectors = []
            for column, mask in zip(columns, masks):
                pointer = self._step(column, 1, self.axis_n + 1, loop.index)
                vectors.append(f.load(pointer, self.dtype, 1, lanes, mask))
            totals = []
            for i, offset in enumerate(offsets):
                scalar = f.let(f"load {self.element}, ptr {f.advance(here, self.dtype, offset)}")
                broadcast = Value(f.splat(scalar, self.element, lanes), self.dtype)
                for j, other in enumerate(vectors):
                    total = Value(loop.values[i * width + j], self.dtype)
                    totals.append(self._multiply_add(builder, broadcast, other, total).ref)
            loop.next = totals
        self._finish(result, top, written, start, masks, first, loop.values)

    def _multiply_add(self, builder, a: Value, b: Value, total: Value) -> Value:
        if self.pairs:
            return multiply_pairs(builder, a, b, total)
        if self.dtype.kind == "f":
            return builder.fma(a, b, total)
        return builder.add(builder.mul(a, b), total)

    def _finish(self, result: str, top: Int, written, start: str, masks, first: Int, totals: Sequence[str]) -> None:
        """The rows `written` of a tile, by way of the stack, to memory or onto what is there."""
        f, lanes, builder = self.f, self.lanes, self.f.builder(self.lanes)
        bytes_, width = self.dtype.itemsize * lanes, len(masks)
        for number, total in enumerate(totals):
            place = f.advance("%tile", self.dtype, number * lanes)
            f.line(f"store {self.vector} {total}, ptr {place}, align {bytes_}")
        fresh = f.let(f"icmp eq i64 {first}, 0")
        with f.loop(*written) as loop:
            line = f.advance("%tile", self.dtype, f.mul(loop.index, width * lanes))
            row = self._step(result, 2, self.axis_m, f.add(top, loop.index))
            for j, mask in enumerate(masks):
                raw = f.let(f"load {self.vector}, ptr {f.advance(line, self.dtype, j * lanes)}, align {bytes_}")
                pointer = f.advance(row, self.dtype, f.add(start, j * lanes))
                both = builder.add(f.load(pointer, self.dtype, 1, lanes, mask), Value(raw, self.dtype)).ref
                kept = f.let(f"select i1 {fresh}, {self.vector} {raw}, {self.vector} {both}")
                f.store(Value(kept, self.dtype), pointer, 1, lanes, mask)


def emit_contract(f: Function) -> None:
    """A product of matrices of any sizes (see `Contraction`)."""
    Contraction(f).emit()
