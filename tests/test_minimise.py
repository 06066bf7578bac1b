"""Minimisers against SciPy's and closed forms: known test functions, a logistic regression, least squares."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import minimise
from chainrule.errors import CompileError, ConfigError, DTypeError, NonFiniteError, ShapeError
from chainrule.minimise.quasi_newton import History
from chainrule.minimise.second_order import newton_direction

RNG = np.random.default_rng(0)
ALL = ["lbfgs", "newton", "newton-cg"]


def rosenbrock(x):
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def beale_residuals(p):
    x, y = p[0], p[1]
    return cr.stack([1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3])


def beale(p):
    return (beale_residuals(p) ** 2).sum()


INPUTS = RNG.normal(size=(60, 4))
LABELS = (INPUTS @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.3 * RNG.normal(size=60) > 0).astype(float)


def logistic(p, inputs, labels):
    logits = inputs @ p["w"] + p["b"]
    return (cr.logaddexp(logits, cr.zeros_like(logits)) - labels * logits).mean() + 0.01 * (p["w"] ** 2).sum()


# -- against SciPy ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 10])
@pytest.mark.parametrize("method", ALL)
def test_rosenbrock_needs_about_the_steps_that_scipy_needs(method, size):
    optimize = pytest.importorskip("scipy.optimize")
    start = np.tile([-1.2, 1.0], size // 2)
    name = {"lbfgs": "L-BFGS-B", "newton": "trust-exact", "newton-cg": "Newton-CG"}[method]
    hess = None if method == "lbfgs" else optimize.rosen_hess
    theirs = optimize.minimize(optimize.rosen, start, method=name, jac=optimize.rosen_der, hess=hess)
    found = minimise.minimize(rosenbrock, start, method)
    assert found.converged and found.gradient_norm <= 1e-6
    assert found.x.dtype == cr.float64
    # from this start, ten dimensions have a second, local minimum near (-1, 1, ..., 1)
    first = np.sign(found.x.tolist()[0])
    np.testing.assert_allclose(np.abs(found.x.numpy()), np.ones(size), atol=1e-5 if first > 0 else 0.02)
    assert found.iterations <= 1.5 * theirs.nit + 5
    assert found.evaluations <= 2 * theirs.nfev + 5


@pytest.mark.parametrize("method", ALL)
def test_beale(method):
    found = minimise.minimize(beale, np.array([1.0, 1.0]), method)
    assert found.converged
    np.testing.assert_allclose(found.x.numpy(), [3, 0.5], rtol=1e-5)
    assert found.value < 1e-12


@pytest.mark.parametrize("method", [*ALL, "gradient-descent"])
def test_logistic_regression_on_a_tree(method):
    optimize = pytest.importorskip("scipy.optimize")

    def value(v):
        z = INPUTS @ v[1:] + v[0]
        return np.mean(np.logaddexp(z, 0) - LABELS * z) + 0.01 * (v[1:] ** 2).sum()

    theirs = optimize.minimize(value, np.zeros(5), tol=1e-12)
    start = {"w": cr.zeros(4, dtype=cr.float64), "b": cr.zeros((), dtype=cr.float64)}
    found = minimise.minimize(logistic, start, method, args=(INPUTS, LABELS), gtol=1e-8)
    assert found.converged and set(found.x) == {"w", "b"} and found.x["b"].shape == ()
    np.testing.assert_allclose(found.value, theirs.fun, rtol=1e-12)
    np.testing.assert_allclose(found.x["w"].numpy(), theirs.x[1:], atol=1e-5)
    np.testing.assert_allclose(float(found.x["b"]), theirs.x[0], atol=1e-5)
    gradient = cr.grad(lambda p: logistic(p, cr.asarray(INPUTS), cr.asarray(LABELS)))(found.x)
    np.testing.assert_allclose(found.gradient["w"].numpy(), gradient["w"].numpy(), atol=1e-14)


@pytest.mark.parametrize("method", ["gauss-newton", "levenberg-marquardt"])
def test_fit_of_an_exponential(method):
    optimize = pytest.importorskip("scipy.optimize")
    t = np.linspace(0, 4, 30)
    data = 2.5 * np.exp(-1.3 * t) + 0.5 + 0.05 * np.random.default_rng(1).normal(size=30)

    def residuals(p, t, data):
        return p["size"] * cr.exp(-p["rate"] * t) + p["floor"] - data

    start = {"size": np.array(1.0), "rate": np.array(1.0), "floor": np.array(0.0)}
    theirs = optimize.least_squares(lambda p: p[0] * np.exp(-p[1] * t) + p[2] - data, [1, 1, 0], method="lm")
    found = minimise.minimize(residuals, start, method, args=(t, data), gtol=1e-9)
    assert found.converged
    np.testing.assert_allclose(found.value, theirs.cost, rtol=1e-10)
    np.testing.assert_allclose([float(found.x[k]) for k in ("size", "rate", "floor")], theirs.x, rtol=1e-6)
    assert found.evaluations <= theirs.nfev + 3  # their tolerance is looser


@pytest.mark.parametrize("method", ["gauss-newton", "levenberg-marquardt"])
def test_least_squares_on_known_functions(method):
    found = minimise.minimize(lambda x: cr.stack([10 * (x[1] - x[0] ** 2), 1 - x[0]]), np.array([-1.2, 1.0]), method)
    np.testing.assert_allclose(found.x.numpy(), [1, 1], rtol=1e-5)
    found = minimise.minimize(beale_residuals, np.array([1.0, 1.0]), method)
    np.testing.assert_allclose(found.x.numpy(), [3, 0.5], rtol=1e-6)


# -- each method by what it promises --------------------------------------------------------------------------------


def quadratic(size, spread=10.0, seed=3):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    matrix = (q * np.linspace(1, spread, size)) @ q.T
    return (matrix + matrix.T) / 2, np.random.default_rng(seed + 1).normal(size=size)


def test_newton_solves_a_quadratic_in_one_step():
    matrix, right = quadratic(6)
    found = minimise.newton(lambda x: 0.5 * x @ cr.asarray(matrix) @ x - cr.asarray(right) @ x, np.zeros(6))
    assert found.converged and found.iterations == 1 and found.evaluations == 2
    np.testing.assert_allclose(found.x.numpy(), np.linalg.solve(matrix, right), rtol=1e-12)


def test_newton_converges_quadratically():
    values = []
    minimise.newton(
        lambda x: (cr.exp(x) - 2 * x).sum(), np.array([2.0]), callback=lambda x, value: values.append(float(x[0]))
    )
    errors = np.abs(np.array(values) - np.log(2))
    errors = errors[errors > 1e-9]
    assert len(errors) >= 3 and (errors[1:] <= errors[:-1] ** 2).all()


def test_newton_direction_of_an_indefinite_matrix_descends():
    matrix = np.diag([2.0, -4.0, 0.0])
    gradient = np.array([2.0, 4.0, 0.0])
    direction, downwards = newton_direction(matrix, gradient)
    np.testing.assert_allclose(direction, [-1, -1, 0])
    np.testing.assert_allclose(np.abs(downwards), [0, 2, 0], atol=1e-12)
    assert newton_direction(np.diag([1.0, 2.0]), gradient[:2])[1] is None


@pytest.mark.parametrize("start", [[0.0, 0.0], [0.3, 0.0], [1e-4, 1e-3]])
def test_newton_leaves_saddle_points(start):
    """x^2 + y^4 / 4 - y^2 / 2: a saddle at 0, minima at (0, +-1)."""
    found = minimise.newton(lambda p: p[0] ** 2 + p[1] ** 4 / 4 - p[1] ** 2 / 2, np.array(start))
    assert found.converged and abs(found.value + 0.25) < 1e-10
    np.testing.assert_allclose(np.abs(found.x.numpy()), [0, 1], atol=1e-5)


def test_newton_cg_goes_on_at_negative_curvature():
    found = minimise.newton_cg(lambda p: p[0] ** 2 + p[1] ** 4 / 4 - p[1] ** 2 / 2, np.array([0.5, 0.1]))
    assert found.converged and abs(found.value + 0.25) < 1e-10


def test_newton_cg_counts_products():
    matrix, right = quadratic(8)
    found = minimise.newton_cg(
        lambda x: 0.5 * x @ cr.asarray(matrix) @ x - cr.asarray(right) @ x, np.zeros(8), gtol=1e-10
    )
    assert found.converged and found.iterations < found.products <= 8 * found.iterations


def test_two_loop_recursion_is_the_bfgs_inverse():
    """The product equals the matrix of the BFGS updates, started from the scaled identity."""
    history = History(3)
    size = 5
    pairs = []
    matrix = quadratic(size)[0]
    for _ in range(4):
        s = RNG.normal(size=size)
        pairs.append((s, matrix @ s))
        history.add(*pairs[-1], 0.0)
    kept = pairs[-3:]
    s, y = kept[-1]
    inverse = np.eye(size) * (s @ y) / (y @ y)
    for s, y in kept:
        left = np.eye(size) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    gradient = RNG.normal(size=size)
    np.testing.assert_allclose(history.times(gradient), inverse @ gradient, rtol=1e-10)
    history.add(s, -y, 0.0)
    assert len(history.steps) == 3 and history.steps[-1] is kept[-1][0]


def test_gradient_descent_with_a_fixed_step_is_its_formula():
    points = []
    found = minimise.gradient_descent(
        lambda x: (cr.asarray([1.0, 4.0], dtype=cr.float64) * x * x).sum() / 2,
        np.array([1.0, 1.0]),
        step=0.2,
        maxiter=5,
        callback=lambda x, value: points.append(x.tolist()),
    )
    np.testing.assert_allclose(points, [[0.8**k, 0.2**k] for k in range(1, 6)], rtol=1e-12)
    assert not found.converged and found.iterations == 5 and found.evaluations == 6
    assert found.message == "maxiter=5 steps are done, the gradient is still 0.33"


def test_gradient_descent_with_too_long_a_step():
    found = minimise.gradient_descent(lambda x: (x**4).sum(), np.array([10.0]), step=1.0)
    assert not found.converged and "it is too long" in found.message
    assert np.isfinite(found.value) and np.isfinite(found.x.numpy()).all()


def test_backtracking_descends_every_step():
    values = []
    found = minimise.gradient_descent(
        rosenbrock, np.array([-1.2, 1.0]), maxiter=200, callback=lambda x, value: values.append(value)
    )
    assert len(values) == 200 and (np.diff(values) < 0).all() and found.value == values[-1]


def test_levenberg_marquardt_does_not_depend_on_units():
    t = np.linspace(0, 1, 12)
    data = 3 * np.exp(-2 * t)
    first = minimise.levenberg_marquardt(lambda p: p[0] * cr.exp(-p[1] * t) - data, np.array([1.0, 1.0]), maxiter=3)
    second = minimise.levenberg_marquardt(
        lambda p: p[0] * 1e4 * cr.exp(-p[1] * 1e-3 * t) - data, np.array([1e-4, 1e3]), maxiter=3
    )
    assert first.evaluations == second.evaluations == 4 and not first.converged
    np.testing.assert_allclose(second.x.numpy() * [1e4, 1e-3], first.x.numpy(), rtol=1e-10)


@pytest.mark.parametrize("method", ["gauss-newton", "levenberg-marquardt"])
def test_a_jacobian_without_full_rank(method):
    found = minimise.minimize(lambda p: cr.stack([p[0] + p[1] - 2.0, p[0] + p[1] - 2.0]), np.zeros(2), method)
    assert found.converged
    np.testing.assert_allclose(found.x.numpy(), [1, 1], rtol=1e-6)


# -- dtypes, trees, compilation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ALL)
def test_float32_converges_to_its_rounding(method):
    found = minimise.minimize(beale, np.array([1.0, 1.0], np.float32), method)
    assert found.converged and found.x.dtype == cr.float32
    np.testing.assert_allclose(found.x.numpy(), [3, 0.5], atol=2e-3)


@pytest.mark.parametrize("method", ALL)
def test_a_minimum_far_from_zero_in_value_is_no_failure(method):
    """Where the value's rounding hides the decrease, slopes decide: 1e6 + x^2 in float32."""
    start = np.array([0.5, 1.4], np.float32)
    found = minimise.minimize(lambda x: 1e6 + ((x - 1) ** 2 * cr.asarray([1.0, 3.0])).sum(), start, method, gtol=1e-5)
    assert found.converged and found.gradient_norm < 1e-3
    np.testing.assert_allclose(found.x.numpy(), [1, 1], atol=1e-3)


