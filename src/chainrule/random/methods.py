"""The draws as methods of `Generator`, under NumPy's names: `size` for the shape, `loc` and `scale` of the normal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from . import choices, continuous, counts, gammas, uniforms, vectors
from .keys import Generator

#: method -> (function, NumPy's names of arguments -> ours)
METHODS: dict[str, tuple[Callable[..., Tensor], dict[str, str]]] = {
    "random": (lambda shape=(), **rest: uniforms.rand(shape, **rest), {}),
    "integers": (choices.integers, {}),
    "normal": (uniforms.normal, {"loc": "mean", "scale": "std"}),
    "standard_normal": (lambda shape=(), **rest: uniforms.randn(shape, **rest), {}),
    "standard_exponential": (lambda shape=(), **rest: continuous.exponential(1.0, shape, **rest), {}),
    "standard_gamma": (lambda a, shape=None, **rest: gammas.gamma(a, 1.0, shape, **rest), {"shape": "a"}),
    "standard_cauchy": (lambda shape=(), **rest: continuous.cauchy(0.0, 1.0, shape, **rest), {}),
    "gamma": (gammas.gamma, {"shape": "a"}),
    "permutation": (uniforms.permutation, {}),
    "bernoulli": (uniforms.bernoulli, {}),
    "uniform": (uniforms.uniform, {}),
    **{
        name: (getattr(file, name), {})
        for file, names in (
            (continuous, "cauchy exponential gumbel laplace logistic lognormal pareto power rayleigh triangular "
             "truncated_normal vonmises weibull"),
            (gammas, "beta chisquare dirichlet f loggamma standard_t"),
            (counts, "binomial geometric negative_binomial poisson rademacher"),
            (choices, "categorical choice multinomial"),
            (vectors, "ball multivariate_normal orthogonal"),
        )
        for name in names.split()
    },
}  # fmt: skip


def _method(name: str, function: Callable[..., Tensor], names: dict[str, str]) -> Callable[..., Tensor]:
    def method(self: Generator, *values: Any, **settings: Any) -> Tensor:
        for old, new in names.items():
            if old in settings:
                settings[new] = settings.pop(old)
        if "size" in settings:
            size = settings.pop("size")
            if size is not None or name not in ("random", "integers", "choice"):
                settings["shape"] = size
        return function(*values, generator=self, **settings)

    method.__name__, method.__qualname__ = name, f"Generator.{name}"
    method.__doc__ = f"`chainrule.random.{name}` with bits of this generator; `size` is the shape."
    return method


for _name, (_function, _names) in METHODS.items():
    setattr(Generator, _name, _method(_name, _function, _names))
