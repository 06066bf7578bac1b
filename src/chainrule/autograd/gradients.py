"""Derivatives and batching of Python functions: `backward`, `grad`, `value_and_grad`, `vjp`, `jvp`, `vmap`.

All but `vmap` call the function on real values, so that Python control flow and `.item()` work in it. They compose in
any order, to any order of derivative. Arguments and results are trees (see `tree`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import runtime
from ..conversion import to_node
from ..errors import DifferentiationError, DTypeError, ShapeError
from ..gradmode import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from ..graph.node import Node
from ..ops.base import emit, function_given, message, mode
from ..recording import cast, full, size_of
from ..tensor import Tensor, bump, detached, node_of, state
from ..transforms import forward, reverse
from ..tree import TreeDef, tree_map, tree_unflatten
from .batching import vmap
from .differentiation import (
    argument_numbers,
    conjugated,
    matching,
    outward,
    outward_tree,
    record,
    settle,
    tangent_nodes,
    tensor_nodes,
    zero_tangent,
)

__all__ = [
    "backward", "enable_grad", "grad", "is_grad_enabled", "jvp", "no_grad", "set_grad_enabled", "stop_gradient",
    "value_and_grad", "vjp", "vmap",
]  # fmt: skip


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
        gradient: what the gradient of this tensor itself is; needed unless it has one real element (then it is 1).
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
        if root.dtype.kind == "c":
            problem = "a complex number is neither large nor small, so it has no gradient"
            help = "return its .real or abs(...), or pass gradient="
            raise DifferentiationError(message("backward", problem, (root,), help))
        cotangent = full(1.0, root.shape, root.dtype)
    else:
        cotangent = to_node(gradient, "backward")
        if cotangent.shape != root.shape:
            raise ShapeError(message("backward", "gradient= has another shape than the tensor", (root, cotangent)))
        cotangent = conjugated(cast(cotangent, root.dtype))
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
            part = conjugated(part)
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


def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns ``(f(...), gradient)``; with `has_aux`, ``((value, aux), gradient)``.

    Args:
        f: returns a scalar tensor (shape ``()``), with `has_aux` a pair of it and any tree.
        argnums: the position of the argument to differentiate with respect to, or several (then a tuple of gradients).

    The gradient has the structure of the argument. Of a complex argument it is the direction of steepest ascent.

    Raises:
        DTypeError: a leaf to differentiate with respect to is no floating or complex tensor. DifferentiationError: the
            output is not a real scalar. ConfigError: there is no such argument.

    Example:
        >>> import chainrule as cr
        >>> value, gradient = cr.value_and_grad(lambda x: (x**2).sum())(cr.tensor([1.0, 2.0]))
        >>> value, gradient
        (tensor(5.), tensor([2., 4.]))
    """
    function_given("grad", "f", f)
    one = not isinstance(argnums, (tuple, list))

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        call = record("grad", f, args, kwargs, argument_numbers("grad", argnums, args), has_aux)
        root = _scalar(call.roots, call.out_definition)
        mode.grad_enabled = True
        try:
            found = reverse.vjp([root], [full(1.0, (), root.dtype)], call.aliases)
        finally:
            mode.grad_enabled = call.outer
        grads = [full(0.0, a.shape, a.dtype) if g is None else conjugated(g) for a, g in zip(call.aliases, found)]
        settle([root, *grads, *tensor_nodes(call.aux)], call.aliases, call.outer)
        gradients = tree_unflatten(call.definition, [Tensor(g) for g in grads])
        value = Tensor(root)
        return ((value, call.aux) if has_aux else value), (gradients[0] if one else gradients)

    return value_and_gradient


