"""Native code of the gradients of attention (see attention_tiles.py)."""

from __future__ import annotations

from ...compiler.kernel import LANES
from ...ops.fused_attention import QUERIES
from .attention_tiles import STEP, VECTORS, Tiles
from .emit import Function, Int
from .transpose import transposed


class Backward(Tiles):
    """accesses: q, k, v, the result, what was kept, the cotangent, then those gradients of q, k and v that are wanted.

    With p the weights (or the exponentials, if the cotangent is divided by their sum), c the cotangent and
    inner = sum(c * result): ds = scale * p * (c v^T - inner), dq = ds k, dk = ds^T q, dv = p^T c.
    """

    def __init__(self, f: Function):
        super().__init__(f)
        plan = self.plan
        spare = self.rows * QUERIES  # a tile that is moved back may begin before the block
        self.changes = self.at_entry(self.scratch("changes", (plan.block + self.rows) * QUERIES), spare)
        self.cotangent = self.scratch("cotangent", plan.values * QUERIES)
        self.inner = self.scratch("inner", QUERIES)
        self.pitch = -(-plan.values // self.lanes) * self.lanes
        if plan.kept:
            self.copy = self.scratch("copy", self.pitch * QUERIES)
        else:
            self.turned = self.scratch("turned", plan.features * QUERIES)
            self.own = self.at_entry(self.scratch("weights", (plan.block + self.rows) * QUERIES), spare)
        self.targets: dict[int, int] = {}
        for n, wanted in enumerate(plan.wanted):
            if wanted:
                self.targets[n] = 6 + len(self.targets)

    def emit(self) -> None:
        self.heads(self._head)

    def _head(self, pointers: list[str]) -> None:
        f, plan = self.f, self.plan
        # what takes long to work on the memory delivers in time
        self.ahead = self.following(pointers) if plan.queries <= QUERIES else None
        reached = min(plan.keys, -(-plan.queries // QUERIES) * QUERIES) if plan.causal else plan.keys
        untouched = 0 if plan.queries > QUERIES else reached
        for n, features in ((1, plan.features), (2, plan.values)):
            if n in self.targets and untouched < plan.keys:
                self._clear(pointers[self.targets[n]], self.row_stride(self.targets[n]), untouched, features)
        with f.loop(0, plan.queries, QUERIES) as block:
            self._queries(pointers, block.index)

    def _clear(self, target: str, stride: int, first: int, features: int) -> None:
        f = self.f
        with f.loop(first, self.plan.keys) as loop:
            line = self.at(target, f.mul(loop.index, stride))

            def zeros(column: Int, masks: list[str | None]) -> None:
                for n, mask in enumerate(masks):
                    self.store(self.zero, self.at(line, column, n * self.lanes), mask)

            self.columns(features, zeros)

    def _queries(self, pointers: list[str], first: Int) -> None:
        """What a block of queries adds to all gradients."""
        f, plan = self.f, self.plan
        count = f.minimum(f.sub(plan.queries, first), QUERIES)
        if plan.kept:
            kept = self.at(pointers[4], f.mul(first, plan.keys + 1))
            rows = (self.at(kept, plan.keys * QUERIES), self.copy, self.pitch)
            self.turn(pointers[5], self.row_stride(5), first, count, plan.values, self.cotangent, None, rows)
            cotangent = (self.copy, self.pitch)
        else:
            kept = self.at(pointers[4], first)
            self.turn(
                pointers[0], self.row_stride(0), first, count, plan.features, self.turned, self.number(plan.scale)
            )
            self.turn(pointers[5], self.row_stride(5), first, count, plan.values, self.cotangent)
            cotangent = (self.at(pointers[5], f.mul(first, self.row_stride(5))), self.row_stride(5))
        self._inner(cotangent, pointers[3], first, count)
        end = f.minimum(f.add(first, QUERIES), plan.keys) if plan.causal else plan.keys
        if plan.block == plan.keys:
            self._block(pointers, kept, cotangent, first, count, 0, end)
        else:
            with f.loop(0, end, plan.block) as loop:
                high = f.minimum(f.add(loop.index, plan.block), end)
                self._block(pointers, kept, cotangent, first, count, loop.index, high)

    def _inner(self, cotangent: tuple[str, int], result: str, first: Int, count: Int) -> None:
        """scale * sum(cotangent * result) of each query, in `LANES` lanes that meet pairwise, whatever a vector has."""
        f, plan, lanes = self.f, self.plan, self.lanes
        with f.loop(0, count, lanes) as group:
            lines = []
            for r in range(lanes):
                query: Int = f.add(group.index, r)
                if plan.queries % lanes:
                    query = f.minimum(query, f.sub(plan.queries - 1, first))
                a = self.at(cotangent[0], f.mul(query, cotangent[1]))
                b = self.at(result, f.mul(f.add(first, query), self.row_stride(3)))
                totals = [self.zero] * (LANES // lanes)
                for number, column in enumerate(range(0, self.values, lanes)):
                    mask = f.mask(self.values - column, lanes) if self.values - column < lanes else None
                    part = number % len(totals)
                    factors = self.load(self.at(a, column), mask), self.load(self.at(b, column), mask)
                    totals[part] = self.product(*factors, totals[part])
                lines.append(self._halved(totals))
            lines = transposed(f, lines, self.element, self.dtype.itemsize)
            self.store(self.mul(self._halved(lines), self.number(plan.scale)), self.at(self.inner, group.index))

    def _halved(self, vectors: list[str]) -> str:
        """The sum of vectors, of which the first half meets the second until one is left."""
        while len(vectors) > 1:
            half = len(vectors) // 2
            vectors = [self.add(x, y) for x, y in zip(vectors[:half], vectors[half:])]
        return vectors[0]

    def _block(
        self, pointers: list[str], kept: str, cotangent: tuple[str, int], first: Int, count: Int, low: Int, high: Int
    ) -> None:
        """What a block of queries and one of keys add to all gradients."""
        f, plan = self.f, self.plan
        weights = kept if plan.kept else self.own
        with f.loop(0, count, self.panel) as panel:
            query = f.add(first, panel.index)
            stop = self.stop(query, self.panel, high)
            if not plan.kept:
                self._weights(pointers, kept, query, panel.index, low, stop)
            if 0 in self.targets or 1 in self.targets:
                self._changes(pointers, weights, query, panel.index, low, stop)
        if 2 in self.targets:
            self._key_gradient(2, pointers, weights, cotangent, first, count, low, high)
        if 1 in self.targets:
            queries = self.at(pointers[0], f.mul(first, self.row_stride(0))), self.row_stride(0)
            self._key_gradient(1, pointers, self.changes, queries, first, count, low, high)
        if 0 in self.targets:
            number = self.targets[0]

            def store(place: str, row: Int, total: str, mask: str | None) -> None:
                if plan.block != plan.keys:
                    total = self.unless_first(low, total, self.add(self.load(place, mask), total))
                self.store(total, place, mask)

            def tiles(column: Int, masks: list[str | None]) -> None:
                result = pointers[number]
                self.query_tiles(
                    self.changes, pointers[1], 1, result, number, first, low, high, column, masks, store,
                    lambda query: self._fetch((0, 3, number), query, self.height, column, len(masks)),
                )  # fmt: skip

            self.columns(plan.features, tiles)

    def _fetch(self, operands: tuple[int, ...], first: Int, rows: int, column: Int, vectors: int) -> None:
        """Ask for rows of the next head, of operands and then a gradient."""
        if self.ahead is not None:
            for n in operands:
                place = self.at(self.ahead[n], column)
                self.fetch(place, first, rows, self.row_stride(n), vectors, n == operands[-1])

    def _weights(self, pointers: list[str], lse: str, query: Int, panel: Int, low: Int, stop: Int) -> None:
        """The weights of a panel of queries, from their scores and the log-sum-exp."""
        f, plan, lanes = self.f, self.plan, self.lanes
        here = self.at(self.own, panel)

        def scored(key: Int, tile: list[tuple[int, int, str]], carried: list[str]) -> list[str]:
            line = self.at(here, f.mul(f.sub(key, low), QUERIES))
            for r, n, total in tile:
                self.store(total, self.at(line, r * QUERIES + n * lanes))
            return []

        right = self.at(self.turned, panel)
        for span in self.spans(query, low, stop, True):
            self.panel_tiles(pointers[1], 1, right, plan.features, query, span, scored)
        known = [self.load(self.at(lse, panel, n * lanes)) for n in range(VECTORS)]
        for span in self.spans(query, low, stop, False):
            with f.loop(f.sub(span.begin, low), f.sub(span.end, low)) as loop:
                for n in range(span.vector, VECTORS):
                    place = self.at(here, f.mul(loop.index, QUERIES), n * lanes)
                    self.store(self.exp(self.sub(self.load(place), known[n])), place)

    def _changes(self, pointers: list[str], weights: str, query: Int, panel: Int, low: Int, stop: Int) -> None:
        """The gradients of the scores of a panel of queries."""
        f, plan, lanes = self.f, self.plan, self.lanes
        inner = [self.load(self.at(self.inner, panel, n * lanes)) for n in range(VECTORS)]
        inner = [f.let(f"fneg {self.vector} {x}") for x in inner]
        scale = self.number(plan.scale)

        def changed(key: Int, tile: list[tuple[int, int, str]], carried: list[str]) -> list[str]:
            shift = f.mul(f.sub(key, low), QUERIES)
            line, given = self.at(self.changes, shift, panel), self.at(weights, shift, panel)
            if self.ahead is not None and plan.kept:
                self.fetch(self.at(self.ahead[4], panel), key, self.rows, QUERIES, VECTORS)
            for r, n, total in tile:
                place = r * QUERIES + n * lanes
                change = self.mul(self.load(self.at(given, place)), self.fma(total, scale, inner[n]))
                self.store(change, self.at(line, place))
            return []

        right = self.at(self.cotangent, panel)
        for span in self.spans(query, low, stop, False):
            self.panel_tiles(pointers[2], 2, right, plan.values, query, span, changed)

    def _key_gradient(
        self, operand: int, pointers: list[str], left: str, right: tuple[str, int], first: Int, count: Int,
        low: Int, high: Int,
    ) -> None:  # fmt: skip
        """Add the sums over the queries of left[key, query] * right[query, column] to the gradient of an operand."""
        f, plan = self.f, self.plan
        number = self.targets[operand]
        rest = plan.keys % self.rows

        def tiles(column: Int, masks: list[str | None]) -> None:
            def at(key: Int, rows: int) -> None:
                begin: Int = f.maximum(f.sub(key, first), 0) if plan.causal else 0
                if plan.causal and self.rows % STEP:
                    begin = f.let(f"and i64 {begin}, {-STEP}")
                line = self.at(left, f.mul(f.sub(key, low), QUERIES))
                self._fetch((operand, number), key, rows, column, len(masks))
                sums = self.tile(line, (QUERIES, 1), self.at(right[0], column), right[1], rows, masks, (begin, count))
                for row in range(rows):
                    place = self.at(pointers[number], f.mul(f.add(key, row), self.row_stride(number)), column)
                    for n, mask in enumerate(masks):
                        here, total = self.at(place, n * self.lanes), sums[row * len(masks) + n]
                        if plan.queries > QUERIES:
                            total = self.add(self.load(here, mask), total)
                        self.store(total, here, mask)

            with f.loop(low, f.minimum(high, plan.keys - rest), self.rows) as loop:
                at(loop.index, self.rows)
            if rest:
                with f.when(f.let(f"icmp eq i64 {high}, {plan.keys}")):
                    at(plan.keys - rest, rest)

        self.columns(plan.features if operand == 1 else plan.values, tiles)


def emit_attention_grad(f: Function) -> None:
    """The gradients of attention."""
    Backward(f).emit()
