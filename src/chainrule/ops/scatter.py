"""The greatest and the least of scattered updates."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..graph.node import Node
from .base import emit
from .indexing import Scatter
from .movement import check_ordered
from .rules import all_lead, cast, div, full_like, mul, reshape, where


class ScatterExtreme(Scatter):
    """x (n, ...) whose rows at `indices` are the greatest (or least) of themselves and the `updates` for them.

    The updates are (*indices.shape, ...). `kind` is "max" or "min"; NaN wins. The derivative is shared equally among
    equal extremes, as that of `max` is.
    """

    name = "scatter_extreme"
    attributes: ClassVar[tuple[str, ...]] = ("axis", "kind")
    host = True

    def infer(self, x, indices, updates):
        """The type of x."""
        check_ordered(self, x)
        self.check_indices(x, indices)
        if self.axis:
            self.reject(f"axis {self.axis} is not the first", (x, indices, updates))
        self.check_updates(x, indices, updates)
        expected = (*indices.shape, *x.shape[1:])
        if updates.shape != expected:
            self.reject(f"updates of shape {list(updates.shape)} should have {list(expected)}", (x, indices, updates))
        return x.shape, x.dtype

    def _shares(self, node: Node) -> tuple[Node, Node, Node]:
        """Which elements of x and of the updates are the extreme (1 or 0), and how many are."""
        x, indices, updates = node.inputs
        there = emit("take", node, indices, attributes=(0,))
        from_x = cast(emit("eq", x, node), node.dtype)
        from_updates = cast(emit("eq", updates, there), node.dtype)
        count = emit("scatter_add", from_x, indices, from_updates, attributes=(0,))
        none = emit("eq", count, full_like(count, 0.0))  # where the extreme is NaN, which equals nothing
        return from_x, from_updates, where(none, full_like(count, 1.0), count)

    def vjp(self, node, cotangent, needed):
        """The cotangent, shared."""
        from_x, from_updates, count = self._shares(node)
        share = div(cotangent, count)
        taken = emit("take", share, node.inputs[1], attributes=(0,)) if needed[2] else None
        return (
            mul(share, from_x) if needed[0] else None,
            None,
            mul(taken, from_updates) if taken is not None else None,
        )

    def jvp(self, node, tangents):
        """The mean tangent of the extremes."""
        x, indices, _ = node.inputs
        from_x, from_updates, count = self._shares(node)
        t = full_like(x, 0.0) if tangents[0] is None else mul(tangents[0], from_x)
        if tangents[2] is not None:
            t = emit("scatter_add", t, indices, mul(tangents[2], from_updates), attributes=(0,))
        return div(t, count)

    def batch(self, inputs, batched, size):
        """Lanes lie end to end, and indices point into all of them."""
        x, indices, updates = all_lead(inputs, batched, size)
        rows = self.flat_rows(indices, size, x.shape[1])
        flat = reshape(x, (size * x.shape[1], *x.shape[2:]))
        result = emit(self.name, flat, rows, updates, attributes=self.key[1:])
        return reshape(result, x.shape)

    def numpy(self, x, indices, updates):
        """`numpy.maximum.at` or `numpy.minimum.at`."""
        result = x.copy()
        (np.maximum if self.kind == "max" else np.minimum).at(result, self.positions(x, indices), updates)
        return result
