"""`compile`: a Python function on tensors and state as one native program, and loops of it.

The function is run once on placeholders for every combination of argument types and guards (see `trace`); the graph of
everything it returns and writes is compiled together. A call binds memory, runs, and updates the cells: those that
nothing else holds in place.
"""

from __future__ import annotations

import functools
import sys
import types
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import runtime
from .compiler.program import Program, address, aligned_empty
from .dtypes import BY_NAME, as_dtype, default_float
from .errors import CompileError, ConfigError, DTypeError, ShapeError
from .graph.node import Node, locate, topological
from .ops.base import emit, mode, primitive
from .order import epoch_order
from .tensor import NOT_STORED, Tensor, bump, placeholder_below, state, version
from .threads import get_num_threads
from .trace import Cell, Trace
from .tree import tree_flatten, tree_unflatten

_CONSTANT = primitive("constant")
#: what `sys.getrefcount` gives for a node and for an array that nothing but their cell holds, inside `bind`
_SOLE_NODE, _SOLE_ARRAY = 3, 2
#: programs for one function after which a warning says what keeps changing
MANY_PROGRAMS = 8
#: programs of one function after which new ones share generic kernels, and that are kept at most (the oldest go)
GENERIC_AFTER, MAXIMUM_PROGRAMS = 32, 256
#: bytes of row numbers that one native loop over epochs is given at a time
ORDER_BYTES = 16 << 20


class Leaf:
    """Where an input of the program comes from: ("arg", n), ("cell", Cell), ("lifted", getter), ("constant", array)."""

    __slots__ = ("array", "cell", "getter", "kind", "number")

    def __init__(self, kind: str, number: int = -1, cell: Any = None, getter: Any = None, array: Any = None):
        self.kind = kind
        self.number = number
        self.cell = cell
        self.getter = getter
        self.array = array


class Compiled:
    """One program of a compiled function: its inputs, outputs, cells, and the plan."""

    def __init__(self, trace: Trace, arguments: list[Node], outputs: Any, keep_grads: bool, specialise: bool):
        self.specialise = specialise
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
                first = runtime.compile_nodes(self.order, self.nodes, self.specialise, self.in_place)
                self.plan = first.plan
                self._programs[()] = first
                self.scalar_values = [value for value, _ in self.plan.scalars]
                if not advances:
                    return first
            base = self._programs[()]
            moves = []
            for kind, number, step in advances:
                slots = base.leaf_slots[number] if kind == "leaf" else base.output_slots[number]
                moves += [(slot, step) for slot in slots]
            found = self._programs[advances] = Program(self.plan, moves)
        return found

    def bind(self, program: Any, instance: Any, arguments: Sequence[Any]) -> list[Any]:
        """Point the instance's table at the inputs; returns what has to stay alive while it runs."""
        table, slots = instance.words_of_table, program.leaf_slots
        alive: list[Any] = [None] * len(self.leaves)
        pending = []
        for _, cell, _ in self.cells:
            holder = cell.tensor._grad if cell.is_grad else cell.tensor
            node = holder._node
            if node.value is None:
                pending.append(node)
        if pending:
            runtime.evaluate(pending)
            del pending
        for number, cell, changed in self.cells:
            holder = cell.tensor._grad if cell.is_grad else cell.tensor
            node = holder._node
            if changed and (sys.getrefcount(node) > _SOLE_NODE or sys.getrefcount(node.value) > _SOLE_ARRAY):
                node = _own(holder, node)
            alive[number] = node.value
            where = locate(node)
            for slot in slots[number]:
                table[slot] = where
        for number, argument in self.arguments:
            alive[number] = array = arguments[argument]
            where = address(array)
            for slot in slots[number]:
                table[slot] = where
        if instance.lifted is None:
            instance.lifted = [np.zeros((), np.float64) for _ in self.lifted]
            for array, (number, _) in zip(instance.lifted, self.lifted):
                for slot in slots[number]:
                    table[slot] = address(array)
            for number, array in self.constants:
                for slot in slots[number]:
                    table[slot] = address(array)
        for array, (number, getter) in zip(instance.lifted, self.lifted):
            array[()] = getter()
            alive[number] = array
        for number, array in self.constants:
            alive[number] = array
        return alive

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
            outputs: list[np.ndarray] = []
            for number, (shape, dtype) in enumerate(program.plan.outputs):
                if number in self.in_place:
                    outputs.append(alive[self.in_place[number]])
                    continue
                target = stacked[number] if number < len(stacked) else None
                if target is None:
                    array = aligned_empty(shape, dtype.numpy)
                else:
                    array = target[start : start + 1].reshape(shape)
                outputs.append(array)
                where = address(array)
                for slot in program.output_slots[number]:
                    instance.words_of_table[slot] = where
            instance.set_scalars(self.scalar_values, program.floating)
            program.execute(instance, alive, outputs, steps)
        finally:
            program.release(instance)
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
        return outputs

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


