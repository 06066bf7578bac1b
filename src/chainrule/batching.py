"""`vmap`: a function for one example becomes a function for many."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .conversion import to_node
from .dtypes import uint64
from .errors import ConfigError, DTypeError, ShapeError
from .graph.node import Node
from .ops.base import emit, message
from .ops.leaf import placeholder
from .recording import permute
from .tensor import Tensor, state
from .transforms.batch import batch
from .transforms.paths import dependents
from .tree import broadcast_prefix, tree_flatten, tree_flatten_with_path, tree_unflatten


def vmap(f: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """A function that applies `f` to every slice of its arguments at once and stacks the results.

    Args:
        in_axes: the axis of the arguments that counts examples: a number for all, None for arguments that all examples
            share, or a tuple with an entry for each argument, each again a number, None, or a tree like the argument.
        out_axes: where the results have that axis; a number or a tree like the result.

    Inside, tensors are placeholders without values: Python control flow cannot depend on them. Keyword arguments are
    sliced along axis 0. Random draws differ from example to example.
    Raises ShapeError if the axes have different sizes, PlaceholderError if a value is asked for inside.
    """

    @functools.wraps(f)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        paths, leaves, definition = tree_flatten_with_path(args, "args")
        if isinstance(in_axes, (tuple, list)):
            if len(in_axes) != len(args):
                raise ConfigError(message("vmap", f"in_axes has {len(in_axes)} entries for {len(args)} arguments", ()))
            axes = broadcast_prefix(tuple(in_axes), definition, "vmap: in_axes")
        else:
            axes = [in_axes] * len(leaves)
        named, more, keywords = tree_flatten_with_path(kwargs, "kwargs")
        paths, leaves, axes = paths + named, leaves + more, axes + [0] * len(more)
        replaced: dict[Node, Node] = {}
        size, first = None, ""
        for position, (path, leaf, axis) in enumerate(zip(paths, leaves, axes)):
            if axis is None:
                continue
            node = _batched(path, leaf)
            rank = len(node.shape)
            if not isinstance(axis, int) or not -rank <= axis < rank:
                raise ShapeError(message("vmap", f"{path} has no axis {axis!r} to map over", (node,)))
            axis %= rank
            if size is None:
                size, first = node.shape[axis], path
            elif node.shape[axis] != size:
                problem = f"{first} has {size} examples, {path} has {node.shape[axis]} (axis {axis})"
                raise ShapeError(message("vmap", problem, (to_node(leaves[paths.index(first)]), node)))
            node = permute(node, (axis, *(i for i in range(rank) if i != axis)))
            inner = placeholder(position, node.shape[1:], node.dtype, node.requires_grad)
            replaced[inner] = node
            leaves[position] = Tensor(inner)
        if size is None:
            raise ConfigError(message("vmap", "no argument has an axis to map over", (), "give in_axes a number"))
        lane = placeholder(len(leaves), (), uint64)
        replaced[lane] = emit("iota", attributes=((size,), 0, uint64))
        before = state.lanes
        state.lanes = (*before, lane)
        try:
            call = tree_unflatten(definition, leaves[: definition.num_leaves])
            result = f(*call, **tree_unflatten(keywords, leaves[definition.num_leaves :]))
        finally:
            state.lanes = before
        return _stacked(result, out_axes, replaced, size)

    return mapped


def _batched(path: str, leaf: Any) -> Node:
    if not isinstance(leaf, (Tensor, np.ndarray, np.generic)):
        problem = f"{path} is {type(leaf).__name__}, which has no axis to map over"
        raise DTypeError(message("vmap", problem, (), "set its entry of in_axes to None"))
    return to_node(leaf, "vmap")


def _stacked(result: Any, out_axes: Any, replaced: dict[Node, Node], size: int) -> Any:
    leaves, definition = tree_flatten(result)
    for leaf in leaves:
        if not isinstance(leaf, (Tensor, np.ndarray, np.generic, float, int)):
            raise DTypeError(message("vmap", f"the function returned {type(leaf).__name__}, not tensors", ()))
    nodes = [to_node(leaf, "vmap") for leaf in leaves]
    axes = broadcast_prefix(out_axes, definition, "vmap: out_axes")
    outputs = []
    for node, original, axis in zip(batch(nodes, replaced, size), nodes, axes):
        if axis is None:
            if original in dependents([original], list(replaced), gradients=False):
                raise ConfigError(message("vmap", "out_axes is None for a result that differs by example", (original,)))
            outputs.append(Tensor(original))
            continue
        rank = len(node.shape)
        if not -rank <= axis < rank:
            raise ShapeError(message("vmap", f"the result has no place for axis {axis}", (node,)))
        order = list(range(1, rank))
        order.insert(axis % rank, 0)
        outputs.append(Tensor(permute(node, tuple(order))))
    return tree_unflatten(definition, outputs)
