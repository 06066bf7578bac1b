"""Line searches by the conditions that they promise, and linear conjugate gradients."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import minimise
from chainrule.errors import ConfigError, DTypeError, NonFiniteError, ShapeError
from chainrule.minimise.wolfe import Search, Trial, _cubic

#: (function, derivative) on a line from 0: the three of Moré and Thuente (1994), and some with traps
LINES = {
    "rational": (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),
    "power": (lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, lambda a: 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3),
    "parabola": (lambda a: (a - 3) ** 2, lambda a: 2 * (a - 3)),
    "waves": (lambda a: -a + 2 * math.sin(3 * a) / 7, lambda a: -1 + 6 * math.cos(3 * a) / 7 + 0.4 * a),
    "barrier": (
        lambda a: -math.log(1 - a) - 2 * a if a < 1 else math.inf,
        lambda a: 1 / (1 - a) - 2 if a < 1 else math.nan,
    ),
    "steep": (lambda a: math.cosh(min(50 * a, 600)) - 60 * a, lambda a: 50 * math.sinh(min(50 * a, 600)) - 60),
}
LINES["waves"] = (lambda a: -a + 2 * math.sin(3 * a) / 7 + 0.2 * a * a, LINES["waves"][1])


def search_on(line, c1, c2, budget=40):
    value, slope = LINES[line]
    return Search(lambda a: Trial(a, value(a), slope(a)), Trial(0.0, value(0.0), slope(0.0)), c1, c2, 0.0, budget)


@pytest.mark.parametrize("first", [1e-3, 0.1, 1.0, 10.0, 1e3])
@pytest.mark.parametrize("c1, c2", [(1e-4, 0.9), (1e-4, 0.1), (1e-3, 0.01)])
@pytest.mark.parametrize("line", LINES)
def test_strong_wolfe_conditions_hold(line, c1, c2, first):
    search = search_on(line, c1, c2)
    found, satisfied = search.strong(first, 1e10)
    value, slope = LINES[line]
    assert satisfied
    assert found.value == value(found.step) and found.slope == slope(found.step)
    assert found.value <= value(0.0) + c1 * found.step * slope(0.0)
    assert abs(found.slope) <= c2 * abs(slope(0.0))
    assert search.trials <= 20


@pytest.mark.parametrize("first", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("line", LINES)
def test_armijo_condition_holds(line, first):
    found, satisfied = search_on(line, 1e-4, 0.9).armijo(first)
    value, slope = LINES[line]
    assert satisfied and 0 < found.step <= first
    assert found.value <= value(0.0) + 1e-4 * found.step * slope(0.0)


def test_the_cubic_meets_values_and_slopes():
    """The minimiser of a^3 - 3 a, from any two trials, is 1."""
    for left, right in ((0.0, 3.0), (-0.5, 0.5), (2.0, 0.1)):
        ends = [Trial(a, a**3 - 3 * a, 3 * a * a - 3) for a in (left, right)]
        assert _cubic(*ends) == pytest.approx(1.0)
    assert math.isnan(_cubic(Trial(0, 0, -1), Trial(1, -1, -1)))


def test_a_function_without_an_end_uses_the_longest_step():
    search = Search(lambda a: Trial(a, -a, -1.0), Trial(0.0, 0.0, -1.0), 1e-4, 0.9, 0.0, 40)
    found, satisfied = search.strong(1.0, 50.0)
    assert found.step == 50.0 and not satisfied


def test_no_lower_value_gives_step_zero():
    search = Search(lambda a: Trial(a, 1.0 + a, 1.0), Trial(0.0, 1.0, -1.0), 1e-4, 0.9, 0.0, 10)
    found, satisfied = search.strong(1.0, 1e10)
    assert found.step == 0.0 and not satisfied and search.trials == 10


def test_slopes_decide_where_values_are_noise():
    """Values that are one unit of rounding too high, with slopes of a fine parabola."""
    trial = lambda a: Trial(a, 1e6 + (0.125 if a else 0.0), a - 1)  # noqa: E731
    found, satisfied = Search(trial, trial(0.0), 1e-4, 0.9, 0.5, 10).strong(1.0, 1e10)
    assert satisfied and found.step == 1.0
    assert not Search(trial, trial(0.0), 1e-4, 0.9, 0.0, 10).strong(1.0, 1e10)[1]


def test_line_search_on_trees():
    f = lambda p, c: (c * p["a"] ** 2).sum() + p["b"] ** 4  # noqa: E731
    x = {"a": np.array([1.0, 2.0]), "b": np.array(1.0)}
    direction = {"a": np.array([-1.0, -1.0]), "b": np.array(-1.0)}
    found = minimise.line_search(f, x, direction, args=(np.array([3.0, 1.0]),), c2=0.1)
    at = lambda a: 3 * (1 - a) ** 2 + (2 - a) ** 2 + (1 - a) ** 4  # noqa: E731
    slope = lambda a: -6 * (1 - a) - 2 * (2 - a) - 4 * (1 - a) ** 3  # noqa: E731
    assert found.converged and found.message == "the strong Wolfe conditions hold"
    assert found.value == pytest.approx(at(found.step)) and found.slope == pytest.approx(slope(found.step))
    assert abs(slope(found.step)) <= 0.1 * abs(slope(0)) and at(found.step) <= at(0) + 1e-4 * found.step * slope(0)
    np.testing.assert_allclose(found.x["a"].numpy(), x["a"] - found.step)


def test_bad_line_searches():
    square, x = lambda x: (x**2).sum(), np.array([1.0, 2.0])

    def refused(error, *args, **options):
        with pytest.raises(error) as caught:
            minimise.line_search(*args, **options)
        return str(caught.value).split("\n")[0]

    assert refused(ConfigError, square, x, x) == (
        "line_search: the direction does not lead downwards: the slope along it is 10"
    )
    assert refused(ShapeError, square, x, -np.ones(3)) == "line_search: direction has shape [3], not [2]"
    assert refused(ConfigError, square, x, [-x]) == "line_search: direction has structure list(*), not *"
    assert refused(ConfigError, square, x, -x, c1=0.5, c2=0.1) == (
        "line_search: 0 < c1 < c2 < 1 does not hold for c1=0.5, c2=0.1"
    )
    assert refused(ConfigError, square, x, -x, step=-1.0) == ("line_search: step has to be a positive number, not -1.0")


# -- linear conjugate gradients -----------------------------------------------------------------------------------


def definite(size, spread=10.0, seed=0):
    generator = np.random.default_rng(seed)
    q = np.linalg.qr(generator.normal(size=(size, size)))[0]
    matrix = (q * np.linspace(1, spread, size)) @ q.T
    return (matrix + matrix.T) / 2, generator.normal(size=size)


@pytest.mark.parametrize("size", [1, 2, 7, 20])
def test_n_equations_take_n_steps(size):
    matrix, b = definite(size)
    x, info = minimise.cg(matrix, b, tol=1e-10)
    assert bool(info.converged) and int(info.iterations) <= size
    np.testing.assert_allclose(x.numpy(), np.linalg.solve(matrix, b), rtol=1e-8)
    np.testing.assert_allclose(float(info.residual_norm), np.linalg.norm(b - matrix @ x.numpy()), atol=1e-12)


def test_three_eigenvalues_take_three_steps():
    q = np.linalg.qr(np.random.default_rng(1).normal(size=(30, 30)))[0]
    matrix = (q * np.repeat([1.0, 5.0, 50.0], 10)) @ q.T
    _, info = minimise.cg((matrix + matrix.T) / 2, np.ones(30), tol=1e-9)
    assert int(info.iterations) == 3


def test_cg_like_scipy():
    linalg = pytest.importorskip("scipy.sparse.linalg")
    matrix, b = definite(40, 1000.0)
    steps = []
    theirs, _ = linalg.cg(matrix, b, rtol=1e-6, callback=steps.append)
    x, info = minimise.cg(matrix, b, tol=1e-6)
    assert int(info.iterations) == len(steps)
    np.testing.assert_allclose(x.numpy(), theirs, rtol=1e-6, atol=1e-9)


def test_a_preconditioner_saves_steps():
    generator = np.random.default_rng(2)
    scales = 10.0 ** generator.uniform(-2, 2, 40)
    matrix = np.diag(scales) + 0.001 * np.ones((40, 40))
    b = generator.normal(size=40)
    _, plain = minimise.cg(matrix, b)
    x, better = minimise.cg(matrix, b, preconditioner=lambda v: v / scales, tol=1e-10)
    _, same = minimise.cg(matrix, b, preconditioner=np.diag(1 / scales), tol=1e-10)
    assert int(better.iterations) == int(same.iterations) <= 6 < int(plain.iterations)
    np.testing.assert_allclose(x.numpy(), np.linalg.solve(matrix, b), rtol=1e-6)


def test_hessian_vector_products_on_a_tree():
    f = lambda p: (p["a"] ** 2).sum() * (1 + p["b"] ** 2) + 3 * p["b"] ** 2  # noqa: E731
    point = {"a": cr.asarray([0.1, 0.2], dtype=cr.float64), "b": cr.asarray(0.3, dtype=cr.float64)}
    b = {"a": np.array([1.0, 2.0]), "b": np.array(3.0)}
    x, info = minimise.cg(lambda v: cr.hvp(f, (point,), (v,)), b, tol=1e-10)
    assert bool(info.converged) and int(info.iterations) <= 3
    product = cr.hvp(f, (point,), (x,))
    np.testing.assert_allclose(product["a"].numpy(), b["a"], rtol=1e-8)
    np.testing.assert_allclose(float(product["b"]), 3.0, rtol=1e-8)


def test_a_start_is_used():
    matrix, b = definite(9)
    exact = np.linalg.solve(matrix, b)
    _, info = minimise.cg(matrix, b, exact)
    assert int(info.iterations) == 0 and bool(info.converged)
    near, info = minimise.cg(matrix, b, exact + 1e-3, tol=1e-9)
    np.testing.assert_allclose(near.numpy(), exact, rtol=1e-7)


def test_an_indefinite_matrix_ends_the_run():
    x, info = minimise.cg(np.diag([1.0, -1.0]), np.array([1.0, 2.0]))
    assert not bool(info.definite) and not bool(info.converged)
    assert info.message == (
        "A (or the preconditioner) is not positive definite: after 1 products the residual's norm is 2.2"
    )
    np.testing.assert_array_equal(x.numpy(), [0, 0])


def test_maxiter_ends_the_run():
    matrix, b = definite(20, 100.0)
    _, info = minimise.cg(matrix, b, maxiter=3)
    assert int(info.iterations) == 3 and not bool(info.converged) and info.message.startswith("maxiter is reached")


def test_zero_right_hand_side():
    x, info = minimise.cg(np.eye(3), np.zeros(3))
    assert bool(info.converged) and int(info.iterations) == 0 and not x.numpy().any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cg_keeps_dtypes(dtype):
    matrix, b = definite(5)
    x, info = minimise.cg(matrix.astype(dtype), b.astype(dtype))
    assert x.numpy().dtype == dtype and info.residual_norm.numpy().dtype == dtype
    mixed, _ = minimise.cg(lambda v: v, {"a": np.ones(2, np.float32), "b": np.ones(2)})
    assert mixed["a"].dtype == cr.float32 and mixed["b"].dtype == cr.float64


def test_cg_compiles_and_batches():
    matrix, b = definite(6)
    expected = np.linalg.solve(matrix, b)
    solve = cr.compile(lambda A, b: minimise.cg(A, b, tol=1e-10)[0])
    np.testing.assert_allclose(solve(matrix, b).numpy(), expected, rtol=1e-7)
    many = cr.vmap(lambda b: minimise.cg(cr.asarray(matrix), b, tol=1e-10)[0])(cr.asarray(np.stack([b, 2 * b])))
    np.testing.assert_allclose(many.numpy(), [expected, 2 * expected], rtol=1e-7)


def test_derivatives_through_cg():
    matrix, b = definite(4)

    def solve(A, b):
        return minimise.cg((A + A.T) / 2, b, tol=1e-13, maxiter=8)[0]

    weights = cr.asarray([1.0, -2.0, 0.5, 3.0], dtype=cr.float64)
    arguments = (cr.asarray(matrix), cr.asarray(b))
    found = cr.grad(lambda A, b: (weights * solve(A, b)).sum(), (0, 1))(*arguments)
    exact = cr.grad(lambda A, b: (weights * cr.linalg.solve((A + A.T) / 2, b)).sum(), (0, 1))(*arguments)
    for ours, theirs in zip(found, exact):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-8, atol=1e-10)
    tangent = cr.jvp(lambda b: solve(arguments[0], b), (arguments[1],), (weights,))[1]
    np.testing.assert_allclose(tangent.numpy(), np.linalg.solve(matrix, weights.numpy()), rtol=1e-8)


def test_bad_systems():
    def refused(error, *args, **options):
        with pytest.raises(error) as caught:
            minimise.cg(*args, **options)
        return str(caught.value).split("\n")[0]

    b = np.ones(2)
    assert refused(ShapeError, np.ones((2, 3)), b) == (
        "cg: A has shape [2, 3], b has shape [2]; a matrix is [n, n], b then [n]; operands float64[2, 3]"
    )
    assert refused(ConfigError, np.array([[1.0, 2.0], [0.5, 1.0]]), b) == (
        "cg: A is not symmetric: [0, 1] is 2, [1, 0] is 0.5; operands float64[2, 2]"
    )
    assert refused(DTypeError, np.eye(2), np.array([1, 2])) == (
        "cg: b has dtype int64, not float32 or float64; operands int64[2]"
    )
    assert refused(NonFiniteError, np.eye(2), np.array([1.0, np.inf])) == "cg: b[1] is inf; operands float64[2]"
    assert refused(NonFiniteError, np.array([[np.nan, 0], [0, 1]]), b) == "cg: A[0, 0] is nan; operands float64[2, 2]"
    assert refused(ShapeError, np.eye(2), b, np.ones(3)) == "cg: x0 has shape [3], not [2]; operands float64[3]"
    assert refused(ShapeError, lambda v: v[:1], b) == (
        "cg: the product of A has shape [1], not [2]; operands float64[1]"
    )
    assert refused(ConfigError, np.eye(2), b, tol=-1.0) == "cg: tol has to be a number from 0 on, not -1.0"
    assert refused(ConfigError, np.eye(2), b, maxiter=0) == "cg: maxiter has to be a positive number, not 0"