class _Differentiated(CompileError):
    """An argument is being differentiated or batched: the function itself is recorded, for programs keep no history."""

    def __init__(self):
        super().__init__(
            "an argument requires gradients, or is a placeholder; a native loop keeps no history\n"
            "help: detach the argument, or write the loop in Python"
        )


def _evaluated(node: Node) -> np.ndarray:
    """The value of an argument."""
    if placeholder_below(node) is not None:
        raise _Differentiated
    runtime.evaluate([node])
    assert node.value is not None
    return node.value


class CompiledFunction:
    """What `compile` returns: call it like the function; `repeat` and `epochs` run loops of it natively."""

    def __init__(self, function: Callable[..., Any], keep_grads: bool = False, specialise: bool = True):
        functools.update_wrapper(self, function)
        self._function = function
        self._keep_grads = keep_grads
        self._specialise = specialise
        self._entries: dict[Any, list[tuple[Compiled, Any, int]]] = {}
        self._names = _captured_names(function)
        self._seen: dict[Any, tuple] = {}
        self._count = 0
        self._warned = False

    # --- finding the program ----------------------------------------------------------------------

    def _split(self, args: tuple, kwargs: dict) -> tuple[Any, list[Any], Any, list[Any]]:
        """Key of the argument types, arrays, tree definition and leaves of a call."""
        if not kwargs:
            arrays = []
            key: list[Any] = []
            for value in args:
                if type(value) is Tensor:
                    node = value._node
                    if node.requires_grad and mode.grad_enabled:
                        raise _Differentiated
                    array = node.value
                    if array is None:
                        array = _evaluated(node)
                elif type(value) is np.ndarray and value.dtype in _DTYPES:
                    array = value if value.flags.c_contiguous else np.ascontiguousarray(value)
                else:
                    break
                arrays.append(array)
                key.append(array.shape)
                key.append(array.dtype)
            else:
                return tuple(key), arrays, None, list(args)
        leaves, definition = tree_flatten((args, kwargs))
        arrays, key = [], [repr(definition)]
        for leaf in leaves:
            array = _argument(leaf)
            if array is None:
                key.append(("static", type(leaf), leaf))
            else:
                arrays.append(array)
                key.append((array.shape, array.dtype))
        return tuple(key), arrays, definition, leaves

    def _find(self, key: Any, definition: Any, leaves: list[Any]) -> Compiled:
        """The program for arguments of these types under the present guards; traces if there is none."""
        names = [place[name] if kind else place.cell_contents for kind, place, name in self._names]
        names.append(mode.grad_enabled)
        threads = get_num_threads()
        for entry, seen, used in self._entries.get(key, ()):
            if used == threads and all(a is b for a, b in zip(names, seen)) and entry.holds():
                return entry
        entry = self._trace(definition, leaves)
        known = self._entries.setdefault(key, [])
        known.insert(0, (entry, names, threads))
        self._count += 1
        while self._count > MAXIMUM_PROGRAMS:
            oldest = next(iter(self._entries))
            self._entries[oldest].pop()
            self._count -= 1
            if not self._entries[oldest]:
                del self._entries[oldest]
        self._warn(key)
        entry.holds()
        return entry

    def _warn(self, key: Any) -> None:
        count = self._count
        if count >= MANY_PROGRAMS and not self._warned:
            self._warned = True
            previous = next(k for k in self._entries if k != key) if len(self._entries) > 1 else key
            changed = [f"{a} -> {b}" for a, b in zip(previous, key) if a != b] or ["guards (flags, closure names)"]
            name = getattr(self._function, "__name__", "function")
            warnings.warn(
                f"{name} was compiled {count} times; what changed: {'; '.join(map(str, changed[:4]))}", stacklevel=4
            )

    def _trace(self, definition: Any, leaves: list[Any]) -> Compiled:
        if state.trace is not None:
            raise CompileError("a compiled function is traced inside another; call the inner function itself")
        trace = Trace()
        arguments: list[Node] = []
        values: list[Any] = []
        state.trace, mode.trail = trace, trace.trail
        try:
            for leaf in leaves:
                array = _argument(leaf)
                if array is None:
                    values.append(leaf)
                    continue
                requires = isinstance(leaf, Tensor) and leaf.requires_grad
                node = trace.new_input(array.shape, as_dtype(array.dtype), requires)
                arguments.append(node)
                values.append(Tensor(node))
            args, kwargs = (values, {}) if definition is None else tree_unflatten(definition, values)
            outputs = self._function(*args, **kwargs)
            specialise = self._specialise and self._count < GENERIC_AFTER
            return Compiled(trace, arguments, outputs, self._keep_grads, specialise)
        finally:
            state.trace = mode.trail = None

    # --- calls ------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.trace is not None:
            return self._function(*args, **kwargs)
        try:
            key, arrays, definition, leaves = self._split(args, kwargs)
        except _Differentiated:
            return self._function(*args, **kwargs)
        entry = self._find(key, definition, leaves)
        return entry.results(entry.execute(arrays, 1, (), 0))

    def repeat(self, num_steps: int, *args: Any, **kwargs: Any) -> Any:
        """Call the function `num_steps` times on the same arguments, in a native loop.

        Returns what one call returns, with every result stacked along a new leading axis of length `num_steps`; the
        same bits as a Python loop of calls.

        Raises ConfigError if `num_steps` is not a positive whole number.
        """
        if not isinstance(num_steps, int) or num_steps < 1:
            raise ConfigError(f"repeat: the number of steps must be a positive whole number, not {num_steps!r}")
        if state.trace is not None:
            raise CompileError("repeat runs a program; it cannot be recorded inside a compiled function")
        key, arrays, definition, leaves = self._split(args, kwargs)
        done = 0
        stacked: list[np.ndarray | None] = []
        entry = None
        while done < num_steps:
            entry = self._find(key, definition, leaves)
            # A call that leaves gradients behind may meet other guards the next time.
            steps = 1 if entry.fresh and entry.accumulates else num_steps - done
            if done:
                _check_stack("repeat", entry, stacked)
            else:
                stacked = _stacks(entry, num_steps)
            entry.execute(arrays, steps, stacked, done)
            done += steps
        assert entry is not None
        return entry.results([array for array in stacked if array is not None])

    def epochs(
        self,
        arrays: Any,
        batch_size: int,
        num_epochs: int = 1,
        shuffle: bool = True,
        drop_last: bool = False,
        seed: int = 0,
    ) -> Any:
        """Call the function on the mini-batches of `arrays`, epoch after epoch, in native loops.

        Args:
            arrays: an array or tensor, or a tuple of them with the same number of rows; each is one argument.
            batch_size: rows of a batch; the last one of an epoch may be smaller unless `drop_last`.
            num_epochs: how often to go through the data.
            shuffle: whether each epoch has an order of its own, which depends on `seed` and the number of the epoch.

        Returns:
            What one call returns, stacked over all steps of all epochs.
        """
        parts = list(arrays) if isinstance(arrays, (tuple, list)) else [arrays]
        data = [_rows_argument(part) for part in parts]
        rows = len(data[0])
        for array in data:
            if len(array) != rows:
                raise ShapeError(f"epochs: arrays have {rows} and {len(array)} rows")
        if not isinstance(batch_size, int) or batch_size < 1 or not isinstance(num_epochs, int) or num_epochs < 1:
            raise ConfigError("epochs: batch_size and num_epochs must be positive whole numbers")
        batch = min(batch_size, rows)
        whole, rest = divmod(rows, batch)
        tail = rest if rest and not drop_last else 0
        per_epoch = whole + bool(tail)
        loop = _Loop(self, data, whole, batch, tail, num_epochs * per_epoch)
        epoch = 0
        while epoch < num_epochs:
            count = 1
            if not tail:
                count = max(1, min(num_epochs - epoch, ORDER_BYTES // (8 * rows)))
            orders = [epoch_order(rows, seed, e) if shuffle else None for e in range(epoch, epoch + count)]
            loop.run(orders)
            epoch += count
        return loop.results()

    @property
    def programs(self) -> list[Compiled]:
        """All programs compiled so far."""
        return [entry for entries in self._entries.values() for entry, _, _ in entries]

    def trace(self, *args: Any, **kwargs: Any) -> Compiled:
        """The program for these arguments, compiled but not run."""
        key, _, definition, leaves = self._split(args, kwargs)
        entry = self._find(key, definition, leaves)
        entry.program()
        return entry


class _Loop:
    """The native loops over epochs of one `epochs` call."""

    def __init__(self, owner: CompiledFunction, data: list[np.ndarray], whole: int, batch: int, tail: int, total: int):
        self.owner = owner
        self.data = data
        self.whole, self.batch, self.tail, self.total = whole, batch, tail, total
        self.done = 0
        self.stacked: list[np.ndarray | None] = []
        self.entry: Compiled | None = None
        count = len(data)

        def gathered(rows: Tensor, *arrays: Tensor) -> Any:
            return owner._function(*(Tensor(emit("take", a._node, rows._node, attributes=(0,))) for a in arrays))

        loops = owner.__dict__.setdefault("_loops", {})
        if count not in loops:
            loops[count] = CompiledFunction(gathered, owner._keep_grads)
            loops[count]._names = owner._names
        self.gathering = loops[count]

    def run(self, orders: list[np.ndarray | None]) -> None:
        """Some epochs: all whole batches, then the rest of each."""
        if orders[0] is None:
            for _ in orders:
                self._steps(None, 0, self.whole, self.batch)
                if self.tail:
                    self._steps(None, self.whole * self.batch, 1, self.tail)
            return
        rows = self.whole * self.batch
        main = np.concatenate([order[:rows] for order in orders if order is not None])
        self._steps(main, 0, self.whole * len(orders), self.batch)
        if self.tail and orders[0] is not None:
            self._steps(orders[0][rows:], 0, 1, self.tail)

    def _steps(self, order: np.ndarray | None, first: int, steps: int, batch: int) -> None:
        done = 0
        while done < steps:
            start = first + done * batch
            if order is None:
                function = self.owner
                arrays = [array[start : start + batch] for array in self.data]
                moves = tuple((n, array.strides[0] * batch) for n, array in enumerate(self.data))
            else:
                function = self.gathering
                arrays = [order[start : start + batch], *self.data]
                moves = ((0, 8 * batch),)
            key, bound, definition, leaves = function._split(tuple(arrays), {})
            entry = function._find(key, definition, leaves)
            entry.program()
            count = 1 if entry.fresh and entry.accumulates else steps - done
            if not self.stacked:
                self.stacked = _stacks(entry, self.total)
            else:
                _check_stack("epochs", entry, self.stacked)
            places = {argument: leaf for leaf, argument in entry.arguments}
            advances = tuple(("leaf", places[n], step) for n, step in moves if n in places)
            entry.execute(bound, count, self.stacked, self.done, advances)
            self.done += count
            done += count
            self.entry = entry

    def results(self) -> Any:
        assert self.entry is not None
        return self.entry.results([array for array in self.stacked if array is not None])


def _stacks(entry: Compiled, steps: int) -> list[np.ndarray | None]:
    """Arrays for the results of `steps` steps."""
    entry.program()
    outputs = entry.plan.outputs[: entry.num_returned]
    return [np.empty((steps, *shape), dtype.numpy) for shape, dtype in outputs]


def _check_stack(name: str, entry: Compiled, stacked: list[np.ndarray | None]) -> None:
    """Raise ShapeError if the results of a step do not fit those of the steps before it."""
    entry.program()
    for (shape, dtype), array in zip(entry.plan.outputs, stacked):
        if array is not None and (array.shape[1:] != shape or array.dtype != dtype.numpy):
            raise ShapeError(
                f"{name}: a result is {array.dtype}{list(array.shape[1:])} in the first step"
                f" and {dtype.name}{list(shape)} in a later one\n"
                "help: return per-batch summaries; if only the last batch is smaller, pass drop_last=True"
            )


_DTYPES = frozenset(d.numpy for d in BY_NAME.values())


def _argument(leaf: Any) -> np.ndarray | None:
    """The array of an argument that is an input of the program; None for one that is part of its structure."""
    if isinstance(leaf, Tensor):
        node = leaf._node
        if node.requires_grad and mode.grad_enabled and state.trace is None:
            raise _Differentiated
        return _evaluated(node) if node.value is None else node.value
    if isinstance(leaf, (np.ndarray, np.generic)):
        if leaf.dtype not in _DTYPES:
            raise DTypeError(f"an argument has dtype {leaf.dtype}, which Chainrule does not have")
        return np.ascontiguousarray(leaf)
    if isinstance(leaf, float):
        return np.array(leaf, default_float.numpy)
    return None


def _rows_argument(value: Any) -> np.ndarray:
    array = _argument(value)
    if array is None or not array.ndim:
        raise ShapeError("epochs: each of arrays must be an array or tensor with rows along its first axis")
    return array


def _captured_names(function: Callable[..., Any]) -> list[tuple[bool, Any, str]]:
    """Closure and global names that `function` reads, to be guarded by identity: (is global, place, name)."""
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if not isinstance(code, types.CodeType):
        return []
    names: list[tuple[bool, Any, str]] = []
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        try:
            content = cell.cell_contents
        except ValueError:
            continue
        if not isinstance(content, types.ModuleType):
            names.append((False, cell, name))
    for name in code.co_names:
        if name in function.__globals__ and not isinstance(function.__globals__[name], types.ModuleType):
            names.append((True, function.__globals__, name))
    return names


def compile(function: Callable[..., Any] | None = None, *, keep_grads: bool = False) -> Any:
    """Compile `function` to native programs; usable as a decorator.

    The function may read and write state (parameters, gradients, optimiser slots, generators): it is run once on
    placeholders for each combination of argument types and flags, and everything it returns and writes becomes one
    program, with the same bits as the function itself gives. Changed hyperparameters never compile again.

    Args:
        function: takes and returns trees of tensors, arrays and numbers. Tensors, arrays and Python floats are inputs
            (a float counts as float32); other values are part of the structure, a new one makes a new program.
        keep_grads: store gradients that the function both writes and consumes.

    Example:
        >>> import chainrule as cr
        >>> double = cr.compile(lambda x: x * 2)
        >>> double(cr.tensor([1.0, 2.0]))
        tensor([2., 4.])
    """
    if function is None:
        return functools.partial(compile, keep_grads=keep_grads)
    return CompiledFunction(function, keep_grads)
