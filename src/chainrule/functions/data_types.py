"""Functions about dtypes: conversion, promotion, limits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..conversion import to_node
from ..dtypes import DType, as_dtype, bfloat16, promote
from ..errors import DTypeError
from ..recording import cast, reject
from ..tensor import Tensor


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """`x` converted to `dtype`; floating numbers become integers by dropping their fractional part."""
    return Tensor(cast(to_node(x, "astype"), as_dtype(dtype)))


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype of an operation on these tensors, dtypes and Python scalars (which are weak)."""
    dtypes = []
    scalars = []
    for item in arrays_and_dtypes:
        if isinstance(item, (bool, int, float)):
            scalars.append(type(item))
        elif isinstance(item, Tensor):
            dtypes.append(item.dtype)
        elif isinstance(item, (np.ndarray, np.generic)):
            dtypes.append(as_dtype(item.dtype))
        else:
            dtypes.append(as_dtype(item))
    if not dtypes:
        dtypes = [as_dtype(kind) for kind in scalars]
    result = dtypes[0]
    for dtype in dtypes[1:]:
        result = promote(result, dtype)
    return result


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
    "complex floating": "",
    "numeric": "iuf",
}


def isdtype(dtype: Any, kind: Any) -> bool:
    """Whether `dtype` is of `kind`: a dtype, one of the standard's kind names, or a tuple of them."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, k) for k in kind)
    dtype = as_dtype(dtype)
    if isinstance(kind, str):
        if kind not in _KINDS:
            reject("isdtype", f"{kind!r} is no kind of dtype; there are {', '.join(_KINDS)}", (), "", DTypeError)
        return dtype.kind in _KINDS[kind] and bool(_KINDS[kind])
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
    """Limits of a floating dtype (or of a tensor's)."""
    dtype = type.dtype if isinstance(type, Tensor) else as_dtype(type)
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
