"""Rows of `chainrule.random`: draws with a key given by hand, differentiated by the parameters of the distribution."""

from __future__ import annotations

from typing import Any

import chainrule as cr
from chainrule import random

from .rows import Table, s, spd, u

RANDOM = Table(random)
smooth, plain, tool = RANDOM.smooth, RANDOM.plain, RANDOM.tool

COUNTED = "the draws are whole numbers"
MADE = "no parameter is a real number"
#: what differences of single draws do not show
IMPLICIT = dict.fromkeys(
    ("reverse", "forward", "second order"),
    "implicit reparameterisation: not the slope of one draw's path, since the draw is made by rejection; compared with "
    "the derivative of the distribution function in `tests/test_distributions.py`",
)


def draw(name: str) -> Any:
    """The function with a fixed key, in float64."""
    return lambda *given: getattr(random, name)(*given, dtype=cr.float64, key=random.key(3))


for name in "cauchy gumbel laplace logistic lognormal normal".split():
    smooth(name, draw(name), s(2), u(2))
for name in "exponential pareto power rayleigh weibull".split():
    smooth(name, draw(name), u(2, low=1.2, high=2.0))
smooth("uniform", draw("uniform"), s(2), u(2, low=2.0, high=3.0))
smooth("triangular", draw("triangular"), u(2, low=0.0, high=0.1), u(2), u(2, low=1.0, high=2.0))
smooth("truncated_normal", draw("truncated_normal"), u(2, low=-1.0, high=-0.5), u(2, low=0.5, high=1.0), s(2), u(2))
smooth("multivariate_normal", lambda m, c: draw("multivariate_normal")(m, (c + c.mT) / 2), s(2), spd(2))
smooth("permutation", lambda x: random.permutation(x, key=random.key(3)), s(4))
for name, count in (("gamma", 1), ("loggamma", 1), ("chisquare", 1), ("standard_t", 1), ("beta", 2), ("f", 2)):
    smooth(name, draw(name), *(u(2, low=1.5, high=3.0, seed=n) for n in range(count)))
    RANDOM.rows[name].differs = dict(IMPLICIT)
smooth("dirichlet", draw("dirichlet"), u(3, low=1.5, high=3.0))
smooth("vonmises", draw("vonmises"), s(2), u(2, low=1.5, high=3.0))
for name in "dirichlet vonmises".split():
    RANDOM.rows[name].differs = dict(IMPLICIT)


def counts(name: str) -> Any:
    return lambda *given: getattr(random, name)(*given, key=random.key(3))


plain("bernoulli geometric", COUNTED, counts("bernoulli"), u(3))
plain("poisson", COUNTED, counts("poisson"), u(3, low=2.0, high=5.0))
plain("binomial", COUNTED, lambda p: counts("binomial")(5, p), u(3))
plain("negative_binomial", COUNTED, lambda p: counts("negative_binomial")(5, p), u(3))
plain("multinomial", COUNTED, lambda p: counts("multinomial")(5, p / p.sum()), u(3))
plain("categorical", COUNTED, counts("categorical"), u(2, 3))
plain("choice", COUNTED, lambda: random.choice(4, (3,), key=random.key(3)))
plain("integers randint", COUNTED, lambda: random.integers(0, 4, (3,), key=random.key(3)))
plain("randperm", COUNTED, lambda: random.randperm(4, key=random.key(3)))
plain("rademacher", COUNTED, lambda: random.rademacher((3,), key=random.key(3)))
plain("rand randn", MADE, lambda: random.rand(3, key=random.key(3)))
plain("rand_like randn_like", MADE, lambda: random.rand_like(cr.zeros((3,)), key=random.key(3)))
plain("ball", MADE, lambda: random.ball(2, shape=(3,), dtype=cr.float64, key=random.key(3)))
plain("orthogonal", MADE, lambda: random.orthogonal(2, dtype=cr.float64, key=random.key(3)))
plain("key", MADE, lambda: random.key(3))
plain("split", MADE, lambda: random.split(random.key(3)))
plain("fold_in", MADE, lambda: random.fold_in(random.key(3), 1))
tool("manual_seed", "a setting of the machine")
tool("Generator", "holds the state of draws without a key")