def _scalar(roots: Sequence[Node], definition: TreeDef) -> Node:
    """The one real number that a function returned."""
    if definition.kind is not None:
        problem = f"the function returned {definition.kind.__name__}, not one floating number (shape [])"
        raise DTypeError(message("grad", problem, (), "return further results with has_aux=True, or use vjp"))
    (root,) = roots
    if root.dtype.kind == "c":
        problem = "the function returned a complex number, which is neither large nor small"
        help = "return its .real or abs(...), or use vjp"
        raise DifferentiationError(message("grad", problem, (root,), help))
    if root.shape or root.dtype.kind != "f":
        problem = "the function has to return one floating number (shape [])"
        help = "reduce with .sum() or .mean(), or use vjp"
        raise DifferentiationError(message("grad", problem, (root,), help))
    return root


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of `f`; with `has_aux`, ``(gradient, aux)``. See `value_and_grad`.

    Example:
        >>> import chainrule as cr
        >>> cr.grad(lambda x: (x**3).sum())(cr.tensor([1.0, 2.0]))
        tensor([ 3., 12.])
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return gradient


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """``(f(*primals), pullback)``; with `has_aux`, ``(outputs, pullback, aux)``.

    ``pullback(cotangents)``, for a tree like the outputs, gives the tuple of cotangents times the Jacobian, one entry
    like each primal. It may be called any number of times.

    Raises:
        DTypeError: a leaf of the primals is no floating or complex tensor. ConfigError, ShapeError, DTypeError: the
            cotangents do not have the structure, shapes and dtypes of the outputs.

    Example:
        >>> import chainrule as cr
        >>> y, pull_back = cr.vjp(lambda x: x * x, cr.tensor([3.0, 4.0]))
        >>> pull_back(cr.tensor([1.0, 10.0]))
        (tensor([ 6., 80.]),)
    """
    call = record("vjp", f, primals, {}, range(len(primals)), has_aux, "primals")
    aliases, outer = call.aliases, call.outer

    def pullback(cotangents: Any) -> tuple[Any, ...]:
        """Cotangents of the primals, given those of the outputs."""
        given = matching("vjp", "cotangents", cotangents, call.out_definition, call.roots, call.out_paths)
        found = reverse.vjp(call.roots, [conjugated(g) for g in given], aliases)
        grads = [full(0.0, a.shape, a.dtype) if g is None else conjugated(g) for a, g in zip(aliases, found)]
        return tree_unflatten(call.definition, [Tensor(g) for g in outward(grads, aliases, outer)])

    shown = tree_unflatten(call.out_definition, [Tensor(n) for n in outward(call.roots, aliases, outer)])
    if not has_aux:
        return shown, pullback
    return shown, pullback, outward_tree(call.aux, aliases, outer)


def jvp(f: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """``(f(*primals), tangents of the outputs)``; with `has_aux`, ``(outputs, tangents, aux)``.

    Args:
        primals, tangents: tuples or lists of trees with equal structure, shapes and dtypes, one for each argument.

    Raises:
        DTypeError: a leaf of the primals is no floating or complex tensor. ConfigError, ShapeError, DTypeError: the
            tangents do not have the structure, shapes and dtypes of the primals.

    Example:
        >>> import chainrule as cr
        >>> cr.jvp(lambda x: x * x, (cr.tensor([3.0, 4.0]),), (cr.tensor([1.0, 10.0]),))
        (tensor([ 9., 16.]), tensor([ 6., 80.]))
    """
    given = tangent_nodes("jvp", primals, tangents)
    call = record("jvp", f, tuple(primals), {}, range(len(primals)), has_aux, "primals")
    mode.grad_enabled = True
    try:
        found = forward.jvp(call.roots, call.aliases, given)
    finally:
        mode.grad_enabled = call.outer
    moved = [zero_tangent(n) if t is None else t for n, t in zip(call.roots, found)]
    settle([*call.roots, *moved, *tensor_nodes(call.aux)], call.aliases, call.outer)
    results = tuple(tree_unflatten(call.out_definition, [Tensor(n) for n in part]) for part in (call.roots, moved))
    return (*results, call.aux) if has_aux else results


def stop_gradient(x: Any) -> Any:
    """The tensors of a tree as constants for every derivative: the function ``detach`` on trees.

    Args:
        x: a tensor or a tree; leaves that are no tensors stay as they are.

    Example:
        >>> import chainrule as cr
        >>> cr.grad(lambda x: cr.stop_gradient(x) * x)(cr.tensor(3.0))
        tensor(3.)
    """
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, x)
