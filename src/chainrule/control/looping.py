"""`scan`: a function applied again and again, each time to what it returned before, as one native loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import bool_, float64, uint64
from ..errors import CompileError, ConfigError, DTypeError, ShapeError
from ..graph.node import Node
from ..ops.base import emit, function_given, message, mode
from ..ops.control import close, replay, results
from ..ops.leaf import placeholder
from ..recording import full
from ..tensor import Tensor, state
from ..transforms.batch import batch
from ..transforms.paths import dependents
from ..tree import TreeDef, tree_flatten, tree_flatten_with_path, tree_unflatten

_NUMBERS = (float, int, bool)


class _Cell:
    """State from outside the region: `alias` stands for its value when an iteration begins, `current` is it now."""

    __slots__ = ("alias", "before", "current", "tensor", "written")

    def __init__(self, tensor: Tensor, before: Node):
        self.tensor = tensor
        self.before = before
        self.alias: Node | None = None
        self.current = before
        self.written = False


class Region:
    """What the body of a loop or branch reads and writes of the state around it (in the place of a `Trace`, meanwhile).

    `root` is the trace of the compiled function around all loops, or None. `name` is that of the function that records
    the region, for messages, `what` it is.
    """

    def __init__(self, parent: Any, name: str, what: str = "the body of a loop"):
        self.parent = parent
        self.name = name
        self.what = what
        self.root: Any = None if parent is None else parent.root
        self.cells: dict[int, _Cell] = {}

    def _cell(self, tensor: Tensor) -> _Cell:
        cell = self.cells.get(id(tensor))
        if cell is None:
            parent = self.parent
            node = tensor._node if parent is None or tensor._trace is parent else parent.read(tensor)
            cell = self.cells[id(tensor)] = _Cell(tensor, node)
        return cell

    def read(self, tensor: Tensor) -> Node:
        """The node of a tensor from outside."""
        cell = self._cell(tensor)
        if cell.alias is None and not cell.written:
            cell.alias = cell.current = emit("alias", cell.before)
            cell.alias.requires_grad = cell.before.requires_grad
        return cell.current

    def write(self, tensor: Tensor, node: Node) -> None:
        """Give a tensor from outside another value."""
        cell = self._cell(tensor)
        if node.shape != cell.before.shape or node.dtype is not cell.before.dtype:
            problem = f"{self.what} changes the type of state"
            raise ShapeError(message(self.name, problem, (cell.before, node)))
        cell.current = node
        cell.written = True

    def read_grad(self, tensor: Tensor) -> Any:
        """What is in the gradient slot of a tensor from outside."""
        return tensor._grad if self.parent is None else self.parent.read_grad(tensor)

    def write_grad(self, tensor: Tensor, value: Tensor | None) -> None:
        """Not possible: a gradient slot may be empty, and a loop carries values."""
        problem = f"{self.what} cannot write the .grad of a tensor from outside"
        help = f"use chainrule.grad inside, or backward() behind the {'loop' if 'loop' in self.what else 'choice'}"
        raise CompileError(message(self.name, problem, (), help))

    def lift(self, getter: Callable[[], float]) -> Node:
        """A hyperparameter."""
        return full(float(getter()), (), float64) if self.parent is None else self.parent.lift(getter)

    def guard(self, getter: Callable[[], Any]) -> Any:
        """A flag on which the recorded graph depends."""
        return getter() if self.parent is None else self.parent.guard(getter)

    def carried(self, varying: Mapping[Node, Any]) -> list[_Cell]:
        """The cells whose values go from iteration to iteration."""
        return [c for c in self.cells.values() if c.written and (c.alias is not None or c.current in varying)]


def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Apply ``carry, y = f(carry, x)`` to the slices of `xs` one after the other.

    The same as ``for x in xs: carry, y = f(carry, x); ys.append(y)``, recorded as one loop, whatever its length: it
    has its own derivatives, batching and native code. Without an iteration the carry is `init`, and y has no slices.

    Args:
        f: takes the carry and a slice of `xs`, and returns the next carry, of the same structure, shapes and dtypes,
            and a tree of what is stacked. It is called once, on placeholders: asking one for a value is an error.
        init: the first carry, a tree of tensors, arrays and numbers.
        xs: a tree of tensors and arrays whose first axis is sliced, or None.
        length: number of iterations, needed if `xs` has no leaves.
        reverse: go through `xs` from the back; results stay at the places of their slices.
        unroll: iterations that are recorded one behind the other inside the loop; has to divide `length`. True
            records all of them, without a loop.

    Returns:
        The last carry, and the tree of y with a first axis of `length`.

    Random draws inside differ from iteration to iteration, and advance their generator once each. State that `f`
    writes, such as running statistics, is carried along. Tensors that `f` closes over
    stay the same, and have gradients.

    Raises:
        ShapeError, DTypeError: the carry changes its type, or lengths differ. ConfigError: no length is known.

    Example:
        >>> import chainrule as cr
        >>> total, sums = cr.scan(lambda carry, x: (carry + x, carry + x), 0.0, cr.tensor([1.0, 2.0, 3.0]))
        >>> total, sums
        (tensor(6.), tensor([1., 3., 6.]))
    """
    function_given("scan", "f", f)
    paths, leaves, definition = tree_flatten_with_path(xs, "xs")
    stacks = [stack_of(path, leaf) for path, leaf in zip(paths, leaves)]
    count = length_of(paths, stacks, length)
    if unroll is True and count:
        return _unrolled(f, init, stacks, definition, count, reverse)
    if not isinstance(unroll, int) or unroll < 1:
        raise ConfigError(message("scan", f"unroll must be a positive whole number or True, not {unroll!r}", ()))
    if unroll > 1 and count:
        if count % unroll:
            raise ConfigError(message("scan", f"unroll={unroll} does not divide the {count} iterations", ()))
        return _by_blocks(f, init, stacks, definition, count, reverse, unroll)
    return looped("scan", f, init, stacks, definition, count, reverse)


