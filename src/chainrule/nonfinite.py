"""`set_detect_nonfinite`: the address of the first value that is not finite.

Nothing is checked while programs run. Their results are looked at afterwards; if one is not finite, the recorded graph
is evaluated again from the same leaves, node by node, up to the first one that is not finite although its operands are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import runtime
from .backends import interpreter
from .dtypes import widened
from .errors import NonFiniteError
from .graph.node import Node, topological
from .layers import Layers
from .ops.base import Credit, mode

#: what is remembered of which layer recorded what, uncompiled; the older half is dropped at this length
_MAXIMUM_TRAIL = 1 << 16
#: leaves that are given, not computed
_GIVEN = ("constant", "placeholder", "full")
#: primitives that run regions of nodes
_REGIONS = ("scan", "while_loop", "branch")

FINITE, INFINITE, NAN = 0, 1, 2


class _Trail(list):
    """The trail of uncompiled code, of bounded length."""

    def append(self, credit: Credit) -> None:
        if len(self) >= _MAXIMUM_TRAIL:
            del self[: _MAXIMUM_TRAIL // 2]
        super().append(credit)


class _Origin(NamedTuple):
    """The node to blame, its value and those of its operands, and in which iterations of which loops it was."""

    node: Node
    value: np.ndarray
    operands: list[np.ndarray]
    iterations: tuple[int, ...] = ()
    #: the loops around it, outermost first: their line and layer are known where a node inside has none
    around: tuple[Node, ...] = ()


def level(array: np.ndarray) -> int:
    """FINITE, INFINITE or NAN: the worst that is in `array`."""
    wide = widened(array)
    if wide.dtype.kind not in "fc" or np.isfinite(wide).all():
        return FINITE
    return NAN if np.isnan(wide).any() else INFINITE


class Checker:
    """What `runtime` and compiled functions call after a program has run, while detection is on."""

    def check(
        self,
        nodes: Sequence[Node],
        values: Sequence[np.ndarray],
        bindings: Mapping[Node, np.ndarray] | None = None,
        trail: Sequence[Credit] | None = None,
    ) -> None:
        """Raise NonFiniteError if one of `values`, those of `nodes`, is not finite and was computed so.

        Args:
            bindings: what stands for placeholders.
            trail: which layers recorded what; by default what this thread has noted.
        """
        bad = [node for node, value in zip(nodes, values) if level(value)]
        if not bad:
            return
        found = _origin(bad, dict(bindings or {}), dict(zip(nodes, values)))
        if found is not None:
            raise NonFiniteError(_text(found, nodes, mode.trail or () if trail is None else trail))


def _origin(bad: Sequence[Node], bindings: dict[Node, np.ndarray], actual: Mapping[Node, np.ndarray]) -> _Origin | None:
    """Where the values of `bad` that are not finite come from; None if infinities were given and only handed on."""
    levels: dict[Node, int] = {node: level(array) for node, array in bindings.items()}

    def watch(node: Node, array: np.ndarray) -> None:
        levels[node] = level(array)

    again = interpreter.run(bad, bindings, watch=watch)
    if not any(level(array) for array in again):
        # NumPy rounds a little differently: evaluate all nodes by native code, which gives the very same bits
        _native_levels(bad, bindings, levels)
    for node in topological(bad):
        if node.value is not None:
            levels[node] = level(node.value)
    path = _not_finite(bad, levels)
    order = [node for node in topological(bad) if node in path]
    computed = [node for node in order if node.op.name not in _GIVEN and node.value is None and node not in bindings]
    for worst in (FINITE, INFINITE):  # computed from finite operands; then NaN from operands that are infinite
        for node in computed:
            before = max((levels.get(operand, FINITE) for operand in node.inputs), default=FINITE)
            if before <= worst and levels[node] > before:
                return _blame(node, bindings, actual)
    for node in computed:  # state of a loop that was given so, or NaN handed on by a loop
        if node.op.name in _REGIONS:
            inside = _inside(node, bindings)
            if inside is not None:
                return inside
    for node in order:
        if levels[node] == NAN and node.op.name in _GIVEN:
            value = node.value if node.value is not None else bindings.get(node)
            return None if value is None else _Origin(node, value, [])
    return None


def _not_finite(bad: Sequence[Node], levels: Mapping[Node, int]) -> set[Node]:
    """The nodes from which values that are not finite come to `bad` through nothing but such values."""
    path = {node for node in bad if levels.get(node)}
    stack = list(path)
    while stack:
        for operand in stack.pop().inputs:
            if levels.get(operand) and operand not in path:
                path.add(operand)
                stack.append(operand)
    return path


def _native_levels(bad: Sequence[Node], bindings: Mapping[Node, np.ndarray], levels: dict[Node, int]) -> None:
    """The levels by one native program that gives all values."""
    bound = [node for node in topological(bad) if node in bindings and node.value is None]
    try:
        for node in bound:
            node.value = bindings[node]
        order = topological(bad)
        pending = [node for node in order if node.value is None]
        for node, array in zip(pending, runtime.run(order, pending)):
            levels[node] = level(array)
    finally:
        for node in bound:
            node.value = None


def _blame(node: Node, bindings: dict[Node, np.ndarray], actual: Mapping[Node, np.ndarray]) -> _Origin:
    """`node` with its value and operands; a loop hands the blame on to the node of its body."""
    if node.op.name in _REGIONS:
        inside = _inside(node, bindings)
        if inside is not None:
            return inside
    operands = interpreter.run(node.inputs, bindings)
    value = interpreter.run([node], bindings)[0]
    if not level(value):
        value = actual.get(node, value)
    return _Origin(node, value, operands)


def _inside(node: Node, bindings: dict[Node, np.ndarray]) -> _Origin | None:
    """The origin inside of the region that `node` is a result of; a loop is run one iteration after the other."""
    op: Any = node.op
    arrays = interpreter.run(node.inputs, bindings)
    if op.name == "branch":
        inputs = dict(zip(op.branches.inputs, arrays[1:]))
        return _of_region([op.branches.outputs[int(arrays[0])][op.index]], inputs, node, ())
    loop = op.loop
    count, first = len(loop.constants), len(loop.constants) + len(loop.carries)
    known = dict(zip(loop.constants, arrays[:count]))
    carries = arrays[count:first]
    step = 0
    while bool(carries[0]) if op.name == "while_loop" else step < loop.length:
        at = loop.length - 1 - step if loop.reverse else step
        given = known | dict(zip(loop.carries, carries))
        given |= dict(zip(loop.slices, (np.asarray(array[at]) for array in arrays[first:])))
        values = interpreter.run(loop.outputs, given)
        looked_at = {*range(len(loop.carries)), op.index}
        bad = [loop.outputs[n] for n in sorted(looked_at) if level(values[n])]
        found = _of_region(bad, given, node, (at,))
        if found is not None:
            return found
        carries = values[: len(loop.carries)]
        step += 1
    return None


def _of_region(
    bad: Sequence[Node], given: dict[Node, np.ndarray], node: Node, iterations: tuple[int, ...]
) -> _Origin | None:
    """The origin of what is not finite among `bad`, results of a region of `node`, if it was computed there."""
    found = _origin(bad, given, {}) if bad else None
    if found is None or found.node.op.name in _GIVEN:
        return None
    return found._replace(iterations=(*iterations, *found.iterations), around=(node, *found.around))


def _text(found: _Origin, nodes: Sequence[Node], trail: Sequence[Credit]) -> str:
    node, value = found.node, widened(found.value)
    given = node.op.name in _GIVEN
    nan, infinite = int(np.isnan(value).sum()), int(np.isinf(value).sum())
    parts = [f"{nan} NaN"] * bool(nan) + [f"{infinite} inf"] * bool(infinite)
    at = np.unravel_index(np.argmax(~np.isfinite(value)), value.shape)
    place = f" at [{', '.join(map(str, at))}]" if value.ndim else ""
    plural = "s" if value.size > 1 else ""
    problem = f"{' and '.join(parts)} among {value.size} value{plural}, the first{place} is {value[at]}"
    if found.iterations:
        problem += f", in iteration {', '.join(map(str, found.iterations))} of the loop"
    places = [node, *reversed(found.around)]
    layers = Layers(trail, [*topological(nodes, stop_at_values=False), *places])
    phase = "backward" if any(layers.phase(n) == "reverse" for n in places) else "forward"
    if any(layers.phase(n) == "optimiser" for n in places):
        phase = "optimiser"
    layer = next((name for name in map(layers.layer, places) if name), "")
    if given:
        first = f"{node.dtype.name}{list(node.shape)}: a value that was given has {problem}"
    else:
        operands = ", ".join(
            f"{n.dtype.name}{list(n.shape)}{_range(array)}" for n, array in zip(node.inputs, found.operands)
        )
        first = f"{node.op.name}: {problem}" + (f"; operands {operands}" if operands else "")
    lines = [first, f"recorded at {node.location}, {phase}" + (f", in layer {layer}" if layer else "")]
    if phase == "backward":
        lines.append("help: this is a derivative of what the line computes; its operands hold incoming gradients too")
    return "\n".join(lines)


def _range(array: np.ndarray) -> str:
    wide = widened(array)
    if not wide.size:
        return ""
    if wide.dtype.kind == "c":
        wide = np.abs(wide)
        return f" of magnitude {wide.min():.6g} to {wide.max():.6g}"
    return f" from {wide.min():.6g} to {wide.max():.6g}" if wide.dtype.kind != "b" else ""


class set_detect_nonfinite:
    """Raise an error that names the operation as soon as a NaN or an infinity is computed; a context manager too.

    While it is on, every result that is evaluated is looked at: uncompiled, of compiled functions (with the state that
    they write), in loops, of gradients. If one is not finite, the computation is repeated node by node to find the
    first operation whose result is not finite although its operands are (or is NaN although they are none).

    Args:
        enabled: whether to look. The setting takes effect at once, for all threads (layers are named in this one); left
            as a context manager it is what it was.

    Raises:
        NonFiniteError: when the value is evaluated. The message has the operation, the types and ranges of its
            operands, how many NaN and infinities there are, the index of the first, the line that recorded it,
            "forward", "backward" or "optimiser", the layer, and the iteration if it is in a loop.

    Numerics:
        Infinities that are given (masks, bounds) and handed on are no error, nor are values that no result shows, as
        those that `where` leaves out. A NaN that is given is an error. With detection off nothing is slower; with it
        on, loops such as `repeat` take one step at a time, and a compiled step that raises has changed no state.

    Example:
        >>> import chainrule as cr
        >>> with cr.set_detect_nonfinite(True):
        ...     cr.log(cr.tensor([1.0, 0.0])).numpy()
        Traceback (most recent call last):
        chainrule.errors.NonFiniteError: log: 1 inf among 2 values, the first at [1] is -inf; operands float32[2] ...
    """

    def __init__(self, enabled: bool = True):
        self._before = runtime.checker, mode.trail
        _set(Checker() if enabled else None, None)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        _set(*self._before)


def _set(checker: Checker | None, trail: Any) -> None:
    runtime.checker = checker
    if mode.trail is None or isinstance(mode.trail, _Trail):  # else a profile keeps its own
        mode.trail = trail if trail is not None or checker is None else _Trail()


def is_detecting() -> bool:
    """Whether `set_detect_nonfinite` is on."""
    return runtime.checker is not None
