"""Native code of contractions: register tiles of multiply-adds inside a nest of loops, with the epilogue on the tile.

``out[m..., n] = epilogue(sum_r a[m..., r..., n?] * b[m?..., r..., n])``: every operand moves with a stride of its own
along every axis, so that matrix products, convolutions and both gradients of them are the same nest
(`compiler/tiling.py` decides how it is walked). A tile is a box of positions along some of the axes m by a few vectors
along n; the loops over the summed axes r carry it in registers: each step loads the vectors of b once, and broadcasts
one element of a for each position (or loads a vector, where a moves along n too).

Every output is one chain of fused multiply-adds in the order of r, in blocks that depend on the extents of r only
(`compiler/trees.py`), whose sums are added in order: the tile, the panel and the thread change nothing.

Along axis 0, whose range is an argument, the last tile is moved back to end with the range, so that it is whole;
positions that were done already, or belong to another thread's range, are computed as well but not written.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

from ...compiler.kernel import TRANSCENDENTAL, Body, Tiling
from ..base import Value
from .bodies import BodyCode, Point
from .chains import Blocks, Chain
from .dealt import DealtChains
from .emit import Function, Int
from .emit import llvm_type as element_type
from .fetching import Fetching
from .loops import axis_range

#: operations of an epilogue that are written out for all vectors of a tile, at most
LIGHT = 192
#: short vectors of a row whose epilogues are computed side by side: one alone waits for its own operations
TOGETHER = 2


class Nest:
    """Emits one contraction kernel, whose `static` is a `Tiling`.

    Sizes are the axes m and n; accesses 0 and 1 are a and b with the strides of the summed axes behind those of the
    sizes, access 2 the partial sums if blocks of r are outermost, access 3 those of a panel that wait for the next
    piece of their chains. A packed b has the layout [vector of n][r...][lane], and as its stride of n the distance of
    two vectors; one that lies across is contiguous along the last r.
    ``extra = (number of terms, extent of the first summed axis, indices of axis `tiling.first` in a chain, ...)``.
    """

    loops: type[Blocks] = Blocks

    def __init__(self, f: Function):
        self.f = f
        kernel = f.kernel
        assert isinstance(kernel.static, Tiling)
        self.tiling = kernel.static
        self.lanes = self.tiling.lanes
        self.axis_n = len(kernel.sizes) - 1
        self.summed = range(self.axis_n + 1, self.axis_n + 1 + len(self.tiling.reduced))
        self.dtype = kernel.accesses[0].dtype
        self.element = element_type(self.dtype)
        self.vector = f.builder(self.lanes).llvm_type(self.dtype)
        self.partial = 2 if self.tiling.blocks == "outside" else None
        self.waiting = 3 if self.tiling.pieces is not None else None
        rows, widest = math.prod(self.tiling.tile), max(self.tiling.panels, default=1)
        f.entry.append(f"  %tile = alloca [{rows * widest * self.lanes} x {self.element}], align 64")

    def emit(self) -> None:
        f = self.f
        pointers = [f.base(n) for n in (0, 1, self.partial, self.waiting) if n is not None]
        self._outer(0, Point.start(f, f.kernel.body, self.lanes), pointers)

    def _moved(self, pointers: Sequence[str], axis: int, index: Int) -> list[str]:
        """Pointers of the operands, moved along one axis of the space."""
        f = self.f
        return [f.advance(p, self.dtype, f.mul(f.stride(n, axis), index)) for n, p in enumerate(pointers)]

    def _outer(self, axis: int, point: Point, pointers: list[str]) -> None:
        """Loops over the axes outside of the panels."""
        if axis == self.tiling.outside:
            self._blocks(point, pointers)
            return
        with self.f.loop(*axis_range(self.f, axis)) as loop:
            moved = point.moved(axis, loop.index, self.f.kernel.body)
            self._outer(axis + 1, moved, self._moved(pointers, axis, loop.index))

    # --- blocks of the summed axes ----------------------------------------------------------------

    def _extent(self, number: int) -> Int:
        """Extent of a summed axis."""
        size = self.tiling.reduced[number]
        return self.f.extra(1) if size is None else size

    def _blocks(self, point: Point, pointers: list[str]) -> None:
        if self.partial is None:
            self._columns(point, pointers, (0, self._extent(self.tiling.first)), None)
            return
        with self._each_block(pointers[:2]) as (moved, span, flags):
            self._columns(point, [*moved, *pointers[2:]], span, flags)

    def _each_block(self, pointers: list[str]) -> Blocks:
        return self.loops(self, pointers, 0, (0, self._extent(0)), self.tiling.first, self.f.extra(2))

    # --- columns ----------------------------------------------------------------------------------

    def _columns(self, point: Point, pointers: list[str], span, flags) -> None:
        """All panels of columns."""
        f, lanes, panels = self.f, self.lanes, self.tiling.panels
        size = f.size(self.axis_n)
        assert isinstance(size, int)
        rest = size % lanes
        start = position = 0

        def panel(first: Int, width: int, count: int | None = None) -> None:
            masks: list[str | None] = [None] * width
            if count is not None:
                masks[-1] = f.mask(count, lanes)
            self._panel(point, pointers, span, flags, first, masks)

        while position < len(panels):
            width = panels[position]
            count = 1
            while position + count < len(panels) and panels[position + count] == width:
                count += 1
            position += count
            last = position == len(panels) and rest
            whole = count - 1 if last else count
            end = start + whole * width * lanes
            if whole == 1:
                panel(start, width)
            elif whole:
                with f.loop(start, end, width * lanes) as loop:
                    panel(loop.index, width)
            if last:
                panel(end, width, rest)
            start += count * width * lanes

    def _panel(self, point: Point, pointers: list[str], span, flags, column: Int, masks: list[str | None]) -> None:
        """One panel of columns."""
        outside, pieces, tile = self.tiling.outside, self.tiling.pieces, list(self.tiling.tile)
        if pieces is None:
            self._inner(outside, point, pointers, span, flags, column, masks, tile, None)
            return
        with Blocks(self, pointers[:2], self.tiling.first, span, *pieces) as (moved, piece, ends):
            self._inner(outside, point, [*moved, *pointers[2:]], piece, (*flags, *ends), column, masks, tile, None)

    def _inner(self, axis: int, point, pointers, span, flags, column, masks, extents: list[int], written) -> None:
        """Loops over the axes inside a panel, a tile at a time; a shorter tile for what is left of an axis."""
        f, body = self.f, self.f.kernel.body
        if axis == self.axis_n:
            self._tile(point, pointers, span, flags, column, masks, extents, written)
            return

        def at(index: Int, extent: int, rows=written) -> None:
            shape = [*extents]
            shape[axis] = extent
            moved = self._moved(pointers, axis, index)
            here = point if rows is not written else point.moved(axis, index, body)
            self._inner(axis + 1, here, moved, span, flags, column, masks, shape, rows)

        step = extents[axis]
        if axis == 0 and step > 1:
            low, high = axis_range(f, 0)
            edge = f.sub(high, step)
            with f.loop(low, high, step) as loop:
                top = f.maximum(f.minimum(loop.index, edge), 0)
                at(top, step, (top, f.sub(loop.index, top), f.minimum(f.sub(high, top), step)))
            return
        if axis == 0:
            with f.loop(*axis_range(f, 0)) as loop:
                at(loop.index, 1)
            return
        size = f.size(axis)
        assert isinstance(size, int)
        whole = size // step * step
        if whole == step:
            at(0, step)
        else:
            with f.loop(0, whole, step) as loop:
                at(loop.index, step)
        if whole < size:
            at(whole, size - whole)

    # --- tiles ------------------------------------------------------------------------------------

    def _tile(self, point, pointers, span, flags, column, masks, extents, written) -> None:
        """One register tile: a box of `extents`, the vectors of a panel from `column` on, one block of terms or all.

        `written`: first index along axis 0, and which part (from, to) of the tile along it is new; None if all is.
        """
        f = self.f
        offsets = [self._shift(0, place) for place in itertools.product(*(range(n) for n in extents))]
        a, b = pointers[0], pointers[1]
        if self.tiling.packed:
            vector = f.let(f"udiv i64 {column}, {self.lanes}") if isinstance(column, str) else column // self.lanes
            distance = self._static(1, self.axis_n)
            columns = [f.advance(b, self.dtype, f.mul(f.add(vector, j), distance)) for j in range(len(masks))]
        elif self.tiling.across:
            distance = self._static(1, self.axis_n)
            firsts = [f.mul(f.add(column, j * self.lanes), distance) for j in range(len(masks))]
            columns = [f.advance(b, self.dtype, first) for first in firsts]
        else:
            columns = [f.advance(b, self.dtype, f.add(column, j * self.lanes)) for j in range(len(masks))]
        along = self.f.kernel.accesses[0].strides[self.axis_n]
        if along:
            a = f.advance(a, self.dtype, f.mul(along, column))
        self._fetch_ahead(point, column, masks, extents)
        zeros = [f.builder(self.lanes).const(0, self.dtype).ref] * (len(offsets) * len(masks))
        chain = self._chain(offsets, masks, along, extents)
        chain.fetching = self._fetching(point, column, masks, extents, written)
        if self.waiting is not None:
            slots = self._waiting_slots(pointers[3], extents, len(masks))
            totals = chain.sums(a, columns, span, self._resumed(slots, flags[2], zeros))
            with f.when(flags[3]):
                self._finish(point, pointers, flags, column, masks, extents, written, totals)
            with f.when(f.let(f"xor i1 {flags[3]}, true")):
                self._interrupt(slots, extents, written, totals)
            return
        if self.tiling.blocks != "inside":
            totals = chain.sums(a, columns, span, zeros)
            self._finish(point, pointers, flags, column, masks, extents, written, totals)
            return
        with self._each_block([a, *columns]) as (moved, here, inside):
            totals = chain.sums(moved[0], moved[1:], here, zeros)
            for number, total in enumerate(totals):
                slot = self._on_stack(number)
                before = f.let(f"load {self.vector}, ptr {slot}, align {self._bytes()}")
                both = f.builder(self.lanes).add(Value(before, self.dtype), Value(total, self.dtype)).ref
                kept = f.let(f"select i1 {inside[0]}, {self.vector} {total}, {self.vector} {both}")
                f.line(f"store {self.vector} {kept}, ptr {slot}, align {self._bytes()}")
        self._rows(point, None, None, column, masks, extents, written)

    def _waiting_slots(self, waiting: str, extents: list[int], width: int) -> list[str]:
        """Where the sums of a tile wait for the next piece of their chains."""
        places = itertools.product(*(range(n) for n in extents))
        firsts = [self._shift(3, place) for place in places]
        return [self.f.advance(waiting, self.dtype, first + j * self.lanes) for first in firsts for j in range(width)]

    def _resumed(self, slots: list[str], fresh: str, zeros: list[str]) -> list[str]:
        """The sums that wait, or zeros in the first piece of a chain."""
        f, kept = self.f, []
        for slot, zero in zip(slots, zeros):
            before = f.let(f"load {self.vector}, ptr {slot}, align {self.dtype.itemsize}")
            kept.append(f.let(f"select i1 {fresh}, {self.vector} {zero}, {self.vector} {before}"))
        return kept

    def _interrupt(self, slots: list[str], extents: list[int], written, totals: list[str]) -> None:
        """Leave the sums of a tile, those of the positions along axis 0 that are `written` only."""
        f, each = self.f, len(slots) // extents[0]
        for index in range(extents[0]):
            own = "true"
            if written is not None:
                begun, ended = (f.let(f"icmp sle i64 {bound}, {index}") for bound in written[1:])
                own = f.let(f"icmp ne i1 {begun}, {ended}")
            with f.when(own):
                for slot, total in list(zip(slots, totals))[index * each : (index + 1) * each]:
                    f.line(f"store {self.vector} {total}, ptr {slot}, align {self.dtype.itemsize}")

    def _chain(self, offsets: list[int], masks: list[str | None], along: int, extents: list[int]) -> Chain:
        places = itertools.product(*(range(n) for n in extents))
        others = [sum(index * self._static(1, axis) for axis, index in enumerate(place)) for place in places]
        kind = DealtChains if self.tiling.blocks == "dealt" else Chain
        return kind(self, offsets, masks, along, others)

    def _fetching(self, point: Point, column: Int, masks, extents: list[int], written) -> Fetching | None:
        """What to ask for beside the terms of a tile: only of matrices, whose chains have terms enough."""
        tiling, body = self.tiling, self.f.kernel.body
        if written is None or len(tiling.reduced) > 1 or tiling.blocks not in ("one", "inside") or tiling.across:
            return None
        corner = point.moved(0, written[0], body).moved(self.axis_n, column, body)
        found = Fetching(self, corner, extents[0], len(masks))
        return found if found.accesses else None

    def _fetch_ahead(self, point: Point, column: Int, masks: list[str | None], extents: list[int]) -> None:
        """Ask for memory that will be needed: none, as the processor foresees what tiles of a matrix touch."""

    def _static(self, access: int, axis: int) -> int:
        return self.f.kernel.accesses[access].strides[axis]

    def _shift(self, access: int, place: Sequence[int]) -> int:
        """Elements from the first position of a tile to another."""
        return sum(index * self._static(access, axis) for axis, index in enumerate(place))

    def _bytes(self) -> int:
        return self.dtype.itemsize * self.lanes

    def _on_stack(self, number: int) -> str:
        return self.f.advance("%tile", self.dtype, number * self.lanes)

    def _finish(self, point, pointers, flags, column, masks, extents, written, totals) -> None:
        """The written part of a tile through partial sums and epilogue to memory."""
        f, body = self.f, self.f.kernel.body
        if self.partial is None and not self._is_light(body, len(totals)):
            self._through_stack(point, pointers, flags, column, masks, extents, written, totals)
            return
        if written is None:
            self._direct(point, pointers, flags, column, masks, extents, None, totals)
        else:
            top, begin, end = written
            whole = f.let(f"and i1 {f.let(f'icmp eq i64 {begin}, 0')}, {f.let(f'icmp eq i64 {end}, {extents[0]}')}")
            with f.when(whole):
                self._direct(point, pointers, flags, column, masks, extents, top, totals)
            with f.when(f.let(f"xor i1 {whole}, true")):
                self._through_stack(point, pointers, flags, column, masks, extents, written, totals)

    def _direct(self, point, pointers, flags, column, masks, extents, top, totals) -> None:
        """A whole tile from registers to memory; where there are partial sums, there are two blocks at least."""
        f, body = self.f, self.f.kernel.body
        if top is not None:
            point = point.moved(0, top, body)
        places = list(itertools.product(*(range(n) for n in extents)))
        if self.partial is None:
            self._light_epilogue(point, column, masks, places, totals)
            return
        lines = [f.advance(pointers[2], self.dtype, self._shift(2, place)) for place in places]
        kept = [f.advance(p, self.dtype, f.add(column, j * self.lanes)) for p in lines for j in range(len(masks))]
        every = masks * len(places)

        def keep(sums: Sequence[str]) -> None:
            for pointer, total, mask in zip(kept, sums, every):
                f.store(Value(total, self.dtype), pointer, 1, self.lanes, mask)

        with f.when(flags[0]):
            keep(totals)
        with f.when(f.let(f"xor i1 {flags[0]}, true")):
            sums = []
            for pointer, total, mask in zip(kept, totals, every):
                before = f.load(pointer, self.dtype, 1, self.lanes, mask)
                sums.append(f.builder(self.lanes).add(before, Value(total, self.dtype)).ref)
            light = self._is_light(body, len(totals))
            with f.when(f.let(f"xor i1 {flags[1]}, true") if light else "true"):
                keep(sums)
            with f.when(flags[1]):
                if light:
                    self._light_epilogue(point, column, masks, places, sums)
                else:
                    whole = None if top is None else (0, 0, extents[0])
                    self._rows(point, pointers, flags, column, masks, extents, whole)

    def _is_light(self, body: Body, vectors: int) -> bool:
        """Whether the epilogue is short enough to be written out for every vector of a tile."""
        if any(self._static(access, self.axis_n) != 1 for _, access in body.stores):
            return False
        kinds = [i[0] for i in body.code]
        hard = any(i[0] == "op" and i[1].name in TRANSCENDENTAL for i in body.code)
        simple = all(kind in ("load", "scalar", "const", "index", "op", "anchor") for kind in kinds)
        return simple and not hard and kinds.count("op") * vectors <= LIGHT

    def _light_epilogue(self, point: Point, column: Int, masks, places, totals: list[str]) -> None:
        """The epilogue on registers; what is the same for all positions of the tile once for each column."""
        f, body = self.f, self.f.kernel.body
        code = BodyCode(f, body, self.axis_n)
        fixed = self._same_everywhere(body, places)
        alike, columns = self._alike(code, point, fixed), []
        for j, mask in enumerate(masks):
            there = point.moved(self.axis_n, f.add(column, j * self.lanes), body)
            there.mask = mask
            values = dict(alike)
            for number, instruction in enumerate(body.code):
                if fixed[number] and number not in values:
                    values[number] = code._emit(instruction, there, values)
            columns.append(values)
        for number, place in enumerate(places):
            here = point
            for axis, index in enumerate(place):
                if index:
                    here = here.moved(axis, index, body)
            own = {n: v for n, v in self._alike(code, here, [True] * len(body.code), alike).items() if n not in alike}
            for j, mask in enumerate(masks):
                there = here.moved(self.axis_n, f.add(column, j * self.lanes), body)
                there.mask = mask
                code.outside = columns[j] | own
                code.run(there, Value(totals[number * len(masks) + j], self.dtype))

    def _same_everywhere(self, body: Body, places: Sequence[Sequence[int]]) -> list[bool]:
        """For every instruction, whether it gives the same at all positions of a tile."""
        moving = [axis for axis in range(self.axis_n) if any(place[axis] for place in places)]
        result: list[bool] = []
        for instruction in body.code:
            kind = instruction[0]
            if kind in ("load", "index"):
                result.append(not any(self._static(instruction[1], axis) for axis in moving))
            elif kind == "op":
                result.append(all(result[n] for n in instruction[2]))
            else:
                result.append(kind != "anchor")
        return result

    def _alike(self, code: BodyCode, point: Point, wanted: list[bool], known: dict[int, Value] | None = None):
        """Values that are the same in all lanes, of the wanted instructions."""
        values = dict(known or {})
        for number, instruction in enumerate(code.body.code):
            if code.invariant[number] and wanted[number] and number not in values:
                values[number] = code._emit(instruction, point, values)
        return values

    def _accumulate(self, pointer: str, total: str, mask: str | None, flags) -> None:
        f = self.f
        before = f.load(pointer, self.dtype, 1, self.lanes, mask)
        both = f.builder(self.lanes).add(before, Value(total, self.dtype)).ref
        kept = f.let(f"select i1 {flags[0]}, {self.vector} {total}, {self.vector} {both}")
        f.store(Value(kept, self.dtype), pointer, 1, self.lanes, mask)

    def _through_stack(self, point, pointers, flags, column, masks, extents, written, totals) -> None:
        for number, total in enumerate(totals):
            f_place = self._on_stack(number)
            self.f.line(f"store {self.vector} {total}, ptr {f_place}, align {self._bytes()}")
        self._rows(point, pointers if self.partial is not None else None, flags, column, masks, extents, written, True)

    def _rows(self, point, pointers, flags, column, masks, extents, written, fresh: bool = False) -> None:
        """Each position of a tile, in loops, from the stack (`fresh`) or from the partial sums, to the epilogue."""
        f, body = self.f, self.f.kernel.body

        def nest(axis: int, here: Point, number: Int, partial: str | None) -> None:
            if axis == self.axis_n:
                self._row(here, number, partial, flags, column, masks, fresh)
                return
            inner = math.prod(extents[axis + 1 :])

            def at(index: Int) -> None:
                base = f.add(written[0], index) if axis == 0 and written is not None else index
                moved = None
                if partial is not None:
                    moved = f.advance(partial, self.dtype, f.mul(self._static(2, axis), index))
                nest(axis + 1, here.moved(axis, base, body), f.add(number, f.mul(index, inner)), moved)

            if axis == 0 and written is not None:
                with f.loop(written[1], written[2]) as loop:
                    at(loop.index)
            elif extents[axis] == 1:
                at(0)
            else:
                with f.loop(0, extents[axis]) as loop:
                    at(loop.index)

        nest(0, point, 0, None if pointers is None else pointers[2])

    def _row(self, row: Point, number: Int, partial: str | None, flags, column, masks, fresh: bool) -> None:
        f, body, lanes = self.f, self.f.kernel.body, self.lanes
        line = f.advance("%tile", self.dtype, f.mul(number, len(masks) * lanes))

        def at(j: int) -> None:
            there = row.moved(self.axis_n, f.add(column, j * lanes), body)
            there.mask = mask = masks[j]
            if partial is None or fresh:
                place = f.advance(line, self.dtype, j * lanes)
                raw = f.let(f"load {self.vector}, ptr {place}, align {self._bytes()}")
            if partial is None:
                self._epilogue(row, there, Value(raw, self.dtype))
                return
            pointer = f.advance(partial, self.dtype, f.add(column, j * lanes))
            if fresh:
                self._accumulate(pointer, raw, mask, flags)
                with f.when(flags[1]):
                    self._epilogue(row, there, f.load(pointer, self.dtype, 1, lanes, mask))
            else:
                self._epilogue(row, there, f.load(pointer, self.dtype, 1, lanes, mask))

        together = TOGETHER if f.target.vector_bits < 512 else 1
        for first in range(0, len(masks), together):
            f.side_by_side([functools.partial(at, j) for j in range(first, min(first + together, len(masks)))])

    def _epilogue(self, row: Point, point: Point, anchor: Value) -> None:
        code = BodyCode(self.f, self.f.kernel.body, self.axis_n)
        code.hoist(row)
        code.run(point, anchor)


def emit_nest(f: Function) -> None:
    """A contraction kernel (see `Nest`)."""
    Nest(f).emit()
