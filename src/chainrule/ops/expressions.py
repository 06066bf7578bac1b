"""`Expression`: formulas over nodes with Python's operators, for rules too long to be written as nested calls."""

from __future__ import annotations

from typing import Any

from ..graph.node import Node
from .base import emit
from .rules import full_like, where


class Expression:
    """A node with operators; numbers become constants of its type."""

    __slots__ = ("node",)

    def __init__(self, node: Node):
        self.node = node

    def like(self, other: Expression | float) -> Node:
        """The node of `other`, or that number in the type of this expression."""
        return other.node if isinstance(other, Expression) else full_like(self.node, other)

    def constant(self, value: float) -> Expression:
        """`value` in the type of this expression."""
        return Expression(full_like(self.node, value))

    def then(self, name: str, *others: Expression | float, attributes: tuple = ()) -> Expression:
        """Primitive `name` of this and `others`."""
        return Expression(emit(name, self.node, *map(self.like, others), attributes=attributes))

    def __add__(self, other: Expression | float) -> Expression:
        return self.then("add", other)

    def __sub__(self, other: Expression | float) -> Expression:
        return self.then("sub", other)

    def __mul__(self, other: Expression | float) -> Expression:
        return self.then("mul", other)

    def __truediv__(self, other: Expression | float) -> Expression:
        return self.then("div", other)

    def __radd__(self, other: float) -> Expression:
        return Expression(self.like(other)) + self

    def __rsub__(self, other: float) -> Expression:
        return Expression(self.like(other)) - self

    def __rmul__(self, other: float) -> Expression:
        return Expression(self.like(other)) * self

    def __rtruediv__(self, other: float) -> Expression:
        return Expression(self.like(other)) / self

    def __neg__(self) -> Expression:
        return self.then("neg")

    def __lt__(self, other: Expression | float) -> Expression:
        return self.then("lt", other)

    def __le__(self, other: Expression | float) -> Expression:
        return self.then("le", other)

    def __gt__(self, other: Expression | float) -> Expression:
        return self.then("gt", other)

    def __ge__(self, other: Expression | float) -> Expression:
        return self.then("ge", other)

    def equals(self, other: Expression | float) -> Expression:
        """Whether the values are equal."""
        return self.then("eq", other)

    def __and__(self, other: Expression) -> Expression:
        return self.then("logical_and", other)

    def __or__(self, other: Expression) -> Expression:
        return self.then("logical_or", other)

    def __invert__(self) -> Expression:
        return self.then("logical_not")

    def spread(self, count: int) -> Expression:
        """With a last axis of `count` along which the values repeat."""
        shape = self.node.shape
        return self.then("broadcast", attributes=((*shape, count), tuple(range(len(shape)))))

    def total(self) -> Expression:
        """The sum over the last axis."""
        return self.then("sum", attributes=((len(self.node.shape) - 1,),))


def choose(condition: Expression, a: Any, b: Any) -> Expression:
    """a where `condition` holds, else b; one of them may be a number."""
    known = a if isinstance(a, Expression) else b
    return Expression(where(condition.node, known.like(a), known.like(b)))
