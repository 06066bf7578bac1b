"""Loops whose course depends on values, and what is made of loops: `while_loop`, `fori_loop` and `map`.

The functions that are passed in are called once, on placeholders, and recorded as regions; how often they run is
decided when the program runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd.batching import vmap
from ..conversion import to_node
from ..dtypes import bool_, int64, uint64
from ..errors import CompileError, ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, function_given, message, mode
from ..ops.branches import close as close_branches
from ..ops.control import Loop, close, replay, results
from ..ops.leaf import placeholder
from ..recording import cast, full, reshape
from ..tensor import Tensor, state
from ..transforms.paths import dependents
from ..tree import tree_flatten, tree_flatten_with_path, tree_map, tree_unflatten
from .choices import predicate
from .looping import Region, following, length_of, looped, settled, stack_of

__all__ = ["fori_loop", "map", "while_loop"]


def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init: Any, max_steps: int | None = None
) -> Any:
    """Apply ``value = body_fun(value)`` as long as ``cond_fun(value)`` holds, starting with `init`.

    The same as ``while cond_fun(value): value = body_fun(value)``, recorded as one loop: it has its own forward
    derivative, batching and native code.

    Args:
        cond_fun: takes the value and returns a bool, shape ``()``. It may read state, but not write it.
        body_fun: takes the value and returns the next one, of the same structure, shapes and dtypes. Tensors that it
            closes over stay the same, and have gradients; state that it writes is carried along.
        init: the first value, a tree of tensors, arrays and numbers.
        max_steps: the loop ends after so many iterations even if the condition still holds, which ``cond_fun`` of the
            result tells. Reverse mode needs it: it keeps the value of each iteration, `max_steps` in all.

    Returns:
        The last value.

    Both functions are called once, on placeholders. Random draws inside differ from iteration to iteration, and advance
    their generator once each.

    Raises:
        ShapeError, DTypeError: the value changes its type, or the condition is no bool scalar. ConfigError: the value
        changes its structure. DifferentiationError: reverse mode without `max_steps`.

    Numerics:
        Under `vmap` the loop runs until the condition fails for all examples; those that are done keep their values.

    Example:
        >>> import chainrule as cr
        >>> def halve(x):
        ...     return x / 2
        >>> cr.while_loop(lambda x: x > 1, halve, 100.0)
        tensor(0.78125)
    """
    name = "while_loop"
    function_given(name, "cond_fun", cond_fun)
    function_given(name, "body_fun", body_fun)
    if max_steps is not None and (not isinstance(max_steps, int) or isinstance(max_steps, bool) or max_steps < 1):
        raise ConfigError(message(name, f"max_steps must be a positive whole number or None, not {max_steps!r}", ()))
    paths, leaves, definition = tree_flatten_with_path(init, "init")
    first = [to_node(leaf, name) for leaf in leaves]
    grad = mode.grad_enabled
    carries = [placeholder(i, n.shape, n.dtype, grad and n.dtype.kind in "fc") for i, n in enumerate(first)]
    number = placeholder(len(carries), (), uint64)
    region = Region(state.trace, name)
    iterations, state.trace, state.iterations = state.iterations, region, (*state.iterations, number)
    try:
        pred = predicate(name, cond_fun(tree_unflatten(definition, [Tensor(n) for n in carries])), "the condition")
        if any(cell.written for cell in region.cells.values()):
            problem = "cond_fun writes state, but what it computes is thrown away"
            raise CompileError(message(name, problem, (), "write it in body_fun"))
        result = body_fun(tree_unflatten(definition, [Tensor(n) for n in carries]))
        after = following(result, definition, first, paths, name)
    finally:
        state.trace, state.iterations = region.parent, iterations
    cells = [cell for cell in region.cells.values() if cell.written]
    ends, (pred, *results_) = list(first), settled(carries, after, first, [pred, *after], cells)
    moving = [i for i, (a, b) in enumerate(zip(carries, after)) if a is not b]
    carries, first, after = ([part[i] for i in moving] for part in (carries, first, results_))
    again = dict(zip(carries, after))
    begin = dict(zip(carries, first))
    replaced: dict[Node, Node] = {}
    aliases: dict[Node, Node] = {}  # placeholders of cells -> what the regions read
    for cell in cells:
        inner = placeholder(len(carries), cell.before.shape, cell.before.dtype, cell.before.requires_grad)
        carries.append(inner)
        first.append(cell.before)
        after.append(cell.current)
        if cell.alias is not None:
            replaced[cell.alias] = inner
            aliases[inner] = cell.alias
            again[cell.alias] = cell.current
            begin[cell.alias] = cell.before
    zero, plus = full(0, (), uint64), emit("add", number, full(1, (), uint64))
    (going,) = replay([pred], {**begin, number: zero})
    (on,) = replay([pred], {**again, number: plus})
    flag = placeholder(len(carries) + 1, (), bool_)
    outputs, loop_carries, given = [on, *after], [flag, *carries], [going, *first]
    if max_steps is not None:
        outputs[0] = emit("logical_and", on, emit("lt", plus, full(max_steps, (), uint64)))
    if number in dependents(outputs, [number], gradients=False):
        outputs, loop_carries, given = [*outputs, plus], [*loop_carries, number], [*given, zero]
    loop, constants = close(outputs, loop_carries, [], 0, False, replaced)
    operands = (*constants, *given)
    if max_steps is not None and grad and any(node.requires_grad for node in operands):
        sources = [*carries, number, *replaced]
        same = [aliases.get(node, node) for node in carries]
        loop, operands = _bounded(flag, [on, *after], same, sources, max_steps, replaced, [going, *first])
    found = results(loop, operands, range(1, len(after) + 1))
    for place, node in zip(moving, found):
        ends[place] = node
    for cell, node in zip(cells, found[len(moving) :]):
        cell.tensor._rebind(node)
    return tree_unflatten(definition, [Tensor(node) for node in ends])


def _bounded(
    flag: Node,
    after: Sequence[Node],
    same: Sequence[Node],
    sources: Sequence[Node],
    length: int,
    replaced: Mapping[Node, Node],
    first: Sequence[Node],
) -> tuple[Loop, tuple[Node, ...]]:
    """A loop of `length` iterations that do nothing once the flag is false, and its operands.

    Args:
        flag: the placeholder that says whether there is an iteration.
        after: the next flag and carries.
        same: the carries as the regions read them.
        sources: all that changes from iteration to iteration; the number of the iteration comes behind the carries.
        replaced: what stands for the carries inside the regions.
        first: the first flag and carries.
    """
    varying = dependents(after, sources, gradients=False)
    idle = [full(False, (), bool_), *same]
    closed = close_branches([idle, after], lambda node: node in varying, {node: node for node in sources})
    found = results(closed.branches, (cast(flag, int64), *closed.operands), range(len(after)))
    number = sources[len(same)]
    slices = [number] if number in closed.operands else []
    carries = [replaced.get(node, node) for node in same]
    loop, constants = close(found, [flag, *carries], slices, length, False, replaced)
    stacks = [emit("iota", attributes=((length,), 0, uint64))] if slices else []
    return loop, (*constants, *first, *stacks)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init: Any) -> Any:
    """Apply ``value = body_fun(i, value)`` for i from `lower` up to, not including, `upper`.

    Args:
        lower, upper: Python's and NumPy's numbers make a `scan` of fixed length, which has reverse mode; tensors and
            arrays (whole numbers of shape ``()``) a `while_loop`.
        body_fun: takes i (int64, shape ``()``) and the value, and returns the next value, of the same structure,
            shapes and dtypes.
        init: the first value, a tree of tensors, arrays and numbers.

    Returns:
        The last value: `init` if there is no iteration.

    Raises:
        DTypeError, ShapeError: a bound is no whole number, or the value changes its type.

    Example:
        >>> import chainrule as cr
        >>> cr.fori_loop(1, 6, lambda i, product: product * i, 1)
        tensor(120)
    """
    function_given("fori_loop", "body_fun", body_fun)
    bounds = []
    for what, bound in (("lower", lower), ("upper", upper)):
        if isinstance(bound, (Tensor, np.ndarray, np.bool_, np.inexact)):
            node = to_node(bound, "fori_loop")
            if node.dtype.kind not in "iu" or node.shape:
                problem = f"{what} must be a whole number of shape []"
                raise DTypeError(message("fori_loop", problem, (node,), "convert with .astype(chainrule.int64)"))
            bounds.append(node)
        elif hasattr(bound, "__index__") and not isinstance(bound, bool):
            bounds.append(bound.__index__())
        else:
            raise DTypeError(message("fori_loop", f"{what} must be a whole number, not {bound!r}", ()))
    low, high = bounds
    if isinstance(low, int) and isinstance(high, int):
        if high <= low:
            leaves, definition = tree_flatten(init)
            return tree_unflatten(definition, [Tensor(to_node(leaf, "fori_loop")) for leaf in leaves])
        count = emit("iota", attributes=((high - low,), 0, int64))
        numbers = emit("add", count, full(low, count.shape, int64)) if low else count
        _, one = tree_flatten(Tensor(numbers))
        return looped("fori_loop", lambda value, i: (body_fun(i, value), None), init, [numbers], one, high - low)[0]
    start, stop = (full(b, (), int64) if isinstance(b, int) else cast(b, int64) for b in (low, high))
    stop_at = Tensor(stop)

    def step(pair: tuple[Any, Any]) -> tuple[Any, Any]:
        i, value = pair
        return i + 1, body_fun(i, value)

    return while_loop(lambda pair: pair[0] < stop_at, step, (Tensor(start), init))[1]


def map(f: Callable[[Any], Any], xs: Any, batch_size: int | None = None) -> Any:
    """Apply `f` to the slices of `xs` along their first axis one after the other, and stack the results.

    The same as `vmap` in less memory: one slice at a time is worked on, or with `batch_size` so many.

    Args:
        f: takes a slice of `xs`, a tree of tensors, and returns a tree.
        xs: a tree of tensors and arrays whose first axes have the same length.
        batch_size: how many slices `vmap` takes together; the last ones may be fewer.

    Returns:
        The tree of results with a first axis of that length.

    Raises:
        ShapeError: the first axes differ. ConfigError: `xs` has no leaves, or `batch_size` is no positive whole number.

    Example:
        >>> import chainrule as cr
        >>> cr.map(lambda x: x.sum(), cr.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([3., 7.])
    """
    function_given("map", "f", f)
    if batch_size is not None and (not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1):
        raise ConfigError(message("map", f"batch_size must be a positive whole number, not {batch_size!r}", ()))
    paths, leaves, definition = tree_flatten_with_path(xs, "xs")
    stacks = [stack_of(path, leaf, "map") for path, leaf in zip(paths, leaves)]
    count = length_of(paths, stacks, None, "map")
    if batch_size is None or not count:
        return looped("map", lambda carry, x: (carry, f(x)), (), stacks, definition, count)[1]
    together = vmap(f)
    whole = count // batch_size

    def part(start: int, stop: int, shape: tuple[int, ...]) -> Any:
        """Slices from `start` to `stop`, with other first axes."""
        found = []
        for node in stacks:
            rest = node.shape[1:]
            bounds = ((start, *(0 for _ in rest)), (stop, *rest), (1,) * len(node.shape))
            cut = emit("slice", node, attributes=bounds) if stop - start < count else node
            found.append(Tensor(reshape(cut, (*shape, *rest))))
        return tree_unflatten(definition, found)

    if whole <= 1:
        blocks = None if not whole else together(part(0, batch_size, (batch_size,)))
    else:
        groups, _ = tree_flatten(part(0, whole * batch_size, (whole, batch_size)))
        nodes = [group._node for group in groups]
        ys = looped("map", lambda carry, x: (carry, together(x)), (), nodes, definition, whole)[1]
        blocks = tree_map(lambda y: Tensor(reshape(y._node, (whole * batch_size, *y.shape[2:]))), ys)
    if whole * batch_size == count:
        return blocks
    rest = together(part(whole * batch_size, count, (count - whole * batch_size,)))
    if blocks is None:
        return rest
    return tree_map(lambda a, b: Tensor(emit("concat", a._node, b._node, attributes=(0,))), blocks, rest)
