"""Elementwise primitives: the family's defaults, casts, checks of indices, selection.

The other elementwise primitives are in `arithmetic`, `transcendental` and `logic`. Operands have equal shapes.
An elementwise primitive says its meaning for code generation once, in `scalar`, against the
vocabulary of `backends.base.ScalarBuilder`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..dtypes import DType, bool_, converted
from ..errors import DTypeError, IndexOutOfRangeError
from ..graph.node import Node
from .base import Primitive, apply, emit
from .rules import all_lead, cast, full_like, sum_parts, where

_KINDS = {"b": "bool", "i": "signed", "u": "unsigned", "f": "floating", "c": "complex"}


class Elementwise(Primitive):
    """Family base: equal shapes, one dtype; derivatives through `chain`, batching by repetition.

    `kinds` are the dtype kinds accepted; `result` is the dtype of the result if it is not the operands'.
    """

    family = "elementwise"
    kinds: ClassVar[str] = "f"
    result: ClassVar[DType | None] = None

    def refuse_kind(self, operands: tuple[Node, ...]):
        """Raise the DTypeError about the operands' kind."""
        if "f" in self.kinds and "c" not in self.kinds and any(operand.dtype.kind == "c" for operand in operands):
            problem = "is not defined for complex numbers"
            self.reject(problem, operands, "take real(x), imag(x) or abs(x)", DTypeError)
        accepted = ", ".join(_KINDS[kind] for kind in self.kinds)
        self.reject(f"needs {accepted} operands", operands, "convert with .astype(...)", DTypeError)

    def refuse_pair(self, operands: tuple[Node, ...]):
        """Raise the error about operands that differ in shape or dtype."""
        for i, operand in enumerate(operands):
            for axis, (m, n) in enumerate(zip(operands[0].shape, operand.shape)):
                if m != n:
                    self.reject(f"extents {m} and {n} of axis {axis} differ (operands 0 and {i})", operands)
            if len(operand.shape) != len(operands[0].shape):
                ranks = f"{len(operands[0].shape)} and {len(operand.shape)}"
                self.reject(f"ranks {ranks} differ (operands 0 and {i})", operands)
        self.reject("operands have different dtypes", operands, "convert with .astype(...)", DTypeError)

    def batch(self, inputs, batched, size):
        """The same operation, with unbatched operands repeated."""
        return apply(self, inputs if all(batched) else all_lead(inputs, batched, size))


class Unary(Elementwise):
    """Family base: one operand. `chain` gives c times the derivative, for cotangents and tangents alike."""

    def infer(self, x):
        """The operand's shape, and its dtype or `result`."""
        dtype = x.dtype
        if dtype.kind not in self.kinds:
            self.refuse_kind((x,))
        return x.shape, self.result or dtype

    def chain(self, node: Node, c: Node) -> Node | None:
        """c times the derivative at the operand; None where that is zero everywhere."""
        return None

    def vjp(self, node, cotangent, needed):
        """The cotangent times the derivative."""
        return (self.chain(node, cotangent),)

    def jvp(self, node, tangents):
        """The tangent times the derivative."""
        return self.chain(node, tangents[0])


class Binary(Elementwise):
    """Family base: two operands of equal shape and dtype. `chain` gives c times a partial derivative."""

    def infer(self, a, b):
        """The common shape, and the common dtype or `result`."""
        dtype = a.dtype
        if a.shape != b.shape or dtype is not b.dtype:
            self.refuse_pair((a, b))
        if dtype.kind not in self.kinds:
            self.refuse_kind((a, b))
        return a.shape, self.result or dtype

    def chain(self, node: Node, c: Node, i: int) -> Node | None:
        """c times the partial derivative with respect to operand i; None where that is zero everywhere."""
        return None

    def vjp(self, node, cotangent, needed):
        """The cotangent times each partial derivative."""
        return tuple(self.chain(node, cotangent, i) if needed[i] else None for i in (0, 1))

    def jvp(self, node, tangents):
        """The sum over operands of tangent times partial derivative."""
        return sum_parts(*(self.chain(node, t, i) for i, t in enumerate(tangents) if t is not None))


