"""`CompiledFunction`: which program a call of a compiled function runs, and loops of calls.

The function is run once on placeholders for every combination of argument types and guards (see `trace`); the graph of
everything it returns and writes is compiled together. A call binds memory, runs, and updates the cells: those that
nothing else holds in place.
"""

from __future__ import annotations

import builtins
import dis
import functools
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..collector import put_off
from ..dtypes import as_dtype
from ..errors import CompileError, ShapeError
from ..graph.node import Node
from ..ops.base import function_given, misuse, mode
from ..order import epoch_order
from ..tensor import Tensor, state
from ..threads import get_num_threads
from ..tree import tree_flatten, tree_unflatten
from .arguments import DTYPES, Differentiated, argument_array, evaluated, rows_array
from .compiled import Compiled
from .epochs import EpochLoop, check_stack, stacks
from .tracing import Trace

#: programs for one function after which a warning says what keeps changing
MANY_PROGRAMS = 8
#: programs of one function after which new ones share generic kernels, and that are kept at most (the oldest go)
GENERIC_AFTER, MAXIMUM_PROGRAMS = 32, 256
#: seconds that `compile(tune=True)` may take for each program
TUNING_SECONDS = 10.0
#: bytes of row numbers that one native loop over epochs is given at a time
ORDER_BYTES = 16 << 20


class CompiledFunction:
    """What `compile` returns: call it like the function; `repeat` and `epochs` run loops of it natively."""

    def __init__(
        self, function: Callable[..., Any], keep_grads: bool = False, specialise: bool = True, tune: float = 0.0
    ):
        functools.update_wrapper(self, function)
        self._function = function
        self._keep_grads = keep_grads
        self._specialise = specialise
        self._tune = tune
        self._entries: dict[Any, list[tuple[Compiled, Any, int]]] = {}
        self._names = captured_names(function)
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
                        raise Differentiated
                    array = node.value
                    if array is None:
                        array = evaluated(node)
                elif type(value) is np.ndarray and value.dtype in DTYPES:
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
            array = argument_array(leaf)
            if array is None:
                key.append(("static", type(leaf), leaf))
            else:
                arrays.append(array)
                key.append((array.shape, array.dtype))
        return tuple(key), arrays, definition, leaves

    def _find(self, key: Any, definition: Any, leaves: list[Any]) -> Compiled:
        """The program for arguments of these types under the present guards; traces if there is none."""
        names = [place.get(name) if kind else place.cell_contents for kind, place, name in self._names]
        names += [mode.grad_enabled, mode.precision]
        threads = get_num_threads()
        for entry, seen, used in self._entries.get(key, ()):
            if used != threads:
                continue
            for a, b in zip(names, seen):
                if a is not b:
                    break
            else:
                if entry.holds():
                    return entry
        with put_off():
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
        around = mode.trail
        state.trace, mode.trail = trace, trace.trail
        try:
            for leaf in leaves:
                array = argument_array(leaf)
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
            return Compiled(trace, arguments, outputs, self._keep_grads, specialise, self._tune)
        finally:
            state.trace, mode.trail = None, around

    # --- calls ------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if state.trace is not None:
            return self._function(*args, **kwargs)
        try:
            key, arrays, definition, leaves = self._split(args, kwargs)
        except Differentiated:
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
            raise misuse(f"repeat: the number of steps must be a positive whole number, not {num_steps!r}")
        if state.trace is not None:
            raise CompileError("repeat runs a program; it cannot be recorded inside a compiled function")
        key, arrays, definition, leaves = self._split(args, kwargs)
        done = 0
        stacked: list[np.ndarray | None] = []
        entry = None
        while done < num_steps:
            entry = self._find(key, definition, leaves)
            steps = entry.steps(num_steps - done)
            if done and entry.writes_any(leaves):  # an argument that is state: each step takes what it is then
                _, arrays, _, _ = self._split(args, kwargs)
            if entry.writes_any(leaves):
                steps = 1
            if done:
                check_stack("repeat", entry, stacked)
            else:
                stacked = stacks(entry, num_steps)
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
        data = [rows_array(part) for part in parts]
        rows = len(data[0])
        for array in data:
            if len(array) != rows:
                raise ShapeError(f"epochs: arrays have {rows} and {len(array)} rows")
        if not rows:
            raise ShapeError("epochs: the arrays have no rows")
        if drop_last and isinstance(batch_size, int) and rows < batch_size:
            problem = f"epochs: {rows} rows make no whole batch of {batch_size}"
            raise ShapeError(f"{problem}\nhelp: a smaller batch_size, or drop_last=False")
        if not isinstance(batch_size, int) or batch_size < 1 or not isinstance(num_epochs, int) or num_epochs < 1:
            raise misuse("epochs: batch_size and num_epochs must be positive whole numbers")
        batch = min(batch_size, rows)
        whole, rest = divmod(rows, batch)
        tail = rest if rest and not drop_last else 0
        per_epoch = whole + bool(tail)
        loop = EpochLoop(self, data, whole, batch, tail, num_epochs * per_epoch)
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


def captured_names(function: Callable[..., Any]) -> list[tuple[bool, Any, str]]:
    """Closure and global names that `function` reads, to be guarded by identity: (is global, place, name).

    Those of a function that `function` wraps, as `grad` and `vmap` do, are among them.
    """
    wrapped = getattr(function, "__wrapped__", None)
    return _names_in(function) + (captured_names(wrapped) if callable(wrapped) else [])


def _names_in(function: Callable[..., Any]) -> list[tuple[bool, Any, str]]:
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
    if any(name not in function.__globals__ for name in code.co_names):  # names of attributes, or to be defined later
        wanted = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
        later = wanted - function.__globals__.keys() - vars(builtins).keys()
        names += [(True, function.__globals__, name) for name in sorted(later)]
    return names


def compile(function: Callable[..., Any] | None = None, *, keep_grads: bool = False, tune: bool | float = False) -> Any:
    """Compile `function` to native programs; usable as a decorator.

    The function may read and write state (parameters, gradients, optimiser slots, generators): it is run once on
    placeholders for each combination of argument types and flags, and everything it returns and writes becomes one
    program, with the same bits as the function itself gives. Changed hyperparameters never compile again.

    Args:
        function: takes and returns trees of tensors, arrays and numbers. Tensors, arrays, Python floats and complex
            numbers are inputs (a float counts as float32, a complex number as complex64); other values are part of the
            structure, a new one makes a new program.
        keep_grads: store gradients that the function both writes and consumes.
        tune: time several tiles and chunks for the kernels of each new program, on memory of its own, for at most so
            many seconds (True: 10), and use the fastest. They are kept in the cache folder, where the next process
            finds them. Results have the same bits. Without it a cost model decides.

    Raises ConfigError if `tune` is no bool and no positive number.

    Example:
        >>> import chainrule as cr
        >>> double = cr.compile(lambda x: x * 2)
        >>> double(cr.tensor([1.0, 2.0]))
        tensor([2., 4.])
    """
    if not isinstance(tune, (bool, int, float)) or not (isinstance(tune, bool) or 0 < tune < float("inf")):
        raise misuse(f"compile: tune is True, False or a positive number of seconds, not {tune!r}")
    if function is None:
        return functools.partial(compile, keep_grads=keep_grads, tune=tune)
    function_given("compile", "function", function)
    return CompiledFunction(function, keep_grads, tune=TUNING_SECONDS if tune is True else float(tune))
