"""Native code of attention of bfloat16 operands, two terms an instruction where the host can (see attention_tiles.py).

An element of an operand is here a pair: two features of a query, key or value. Products over features so run on pairs
as they lie in memory; those over keys and over queries on pairs that are made of two rows in registers. Weights, and
the gradients of scores, are rounded to bfloat16, once as pairs of queries (`weights[key]`, what is kept) and once of
keys. All scores of a block of queries are computed before the first exponential, so that weights are divided by their
sum before they are rounded, and nothing is scaled afterwards.

A pair counts as one term of a chain. Where the host multiplies no pairs, its first element is added before its second.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from ...dtypes import bfloat16
from ...ops.fused_attention import QUERIES
from ..base import Value
from . import half
from .attention_tiles import VECTORS, Tiles
from .emit import Function, Int

#: pairs of queries side by side in a row of weights
ROW = QUERIES // 2


class Pairs(Tiles):
    """Register tiles whose terms are pairs."""

    def __init__(self, f: Function):
        Tiles.__init__(self, f)
        self.features, self.values = self.plan.features // 2, self.plan.values // 2
        self.multiply = half.multiply_pairs if f.target.has_bfloat16_products else half.multiply_pairs_apart
        self.by_keys = self.scratch("by_keys", -(-self.plan.keys // 2) * QUERIES)

    def product(self, a: str, b: str, total: str) -> str:
        return self.multiply(self.builder, *(Value(x, self.dtype) for x in (a, b, total))).ref

    def narrowed(self, low: str, high: str) -> str:
        """Two vectors of numbers as one of pairs, neighbours in a pair."""
        return half.narrowed(self.builder, Value(low, self.dtype), Value(high, self.dtype)).ref

    def paired(self, x: str, y: str) -> list[str]:
        """The numbers of two vectors of pairs as two, those at the same place in a pair."""
        return [v.ref for v in half.paired(self.builder, Value(x, self.dtype), Value(y, self.dtype))]

    def widened(self, pointer: str, vector: int) -> str:
        """Numbers of a vector of pairs in memory, of the first half of its lanes (0) or of the second."""
        return self.f.load(self.f.advance(pointer, bfloat16, vector * self.lanes), bfloat16, 1, self.lanes).ref

    def halved(self, count: Int) -> Int:
        """Pairs that hold so many elements."""
        if isinstance(count, int):
            return -(-count // 2)
        return self.f.let(f"lshr i64 {self.f.add(count, 1)}, 1")

    def pair_columns(self, features: int, body: Callable[[Int, str | None], None]) -> None:
        """``body(first pair, mask)`` for each vector of pairs of features."""
        f, lanes = self.f, self.lanes
        whole, rest = features // lanes * lanes, features % lanes
        if whole:
            with f.loop(0, whole, lanes) as loop:
                body(loop.index, None)
        if rest:
            body(whole, f.mask(rest, lanes))

    def row_tile(
        self, a: str, steps: tuple[Int, Int], b: str, stride: Int, rows: int, mask: str | None, span: tuple[Int, Int],
        count: Int | None,
    ) -> list[str]:  # fmt: skip
        """Sums over pairs of rows in `span` of a[row, pair] * b[pair, column], two vectors for each row of the tile.

        `steps` are a's strides. Where b has an odd number of rows, `count` says how many; the row behind them is 0.
        """
        f = self.f
        with f.loop(*span, 1, [(self.vector, self.zero)] * (2 * rows)) as loop:
            left = self.at(a, f.mul(loop.index, steps[1]))
            first, second = (self.at(b, f.mul(f.add(f.mul(loop.index, 2), n), stride)) for n in range(2))
            if count is not None:
                beyond = f.let(f"icmp sge i64 {f.add(f.mul(loop.index, 2), 1)}, {count}")
                second = f.let(f"select i1 {beyond}, ptr {first}, ptr {second}")
            lines = [self.load(first, mask), self.load(second, mask)]
            if count is not None:
                lines[1] = f.let(f"select i1 {beyond}, {self.vector} {self.zero}, {self.vector} {lines[1]}")
            vectors = self.paired(*lines)
            sums = []
            for row in range(rows):
                factor = self.repeated(self.at(left, f.mul(row, steps[0])))
                sums += [self.product(factor, v, loop.values[2 * row + n]) for n, v in enumerate(vectors)]
            loop.next = sums
        return loop.values

    def pair_keys(self, source: str, panel: Int, stop: Int) -> None:
        """What lies in pairs of queries, source[key], once more in pairs of keys, for a panel of queries."""
        f = self.f
        here, there = self.at(source, self.halved(panel)), self.at(self.by_keys, panel)

        def both(pair: Int, second: bool) -> None:
            line = self.at(here, f.mul(pair, 2 * ROW))
            vectors = self.paired(self.load(line), self.load(self.at(line, ROW)) if second else self.zero)
            for n, vector in enumerate(vectors):
                self.store(vector, self.at(there, f.mul(pair, QUERIES), n * self.lanes))

        whole = f.let(f"lshr i64 {stop}, 1") if isinstance(stop, str) else stop // 2
        with f.loop(0, whole) as loop:
            both(loop.index, True)
        if self.plan.keys % 2:
            with f.when(f.let(f"icmp eq i64 {stop}, {self.plan.keys}")):
                both(self.plan.keys // 2, False)

    def query_sums(
        self, right: str, source: int, result: str, target: int, first: Int, high: Int,
        fetch: Callable[[Int, Int], None] = lambda query, column: None,
    ) -> None:  # fmt: skip
        """Store sums over keys up to `high` of by_keys[key, query] * right[key, column] as rows of a result.

        `source` and `target` are the accesses of `right` and `result`. `fetch` asks for what will be wanted later.
        """
        f, plan, rows = self.f, self.plan, self.height
        count = f.minimum(f.sub(plan.queries, first), QUERIES)

        def tiles(column: Int, mask: str | None) -> None:
            with f.loop(0, count, rows) as loop:
                query = f.add(first, loop.index)
                fetch(query, column)
                span = (0, self.halved(self.stop(query, rows, high)))
                sums = self.row_tile(
                    self.at(self.by_keys, loop.index), (1, QUERIES), self.at(right, column), self.row_stride(source),
                    rows, mask, span, plan.keys if plan.keys % 2 else None,
                )  # fmt: skip
                for row in range(rows):
                    here = f.add(query, row)
                    beyond = row > 0 and plan.queries % rows
                    with f.when(f.let(f"icmp slt i64 {here}, {plan.queries}")) if beyond else nullcontext():
                        place = self.at(result, f.mul(here, self.row_stride(target)), column)
                        self.store(self.narrowed(*sums[2 * row : 2 * row + 2]), place, mask)

        self.pair_columns(self.values if source == 2 else self.features, tiles)


class _Forward(Pairs):
    """accesses: q, k, v, then those of the result and of what is kept that are wanted."""

    def __init__(self, f: Function):
        super().__init__(f)
        self.turned = self.scratch("turned", self.features * QUERIES)
        self.scores = self.scratch("scores", self.plan.keys * QUERIES)
        self.own = None if self.plan.wanted[1] else self.scratch("weights", self.plan.keys * ROW)

    def emit(self) -> None:
        self.heads(self._head)

    def _head(self, pointers: list[str]) -> None:
        f, plan = self.f, self.plan
        with f.loop(0, plan.queries, QUERIES) as block:
            first = block.index
            count = f.minimum(f.sub(plan.queries, first), QUERIES)
            self.turn(pointers[0], self.row_stride(0), first, count, self.features, self.turned)
            weights = self.own or self.at(pointers[-1], f.mul(self.halved(first), plan.keys))
            end = f.minimum(f.add(first, QUERIES), plan.keys) if plan.causal else plan.keys
            with f.loop(0, count, self.panel) as panel:
                self._weights(pointers, weights, f.add(first, panel.index), panel.index, end)
            if plan.wanted[0]:
                self.query_sums(pointers[2], 2, pointers[3], 3, first, end)

    def _weights(self, pointers: list[str], weights: str, query: Int, panel: Int, end: Int) -> None:
        """The weights of a panel of queries, in pairs of queries and in pairs of keys."""
        f, plan, lanes = self.f, self.plan, self.lanes
        stop = self.stop(query, self.panel, end)
        here, there = self.at(self.scores, panel), self.at(weights, self.halved(panel))

        def scored(key: Int, tile: list[tuple[int, int, str]], highest: list[str]) -> list[str]:
            line = self.at(here, f.mul(key, QUERIES))
            for r, n, total in tile:
                self.store(total, self.at(line, r * QUERIES + n * lanes))
                highest[n] = self.greater(total, highest[n])
            return highest

        largest = [self.number(float("-inf"))] * VECTORS
        right, scale = self.at(self.turned, panel), self.number(plan.scale)
        for span in self.spans(query, 0, stop, True):
            largest = self.panel_tiles(pointers[1], 1, right, self.features, query, span, scored, largest, scale)
        sums = [self.zero] * VECTORS
        for span in self.spans(query, 0, stop, False):
            with f.loop(span.begin, span.end, 1, [(self.vector, x) for x in sums[span.vector :]]) as loop:
                line = self.at(here, f.mul(loop.index, QUERIES))
                added = []
                for n in range(span.vector, VECTORS):
                    place = self.at(line, n * lanes)
                    e = self.exp(self.sub(self.load(place), largest[n]))
                    self.store(e, place)
                    added.append(self.add(loop.values[n - span.vector], e))
                loop.next = added
            sums[span.vector :] = loop.values
        inverses = [f.let(f"fdiv {self.vector} {self.number(1.0)}, {total}") for total in sums]
        for span in self.spans(query, 0, stop, False):
            with f.loop(span.begin, span.end) as loop:
                line = self.at(here, f.mul(loop.index, QUERIES))
                found = [self.zero] * VECTORS
                for n in range(span.vector, VECTORS):
                    found[n] = self.mul(self.load(self.at(line, n * lanes)), inverses[n])
                self.store(self.narrowed(*found), self.at(there, f.mul(loop.index, ROW)))
        if plan.wanted[0]:
            self.pair_keys(weights, panel, stop)


def emit_pair_attention(f: Function) -> None:
    """Attention forwards."""
    _Forward(f).emit()
