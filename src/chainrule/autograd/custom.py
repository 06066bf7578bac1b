"""`custom_vjp` and `custom_jvp`: functions whose derivatives are written by hand."""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..conversion import to_node
from ..errors import ConfigError, DifferentiationError
from ..graph.node import Node, recorded
from ..ops.base import function_given, message, mode
from ..ops.custom import mark
from ..tensor import Tensor
from ..tree import TreeDef, tree_flatten, tree_map, tree_unflatten
from .custom_rules import Call, ForwardRule, InnerRule, ReverseRule
from .differentiation import output_nodes

__all__ = ["custom_jvp", "custom_vjp"]


class _Custom:
    """What the decorators return: the function itself, and its rules."""

    kind = ""

    def __init__(self, function: Callable[..., Any], nondiff_argnums: Sequence[int]):
        function_given(self.kind, "function", function)
        functools.update_wrapper(self, function)
        self.function = function
        self.nondiff_argnums = nondiff_argnums
        self.name = getattr(function, "__name__", type(function).__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns, with the rule for its derivative."""
        raise NotImplementedError

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def fixed(self, count: int) -> list[int]:
        """The positions of arguments that are not differentiated by."""
        for number in self.nondiff_argnums:
            if not -count <= number < count:
                problem = f"nondiff_argnums names argument {number} of {self.name}, there are {count}"
                raise ConfigError(message(self.kind, problem, ()))
        return sorted({number % count for number in self.nondiff_argnums})

    def without_rule(self, what: str) -> ConfigError:
        """The error about a function without its rule."""
        return ConfigError(message(self.kind, f"{self.name} has no rule", (), f"give it one with {what}"))

    def refuse_captured(self, results: Iterable[Node], call: Call, start: int) -> None:
        """Refuse tensors that require gradients and that the function did not get as arguments."""
        stops = set(call.nodes)
        stack = [node for node in results if node not in stops]
        seen = set(stack)
        while stack:
            node = stack.pop()
            owned = node.owner is not None and node.op.name == "placeholder"  # a parameter that a trace has just met
            if node.serial <= start or owned:
                if node.requires_grad:
                    problem = f"{self.name} uses a tensor that requires gradients and is none of its arguments"
                    help = "pass it as an argument, since the rule returns gradients of arguments alone, or detach() it"
                    raise DifferentiationError(message(self.kind, problem, (node,), help))
                continue
            if node.op.name == "stop_gradient":
                continue
            for operand in node.inputs:
                if operand not in seen and operand not in stops:
                    seen.add(operand)
                    stack.append(operand)


def plain(custom: _Custom, call: Call) -> tuple[list[Node], TreeDef]:
    """The leaves and the structure of the function's result, without history: its derivative is the rule's."""
    start = recorded()
    before = mode.grad_enabled
    mode.grad_enabled = False
    try:
        leaves, out = tree_flatten(custom.function(*call.args))
        roots = output_nodes(custom.kind, leaves, True)
    finally:
        mode.grad_enabled = before
    custom.refuse_captured(roots, call, start)
    return roots, out


class _Local(threading.local):
    #: the functions whose fwd is being called
    running: tuple[_Custom, ...] = ()


_local = _Local()


class CustomVjp(_Custom):
    """A function with its own reverse-mode derivative; see `custom_vjp`."""

    kind = "custom_vjp"
    fwd: Callable[..., Any] | None = None
    bwd: Callable[..., Any] | None = None

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Give the rule.

        Args:
            fwd: takes the function's arguments and returns (output, residuals), a tree of whatever `bwd` needs.
            bwd: takes the arguments of nondiff_argnums, the residuals and the cotangents of the output (a tree like
                it), and returns a tuple with a cotangent for each other argument, None for zero.
        """
        self.fwd = fwd
        self.bwd = bwd

    def forward(self, args: tuple) -> tuple[Any, Any]:
        """What fwd returns. Calls of the function inside of it are not again answered by fwd."""
        if self.fwd is None:
            raise self.without_rule("defvjp(fwd, bwd)")
        running = _local.running
        _local.running = (*running, self)
        try:
            returned = self.fwd(*args)
        finally:
            _local.running = running
        if not (isinstance(returned, tuple) and len(returned) == 2):
            problem = f"fwd of {self.name} has to return a pair (output, residuals), not {type(returned).__name__}"
            raise ConfigError(message(self.kind, problem, ()))
        return returned

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = Call(self, args, kwargs)
        if not call.differentiated():
            return self.function(*call.args)
        rule: ReverseRule
        residuals: list[Node] = []
        if self in _local.running:
            roots, out = plain(self, call)
            rule = InnerRule(self, call, out, roots)
        else:
            start = recorded()
            output, kept = self.forward(call.args)
            leaves, out = tree_flatten(output)
            roots = output_nodes(self.kind, leaves, True)
            self.refuse_captured(roots, call, start)
            rule = ReverseRule(self, call, out, roots, kept)
            leaves = tree_flatten(kept)[0]
            residuals = [to_node(leaves[place], self.kind) for place in rule.places]
        found = mark("custom_vjp", rule, (*roots, *call.nodes, *residuals), (False,))
        return tree_unflatten(out, [Tensor(node) for node in found])


class CustomJvp(_Custom):
    """A function with its own forward-mode derivative; see `custom_jvp`."""

    kind = "custom_jvp"
    rule: Callable[..., Any] | None = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Give the rule; usable as a decorator.

        Args:
            rule: takes the arguments of nondiff_argnums, a tuple of the other arguments and a tuple of their tangents,
                and returns (output, tangent), the second a tree like the first and linear in the tangents.
        """
        self.rule = rule
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Give a rule for each argument, ``rule(tangent, output, *arguments)``, or None where it has no part."""

        def rule(*given: Any) -> tuple[Any, Any]:
            primals, tangents = given[-2:]
            output = self(*primals)
            parts = [r(t, output, *primals) for r, t in zip(rules, tangents) if r is not None]
            if not parts:
                return output, None
            return output, functools.reduce(lambda a, b: tree_map(operator.add, a, b), parts)

        if self.nondiff_argnums:
            raise ConfigError(message(self.kind, "defjvps does not go with nondiff_argnums", (), "use defjvp"))
        self.rule = rule

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = Call(self, args, kwargs)
        if not call.differentiated():
            return self.function(*call.args)
        if self.rule is None:
            raise self.without_rule("defjvp(rule)")
        roots, out = plain(self, call)
        found = mark("custom_jvp", ForwardRule(self, call, out, roots), (*roots, *call.nodes))
        return tree_unflatten(out, [Tensor(node) for node in found])


def custom_vjp(function: Callable[..., Any] | None = None, *, nondiff_argnums: Sequence[int] = ()) -> Any:
    """Give a function its own reverse-mode derivative; a decorator.

    The rule is used by `grad`, `vjp`, `jacrev` and `backward`, under `vmap`, in loops, compiled, and for derivatives of
    the rule itself, which has to be made of differentiable operations for that. Forward mode has no rule to use and
    refuses, but goes over a reverse-mode derivative, as `hessian` does.

    Args:
        function: takes positional arguments, trees of tensors, and returns a tree of tensors. Every tensor to
            differentiate by is an argument.
        nondiff_argnums: positions of arguments of any other kind, which `bwd` is given first.

    Returns:
        The function, with a method ``defvjp(fwd, bwd)``. Of complex numbers `bwd` is given, and returns, gradients as
        `grad` returns them.

    Raises:
        ConfigError: no rule was given, or it returns something else than it should. DifferentiationError: forward mode,
            or a tensor that requires gradients and is no argument.

    Example:
        >>> import chainrule as cr
        >>> @cr.custom_vjp
        ... def clipped(x):  # the identity, with gradients of at most 1
        ...     return x
        >>> clipped.defvjp(lambda x: (x, None), lambda residuals, ct: (cr.clip(ct, -1.0, 1.0),))
        >>> cr.grad(lambda x: (5 * clipped(x)).sum())(cr.tensor([1.0, 2.0]))
        tensor([1., 1.])
    """
    if function is None:
        return functools.partial(custom_vjp, nondiff_argnums=nondiff_argnums)
    return CustomVjp(function, nondiff_argnums)


def custom_jvp(function: Callable[..., Any] | None = None, *, nondiff_argnums: Sequence[int] = ()) -> Any:
    """Give a function its own derivative, written for forward mode; a decorator.

    Reverse mode transposes the rule, so that one rule serves every transformation, to any order.

    Args:
        function: takes positional arguments, trees of tensors, and returns a tree of tensors. Every tensor to
            differentiate by is an argument.
        nondiff_argnums: positions of arguments of any other kind, which the rule is given first.

    Returns:
        The function, with the methods ``defjvp(rule)`` and ``defjvps(*rules)``.

    Raises:
        ConfigError: no rule was given, or it returns something else than it should. DifferentiationError: the rule is
            not linear in the tangents, or a tensor that requires gradients is no argument.

    Example:
        >>> import chainrule as cr
        >>> @cr.custom_jvp
        ... def log1pexp(x):
        ...     return cr.log(1 + cr.exp(x))
        >>> @log1pexp.defjvp
        ... def rule(primals, tangents):  # stays right where exp(x) overflows
        ...     (x,), (t,) = primals, tangents
        ...     return log1pexp(x), t * (1 - 1 / (1 + cr.exp(x)))
        >>> cr.grad(log1pexp)(cr.tensor(100.0))
        tensor(1.)
    """
    if function is None:
        return functools.partial(custom_jvp, nondiff_argnums=nondiff_argnums)
    return CustomJvp(function, nondiff_argnums)
