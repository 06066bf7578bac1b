"""Histograms, counts, convolutions, interpolation, integrals and differences against NumPy and SciPy."""

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, IndexOutOfRangeError, PlaceholderError, ShapeError

from .beyond import everywhere, refused, same

rng = np.random.default_rng(0)
X = rng.normal(size=(5, 20))
W = rng.uniform(size=(5, 20))
HISTOGRAMS = [
    {},
    {"bins": 7},
    {"bins": 5, "range": (-1, 1)},
    {"bins": 3, "range": (2, 2)},
    {"bins": [-2, -1, 0, 0.5, 3]},
    *({"bins": rule} for rule in ("auto", "doane", "fd", "rice", "scott", "sqrt", "stone", "sturges")),
    {"density": True},
    {"weights": W},
    {"weights": W, "density": True, "bins": 4},
]


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
@pytest.mark.parametrize("options", HISTOGRAMS, ids=str)
def test_histogram(options, dtype):
    x = (X * 3).astype(dtype)
    found, wanted = cr.histogram(cr.asarray(x), **options), np.histogram(x, **options)
    same(found, wanted, 1e-5 if dtype == "float32" else 1e-10)
    if isinstance(options.get("bins"), str):
        return
    edges = {k: v for k, v in options.items() if k in ("bins", "range")}
    same(cr.histogram_bin_edges(x, **edges), np.histogram_bin_edges(x, **edges), 1e-6)
    compiled = cr.compile(lambda v: cr.histogram(v, **options))(cr.asarray(x))
    same(compiled, wanted, 1e-5 if dtype == "float32" else 1e-10)


def test_histogram_edges_hold_what_numpys_hold():
    """Elements on edges, below and above the range, NaN, equal elements, no elements."""
    x = np.array([0.0, 0.25, 0.5, 0.5, 1.0, -0.1, 1.1, np.nan])
    for bins in (4, 10, [0.0, 0.5, 0.5, 1.0]):
        same(cr.histogram(x, bins, (0, 1)), np.histogram(x[:-1], bins, (0, 1)))
    for x in (np.ones(4), np.array([])):
        same(cr.histogram(x), np.histogram(x))


def test_histogram_of_weights_is_differentiable():
    x = cr.asarray(X[0])
    cr.testing.check_grads(lambda w: cr.histogram(x, 4, (-2, 2), weights=w)[0], (cr.asarray(W[0]),), order=2)
    counts = cr.vmap(lambda v: cr.histogram(v, 4, (-2, 2))[0])(cr.asarray(X))
    same(counts, np.stack([np.histogram(v, 4, (-2, 2))[0] for v in X]))


def test_histograms_of_points():
    points = rng.normal(size=(30, 3))
    weights = rng.uniform(size=30)
    for options in ({}, {"bins": (3, 4, 5)}, {"bins": 4, "density": True},
                    {"bins": 4, "range": [(-1, 1), (-2, 2), (0, 1)], "weights": weights}):  # fmt: skip
        same(cr.histogramdd(cr.asarray(points), **options), np.histogramdd(points, **options), 1e-10)
    edges = np.array([-1, 0, 2.0])
    for bins in (5, [3, 4], [3, edges], edges):
        same(cr.histogram2d(points[:, 0], points[:, 1], bins), np.histogram2d(points[:, 0], points[:, 1], bins))


def test_bincount():
    x, w = rng.integers(0, 6, 20), rng.normal(size=20)
    for dtype in ("int64", "uint8", "bool"):
        same(cr.bincount(x.astype(dtype)), np.bincount(x.astype(dtype)))
    same(cr.bincount(x, w, 9), np.bincount(x, w, 9), 1e-12, 1e-15)
    same(cr.bincount(np.array([], int), minlength=2), [0, 0])
    same(cr.compile(lambda v: cr.bincount(v, length=4))(cr.asarray(x)), np.bincount(x)[:4])
    same(cr.vmap(lambda v: cr.bincount(v, length=7))(cr.asarray(x.reshape(4, 5))),
         np.stack([np.bincount(v, minlength=7) for v in x.reshape(4, 5)]))  # fmt: skip
    cr.testing.check_grads(lambda v: cr.bincount(x, v), (cr.asarray(w),), order=2)
    refused(IndexOutOfRangeError, "bincount: -1 is negative; operands int64[2]", cr.bincount, np.array([1, -1]))
    refused(DTypeError, "bincount: whole numbers are needed; operands float64[20]", cr.bincount, w)
    refused(ShapeError, "bincount: 3 weights for 20 numbers; operands int64[20], float64[3]", cr.bincount, x, w[:3])
    refused(PlaceholderError, "bincount: the size of the result depends on values, and the operand is a placeholder; "
            "operands int64[20]", cr.compile(cr.bincount), cr.asarray(x))  # fmt: skip


