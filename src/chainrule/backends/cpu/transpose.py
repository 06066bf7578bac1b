"""Maps in square blocks: operands that are contiguous along another axis than the vectors are transposed in registers.

A block is as many vectors as a vector has lanes. Operands that lie across are loaded as vectors along their own axis
and transposed, results that lie across are transposed before they are stored; the body runs on each row of the block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from ...compiler.kernel import LANES
from ...dtypes import DType
from ..base import Value
from . import half
from .bodies import BodyCode, Point
from .emit import LINE, Function, Int, always_masked, memory_type
from .loops import axis_range, body_dtypes

#: instructions of a body up to which the rows of a block are unrolled and stay in registers
UNROLLED = 4
#: rows and columns of a square of blocks, where operands are beyond the second-level cache, and where results go past
#: it; bytes of an operand that is beyond
SIDE, FAR_SIDE, PAST_SIDE, FAR = 32, 128, 512, 512 << 10
#: columns of a strip of blocks that share lines, where columns fall into few sets of the nearest cache, and where
#: results go past it
STRIP, CROWDED, LINES = 256, 64, 32
#: bytes from column to column, or a multiple, with which they do
SETS = 2048


def emit_blocks(f: Function) -> None:
    """A map with ``static = ("blocks", axis, accesses that are contiguous along it)``."""
    _Blocks(f).emit()


class _Blocks:
    def __init__(self, f: Function):
        kernel = f.kernel
        self.f, self.body = f, kernel.body
        _, self.across, turned = kernel.static
        self.along = kernel.vector
        self.dtypes = body_dtypes(kernel, kernel.body)
        self.loads = [n for n, i in enumerate(kernel.body.code) if i[0] == "load" and i[1] in turned]
        self.stores = [place for place in kernel.body.stores if place[1] in turned]
        widest = max(a.dtype.itemsize for a in kernel.accesses)
        self.lanes = min(LANES, max(f.target.vector_bits // (8 * widest), 4))
        self.short = len(kernel.body.code) <= UNROLLED
        self._scratch: dict[DType, list[str]] = {}
        #: results whose whole blocks are written past the caches
        self.past = set() if not self.short or self.lanes < LANES else f.may_go_past() - set(turned)
        self.aligned = f.begin_lines(sorted(self.past)) if self.past else ""

    def emit(self) -> None:
        axes = [a for a in range(len(self.f.kernel.sizes)) if a not in (self.across, self.along)]

        def nest(depth: int, point: Point) -> None:
            if depth < len(axes):
                with self.f.loop(*axis_range(self.f, axes[depth])) as loop:
                    nest(depth + 1, point.moved(axes[depth], loop.index, self.body))
                return
            self._plane(point)

        nest(0, Point.start(self.f, self.body, self.lanes))
        if self.past:
            self.f.fence()

    def _plane(self, point: Point) -> None:
        """All blocks of the two axes."""
        f, lanes = self.f, self.lanes
        rows, columns = axis_range(f, self.across), axis_range(f, self.along)
        if all(isinstance(n, int) for n in (*rows, *columns)):
            for width, within in self._parts(columns):
                for height, down in self._parts(rows):
                    with self._places(down, within) as (row, column):
                        self._block(point, row, height, column, width)
            return
        with self._places(rows, columns) as (row, column):
            high, wide = (f.minimum(f.sub(end, here), lanes) for end, here in ((rows[1], row), (columns[1], column)))
            whole = f.let(f"icmp eq i64 {f.add(wide, high)}, {2 * lanes}")
            with f.when(whole):
                self._block(point, row, lanes, column, lanes)
            with f.when(f.let(f"xor i1 {whole}, true")):
                if always_masked(f):
                    self._picked(point, row, high, column, wide)
                else:
                    self._block(point, row, high, column, wide)

    def _picked(self, point: Point, row: Int, height: Int, column: Int, width: Int) -> None:
        """A block at the edge whose elements are picked one by one: slower than transposing it, and little code."""
        f = self.f
        corner, code = point.moved(self.along, column, self.body), BodyCode(f, self.body, self.along)
        mask = f.mask(width, self.lanes)
        with f.loop(0, height) as loop:
            here = corner.moved(self.across, f.add(row, loop.index), self.body)
            here.mask = mask
            code.hoist(here)
            code.run(here)

    @contextmanager
    def _places(self, rows: tuple[Int, Int], columns: tuple[Int, Int]) -> Iterator[tuple[Int, Int]]:
        """Where the blocks of some rows and columns begin, in an order in which the nearest cache keeps up.

        The lines of blocks one below or beside the other fall into few of its sets. So squares of blocks are walked
        along their diagonals. Where they share lines that are far away they follow one another along strips.
        """
        f, lanes = self.f, self.lanes
        side = self._side()
        if not side:
            width = LINES if self.past else CROWDED if self._crowded() else STRIP
            with f.loop(*columns, width) as strip:
                stop = f.minimum(f.add(strip.index, width), columns[1])
                with f.loop(*rows, lanes) as outer, f.loop(strip.index, stop, lanes) as inner:
                    yield outer.index, inner.index
            return
        with f.loop(*rows, side) as down, f.loop(*columns, side) as along:
            bottom = f.minimum(f.add(down.index, side), rows[1])
            end = f.minimum(f.add(along.index, side), columns[1])
            with (
                f.loop(along.index, end, lanes) as first,
                f.loop(down.index, bottom, lanes, [("i64", first.index)]) as diagonal,
            ):
                (column,) = diagonal.values
                following = f.add(column, lanes)
                over = f.let(f"icmp sge i64 {following}, {end}")
                diagonal.next = [f.let(f"select i1 {over}, i64 {along.index}, i64 {following}")]
                yield diagonal.index, column

    def _side(self) -> int:
        """Rows and columns of a square; 0 where blocks share lines that are beyond the second-level cache."""
        kernel = self.f.kernel
        size, wide, whole = 0, True, True
        for access in kernel.accesses if kernel.baked else ():
            bytes_of = [abs(stride) * access.dtype.itemsize for stride in access.strides]
            wide &= self.lanes * access.dtype.itemsize >= LINE
            whole &= not any(n % LINE for n in bytes_of if n >= LINE)
            size = max(size, *(extent * n for extent, n in zip(kernel.sizes[1:], bytes_of[1:])))
        if self.past:
            return PAST_SIDE if whole else 0
        if size < FAR:
            return SIDE if wide or whole else 0
        return FAR_SIDE if wide and whole else 0

    def _crowded(self) -> bool:
        """Whether the columns of an operand that lies across drive one another out of the nearest cache."""
        kernel = self.f.kernel
        accesses = [kernel.accesses[self.body.code[n][1]] for n in self.loads]
        return kernel.baked and any(a.strides[self.along] * a.dtype.itemsize % SETS == 0 for a in accesses)

    def _parts(self, bounds: tuple[Int, Int]) -> list[tuple[int, tuple[int, int]]]:
        """Extents of blocks, and what they cover: whole blocks, and the rest."""
        begin, end = bounds
        assert isinstance(begin, int) and isinstance(end, int)
        full = begin + (end - begin) // self.lanes * self.lanes
        parts = [(self.lanes, (begin, full)), (end - full, (full, end))]
        return [part for part in parts if part[1][0] != part[1][1]]

    def _block(self, point: Point, row: Int, height: Int, column: Int, width: Int) -> None:
        """`height` rows (along `across`) of `width` lanes (along the vectors)."""
        f, lanes = self.f, self.lanes
        corner = point.moved(self.along, column, self.body)
        start = corner.moved(self.across, row, self.body)
        given = {n: self._load(n, start, height, width) for n in self.loads}
        mask = None if width == lanes else f.mask(width, lanes)
        if self.short and isinstance(height, int):
            found: list[dict[int, str]] = []
            past = self.past if height == width == lanes else set[int]()
            held: dict[int, list[tuple[str, str]]] = {access: [] for access in sorted(past)}
            for r in range(height):
                here = corner.moved(self.across, f.add(row, r), self.body)
                found.append(self._row(here, mask, {n: rows[r] for n, rows in given.items()}, held))
            for access, vectors in held.items():
                self._stream(access, vectors)
            for value, access in self.stores:
                rows = [found[min(r, height - 1)][value] for r in range(lanes)]
                self._store(access, start, rows, height, width)
            return
        used: dict[DType, int] = {}
        kept = {n: self._memory(self.dtypes[n], used) for n in self.loads}
        for n, rows in given.items():
            for r in range(lanes):
                f.line(f"store {self._raw(n)} {rows[r]}, ptr {self._slot(kept[n], n, r)}, align 64")
        results = {value: self._memory(self.dtypes[value], used) for value, _ in self.stores}
        with f.loop(0, height) as loop:
            here = corner.moved(self.across, f.add(row, loop.index), self.body)
            rows_here = {
                n: f.let(f"load {self._raw(n)}, ptr {self._slot(place, n, loop.index)}, align 64")
                for n, place in kept.items()
            }
            values = self._row(here, mask, rows_here)
            for value, place in results.items():
                slot = self._slot(place, value, loop.index)
                f.line(f"store {self._raw(value)} {values[value]}, ptr {slot}, align 64")
        for value, access in self.stores:
            rows = [
                f.let(f"load {self._raw(value)}, ptr {self._slot(results[value], value, r)}, align 64")
                for r in range(lanes)
            ]
            self._store(access, start, rows, height, width)

    def _stream(self, access: int, vectors: list[tuple[str, str]]) -> None:
        """Write vectors to their places, past the caches if these begin with cache lines."""
        f = self.f
        kind = f"<{self.lanes} x {memory_type(f.kernel.accesses[access].dtype)}>"

        def write(end: str) -> list[str]:
            for vector, place in vectors:
                f.line(f"store {kind} {vector}, ptr {place}, {end}")
            return []

        f.declarations.add("!0 = !{i32 1}")
        f.either(self.aligned, kind, lambda: write("align 64, !nontemporal !0"), lambda: write("align 4"))

    def _row(
        self,
        here: Point,
        mask: str | None,
        raw: dict[int, str],
        held: Mapping[int, list[tuple[str, str]]] = MappingProxyType({}),
    ) -> dict[int, str]:
        """Run the body on a row, with the raw elements of the operands that lie across; those of such results.

        Results that are `held` back are added there, with their places.
        """
        f = self.f
        here.mask = mask
        code = BodyCode(f, self.body, self.along)
        code.hoist(here)
        given = {n: Value(f.from_memory(r, self.dtypes[n], self.lanes), self.dtypes[n]) for n, r in raw.items()}
        values = code.run(here, given=given, skip={*held, *(access for _, access in self.stores)})
        for value, access in self.body.stores:
            if access in held:
                held[access].append((self._to_memory(values[value]), here.pointer(access)))
        return {value: self._to_memory(values[value]) for value, _ in self.stores}

    def _to_memory(self, value: Value) -> str:
        f, lanes, dtype = self.f, self.lanes, value.dtype
        if dtype.kind == "b":
            return f.let(f"zext <{lanes} x i1> {value.ref} to <{lanes} x i8>")
        return half.to_memory(f.builder(lanes), value) if dtype.is_half else value.ref

    # --- memory -----------------------------------------------------------------------------------

    def _raw(self, value: int) -> str:
        return f"<{self.lanes} x {memory_type(self.dtypes[value])}>"

    def _memory(self, dtype: DType, used: dict[DType, int]) -> str:
        """A block on the stack; `used` counts those of the same dtype that are in use."""
        made = self._scratch.setdefault(dtype, [])
        number = used.get(dtype, 0)
        used[dtype] = number + 1
        if number == len(made):
            name = f"%scratch_{dtype.name}_{number}"
            size = f"[{self.lanes * self._pitch(dtype)} x i8]"
            self.f.entry.append(f"  {name} = alloca {size}, align 64")
            made.append(name)
        return made[number]

    def _pitch(self, dtype: DType) -> int:
        """Bytes from row to row of a block on the stack."""
        return max(64, self.lanes * dtype.itemsize)

    def _slot(self, place: str, value: int, row: Int) -> str:
        f = self.f
        return f.let(f"getelementptr i8, ptr {place}, i64 {f.mul(row, self._pitch(self.dtypes[value]))}", "p")

    def _lines(self, access: int, start: Point, width: Int) -> list[str]:
        """Where the vectors of a block of an operand that lies across begin; those beyond `width` repeat the last."""
        f = self.f
        pointer, dtype = start.pointer(access), f.kernel.accesses[access].dtype
        stride = f.stride(access, self.along)
        count = width if isinstance(width, int) else self.lanes
        last = None if isinstance(width, int) else f.sub(width, 1)
        steps = [c if last is None or c == 0 else f.minimum(c, last) for c in range(count)]
        return [f.advance(pointer, dtype, f.mul(stride, step)) for step in steps]

    def _load(self, number: int, start: Point, height: Int, width: Int) -> list[str]:
        """The rows of a block of an operand that lies across."""
        f, lanes = self.f, self.lanes
        access = self.body.code[number][1]
        dtype = f.kernel.accesses[access].dtype
        mask = None if height == lanes else f.mask(height, lanes)
        vectors = [f.load_raw(line, dtype, lanes, mask) for line in self._lines(access, start, width)]
        vectors += ["poison"] * (lanes - len(vectors))
        return transposed(f, vectors, memory_type(dtype), dtype.itemsize)

    def _store(self, access: int, start: Point, rows: list[str], height: Int, width: Int) -> None:
        f, lanes = self.f, self.lanes
        dtype = f.kernel.accesses[access].dtype
        columns = transposed(f, rows, memory_type(dtype), dtype.itemsize)
        mask = None if height == lanes else f.mask(height, lanes)
        # from the last to the first: those beyond `width` go where the last column is written after them
        for line, column in reversed(list(zip(self._lines(access, start, width), columns))):
            f.store_raw(column, line, dtype, lanes, mask)


def transposed(f: Function, rows: list[str], element: str, itemsize: int) -> list[str]:
    """The transpose of a square block held in vectors, by exchanges within 16 bytes, then of 16 bytes.

    Interleaving vectors i and i + n/2 of a group of n, log2(n) times, transposes blocks of n by n elements.
    """
    size = len(rows)
    vector = f"<{size} x {element}>"

    def shuffled(a: str, b: str, picked: list[int]) -> str:
        lanes = ", ".join(f"i32 {lane}" for lane in picked)
        return f.let(f"shufflevector {vector} {a}, {vector} {b}, <{size} x i32> <{lanes}>")

    inside = min(max(16 // itemsize, 1), size)
    halves = [
        [g * inside + h * inside // 2 + n // 2 + n % 2 * size for g in range(size // inside) for n in range(inside)]
        for h in range(2)
    ]
    for _ in range(round(math.log2(inside))):
        turned = []
        for g in range(0, size, inside):
            for i in range(g, g + inside // 2):
                turned += [shuffled(rows[i], rows[i + inside // 2], picked) for picked in halves]
        rows = turned
    pieces = size // inside
    result = [""] * size
    for j in range(inside):
        groups = [([rows[g * inside + j] for g in range(pieces)], list(range(pieces)))]
        while len(groups[0][0]) > 1:
            halved = []
            for vectors, labels in groups:
                for h in range(2):
                    picked = [p * inside + n for p in range(h, 2 * pieces, 2) for n in range(inside)]
                    pairs = zip(vectors[::2], vectors[1::2])
                    halved.append(([shuffled(a, b, picked) for a, b in pairs], labels[h::2]))
            groups = halved
        for (column,), (label,) in groups:
            result[label * inside + j] = column
    return result
