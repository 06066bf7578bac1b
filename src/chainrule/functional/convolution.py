"""Convolution and transposed convolution over one, two and three spatial axes."""

from __future__ import annotations

from typing import Any

from .. import functions as fn
from ..errors import ConfigError, ShapeError
from ..functions import sliding
from ..tensor import Tensor
from ._common import fail
from ._sliding import Shape, add_bias, check_kernel, per_axis, with_batch, without_batch


def paddings(name: str, padding: Any, kernel: Shape, stride: Shape, dilation: Shape) -> tuple[Shape, Shape]:
    """The zeros before and after each axis that `padding` means.

    "same" keeps the extents, with the odd zero behind, which needs stride 1; "valid" is none.
    """
    count = len(kernel)
    if padding == "valid":
        return (0,) * count, (0,) * count
    if padding == "same":
        if stride != (1,) * count:
            fail(ConfigError, name, f"padding 'same' keeps the extents, which stride {stride} does not")
        missing = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return tuple(m // 2 for m in missing), tuple(m - m // 2 for m in missing)
    if isinstance(padding, str):
        fail(ConfigError, name, f"padding must be numbers, 'same' or 'valid', not {padding!r}")
    low = per_axis(name, padding, count, "padding", 0)
    return low, low


def _check_window(name: str, input: Tensor, weight: Tensor, low: Shape, high: Shape, dilation: Shape) -> None:
    for axis, (size, gap) in enumerate(zip(weight.shape[2:], dilation)):
        if size < 1:
            fail(ShapeError, name, f"the kernel has extent 0 along spatial axis {axis}", (input, weight))
        padded, span = input.shape[axis + 2] + low[axis] + high[axis], (size - 1) * gap + 1
        if padded < span:
            dilated = f" ({size} taps, dilation {gap})" if gap > 1 else ""
            fail(ShapeError, name, f"the kernel spans {span}{dilated} along spatial axis {axis}, the padded input has"
                 f" {padded}", (input, weight), "give more padding, or a smaller kernel")  # fmt: skip


def _convolve(
    name: str, count: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
    dilation: Any, groups: int,
) -> Tensor:  # fmt: skip
    check_kernel(name, input, weight, bias, count, lambda: weight.shape[0], groups)
    stride, dilation = per_axis(name, stride, count, "stride", 1), per_axis(name, dilation, count, "dilation", 1)
    low, high = paddings(name, padding, tuple(weight.shape[2:]), stride, dilation)
    input, added = with_batch(name, input, count)
    channels = input.shape[1]
    for number, word in ((channels, "input"), (weight.shape[0], "output")):
        if number % groups:
            fail(ShapeError, name, f"{number} {word} channels do not divide into {groups} groups", (input, weight))
    if channels != weight.shape[1] * groups:
        takes = f"{weight.shape[1] * groups}" + (f" ({weight.shape[1]} in each of {groups} groups)" * (groups > 1))
        help = "the weight is stored as (out_channels, in_channels / groups, ...)"
        fail(ShapeError, name, f"input has {channels} channels, weight takes {takes}", (input, weight), help)
    _check_window(name, input, weight, low, high, dilation)
    output = sliding.convolution(input, weight, stride, low, high, dilation, groups.__index__())
    return without_batch(add_bias(output, bias, count), added)


def conv1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Convolution over one axis: as `conv2d`, of (N, C_in, L) or (C_in, L) and a weight (C_out, C_in / groups, K).

    Example:
        >>> import chainrule as cr
        >>> x, w = cr.asarray([[1.0, 2.0, 4.0, 8.0]]), cr.asarray([[[-1.0, 1.0]]])
        >>> cr.functional.conv1d(x, w).tolist()
        [[1.0, 2.0, 4.0]]
    """
    return _convolve("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Convolution (cross-correlation) over two axes.

    ``y[n, o, i] = b[o] + sum over k, c of w[o, c, k] x[n, c', i * stride + k * dilation - padding]``, where i and k are
    pairs, c' is channel c of the group of o, and x is 0 outside.

    Args:
        input: (N, C_in, H, W), or one example (C_in, H, W).
        weight: (C_out, C_in / groups, K_h, K_w), the dtype of `input`.
        bias: (C_out,) or None.
        stride, dilation: a number or one for each axis, at least 1.
        padding: zeros before and after: a number, one for each axis, "valid" (none) or "same" (the output has the
            input's extents; only for stride 1, an odd zero comes behind).
        groups: the channels are in so many groups, each convolved on its own.
    Returns:
        (N, C_out, H_out, W_out) with ``H_out = (H + 2 padding - dilation (K_h - 1) - 1) // stride + 1``; without N as
        the input.
    Raises:
        ShapeError: channels that do not fit or do not divide into the groups, a kernel larger than the padded input.
        DTypeError: the dtypes differ.
        ConfigError: a setting that is none, or "same" with a stride.
    Numerics:
        Each sum runs over the kernel's places in row-major order, then over the channels. Derivatives of every order
        are convolutions.
    Example:
        >>> import chainrule as cr
        >>> x = cr.arange(9.0).reshape(1, 1, 3, 3)
        >>> cr.functional.conv2d(x, cr.ones((1, 1, 2, 2))).tolist()
        [[[[8.0, 12.0], [20.0, 24.0]]]]

    Reference:
        Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, sections 2 to 4.
    """
    return _convolve("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Convolution over three axes: as `conv2d`, of (N, C_in, D, H, W) or (C_in, D, H, W) and a weight of rank 5.

    Example:
        >>> import chainrule as cr
        >>> cr.functional.conv3d(cr.ones((1, 2, 4, 4, 4)), cr.ones((5, 2, 3, 3, 3)), padding="same").shape
        (1, 5, 4, 4, 4)
    """
    return _convolve("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def check_output_padding(name: str, more: Shape, stride: Shape, dilation: Shape) -> None:
    """ConfigError unless each number is below the stride or the dilation of its axis."""
    for extra, step, gap in zip(more, stride, dilation):
        if extra >= max(step, gap):
            problem = f"output_padding {more} must be smaller than stride {stride} or dilation {dilation}"
            fail(ConfigError, name, problem)


def _transposed(
    name: str, count: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any,
    output_padding: Any, groups: int, dilation: Any,
) -> Tensor:  # fmt: skip
    check_kernel(name, input, weight, bias, count, lambda: weight.shape[1] * groups, groups)
    stride, dilation = per_axis(name, stride, count, "stride", 1), per_axis(name, dilation, count, "dilation", 1)
    padding = per_axis(name, padding, count, "padding", 0)
    more = per_axis(name, output_padding, count, "output_padding", 0)
    check_output_padding(name, more, stride, dilation)
    input, added = with_batch(name, input, count)
    if input.shape[1] % groups:
        fail(ShapeError, name, f"{input.shape[1]} input channels do not divide into {groups} groups", (input, weight))
    if input.shape[1] != weight.shape[0]:
        help = "the weight is stored as (in_channels, out_channels / groups, ...)"
        problem = f"input has {input.shape[1]} channels, weight takes {weight.shape[0]}"
        fail(ShapeError, name, problem, (input, weight), help)
    spatial, high, behind = [], [], []
    for axis in range(count):
        size, p, extra = weight.shape[axis + 2], padding[axis], more[axis]
        reach = (input.shape[axis + 2] - 1) * stride[axis] + dilation[axis] * (size - 1) + 1
        if input.shape[axis + 2] < 1 or size < 1 or reach - 2 * p + extra < 1:
            problem = f"the output has {reach - 2 * p + extra} elements along spatial axis {axis}"
            fail(ShapeError, name, problem, (input, weight), "give less padding")
        if extra < stride[axis]:  # these places are among those that a convolution back would drop
            spatial.append(reach - 2 * p + extra)
            high.append(p)
            behind.append(0)
        else:  # less of the end is cut off, and what lies beyond it is 0
            cut = max(p - extra, 0)
            spatial.append(reach - p - cut)
            high.append(cut)
            behind.append(extra - (p - cut))
    output = sliding.convolution_input_grad(
        input, weight, stride, padding, tuple(high), dilation, groups.__index__(), tuple(spatial)
    )
    if any(behind):
        output = fn.pad(output, [(0, 0), (0, 0), *((0, b) for b in behind)])
    return without_batch(add_bias(output, bias, count), added)


def conv_transpose1d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """Transposed convolution over one axis: as `conv_transpose2d`, of (N, C_in, L) or (C_in, L).

    Example:
        >>> import chainrule as cr
        >>> x, w = cr.asarray([[1.0, 10.0]]), cr.asarray([[[1.0, 2.0, 3.0]]])
        >>> cr.functional.conv_transpose1d(x, w, stride=2).tolist()
        [[1.0, 2.0, 13.0, 20.0, 30.0]]
    """
    return _transposed("conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """Transposed convolution over two axes: what `conv2d` with this weight passes back to its input.

    ``y[n, c, j] = b[c] + sum over i, k with i * stride + k * dilation - padding = j, and o, of w[o, c, k] x[n, o, i]``.

    Args:
        input: (N, C_in, H, W), or one example (C_in, H, W).
        weight: (C_in, C_out / groups, K_h, K_w), the dtype of `input`.
        bias: (C_out,) or None.
        stride, dilation: a number or one for each axis, at least 1.
        padding: how much is cut off before and after: a number or one for each axis.
        output_padding: how much is kept behind of what was cut off, or of the zeros beyond, below the stride or the
            dilation; several extents of an input lead to the same output of a convolution, and this picks one.
        groups: the channels are in so many groups.
    Returns:
        (N, C_out, H_out, W_out) with ``H_out = (H - 1) stride - 2 padding + dilation (K_h - 1) + output_padding + 1``.
    Raises:
        ShapeError: channels that do not fit, an output without elements.
        DTypeError: the dtypes differ.
        ConfigError: a setting that is none, an `output_padding` that is not below the stride or the dilation.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.conv_transpose2d(cr.ones((1, 1, 2, 2)), cr.ones((1, 1, 2, 2))).tolist()
        [[[[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]]]

    Reference:
        Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, section 4.
    """
    return _transposed("conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
) -> Tensor:  # fmt: skip
    """Transposed convolution over three axes: as `conv_transpose2d`, of (N, C_in, D, H, W) or (C_in, D, H, W).

    Example:
        >>> import chainrule as cr
        >>> cr.functional.conv_transpose3d(cr.ones((2, 3, 3, 3)), cr.ones((2, 4, 2, 2, 2)), stride=2).shape
        (4, 6, 6, 6)
    """
    return _transposed("conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation)
