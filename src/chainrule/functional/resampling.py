"""Resampling of images: interpolation, channels that become places and back, windows as columns and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functions as fn
from ..errors import ConfigError, ShapeError
from ..functions import sliding
from ..tensor import Tensor
from ._common import check_floating, check_tensor, fail
from ._sliding import Shape, each_of, per_axis, without_batch
from .adaptive import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}
#: modes that `align_corners` belongs to, by the number of axes
SMOOTH = LINEAR | {"bicubic": 2}
MODES = ("nearest", "nearest-exact", "area", *SMOOTH)
#: slope of the cubic kernel at its first zero, PyTorch's choice
CUBIC_SLOPE = -0.75


def check_modes(name: str, size: Any, scale_factor: Any, mode: Any, align_corners: Any) -> None:
    """ConfigError for settings that do not go together, whatever the input."""
    if mode not in MODES:
        fail(ConfigError, name, f"mode must be one of {', '.join(map(repr, MODES))}, not {mode!r}")
    if align_corners is not None and mode not in SMOOTH:
        fail(ConfigError, name, f"align_corners belongs to the linear modes and 'bicubic', not to {mode!r}")
    if (size is None) == (scale_factor is None):
        fail(ConfigError, name, "exactly one of size and scale_factor must be given")


def _targets(name: str, input: Tensor, size: Any, scale_factor: Any) -> tuple[Shape, list[float | None]]:
    """The output's extents, and the scale factors that are given."""
    spatial = input.shape[2:]
    count = len(spatial)
    given = size if size is not None else scale_factor
    values = each_of(given, count)
    if len(values) != count:
        word = "size" if size is not None else "scale_factor"
        fail(ConfigError, name, f"{word} {given!r} has {len(values)} numbers for {count} spatial axes")
    if size is not None:
        if not all(hasattr(v, "__index__") and v >= 1 for v in values):
            fail(ConfigError, name, f"size must be whole numbers, at least 1, not {size!r}")
        return tuple(v.__index__() for v in values), [None] * count
    factors = [float(v) if hasattr(v, "__float__") else 0.0 for v in values]
    if not all(0 < f < math.inf for f in factors):
        fail(ConfigError, name, f"scale_factor must be positive, not {scale_factor!r}")
    out = tuple(math.floor(n * f) for n, f in zip(spatial, factors))
    if min(out) < 1:
        fail(ShapeError, name, f"scale_factor {scale_factor!r} leaves extents {out}", (input,))
    return out, list(factors)


def _nearest(x: Tensor, out: Shape, factors: list[float | None], exact: bool) -> Tensor:
    times = []
    for axis, (extent, factor) in enumerate(zip(out, factors), 2):
        whole, rest = divmod(extent, x.shape[axis])
        if rest or factor not in (None, whole):
            x, whole = _taken(x, axis, extent, factor, exact), 1
        times.append(whole)
    if max(times) == 1:
        return x
    front, spatial = x.shape[:2], x.shape[2:]
    apart = [n for extent in spatial for n in (extent, 1)]
    repeated = [n for pair in zip(spatial, times) for n in pair]
    x = fn.broadcast_to(fn.reshape(x, (*front, *apart)), (*front, *repeated))
    return fn.reshape(x, (*front, *out))


def _taken(x: Tensor, axis: int, out: int, factor: float | None, exact: bool) -> Tensor:
    extent = x.shape[axis]
    # PyTorch counts in float32 here, which decides about places that lie on a boundary
    scale = np.float32(1.0 / factor) if factor else np.float32(extent) / np.float32(out)
    places = (np.arange(out, dtype=np.float32) + np.float32(0.5 if exact else 0.0)) * scale
    return fn.take(x, fn.asarray(np.minimum(np.floor(places).astype(np.int64), extent - 1)), axis=axis)


def _places(x: Tensor, axis: int, out: int, factor: float | None, align_corners: bool) -> np.ndarray:
    """The place along an axis of `x` that each element of the result takes its value from."""
    extent = x.shape[axis]
    number: Any = np.float64 if x.dtype.name == "float64" else np.float32
    steps = np.arange(out).astype(number)
    if align_corners:
        return steps * (number(extent - 1) / number(out - 1) if out > 1 else number(0))
    scale = number(1.0 / factor) if factor else number(extent) / number(out)
    return (steps + number(0.5)) * scale - number(0.5)


def _along(x: Tensor, axis: int, weights: np.ndarray) -> Tensor:
    """Weights for the elements along an axis, in the dtype of `x`."""
    shape = (len(weights),) + (1,) * (len(x.shape) - axis - 1)
    return fn.reshape(fn.asarray(weights).astype(x.dtype), shape)


