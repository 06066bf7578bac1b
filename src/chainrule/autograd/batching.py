"""`vmap`: a function for one example becomes a function for many."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..conversion import to_node
from ..dtypes import float64, uint64
from ..errors import CompileError, ConfigError, DTypeError, ShapeError
from ..graph.node import Node
from ..ops.base import emit, function_given, message
from ..ops.leaf import placeholder
from ..recording import full, permute
from ..tensor import Tensor, state
from ..transforms.batch import batch
from ..transforms.paths import dependents
from ..tree import TreeDef, broadcast_prefix, tree_flatten_with_path, tree_unflatten
from .differentiation import NUMBERS


class _Argument:
    """One leaf of the arguments: its path as written in code, its value, and the axis to map over or None."""

    __slots__ = ("axis", "leaf", "node", "path")

    def __init__(self, path: str, leaf: Any, axis: Any):
        self.path = path
        self.leaf = leaf
        self.axis = axis
        self.node: Node | None = None  # with the axis of examples in front


def vmap(
    f: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: Any = 0,
    *,
    axis_size: int | None = None,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies `f` to every slice of its arguments at once and stacks the results.

    Args:
        in_axes: the axis of the arguments that counts examples: a number for all, None for arguments that all examples
            share, or a tuple with an entry for each positional argument, each again a number, None, or a tree that may
            stop above the argument's leaves. Keyword arguments are mapped over axis 0, unless `in_axes` is a dict: its
            keys are the positions and names of arguments, and those that it does not name have axis 0.
        out_axes: where the results have that axis; a number or a tree like the result. None for results that do not
            differ from example to example.
        axis_size: the number of examples; needed if no argument is mapped over.
        chunk_size: apply `f` to so many examples at a time, one chunk after the other, which needs less memory.

    Returns:
        A function of the same arguments, which gives what `f` returns with one more axis.

    Inside, tensors are placeholders without values: Python control flow cannot depend on them. Random draws differ from
    example to example. State may be written if the value is the same for all examples.

    Raises:
        ShapeError: the axes have different sizes, or there is no such axis. ConfigError: `in_axes` or `out_axes` does
            not fit. DTypeError: what is mapped over is no tensor. PlaceholderError: a value is asked for inside.
            CompileError: state is written that differs from example to example.

    Example:
        >>> import chainrule as cr
        >>> rows = cr.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> cr.vmap(lambda row, scale: scale * row.sum(), in_axes=(0, None))(rows, 10.0)
        tensor([30., 70.])
        >>> cr.vmap(cr.vmap(lambda a, b: a * b, (None, 0)), (0, None))(rows[0], rows[1])
        tensor([[3., 4.],
                [6., 8.]])
    """
    function_given("vmap", "f", f)
    for name, number in (("axis_size", axis_size), ("chunk_size", chunk_size)):
        if number is not None and (not _whole(number) or number < 1):
            raise ConfigError(message("vmap", f"{name} must be a positive whole number, not {number!r}", ()))

    @functools.wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        arguments, definition, keywords = _arguments(in_axes, args, kwargs)
        size = _size(arguments, axis_size)
        _move_axes(arguments)

        def call(leaves: list[Any]) -> Any:
            positional = tree_unflatten(definition, leaves[: definition.num_leaves])
            return f(*positional, **tree_unflatten(keywords, leaves[definition.num_leaves :]))

        once = _record(call, arguments, out_axes)
        step = size if chunk_size is None else int(chunk_size)
        starts = range(0, size, step) if size else [0]
        chunks = [_batched(once, arguments, start, min(start + step, size)) for start in starts]
        return once.joined(chunks)

    return mapped


# --- arguments --------------------------------------------------------------------------------------------------


def _arguments(in_axes: Any, args: tuple, kwargs: dict) -> tuple[list[_Argument], TreeDef, TreeDef]:
    """The leaves of all arguments with their axes, and the structures of the positional and the named ones."""
    paths, leaves, definition = tree_flatten_with_path(args, "args")
    named, more, keywords = tree_flatten_with_path(kwargs, "kwargs")
    by_name: dict[Any, Any] = {}
    if isinstance(in_axes, dict):
        unknown = [key for key in in_axes if key not in kwargs and key not in range(len(args))]
        if unknown:
            named_ones = ", ".join(kwargs) or "no named ones"
            problem = f"in_axes names {unknown[0]!r}, there are {len(args)} positional arguments and {named_ones}"
            raise ConfigError(message("vmap", problem, ()))
        positional = tuple(in_axes.get(i, 0) for i in range(len(args)))
        by_name = in_axes
    elif isinstance(in_axes, (tuple, list)):
        positional = tuple(in_axes)
        if len(positional) != len(args):
            problem = f"in_axes has {len(positional)} entries for {len(args)} arguments"
            raise ConfigError(message("vmap", problem, ()))
    else:
        positional = (in_axes,) * len(args)
    axes = broadcast_prefix(positional, definition, "vmap: in_axes")
    axes += broadcast_prefix({name: by_name.get(name, 0) for name in kwargs}, keywords, "vmap: in_axes")
    found = [_Argument(*parts) for parts in zip(paths + named, leaves + more, axes)]
    return found, definition, keywords


