"""`checkpoint`: compute part of a network again in the backward pass instead of keeping its intermediate values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from ..checkpoint_policies import Operation, Policy
from ..errors import ConfigError
from ..graph.node import Node, recorded
from ..ops.base import emit, function_given, message, mode
from ..tensor import Tensor, node_of
from ..transforms.checkpoint import inside
from ..tree import tree_flatten, tree_map, tree_unflatten

#: options of PyTorch's function, which would otherwise be handed on to the function that is called
_PYTORCHS = ("use_reentrant", "preserve_rng_state", "determinism_check")


def checkpoint(
    function: Callable[..., Any] | None = None, *args: Any, policy: Policy | None = None, **kwargs: Any
) -> Any:
    """Apply `function` and keep only its arguments and results for the backward pass.

    The reverse sweep computes what lies in between again, once the first gradient of a result is there, and frees it
    after use: memory for the values inside is needed by one such region at a time. The function itself runs once.

    Args:
        function: takes and returns trees of tensors; it may read parameters and other tensors from outside.
        args, kwargs: its arguments. Without any, the function that does this for the arguments it will be given is
            returned, so that ``checkpoint`` is a decorator too.
        policy: says of each operation inside whether its result is kept all the same (see `checkpoint_policies`).

    Returns:
        What the function returns.

    Numerics:
        Gradients have the same bits as without. Random draws are those of the forward pass, and state written inside
        (running statistics, generators) is written once.

    Raises:
        ConfigError: `function` is no function, an option is PyTorch's alone, or `policy` returned something else than
            True or False.

    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor([1.0, 2.0], requires_grad=True)
        >>> y = cr.checkpoint(lambda x: cr.exp(cr.sin(x)), x).sum()
        >>> y.backward()
        >>> bool(cr.all(x.grad == cr.cos(x) * cr.exp(cr.sin(x))))
        True
        >>> @cr.checkpoint(policy=cr.checkpoint_policies.dots_saveable)
        ... def layer(w, x):
        ...     return cr.tanh(x @ w)
        >>> cr.grad(lambda w: layer(w, cr.ones((1, 2))).sum())(cr.zeros((2, 1)))
        tensor([[1.],
                [1.]])

    Reference:
        Chen et al., "Training deep nets with sublinear memory cost", 2016.
    """
    for word in _PYTORCHS:
        if word in kwargs:
            help = "leave it out: checkpoints are as with use_reentrant=False there, and draws repeat by themselves"
            raise ConfigError(message("checkpoint", f"{word} is an option of PyTorch alone", (), help))
    if policy is not None:
        function_given("checkpoint", "policy", policy)
    if function is None:
        return functools.partial(checkpoint, policy=policy)
    function_given("checkpoint", "function", function)
    if not args and not kwargs:

        @functools.wraps(function)
        def checkpointed(*args: Any, **kwargs: Any) -> Any:
            return _apply(function, args, kwargs, policy)

        return checkpointed
    return _apply(function, args, kwargs, policy)


def _apply(function: Callable[..., Any], args: Any, kwargs: Any, policy: Policy | None) -> Any:
    start = recorded()
    leaves, definition = tree_flatten(function(*args, **kwargs))
    if not mode.grad_enabled:
        return tree_unflatten(definition, leaves)
    places = [n for n, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and _inside(leaf._node, start)]
    results = [leaves[n]._node for n in places]
    before = _before(results, start)
    kept = [] if policy is None else _kept(policy, inside(results, before))
    first: Node | None = None
    for place, node in zip(places, results):
        if first is None:
            first = made = emit("checkpoint", *results, *before, *kept, attributes=(len(results), len(kept)))
        else:
            made = emit("checkpoint", node, first, attributes=(0, 0))
        made.value = node.value
        leaves[place] = Tensor(made)
    return tree_unflatten(definition, leaves)


def _kept(policy: Policy, nodes: Sequence[Node]) -> list[Node]:
    """The nodes of a region that the policy keeps; with a named one goes the operand, which has the same value."""
    kept = {node for node in nodes if _keeps(policy, node)}
    for node in reversed(nodes):
        if node in kept and node.op.name == "checkpoint_name":
            kept.add(node.inputs[0])
    return [node for node in nodes if node in kept]


def _keeps(policy: Policy, node: Node) -> bool:
    """Whether the policy keeps the value of a node of a region."""
    op = node.op
    attributes = {name: getattr(op, name) for name in op.attributes}
    label = op.label if op.name == "checkpoint_name" else None
    operands = tuple([(operand.shape, operand.dtype) for operand in node.inputs])
    answer = policy(Operation(op.name, node.shape, node.dtype, operands, attributes, label))
    if not isinstance(answer, bool):
        problem = f"the policy returned {type(answer).__name__} for {op.name}, not True or False"
        raise ConfigError(message("checkpoint", problem, (node,)))
    return answer


def checkpoint_name(x: Any, name: str) -> Any:
    """`x`, a tree, with a name for its tensors by which a policy of `checkpoint` keeps or drops them.

    Example:
        >>> import chainrule as cr
        >>> def block(x):
        ...     return cr.sin(cr.checkpoint_name(cr.exp(x), "activation"))
        >>> policy = cr.checkpoint_policies.save_only_these_names("activation")
        >>> cr.grad(lambda x: cr.checkpoint(block, x, policy=policy))(cr.tensor(0.0))
        tensor(0.5403023)
    """
    if not isinstance(name, str):
        raise ConfigError(message("checkpoint_name", f"a name is a string, not {name!r}", ()))
    return tree_map(
        lambda leaf: (
            Tensor(emit("checkpoint_name", node_of(leaf), attributes=(name,))) if isinstance(leaf, Tensor) else leaf
        ),
        x,
    )


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


__all__ = ["checkpoint", "checkpoint_name", "checkpoint_sequential"]