class Cast(Unary):
    """x in another dtype.

    Floating numbers become integers by dropping the fraction, saturating at the ends of the range, NaN as 0;
    integers wrap; every number that is not 0, NaN too, is True. Real numbers become complex ones; complex numbers do
    not become real ones, as that has several meanings.
    """

    name = "cast"
    attributes = ("dtype",)

    def infer(self, x):
        """The operand's shape and the attribute's dtype."""
        if x.dtype.kind == "c" and self.dtype.kind not in "bc":
            problem = f"complex numbers do not become {self.dtype.name} ones"
            self.reject(problem, (x,), "take real(x), imag(x) or abs(x)", DTypeError)
        return x.shape, self.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent in the operand's dtype: of a real operand that became complex its real part."""
        x = node.inputs[0]
        if x.dtype.kind == "f" and cotangent.dtype.kind == "c":
            cotangent = emit("real", cotangent)
        return (cast(cotangent, x.dtype) if x.dtype.kind in "fc" else None,)

    def jvp(self, node, tangents):
        """The tangent in the new dtype."""
        return cast(tangents[0], self.dtype)

    def numpy(self, x):
        target = self.dtype.numpy
        if x.dtype.kind != "f" or target.kind not in "iu":
            return converted(x, self.dtype)
        limits = np.iinfo(target)  # NumPy leaves numbers beyond them undefined
        above, below = x >= float(limits.max + 1), x <= float(limits.min)
        inside = np.where(above | below | np.isnan(x), 0, x).astype(target)
        return np.where(above, target.type(limits.max), np.where(below, target.type(limits.min), inside))

    def scalar(self, b, x):
        return x if self.dtype is x.dtype else b.cast(x, self.dtype)


class CheckIndex(Unary):
    """x itself, an integer; execution fails if an element is not in [-size, size).

    `what` names in the error what is indexed. Backends implement the check; `scalar` is the value alone.
    """

    name = "check_index"
    kinds = "iu"
    attributes = ("size", "what")
    differentiable = False

    def infer(self, x):
        """The operand's type; a value that is present is checked now if it is small."""
        if x.dtype.kind not in "iu":
            self.reject("needs integer indices", (x,), "convert with .astype(...)", DTypeError)
        if x.value is not None and x.value.size <= CHECKED_WHEN_RECORDED:
            check_bounds(self, x.value, self.size, self.what, (x,))
        return x.shape, x.dtype

    def numpy(self, x):
        check_bounds(self, x, self.size, self.what, ())
        return x

    def scalar(self, b, x):
        return x


#: indices that have a value and at most so many elements are checked when the operation is recorded
CHECKED_WHEN_RECORDED = 4096


def check_bounds(op: Primitive, indices: np.ndarray, size: int, what: str, operands: tuple[Node, ...]) -> None:
    """Raise IndexOutOfRangeError if one of `indices` is not in [-size, size)."""
    if indices.size == 0:
        return
    low, high = int(indices.min()), int(indices.max())
    if low < -size or high >= size:
        bad = high if high >= size else low
        bad -= (bad >= 1 << 63) << 64  # a negative index that was cast to uint64 to be rejected
        op.reject(f"index {bad} is out of range for {what} of size {size}", operands, kind=IndexOutOfRangeError)


class Where(Elementwise):
    """a where the condition holds, else b."""

    name = "where"

    def infer(self, condition, a, b):
        """The common shape, and the dtype of a and b."""
        if condition.dtype is not bool_:
            self.reject("the condition must be bool", (condition, a, b), "compare with a number", DTypeError)
        if a.dtype is not b.dtype or a.shape != b.shape or condition.shape != a.shape:
            if a.shape == b.shape == condition.shape:
                self.reject("operands have different dtypes", (a, b), "convert with .astype(...)", DTypeError)
            self.refuse_pair((condition, a, b))
        return a.shape, a.dtype

    def vjp(self, node, cotangent, needed):
        """The cotangent where the operand was taken, else 0."""
        zero = full_like(cotangent, 0.0)
        condition = node.inputs[0]
        return (
            None,
            where(condition, cotangent, zero) if needed[1] else None,
            where(condition, zero, cotangent) if needed[2] else None,
        )

    def jvp(self, node, tangents):
        """The tangent of the operand that was taken."""
        _, a, b = tangents
        zero = full_like(node, 0.0)
        return where(node.inputs[0], zero if a is None else a, zero if b is None else b)

    def numpy(self, condition, a, b):
        return np.where(condition, a, b)

    def scalar(self, b, condition, x, y):
        return b.select(condition, x, y)
