"""Native code of attention: scores, softmax and the product with the values, block by block, in the nearest cache.

Queries lie in the lanes of vectors wherever scores do, so that the softmax over keys needs no lane to meet another:
``scores[j, i] = sum_e k[j, e] q[i, e]`` is a register tile of keys by vectors of queries, of which q alone is
transposed, a block of queries at a time. The result and the gradients are tiles too, whose vectors run along features,
as operands lie in memory. A block of scores is `QUERIES` wide; causal kernels walk the keys that a panel of queries
sees, and tiles of other products the part of them that is not zero.

Every number is a chain of multiply-adds whose order is that of keys, queries or features, cut where blocks of queries
and keys end: neither tiles, nor vectors, nor threads change a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple

from ...compiler.kernel import LANES, Attention
from ...ops.elementary.exponential import exp_of_negative
from ...ops.fused_attention import QUERIES
from ..base import Value
from .emit import LINE, Function, Int, llvm_type
from .loops import axis_range
from .transpose import transposed

#: vectors of a register tile along its rows
VECTORS = 2
#: queries and keys in whose multiples causal products end, whatever the tile, as what is hidden may be infinite
STEP = 8


class Span(NamedTuple):
    """Keys of a panel of queries; whether some are hidden, and the first vector of queries that sees any of them."""

    begin: Int
    end: Int
    masked: bool
    vector: int


class Tiles:
    """Register tiles and transposed panels over the operands of one attention kernel."""

    def __init__(self, f: Function):
        kernel = f.kernel
        assert isinstance(kernel.static, Attention)
        self.f = f
        self.plan = kernel.static
        self.dtype = kernel.accesses[0].dtype
        self.element = llvm_type(self.dtype)
        self.lanes = min(LANES, f.target.vector_bits // (8 * self.dtype.itemsize))
        self.builder = f.builder(self.lanes)
        self.vector = self.builder.llvm_type(self.dtype)
        self.panel = VECTORS * self.lanes
        self.height = 8 if f.target.num_vector_registers >= 32 else 4
        self.rows = min(self.height, self.plan.keys)
        self.zero = self.builder.const(0, self.dtype).ref
        self.features, self.values = self.plan.features, self.plan.values

    def heads(self, body: Callable[[list[str]], None]) -> None:
        """Run `body` with the operands' pointers of every head."""
        f = self.f
        pointers = [f.base(n) for n in range(len(f.kernel.accesses))]
        self.head: list[Int] = []

        def nest(axis: int, here: list[str]) -> None:
            if axis == len(f.kernel.sizes):
                body(here)
                return
            with f.loop(*axis_range(f, axis)) as loop:
                self.head.append(loop.index)
                steps = [f.mul(f.stride(n, axis), loop.index) for n in range(len(here))]
                nest(axis + 1, [self.at(p, s) for p, s in zip(here, steps)])

        nest(0, pointers)

    def following(self, pointers: list[str]) -> list[str]:
        """The operands' pointers of the next head, inside `heads`."""
        f, last = self.f, len(self.head) - 1
        over = f.let(f"icmp eq i64 {f.add(self.head[last], 1)}, {f.size(last)}") if last else None
        found = []
        for n, pointer in enumerate(pointers):
            step = f.stride(n, last)
            if over is not None:
                back = f.sub(f.stride(n, last - 1), f.mul(step, f.sub(f.size(last), 1)))
                step = f.let(f"select i1 {over}, i64 {back}, i64 {step}")
            found.append(self.at(pointer, step))
        return found

    def fetch(self, pointer: str, first: Int, rows: int, stride: int, vectors: int, write: bool = False) -> None:
        """Ask for `vectors` of each of some rows from `first` on."""
        f, apart = self.f, max(LINE // (self.lanes * self.dtype.itemsize), 1)
        for row in range(rows):
            line = self.at(pointer, f.mul(f.add(first, row), stride))
            for n in range(0, vectors, apart):
                f.prefetch(self.at(line, n * self.lanes), write)

    def scratch(self, name: str, elements: int) -> str:
        """Memory on the stack."""
        self.f.entry.append(f"  %{name} = alloca [{elements} x {self.element}], align 64")
        return f"%{name}"

    def at_entry(self, pointer: str, elements: int) -> str:
        """`pointer` moved by elements, once for the whole kernel."""
        self.f.entry.append(f"  {pointer}_s = getelementptr {self.element}, ptr {pointer}, i64 {elements}")
        return f"{pointer}_s"

    def row_stride(self, access: int) -> int:
        """Elements from one query or key to the next."""
        return self.f.kernel.accesses[access].strides[-2]

    def at(self, pointer: str, *elements: Int) -> str:
        """`pointer` moved by elements."""
        for count in elements:
            pointer = self.f.advance(pointer, self.dtype, count)
        return pointer

    # --- vectors ----------------------------------------------------------------------------------

    def load(self, pointer: str, mask: str | None = None) -> str:
        return self.f.load(pointer, self.dtype, 1, self.lanes, mask).ref

    def store(self, vector: str, pointer: str, mask: str | None = None) -> None:
        self.f.store(Value(vector, self.dtype), pointer, 1, self.lanes, mask)

    def repeated(self, pointer: str) -> str:
        """The element at `pointer` in every lane."""
        return self.f.load(pointer, self.dtype, 0, self.lanes).ref

    def mul(self, a: str, b: str) -> str:
        return self.f.let(f"fmul {self.vector} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        return self.f.let(f"fadd {self.vector} {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.f.let(f"fsub {self.vector} {a}, {b}")

    def fma(self, a: str, b: str, c: str) -> str:
        dtype = self.dtype
        return self.builder.fma(Value(a, dtype), Value(b, dtype), Value(c, dtype)).ref

    def greater(self, a: str, b: str) -> str:
        """The greater of two vectors; b where a is NaN."""
        flag = self.f.let(f"fcmp ogt {self.vector} {a}, {b}")
        return self.f.let(f"select <{self.lanes} x i1> {flag}, {self.vector} {a}, {self.vector} {b}")

    def number(self, value: float) -> str:
        return self.builder.const(value, self.dtype).ref

    def exp(self, x: str) -> str:
        return exp_of_negative(self.builder, Value(x, self.dtype)).ref

    def product(self, a: str, b: str, total: str) -> str:
        """`total` plus the products of the elements of two operands."""
        return self.fma(a, b, total)

    # --- register tiles ---------------------------------------------------------------------------

    def tile(
        self, a: str, steps: tuple[Int, Int], b: str, b_step: Int, rows: int, masks: Sequence[str | None],
        span: tuple[Int, Int],
    ) -> list[str]:  # fmt: skip
        """Sums over the terms in `span` of a[row, term] * b[term, lane], row by row; `steps` are a's strides."""
        f = self.f
        count = rows * len(masks)
        with f.loop(*span, 1, [(self.vector, self.zero)] * count) as loop:
            left = self.at(a, f.mul(loop.index, steps[1]))
            right = self.at(b, f.mul(loop.index, b_step))
            vectors = [self.load(self.at(right, n * self.lanes), mask) for n, mask in enumerate(masks)]
            sums = []
            for row in range(rows):
                factor = self.repeated(self.at(left, f.mul(row, steps[0])))
                sums += [self.product(factor, v, loop.values[row * len(masks) + n]) for n, v in enumerate(vectors)]
            loop.next = sums
        return loop.values

    def columns(self, features: int, body: Callable[[Int, list[str | None]], None]) -> None:
        """``body(first feature, masks of the vectors)`` for each panel of features."""
        f, lanes = self.f, self.lanes
        whole = features // self.panel
        if whole > 1:
            with f.loop(0, whole * self.panel, self.panel) as loop:
                body(loop.index, [None] * VECTORS)
        elif whole:
            body(0, [None] * VECTORS)
        rest = features - whole * self.panel
        if rest:
            masks: list[str | None] = [None] * -(-rest // lanes)
            if rest % lanes:
                masks[-1] = f.mask(rest % lanes, lanes)
            body(whole * self.panel, masks)

    def query_tiles(
        self, left: str, right: str, source: int, result: str, target: int, first: Int, low: Int, high: Int,
        column: Int, masks: Sequence[str | None], store: Callable[[str, Int, str, str | None], None],
        fetch: Callable[[Int], None] = lambda query: None,
    ) -> None:  # fmt: skip
        """Tiles of sum over keys low..high of left[key, query] * right[key, column], given to `store`.

        `source` and `target` are the accesses of `right` and `result`; ``store(place, query, sum, mask)``. `fetch` asks
        for what will be wanted later, tile by tile.
        """
        f, plan, rows = self.f, self.plan, self.height
        count = f.minimum(f.sub(plan.queries, first), QUERIES)
        stride = self.row_stride(source)
        begin = self.at(right, f.mul(low, stride), column)
        with f.loop(0, count, rows) as loop:
            query = f.add(first, loop.index)
            stop = self.stop(query, rows, high)
            fetch(loop.index)
            sums = self.tile(self.at(left, loop.index), (1, QUERIES), begin, stride, rows, masks, (0, f.sub(stop, low)))
            for row in range(rows):
                here = f.add(query, row)
                beyond = row > 0 and plan.queries % rows
                with f.when(f.let(f"icmp slt i64 {here}, {plan.queries}")) if beyond else nullcontext():
                    line = self.at(result, f.mul(here, self.row_stride(target)), column)
                    for n, mask in enumerate(masks):
                        place = self.at(line, n * self.lanes)
                        store(place, f.add(loop.index, row), sums[row * len(masks) + n], mask)

    def unless_first(self, low: Int, first: str, later: str) -> str:
        """`first` for the block of keys that begins with the first, else `later`."""
        fresh = self.f.let(f"icmp eq i64 {low}, 0")
        return self.f.let(f"select i1 {fresh}, {self.vector} {first}, {self.vector} {later}")

    # --- panels of queries ------------------------------------------------------------------------

    def stop(self, query: Int, count: int, high: Int) -> Int:
        """The end of the keys below `high` that `count` queries from `query` on are computed with."""
        f = self.f
        if not self.plan.causal:
            return high
        end = f.add(query, count)
        if count % STEP:
            end = f.let(f"and i64 {f.add(end, STEP - 1)}, {-STEP}")
        return f.minimum(high, end)

    def spans(self, query: Int, low: Int, stop: Int, masked: bool) -> list[Span]:
        """The keys low..stop of the panel that begins with `query`, those of which some queries see none apart."""
        f, lanes = self.f, self.lanes
        if not self.plan.causal:
            return [Span(low, stop, False, 0)]
        found, begin = [], low
        if masked:
            begin = f.minimum(stop, query)
            found.append(Span(low, begin, False, 0))
        for n in range(VECTORS if lanes % STEP == 0 else 1):
            last = n == VECTORS - 1 or lanes % STEP
            end = stop if last else f.minimum(stop, f.add(query, (n + 1) * lanes))
            found.append(Span(begin, end, masked, n))
            begin = end
        return found

    def panel_tiles(
        self, left: str, access: int, right: str, terms: int, query: Int, span: Span,
        use: Callable[[Int, list[tuple[int, int, str]], list[str]], list[str]], carried: Sequence[str] = (),
        scale: str | None = None,
    ) -> list[str]:  # fmt: skip
        """Tiles of sums over features of left[key, feature] * right[feature, query]; gives what the last `use` gave.

        ``use(key, sums, carried)``, where each sum, times `scale`, comes with its key's number in the tile and its
        vector's in the panel. The last tile is moved back so that it is whole.
        """
        f, lanes = self.f, self.lanes
        stride, vectors = self.row_stride(access), range(span.vector, VECTORS)
        with f.loop(span.begin, span.end, self.rows, [(self.vector, x) for x in carried]) as loop:
            key = f.minimum(loop.index, self.plan.keys - self.rows)
            sums = self.tile(
                self.at(left, f.mul(key, stride)), (stride, 1), self.at(right, span.vector * lanes), QUERIES, self.rows,
                [None] * len(vectors), (0, terms),
            )  # fmt: skip
            sums = sums if scale is None else [self.mul(total, scale) for total in sums]
            placed = [(r, n, sums[r * len(vectors) + n - span.vector]) for r in range(self.rows) for n in vectors]
            loop.next = use(key, self._seen(placed, f.sub(key, query)) if span.masked else placed, [*loop.values])
        return loop.values

    def _seen(self, sums: list[tuple[int, int, str]], distance: Int) -> list[tuple[int, int, str]]:
        """Scores of a tile, -inf where the key, `distance` behind the panel's first query, is not seen."""
        f, lanes, fill = self.f, self.lanes, self.number(float("-inf"))
        behind = f.splat(f.let(f"trunc i64 {distance} to i32"), "i32", lanes)
        found = []
        for r, n, total in sums:
            own = "<" + ", ".join(f"i32 {n * lanes + lane - r}" for lane in range(lanes)) + ">"
            seen = f.let(f"icmp sle <{lanes} x i32> {behind}, {own}")
            total = f.let(f"select <{lanes} x i1> {seen}, {self.vector} {total}, {self.vector} {fill}")
            found.append((r, n, total))
        return found

    # --- transposed panels ------------------------------------------------------------------------

    def turn(
        self, source: str, stride: int, first: Int, count: Int, features: int, target: str,
        factor: str | None = None, rows: tuple[str, str, int] | None = None,
    ) -> None:  # fmt: skip
        """Transpose queries from `first` on into target[feature][QUERIES], times `factor`.

        With ``rows = (factors, copy, stride)`` each query is multiplied by its own factor, and kept as it is in `copy`.
        """
        f, lanes = self.f, self.lanes
        with f.loop(0, count, lanes) as group:
            places = []
            for r in range(lanes):
                query = f.add(f.add(first, group.index), r)
                if self.plan.queries % lanes:
                    query = f.minimum(query, self.plan.queries - 1)
                places.append(self.at(source, f.mul(query, stride)))

            def square(column: Int, width: int) -> None:
                mask = None if width == lanes else f.mask(width, lanes)
                lines = [self.load(self.at(place, column), mask) for place in places]
                if rows is not None:
                    factors, copy, step = rows
                    for r, line in enumerate(lines):
                        row = f.add(group.index, r)
                        lines[r] = self.mul(line, self.repeated(self.at(factors, row)))
                        self.store(lines[r], self.at(copy, f.mul(row, step), column))
                for e, line in enumerate(transposed(f, lines, self.element, self.dtype.itemsize)[:width]):
                    if factor is not None:
                        line = self.mul(line, factor)
                    self.store(line, self.at(target, f.mul(f.add(column, e), QUERIES), group.index))

            whole = features // lanes * lanes
            if whole:
                with f.loop(0, whole, lanes) as loop:
                    square(loop.index, lanes)
            if features > whole:
                square(whole, features - whole)