def test_mixed_dtypes_and_nested_trees():
    start = {"a": [np.array([1.0, 2.0], np.float32)], "b": (np.array(3.0), None)}
    found = minimise.lbfgs(lambda p: (p["a"][0] ** 2).sum().astype(cr.float64) + (p["b"][0] - 1) ** 2, start)
    assert found.x["a"][0].dtype == cr.float32 and found.x["b"][0].dtype == cr.float64
    assert found.x["b"][1] is None
    np.testing.assert_allclose(found.x["a"][0].numpy(), [0, 0], atol=1e-4)
    np.testing.assert_allclose(float(found.x["b"][0]), 1, atol=1e-4)


@pytest.mark.parametrize("method", ALL)
def test_a_module_is_a_tree_of_parameters(method):
    cr.manual_seed(0)
    model = cr.nn.Linear(4, 1)
    inputs, wanted = INPUTS.astype(np.float32), (INPUTS @ [1.0, 2.0, 3.0, 4.0] + 5).astype(np.float32)[:, None]
    before = model.weight.numpy().copy()
    found = minimise.minimize(lambda m, x, y: ((m(x) - y) ** 2).mean(), model, method, args=(inputs, wanted))
    assert isinstance(found.x, cr.nn.Linear) and found.converged
    np.testing.assert_allclose(found.x.weight.detach().numpy(), [[1, 2, 3, 4]], atol=1e-3)
    np.testing.assert_array_equal(model.weight.numpy(), before)


