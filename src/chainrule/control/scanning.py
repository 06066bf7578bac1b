"""`associative_scan`: all partial results of an associative operation, in about log2(n) steps on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..conversion import to_node
from ..errors import ConfigError, DTypeError, ShapeError
from ..graph.node import Node
from ..ops.base import emit, function_given, message
from ..recording import normal_axis, reshape
from ..tensor import Tensor
from ..tree import tree_flatten, tree_flatten_with_path, tree_unflatten


def associative_scan(fn: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """Element i of the result combines elements 0 to i of `elems` by `fn`, as `cumsum` does by addition.

    ``y[i] = fn(y[i - 1], x[i])``, computed in a tree: neighbours are combined first, then the partial results of pairs,
    with about 2 n applications in all, in 2 log2(n) applications to whole arrays.

    Args:
        fn: takes two trees like `elems` with any extent along `axis` and combines them slice by slice. It has to be
            associative: ``fn(fn(a, b), c) == fn(a, fn(b, c))``.
        elems: a tree of tensors and arrays with the same extent along `axis`.
        reverse: combine elements i to n - 1, the last ones first.
        axis: along which axis to go.

    Returns:
        A tree like `elems`.

    Numerics:
        Rounding is that of the tree, not of a loop: the errors of long sums are smaller.

    Raises:
        ShapeError: extents differ, or `fn` changes a shape. ConfigError: `fn` returns another structure.

    Example:
        >>> import chainrule as cr
        >>> cr.associative_scan(lambda a, b: a * b, cr.tensor([1.0, 2.0, 3.0, 4.0]))
        tensor([ 1.,  2.,  6., 24.])

    Reference:
        Blelloch, "Prefix sums and their applications", 1990, section 1.2.
    """
    name = "associative_scan"
    function_given(name, "fn", fn)
    paths, leaves, definition = tree_flatten_with_path(elems, "elems")
    nodes, axes = [], []
    for path, leaf in zip(paths, leaves):
        if not isinstance(leaf, (Tensor, np.ndarray, np.generic)):
            raise DTypeError(message(name, f"{path} is {type(leaf).__name__}, which has no axis to go along", ()))
        node = to_node(leaf, name)
        axes.append(normal_axis(name, axis, len(node.shape), node))
        nodes.append(node)
        if node.shape[axes[-1]] != nodes[0].shape[axes[0]]:
            extents = nodes[0].shape[axes[0]], node.shape[axes[-1]]
            problem = f"{paths[0]} has {extents[0]} elements along axis {axis}, {path} has {extents[1]}"
            raise ShapeError(message(name, problem, tuple(nodes)))
    if not nodes:
        raise ConfigError(message(name, "elems has no tensors", ()))

    def combine(a: list[Node], b: list[Node]) -> list[Node]:
        if reverse:
            a, b = b, a
        trees = (tree_unflatten(definition, [Tensor(node) for node in part]) for part in (a, b))
        found, structure = tree_flatten(fn(*trees))
        if structure != definition:
            raise ConfigError(message(name, f"fn takes {definition} and returns {structure}", ()))
        results = [to_node(leaf, name) for leaf in found]
        for path, operand, result in zip(paths, a, results):
            if result.shape != operand.shape or result.dtype is not operand.dtype:
                types = [f"{n.dtype.name}{list(n.shape)}" for n in (operand, result)]
                kind = ShapeError if result.shape != operand.shape else DTypeError
                raise kind(message(name, f"fn makes {types[1]} of {path}, which is {types[0]}", ()))
        return results

    def cut(xs: list[Node], start: int, stop: int, step: int = 1) -> list[Node]:
        return [_cut(x, at, start, stop, step) for x, at in zip(xs, axes)]

    def scanned(xs: list[Node]) -> list[Node]:
        count = xs[0].shape[axes[0]]
        if count < 2:
            return xs
        half = count // 2
        odd = scanned(combine(cut(xs, 0, 2 * half, 2), cut(xs, 1, 2 * half, 2)))  # results 1, 3, 5, ...
        inner = (count - 1) // 2
        even = cut(xs, 0, 1)
        if inner:
            later = combine(cut(odd, 0, inner), cut(xs, 2, count, 2))
            even = [emit("concat", a, b, attributes=(at,)) for a, b, at in zip(even, later, axes)]
        return [_interleaved(a, b, at) for a, b, at in zip(even, odd, axes)]

    if reverse:
        nodes = [emit("flip", node, attributes=((at,),)) for node, at in zip(nodes, axes)]
    results = scanned(nodes)
    if reverse:
        results = [emit("flip", node, attributes=((at,),)) for node, at in zip(results, axes)]
    return tree_unflatten(definition, [Tensor(node) for node in results])


def _cut(x: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
    """Every `step`-th slice from `start` to `stop` along an axis."""
    if (start, stop, step) == (0, x.shape[axis], 1):
        return x
    rank = len(x.shape)
    starts, steps, stops = [0] * rank, [1] * rank, list(x.shape)
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return emit("slice", x, attributes=(tuple(starts), tuple(stops), tuple(steps)))


def _interleaved(even: Node, odd: Node, axis: int) -> Node:
    """``even[0], odd[0], even[1], ...`` along an axis; `even` may have one slice more."""
    count = odd.shape[axis]
    shape = list(odd.shape)
    apart = (*shape[: axis + 1], 1, *shape[axis + 1 :])
    pairs = [reshape(part, apart) for part in (_cut(even, axis, 0, count), odd)]
    shape[axis] = 2 * count
    joined = reshape(emit("concat", *pairs, attributes=(axis + 1,)), tuple(shape))
    if even.shape[axis] == count:
        return joined
    return emit("concat", joined, _cut(even, axis, count, count + 1), attributes=(axis,))
