"""Functions with derivatives written by hand: every transformation uses the rule, to every order."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError, ConfigError, DifferentiationError, DTypeError, ForwardModeError, ShapeError

F64 = cr.float64
X = cr.asarray(np.random.default_rng(2).normal(size=4))
S = cr.tensor(0.6, dtype=F64)
ONE = cr.tensor(1.0, dtype=F64)


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-11, atol=1e-12)


def tripled(kind: str) -> Any:
    """sin(x) y with a rule of three times the derivative by x, so that it shows whether the rule is used."""
    if kind == "jvp":

        @cr.custom_jvp
        def f(x: Any, y: Any) -> Any:
            return cr.sin(x) * y

        @f.defjvp
        def rule(primals: Any, tangents: Any) -> Any:
            (x, y), (s, t) = primals, tangents
            return f(x, y), 3 * cr.cos(x) * y * s + cr.sin(x) * t

        return f

    @cr.custom_vjp
    def g(x: Any, y: Any) -> Any:
        return cr.sin(x) * y

    g.defvjp(
        lambda x, y: (g(x, y), {"x": x, "y": (y, "text")}),
        lambda kept, c: (3 * cr.cos(kept["x"]) * kept["y"][0] * c, cr.sin(kept["x"]) * c),
    )
    return g


KINDS = pytest.mark.parametrize("kind", ["jvp", "vjp"])
WRAPS = pytest.mark.parametrize("wrap", [lambda f: f, cr.compile], ids=["uncompiled", "compiled"])


@KINDS
@WRAPS
def test_reverse_mode(kind: str, wrap: Any) -> None:
    f = tripled(kind)
    x, y = np.asarray(S), 2.0
    two = cr.tensor(2.0, dtype=F64)
    to_x, to_y = wrap(cr.grad(f, argnums=(0, 1)))(S, two)
    close(to_x, 3 * np.cos(x) * y)
    close(to_y, np.sin(x))
    close(f(S, two), np.sin(x) * y)
    close(wrap(cr.grad(cr.grad(f)))(S, two), -3 * np.sin(x) * y)
    close(wrap(cr.grad(cr.grad(cr.grad(f))))(S, two), -3 * np.cos(x) * y)
    close(wrap(cr.grad(lambda x: f(x, two) ** 2))(S), 2 * np.sin(x) * y * 3 * np.cos(x) * y)
    # the derivative of the value is the rule's again, that of the rule the ordinary one
    second = 2 * (3 * np.cos(x) * y) ** 2 - 2 * np.sin(x) * y * 3 * np.sin(x) * y
    for outer in (cr.jacrev, cr.grad, cr.hessian):
        inner = (lambda f: f) if outer is cr.hessian else cr.grad
        close(wrap(outer(inner(lambda x: f(x, two) ** 2)))(S), second)
    close(wrap(lambda x: cr.hvp(lambda x: f(x, two) ** 2, (x,), (ONE,)))(S), second)
    leaf = cr.tensor(0.6, dtype=F64, requires_grad=True)
    f(leaf, two).backward()
    close(leaf.grad, 3 * np.cos(x) * y)


@KINDS
@WRAPS
def test_batched(kind: str, wrap: Any) -> None:
    f = tripled(kind)
    x, two = X.numpy(), cr.tensor(2.0, dtype=F64)
    expected = 3 * np.cos(x) * 2
    close(wrap(cr.vmap(cr.grad(f), in_axes=(0, None)))(X, two), expected)
    close(wrap(cr.grad(lambda x: cr.vmap(f, in_axes=(0, None))(x, two).sum()))(X), expected)
    # an argument that all examples share gets the sum
    close(wrap(cr.grad(lambda y: cr.vmap(f, in_axes=(0, None))(X, y).sum()))(two), np.sin(x).sum())
    close(wrap(cr.vmap(cr.grad(cr.grad(f)), in_axes=(0, None)))(X, two), -3 * np.sin(x) * 2)
    nested = cr.vmap(cr.vmap(f, in_axes=(0, None)), in_axes=(None, 0))
    close(wrap(cr.grad(lambda y: nested(X, y).sum()))(X), np.full(4, np.sin(x).sum()))
    close(wrap(cr.jacrev(lambda x: cr.vmap(f, in_axes=(0, None))(x, two)))(X), np.diag(expected))
    per_row = cr.vmap(cr.grad(lambda r: cr.vmap(f)(r, r).sum()))(cr.stack([X, X]))
    close(per_row[1], 3 * np.cos(x) * x + np.sin(x))


@KINDS
@WRAPS
def test_in_loops_and_checkpoints(kind: str, wrap: Any) -> None:
    f = tripled(kind)
    xs = cr.asarray(np.array([0.5, 1.5, 2.0]))

    def looped(x: Any) -> Any:
        return cr.scan(lambda c, y: (f(c, y), None), x, xs)[0] ** 2

    def unrolled(x: Any) -> Any:
        for y in (0.5, 1.5, 2.0):
            x = f(x, cr.tensor(y, dtype=F64))
        return x**2

    value, gradient = wrap(cr.value_and_grad(looped))(S)
    expected = cr.value_and_grad(unrolled)(S)
    close(value, expected[0])
    close(gradient, expected[1])
    close(wrap(cr.grad(cr.grad(looped)))(S), cr.grad(cr.grad(unrolled))(S))
    close(wrap(cr.hessian(looped))(S), cr.grad(cr.grad(unrolled))(S))
    close(wrap(cr.grad(lambda x: cr.checkpoint(unrolled, x)))(S), expected[1])
    close(wrap(cr.hessian(lambda x: cr.checkpoint(unrolled, x)))(S), cr.grad(cr.grad(unrolled))(S))
    close(wrap(cr.vmap(cr.grad(looped)))(X)[2], cr.grad(unrolled)(X[2]))


@WRAPS
def test_forward_mode(wrap: Any) -> None:
    f = tripled("jvp")
    two = cr.tensor(2.0, dtype=F64)
    x = float(S)
    value, moved = wrap(lambda x, t: cr.jvp(f, (x, two), (t, 0.0)))(S, ONE)
    close(value, np.sin(x) * 2)
    close(moved, 3 * np.cos(x) * 2)
    close(wrap(cr.jacfwd(f))(S, two), 3 * np.cos(x) * 2)
    close(wrap(cr.jacfwd(cr.jacfwd(f)))(S, two), -3 * np.sin(x) * 2)
    close(wrap(cr.jacfwd(cr.grad(f)))(S, two), -3 * np.sin(x) * 2)
    close(wrap(cr.grad(cr.jacfwd(f)))(S, two), -3 * np.sin(x) * 2)
    close(wrap(cr.vmap(cr.jacfwd(f), in_axes=(0, None)))(X, two), 3 * np.cos(X.numpy()) * 2)
    close(wrap(cr.jacfwd(lambda x: cr.vmap(f, in_axes=(0, None))(x, two)))(X), np.diag(3 * np.cos(X.numpy()) * 2))
    looped = lambda x: cr.scan(lambda c, y: (f(c, y), None), x, X)[0]  # noqa: E731
    close(wrap(cr.jacfwd(looped))(S), cr.grad(looped)(S))


def test_forward_mode_without_a_rule() -> None:
    f = tripled("vjp")
    two = cr.tensor(2.0, dtype=F64)
    for call in (
        lambda: cr.jvp(f, (S, two), (ONE, ONE)),
        lambda: cr.jacfwd(f)(S, two),
        lambda: cr.linearize(f, S, two)[1](ONE, ONE),
        lambda: cr.grad(cr.jacfwd(f))(S, two),
        lambda: cr.jacfwd(lambda x: cr.vmap(f, in_axes=(0, None))(x, two))(X),
        lambda: cr.jacfwd(cr.grad(lambda x: f(x, two) ** 2))(S),
        # inside of another function's gradient, but not differentiated by it
        lambda: cr.jacfwd(lambda x: cr.grad(lambda w: w * f(x, two))(ONE))(S),
    ):
        with pytest.raises(ForwardModeError) as caught:
            call()
        first, where, help = str(caught.value).splitlines()
        assert first.startswith(
            "custom_vjp: g has a rule for reverse mode alone, forward mode cannot use it; operands "
        )
        assert "test_custom.py:" in where
        expected = "help: use grad, vjp or jacrev, or define the function with custom_jvp, which serves both modes"
        assert help == expected
    # forward over a reverse-mode derivative that does not depend on the value: nothing is left to the rule
    close(cr.jacfwd(cr.grad(f))(S, two), -3 * np.sin(float(S)) * 2)


@KINDS
def test_trees_and_other_arguments(kind: str) -> None:
    def plain(power: Any, p: Any, label: Any) -> Any:
        return {"y": p["a"] ** power * p["b"], "label": cr.zeros((), dtype=cr.int32)}

    p = {"a": X, "b": cr.asarray(np.ones(4) * 2)}
    if kind == "jvp":
        f = cr.custom_jvp(plain, nondiff_argnums=(0, 2))

        def rule(power: Any, label: Any, primals: Any, tangents: Any) -> Any:
            assert label == "text" and power == 3
            (p,), (t,) = primals, tangents
            return f(power, p, label), {"y": 10 * t["a"] * p["b"], "label": None}

        f.defjvp(rule)
    else:
        f = cr.custom_vjp(nondiff_argnums=(0, 2))(plain)

        def bwd(power: Any, label: Any, kept: Any, c: Any) -> Any:
            assert label == "text" and power == 3 and c["label"].dtype == cr.int32
            return ({"a": 10 * c["y"] * kept["b"], "b": None},)

        f.defvjp(lambda power, p, label: (plain(power, p, label), p), bwd)
    gradient = cr.grad(lambda p: f(3, p, label="text")["y"].sum())(p)
    close(gradient["a"], np.full(4, 20))
    close(gradient["b"], np.zeros(4))
    close(f(3, p, "text")["y"], X.numpy() ** 3 * 2)


def test_methods_and_defjvps() -> None:
    class Layer:
        scale = 4.0

        @cr.custom_jvp(nondiff_argnums=(0,))
        def apply(self, x: Any) -> Any:
            return x * self.scale

    Layer.apply.defjvp(lambda self, p, t: (self.apply(*p), 7 * t[0]))
    close(cr.grad(lambda x: Layer().apply(x))(S), 7)

    @cr.custom_jvp
    def product(a: Any, b: Any, c: Any) -> Any:
        return a * b + c

    product.defjvps(lambda t, out, a, b, c: 5 * t * b, None, lambda t, out, a, b, c: t + 0 * out)
    close(cr.jacrev(product, argnums=(0, 1, 2))(S, S, S), [5 * float(S), 0, 1])
    assert product.__name__ == "product"


def test_integer_arguments_and_results() -> None:
    @cr.custom_vjp
    def pick(x: Any, i: Any) -> Any:
        return x[i], i + 1

    pick.defvjp(lambda x, i: (pick(x, i), (x, i)), lambda kept, c: (kept[0] * 0 + c[0], None))
    close(cr.grad(lambda x: pick(x, cr.tensor(1))[0] * 2)(X), np.full(4, 2))


def test_complex_numbers_follow_the_convention_of_the_faces() -> None:
    """bwd is given and returns gradients as grad returns them."""
    z = cr.asarray(np.array([1.0 + 2j, -0.5 + 1j]))
    w = np.array([0.3 - 1j, 2.0 + 0.5j])

    @cr.custom_vjp
    def times(z: Any) -> Any:
        return z * cr.asarray(w)

    times.defvjp(lambda z: (times(z), None), lambda _, c: (c * cr.asarray(w.conj()),))
    plain = cr.grad(lambda z: (abs(z * cr.asarray(w)) ** 2).sum())(z)
    close(cr.grad(lambda z: (abs(times(z)) ** 2).sum())(z), plain)


def test_random_draws_in_a_rule_differ_by_lane() -> None:
    @cr.custom_vjp
    def f(x: Any) -> Any:
        return x

    f.defvjp(lambda x: (x, None), lambda _, c: (c * cr.rand((), dtype=F64),))
    for gradient in (cr.vmap(cr.grad(f)), cr.grad(lambda x: cr.vmap(f)(x).sum())):
        found = gradient(X).numpy()
        assert len(set(found.tolist())) == 4


def test_programs_are_found_again() -> None:
    """Calls with equal rules share their markers, so that uncompiled code does not compile anew each time."""
    from chainrule import runtime

    f = tripled("vjp")
    gradient = cr.grad(f)
    two = cr.tensor(2.0, dtype=F64)
    float(gradient(S, two))
    count = len(runtime._programs)
    for _ in range(3):
        float(gradient(S, two))
    assert len(runtime._programs) == count


def vjp_with(bwd: Any, fwd: Any = None) -> Any:
    @cr.custom_vjp
    def f(x: Any) -> Any:
        return x * 2

    f.defvjp(fwd or (lambda x: (x * 2, x)), bwd)
    return cr.grad(lambda x: f(x).sum())


def jvp_with(rule: Any, transform: Any = None, function: Any = None) -> Any:
    def f(x: Any) -> Any:
        return x * 2

    f = cr.custom_jvp(function or f)
    f.defjvp(rule)
    return (transform or cr.jacfwd)(lambda x: f(x).sum())


@dataclass
class Power:
    """A tree whose rule depends on what is no leaf."""

    x: Any
    exponent: Any = field(default=1, metadata={"static": True})


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
def test_the_rule_of_each_call_has_its_own_static_fields(kind: str) -> None:
    def function(p: Power) -> Any:
        return (p.x**p.exponent).sum()

    f: Any
    if kind == "jvp":
        f = cr.custom_jvp(function)
        f.defjvp(lambda p, t: (f(p[0]), (p[0].exponent * t[0].x).sum()))
    else:
        f = cr.custom_vjp(function)
        f.defvjp(lambda p: (f(p), p), lambda p, ct: (Power(ct * p.exponent * cr.ones_like(p.x), p.exponent),))
    for exponent in (2, 5, 3):
        close(cr.grad(f)(Power(X, exponent)).x, np.full(4, float(exponent)))


@pytest.mark.parametrize("itself", [True, False])
def test_second_derivatives_of_a_rule_that_is_no_derivative(itself: bool) -> None:
    f = cr.custom_vjp(cr.sign)
    f.defvjp(lambda x: (f(x) if itself else cr.sign(x), x), lambda x, ct: (ct * (abs(x) < 1).astype(x.dtype),))
    x = cr.asarray(np.array([0.5, -0.2, 7.0]))
    again = np.diag([2.0, 2.0, 0.0])  # the rule, used for the result in the first derivative

    def squares(x: Any) -> Any:
        return (f(x) ** 2).sum()

    close(cr.jacrev(cr.grad(squares))(x), again)
    close(cr.hessian(squares)(x), again if itself else np.zeros((3, 3)))


def test_equal_arguments_of_different_types_and_signs_are_told_apart() -> None:
    @functools.partial(cr.custom_jvp, nondiff_argnums=(0,))
    def f(factors: Any, x: Any) -> Any:
        return x * factors[0]

    @f.defjvp
    def rule(factors: Any, primals: Any, tangents: Any) -> Any:
        whole = isinstance(factors[0], int)
        return f(factors, *primals), tangents[0] * (3.0 if whole else float(np.copysign(1.0, factors[0])))

    for factors, wanted in (((0,), 3.0), ((0.0,), 1.0), ((-0.0,), -1.0), ((np.float64(-0.0),), -1.0)):
        close(cr.grad(lambda x, factors=factors: f(factors, x))(S), wanted)


W = cr.tensor([1.0, 2.0], dtype=F64, requires_grad=True)
MESSAGES: list[tuple[Callable[[], Any], type[ChainruleError], list[str]]] = [
    (
        lambda: cr.grad(cr.custom_vjp(lambda x: x))(S),
        ConfigError,
        ["custom_vjp: <lambda> has no rule", "help: give it one with defvjp(fwd, bwd)"],
    ),
    (
        lambda: cr.grad(cr.custom_jvp(lambda x: x))(S),
        ConfigError,
        ["custom_jvp: <lambda> has no rule", "help: give it one with defjvp(rule)"],
    ),
    (lambda: cr.custom_vjp(3), ConfigError, ["custom_vjp: function is no function but int"]),
    (
        lambda: cr.custom_vjp(lambda x, mode: x)(X, "text"),
        DTypeError,
        ["custom_vjp: args[1] of <lambda> is str, not a tensor", "help: name it in nondiff_argnums=(1,)"],
    ),
    (
        lambda: cr.custom_jvp(lambda x: x, nondiff_argnums=(3,))(X),
        ConfigError,
        ["custom_jvp: nondiff_argnums names argument 3 of <lambda>, there are 1"],
    ),
    (
        lambda: vjp_with(lambda x, c: c)(X),
        ConfigError,
        [
            "custom_vjp: the rule of f has to return a tuple of 1 cotangents, not Tensor",
            "help: one for each argument, None for zero",
        ],
    ),
    (
        lambda: vjp_with(lambda x, c: (c, c))(X),
        ConfigError,
        [
            "custom_vjp: the rule of f has to return a tuple of 1 cotangents, not 2 entries",
            "help: one for each argument, None for zero",
        ],
    ),
    (
        lambda: vjp_with(lambda x, c: ({"k": c},))(X),
        ConfigError,
        ["custom_vjp: a cotangent from the rule of f has structure dict('k': *), not *"],
    ),
    (
        lambda: vjp_with(lambda x, c: (c.sum(),))(X),
        ShapeError,
        ["custom_vjp: the cotangent of args[0] from f has shape [], not [4]; operands float64[]"],
    ),
    (
        lambda: vjp_with(lambda x, c: (c.astype(cr.float32),))(X),
        DTypeError,
        [
            "custom_vjp: the cotangent of args[0] from f has dtype float32, not float64; operands float32[4]",
            "help: convert with .astype(...)",
        ],
    ),
    (
        lambda: vjp_with(lambda x, c: (c,), lambda x: x)(X),
        ConfigError,
        ["custom_vjp: fwd of f has to return a pair (output, residuals), not Tensor"],
    ),
    (
        lambda: jvp_with(lambda p, t: t[0])(X),
        ConfigError,
        ["custom_jvp: the rule of f has to return a pair (output, tangent), not Tensor"],
    ),
    (
        lambda: jvp_with(lambda p, t: (p[0], [t[0]]))(X),
        ConfigError,
        ["custom_jvp: the tangent from the rule of f has structure list(*), not *"],
    ),
    (
        lambda: jvp_with(lambda p, t: (p[0], t[0].sum()))(X),
        ShapeError,
        ["custom_jvp: the tangent output 0 from f has shape [], not [4]; operands float64[]"],
    ),
    (
        lambda: jvp_with(lambda p, t: (p[0], t[0] ** 2), cr.grad)(X),
        DifferentiationError,
        [
            "custom_jvp: the tangents that the rule of f returns are not linear in those it is given;"
            " operands float64[4]",
            "help: reverse mode transposes the rule: multiply tangents by functions of the primals and add them",
        ],
    ),
    (
        lambda: jvp_with(lambda p, t: (p[0], t[0]), function=lambda x: x * W.sum())(X),
        DifferentiationError,
        [
            "custom_jvp: <lambda> uses a tensor that requires gradients and is none of its arguments;"
            " operands float64[2]",
            "help: pass it as an argument, since the rule returns gradients of arguments alone, or detach() it",
        ],
    ),
    (
        lambda: cr.compile(vjp_with(lambda x, c: (c,), lambda x: (x * W.sum(), None)))(X),
        DifferentiationError,
        [
            "custom_vjp: f uses a tensor that requires gradients and is none of its arguments; operands float64[2]",
            "help: pass it as an argument, since the rule returns gradients of arguments alone, or detach() it",
        ],
    ),
    (
        lambda: vjp_with(lambda x, c: (c,), lambda x: (x * W.sum(), None))(X),
        DifferentiationError,
        [
            "custom_vjp: f uses a tensor that requires gradients and is none of its arguments; operands float64[2]",
            "help: pass it as an argument, since the rule returns gradients of arguments alone, or detach() it",
        ],
    ),
]


@pytest.mark.parametrize(("call", "kind", "lines"), MESSAGES)
def test_messages(call: Callable[[], Any], kind: type[ChainruleError], lines: list[str]) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert [line for line in str(caught.value).splitlines() if not line.startswith("recorded at ")] == lines
