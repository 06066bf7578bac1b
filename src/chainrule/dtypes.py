"""Element types, and the Array API's rules for combining them.

float16 and bfloat16 are types of storage: arithmetic on them runs in float32 and every result is rounded to the type.
complex64 and complex128 are pairs of float32 and float64; what computes with them is NumPy.
NumPy has no bfloat16. Its arrays here have a NumPy dtype of one field over 16-bit words, so that they are told apart
from uint16 wherever an array is asked for its dtype, and so that NumPy refuses to calculate with the bit patterns.
"""

from __future__ import annotations

import numpy as np

from .errors import DTypeError
from .lines import describe_line, user_line


class DType:
    """An element type: ``float32``, ``int64``, ``bool`` and so on; compared by identity.

    Attributes: ``name``; ``numpy``, the NumPy dtype of its arrays; ``itemsize`` in bytes; ``kind``, one of
    'b' (bool), 'i' (signed), 'u' (unsigned), 'f' (floating) and 'c' (complex); ``is_half``, whether it is float16 or
    bfloat16.
    """

    __slots__ = ("is_half", "itemsize", "kind", "name", "numpy")

    def __init__(self, name: str, numpy: np.dtype | None = None, kind: str = ""):
        self.name = name
        self.numpy = np.dtype(name) if numpy is None else numpy
        self.itemsize = self.numpy.itemsize
        self.kind = kind or self.numpy.kind
        self.is_half = self.kind == "f" and self.itemsize == 2

    def __repr__(self) -> str:
        return f"chainrule.{self.name}"

    def __reduce__(self):
        return (as_dtype, (self.name,))


bool_ = DType("bool")
int8, int16, int32, int64 = (DType(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DType(f"uint{n}") for n in (8, 16, 32, 64))
float16, float32, float64 = DType("float16"), DType("float32"), DType("float64")
bfloat16 = DType("bfloat16", np.dtype([("bfloat16", np.uint16)]), "f")
complex64, complex128 = DType("complex64"), DType("complex128")

ALL = (
    bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float16, bfloat16, float32, float64, complex64,
    complex128,
)  # fmt: skip
BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL}

default_float, default_int, default_complex = float32, int64, complex64


def as_dtype(value) -> DType:
    """The DType named by a DType, a NumPy dtype, a Python type or a string."""
    if type(value) is DType:
        return value
    if value is float:
        return default_float
    if value is int:
        return default_int
    if value is complex:
        return default_complex
    if type(value) is str and value in BY_NAME:
        return BY_NAME[value]
    try:
        return _BY_NUMPY[np.dtype(value)]
    except (TypeError, KeyError):
        names = ", ".join(BY_NAME)
        line = describe_line(user_line())
        raise DTypeError(f"{value!r} is not a dtype of Chainrule; there are {names}\nrecorded at {line}") from None


def real_dtype(dtype: DType) -> DType:
    """The dtype of the real part of numbers of `dtype`: its own for those that are not complex."""
    return float32 if dtype is complex64 else float64 if dtype is complex128 else dtype


def complex_dtype(dtype: DType) -> DType:
    """The complex dtype whose parts hold the numbers of the floating `dtype`, or `dtype` itself if it is complex."""
    return dtype if dtype.kind == "c" else complex128 if dtype is float64 else complex64


def _promotion_table() -> dict[tuple[DType, DType], DType]:
    table = {}
    for a in ALL:
        for b in ALL:
            if (a.kind == "b") != (b.kind == "b") or (a.kind in "iu") != (b.kind in "iu"):
                continue  # the standard leaves mixed kinds undefined: an explicit cast says what is meant
            if {a.kind, b.kind} == {"i", "u"} and uint64 in (a, b):
                continue
            if "c" in (a.kind, b.kind):
                table[a, b] = complex128 if {a, b} & {float64, complex128} else complex64
            elif a is not b and bfloat16 in (a, b):  # float16 has digits and bfloat16 has powers that the other lacks
                table[a, b] = float64 if float64 in (a, b) else float32
            else:
                table[a, b] = _BY_NUMPY[np.promote_types(a.numpy, b.numpy)]
    return table


_PROMOTION = _promotion_table()


def promote(a: DType, b: DType) -> DType:
    """The dtype of a mixed operation by the Array API standard.

    Raises DTypeError for kinds that the standard does not mix (bool; integers; floating and complex numbers).
    """
    if a is b:
        return a
    try:
        return _PROMOTION[a, b]
    except KeyError:
        raise DTypeError(f"{a.name} and {b.name} do not mix; convert one of them with .astype(...)") from None


# --- arrays of float16 and bfloat16 -----------------------------------------------------------------


def widened(array: np.ndarray) -> np.ndarray:
    """`array` itself, or its values as float32 (exactly) if it is of float16 or bfloat16."""
    if array.dtype == bfloat16.numpy:
        return (array.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def converted(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The numbers of `array` as a new array of `dtype`, floating ones rounded once to nearest, ties to even.

    A NaN stays one. Whole numbers of more than 32 bits reach float16 and bfloat16 by way of float64.
    """
    source = widened(array) if array.dtype == bfloat16.numpy else array
    if dtype is bfloat16:
        return _rounded_to_bfloat16(source)
    with np.errstate(all="ignore"):
        if dtype is float16 and source.dtype.kind in "iu":
            source = source.astype(np.float64)
        return source.astype(dtype.numpy)


def _rounded_to_bfloat16(array: np.ndarray) -> np.ndarray:
    if array.dtype == bfloat16.numpy:
        return array.copy()
    if array.dtype == np.float32 or array.dtype == np.float16:
        bits = array.astype(np.float32, order="C").view(np.uint32)
    else:
        bits = _rounded_to_odd(array.astype(np.float64, order="C"))
    high = bits >> np.uint32(16)
    rounded = (bits + np.uint32(0x7FFF) + (high & np.uint32(1))) >> np.uint32(16)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(nan, high | np.uint32(0x40), rounded).astype(np.uint16).view(bfloat16.numpy)


def _rounded_to_odd(array: np.ndarray) -> np.ndarray:
    """Bits of float32 numbers next to those of a float64 array: of two the odd one, so that rounding again is right."""
    with np.errstate(all="ignore"):
        near = array.astype(np.float32)
        back = near.astype(np.float64)
    bits = near.view(np.uint32)
    bits = np.where(np.abs(back) > np.abs(array), bits - np.uint32(1), bits)
    inexact = (back != array) & ~np.isnan(array)
    return np.where(inexact, bits | np.uint32(1), bits)


def rounded_number(value: float, dtype: DType) -> float:
    """The Python number `value` rounded to a floating `dtype`."""
    with np.errstate(all="ignore"):
        return float(widened(converted(np.float64(value).reshape(1), dtype))[0])