@pytest.mark.parametrize("method, times", [("lbfgs", 1), ("newton", 2), ("newton-cg", 2), ("gradient-descent", 1)])
def test_the_function_is_recorded_once_for_each_kind_of_evaluation(method, times):
    calls = []

    def f(x):
        calls.append(0)
        return ((x - 1) ** 4).sum() + (x**2).sum()

    found = minimise.minimize(f, np.array([3.0, -1.0]), method)
    assert found.converged and found.iterations > 2
    assert len(calls) <= times + (method == "newton-cg")  # a loop's body is recorded apart


@pytest.mark.parametrize("method", ALL)
def test_without_compilation_functions_may_branch(method):
    def f(x):
        return (x**2).sum() if float(x[0]) > 0 else (x**2).sum() + x[0] ** 2

    found = minimise.minimize(f, np.array([2.0, 1.0]), method, compile=False)
    assert found.converged
    np.testing.assert_allclose(found.x.numpy(), [0, 0], atol=1e-6)


def test_residuals_without_compilation():
    found = minimise.levenberg_marquardt(lambda x: x - 1 if float(x[0]) < 9 else x, np.array([3.0]), compile=False)
    assert found.converged and abs(float(found.x[0]) - 1) < 1e-6


def test_the_callback_ends_the_run():
    found = minimise.lbfgs(rosenbrock, np.array([-1.2, 1.0]), callback=lambda x, value: value < 1)
    assert not found.converged and found.message == "the callback said so" and found.value < 1


