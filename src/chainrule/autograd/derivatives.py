"""Jacobians, Hessians and their products with vectors, as functions of functions: trees give trees of trees.

The function is called once, on real values, whatever the number of columns: only the linear map that follows is
recorded on a placeholder for the tangent (or cotangent), and batched over a basis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import ConfigError, DTypeError, ForwardModeError
from ..graph.node import Node
from ..ops.base import function_given, message, mode
from ..recording import size_of
from ..tensor import Tensor
from ..transforms import forward, reverse
from ..tree import tree_unflatten
from .columns import columns_of, rows_of
from .differentiation import (
    Recorded,
    argument_numbers,
    matching,
    outward,
    outward_tree,
    record,
    settle,
    tangent_nodes,
    tensor_nodes,
    zero_tangent,
)
from .gradients import grad

__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev", "linearize"]

Argnums = int | Sequence[int]


def linearize(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """``(f(*primals), push)``, where ``push(*tangents)`` is the Jacobian at `primals` times the tangents.

    As ``jvp`` at a fixed point: the function is called once, `push` any number of times, each at the cost of the
    tangents alone. With `has_aux`, ``(outputs, push, aux)``.

    Args:
        f: takes and returns trees of tensors; with `has_aux` returns a pair of such a tree and anything.
        primals: trees of floating or complex tensors.

    Raises:
        DTypeError: a leaf of the primals has no derivatives. ConfigError, ShapeError, DTypeError: tangents do not have
            the structure, shapes and dtypes of the primals.

    Example:
        >>> import chainrule as cr
        >>> y, push = cr.linearize(cr.sin, cr.tensor([0.0, 1.0]))
        >>> push(cr.tensor([1.0, 0.0])), push(cr.tensor([0.0, 0.0]))
        (tensor([1., 0.]), tensor([0., 0.]))
    """
    call = record("linearize", f, primals, {}, range(len(primals)), has_aux, "primals")
    aliases, outer = call.aliases, call.outer
    places = [path[len("primals") :] for path in call.paths]

    def push(*tangents: Any) -> Any:
        """The tangents of the outputs, given those of the primals."""
        given = matching("linearize", "tangents", tuple(tangents), call.definition, aliases, places)
        found = forward.jvp(call.roots, aliases, given)
        moved = [zero_tangent(n) if t is None else t for n, t in zip(call.roots, found)]
        return tree_unflatten(call.out_definition, [Tensor(n) for n in outward(moved, aliases, outer)])

    shown = tree_unflatten(call.out_definition, [Tensor(n) for n in outward(call.roots, aliases, outer)])
    return (shown, push, outward_tree(call.aux, aliases, outer)) if has_aux else (shown, push)


def _family(
    name: str,
    f: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    chunk: int | None,
    forwards: bool | None,
) -> Callable[..., Any]:
    """A Jacobian: `forwards`, backwards, or (None) whichever has fewer columns or rows to compute.

    Of a gradient ("hessian") both are the same number; if there is a function with a rule for reverse mode alone inside
    (`custom_vjp`), its Jacobian is computed backwards.
    """
    function_given(name, "f", f)
    one = not isinstance(argnums, (tuple, list))
    if chunk is not None and (not hasattr(chunk, "__index__") or isinstance(chunk, bool) or chunk.__index__() < 1):
        raise ConfigError(message(name, f"chunk_size must be a positive whole number or None, not {chunk!r}", ()))
    chunk = None if chunk is None else chunk.__index__()

    @functools.wraps(f)
    def jacobian_of(*args: Any, **kwargs: Any) -> Any:
        call = record(name, f, args, kwargs, argument_numbers(name, argnums, args), has_aux)
        _check_complex(name, call, holomorphic)
        by_columns = forwards
        if by_columns is None:
            by_columns = _elements(call.aliases) <= _elements(call.roots)
        mode.grad_enabled = True
        try:
            try:
                found = (columns_of if by_columns else rows_of)(call.roots, call.aliases, chunk)
            except ForwardModeError:
                if name != "hessian":
                    raise
                found = rows_of(call.roots, call.aliases, chunk)
        finally:
            mode.grad_enabled = call.outer
        settle([*(n for row in found for n in row), *tensor_nodes(call.aux)], call.aliases, call.outer)
        rows = []
        for row in found:
            blocks = tree_unflatten(call.definition, [Tensor(n) for n in row])
            rows.append(blocks[0] if one else blocks)
        result = tree_unflatten(call.out_definition, rows)
        return (result, call.aux) if has_aux else result

    return jacobian_of


def _elements(nodes: Iterable[Node]) -> int:
    return sum(size_of(node.shape) for node in nodes)


def _check_complex(name: str, call: Recorded, holomorphic: bool) -> None:
    """Refuse outputs without derivatives, and complex numbers unless the function is said to be holomorphic."""
    for path, node in zip(call.out_paths, call.roots):
        if node.dtype.kind not in "fc":
            problem = f"output{path} has dtype {node.dtype.name}, which has no derivatives"
            raise DTypeError(message(name, problem, (node,), "return further results with has_aux=True"))
    named = [*zip(call.paths, call.aliases), *((f"output{p}", n) for p, n in zip(call.out_paths, call.roots))]
    for path, node in named:
        if (node.dtype.kind == "c") != holomorphic:
            if holomorphic:
                problem = f"{path} has dtype {node.dtype.name}; holomorphic functions take and return complex numbers"
                raise DTypeError(message(name, problem, (node,), "leave out holomorphic=True"))
            problem = f"{path} has dtype {node.dtype.name}, and a Jacobian of complex numbers exists for some functions"
            help = "holomorphic=True if this is one, else differentiate by real and imaginary parts"
            raise DTypeError(message(name, problem, (node,), help))


def jacfwd(
    f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False, *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """A function that returns the Jacobian of `f`, computed forwards: all its columns at once.

    ``J[i, j] = d f_i / d x_j``. Forward mode costs a few times `f` for each element of the argument, and keeps nothing:
    for functions with few inputs.

    Args:
        f: takes and returns trees of tensors; it is called once, on real values.
        argnums: the position of the argument to differentiate with respect to, or several.
        has_aux: whether `f` returns a pair (output, aux); then the pair (Jacobian, aux) is returned.
        holomorphic: whether `f` is a complex differentiable function of complex numbers.
        chunk_size: how many columns (of `jacrev`: rows) are computed together, in a loop that holds the intermediate
            values of so many at a time; None for all at once.

    Returns:
        For each leaf of the output a tree like the argument (with several `argnums` a tuple of such trees), whose
        leaves have the shape of the output's leaf followed by that of the argument's.

    Raises:
        DTypeError: a leaf has no derivatives. ConfigError: there is no such argument, or `chunk_size` is no positive
            whole number.

    Example:
        >>> import chainrule as cr
        >>> cr.jacfwd(lambda x: x**2)(cr.tensor([1.0, 2.0]))
        tensor([[2., 0.],
                [0., 4.]])
        >>> cr.jacfwd(lambda x: x.sum() * x, chunk_size=1)(cr.tensor([1.0, 2.0]))
        tensor([[4., 1.],
                [2., 5.]])
    """
    return _family("jacfwd", f, argnums, has_aux, holomorphic, chunk_size, True)


def jacrev(
    f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False, *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """A function that returns the Jacobian of `f`, computed backwards: all its rows at once.

    Reverse mode costs a few times `f` for each element of the output: for functions with few outputs. Arguments, result
    and errors are those of `jacfwd`.

    Example:
        >>> import chainrule as cr
        >>> cr.jacrev(lambda x: x.sum())(cr.tensor([1.0, 2.0]))
        tensor([1., 1.])
    """
    return _family("jacrev", f, argnums, has_aux, holomorphic, chunk_size, False)


def jacobian(
    f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False, *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """A function that returns the Jacobian of `f`, by whichever mode has less to do.

    That is `jacfwd` if the output has at least as many elements as the argument, else `jacrev`. Arguments, result and
    errors are theirs.

    Example:
        >>> import chainrule as cr
        >>> cr.jacobian(lambda p: p["a"] * p["b"])({"a": cr.tensor(2.0), "b": cr.tensor([3.0, 4.0])})["a"]
        tensor([3., 4.])
    """
    return _family("jacobian", f, argnums, has_aux, holomorphic, chunk_size, None)


def hessian(
    f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False, *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """A function that returns the Hessian of `f`: ``jacfwd(jacrev(f))``, forward over reverse.

    ``H[i, j] = d2 f / d x_i d x_j``. The function is called once; compiled, the whole is one program.

    Args, Raises: those of `jacfwd`.

    Returns:
        For a scalar function of a tree a tree of trees: for each leaf a tree like the argument, whose leaves have the
        shapes of both leaves one after the other.

    Example:
        >>> import chainrule as cr
        >>> cr.hessian(lambda x: x[0] ** 2 * x[1])(cr.tensor([2.0, 3.0]))
        tensor([[6., 4.],
                [4., 0.]])

    Reference:
        Pearlmutter, "Fast exact multiplication by the Hessian", 1994, section 3.
    """
    gradient = _family("hessian", f, argnums, has_aux, holomorphic, chunk_size, False)
    return _family("hessian", gradient, argnums, has_aux, holomorphic, chunk_size, True)


def hvp(f: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """The Hessian of a scalar function times a vector, without the Hessian: forward over reverse.

    Args:
        f: returns a real scalar, with `has_aux` a pair of it and anything.
        primals, tangents: tuples with an entry for each argument, of equal structure, shapes and dtypes.

    Returns:
        What the Hessian makes of the tangents: a tree like the primal if there is one, else a tuple of them. With
        `has_aux` a pair of it and aux.

    Raises:
        As `grad` and `jvp`.

    Example:
        >>> import chainrule as cr
        >>> cr.hvp(lambda x: (x**3).sum(), (cr.tensor([1.0, 2.0]),), (cr.tensor([1.0, 1.0]),))
        tensor([ 6., 12.])

    Reference:
        Pearlmutter, "Fast exact multiplication by the Hessian", 1994, section 3.
    """
    given = tangent_nodes("hvp", primals, tangents)
    gradient = grad(f, tuple(range(len(primals))), has_aux)
    call = record("hvp", gradient, tuple(primals), {}, range(len(primals)), has_aux, "primals")
    mode.grad_enabled = True
    try:
        try:
            found = forward.jvp(call.roots, call.aliases, given)
        except ForwardModeError:
            found = reverse.vjp(call.roots, given, call.aliases)  # a Hessian is its own transpose
    finally:
        mode.grad_enabled = call.outer
    moved = [zero_tangent(n) if t is None else t for n, t in zip(call.roots, found)]
    settle([*moved, *tensor_nodes(call.aux)], call.aliases, call.outer)
    products = tree_unflatten(call.out_definition, [Tensor(n) for n in moved])
    product = products[0] if len(primals) == 1 else products
    return (product, call.aux) if has_aux else product
