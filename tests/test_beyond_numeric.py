"""Elementwise functions beyond the standard, comparisons with tolerance and distances, against NumPy and PyTorch."""

import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, ShapeError

from .beyond import everywhere, refused, same

rng = np.random.default_rng(0)
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-40, 3e38, 0.5, -0.5, 2.5, 7.25, -1e-310, 1e300])
A, B = np.meshgrid(SPECIAL, SPECIAL)
X, Y = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
I, J = rng.integers(-20, 20, 50), rng.integers(1, 9, 50)  # noqa: E741


@pytest.fixture(autouse=True)
def quiet():
    """NumPy warns of overflow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("name", "fmod fmax fmin heaviside".split())
def test_pairs_of_special_numbers(name):
    same(getattr(cr, name)(A, B), getattr(np, name)(A, B))
    everywhere(getattr(cr, name), X, Y, order=2)


def test_whole_numbers():
    for name in ("fmod", "gcd", "lcm", "divmod", "fmax", "fmin"):
        same(getattr(cr, name)(I, J), getattr(np, name)(I, J))
    same(cr.fmod(I, -J), np.fmod(I, -J))
    same(cr.fmod(I.astype(np.uint8), J.astype(np.uint8)), np.fmod(I.astype(np.uint8), J.astype(np.uint8)))
    same(cr.gcd(12, 18), 6)
    same(cr.lcm(I, 0 * J), np.lcm(I, 0 * J))
    everywhere(cr.gcd, I, J, smooth=False)
    refused(DTypeError, "gcd: needs whole numbers; operands float64[3, 4], float64[3, 4]", cr.gcd, X, Y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts_of_numbers(dtype):
    scales = 10.0 ** rng.integers(-30, 30, 100)
    x = np.concatenate([SPECIAL, rng.normal(size=100) * scales, 2.0 ** np.arange(-30, 30)]).astype(dtype)
    mantissa, exponent = cr.frexp(x)
    wanted, powers = np.frexp(x)
    same(mantissa, wanted)
    finite = np.isfinite(x)
    np.testing.assert_array_equal(exponent.numpy()[finite], powers[finite])
    assert exponent.dtype is cr.int32
    for k in (-1100, -200, -3, 0, 5, 140, 1000):
        same(cr.ldexp(x, k), np.ldexp(x, k))
    same(cr.cbrt(x), np.cbrt(x), 3e-7 if dtype == "float32" else 1e-15)
    same(cr.modf(x), np.modf(x))
    same(cr.deg2rad(x), np.deg2rad(x), 1e-6)
    same(cr.rad2deg(x), np.rad2deg(x), 1e-6)


@pytest.mark.parametrize("name", "cbrt frac deg2rad rad2deg".split())
def test_everywhere(name):
    everywhere(getattr(cr, name), np.array([0.3, -1.7, 2.4, 8.1]), order=2)


def test_parts_have_derivatives():
    x = np.array([0.3, -1.7, 2.4, 8.1])
    everywhere(lambda v: cr.frexp(v)[0], x)
    everywhere(lambda v: cr.ldexp(v, np.array([1, -2, 3, 0])), x)
    everywhere(lambda v: cr.modf(v)[0], x)
    same(cr.logaddexp2(X, Y), np.logaddexp2(X, Y), 1e-12)
    everywhere(cr.logaddexp2, X, Y)
    same(cr.float_power([1, 2, 3], 2.5), np.float_power([1, 2, 3], 2.5), 1e-14)
    everywhere(cr.lerp, X, Y, np.array([0.2, 0.4, 0.7, 0.9]) + np.zeros((3, 1)))


def test_closeness():
    for a, b in ((A, B), (X, X + 1e-9), (I, J), (X.astype(np.float32), X.astype(np.float32) * np.float32(1.00002))):
        for equal_nan in (False, True):
            same(cr.isclose(a, b, equal_nan=equal_nan), np.isclose(a, b, equal_nan=equal_nan))
    same(cr.isclose(X, X + 0.1, atol=0.2), np.isclose(X, X + 0.1, atol=0.2))
    for a, b in ((X, X), (X, Y), (X, X[0]), (np.array([np.nan]), np.array([np.nan])), (X[:0], X[:0])):
        assert bool(cr.array_equal(a, b)) == np.array_equal(a, b)
        assert bool(cr.array_equal(a, b, equal_nan=True)) == np.array_equal(a, b, equal_nan=True)
        assert bool(cr.array_equiv(a, b)) == np.array_equiv(a, b)
        if a.shape == b.shape:
            assert bool(cr.allclose(a, b)) == np.allclose(a, b)
    assert not bool(cr.array_equal(X, X[:, :2])) and not bool(cr.array_equiv(X, X[:, :2]))


def test_small_functions():
    torch = pytest.importorskip("torch")
    t, u = torch.tensor(X), torch.tensor(Y)
    same(cr.lerp(X, Y, 0.3), torch.lerp(t, u, 0.3).numpy())
    same(cr.lerp(X, Y, 0.8), torch.lerp(t, u, 0.8).numpy())
    same(cr.addcmul(X, Y, X, value=0.5), torch.addcmul(t, u, t, value=0.5).numpy())
    same(cr.addcdiv(X, Y, X, value=0.5), torch.addcdiv(t, u, t, value=0.5).numpy())
    same(cr.aminmax(X, axis=1), (X.min(1), X.max(1)))
    same(cr.clamp_min(X, 0.0), X.clip(0))
    same(cr.clamp_max(X, 0.0), X.clip(None, 0))
    same(cr.std_mean(X, 1), (X.std(1), X.mean(1)))
    same(cr.var_mean(X, 1, correction=1), (X.var(1, ddof=1), X.mean(1)))
    same(cr.true_divide(I, J), I / J)
    same(cr.logspace(0, 3, 5), np.logspace(0, 3, 5), 1e-6)
    same(cr.geomspace(1, 8, 4), np.geomspace(1, 8, 4), 1e-6)
    for name in ("isposinf", "isneginf", "isreal", "iscomplex", "rint", "fix"):
        same(getattr(cr, name)(SPECIAL), getattr(np, name)(SPECIAL))
    same(cr.isreal(np.array([1 + 0j, 1j])), [True, False])


@pytest.mark.parametrize("p", [0, 0.5, 1, 2, 3, float("inf")])
def test_distances(p):
    torch = pytest.importorskip("torch")
    same(cr.cdist(X, Y[:2], p), torch.cdist(torch.tensor(X), torch.tensor(Y[:2]), p).numpy(), 1e-7)
    same(cr.pdist(X, p), torch.pdist(torch.tensor(X), p).numpy(), 1e-10)
    if p:
        everywhere(lambda x, y: cr.cdist(x, y, p), X, Y, order=2 if 1 < p < 9 else 1)
        gradient = cr.grad(lambda x: cr.sum(cr.cdist(x, x, p)))(cr.asarray(X))
        wanted = cr.grad(lambda x: 2 * cr.sum(cr.pdist(x, p)))(cr.asarray(X))
        same(gradient, wanted.numpy(), 1e-10, 1e-12)  # the zeros on the diagonal give nothing


def test_distance_refusals():
    refused(ShapeError, "cdist: points have 4 and 3 coordinates; operands float64[3, 4], float64[3, 3]",
            cr.cdist, X, Y[:, :3])  # fmt: skip
    refused(ConfigError, "pdist: p is not negative, not -1", cr.pdist, X, -1)
