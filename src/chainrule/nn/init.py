"""Initial values of parameters: functions that write into a tensor in place and return it, as in PyTorch.

All take `generator`, the source of the random numbers (default the global one of `chainrule.manual_seed`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functions as fn
from .. import random
from ..errors import ShapeError
from ..ops.base import misuse
from ..tensor import Tensor, node_of


def _write(tensor: Tensor, value: Tensor) -> Tensor:
    tensor._rebind(node_of(value.detach()))
    return tensor


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with draws from the uniform distribution on [a, b)."""
    draws = random.rand(tensor.shape, dtype=tensor.dtype, generator=generator)
    return _write(tensor, draws * (b - a) + a)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Any = None) -> Tensor:
    """Fill with draws from the normal distribution: lecture 004's N(0, sigma^2) with `std` = sigma."""
    draws = random.randn(tensor.shape, dtype=tensor.dtype, generator=generator)
    return _write(tensor, draws * std + mean)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Any = None
) -> Tensor:
    """Fill with draws from the normal distribution, given that they lie in [a, b].

    Numerics:
        The inverse of the distribution function, by bisection in float64 on the host; exact to 1e-12.
    """
    if not a < b:
        raise misuse(f"trunc_normal_: a must be below b, not {a} and {b}")

    def below(z: Any) -> Any:
        return 0.5 * np.vectorize(math.erfc, otypes=[float])(-np.asarray(z) / math.sqrt(2.0))

    low, high = below((a - mean) / std), below((b - mean) / std)
    uniform = random.rand(tensor.shape, dtype="float64", generator=generator).numpy()
    wanted = low + (high - low) * uniform
    left = np.full(tensor.shape, (a - mean) / std)
    right = np.full(tensor.shape, (b - mean) / std)
    for _ in range(60):
        middle = 0.5 * (left + right)
        smaller = below(middle) < wanted if middle.size else middle > 0
        left, right = np.where(smaller, middle, left), np.where(smaller, right, middle)
    values = np.clip(mean + std * 0.5 * (left + right), a, b)
    return _write(tensor, fn.asarray(values, dtype=tensor.dtype))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with the number `val`."""
    return _write(tensor, fn.full(tensor.shape, val, dtype=tensor.dtype))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a layer before `nonlinearity` keeps the variance of its signals.

    1 for linear and sigmoid, 5/3 for tanh, sqrt 2 for relu, ``sqrt(2 / (1 + param^2))`` for leaky_relu (param is its
    slope, default 0.01), 3/4 for selu.
    Example:
        >>> import chainrule as cr
        >>> round(cr.nn.init.calculate_gain("relu"), 4)
        1.4142
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else float(param)) ** 2))
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 0.75}
    gains.update({f"conv{t}{n}d": 1.0 for t in ("", "_transpose") for n in (1, 2, 3)})
    if nonlinearity not in gains:
        raise misuse(f"calculate_gain: no gain for {nonlinearity!r}; there are leaky_relu, {', '.join(gains)}")
    return gains[nonlinearity]


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    """Connections into and out of a unit: (inputs, outputs) times the size of a kernel's window."""
    if len(tensor.shape) < 2:
        raise ShapeError(f"{name}: needs two axes or more, (out, in, ...), not shape {tuple(tensor.shape)}")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Uniform in [-a, a], ``a = gain sqrt(6 / (fan_in + fan_out))``.

    Reference: Glorot and Bengio, Understanding the difficulty of training deep feedforward networks, 2010.
    """
    bound = gain * math.sqrt(6.0 / sum(_fans("xavier_uniform_", tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Normal with ``std = gain sqrt(2 / (fan_in + fan_out))``; reference as `xavier_uniform_`."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans("xavier_normal_", tensor))), generator)


def _kaiming_std(name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise misuse(f"{name}: mode must be 'fan_in' or 'fan_out', not {mode!r}")
    fan = _fans(name, tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Uniform in [-b, b], ``b = gain sqrt(3 / fan)``; `a` is the slope of a leaky rectifier.

    Reference: He et al., Delving deep into rectifiers, 2015.
    """
    bound = math.sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Any = None
) -> Tensor:
    """Normal with ``std = gain / sqrt(fan)``; reference as `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Rows (or columns, if there are more rows) orthonormal, times `gain`; uniform among such matrices.

    Axes after the first count as one. Numerics: QR decomposition in float64 on the host, with the signs of R's
    diagonal taken out.
    Reference: Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning, ICLR 2014.
    """
    if len(tensor.shape) < 2:
        raise ShapeError(f"orthogonal_: needs two axes or more, not shape {tuple(tensor.shape)}")
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    draws = random.randn((rows, columns), dtype="float64", generator=generator).numpy()
    q, r = np.linalg.qr(draws.T if rows < columns else draws)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    matrix = (q.T if rows < columns else q) * gain
    return _write(tensor, fn.asarray(matrix.reshape(tensor.shape), dtype=tensor.dtype))
