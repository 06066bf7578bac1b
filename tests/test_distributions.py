"""Random distributions: distribution functions against SciPy's, reproducibility, gradients, wrong parameters."""

import numpy as np
import pytest
from scipy import special, stats

import chainrule as cr
from chainrule.errors import ConfigError, DifferentiationError, DTypeError, ShapeError
from chainrule.graph.node import topological

random = cr.random
N = 20000

CONTINUOUS = {
    "exponential": (lambda **k: random.exponential(2.0, **k), stats.expon(scale=2.0)),
    "laplace": (lambda **k: random.laplace(1.0, 0.5, **k), stats.laplace(1.0, 0.5)),
    "logistic": (lambda **k: random.logistic(-1.0, 2.0, **k), stats.logistic(-1.0, 2.0)),
    "gumbel": (lambda **k: random.gumbel(0.5, 1.5, **k), stats.gumbel_r(0.5, 1.5)),
    "cauchy": (lambda **k: random.cauchy(0.5, 1.5, **k), stats.cauchy(0.5, 1.5)),
    "lognormal": (lambda **k: random.lognormal(0.3, 0.8, **k), stats.lognorm(0.8, scale=np.exp(0.3))),
    "weibull": (lambda **k: random.weibull(1.7, **k), stats.weibull_min(1.7)),
    "pareto": (lambda **k: random.pareto(3.0, **k), stats.lomax(3.0)),
    "power": (lambda **k: random.power(2.5, **k), stats.powerlaw(2.5)),
    "rayleigh": (lambda **k: random.rayleigh(2.0, **k), stats.rayleigh(scale=2.0)),
    "triangular": (lambda **k: random.triangular(-1.0, 0.0, 3.0, **k), stats.triang(0.25, loc=-1.0, scale=4.0)),
    "truncated_normal": (lambda **k: random.truncated_normal(-1.0, 2.0, 3.0, 2.0, **k), stats.truncnorm(-1, 2, 3, 2)),
    "truncated_normal-tail": (lambda **k: random.truncated_normal(4.0, 9.0, **k), stats.truncnorm(4, 9)),
    "truncated_normal-far": (lambda **k: random.truncated_normal(-40.0, -30.0, **k), stats.truncnorm(-40, -30)),
    "vonmises": (lambda **k: random.vonmises(0.0, 1.5, **k), stats.vonmises(1.5)),
    "vonmises-narrow": (lambda **k: random.vonmises(0.0, 400.0, **k), stats.vonmises(400.0)),
    "vonmises-flat": (lambda **k: random.vonmises(0.0, 0.0, **k), stats.uniform(-np.pi, 2 * np.pi)),
    "gamma": (lambda **k: random.gamma(3.3, 2.0, **k), stats.gamma(3.3, scale=2.0)),
    "gamma-one": (lambda **k: random.gamma(1.0, **k), stats.gamma(1.0)),
    "gamma-below-one": (lambda **k: random.gamma(0.4, **k), stats.gamma(0.4)),
    "gamma-large": (lambda **k: random.gamma(5e4, **k), stats.gamma(5e4)),
    "loggamma": (lambda **k: random.loggamma(0.02, **k), stats.loggamma(0.02)),
    "beta": (lambda **k: random.beta(0.5, 2.5, **k), stats.beta(0.5, 2.5)),
    "chisquare": (lambda **k: random.chisquare(3.0, **k), stats.chi2(3.0)),
    "standard_t": (lambda **k: random.standard_t(4.0, **k), stats.t(4.0)),
    "f": (lambda **k: random.f(4.0, 9.0, **k), stats.f(4.0, 9.0)),
}


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("dtype", [cr.float32, cr.float64])
def test_distribution_function(name, dtype):
    """Kolmogorov and Smirnov's test; the seed is fixed, so that the bound cannot be missed by chance."""
    draw, law = CONTINUOUS[name]
    x = draw(shape=(N,), dtype=dtype, key=random.key(11)).numpy()
    assert x.dtype == dtype.numpy and np.isfinite(x).all()
    assert stats.kstest(x.astype(np.float64), law.cdf).pvalue > 1e-3
    low, high = law.ppf(0.001), law.ppf(0.999)
    assert 0.0002 < np.mean(x < low) < 0.0022 and 0.0002 < np.mean(x > high) < 0.0022


