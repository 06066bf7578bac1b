"""Native code of the gradient of a depthwise kernel whose operands lie with their channels second.

What a block of terms reads of a panel's channels is transposed into memory that stays near, and multiplied from there:
the order of terms is that of `Windows`.
"""

from __future__ import annotations

from .bodies import Point
from .emit import Function, Int
from .packing import load_columns
from .windows import Windows


class Turned(Windows):
    """Emits a kernel whose accesses 0 and 1 are that memory; those of the images follow them and the partial sums."""

    def _panel(self, point: Point, pointers: list[str], span, flags, column: Int, masks: list[str | None]) -> None:
        f, (low, high), row = self.f, span, self.windows[-2]
        images = self.tiling.first == 0
        first = 2 if self.partial is None else 3
        terms = self._extent(row.summed)
        part = self.place[0]
        assert isinstance(terms, int) and part is not None
        begin, end = (0, terms) if images else (low, high)
        reach = (f.kernel.sizes[row.axis] - 1) * row.step
        top = f.maximum(f.add(f.mul(row.jump, begin), row.start), 0)
        bottom = f.minimum(f.add(f.mul(row.jump, f.sub(end, 1)), row.start + reach + 1), row.extent)
        moved = [f.advance(p, self.dtype, f.sub(0, column)) for p in pointers[:2]]
        here = [f.advance(pointers[0], self.dtype, self._corner()), pointers[1]]
        for number, rows in enumerate(((top, bottom), (begin, end))):
            source = f.advance(f.base(first + number), self.dtype, f.mul(self._static(first + number, 0), part))
            source = f.advance(source, self.dtype, f.mul(self._static(first + number, self.axis_n), column))
            if not images:
                start = f.mul(self._static(first + number, self.summed[0]), self.index[0])
                self._turn(f.advance(source, self.dtype, start), here[number], number, rows, column, masks)
                continue
            with f.loop(low, high) as loop:
                one = f.advance(source, self.dtype, f.mul(self._static(first + number, self.summed[0]), loop.index))
                there = f.advance(here[number], self.dtype, f.mul(self._static(number, self.summed[0]), loop.index))
                self._turn(one, there, number, rows, column, masks)
        self._inner(
            self.tiling.outside,
            point,
            [*moved, *pointers[2:]],
            span,
            flags,
            column,
            masks,
            list(self.tiling.tile),
            None,
        )

    def _corner(self) -> int:
        """Elements from where terms of the first place begin to the first position of the image."""
        return -sum(window.start * (self._static(0, window.axis) // window.step) for window in self.windows)

    def _turn(self, source: str, target: str, number: int, rows: tuple[Int, Int], column: Int, masks) -> None:
        """Transpose some rows of an image, or of the cotangent, of as many channels as a panel has."""
        f, lanes = self.f, self.lanes
        first = 2 if self.partial is None else 3
        width, height = (
            (self.windows[-1].extent, self.windows[-2].extent) if number == 0 else self.tiling.reduced[:0:-1]
        )
        assert width is not None and height is not None
        plane, apart = self._static(first + number, self.axis_n), lanes * max(self.tiling.panels)
        for j, mask in enumerate(masks):
            count = lanes if mask is None else f.kernel.sizes[-1] % lanes
            channels = [f.advance(source, self.dtype, plane * (j * lanes + min(n, count - 1))) for n in range(lanes)]
            with f.loop(f.mul(rows[0], width), f.mul(rows[1], width), lanes) as loop:
                start = f.minimum(loop.index, height * width - lanes)
                starts = [f.advance(c, self.dtype, start) for c in channels]
                place = f.advance(target, self.dtype, f.add(f.mul(start, apart), j * lanes))
                for n, vector in enumerate(load_columns(f, starts, self.dtype, lanes)):
                    f.store(vector, f.advance(place, self.dtype, n * apart), 1, lanes)


def emit_turned(f: Function) -> None:
    """The gradient of a depthwise kernel of images with their channels second (see `Turned`)."""
    Turned(f).emit()
