"""Elementwise primitives without derivatives: comparisons, predicates, logic, bits and shifts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..dtypes import bool_
from .elementwise import Binary, Unary


class Predicate(Unary):
    """Family base: a question about one number."""

    kinds = "iufc"
    result = bool_
    differentiable = False


class IsFinite(Predicate):
    """Whether x is neither infinite nor NaN."""

    name = "isfinite"
    numpy = np.isfinite

    def scalar(self, b, x):
        return b.lt(b.abs(x), b.const(float("inf"), x.dtype)) if x.dtype.kind == "f" else b.eq(x, x)


class IsNaN(Predicate):
    """Whether x is NaN."""

    name = "isnan"
    numpy = np.isnan

    def scalar(self, b, x):
        return b.ne(x, x)


class IsInf(Predicate):
    """Whether x is an infinity."""

    name = "isinf"
    numpy = np.isinf

    def scalar(self, b, x):
        return b.eq(b.abs(x), b.const(float("inf"), x.dtype)) if x.dtype.kind == "f" else b.ne(x, x)


class Comparison(Binary):
    """Family base: bool from two numbers; with NaN only `ne` holds."""

    kinds = "biufc"
    result = bool_
    differentiable = False
    word: ClassVar[str]

    def scalar(self, b, x, y):
        return getattr(b, self.name)(x, y)


class Eq(Comparison):
    """a == b."""

    name = "eq"
    numpy = np.equal


class Ne(Comparison):
    """a != b."""

    name = "ne"
    numpy = np.not_equal


class Lt(Comparison):
    """a < b."""

    name = "lt"
    kinds = "iuf"
    numpy = np.less


class Le(Comparison):
    """a <= b."""

    name = "le"
    kinds = "iuf"
    numpy = np.less_equal


class Gt(Comparison):
    """a > b."""

    name = "gt"
    kinds = "iuf"
    numpy = np.greater


class Ge(Comparison):
    """a >= b."""

    name = "ge"
    kinds = "iuf"
    numpy = np.greater_equal


class LogicalNot(Unary):
    """not x, of bool."""

    name = "logical_not"
    kinds = "b"
    differentiable = False
    numpy = np.logical_not

    def scalar(self, b, x):
        return b.not_(x)


class BitwiseNot(Unary):
    """Every bit of x inverted; of bool: not x."""

    name = "bitwise_not"
    kinds = "biu"
    differentiable = False
    numpy = np.bitwise_not

    def scalar(self, b, x):
        return b.not_(x)


class Logical(Binary):
    """Family base: bool from two bools."""

    kinds = "b"
    differentiable = False


class LogicalAnd(Logical):
    """a and b, of bools."""

    name = "logical_and"
    numpy = np.logical_and

    def scalar(self, b, x, y):
        return b.and_(x, y)


class LogicalOr(Logical):
    """a or b, of bools."""

    name = "logical_or"
    numpy = np.logical_or

    def scalar(self, b, x, y):
        return b.or_(x, y)


class LogicalXor(Logical):
    """Whether just one of two bools holds."""

    name = "logical_xor"
    numpy = np.logical_xor

    def scalar(self, b, x, y):
        return b.xor(x, y)


class Bitwise(Binary):
    """Family base: integers (or bools) bit by bit."""

    kinds = "biu"
    differentiable = False


class BitwiseAnd(Bitwise):
    """The bits that a and b both have."""

    name = "bitwise_and"
    numpy = np.bitwise_and

    def scalar(self, b, x, y):
        return b.and_(x, y)


class BitwiseOr(Bitwise):
    """The bits that a or b has."""

    name = "bitwise_or"
    numpy = np.bitwise_or

    def scalar(self, b, x, y):
        return b.or_(x, y)


class BitwiseXor(Bitwise):
    """The bits in which a and b differ."""

    name = "bitwise_xor"
    numpy = np.bitwise_xor

    def scalar(self, b, x, y):
        return b.xor(x, y)


class Shift(Binary):
    """Family base: a shifted by b bits; shifts outside [0, width) push every bit out."""

    kinds = "iu"
    differentiable = False


class ShiftLeft(Shift):
    """a times 2**b, wrapping."""

    name = "shift_left"
    numpy = np.left_shift

    def scalar(self, b, x, y):
        return b.shl(x, y)


class ShiftRight(Shift):
    """a divided by 2**b, towards minus infinity."""

    name = "shift_right"
    numpy = np.right_shift

    def scalar(self, b, x, y):
        return b.lshr(x, y) if x.dtype.kind == "u" else b.ashr(x, y)
