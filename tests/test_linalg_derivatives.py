"""Derivatives of linear algebra: central differences, both modes, second order, PyTorch, batched and compiled.

Functions of factors that are determined up to signs or rotations are made independent of them.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import SingularMatrixError

linalg = cr.linalg


def matrix(*shape, dtype="float64", seed=0):
    """Numbers from a normal distribution."""
    random = np.random.default_rng(seed)
    x = random.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * random.normal(size=shape)
    return np.asarray(x).astype(dtype)


def adjoint(x):
    return linalg.matrix_transpose(x).conj()


def hermitian(x):
    return (x + adjoint(x)) / 2


def definite(x):
    return x @ adjoint(x) + cr.eye(x.shape[-2], dtype=x.dtype)


def projected(q):
    return q @ adjoint(q)


def by_value(eigen):
    """A function of the matrix: each eigenvalue with its own projection."""
    values, vectors = eigen
    weights = cr.sin(values).astype(vectors.dtype)
    return (vectors * weights[..., None, :]) @ adjoint(vectors)


def by_eigenvalue(eigen):
    values, vectors = eigen
    return (vectors * cr.sin(values)[..., None, :]) @ linalg.inv(vectors)


def by_singular_value(parts):
    u, s, vh = parts
    k = s.shape[-1]
    return (u[..., :k] * cr.sin(s).astype(u.dtype)[..., None, :]) @ vh[..., :k, :]


def lengths(eigen):
    """What depends on the directions of eigenvectors, but not on their factors of magnitude 1."""
    return cr.abs(eigen.eigenvectors)


S, T, W, V = (3, 3), (4, 2), (2, 4), (3,)  # square, tall, wide, a vector
#: name -> (function, shapes of its operands, the same by PyTorch if that differs in more than its module)
CASES = {
    "cholesky": (lambda x: linalg.cholesky(definite(x)), [S]),
    "cholesky upper": (lambda x: linalg.cholesky(x @ adjoint(x), upper=True), [(2, 3, 3)]),
    "qr": (lambda x: sum_of(linalg.qr(x)), [S]),
    "qr tall": (lambda x: sum_of(linalg.qr(x)), [(2, 4, 2)]),
    "qr wide": (lambda x: sum_of(linalg.qr(x)), [W]),
    "qr complete": (lambda x: projected(linalg.qr(x, mode="complete").Q[..., 2:]), [T]),
    "qr complete whole": (lambda x: cr.concat([projected(linalg.qr(x, mode="complete").Q[..., :1]),
                                               *linalg.qr(x, mode="complete")], axis=-1)[..., :6], [T]),
    "lu": (lambda x: sum_of(linalg.lu(x)[1:]), [S]),
    "lu tall": (lambda x: cr.concat([linalg.lu(x).L, linalg.lu(x).U], axis=-2), [(2, 4, 3)]),
    "lu wide": (lambda x: cr.concat([linalg.lu(x).L, linalg.lu(x).U], axis=-1), [W]),
    "svd": (lambda x: by_singular_value(linalg.svd(x)), [S]),
    "svd tall": (lambda x: by_singular_value(linalg.svd(x, full_matrices=False)), [(2, 4, 2)]),
    "svd wide": (lambda x: by_singular_value(linalg.svd(x, full_matrices=False)), [W]),
    "svd left": (lambda x: projected(linalg.svd(x, full_matrices=False).U[..., :1]), [T]),
    "svd right": (lambda x: projected(adjoint(linalg.svd(x, full_matrices=False).Vh[..., 1:, :])), [W]),
    "svd full tall": (lambda x: projected(linalg.svd(x).U[..., 2:]), [T]),
    "svd full wide": (lambda x: projected(adjoint(linalg.svd(x).Vh[..., 2:, :])), [(2, 2, 4)]),
    "svd full both": (lambda x: projected(linalg.svd(x).U[..., 1:]), [T]),
    "svdvals": (lambda x: linalg.svdvals(x), [(2, 4, 3)]),
    "eigh": (lambda x: by_value(linalg.eigh(hermitian(x))), [(2, 3, 3)]),
    "eigh lower": (lambda x: by_value(linalg.eigh(x, UPLO="L")), [S]),
    "eigh upper": (lambda x: linalg.eigvalsh(x, UPLO="U"), [S]),
    "eigh part": (lambda x: projected(linalg.eigh(x).eigenvectors[..., :2]), [S]),
    "eigvalsh": (lambda x: linalg.eigvalsh(x), [(2, 3, 3)]),
    "eig": (lambda x: by_eigenvalue(linalg.eig(x)), [(2, 3, 3)]),
    "eig lengths": (lambda x: lengths(linalg.eig(x)), [S]),
    "eigvals": (lambda x: linalg.eigvals(x), [S]),
    "solve": (linalg.solve, [(2, 3, 3), (3, 2)]),
    "solve vector": (linalg.solve, [(2, 3, 3), V]),
    "solve one": (linalg.solve, [S, (2, 2, 3, 2)]),
    "solve_triangular": (lambda a, b: linalg.solve_triangular(a, b, lower=True), [(2, 3, 3), (3, 2)]),
    "solve_triangular turned": (lambda a, b: linalg.solve_triangular(a, b, trans="C", unit_diagonal=True), [S, V]),
    "solve_triangular right": (lambda a, b: linalg.solve_triangular(a, b, upper=True, left=False), [S, (2, 3)]),
    "cho_solve": (lambda a, b: linalg.cho_solve(linalg.cholesky(definite(a)), b), [S, V]),
    "inv": (linalg.inv, [(2, 3, 3)]),
    "pinv": (linalg.pinv, [(2, 4, 2)]),
    "pinv wide": (linalg.pinv, [W]),
    "pinv deficient": (lambda a, b: linalg.pinv(a @ b, rtol=1e-8), [(4, 2), (2, 3)]),
    "pinv hermitian": (lambda a: linalg.pinv(a, hermitian=True), [S]),
    "lstsq": (lambda a, b: linalg.lstsq(a, b).solution, [T, (4, 2)]),
    "lstsq residuals": (lambda a, b: linalg.lstsq(a, b).residuals, [(2, 4, 2), (4,)]),
    "lstsq wide": (lambda a, b: linalg.lstsq(a, b).solution, [W, (2,)]),
    "det": (linalg.det, [(2, 3, 3)]),
    "slogdet": (lambda x: linalg.slogdet(x).logabsdet, [(2, 3, 3)]),
    "slogdet sign": (lambda x: linalg.slogdet(x).sign, [S]),
    "logdet": (lambda x: linalg.logdet(definite(x)), [S]),
    "matrix_power": (lambda x: linalg.matrix_power(x, 5) / 10, [S]),
    "matrix_power negative": (lambda x: linalg.matrix_power(x, -2), [S]),
    "expm": (linalg.expm, [(2, 3, 3)]),
    "fro": (lambda x: linalg.matrix_norm(x), [(2, 3, 4)]),
    **{f"norm {order}": (lambda x, order=order: linalg.matrix_norm(x, ord=order), [(2, 3, 4)])
       for order in ("nuc", 2, -2, 1, -1, float("inf"), float("-inf"))},
    **{f"vector norm {order}": (lambda x, order=order: linalg.vector_norm(x, ord=order, axis=-1), [(2, 4)])
       for order in (2, 1, 3, 0.5, -1, float("inf"), float("-inf"))},
    "cond": (linalg.cond, [S]),
    "cond 1": (lambda x: linalg.cond(x, 1), [S]),
    "multi_dot": (lambda *x: linalg.multi_dot(x), [(2, 3), (3, 4), (4, 2)]),
    "kron": (linalg.kron, [(2, 3), (2, 2)]),
    "cross": (linalg.cross, [(2, 3), V]),
    "block_diag": (linalg.block_diag, [(2, 3), (1, 2)]),
    "diagonal": (lambda x: linalg.diagonal(x, offset=1), [(2, 3, 4)]),
    "trace": (lambda x: linalg.trace(x, offset=-1), [(2, 3, 4)]),
    "vecdot": (linalg.vecdot, [(2, 3), V]),
    "inner": (linalg.inner, [(2, 3), (4, 3)]),
    "tensorsolve": (linalg.tensorsolve, [(2, 2, 4), (2, 2)]),
    "tensorinv": (linalg.tensorinv, [(2, 2, 4)]),
}  # fmt: skip


def sum_of(parts):
    """Several results as one."""
    total = parts[0].sum() * 0.5
    for i, part in enumerate(parts):
        total = total + (part * cr.asarray(matrix(*part.shape, dtype=part.dtype.name, seed=70 + i))).sum()
    return total


#: what runs always; the others run with ``--slow``
QUICK = {
    "cholesky", "qr tall", "qr complete", "lu wide", "svd tall", "svd full wide", "eigh", "eigvals", "solve one", "inv",
    "solve_triangular turned", "pinv", "lstsq residuals", "det", "slogdet", "expm", "norm nuc", "vector norm 2",
}  # fmt: skip
ALL = pytest.mark.parametrize("name", list(CASES))
SOME = pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CASES])
DTYPES = pytest.mark.parametrize("dtype", ["complex128", pytest.param("float64", marks=pytest.mark.slow)])


@pytest.fixture(autouse=True)
def only_if_asked_for(request):
    if request.node.get_closest_marker("slow") and not request.config.getoption("--slow"):
        pytest.skip("runs with --slow")


def operands(name, dtype, seed=1):
    """Arrays for a case, with distinct eigenvalues of all kinds."""
    return [matrix(*shape, dtype=dtype, seed=seed + i) for i, shape in enumerate(CASES[name][1])]


def dot(a, b):
    """The real inner product."""
    return float(sum(np.real(np.vdot(x, y)) for x, y in zip(a, b)))


def tensors(arrays):
    return [cr.asarray(a) for a in arrays]


def arrays_of(parts):
    return [p.numpy() for p in parts]


@DTYPES
@ALL
def test_first_derivative(name, dtype):
    """Reverse against central differences along a random direction, forward against reverse."""
    function, x = CASES[name][0], operands(name, dtype)
    along = [matrix(*a.shape, dtype=dtype, seed=20 + i) for i, a in enumerate(x)]
    value, pull = cr.vjp(function, *tensors(x))
    weights = matrix(*value.shape, dtype=value.dtype.name, seed=30)
    gradients = arrays_of(pull(cr.asarray(weights)))
    assert [g.dtype for g in gradients] == [a.dtype for a in x]
    slope = dot(gradients, along)
    ends = []
    for step in (-1e-6, 1e-6):
        ends.append(dot([weights], [function(*tensors(a + step * t for a, t in zip(x, along))).numpy()]))
    assert slope == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=2e-6, abs=1e-7)
    tangent = cr.jvp(function, tuple(tensors(x)), tuple(tensors(along)))[1]
    assert dot([weights], [tangent.numpy()]) == pytest.approx(slope, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize(("single", "double"), [("float32", "float64"), ("complex64", "complex128")])
@pytest.mark.parametrize("name", sorted(QUICK))
def test_single_precision(name, single, double):
    """Values and gradients have the operand's precision, and the digits that it has."""
    function = CASES[name][0]
    found = []
    for dtype in (single, double):
        x = tensors(a.astype(dtype) for a in operands(name, single))
        value, pull = cr.vjp(function, *x)
        gradients = pull(cr.ones_like(value))
        assert all(g.dtype is a.dtype for g, a in zip(gradients, x))
        found.append(arrays_of([value, *gradients]))
    assert found[0][0].dtype.itemsize * 2 == found[1][0].dtype.itemsize
    for got, wanted in zip(*found):
        np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-4 * np.abs(wanted).max())


