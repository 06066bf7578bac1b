"""Native code of the gradients of attention of bfloat16 operands (see attention_pairs.py and attention_grad.py)."""

from __future__ import annotations

from ...compiler.attention import sums_apart
from ...ops.fused_attention import QUERIES
from .attention_grad import Backward
from .attention_pairs import ROW, Pairs
from .attention_tiles import STEP, VECTORS
from .emit import Function, Int


class _Backward(Pairs, Backward):
    """accesses: those of `Backward`, then the sums in float32 of gradients that come from several blocks of queries."""

    def __init__(self, f: Function):
        Pairs.__init__(self, f)
        plan = self.plan
        self.changes = self.scratch("changes", plan.keys * ROW)
        self.cotangent = self.scratch("cotangent", self.values * QUERIES)
        self.inner = self.scratch("inner", QUERIES)
        self.targets = {n: 6 + sum(plan.wanted[:n]) for n, wanted in enumerate(plan.wanted) if wanted}
        self.apart = {n: 6 + len(self.targets) + place for place, (n, _) in enumerate(sums_apart(plan))}

    def _head(self, pointers: list[str]) -> None:
        f, plan = self.f, self.plan
        self.ahead = self.following(pointers) if plan.queries <= QUERIES else None
        reached = min(plan.keys, -(-plan.queries // QUERIES) * QUERIES) if plan.causal else plan.keys
        for n, features in ((1, self.features), (2, self.values)):
            if n in self.apart:
                self._clear(pointers[self.apart[n]], self.row_stride(self.apart[n]), 0, self._pitch(features))
            elif n in self.targets and reached < plan.keys:
                self._clear(pointers[self.targets[n]], self.row_stride(self.targets[n]), reached, features)
        with f.loop(0, plan.queries, QUERIES) as block:
            self._queries(pointers, block.index)
        for n, features in ((1, self.features), (2, self.values)):
            if n in self.apart:
                self._round(pointers, n, features)

    def _pitch(self, features: int) -> int:
        """Numbers in a row of sums over pairs of features."""
        return -(-features // self.lanes) * 2 * self.lanes

    def _round(self, pointers: list[str], operand: int, features: int) -> None:
        """Store the sums of a gradient as pairs."""
        f, sums, target = self.f, self.apart[operand], self.targets[operand]

        def rows(column: Int, mask: str | None) -> None:
            with f.loop(0, self.plan.keys) as loop:
                line = self.at(pointers[sums], f.mul(loop.index, self.row_stride(sums)), f.mul(column, 2))
                found = self.narrowed(self.load(line), self.load(self.at(line, self.lanes)))
                self.store(found, self.at(pointers[target], f.mul(loop.index, self.row_stride(target)), column), mask)

        self.pair_columns(features, rows)

    def _queries(self, pointers: list[str], first: Int) -> None:
        f, plan = self.f, self.plan
        count = f.minimum(f.sub(plan.queries, first), QUERIES)
        weights = self.at(pointers[4], f.mul(self.halved(first), plan.keys))
        cotangent, queries = (
            (self.at(pointers[n], f.mul(first, self.row_stride(n))), self.row_stride(n)) for n in (5, 0)
        )
        end = f.minimum(f.add(first, QUERIES), plan.keys) if plan.causal else plan.keys
        if 0 in self.targets or 1 in self.targets:
            self.turn(pointers[5], self.row_stride(5), first, count, self.values, self.cotangent)
            self._inner(cotangent, pointers[3], first, count)
            with f.loop(0, count, self.panel) as panel:
                query = f.add(first, panel.index)
                stop = self.stop(query, self.panel, end)
                self._changes(pointers, weights, query, panel.index, 0, stop)
                if 0 in self.targets:
                    self.pair_keys(self.changes, panel.index, stop)
        if 2 in self.targets:
            self._key_sums(2, pointers, weights, cotangent, first, count, end)
        if 1 in self.targets:
            self._key_sums(1, pointers, self.changes, queries, first, count, end)
        if 0 in self.targets:
            target = self.targets[0]

            def fetch(query: Int, column: Int) -> None:
                self._fetch((0, 3, target), query, self.height, column, 1)

            self.query_sums(pointers[1], 1, pointers[target], target, first, end, fetch)

    def _changes(self, pointers: list[str], weights: str, query: Int, panel: Int, low: Int, stop: Int) -> None:
        """The gradients of the scores of a panel of queries, in pairs of queries."""
        f, plan, lanes = self.f, self.plan, self.lanes
        inner = [self.load(self.at(self.inner, panel, n * lanes)) for n in range(VECTORS)]
        inner = [f.let(f"fneg {self.vector} {x}") for x in inner]
        scale, pair = self.number(plan.scale), self.halved(panel)

        def changed(key: Int, tile: list[tuple[int, int, str]], carried: list[str]) -> list[str]:
            shift = f.mul(key, ROW)
            line, given = self.at(self.changes, shift, pair), self.at(weights, shift, pair)
            if self.ahead is not None:
                self.fetch(self.at(self.ahead[4], pair), key, self.rows, ROW, 1)
            found: list[list[str]] = [[] for _ in range(self.rows)]
            for r, n, total in tile:
                weight = self.widened(self.at(given, r * ROW), n)
                found[r].append(self.mul(weight, self.fma(total, scale, inner[n])))
            for r, vectors in enumerate(found):
                self._store_last(vectors, self.at(line, r * ROW))
            return []

        right = self.at(self.cotangent, panel)
        for span in self.spans(query, low, stop, False):
            if span.vector:  # the first queries see none of these keys
                with f.loop(span.begin, span.end) as loop:
                    self.store(self.zero, self.at(self.changes, f.mul(loop.index, ROW), pair))
            self.panel_tiles(pointers[2], 2, right, self.values, query, span, changed)

    def _store_last(self, vectors: list[str], pointer: str) -> None:
        """Store vectors as pairs: both of a panel, or the second alone, where a tile may reach back to the first's."""
        f, half = self.f, self.lanes // 2
        pairs = self.narrowed(vectors[0], vectors[-1])
        if len(vectors) == VECTORS:
            self.store(pairs, pointer)
            return
        order = ", ".join(f"i32 {lane}" for lane in range(half))
        pairs = f.let(f"shufflevector {self.vector} {pairs}, {self.vector} {pairs}, <{half} x i32> <{order}>")
        f.store_raw(pairs, self.at(pointer, half), self.dtype, half)

    def _key_sums(
        self, operand: int, pointers: list[str], left: str, right: tuple[str, int], first: Int, count: Int, end: Int
    ) -> None:
        """Add the sums over the queries of left[key, query] * right[query, column] to the gradient of an operand."""
        f, plan = self.f, self.plan
        target, apart = self.targets[operand], self.apart.get(operand)
        rest = plan.keys % self.rows

        def tiles(column: Int, mask: str | None) -> None:
            def at(key: Int, rows: int) -> None:
                begin: Int = f.maximum(f.sub(key, first), 0) if plan.causal else 0
                if plan.causal:
                    begin = f.let(f"and i64 {begin}, {-STEP}") if isinstance(begin, str) else begin // STEP * STEP
                self._fetch((operand, target), key, rows, column, 1)
                sums = self.row_tile(
                    self.at(left, f.mul(key, ROW)), (ROW, 1), self.at(right[0], column), right[1], rows, mask,
                    (self.halved(begin), self.halved(count)), count if plan.queries % 2 else None,
                )  # fmt: skip
                for row in range(rows):
                    here = f.add(key, row)
                    if apart is None:
                        place = self.at(pointers[target], f.mul(here, self.row_stride(target)), column)
                        self.store(self.narrowed(*sums[2 * row : 2 * row + 2]), place, mask)
                        continue
                    for n in range(2):
                        line = self.at(pointers[apart], f.mul(here, self.row_stride(apart)), f.mul(column, 2))
                        place = self.at(line, n * self.lanes)
                        self.store(self.add(self.load(place), sums[2 * row + n]), place)

            with f.loop(0, f.minimum(end, plan.keys - rest), self.rows) as loop:
                at(loop.index, self.rows)
            if rest:
                with f.when(f.let(f"icmp eq i64 {end}, {plan.keys}")):
                    at(plan.keys - rest, rest)

        self.pair_columns(self.features if operand == 1 else self.values, tiles)


def emit_pair_attention_grad(f: Function) -> None:
    """The gradients of attention."""
    _Backward(f).emit()
