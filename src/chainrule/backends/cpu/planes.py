"""Native code of depthwise convolutions whose vectors lie along the rows of an image (see compiler/planes.py).

A register tile is a few rows of one or two vectors, whose outputs share what they read; the kernel's places are
written out, and its weights are broadcast once for a plane. Rows all of whose terms lie in the image go in tiles; of
the others, one at a time, what lies outside is replaced by zeros. In a row, masks do so. The order of terms is that of
any contraction.
"""

from __future__ import annotations

import itertools

from ...compiler.kernel import Window
from ..base import Value
from .bodies import Point
from .emit import LINE, Function, Int
from .nest import Nest

#: bytes ahead at which memory is asked for
AHEAD = 3072


class Planes(Nest):
    """Emits a contraction kernel whose image, a, is contiguous along the last axis, and whose weights, b, are not."""

    def __init__(self, f: Function):
        super().__init__(f)
        self.windows = self.tiling.windows
        self.place: dict[int, Int | None] = {}  # along every axis of the image; None: inside of it at any rate
        self.known = True  # whether a panel may reach over the border, and begins at a known column
        self.weights: list[Value] = []

    def _moved(self, pointers, axis: int, index: Int) -> list[str]:
        self.place[axis] = index
        return super()._moved(pointers, axis, index)

    def _columns(self, point: Point, pointers: list[str], span, flags) -> None:
        """All panels of columns: those at the borders one by one, those in between in a loop."""
        f, lanes = self.f, self.lanes
        size, widest = f.size(self.axis_n), max(self.tiling.panels)
        assert isinstance(size, int)
        self.weights = [self._weight(pointers[1], place) for place in itertools.product(*map(range, self._places()))]

        def panel(first: Int, wide: int) -> None:
            masks: list[str | None] = [None] * wide
            self.known = isinstance(first, int)
            if isinstance(first, int) and first + wide * lanes > size:
                masks[-1] = f.mask(size - first - (wide - 1) * lanes, lanes)
            self._inner(self.tiling.outside, point, pointers, span, flags, first, masks, list(self.tiling.tile), None)

        starts = [lanes * sum(self.tiling.panels[:n]) for n in range(len(self.tiling.panels))]
        panels = list(zip(starts, self.tiling.panels))
        inside = [first for first, wide in panels if wide == widest and self._reaches_inside(first, wide * lanes)]
        looped = inside if len(inside) > 1 else []
        for first, wide in panels:
            if first not in looped:
                panel(first, wide)
        if looped:
            with f.loop(looped[0], looped[-1] + 1, widest * lanes) as loop:
                panel(loop.index, widest)

    def _places(self) -> list[int]:
        return [extent or 1 for extent in self.tiling.reduced]

    def _weight(self, pointer: str, place: tuple[int, ...]) -> Value:
        f = self.f
        shift = sum(index * self._static(1, axis) for index, axis in zip(place, self.summed))
        return f.load(f.advance(pointer, self.dtype, shift), self.dtype, 0, self.lanes)

    def _reaches_inside(self, first: int, count: int) -> bool:
        """Whether all terms of `count` columns, and the columns themselves, lie inside of the image."""
        window, size = self.windows[-1], self.f.size(self.axis_n)
        assert isinstance(size, int)
        low = window.start + first
        return (
            low >= 0
            and low + count - 1 + (self._places()[-1] - 1) * window.jump < window.extent
            and first + count <= size
        )

    def _inner(self, axis: int, point, pointers, span, flags, column, masks, extents: list[int], written) -> None:
        f, body = self.f, self.f.kernel.body
        if axis != self.axis_n - 1:
            super()._inner(axis, point, pointers, span, flags, column, masks, extents, written)
            return
        size, step = f.size(axis), extents[axis]
        assert isinstance(size, int)
        window, terms = self.windows[-2], self._places()[-2]

        def at(index: Int, rows: int, inside: bool) -> None:
            moved = self._moved(pointers, axis, index)
            self.place[axis] = None if inside else index
            here = point.moved(axis, index, body)
            self._tile(here, moved, span, flags, column, masks, [*extents[:axis], rows], written)

        first, last = window.inside(size, terms)
        beyond = window.beyond(size, terms, step)
        if self.tiling.together > 1:  # tiles at the borders are written out
            for begin in beyond:
                at(begin, min(step, size - begin), False)
            looped = [begin for begin in range(0, size, step) if begin not in beyond]
            if looped:
                with f.loop(looped[0], looped[-1] + 1, step) as loop:
                    at(loop.index, step, True)
            return
        whole = (last - first) // step * step
        if whole:
            with f.loop(first, first + whole, step) as loop:
                at(loop.index, step, True)
        if whole < size:
            with f.loop(0, size - whole) as loop:
                behind = f.let(f"icmp sge i64 {loop.index}, {first}")
                at(f.add(loop.index, f.let(f"select i1 {behind}, i64 {whole}, i64 0")), 1, False)

    def _tile(self, point, pointers, span, flags, column, masks, extents: list[int], written) -> None:
        rows = extents[-1] if len(self.windows) > 1 else 1
        self._ask(pointers[0], column, len(masks), rows)
        totals = self._sums(pointers[0], column, len(masks), rows)
        self._finish(point, pointers, flags, column, masks, extents, written, totals)

    def _ask(self, image: str, column: Int, wide: int, rows: int) -> None:
        """Ask for the memory of the image that a later tile will read; what it will write is better not asked for."""
        f, lanes = self.f, self.lanes
        image = f.advance(image, self.dtype, f.add(column, AHEAD // self.dtype.itemsize))
        for row, j in itertools.product(range(rows), range(0, wide, max(LINE // (self.dtype.itemsize * lanes), 1))):
            f.prefetch(f.advance(image, self.dtype, row * self._static(0, self.axis_n - 1) + j * lanes))

    def _sums(self, image: str, column: Int, wide: int, rows: int) -> list[str]:
        """All terms of `rows` rows of `wide` vectors, the places of the kernel in order for each."""
        f, places = self.f, self._places()
        builder = f.builder(self.lanes)
        totals = [builder.const(0, self.dtype).ref] * (rows * wide)
        image = f.advance(image, self.dtype, column)
        for before in itertools.product(*map(range, places[:-2])):
            down = places[-2] if len(places) > 1 else 1
            row = self.windows[-2] if len(places) > 1 else None
            meets: dict[int, list[tuple[int, int]]] = {}  # which outputs and places meet each row of the image
            for i, k in itertools.product(range(rows), range(down)):
                meets.setdefault(i * row.step + k * row.jump if row else 0, []).append((i, k))
            for position in sorted(meets):
                taken = [(window, index * window.jump) for window, index in zip(self.windows[:-2], before)]
                pointer, outside = self._line(image, [*taken, (row, position)] if row else taken)
                for k_last, j in itertools.product(range(places[-1]), range(wide)):
                    value = self._read(pointer, column, j, k_last, outside)
                    for i, k in meets[position]:
                        number = k_last
                        for index, extent in zip(reversed((*before, k) if row else before), self._below()):
                            number += index * extent
                        total = Value(totals[i * wide + j], self.dtype)
                        totals[i * wide + j] = builder.fma(value, self.weights[number], total).ref
        return totals

    def _below(self) -> list[int]:
        """Places of the kernel for one along each of its axes but the last, the last of these first."""
        return list(itertools.accumulate(reversed(self._places()[1:]), lambda a, b: a * b))

    def _line(self, image: str, taken: list[tuple[Window, int]]) -> tuple[str, str | None]:
        """The row of the image so many positions from where the tile begins, and whether it lies outside, if it may."""
        f = self.f
        outside: str | None = None
        for window, ahead in taken:
            unit = self._static(0, window.axis) // window.step
            first = self.place[window.axis]
            if first is None or self._always_inside(window):
                image = f.advance(image, self.dtype, ahead * unit)
                continue
            position = f.add(f.mul(window.step, first), window.start + ahead)
            if isinstance(position, int):
                if not 0 <= position < window.extent:
                    return image, "true"
                image = f.advance(image, self.dtype, ahead * unit)
                continue
            beyond = f.let(f"icmp uge i64 {position}, {window.extent}")  # negative positions are large
            outside = beyond if outside is None else f.let(f"or i1 {outside}, {beyond}")
            nearest = f.minimum(f.maximum(position, 0), window.extent - 1)
            image = f.advance(image, self.dtype, f.mul(f.add(ahead, f.sub(nearest, position)), unit))
        return image, outside

    def _always_inside(self, window: Window) -> bool:
        size = self.f.size(window.axis)
        assert isinstance(size, int)
        return window.inside(size, self._places()[window.summed]) == (0, size)

    def _read(self, pointer: str, column: Int, j: int, place: int, outside: str | None) -> Value:
        """A vector of a row, with zeros for what lies outside of the image."""
        f, window, lanes = self.f, self.windows[-1], self.lanes
        if outside == "true":
            return f.builder(lanes).const(0, self.dtype)
        mask = None
        if self.known:
            assert isinstance(column, int)
            low = window.start + column + j * lanes + place * window.jump
            inside = [0 <= low + lane < window.extent for lane in range(lanes)]
            if not any(inside):
                return f.builder(lanes).const(0, self.dtype)
            mask = None if all(inside) else f"<{', '.join(f'i1 {str(on).lower()}' for on in inside)}>"
        value = f.load(f.advance(pointer, self.dtype, j * lanes + place * window.jump), self.dtype, 1, lanes, mask)
        if outside is None:
            return value
        zero = f.builder(lanes).const(0, self.dtype).ref
        return Value(f.let(f"select i1 {outside}, {self.vector} {zero}, {self.vector} {value.ref}"), self.dtype)


def emit_planes(f: Function) -> None:
    """A depthwise convolution or its input's gradient (see `Planes`)."""
    Planes(f).emit()