def _linear(x: Tensor, axis: int, out: int, factor: float | None, align_corners: bool) -> Tensor:
    extent = x.shape[axis]
    if out == extent:  # whatever the factor, as in PyTorch
        return x
    places = np.maximum(_places(x, axis, out, factor, align_corners), 0)
    before = np.minimum(np.floor(places).astype(np.int64), extent - 1)
    after = np.minimum(before + 1, extent - 1)
    weight = _along(x, axis, np.clip(places - before, 0, 1))
    first, second = (fn.take(x, fn.asarray(index), axis=axis) for index in (before, after))
    return first * (1 - weight) + second * weight


def _cubic(x: Tensor, axis: int, out: int, factor: float | None, align_corners: bool) -> Tensor:
    """The four neighbours of each place, weighed by Keys' kernel; beyond the ends the last element is repeated."""
    places = _places(x, axis, out, factor, align_corners)
    before = np.floor(places)
    a, t = places.dtype.type(CUBIC_SLOPE), places - before
    total = None
    for offset in (-1, 0, 1, 2):
        d = np.abs(t - offset)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        indices = np.clip(before.astype(np.int64) + offset, 0, x.shape[axis] - 1)
        part = fn.take(x, fn.asarray(indices), axis=axis) * _along(x, axis, np.where(d <= 1, near, far))
        total = part if total is None else total + part
    assert total is not None
    return total


def _antialiased(x: Tensor, axis: int, out: int, factor: float | None, align_corners: bool, cubic: bool) -> Tensor:
    """The elements around each place, weighed by a kernel that is as wide as what an element of the result covers."""
    extent = x.shape[axis]
    number: Any = np.float64 if x.dtype.name == "float64" else np.float32
    if align_corners:
        scale = number(extent - 1) / number(out - 1) if out > 1 else number(0)
    else:
        scale = number(1.0 / factor) if factor else number(extent) / number(out)
    wide = max(scale, number(1))
    centre = scale * (np.arange(out).astype(number) + number(0.5))
    reach = number(2 if cubic else 1) * wide
    first = np.maximum(centre - reach + number(0.5), 0).astype(np.int64)
    last = np.minimum((centre + reach + number(0.5)).astype(np.int64), extent)
    places = first[:, None] + np.arange(int((last - first).max()))
    d = np.abs((places - centre[:, None] + number(0.5)) / wide)
    if cubic:
        a = number(-0.5)
        near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((d - 5) * d + 8) * d * a - 4 * a
        weights = np.where(d < 1, near, np.where(d < 2, far, 0))
    else:
        weights = np.maximum(1 - d, 0)
    weights = np.where(places < last[:, None], weights, 0)
    weights = (weights / weights.sum(1, keepdims=True)).astype(number)
    shape = weights.shape + (1,) * (len(x.shape) - axis - 1)
    seen = fn.take(x, fn.asarray(np.minimum(places, extent - 1)), axis=axis)
    return fn.sum(seen * fn.reshape(fn.asarray(weights).astype(x.dtype), shape), axis=axis + 1)


