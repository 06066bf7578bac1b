"""Losses for numbers: squared and absolute errors, and the Gaussian and Poisson likelihoods; in nats."""

from __future__ import annotations

import math
from typing import Any

from .. import functions as fn
from ..errors import ShapeError
from ..ops.base import misuse
from ..tensor import Tensor
from ._common import as_tensor, check_floating, check_reduction, fail, reduce, same_shape


def _operands(name: str, input: Tensor, target: Any, reduction: str) -> Tensor:
    check_floating(name, input)
    check_reduction(name, reduction)
    return same_shape(name, input, as_tensor(target, name, "target"))


def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Squared error: ``(x - y)^2``; twice the Gaussian negative log-likelihood with sigma = 1, but for a constant.

    Args:
        input: x, any shape, floating.
        target: y, the same shape.
        reduction: 'mean', 'sum' or 'none'.
    Raises:
        ShapeError: the shapes differ; a (n, 1) prediction never meets a (n,) target.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.mse_loss(cr.asarray([1.0, 3.0]), cr.asarray([1.0, 1.0])).item()
        2.0
    """
    return reduce(fn.square(input - _operands("mse_loss", input, target, reduction)), reduction)


def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """Absolute error: ``|x - y|``, the negative log-likelihood of a Laplace distribution but for constants.

    Args, Raises: as `mse_loss`. The derivative at 0 is 0.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.l1_loss(cr.asarray([1.0, 3.0]), cr.asarray([1.0, 1.0])).item()
        1.0
    """
    return reduce(fn.abs(input - _operands("l1_loss", input, target, reduction)), reduction)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """With d = x - y: ``d^2 / 2`` if \\|d\\| <= delta, else ``delta (|d| - delta / 2)``.

    Args, Raises: as `mse_loss`; `delta` must be positive (ConfigError).
    Example:
        >>> import chainrule as cr
        >>> cr.functional.huber_loss(cr.asarray([0.0]), cr.asarray([3.0])).item()
        2.5

    Reference:
        Huber, Robust estimation of a location parameter, Annals of Mathematical Statistics 35, 1964.
    """
    if not delta > 0:
        raise misuse(f"huber_loss: delta must be positive, not {delta}")
    difference = input - _operands("huber_loss", input, target, reduction)
    size = fn.abs(difference)
    losses = fn.where(size <= delta, fn.square(difference) * 0.5, (size - 0.5 * delta) * delta)
    return reduce(losses, reduction)


def smooth_l1_loss(input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """With d = x - y: ``d^2 / (2 beta)`` if \\|d\\| < beta, else ``|d| - beta / 2``: `huber_loss` divided by beta.

    Args, Raises: as `mse_loss`; `beta` must not be negative (ConfigError), and 0 gives `l1_loss`.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.smooth_l1_loss(cr.asarray([0.0]), cr.asarray([3.0])).item()
        2.5
    """
    if beta < 0:
        raise misuse(f"smooth_l1_loss: beta must not be negative, not {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    difference = input - _operands("smooth_l1_loss", input, target, reduction)
    size = fn.abs(difference)
    losses = fn.where(size < beta, fn.square(difference) * (0.5 / beta), size - 0.5 * beta)
    return reduce(losses, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Gaussian negative log-likelihood with a variance for each element: ``(log v + (x - y)^2 / v) / 2``.

    Args:
        input: means x, any shape, floating.
        target: y, the same shape.
        var: variances v >= 0: the shape of `input`, that shape with the last extent 1 or left out, or one number.
        full: add the constant ``log(2 pi) / 2``, which makes the loss a true negative log-likelihood.
        eps: variances below it count as `eps`; the derivative passes to `var` all the same.
        reduction: 'mean', 'sum' or 'none'.
    Raises:
        ShapeError: the shapes do not fit.
    Example:
        >>> import chainrule as cr
        >>> one = cr.asarray([1.0])
        >>> cr.functional.gaussian_nll_loss(cr.asarray([0.0]), cr.asarray([2.0]), one).item()
        2.0

    Reference:
        Nix and Weigend, Estimating the mean and variance of the target probability distribution, 1994; lecture 000
        (O2), without the constant, in terms of sigma.
    """
    name = "gaussian_nll_loss"
    target = _operands(name, input, target, reduction)
    if isinstance(var, (int, float)):
        if var < 0:
            raise misuse(f"{name}: var must not be negative, not {var}")
        var = fn.full(input.shape, max(float(var), eps), dtype=input.dtype)
    else:
        var = as_tensor(var, name, "var")
        shape, given = tuple(input.shape), tuple(var.shape)
        if given == shape[:-1] and given != shape:
            var = fn.expand_dims(var, axis=-1)
        elif given != shape and given != shape[:-1] + (1,):
            fail(ShapeError, name, f"input has shape {shape}, var has shape {given}", (input, target, var),
                 f"var needs the shape {shape}, or {shape[:-1] + (1,)} for one variance a row")  # fmt: skip
        # eps + (v - v.detach()) has the value eps and the derivative of v.
        var = fn.where(var < eps, var - var.detach() + eps, var)
    losses = (fn.log(var) + fn.square(input - target) / var) * 0.5
    return reduce(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Poisson negative log-likelihood without ``log y!``: ``exp(x) - y x``, or ``x - y log(x + eps)``.

    Args:
        input: x, the logarithm of the rate (`log_input`) or the rate itself; any shape, floating.
        target: counts y, the same shape.
        full: add Stirling's ``y log y - y + log(2 pi y) / 2`` where y > 1.
        eps: keeps the logarithm of a rate finite.
        reduction: 'mean', 'sum' or 'none'.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.poisson_nll_loss(cr.asarray([0.0]), cr.asarray([3.0])).item()
        1.0
    """
    target = _operands("poisson_nll_loss", input, target, reduction)
    losses = fn.exp(input) - target * input if log_input else input - target * fn.log(input + eps)
    if full:
        many = target > 1
        count = fn.where(many, target, 1)
        stirling = count * fn.log(count) - count + fn.log(count * (2 * math.pi)) * 0.5
        losses = losses + fn.where(many, stirling, 0)
    return reduce(losses, reduction)
