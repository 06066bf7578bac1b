"""Primitives of gradient checkpointing: where a region ends whose inside is computed again, and what makes it wait."""

from __future__ import annotations

from .base import Primitive, apply
from .elementwise import Elementwise
from .rules import lead


class Checkpoint(Primitive):
    """The first operand itself: a result of a region whose inside the reverse sweep computes again.

    Of the first result of a region, the operands are its `count` results, then all nodes from before the region that
    these are computed from, and last the `kept` nodes inside of it that are kept for the backward pass; of every other
    result (`count` 0) that result and the node of the first one. Between results and nodes from before lies the region.
    """

    name = "checkpoint"
    family = "leaf"
    attributes = ("count", "kept")

    def infer(self, x, *others):
        """The first operand's type."""
        return x.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent, for the first operand."""
        return (cotangent, *(None for _ in needed[1:]))

    def jvp(self, node, tangents):
        """The tangent of the first operand."""
        return tangents[0]

    def batch(self, inputs, batched, size):
        """The same; a first result that is not batched is repeated."""
        x = inputs[0] if batched[0] else lead(inputs[0], size)
        return apply(self, (x, *inputs[1:]))

    def numpy(self, x, *others):
        """x."""
        return x


class Named(Primitive):
    """x itself, under a name by which a policy of `checkpoint` finds it."""

    name = "checkpoint_name"
    family = "leaf"
    attributes = ("label",)

    def infer(self, x):
        """The operand's type."""
        return x.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent."""
        return (cotangent,)

    def jvp(self, node, tangents):
        """The tangent, under the same name."""
        return apply(self, (tangents[0],))

    def batch(self, inputs, batched, size):
        """The same."""
        return apply(self, inputs)

    def numpy(self, x):
        """x."""
        return x


class Barrier(Elementwise):
    """x, but not before the value of `then` is there.

    What is computed from it is another value to the compiler than what is computed from x, so that no merging of equal
    nodes brings the two together again.
    """

    name = "barrier"
    kinds = "biuf"

    def infer(self, x, then):
        """The first operand's type; the shapes are equal."""
        if x.shape != then.shape:
            self.reject("the operands have different shapes", (x, then))
        return x.shape, x.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent, for x alone."""
        return cotangent, None

    def jvp(self, node, tangents):
        """The tangent of x, None if that is zero."""
        return tangents[0]

    def numpy(self, x, then):
        """x."""
        return x

    def scalar(self, b, x, then):
        """x."""
        return x
