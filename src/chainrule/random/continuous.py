"""Continuous distributions by the inverse of their distribution function: exact gradients in every parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import functions as fn
from .. import special
from ..dtypes import float64
from ..errors import ConfigError
from ..ops.base import emit, message
from ..tensor import Tensor, node_of
from .keys import Generator
from .parameters import NOT_NEGATIVE, POSITIVE, Draw, first_accepted

#: rounds of the rejection for von Mises' distribution: each accepts with probability 0.65 at least
VONMISES_ROUNDS = 24


def _standard(draw: Draw) -> Tensor:
    """Exponential numbers of mean 1: -log1p(-u)."""
    return -fn.log1p(-draw.open())


def exponential(
    scale: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Exponential numbers of mean `scale`: density exp(-x / scale) / scale for x > 0.

    Args:
        scale: the mean, positive; a number or tensor.
        shape: of the draw; that of the parameters unless given.
        dtype: floating; that of the parameters, or float32, unless given.
        generator: where the bits come from; the global generator unless given.
        key: an explicit key (see `key`) instead of a generator.
    Raises:
        ConfigError: `scale` is present and not positive.
    Example:
        >>> cr.random.exponential(2.0, (3,), key=cr.random.key(0)).shape
        (3,)
    """
    draw = Draw("exponential", shape, dtype, generator, key, ("scale", scale, NOT_NEGATIVE))
    (width,) = draw.parameters
    return draw.result(_standard(draw) * width)


def _of_location_and_scale(standard: Callable[[Draw], Tensor]) -> Callable[..., Tensor]:
    """The distribution of loc + scale z under the name of `standard`, which draws z."""
    name = standard.__name__

    def drawn(
        loc: Any = 0.0, scale: Any = 1.0, shape: Any = None, *, dtype: Any = None,
        generator: Generator | None = None, key: Any = None,
    ) -> Tensor:  # fmt: skip
        draw = Draw(name, shape, dtype, generator, key, ("loc", loc, None), ("scale", scale, NOT_NEGATIVE))
        centre, width = draw.parameters
        return draw.result(centre + width * standard(draw))

    drawn.__name__ = drawn.__qualname__ = name
    drawn.__doc__ = standard.__doc__
    return drawn


@_of_location_and_scale
def laplace(draw: Draw) -> Tensor:
    """Numbers of density exp(-|x - loc| / scale) / (2 scale)."""
    u = draw.open()
    upper = u > 0.5
    tail = fn.log(2.0 * fn.where(upper, 1.0 - u, u))
    return fn.where(upper, -tail, tail)


@_of_location_and_scale
def logistic(draw: Draw) -> Tensor:
    """Numbers with distribution function sigmoid((x - loc) / scale)."""
    return special.logit(draw.open())


@_of_location_and_scale
def gumbel(draw: Draw) -> Tensor:
    """Numbers with distribution function exp(-exp(-(x - loc) / scale)): the largest of many draws."""
    return -fn.log(_standard(draw))


@_of_location_and_scale
def cauchy(draw: Draw) -> Tensor:
    """Numbers of density 1 / (pi scale (1 + ((x - loc) / scale)^2)), whose mean does not exist."""
    return fn.tan(math.pi * (draw.open() - 0.5))


