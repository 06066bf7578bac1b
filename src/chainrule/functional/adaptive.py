"""Adaptive pooling: the output's extents are given, and the windows follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions as fn
from ..errors import ConfigError, ShapeError
from ..functions import sliding
from ..tensor import Tensor
from ._common import check_floating, fail
from ._sliding import WORDS, Shape, each_of, with_batch, without_batch
from .pooling import _check_numeric, _divided, _places


def check_output_size(name: str, output_size: Any, count: int) -> tuple[Any, ...]:
    """`output_size` as a number or None for each of `count` axes; ConfigError for what is none."""
    values = each_of(output_size, count)
    whole = all(v is None or (hasattr(v, "__index__") and v >= 1) for v in values)
    if len(values) != count or not whole:
        fail(ConfigError, name, f"output_size must be {WORDS[count]}, at least 1 or None, not {output_size!r}")
    return values


def _sizes(name: str, output_size: Any, input: Tensor, count: int) -> Shape:
    """`output_size` as a number for each axis; None keeps the input's extent."""
    values = check_output_size(name, output_size, count)
    for axis, extent in enumerate(input.shape[2:]):
        if extent < 1:
            fail(ShapeError, name, f"input has no elements along spatial axis {axis}", (input,))
    return tuple(n if v is None else v.__index__() for v, n in zip(values, input.shape[2:]))


def bins(extent: int, count: int) -> tuple[list[int], list[int]]:
    """Where each of `count` (m) windows over `extent` (n) elements starts, ``floor(i n / m)``, and ends."""
    return [i * extent // count for i in range(count)], [-(-(i + 1) * extent // count) for i in range(count)]


def _tiled(x: Tensor, out: Shape) -> tuple[Tensor, Shape]:
    """`x` with an axis for each axis of equal windows side by side, and which axes these are."""
    lead = len(x.shape) - len(out)
    pairs = [e for n, m in zip(x.shape[lead:], out) for e in (m, n // m)]
    return fn.reshape(x, (*x.shape[:lead], *pairs)), tuple(lead + 2 * i + 1 for i in range(len(out)))


def _gathered(x: Tensor, axis: int, out: int) -> tuple[Tensor, Tensor]:
    """The windows along `axis`, (..., out, longest, ...), and which elements of (out, longest) belong to them.

    Windows shorter than the longest repeat their last element.
    """
    starts, ends = bins(x.shape[axis], out)
    longest = max(end - start for start, end in zip(starts, ends))
    reach = np.array(starts)[:, None] + np.arange(longest)
    inside = reach < np.array(ends)[:, None]
    index = np.minimum(reach, np.array(ends)[:, None] - 1)
    shape = (out, longest) + (1,) * (len(x.shape) - axis - 1)
    return fn.take(x, fn.asarray(index), axis=axis), fn.reshape(fn.asarray(inside), shape)


def _adaptive_avg(name: str, count: int, input: Tensor, output_size: Any) -> Tensor:
    check_floating(name, input)
    input, added = with_batch(name, input, count)
    out = _sizes(name, output_size, input, count)
    extents = input.shape[2:]
    if not any(n % m for n, m in zip(extents, out)):
        seen, axes = _tiled(input, out)
        return without_batch(_divided(fn.sum(seen, axis=axes), [[n // m] for n, m in zip(extents, out)]), added)
    counts = []
    for i, (n, m) in enumerate(zip(extents, out)):
        seen, inside = _gathered(input, i + 2, m)
        input = fn.sum(fn.where(inside, seen, 0), axis=i + 3)
        counts.append([end - start for start, end in zip(*bins(n, m))])
    return without_batch(_divided(input, counts), added)


def _adaptive_max(name: str, count: int, input: Tensor, output_size: Any, return_indices: bool) -> Any:
    _check_numeric(name, input)
    input, added = with_batch(name, input, count)
    out = _sizes(name, output_size, input, count)
    extents = tuple(input.shape[2:])
    numbers = fn.broadcast_to(_places(extents), input.shape) if return_indices else None
    if not any(n % m for n, m in zip(extents, out)):
        seen, axes = _tiled(input, out)
        output, place = sliding.largest(seen, axes)
        if numbers is not None:
            numbers = sliding.at(_tiled(numbers, out)[0], place, axes)
    else:
        output = input
        for i in reversed(range(count)):  # the first of the rows' first maxima is the first in row-major order
            seen, _ = _gathered(output, i + 2, out[i])
            output, place = sliding.largest(seen, (i + 3,))
            if numbers is not None:
                numbers = sliding.at(_gathered(numbers, i + 2, out[i])[0], place, (i + 3,))
    output = without_batch(output, added)
    return output if numbers is None else (output, without_batch(numbers, added))


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """Means of `output_size` windows along one axis: as `adaptive_avg_pool2d`, of (N, C, L) or (C, L).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.adaptive_avg_pool1d(cr.asarray([[1.0, 3.0, 5.0]]), 2).tolist()
        [[2.0, 4.0]]
    """
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows that divide the input into `output_size` parts.

    Window i of m over n elements goes from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``, so that windows overlap by an
    element where n is no multiple of m. ``output_size=1`` is the mean over everything.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        output_size: a number of windows, or one for each axis, where None keeps the input's extent.
    Returns:
        (N, C, *output_size).
    Raises:
        ConfigError: an output size below 1. ShapeError: an input of another rank, or without elements.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.adaptive_avg_pool2d(cr.arange(16.0).reshape(1, 4, 4), (1, 2)).tolist()
        [[[6.5, 8.5]]]
    """
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """Means of windows over three axes: as `adaptive_avg_pool2d`, of (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.adaptive_avg_pool3d(cr.ones((2, 4, 8, 8, 6)), (1, 2, None)).shape
        (2, 4, 1, 2, 6)
    """
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of `output_size` windows along one axis: as `adaptive_max_pool2d`, of (N, C, L) or (C, L).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.adaptive_max_pool1d(cr.asarray([[1.0, 3.0, 5.0]]), 2).tolist()
        [[3.0, 5.0]]
    """
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of the windows of `adaptive_avg_pool2d`; derivatives, places and NaN as in `max_pool2d`.

    Example:
        >>> import chainrule as cr
        >>> cr.functional.adaptive_max_pool2d(cr.arange(12.0).reshape(1, 3, 4), 2).tolist()
        [[[5.0, 7.0], [9.0, 11.0]]]
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """Maxima of windows over three axes: as `adaptive_max_pool2d`, of (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.adaptive_max_pool3d(cr.ones((2, 4, 8, 8, 6)), 2).shape
        (2, 4, 2, 2, 2)
    """
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)