def looped(
    name: str, f: Any, init: Any, stacks: Sequence[Node], definition: TreeDef, count: int, reverse: bool = False
) -> tuple[Any, Any]:
    """`scan` of `count` iterations over `stacks`, the leaves of a tree; `name` is the caller's, for messages."""
    stacks = list(stacks)
    first_paths, first_leaves, carry_definition = tree_flatten_with_path(init, "carry")
    first = [to_node(leaf, name) for leaf in first_leaves]
    grad = mode.grad_enabled
    carries = [placeholder(i, n.shape, n.dtype, grad and n.dtype.kind in "fc") for i, n in enumerate(first)]
    slices = [
        placeholder(len(carries) + i, n.shape[1:], n.dtype, grad and n.dtype.kind in "fc") for i, n in enumerate(stacks)
    ]
    number = placeholder(len(carries) + len(slices), (), uint64)
    region = Region(state.trace, name)
    iterations, state.trace, state.iterations = state.iterations, region, (*state.iterations, number)
    try:
        carry = tree_unflatten(carry_definition, [Tensor(n) for n in carries])
        result = f(carry, tree_unflatten(definition, [Tensor(n) for n in slices]))
        if not (isinstance(result, tuple) and len(result) == 2):
            problem = f"the function has to return a pair (carry, y), not {type(result).__name__}"
            raise ConfigError(message(name, problem, ()))
        carried_on = following(result[0], carry_definition, first, first_paths, name)
        y_leaves, y_definition = tree_flatten(result[1])
        outputs = carried_on + [_result(leaf, name) for leaf in y_leaves]
    finally:
        state.trace, state.iterations = region.parent, iterations
    if not count:  # the function was recorded for what it returns alone: it never runs, and no state is written
        types = [((0, *node.shape), node.dtype) for node in outputs[len(first) :]]
        stacked = [Tensor(full(False if dtype is bool_ else 0, shape, dtype)) for shape, dtype in types]
        return tree_unflatten(carry_definition, [Tensor(n) for n in first]), tree_unflatten(y_definition, stacked)
    cells = [c for c in region.cells.values() if c.written]
    ends, outputs = first, settled(carries, carried_on, first, outputs, cells)
    moving = [i for i, (a, b) in enumerate(zip(carries, carried_on)) if a is not b]
    outputs[: len(carries)] = [outputs[i] for i in moving]
    carries, first = [carries[i] for i in moving], [first[i] for i in moving]
    varying = dependents([*outputs, *(c.current for c in cells)], _starts(region, carries, slices, number), False)
    carried = region.carried(varying)
    replaced: dict[Node, Node] = {}
    for cell in carried:
        inner = placeholder(len(carries), cell.before.shape, cell.before.dtype, cell.before.requires_grad)
        carries.append(inner)
        first.append(cell.before)
        if cell.alias is not None:
            replaced[cell.alias] = inner
    outputs[len(moving) : len(moving)] = [c.current for c in carried]
    stacks.append(emit("iota", attributes=((count,), 0, uint64)))
    slices.append(number)
    _hoist(outputs, {*carries, *replaced}, slices, stacks, replaced, count)
    used = _used(outputs, replaced)
    pairs = [(inner, outer) for inner, outer in zip(slices, stacks) if inner in used]
    slices, stacks = [inner for inner, _ in pairs], [outer for _, outer in pairs]
    loop, constants = close(outputs, carries, slices, count, reverse, replaced)
    found = results(loop, (*constants, *first, *stacks), range(len(outputs)))
    for cell in cells:
        cell.tensor._rebind(found[len(moving) + carried.index(cell)] if cell in carried else cell.current)
    for place, node in zip(moving, found):
        ends[place] = node
    last = tree_unflatten(carry_definition, [Tensor(n) for n in ends])
    return last, tree_unflatten(y_definition, [Tensor(n) for n in found[len(carries) :]])


