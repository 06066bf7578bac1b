"""From groups of items to kernels over buffers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..dtypes import DType
from . import pairs
from .blocks import in_blocks
from .canonical import CONVOLUTIONS, Canonical, Item
from .convolutions import lower_convolution
from .elements import Bodies, shift_accesses
from .folding import lower_fold
from .grouping import Group, Grouping, tree_of
from .kernel import FIRST_BUFFER, SHORT_REDUCTION, Access, Body, Kernel, Tiles, has_partial_sums, summed_extents
from .recompute import recompute_late
from .sparse_lowering import lower_csr
from .tiling import tiling
from .trees import contraction_block
from .views import Layout, View, Views, collapse, contiguous

#: bytes of a right operand from which on it is packed though its rows are contiguous, and rows on the left at least
LARGE_OPERAND, MANY_ROWS = 3 << 19, 256
#: elements of an operand from which on packing goes through transposed blocks
TRANSPOSED = 16384

#: columns that one thread adds up at least, where a scatter is shared along them
SCATTERED = 64


@dataclass(slots=True)
class Buffer:
    """Memory that a program uses: a leaf (`number` of the input), an output, or part of the arena."""

    number: int
    kind: str  # "leaf", "output" or "arena"; "entry": an address that changes inside a loop
    dtype: DType
    shape: tuple[int, ...]
    index: int = -1  # which leaf or output
    bytes: int = 0
    origin: int = 0  # serial of the node whose value it holds, 0 for copies in another layout


@dataclass(slots=True)
class Step:
    """One kernel (or host call) of the program with the buffers it touches.

    `rows`: extent of the leading logical axis of its results; `row_elements`: for every buffer of which row r of
    the work touches row r only, the number of elements of a row (else 0).
    """

    kernel: Kernel | None
    reads: set[int]
    writes: set[int]
    rows: int
    row_elements: dict[int, int]
    label: str
    host: tuple | None = None
    checks: list[tuple[int, str]] = field(default_factory=list)
    origin: tuple[int, ...] = ()  # serials of the nodes that it computes
    loop: Any = None  # a `Repetition`, for a step that is a loop
    late: bool = False  # whether it computes again what is needed late, and should not run before


def walking_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
    """The axes of `shape` in the order in which memory with these strides is walked; axis 0 stays the first."""
    return [*range(min(1, len(shape))), *sorted(range(1, len(shape)), key=lambda a: (-strides[a], a))]


#: kinds of groups that are lowered elsewhere
SPECIAL: dict[str, Callable[[Lowering, Group], None]] = {}


class Lowering:
    """Kernels of a canonical graph, in an order that respects dependencies."""

    def __init__(
        self,
        graph: Canonical,
        tiles: Tiles,
        baked: bool,
        around: Lowering | None = None,
        given: Mapping[int, View] | None = None,
        buffers: Mapping[int, Buffer] | None = None,
    ):
        """In a loop's region: the lowering around it, the views of leaves, and buffers that are there already."""
        self.graph = graph
        self.tiles = tiles
        self.baked = baked
        graph.relist(recompute_late(graph.items, graph.outputs))
        self.views = Views(graph.items, graph.outputs, given)
        self.grouping = Grouping(graph.items, self.views, graph.outputs, fuse_products=baked)
        self.buffers: list[Buffer] = [] if around is None else around.buffers
        self.own: set[int] = set()  # numbers of the buffers made here, not in a region around or inside
        self.steps: list[Step] = []
        self.checks: list[tuple[str, str]] = [] if around is None else around.checks
        self._buffer_of: dict[int, Buffer] = dict(buffers or {})
        self.packed: dict[tuple, int] = {}
        self.wide: dict[int, Item] = {}
        self._output_of = {item.index: n for n, item in enumerate(graph.outputs)}
        self.stored = self._stored()
        for group in self.grouping.live():
            first = len(self.steps)
            self._lower(group)
            made = [*group.prologue, *([group.anchor] if group.anchor is not None else []), *group.items]
            origin = tuple(item.node.serial for item in made if item.node is not None)
            for step in self.steps[first:]:
                step.origin = origin
                step.late = bool(made) and all(item.late for item in made)

    # --- buffers ----------------------------------------------------------------------------------

    def new_buffer(self, kind: str, dtype: DType, shape: tuple[int, ...], index: int = -1) -> Buffer:
        buffer = Buffer(FIRST_BUFFER + len(self.buffers), kind, dtype, shape, index)
        buffer.bytes = math.prod(shape) * dtype.itemsize
        self.buffers.append(buffer)
        self.own.add(buffer.number)
        return buffer

    def buffer(self, item: Item) -> Buffer:
        """The buffer of a leaf or of a stored item."""
        found = self._buffer_of.get(item.index)
        if found is None:
            whole = self.views.inside.get(item.index)
            if whole is not None:
                found = self._buffer_of[item.index] = self.buffer(whole)
                return found
            if item.kind == "leaf":
                found = self.new_buffer("leaf", item.dtype, item.shape, item.number)
            elif item.index in self._output_of:
                found = self.new_buffer("output", item.dtype, item.shape, self._output_of[item.index])
            else:
                layout = self.views.layouts.get(item.index)
                found = self.new_buffer("arena", item.dtype, item.shape if layout is None else layout.allocated())
                if layout is not None:
                    self._zero_border(found, layout)
            found.origin = item.node.serial if item.node is not None else 0
            self._buffer_of[item.index] = found
        return found

    def place(self, item: Item, view: View, buffer: Buffer) -> None:
        """Let the elements of a stored item lie elsewhere from now on."""
        self._buffer_of[item.index] = buffer
        self.views.move(item, view)

    def leaf_buffer(self, number: int) -> Buffer:
        """A buffer for leaf `number`, which no kernel reads."""
        node = self.graph.leaves[number]
        return self.new_buffer("leaf", node.dtype, node.shape, number)

    def check(self, what: str, item: Item) -> int:
        """Number of an index check; its text says what was indexed and where."""
        self.checks.append((what, item.node.location if item.node is not None else "<unknown>"))
        return len(self.checks) - 1

    def _stored(self) -> set[int]:
        """Items that are read outside the kernel that computes them, or returned."""
        stored = set(self._output_of)
        of, views = self.grouping.of, self.views
        for item in self.graph.items:
            group = of.get(item.index)
            if group is None:
                continue
            for operand in item.inputs:
                base = views[operand].base
                if of.get(base.index) is not group:
                    stored.add(base.index)
        for group in self.grouping.groups:
            if group is not None and group.kind in ("scatter", "csr", "assemble", "copy", "host", "weights"):
                assert group.anchor is not None
                stored.add(group.anchor.index)
        return stored

    # --- groups -----------------------------------------------------------------------------------

    def _lower(self, group: Group) -> None:
        if group.kind == "map":
            self._map(group.items, group.shape)
        elif group.kind == "reduce":
            self._reduce(group)
        elif group.anchor is not None and group.anchor.kind in CONVOLUTIONS:
            lower_convolution(self, group)
        elif group.kind == "bmm":
            if pairs.native(self, group):
                pairs.lower_pairs(self, group)
                return
            pairs.widen(self, group)
            self._contract(group) if self.baked else self._product(group)
        elif group.kind == "copy":
            self._copy(group)
        elif group.kind == "assemble":
            self._assemble(group)
        elif group.kind == "scatter":
            self._scatter(group)
        elif group.kind == "fold":
            lower_fold(self, group)
        elif group.kind == "csr":
            lower_csr(self, group)
        elif group.kind in SPECIAL:
            SPECIAL[group.kind](self, group)
        else:
            self._host(group)

    def label(self, items: list[Item]) -> str:
        return "+".join(item.kind for item in items if item.kind not in ("copy",)) or "copy"

    def add(self, kernel: Kernel, rows: int, label: str) -> None:
        """Append a kernel; works out which buffers it walks row by row."""
        reads: set[int] = set()
        writes: set[int] = set()
        stores = {a for _, a in kernel.body.stores} | {a for _, a in kernel.inner.stores}
        if kernel.kind == "scatter":
            stores, loads = {0}, {0, 1, 2}
        elif kernel.kind == "pack":
            stores, loads = {1}, {0}
        else:
            loads = {i[1] for b in (kernel.body, kernel.inner) for i in b.code if i[0] in ("load", "take")}
            loads |= {i[2] for b in (kernel.body, kernel.inner) for i in b.code if i[0] == "random"}
            if kernel.kind == "contract":
                loads |= {0, 1}
                if has_partial_sums(kernel):
                    stores = stores | {2}
        row_elements: dict[int, int] = {}
        kernel.scale = 1
        if rows and kernel.sizes[0] % rows == 0:
            kernel.scale = kernel.sizes[0] // rows
        else:
            rows = 0
        taken = {i[1] for b in (kernel.body, kernel.inner) for i in b.code if i[0] == "take"}
        for number, access in enumerate(kernel.accesses):
            if number not in loads and number not in stores:
                continue
            (writes if number in stores else reads).add(access.buffer)
            if number in loads:
                reads.add(access.buffer)
            elements = self._row_elements(kernel, access, rows) if rows and number not in taken else 0
            known = row_elements.get(access.buffer)
            row_elements[access.buffer] = elements if known is None or known == elements else 0
        kernel.label = label
        self.steps.append(Step(kernel, reads, writes, rows, row_elements, label))

    def _row_elements(self, kernel: Kernel, access: Access, rows: int) -> int:
        """Elements by which `access` moves for each row, if it stays inside the row's part of the buffer; else 0."""
        if access.buffer < FIRST_BUFFER:
            return 0
        buffer = self.buffers[access.buffer - FIRST_BUFFER]
        together = access.dtype.itemsize // buffer.dtype.itemsize  # 2 if an element of the access is a pair
        size = math.prod(buffer.shape) // max(together, 1)
        if size % rows:
            return 0
        row = size // rows
        if access.strides[0] * kernel.scale != row:
            return 0
        low = high = access.offset
        for axis, stride in enumerate(access.strides[: len(kernel.sizes)]):
            span = stride * ((kernel.scale if axis == 0 else kernel.sizes[axis]) - 1)
            low, high = low + min(span, 0), high + max(span, 0)
        if len(access.strides) > len(kernel.sizes):  # the summed axes of a contraction stay inside a row
            for extent, stride in zip(summed_extents(kernel), access.strides[len(kernel.sizes) :]):
                low, high = low + min(stride * (extent - 1), 0), high + max(stride * (extent - 1), 0)
        return row * max(together, 1) if low >= 0 and high < row else 0

    def _zero_border(self, buffer: Buffer, layout: Layout) -> None:
        """Write the zeros around an item, slab by slab; the code is the same for all shapes."""
        shape = list(layout.allocated())
        strides = contiguous(tuple(shape))
        offset = 0
        for place, axis in enumerate(layout.order):
            low, high = layout.low[axis], layout.high[axis]
            for first, width in ((0, low), (low + layout.shape[axis], high)):
                if width:
                    slab = (*shape[:place], width, *shape[place + 1 :])
                    bodies = Bodies(self, slab, [])
                    body = Body([("const", 0, buffer.dtype)])
                    body.stores.append(
                        (0, bodies.access(buffer.number, buffer.dtype, offset + first * strides[place], strides))
                    )
                    self.add_map(bodies, body, slab, "zeros", baked=False)
            shape[place] = layout.shape[axis]
            offset += low * strides[place]

    def _finish(self, kind: str, bodies: Bodies, body: Body, groups, vector: int, baked: bool) -> Kernel:
        """A kernel over collapsed axes."""
        shape = bodies.shape
        sizes = tuple(math.prod(shape[a] for a in group) for group in groups)
        accesses = [
            Access(a.buffer, a.dtype, a.offset, tuple(a.strides[group[-1]] for group in groups))
            for a in bodies.accesses
        ]
        return Kernel(kind, sizes, vector, accesses, body, extra=tuple(bodies.extra), baked=baked)

    def _map(self, items: list[Item], shape: tuple[int, ...]) -> None:
        if 0 in shape:
            return
        bodies = Bodies(self, shape, [])
        body, _ = bodies.body(items, None, list(range(len(shape))), self.stored)
        self.add_map(bodies, body, shape, self.label(items))

    def add_map(
        self, bodies: Bodies, body: Body, shape: tuple[int, ...], label: str, baked: bool | None = None
    ) -> None:
        baked = self.baked if baked is None else baked
        order = walking_order(shape, bodies.accesses[body.stores[0][1]].strides)
        strides = [tuple(a.strides[axis] for axis in order) for a in bodies.accesses]
        groups = collapse(tuple(shape[axis] for axis in order), strides, by_chance=baked)
        groups = [[order[place] for place in group] for group in groups]
        if not groups:
            accesses = [Access(a.buffer, a.dtype, a.offset, (0,)) for a in bodies.accesses]
            extra = tuple(bodies.extra)
            kernel = Kernel("map", (1,), 0, accesses, body, extra=extra, static=("scalar",), baked=baked)
        else:
            kernel = in_blocks(self._finish("map", bodies, body, groups, len(groups) - 1, baked))
        self.add(kernel, shape[0] if shape and shape[0] > 1 else 0, label)

    def _copy(self, group: Group) -> None:
        """Write the elements of a view, in the order of the operand's axes, into a buffer of their own."""
        item = group.anchor
        assert item is not None
        x = item.inputs[0]
        if 0 in x.shape:
            return
        self.write(x, x.shape, self.buffer(item), 0, contiguous(x.shape), label="reshape")

    # --- reductions -------------------------------------------------------------------------------

    def _reduce(self, group: Group) -> None:
        item = group.anchor
        assert item is not None
        x = item.inputs[0]
        axes = (item.op.axis,) if item.kind in ("argmax", "argmin") else item.op.axes  # type: ignore[union-attr]
        if math.prod(item.shape) == 0:
            if group.prologue and 0 not in x.shape:
                self._map(group.prologue, x.shape)
            return
        if group.prologue:
            if self._try_reduce(group, item, x, axes, group.prologue):
                return
            for inner in group.prologue:
                self.stored.add(inner.index)
            self._map(group.prologue, x.shape)
        if self._try_reduce(group, item, x, axes, []):
            return
        # The reduced axes do not lie one behind the other: reduce a copy in which they do.
        kept = [a for a in range(len(x.shape)) if a not in axes]
        lanes, _ = tree_of(item)
        order = kept + list(axes) if lanes > 1 else list(axes) + kept
        copy = Item("copy", None, (x,), tuple(x.shape[a] for a in order), x.dtype)
        copy.index = -2 - len(self._buffer_of)
        axis_of = [order.index(a) for a in range(len(order))]
        result = self.buffer(copy)
        self.write(x, copy.shape, result, 0, contiguous(copy.shape), axis_of, "permute")
        moved = tuple(order.index(a) for a in axes) if lanes > 1 else tuple(range(len(axes)))
        done = self._try_reduce(group, item, copy, moved, [], self.buffer(copy).number)
        assert done

    def _try_reduce(self, group, item: Item, x: Item, axes, prologue: list[Item], source=None) -> bool:
        """Emit the reduction if its reduced axes collapse to one; else leave nothing behind."""
        rank = len(x.shape)
        kept = [a for a in range(rank) if a not in axes]
        length = math.prod(x.shape[a] for a in axes)
        lanes, block = tree_of(item)
        bodies = Bodies(self, x.shape, [length, block])
        everywhere = list(range(rank))
        checks = len(self.checks)
        if prologue:
            inner, values = bodies.body(prologue, None, everywhere, self.stored)
            value = values[x.index]
        elif source is not None:
            inner, value = Body(), 0
            inner.code.append(("load", bodies.access(source, x.dtype, 0, contiguous(x.shape))))
        else:
            identity = Item("copy", None, (x,), x.shape, x.dtype)
            inner, values = bodies.body([identity], None, everywhere, set())
            value = values[identity.index]
        body, _ = bodies.body(group.items, item, kept, self.stored)
        first = next((bodies.accesses[i[1]].strides for i in inner.code if i[0] == "load"), (0,) * rank)
        walked = [a for a in walking_order(x.shape, first) if a in kept]
        kept_groups = self._collapsed(x.shape, bodies, walked)
        reduced_groups = self._collapsed(x.shape, bodies, sorted(axes)) or [[]]
        groups = (kept_groups or [[]]) + reduced_groups
        sizes = [math.prod(x.shape[a] for a in g) for g in groups]
        accesses = [
            Access(a.buffer, a.dtype, a.offset, tuple(a.strides[g[-1]] if g else 0 for g in groups))
            for a in bodies.accesses
        ]
        reduced = len(sizes) - len(reduced_groups)
        arg = item.kind.startswith("arg")
        vector = self._kept_vector(inner, accesses, reduced)
        if lanes > 1 and not arg:
            loads = [accesses[i[1]].strides for i in inner.code if i[0] == "load"]
            if not sum(s[vector] == 1 for s in loads) > sum(s[-1] == 1 for s in loads):
                vector = len(sizes) - 1
        if vector >= reduced and len(reduced_groups) > 1:
            del self.checks[checks:]
            return False
        short = self.baked and lanes == 1 and length <= SHORT_REDUCTION and not arg
        static = (item.kind, reduced, 1 if arg else lanes, short, value)
        kernel = Kernel("reduce", tuple(sizes), vector, accesses, body, inner, tuple(bodies.extra), static, self.baked)
        rows = x.shape[0] if kept and kept[0] == 0 and x.shape[0] > 1 else 0
        self.add(kernel, rows, self.label([*prologue, item, *group.items]))
        return True

    def _collapsed(self, shape: tuple[int, ...], bodies: Bodies, axes: list[int]) -> list[list[int]]:
        """Groups of `axes`, in that order, that all operands walk as one."""
        strides = [tuple(a.strides[axis] for axis in axes) for a in bodies.accesses]
        groups = collapse(tuple(shape[axis] for axis in axes), strides, by_chance=self.baked)
        return [[axes[place] for place in group] for group in groups]

    def _kept_vector(self, inner: Body, accesses: list[Access], reduced: int) -> int:
        """The kept axis along which most operands are contiguous, else the last."""
        loads = [accesses[i[1]] for i in inner.code if i[0] == "load"]
        score = [sum(a.strides[axis] == 1 for a in loads) for axis in range(reduced)]
        best = max(score)
        return max(axis for axis in range(reduced) if score[axis] == best)

    # --- contractions -----------------------------------------------------------------------------

    def _contract(self, group: Group) -> None:
        item = group.anchor
        assert item is not None
        a, b = item.inputs
        if 0 in item.shape:
            return
        batched = len(item.shape) == 3
        view_a, view_b = self.views[a], self.views[b]
        lead_a, lead_b = (view_a.strides[:1], view_b.strides[:1]) if batched else ((), ())
        m, n, k = item.shape[-2], item.shape[-1], a.shape[-1]
        a_m, a_k = view_a.strides[-2:]
        b_k, b_n = view_b.strides[-2:]
        itemsize = item.dtype.itemsize
        lanes = self.tiles.lanes(itemsize)
        swapped = a_m == 1 and m >= lanes and (n < lanes // 2 or (b_n != 1 and n < lanes)) and n < m
        if swapped:
            view_a, view_b, lead_a, lead_b = view_b, view_a, lead_b, lead_a
            m, n, a_m, a_k, b_k, b_n = n, m, b_n, b_k, a_k, a_m
        bodies = Bodies(self, item.shape, [k, k, contraction_block(k)])
        vectors = -(-n // lanes)
        packed = n > 1 and (b_n != 1 or (k * n * itemsize >= LARGE_OPERAND and m >= MANY_ROWS))
        source, offset_b, step = self.buffer(view_b.base).number, view_b.offset, 1
        if packed:
            source = self._pack(item.dtype, source, offset_b, lead_b, (b_k, b_n), k, n, lanes, item.shape)
            offset_b, b_k, step = 0, lanes, k * lanes
            lead_b = (vectors * k * lanes,) if batched else ()
        axes = (0, 1, 2) if batched else (0, 1)
        body, _ = bodies.body(group.items, item, list(axes), self.stored)
        if swapped:
            for access in bodies.accesses:
                access.strides = (*access.strides[:-2], access.strides[-1], access.strides[-2])
        operands = [
            Access(self.buffer(view_a.base).number, item.dtype, view_a.offset, (*lead_a, a_m, 0, a_k)),
            Access(source, item.dtype, offset_b, (*lead_b, 0, step, b_k)),
        ]
        sizes = (*item.shape[:-2], m, n)
        static = tiling(
            self.tiles.registers(), lanes, sizes[:-1], n, (k,), (0, contraction_block(k)), free=(len(sizes) - 2,),
            fixed=len(sizes) - 2, itemsize=itemsize, strided=a_k != 1, along=False, packed=packed,
        )  # fmt: skip
        if static.blocks == "outside":
            partial = self.new_buffer("arena", item.dtype, sizes)
            operands.append(Access(partial.number, item.dtype, 0, contiguous(sizes)))
        shift_accesses(body, len(operands))
        accesses = operands + bodies.accesses
        kernel = Kernel("contract", sizes, len(sizes) - 1, accesses, body, extra=tuple(bodies.extra), static=static)
        self.add(kernel, sizes[0] if sizes[0] > 1 else 0, self.label([item, *group.items]))

    def _product(self, group: Group) -> None:
        """A generic contraction: one function for every product, whose result is only stored."""
        item = group.anchor
        assert item is not None
        a, b = item.inputs
        if 0 in item.shape:
            return
        batched = len(item.shape) == 3
        view_a, view_b = self.views[a], self.views[b]
        n, k = item.shape[-1], a.shape[-1]
        lanes = self.tiles.lanes(item.dtype.itemsize)
        rows, panels = self.tiles.tile(item.dtype.itemsize, 0, item.shape[-2])
        b_k, b_n = view_b.strides[-2:]
        source, offset, lead, vector = self.buffer(view_b.base).number, view_b.offset, view_b.strides[:-2], lanes
        if b_n != 1 and n > 1:
            source = self._pack(item.dtype, source, offset, lead, (b_k, b_n), k, n, lanes, item.shape)
            vectors = -(-n // lanes)
            offset, vector, b_k = 0, k * lanes, lanes
            lead = (vectors * k * lanes,) if batched else ()
        a_m, a_k = view_a.strides[-2:]
        accesses = [
            Access(self.buffer(view_a.base).number, item.dtype, view_a.offset, (*view_a.strides[:-2], a_m, 0, a_k)),
            Access(source, item.dtype, offset, (*lead, 0, vector, b_k)),
            Access(self.buffer(item).number, item.dtype, self.views[item].offset, self.views[item].strides),
        ]
        static = (batched, lanes, rows, panels, True, True, 0)
        extra = (k, contraction_block(k))
        axis_n = len(item.shape) - 1
        kernel = Kernel("contract", item.shape, axis_n, accesses, Body(), extra=extra, static=static, baked=False)
        self.add(kernel, item.shape[0] if item.shape[0] > 1 else 0, "bmm")

    def _pack(self, dtype, source: int, offset: int, lead, strides, k: int, n: int, lanes: int, shape) -> int:
        """A kernel that copies b into panels of vectors, one for all products with b; returns the buffer's number."""
        key = (source, offset, lead, strides, k, n, lanes, shape[:-2])
        if key in self.packed:
            return self.packed[key]
        vectors = -(-n // lanes)
        outer = shape[:-2]
        packed = self.new_buffer("arena", dtype, (*outer, vectors, k, lanes))
        b_k, b_n = strides
        accesses = [
            Access(source, dtype, offset, (*lead, lanes * b_n, b_k, b_n)),
            Access(packed.number, dtype, 0, (*(vectors * k * lanes for _ in outer), k * lanes, lanes)),
        ]
        # Transposing blocks of registers is fast to run and slow to compile: for operands where it matters.
        blocks = b_k == 1 and n * k >= (TRANSPOSED if self.baked else 4 * TRANSPOSED)
        static = (bool(outer), lanes, blocks)
        sizes = (*outer, vectors, k)
        kernel = Kernel("pack", sizes, len(sizes), accesses, Body(), extra=(k, n), static=static, baked=self.baked)
        self.add(kernel, 0, "pack")
        self.packed[key] = packed.number
        return packed.number

    # --- assembly, scatter, host ------------------------------------------------------------------

    def _assemble(self, group: Group) -> None:
        item = group.anchor
        assert item is not None
        result = self.buffer(item)
        offset, whole = self.views[item].offset, self.views[item].strides
        if item.kind == "concat":
            axis = item.op.axis  # type: ignore[union-attr]
            for part in item.inputs:
                if self.views.inside.get(part.index) is not item:
                    self.write(part, part.shape, result, offset, whole)
                offset += part.shape[axis] * whole[axis]
            return
        x, fill = item.inputs
        op: object = item.op
        self.write(fill, item.shape, result, offset, whole, [])
        low, interior = op.low, op.interior  # type: ignore[attr-defined]
        offset += sum(first * stride for first, stride in zip(low, whole))
        self.write(x, x.shape, result, offset, tuple(s * (gap + 1) for s, gap in zip(whole, interior)))

    def write(self, x: Item, shape, result: Buffer, offset: int, strides, axes=None, label: str = "copy") -> None:
        """Copy `x` into a part of a buffer; axis i of `x` is ``axes[i]`` of the `shape` that is walked."""
        if 0 in shape:
            return
        bodies = Bodies(self, shape, [])
        source = Item("copy", None, (x,), x.shape, x.dtype)
        body, values = bodies.body([source], None, list(range(len(shape))) if axes is None else axes, set())
        target = bodies.access(result.number, x.dtype, offset, strides)
        body.stores.append((values[source.index], target))
        self.add_map(bodies, body, shape, label)

    def _scatter(self, group: Group) -> None:
        item = group.anchor
        assert item is not None
        x, indices, updates = item.inputs
        result = self.buffer(item)
        self.write(x, x.shape, result, 0, contiguous(x.shape))
        if 0 in updates.shape or 0 in x.shape:
            return
        axis = item.op.axis  # type: ignore[union-attr]
        before, behind = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        size = x.shape[axis]
        count = math.prod(updates.shape) // (before * behind)
        along = item.kind == "scatter_add_along"
        index_strides = (count * behind, behind, 1) if along else (0, 1, 0)
        accesses = [
            Access(result.number, x.dtype, 0, (size * behind, 0, 1)),
            Access(self.buffer(indices).number, indices.dtype, 0, index_strides),
            Access(self.buffer(updates).number, x.dtype, 0, (count * behind, behind, 1)),
        ]
        body = Body([("load", 0), ("load", 1), ("load", 2)])
        extra = (self.check(f"axis {axis}", item), size, behind)
        sizes = (before, count, behind)
        if before == 1 and not along and behind > SCATTERED and behind % SCATTERED == 0:
            # Nothing before the axis to share: threads take columns, and each walks all indices.
            sizes = (behind // SCATTERED, count, SCATTERED)
            for access in (accesses[0], accesses[2]):
                access.strides = (SCATTERED, *access.strides[1:])
        kernel = Kernel("scatter", sizes, 2, accesses, body, extra=extra, baked=self.baked)
        self.add(kernel, 0, item.kind)

    def _host(self, group: Group) -> None:
        item = group.anchor
        assert item is not None
        operands = [self.buffer(x) for x in item.inputs]
        result = self.buffer(item)
        where = "" if item.node is None else item.node.location
        call = (item.op, [b.number for b in operands], result.number, where)
        label = item.op.name  # type: ignore[union-attr]
        self.steps.append(Step(None, {b.number for b in operands}, {result.number}, 0, {}, label, call))
