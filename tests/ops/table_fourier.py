"""Rows of Fourier transforms, whose references are matrix products."""

from __future__ import annotations

import numpy as np

from chainrule.errors import DTypeError

from .table import case, floats, row, wrong
from .table_linalg import complexes


def matrix(n, sign):
    """The matrix of a transform."""
    return np.exp(sign * 2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)


def transformed(axes, inverse, scale, x):
    """By matrix products."""
    for axis in axes:
        moved = np.moveaxis(x, axis, -1)
        x = np.moveaxis((moved @ matrix(moved.shape[-1], 1 if inverse else -1)).astype(x.dtype), -1, axis)
    return (x * scale).astype(x.dtype)


def half_transformed(axis, scale, x):
    """By matrix products."""
    moved = np.moveaxis(x, axis, -1)
    n = moved.shape[-1]
    result = np.moveaxis((moved @ matrix(n, -1)[:, : n // 2 + 1]) * scale, -1, axis)
    return result.astype(np.result_type(x.dtype, np.complex64))


def real_transformed(axis, n, scale, x):
    """By writing out the mirror image."""
    half = np.moveaxis(x, axis, -1)
    whole = np.concatenate((half, half[..., (n - 1) // 2 : 0 : -1].conj()), -1)
    whole[..., 0] = whole[..., 0].real
    if n % 2 == 0:
        whole[..., n // 2] = whole[..., n // 2].real
    result = np.moveaxis((whole @ matrix(n, 1)).real * scale, -1, axis)
    return result.astype(np.float32 if x.dtype == np.complex64 else np.float64)


row(
    "fft",
    transformed,
    [
        case(complexes(5), attributes=((0,), False, 1.0), smooth=True),
        case(complexes(2, 4, 3), attributes=((1,), True, 0.25), smooth=True),
        case(complexes(2, 4, 3), attributes=((0, 2), False, 0.5), smooth=True, tag="two axes"),
        case(complexes(2, 4, dtype="complex64"), attributes=((1,), False, 0.5)),
        case(complexes(0, 4), attributes=((1,), False, 1.0), smooth=True, tag="empty"),
    ],
    [
        wrong(floats(4), attributes=((0,), False, 1.0), message="needs complex64 or complex128", error=DTypeError),
        wrong(complexes(4), attributes=((1,), False, 1.0), message="axes (1,) are not increasing axes of rank 1"),
        wrong(complexes(0, 4), attributes=((0,), False, 1.0), message="axis 0 has 0 elements"),
    ],
    loose=1e3,
)
row(
    "rfft",
    half_transformed,
    [
        case(floats(5), attributes=(0, 1.0), smooth=True, tag="odd"),
        case(floats(2, 4, 3), attributes=(1, 0.25), smooth=True, tag="even"),
        case(floats(1), attributes=(0, 1.0), smooth=True, tag="one"),
        case(floats(2, 4, dtype="float32"), attributes=(1, 0.5)),
    ],
    [
        wrong(complexes(4), attributes=(0, 1.0), message="needs float32 or float64", error=DTypeError),
        wrong(floats(0, 4), attributes=(0, 1.0), message="axis 0 has 0 elements"),
    ],
    loose=1e3,
)
row(
    "irfft",
    real_transformed,
    [
        case(complexes(3), attributes=(0, 5, 1.0), smooth=True, tag="odd"),
        case(complexes(2, 3, 2), attributes=(1, 4, 0.25), smooth=True, tag="even"),
        case(complexes(1), attributes=(0, 1, 1.0), smooth=True, tag="one"),
        case(complexes(2, 3, dtype="complex64"), attributes=(1, 4, 0.5)),
    ],
    [
        wrong(complexes(4), attributes=(0, 4, 1.0), message="4 numbers need 3 on axis 0, not 4"),
        wrong(floats(4), attributes=(0, 6, 1.0), message="needs complex64 or complex128", error=DTypeError),
    ],
    loose=1e3,
)
