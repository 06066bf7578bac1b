"""The contraction: products summed over shared axes, of which matrix products are the common case."""

from __future__ import annotations

import numpy as np

from ..shapes import size
from .base import apply, same_dtype
from .movement import check_numeric
from .precision import Product
from .rules import sum_parts


class Contract(Product):
    """Sum over the labels that the result lacks of a times b, as ``numpy.einsum`` with two operands.

    Labels are integers, one per axis; each is in at least two of the three tuples and in none twice.
    A label in all three is a batch axis, one in a and b alone is summed over. The sum runs over the
    summed labels in the order in which a has them.
    """

    name = "contract"
    attributes = ("a_labels", "b_labels", "out_labels", "precision")

    def infer(self, a, b):
        """The extents of the result's labels."""
        if a.dtype is not b.dtype:
            same_dtype(self, (a, b))
        check_numeric(self, a)
        self.check_precision((a, b))
        extents = {}
        for labels, operand, which in ((self.a_labels, a, "left"), (self.b_labels, b, "right")):
            if len(labels) != len(operand.shape):
                self.reject(f"{len(labels)} labels for the {which} operand of rank {len(operand.shape)}", (a, b))
            for axis, (label, extent) in enumerate(zip(labels, operand.shape)):
                known = extents.setdefault(label, extent)
                if known != extent:
                    other = self.a_labels.index(label)
                    self.reject(
                        f"extent {known} of the left operand's axis {other} and extent {extent}"
                        f" of the right operand's axis {axis} differ",
                        (a, b),
                    )
        if self.key not in _checked:
            self._check_labels((a, b))
        return tuple(extents[label] for label in self.out_labels), a.dtype

    def _check_labels(self, operands):
        tuples = (self.a_labels, self.b_labels, self.out_labels)
        for labels in tuples:
            if len(set(labels)) != len(labels):
                self.reject(f"labels {labels} repeat one", operands)
        for label in {label for labels in tuples for label in labels}:
            if sum(label in labels for labels in tuples) < 2:
                self.reject(f"label {label} is in only one of {tuples}", operands)
        if len(_checked) < 4096:
            _checked.add(self.key)

    def vjp(self, node, cotangent, needed):
        """Contractions of the cotangent with the other operand."""
        a, b = node.inputs
        la, lb, out = self.a_labels, self.b_labels, self.out_labels
        return (
            self.same("contract", cotangent, b, attributes=(out, lb, la)) if needed[0] else None,
            self.same("contract", a, cotangent, attributes=(la, out, lb)) if needed[1] else None,
        )

    def jvp(self, node, tangents):
        """The product rule."""
        (a, b), (ta, tb) = node.inputs, tangents
        return sum_parts(
            None if ta is None else apply(self, (ta, b)),
            None if tb is None else apply(self, (a, tb)),
        )

    def batch(self, inputs, batched, size):
        """A new label in front of the batched operands and of the result."""
        label = max((-1, *self.a_labels, *self.b_labels)) + 1
        la, lb = ((label, *ls) if is_ else ls for ls, is_ in zip((self.a_labels, self.b_labels), batched))
        return self.same("contract", *inputs, attributes=(la, lb, (label, *self.out_labels)))

    def numpy(self, a, b):
        """Axes grouped into (batch, rows, sum) and (batch, sum, columns), then ``numpy.matmul``."""
        la, lb, out = self.a_labels, self.b_labels, self.out_labels
        both = [label for label in la if label in lb]
        batch = [label for label in both if label in out]
        summed = [label for label in both if label not in out]
        rows = [label for label in la if label not in lb]
        columns = [label for label in lb if label not in la]
        extent = dict(zip((*la, *lb), (*a.shape, *b.shape)))

        def arrange(x, labels, *groups):
            order = [labels.index(label) for group in groups for label in group]
            return x.transpose(order).reshape([size(extent[label] for label in group) for group in groups])

        product = np.matmul(arrange(a, la, batch, rows, summed), arrange(b, lb, batch, summed, columns))
        labels = batch + rows + columns
        return product.reshape([extent[label] for label in labels]).transpose([labels.index(label) for label in out])

    def cost(self, node):
        """Two operations for every combination of labels."""
        a, b = node.inputs
        extents = dict(zip((*self.a_labels, *self.b_labels), (*a.shape, *b.shape)))
        _, moved = super().cost(node)
        return 2 * size(extents.values()), moved


_checked: set[tuple] = set()
