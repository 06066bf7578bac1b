"""Choices that depend on values: `cond` and `switch`.

The functions that are passed in are called once, on placeholders, and recorded as regions; which of them runs is
decided when the program runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..conversion import to_node
from ..dtypes import bool_, int64, uint64
from ..errors import ConfigError, DTypeError, ShapeError
from ..graph.node import Node, recorded
from ..ops.base import emit, function_given, message, mode
from ..ops.branches import close
from ..ops.control import results
from ..ops.leaf import placeholder
from ..recording import cast, full
from ..tensor import Tensor, state
from ..tree import TreeDef, tree_flatten, tree_flatten_with_path, tree_unflatten
from .looping import Region

__all__ = ["cond", "switch"]

_NUMBERS = (float, int, bool, complex)
_LEAVES = (Tensor, np.ndarray, np.generic, *_NUMBERS)


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """``true_fun(*operands)`` if `pred` holds, else ``false_fun(*operands)``; only the chosen function's work is done.

    Both functions are recorded, on placeholders, and have to return the same structure, shapes and dtypes. The choice
    has its own derivatives, batching and native code, and is the same inside and outside of transformations.

    Args:
        pred: a bool, shape ``()``.
        true_fun, false_fun: take the operands and return a tree. They may close over tensors, which have gradients, and
            write state: a value that one of them does not write stays as it is.
        operands: trees of tensors, arrays and numbers.

    Returns:
        What the functions return. A Python number takes the dtype that the other function returns in its place.

    Numerics:
        A batched predicate, under `vmap`, makes all examples run both functions and select. The reverse sweep computes
        the inside of the chosen function again.

    Raises:
        DTypeError, ShapeError: `pred` is no bool scalar, or the results differ. ConfigError: their structures differ.

    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor(-2.0)
        >>> cr.cond(x > 0, lambda x: x, lambda x: -x, x)
        tensor(2.)
    """
    for label, function in (("true_fun", true_fun), ("false_fun", false_fun)):
        function_given("cond", label, function)
    number = cast(predicate("cond", pred, "the predicate"), int64)
    return _choose("cond", number, (false_fun, true_fun), ("false_fun", "true_fun"), operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``, with `index` moved into range; only the chosen function's work is done.

    Args:
        index: a whole number, shape ``()``; below 0 it counts as 0, beyond the last branch as the last.
        branches: functions as for `cond`.
        operands: trees of tensors, arrays and numbers.

    Returns:
        What the functions return: the same structure, shapes and dtypes. See `cond`.

    Raises:
        ConfigError: there are no branches. DTypeError, ShapeError: `index` is no whole number, or results differ.

    Example:
        >>> import chainrule as cr
        >>> operations = [cr.sin, cr.cos, lambda x: x * x]
        >>> cr.switch(cr.asarray(2), operations, cr.tensor(3.0))
        tensor(9.)
    """
    functions = tuple(branches)
    if not functions:
        raise ConfigError(message("switch", "there are no branches", ()))
    for k, function in enumerate(functions):
        function_given("switch", f"branch {k}", function)
    if isinstance(index, int) and not isinstance(index, bool):
        index = min(max(index, 0), len(functions) - 1)  # beyond 64 bits too
    number = to_node(index, "switch")
    if number.dtype.kind not in "iu":
        problem = f"the index must be a whole number, it is {number.dtype.name}"
        raise DTypeError(message("switch", problem, (number,), "convert with .astype(chainrule.int64), or use cond"))
    if number.shape:
        raise ShapeError(message("switch", f"the index must have shape [], not {list(number.shape)}", (number,)))
    last = full(len(functions) - 1, (), int64)
    if number.dtype is uint64:  # may be too large for int64
        number = emit("minimum", number, full(len(functions) - 1, (), uint64))
    number = emit("maximum", emit("minimum", cast(number, int64), last), full(0, (), int64))
    labels = tuple([f"branch {k}" for k in range(len(functions))])
    return _choose("switch", number, functions, labels, operands)


def predicate(name: str, value: Any, what: str) -> Node:
    """A node that is one bool: what decides which branch runs, or whether a loop goes on."""
    if not isinstance(value, (Tensor, np.ndarray, np.generic, *_NUMBERS)):
        raise DTypeError(message(name, f"{what} must be a bool, it is {type(value).__name__}", ()))
    node = to_node(value, name)
    if node.dtype is not bool_:
        problem = f"{what} must be bool, it is {node.dtype.name}"
        raise DTypeError(message(name, problem, (node,), "compare, as in x > 0"))
    if node.shape:
        help = "reduce with any() or all(), or use where() to choose element by element"
        raise ShapeError(message(name, f"{what} must have shape [], not {list(node.shape)}", (node,), help))
    return node


