"""Special functions: derivatives of any order, batches, other spellings, refusals."""

import numpy as np
import pytest
from scipy import special as reference

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, ShapeError

from .test_special import inf, special, spread


def higher(function, order):
    for _ in range(order):
        function = (lambda f: lambda x: cr.grad(lambda t: cr.sum(f(t)))(x))(function)
    return function


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_at_zero(order):
    """Where a quotient by x stands in the rule: the coefficients of the power series."""
    series = {
        "j0": [1, 0, -1 / 2, 0, 3 / 8],
        "j1": [0, 1 / 2, 0, -3 / 8, 0],
        "i0": [1, 0, 1 / 2, 0, 3 / 8],
        "i1": [0, 1 / 2, 0, 3 / 8, 0],
        "sinc": [1, 0, -(np.pi**2) / 3, 0, np.pi**4 / 5],
        "softplus": [np.log(2), 1 / 2, 1 / 4, 0, -1 / 8],
        "log_ndtr": [None, np.sqrt(2 / np.pi), -2 / np.pi],
    }
    for name, values in series.items():
        if order < len(values):
            found = float(higher(getattr(special, name), order)(cr.asarray(np.zeros(1)))[0])
            assert found == pytest.approx(values[order], abs=1e-13), name


ONE_BY_ONE = {
    "gamma": 2.3, "lgamma": 1.7, "digamma": 2.2, "erfc": 0.4, "erfcx": 1.2, "erfinv": 0.3, "erfcinv": 0.7, "ndtr": 0.5,
    "log_ndtr": -2.0, "ndtri": 0.2, "j0": 3.0, "j1": 9.0, "y0": 2.0, "y1": 4.0, "i0": 1.5, "i1": 2.5, "i0e": 1.5,
    "i1e": 2.5, "k0": 0.8, "k1": 2.5, "k0e": 0.8, "k1e": 2.5, "sinc": 1.3, "logit": 0.3, "softplus": 0.4, "entr": 0.7,
    "log_expit": 0.2, "exp2": 1.1, "factorial": 1.6, "zeta": 3.2,
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_third_derivative(name):
    """Against differences of the second one."""
    function, x, step = getattr(special, name), ONE_BY_ONE[name], 1e-5
    second = higher(function, 2)
    ahead, behind = (float(second(cr.asarray(np.array([x + s])))[0]) for s in (step, -step))
    found = float(higher(function, 3)(cr.asarray(np.array([x])))[0])
    assert found == pytest.approx((ahead - behind) / (2 * step), rel=1e-6, abs=1e-7)


SEVERAL = {
    "betaln": (2.5, 9.5), "beta": (2.5, 3.5), "xlogy": (1.3, 0.7), "xlog1py": (1.3, 0.7), "rel_entr": (0.4, 0.9),
    "kl_div": (0.4, 0.9), "zeta": (2.4, 1.7), "binom": (5.5, 2.2), "gammainc": (2.2, 1.4), "gammaincc": (0.4, 0.3),
    "betainc": (1.4, 0.6, 0.7),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_partial_derivatives(name):
    """First derivatives against differences of values, second against differences of first, in each operand."""
    function, point = getattr(special, name), np.array(SEVERAL[name])

    def value(v):
        return function(*(v[i] for i in range(len(point))))

    def at(f, v):
        return f(cr.asarray(v)).numpy()

    gradient = cr.grad(value)
    steps = np.eye(len(point)) * 1e-5
    first = np.array([(at(value, point + s) - at(value, point - s)) / 2e-5 for s in steps])
    np.testing.assert_allclose(at(gradient, point), first, rtol=1e-6, atol=1e-8)
    second = np.array([(at(gradient, point + s) - at(gradient, point - s)) / 2e-5 for s in steps])
    rows = [cr.grad(lambda v, i=i: gradient(v)[i])(cr.asarray(point)).numpy() for i in range(len(point))]
    np.testing.assert_allclose(np.stack(rows), second, rtol=1e-6, atol=1e-8)


def test_tails_keep_their_derivatives():
    """Derivatives of erfcx and second ones of log_ndtr far out, in float32 too: -1 in the limit."""
    x = np.array([2.4, 2.6, 4.0, 30.0, 1e3, 1e6])
    slope = cr.grad(lambda x: cr.sum(special.erfcx(x)))(cr.asarray(x)).numpy()
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        expected = [
            float(2 * v * mpmath.exp(v * v) * mpmath.erfc(v) - 2 / mpmath.sqrt(mpmath.pi))
            for v in map(mpmath.mpf, x[:4])
        ]
    np.testing.assert_allclose(slope[:4], expected, rtol=1e-14)
    np.testing.assert_allclose(slope[4:], -1 / (np.sqrt(np.pi) * x[4:] ** 2), rtol=2e-6)
    for dtype in ("float32", "float64"):
        u = np.array([-30.0, -1e3, -1e5], dtype)
        second = higher(special.log_ndtr, 2)(cr.asarray(u)).numpy()
        np.testing.assert_allclose(second, -1 + 1 / u.astype(float) ** 2, rtol=1e-5)
    third = float(higher(special.erfcx, 3)(cr.asarray(np.array([50.0])))[0])
    assert third == pytest.approx(-6 / (np.sqrt(np.pi) * 50.0**4) * (1 - 5 / 50.0**2), rel=1e-4)


def test_derivatives_at_the_ends():
    """Of P(a, x) at x = 0, and of entropies where the logarithm is infinite."""
    a, x = cr.asarray([0.5, 1.0, 3.0]), cr.zeros(3)
    slope = cr.grad(lambda x: cr.sum(special.gammainc(a, x)))(x)
    assert slope.tolist() == [inf, 1.0, 0.0]
    by_a = cr.grad(lambda a: cr.sum(special.gammainc(a, x)))(a)
    assert by_a.tolist() == [0.0, 0.0, 0.0]
    assert float(cr.grad(special.entr)(cr.asarray(0.0))) == inf
    assert float(cr.grad(lambda x: special.xlogy(x, 0.0))(cr.asarray(0.0))) == 0.0
    ends = cr.grad(lambda x: cr.sum(special.betainc(2.0, 1.0, x)))(cr.asarray([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(ends.numpy(), [0.0, 1.0, 2.0], rtol=1e-6)


def test_batched_and_compiled():
    x = np.abs(spread(0.2, 4.0, 12)).reshape(3, 4)
    whole = special.gammainc(cr.asarray(x), cr.asarray(x.T.copy().reshape(3, 4))).numpy()
    rows = cr.vmap(special.gammainc)(cr.asarray(x), cr.asarray(x.T.copy().reshape(3, 4))).numpy()
    assert whole.tobytes() == rows.tobytes()
    compiled = cr.compile(special.gammainc)(cr.asarray(x), cr.asarray(x.T.copy().reshape(3, 4))).numpy()
    assert whole.tobytes() == compiled.tobytes()
    gradient = cr.compile(cr.grad(lambda v: cr.sum(special.lgamma(v))))(cr.asarray(x)).numpy()
    np.testing.assert_allclose(gradient, reference.psi(x), rtol=1e-13)


def test_other_spellings():
    assert cr.igamma is special.gammainc and cr.igammac is special.gammaincc and cr.mvlgamma is special.multigammaln
    for name in ("erfc", "erfinv", "lgamma", "digamma", "logit", "xlogy", "sinc", "i0", "polygamma", "exp2"):
        assert getattr(cr, name) is getattr(special, name)
    assert special.psi is special.digamma and special.gammaln is special.lgamma
    assert special.modified_bessel_i0 is special.i0 and special.bessel_j1 is special.j1
    assert float(special.gamma(5)) == 24.0
    x = cr.asarray(spread(-3, 3, 6).reshape(2, 3))
    np.testing.assert_allclose(special.softmax(x, axis=0).numpy(), reference.softmax(x.numpy(), axis=0), rtol=1e-14)
    np.testing.assert_allclose(
        special.log_softmax(x, dim=1).numpy(), reference.log_softmax(x.numpy(), axis=1), rtol=1e-13
    )
    assert special.polygamma(0, x).tolist() == special.digamma(x).tolist()
    assert float(special.logit(cr.asarray(0.0), eps=0.25)) == pytest.approx(np.log(1 / 3))


def test_half_precision():
    x = cr.asarray(np.array([0.5, 2.5, 7.0], np.float32)).astype(cr.float16)
    assert special.lgamma(x).dtype is cr.float16 and special.gammainc(x, x).dtype is cr.float16
    expected = reference.gammainc(x.astype(cr.float64).numpy(), x.astype(cr.float64).numpy())
    np.testing.assert_allclose(special.gammainc(x, x).astype(cr.float64).numpy(), expected, rtol=1e-3)


def test_refusals():
    with pytest.raises(DTypeError, match=r"lgamma: needs floating operands; operands int64\[3\]"):
        special.lgamma(cr.arange(3))
    with pytest.raises(ShapeError, match="betaln: shapes do not broadcast: axis -1 has 3 and 2 elements"):
        special.betaln(cr.ones(3), cr.ones(2))
    with pytest.raises(ConfigError, match=r"polygamma: the order is a whole number from 0 to 100, not -1"):
        special.polygamma(-1, cr.ones(3))
    with pytest.raises(ConfigError, match=r"gammainc: takes 2 operands \(a, x\), not 1"):
        special.gammainc(cr.ones(3))
    with pytest.raises(ConfigError, match="multigammaln: the dimension is a whole number of at least 1, not 0"):
        special.multigammaln(cr.ones(3), 0)
    with pytest.raises(DTypeError, match="xlogy: needs floating operands"):
        special.xlogy(cr.arange(3), cr.arange(3))