DISCRETE = {
    "poisson": (lambda **k: random.poisson(3.5, **k), stats.poisson(3.5)),
    "poisson-tiny": (lambda **k: random.poisson(0.01, **k), stats.poisson(0.01)),
    "poisson-nearly-ten": (lambda **k: random.poisson(9.99, **k), stats.poisson(9.99)),
    "poisson-ten": (lambda **k: random.poisson(10.0, **k), stats.poisson(10.0)),
    "poisson-large": (lambda **k: random.poisson(700.0, **k), stats.poisson(700.0)),
    "binomial": (lambda **k: random.binomial(12, 0.3, **k), stats.binom(12, 0.3)),
    "binomial-likely": (lambda **k: random.binomial(12, 0.9, **k), stats.binom(12, 0.9)),
    "binomial-large": (lambda **k: random.binomial(1000, 0.25, **k), stats.binom(1000, 0.25)),
    "binomial-large-likely": (lambda **k: random.binomial(1000, 0.75, **k), stats.binom(1000, 0.75)),
    "geometric": (lambda **k: random.geometric(0.2, **k), stats.geom(0.2)),
    "geometric-sure": (lambda **k: random.geometric(1.0, **k), stats.geom(1.0)),
    "negative_binomial": (lambda **k: random.negative_binomial(2.5, 0.4, **k), stats.nbinom(2.5, 0.4)),
    "integers": (lambda **k: random.integers(3, 9, **k), stats.randint(3, 9)),
    "categorical": (
        lambda **k: random.categorical(cr.log(cr.asarray([0.1, 0.2, 0.7])), **k),
        stats.rv_discrete(values=([0, 1, 2], [0.1, 0.2, 0.7])),
    ),
    "choice": (
        lambda **k: random.choice(cr.asarray([4, 7, 9]), p=cr.asarray([0.5, 0.0, 0.5]), **k),
        stats.rv_discrete(values=([4, 9], [0.5, 0.5])),
    ),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_of_counts(name):
    """Pearson's chi-square test over values of expected count 20 or more."""
    draw, law = DISCRETE[name]
    x = draw(shape=(N,), key=random.key(5)).numpy()
    assert x.dtype == np.int64
    values = np.arange(int(law.ppf(1e-9)), int(law.ppf(1 - 1e-9)) + 1)
    expected = N * law.pmf(values)
    found = np.array([np.sum(x == v) for v in values])
    often = expected >= 20
    observed = np.append(found[often], N - found[often].sum())
    wanted = np.append(expected[often], N - expected[often].sum())
    if wanted[-1] < 1e-6:
        assert observed[-1] == 0
        observed, wanted = observed[:-1], wanted[:-1]
    if len(wanted) > 1:
        assert stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-3


def test_large_poisson_numbers():
    x = random.poisson(cr.full((N,), 1e9, dtype=cr.float64), key=random.key(0)).numpy()
    assert abs(x.mean() - 1e9) < 5 * np.sqrt(1e9 / N) and 0.97 < x.var() / 1e9 < 1.03


def test_vectors():
    key = random.key(3)
    cov = np.array([[2.0, 0.6], [0.6, 1.0]])
    x = random.multivariate_normal(np.array([1.0, -1.0]), cov, (N,), key=key).numpy()
    assert x.shape == (N, 2)
    np.testing.assert_allclose(x.mean(0), [1, -1], atol=0.05)
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.08)
    p = random.dirichlet(cr.asarray([0.5, 1.0, 3.0]), (N,), dtype=cr.float64, key=key).numpy()
    np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(p.mean(0), np.array([0.5, 1.0, 3.0]) / 4.5, atol=0.01)
    assert stats.kstest(p[:, 0], stats.beta(0.5, 4.0).cdf).pvalue > 1e-3
    b = random.ball(3, shape=(N,), dtype=cr.float64, key=key).numpy()
    assert stats.kstest((b**2).sum(-1) ** 1.5, stats.uniform.cdf).pvalue > 1e-3
    assert stats.kstest(b[:, 0] / np.sqrt((b**2).sum(-1)), stats.uniform(-1, 2).cdf).pvalue > 1e-3
    q = random.orthogonal(4, (50,), dtype=cr.float64, key=key).numpy()
    np.testing.assert_allclose(q @ q.transpose(0, 2, 1), np.broadcast_to(np.eye(4), (50, 4, 4)), atol=1e-13)
    assert 0.2 < np.mean(np.linalg.det(q) > 0) < 0.8
    counts = random.multinomial(30, cr.asarray([0.2, 0.3, 0.5]), (2000,), key=key).numpy()
    assert (counts.sum(-1) == 30).all() and (counts >= 0).all()
    np.testing.assert_allclose(counts.mean(0), [6, 9, 15], atol=0.3)
    np.testing.assert_allclose(np.cov(counts.T)[0, 1], -30 * 0.2 * 0.3, atol=0.4)


