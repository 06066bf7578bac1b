"""Native code of depthwise convolutions and their gradients: strips of register tiles that know where an image ends.

The channels are the vectors of both operands, so that an element of the window, a, meets one of b lane by lane, and is
used by all outputs of a tile that see it: of a forward convolution, neighbouring positions; of a kernel's gradient, the
places of the kernel. a lies without zeros around it. Where a window reaches over the image's first or last column is
known while emitting, and zeros are multiplied there; rows outside of it are replaced by zeros in registers.
The order of the terms of each output is that of any contraction.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...compiler.kernel import Access, Window
from ..base import Value
from .bodies import Point
from .chains import Blocks, Chain
from .emit import LINE, Function, Int
from .nest import Nest

#: summed positions of a strip that are written out instead of looped over, in groups that are written out at any rate
WRITTEN_OUT = 2


class _Images(Blocks):
    """Blocks of the summed axes, whose indices the windows have to know."""

    nest: Windows

    def _moved(self, pointers: list[str], axis: int, index: Int) -> list[str]:
        self.nest.index[axis - self.nest.summed[0]] = index
        return super()._moved(pointers, axis, index)


class Windows(Nest):
    """Emits a contraction kernel whose `Tiling` has windows, one for each spatial axis."""

    loops = _Images

    def __init__(self, f: Function):
        super().__init__(f)
        self.windows = self.tiling.windows
        self.place: dict[int, Int | None] = {}  # along every axis m; None: inside the image at any rate
        self.index: dict[int, Int] = {}  # of every summed axis but the last

    def _moved(self, pointers: Sequence[str], axis: int, index: Int) -> list[str]:
        self.place[axis] = index
        return super()._moved(pointers, axis, index)

    def _inner(self, axis: int, point, pointers, span, flags, column, masks, extents: list[int], written) -> None:
        """The last axis: tiles at the image's borders one by one, those in between in a loop."""
        f = self.f
        if axis != self.axis_n - 1:
            super()._inner(axis, point, pointers, span, flags, column, masks, extents, written)
            return
        size, step = self.f.kernel.sizes[axis], extents[axis]

        def at(index: Int, extent: int, known: bool = True) -> None:
            moved = self._moved(pointers, axis, index)
            self.place[axis] = index if known else None
            here = point.moved(axis, index, f.kernel.body)
            super(Windows, self)._inner(
                axis + 1, here, moved, span, flags, column, masks, [*extents[:axis], extent, *extents[axis + 1 :]],
                written,
            )  # fmt: skip

        whole = size // step * step
        inside = [first for first in range(0, whole, step) if self._is_inside(first, step)]
        if len(inside) > 1:
            for first in range(0, inside[0], step):
                at(first, step)
            with f.loop(inside[0], inside[-1] + step, step) as loop:
                at(loop.index, step, False)
            begin = inside[-1] + step
        else:
            begin = 0
        for first in range(begin, whole, step):
            at(first, step)
        if whole < size:
            at(whole, size - whole)

    def _is_inside(self, first: int, count: int) -> bool:
        """Whether no term of positions `first` ... along the last axis m lies outside of the image."""
        window = self.windows[-1]
        last = self._extent(window.summed)
        assert isinstance(last, int)
        low = window.start + first * window.step
        return low >= 0 and low + (count - 1) * window.step + (last - 1) * window.jump < window.extent

    def _fetch_ahead(self, point: Point, column: Int, masks: list[str | None], extents: list[int]) -> None:
        """Ask for the results' memory a row ahead."""
        if not self.tiling.packed or len(self.windows) < 2:
            return
        f = self.f
        point = point.moved(self.axis_n, column, f.kernel.body)
        for access in dict.fromkeys(access for _, access in f.kernel.body.stores):
            stored = f.kernel.accesses[access]
            if stored.strides[self.axis_n] == 1:
                self.ahead(
                    f.advance(point.pointer(access), stored.dtype, stored.strides[self.axis_n - 2]), stored,
                    stored.strides[self.axis_n - 1], extents[-1], len(masks), True,
                )  # fmt: skip

    def ahead(self, pointer: str, access: Access, apart: int, count: int, vectors: int, write: bool = False) -> None:
        """Ask for `vectors` at each of `count` positions, each line once: hardware does not foresee strips of rows."""
        width = self.lanes * access.dtype.itemsize
        for position in range(count):
            for j in range(0, vectors, max(LINE // width, 1)):
                here = self.f.advance(pointer, access.dtype, position * apart + j * self.lanes)
                self.f.prefetch(here, write, near=False)

    def _chain(self, offsets: list[int], masks: list[str | None], along: int, extents: list[int]) -> Strips:
        return Strips(self, masks, extents)


class Strips(Chain):
    """The multiply-adds of one chain on one tile, whose rows are its places along all axes but the last."""

    nest: Windows

    def __init__(self, nest: Windows, masks: list[str | None], extents: list[int]):
        super().__init__(nest, [], masks, 1)
        self.extents = extents
        self.last = nest.windows[-1]
        self.rows = list(itertools.product(*(range(n) for n in extents[:-1])))

    def sums(self, a: str, columns: list[str], span: tuple[Int, Int], totals: list[str]) -> list[str]:
        nest = self.nest
        if nest.tiling.packed and len(nest.windows) > 1:
            row = nest.windows[-2]
            last = nest._extent(row.summed)
            assert isinstance(last, int)
            below = nest.f.advance(a, nest.dtype, ((last - 1) * row.jump + row.step) * self._unit(row))
            reach = (self.extents[-1] * self.last.step, len(self.masks))
            nest.ahead(below, nest.f.kernel.accesses[0], self._unit(self.last), *reach)
        return super().sums(a, columns, span, totals)

    def _axis(self, number: int, a: str, columns: list[str], span: tuple[Int, Int], totals: list[str]) -> list[str]:
        nest, f = self.nest, self.nest.f
        if number == self.last.summed:
            return self._at_borders(a, columns, totals)
        axis = nest.summed[number]
        inner = (0, nest._extent(number + 1))
        with f.loop(*span, 1, [(nest.vector, total) for total in totals]) as loop:
            nest.index[number] = loop.index
            there = f.advance(a, nest.dtype, f.mul(f.stride(0, axis), loop.index))
            step = f.mul(f.stride(1, axis), loop.index)
            moved = [f.advance(column, nest.dtype, step) for column in columns]
            loop.next = self._axis(number + 1, there, moved, inner, loop.values)
        return loop.values

    # --- rows -------------------------------------------------------------------------------------

    def _at_borders(self, a: str, columns: list[str], totals: list[str]) -> list[str]:
        """A strip of every row of the tile, all of which lie in the image, or some of which may not."""
        nest, f = self.nest, self.nest.f
        strides = [nest._static(0, axis) for axis in range(nest.axis_n)]
        pointers, clamped, outside = [], [], []
        somewhere: str | None = None
        for row in self.rows:
            offset = sum(index * stride for index, stride in zip(row, strides))
            here = there = f.advance(a, nest.dtype, offset)
            out: str | None = None
            for window in nest.windows[:-1]:
                if self._always_inside(window):
                    continue
                place, first = nest.index[window.summed], nest.place[window.axis]
                assert first is not None
                position = f.add(f.mul(window.jump, place), f.mul(window.step, f.add(first, row[window.axis])))
                position = f.add(position, window.start)
                beyond = f.let(f"icmp uge i64 {position}, {window.extent}")  # negative positions are large
                nearest = f.minimum(f.maximum(position, 0), window.extent - 1)
                there = f.advance(there, nest.dtype, f.mul(f.sub(nearest, position), self._unit(window)))
                out = beyond if out is None else f.let(f"or i1 {out}, {beyond}")
            pointers.append(here)
            clamped.append(there)
            outside.append(out)
            if out is not None:
                somewhere = out if somewhere is None else f.let(f"or i1 {somewhere}, {out}")
        if somewhere is None:
            return self._strip(pointers, [None] * len(pointers), columns, totals)
        kept: list[str | None] = []

        def beside() -> list[str]:
            for out in outside:
                kept.append(None if out is None else self._ones_unless(out))
            return self._strip(clamped, kept, columns, totals)

        return f.either(
            somewhere, nest.vector, beside, lambda: self._strip(pointers, [None] * len(pointers), columns, totals)
        )

    def _always_inside(self, window: Window) -> bool:
        last, size = self.nest._extent(window.summed), self.nest.f.kernel.sizes[window.axis]
        if not isinstance(last, int):
            return False
        return window.start >= 0 and (
            window.start + (size - 1) * window.step + (last - 1) * window.jump < window.extent
        )

    def _unit(self, window: Window) -> int:
        """Elements from one position of the image to the next one."""
        return self.nest._static(0, window.axis) // window.step

    def _ones_unless(self, flag: str) -> str:
        """An integer vector of ones, or of zeros if the flag holds."""
        f, lanes, bits = self.nest.f, self.nest.lanes, 8 * self.nest.dtype.itemsize
        ones = f.let(f"sext i1 {f.let(f'xor i1 {flag}, true')} to i{bits}")
        return f.splat(ones, f"i{bits}", lanes)

    def _kept(self, value: Value, ones: str) -> Value:
        """`value` where `ones` has ones, else zero."""
        f, dtype, lanes = self.nest.f, self.nest.dtype, self.nest.lanes
        whole = f"<{lanes} x i{8 * dtype.itemsize}>"
        bits = f.let(f"bitcast {self.nest.vector} {value.ref} to {whole}")
        return Value(f.let(f"bitcast {whole} {f.let(f'and {whole} {bits}, {ones}')} to {self.nest.vector}"), dtype)

    # --- strips -----------------------------------------------------------------------------------

    def _strip(self, rows: list[str], kept: list[str | None], columns: list[str], totals: list[str]) -> list[str]:
        """All terms of the last summed axis; those that may lie outside of the image one by one."""
        nest, f = self.nest, self.nest.f
        group = nest.tiling.together
        size = nest._extent(self.last.summed)
        assert isinstance(size, int)
        first = nest.place[self.last.axis]
        begin, end = (0, size) if first is None else self._inside(first, size)
        count = max(end - begin, 0) // group * group
        if size <= WRITTEN_OUT * group or count <= group:
            for start in range(0, size, group):
                totals = self._group(rows, kept, columns, start, min(group, size - start), first, totals)
            return totals
        for start in range(0, begin, group):
            totals = self._group(rows, kept, columns, start, min(group, begin - start), first, totals)
        with f.loop(begin, begin + count, group, [(nest.vector, total) for total in totals]) as loop:
            loop.next = self._group(rows, kept, columns, loop.index, group, None, loop.values)
        totals = loop.values
        for start in range(begin + count, size, group):
            totals = self._group(rows, kept, columns, start, min(group, size - start), first, totals)
        return totals

    def _inside(self, first: Int, size: int) -> tuple[int, int]:
        """The summed positions at which all outputs from `first` on see the image, not what lies around it."""
        assert isinstance(first, int)
        window, width = self.last, self.extents[-1]
        low = window.start + first * window.step
        high = low + (width - 1) * window.step
        return max(0, -(low // window.jump)), max(0, min(size, -((high - window.extent) // window.jump)))

    def _group(
        self, rows: list[str], kept: list[str | None], columns: list[str], start: Int, count: int, first: Int | None,
        totals: list[str],
    ) -> list[str]:  # fmt: skip
        """Terms `start` ... `start` + `count`; `first`: of the outputs, None where all lie in the image."""
        nest, f, lanes = self.nest, self.nest.f, self.nest.lanes
        builder, window, width = f.builder(lanes), self.last, self.extents[-1]
        axis = nest.summed[window.summed]
        across, along = nest._static(1, axis), nest._static(0, axis)
        unit = along // window.jump
        others = []
        for n in range(count):
            shift = f.mul(across, f.add(start, n))
            others.append(
                [
                    f.load(f.advance(c, nest.dtype, shift), nest.dtype, 1, lanes, None if nest.tiling.packed else mask)
                    for c, mask in zip(columns, self.masks)
                ]
            )
        meets: dict[int, list[tuple[int, int]]] = {}  # which outputs and terms meet each position
        for output in range(width):
            for n in range(count):
                meets.setdefault(output * window.step + n * window.jump, []).append((output, n))
        result = list(totals)
        for row, (pointer, ones) in enumerate(zip(rows, kept)):
            pointer = f.advance(pointer, nest.dtype, f.mul(along, start))
            for position in sorted(meets):
                outside = False
                if first is not None:
                    assert isinstance(start, int) and isinstance(first, int)
                    there = window.start + first * window.step + start * window.jump + position
                    outside = not 0 <= there < window.extent
                for j, mask in enumerate(self.masks):
                    if outside:
                        value = builder.const(0, nest.dtype)
                    else:
                        here = f.advance(pointer, nest.dtype, position * unit + j * lanes)
                        value = f.load(here, nest.dtype, 1, lanes, mask)
                        value = value if ones is None else self._kept(value, ones)
                    for output, n in meets[position]:
                        place = (row * width + output) * len(self.masks) + j
                        result[place] = self._multiply_add(builder, value, others[n][j], result[place])
        return result


def emit_windows(f: Function) -> None:
    """A depthwise convolution or a gradient of one (see `Windows`)."""
    Windows(f).emit()
