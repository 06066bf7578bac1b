"""`chainrule.testing`: what it accepts, what it refuses, and what it says."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import CheckError, ConfigError, DTypeError, ShapeError
from chainrule.ops import REGISTRY
from chainrule.testing import assert_allclose, check_grads, numerical_grad, numerical_jvp, ulp_distance


def doubles(*shape, seed=0, low=0.5, high=1.5):
    return cr.asarray(np.random.default_rng(seed).uniform(low, high, shape))


def message_of(call, error=CheckError) -> str:
    with pytest.raises(error) as caught:
        call()
    return str(caught.value).split("\nrecorded at")[0]


def wrong(monkeypatch, name, rule, change):
    """Spoil a derivative rule of a primitive."""
    kind = REGISTRY[name]
    right = getattr(kind, rule)
    monkeypatch.setattr(kind, rule, lambda self, *args: change(right(self, *args)))


def test_accepts_right_derivatives_of_trees_in_both_modes_to_third_order():
    def f(parameters, scale, rows):
        y = cr.sin(parameters["w"] @ rows) * scale + parameters["b"]
        return {"y": y, "count": cr.sum(rows > 0), "pair": (cr.exp(y).sum(), y**2)}

    args = ({"w": doubles(2, 3), "b": doubles(2, seed=1)}, 0.7, doubles(3, seed=2))
    check_grads(f, args, order=2, directions=1)
    check_grads(lambda x: cr.sin(x) * x, doubles(2), order=3, directions=1)
    check_grads(f, args, modes="rev")
    check_grads(f, args, modes=["fwd"])


def test_accepts_float32_with_its_own_tolerances():
    x = doubles(3, 4).astype(cr.float32)
    check_grads(lambda x: cr.tanh(x) * x, (x,), order=2)


def test_single_argument_without_a_tuple():
    check_grads(cr.tanh, doubles(3))


def test_a_wrong_reverse_rule_is_found(monkeypatch):
    wrong(monkeypatch, "sin", "vjp", lambda parts: tuple(None if p is None else cr.ops_add(p) for p in parts))
    monkeypatch.setattr(cr, "ops_add", lambda p: (cr.Tensor(p) * 1.001)._node, raising=False)
    x = (doubles(3), doubles(3, seed=1))
    text = message_of(lambda: check_grads(lambda a, b: cr.exp(a) * cr.sin(b), x, modes="rev"))
    assert text.startswith("check_grads: reverse mode, direction 0 (seed 0): the slope along it should be ")
    assert "(central difference, eps=6e-06), found " in text
    assert text.endswith("; the gradient of args[1] is furthest off")
    check_grads(lambda a, b: cr.exp(a) * cr.sin(b), x, modes="fwd")


def test_a_wrong_forward_rule_is_found_and_its_element_named(monkeypatch):
    right = REGISTRY["sin"].jvp
    weights = cr.asarray([1.0, 1.0, 1.5])
    monkeypatch.setattr(REGISTRY["sin"], "jvp", lambda self, *args: (cr.Tensor(right(self, *args)) * weights)._node)
    text = message_of(lambda: check_grads(lambda x: {"y": cr.sin(x)}, (doubles(3),)))
    start = "check_grads: forward mode, direction 0 (seed 0): the derivative of output['y'] at [2] should be "
    assert text.startswith(start) and "found" in text and "tolerance" in text


def test_a_difference_too_small_for_central_differences_is_found_between_the_modes(monkeypatch):
    right = REGISTRY["sin"].jvp
    monkeypatch.setattr(REGISTRY["sin"], "jvp", lambda self, *args: (cr.Tensor(right(self, *args)) * (1 + 1e-9))._node)
    text = message_of(lambda: check_grads(cr.sin, (doubles(3),)))
    assert text.startswith("check_grads: forward and reverse mode disagree, direction 0 (seed 0): <w, J v> is ")


def test_second_order_finds_what_first_order_does_not(monkeypatch):
    right = REGISTRY["cos"].vjp

    def spoiled(self, node, cotangent, needed):
        return tuple(None if p is None else (cr.Tensor(p) * 1.01)._node for p in right(self, node, cotangent, needed))

    monkeypatch.setattr(REGISTRY["cos"], "vjp", spoiled)
    check_grads(cr.sin, (doubles(3),))
    text = message_of(lambda: check_grads(cr.sin, (doubles(3),), order=2))
    assert text.startswith("check_grads: reverse mode of ")


def test_a_kink_is_reported_with_its_cure():
    x = cr.asarray([0.0, 1.0])
    with pytest.raises(CheckError, match="help: differences need a function that is smooth near its arguments"):
        check_grads(lambda x: cr.abs(x + 1e-7), (x,))


def test_nan_is_never_close():
    with pytest.raises(CheckError):
        check_grads(lambda x: cr.sqrt(x - 10), (doubles(2),))


def test_refusals():
    assert message_of(lambda: check_grads(cr.sin, (cr.tensor([1, 2]),)), DTypeError) == (
        "check_grads: no argument is floating or complex: there is nothing to differentiate by"
    )
    assert "no floating or complex tensor" in message_of(lambda: check_grads(lambda x: x > 0, doubles(2)), DTypeError)
    assert message_of(lambda: check_grads(cr.sin, doubles(2), modes="both"), ConfigError) == (
        "check_grads: modes are fwd and rev, not ('both',)"
    )
    assert message_of(lambda: check_grads(cr.sin, doubles(2), order=0), ConfigError) == (
        "check_grads: order must be a positive whole number, not 0"
    )
    assert "tangents have structure" in message_of(lambda: numerical_jvp(cr.sin, (1.0,), (1.0, 2.0)), ConfigError)
    x = doubles(2)
    text = message_of(lambda: numerical_jvp(cr.sin, (x,), (doubles(3),)), ShapeError)
    assert text == "numerical_jvp: the tangent of args[0] has shape [3], not [2]"


def test_numerical_derivatives():
    x, t = doubles(3), doubles(3, seed=1)
    np.testing.assert_allclose(numerical_jvp(cr.exp, (x,), (t,)), cr.exp(x) * t, rtol=1e-9)
    both = numerical_jvp(lambda x, n: (x * n, x), (x, 3), (t, 3))
    assert isinstance(both, tuple) and both[0].dtype is cr.float64
    np.testing.assert_allclose(numerical_grad(lambda a, b: (a * b**2).sum(), 1)(x, t), 2 * x * t, rtol=1e-9)
    # lecture 004: (tanh(1.01) - tanh(0.99)) / 0.02
    slope = numerical_jvp(cr.tanh, (1.0,), (1.0,), eps=0.01)
    np.testing.assert_allclose(float(slope), (np.tanh(1.01) - np.tanh(0.99)) / 0.02, rtol=1e-12)


# -- complex ------------------------------------------------------------------------------------------------------

complex_numbers = pytest.mark.skipif(not hasattr(cr, "complex128"), reason="complex numbers are not there yet")


@complex_numbers
def test_complex_functions_both_modes_and_orders():
    z = cr.asarray(np.array([0.3 + 0.4j, -1.1 + 0.2j]))
    check_grads(lambda z: z * z + cr.exp(z), (z,), order=2)
    check_grads(lambda z: cr.abs(z) ** 2 + cr.real(z) * cr.imag(z), (z,), order=2)
    check_grads(lambda z, x: cr.conj(z) * x, (z, doubles(2)), order=2)
    slope = numerical_grad(lambda z: (cr.abs(z) ** 2).sum())(z)
    np.testing.assert_allclose(slope, 2 * z.numpy(), rtol=1e-8)  # df/dx + i df/dy


# -- arrays -------------------------------------------------------------------------------------------------------


def test_ulp_distance():
    for dtype in (np.float16, np.float32, np.float64):
        tiny = np.finfo(dtype).smallest_subnormal
        a = np.array([1, 0.0, -tiny, np.nan, np.nan, np.inf], dtype)
        b = np.array([np.nextafter(dtype(1), dtype(2)), -0.0, tiny, np.nan, 1, np.finfo(dtype).max], dtype)
        assert ulp_distance(a, b).tolist() == [1, 0, 2, 0, np.inf, 1]
    assert ulp_distance(cr.tensor([1.0]).astype(cr.bfloat16), [1 + 2**-7]).tolist() == [1.0]
    assert ulp_distance(np.array([-1.0]), np.array([1.0]))[0] == 2.0 * 0x3FF0000000000000
    with pytest.raises(DTypeError, match="int64 has no units in the last place"):
        ulp_distance(np.array([1]), np.array([1]))


def test_assert_allclose_accepts():
    x = cr.tensor([1.0, 2.0])
    assert_allclose(x, [1.0, 2.000001])
    assert_allclose(x, np.nextafter(x.numpy(), np.float32(9)), ulp=1)
    assert_allclose(cr.tensor([np.nan, np.inf]), [np.nan, np.inf])
    assert_allclose({"a": x, "b": (x, 3)}, {"a": x, "b": (x, 3)})
    assert_allclose(cr.ones((2, 2)), 1.0)
    assert_allclose([1.0, 2.0], [1.0, 2.0])
    assert_allclose(cr.tensor([2**62]), [2**62])
    assert_allclose(cr.tensor([True]), [True])
    assert_allclose(x, [1.5, 2.5], atol=0.5)


def test_assert_allclose_says_where_and_how_far():
    actual = cr.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert message_of(lambda: assert_allclose(actual, [[1.0, 2.0], [3.000002, 4.5]])) == (
        "assert_allclose: 1 of 4 elements differ, the worst at [1, 1]: 4.0 instead of 4.5, off by 0.5, 1048576 ulp of "
        "float32; rtol=1e-05, atol=0; actual is float32[2, 2], desired float64[2, 2]"
    )
    assert message_of(lambda: assert_allclose(actual, [[1.0, 2.0], [3.000002, 4.0]], ulp=4)) == (
        "assert_allclose: 1 of 4 elements differ, the worst at [1, 0]: 3.0 instead of 3.000002, off by 2e-06, 8 ulp of "
        "float32; rtol=0, atol=0, ulp=4; actual is float32[2, 2], desired float64[2, 2]"
    )
    assert message_of(lambda: assert_allclose(cr.tensor(1.0), np.nan)) == (
        "assert_allclose: 1 of 1 elements differ, the worst: 1.0 instead of nan, off by inf, one of them NaN; "
        "rtol=1e-05, atol=0; actual is float32[], desired float64[]"
    )
    assert message_of(lambda: assert_allclose(actual, [1.0, 2.0])) == (
        "assert_allclose: the shapes differ: actual is float32[2, 2], desired float64[2]"
    )
    text = message_of(lambda: assert_allclose({"a": cr.tensor([2**62 + 1])}, {"a": cr.tensor([2**62])}))
    assert "actual['a'] is int64[1]" in text and "off by 1" in text
    assert_raises_structure()


def assert_raises_structure():
    with pytest.raises(ConfigError, match="assert_allclose: actual is "):
        assert_allclose({"a": cr.ones(2)}, {"b": cr.ones(2)})
