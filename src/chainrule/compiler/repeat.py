"""Loops and choices lowered: the kernels of a region over buffers whose addresses may change from time to time.

What changes is an *entry* of the program's table of addresses: a slice of a stack, or where a carry is read and
written. The driver sets entries before the loop (`starts`) and after each iteration (`moves`); a move
``(entry, source, bytes)`` means ``table[entry] = table[source] + bytes``, so that stepping along a stack and handing a
carry on are the same thing.

A loop may have a condition, ``(entry, number)``: it goes on while the byte at the entry's address is not 0 (number -1),
or, of a region among several, it runs at all if the word there is its number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

from ..dtypes import DType
from ..graph.node import Node
from ..ops.control import ordered
from .canonical import Canonical, Item
from .elements import Bodies
from .grouping import Group
from .kernel import Body as KernelBody
from .lowering import SPECIAL, Buffer, Lowering, Step
from .recompute import recompute_late
from .regions import Chosen, Repeated
from .views import View, contiguous

Move = tuple[int, int, int]

#: iterations of a loop that ends when its condition fails
UNBOUNDED = 1 << 62


class Repetition:
    """A loop of a program: `count` times the steps of `body`. `workspace` holds what an iteration computes.

    `when` is a condition. `carried`: for each carry the entries where an iteration reads it, and where it writes the
    next one's. `schedule` is the body's, set when the program around it is scheduled, as is `apart`: whether threads
    take rows through all iterations.
    """

    def __init__(
        self,
        count: int,
        body: Lowering,
        starts: list[Move],
        moves: list[Move],
        workspace: Buffer,
        when: tuple[int, int] | None = None,
        carried: Sequence[tuple[int, int]] = (),
    ):
        self.count = count
        self.body = body
        self.starts = starts
        self.moves = moves
        self.workspace = workspace
        self.when = when
        self.carried = carried
        self.schedule: Any = None
        self.apart = False

    @property
    def endless(self) -> bool:
        """Whether nothing but its condition ends the loop."""
        return self.count == UNBOUNDED

    @property
    def times(self) -> int:
        """Iterations, counted as one where a condition decides."""
        return self.count if self.when is None else 1

    def rename(self, old: int, new: int) -> None:
        """Read buffer `new` instead of `old`."""
        self.starts = [(entry, new if source == old else source, step) for entry, source, step in self.starts]


class Body(Lowering):
    """The lowering of a region. What it packs of operands that stay the same is packed once, before the loop."""

    def __init__(
        self,
        around: Lowering,
        graph: Canonical,
        given: Mapping[int, View],
        buffers: Mapping[int, Buffer],
        constant: Set[int],
    ):
        self.around = around
        self.constant = constant  # numbers of the buffers that stay the same
        super().__init__(graph, around.tiles, around.baked, around, given, buffers)

    def stays(self, source: int) -> bool:
        """Whether a buffer is the same in all iterations."""
        return source in self.constant

    def pack(self, dtype: DType, source: int, *rest: Any) -> int:
        """What stays the same is packed before the loop."""
        return self.around.pack(dtype, source, *rest) if self.stays(source) else super().pack(dtype, source, *rest)


def lower_loop(outside: Lowering, group: Group) -> None:
    """The step of a loop, or those of a choice, and before it those that make its operands ready."""
    item = group.anchor
    assert item is not None
    if isinstance(item.value, Chosen):
        _Choice(outside, item).lower()
    else:
        _Loop(outside, item).lower()


class _Inside:
    """What loops and choices have in common: their inputs are buffers and numbers of the graph around them."""

    def __init__(self, outside: Lowering, item: Item):
        self.outside = outside
        self.item = item
        self.reads: set[int] = set()
        self.writes: set[int] = set()
        self.starts: list[Move] = []
        self.entries: dict[Node, Buffer] = {}
        self.views: dict[Node, tuple[int, tuple[int, ...]]] = {}
        self.bound: dict[Node, Item | None] = {}
        self.constant: set[int] = set()

    def _graph(self, outputs: Sequence[Node], inputs: Sequence[Node]) -> Canonical:
        """The items of a region, with the numbers that they keep."""
        graph = Canonical(ordered(outputs, inputs), outputs, self.bound, self.outside.tiles.pairs)
        graph.relist(recompute_late(graph.items, graph.outputs))
        return graph

    def _leaves(self, graph: Canonical) -> tuple[dict[int, View], dict[int, Buffer]]:
        """The views and buffers of the inputs that a region reads, by number of item."""
        given: dict[int, View] = {}
        buffers: dict[int, Buffer] = {}
        for leaf in graph.items:
            if leaf.kind == "leaf":
                assert leaf.node is not None
                buffers[leaf.index] = self.entries[leaf.node]
                if leaf.node in self.views:
                    given[leaf.index] = View(leaf, *self.views[leaf.node])
        return given, buffers

    def _workspace(self, dtype: Any) -> Buffer:
        return self.outside.new_buffer("arena", dtype, (0,))

    def _entry(self, node: Node) -> Buffer:
        return self.outside.new_buffer("entry", node.dtype, node.shape)

    def _number(self, operand: Item) -> bool:
        return operand.kind in ("full", "scalar")

    def _read(self, operand: Item) -> tuple[Buffer, int, tuple[int, ...]]:
        """The buffer of an operand, and where its elements lie in it."""
        view = self.outside.views[operand]
        if view.base.kind in ("full", "scalar", "iota"):
            buffer = self._copy(operand)
            return buffer, 0, contiguous(operand.shape)
        buffer = self.outside.buffer(view.base)
        self.reads.add(buffer.number)
        return buffer, view.offset, view.strides

    def _copy(self, operand: Item) -> Buffer:
        """A buffer with the elements of an operand in row-major order."""
        buffer = self.outside.new_buffer("arena", operand.dtype, operand.shape)
        self.outside.write(operand, operand.shape, buffer, 0, contiguous(operand.shape))
        self.reads.add(buffer.number)
        return buffer

    def _constant(self, node: Node, operand: Item) -> None:
        if self._number(operand):
            self.bound[node] = operand
            return
        buffer, offset, strides = self._read(operand)
        self.entries[node] = buffer
        self.constant.add(buffer.number)
        self._lies(node, offset, strides)

    def _lies(self, node: Node, offset: int, strides: tuple[int, ...]) -> None:
        if offset or not _is_contiguous(node.shape, strides):
            self.views[node] = (offset, strides)
            self.bound[node] = None

    def _used(self, kind: str, number: int) -> Buffer | None:
        """The buffer of a part of the results, None if nobody uses that."""
        for user in self.item.users:
            if user.kind == "part" and user.value == (kind, number) and user.index in self.outside.stored:
                return self.outside.buffer(user)
        return None

    def _part(self, kind: str, number: int, shape: tuple[int, ...], node: Node) -> Buffer:
        """The buffer of a part of the results; one of its own if nobody uses that."""
        buffer = self._used(kind, number) or self.outside.new_buffer("arena", node.dtype, shape)
        self.writes.add(buffer.number)
        return buffer


class _Choice(_Inside):
    """A choice is a step for each region: a loop of one iteration that runs if its number is the chosen one."""

    def lower(self) -> None:
        outside, chosen = self.outside, self.item.value
        branches, operands = chosen.branches, self.item.inputs
        buffer, offset, _ = self._read(operands[0])
        number = outside.new_buffer("entry", operands[0].dtype, ())
        self.starts.append((number.number, buffer.number, offset * operands[0].dtype.itemsize))
        for node, operand in zip(branches.inputs, operands[1:]):
            self._constant(node, operand)
        results = [self._part("final", i, branches.outputs[0][i].shape, branches.outputs[0][i]) for i in chosen.wanted]
        # what stays the same in a loop around this is packed once, before that
        constant = outside.constant if isinstance(outside, Body) else frozenset()
        count = len(branches.outputs)
        for place, outputs in enumerate(branches.outputs):
            nodes = [outputs[i] for i in chosen.wanted]
            graph = self._graph(nodes, branches.inputs)
            given, buffers = self._leaves(graph)
            for result, buffer in zip(graph.outputs, results):
                buffers[result.index] = buffer
            body = Body(outside, graph, given, buffers, constant)
            workspace = self._workspace(self.item.dtype)
            inside = {number for step in body.steps for number in step.reads}
            reads = self.reads | (inside - body.own)
            repetition = Repetition(1, body, list(self.starts), [], workspace, (number.number, place))
            label = f"branch {place} of {count}"
            outside.steps.append(Step(None, reads, {workspace.number} | self.writes, 0, {}, label, loop=repetition))


class _Loop(_Inside):
    def __init__(self, outside: Lowering, item: Item):
        super().__init__(outside, item)
        self.repeated: Repeated = item.value
        self.loop = self.repeated.loop
        self.moves: list[Move] = []
        self.carried: list[tuple[int, int]] = []
        #: of a loop that ends when its condition fails, for each carry where it is in the end, and all places it may be
        self.ends: list[tuple[int, Buffer, set[int]]] = []

    def lower(self) -> None:
        loop, repeated, outside = self.loop, self.repeated, self.outside
        first = len(loop.constants) + len(loop.carries)
        operands = self.item.inputs
        for node, operand in zip(loop.constants, operands):
            self._constant(node, operand)
        for node, operand in zip(loop.slices, operands[first:]):
            self._slice(node, operand)
        results: list[Buffer] = []
        for number, operand in enumerate(operands[len(loop.constants) : first]):
            results.append(self._carry(number, operand))
        for number in repeated.separate:
            results.append(self._stack(number))
        graph = self._graph(repeated.outputs, loop.inputs)
        given, buffers = self._leaves(graph)
        self._rounded(graph, buffers)
        for result, buffer in zip(graph.outputs, results):
            buffers[result.index] = buffer
        body = Body(outside, graph, given, buffers, self.constant)
        workspace = self._workspace(self.item.dtype)
        self.writes.add(workspace.number)
        inside = {number for step in body.steps for number in step.reads}
        self.reads |= inside - body.own - {b.number for b in self.entries.values()}
        count, label, when = loop.length or UNBOUNDED, f"loop of {loop.length}", None
        if not loop.length:
            label, when = "while loop", (self.ends[0][1].number, -1)
        repetition = Repetition(count, body, self.starts, self.moves, workspace, when, self.carried)
        outside.steps.append(Step(None, self.reads, self.writes, 0, {}, label, loop=repetition))
        for number, place, places in self.ends:
            self._take_out(number, place, places)

    def _rounded(self, graph: Canonical, buffers: dict[int, Buffer]) -> None:
        """Round what stays the same for products in lower precision once, before the loop."""
        constants, outside = set(self.loop.constants), self.outside
        for item in graph.items:
            if item.kind != "cast" or not item.dtype.is_half or item in graph.outputs:
                continue
            source = item.inputs[0]
            node = source.node
            if source.kind != "leaf" or node not in constants or 0 in item.shape:
                continue
            assert node is not None
            offset, strides = self.views.get(node, (0, contiguous(item.shape)))
            buffer = outside.new_buffer("arena", item.dtype, item.shape)
            bodies = Bodies(outside, item.shape, [])
            taken = bodies.access(self.entries[node].number, source.dtype, offset, strides)
            put = bodies.access(buffer.number, item.dtype, 0, contiguous(item.shape))
            code: list[tuple] = [("load", taken), ("op", item.op, (0,), item.dtype)]
            outside.add_map(bodies, KernelBody(code, [(1, put)]), item.shape, "cast")
            item.kind, item.inputs = "leaf", ()
            buffers[item.index] = buffer
            self.constant.add(buffer.number)
            self.reads.add(buffer.number)

    def _slice(self, node: Node, operand: Item) -> None:
        if self._number(operand):
            self.bound[node] = operand
            return
        buffer, offset, strides = self._read(operand)
        step = strides[0] * node.dtype.itemsize
        entry = self.entries[node] = self._entry(node)
        self._walk(entry, buffer, offset * node.dtype.itemsize, step, self.loop.length)
        self._lies(node, 0, strides[1:])

    def _walk(self, entry: Buffer, buffer: Buffer, offset: int, step: int, rows: int) -> None:
        """Let `entry` go along `rows` rows that lie `step` bytes apart, from the back in a reversed loop."""
        if self.loop.reverse:
            offset, step = offset + (rows - 1) * step, -step
        self.starts.append((entry.number, buffer.number, offset))
        if step:
            self.moves.append((entry.number, entry.number, step))

    def _carry(self, number: int, operand: Item) -> Buffer:
        """Decide where a carry is read and written; returns the entry where it is written."""
        loop, repeated = self.loop, self.repeated
        node = loop.carries[number]
        read = self.entries[node] = self._entry(node)
        write = self._entry(node)
        self.carried.append((read.number, write.number))
        row = math.prod(node.shape)
        step = row * node.dtype.itemsize
        count = loop.length
        if number in repeated.history:
            buffer = self._part("history", number, (count + 1, *node.shape), node)
            self.outside.write(operand, node.shape, buffer, count * row if loop.reverse else 0, contiguous(node.shape))
            self.reads.add(buffer.number)
            begin, end = (count, count - 1) if loop.reverse else (0, 1)
            self.starts += [(read.number, buffer.number, begin * step), (write.number, buffer.number, end * step)]
            along = -step if loop.reverse else step
            self.moves += [(read.number, read.number, along), (write.number, write.number, along)]
            return write
        buffer, offset, strides = self._read(operand)
        if not _is_contiguous(node.shape, strides):
            buffer, offset = self._copy(operand), 0
        self.starts.append((read.number, buffer.number, offset * node.dtype.itemsize))
        if number in repeated.passing:
            self.moves.append((read.number, write.number, 0))
            stack = self._part("stack", repeated.passing[number], (count, *node.shape), node)
            self._walk(write, stack, 0, step, count)
            return write
        if not count:
            self._alternate(number, read, write, buffer)
            return write
        last = self._part("final", number, node.shape, node)
        if count == 1:
            self.starts.append((write.number, last.number, 0))
            return write
        other = self.outside.new_buffer("arena", node.dtype, node.shape)
        self.writes.add(other.number)
        spare = self._entry(node)
        pair = (last, other) if count % 2 else (other, last)
        self.starts += [(write.number, pair[0].number, 0), (spare.number, pair[1].number, 0)]
        turn = [(read.number, write.number, 0), (write.number, spare.number, 0), (spare.number, read.number, 0)]
        self.moves += turn
        return write

    def _alternate(self, number: int, read: Buffer, write: Buffer, first: Buffer) -> None:
        """Let a carry be read and written in two places in turn; where it ends depends on the number of iterations."""
        node = self.loop.carries[number]
        one, two = (self.outside.new_buffer("arena", node.dtype, node.shape) for _ in range(2))
        spare = self._entry(node)
        self.starts += [(write.number, one.number, 0), (spare.number, two.number, 0)]
        self.moves += [(read.number, write.number, 0), (write.number, spare.number, 0), (spare.number, read.number, 0)]
        self.writes |= {one.number, two.number, read.number}
        self.ends.append((number, read, {first.number, one.number, two.number}))

    def _take_out(self, number: int, place: Buffer, places: set[int]) -> None:
        """Copy the last value of a carry to where it is wanted."""
        node, target = self.loop.carries[number], self._used("final", number)
        if target is None or 0 in node.shape:
            return
        bodies = Bodies(self.outside, node.shape, [])
        taken = bodies.access(place.number, node.dtype, 0, contiguous(node.shape))
        put = bodies.access(target.number, node.dtype, 0, contiguous(node.shape))
        self.outside.add_map(bodies, KernelBody([("load", taken)], [(0, put)]), node.shape, "copy")
        self.outside.steps[-1].reads |= places

    def _stack(self, number: int) -> Buffer:
        """The entry where a stacked result of an iteration is written."""
        node = self.repeated.stacked[number]
        entry = self._entry(node)
        buffer = self._part("stack", number, (self.loop.length, *node.shape), node)
        self._walk(entry, buffer, 0, math.prod(node.shape) * node.dtype.itemsize, self.loop.length)
        return entry


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    return all(size == 1 or a == b for size, a, b in zip(shape, strides, contiguous(shape)))


SPECIAL["loop"] = lower_loop
