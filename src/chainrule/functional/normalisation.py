"""Normalisation of channels by their statistics over a batch, over an example, over groups of channels.

Two passes give the variance, in float32 where the input is of half precision. Its sum is taken around the mean, held
constant, and ``(mean - constant)^2``, which is 0, is taken off: an identity in the constant, so that derivatives of
every order are right. What the backward pass then needs of the activations are two sums and one elementwise pass.
"""

from __future__ import annotations

import math
from typing import Any

from .. import functions as fn
from ..dtypes import DType, float32
from ..errors import ConfigError, DTypeError, ShapeError
from ..tensor import Tensor
from ._common import check_floating, check_number, check_tensor, fail, write_state

Scalar = float | Tensor


def working_dtype(input: Tensor) -> DType:
    """The dtype in which statistics of `input` are taken."""
    return float32 if input.dtype.itemsize < 4 else input.dtype


def _vector(name: str, what: str, value: Tensor | None, size: int, input: Tensor) -> Tensor | None:
    """`value`, one number a channel, checked and in the dtype of the statistics."""
    if value is None:
        return None
    check_tensor(name, value, what)
    if tuple(value.shape) != (size,):
        fail(ShapeError, name, f"{what} has shape {tuple(value.shape)}, input has {size} channels (axis 1)",
             (input, value))  # fmt: skip
    return in_working_dtype(name, what, value, input)


def in_working_dtype(name: str, what: str, value: Tensor, input: Tensor) -> Tensor:
    """A parameter in the dtype of the statistics, from that or the dtype of `input`."""
    working = working_dtype(input)
    if value.dtype is not input.dtype and value.dtype is not working:
        fail(DTypeError, name, f"input is {input.dtype.name}, {what} is {value.dtype.name}", (input, value),
             f"convert the input with .astype(chainrule.{value.dtype.name}), "
             f"or the module with .to(chainrule.{input.dtype.name})")  # fmt: skip
    return value.astype(working)


def check_channels(name: str, input: Tensor, least: int = 2) -> None:
    """Raise unless `input` is floating and has channels."""
    check_floating(name, input)
    if len(input.shape) < least:
        fail(ShapeError, name, f"input has {len(input.shape)} axes, at least {least} are needed", (input,),
             "the channels are axis 1: (batch, channels, ...)")  # fmt: skip


def _position_total(x: Tensor) -> Tensor:
    """(batch, channels, ...) to (batch, channels): the sum over positions, a row of the batch at a time."""
    return fn.sum(x, tuple(range(2, len(x.shape)))) if len(x.shape) > 2 else x


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """One value a channel, or one an example and channel, in the shape of `x`.

    In two steps, so that its gradient adds up over positions first, as the statistics do.
    """
    rows = fn.broadcast_to(values, x.shape[:2])
    return fn.broadcast_to(fn.reshape(rows, (*x.shape[:2], *(1 for _ in x.shape[2:]))), x.shape)


def _same(statistics: Tensor) -> Tensor:
    return statistics


