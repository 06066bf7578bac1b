"""Activation functions: plain functions over primitives, with PyTorch's names and arguments.

Each is written so that its derivative, too, is finite wherever the true one is: an exponential is
never taken of an argument whose result will be masked away.
"""

from __future__ import annotations

import math

from .. import functions as fn
from ..errors import ShapeError
from ..functions.elementwise import exponential_linear, rectified
from ..ops.base import misuse
from ..tensor import Tensor
from ._common import axis_of, check_floating, check_number, fail


def relu(input: Tensor) -> Tensor:
    """Rectified linear unit, elementwise: ``max(0, x)``.

    Args:
        input: any shape and dtype that orders.
    Returns:
        The shape and dtype of `input`.
    Numerics:
        The derivative is 1 for x > 0 and 0 for x <= 0. NaN stays NaN, so that it is not hidden.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.relu(cr.asarray([-1.0, 0.0, 2.0])).tolist()
        [0.0, 0.0, 2.0]

    Reference:
        Nair and Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.
    """
    return rectified(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Leaky rectifier, elementwise: ``x`` if x > 0, else ``negative_slope * x``.

    Args:
        input: any shape, floating.
        negative_slope: the slope for x <= 0 (also the derivative at 0).
    Returns:
        The shape and dtype of `input`.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.leaky_relu(cr.asarray([-2.0, 3.0]), negative_slope=0.5).tolist()
        [-1.0, 3.0]

    Reference:
        Maas, Hannun and Ng, Rectifier nonlinearities improve neural network acoustic models, 2013.
    """
    check_floating("leaky_relu", input)
    check_number("leaky_relu", "negative_slope", negative_slope)
    return fn.where(input > 0, input, input * negative_slope)


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Exponential linear unit, elementwise: ``x`` if x > 0, else ``alpha * (exp(x) - 1)``.

    Args:
        input: any shape, floating.
        alpha: minus the limit at minus infinity.
    Returns:
        The shape and dtype of `input`.
    Numerics:
        Uses ``expm1`` for x <= 0 alone, so large x neither overflow nor give 0 * inf in the derivative. The derivative
        follows from the result, and at 0 is that of the branch for x <= 0, ``alpha``.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.elu(cr.asarray([-100.0, 0.0, 2.0])).tolist()
        [-1.0, 0.0, 2.0]

    Reference:
        Clevert, Unterthiner and Hochreiter, Fast and accurate deep network learning by ELUs, ICLR 2016.
    """
    check_floating("elu", input)
    check_number("elu", "alpha", alpha)
    plain = exponential_linear(input)
    return plain if alpha == 1.0 else fn.where(plain > 0, plain, plain * alpha)


SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def selu(input: Tensor) -> Tensor:
    """Scaled exponential linear unit, elementwise: ``scale * elu(x, alpha)``, the constants of the paper.

    Example:
        >>> import chainrule as cr
        >>> round(float(cr.functional.selu(cr.asarray(1.0))), 4)
        1.0507

    Reference:
        Klambauer et al., Self-normalizing neural networks, NeurIPS 2017.
    """
    return elu(input, SELU_ALPHA) * SELU_SCALE


def sigmoid(input: Tensor) -> Tensor:
    """Logistic function, elementwise: ``1 / (1 + exp(-x))``; saturates, its derivative is ``y (1 - y)``.

    Example:
        >>> import chainrule as cr
        >>> cr.functional.sigmoid(cr.asarray(0.0)).item()
        0.5
    """
    check_floating("sigmoid", input)
    return fn.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent, elementwise: ``(e^2x - 1) / (e^2x + 1)``, computed without overflow.

    Example:
        >>> import chainrule as cr
        >>> cr.functional.tanh(cr.asarray([0.0, 1000.0])).tolist()
        [0.0, 1.0]
    """
    check_floating("tanh", input)
    return fn.tanh(input)


def silu(input: Tensor) -> Tensor:
    """Sigmoid linear unit (swish), elementwise: ``x * sigmoid(x)``.

    Example:
        >>> import chainrule as cr
        >>> round(float(cr.functional.silu(cr.asarray(1.0))), 4)
        0.7311

    Reference:
        Elfwing, Uchibe and Doya, Sigmoid-weighted linear units, Neural Networks 107, 2018.
    """
    return input * sigmoid(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit, elementwise: ``x * Phi(x)``, Phi the standard normal distribution function.

    Args:
        input: any shape, floating.
        approximate: 'none' for the exact form ``x (1 + erf(x / sqrt 2)) / 2``; 'tanh' for
            ``x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2``.
    Returns:
        The shape and dtype of `input`.
    Raises:
        ConfigError: `approximate` is neither.
    Example:
        >>> import chainrule as cr
        >>> x = cr.asarray(1.0)
        >>> round(float(cr.functional.gelu(x)), 4), round(float(cr.functional.gelu(x, approximate="tanh")), 4)
        (0.8413, 0.8412)

    Reference:
        Hendrycks and Gimpel, Gaussian error linear units, arXiv 1606.08415. (Not the SiLU, which is x sigmoid(x).)
    """
    check_floating("gelu", input)
    if approximate == "none":
        return (fn.erf(input * math.sqrt(0.5)) + 1.0) * (input * 0.5)
    if approximate == "tanh":
        inner = (input + fn.square(input) * input * 0.044715) * math.sqrt(2.0 / math.pi)
        return (fn.tanh(inner) + 1.0) * (input * 0.5)
    raise misuse(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Smooth rectifier, elementwise: ``log(1 + exp(beta x)) / beta``; its derivative is ``sigmoid(beta x)``.

    Args:
        input: any shape, floating.
        beta: sharpness, not 0.
        threshold: where ``beta x`` exceeds it the result is ``x`` itself, at most 80 (beyond it the
            exponential could overflow in float32).
    Raises:
        ConfigError: `beta` is 0 or `threshold` is above 80.
    Example:
        >>> import chainrule as cr
        >>> round(float(cr.functional.softplus(cr.asarray(0.0))), 4)
        0.6931
    """
    check_floating("softplus", input)
    check_number("softplus", "beta", beta)
    check_number("softplus", "threshold", threshold)
    if beta == 0 or threshold > 80:
        raise misuse(f"softplus: beta must not be 0 and threshold at most 80, not {beta} and {threshold}")
    scaled = input if beta == 1.0 else input * beta
    linear = scaled > threshold
    smooth = fn.log1p(fn.exp(fn.where(linear, 0, scaled)))
    return fn.where(linear, input, smooth if beta == 1.0 else smooth / beta)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Clamp, elementwise: ``min(max(x, min_val), max_val)``; the derivative is 1 strictly inside, else 0.

    Raises:
        ConfigError: unless ``min_val < max_val``.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.hardtanh(cr.asarray([-3.0, 0.5, 3.0])).tolist()
        [-1.0, 0.5, 1.0]
    """
    if not min_val < max_val:
        raise misuse(f"hardtanh: min_val must be below max_val, not {min_val} and {max_val}")
    return fn.where(input <= min_val, min_val, fn.where(input >= max_val, max_val, input))


def _softmax_axis(name: str, input: Tensor, dim: int | None) -> int:
    check_floating(name, input)
    if dim is None:
        if len(input.shape) > 2:
            fail(ShapeError, name, f"dim is needed for {len(input.shape)} axes", (input,), "dim=-1 is the last axis")
        dim = -1
    return axis_of(name, input, dim)


def _shifted(input: Tensor, axis: int) -> Tensor:
    """`input` minus its maximum along `axis`; the maximum is a constant to derivatives, since softmax does not change
    when all logits do."""
    return input - fn.max(input, axis=axis, keepdims=True).detach()


def softmax(input: Tensor, dim: int | None = None, temperature: float = 1.0) -> Tensor:
    """Normalised exponentials along one axis: ``exp(z_k / T) / sum_l exp(z_l / T)``.

    Args:
        input: logits z, floating.
        dim: the axis of the classes; may be left out for one or two axes (the last is meant).
        temperature: T; above 1 flattens, towards 0 sharpens to the largest logit.
    Returns:
        Probabilities, the shape and dtype of `input`, summing to 1 along `dim`.
    Raises:
        ShapeError: `dim` is out of range, or left out for three axes or more.
        ConfigError: `temperature` is not positive.
    Numerics:
        The maximum is subtracted first: no overflow for finite logits. Exponentials are multiplied by the reciprocal of
        their sum, which rounds once more than dividing them and takes less time.
    Example:
        >>> import chainrule as cr
        >>> z = cr.asarray([0.0, 0.0])
        >>> cr.functional.softmax(z, dim=0).tolist()
        [0.5, 0.5]

    Reference:
        Lecture 003 writes the temperature as ``exp(-tau z_k) / sum_l exp(-tau z_l)``: an inverse temperature, and z an
        energy, so that the smallest z is the likeliest. That form is ``softmin(z, dim, tau)``.
    """
    axis = _softmax_axis("softmax", input, dim)
    exponentials = fn.exp(_shifted(_tempered("softmax", input, temperature), axis))
    return exponentials * (1.0 / fn.sum(exponentials, axis=axis, keepdims=True))


def softmin(input: Tensor, dim: int | None = None, inverse_temperature: float = 1.0) -> Tensor:
    """Boltzmann distribution over energies: ``exp(-tau z_k) / sum_l exp(-tau z_l)``, as lecture 003 writes softmax.

    Args:
        input: energies z, floating.
        dim: as for `softmax`.
        inverse_temperature: tau.
    Example:
        >>> import chainrule as cr
        >>> z = cr.asarray([1.0, 3.0])
        >>> a = cr.functional.softmin(z, dim=0, inverse_temperature=0.5).numpy()
        >>> b = cr.functional.softmax(-z, dim=0, temperature=2.0).numpy()
        >>> bool(abs(a - b).max() < 1e-6)
        True
    """
    return softmax(input * -float(inverse_temperature), dim)


def log_softmax(input: Tensor, dim: int | None = None, temperature: float = 1.0) -> Tensor:
    """Logarithm of `softmax`: ``z_k - log sum_l exp(z_l)``, in nats; stable where probabilities underflow.

    Args, Raises: as for `softmax`.
    Example:
        >>> import chainrule as cr
        >>> cr.functional.log_softmax(cr.asarray([0.0, -1000.0]), dim=0).tolist()
        [0.0, -1000.0]
    """
    axis = _softmax_axis("log_softmax", input, dim)
    shifted = _shifted(_tempered("log_softmax", input, temperature), axis)
    return shifted - fn.log(fn.sum(fn.exp(shifted), axis=axis, keepdims=True))


def _tempered(name: str, input: Tensor, temperature: float) -> Tensor:
    if temperature == 1.0:
        return input
    if not temperature > 0:
        raise misuse(f"{name}: temperature must be positive, not {temperature}")
    return input / temperature