def test_histogram_refusals():
    refused(ConfigError, "histogram: there is one bin at least, not 0; operands float64[5]", cr.histogram, X[:, 0], 0)
    refused(ConfigError, "histogram: a range is two finite numbers in order, not (2.0, 1.0); operands float64[5]",
            cr.histogram, X[:, 0], 3, (2, 1))  # fmt: skip
    refused(ConfigError, "histogram: edges do not fall, as [1.0, 0.0] do; operands float64[5]",
            cr.histogram, X[:, 0], np.array([1.0, 0.0]))  # fmt: skip
    refused(ShapeError, "histogram: weights of shape (2,) for elements of shape (5,); operands float64[5], float64[2]",
            lambda: cr.histogram(X[:, 0], weights=np.ones(2)))  # fmt: skip


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("sizes", [(5, 3), (3, 5), (4, 4), (7, 2), (1, 4), (6, 1)], ids=str)
def test_convolve_and_correlate(sizes, mode):
    n, m = sizes
    a, v = rng.normal(size=n), rng.normal(size=m)
    whole = rng.integers(-5, 5, n), rng.integers(-5, 5, m)
    for x, y in ((a, v), whole, (a + 1j * rng.normal(size=n), v + 1j * rng.normal(size=m))):
        same(cr.convolve(x, y, mode), np.convolve(x, y, mode), 1e-12, 1e-14)
        same(cr.correlate(x, y, mode), np.correlate(x, y, mode), 1e-12, 1e-14)
    single = cr.convolve(a.astype(np.float32), v.astype(np.float32), mode)
    same(single, np.convolve(a, v, mode), 1e-4, 1e-6)
    assert single.dtype is cr.float32


def test_convolve_everywhere():
    a, v = rng.normal(size=6), rng.normal(size=3)
    for name in ("convolve", "correlate"):
        everywhere(lambda x, y, name=name: getattr(cr, name)(x, y, "same"), a, v, order=2)
        everywhere(lambda x, y, name=name: getattr(cr, name)(y, x, "full"), a, v)
    refused(ConfigError, "convolve: mode is 'full', 'same' or 'valid', not 'half'", cr.convolve, a, v, "half")
    refused(ShapeError, "convolve: an operand has no elements; operands float64[6], float64[0]",
            cr.convolve, a, v[:0])  # fmt: skip
    refused(ShapeError, "correlate: vectors are needed; operands float64[5, 20], float64[3]", cr.correlate, X, v)


def test_interp():
    places, values = np.sort(rng.normal(size=6)), rng.normal(size=6)
    x = np.concatenate([rng.normal(size=20) * 2, places, [np.inf, -np.inf]]).reshape(4, 7)
    same(cr.interp(x, places, values), np.interp(x, places, values), 1e-10)
    same(cr.interp(x, places, values, left=-1, right=7), np.interp(x, places, values, -1, 7), 1e-10)
    mixed = rng.permutation(places)
    finite = x[:3]
    same(cr.interp(finite, mixed, values, period=1.3), np.interp(finite, mixed, values, period=1.3), 1e-9, 1e-12)
    same(cr.interp(2.5, [1, 2, 3], [3, 2, 0]), np.interp(2.5, [1, 2, 3], [3, 2, 0]))
    same(cr.interp(finite, places[:1], values[:1]), np.interp(finite, places[:1], values[:1]))
    same(cr.interp(x, places, values + 1j * places), np.interp(x, places, values + 1j * places), 1e-10)
    cr.testing.check_grads(lambda f: cr.interp(finite, places, f), (cr.asarray(values + 1j * places),))
    twice = np.array([0.0, 1.0, 1.0, 2.0])
    same(cr.interp([0.5, 1.5], twice, [0.0, 1.0, 5.0, 6.0]), np.interp([0.5, 1.5], twice, [0.0, 1.0, 5.0, 6.0]))
    everywhere(lambda v, p, f: cr.interp(v, p, f), np.array([-0.31, 0.42, 1.77, 9.0]),
               np.array([-1.0, 0.1, 1.0, 2.0]), rng.normal(size=4), order=2)  # fmt: skip
    refused(ShapeError, "interp: the points are two vectors of equal length, one point at least; operands float64[6], "
            "float64[6], float64[5]", cr.interp, places, places, values[:5])  # fmt: skip
    refused(ConfigError, "interp: the period is 0", cr.interp, x, places, values, period=0)