@DTYPES
@SOME
def test_second_derivative(name, dtype):
    """Derivatives of the gradient, forward and reverse, against its central differences."""
    function, x = CASES[name][0], operands(name, dtype)
    along = [matrix(*a.shape, dtype=dtype, seed=40 + i) for i, a in enumerate(x)]
    across = [matrix(*a.shape, dtype=dtype, seed=50 + i) for i, a in enumerate(x)]
    value = function(*tensors(x))
    weights = cr.asarray(matrix(*value.shape, dtype=value.dtype.name, seed=60))

    def gradient(*arguments):
        """The gradient along `across`: one real number."""
        found = cr.vjp(function, *arguments)[1](weights)
        return sum(
            (cr.real(cr.conj(cr.asarray(t)) * g).sum() for t, g in zip(across, found)), cr.asarray(np.array(0.0))
        )

    curvature = float(cr.jvp(gradient, tuple(tensors(x)), tuple(tensors(along)))[1])
    ends = [gradient(*tensors(a + step * t for a, t in zip(x, along))).item() for step in (-1e-6, 1e-6)]
    assert curvature == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-5, abs=1e-6)
    reverse = dot(arrays_of(cr.grad(gradient, tuple(range(len(x))))(*tensors(x))), along)
    assert reverse == pytest.approx(curvature, rel=1e-9, abs=1e-10)


