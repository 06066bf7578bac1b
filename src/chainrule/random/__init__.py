"""Random numbers that depend only on seed, draw and position: Philox4x32-10, never on threads, batches or compilation.

A generator is a state (seed, counter), uint64[2]; each draw takes the state as its key and adds 1 to the counter.
Inside `vmap` the key is folded with the lane, inside `scan` with the iteration, so that these draw different numbers.
A key that is given to a draw as ``key=`` is used as it is.
"""

from .choices import categorical, choice, integers, multinomial
from .continuous import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    pareto,
    power,
    rayleigh,
    triangular,
    truncated_normal,
    vonmises,
    weibull,
)
from .counts import binomial, geometric, negative_binomial, poisson, rademacher
from .gammas import beta, chisquare, dirichlet, f, gamma, loggamma, standard_t
from .keys import Generator, default_generator, fold_in, key, manual_seed, split
from .methods import METHODS as _METHODS
from .uniforms import bernoulli, normal, permutation, rand, rand_like, randint, randn, randn_like, randperm, uniform
from .vectors import ball, multivariate_normal, orthogonal

__all__ = [
    "Generator", "ball", "bernoulli", "beta", "binomial", "categorical", "cauchy", "chisquare", "choice",
    "default_generator", "dirichlet", "exponential", "f", "fold_in", "gamma", "geometric", "gumbel", "integers", "key",
    "laplace", "loggamma", "logistic", "lognormal", "manual_seed", "multinomial", "multivariate_normal",
    "negative_binomial", "normal", "orthogonal", "pareto", "permutation", "poisson", "power", "rademacher", "rand",
    "rand_like", "randint", "randn", "randn_like", "randperm", "rayleigh", "split", "standard_t", "triangular",
    "truncated_normal", "uniform", "vonmises", "weibull",
]  # fmt: skip