def test_integrals():
    integrate = pytest.importorskip("scipy.integrate")
    y, places = X[:, :6], np.sort(rng.normal(size=6))
    same(cr.trapezoid(y), np.trapezoid(y), 1e-12)
    same(cr.trapezoid(y, places), np.trapezoid(y, places), 1e-10)
    same(cr.trapezoid(y, dx=0.1, axis=0), np.trapezoid(y, dx=0.1, axis=0), 1e-10)
    same(cr.trapezoid([1, 2, 4]), np.trapezoid([1, 2, 4]))
    same(cr.cumulative_trapezoid(y, places), integrate.cumulative_trapezoid(y, places), 1e-9, 1e-12)
    same(cr.cumulative_trapezoid(y, places, initial=0),
         integrate.cumulative_trapezoid(y, places, initial=0), 1e-9, 1e-12)  # fmt: skip
    everywhere(lambda a, b: cr.trapezoid(a, b), y[0], places)
    everywhere(lambda a, b: cr.cumulative_trapezoid(a, b), y[0], places)


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient(edge_order):
    y, places = X[:, :6], np.sort(rng.normal(size=6))
    same(cr.gradient(y, edge_order=edge_order), np.gradient(y, edge_order=edge_order), 1e-10)
    same(cr.gradient(y, places, axis=1, edge_order=edge_order),
         np.gradient(y, places, axis=1, edge_order=edge_order), 1e-9, 1e-10)  # fmt: skip
    same(cr.gradient(y, 2.0, places, edge_order=edge_order),
         np.gradient(y, 2.0, places, edge_order=edge_order), 1e-9, 1e-10)  # fmt: skip
    same(cr.gradient(y[0], 0.5, edge_order=edge_order), np.gradient(y[0], 0.5, edge_order=edge_order), 1e-10)
    everywhere(lambda a: cr.gradient(a, 0.5, edge_order=edge_order), y[0])
    refused(ShapeError, f"gradient: axis 0 has {edge_order} elements, {edge_order + 1} are needed; operands "
            f"float64[{edge_order}]", lambda: cr.gradient(y[0][:edge_order], edge_order=edge_order))  # fmt: skip


def test_other_differences():
    phase = np.cumsum(rng.normal(size=(3, 30)) * 2, 1)
    same(cr.unwrap(phase % (2 * np.pi)), np.unwrap(phase % (2 * np.pi)), 1e-10, 1e-10)
    same(cr.unwrap(phase % 4, period=4, discont=3), np.unwrap(phase % 4, period=4, discont=3), 1e-10, 1e-10)
    same(cr.unwrap(phase % 4, axis=0, period=4), np.unwrap(phase % 4, axis=0, period=4), 1e-10, 1e-10)
    everywhere(lambda a: cr.unwrap(a), phase[0] % 6)
    same(cr.ediff1d(X, to_end=[1.0, 2.0], to_begin=9.0), np.ediff1d(X, to_end=[1.0, 2.0], to_begin=9.0))


def test_polynomials():
    x, y, w = rng.normal(size=9), rng.normal(size=(9, 2)), rng.uniform(0.5, 1, 9)
    same(cr.polyval([3, 0, 1], 5), np.polyval([3, 0, 1], 5))
    everywhere(lambda p, x: cr.polyval(p, x), rng.normal(size=4), rng.normal(size=5), order=2)
    for deg in (0, 1, 3):
        same(cr.polyfit(x, y, deg), np.polyfit(x, y, deg), 1e-9)
        same(cr.polyfit(x, y[:, 0], deg, w=w), np.polyfit(x, y[:, 0], deg, w=w), 1e-9)
    everywhere(lambda a, b: cr.polyfit(a, b, 2), x, y[:, 0])
    refused(ConfigError, "polyfit: the degree is not negative, not -1", cr.polyfit, x, y, -1)
    refused(ShapeError, "polyfit: points are a vector of places and as many values, one point at least; operands "
            "float64[9], float64[8, 2]", cr.polyfit, x, y[1:], 1)  # fmt: skip


def test_a_gap_does_not_reach_its_own_central_difference():
    y = np.array([3.0, np.nan, 1.0, 4.0, -5.0, 2.0])
    for step in (1.0, 0.25):
        same(cr.gradient(y, step), np.gradient(y, step))


def test_histogram_needs_finite_extremes():
    refused(ConfigError, "histogram: elements that are not finite leave no range for the bins; operands float64[2]",
            lambda: cr.histogram(np.array([1.0, np.nan])))  # fmt: skip
    found = cr.histogram(np.array([1.0, np.nan, np.inf, 2.0, 3.0, -9.0]), 2, (1.0, 3.0))
    same(found, (np.array([1, 2]), np.array([1.0, 2.0, 3.0])))