def lognormal(
    mean: Any = 0.0, sigma: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None,
    key: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers whose logarithm is normal with that `mean` and deviation `sigma`."""
    draw = Draw("lognormal", shape, dtype, generator, key, ("mean", mean, None), ("sigma", sigma, NOT_NEGATIVE))
    centre, width = draw.parameters
    return draw.result(fn.exp(centre + width * draw.normal()))


def weibull(
    a: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Numbers with distribution function 1 - exp(-x^a) for x > 0."""
    draw = Draw("weibull", shape, dtype, generator, key, ("a", a, POSITIVE))
    (power,) = draw.parameters
    return draw.result(fn.exp(fn.log(_standard(draw)) / power))


def pareto(
    a: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Numbers with distribution function 1 - (1 + x)^-a for x > 0 (Lomax, as NumPy's; add 1 for Pareto's own)."""
    draw = Draw("pareto", shape, dtype, generator, key, ("a", a, POSITIVE))
    (power,) = draw.parameters
    return draw.result(fn.expm1(_standard(draw) / power))


def power(
    a: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Numbers of density a x^(a - 1) on (0, 1)."""
    draw = Draw("power", shape, dtype, generator, key, ("a", a, POSITIVE))
    (exponent,) = draw.parameters
    return draw.result(fn.exp(fn.log(draw.open()) / exponent))


def rayleigh(
    scale: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Lengths of vectors of two normal numbers of deviation `scale`: scale sqrt(-2 log(u))."""
    draw = Draw("rayleigh", shape, dtype, generator, key, ("scale", scale, NOT_NEGATIVE))
    (width,) = draw.parameters
    return draw.result(width * fn.sqrt(2.0 * _standard(draw)))


def triangular(
    left: Any, mode: Any, right: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None,
    key: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers whose density rises linearly from `left` to `mode` and falls to `right`."""
    corners = (left, mode, right)
    if all(isinstance(v, (int, float)) for v in corners) and not (left <= mode <= right and left < right):
        problem = f"the corners have to be in order, not {left:g}, {mode:g}, {right:g}"
        raise ConfigError(message("triangular", problem, ()))
    named = [(name, value, None) for name, value in zip(("left", "mode", "right"), corners)]
    draw = Draw("triangular", shape, dtype, generator, key, *named)
    low, peak, high = draw.parameters
    u, width = draw.open(), high - low
    rising = u * width < peak - low
    below = low + fn.sqrt(fn.where(rising, u, 1.0) * width * fn.where(rising, peak - low, 1.0))
    above = high - fn.sqrt(fn.where(rising, 1.0, 1.0 - u) * width * fn.where(rising, 1.0, high - peak))
    return draw.result(fn.where(rising, below, above))


def truncated_normal(
    lower: Any, upper: Any, loc: Any = 0.0, scale: Any = 1.0, shape: Any = None, *, dtype: Any = None,
    generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """loc + scale z with z standard normal, conditioned on lower <= z <= upper.

    By the inverse of the distribution function, in float64, on the side of 0 where the bounds keep their digits: for
    lower bounds up to 37 and upper bounds from -37 on. Gradients flow to all four parameters.

    Args:
        lower, upper: bounds of z (in units of `scale`, from `loc`), lower < upper; they may be infinite.
        loc, scale: shift and factor; scale not negative.
        shape, dtype, generator, key: see `exponential`.
    Raises:
        ConfigError: bounds that are numbers are not in order.
    Example:
        >>> x = cr.random.truncated_normal(2.0, 3.0, shape=(100,), key=cr.random.key(0))
        >>> bool(((x >= 2.0) & (x <= 3.0)).all())
        True
    """
    if isinstance(lower, (int, float)) and isinstance(upper, (int, float)) and not lower < upper:
        problem = f"the lower bound has to be below the upper one, not {lower:g} and {upper:g}"
        raise ConfigError(message("truncated_normal", problem, ()))
    draw = Draw(
        "truncated_normal", shape, dtype, generator, key,
        ("lower", lower, None), ("upper", upper, None), ("loc", loc, None), ("scale", scale, NOT_NEGATIVE),
        inner=float64,
    )  # fmt: skip
    low, high, centre, width = draw.parameters
    flipped = low > 0
    a, b = fn.where(flipped, -high, low), fn.where(flipped, -low, high)
    p, q = special.ndtr(a), special.ndtr(b)
    u = draw.open()
    z = special.ndtri(p + (q - p) * u)
    z = fn.where(z < a, a, fn.where(z > b, b, z))
    return draw.result(centre + width * fn.where(flipped, -z, z))


def vonmises(
    mu: Any, kappa: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """Angles in [-pi, pi] of density proportional to exp(kappa cos(x - mu)).

    By rejection from a wrapped Cauchy distribution, in float64, at most 24 rounds: more would be needed once in
    10**10 draws, which then give mu. Gradients flow to both parameters, to `kappa` at constant probability.

    Args: mu: the mean angle. kappa: the concentration, not negative. shape, dtype, generator, key: see `exponential`.

    Reference: Best and Fisher, Efficient simulation of the von Mises distribution, 1979.
    """
    given = ("mu", mu, None), ("kappa", kappa, NOT_NEGATIVE)
    draw = Draw("vonmises", shape, dtype, generator, key, *given, inner=float64)
    centre, kappa_tensor = draw.parameters
    k = fn.maximum(kappa_tensor.detach(), 1e-9)  # below it the distribution is uniform to all digits
    tau = 1.0 + fn.sqrt(1.0 + 4.0 * k * k)
    small = k < 1e-5
    rho = fn.where(small, 1.0, (tau - fn.sqrt(2.0 * tau)) / (2.0 * k))
    r = fn.where(small, 1.0 / k + k, (1.0 + rho * rho) / (2.0 * rho))
    u = draw.open(2 * VONMISES_ROUNDS + 1)
    z = fn.cos(math.pi * u[:VONMISES_ROUNDS])
    f = (1.0 + r * z) / (r + z)
    c = k * (r - f)
    v = u[VONMISES_ROUNDS : 2 * VONMISES_ROUNDS]
    positive = fn.where(c > 0, c, 1e-300)
    accepted = (c * (2.0 - c) > v) | (fn.log(positive / v) + 1.0 - c >= 0)
    cosine = first_accepted(accepted, f, fn.ones_like(k))
    angle = fn.acos(fn.clip(cosine, -1.0, 1.0))
    angle = fn.where(u[-1] < 0.5, -angle, angle)
    angle = Tensor(emit("vonmises_draw", node_of(kappa_tensor), node_of(angle)))
    turned = centre + angle
    return draw.result(turned - fn.floor(turned.detach() / (2.0 * math.pi) + 0.5) * (2.0 * math.pi))
