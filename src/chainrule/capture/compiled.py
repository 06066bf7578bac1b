"""`Compiled`: one program of a compiled function, with the state that it reads and writes."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import runtime
from ..alignment import aligned_empty
from ..compiler.program import Program, address
from ..dtypes import as_dtype
from ..errors import CompileError
from ..graph.node import Node, locate, topological
from ..ops.base import primitive
from ..tensor import NOT_STORED, Tensor, bump, state, version
from ..tree import tree_flatten, tree_unflatten
from .tracing import Cell, Trace

_CONSTANT = primitive("constant")
_ARRAY = np.ndarray


def _sole_counts() -> tuple[int, int]:
    """What `sys.getrefcount` gives, in `Compiled._bound`, for a node and an array that nothing but their cell holds.

    Measured, since versions of Python differ in which references a running function counts.
    """
    holder = SimpleNamespace(_node=SimpleNamespace(value=object()))
    node = holder._node
    return sys.getrefcount(node), sys.getrefcount(node.value)


_SOLE_NODE, _SOLE_ARRAY = _sole_counts()


class Leaf:
    """Where an input of the program comes from: ("arg", n), ("cell", Cell), ("lifted", getter), ("constant", array)."""

    __slots__ = ("array", "cell", "getter", "kind", "number")

    def __init__(self, kind: str, number: int = -1, cell: Any = None, getter: Any = None, array: Any = None):
        self.kind = kind
        self.number = number
        self.cell = cell
        self.getter = getter
        self.array = array


class _Places:
    """What a call binds, with the entries of a program's table that it goes to."""

    __slots__ = ("arguments", "cells", "in_place", "outputs")

    def __init__(self, compiled: Compiled, program: Any):
        slots = program.leaf_slots
        self.cells = [(n, cell.tensor, cell.is_grad, changed, slots[n]) for n, cell, changed in compiled.cells]
        self.arguments = [(n, argument, slots[n]) for n, argument in compiled.arguments]
        outputs = list(enumerate(program.plan.outputs))
        self.in_place = [compiled.in_place.get(n) for n, _ in outputs]
        self.outputs = [
            (n, shape, dtype.numpy, program.output_slots[n])
            for n, (shape, dtype) in outputs
            if n not in compiled.in_place
        ]


