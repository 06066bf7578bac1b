"""Native code of attention forwards (see attention_tiles.py)."""

from __future__ import annotations

from ...ops.elementary.logarithm import log
from ...ops.fused_attention import QUERIES
from ..base import Value
from .attention_tiles import VECTORS, Tiles
from .emit import Function, Int


class _Forward(Tiles):
    """accesses: q, k, v, then those of the result and of what is kept that are wanted."""

    def __init__(self, f: Function):
        super().__init__(f)
        plan = self.plan
        self.whole = plan.block == plan.keys
        self.turned = self.scratch("turned", plan.features * QUERIES)
        spare = self.rows * QUERIES  # a tile that is moved back may begin before the block
        self.own = None
        if not (plan.kept and plan.wanted[1]):
            self.own = self.at_entry(self.scratch("scores", (plan.block + self.rows) * QUERIES), spare)
        self.largest = self.scratch("largest", QUERIES)
        self.count = self.scratch("count", QUERIES)
        self.change = self.scratch("change", QUERIES)

    def emit(self) -> None:
        self.heads(self._head)

    def _head(self, pointers: list[str]) -> None:
        f, plan = self.f, self.plan
        with f.loop(0, plan.queries, QUERIES) as block:
            first = block.index
            count = f.minimum(f.sub(plan.queries, first), QUERIES)
            self.turn(
                pointers[0], self.row_stride(0), first, count, plan.features, self.turned, self.number(plan.scale)
            )
            scores, kept = self.own, None
            if plan.wanted[1]:
                kept = pointers[-1]
                if plan.kept:
                    kept = self.at(kept, f.mul(first, plan.keys + 1))
                    scores = kept
            assert scores is not None
            end = f.minimum(f.add(first, QUERIES), plan.keys) if plan.causal else plan.keys
            if self.whole:
                self._block(pointers, scores, first, count, 0, end)
            else:
                with f.loop(0, end, plan.block) as loop:
                    self._block(
                        pointers, scores, first, count, loop.index, f.minimum(f.add(loop.index, plan.block), end)
                    )
            self._finish(pointers, kept, first, count)

    def _block(self, pointers: list[str], scores: str, first: Int, count: Int, low: Int, high: Int) -> None:
        """Scores of keys low..high, their exponentials, and what they add to the result."""
        f, plan, lanes = self.f, self.plan, self.lanes
        with f.loop(0, count, self.panel) as panel:
            query = f.add(first, panel.index)
            stop = self.stop(query, self.panel, high)
            here = self.at(scores, panel.index)
            start = self.number(float("-inf"))
            found = [start] * VECTORS
            if not self.whole:
                fresh = f.let(f"icmp eq i64 {low}, 0")
                before = [self.load(self.at(self.largest, panel.index, n * lanes)) for n in range(VECTORS)]
                before = [f.let(f"select i1 {fresh}, {self.vector} {start}, {self.vector} {b}") for b in before]
                found = before

            def scored(key: Int, tile: list[tuple[int, int, str]], highest: list[str], here: str = here) -> list[str]:
                line = self.at(here, f.mul(f.sub(key, low), QUERIES))
                for r, n, total in tile:
                    self.store(total, self.at(line, r * QUERIES + n * lanes))
                    highest[n] = self.greater(total, highest[n])
                return highest

            right = self.at(self.turned, panel.index)
            for span in self.spans(query, low, stop, True):
                found = self.panel_tiles(pointers[1], 1, right, plan.features, query, span, scored, found)
            sums = [self.zero] * VECTORS
            if not self.whole:
                for n in range(VECTORS):
                    place = f.add(panel.index, n * lanes)
                    change = self.exp(self.sub(before[n], found[n]))
                    change = f.let(f"select i1 {fresh}, {self.vector} {self.zero}, {self.vector} {change}")
                    self.store(change, self.at(self.change, place))
                    old = self.load(self.at(self.count, place))
                    old = f.let(f"select i1 {fresh}, {self.vector} {self.zero}, {self.vector} {old}")
                    sums[n] = self.mul(old, change)
            for span in self.spans(query, low, stop, False):
                carried = [(self.vector, x) for x in sums[span.vector :]]
                with f.loop(f.sub(span.begin, low), f.sub(span.end, low), 1, carried) as loop:
                    line = self.at(here, f.mul(loop.index, QUERIES))
                    added = []
                    for n in range(span.vector, VECTORS):
                        place = self.at(line, n * lanes)
                        e = self.exp(self.sub(self.load(place), found[n]))
                        self.store(e, place)
                        added.append(self.add(loop.values[n - span.vector], e))
                    loop.next = added
                sums[span.vector :] = loop.values
            for n in range(VECTORS):
                place = f.add(panel.index, n * lanes)
                self.store(found[n], self.at(self.largest, place))
                self.store(sums[n], self.at(self.count, place))
                if self.whole:
                    inverse = f.let(f"fdiv {self.vector} {self.number(1.0)}, {sums[n]}")
                    self.store(inverse, self.at(self.change, place))
        if plan.wanted[0]:
            self.columns(
                plan.values, lambda column, masks: self._result(pointers, scores, first, low, high, column, masks)
            )

    def _result(self, pointers: list[str], scores: str, first: Int, low: Int, high: Int, column: Int, masks) -> None:
        """Add the exponentials' product with the values to some columns of the result."""

        def store(place: str, row: Int, total: str, mask: str | None) -> None:
            factor = self.repeated(self.at(self.change, row))
            if self.whole:
                total = self.mul(total, factor)
            else:
                total = self.unless_first(low, total, self.fma(self.load(place, mask), factor, total))
            self.store(total, place, mask)

        self.query_tiles(scores, pointers[2], 2, pointers[3], 3, first, low, high, column, masks, store)

    def _finish(self, pointers: list[str], kept: str | None, first: Int, count: Int) -> None:
        """Store the inverse of the sums or their logarithms, and divide a result that came in parts."""
        f, plan = self.f, self.plan
        if self.whole and not plan.wanted[1]:
            return
        with f.loop(0, count, self.lanes) as loop:
            total = self.load(self.at(self.count, loop.index))
            if kept is not None and not plan.kept:
                logarithm = log(self.builder, Value(total, self.dtype)).ref
                total_log = self.add(self.load(self.at(self.largest, loop.index)), logarithm)
                self.store(total_log, self.at(kept, first, loop.index))
            inverse = f.let(f"fdiv {self.vector} {self.number(1.0)}, {total}")
            if kept is not None and plan.kept:
                self.store(inverse, self.at(kept, plan.keys * QUERIES, loop.index))
            if not self.whole:
                self.store(inverse, self.at(self.change, loop.index))
        if self.whole or not plan.wanted[0]:
            return
        with f.loop(0, count) as loop:
            factor = self.repeated(self.at(self.change, loop.index))
            line = self.at(pointers[3], f.mul(f.add(first, loop.index), self.row_stride(3)))

            def divided(column: Int, masks: list[str | None]) -> None:
                for n, mask in enumerate(masks):
                    place = self.at(line, column, n * self.lanes)
                    self.store(self.mul(self.load(place, mask), factor), place, mask)

            self.columns(plan.values, divided)


def emit_attention(f: Function) -> None:
    """Attention forwards."""
    _Forward(f).emit()
