"""Primitives of functions whose derivatives the user has written: they mark the results of one call.

A marker's operands are the `count` results of the call, as computed, the arguments, and what the derivative needs
besides. Its value is the result with its `index`, so it costs nothing. Markers of one call are siblings.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

from ..dtypes import uint64
from ..errors import DifferentiationError, ForwardModeError
from ..graph.node import Node
from .base import JointRules, Primitive, Sibling, emit, message, mode, primitive
from .leaf import placeholder
from .rules import full, lead, total

Parts = Sequence[Node | None]


class Rule:
    """What a call's derivative is: equal, and with equal hashes, for calls that have the same.

    Attributes:
        name: the user's function, for messages.
        count: the number of results. num_arguments: the number of argument leaves.
        final: whether the results as computed have no history, so that nothing may go through them.
    """

    final = False

    def __init__(self, name: str, count: int, num_arguments: int, key: Any):
        self.name = name
        self.count = count
        self.num_arguments = num_arguments
        self.key = key

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Rule) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return self.name

    def lane(self, number: Node) -> AbstractContextManager:
        """Inside, random draws differ from example to example, whose number is given."""
        return nullcontext()

    def pull(
        self, arguments: Sequence[Node], residuals: Sequence[Node], cotangents: Sequence[Node], needed: Sequence[bool]
    ) -> Parts:
        """Cotangents of the arguments; None where one is zero or not `needed`."""
        raise NotImplementedError

    def push(self, arguments: Sequence[Node], tangents: Parts) -> Parts:
        """Tangents of the results, linear in those of the arguments; None where one is zero."""
        raise NotImplementedError


class BatchedRule(Rule):
    """The rule of a call for `size` examples at once: the same rule, recorded for one and batched.

    `batched` says which of the arguments and residuals have the leading axis; all results do.
    """

    def __init__(self, inner: Rule, batched: tuple[bool, ...], size: int, spread: Callable[..., list[Node]]):
        super().__init__(inner.name, inner.count, inner.num_arguments, ("batched", inner, batched, size))
        self.inner = inner
        self.final = inner.final
        self.batched = batched
        self.size = size
        self.spread = spread

    def _single(self, nodes: Parts, batched: Sequence[bool], bound: dict[Node, Node]) -> list[Any]:
        """For each node what stands for it in one example; `bound` takes up what stands for which."""
        found: list[Any] = []
        for node, is_ in zip(nodes, batched):
            if node is None or not is_:
                found.append(node)
                continue
            found.append(placeholder(len(bound), node.shape[1:], node.dtype, node.requires_grad))
            bound[found[-1]] = node
        return found

    def _lane(self, bound: dict[Node, Node]) -> AbstractContextManager:
        number = placeholder(len(bound), (), uint64)
        bound[number] = emit("iota", attributes=((self.size,), 0, uint64))
        return self.lane(number)

    def lane(self, number):
        """That of the rule for one example."""
        return self.inner.lane(number)

    def _many(self, parts: Parts, bound: dict[Node, Node]) -> list[Node | None]:
        made = iter(self.spread([part for part in parts if part is not None], bound, self.size))
        return [None if part is None else next(made) for part in parts]

    def pull(self, arguments, residuals, cotangents, needed):
        """Cotangents of arguments that all examples share are added up."""
        bound: dict[Node, Node] = {}
        count = len(arguments)
        given = self._single((*arguments, *residuals), self.batched, bound)
        ones = self._single(cotangents, [True] * len(cotangents), bound)
        with self._lane(bound):
            single = self.inner.pull(given[:count], given[count:], ones, needed)
        parts = self._many(single, bound)
        return [p if p is None or is_ else total(p, (0,)) for p, is_ in zip(parts, self.batched)]

    def push(self, arguments, tangents):
        """Tangents of every example."""
        bound: dict[Node, Node] = {}
        given = self._single(arguments, self.batched, bound)
        moving = self._single(tangents, self.batched, bound)
        with self._lane(bound):
            single = self.inner.push(given, moving)
        return self._many(single, bound)


class Marker(Sibling):
    """Family base: operand number `index`; see the module."""

    family = "leaf"
    shared = False  # `marked` keeps the last ones

    @property
    def joined(self) -> tuple:
        """What siblings have in common besides their operands: their attributes but the index."""
        return (self.rule, *self.key[3:])

    def infer(self, *operands):
        """The type of the result."""
        x = operands[self.index]
        return x.shape, x.dtype

    def numpy(self, *arrays):
        """The result as computed."""
        return arrays[self.index]

    def cost(self, node):
        """Nothing."""
        return 0, 0


class CustomVjp(Marker):
    """Result `index` of a call of a function with its own reverse-mode derivative.

    `pulled` is set when reverse mode has used the rule. Then whatever else differentiates goes through the results as
    they were computed, as it goes through the rule; before, forward mode has no rule to use.
    """

    name = "custom_vjp"
    attributes = ("rule", "index", "pulled")


class CustomJvp(Marker):
    """Result `index` of a call of a function with its own forward-mode derivative, which reverse mode transposes."""

    name = "custom_jvp"
    attributes = ("rule", "index")


_last: OrderedDict[tuple, Primitive] = OrderedDict()
_MAXIMUM_LAST = 256


def marked(name: str, attributes: tuple) -> Primitive:
    """The marker with these attributes; the last ones are shared, which is how programs for them are found again."""
    key = (name, *attributes)
    found = _last.get(key)
    if found is None:
        found = _last[key] = primitive(name, attributes)
        if len(_last) > _MAXIMUM_LAST:
            _last.popitem(last=False)
    else:
        with suppress(KeyError):  # another thread has just dropped it
            _last.move_to_end(key)
    return found


def mark(name: str, rule: Rule, operands: tuple[Node, ...], pulled: tuple[bool, ...] = ()) -> list[Node]:
    """Record the markers of all results of a call."""
    found = []
    for index in range(rule.count):
        op = marked(name, (rule, index, *pulled))
        x = operands[index]
        differentiable = x.dtype.kind in "fc" and mode.grad_enabled
        requires_grad = differentiable and any(operand.requires_grad for operand in operands)
        found.append(Node(op, operands, x.shape, x.dtype, x.value, requires_grad, mode.where))
    return found


def _cotangents(nodes: Sequence[Node], cotangents: Sequence[Node]) -> list[Node]:
    """One cotangent for each result, zeros for those without."""
    given = {node.op.index: part for node, part in zip(nodes, cotangents)}
    first = nodes[0]
    results = first.inputs[: first.op.rule.count]
    return [given.get(i) or full(False if x.dtype.kind == "b" else 0, x.shape, x.dtype) for i, x in enumerate(results)]


def _pull(nodes, cotangents, needed, sweep):
    """The rule's cotangents of the arguments; the results as computed and the residuals get none."""
    first = nodes[0]
    rule: Rule = first.op.rule
    stop = rule.count + rule.num_arguments
    arguments, residuals = first.inputs[rule.count : stop], first.inputs[stop:]
    wanted = needed[rule.count : stop]
    parts = rule.pull(arguments, residuals, _cotangents(nodes, cotangents), wanted)
    if not rule.final:
        for node in nodes:
            node.op = marked("custom_vjp", (rule, node.op.index, True))
    found = [part if yes else None for part, yes in zip(parts, wanted)]
    return (*([None] * rule.count), *found, *([None] * len(residuals)))


