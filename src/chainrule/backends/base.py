"""What a backend offers to the operations: the vocabulary of scalar code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from ..dtypes import DType
from ..errors import DTypeError


class Value:
    """One value of the code being built: an element, or a vector of elements in equal code.

    Attributes: ``ref``, the backend's name of it; ``dtype``, the type of an element; ``literal``, the
    Python number if it is a constant, else None; ``below``, for integers a power of two that the
    value, read as unsigned, is known not to reach, else None.
    """

    __slots__ = ("below", "dtype", "literal", "ref")

    def __init__(self, ref: str, dtype: DType, literal: bool | int | float | None = None, below: int | None = None):
        self.ref = ref
        self.dtype = dtype
        self.literal = literal
        self.below = below

    def __repr__(self) -> str:
        return f"Value({self.ref}, {self.dtype.name})"


class ScalarBuilder(ABC):
    """Appends code element by element: each method adds one operation and returns its result.

    Operands of one operation have the same dtype, and so has the result unless the method says
    otherwise. Floating-point operations round once to their dtype (IEEE 754, nearest even), keep
    subnormal numbers and signed zeros, and propagate NaN. Nothing here is undefined: integers wrap.
    """

    #: whether `fma` rounds once; where it is False, `fma` is a product and a sum
    has_fma: bool = True
    #: whether `look_up` is there, and `fma` rounds once
    has_tables: bool = False

    def look_up(self, table: Sequence[float], index: Value) -> Value:
        """The float32 number of 16 that the lowest four bits of an int32 name; only where `has_tables` says so."""
        raise DTypeError("look_up: this backend has no such instruction")

    def scales(self, dtype: DType) -> bool:
        """Whether `scale` and `within` are there for `dtype`."""
        return False

    def scale(self, a: Value, n: Value) -> Value:
        """a * 2**floor(n), rounded once, however large or small n is; only where `scales` says so."""
        raise DTypeError(f"scale: this backend has no such instruction for {a.dtype.name}")

    def within(self, a: Value, limit: float) -> Value:
        """a, or `limit` with its sign where it is beyond that or NaN; only where `scales` says so."""
        raise DTypeError(f"within: this backend has no such instruction for {a.dtype.name}")

    @abstractmethod
    def const(self, value: bool | int | float, dtype: DType) -> Value:
        """The constant `value`, rounded to `dtype`."""

    # arithmetic on numbers
    @abstractmethod
    def add(self, a: Value, b: Value) -> Value:
        """a + b."""

    @abstractmethod
    def sub(self, a: Value, b: Value) -> Value:
        """a - b."""

    @abstractmethod
    def mul(self, a: Value, b: Value) -> Value:
        """a * b."""

    @abstractmethod
    def neg(self, a: Value) -> Value:
        """-a (of floats: the sign bit flipped)."""

    @abstractmethod
    def abs(self, a: Value) -> Value:
        """The magnitude of a; the most negative integer stays itself."""

    @abstractmethod
    def minimum(self, a: Value, b: Value) -> Value:
        """The lesser; NaN if one operand is NaN; minimum(-0, 0) is -0."""

    @abstractmethod
    def maximum(self, a: Value, b: Value) -> Value:
        """The greater; NaN if one operand is NaN; maximum(-0, 0) is 0."""

    # floating point only
    @abstractmethod
    def div(self, a: Value, b: Value) -> Value:
        """a / b of floats."""

    @abstractmethod
    def sqrt(self, a: Value) -> Value:
        """The square root, correctly rounded."""

    @abstractmethod
    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once if `has_fma`, else twice."""

    @abstractmethod
    def floor(self, a: Value) -> Value:
        """The greatest whole number not above a."""

    @abstractmethod
    def ceil(self, a: Value) -> Value:
        """The least whole number not below a."""

    @abstractmethod
    def trunc(self, a: Value) -> Value:
        """a without its fraction."""

    @abstractmethod
    def round_even(self, a: Value) -> Value:
        """The nearest whole number, ties to even."""

    @abstractmethod
    def copysign(self, a: Value, b: Value) -> Value:
        """The magnitude of a with the sign bit of b."""

    # integers only
    @abstractmethod
    def idiv(self, a: Value, b: Value) -> Value:
        """The quotient rounded towards zero; a / 0 is 0, and the most negative number / -1 is itself."""

    @abstractmethod
    def irem(self, a: Value, b: Value) -> Value:
        """a - idiv(a, b) * b, with the sign of a; 0 for b = 0."""

    @abstractmethod
    def shl(self, a: Value, count: Value) -> Value:
        """a shifted left; 0 if `count`, read as unsigned, reaches the width of the type."""

    @abstractmethod
    def lshr(self, a: Value, count: Value) -> Value:
        """a shifted right, zeros coming in; 0 if `count`, read as unsigned, reaches the width."""

    @abstractmethod
    def ashr(self, a: Value, count: Value) -> Value:
        """a shifted right, copies of the sign coming in; all sign if `count` reaches the width."""

    @abstractmethod
    def funnel(self, high: Value, low: Value, count: Value) -> Value:
        """The upper half of the double-width integer (high, low) shifted left by `count` modulo the width."""

    # integers and bool
    @abstractmethod
    def and_(self, a: Value, b: Value) -> Value:
        """Bits set in both."""

    @abstractmethod
    def or_(self, a: Value, b: Value) -> Value:
        """Bits set in either."""

    @abstractmethod
    def xor(self, a: Value, b: Value) -> Value:
        """Bits set in exactly one."""

    @abstractmethod
    def not_(self, a: Value) -> Value:
        """All bits flipped."""

    # comparisons: bool results
    @abstractmethod
    def eq(self, a: Value, b: Value) -> Value:
        """a == b; False if one is NaN."""

    @abstractmethod
    def ne(self, a: Value, b: Value) -> Value:
        """a != b; True if one is NaN."""

    @abstractmethod
    def lt(self, a: Value, b: Value) -> Value:
        """a < b; False if one is NaN."""

    @abstractmethod
    def le(self, a: Value, b: Value) -> Value:
        """a <= b; False if one is NaN."""

    @abstractmethod
    def gt(self, a: Value, b: Value) -> Value:
        """a > b; False if one is NaN."""

    @abstractmethod
    def ge(self, a: Value, b: Value) -> Value:
        """a >= b; False if one is NaN."""

    @abstractmethod
    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """a where the bool `condition` holds, else b; both are computed."""

    def rarely(self, condition: Value, compute: Callable[[], tuple[Value, ...]], usual: tuple[Value, ...]):
        """``compute()`` where `condition` holds, else `usual`, for a condition that seldom holds.

        A backend may skip the computation where the condition holds for none of the elements that the
        code handles at once; the results are the same.
        """
        computed = compute()
        return tuple(self.select(condition, a, b) for a, b in zip(computed, usual, strict=True))

    # conversions
    @abstractmethod
    def cast(self, a: Value, dtype: DType) -> Value:
        """The number a in another dtype, as ``ndarray.astype``.

        Floats become integers by dropping the fraction, saturating, NaN as 0; any non-zero number
        (and NaN) is True; integers wrap.
        """

    @abstractmethod
    def bitcast(self, a: Value, dtype: DType) -> Value:
        """The bits of a read as another dtype of the same size (not bool)."""
