"""Distributions of whole numbers, by inversion for small means and by rejection for large ones, in float64.

Numbers have no derivatives; `categorical` takes logits, so that a relaxed draw is softmax((logits + gumbel) / t).
Reference: Hoermann, The transformed rejection method for generating Poisson random variables, 1993, and The generation
of binomial random variates, 1993 (the algorithms PTRS and BTRS).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions as fn
from ..dtypes import as_dtype, float64, int64
from ..errors import ConfigError, DTypeError
from ..graph.node import Node
from ..ops.base import emit, message
from ..special import lgamma
from ..tensor import Tensor, node_of
from .gammas import _log_gamma
from .keys import Generator
from .parameters import NOT_NEGATIVE, POSITIVE, POSITIVE_PROBABILITY, PROBABILITY, WHOLE, Draw, first_accepted

#: rounds of the rejections: each accepts with probability 0.7 at least
ROUNDS = 18
#: means below it are drawn by inversion
SMALL = 10.0


def opaque(name: str, parameter: str, sample: Tensor, value: Tensor) -> Tensor:
    """`sample`, whose derivative by the parameter `value` is an error."""
    node: Node = emit("opaque_draw", node_of(sample), node_of(value), attributes=(name, parameter))
    return Tensor(node)


def whole(name: str, value: Tensor, dtype: Any, **parameters: Tensor) -> Tensor:
    """Whole numbers in the dtype asked for, int64 by default.

    In a floating dtype asking for their derivative by one of the `parameters`, of the same shape, is an error.
    """
    wanted = int64 if dtype is None else as_dtype(dtype)
    if wanted.kind == "b":
        raise DTypeError(message(name, "counts do not fit bool", ()))
    result = value.astype(wanted)
    if wanted.kind == "f":
        for parameter, given in parameters.items():
            result = opaque(name, parameter, result, given.astype(wanted))
    return result


def _quantile(name: str, *operands: Tensor) -> Tensor:
    return Tensor(emit(name, *map(node_of, operands)))


def poisson(
    lam: Any = 1.0, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """Numbers of events of mean `lam`: probability lam^k exp(-lam) / k! of k.

    Below a mean of 10 by inversion, exact but for probabilities below 1e-16; else by transformed rejection, at most 18
    rounds, of which more would be needed once in 3 * 10**9 draws, which then give the mean rounded down.

    Args:
        lam: the mean, not negative.
        shape: of the draw; that of `lam` unless given.
        dtype: of the result, int64 unless given.
        generator, key: see `exponential`.
    Raises:
        ConfigError: `lam` is present and negative.
    """
    draw = Draw("poisson", shape, None, generator, key, ("lam", lam, NOT_NEGATIVE), inner=float64)
    (rate,) = draw.parameters
    (present,) = draw.present
    return whole("poisson", _poisson(draw, rate.detach(), _one_way(present)), dtype, lam=rate)


def _one_way(mean: np.ndarray | None) -> bool | None:
    """Whether all means are small, or none; None if that differs or is not known. Saves the work of the other way."""
    if mean is None or not mean.size:
        return None
    small = mean < SMALL
    return True if small.all() else None if small.any() else False


def _poisson(draw: Draw, rate: Tensor, all_small: bool | None = None) -> Tensor:
    small = rate < SMALL
    known = (rate >= 0) & fn.isfinite(rate)
    few = many = None
    if all_small is not False:
        low = fn.where(small, rate, 1.0)
        few = _quantile("poisson_quantile", draw.open(), low, fn.exp(-low))
    if all_small is not True:
        many = _many_events(draw.again(1).open(2 * ROUNDS), fn.where(small, SMALL, rate))
    return fn.where(known, _either(small, few, many), 0.0)


def _either(small: Tensor, few: Tensor | None, many: Tensor | None) -> Tensor:
    """What was drawn by inversion or by rejection."""
    if few is None or many is None:
        return few if few is not None else many  # type: ignore[return-value]
    return fn.where(small, few, many)


def _many_events(u: Tensor, mean: Tensor) -> Tensor:
    """Poisson numbers of means from `SMALL` on, by rejection."""
    root = fn.sqrt(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    x, v = u[:ROUNDS] - 0.5, u[ROUNDS : 2 * ROUNDS]
    margin = 0.5 - fn.abs(x)
    k = fn.floor((2.0 * a / margin + b) * x + mean + 0.43)
    proper = (k >= 0) & ~((margin < 0.013) & (v > margin))
    count = fn.where(proper, k, 0.0)
    level = fn.log(v * inverse_alpha / (a / (margin * margin) + b))
    accepted = proper & (level <= count * fn.log(mean) - mean - lgamma(count + 1.0))
    return first_accepted(accepted, count, fn.floor(mean))


def binomial(
    n: Any, p: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers of successes among `n` trials of probability `p`.

    Where n min(p, 1 - p) is below 10 by inversion, else by transformed rejection (see `poisson`).

    Args: n: whole, not negative. p: from 0 to 1. shape, generator, key: see `exponential`. dtype: int64 unless given.
    Raises:
        ConfigError: a parameter that is present is out of range.
    """
    draw = Draw("binomial", shape, None, generator, key, ("n", n, WHOLE), ("p", p, PROBABILITY), inner=float64)
    trials, chance = draw.parameters
    given, rates = draw.present
    all_small = None
    if given is not None and rates is not None:
        all_small = _one_way(given * np.where(rates > 0.5, 1.0 - rates, rates))
    drawn = _binomial(draw, trials.detach(), chance.detach(), all_small)
    return whole("binomial", drawn, dtype, n=trials, p=chance)


