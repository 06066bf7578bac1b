"""From groups of items to kernels over buffers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..dtypes import DType
from . import pairs
from .across import recompute_across
from .at_use import compute_at_use
from .attention import operand_shapes
from .attention_lowering import lower_attention
from .blocks import in_blocks
from .canonical import CONVOLUTIONS, Canonical, Item
from .convolutions import lower_convolution
from .elements import Bodies
from .folding import lower_fold
from .grouping import Group, Grouping
from .kernel import (
    FIRST_BUFFER,
    Access,
    Attention,
    Body,
    Kernel,
    Tiles,
    Tiling,
    has_windows,
    inside_windows,
    partial_sums,
    summed_extents,
)
from .products import lower_generic_product, lower_product, pack_operand
from .recompute import recompute_late
from .reductions import lower_reduction
from .sparse_lowering import lower_csr
from .strides import reshaped_strides, walking_order
from .views import Layout, View, Views, collapse, contiguous

#: columns that one thread adds up at least, where a scatter is shared along them
SCATTERED = 64
#: bytes of a table from which on a row to add to is not in the second-level cache, as a rule
LARGE_TABLE = 1 << 20


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
    late: bool = False  # whether it computes again, or copies, what is needed late, and should not run before
    checked: bool = False  # whether another step checks its indices before


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
        if around is None:  # else whoever gives views and buffers by number has done it before
            graph.relist(recompute_across(recompute_late(graph.items, graph.outputs), graph.outputs))
            if baked:
                graph.relist(compute_at_use(graph.items, graph.outputs))
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
                step.late = step.late or (bool(made) and all(item.late for item in made))

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
        of, views = self.grouping.of, self.views
        stored = {views[item].base.index for item in self.graph.outputs}
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
            self.add_elementwise(group.items, group.shape)
        elif group.kind == "reduce":
            lower_reduction(self, group)
        elif group.anchor is not None and group.anchor.kind in CONVOLUTIONS:
            lower_convolution(self, group)
        elif group.kind == "bmm":
            if pairs.native(self, group):
                pairs.lower_pairs(self, group)
                return
            pairs.widen(self, group)
            (lower_product if self.baked else lower_generic_product)(self, group)
        elif group.kind == "copy":
            self._copy(group)
        elif group.kind == "assemble":
            self._assemble(group)
        elif group.kind == "scatter":
            self._scatter(group)
        elif group.kind == "fold":
            lower_fold(self, group)
        elif group.kind == "attention":
            lower_attention(self, group)
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
                stores = stores | partial_sums(kernel)
                if isinstance(kernel.static, Tiling) and kernel.static.turned:
                    count = 2 + len(partial_sums(kernel))
                    stores, loads = stores | {0, 1}, loads | {count, count + 1}
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
        offset, sizes, strides = access.offset, list(kernel.sizes), access.strides
        if kernel.kind == "pack":  # the vectors of a copied operand overlap its end; what they hold of it does not
            if access is kernel.accesses[0]:
                strides = (strides[0], *strides[-2:])
                sizes[1:] = kernel.extra
        elif len(access.strides) > len(kernel.sizes):  # the summed axes of a contraction stay inside a row
            if isinstance(kernel.static, Attention):
                sizes += operand_shapes(kernel)[next(n for n, a in enumerate(kernel.accesses) if a is access)]
            else:
                sizes += summed_extents(kernel)
                static = kernel.static
                if access is kernel.accesses[1] and isinstance(static, Tiling) and static.packed:
                    sizes[len(kernel.sizes) - 1] = sum(static.panels)  # its stride of n is that of a whole vector
            if access is kernel.accesses[0] and has_windows(kernel):
                offset, sizes, strides = inside_windows(kernel)
        low = high = offset
        sizes[0] = kernel.scale
        for extent, stride in zip(sizes, strides):
            low, high = low + min(stride * (extent - 1), 0), high + max(stride * (extent - 1), 0)
        return row * max(together, 1) if low >= 0 and high < row else 0

    def _zero_border(self, buffer: Buffer, layout: Layout) -> None:
        """Write the zeros around an item: those before and behind its elements, and the gaps between; the code is the
        same for all shapes."""
        count, *extents = (layout.shape[axis] for axis in layout.order)
        whole, *strides = contiguous(layout.allocated())
        first = layout.offset()
        behind = first + 1 + sum((extent - 1) * stride for extent, stride in zip(extents, strides))
        slabs: list[tuple[int, tuple[int, ...], tuple[int, ...]]]
        slabs = [(0, (count, first), (whole, 1)), (behind, (count, whole - behind), (whole, 1))]
        if first == whole - behind:
            slabs = [(0, (count, 2, first), (whole, behind, 1))]
        for axis, (extent, stride) in enumerate(zip(extents, strides)):
            span = 1 + sum((n - 1) * step for n, step in zip(extents[axis + 1 :], strides[axis + 1 :]))
            gaps = (count, *extents[:axis], extent - 1, stride - span)
            slabs.append((first + span, gaps, (whole, *strides[: axis + 1], 1)))
        for start, slab, steps in slabs:
            if 0 not in slab:
                bodies = Bodies(self, slab, [])
                body = Body([("const", 0, buffer.dtype)])
                body.stores.append((0, bodies.access(buffer.number, buffer.dtype, start, steps)))
                self.add_map(bodies, body, slab, "zeros", baked=False)

    def _finish(self, kind: str, bodies: Bodies, body: Body, groups, vector: int, baked: bool) -> Kernel:
        """A kernel over collapsed axes."""
        shape = bodies.shape
        sizes = tuple(math.prod(shape[a] for a in group) for group in groups)
        accesses = [
            Access(a.buffer, a.dtype, a.offset, tuple(a.strides[group[-1]] for group in groups))
            for a in bodies.accesses
        ]
        return Kernel(kind, sizes, vector, accesses, body, extra=tuple(bodies.extra), baked=baked)

    def add_elementwise(self, items: list[Item], shape: tuple[int, ...]) -> None:
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
        """Write the elements of a view into a buffer of their own."""
        item = group.anchor
        assert item is not None
        x = item.inputs[0]
        if 0 in x.shape:
            return
        place = self.views[item]
        strides = reshaped_strides(x.shape, item.shape, place.strides)
        self.write(x, x.shape, self.buffer(item), place.offset, strides, label="reshape")

    def stays(self, source: int) -> bool:
        """Whether a buffer is read again and again with the same contents: by the iterations of a loop."""
        return False

    def pack(self, dtype: DType, source: int, *rest: Any) -> int:
        """The buffer of a right operand in panels of vectors (see `pack_operand`)."""
        return pack_operand(self, dtype, source, *rest)

    # --- assembly, scatter, host ------------------------------------------------------------------

    def _assemble(self, group: Group) -> None:
        item = group.anchor
        assert item is not None
        result = self.buffer(item)
        offset, whole = self.views[item].offset, self.views[item].strides
        if item.kind == "concat":
            axis = item.op.axis  # type: ignore[union-attr]
            for number, part in enumerate(item.inputs):
                if (item.index, number) not in self.views.placed:
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
        if self.baked and not along and behind > 1 and result.bytes >= LARGE_TABLE:
            kernel.ahead = (0,)
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
