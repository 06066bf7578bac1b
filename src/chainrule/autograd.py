"""Derivatives and batching of Python functions: `backward`, `grad`, `value_and_grad`, `vjp`, `jvp`, `vmap`.

All but `vmap` call the function on real values, so that Python control flow and `.item()` work in it. They compose in
any order, to any order of derivative. Arguments and results are trees (see `tree`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import runtime
from .batching import vmap
from .conversion import to_node
from .errors import ConfigError, DifferentiationError, DTypeError, ShapeError
from .gradmode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from .graph.node import Node
from .ops.base import emit, message, mode, primitive
from .recording import cast, full, size_of
from .tensor import Tensor, bump, detached, node_of, state
from .transforms import forward, reverse
from .tree import TreeDef, tree_flatten, tree_flatten_with_path, tree_unflatten

__all__ = [
    "backward", "enable_grad", "grad", "is_grad_enabled", "jvp", "no_grad", "set_grad_enabled", "value_and_grad",
    "vjp", "vmap",
]  # fmt: skip

_ALIAS = primitive("alias")
_CONSTANT = primitive("constant")


def _owned(root: Node) -> list[Node]:
    """The nodes below `root` whose gradients belong to tensors."""
    found: list[Node] = []
    stack, seen = [root], {root}
    while stack:
        node = stack.pop()
        if node.owner is not None:
            found.append(node)
        for operand in node.inputs:
            if operand.requires_grad and operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return found


def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Sequence[Tensor] | None = None,
) -> None:
    """Add the gradient of this tensor to `.grad` of every leaf that requires grad and that it was computed from.

    Args:
        gradient: what the gradient of this tensor itself is; needed unless it has one element (then it is 1).
        retain_graph: accepted; the graph can always be used again.
        create_graph: record the sweep, so that the gradients can be differentiated.
        inputs: the tensors to which gradients are added, instead of all leaves.

    Raises DifferentiationError if no gradient is recorded or `gradient` is missing, ShapeError if it does not fit.
    """
    root = node_of(self)
    if not root.requires_grad:
        problem = "no gradient is recorded for this tensor"
        help = "set requires_grad=True on what it is computed from, outside no_grad"
        raise DifferentiationError(message("backward", problem, (root,), help))
    if gradient is None:
        if size_of(root.shape) != 1:
            problem = f"{size_of(root.shape)} elements need a gradient each"
            raise DifferentiationError(message("backward", problem, (root,), "reduce first, or pass gradient="))
        cotangent = full(1.0, root.shape, root.dtype)
    else:
        cotangent = to_node(gradient, "backward")
        if cotangent.shape != root.shape:
            raise ShapeError(message("backward", "gradient= has another shape than the tensor", (root, cotangent)))
        cotangent = cast(cotangent, root.dtype)
    targets: list[tuple[Node, Tensor]] = []
    if inputs is None:
        for node in _owned(root):
            tensor = node.owner()  # None if the tensor is gone
            if tensor is not None:
                targets.append((node, tensor))
    else:
        targets = [(node_of(t), t) for t in ([inputs] if isinstance(inputs, Tensor) else inputs)]
    before = mode.grad_enabled
    mode.grad_enabled = create_graph
    try:
        found = reverse.vjp([root], [cotangent], [node for node, _ in targets])
        trace = state.trace
        for (_, tensor), part in zip(targets, found):
            if part is None:
                continue
            if part.requires_grad and not create_graph:
                part = detached(part)
            old = tensor.grad
            new = Tensor(part if old is None else emit("add", node_of(old), part))
            if trace is None or tensor._trace is trace:
                tensor._grad = new
            else:
                trace.write_grad(tensor, new)
    finally:
        mode.grad_enabled = before
    if state.trace is None:
        runtime.evaluate_along(root)
    bump()


# -- functions of functions ---------------------------------------------------------------------------------------


def _inexact(name: str, paths: list[str], leaves: list[Any]) -> list[Node]:
    """The nodes of the leaves to differentiate, which have to be floating."""
    nodes = []
    for path, leaf in zip(paths, leaves):
        if not isinstance(leaf, (Tensor, np.ndarray, np.generic, float, int)):
            raise DTypeError(message(name, f"{path} is {type(leaf).__name__}, not a tensor", ()))
        node = to_node(leaf, name)
        if node.dtype.kind != "f":
            problem = f"{path} has dtype {node.dtype.name}, which has no derivatives"
            raise DTypeError(message(name, problem, (node,), "convert with .astype(chainrule.float32)"))
        nodes.append(node)
    return nodes


def _alias(node: Node) -> Node:
    """`node` as a fresh node that requires grad: what a derivative is taken with respect to."""
    return Node(_ALIAS, (node,), node.shape, node.dtype, node.value, True, mode.where)


def _output_nodes(name: str, leaves: list[Any]) -> list[Node]:
    for leaf in leaves:
        if not isinstance(leaf, (Tensor, np.ndarray, np.generic, float, int)):
            problem = f"the function returned {type(leaf).__name__}, not tensors"
            raise DTypeError(message(name, problem, (), "return further results with has_aux=True"))
    return [to_node(leaf, name) for leaf in leaves]


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


def _settle(outputs: Sequence[Node], aliases: Sequence[Node], outer: bool) -> None:
    """Let `outputs` and what they depend on require grad only for the sake of what was there before `aliases`."""
    if not aliases:
        return
    for node in _reachable(outputs, min(a.serial for a in aliases)):
        if node.requires_grad and node.inputs and (node.owner is None or node.op.differentiable):
            node.requires_grad = outer and any(i.requires_grad for i in node.inputs)
            if not node.requires_grad and node.value is not None:
                node.op, node.inputs = _CONSTANT, ()


def _outward(outputs: Sequence[Node], aliases: Sequence[Node], outer: bool) -> list[Node]:
    """`outputs` for use outside, detached if they require grad for the sake of `aliases` alone; keeps the graph."""
    if not aliases:
        return list(outputs)
    requires: dict[Node, bool] = {}
    inside = set(aliases)
    for node in _reachable(outputs, min(a.serial for a in aliases)):
        if node in inside:
            requires[node] = outer and node.inputs[0].requires_grad
        elif node.requires_grad and node.inputs:
            requires[node] = any(requires.get(i, i.requires_grad) for i in node.inputs)
    return [n if requires.get(n, n.requires_grad) or not n.requires_grad else detached(n) for n in outputs]


def _split_aux(name: str, result: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise ConfigError(message(name, "with has_aux=True the function returns a pair (output, aux)", ()))
    return result


def _tensor_nodes(tree: Any) -> list[Node]:
    return [node_of(leaf) for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns ``(f(...), gradient)``; with `has_aux`, ``((value, aux), gradient)``.

    Args:
        f: returns a scalar tensor (shape ``()``), with `has_aux` a pair of it and any tree.
        argnums: the position of the argument to differentiate with respect to, or several (then a tuple of gradients).

    The gradient has the structure of the argument. Raises DTypeError for integer leaves, DifferentiationError if the
    output is not a scalar.
    """
    one = isinstance(argnums, int)
    numbers: tuple[int, ...] = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        chosen = []
        for number in numbers:
            if not -len(args) <= number < len(args):
                problem = f"argnums names argument {number}, there are {len(args)} positional arguments"
                raise ConfigError(message("grad", problem, ()))
            chosen.append(number % len(args))
        aliases: list[Node] = []
        definitions: list[TreeDef] = []
        counts = []
        new_args = list(args)
        for number in chosen:
            paths, leaves, definition = tree_flatten_with_path(args[number], f"args[{number}]")
            fresh = [_alias(n) for n in _inexact("grad", paths, leaves)]
            new_args[number] = tree_unflatten(definition, [Tensor(n) for n in fresh])
            aliases += fresh
            definitions.append(definition)
            counts.append(len(fresh))
        outer = mode.grad_enabled
        mode.grad_enabled = True
        try:
            value, aux = _split_aux("grad", f(*new_args, **kwargs), has_aux)
            (root,) = _output_nodes("grad", [value])
            if root.shape or root.dtype.kind != "f":
                problem = "the function has to return one floating number (shape [])"
                help = "reduce with .sum() or .mean(), or use vjp"
                raise DifferentiationError(message("grad", problem, (root,), help))
            found = reverse.vjp([root], [full(1.0, (), root.dtype)], aliases)
        finally:
            mode.grad_enabled = outer
        grads = [full(0.0, a.shape, a.dtype) if g is None else g for a, g in zip(aliases, found)]
        _settle([root, *grads, *_tensor_nodes(aux)], aliases, outer)
        trees, start = [], 0
        for definition, count in zip(definitions, counts):
            trees.append(tree_unflatten(definition, [Tensor(g) for g in grads[start : start + count]]))
            start += count
        value = Tensor(root)
        return ((value, aux) if has_aux else value), (trees[0] if one else tuple(trees))

    return value_and_gradient


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of `f`; with `has_aux`, ``(gradient, aux)``. See `value_and_grad`."""
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def _matching(name: str, what: str, tree: Any, definition: TreeDef, nodes: list[Node], paths: list[str]) -> list[Node]:
    """The leaves of `tree`, which has to have the structure, shapes and dtypes of `nodes`."""
    leaves, structure = tree_flatten(tree)
    if structure != definition:
        raise ConfigError(message(name, f"the {what} have structure {structure}, not {definition}", ()))
    result = []
    for leaf, node, path in zip(leaves, nodes, paths):
        if isinstance(leaf, (int, float)) and not node.shape:
            found = full(float(leaf), (), node.dtype)
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


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """``(f(*primals), pullback)``; with `has_aux`, ``(outputs, pullback, aux)``.

    ``pullback(cotangents)``, for a tree like the outputs, gives the tuple of cotangents times the Jacobian, one entry
    like each primal. It may be called any number of times.
    """
    paths, leaves, definition = tree_flatten_with_path(primals, "primals")
    aliases = [_alias(n) for n in _inexact("vjp", paths, leaves)]
    outer = mode.grad_enabled
    mode.grad_enabled = True
    try:
        outputs, aux = _split_aux("vjp", f(*tree_unflatten(definition, [Tensor(a) for a in aliases])), has_aux)
        out_paths, out_leaves, out_definition = tree_flatten_with_path(outputs)
        roots = _output_nodes("vjp", out_leaves)
    finally:
        mode.grad_enabled = outer

    def pullback(cotangents: Any) -> tuple[Any, ...]:
        """Cotangents of the primals, given those of the outputs."""
        given = _matching("vjp", "cotangents", cotangents, out_definition, roots, out_paths)
        found = reverse.vjp(roots, given, aliases)
        grads = [full(0.0, a.shape, a.dtype) if g is None else g for a, g in zip(aliases, found)]
        return tree_unflatten(definition, [Tensor(g) for g in _outward(grads, aliases, outer)])

    shown = tree_unflatten(out_definition, [Tensor(n) for n in _outward(roots, aliases, outer)])
    if not has_aux:
        return shown, pullback
    extra, aux_definition = tree_flatten(aux)
    places = [i for i, leaf in enumerate(extra) if isinstance(leaf, Tensor)]
    for place, node in zip(places, _outward([node_of(extra[i]) for i in places], aliases, outer)):
        extra[place] = Tensor(node)
    return shown, pullback, tree_unflatten(aux_definition, extra)


def jvp(f: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """``(f(*primals), tangents of the outputs)``; with `has_aux`, ``(outputs, tangents, aux)``.

    Args: primals, tangents: tuples or lists of trees with equal structure, shapes and dtypes.
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise ConfigError(message("jvp", "primals and tangents are tuples, one entry for each argument", ()))
    paths, leaves, definition = tree_flatten_with_path(tuple(primals), "primals")
    nodes = _inexact("jvp", paths, leaves)
    places = [path[len("primals") :] for path in paths]
    given = _matching("jvp", "tangents", tuple(tangents), definition, nodes, places)
    aliases = [_alias(n) for n in nodes]
    outer = mode.grad_enabled
    mode.grad_enabled = True
    try:
        outputs, aux = _split_aux("jvp", f(*tree_unflatten(definition, [Tensor(a) for a in aliases])), has_aux)
        out_leaves, out_definition = tree_flatten(outputs)
        roots = _output_nodes("jvp", out_leaves)
        found = forward.jvp(roots, aliases, given)
    finally:
        mode.grad_enabled = outer
    moved = [_zero(n) if t is None else t for n, t in zip(roots, found)]
    _settle([*roots, *moved, *_tensor_nodes(aux)], aliases, outer)
    results = tuple(tree_unflatten(out_definition, [Tensor(n) for n in part]) for part in (roots, moved))
    return (*results, aux) if has_aux else results


def _zero(node: Node) -> Node:
    """The tangent of an output that does not depend on the primals."""
    return full(False if node.dtype.kind == "b" else 0, node.shape, node.dtype)