@DTYPES
@SOME
def test_batched(name, dtype):
    """`vmap` of values and gradients against a loop, of all operands and of the first alone."""
    function, count = CASES[name][0], 2
    many = [operands(name, dtype, seed) for seed in (1, 7)]
    stacked = tensors(np.stack([m[i] for m in many]) for i in range(len(many[0])))

    def both(*x):
        value, pull = cr.vjp(function, *x)
        return value, pull(cr.ones_like(value))

    for axes in ([0] * len(stacked), [0] + [None] * (len(stacked) - 1)):
        given = [s if axis == 0 else s[0] for s, axis in zip(stacked, axes)]
        value, found = cr.vmap(both, in_axes=tuple(axes))(*given)
        for i in range(count):
            one = both(*[g[i] if axis == 0 else g for g, axis in zip(given, axes)])
            for got, wanted in zip((value, *found), (one[0], *one[1])):
                np.testing.assert_allclose(got[i].numpy(), wanted.numpy(), rtol=1e-9, atol=1e-9)


@DTYPES
@SOME
def test_compiled(name, dtype):
    """Compiled programs run the same operations."""
    function, x = CASES[name][0], tensors(operands(name, dtype))

    def both(*x):
        value, pull = cr.vjp(function, *x)
        return value, pull(cr.ones_like(value))

    value, found = both(*x)
    again, compiled = cr.compile(both)(*x)
    for got, wanted in zip((again, *compiled), (value, *found)):
        np.testing.assert_array_equal(got.numpy(), wanted.numpy())


