"""The gamma distribution and those made of it: beta, Dirichlet, chi-square, Student's t, F.

Gradients in the shape parameters are implicit (`ops.draws.GammaDraw`): exact for each draw, of any order.
"""

from __future__ import annotations

import math
from typing import Any

from .. import functions as fn
from ..conversion import to_node
from ..errors import ShapeError
from ..ops.base import emit, message
from ..tensor import Tensor, node_of
from .keys import Generator
from .parameters import NOT_NEGATIVE, POSITIVE, Draw, first_accepted

#: rounds of the rejection: each accepts with probability 0.951 at least
ROUNDS = 8


def _log_gamma(draw: Draw, a: Tensor) -> Tensor:
    """Logarithms of gamma numbers of shape a, by Marsaglia and Tsang's transformation of a normal number.

    With d = a - 1/3 the cube d (1 + x / sqrt(9 d))**3 of a normal x is accepted with probability 0.951 or more. All
    rounds are drawn at once, so that bits do not depend on what is accepted; where none is (once in 3 * 10**10 draws)
    the result is d. A shape below 1 is raised by 1 and the result multiplied by u**(1 / a).
    """
    u = draw.open(2 * ROUNDS + 1)
    half = ROUNDS // 2
    raised = a < 1.0
    shape = fn.where(raised, a + 1.0, a)
    d = shape.detach() - 1.0 / 3.0
    radius, angle = fn.sqrt(-2.0 * fn.log(u[:half])), (2.0 * math.pi) * u[half:ROUNDS]
    x = fn.concat((radius * fn.cos(angle), radius * fn.sin(angle)))
    t = 1.0 + x * fn.rsqrt(9.0 * d)
    positive = t > 0
    cube = fn.where(positive, t, 1.0)
    cube = cube * cube * cube
    accepted = positive & (fn.log(u[ROUNDS : 2 * ROUNDS]) < 0.5 * x * x + d * (1.0 - cube + fn.log(cube)))
    z = d * first_accepted(accepted, cube, fn.ones_like(d))
    drawn = Tensor(emit("gamma_draw", node_of(shape), node_of(z)))
    boost = fn.log(u[-1]) / fn.where(raised, a, 1.0)
    return fn.log(drawn) + fn.where(raised, boost, 0.0)


def gamma(
    a: Any, scale: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None,
    key: Any = None,
) -> Tensor:  # fmt: skip
    """Gamma numbers of shape parameter `a`: density x^(a - 1) exp(-x / scale) / (gamma(a) scale^a) for x > 0.

    Args:
        a: the shape parameter, positive (NumPy's `shape`).
        scale: the factor, not negative.
        shape, dtype, generator, key: see `exponential`.
    Raises:
        ConfigError: a parameter that is present is out of range.
    Numerics: for a far below 1 numbers underflow to 0; `loggamma` gives their logarithms.
    Example:
        >>> cr.random.gamma(cr.asarray([0.5, 2.0, 30.0]), key=cr.random.key(1)).shape
        (3,)

    Reference: Marsaglia and Tsang, A simple method for generating gamma variables, 2000. Figurnov, Mohamed, Mnih,
    Implicit reparameterization gradients, 2018.
    """
    draw = Draw("gamma", shape, dtype, generator, key, ("a", a, POSITIVE), ("scale", scale, NOT_NEGATIVE))
    parameter, width = draw.parameters
    return draw.result(fn.exp(_log_gamma(draw, parameter)) * width)


def loggamma(
    a: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Logarithms of gamma numbers of shape parameter `a`, which do not underflow for a small one."""
    draw = Draw("loggamma", shape, dtype, generator, key, ("a", a, POSITIVE))
    return draw.result(_log_gamma(draw, draw.parameters[0]))


def beta(
    a: Any, b: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Beta numbers: density x^(a - 1) (1 - x)^(b - 1) / B(a, b) on (0, 1), as the share of one of two gamma numbers."""
    draw = Draw("beta", shape, dtype, generator, key, ("a", a, POSITIVE), ("b", b, POSITIVE))
    first, second = draw.parameters
    pair = _log_gamma(draw.stacked(2), fn.stack((first, second)))
    return draw.result(fn.sigmoid(pair[0] - pair[1]))


def dirichlet(
    alpha: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Vectors of probabilities, Dirichlet distributed with parameters `alpha`.

    Args:
        alpha: positive, [..., k]: the parameters along the last axis.
        shape: of the draw without its last axis; that of alpha unless given.
        dtype, generator, key: see `exponential`.
    Returns: [*shape, k], each vector of sum 1.
    Raises:
        ShapeError: alpha has no axis.
    """
    node = to_node(alpha, "dirichlet")
    if not node.shape:
        raise ShapeError(message("dirichlet", "the parameters need an axis", (node,)))
    full_shape = None if shape is None else (*_extents(shape), node.shape[-1])
    draw = Draw("dirichlet", full_shape, dtype, generator, key, ("alpha", Tensor(node), POSITIVE))
    logs = _log_gamma(draw, draw.parameters[0])
    parts = fn.exp(logs - fn.max(logs, axis=-1, keepdims=True).detach())
    return draw.result(parts / fn.sum(parts, axis=-1, keepdims=True))


def _extents(shape: Any) -> tuple[int, ...]:
    return (shape.__index__(),) if hasattr(shape, "__index__") else tuple(shape)


def chisquare(
    df: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Sums of squares of `df` normal numbers (df positive, not only whole): twice a gamma number of shape df / 2."""
    draw = Draw("chisquare", shape, dtype, generator, key, ("df", df, POSITIVE))
    return draw.result(2.0 * fn.exp(_log_gamma(draw, 0.5 * draw.parameters[0])))


def standard_t(
    df: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Student's t with `df` degrees of freedom: a normal number over the root of a mean square."""
    draw = Draw("standard_t", shape, dtype, generator, key, ("df", df, POSITIVE))
    half = 0.5 * draw.parameters[0]
    square = _log_gamma(draw.again(), half) - fn.log(half)
    return draw.result(draw.normal() * fn.exp(-0.5 * square))


def f(
    dfnum: Any, dfden: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Quotients of mean squares of `dfnum` and `dfden` normal numbers."""
    draw = Draw("f", shape, dtype, generator, key, ("dfnum", dfnum, POSITIVE), ("dfden", dfden, POSITIVE))
    halves = 0.5 * fn.stack(tuple(draw.parameters))
    logs = _log_gamma(draw.stacked(2), halves) - fn.log(halves)
    return draw.result(fn.exp(logs[0] - logs[1]))