def test_the_result_in_words():
    found = minimise.newton(lambda x: (x**2 / 2).sum(), np.array([1.0]))
    assert repr(found) == (
        "newton: converged after 1 iterations, 2 evaluations: value 0, gradient 0 "
        "(the largest gradient element is 0, gtol is 1e-06)"
    )


def test_arguments_that_require_grad_are_inputs_all_the_same():
    calls = []

    def f(x, c):
        calls.append(0)
        return ((x - c) ** 4).sum()

    c = cr.tensor([1.0, 2.0], dtype=cr.float64, requires_grad=True)
    found = minimise.lbfgs(f, cr.zeros(2, dtype=cr.float64, requires_grad=True), args=(c,))
    assert found.converged and len(calls) == 1 and not found.x.requires_grad and c.grad is None
    np.testing.assert_allclose(found.x.numpy(), [1, 2], atol=0.02)


@pytest.mark.parametrize("method", ALL)
def test_a_function_may_close_over_parameters(method):
    weight = cr.nn.Parameter(cr.asarray([1.0, 2.0], dtype=cr.float64))
    found = minimise.minimize(lambda x: ((x - weight) ** 2).sum(), np.zeros(2), method)
    assert found.converged and weight.grad is None
    np.testing.assert_allclose(found.x.numpy(), [1, 2], atol=1e-6)


def test_a_start_at_the_minimum_takes_no_step():
    for method in [*ALL, "gradient-descent"]:
        found = minimise.minimize(lambda x: (x**2).sum(), np.zeros(2), method)
        assert found.converged and found.iterations == 0 and found.evaluations == 1