def _batch_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of a batch.

    The moments of each example first, which can be taken while it is in cache, then those of the examples' means.
    """
    batch, positions = x.shape[0], float(math.prod(x.shape[2:]))
    if positions == 1:
        rows = fn.reshape(x, x.shape[:2])
        mean = fn.sum(rows, 0) / float(batch)
        centre = mean.detach()
        return mean, fn.sum(fn.square(rows - centre), 0) / float(batch) - fn.square(mean - centre)
    means = _position_total(x) / positions
    centres = means.detach()
    within = _position_total(fn.square(x - _spread(centres, x))) / positions - fn.square(means - centres)
    mean = fn.sum(means, 0) / float(batch)
    # Summed apart: the first sum waits for no other example.
    return mean, (fn.sum(within, 0) + fn.sum(fn.square(means - mean), 0)) / float(batch)


def _standardised(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float,
    arrange: Any = _same,
) -> Tensor:  # fmt: skip
    """``(x - mean) / sqrt(variance + eps) * weight + bias``; `arrange` gives each channel its statistics."""
    scale = arrange(fn.rsqrt(variance + eps))
    if weight is not None:
        scale = scale * weight
    if bias is None:
        return (x - _spread(arrange(mean), x)) * _spread(scale, x)
    centre = mean.detach()
    shift = bias - arrange(mean - centre) * scale
    return (x - _spread(arrange(centre), x)) * _spread(scale, x) + _spread(shift, x)


def _update(name: str, running: Tensor | None, value: Tensor, momentum: Scalar) -> None:
    """``running <- (1 - momentum) running + momentum value``."""
    if running is None:
        return
    kept: Scalar = 1.0 - momentum
    if isinstance(momentum, Tensor):
        momentum, kept = momentum.astype(running.dtype), kept.astype(running.dtype)  # type: ignore[union-attr]
    write_state(name, running, running * kept + value.detach().astype(running.dtype) * momentum)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Scalar = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each channel over the batch: ``y = (x - mean) / sqrt(var + eps) * weight + bias``.

    Training takes mean and variance (divided by n) of the batch and moves the running ones by
    ``r <- (1 - momentum) r + momentum s``, s the mean and the variance divided by n - 1. Evaluation takes the running
    ones, folded with weight and bias into ``y = x scale + shift``.

    Args:
        input: (batch, channels, ...), floating.
        running_mean, running_var: (channels,) tensors that training changes, or None to keep none.
        weight, bias: (channels,), the dtype of `input` or of its statistics, or None for 1 and 0.
        training: whether the statistics are the batch's.
        momentum: the weight of the new statistics: a number, or a float64 tensor of shape ().
        eps: added to the variance.
    Returns:
        The shape and dtype of `input`.
    Raises:
        ShapeError: training on one value a channel, whose variance says nothing; a vector that does not fit.
        ConfigError: evaluation without running statistics.
    Numerics:
        Two passes; statistics of half-precision inputs are float32. Evaluation cancels digits where
        ``|mean| >> sqrt(var)``: the error is that of rounding x itself, relative to the mean.
    Example:
        >>> import chainrule as cr
        >>> x = cr.asarray([[1.0], [3.0]])
        >>> mean, var = cr.zeros((1,)), cr.ones((1,))
        >>> y = cr.functional.batch_norm(x, mean, var, training=True)
        >>> [round(v, 3) for v in y[:, 0].tolist()], round(mean.item(), 3), round(var.item(), 3)
        ([-1.0, 1.0], 0.2, 1.1)

    Reference:
        Ioffe and Szegedy, Batch normalization, ICML 2015, algorithms 1 and 2.
    """
    name = "batch_norm"
    check_channels(name, input)
    check_number(name, "eps", eps, 0)
    channels = input.shape[1]
    weight = _vector(name, "weight", weight, channels, input)
    bias = _vector(name, "bias", bias, channels, input)
    for what, running in (("running_mean", running_mean), ("running_var", running_var)):
        _vector(name, what, running, channels, input)
    x = input.astype(working_dtype(input))
    if not training:
        return _with_running(name, x, running_mean, running_var, weight, bias, eps).astype(input.dtype)
    count = check_batch(name, input)
    mean, variance = _batch_moments(x)
    result = _standardised(x, mean, variance, weight, bias, eps)
    _update(name, running_mean, mean, momentum)
    _update(name, running_var, variance * (count / (count - 1)), momentum)
    return result.astype(input.dtype)


def check_batch(name: str, input: Tensor) -> int:
    """The number of values a channel of a batch; ShapeError if their variance says nothing."""
    positions = math.prod(input.shape[2:])
    count = input.shape[0] * positions
    if count < 2:
        fail(ShapeError, name,
             f"training needs more than one value per channel, there is {count} (batch {input.shape[0]} times "
             f"{positions} positions)", (input,),
             "use a larger batch, drop the last smaller one, or switch to eval()")  # fmt: skip
    return count


