"""Special functions: accuracy against SciPy and mpmath, special values."""

import numpy as np
import pytest
from scipy import special as reference

import chainrule as cr

special = cr.special
inf, nan = np.inf, np.nan
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}


def spread(low, high, count=4000, seed=0):
    return np.random.default_rng(seed).uniform(low, high, count)


def exponents(low, high, count=4000, seed=0):
    return 10.0 ** np.random.default_rng(seed).uniform(low, high, count)


#: function -> operands, and the greatest difference from SciPy in units of 2**-52 (float64, where most of it is
#: SciPy's: see `test_last_places`) and of 2**-23 (float32, from SciPy's float64), relative to the value
RELATIVE = {
    "gamma": (np.concatenate([spread(-20, 30), spread(30, 171)]), 12, 1),
    "lgamma": (np.concatenate([spread(0.01, 20), exponents(-8, 6)]), 1000, 1),
    "digamma": (np.concatenate([spread(0.01, 20), exponents(-3, 6)]), 8, 1),
    "erf": (spread(-4, 4), 8, 2),
    "erfc": (spread(-4, 9), 40, 1),
    "erfcx": (np.concatenate([spread(-8, 20), exponents(1, 6)]), 20, 1),
    "erfinv": (np.concatenate([spread(-1, 1), exponents(-9, -1)]), 8, 1),
    "erfcinv": (np.concatenate([spread(0, 2), exponents(-30, -1)]), 8, 1),
    "ndtr": (spread(-12, 8), 160, 1),
    "ndtri": (np.concatenate([spread(0, 1), exponents(-30, -1)]), 16, 1),
    "log_ndtr": (spread(-30, 4), 16, 1),
    "i0": (spread(-80, 80), 8, 1),
    "i1": (spread(-80, 80), 8, 1),
    "i0e": (spread(-80, 300), 8, 1),
    "i1e": (spread(-80, 300), 8, 1),
    "k0": (np.concatenate([spread(0.01, 5), spread(5, 80)]), 16, 1),
    "k1": (np.concatenate([spread(0.01, 5), spread(5, 80)]), 16, 1),
    "k0e": (np.concatenate([spread(0.01, 5), exponents(0, 6)]), 16, 1),
    "k1e": (np.concatenate([spread(0.01, 5), exponents(0, 6)]), 16, 1),
    "entr": (spread(0, 4), 4, 1),
    "expit": (spread(-30, 30), 8, 2),
    "log_expit": (spread(-30, 30), 8, 3),
    "exp2": (spread(-30, 30), 4, 1),
}
#: the same relative to the modulus, or to 1
ABSOLUTE = {
    "j0": (spread(-100, 100), 16, 1),
    "j1": (spread(-100, 100), 16, 1),
    "y0": (spread(0.01, 100), 16, 1),
    "y1": (spread(0.5, 100), 16, 1),
    "sinc": (spread(-100, 100), 4, 1),
    "logit": (spread(0, 1), 4, 1),
    "softplus": (spread(-30, 30), 4, 3),
    "digamma": (spread(-20, 0), 2e5, 1e5),
    "lgamma": (spread(-20, 0), 100, 1),
}
OTHER = {
    "sinc": np.sinc,
    "softplus": lambda x: np.logaddexp(0, x),
    "lgamma": reference.gammaln,
    "digamma": reference.psi,
}


def errors(name, x, absolute):
    expected = (OTHER.get(name) or getattr(reference, name))(x.astype(np.float64))
    got = getattr(special, name)(cr.asarray(x)).numpy()
    assert got.dtype == x.dtype
    scale = np.maximum(np.abs(expected), 1.0) if absolute else np.abs(expected)
    with np.errstate(all="ignore"):
        found = np.abs(got - expected) / (scale * EPSILON[x.dtype.name])
    return np.where(got == expected, 0.0, found)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("name", "absolute"), [(name, False) for name in RELATIVE] + [(name, True) for name in ABSOLUTE]
)
def test_accuracy(name, absolute, dtype):
    x, double, single = (ABSOLUTE if absolute else RELATIVE)[name]
    x = x.astype(dtype)
    if dtype == "float32":
        x = x[np.abs(x) < 34] if name in ("gamma", "k0", "k1") else x
        x = x[(x > 0) & (x < 1)] if name == "logit" else x
        x = x[np.abs(x) != 1] if name == "erfinv" else x
    found = errors(name, x, absolute)
    worst = int(np.argmax(found))
    assert found[worst] <= (double if dtype == "float64" else single), (x[worst], found[worst])


