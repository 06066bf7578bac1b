"""Normalisation over the last axes, over neighbouring channels, and of vectors to length 1."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .. import functions as fn
from ..errors import ConfigError, ShapeError
from ..tensor import Tensor
from ._common import axis_of, check_floating, check_number, check_tensor, fail
from ._sliding import each_of
from .normalisation import check_channels, in_working_dtype, working_dtype


def _last_axes(name: str, input: Tensor, normalized_shape: int | Sequence[int], **vectors: Tensor | None) -> tuple:
    """The numbers of the last axes, which have `normalized_shape`, and the checked `vectors`, which have it too."""
    check_floating(name, input)
    shape = each_of(normalized_shape, 1)
    rank = len(input.shape)
    if not shape or tuple(input.shape[max(rank - len(shape), 0) :]) != shape:
        fail(ShapeError, name, f"input has shape {tuple(input.shape)}, its last axes should be {shape}", (input,),
             "normalized_shape is the shape of what is normalised together, without the batch")  # fmt: skip
    converted: list[Tensor | None] = []
    for what, value in vectors.items():
        if value is not None:
            check_tensor(name, value, what)
            if tuple(value.shape) != shape:
                fail(ShapeError, name, f"{what} has shape {tuple(value.shape)}, normalized_shape is {shape}",
                     (input, value))  # fmt: skip
            value = in_working_dtype(name, what, value, input)
        converted.append(value)
    return (tuple(range(rank - len(shape), rank)), *converted)


def _spread(statistics: Tensor, x: Tensor) -> Tensor:
    """One number for each row, in the shape of `x`: arithmetic on statistics is recorded before they get axes of 1."""
    shape = (*statistics.shape, *(1 for _ in x.shape[len(statistics.shape) :]))
    return fn.broadcast_to(fn.reshape(statistics, shape), x.shape)


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise over the last axes: ``y = (x - mean) / sqrt(var + eps) * weight + bias``, var divided by n.

    Args:
        input: (..., *normalized_shape), floating.
        normalized_shape: extents of the axes that are normalised together.
        weight, bias: normalized_shape, or None for 1 and 0.
        eps: added to the variance.
    Returns:
        The shape and dtype of `input`.
    Raises:
        ShapeError: the last axes are others.
    Numerics:
        As `batch_norm` in training.
    Example:
        >>> import chainrule as cr
        >>> y = cr.functional.layer_norm(cr.asarray([[1.0, 3.0], [10.0, 30.0]]), 2)
        >>> [[round(v, 3) for v in row] for row in y.tolist()]
        [[-1.0, 1.0], [-1.0, 1.0]]

    Reference:
        Ba, Kiros and Hinton, Layer normalization, 2016.
    """
    check_number("layer_norm", "eps", eps, 0)
    axes, weight, bias = _last_axes("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    if input.size == 0:
        return input
    x = input.astype(working_dtype(input))
    mean = fn.mean(x, axes)
    centre = mean.detach()
    variance = fn.mean(fn.square(x - _spread(centre, x)), axes) - fn.square(mean - centre)
    result = (x - _spread(mean, x)) * _spread(fn.rsqrt(variance + eps), x)
    if weight is not None:
        result = result * weight
    if bias is not None:
        result = result + bias
    return result.astype(input.dtype)


def rms_norm(
    input: Tensor, normalized_shape: int | Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Divide by the root of the mean square over the last axes: ``y = x / sqrt(mean(x^2) + eps) * weight``.

    Args:
        input: (..., *normalized_shape), floating.
        normalized_shape: extents of the axes that are normalised together.
        weight: normalized_shape, or None for 1.
        eps: added to the mean square; None takes the distance from 1 to the next number of the statistics' dtype.
    Returns:
        The shape and dtype of `input`.
    Raises:
        ShapeError: the last axes are others.
    Example:
        >>> import chainrule as cr
        >>> y = cr.functional.rms_norm(cr.asarray([3.0, 4.0]), 2)
        >>> [round(v, 3) for v in y.tolist()]
        [0.849, 1.131]

    Reference:
        Zhang and Sennrich, Root mean square layer normalization, NeurIPS 2019.
    """
    axes, weight = _last_axes("rms_norm", input, normalized_shape, weight=weight)
    if input.size == 0:
        return input
    x = input.astype(working_dtype(input))
    if eps is None:
        eps = float(fn.finfo(x.dtype).eps)
    check_number("rms_norm", "eps", eps, 0)
    result = x * _spread(fn.rsqrt(fn.mean(fn.square(x), axes) + eps), x)
    return (result if weight is None else result * weight).astype(input.dtype)


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Divide each channel by a power of the mean square of its neighbours: ``y = x / (k + alpha mean(x^2))^beta``.

    The mean is over the `size` channels from ``c - size // 2`` on, those that do not exist counting as 0.

    Args:
        input: (batch, channels, ...), at least 3 axes, floating.
        size: number of channels taken together.
        alpha, beta, k: as in the formula.
    Returns:
        The shape and dtype of `input`.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.local_response_norm(cr.ones((1, 3, 1)), 1, alpha=1.0, beta=1.0)[0, :, 0].tolist()
        [0.5, 0.5, 0.5]

    Reference:
        Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional networks, NeurIPS 2012, 3.3.
    """
    name = "local_response_norm"
    check_channels(name, input, 3)
    if not hasattr(size, "__index__") or size < 1:
        fail(ConfigError, name, f"size must be a whole number, at least 1, not {size!r}")
    x = input.astype(working_dtype(input))
    channels, rest = x.shape[1], ((0, 0),) * (len(x.shape) - 2)
    padded = fn.pad(fn.square(x), ((0, 0), (size // 2, (size - 1) // 2), *rest))
    total = padded[:, :channels]
    for shift in range(1, size):
        total = total + padded[:, shift : shift + channels]
    return (x / fn.pow(total * (alpha / size) + k, beta)).astype(input.dtype)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the norm along an axis: ``y = x / max(|x|_p, eps)``.

    Args:
        input: any shape with the axis `dim`, floating.
        p: the p of the norm, positive; `math.inf` for the largest size.
        dim: the axis.
        eps: the least divisor.
    Returns:
        The shape and dtype of `input`.
    Numerics:
        The derivative at a vector of zeros is 1 / eps, as of ``x / eps``.
    Example:
        >>> import chainrule as cr
        >>> [round(v, 3) for v in cr.functional.normalize(cr.asarray([[3.0, 4.0]]))[0].tolist()]
        [0.6, 0.8]
    """
    name = "normalize"
    check_floating(name, input)
    axis = axis_of(name, input, dim)
    check_number(name, "eps", eps, 0)
    if not check_number(name, "p", p) > 0:
        fail(ConfigError, name, f"p must be positive, not {p}")
    x = input.astype(working_dtype(input))
    if p == math.inf:
        norm = fn.maximum(fn.max(fn.abs(x), axis, keepdims=True), eps)
    elif p == 2:
        norm = fn.sqrt(fn.maximum(fn.sum(fn.square(x), axis, keepdims=True), eps * eps))
    else:
        powers = fn.abs(x) if p == 1 else fn.pow(fn.abs(x), p)
        floor = max(eps**p, float(fn.finfo(x.dtype).smallest_normal))
        norm = fn.maximum(fn.sum(powers, axis, keepdims=True), floor)
        norm = norm if p == 1 else fn.pow(norm, 1.0 / p)
    return (x / norm).astype(input.dtype)