# -- PyTorch ----------------------------------------------------------------------------------------------------------

#: names of functions that PyTorch has, as functions of (torch.linalg or chainrule.linalg, operands)
PEERS = {
    "cholesky": (lambda m, x: m.cholesky(x @ x.mT.conj()), [S]),
    "qr": (lambda m, x: m.qr(x)[1], [(2, 4, 3)]),
    "qr Q": (lambda m, x: m.qr(x)[0], [(2, 3, 3)]),
    "svd": (lambda m, x: m.svd(x, full_matrices=False)[1], [(2, 4, 3)]),
    "svd product": (lambda m, x: polar(m.svd(x, full_matrices=False)), [(2, 3, 3)]),
    "svdvals": (lambda m, x: m.svdvals(x), [W]),
    "eigh": (lambda m, x: m.eigh(x + x.mT.conj())[0], [S]),
    "eigh vectors": (lambda m, x: first_projection(m.eigh(x + x.mT.conj())[1]), [S]),
    "eigvalsh": (lambda m, x: m.eigvalsh(x + x.mT.conj()), [S]),
    "eigvals": (lambda m, x: (m.eigvals(x) ** 3).sum(-1), [S]),
    "eig": (lambda m, x: abs(m.eig(x)[1]) ** 2, [S]),
    "inv": (lambda m, x: m.inv(x), [(2, 3, 3)]),
    "solve": (lambda m, a, b: m.solve(a, b), [(2, 3, 3), (2, 3, 2)]),
    "solve_triangular": (lambda m, a, b: m.solve_triangular(a, b, upper=True), [(3, 3), (3, 2)]),
    "pinv": (lambda m, x: m.pinv(x), [T]),
    "lstsq": (lambda m, a, b: m.lstsq(a, b)[0], [T, (4, 3)]),
    "det": (lambda m, x: m.det(x), [(2, 3, 3)]),
    "slogdet": (lambda m, x: m.slogdet(x)[1], [(2, 3, 3)]),
    "matrix_exp": (lambda m, x: m.matrix_exp(x), [(2, 3, 3)]),
    "matrix_power": (lambda m, x: m.matrix_power(x, 3), [S]),
    "lu": (lambda m, x: m.lu(x)[1] @ m.lu(x)[2] ** 2, [(2, 3, 3)]),
    "nuc": (lambda m, x: m.matrix_norm(x, ord="nuc"), [T]),
    "norm": (lambda m, x: m.vector_norm(x), [T]),
    "cond": (lambda m, x: m.cond(x), [S]),
}


def polar(parts):
    """The unitary factor."""
    return parts[0] @ parts[2]