def _whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _size(arguments: list[_Argument], axis_size: int | None) -> int:
    """The number of examples, on which all arguments have to agree; fills the nodes of those mapped over."""
    size, first, first_axis = None if axis_size is None else int(axis_size), "", None
    nodes: list[Node] = []
    for argument in arguments:
        axis = argument.axis
        if axis is None:
            continue
        leaf = argument.leaf
        if not isinstance(leaf, (Tensor, np.ndarray, np.generic)):
            problem = f"{argument.path} is {type(leaf).__name__}, which has no axis to map over"
            raise DTypeError(message("vmap", problem, (), "set its entry of in_axes to None"))
        node = argument.node = to_node(leaf, "vmap")
        nodes.append(node)
        rank = len(node.shape)
        if not _whole(axis) or not -rank <= axis < rank:
            problem = f"{argument.path} has no axis {axis!r} to map over"
            help = "" if rank else "set its entry of in_axes to None"
            raise ShapeError(message("vmap", problem, (node,), help))
        argument.axis = axis = int(axis) % rank
        if size is None:
            size, first, first_axis = node.shape[axis], argument.path, axis
        elif node.shape[axis] != size:
            if first_axis is None:
                problem = f"axis_size is {size}, {argument.path} has {node.shape[axis]} examples (axis {axis})"
            else:
                problem = f"{first} has {size} examples (axis {first_axis}), {argument.path} has"
                problem += f" {node.shape[axis]} (axis {axis})"
            raise ShapeError(message("vmap", problem, (nodes[0], node) if len(nodes) > 1 else (node,)))
    if size is None:
        help = "give in_axes a number, or say how many examples there are with axis_size"
        raise ConfigError(message("vmap", "no argument has an axis to map over", (), help))
    return size


def _move_axes(arguments: list[_Argument]) -> None:
    for argument in arguments:
        if argument.node is not None:
            rank, axis = len(argument.node.shape), argument.axis
            argument.node = permute(argument.node, (axis, *(i for i in range(rank) if i != axis)))


# --- one call ---------------------------------------------------------------------------------------------------


class _Once(NamedTuple):
    """The function recorded for one example: what its placeholders stand for, and what it returns."""

    inner: list[Node | None]  # for each argument its placeholder, None if all examples share it
    lane: Node
    nodes: list[Node]
    axes: list[int | None]
    definition: TreeDef

    def joined(self, chunks: list[list[Node]]) -> Any:
        """The results of all chunks one behind the other."""
        outputs = chunks[0]
        if len(chunks) > 1:
            outputs = [
                column[0] if axis is None else emit("concat", *column, attributes=(axis,))
                for column, axis in zip(zip(*chunks), self.axes)
            ]
        return tree_unflatten(self.definition, [Tensor(node) for node in outputs])


def _record(call: Callable[[list[Any]], Any], arguments: list[_Argument], out_axes: Any) -> _Once:
    """Call the function on placeholders for one example."""
    inner: list[Node | None] = []
    lane = placeholder(len(arguments), (), uint64)
    region = _Region(state.trace, [lane])
    outer, state.trace = state.trace, region
    before, state.lanes = state.lanes, (*state.lanes, lane)
    try:
        leaves = []
        for position, argument in enumerate(arguments):
            node = argument.node
            if node is None:
                inner.append(None)
                leaves.append(argument.leaf)
                continue
            one = placeholder(position, node.shape[1:], node.dtype, node.requires_grad)
            inner.append(one)
            region.sources.append(one)
            leaves.append(Tensor(one))
        nodes, axes, definition = _result(call(leaves), out_axes)
    finally:
        state.trace, state.lanes = outer, before
    region.finish()
    for node, axis in zip(nodes, axes):
        if axis is None and region.differs(node):
            raise ConfigError(message("vmap", "out_axes is None for a result that differs by example", (node,)))
    return _Once(inner, lane, nodes, axes, definition)


