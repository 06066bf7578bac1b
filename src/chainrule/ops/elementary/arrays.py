"""`ArrayBuilder`: the scalar vocabulary on NumPy arrays, the interpreter's meaning of what NumPy lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...backends.base import ScalarBuilder, Value
from ...dtypes import DType, as_dtype, bool_


def on_arrays(function: Callable[..., Value], *operands: np.ndarray) -> np.ndarray:
    """``function(builder, *operands)`` for a function written in the scalar vocabulary."""
    builder = ArrayBuilder()
    values = [ArrayValue(np.asarray(operand)) for operand in operands]
    with np.errstate(all="ignore"):
        result = function(builder, *values).ref
    return np.array(np.broadcast_to(result, np.broadcast_shapes(*(np.shape(operand) for operand in operands))))


class ArrayValue(Value):
    """A `Value` whose ``ref`` is an array."""

    __slots__ = ()

    def __init__(self, array: Any, literal: bool | int | float | None = None):
        super().__init__(array, as_dtype(array.dtype), literal)


def _of(value: Value) -> Any:
    """The array of a value."""
    return value.ref


def _binary(ufunc: Callable) -> Any:
    def method(self: ArrayBuilder, a: Value, b: Value) -> Value:
        return ArrayValue(ufunc(_of(a), _of(b)))

    return method


def _unary(ufunc: Callable) -> Any:
    def method(self: ArrayBuilder, a: Value) -> Value:
        return ArrayValue(ufunc(_of(a)))

    return method


class ArrayBuilder(ScalarBuilder):
    """Evaluates at once, without fused multiply-add; what the special functions need of the vocabulary."""

    has_fma = False

    def const(self, value: bool | int | float, dtype: DType) -> Value:
        """The constant `value`, rounded to `dtype`."""
        if dtype.kind in "iu":
            value = int(value) & ((1 << 8 * dtype.itemsize) - 1)
            return ArrayValue(np.array(value, f"u{dtype.itemsize}").astype(dtype.numpy), value)
        return ArrayValue(np.array(value, dtype.numpy), value)

    add, sub, mul, div = _binary(np.add), _binary(np.subtract), _binary(np.multiply), _binary(np.divide)
    neg, abs, sqrt = _unary(np.negative), _unary(np.absolute), _unary(np.sqrt)
    minimum, maximum = _binary(np.minimum), _binary(np.maximum)
    floor, ceil, trunc, round_even = _unary(np.floor), _unary(np.ceil), _unary(np.trunc), _unary(np.rint)
    copysign = _binary(np.copysign)
    and_, or_, xor = _binary(np.bitwise_and), _binary(np.bitwise_or), _binary(np.bitwise_xor)
    not_ = _unary(np.bitwise_not)
    eq, ne, lt = _binary(np.equal), _binary(np.not_equal), _binary(np.less)
    le, gt, ge = _binary(np.less_equal), _binary(np.greater), _binary(np.greater_equal)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded twice."""
        return self.add(self.mul(a, b), c)

    def idiv(self, a: Value, b: Value) -> Value:
        """The quotient rounded towards zero; a / 0 is 0."""
        quotient = np.where(_of(b) == 0, 0, np.abs(_of(a)) // np.maximum(np.abs(_of(b)), 1))
        return ArrayValue((quotient * np.sign(_of(a)) * np.sign(_of(b))).astype(a.dtype.numpy))

    def irem(self, a: Value, b: Value) -> Value:
        """a - idiv(a, b) * b; 0 for b = 0."""
        rest = self.sub(a, self.mul(self.idiv(a, b), b))
        return self.select(self.eq(b, self.const(0, b.dtype)), self.const(0, a.dtype), rest)

    def _shifted(self, shift: Callable, a: Value, count: Value) -> np.ndarray:
        bits = 8 * a.dtype.itemsize
        far = (_of(count) < 0) | (_of(count) >= bits)
        return np.where(far, 0, shift(_of(a), np.where(far, 0, _of(count)))).astype(a.dtype.numpy)

    def shl(self, a: Value, count: Value) -> Value:
        """a shifted left."""
        return ArrayValue(self._shifted(np.left_shift, a, count))

    def lshr(self, a: Value, count: Value) -> Value:
        """a shifted right, zeros coming in."""
        unsigned = ArrayValue(_of(a).view(f"u{a.dtype.itemsize}"))
        return ArrayValue(self._shifted(np.right_shift, unsigned, count).view(a.dtype.numpy))

    def ashr(self, a: Value, count: Value) -> Value:
        """a shifted right, copies of the sign coming in."""
        last = 8 * a.dtype.itemsize - 1
        inside = np.where((_of(count) < 0) | (_of(count) > last), last, _of(count)).astype(a.dtype.numpy)
        return ArrayValue(np.right_shift(_of(a), inside))

    def funnel(self, high: Value, low: Value, count: Value) -> Value:
        """The upper half of (high, low) shifted left by `count` modulo the width."""
        bits = 8 * high.dtype.itemsize
        places = self.const(bits - 1, count.dtype)
        count = self.and_(count, places)
        rest = self.lshr(low, self.sub(self.const(bits, count.dtype), count))
        return self.or_(self.shl(high, count), rest)

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """a where the condition holds, else b."""
        return ArrayValue(np.where(_of(condition), _of(a), _of(b)))

    def cast(self, a: Value, dtype: DType) -> Value:
        """The number a in another dtype; floats become integers saturating, NaN as 0."""
        if a.dtype.kind != "f" or dtype.kind not in "iu":
            return ArrayValue(np.asarray(_of(a) != 0 if dtype is bool_ else _of(a).astype(dtype.numpy)))
        limits = np.iinfo(dtype.numpy)
        above, below = _of(a) >= float(limits.max), _of(a) <= float(limits.min)
        inside = np.where(above | below | np.isnan(_of(a)), 0, _of(a)).astype(dtype.numpy)
        return ArrayValue(np.where(above, limits.max, np.where(below, limits.min, inside)).astype(dtype.numpy))

    def bitcast(self, a: Value, dtype: DType) -> Value:
        """The bits of a read as another dtype."""
        return ArrayValue(_of(a).view(dtype.numpy))
