"""Element types, and the Array API's rules for combining them."""

from __future__ import annotations

import numpy as np

from .errors import DTypeError


class DType:
    """An element type: ``float32``, ``int64``, ``bool`` and so on; compared by identity.

    Attributes: ``name``; ``numpy``, the NumPy dtype; ``itemsize`` in bytes; ``kind``, one of
    'b' (bool), 'i' (signed), 'u' (unsigned) and 'f' (floating).
    """

    __slots__ = ("itemsize", "kind", "name", "numpy")

    def __init__(self, name: str):
        self.name = name
        self.numpy = np.dtype(name)
        self.itemsize = self.numpy.itemsize
        self.kind = self.numpy.kind

    def __repr__(self) -> str:
        return f"chainrule.{self.name}"

    def __reduce__(self):
        return (as_dtype, (self.name,))


bool_ = DType("bool")
int8, int16, int32, int64 = (DType(f"int{n}") for n in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DType(f"uint{n}") for n in (8, 16, 32, 64))
float32, float64 = DType("float32"), DType("float64")

ALL = (bool_, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64)
BY_NAME = {d.name: d for d in ALL}
_BY_NUMPY = {d.numpy: d for d in ALL}

default_float, default_int = float32, int64


def as_dtype(value) -> DType:
    """The DType named by a DType, a NumPy dtype, a Python type or a string."""
    if type(value) is DType:
        return value
    if value is float:
        return default_float
    if value is int:
        return default_int
    try:
        return _BY_NUMPY[np.dtype(value)]
    except (TypeError, KeyError):
        names = ", ".join(BY_NAME)
        raise DTypeError(f"{value!r} is not a dtype of Chainrule; there are {names}") from None


def _promotion_table() -> dict[tuple[DType, DType], DType]:
    table = {}
    for a in ALL:
        for b in ALL:
            if (a.kind == "b") != (b.kind == "b") or (a.kind in "iu") != (b.kind in "iu"):
                continue  # the standard leaves mixed kinds undefined: an explicit cast says what is meant
            if {a.kind, b.kind} == {"i", "u"} and uint64 in (a, b):
                continue
            table[a, b] = _BY_NUMPY[np.promote_types(a.numpy, b.numpy)]
    return table


_PROMOTION = _promotion_table()


def promote(a: DType, b: DType) -> DType:
    """The dtype of a mixed operation by the Array API standard.

    Raises DTypeError for kinds that the standard does not mix (bool, integer, floating).
    """
    if a is b:
        return a
    try:
        return _PROMOTION[a, b]
    except KeyError:
        raise DTypeError(
            f"{a.name} and {b.name} do not mix; convert one of them with .astype(...)"
        ) from None