def _with_running(
    name: str,
    x: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Tensor:
    """``x scale + shift`` with statistics that are given."""
    if mean is None or var is None:
        problem = "evaluation needs running_mean and running_var"
        fail(ConfigError, name, problem, (x,), "pass them, or training=True")
    scale = fn.rsqrt(var.astype(x.dtype) + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean.astype(x.dtype) * scale
    if bias is not None:
        shift = bias + shift
    return x * _spread(scale, x) + _spread(shift, x)


def _by_group(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`_standardised` over the channels of each of `groups` and all positions; statistics (batch, groups)."""
    batch, channels = x.shape[:2]
    width = channels // groups

    def total(v: Tensor) -> Tensor:
        rows = _position_total(v)
        return rows if width == 1 else fn.sum(fn.reshape(rows, (batch, groups, width)), 2)

    def arrange(v: Tensor) -> Tensor:
        if width == 1:
            return v
        wide = fn.broadcast_to(fn.reshape(v, (batch, groups, 1)), (batch, groups, width))
        return fn.reshape(wide, (batch, channels))

    count = float(width * math.prod(x.shape[2:]))
    mean = total(x) / count
    centre = mean.detach()
    variance = total(fn.square(x - _spread(arrange(centre), x))) / count - fn.square(mean - centre)
    return _standardised(x, mean, variance, weight, bias, eps, arrange), mean, variance


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Standardise each example over the channels of a group and all positions, then scale and shift each channel.

    Args:
        input: (batch, channels, ...), floating.
        num_groups: how many equal runs of channels there are; 1 takes all together, `channels` each alone.
        weight, bias: (channels,) or None.
        eps: added to the variance.
    Returns:
        The shape and dtype of `input`.
    Raises:
        ShapeError: the channels do not divide into groups.
    Numerics:
        As `batch_norm` in training.
    Example:
        >>> import chainrule as cr
        >>> y = cr.functional.group_norm(cr.asarray([[1.0, 3.0, 5.0, 9.0]]), num_groups=2)
        >>> [round(v, 3) for v in y[0].tolist()]
        [-1.0, 1.0, -1.0, 1.0]

    Reference:
        Wu and He, Group normalization, ECCV 2018.
    """
    name = "group_norm"
    check_channels(name, input)
    check_number(name, "eps", eps, 0)
    channels = input.shape[1]
    if not hasattr(num_groups, "__index__"):
        fail(ConfigError, name, f"num_groups must be a whole number, not {num_groups!r}")
    if num_groups < 1 or channels % num_groups:
        fail(ShapeError, name, f"{channels} channels (axis 1) do not divide into {num_groups} groups", (input,),
             "num_groups has to divide the number of channels")  # fmt: skip
    weight = _vector(name, "weight", weight, channels, input)
    bias = _vector(name, "bias", bias, channels, input)
    if input.size == 0:
        return input
    return _by_group(input.astype(working_dtype(input)), num_groups, weight, bias, eps)[0].astype(input.dtype)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: Scalar = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardise each channel of each example over its positions.

    Args:
        input: (batch, channels, positions, ...), floating.
        running_mean, running_var: (channels,); moved towards the mean over the batch of the examples' statistics, or
            with ``use_input_stats=False`` used in place of those.
        weight, bias, momentum, eps: as for `batch_norm`.
    Returns:
        The shape and dtype of `input`.
    Raises:
        ShapeError: one position a channel.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.instance_norm(cr.asarray([[[1.0, 3.0]]])).shape
        (1, 1, 2)

    Reference:
        Ulyanov, Vedaldi and Lempitsky, Instance normalization, 2016.
    """
    name = "instance_norm"
    check_channels(name, input, 3 if use_input_stats else 2)
    check_number(name, "eps", eps, 0)
    channels = input.shape[1]
    weight = _vector(name, "weight", weight, channels, input)
    bias = _vector(name, "bias", bias, channels, input)
    for what, running in (("running_mean", running_mean), ("running_var", running_var)):
        _vector(name, what, running, channels, input)
    x = input.astype(working_dtype(input))
    if not use_input_stats:
        return _with_running(name, x, running_mean, running_var, weight, bias, eps).astype(input.dtype)
    positions = math.prod(input.shape[2:])
    if positions < 2:
        fail(ShapeError, name, f"training needs more than one position per channel, there is {positions}", (input,),
             "use batch norm or layer norm for features without positions")  # fmt: skip
    if input.shape[0] == 0:
        return input
    result, mean, variance = _by_group(x, channels, weight, bias, eps)
    _update(name, running_mean, fn.mean(mean, 0), momentum)
    _update(name, running_var, fn.mean(variance, 0) * (positions / (positions - 1)), momentum)
    return result.astype(input.dtype)