def first_projection(vectors):
    return vectors[..., :1] @ vectors[..., :1].mT.conj()


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("name", list(PEERS))
def test_values_and_gradients_are_pytorchs(name, dtype):
    torch = pytest.importorskip("torch")
    function, shapes = PEERS[name]
    x = [matrix(*shape, dtype=dtype, seed=1 + i) for i, shape in enumerate(shapes)]
    theirs = [torch.tensor(a, requires_grad=True) for a in x]
    wanted = function(torch.linalg, *theirs)
    ours = [cr.tensor(a, requires_grad=True) for a in x]
    value = function(linalg, *ours)
    np.testing.assert_allclose(value.numpy(), wanted.detach().numpy(), rtol=1e-10, atol=1e-10)
    weights = matrix(*value.shape, dtype=value.dtype.name, seed=9)
    wanted.backward(torch.tensor(weights))
    value.backward(cr.asarray(weights))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-8, atol=1e-8)


# -- where derivatives are special ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_gradient_of_the_determinant_of_singular_matrices(rank):
    """The matrix of cofactors, by minors, and its derivative, for every rank."""
    x = matrix(4, rank) @ matrix(rank, 4, seed=1)
    minors = [[np.linalg.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(4)] for i in range(4)]
    wanted = np.array(minors) * (-1) ** np.add.outer(np.arange(4), np.arange(4))
    found = cr.grad(linalg.det)(cr.asarray(x)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
    along = matrix(4, 4, seed=2)
    curvature = cr.jvp(cr.grad(linalg.det), (cr.asarray(x),), (cr.asarray(along),))[1].numpy()
    ends = [cr.grad(linalg.det)(cr.asarray(x + step * along)).numpy() for step in (-1e-5, 1e-5)]
    np.testing.assert_allclose(curvature, (ends[1] - ends[0]) / 2e-5, rtol=1e-6, atol=1e-8)


def test_gradients_of_a_batch_of_determinants():
    """Each matrix by its own way: well conditioned, nearly singular, singular, not finite."""
    x = np.stack([np.eye(3), np.diag([1.0, 1e-12, 1e-13]), np.diag([1.0, 2.0, 0.0]), np.full((3, 3), np.nan)])
    found = cr.grad(lambda x: linalg.det(x).sum())(cr.asarray(x)).numpy()
    wanted = [np.eye(3), np.diag([1e-25, 1e-13, 1e-12]), np.diag([0, 0, 2.0]), np.full((3, 3), np.nan)]
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-40)


def test_equal_values_that_nothing_depends_on():
    """The sum of eigenvalues is the trace; values alone have derivatives where vectors have none."""
    one = cr.eye(3, dtype=cr.float64)
    for function in (
        lambda x: linalg.eigvalsh(x).sum(), lambda x: linalg.eigh(x).eigenvalues.sum(),
        lambda x: linalg.svdvals(x).sum(), lambda x: linalg.svd(x).S.sum(),
        lambda x: cr.real(linalg.eigvals(x)).sum(), lambda x: cr.real(linalg.eig(x).eigenvalues).sum(),
        lambda x: linalg.matrix_norm(x, ord="nuc"),
    ):  # fmt: skip
        np.testing.assert_allclose(cr.grad(function)(one).numpy(), np.eye(3), atol=1e-12)


def test_equal_values_are_loud():
    """Vectors of equal eigenvalues have no derivatives: not finite, instead of a wrong number."""
    weights = cr.asarray(matrix(3, 3))
    for function in (
        lambda x: (linalg.eigh(x).eigenvectors * weights).sum(),
        lambda x: (linalg.svd(x).U * weights).sum(),
    ):
        assert not np.isfinite(cr.grad(function)(cr.eye(3, dtype=cr.float64)).numpy()).all()


def test_dependent_columns():
    """QR of dependent columns has values but no derivatives."""
    with pytest.raises(SingularMatrixError, match="triangular_solve: the matrix is singular"):
        cr.grad(lambda x: linalg.qr(x).R.sum())(cr.zeros((3, 2))).numpy()


def test_dependent_eigenvectors_are_loud():
    """An eigenvalue of a defective matrix has no derivative: not finite, or huge."""
    jordan = cr.asarray(np.array([[1.0, 1.0], [0.0, 1.0]]))
    assert linalg.eigvals(jordan).tolist() == [1, 1]
    gradient = cr.grad(lambda x: cr.real(linalg.eigvals(x)[0]))(jordan).numpy()
    assert not np.abs(gradient).max() < 1e10