def settled(
    carries: Sequence[Node], after: Sequence[Node], first: Sequence[Node], nodes: Sequence[Node], cells: Sequence[_Cell]
) -> list[Node]:
    """`nodes` of a region in which carries that never change are what they are before the loop; `cells` follow."""
    same = {inner: outer for inner, outer, following in zip(carries, first, after) if inner is following}
    if not same:
        return list(nodes)
    found = replay([*nodes, *(cell.current for cell in cells)], same)
    for cell, node in zip(cells, found[len(nodes) :]):
        cell.current = node
    return found[: len(nodes)]


def stack_of(path: str, leaf: Any, name: str = "scan") -> Node:
    """The node of something that is sliced along its first axis."""
    if not isinstance(leaf, (Tensor, np.ndarray, np.generic)):
        problem = f"{path} is {type(leaf).__name__}, which has no axis to go along"
        raise DTypeError(message(name, problem, (), "close over values that stay the same"))
    node = to_node(leaf, name)
    if not node.shape:
        raise ShapeError(message(name, f"{path} has no axis to go along", (node,), "close over it instead"))
    return node


def length_of(paths: Sequence[str], stacks: Sequence[Node], length: Any, name: str = "scan") -> int:
    """The number of iterations, on which everything has to agree."""
    if length is not None and (not hasattr(length, "__index__") or isinstance(length, bool)):
        raise ConfigError(message(name, f"length must be a whole number, not {length!r}", ()))
    known = None if length is None else (length.__index__(), "length")
    for path, node in zip(paths, stacks):
        if known is None:
            known = (node.shape[0], path)
        elif node.shape[0] != known[0]:
            problem = f"{known[1]} has {known[0]} iterations, {path} has {node.shape[0]} (axis 0)"
            raise ShapeError(message(name, problem, tuple(stacks)))
    if known is None:
        raise ConfigError(message(name, "neither xs nor length says how many iterations there are", ()))
    if known[0] < 0:
        raise ConfigError(message(name, f"length is a number of iterations, not {known[0]}", tuple(stacks)))
    return known[0]


def following(
    carry: Any, definition: Any, first: Sequence[Node], paths: Sequence[str], name: str = "scan"
) -> list[Node]:
    """The nodes of the next carry, which have to have the types of the first."""
    leaves, structure = tree_flatten(carry)
    if structure != definition:
        raise ConfigError(message(name, f"the carry goes in as {definition} and comes out as {structure}", ()))
    function = "f" if name == "scan" else "body_fun"
    found = []
    for leaf, node, path in zip(leaves, first, paths):
        if isinstance(leaf, _NUMBERS) and not node.shape:
            found.append(full(leaf, (), node.dtype, name))
            continue
        after = to_node(leaf, name)
        for kind, same in ((ShapeError, after.shape == node.shape), (DTypeError, after.dtype is node.dtype)):
            if not same:
                before = f"{node.dtype.name}{list(node.shape)}"
                problem = f"{path} goes in as {before} and comes out as {after.dtype.name}{list(after.shape)}"
                help = f"give init the type that {function} returns"
                raise kind(message(name, problem, (), help if kind is ShapeError else "convert with .astype(...)"))
        found.append(after)
    return found