def interpolate(
    input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
    align_corners: bool | None = None, recompute_scale_factor: bool | None = None, antialias: bool = False,
) -> Tensor:  # fmt: skip
    """`input` with other spatial extents.

    Element i of an axis takes its value from place ``(i + 1/2) n / m - 1/2`` for n elements before and m after
    ("linear", "bicubic" and "nearest-exact"), ``i n / m`` ("nearest"), or ``i (n - 1) / (m - 1)`` (`align_corners`).
    The linear modes weigh the two neighbours of that place along each axis, "bicubic" four, by Keys' kernel with
    a = -3/4.

    Args:
        input: (N, C, *spatial), floating, with one to three spatial axes.
        size: the extents after: a number or one for each axis.
        scale_factor: in place of `size` what to multiply the extents by; the factor itself is then n / m above.
        mode: "nearest", "nearest-exact", "linear" (N, C, L), "bilinear" (N, C, H, W), "trilinear" (N, C, D, H, W),
            "bicubic" (N, C, H, W), or "area", which is adaptive average pooling.
        align_corners: whether the centres of the first and last elements stay in place; for the linear modes and
            "bicubic".
        recompute_scale_factor: whether n / m follows from the extents although a factor is given.
        antialias: whether an element takes in all elements that it covers, where images become smaller: the kernel is
            stretched by n / m. For "bilinear" and "bicubic", whose a is then -1/2, as in PyTorch.
    Returns:
        (N, C, *size).
    Raises:
        ConfigError: a mode that does not belong to the number of axes, both or none of `size` and `scale_factor`.
        ShapeError: extents of 0.
    Numerics:
        Places and weights are computed when the operation is recorded, in the input's dtype (at least float32).
        "bicubic" may leave the range of the input's values; clip its result where that matters.
    Example:
        >>> import chainrule as cr
        >>> x = cr.asarray([[[1.0, 3.0]]])
        >>> cr.functional.interpolate(x, scale_factor=2).tolist()
        [[[1.0, 1.0, 3.0, 3.0]]]
        >>> cr.functional.interpolate(x, size=4, mode="linear").tolist()
        [[[1.0, 1.5, 2.5, 3.0]]]
        >>> x = cr.asarray([[[[1.0, 3.0, 3.0]]]])
        >>> cr.functional.interpolate(x, (1, 5), mode="bicubic", align_corners=True).tolist()
        [[[[1.0, 2.0, 3.0, 3.1875, 3.0]]]]

    Reference:
        Keys, Cubic convolution interpolation for digital image processing, 1981.
    """
    name = "interpolate"
    check_floating(name, input)
    count = len(input.shape) - 2
    if not 1 <= count <= 3:
        fail(ShapeError, name, f"input has {count + 2} axes, not 3 to 5 (N, C, ...)", (input,))
    check_modes(name, size, scale_factor, mode, align_corners)
    if SMOOTH.get(mode, count) != count:
        right = next(m for m, axes in LINEAR.items() if axes == count)
        fail(ConfigError, name, f"mode {mode!r} is for {SMOOTH[mode]} spatial axes, input has {count}: use {right!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        fail(ConfigError, name, f"antialias belongs to 'bilinear' and 'bicubic', not to {mode!r}")
    if min(input.shape[2:]) < 1:
        fail(ShapeError, name, f"input has no elements: extents {tuple(input.shape[2:])}", (input,))
    out, factors = _targets(name, input, size, scale_factor)
    if recompute_scale_factor:
        factors = [None] * count
    if mode == "area":
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[count - 1](input, out)
    if mode.startswith("nearest"):
        return _nearest(input, out, factors, mode == "nearest-exact")
    for axis, (extent, factor) in enumerate(zip(out, factors), 2):
        if antialias:
            input = _antialiased(input, axis, extent, factor, bool(align_corners), mode == "bicubic")
        elif mode == "bicubic":
            input = _cubic(input, axis, extent, factor, bool(align_corners))
        else:
            input = _linear(input, axis, extent, factor, bool(align_corners))
    return input


def check_factor(name: str, factor: Any) -> int:
    """`factor` as an int; ConfigError unless it is a positive whole number."""
    if not hasattr(factor, "__index__") or factor < 1:
        fail(ConfigError, name, f"the factor must be a positive whole number, not {factor!r}")
    return factor.__index__()


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels become places: ``y[c, h r + i, w r + j] = x[(c r + i) r + j, h, w]`` for ``r = upscale_factor``.

    Args:
        input: (..., C r^2, H, W).
    Returns:
        (..., C, H r, W r).
    Raises:
        ShapeError: the channels do not divide by r^2. ConfigError: a factor below 1.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.pixel_shuffle(cr.arange(4.0).reshape(4, 1, 1), 2).tolist()
        [[[0.0, 1.0], [2.0, 3.0]]]

    Reference:
        Shi et al., Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
        network, CVPR 2016.
    """
    name, r = "pixel_shuffle", check_factor("pixel_shuffle", upscale_factor)
    check_tensor(name, input)
    if len(input.shape) < 3:
        fail(ShapeError, name, f"input has {len(input.shape)} axes, not at least 3 (..., C, H, W)", (input,))
    *batch, channels, height, width = input.shape
    if channels % (r * r):
        fail(ShapeError, name, f"{channels} channels do not divide by {r}^2 = {r * r}", (input,))
    lead = len(batch)
    apart = fn.reshape(input, (*batch, channels // (r * r), r, r, height, width))
    order = (*range(lead + 1), lead + 3, lead + 1, lead + 4, lead + 2)
    return fn.reshape(fn.permute_dims(apart, order), (*batch, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Places become channels: the inverse of `pixel_shuffle`, (..., C, H r, W r) to (..., C r^2, H, W).

    Raises:
        ShapeError: an extent does not divide by r. ConfigError: a factor below 1.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.pixel_unshuffle(cr.arange(4.0).reshape(1, 2, 2), 2).reshape(4).tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    name, r = "pixel_unshuffle", check_factor("pixel_unshuffle", downscale_factor)
    check_tensor(name, input)
    if len(input.shape) < 3:
        fail(ShapeError, name, f"input has {len(input.shape)} axes, not at least 3 (..., C, H, W)", (input,))
    *batch, channels, height, width = input.shape
    if height % r or width % r:
        fail(ShapeError, name, f"extents {height} and {width} do not both divide by {r}", (input,))
    lead = len(batch)
    apart = fn.reshape(input, (*batch, channels, height // r, r, width // r, r))
    order = (*range(lead + 1), lead + 2, lead + 4, lead + 1, lead + 3)
    return fn.reshape(fn.permute_dims(apart, order), (*batch, channels * r * r, height // r, width // r))


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The windows of an image as columns: (N, C, H, W) to (N, C K_h K_w, L), where L is the number of windows.

    Args:
        input: (N, C, H, W) or (C, H, W).
        kernel_size, dilation, padding, stride: of the windows, as `conv2d`: a number or one for each axis.
    Returns:
        (N, C K_h K_w, L): element (c, k) of a column is channel c at place k of the window; without N as the input.
    Raises:
        ShapeError: a window larger than the padded input. ConfigError: a setting that is none.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.unfold(cr.arange(6.0).reshape(1, 2, 3), 2).tolist()
        [[0.0, 1.0], [1.0, 2.0], [3.0, 4.0], [4.0, 5.0]]
    """
    name = "unfold"
    check_tensor(name, input)
    if len(input.shape) not in (3, 4):
        fail(ShapeError, name, f"input has {len(input.shape)} axes, not 4 (N, C, H, W) or 3 (C, H, W)", (input,))
    added = len(input.shape) == 3
    input = fn.expand_dims(input, 0) if added else input
    size, gaps = per_axis(name, kernel_size, 2, "kernel_size", 1), per_axis(name, dilation, 2, "dilation", 1)
    low, steps = per_axis(name, padding, 2, "padding", 0), per_axis(name, stride, 2, "stride", 1)
    for axis, (n, k, d, p) in enumerate(zip(input.shape[2:], size, gaps, low)):
        if n + 2 * p < (k - 1) * d + 1:
            fail(ShapeError, name, f"the window spans {(k - 1) * d + 1} elements along spatial axis {axis}, the padded"
                 f" input has {n + 2 * p}", (input,), "give more padding, or a smaller window")  # fmt: skip
    padded = fn.pad(input, [(0, 0), (0, 0), *((p, p) for p in low)])
    seen = fn.permute_dims(sliding.windows(padded, size, steps, gaps), (0, 1, 4, 5, 2, 3))
    n, channels, a, b, high, wide = seen.shape
    return without_batch(fn.reshape(seen, (n, channels * a * b, high * wide)), added)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Columns added up where their windows overlap: the transpose of `unfold`, (N, C K_h K_w, L) to (N, C, H, W).

    Args:
        input: (N, C K_h K_w, L) or (C K_h K_w, L), L the number of windows that fit into the padded output.
        output_size: (H, W).
        kernel_size, dilation, padding, stride: as `unfold`.
    Raises:
        ShapeError: rows that do not divide by K_h K_w, another number of columns than windows, with both numbers.
        ConfigError: a setting that is none.
    Example:
        >>> import chainrule as cr
        >>> x = cr.ones((1, 2, 3))
        >>> cr.functional.fold(cr.functional.unfold(x, 2), (2, 3), 2).tolist()
        [[[1.0, 2.0, 1.0], [1.0, 2.0, 1.0]]]
    """
    name = "fold"
    check_tensor(name, input)
    if len(input.shape) not in (2, 3):
        fail(ShapeError, name, f"input has {len(input.shape)} axes, not 3 (N, C K, L) or 2 (C K, L)", (input,))
    added = len(input.shape) == 2
    input = fn.expand_dims(input, 0) if added else input
    out = per_axis(name, output_size, 2, "output_size", 1)
    size, gaps = per_axis(name, kernel_size, 2, "kernel_size", 1), per_axis(name, dilation, 2, "dilation", 1)
    low, steps = per_axis(name, padding, 2, "padding", 0), per_axis(name, stride, 2, "stride", 1)
    rows, columns = input.shape[1:]
    if rows % (size[0] * size[1]):
        fail(ShapeError, name, f"{rows} rows do not divide by the {size[0] * size[1]} places of a window", (input,))
    padded = tuple(n + 2 * p for n, p in zip(out, low))
    places = tuple((n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(padded, size, gaps, steps))
    if min(places) < 1 or places[0] * places[1] != columns:
        number = max(places[0], 0) * max(places[1], 0)
        fail(ShapeError, name, f"input has {columns} columns, {number} windows fit into {out}", (input,))
    apart = fn.reshape(input, (input.shape[0], rows // (size[0] * size[1]), *size, *places))
    summed = sliding.fold(fn.permute_dims(apart, (0, 1, 4, 5, 2, 3)), padded, steps, gaps)
    return without_batch(fn.pad(summed, [(0, 0), (0, 0), *((-p, -p) for p in low)]), added)