def _batched(once: _Once, arguments: list[_Argument], start: int, stop: int) -> list[Node]:
    """The results for examples `start` to `stop`."""
    replaced: dict[Node, Node] = {}
    for inner, argument in zip(once.inner, arguments):
        if inner is not None and argument.node is not None:
            replaced[inner] = _rows(argument.node, start, stop)
    count = stop - start
    numbers = emit("iota", attributes=((count,), 0, uint64))
    replaced[once.lane] = numbers if not start else emit("add", numbers, full(start, (count,), uint64))
    outputs = []
    for node, original, axis in zip(batch(once.nodes, replaced, count), once.nodes, once.axes):
        if axis is None:
            outputs.append(original)
            continue
        order = list(range(1, len(node.shape)))
        order.insert(axis, 0)
        outputs.append(permute(node, tuple(order)))
    return outputs


def _rows(node: Node, start: int, stop: int) -> Node:
    if start == 0 and stop == node.shape[0]:
        return node
    rest = node.shape[1:]
    return emit("slice", node, attributes=((start, *(0 for _ in rest)), (stop, *rest), (1,) * len(node.shape)))


def _result(result: Any, out_axes: Any) -> tuple[list[Node], list[int | None], TreeDef]:
    paths, leaves, definition = tree_flatten_with_path(result, "output")
    for path, leaf in zip(paths, leaves):
        if not isinstance(leaf, NUMBERS):
            problem = f"the function returned {type(leaf).__name__}, not tensors"
            raise DTypeError(message("vmap", problem, (), f"{path} cannot be stacked"))
    nodes = [to_node(leaf, "vmap") for leaf in leaves]
    axes = broadcast_prefix(out_axes, definition, "vmap: out_axes")
    for path, node, axis in zip(paths, nodes, axes):
        rank = len(node.shape) + 1
        if axis is not None and (not _whole(axis) or not -rank <= axis < rank):
            problem = f"{path} has no place for axis {axis!r} of out_axes: with it there are {rank} axes"
            raise ShapeError(message("vmap", problem, (node,)))
    return nodes, [axis if axis is None else int(axis) % (len(n.shape) + 1) for axis, n in zip(axes, nodes)], definition


# --- state ------------------------------------------------------------------------------------------------------


class _Region:
    """State from outside while the function is recorded (the place of a `Trace`): written once, if examples agree.

    `root` is the trace of the compiled function around it, or None; `sources` are what differs from example to example.
    """

    def __init__(self, parent: Any, sources: list[Node]):
        self.parent = parent
        self.root: Any = None if parent is None else parent.root
        self.sources = sources
        self.written: dict[int, tuple[Tensor, Node]] = {}

    def read(self, tensor: Tensor) -> Node:
        """The node of a tensor from outside."""
        found = self.written.get(id(tensor))
        if found is not None:
            return found[1]
        parent = self.parent
        if parent is None or tensor._trace is parent:
            return tensor._node
        node: Node = parent.read(tensor)
        return node

    def differs(self, node: Node) -> bool:
        """Whether the value of `node` differs from example to example."""
        return node in dependents([node], self.sources, gradients=False)

    def write(self, tensor: Tensor, node: Node) -> None:
        """Give a tensor from outside another value, which has to be the same for all examples."""
        if self.differs(node):
            what = f"the state {tensor.name!r}" if tensor.name else "a tensor from outside"
            problem = f"{what} is given a value that differs from example to example"
            help = "return the value instead; a layer keeps its state after .eval()"
            raise CompileError(message("vmap", problem, (node,), help))
        self.written[id(tensor)] = (tensor, node)

    def finish(self) -> None:
        """Write what was written, once."""
        for tensor, node in self.written.values():
            tensor._rebind(node)

    def read_grad(self, tensor: Tensor) -> Any:
        """What is in the gradient slot of a tensor from outside."""
        parent = self.parent
        return tensor._grad if parent is None or tensor._trace is parent else parent.read_grad(tensor)

    def write_grad(self, tensor: Tensor, value: Tensor | None) -> None:
        """Not possible: each example has a gradient of its own."""
        problem = "backward() inside vmap would write the .grad of a tensor from outside for every example"
        raise CompileError(message("vmap", problem, (), "use chainrule.grad inside, or backward() behind vmap"))

    def lift(self, getter: Callable[[], float]) -> Node:
        """A hyperparameter."""
        return full(float(getter()), (), float64) if self.parent is None else self.parent.lift(getter)

    def guard(self, getter: Callable[[], Any]) -> Any:
        """A flag on which the recorded graph depends."""
        return getter() if self.parent is None else self.parent.guard(getter)