#: function of mpmath, operands, and the greatest error in units of 2**-52 relative to the value
EXACT = {
    "gamma": (lambda m, x: m.gamma(x), np.concatenate([spread(-20, 30, 150), spread(30, 171, 100)]), 5),
    "lgamma": (lambda m, x: m.loggamma(x), np.concatenate([spread(0.01, 12, 200), exponents(-8, 6, 100)]), 3),
    "digamma": (lambda m, x: m.digamma(x), np.concatenate([spread(0.01, 12, 200), spread(1.4, 1.5, 100)]), 4),
    "erfc": (lambda m, x: m.erfc(x), spread(-4, 26, 200), 4),
    "erfcx": (lambda m, x: m.exp(x * x) * m.erfc(x), spread(-20, 26, 200), 4),
    "erfinv": (lambda m, x: m.erfinv(x), np.concatenate([spread(-1, 1, 100), exponents(-9, -1, 100)]), 5),
    "ndtr": (lambda m, x: m.ncdf(x), spread(-37, 8, 200), 5),
    "log_ndtr": (lambda m, x: m.log(m.erfc(-x / m.sqrt(2)) / 2), spread(-30, 5, 200), 5),
    "i0": (lambda m, x: m.besseli(0, x), spread(-300, 300, 200), 4),
    "i1e": (lambda m, x: m.besseli(1, x) * m.exp(-abs(x)), spread(-30, 60, 200), 4),
    "k0": (lambda m, x: m.besselk(0, x), spread(0.01, 30, 200), 6),
    "k1e": (lambda m, x: m.besselk(1, x) * m.exp(x), spread(0.01, 30, 200), 5),
}


@pytest.mark.parametrize("name", EXACT)
def test_last_places(name):
    """Against mpmath in 30 digits."""
    mpmath = pytest.importorskip("mpmath")
    function, x, limit = EXACT[name]
    got = getattr(special, name)(cr.asarray(x)).numpy()
    with mpmath.workdps(30):
        expected = [function(mpmath, mpmath.mpf(v)).real for v in x.tolist()]
        found = [abs(float((g - w) / w)) / 2.0**-52 for g, w in zip(got.tolist(), expected)]
    worst = int(np.argmax(found))
    assert found[worst] <= limit, (x[worst], found[worst])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("order", [1, 2, 5, 12])
def test_polygamma(order, dtype):
    x = np.concatenate([spread(0.3, 30), spread(-3.9, -0.1)]).astype(dtype)
    expected = reference.polygamma(order, x.astype(np.float64))
    got = special.polygamma(order, cr.asarray(x)).numpy()
    tolerance = 1e-13 if dtype == "float64" else 2e-7
    near = np.abs(x - np.round(x)) > 0.02
    np.testing.assert_allclose(got[near], expected[near], rtol=tolerance * 10, atol=tolerance)


def grids(seed, low, high, count=3000):
    rng = np.random.default_rng(seed)
    return 10.0 ** rng.uniform(low, high, count), rng


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_incomplete_gamma(name):
    a, rng = grids(0, -3, 4)
    x = np.abs(a + 3 * np.sqrt(a) * rng.normal(size=a.size)) + 1e-3 * rng.random(a.size)
    got = getattr(special, name)(cr.asarray(a), cr.asarray(x)).numpy()
    np.testing.assert_allclose(got, getattr(reference, name)(a, x), rtol=5e-13)
    single = getattr(special, name)(cr.asarray(a.astype("float32")), cr.asarray(x.astype("float32"))).numpy()
    expected = getattr(reference, name)(a.astype("float32").astype(float), x.astype("float32").astype(float))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=2e-7, atol=1e-40)
    both = special.gammainc(cr.asarray(a), cr.asarray(x)) + special.gammaincc(cr.asarray(a), cr.asarray(x))
    np.testing.assert_allclose(both.numpy(), 1.0, rtol=1e-13)


def test_incomplete_beta():
    a, rng = grids(1, -2, 3)
    b = 10.0 ** rng.uniform(-2, 3, a.size)
    mean = a / (a + b)
    x = mean + 2 * rng.normal(size=a.size) * np.sqrt(mean * (1 - mean) / (a + b + 1))
    x = np.where((x > 0.001) & (x < 0.999), x, rng.random(a.size))
    got = special.betainc(cr.asarray(a), cr.asarray(b), cr.asarray(x)).numpy()
    expected = reference.betainc(a, b, x)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-300)


