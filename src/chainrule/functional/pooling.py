"""Pooling: the largest element, the mean or a norm of each window."""

from __future__ import annotations

import math
from typing import Any

from .. import functions as fn
from ..dtypes import bool_, int64
from ..errors import ConfigError, DTypeError, ShapeError
from ..functions import sliding
from ..tensor import Tensor
from ._common import check_floating, check_tensor, fail
from ._sliding import Shape, per_axis, with_batch, without_batch


def check_windows(
    name: str, count: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any
) -> tuple[Shape, Shape, Shape, Shape]:
    """Sizes, strides, paddings and dilations of windows, a number for each axis; ConfigError for what is none."""
    size = per_axis(name, kernel_size, count, "kernel_size", 1)
    none = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    steps = size if none else per_axis(name, stride, count, "stride", 1)
    low = per_axis(name, padding, count, "padding", 0)
    gaps = per_axis(name, dilation, count, "dilation", 1)
    for k, p, d in zip(size, low, gaps):
        if 2 * p > (k - 1) * d + 1:
            fail(ConfigError, name, f"padding {p} is more than half of the window, which spans {(k - 1) * d + 1}")
    return size, steps, low, gaps


class _Grid:
    """Where the windows of one application lie: for each axis its size, stride, padding and dilation.

    `out` is the number of windows; `high` the padding behind that the last ones need, negative where elements are left.
    """

    def __init__(
        self, name: str, input: Tensor, count: int, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
        ceil_mode: bool,
    ):  # fmt: skip
        self.count = count
        settings = check_windows(name, count, kernel_size, stride, padding, dilation)
        self.size, self.stride, self.low, self.dilation = settings
        self.extents = tuple(input.shape[2:])
        out, high = [], []
        for axis, (n, k, s, p, d) in enumerate(zip(self.extents, self.size, self.stride, self.low, self.dilation)):
            span = (k - 1) * d + 1
            if n + 2 * p < span and not (ceil_mode and n + 2 * p > span - s and n):
                fail(ShapeError, name, f"the window spans {span} elements along spatial axis {axis}, the padded input"
                     f" has {n + 2 * p}", (input,), "give more padding, or a smaller window")  # fmt: skip
            room = n + 2 * p - span
            windows = (-(-room // s) if ceil_mode else room // s) + 1
            if ceil_mode and (windows - 1) * s >= n + p:
                windows -= 1  # a window that would begin in the padding behind
            out.append(windows)
            high.append((windows - 1) * s + span - n - p)
        self.out, self.high = tuple(out), tuple(high)

    def tiles(self) -> bool:
        """Whether the windows lie side by side."""
        return self.stride == self.size and set(self.dilation) == {1}

    def spread(self, x: Tensor, fill: Any) -> tuple[Tensor, Shape]:
        """`x` (..., *spatial) with an axis for each axis of the windows, and which axes these are."""
        lead = len(x.shape) - self.count
        x = fn.pad(x, [(0, 0)] * lead + list(zip(self.low, self.high)), fill)
        if self.tiles():
            pairs = [extent for pair in zip(self.out, self.size) for extent in pair]
            return fn.reshape(x, (*x.shape[:lead], *pairs)), tuple(lead + 2 * i + 1 for i in range(self.count))
        seen = sliding.windows(x, self.size, self.stride, self.dilation)
        return seen, tuple(range(lead + self.count, lead + 2 * self.count))

    def numbers(self, include_padding: bool) -> list[list[int]]:
        """For each axis, how many elements each window holds; with the padding or without."""
        result = []
        for n, k, s, p, out in zip(self.extents, self.size, self.stride, self.low, self.out):
            starts = [o * s - p for o in range(out)]
            if include_padding:
                result.append([min(start + k, n + p) - start for start in starts])
            else:
                result.append([min(start + k, n) - max(start, 0) for start in starts])
        return result


def _lowest(input: Tensor) -> float | int:
    """What is below every element: what maxima are padded with."""
    return -math.inf if input.dtype.kind == "f" else fn.iinfo(input.dtype).min


def _check_numeric(name: str, input: Tensor) -> None:
    check_tensor(name, input)
    if input.dtype is bool_:
        fail(DTypeError, name, "input must be numbers, not bool", (input,), "convert it with .astype(...)")


def _divided(total: Tensor, counts: list[list[int]]) -> Tensor:
    """`total` (..., *out) over the products of the counts of its axes."""
    if all(len(set(numbers)) <= 1 for numbers in counts):
        number = math.prod(numbers[0] for numbers in counts if numbers)
        return total / float(number) if number != 1 else total
    divisor = None
    for axis, numbers in enumerate(counts):
        one = fn.asarray(numbers, dtype=total.dtype)
        one = fn.reshape(one, (len(numbers),) + (1,) * (len(counts) - 1 - axis))
        divisor = one if divisor is None else divisor * one
    return total / divisor


def _places(extents: Shape) -> Tensor:
    """The row-major number of each place."""
    return fn.reshape(fn.arange(math.prod(extents), dtype=int64), extents)


def _max_pool(
    name: str, count: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    return_indices: bool,
) -> Any:  # fmt: skip
    _check_numeric(name, input)
    input, added = with_batch(name, input, count)
    grid = _Grid(name, input, count, kernel_size, stride, padding, dilation, ceil_mode)
    seen, axes = grid.spread(input, _lowest(input))
    if not return_indices:
        return without_batch(sliding.largest(seen, axes)[0], added)
    valid = fn.broadcast_to(grid.spread(fn.ones(grid.extents, dtype=bool_), False)[0], seen.shape)
    output, place = sliding.largest(seen, axes, valid)
    numbers = fn.broadcast_to(grid.spread(_places(grid.extents), 0)[0], seen.shape)
    return without_batch(output, added), without_batch(sliding.at(numbers, place, axes), added)


def max_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window along one axis: as `max_pool2d`, of (N, C, L) or (C, L).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.max_pool1d(cr.asarray([[1.0, 3.0, 2.0, 5.0]]), 2, stride=1).tolist()
        [[3.0, 3.0, 5.0]]
    """
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window: ``y[n, c, i] = max over k of x[n, c, i * stride + k * dilation - padding]``.

    Args:
        input: (N, C, H, W) or (C, H, W), any numbers.
        kernel_size, stride, padding, dilation: a number or one for each axis; the stride is by default the window's
            size, and the padding, of -inf, at most half of what the window spans.
        ceil_mode: whether there is a last window that reaches beyond the padded input.
        return_indices: whether to return (maxima, places), where a place is the row-major number in (H, W), int64.
    Returns:
        (N, C, H_out, W_out) with ``H_out = (H + 2 padding - dilation (K_h - 1) - 1) // stride + 1``.
    Raises:
        ShapeError: a window larger than the padded input. ConfigError: a setting that is none. DTypeError: bool.
    Numerics:
        The derivative goes to the first maximum in row-major order, as in PyTorch; for the backward pass its place in
        the window is kept, one byte an element. A window with NaN gives NaN, whose place is that of the first NaN
        (PyTorch: the last).
    Example:
        >>> import chainrule as cr
        >>> x = cr.arange(16.0).reshape(1, 4, 4)
        >>> cr.functional.max_pool2d(x, 2).tolist()
        [[[5.0, 7.0], [13.0, 15.0]]]
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window over three axes: as `max_pool2d`, of (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.max_pool3d(cr.zeros((1, 2, 4, 6, 8)), 2).shape
        (1, 2, 2, 3, 4)
    """
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    name: str, count: int, input: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
    count_include_pad: bool, divisor_override: Any,
) -> Tensor:  # fmt: skip
    check_floating(name, input)
    if divisor_override is not None and (not hasattr(divisor_override, "__index__") or divisor_override == 0):
        fail(ConfigError, name, f"divisor_override must be a whole number other than 0, not {divisor_override!r}")
    input, added = with_batch(name, input, count)
    grid = _Grid(name, input, count, kernel_size, stride, padding, 1, ceil_mode)
    seen, axes = grid.spread(input, 0)
    total = fn.sum(seen, axis=axes)
    counts = grid.numbers(count_include_pad) if divisor_override is None else [[divisor_override.__index__()]]
    return without_batch(_divided(total, counts), added)


def avg_pool1d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window along one axis: as `avg_pool2d`, of (N, C, L) or (C, L).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.avg_pool1d(cr.asarray([[1.0, 3.0, 2.0, 4.0]]), 2).tolist()
        [[2.0, 3.0]]
    """
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window: ``y[n, c, i] = sum over k of x[n, c, i * stride + k - padding] / count``.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        kernel_size, stride, padding: as `max_pool2d`; the padding is of zeros.
        ceil_mode: whether there is a last window that reaches beyond the padded input.
        count_include_pad: whether the padding counts; what lies beyond it never does.
        divisor_override: the number to divide by, in place of the count.
    Returns:
        (N, C, H_out, W_out), as `max_pool2d`.
    Raises:
        ShapeError: a window larger than the padded input. ConfigError: a setting that is none. DTypeError: an input
        that is not floating.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.avg_pool2d(cr.arange(16.0).reshape(1, 4, 4), 2).tolist()
        [[[2.5, 4.5], [10.5, 12.5]]]
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window over three axes: as `avg_pool2d`, of (N, C, D, H, W) or (C, D, H, W).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.avg_pool3d(cr.ones((1, 2, 4, 6, 8)), 2).shape
        (1, 2, 2, 3, 4)
    """
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def check_norm_type(name: str, norm_type: Any) -> None:
    """ConfigError unless `norm_type` is a positive number."""
    if not isinstance(norm_type, (int, float)) or norm_type <= 0:
        fail(ConfigError, name, f"norm_type must be a positive number, not {norm_type!r}")


def _lp_pool(
    name: str, count: int, input: Tensor, norm_type: Any, kernel_size: Any, stride: Any, ceil_mode: bool
) -> Tensor:  # fmt: skip
    check_floating(name, input)
    check_norm_type(name, norm_type)
    input, added = with_batch(name, input, count)
    grid = _Grid(name, input, count, kernel_size, stride, 0, 1, ceil_mode)
    seen, axes = grid.spread(input**norm_type, 0)
    # a window that reaches beyond the input counts as if its mean were that of a whole one, as in PyTorch
    total = _divided(fn.sum(seen, axis=axes), grid.numbers(True)) * float(math.prod(grid.size))
    return without_batch(total ** (1.0 / norm_type), added)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The norm of each window along one axis: as `lp_pool2d`, of (N, C, L) or (C, L).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.lp_pool1d(cr.asarray([[3.0, 4.0, 0.0, 1.0]]), 2, 2).tolist()
        [[5.0, 1.0]]
    """
    return _lp_pool("lp_pool1d", 1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The norm of each window: ``y = (sum over the window of x^p)^(1/p)`` for ``p = norm_type``.

    Args:
        input: (N, C, H, W) or (C, H, W), floating.
        norm_type: p, positive; the powers are of x itself, not of its absolute value.
        kernel_size, stride, ceil_mode: as `avg_pool2d`.
    Raises:
        As `avg_pool2d`.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.lp_pool2d(cr.asarray([[[3.0, 0.0], [4.0, 0.0]]]), 2, 2).tolist()
        [[[5.0]]]
    """
    return _lp_pool("lp_pool2d", 2, input, norm_type, kernel_size, stride, ceil_mode)