def test_an_unbounded_function_does_not_converge():
    found = minimise.lbfgs(lambda x: -(x**3).sum(), np.array([1.0]), maxiter=50)
    assert not found.converged


def test_steps_shorten_where_the_function_is_not_finite():
    """-log(x) + x has no value at x <= 0, where a first Newton step from 3 leads."""
    for method in [*ALL, "gradient-descent"]:
        found = minimise.minimize(lambda x: (x - cr.log(x)).sum(), np.array([3.0]), method)
        assert found.converged and abs(float(found.x[0]) - 1) < 1e-5


@pytest.mark.parametrize("method", [*ALL, "gradient-descent"])
def test_large_values_do_not_stop_a_run(method):
    """exp(80) squared overflows float32."""
    found = minimise.minimize(lambda x: (cr.exp(x) - x).sum(), np.array([70.0], np.float32), method, maxiter=500)
    assert found.gradient_norm <= 1


@pytest.mark.parametrize("method", [*ALL, "gradient-descent"])
def test_no_minimum_is_no_convergence(method):
    found = minimise.minimize(lambda x: cr.log(1 - x).sum(), np.array([0.5]), method, maxiter=100)
    assert not found.converged and found.message


@pytest.mark.parametrize("method", ["gauss-newton", "levenberg-marquardt"])
def test_linear_least_squares_on_leaves_of_any_shape(method):
    """Two Gauss-Newton points at most: the second is the solution of the normal equations."""
    inputs, wanted = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))

    def residuals(p, inputs, wanted):
        return (inputs @ p["matrix"] + p["shift"] - wanted).reshape(-1)

    start = {"shift": np.zeros(2), "matrix": np.ones((3, 2))}
    found = minimise.minimize(residuals, start, method, args=(inputs, wanted), gtol=1e-9)
    solved = np.linalg.lstsq(np.append(inputs, np.ones((12, 1)), 1), wanted, rcond=None)[0]
    np.testing.assert_allclose(found.x["matrix"].numpy(), solved[:3], rtol=1e-7)
    np.testing.assert_allclose(found.x["shift"].numpy(), solved[3], rtol=1e-7)
    assert found.converged and found.products == found.iterations + 1
    if method == "gauss-newton":
        assert found.iterations == 1


def test_random_quartics_end_no_higher_than_by_scipy():
    optimize = pytest.importorskip("scipy.optimize")

    def f(x, matrix, shift):
        y = matrix @ x - shift
        return (y**4).sum() / 4 + (x * x).sum() / 2 + cr.sin(x).sum()

    for seed in range(6):
        generator = np.random.default_rng(seed)
        matrix, shift, start = generator.normal(size=(5, 5)), generator.normal(size=5), generator.normal(size=5)
        value = lambda x: ((matrix @ x - shift) ** 4).sum() / 4 + x @ x / 2 + np.sin(x).sum()  # noqa: B023, E731
        theirs = optimize.minimize(value, start, tol=1e-10)
        for method in ALL:
            found = minimise.minimize(f, start, method, args=(matrix, shift))
            assert found.converged
            assert found.value == pytest.approx(value(found.x.numpy()), rel=1e-12)
            assert found.value <= theirs.fun + 1e-8 * abs(theirs.fun)


# -- bad input ----------------------------------------------------------------------------------------------------


def refused(error, call):
    with pytest.raises(error) as caught:
        call()
    return str(caught.value).split("\n")