def test_choice_without_replacement():
    key = random.key(1)
    assert sorted(random.choice(6, (6,), replace=False, key=key).tolist()) == list(range(6))
    rows = random.choice(cr.arange(12).reshape(4, 3), (2, 2), replace=False, key=key)
    assert rows.shape == (2, 2, 3) and len(set(rows[..., 0].numpy().ravel())) == 4
    columns = random.choice(cr.arange(12).reshape(4, 3), (5,), axis=1, key=key)
    assert columns.shape == (4, 5)
    first = [
        int(random.choice(3, (2,), replace=False, p=np.array([0.6, 0.3, 0.1]), key=random.fold_in(key, i))[0])
        for i in range(400)
    ]
    np.testing.assert_allclose(np.bincount(first, minlength=3) / 400, [0.6, 0.3, 0.1], atol=0.08)


# keys


def test_keys():
    key = random.key(7)
    assert key.dtype is cr.uint64 and key.shape == (2,)
    a, b, c = random.split(key, 3)
    streams = [random.normal(shape=(8,), key=k).numpy() for k in (key, a, b, c, random.fold_in(key, 0), random.key(8))]
    assert len({s.tobytes() for s in streams}) == 6
    assert np.array_equal(random.normal(shape=(8,), key=a).numpy(), streams[1])
    assert np.array_equal(random.fold_in(key, 5).numpy(), random.fold_in(key, cr.asarray(5)).numpy())
    x = cr.vmap(lambda k: random.normal(shape=(8,), key=k))(random.split(key, 3)).numpy()
    assert np.array_equal(x, np.stack(streams[1:4]))


def test_wrong_keys():
    with pytest.raises(DTypeError, match=r"normal: a key is uint64\[2\]"):
        random.normal(shape=(3,), key=cr.zeros(2))
    with pytest.raises(ShapeError, match=r"gamma: a key is uint64\[2\]; operands uint64\[3, 2\]"):
        random.gamma(1.0, key=random.split(random.key(0), 3))
    with pytest.raises(ConfigError, match="poisson: both a generator and a key are given"):
        random.poisson(1.0, generator=cr.Generator(0), key=random.key(0))
    with pytest.raises(ConfigError, match="split: at least one key is asked for, not 0"):
        random.split(random.key(0), 0)
    with pytest.raises(ConfigError, match=r"key: a seed is a whole number, not 0\.5"):
        random.key(0.5)


DRAWS = {name: draw for name, (draw, _) in {**CONTINUOUS, **DISCRETE}.items()}


@pytest.mark.parametrize("name", DRAWS)
def test_same_bits_compiled_and_by_key(name):
    draw = DRAWS[name]
    eager = draw(shape=(37,), key=random.key(2)).numpy()
    compiled = cr.compile(lambda k: draw(shape=(37,), key=k))(random.key(2)).numpy()
    assert eager.tobytes() == compiled.tobytes()
    generator = cr.Generator(2)
    assert draw(shape=(37,), generator=generator).numpy().tobytes() == eager.tobytes()
    assert int(generator.get_state()[1]) == 1
    first, second = (draw(shape=(500,), generator=generator).numpy().tobytes() for _ in range(2))
    assert first != second or "sure" in name


