"""Transformations inside transformations, drawn at random: every stack of them leaves the function what it is.

Each wrapper gives a function with the same values and derivatives; after some of them in a random order, every
derivative has to be what it is without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ForwardModeError

Function = Callable[[Any], Any]
X = cr.asarray(np.random.default_rng(0).normal(size=3))
V = cr.asarray(np.random.default_rng(1).normal(size=3))


def base(x: Any) -> Any:
    return cr.tanh(x * x.sum()) + cr.sin(x[::-1]) * x


def by_vmap(f: Function) -> Function:
    return lambda x: cr.vmap(lambda scale: f(x * scale))(cr.ones(2, dtype=cr.float64))[1]


def by_shared_vmap(f: Function) -> Function:
    return lambda x: cr.vmap(f, in_axes=None, out_axes=None, axis_size=2)(x)


def by_scan(f: Function) -> Function:
    def g(x: Any) -> Any:
        return cr.scan(lambda carry, s: (f(carry * s), carry), x, cr.ones(1, dtype=cr.float64))[0]

    return g


def by_stacking_scan(f: Function) -> Function:
    def g(x: Any) -> Any:
        return cr.scan(lambda carry, s: (carry, f(x * s + carry)), cr.zeros(3, dtype=cr.float64),
                       cr.ones(2, dtype=cr.float64))[1][1]  # fmt: skip

    return g


def by_checkpoint(f: Function) -> Function:
    return cr.checkpoint(f, policy=None)


def by_keeping_checkpoint(f: Function) -> Function:
    return cr.checkpoint(f, policy=lambda operation: operation.primitive in ("tanh", "mul"))


def by_cond(f: Function) -> Function:
    return lambda x: cr.cond((x * x).sum() > 0, f, lambda x: x * 7, x)


def by_custom_jvp(f: Function) -> Function:
    g = cr.custom_jvp(f)
    g.defjvp(lambda primals, tangents: cr.jvp(f, primals, tangents))
    return g


def by_custom_vjp(f: Function) -> Function:
    g = cr.custom_vjp(f)
    g.defvjp(lambda x: (g(x), x), lambda x, cotangent: cr.vjp(f, x)[1](cotangent))
    return g


def by_compile(f: Function) -> Function:
    return cr.compile(f)


def by_linearize(f: Function) -> Function:
    """f(x) through the derivative of s -> s f(x) at any s."""
    return lambda x: cr.linearize(lambda s: s * f(x), cr.tensor(0.5, dtype=cr.float64))[1](1.0)


def by_grad(f: Function) -> Function:
    """f(x) as the gradient of the inner product with it."""
    return lambda x: cr.grad(lambda c: (c * f(x)).sum())(cr.ones(3, dtype=cr.float64))


WRAPPERS = [
    by_vmap, by_shared_vmap, by_scan, by_stacking_scan, by_checkpoint, by_keeping_checkpoint, by_cond, by_custom_jvp,
    by_compile, by_linearize, by_grad, by_custom_vjp,
]  # fmt: skip


def loss(f: Function) -> Function:
    return lambda x: (f(x) ** 2).sum()


def found(f: Function, forwards: bool) -> list[np.ndarray]:
    """The value and derivatives of first and second order, by several routes."""
    results = [
        f(X),
        cr.grad(loss(f))(X),
        cr.jacrev(f)(X),
        cr.hessian(loss(f))(X),
        cr.hvp(loss(f), (X,), (V,)),
        cr.jacrev(cr.grad(loss(f)))(X),
        cr.vmap(cr.grad(loss(f)))(cr.stack([X, V]))[0],
        cr.compile(cr.hessian(loss(f)))(X),
    ]
    if forwards:
        results += [cr.jvp(f, (X,), (V,))[1], cr.jacfwd(f)(X), cr.vmap(cr.jacfwd(f))(cr.stack([V, X]))[1]]
    return [result.numpy() for result in results]


def check(chosen: list[Callable[[Function], Function]]) -> None:
    f: Function = base
    for wrapper in chosen:
        f = wrapper(f)
    forwards = by_custom_vjp not in chosen
    if not forwards and by_custom_jvp in chosen[chosen.index(by_custom_vjp) :]:
        with pytest.raises(ForwardModeError):  # the rule of one would go forwards through the other
            cr.grad(loss(f))(X)
        return
    for actual, expected in zip(found(f, forwards), found(base, forwards), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("wrapper", [by_stacking_scan, by_custom_vjp])
def test_one(wrapper: Any) -> None:
    check([wrapper])


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_each(wrapper: Any, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--slow"):
        pytest.skip("with --slow")
    check([wrapper])


@pytest.mark.parametrize("seed", range(3))
def test_several(seed: int) -> None:
    generator = np.random.default_rng(seed)
    check([WRAPPERS[i] for i in generator.integers(0, len(WRAPPERS), 3)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 60))
def test_many(seed: int, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("--slow"):
        pytest.skip("with --slow")
    generator = np.random.default_rng(seed)
    check([WRAPPERS[i] for i in generator.integers(0, len(WRAPPERS), 2 + seed % 3)])
