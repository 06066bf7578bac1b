"""`checkpoint`: compute part of a network again in the backward pass instead of keeping its intermediate values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from .errors import ConfigError
from .graph.node import Node, recorded
from .ops.base import emit, message, mode
from .tensor import Tensor
from .tree import tree_flatten, tree_unflatten


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Apply `function` and keep only its arguments and results for the backward pass.

    The reverse sweep computes what lies in between again, once the first gradient of a result is there, and frees it
    after use: memory for the values inside is needed by one such region at a time. The function itself runs once.

    Args:
        function: takes and returns trees of tensors; it may read parameters and other tensors from outside.
        args, kwargs: its arguments.

    Returns:
        What the function returns.

    Numerics:
        Gradients have the same bits as without. Random draws are those of the forward pass, and state written inside
        (running statistics, generators) is written once.

    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor([1.0, 2.0], requires_grad=True)
        >>> y = cr.checkpoint(lambda x: cr.exp(cr.sin(x)), x).sum()
        >>> y.backward()
        >>> bool(cr.all(x.grad == cr.cos(x) * cr.exp(cr.sin(x))))
        True

    Reference:
        Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """
    if not callable(function):
        raise ConfigError(message("checkpoint", f"{type(function).__name__} is no function", ()))
    start = recorded()
    leaves, definition = tree_flatten(function(*args, **kwargs))
    if not mode.grad_enabled:
        return tree_unflatten(definition, leaves)
    places = [n for n, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and _inside(leaf._node, start)]
    results = [leaves[n]._node for n in places]
    before = _before(results, start)
    first: Node | None = None
    for place, node in zip(places, results):
        if first is None:
            first = made = emit("checkpoint", *results, *before, attributes=(len(results),))
        else:
            made = emit("checkpoint", node, first, attributes=(0,))
        made.value = node.value
        leaves[place] = Tensor(made)
    return tree_unflatten(definition, leaves)


def _inside(node: Node, start: int) -> bool:
    """Whether a result is the function's own work, through which gradients flow."""
    return node.serial > start and node.requires_grad and bool(node.inputs)


def _before(results: Sequence[Node], start: int) -> list[Node]:
    """The nodes recorded up to `start` that `results` are computed from directly, in recorded order."""
    seen = set(results)
    stack = list(seen)
    found: set[Node] = set()
    while stack:
        for operand in stack.pop().inputs:
            if operand.serial <= start:
                found.add(operand)
            elif operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return sorted(found, key=lambda node: node.serial)


def checkpoint_sequential(functions: Any, segments: int, input: Any) -> Any:
    """Apply `functions` one after another in `segments` checkpointed parts; the last part is not checkpointed.

    Args:
        functions: an `nn.Sequential`, or a list of functions of one argument.
        segments: in how many parts of about equal length to divide them.
        input: the argument of the first.

    Returns:
        What the last one returns.

    Raises:
        ConfigError: `segments` is not a whole number from 1 to the number of functions.

    Example:
        >>> import chainrule as cr
        >>> layers = [cr.exp, cr.sin, cr.tanh, cr.cos]
        >>> x = cr.tensor([0.5], requires_grad=True)
        >>> cr.checkpoint_sequential(layers, 2, x).backward()
        >>> x.grad.shape
        (1,)
    """
    parts = list(functions)
    if not isinstance(segments, int) or isinstance(segments, bool) or not 1 <= segments <= max(len(parts), 1):
        problem = f"{len(parts)} functions cannot be divided into {segments!r} segments"
        raise ConfigError(message("checkpoint_sequential", problem, (), f"segments from 1 to {len(parts)}"))

    def chain(some: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for part in some:
                x = part(x)
            return x

        return run

    bounds = [len(parts) * n // segments for n in range(segments + 1)]
    for low, high in pairwise(bounds[:-1]):
        input = checkpoint(chain(parts[low:high]), input)
    return chain(parts[bounds[-2] :])(input)


__all__ = ["checkpoint", "checkpoint_sequential"]
