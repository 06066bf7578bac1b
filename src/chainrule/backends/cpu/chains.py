"""Native code of the sums of a contraction: loops over blocks of the summed axes, and the chains of multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ...compiler.kernel import CACHE_WAY, MOST_WAYS, SHORT_CHAIN
from ..base import Value
from .emit import LINE, Int, whole_vectors
from .half import multiply_pairs
from .packing import PIECE, load_columns

if TYPE_CHECKING:
    from .fetching import Fetching
    from .nest import Nest

#: summed axes with at most this many combinations of indices are written out instead of looped over
UNROLLED = 8
#: sums of a tile for which columns of b are read a whole line at a time: loading them is all the work there is
FEW_SUMS = 4


class Blocks:
    """Loops over the blocks of the summed axes; gives moved pointers, the span of a chain, and (first, last) flags.

    Walks the summed axes `first` to `last`: `first` over `span`, `last` in steps of `step` indices. So it does with the
    pieces of a chain.
    """

    def __init__(self, nest: Nest, pointers: list[str], first: int, span: tuple[Int, Int], last: int, step: Int):
        self.nest = nest
        self.pointers = pointers
        self.axes, self.span, self.step = range(first, last + 1), span, step
        self.open: list = []

    def __enter__(self):
        nest, f = self.nest, self.nest.f
        pointers, fresh, ends = self.pointers, [], []
        for number in self.axes:
            begin, end = self.span if number == self.axes[0] else (0, nest._extent(number))
            step = self.step if number == self.axes[-1] else 1
            loop = self._enter(f.loop(begin, end, step))
            stop = f.add(loop.index, 1) if step == 1 else f.minimum(f.add(loop.index, step), end)
            fresh.append(f.let(f"icmp eq i64 {loop.index}, {begin}"))
            ends.append(f.let(f"icmp eq i64 {stop}, {end}"))
            if number != self.axes[-1]:
                pointers = self._moved(pointers, nest.summed[number], loop.index)
        return pointers, (loop.index, stop), (self._all(fresh), self._all(ends))

    def _enter(self, context):
        self.open.append(context)
        return context.__enter__()

    def _moved(self, pointers: list[str], axis: int, index: Int) -> list[str]:
        """The pointer of a, and those of b, moved along a summed axis."""
        nest, f = self.nest, self.nest.f
        steps = [f.mul(f.stride(min(n, 1), axis), index) for n in range(2)]
        return [f.advance(p, nest.dtype, steps[min(n, 1)]) for n, p in enumerate(pointers)]

    def _all(self, flags: list[str]) -> str:
        result = flags[0]
        for flag in flags[1:]:
            result = self.nest.f.let(f"and i1 {result}, {flag}")
        return result

    def __exit__(self, *details):
        for context in reversed(self.open):
            context.__exit__(*details)


class Chain:
    """The multiply-adds of one chain on one tile."""

    def __init__(self, nest: Nest, offsets: list[int], masks: list[str | None], along: int, others: Sequence[int] = ()):
        """`offsets` and `others`: where a and b lie for each place of the tile."""
        self.others = others
        self.nest = nest
        self.offsets = offsets
        self.masks = masks
        self.along = along
        self.ahead = self._ahead()
        self.fetching: Fetching | None = None

    def _ahead(self) -> int:
        """Elements from those of a that a term reads to those of a later tile that it asks for; 0 if it does not.

        Where the terms of a lie far apart, each in a line and often a page of its own, and blocks of them are walked
        one after another, nothing else fetches what the tiles of further rows need.
        """
        nest = self.nest
        if len(nest.tiling.reduced) > 1 or nest.tiling.blocks != "outside":
            return 0
        row, term = nest._static(0, nest.axis_n - 1), nest._static(0, nest.summed[0])
        return LINE // nest.dtype.itemsize if row == 1 and term * nest.dtype.itemsize > LINE else 0

    def sums(self, a: str, columns: list[str], span: tuple[Int, Int], totals: list[str]) -> list[str]:
        """`totals` and all terms with indices of the outermost summed axis of the chain, or the piece, in `span`."""
        walked = self.nest.tiling.walked
        if self.fetching is not None and not self._written_out(walked, span):
            return self._beside(self.fetching, a, columns, span, totals)
        return self._axis(walked, a, columns, span, totals)

    def _across(self, a: str, columns: list[str], span: tuple[Int, Int], totals: list[str]) -> list[str]:
        """All terms of the last summed axis, along which the columns of b are contiguous: transposed on the way."""
        nest, f, lanes = self.nest, self.nest.f, self.nest.lanes
        first, last = span
        apart, itemsize = nest._static(1, nest.axis_n), nest.dtype.itemsize
        crowded = len(columns) * lanes * math.gcd(apart * itemsize, CACHE_WAY) > MOST_WAYS * CACHE_WAY
        sizes = (LINE, PIECE) if crowded or len(totals) <= FEW_SUMS else (PIECE,)
        for size in (bytes_ // itemsize for bytes_ in sizes):
            whole = whole_vectors(f, first, last, size)
            with f.loop(first, whole, size, [(nest.vector, total) for total in totals]) as loop:
                sums: Sequence[str] = loop.values
                for n, terms in enumerate(self._turned(columns, loop.index, size)):
                    sums = self._terms(self._along(a, f.add(loop.index, n)), everywhere(terms), sums)
                loop.next = sums
            first, totals = whole, loop.values
        size = PIECE // itemsize
        if isinstance(first, int) and isinstance(last, int) and last >= size:
            for n, terms in list(enumerate(self._turned(columns, last - size, size)))[size - (last - first) :]:
                totals = self._terms(self._along(a, last - size + n), everywhere(terms), totals)
            return totals
        with f.loop(first, last, 1, [(nest.vector, total) for total in totals]) as rest:
            starts = [f.advance(column, nest.dtype, rest.index) for column in columns]
            gathered = [f.load(p, nest.dtype, apart, lanes, mask) for p, mask in zip(starts, self.masks)]
            rest.next = self._terms(self._along(a, rest.index), everywhere(gathered), rest.values)
        return rest.values

    def _along(self, a: str, index: Int) -> str:
        """Where the terms of a at an index of the last summed axis lie."""
        nest, f = self.nest, self.nest.f
        return f.advance(a, nest.dtype, f.mul(f.stride(0, nest.summed[-1]), index))

    def _turned(self, columns: list[str], start: Int, size: int) -> Iterator[tuple[Value, ...]]:
        """Vectors of b at `size` terms from `start` on, of columns that are contiguous along the last summed axis."""
        nest, f, lanes = self.nest, self.nest.f, self.nest.lanes
        vectors, apart = [], nest._static(1, nest.axis_n)
        for column, mask in zip(columns, self.masks):
            count = lanes if mask is None else f.kernel.sizes[-1] % lanes
            places = [f.advance(column, nest.dtype, min(n, count - 1) * apart) for n in range(lanes)]
            starts = [f.advance(place, nest.dtype, start) for place in places]
            vectors.append(load_columns(f, starts, nest.dtype, size))
        return zip(*vectors)

    def _beside(self, fetching: Fetching, a: str, columns, span: tuple[Int, Int], totals: list[str]) -> list[str]:
        """The same, where the first terms ask for what the epilogue reads, a line each."""
        f = self.nest.f
        first, last = span
        middle = f.maximum(first, f.minimum(fetching.lines, last))
        with f.loop(first, middle, 1, [(self.nest.vector, total) for total in totals]) as loop:
            fetching.ask(loop.index)
            loop.next = self._at(self.nest.tiling.walked, a, columns, loop.index, loop.values)
        return self._axis(self.nest.tiling.walked, a, columns, (middle, last), loop.values)

    def _axis(self, number: int, a: str, columns: list[str], span: tuple[Int, Int], totals: list[str]) -> list[str]:
        nest, f = self.nest, self.nest.f
        if number == len(nest.tiling.reduced):
            return self._step(a, columns, totals)
        if nest.tiling.across and number == len(nest.tiling.reduced) - 1:
            return self._across(a, columns, span, totals)
        first, last = span
        if self._written_out(number, span):
            for index in range(int(first), int(last)):
                totals = self._at(number, a, columns, index, totals)
            return totals
        with f.loop(first, last, 1, [(nest.vector, total) for total in totals]) as loop:
            loop.next = self._at(number, a, columns, loop.index, loop.values)
        return loop.values

    def _written_out(self, number: int, span: tuple[Int, Int]) -> bool:
        """Whether the terms of a span of a summed axis are so few that there is no loop over them."""
        tiling, (first, last) = self.nest.tiling, span
        small = math.prod(extent or SHORT_CHAIN + 1 for extent in tiling.reduced[number + 1 :])
        most = SHORT_CHAIN if number == tiling.walked else UNROLLED
        return isinstance(first, int) and isinstance(last, int) and (last - first) * small <= most

    def _at(self, number: int, a: str, columns: list[str], index: Int, totals: list[str]) -> list[str]:
        """All terms with one index of a summed axis."""
        nest, f = self.nest, self.nest.f
        axis = nest.summed[number]
        there = f.advance(a, nest.dtype, f.mul(f.stride(0, axis), index))
        if self.ahead:
            f.prefetch(f.advance(there, nest.dtype, self.ahead), near=False)
        step = f.mul(f.stride(1, axis), index)
        moved = [f.advance(column, nest.dtype, step) for column in columns]
        inner = (0, nest._extent(number + 1)) if number + 1 < len(nest.tiling.reduced) else (0, 0)
        return self._axis(number + 1, there, moved, inner, totals)

    def _step(self, a: str, columns: list[str], totals: list[str]) -> list[str]:
        """One term for every output of the tile."""
        nest, f = self.nest, self.nest.f
        loaded: dict[int, list[Value]] = {}

        def vectors(other: int) -> list[Value]:
            if other not in loaded:
                places = [f.advance(column, nest.dtype, other) for column in columns]
                masks = [None if nest.tiling.packed else mask for mask in self.masks]
                loaded[other] = [f.load(p, nest.dtype, 1, nest.lanes, mask) for p, mask in zip(places, masks)]
            return loaded[other]

        return self._terms(a, vectors, totals)

    def _terms(self, a: str, vectors_of: Callable[[int], Sequence[Value]], totals: Sequence[str]) -> list[str]:
        """One term for every output of the tile; `vectors_of` gives those of b at an offset."""
        nest, f, lanes = self.nest, self.nest.f, self.nest.lanes
        builder = f.builder(lanes)
        broadcasts: dict[int, Value] = {}
        result = []
        for i, (offset, other) in enumerate(zip(self.offsets, self.others)):
            vectors = vectors_of(other)
            here = f.advance(a, nest.dtype, offset)
            broadcast = broadcasts.get(offset)
            if broadcast is None and not self.along:
                scalar = f.let(f"load {nest.element}, ptr {here}")
                broadcast = broadcasts[offset] = Value(f.splat(scalar, nest.element, lanes), nest.dtype)
            for j, vector in enumerate(vectors):
                left = (
                    broadcast
                    if broadcast is not None
                    else f.load(f.advance(here, nest.dtype, j * lanes), nest.dtype, 1, lanes, self.masks[j])
                )
                result.append(self._multiply_add(builder, left, vector, totals[i * len(vectors) + j]))
        return result

    def _multiply_add(self, builder, a: Value, b: Value, total: str) -> str:
        c = Value(total, self.nest.dtype)
        if self.nest.tiling.pairs:
            return multiply_pairs(builder, a, b, c).ref
        if self.nest.dtype.kind == "f":
            return builder.fma(a, b, c).ref
        return builder.add(builder.mul(a, b), c).ref


def everywhere(vectors: Sequence[Value]) -> Callable[[int], Sequence[Value]]:
    """The same vectors at every offset."""
    return lambda _: vectors
