"""Quantiles, medians, covariances, running extremes and reductions without NaN, against NumPy and PyTorch."""

import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule.conversion import to_node
from chainrule.errors import ConfigError, DTypeError, ShapeError
from chainrule.functions.statistics import METHODS
from chainrule.graph.node import topological

from .beyond import everywhere, refused, same

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 6))
LEVELS = [0, 0.1, 0.25, 0.3, 0.5, 0.75, 1, [0.0, 0.2, 0.5, 0.9], [[0.4], [0.6]]]


@pytest.fixture(autouse=True)
def quiet():
    """NumPy warns where slices have no numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("method", METHODS)
def test_quantile_methods(method):
    for n in (1, 2, 3, 4, 5, 8, 11):
        x = rng.normal(size=(3, n))
        levels = np.concatenate([np.linspace(0, 1, 9), np.arange(n + 1) / n, [0.3, 0.7]])
        same(cr.quantile(x, levels, axis=1, method=method), np.quantile(x, levels, axis=1, method=method))
        holes = x.copy()
        holes[0, 0] = np.nan
        holes[1, : n // 2] = np.nan
        same(cr.nanquantile(holes, levels, 1, method=method), np.nanquantile(holes, levels, 1, method=method))
        same(cr.quantile(holes, levels, 1, method=method), np.quantile(holes, levels, 1, method=method))


def test_methods_are_numpys():
    with pytest.raises(ValueError, match="not a valid method"):
        np.quantile(X, 0.5, method="none")
    from numpy.lib import _function_base_impl as implementation

    assert sorted(METHODS) == sorted(implementation._QuantileMethods)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1), -1])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_quantile_axes_and_dtypes(axis, dtype):
    x = (X * 5).astype(dtype)
    tolerance = (1e-6, 1e-6) if dtype == "float32" else (1e-12, 0.0)
    for q in LEVELS:
        for keep in (False, True):
            found = cr.quantile(x, q, axis, keepdims=keep)
            same(found, np.quantile(x, q, axis, keepdims=keep), *tolerance)
        assert found.dtype is (cr.float32 if dtype == "float32" else cr.float64)
        percents = 100 * np.asarray(q)
        same(cr.percentile(x, percents, axis), np.percentile(x, percents, axis), *tolerance)
        same(cr.nanpercentile(x, percents, axis), np.nanpercentile(x, percents, axis), *tolerance)
    for keep in (False, True):
        same(cr.median(x, axis, keepdims=keep), np.median(x, axis, keepdims=keep), *tolerance)
        same(cr.nanmedian(x, axis, keepdims=keep), np.nanmedian(x, axis, keepdims=keep), *tolerance)


def test_weighted_quantiles():
    weights = rng.uniform(size=(4, 6))
    weights[::2, 0] = 0
    for w, axis in ((weights, 1), (weights, 0), (weights[0], 1), (weights, None)):
        for q in ([0, 0.3, 0.8, 1], 0.5):
            same(cr.quantile(X, q, axis, method="inverted_cdf", weights=w),
                 np.quantile(X, q, axis, method="inverted_cdf", weights=w))  # fmt: skip
    holes = X.copy()
    holes[0, :3] = np.nan
    same(cr.nanquantile(holes, [0.2, 0.9], 1, method="inverted_cdf", weights=weights),
         np.nanquantile(holes, [0.2, 0.9], 1, method="inverted_cdf", weights=weights))  # fmt: skip


@pytest.mark.parametrize("method", ["linear", "hazen", "lower", "midpoint", "averaged_inverted_cdf"])
def test_quantiles_everywhere(method):
    everywhere(lambda x: cr.quantile(x, [0.21, 0.67], -1, method=method), X)
    everywhere(lambda x: cr.nanquantile(x, [0.21, 0.67], method=method), X)
    everywhere(lambda x, q: cr.quantile(x, q, -1, method="linear"), X[0], np.array([0.33, 0.71]))
    everywhere(lambda x: cr.median(x, -1), X)


def test_infinities_and_nan():
    x = np.array([-np.inf, 1.0, np.inf, np.inf])
    same(cr.quantile(x, [0.0, 1 / 3, 0.9]), [-np.inf, 1.0, np.inf])
    same(cr.median(np.array([np.inf, np.inf])), np.inf)
    same(cr.nanmedian(np.array([[np.nan, np.nan], [np.nan, 2.0]]), 1), [np.nan, 2.0])
    gradient = cr.grad(lambda v: cr.sum(cr.nanmedian(v, 1)))(cr.asarray(np.array([[np.nan, 1.0, 3.0]])))
    same(gradient, [[0.0, 0.5, 0.5]])


def test_quantile_refusals():
    names = ", ".join(sorted(METHODS))
    refused(ConfigError, f"quantile: 'mean' is no method; there are {names}", cr.quantile, X, 0.5, method="mean")
    refused(ConfigError, "quantile: levels are in [0, 1], not 1.5; operands float64[4, 6]", cr.quantile, X, 1.5)
    refused(ConfigError, "percentile: levels are in [0, 100], not [50.0, 101.0]; operands float64[4, 6]",
            cr.percentile, X, [50, 101])  # fmt: skip
    refused(ShapeError, "median: there are no elements along axes (0,); operands float64[0, 3]",
            cr.median, np.zeros((0, 3)), 0)  # fmt: skip
    refused(ConfigError, "median: dim= would return a pair of the lower median in PyTorch; operands float64[4, 6]",
            cr.median, X, dim=0)  # fmt: skip
    refused(DTypeError, "median: complex numbers have no order; operands complex128[4, 6]", cr.median, X + 0j)
    refused(ConfigError, "quantile: weights go with method 'inverted_cdf', not 'linear'; operands float64[4, 6]",
            cr.quantile, X, 0.5, weights=X)  # fmt: skip


def test_covariances():
    y = rng.normal(size=(2, 6))
    weights, counts = np.arange(6) + 1.0, np.arange(6) + 1
    for m in (X, X[0], X + 1j * X[::-1], (X * 5).astype(int)):
        same(cr.cov(m), np.cov(m), 1e-10)
        same(cr.corrcoef(m), np.corrcoef(m), 1e-10, 1e-12)
    same(cr.cov(X, y), np.cov(X, y), 1e-10)
    same(cr.cov(X, rowvar=False, bias=True), np.cov(X, rowvar=False, bias=True), 1e-10)
    for options in ({"ddof": 2}, {"aweights": weights}, {"fweights": counts},
                    {"aweights": weights, "fweights": counts, "ddof": 0}):  # fmt: skip
        same(cr.cov(X, **options), np.cov(X, **options), 1e-10)
    same(cr.corrcoef(X, y), np.corrcoef(X, y), 1e-10)
    everywhere(lambda x: cr.cov(x), X)
    everywhere(lambda x: cr.corrcoef(x), X)
    same(cr.ptp(X, 1), np.ptp(X, 1))
    refused(ShapeError, "cov: aweights of shape (3,) for 6 observations; operands float64[4, 6], float64[3]",
            lambda: cr.cov(X, aweights=np.ones(3)))  # fmt: skip


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_running_extremes(name):
    torch = pytest.importorskip("torch")
    for x in (X, X.round(), np.array([[1.0, 3.0, 3.0, np.nan, 5.0], [-1, -2, -2, 4, 4]]), rng.integers(0, 3, (4, 5))):
        for axis in (0, 1):
            wanted = getattr(torch, name)(torch.tensor(x), axis)
            same(tuple(getattr(cr, name)(x, axis)), (wanted.values.numpy(), wanted.indices.numpy()))
    everywhere(lambda x: getattr(cr, name)(x, -1).values, X)
    same(getattr(cr, name)(np.zeros((0, 2)), 0).values, np.zeros((0, 2)))
    refused(ShapeError, f"{name}: an axis has to be named for this many axes; operands float64[4, 6]",
            lambda: getattr(cr, name)(X))  # fmt: skip


def test_running_log_sum_exp():
    torch = pytest.importorskip("torch")
    for axis in (0, 1):
        same(cr.logcumsumexp(X * 300, axis), torch.logcumsumexp(torch.tensor(X * 300), axis).numpy(), 1e-12)
    everywhere(lambda x: cr.logcumsumexp(x, -1), X)
    x = cr.asarray(np.array([-np.inf, -np.inf, 1.0, np.inf, 2.0]))
    same(cr.logcumsumexp(x), [-np.inf, -np.inf, 1.0, np.inf, np.inf])
    same(cr.grad(lambda v: cr.logcumsumexp(v)[2])(x), [0.0, 0.0, 1.0, 0.0, 0.0])


def test_running_sums_stay_exact():
    """Doubling distances keeps the error of a long float32 sum near that of a single addition."""
    x = rng.normal(size=100_000).astype(np.float32)
    wanted = np.cumsum(x.astype(np.float64))
    found = cr.cumsum(x).numpy()
    assert np.abs(found - wanted).max() < 2e-4 < np.abs(np.cumsum(x) - wanted).max()
    everywhere(lambda v: cr.cumsum(v, -1), X)
    everywhere(lambda v: cr.cumprod(v, -1), np.array([2.0, 0.0, 3.0, 0.0, 1.5]))


HOLES = X.copy()
HOLES[0] = np.nan
HOLES[1, 2] = np.nan


@pytest.mark.parametrize("name", "nansum nanprod nanmean nanvar nanstd nanmax nanmin".split())
def test_reductions_without_nan(name):
    ours, numpys = getattr(cr, name), getattr(np, name)
    for x in (HOLES, HOLES.astype(np.float32), X, (X * 5).astype(int)):
        for axis in (None, 0, 1, (0, 1)):
            for keep in (False, True):
                tolerance = 1e-5 if x.dtype == np.float32 else 1e-12
                same(ours(x, axis, keepdims=keep), numpys(x, axis=axis, keepdims=keep), tolerance)
    everywhere(lambda x: ours(cr.where(cr.isnan(x), x, x), -1), X)
    gradient = cr.grad(lambda v: cr.sum(ours(v, 0)))(cr.asarray(HOLES)).numpy()
    assert np.isfinite(gradient[1:]).all() and (gradient[0] == 0).all() and gradient[1, 2] == 0


def test_other_functions_of_nan():
    same(cr.nanvar(HOLES, 1, ddof=1), np.nanvar(HOLES, 1, ddof=1))
    same(cr.nanstd(HOLES, 1, correction=1), np.nanstd(HOLES, 1, ddof=1))
    same(cr.nancumsum(HOLES, 0), np.nancumsum(HOLES, 0))
    same(cr.nancumprod(HOLES), np.nancumprod(HOLES))
    x = np.array([np.nan, np.inf, -np.inf, 1.0], np.float32)
    same(cr.nan_to_num(x), np.nan_to_num(x))
    same(cr.nan_to_num(x, 1, 2, 3), np.nan_to_num(x, nan=1, posinf=2, neginf=3))
    z = np.array([np.nan + 1j, 2j, 1 - 1j, np.inf, complex(0, -np.inf)])
    same(cr.nan_to_num(z), np.nan_to_num(z))
    same(cr.nanvar(z[:3], ddof=1), np.nanvar(z[:3], ddof=1))
    same(cr.nansum(np.array([np.nan + 1j, 2j])), np.nansum(np.array([np.nan + 1j, 2j])))


@pytest.mark.parametrize(
    ("shape", "axis"), [((1024,), 0), ((2, 1301), 1), ((700, 3), 0), ((2, 600, 3), 1), ((70_000,), 0)]
)
def test_long_running_totals_are_joined_from_blocks(shape, axis):
    x, w = rng.normal(size=shape), rng.normal(size=shape)
    same(cr.cumsum(x, axis=axis), np.cumsum(x, axis=axis), 1e-10, 1e-11)
    whole = (x * 9).astype(np.int64)
    same(cr.cumulative_sum(whole, axis=axis, include_initial=True),
         np.cumulative_sum(whole, axis=axis, include_initial=True))  # fmt: skip
    factors = 1 + 0.01 * x
    factors.flat[7] = factors.flat[shape[-1] - 1] = 0.0
    same(cr.cumprod(factors, axis=axis), np.cumprod(factors, axis=axis), 1e-10)
    slope = cr.grad(lambda v: cr.sum(cr.cumsum(v, axis=axis) * w))(cr.asarray(x)).numpy()
    np.testing.assert_allclose(slope, np.flip(np.cumsum(np.flip(w, axis), axis), axis), rtol=1e-9, atol=1e-10)


def test_a_long_running_total_takes_few_passes():
    """About 10 of the whole array's size, not log2 of its extent."""
    x = cr.zeros(2**17)
    passes = [n for n in topological([to_node(cr.cumsum(x))]) if n.op.name == "add" and n.shape and n.shape[0] > 1000]
    assert len(passes) <= 10
