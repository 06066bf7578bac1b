"""What the derivatives of functions share: a call on aliases of its arguments, and what of it may be seen outside.

A derivative is taken with respect to aliases, fresh nodes that require grad. Afterwards nothing may require grad for
their sake alone, since a later derivative would go through this one: `settle` takes that back, and `outward` does for
graphs that are still needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..conversion import to_node
from ..errors import ConfigError, DTypeError, ShapeError
from ..graph.node import Node
from ..ops.base import emit, function_given, message, mode, primitive
from ..recording import full
from ..tensor import Tensor, detached, node_of, state
from ..tree import TreeDef, tree_flatten, tree_flatten_with_path, tree_unflatten

_ALIAS = primitive("alias")
_CONSTANT = primitive("constant")
#: the leaves that stand for tensors
NUMBERS = (Tensor, np.ndarray, np.generic, float, int, complex)


class Recorded(NamedTuple):
    """A call of a function on aliases of what it is differentiated by.

    Attributes:
        aliases: the leaves of the chosen arguments.
        definition: the structure of these arguments, as a tuple.
        paths: the leaves as written in code.
        roots: the leaves of the result.
        out_definition, out_paths: the same of the result.
        aux: what the function returned beside it.
        outer: whether operations are recorded for differentiation around the call.
    """

    aliases: list[Node]
    definition: TreeDef
    paths: list[str]
    roots: list[Node]
    out_definition: TreeDef
    out_paths: list[str]
    aux: Any
    outer: bool


def record(
    name: str,
    f: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    numbers: Sequence[int],
    has_aux: bool,
    what: str = "args",
) -> Recorded:
    """Call `f` with aliases in the place of the arguments `numbers`; `name` and `what` are for messages."""
    function_given(name, "f", f)
    new_args = list(args)
    aliases: list[Node] = []
    paths: list[str] = []
    definitions = []
    for number in numbers:
        places, leaves, definition = tree_flatten_with_path(args[number], f"{what}[{number}]")
        fresh = [alias(node) for node in inexact(name, places, leaves)]
        new_args[number] = tree_unflatten(definition, [Tensor(node) for node in fresh])
        aliases += fresh
        paths += places
        definitions.append(definition)
    outer = mode.grad_enabled
    mode.grad_enabled = True
    written: list[Tensor] = []
    around, state.writes = state.writes, written
    try:
        result, aux = split_aux(name, f(*new_args, **kwargs), has_aux)
        out_paths, out_leaves, out_definition = tree_flatten_with_path(result)
        roots = output_nodes(name, out_leaves, has_aux)
    finally:
        mode.grad_enabled = outer
        state.writes = around
        if written:
            _release(written, aliases, outer)
            if around is not None:
                around += written
    together = TreeDef(tuple, children=tuple(definitions))
    return Recorded(aliases, together, paths, roots, out_definition, out_paths, aux, outer)


def _release(written: list[Tensor], aliases: Sequence[Node], outer: bool) -> None:
    """Keep the values of tensors that a function has written, and no history for the sake of `aliases`."""
    tensors = [tensor for tensor in {id(tensor): tensor for tensor in written}.values() if tensor._node.requires_grad]
    for tensor, node in zip(tensors, outward([tensor._node for tensor in tensors], aliases, outer)):
        if not tensor._leaf:
            tensor._node = node


def argument_numbers(name: str, argnums: Any, args: Sequence[Any]) -> tuple[int, ...]:
    """`argnums`, a number or several, counted from the front; ConfigError if there is no such argument."""
    numbers = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    chosen: list[int] = []
    for number in numbers:
        if not isinstance(number, (int, np.integer)) or isinstance(number, bool):
            raise ConfigError(message(name, f"argnums is a whole number or several, not {argnums!r}", ()))
        number = int(number)
        if not -len(args) <= number < len(args):
            problem = f"argnums names argument {number}, there are {len(args)} positional arguments"
            raise ConfigError(message(name, problem, ()))
        if number % len(args) in chosen:
            raise ConfigError(message(name, f"argnums names argument {number % len(args)} twice", ()))
        chosen.append(number % len(args))
    if not chosen:
        raise ConfigError(message(name, "argnums names no argument", ()))
    return tuple(chosen)


def inexact(name: str, paths: Sequence[str], leaves: Sequence[Any]) -> list[Node]:
    """The nodes of the leaves to differentiate, which have to be floating or complex."""
    nodes = []
    for path, leaf in zip(paths, leaves):
        if not isinstance(leaf, NUMBERS):
            raise DTypeError(message(name, f"{path} is {type(leaf).__name__}, not a tensor", ()))
        node = to_node(leaf, name)
        if node.dtype.kind not in "fc":
            problem = f"{path} has dtype {node.dtype.name}, which has no derivatives"
            raise DTypeError(message(name, problem, (node,), "convert with .astype(chainrule.float32)"))
        nodes.append(node)
    return nodes


def alias(node: Node) -> Node:
    """`node` as a fresh node that requires grad: what a derivative is taken with respect to."""
    return Node(_ALIAS, (node,), node.shape, node.dtype, node.value, True, mode.where)


def output_nodes(name: str, leaves: Sequence[Any], has_aux: bool = False) -> list[Node]:
    """The nodes of what a function returned."""
    for leaf in leaves:
        if not isinstance(leaf, NUMBERS):
            problem = f"the function returned {type(leaf).__name__}, not tensors"
            help = "" if has_aux else "return further results with has_aux=True"
            raise DTypeError(message(name, problem, (), help))
    return [to_node(leaf, name) for leaf in leaves]


def split_aux(name: str, result: Any, has_aux: bool) -> tuple[Any, Any]:
    """The output of a function and what it returned beside it."""
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ConfigError(message(name, "with has_aux=True the function returns a pair (output, aux)", ()))
    return result


def tensor_nodes(tree: Any) -> list[Node]:
    """The nodes of the tensors among the leaves of `tree`."""
    return [node_of(leaf) for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def matching(
    name: str, what: str, tree: Any, definition: TreeDef, nodes: Sequence[Node], paths: Sequence[str]
) -> list[Node]:
    """The leaves of `tree`, which has to have the structure, shapes and dtypes of `nodes`."""
    leaves, structure = tree_flatten(tree)
    if structure != definition:
        raise ConfigError(message(name, f"the {what} have structure {structure}, not {definition}", ()))
    result = []
    for leaf, node, path in zip(leaves, nodes, paths):
        if not isinstance(leaf, NUMBERS):
            raise DTypeError(message(name, f"{what}{path} is {type(leaf).__name__}, not a tensor", ()))
        if isinstance(leaf, (int, float, complex)) and not node.shape:
            found = full(leaf if isinstance(leaf, complex) else float(leaf), (), node.dtype)
        else:
            found = to_node(leaf, name)
        if found.shape != node.shape:
            problem = f"{what}{path} has shape {list(found.shape)}, not {list(node.shape)}"
            raise ShapeError(message(name, problem, (node, found)))
        if found.dtype is not node.dtype:
            problem = f"{what}{path} has dtype {found.dtype.name}, not {node.dtype.name}"
            raise DTypeError(message(name, problem, (node, found), "convert with .astype(...)"))
        result.append(found)
    return result


def conjugated(node: Node) -> Node:
    """`node`, or of complex numbers the conjugates: what cotangents and gradients are turned into at the faces.

    Sweeps transpose without conjugation. Outside, the gradient of a real number is its direction of steepest ascent.
    """
    return emit("conj", node) if node.dtype.kind == "c" else node


def zero_tangent(node: Node) -> Node:
    """The tangent of an output that does not depend on the primals."""
    return full(False if node.dtype.kind == "b" else 0, node.shape, node.dtype)


def _reachable(outputs: Sequence[Node], oldest: int) -> list[Node]:
    stack = [n for n in outputs if n.serial >= oldest]
    seen = set(stack)
    while stack:
        for operand in stack.pop().inputs:
            if operand.serial >= oldest and operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return sorted(seen, key=_serial)


def _serial(node: Node) -> int:
    return node.serial


def settle(outputs: Sequence[Node], aliases: Sequence[Node], outer: bool) -> None:
    """Let `outputs` and what they depend on require grad only for the sake of what was there before `aliases`."""
    if not aliases:
        return
    for node in _reachable(outputs, min(a.serial for a in aliases)):
        if node.requires_grad and node.inputs and (node.owner is None or node.op.differentiable):
            node.requires_grad = outer and any(i.requires_grad for i in node.inputs)
            if not node.requires_grad and node.value is not None:
                node.op, node.inputs = _CONSTANT, ()


def outward(outputs: Sequence[Node], aliases: Sequence[Node], outer: bool) -> list[Node]:
    """`outputs` for use outside, detached if they require grad for the sake of `aliases` alone; keeps the graph."""
    if not aliases:
        return list(outputs)
    requires: dict[Node, bool] = {}
    inside = set(aliases)
    for node in _reachable(outputs, min(a.serial for a in aliases)):
        if node in inside:
            requires[node] = outer and node.inputs[0].requires_grad
        elif node.requires_grad and node.inputs:
            begins = node.op is _ALIAS and not node.inputs[0].requires_grad  # what is being differentiated by just now
            requires[node] = begins or any(requires.get(i, i.requires_grad) for i in node.inputs)
    return [n if requires.get(n, n.requires_grad) or not n.requires_grad else detached(n) for n in outputs]


def outward_tree(tree: Any, aliases: Sequence[Node], outer: bool) -> Any:
    """`tree` with its tensors as `outward` gives them."""
    leaves, definition = tree_flatten(tree)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
    for place, node in zip(places, outward([node_of(leaves[i]) for i in places], aliases, outer)):
        leaves[place] = Tensor(node)
    return tree_unflatten(definition, leaves)


def tangent_nodes(name: str, primals: Any, tangents: Any) -> list[Node]:
    """The leaves of `tangents`, which fit the primals."""
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ConfigError(message(name, "primals and tangents are tuples, one entry for each argument", ()))
    paths, leaves, definition = tree_flatten_with_path(tuple(primals))
    nodes = inexact(name, [f"primals{path}" for path in paths], leaves)
    return matching(name, "tangents", tuple(tangents), definition, nodes, paths)