COUNTS = {
    "poisson-small": (random.poisson, (3.0,)),
    "poisson-large": (random.poisson, (30.0,)),
    "poisson-smaller": (random.poisson, (np.linspace(0, 9.9, 300),)),
    "poisson-larger": (random.poisson, (np.linspace(10, 99, 300),)),
    "poisson-mixed": (random.poisson, (np.linspace(0, 20, 300),)),
    "binomial-small": (random.binomial, (10.0, 0.3)),
    "binomial-large": (random.binomial, (100.0, 0.7)),
    "binomial-smaller": (random.binomial, (np.arange(300.0), np.full(300, 0.03))),
    "binomial-larger": (random.binomial, (np.arange(20.0, 320.0), np.full(300, 0.5))),
    "binomial-mixed": (random.binomial, (np.arange(300.0), np.linspace(0, 1, 300))),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_do_not_depend_on_what_is_known_of_their_means(name):
    """Where all means are small, or none, the other way of drawing is left out."""
    draw, values = COUNTS[name]
    whole = [cr.asarray(np.full(300, value)) for value in values]
    wanted = cr.compile(lambda *p: draw(*p, shape=(300,), key=random.key(5)))(*whole).numpy()
    np.testing.assert_array_equal(draw(*values, shape=(300,), key=random.key(5)).numpy(), wanted)
    np.testing.assert_array_equal(draw(*whole, shape=(300,), key=random.key(5)).numpy(), wanted)
    drawn = draw(*values, shape=(300,), key=random.key(5))
    kinds = {node.op.name for node in topological([drawn._node], stop_at_values=False)}
    assert ("lgamma" in kinds) == ("small" not in name)
    assert any(kind.endswith("_quantile") for kind in kinds) == ("large" not in name)


def test_threads_and_loops():
    """The bits do not depend on threads; iterations of scan and lanes of vmap draw different numbers by default."""
    before = cr.get_num_threads()
    found = []
    try:
        for count in (1, 2):
            cr.set_num_threads(count)
            found.append(random.gamma(cr.full((3000,), 0.7), key=random.key(0)).numpy().tobytes())
    finally:
        cr.set_num_threads(before)
    assert found[0] == found[1]
    cr.manual_seed(0)
    _, drawn = cr.scan(lambda carry, x: (carry, random.gamma(2.0 + 0.0 * x)), cr.asarray(0.0), cr.zeros(4))
    assert len(set(drawn.tolist())) == 4
    lanes = cr.vmap(lambda x: random.beta(2.0 + x, 3.0))(cr.zeros(5)).numpy()
    assert len(set(lanes.tolist())) == 5
    key = random.key(4)
    alike = cr.vmap(lambda x: random.beta(2.0 + x, 3.0, key=key))(cr.zeros(3)).numpy()
    assert len(set(alike.tolist())) == 1


# gradients


def by_difference(draw, value, step=1e-6):
    """Central differences by the parameter, the key fixed."""
    return (draw(value + step).numpy() - draw(value - step).numpy()) / (2 * step)


LOCATION_SCALE = {
    "exponential": lambda v, **k: random.exponential(v, **k),
    "laplace": lambda v, **k: random.laplace(v, 2.0 * v, **k),
    "logistic": lambda v, **k: random.logistic(v, 2.0 * v, **k),
    "gumbel": lambda v, **k: random.gumbel(v, 2.0 * v, **k),
    "cauchy": lambda v, **k: random.cauchy(v, 2.0 * v, **k),
    "lognormal": lambda v, **k: random.lognormal(v, 0.5 * v, **k),
    "weibull": lambda v, **k: random.weibull(v, **k),
    "pareto": lambda v, **k: random.pareto(v, **k),
    "power": lambda v, **k: random.power(v, **k),
    "rayleigh": lambda v, **k: random.rayleigh(v, **k),
    "triangular": lambda v, **k: random.triangular(0.0 * v, v, 3.0 * v, **k),
    "truncated_normal": lambda v, **k: random.truncated_normal(-v, 2.0 * v, v, v, **k),
    "vonmises": lambda v, **k: random.vonmises(v, 2.0, **k),
}


@pytest.mark.parametrize("name", LOCATION_SCALE)
def test_reparameterised_gradients(name):
    key = random.key(9)

    def draw(v):
        return LOCATION_SCALE[name](cr.asarray(np.asarray(v)), shape=(40,), key=key)

    x = cr.asarray(np.asarray(0.8))
    _, slope = cr.jvp(lambda v: LOCATION_SCALE[name](v, shape=(40,), key=key), (x,), (cr.ones_like(x),))
    np.testing.assert_allclose(slope.numpy(), by_difference(draw, 0.8), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("a", [1.3, 4.0, 60.0, 3000.0])
def test_implicit_gradients_of_gamma(a):
    """dz/da at constant probability, against differences of SciPy's quantile."""
    value = cr.asarray(np.asarray(a))
    z, slope = cr.jvp(lambda v: random.gamma(v, shape=(50,), key=random.key(6)), (value,), (cr.ones_like(value),))
    q = special.gammainc(a, z.numpy())
    step = 1e-6 * a
    wanted = (special.gammaincinv(a + step, q) - special.gammaincinv(a - step, q)) / (2 * step)
    np.testing.assert_allclose(slope.numpy(), wanted, rtol=2e-6)


def test_gradients_of_expectations():
    """Means of gradients are the gradients of means: E[x] = a, E[log x] = digamma(a), and beta's a / (a + b)."""
    key = random.key(12)
    for a in (0.3, 2.5):
        value = cr.asarray(np.asarray(a))
        slope = cr.grad(lambda v: cr.mean(random.gamma(v, shape=(N,), key=key)))(value)
        assert abs(float(slope) - 1.0) < 0.03
        slope = cr.grad(lambda v: cr.mean(random.loggamma(v, shape=(N,), key=key)))(value)
        assert abs(float(slope) / special.polygamma(1, a) - 1.0) < 0.03
    a, b = 1.5, 0.7
    slope = cr.grad(lambda v: cr.mean(random.beta(v, b, (N,), key=key)))(cr.asarray(np.asarray(a)))
    assert abs(float(slope) - b / (a + b) ** 2) < 0.005
    alpha = cr.asarray(np.array([0.5, 2.0, 1.0]))
    slope = cr.grad(lambda v: cr.mean(random.dirichlet(v, (N,), key=key)[:, 0]))(alpha).numpy()
    np.testing.assert_allclose(slope, (np.array([3.5, 0, 0]) - 0.5) / 3.5**2, atol=0.006)
    second = cr.grad(cr.grad(lambda v: cr.mean(random.gamma(v, shape=(2000,), key=key) ** 2)))(
        cr.asarray(np.asarray(2.0))
    )
    assert abs(float(second) - 2.0) < 0.2  # E[x^2] = a + a^2


def test_second_derivative_of_gamma_draws():
    """Along one draw, against differences of the first derivative with the same key."""
    key = random.key(3)

    def first(v):
        return cr.jvp(lambda t: random.gamma(t, shape=(20,), key=key), (v,), (cr.ones_like(v),))[1]

    v = cr.asarray(np.asarray(3.0))
    z, _ = cr.jvp(lambda t: random.gamma(t, shape=(20,), key=key), (v,), (cr.ones_like(v),))
    _, second = cr.jvp(first, (v,), (cr.ones_like(v),))
    q, h = special.gammainc(3.0, z.numpy()), 1e-3
    ahead, here, behind = (special.gammaincinv(3.0 + s, q) for s in (h, 0.0, -h))
    np.testing.assert_allclose(second.numpy(), (ahead - 2 * here + behind) / h**2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kappa", [0.0, 0.4, 3.0, 80.0, 2000.0])
def test_implicit_gradients_of_angles(kappa):
    """Of von Mises' angles by the concentration, against differences of its distribution function."""
    value, step = cr.asarray(np.asarray(kappa)), 1e-4 * (1 + kappa)
    z, slope = cr.jvp(lambda k: random.vonmises(0.0, k, (30,), key=random.key(6)), (value,), (cr.ones_like(value),))
    z, low = z.numpy(), max(kappa - step, 0.0)
    by_kappa = (stats.vonmises.cdf(z, kappa + step) - stats.vonmises.cdf(z, max(low, 1e-12))) / (kappa + step - low)
    wanted = -by_kappa / stats.vonmises.pdf(z, max(kappa, 1e-12))
    near = np.abs(z) * np.sqrt(1 + kappa) < 3
    tolerance = {0.0: 3e-4, 80.0: 1e-4, 2000.0: 1e-4}.get(kappa, 2e-6)  # SciPy's is an approximation above 50
    np.testing.assert_allclose(slope.numpy()[near], wanted[near], rtol=tolerance, atol=1e-9)
    mu = cr.grad(lambda m: random.vonmises(m, kappa, key=random.key(0)))(cr.asarray(0.5))
    assert float(mu) == 1.0


@pytest.mark.parametrize(
    ("name", "parameter", "draw"),
    [
        ("poisson", "lam", lambda v: random.poisson(4 * v, dtype=cr.float32)),
        ("binomial", "p", lambda v: random.binomial(9, v, dtype=cr.float32)),
        ("geometric", "p", lambda v: random.geometric(v, dtype=cr.float32)),
        ("bernoulli", "p", lambda v: random.bernoulli(v, dtype=cr.float32)),
        ("multinomial", "pvals", lambda v: random.multinomial(9, cr.stack((v, 1 - v)), dtype=cr.float32)[0]),
    ],
)
def test_counts_have_no_derivative(name, parameter, draw):
    """Forward and reverse: an error in floating dtypes, never a zero."""
    p = cr.asarray(0.25)
    text = f"{name}: the draw has no derivative by {parameter}"
    with pytest.raises(DifferentiationError, match=text):
        cr.grad(draw)(p)
    with pytest.raises(DifferentiationError, match=text):
        cr.jvp(draw, (p,), (p,))
    assert draw(p).dtype is cr.float32
    with pytest.raises(DTypeError, match="categorical: categories are integers, not float32"):
        random.categorical(cr.zeros(3), dtype=cr.float32)


# what is refused


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: random.exponential(-1.0), "exponential: scale must not be negative, not -1"),
        (lambda: random.gamma(0.0), "gamma: a has to be positive, not 0"),
        (lambda: random.gamma(cr.asarray([1.0, -2.5])), r"gamma: a has to be positive, not -2.5 \(element \(1,\)\)"),
        (lambda: random.beta(1.0, float("nan")), "beta: b has to be positive, not nan"),
        (lambda: random.poisson(-3), "poisson: lam must not be negative, not -3"),
        (lambda: random.binomial(10, 1.5), "binomial: p has to lie between 0 and 1, not 1.5"),
        (lambda: random.binomial(2.5, 0.5), "binomial: n has to be whole numbers that are not negative, not 2.5"),
        (lambda: random.geometric(0.0), "geometric: p has to be above 0 and at most 1, not 0"),
        (lambda: random.truncated_normal(2.0, 1.0), "the lower bound has to be below the upper one, not 2 and 1"),
        (lambda: random.triangular(0.0, 5.0, 1.0), "triangular: the corners have to be in order, not 0, 5, 1"),
        (lambda: random.multinomial(3, cr.asarray([0.5, 0.6])), "multinomial: probabilities sum to 1.1, not 1"),
        (lambda: random.choice(2, p=np.array([1.5, -0.5])), "choice: probabilities must not be negative, not -0.5"),
        (lambda: random.choice(2, (3,), replace=False), "choice: 3 entries cannot be drawn from 2 without replacement"),
        (lambda: random.ball(0), "ball: the dimension is a whole number of at least 1, not 0"),
    ],
)  # fmt: skip
def test_wrong_parameters(call, text):
    with pytest.raises(ConfigError, match=text) as caught:
        call()
    assert "recorded at" in str(caught.value) and "test_distributions.py" in str(caught.value)


