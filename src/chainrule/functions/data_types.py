"""Functions about dtypes: conversion, promotion, limits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..conversion import to_node
from ..dtypes import DType, as_dtype, bfloat16, complex_dtype, promote, real_dtype
from ..errors import DTypeError
from ..ops.base import message
from ..recording import cast, check_device, reject
from ..tensor import Tensor


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """`x` converted to `dtype`; floating numbers become integers by dropping their fractional part.

    Complex numbers become bool or complex alone: ``real(x)``, ``imag(x)`` or ``abs(x)`` says which number is meant.
    Without `copy`, a tensor that has the dtype already is returned itself.
    """
    check_device("astype", device)
    node = to_node(x, "astype")
    wanted = as_dtype(dtype)
    if not copy and wanted is node.dtype and isinstance(x, Tensor):
        return x
    return Tensor(cast(node, wanted))


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of an operation on these tensors, dtypes and Python scalars (which are weak).

    Scalars alone give the default dtype of the widest kind. Raises DTypeError for kinds that the standard does not mix.
    """
    if not arrays_and_dtypes:
        raise DTypeError(message("result_type", "at least one tensor, dtype or number is needed", ()))
    dtypes = []
    scalars = []
    for item in arrays_and_dtypes:
        if isinstance(item, Tensor):
            dtypes.append(item.dtype)
        elif isinstance(item, (np.ndarray, np.generic)):
            dtypes.append(as_dtype(item.dtype))
        elif isinstance(item, (bool, int, float, complex)):
            scalars.append(type(item))
        else:
            dtypes.append(as_dtype(item))
    if not dtypes:
        dtypes = [as_dtype(max(scalars, key=_WIDTHS.index))]
    result = dtypes[0]
    for dtype in dtypes[1:]:
        result = promote(result, dtype)
    for scalar in scalars:
        if result.kind not in _MEETS[scalar]:
            help = "convert with .astype(...)"
            reject("result_type", f"{result.name} and a Python {scalar.__name__} do not mix", (), help, DTypeError)
    return complex_dtype(result) if complex in scalars and result.kind == "f" else result


#: Python's kinds of numbers, and the kinds of dtypes that each may meet
_WIDTHS = (bool, int, float, complex)
_MEETS = {bool: "b", int: "iufc", float: "fc", complex: "fc"}


def can_cast(from_: Any, to: Any, /) -> bool:
    """Whether promotion may turn `from_` (a tensor or dtype) into `to`."""
    source = from_.dtype if isinstance(from_, Tensor) else as_dtype(from_)
    target = as_dtype(to)
    try:
        return promote(source, target) is target
    except DTypeError:
        return False


_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is of `kind`: a dtype, one of the standard's kind names, or a tuple of them."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    dtype = as_dtype(dtype)
    if isinstance(kind, str):
        if kind not in _KINDS:
            reject("isdtype", f"{kind!r} is no kind of dtype; there are {', '.join(_KINDS)}", (), "", DTypeError)
        return dtype.kind in _KINDS[kind]
    return dtype is as_dtype(kind)


class FloatInfo(NamedTuple):
    """Limits of a floating dtype."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


class IntegerInfo(NamedTuple):
    """Limits of an integer dtype."""

    bits: int
    max: int
    min: int
    dtype: DType


def finfo(type: Any, /) -> FloatInfo:
    """Limits of a floating dtype (or of a tensor's); of a complex one those of its parts."""
    dtype = real_dtype(type.dtype if isinstance(type, Tensor) else as_dtype(type))
    if dtype.kind != "f":
        reject("finfo", f"{dtype.name} is not a floating dtype", (), "use iinfo", DTypeError)
    if dtype is bfloat16:
        return FloatInfo(16, 2.0**-7, (2 - 2.0**-7) * 2.0**127, (2.0**-7 - 2) * 2.0**127, 2.0**-126, dtype)
    info = np.finfo(dtype.numpy)
    return FloatInfo(info.bits, float(info.eps), float(info.max), float(info.min), float(info.smallest_normal), dtype)


def iinfo(type: Any, /) -> IntegerInfo:
    """Limits of an integer dtype (or of a tensor's)."""
    dtype = type.dtype if isinstance(type, Tensor) else as_dtype(type)
    if dtype.kind not in "iu":
        reject("iinfo", f"{dtype.name} is not an integer dtype", (), "use finfo", DTypeError)
    info = np.iinfo(dtype.numpy)
    return IntegerInfo(info.bits, int(info.max), int(info.min), dtype)


def promote_types(*dtypes: DType) -> DType:
    """The common dtype by the standard's table."""
    result = dtypes[0]
    for dtype in dtypes[1:]:
        result = promote(result, dtype)
    return result


__all__ = ["astype", "can_cast", "finfo", "iinfo", "isdtype", "promote_types", "result_type"]