def test_bad_starts():
    square = lambda x: (x**2).sum()  # noqa: E731
    lines = refused(DTypeError, lambda: minimise.lbfgs(square, {"a": np.arange(3)}))
    assert lines[0] == "lbfgs: x0['a'] has dtype int64, not float32 or float64; operands int64[3]"
    assert lines[1].startswith("recorded at ") and "test_minimise.py" in lines[1]
    assert lines[2] == "help: convert with .astype(chainrule.float64)"
    assert refused(DTypeError, lambda: minimise.lbfgs(square, np.zeros(2, np.float16)))[0] == (
        "lbfgs: x0 has dtype float16, not float32 or float64; operands float16[2]"
    )
    assert refused(DTypeError, lambda: minimise.lbfgs(square, 1 + 2j))[0] == (
        "lbfgs: x0 has dtype complex64, not float32 or float64; operands complex64[]"
    )
    lines = refused(CompileError, lambda: cr.compile(lambda x: minimise.lbfgs(square, x).x)(np.zeros(2)))
    assert (
        lines[0]
        == "lbfgs: how many steps it takes depends on values, which a compiled or batched function does not have"
    )
    assert refused(CompileError, lambda: cr.vmap(lambda x: minimise.newton(square, x).x)(cr.zeros((2, 3))))[0] == (
        "newton: how many steps it takes depends on values, which a compiled or batched function does not have"
    )
    lines = refused(DTypeError, lambda: minimise.newton(square, [np.zeros(2), "a"]))
    assert lines[0] == "newton: x0[1] is str, not a tensor"
    assert refused(ConfigError, lambda: minimise.newton(square, {}))[0] == (
        "newton: x0 has no leaves: there is nothing to solve for"
    )
    assert refused(NonFiniteError, lambda: minimise.lbfgs(square, [np.array([1.0, np.nan])]))[0] == (
        "lbfgs: x0[0][1] is nan: all of x0 has to be finite"
    )
    assert refused(NonFiniteError, lambda: minimise.lbfgs(lambda x: cr.log(x).sum(), np.array([-1.0])))[0] == (
        "lbfgs: f(x0) is nan"
    )
    assert refused(NonFiniteError, lambda: minimise.newton(lambda x: cr.sqrt(x).sum(), np.array([1.0, 0.0])))[0] == (
        "newton: the gradient at x0: g[1] is inf"
    )
    assert refused(NonFiniteError, lambda: minimise.gauss_newton(cr.log, np.array([1.0, 0.0])))[0] == (
        "gauss_newton: the residuals at x0: r[1] is -inf"
    )


def test_bad_functions():
    x = np.ones(3)
    assert refused(ShapeError, lambda: minimise.lbfgs(lambda x: x * 2, x))[0] == (
        "lbfgs: f returned shape [3], not a scalar; operands float64[3]"
    )
    assert refused(DTypeError, lambda: minimise.lbfgs(lambda x: 1.0, x))[0] == "lbfgs: f returned float, not a tensor"
    assert refused(DTypeError, lambda: minimise.lbfgs(lambda x: (x > 0).sum(), x))[0] == (
        "lbfgs: f returned int64, not a real number; operands int64[]"
    )
    assert refused(ShapeError, lambda: minimise.levenberg_marquardt(lambda x: x.sum(), x))[0] == (
        "levenberg_marquardt: the residuals have shape [], not one axis; operands float64[]"
    )
    assert refused(ShapeError, lambda: minimise.gauss_newton(lambda x: x.reshape(3, 1), x))[0] == (
        "gauss_newton: the residuals have shape [3, 1], not one axis; operands float64[3, 1]"
    )


def test_bad_options():
    square, x = lambda x: (x**2).sum(), np.ones(1)
    lines = refused(ConfigError, lambda: minimise.minimize(square, x, "newtn"))
    assert lines[0] == "minimize: there is no method 'newtn'" and lines[2] == "help: did you mean 'newton'?"
    lines = refused(ConfigError, lambda: minimise.minimize(square, x, "newton", history_size=3))
    assert lines[0] == "minimize: method 'newton' has no option 'history_size'"
    assert lines[2] == "help: its options are maxiter, gtol, ftol, callback, compile"
    assert refused(ConfigError, lambda: minimise.lbfgs(square, x, maxiter=-1))[0] == (
        "lbfgs: maxiter has to be a whole number from 0 on, not -1"
    )
    assert refused(ConfigError, lambda: minimise.lbfgs(square, x, gtol=-1.0))[0] == (
        "lbfgs: gtol has to be a number from 0 on, not -1.0"
    )
    assert refused(ConfigError, lambda: minimise.lbfgs(square, x, history_size=0))[0] == (
        "lbfgs: history_size has to be a positive whole number, not 0"
    )
    assert refused(ConfigError, lambda: minimise.lbfgs(square, x, c1=0.9, c2=0.1))[0] == (
        "lbfgs: 0 < c1 < c2 < 1 does not hold for c1=0.9, c2=0.1"
    )
    assert refused(ConfigError, lambda: minimise.gradient_descent(square, x, step=0.0))[0] == (
        "gradient_descent: step has to be a positive number, not 0.0"
    )
    assert refused(ConfigError, lambda: minimise.levenberg_marquardt(lambda x: x, x, damping=-1))[0] == (
        "levenberg_marquardt: damping has to be a positive number, not -1"
    )
