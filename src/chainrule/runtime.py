"""Evaluation: where pending nodes get their values.

Pending work is looked up by structure (operations, types, how they are connected; not the numbers in it) in a cache
of programs. A new structure is compiled to generic kernels, so that a new shape finds its kernels ready; a
structure that keeps coming back is compiled again, specialised to its shapes. The bits are the same.
"""

from __future__ import annotations

import math
import sys
import threading
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from itertools import chain, count
from typing import Any

import numpy as np

from . import config
from .backends import interpreter
from .collector import put_off
from .dtypes import float32
from .errors import IndexOutOfRangeError, PlaceholderError, SingularMatrixError
from .graph.node import Node, topological
from .ops import elementary
from .ops.base import Credit, emit, mode
from .ops.control import siblings
from .ops.leaf import CONSTANT, constant, placeholder
from .transforms.checkpoint import hidden

#: programs that are kept, and runs after which one is compiled for its very shapes
MAXIMUM_PROGRAMS = 1024
SPECIALISE_AFTER = 64
#: bytes of intermediate values that one evaluation keeps for a later backward pass; beyond it they are recomputed
KEPT_BYTES = 256 << 20


class _Entry:
    __slots__ = ("baked", "program", "runs")

    def __init__(self, program: Any):
        self.program = program
        self.runs = 0
        self.baked = False


_programs: OrderedDict[Any, _Entry] = OrderedDict()
_lock = threading.RLock()
_STRUCTURAL = frozenset((-1, 0, 1, 2, 0.5))
_roots: deque[weakref.ref[Node]] = deque(maxlen=16)
#: state that was written and has no value yet; see `evaluate_with_next`
_written: list[Node] = []
#: what looks at results for values that are not finite (see `nonfinite.set_detect_nonfinite`), None if nothing does
checker: Any = None


def evaluate(nodes: Sequence[Node]) -> None:
    """Fill the values of `nodes`.

    Afterwards a node that requires gradients keeps its operation and operands; another becomes a
    constant. Intermediate values that a backward pass may need, or that something outside still refers to, are kept
    too, up to `KEPT_BYTES`: what is computed is not computed again, and no graph grows behind a value that is used on.
    """
    pending = [node for node in nodes if node.value is None]
    if not pending:
        return
    if _written:
        pending += [node for node in _written if node.value is None]
        _written.clear()
    order = topological(pending)
    _add_siblings(order, pending)
    wanted = _with_history(pending, order)
    if _roots:
        wanted += [node for node in _along(order) if node not in wanted]
    if len(order) > len(pending):
        wanted += _held(order, {*wanted, *hidden(order)})
    if config.backend() == "interpreter":
        values = interpreter.run(wanted)
    else:
        values = run(order, wanted)
    if checker is not None:
        checker.check(wanted, values)
    for node, value in zip(wanted, values):
        node.value = value
        # a leaf (stop_gradient) requires gradients but passes none on: keeping its operand would keep every former step
        if not node.requires_grad or not node.op.differentiable:
            node.op, node.inputs = CONSTANT, ()


def _add_siblings(order: list[Node], pending: list[Node]) -> None:
    """Let the loops in `order` give all their results at once."""
    joint = [node for node in order if node.op.joint and node.value is None]
    if joint:
        inside = set(order)
        others = dict.fromkeys(other for node in joint for other in siblings(node))
        pending += others
        order += [other for other in others if other not in inside]