def _binomial(draw: Draw, n: Tensor, chance: Tensor, all_small: bool | None) -> Tensor:
    flipped = chance > 0.5
    p = fn.where(flipped, 1.0 - chance, chance)
    small = n * p < SMALL
    few = many = None
    if all_small is not False:
        q = fn.where(small, p, 0.25)
        few = _quantile("binomial_quantile", draw.open(), n, q / (1.0 - q), fn.exp(n * fn.log1p(-q)))
        few = fn.minimum(few, n)
    if all_small is not True:
        u = draw.again(1).open(2 * ROUNDS)
        many = _many_successes(u, fn.where(small, 100.0, n), fn.where(small, 0.25, p))
    found = _either(small, few, many)
    return fn.where(flipped, n - found, found)


def _many_successes(u: Tensor, trials: Tensor, r: Tensor) -> Tensor:
    """Binomial numbers where trials * r is at least `SMALL`, by rejection."""
    root = fn.sqrt(trials * r * (1.0 - r))
    b = 1.15 + 2.53 * root
    a = -0.0873 + 0.0248 * b + 0.01 * r
    centre, alpha = trials * r + 0.5, (2.83 + 5.1 / b) * root
    mode = fn.floor((trials + 1.0) * r)
    x, v = u[:ROUNDS] - 0.5, u[ROUNDS : 2 * ROUNDS]
    margin = 0.5 - fn.abs(x)
    k = fn.floor((2.0 * a / margin + b) * x + centre)
    proper = (k >= 0) & (k <= trials)
    count = fn.where(proper, k, 0.0)
    level = fn.log(v * alpha / (a / (margin * margin) + b))
    bound = lgamma(mode + 1.0) + lgamma(trials - mode + 1.0) + (count - mode) * fn.log(r / (1.0 - r))
    accepted = proper & (level <= bound - lgamma(count + 1.0) - lgamma(trials - count + 1.0))
    return first_accepted(accepted, count, mode)


def geometric(
    p: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None
) -> Tensor:
    """The number of the first success among trials of probability `p`: 1, 2, ..."""
    draw = Draw("geometric", shape, None, generator, key, ("p", p, POSITIVE_PROBABILITY), inner=float64)
    (chance,) = draw.parameters
    fixed = chance.detach()
    waited = fn.ceil(fn.log(draw.open()) / fn.log1p(-fixed))
    return whole("geometric", fn.clip(fn.where(fixed < 1.0, waited, 1.0), 1.0, 2.0**62), dtype, p=chance)


def negative_binomial(
    n: Any, p: Any, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None, key: Any = None,
) -> Tensor:  # fmt: skip
    """Numbers of failures before `n` successes (n positive, not only whole): Poisson numbers of gamma means."""
    given = ("n", n, POSITIVE), ("p", p, POSITIVE_PROBABILITY)
    draw = Draw("negative_binomial", shape, None, generator, key, *given, inner=float64)
    successes, chance = draw.parameters
    fixed = chance.detach()
    rate = fn.exp(_log_gamma(draw, successes.detach())) * (1.0 - fixed) / fixed
    return whole("negative_binomial", _poisson(draw.again(), rate), dtype, n=successes, p=chance)


def rademacher(shape: Any = (), *, dtype: Any = None, generator: Generator | None = None, key: Any = None) -> Tensor:
    """-1 or 1 with equal probability, in a floating dtype (float32 unless given)."""
    draw = Draw("rademacher", shape, dtype, generator, key)
    return draw.result(fn.where(draw.unit() < 0.5, fn.full(draw.shape, -1.0, dtype=draw.inner), 1.0))


def probabilities(name: str, p: Any) -> Tensor:
    """Checked probabilities along the last axis, float64; their sum is checked if they are present."""
    node: Node = node_of(p) if isinstance(p, Tensor) else node_of(fn.asarray(p))
    if not node.shape or node.dtype.kind != "f":
        problem = "probabilities are floating numbers along an axis"
        raise DTypeError(message(name, problem, (node,)))
    if node.value is not None:
        array = node.value.astype("float64")
        if not (array >= 0).all():
            problem = f"probabilities must not be negative, not {array[~(array >= 0)].flat[0]:g}"
            raise ConfigError(message(name, problem, (node,)))
        sums = array.sum(-1)
        wrong = abs(sums - 1.0) > 1e-5 * max(1.0, array.shape[-1] ** 0.5)
        if wrong.any():
            problem = f"probabilities sum to {sums[wrong].flat[0]:.6g}, not 1"
            raise ConfigError(message(name, problem, (node,), "divide them by their sum"))
    return Tensor(node).detach().astype(float64)