class Compiled:
    """One program of a compiled function: its inputs, outputs, cells, and the plan."""

    def __init__(
        self,
        trace: Trace,
        arguments: list[Node],
        outputs: Any,
        keep_grads: bool,
        specialise: bool,
        tune: float = 0.0,
    ):
        self.specialise = specialise
        self.tune = tune
        leaves, self.definition = tree_flatten(outputs)
        self.returned: list[Any] = []
        nodes: list[Node] = []
        for leaf in leaves:
            if isinstance(leaf, Tensor):
                self.returned.append(len(nodes))
                nodes.append(leaf._node if leaf._trace is trace else trace.read(leaf))
            else:
                self.returned.append((leaf,))
        self.num_returned = len(nodes)
        self.written: list[tuple[Cell, int]] = []
        self.dropped: list[tuple[Tensor, Any]] = []
        self.accumulates = False
        self.empties = False  # a gradient that it finds is not there the next time
        for cell in trace.cells.values():
            if cell.written:
                self._write(cell, trace, nodes, keep_grads)
        for _, number in self.written:
            node = nodes[number]
            if node.op.name == "stop_gradient" and node.value is None:
                nodes[number] = node.inputs[0]
        inputs = {id(cell.input): Leaf("cell", cell=cell) for cell in trace.cells.values() if cell.input is not None}
        inputs |= {id(node): Leaf("lifted", getter=getter) for getter, node in trace.lifted}
        inputs |= {id(node): Leaf("arg", number) for number, node in enumerate(arguments)}
        order = topological(nodes)
        present = {id(node) for node in order}
        first = [c.input for c, _ in self.written if c.input is not None and id(c.input) not in present]
        self.order = first + order
        self.nodes = nodes
        self.leaves: list[Leaf] = []
        place: dict[int, int] = {}
        for node in self.order:
            if node.value is not None or node.op.name in ("placeholder", "constant"):
                place[id(node)] = len(self.leaves)
                leaf = inputs.get(id(node))
                if leaf is None:
                    if node.value is None:
                        raise CompileError(f"a placeholder of another trace was used\nrecorded at {node.location}")
                    leaf = Leaf("constant", array=node.value)
                self.leaves.append(leaf)
        self.in_place: dict[int, int] = {}
        for cell, number in self.written:
            old, new = cell.input, nodes[number]
            if old is not None and old.shape == new.shape and old.dtype is new.dtype:
                self.in_place[number] = place[id(old)]
        self.fresh = [(cell, number) for cell, number in self.written if number not in self.in_place]
        # a cell that becomes another type makes another program of the next step
        self.accumulates = self.accumulates or any(not cell.is_grad for cell, _ in self.fresh)
        self.lifted = [(n, leaf.getter) for n, leaf in enumerate(self.leaves) if leaf.kind == "lifted"]
        self.constants = [(n, leaf.array) for n, leaf in enumerate(self.leaves) if leaf.kind == "constant"]
        self.arguments = [(n, leaf.number) for n, leaf in enumerate(self.leaves) if leaf.kind == "arg"]
        changed = {self.in_place[n] for n in self.in_place}
        self.cells = [(n, leaf.cell, n in changed) for n, leaf in enumerate(self.leaves) if leaf.kind == "cell"]
        self.guards = trace.guards
        self.trail = trace.trail
        self.cell_types = [
            (cell, cell.input.shape, cell.input.dtype, cell.tensor._leaf)
            for cell in trace.cells.values()
            if cell.input is not None
        ]
        self.grad_states = [
            (c.tensor, _slot_state(c.initial)) for c in trace.cells.values() if c.is_grad and not c.overwritten
        ]
        self.scalar_values: list[Any] = []
        self._programs: dict[Any, Any] = {}
        self._places: dict[Any, _Places] = {}
        self.plan: Any = None
        self.version = -1

    def _write(self, cell: Cell, trace: Trace, nodes: list[Node], keep_grads: bool) -> None:
        if not cell.is_grad:
            assert cell.current is not None
            self.written.append((cell, len(nodes)))
            nodes.append(cell.current)
            return
        final = cell.current_grad
        if final is None:
            self.dropped.append((cell.tensor, None))
            self.empties = self.empties or not (cell.overwritten or cell.initial is None)
        elif cell.consumed and cell.overwritten and not keep_grads:
            self.dropped.append((cell.tensor, NOT_STORED))
        else:
            node = final._node if final._trace is trace else trace.read(final)
            self.written.append((cell, len(nodes)))
            nodes.append(node)
            self.accumulates = self.accumulates or not cell.overwritten

    # --- validity ---------------------------------------------------------------------------------

    def holds(self) -> bool:
        """Whether everything that this program was traced under is still so."""
        now = version()
        if now == self.version:
            return True
        for getter, value in self.guards:
            if getter() != value:
                return False
        for tensor, was in self.grad_states:
            if _slot_state(tensor._grad) != was:
                return False
        for cell, shape, dtype, leaf in self.cell_types:
            holder = cell.holder()
            if holder is None or holder is NOT_STORED or cell.tensor._leaf is not leaf:
                return False
            node = holder._node
            if node.shape != shape or node.dtype is not dtype:
                return False
        self.version = now
        return True

    # --- running ----------------------------------------------------------------------------------

    def program(self, advances: tuple[tuple[str, int, int], ...] = ()) -> Any:
        """The program whose arguments or results, ("leaf" or "output", number, bytes), advance after each step."""
        found = self._programs.get(advances)
        if found is None:
            if self.plan is None:
                first = runtime.compile_nodes(
                    self.order, self.nodes, self.specialise, self.in_place, trail=self.trail, tune=self.tune
                )
                self.plan = first.plan
                self._programs[()] = first
                self._places[first] = _Places(self, first)
                self.scalar_values = [value for value, _ in self.plan.scalars]
                if not advances:
                    return first
            base = self._programs[()]
            moves = []
            for kind, number, step in advances:
                slots = base.leaf_slots[number] if kind == "leaf" else base.output_slots[number]
                moves += [(slot, step) for slot in slots]
            found = self._programs[advances] = Program(self.plan, moves)
            self._places[found] = _Places(self, found)
        return found

    def steps(self, left: int) -> int:
        """How many of the `left` next steps one native loop may run: all, or 1.

        A step after which the guards may be others is looked up anew, and operations on the host see the memory of one
        step only.
        """
        self.program()
        hosted = any(region.hosted for region in self.plan.regions) or runtime.checker is not None
        return 1 if hosted or self.empties or (self.fresh and self.accumulates) else left

    def writes_any(self, leaves: Sequence[Any]) -> bool:
        """Whether an argument is a tensor whose value this program changes."""
        return any(leaf is cell.tensor for leaf in leaves for cell, _ in self.written if not cell.is_grad)

    def bind(self, program: Any, instance: Any, arguments: Sequence[Any]) -> list[Any]:
        """Point the instance's table at the inputs; returns what has to stay alive while it runs."""
        if instance.lifted is None:
            self._prepare(program, instance)
        alive = self._bound(program, instance, arguments)
        if alive is None:
            holders = [cell.holder() for _, cell, _ in self.cells]
            runtime.evaluate([holder._node for holder in holders if holder is not None])
            del holders
            alive = self._bound(program, instance, arguments)
            assert alive is not None
        return alive

    def _bound(self, program: Any, instance: Any, arguments: Sequence[Any]) -> list[Any] | None:
        """See `bind`; None if the value of a cell has to be evaluated first."""
        table, places = instance.words_of_table, self._places[program]
        alive: list[Any] = instance.alive.copy()
        references = sys.getrefcount
        for number, tensor, is_grad, changed, slots in places.cells:
            holder = tensor._grad if is_grad else tensor
            node = holder._node
            if node.value is None:
                return None
            if changed:
                # Views other than one array may hold its memory: NumPy lets a view of a view hold what is below both.
                # Memory that came through DLPack or from a file is never ours to write.
                base = node.value.base
                if (
                    references(node) > _SOLE_NODE
                    or references(node.value) > _SOLE_ARRAY
                    or (base is not None and (type(base) is not _ARRAY or references(base) > _SOLE_NODE))
                ):
                    node = _own(holder, node)
            alive[number] = node.value
            try:
                where = node.address
            except AttributeError:
                where = locate(node)
            for slot in slots:
                table[slot] = where
        for number, argument, slots in places.arguments:
            alive[number] = array = arguments[argument]
            where = address(array)
            for slot in slots:
                table[slot] = where
        values = instance.lifted
        for number, (_, getter) in enumerate(self.lifted):
            values[number] = getter()
        return alive

    def _prepare(self, program: Any, instance: Any) -> None:
        """Point a new instance's table at what every call passes: constants, and memory for lifted numbers."""
        numbers = np.zeros(len(self.lifted), np.float64)
        fixed = [*self.constants, *((n, numbers[i : i + 1].reshape(())) for i, (n, _) in enumerate(self.lifted))]
        instance.alive = [None] * len(self.leaves)
        for number, array in fixed:
            instance.alive[number] = array
            for slot in program.leaf_slots[number]:
                instance.words_of_table[slot] = address(array)
        instance.set_scalars(self.scalar_values, program.floating)
        instance.lifted = numbers.data

    def execute(
        self, arguments: Sequence[Any], steps: int, stacked: Sequence[np.ndarray | None], start: int, moves: tuple = ()
    ) -> list[np.ndarray]:
        """Run `steps` steps; outputs that `stacked` has an array for go to its rows from `start` on."""
        advances = list(moves)
        if steps > 1 or moves:
            for number, array in enumerate(stacked):
                if array is not None:
                    advances.append(("output", number, array.strides[0]))
        program = self.program(tuple(advances))
        instance = program.acquire()
        try:
            alive = self.bind(program, instance, arguments)
            places = self._places[program]
            outputs: list[Any] = [None if leaf is None else alive[leaf] for leaf in places.in_place]
            for number, shape, dtype, slots in places.outputs:
                target = stacked[number] if number < len(stacked) else None
                if target is None:
                    array = aligned_empty(shape, dtype)
                else:
                    array = target[start : start + 1].reshape(shape)
                outputs[number] = array
                where = address(array)
                for slot in slots:
                    instance.words_of_table[slot] = where
            before = instance.completed() if self.fresh or self.dropped else 0
            saved = None if runtime.checker is None else self._saved(alive)
            try:
                program.execute(instance, alive, outputs, steps)
                if saved is not None:
                    self._check(saved, alive, outputs)
            except KeyboardInterrupt:  # comes between two steps: the other cells have been written in place
                if (self.fresh or self.dropped) and instance.completed() > before:
                    self._commit(outputs)
                raise
        finally:
            program.release(instance)
        if self.fresh or self.dropped:
            self._commit(outputs)
        return outputs

    def _saved(self, alive: Sequence[Any]) -> list[Any]:
        """The inputs of a step that is checked, which does not run in place on them."""
        changed = set(self.in_place.values())
        return [array.copy() if number in changed else array for number, array in enumerate(alive)]

    def _check(self, saved: Sequence[Any], alive: Sequence[Any], outputs: Sequence[np.ndarray]) -> None:
        """Raise NonFiniteError, with all state as it was, if a result of a step is not finite."""
        leaves = [n for n in self.order if n.value is not None or n.op.name in ("placeholder", "constant")]
        bound = {node: array for node, array in zip(leaves, saved) if node.value is None}
        try:
            runtime.checker.check(self.nodes, outputs, bound, self.trail)
        except Exception:
            for number in set(self.in_place.values()):
                ctypes.memmove(address(alive[number]), address(saved[number]), saved[number].nbytes)
            raise

    def _commit(self, outputs: list[np.ndarray]) -> None:
        """Give the cells that are not written in place what the program has computed for them."""
        for cell, number in self.fresh:
            array = outputs[number]
            array.flags.writeable = False
            node = Node(_CONSTANT, (), array.shape, as_dtype(array.dtype), array)
            if cell.is_grad:
                cell.tensor._grad = _outside(node)
            else:
                cell.tensor._node = cell.tensor._leaf_node(node) if cell.tensor._leaf else node
            bump()
        for tensor, slot in self.dropped:
            if tensor._grad is not slot:
                tensor._grad = slot
                bump()

    def results(self, outputs: Sequence[np.ndarray]) -> Any:
        """What the function returns, given the values of its outputs."""
        leaves = []
        for entry in self.returned:
            if isinstance(entry, tuple):
                leaves.append(entry[0])
            else:
                array = outputs[entry]
                if array.flags.writeable:
                    array.flags.writeable = False
                leaves.append(Tensor(Node(_CONSTANT, (), array.shape, as_dtype(array.dtype), array)))
        return tree_unflatten(self.definition, leaves)


def _slot_state(grad: Any) -> str:
    return "empty" if grad is None else "not stored" if grad is NOT_STORED else "there"


def _outside(node: Node) -> Tensor:
    trace, state.trace = state.trace, None
    try:
        return Tensor(node)
    finally:
        state.trace = trace


def _own(holder: Tensor, node: Node) -> Node:
    """Give `holder` storage of its own, since something else holds what it has."""
    value = node.value
    assert value is not None
    array = aligned_empty(value.shape, value.dtype)
    array[...] = value
    array.flags.writeable = False
    fresh = Node(_CONSTANT, (), node.shape, node.dtype, array, False, node.where)
    holder._node = holder._leaf_node(fresh) if holder._leaf else fresh
    return holder._node