def test_wrong_shapes():
    with pytest.raises(ShapeError, match="gamma: a parameter does not broadcast to shape"):
        random.gamma(cr.ones((2, 3)), shape=(3,))
    with pytest.raises(ShapeError, match="dirichlet: the parameters need an axis"):
        random.dirichlet(1.0)
    with pytest.raises(ShapeError, match=r"choice: 3 entries have \(2,\) probabilities"):
        random.choice(3, p=cr.asarray([0.5, 0.5]))
    with pytest.raises(ShapeError, match=r"multivariate_normal: the covariance \[3, 3\] does not fit the mean \[2\]"):
        random.multivariate_normal(cr.zeros(2), cr.eye(3))
    with pytest.raises(DTypeError, match="gamma: a floating dtype is needed, not int32"):
        random.gamma(1.0, dtype=cr.int32)


def test_generator_has_the_methods_of_numpy():
    rng = cr.Generator(3)
    names = (
        "random integers normal uniform choice permutation exponential gamma beta dirichlet poisson binomial geometric "
        "laplace logistic gumbel lognormal multinomial multivariate_normal standard_t chisquare weibull pareto "
        "triangular vonmises rayleigh standard_normal standard_exponential standard_gamma standard_cauchy power f "
        "negative_binomial"
    )
    for name in names.split():
        assert hasattr(np.random.Generator, name) and callable(getattr(rng, name))
    assert rng.normal(loc=100.0, scale=0.1, size=(3,)).numpy().min() > 99
    assert rng.gamma(shape=2.0, size=4).shape == (4,) and rng.random(size=(2, 2)).shape == (2, 2)
    assert rng.random().shape == () and rng.integers(5, size=3).shape == (3,)
    assert rng.integers(0, 1, size=3, endpoint=True).dtype is cr.int64
    assert rng.uniform(2.0, 3.0, size=(5,)).shape == (5,) and rng.choice(5, size=None).shape == ()
    assert rng.standard_gamma(2.0, size=(3,)).shape == (3,) and rng.gamma(2.0, 1.0, (3,)).shape == (3,)