def _result(leaf: Any, name: str = "scan") -> Node:
    if not isinstance(leaf, (Tensor, np.ndarray, np.generic, *_NUMBERS)):
        problem = f"the function returned {type(leaf).__name__}, not tensors"
        raise DTypeError(message(name, problem, ()))
    return to_node(leaf, name)


def _starts(region: Region, carries: list[Node], slices: list[Node], number: Node) -> list[Node]:
    """What the nodes of the body may depend on that changes from iteration to iteration."""
    aliases = [c.alias for c in region.cells.values() if c.written and c.alias is not None]
    return [*carries, *slices, number, *aliases]


def _used(outputs: Sequence[Node], stops: Mapping[Node, Any]) -> set[Node]:
    """The nodes that `outputs` need, `stops` replaced."""
    stack, seen = list(outputs), set(outputs)
    while stack:
        node = stack.pop()
        operands = (stops[node],) if node in stops else node.inputs
        for operand in operands:
            if operand not in seen and operand.value is None:
                seen.add(operand)
                stack.append(operand)
    return seen


def _hoist(
    outputs: Sequence[Node],
    carried: set[Node],
    slices: list[Node],
    stacks: list[Node],
    replaced: dict[Node, Node],
    length: int,
) -> None:
    """Compute contractions of slices with what stays the same for all iterations at once, before the loop.

    The bits are the same, since the order of a contraction's sum does not depend on its other axes.
    """
    changing = dependents(outputs, list(carried), gradients=False) if carried else {}
    sliced = dependents(outputs, slices, gradients=False)
    found = [
        node
        for node in sliced
        if node.op.name == "contract" and node not in changing and any(operand not in sliced for operand in node.inputs)
    ]
    if not found:
        return
    given = dict(zip(slices, stacks))
    for number, (node, stack) in enumerate(zip(found, batch(found, given, length))):
        replaced[node] = placeholder(number, node.shape, node.dtype, node.requires_grad)
        slices.append(replaced[node])
        stacks.append(stack)


def _slice(stack: Node, at: int) -> Tensor:
    rank = len(stack.shape)
    starts, stops = (at,) + (0,) * (rank - 1), (at + 1, *stack.shape[1:])
    part = emit("slice", stack, attributes=(starts, stops, (1,) * rank))
    return Tensor(emit("reshape", part, attributes=(stack.shape[1:],)))


def _unrolled(f: Any, carry: Any, stacks: list[Node], definition: Any, count: int, reverse: bool) -> tuple[Any, Any]:
    """The iterations one behind the other."""
    rows: list[list[Node]] = []
    structure: Any = None
    for step in range(count):
        at = count - 1 - step if reverse else step
        carry, y = f(carry, tree_unflatten(definition, [_slice(stack, at) for stack in stacks]))
        leaves, structure = tree_flatten(y)
        rows.append([_result(leaf) for leaf in leaves])
    if reverse:
        rows.reverse()
    columns = [
        Tensor(emit("concat", *(emit("reshape", n, attributes=((1, *n.shape),)) for n in parts), attributes=(0,)))
        for parts in zip(*rows)
    ]
    return carry, tree_unflatten(structure, columns)


def _by_blocks(
    f: Any, init: Any, stacks: list[Node], definition: Any, count: int, reverse: bool, unroll: int
) -> tuple[Any, Any]:
    """A loop over blocks of `unroll` iterations."""
    blocks = [Tensor(emit("reshape", s, attributes=((count // unroll, unroll, *s.shape[1:]),))) for s in stacks]

    def block(carry: Any, parts: Any) -> tuple[Any, Any]:
        return _unrolled(f, carry, [part._node for part in parts], definition, unroll, reverse)

    carry, ys = scan(block, init, blocks, count // unroll, reverse)
    leaves, structure = tree_flatten(ys)
    joined = [Tensor(emit("reshape", y._node, attributes=((count, *y.shape[2:]),))) for y in leaves]
    return carry, tree_unflatten(structure, joined)