def _refuse_or_pass(node, tangents, push):
    """The tangents of the results as computed, once reverse mode has used the rule."""
    op = node.op
    if not op.pulled:
        problem = f"{op.rule.name} has a rule for reverse mode alone, forward mode cannot use it"
        help = "use grad, vjp or jacrev, or define the function with custom_jvp, which serves both modes"
        raise ForwardModeError(message("custom_vjp", problem, node.inputs[: op.rule.count], help))
    return list(tangents[: op.rule.count])


def _transpose(nodes, cotangents, needed, sweep):
    """The transpose of the forward rule: the reverse sweep from its tangents to those of the arguments."""
    first = nodes[0]
    rule: Rule = first.op.rule
    arguments = first.inputs[rule.count :]
    wanted = [yes and x.dtype.kind in "fc" for x, yes in zip(arguments, needed[rule.count :])]
    moving: list[Node | None] = [
        placeholder(i, x.shape, x.dtype, True) if yes else None for i, (x, yes) in enumerate(zip(arguments, wanted))
    ]
    before = mode.grad_enabled
    mode.grad_enabled = True
    try:
        tangents = rule.push(arguments, moving)
    finally:
        mode.grad_enabled = before
    pairs = [(t, c) for t, c in zip(tangents, _cotangents(nodes, cotangents)) if t is not None]
    starts = [t for t in moving if t is not None]
    found = dict(zip(starts, sweep([t for t, _ in pairs], [c for _, c in pairs], starts)))
    _require_linear(rule, [part for part in found.values() if part is not None], set(starts), arguments)
    return (*([None] * rule.count), *(None if t is None else found[t] for t in moving))


def _require_linear(rule: Rule, parts: Sequence[Node], starts: set[Node], arguments: Sequence[Node]) -> None:
    """Refuse a rule whose transpose depends on the tangents themselves."""
    oldest = min((node.serial for node in starts), default=0)
    stack, seen = list(parts), set(parts)
    while stack:
        node = stack.pop()
        if node in starts:
            problem = f"the tangents that the rule of {rule.name} returns are not linear in those it is given"
            help = "reverse mode transposes the rule: multiply tangents by functions of the primals and add them"
            raise DifferentiationError(message("custom_jvp", problem, tuple(arguments), help))
        for operand in node.inputs:
            if operand.serial >= oldest and operand not in seen:
                seen.add(operand)
                stack.append(operand)


def _push(node, tangents, push):
    """The rule's tangents of the results."""
    rule: Rule = node.op.rule
    return list(rule.push(node.inputs[rule.count :], tangents[rule.count :]))


def _batch(joined, operands, batched, size, spread):
    """Markers whose rule is recorded for one example and batched; all results get the leading axis."""
    rule, *pulled = joined
    count = rule.count
    results = [x if is_ else lead(x, size) for x, is_ in zip(operands[:count], batched)]
    wide = BatchedRule(rule, tuple(batched[count:]), size, spread)
    return mark("custom_vjp" if pulled else "custom_jvp", wide, (*results, *operands[count:]), tuple(pulled))


CustomVjp.rules = JointRules(_pull, _refuse_or_pass, _batch)
CustomJvp.rules = JointRules(_transpose, _push, _batch)