def test_norms_at_zero():
    """The derivative is 0, of every order that has a kink there."""
    for order in (2, 1, 3):
        gradient = cr.grad(lambda x, order=order: linalg.vector_norm(x, ord=order))(cr.zeros((3,)))
        np.testing.assert_array_equal(gradient.numpy(), np.zeros(3))
    np.testing.assert_array_equal(cr.grad(linalg.matrix_norm)(cr.zeros((2, 2))).numpy(), np.zeros((2, 2)))
    gradient = cr.grad(linalg.vector_norm)(cr.zeros((3,), dtype=cr.complex128))
    np.testing.assert_array_equal(gradient.numpy(), np.zeros(3))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("order", [0.5, 1, 1.5, -1, -2])
def test_norms_of_vectors_with_zeros(order, dtype):
    """By an element that is 0 the derivative is 0, by the others what it is without it; in every mode."""
    x = matrix(4, dtype=dtype)
    x[1] = 0

    def norm(v):
        return linalg.vector_norm(v, ord=order)

    gradient = cr.grad(norm)(cr.asarray(x)).numpy()
    assert gradient[1] == 0
    left = np.delete(x, 1)
    expected = cr.grad(norm)(cr.asarray(left)).numpy() if order > 0 else np.zeros(3)
    np.testing.assert_allclose(np.delete(gradient, 1), expected, rtol=1e-12)
    for start in (x, np.zeros_like(x)):
        primal = cr.asarray(start)
        assert np.isfinite(cr.jvp(norm, (primal,), (cr.ones_like(primal),))[1].numpy())
        assert np.isfinite(cr.jvp(cr.grad(norm), (primal,), (cr.ones_like(primal),))[1].numpy()).all()
    np.testing.assert_array_equal(cr.grad(norm)(cr.zeros((3,), dtype=cr.asarray(x).dtype)).numpy(), np.zeros(3))


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e25])
def test_singular_vectors_of_tiny_and_huge_matrices(scale):
    """Squares of singular values that float32 does not hold: the derivative times the scale is that of 1."""
    a, weights = matrix(3, 3).astype(np.float32), cr.asarray(matrix(3, 3, seed=1).astype(np.float32))

    def value(x):
        parts = linalg.svd(x)
        return (parts.U**2 * weights).sum() + (parts.Vh**2 * weights).sum()

    x = cr.asarray((a * np.float32(scale)).astype(np.float32))
    expected = cr.grad(value)(cr.asarray(a)).numpy()
    np.testing.assert_allclose(cr.grad(value)(x).numpy() * scale, expected, rtol=1e-3, atol=1e-3)
    direction = cr.asarray(matrix(3, 3, seed=2).astype(np.float32))
    moved = cr.jvp(value, (x,), (direction * scale,))[1].item()
    assert moved == pytest.approx((expected * direction.numpy()).sum(), rel=1e-3)


def test_gradients_of_hermitian_functions_are_hermitian():
    for function in (
        lambda x: linalg.eigvalsh(x)[0], lambda x: cr.abs(linalg.cholesky(x)).sum(),
        lambda x: cr.abs(linalg.eigh(x).eigenvectors).sum(),
    ):  # fmt: skip
        x = matrix(3, 3, dtype="complex128")
        gradient = cr.grad(function)(cr.asarray(x @ x.conj().T + np.eye(3))).numpy()
        np.testing.assert_allclose(gradient, gradient.conj().T, atol=1e-12)


def test_third_derivative():
    """Rules are made of differentiable nodes: f(x) = tr(log x) along x = 1 + t d has derivatives of every order."""
    d = matrix(3, 3)
    d = d + d.T

    def along(t):
        x = cr.eye(3, dtype=cr.float64) * 4 + t * cr.asarray(d)
        return cr.log(linalg.eigvalsh(x)).sum()

    derivative = along
    for order in range(1, 4):
        derivative = cr.grad(derivative)
        wanted = (-1) ** (order - 1) * [1, 1, 2][order - 1] * np.trace(np.linalg.matrix_power(np.linalg.solve(
            4 * np.eye(3) + 0.3 * d, d), order))  # fmt: skip
        assert derivative(cr.asarray(np.array(0.3))).item() == pytest.approx(wanted, rel=1e-8)