def _choose(
    name: str, number: Node, functions: Sequence[Callable[..., Any]], labels: Sequence[str], operands: tuple
) -> Any:
    """The results of the function of that number."""
    leaves, definition = tree_flatten(operands)
    nodes = [to_node(leaf, name) for leaf in leaves]
    inner = [placeholder(i, n.shape, n.dtype, mode.grad_enabled and n.requires_grad) for i, n in enumerate(nodes)]
    given = dict(zip(inner, nodes))
    start = recorded()
    regions: list[Region] = []
    found: list[list[Any]] = []
    paths: list[str] = []
    structures: list[TreeDef] = []
    for function in functions:
        region = Region(state.trace, name, "a branch")
        state.trace = region
        try:
            value = function(*tree_unflatten(definition, [Tensor(n) for n in inner]))
            paths, results_, structure = tree_flatten_with_path(value, "the result")
            found.append([_leaf(name, leaf) for leaf in results_])
        finally:
            state.trace = region.parent
        regions.append(region)
        structures.append(structure)
    for structure, label in zip(structures, labels):
        if structure != structures[0]:
            problem = f"{labels[0]} returns {structures[0]}, {label} returns {structure}"
            raise ConfigError(message(name, f"the structures of the results differ: {problem}", ()))
    columns = [_unified(name, path, parts, labels) for path, parts in zip(paths, zip(*found))]
    for region in regions:
        for cell in region.cells.values():
            given[cell.before] = cell.before
            if cell.alias is not None:
                given[cell.alias] = cell.before
    ends = [_same(column, given) for column in columns]  # what is the same whichever runs needs no choice
    moving = [i for i, node in enumerate(ends) if node is None]
    columns = [columns[i] for i in moving]
    cells = {key: cell for region in regions for key, cell in region.cells.items() if cell.written}
    for key, cell in cells.items():
        values = []
        for region in regions:
            own = region.cells.get(key)
            values.append(own.current if own is not None and own.written else cell.before)
        columns.append(values)
    closed = close([*zip(*columns)] or [()] * len(functions), lambda node: node.serial > start, given)
    out = results(closed.branches, (number, *closed.operands), range(len(columns)))
    for cell, node in zip(cells.values(), out[len(moving) :]):
        cell.tensor._rebind(node)
    for place, node in zip(moving, out):
        ends[place] = node
    return tree_unflatten(structures[0], [Tensor(node) for node in ends if node is not None])


def _same(column: Sequence[Node], given: Mapping[Node, Node]) -> Node | None:
    """The node that all branches return as they were given it, None if there is no such node."""
    outer = given.get(column[0])
    if outer is None or any(given.get(node) is not outer for node in column):
        return None
    return emit("alias", outer)


def _leaf(name: str, leaf: Any) -> Any:
    """A node, or a number whose dtype the other branches decide."""
    if not isinstance(leaf, _LEAVES):
        raise DTypeError(message(name, f"a branch returned {type(leaf).__name__}, not tensors", ()))
    return leaf if isinstance(leaf, _NUMBERS) and not isinstance(leaf, np.generic) else to_node(leaf, name)


def _unified(name: str, path: str, parts: Sequence[Any], labels: Sequence[str]) -> list[Node]:
    """The nodes of one result, all of one type."""
    strong = next((part for part in parts if isinstance(part, Node)), None)
    if strong is None and not any(isinstance(part, bool) for part in parts):
        widest = next(kind for kind in (complex, float, int) if any(isinstance(part, kind) for part in parts))
        parts = [widest(part) for part in parts]
    nodes = []
    for part in parts:
        if isinstance(part, Node):
            nodes.append(part)
        elif strong is not None and not strong.shape and _fits(part, strong):
            nodes.append(full(part, (), strong.dtype, name))
        else:
            nodes.append(to_node(part, name))
    first = nodes[0]
    for node, label in zip(nodes, labels):
        for kind, same in ((ShapeError, node.shape == first.shape), (DTypeError, node.dtype is first.dtype)):
            if not same:
                types = [f"{n.dtype.name}{list(n.shape)}" for n in (first, node)]
                problem = f"{path} is {types[0]} in {labels[0]} and {types[1]} in {label}"
                help = "" if kind is ShapeError else "convert with .astype(...)"
                raise kind(message(name, problem, (), help))
    return nodes


def _fits(number: Any, node: Node) -> bool:
    """Whether a Python number takes the dtype of `node`."""
    kinds = {bool: "b", int: "iufc", float: "fc", complex: "c"}
    return node.dtype.kind in kinds.get(type(number), "")