def compare(name, *operands, rtol=1e-12, atol=0.0):
    expected = getattr(reference, name)(*operands)
    got = getattr(special, name)(*(cr.asarray(v) if isinstance(v, np.ndarray) else v for v in operands)).numpy()
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def test_functions_of_several():
    a, rng = grids(2, -2, 3)
    b = 10.0 ** rng.uniform(-2, 3, a.size)
    compare("betaln", a, b, atol=3e-12)
    compare("beta", a[a < 100], b[a < 100], rtol=5e-12)
    compare("zeta", 1.01 + a, b, atol=1e-300)
    compare("zeta", 1.5 + a, 1.0, rtol=1e-14)
    for v in (2.1, 7.0, 400.0):
        assert float(special.multigammaln(cr.asarray(np.asarray(v)), 4)) == pytest.approx(
            reference.multigammaln(v, 4), rel=1e-13
        )
    n, k = np.arange(12.0), np.arange(-1.0, 11.0)
    compare("comb", n, k, rtol=1e-13)
    compare("binom", n + 0.5, np.full(12, 2.5), rtol=1e-13)
    compare("factorial", n - 2, rtol=1e-13)


EVERYWHERE = """gamma lgamma digamma erfc erfcx erfinv erfcinv ndtr log_ndtr ndtri j0 j1 y0 y1 i0 i1 i0e i1e k0 k1 k0e
k1e sinc logit softplus entr log_expit""".split()


@pytest.mark.parametrize("name", EVERYWHERE)
def test_numbers_of_every_exponent(name):
    """A stride of all float32 numbers: at most one place from float64's result, which is SciPy's."""
    bits = (np.arange(2**15, dtype=np.uint64) * 131101 + 7) & 0xFFFFFFFF
    x = bits.astype(np.uint32).view(np.float32)
    with np.errstate(invalid="ignore"):  # signalling NaN
        wide = x.astype(np.float64)
    single, double = (getattr(special, name)(cr.asarray(v)).numpy() for v in (x, wide))
    with np.errstate(all="ignore"):
        rounded = double.astype(np.float32)
        expected = (OTHER.get(name) or getattr(reference, name))(wide)
    assert np.array_equal(np.isnan(single), np.isnan(rounded))
    known = ~np.isnan(single)
    places = single[known].view(np.int32).astype(np.int64) - rounded[known].view(np.int32)
    assert np.abs(places).max() <= (2 if name in ("softplus", "log_expit") else 1)
    if name in ("i0", "i1"):  # SciPy's overflow where exp(x) does
        expected = np.where(np.abs(wide) > 709, double, expected)
    if name[0] in "jy":  # SciPy rounds the phase of large arguments, and gives NaN for the largest
        near = np.abs(wide) < 1e4
        double, expected = double[near], expected[near]
    np.testing.assert_allclose(double, expected, rtol=1e-10, atol=1e-13)


PAIRS = np.array([0.0, 1.0, -1.0, 0.5, 2.0, inf, nan])


@pytest.mark.parametrize("name", ["xlogy", "xlog1py", "rel_entr", "kl_div"])
def test_entropies(name):
    x, y = (part.ravel() for part in np.meshgrid(PAIRS, PAIRS))
    keep = np.isfinite(x) & np.isfinite(y) if name in ("rel_entr", "kl_div") else np.ones(x.shape, bool)
    x, y = x[keep], y[keep]
    with np.errstate(all="ignore"):
        expected = getattr(reference, name)(x, y)
    np.testing.assert_allclose(getattr(special, name)(cr.asarray(x), cr.asarray(y)).numpy(), expected, rtol=1e-14)


