"""Native code of products of few columns and many terms, whose terms are dealt to several chains (`compiler/trees.py`).

One chain for each output waits for every multiply-add of its own. Chains that lie in registers side by side hide one
another's latency: a step takes the next term of each. Where the rows of b follow one another without a gap, a vector
holds parts of several of them, so that no lane is idle; each lane takes its own term of a.
"""

from __future__ import annotations

from ...compiler.kernel import DEALT
from ..base import Value
from .chains import Chain, everywhere
from .emit import Int


class DealtChains(Chain):
    """The multiply-adds of all chains of a tile at once, and the sums of the chains, in order."""

    def sums(self, a: str, columns: list[str], span: tuple[Int, Int], totals: list[str]) -> list[str]:
        """`span`: of the turns, in each of which every chain takes a term."""
        return self._dense(a, columns[0], span) if self.nest.tiling.dense else self._apart(a, columns, span, totals)

    def _apart(self, a: str, columns: list[str], span: tuple[Int, Int], zeros: list[str]) -> list[str]:
        """Vectors of one term each."""
        nest, f = self.nest, self.nest.f
        chain, turn = nest.summed
        count = len(zeros)
        with f.loop(*span, 1, [(nest.vector, zero) for _ in range(DEALT) for zero in zeros]) as loop:
            left = f.advance(a, nest.dtype, f.mul(f.stride(0, turn), loop.index))
            starts = [f.advance(c, nest.dtype, f.mul(f.stride(1, turn), loop.index)) for c in columns]
            loaded = [[*term] for term in self._turned(starts, 0, DEALT)] if nest.tiling.across else None
            sums: list[str] = []
            for term in range(DEALT):
                if loaded is not None:
                    vectors = loaded[term]
                else:
                    places = [f.advance(p, nest.dtype, f.mul(f.stride(1, chain), term)) for p in starts]
                    masks = [None if nest.tiling.packed else mask for mask in self.masks]
                    vectors = [f.load(p, nest.dtype, 1, nest.lanes, mask) for p, mask in zip(places, masks)]
                here = f.advance(left, nest.dtype, f.mul(f.stride(0, chain), term))
                sums += self._terms(here, everywhere(vectors), loop.values[term * count : (term + 1) * count])
            loop.next = sums
        totals = loop.values[:count]
        for term in range(1, DEALT):
            totals = [self._sum(one, other) for one, other in zip(totals, loop.values[term * count :])]
        return totals

    def _dense(self, a: str, b: str, span: tuple[Int, Int]) -> list[str]:
        """Vectors of parts of several terms: a turn is a whole number of them."""
        nest, f, lanes = self.nest, self.nest.f, self.nest.lanes
        columns = f.kernel.sizes[-1]
        vectors, builder = -(-columns * DEALT // lanes), f.builder(lanes)
        whole = columns * DEALT // lanes
        rest = None if whole == vectors else f.mask(columns * DEALT % lanes, lanes)
        zero = builder.const(0, nest.dtype).ref
        with f.loop(*span, 1, [(nest.vector, zero)] * (vectors * len(self.offsets))) as loop:
            start = f.advance(b, nest.dtype, f.mul(columns * DEALT, loop.index))
            places = [f.advance(start, nest.dtype, j * lanes) for j in range(vectors)]
            masks = [None if j < whole else rest for j in range(vectors)]
            right = [f.load(place, nest.dtype, 1, lanes, mask) for place, mask in zip(places, masks)]
            here = f.advance(a, nest.dtype, f.mul(DEALT, loop.index))
            sums = []
            for row, offset in enumerate(self.offsets):
                terms = f.load_raw(f.advance(here, nest.dtype, offset), nest.dtype, DEALT)
                for j, other in enumerate(right):
                    taken = (min(place // columns, DEALT - 1) for place in range(j * lanes, (j + 1) * lanes))
                    order = ", ".join(f"i32 {term}" for term in taken)
                    kind = f"<{DEALT} x {nest.element}>"
                    left = f.let(f"shufflevector {kind} {terms}, {kind} poison, <{lanes} x i32> <{order}>")
                    total = loop.values[row * vectors + j]
                    sums.append(self._multiply_add(builder, Value(left, nest.dtype), other, total))
            loop.next = sums
        stack = f.fresh("sums")
        f.entry.append(f"  {stack} = alloca [{len(loop.values)} x {nest.vector}], align 64")
        for number, value in enumerate(loop.values):
            place = f.advance(stack, nest.dtype, number * lanes)
            f.line(f"store {nest.vector} {value}, ptr {place}, align {nest._bytes()}")
        totals = []
        for row in range(len(self.offsets)):
            for j, mask in enumerate(self.masks):
                first = f.advance(stack, nest.dtype, row * vectors * lanes + j * lanes)
                places = [f.advance(first, nest.dtype, term * columns) for term in range(DEALT)]
                parts = [f.load(place, nest.dtype, 1, lanes, mask).ref for place in places]
                total = parts[0]
                for part in parts[1:]:
                    total = self._sum(total, part)
                totals.append(total)
        return totals

    def _sum(self, one: str, other: str) -> str:
        dtype = self.nest.dtype
        return self.nest.f.builder(self.nest.lanes).add(Value(one, dtype), Value(other, dtype)).ref