def _along(order: list[Node]) -> list[Node]:
    """The roots noted by `evaluate_along` that need a pending node of `order`, which is extended by what they need."""
    roots = [node for ref in _roots if (node := ref()) is not None and node.value is None]
    _roots.clear()
    inside = set(order)
    pending = {node for node in order if node.value is None and node.inputs}
    found = [root for root in roots if root in pending or _reaches(root, pending)]
    stack = [(root, False) for root in reversed(found)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in inside:
            inside.add(node)
            stack.append((node, True))
            if node.value is None:
                stack.extend((operand, False) for operand in reversed(node.inputs))
    return found


def _reaches(root: Node, pending: set[Node]) -> bool:
    """Whether `root` needs one of `pending`."""
    stack, seen = [root], {root}
    while stack:
        for operand in stack.pop().inputs:
            if operand in pending:
                return True
            if operand.value is None and operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return False


def evaluate_along(root: Node) -> None:
    """Let the next evaluation that shares work with `root` fill it too: a loss whose gradients are computed."""
    if root.value is None:
        _roots.append(weakref.ref(root))


def evaluate_with_next(node: Node) -> None:
    """Let the next evaluation fill `node` too, whatever else it is for: state that a layer wrote."""
    if node.value is None:
        _written.append(node)


def _with_history(pending: list[Node], order: list[Node]) -> list[Node]:
    """`pending` and the intermediate nodes whose values differentiation will use."""
    wanted = list(dict.fromkeys(pending))
    if not any(node.requires_grad for node in wanted):
        return wanted
    known, budget = set(map(id, wanted)), KEPT_BYTES
    known.update(map(id, hidden(order)))
    for node in order:
        if node.requires_grad and node.value is None and id(node) not in known and node.op.family != "movement":
            size = node.dtype.itemsize
            for extent in node.shape:
                size *= extent
            budget -= size
            if budget < 0:
                break
            wanted.append(node)
    return wanted


def _held(order: list[Node], known: set[Node]) -> list[Node]:
    """The pending intermediate nodes that something outside of `order` refers to: a tensor, or work yet to be done."""
    found = [node for node in _referred(order, _OWN_REFERENCES) if node not in known]
    budget = KEPT_BYTES
    for number, node in enumerate(found):
        budget -= math.prod(node.shape) * node.dtype.itemsize
        if budget < 0:
            return found[:number]
    return found


def _referred(order: list[Node], own: int) -> list[Node]:
    """The pending operands in `order` with more references than `own` and those of nodes that wait for them.

    No variable may refer to a node here but that of the comprehension.
    """
    uses = Counter(chain.from_iterable([node.inputs for node in order if node.value is None]))
    return [n for n in order if n.value is None and n.inputs and sys.getrefcount(n) > own + uses.get(n, 1)]


def _own_references() -> int:
    """How many references to a node `_referred` sees although nothing outside refers to it: interpreters differ."""
    order = [emit("alias", constant(np.zeros(1, np.float32)))]
    order.append(emit("alias", order[0]))
    return next(own for own in count() if not _referred(order, own))


_OWN_REFERENCES = _own_references()


def structure(order: Sequence[Node], outputs: Sequence[Node]) -> tuple[tuple, list[np.ndarray], list[Any]]:
    """What a program for these nodes depends on, and what it is run on: leaf values and lifted scalars."""
    place: dict[Node, int] = {}
    parts: list[Any] = []
    leaves: list[np.ndarray] = []
    scalars: list[Any] = []
    for number, node in enumerate(order):
        place[node] = number
        if node.value is not None:
            leaves.append(node.value)
            parts.append(node.shape)
            parts.append(node.dtype)
            continue
        op = node.op
        name = op.name
        if name == "full":
            value = op.value  # type: ignore[attr-defined]
            if isinstance(value, (bool, complex)) or (value in _STRUCTURAL and repr(value) != "-0.0"):
                parts.append(value)
                parts.append(type(value))
            else:
                scalars.append(value)
                parts.append("scalar")
            parts.append(node.shape)
            parts.append(node.dtype)
        elif name == "placeholder":
            raise PlaceholderError(
                f"a value was asked of a placeholder, which stands for an argument and has none\n"
                f"recorded at {node.location}\n"
                "help: inside compile, vmap and the like use where() instead of if, and return what you want to see"
            )
        else:
            parts.append(op)
            for operand in node.inputs:
                parts.append(place[operand])
    parts.append(-1)
    for node in outputs:
        parts.append(place[node])
    return tuple(parts), leaves, scalars


def run(order: Sequence[Node], outputs: Sequence[Node]) -> list[np.ndarray]:
    """The values of `outputs`, from the program cache; `order` holds all nodes they need, operands first."""
    key, leaves, scalars = structure(order, outputs)
    with _lock:
        entry = _programs.get(key)
        if entry is None:
            entry = _programs[key] = _Entry(compile_nodes(order, outputs, baked=False))
            while len(_programs) > MAXIMUM_PROGRAMS:
                _programs.popitem(last=False)
        else:
            _programs.move_to_end(key)
            entry.runs += 1
            if entry.runs == SPECIALISE_AFTER and not entry.baked:
                entry.program = compile_nodes(order, outputs, baked=True)
                entry.baked = True
    try:
        return entry.program.run(leaves, scalars)
    except (IndexOutOfRangeError, SingularMatrixError):
        interpreter.run(outputs)  # fails as well, and names the line of this graph: the program knows another's
        raise


def compile_nodes(
    order: Sequence[Node],
    outputs: Sequence[Node],
    baked: bool,
    in_place: dict[int, int] | None = None,
    advances=(),
    trail: Sequence[Credit] | None = None,
    tune: float = 0.0,
) -> Any:
    """A `Program` for `outputs`; see `compiler.plan.make_plan` for the arguments.

    Raises MemoryLimitError if it needs more memory than there is; `trail` says which layers its nodes belong to.
    Specialised kernels are tuned for at most `tune` seconds.
    """
    from .backends.cpu import toolchain
    from .backends.cpu.contract import CpuTiles
    from .compiler.code import addresses_of, prepare
    from .compiler.plan import make_plan
    from .compiler.program import Program
    from .memory import describe, require
    from .threads import get_num_threads

    with put_off():
        tiles = CpuTiles(toolchain.host())
        if prepare():
            elementary.load()
            # The generic matrix product, the largest function that uncompiled code meets, comes with the driver.
            x, w = placeholder(0, (2, 3), float32), placeholder(1, (2, 3), float32)
            product = emit("contract", x, w, attributes=((0, 2), (1, 2), (0, 1)))
            addresses_of(make_plan([x, w, product], [product], tiles, 1, baked=False))
        plan = make_plan(order, outputs, tiles, get_num_threads(), in_place, baked)
        describe(plan, order, trail if trail is not None else mode.trail or ())
        require(plan)
        program = Program(plan, advances)
    if tune and baked:
        from .profiling.tuning import tuned

        program = tuned(program, tune)
    return program