VALUES = {
    "gamma": [(0.0, inf), (-0.0, -inf), (-1.0, nan), (inf, inf), (-inf, nan), (nan, nan), (172.0, inf), (5.0, 24.0)],
    "lgamma": [(0.0, inf), (-2.0, inf), (1.0, 0.0), (2.0, 0.0), (inf, inf), (-inf, inf), (nan, nan)],
    "digamma": [(0.0, -inf), (-0.0, inf), (-3.0, nan), (inf, inf), (nan, nan)],
    "erfc": [(0.0, 1.0), (inf, 0.0), (-inf, 2.0), (nan, nan)],
    "erfcx": [(0.0, 1.0), (inf, 0.0), (-inf, inf), (nan, nan)],
    "erfinv": [(0.0, 0.0), (-0.0, -0.0), (1.0, inf), (-1.0, -inf), (1.5, nan), (nan, nan)],
    "erfcinv": [(0.0, inf), (2.0, -inf), (1.0, 0.0), (-0.5, nan), (2.5, nan)],
    "ndtr": [(0.0, 0.5), (-inf, 0.0), (inf, 1.0), (nan, nan)],
    "ndtri": [(0.0, -inf), (1.0, inf), (0.5, 0.0), (-0.1, nan), (1.1, nan)],
    "log_ndtr": [(-inf, -inf), (inf, 0.0), (nan, nan)],
    "j0": [(0.0, 1.0), (inf, 0.0), (-inf, 0.0), (nan, nan)],
    "j1": [(0.0, 0.0), (-0.0, -0.0), (inf, 0.0), (nan, nan)],
    "y0": [(0.0, -inf), (-1.0, nan), (inf, 0.0), (nan, nan)],
    "y1": [(0.0, -inf), (-1.0, nan), (inf, 0.0), (nan, nan)],
    "i0": [(0.0, 1.0), (inf, inf), (-inf, inf), (nan, nan)],
    "i1": [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -inf)],
    "k0": [(0.0, inf), (-1.0, nan), (inf, 0.0), (nan, nan)],
    "k1e": [(0.0, inf), (-1.0, nan), (inf, 0.0), (nan, nan)],
    "sinc": [(0.0, 1.0), (1.0, 0.0), (-7.0, 0.0), (inf, 0.0), (nan, nan)],
    "logit": [(0.0, -inf), (1.0, inf), (0.5, 0.0), (-0.1, nan), (1.1, nan)],
    "entr": [(0.0, 0.0), (1.0, 0.0), (-1.0, -inf), (inf, -inf), (nan, nan)],
    "zeta": [(1.0, inf), (0.5, nan), (nan, nan)],
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", VALUES)
def test_special_values(name, dtype):
    x, expected = (np.array(column, dtype) for column in zip(*VALUES[name]))
    got = getattr(special, name)(cr.asarray(x)).numpy()
    np.testing.assert_array_equal(got, expected)
    zero = expected == 0
    if name in ("erfinv", "j1", "i1"):
        assert (np.signbit(got[zero]) == np.signbit(expected[zero])).all()
    compiled = cr.compile(getattr(special, name))(cr.asarray(x)).numpy()
    assert compiled[~np.isnan(got)].tobytes() == got[~np.isnan(got)].tobytes()


def test_products_and_quotients_beyond_the_format_do_not_spoil_results():
    """Inner steps may overflow where the result does not; float32 coefficients are whole numbers."""
    orders, starts = np.array([1e5, 1e17, 1e300, np.inf, 1e17]), np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    assert cr.special.zeta(orders, starts).tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert cr.grad(lambda s: cr.sum(cr.special.zeta(s)))(cr.asarray(orders[:3])).tolist() == [0.0, 0.0, 0.0]
    x, y = np.array([1e10, 1e-300, 1e200]), np.array([1e-300, 1e100, 1e-200])
    logarithm = np.log(x) - np.log(y)
    np.testing.assert_allclose(cr.special.rel_entr(x, y).numpy(), x * logarithm, rtol=1e-14)
    np.testing.assert_allclose(cr.special.kl_div(x, y).numpy(), x * logarithm - x + y, rtol=1e-14)
    slopes = cr.grad(lambda x, y: cr.sum(cr.special.rel_entr(x, y)), argnums=(0, 1))(cr.asarray(x), cr.asarray(y))
    np.testing.assert_allclose(slopes[0].numpy(), logarithm + 1.0, rtol=1e-14)
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(slopes[1].numpy(), -x / y, rtol=1e-14)
    tiny = np.float64(1e-300)
    np.testing.assert_allclose(cr.special.beta(tiny, tiny).numpy(), reference.beta(tiny, tiny), rtol=1e-14)
    assert cr.special.comb(cr.asarray([5.0, 10.0, 20.0]), 2).tolist() == [10.0, 45.0, 190.0]
    assert cr.special.binom(5, 2).dtype is cr.float32


def test_incomplete_gamma_of_huge_parameters_stays_a_probability():
    a = np.array([1e20, 1e30, 1e100, 1e300])
    for name in ("gammainc", "gammaincc"):
        for x in (a, a * (1 - 1e-12), a * (1 + 1e-12)):
            found = getattr(cr.special, name)(a, x).numpy()
            assert ((found >= 0) & (found <= 1)).all()
