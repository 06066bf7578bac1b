"""Linear algebra against NumPy and SciPy: values, dtypes, shapes, named results, loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chainrule as cr

linalg = cr.linalg
random = np.random.default_rng(0)
INFINITY = float("inf")


def matrix(*shape, dtype="float64"):
    """Numbers from a normal distribution."""
    x = random.normal(size=shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * random.normal(size=shape)
    return np.asarray(x).astype(dtype)


def positive(*shape, dtype="float64"):
    """Hermitian positive definite matrices."""
    x = matrix(*shape, dtype=dtype)
    return (x @ x.swapaxes(-1, -2).conj() + np.eye(shape[-1])).astype(dtype)


def close(found, wanted, tolerance=1e-10):
    """Equal types, and values up to a tolerance that is 10^6 times wider in single precision."""
    found, wanted = found.numpy(), np.asarray(wanted)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    wide = 1e6 if found.dtype in (np.float32, np.complex64) else 1.0
    np.testing.assert_allclose(found, wanted, rtol=tolerance * wide, atol=tolerance * wide)


DTYPES = pytest.mark.parametrize("dtype", ["float64", "complex128", "float32", "complex64"])


def adjoint(x):
    return x.swapaxes(-1, -2).conj()


# -- factorisations ---------------------------------------------------------------------------------------------------


@DTYPES
def test_cholesky(dtype):
    a = positive(2, 3, 4, 4, dtype=dtype)
    close(linalg.cholesky(cr.asarray(a)), np.linalg.cholesky(a))
    close(linalg.cholesky(cr.asarray(a), upper=True), adjoint(np.linalg.cholesky(a)))


@DTYPES
@pytest.mark.parametrize("mode", ["reduced", "complete"])
@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (2, 3, 5), (3, 1), (1, 3), (0, 3), (3, 0)])
def test_qr(dtype, mode, shape):
    a = matrix(*shape, dtype=dtype)
    found = linalg.qr(cr.asarray(a), mode=mode)
    assert found._fields == ("Q", "R")
    wanted = np.linalg.qr(a, mode)
    for part, expected in zip(found, wanted):
        close(part, expected)
    close(found.Q @ found.R, a)
    assert (np.tril(found.R.numpy(), -1) == 0).all()


@DTYPES
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (2, 3, 5), (0, 3)])
def test_svd(dtype, full, shape):
    a = matrix(*shape, dtype=dtype)
    found = linalg.svd(cr.asarray(a), full_matrices=full)
    assert found._fields == ("U", "S", "Vh")
    for part, expected in zip(found, np.linalg.svd(a, full_matrices=full)):
        close(part, expected)
    close(linalg.svdvals(cr.asarray(a)), np.linalg.svd(a, compute_uv=False))


@DTYPES
def test_eigh(dtype):
    a = positive(2, 4, 4, dtype=dtype) + np.triu(matrix(4, 4, dtype=dtype), 1)
    part = ((a + adjoint(a)) / 2).astype(dtype)
    found = linalg.eigh(cr.asarray(a))
    assert found._fields == ("eigenvalues", "eigenvectors")
    close(found.eigenvalues, np.linalg.eigh(part)[0])
    close(
        found.eigenvectors @ (found.eigenvalues[..., :, None] * linalg.matrix_transpose(found.eigenvectors).conj()),
        part,
    )
    close(linalg.eigvalsh(cr.asarray(a)), np.linalg.eigvalsh(part))
    for triangle in "LU":
        close(linalg.eigvalsh(cr.asarray(a), UPLO=triangle), np.linalg.eigvalsh(a, triangle))
        close(linalg.eigh(cr.asarray(a), UPLO=triangle).eigenvalues, np.linalg.eigvalsh(a, triangle))


@DTYPES
def test_eig(dtype):
    a = matrix(2, 4, 4, dtype=dtype)
    found = linalg.eig(cr.asarray(a))
    assert found._fields == ("eigenvalues", "eigenvectors")
    values, vectors = np.linalg.eig(a)
    wide = np.result_type(dtype, np.complex64)
    close(found.eigenvalues, values.astype(wide))
    close(found.eigenvectors, vectors.astype(wide))
    close(linalg.eigvals(cr.asarray(a)), np.linalg.eigvals(a).astype(wide))
    real = linalg.eig(cr.asarray(positive(3, 3).astype(dtype)))
    assert real.eigenvalues.dtype.numpy == wide  # complex although they are real


@DTYPES
@pytest.mark.parametrize("shape", [(4, 4), (2, 5, 3), (2, 3, 5), (3, 1), (1, 3)])
def test_lu(dtype, shape):
    linalg_of_scipy = pytest.importorskip("scipy.linalg")
    a = matrix(*shape, dtype=dtype)
    found = linalg.lu(cr.asarray(a))
    close(found.P @ found.L @ found.U, a)
    for index in np.ndindex(shape[:-2]):
        for part, expected in zip(found, linalg_of_scipy.lu(a[index])):
            close(part[index], expected.astype(dtype))


@DTYPES
def test_lu_of_several_panels(dtype):
    """Columns are eliminated in panels: the pivots and the factors are those of one sweep."""
    linalg_of_scipy = pytest.importorskip("scipy.linalg")
    for shape in ((70, 70), (65, 40), (40, 65)):
        a = matrix(2, *shape, dtype=dtype)
        found = linalg.lu(cr.asarray(a))
        loose = 1e4 * np.finfo(dtype).eps
        np.testing.assert_allclose((found.P @ found.L @ found.U).numpy(), a, atol=loose)
        for index in range(2):
            for part, expected in zip(found, linalg_of_scipy.lu(a[index])):
                np.testing.assert_allclose(part[index].numpy(), expected, rtol=loose, atol=loose)
    a = matrix(40, 40, dtype=dtype)
    a[:, 3], a[:, 35] = 0, a[:, 2]  # no pivot at all, in the first panel and in the second
    found = linalg.lu(cr.asarray(a))
    np.testing.assert_allclose((found.P @ found.L @ found.U).numpy(), a, atol=1e4 * np.finfo(dtype).eps)
    assert np.isfinite(found.L.numpy()).all()


@pytest.mark.parametrize("name", ["svd", "eigh", "eig", "qr"])
def test_factors_read_one_after_another_are_one_factorisation(name, monkeypatch):
    calls = []
    original = getattr(np.linalg, name)

    def counted(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(np.linalg, name, counted)
    for part in getattr(linalg, name)(cr.asarray(matrix(4, 4))):
        part.numpy()
    assert calls == [name]


# -- systems ----------------------------------------------------------------------------------------------------------


@DTYPES
def test_solve(dtype):
    a = matrix(2, 3, 4, 4, dtype=dtype)
    for b in (matrix(4, dtype=dtype), matrix(4, 2, dtype=dtype), matrix(3, 4, 2, dtype=dtype)):
        wanted = np.linalg.solve(a, b if b.ndim > 1 else np.broadcast_to(b[:, None], (2, 3, 4, 1)))
        close(linalg.solve(cr.asarray(a), cr.asarray(b)), wanted if b.ndim > 1 else wanted[..., 0])
    b = matrix(5, 2, 4, 3, dtype=dtype)
    close(linalg.solve(cr.asarray(a[0, 0]), cr.asarray(b)), np.linalg.solve(a[0, 0], b))
    close(linalg.solve(cr.asarray(a[0, 0]), cr.asarray(b[0, 0, :, 0])), np.linalg.solve(a[0, 0], b[0, 0, :, 0]))
    close(linalg.inv(cr.asarray(a)), np.linalg.inv(a))


def test_mixed_dtypes_promote():
    a, b = matrix(3, 3), matrix(3, 2, dtype="complex64")
    close(linalg.solve(cr.asarray(a), cr.asarray(b)), np.linalg.solve(a, b.astype("complex128")))


@DTYPES
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("trans", [0, 1, 2, "N", "T", "C"])
@pytest.mark.parametrize("unit", [True, False])
def test_solve_triangular(dtype, lower, trans, unit):
    a, b = matrix(2, 4, 4, dtype=dtype) + 3 * np.eye(4, dtype=dtype), matrix(4, 3, dtype=dtype)
    triangle = np.tril(a) if lower else np.triu(a)
    if unit:
        triangle = triangle - triangle * np.eye(4, dtype=dtype) + np.eye(4, dtype=dtype)
    turned = {"N": triangle, "T": triangle.swapaxes(-1, -2), "C": adjoint(triangle)}[
        "NTC"[trans] if trans in (0, 1, 2) else trans
    ]
    settings = {"trans": trans, "unit_diagonal": unit}
    found = linalg.solve_triangular(cr.asarray(a), cr.asarray(b), lower=lower, **settings)
    close(found, np.linalg.solve(turned, b))
    same = linalg.solve_triangular(cr.asarray(a), cr.asarray(b), upper=not lower, **settings)
    np.testing.assert_array_equal(same.numpy(), found.numpy())
    right = linalg.solve_triangular(cr.asarray(a), cr.asarray(b.T), lower=lower, left=False, **settings)
    close(right @ cr.asarray(turned), np.broadcast_to(b.T, (2, 3, 4)))
    vector = linalg.solve_triangular(cr.asarray(a[0]), cr.asarray(b[:, 0]), lower=lower, **settings)
    close(vector, np.linalg.solve(turned[0], b[:, 0]))


@DTYPES
def test_cho_solve(dtype):
    a, b = positive(4, 4, dtype=dtype), matrix(4, 3, dtype=dtype)
    factor = linalg.cholesky(cr.asarray(a))
    wanted = np.linalg.solve(a, b)
    close(linalg.cho_solve(factor, cr.asarray(b)), wanted)
    close(linalg.cho_solve((factor, True), cr.asarray(b)), wanted)
    close(linalg.cho_solve((linalg.cholesky(cr.asarray(a), upper=True), False), cr.asarray(b)), wanted)


@DTYPES
def test_determinants(dtype):
    a = matrix(2, 3, 4, 4, dtype=dtype)
    close(linalg.det(cr.asarray(a)), np.linalg.det(a))
    found, wanted = linalg.slogdet(cr.asarray(a)), np.linalg.slogdet(a)
    assert found._fields == ("sign", "logabsdet")
    close(found.sign, wanted.sign)
    close(found.logabsdet, wanted.logabsdet)
    close(cr.exp(linalg.logdet(cr.asarray(positive(3, 3, dtype=dtype)))) * 0 + 1, np.ones((), dtype))
    zero = linalg.slogdet(cr.zeros((2, 2), dtype=dtype))
    assert zero.sign.item() == 0 and zero.logabsdet.item() == -INFINITY


def test_logdet():
    a = positive(3, 3)
    close(linalg.logdet(cr.asarray(a)), np.log(np.linalg.det(a)))
    assert np.isnan(linalg.logdet(cr.tensor([[-1.0]])).item()) and linalg.logdet(cr.tensor([[0.0]])).item() == -INFINITY
    z = matrix(3, 3, dtype="complex128")
    close(linalg.logdet(cr.asarray(z)), np.log(np.linalg.det(z)))


@DTYPES
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (3, 3)])
def test_pinv(dtype, shape):
    a = matrix(*shape, dtype=dtype)
    close(linalg.pinv(cr.asarray(a)), np.linalg.pinv(a))
    close(linalg.pinv(cr.asarray(a), rtol=0.7), np.linalg.pinv(a, 0.7))
    if len(shape) == 3:
        bound = np.array([0.1, 0.8], np.zeros((), dtype).real.dtype)
        close(linalg.pinv(cr.asarray(a), rtol=cr.asarray(bound)), np.linalg.pinv(a, bound))
    if shape == (3, 3):
        h = (a + adjoint(a)) / 2
        close(linalg.pinv(cr.asarray(a), hermitian=True), np.linalg.pinv(h))


@DTYPES
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (5, 1)])
def test_lstsq(dtype, shape):
    a = matrix(*shape, dtype=dtype)
    for b in (matrix(shape[0], dtype=dtype), matrix(shape[0], 2, dtype=dtype)):
        found, wanted = linalg.lstsq(cr.asarray(a), cr.asarray(b)), np.linalg.lstsq(a, b)
        assert found._fields == ("solution", "residuals", "rank", "singular_values")
        close(found.solution, wanted[0])
        close(found.residuals, wanted[1])
        assert found.rank.item() == wanted[2]
        close(found.singular_values, wanted[3])
    assert linalg.lstsq(cr.ones((3, 2)), cr.ones((3,))).rank.item() == 1
    many = linalg.lstsq(cr.asarray(np.stack([a, a])), cr.asarray(b))
    close(many.solution[1], wanted[0])


@DTYPES
def test_tensor_systems(dtype):
    a = matrix(2, 3, 6, dtype=dtype)
    b = matrix(2, 3, dtype=dtype)
    close(linalg.tensorsolve(cr.asarray(a), cr.asarray(b)), np.linalg.tensorsolve(a, b))
    close(linalg.tensorinv(cr.asarray(a)), np.linalg.tensorinv(a))


# -- norms ------------------------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, INFINITY, -INFINITY])
def test_matrix_norm(dtype, order):
    a = matrix(2, 4, 3, dtype=dtype)
    close(linalg.matrix_norm(cr.asarray(a), ord=order), np.linalg.norm(a, order, (-2, -1)))
    kept = linalg.matrix_norm(cr.asarray(a), ord=order, keepdims=True)
    close(kept, np.linalg.norm(a, order, (-2, -1), keepdims=True))
    close(linalg.norm(cr.asarray(a), order, (0, 2)), np.linalg.norm(a, order, (0, 2)))
    close(linalg.norm(cr.asarray(a), order, (2, 0), keepdims=True), np.linalg.norm(a, order, (2, 0), keepdims=True))
    close(linalg.norm(cr.asarray(a[0]), order), np.linalg.norm(a[0], order))
    square = a[:, :3]
    close(linalg.cond(cr.asarray(square), order), np.linalg.cond(square, order))


@pytest.mark.parametrize("order", ["fro", "nuc", 1, 2, INFINITY])
@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 0), (3, 0, 2), (3, 2, 0), (0, 2, 2)])
def test_matrix_norm_without_elements(shape, order):
    a = np.zeros(shape)
    for keep in (False, True):
        found = linalg.matrix_norm(cr.asarray(a), ord=order, keepdims=keep)
        close(found, np.zeros(shape[:-2] + (1, 1) * keep))


@pytest.mark.parametrize("order", [2, 1, 0, 3, 0.5, -1, INFINITY])
@pytest.mark.parametrize(("shape", "axis"), [((0,), None), ((2, 0), 1), ((0, 2), 1), ((2, 0, 3), (1, 2)), ((0, 3), 0)])
def test_vector_norm_without_elements(shape, axis, order):
    a = np.zeros(shape)
    for keep in (False, True):
        found = linalg.vector_norm(cr.asarray(a), axis=axis, ord=order, keepdims=keep)
        with np.errstate(all="ignore"):
            close(found, vector_norm(a, order, axis, keep))
    assert cr.grad(lambda x: linalg.vector_norm(x, ord=order).sum())(cr.zeros((0, 2))).shape == (0, 2)


@DTYPES
@pytest.mark.parametrize("order", [2, 1, 0, 3, 0.5, -1, -2, 2.5, INFINITY, -INFINITY])
def test_vector_norm(dtype, order):
    a = matrix(2, 4, 3, dtype=dtype)
    for axis in (None, 1, -1, (0, 2)):
        for keep in (False, True):
            found = linalg.vector_norm(cr.asarray(a), axis=axis, ord=order, keepdims=keep)
            with np.errstate(all="ignore"):
                wanted = vector_norm(a, order, axis, keep)
            close(found, wanted)
    close(linalg.norm(cr.asarray(a[0, 0]), order), np.linalg.norm(a[0, 0], order))
    close(linalg.norm(cr.asarray(a), order, 1), np.linalg.norm(a, order, 1))


def vector_norm(x, order, axis, keep):
    """By its definition."""
    size = np.abs(x)
    if order == INFINITY:
        return np.max(size, axis=axis, keepdims=keep, initial=0)
    if order == -INFINITY:
        return np.min(size, axis=axis, keepdims=keep)
    if order == 0:
        return np.sum(size != 0, axis=axis, keepdims=keep).astype(size.dtype)
    return np.asarray(np.sum(size**order, axis=axis, keepdims=keep) ** (1 / order)).astype(size.dtype)


def test_norms_of_two_kinds():
    """NumPy's `norm` takes a matrix's norm where PyTorch's flattens."""
    a = np.array([[1.0, -2.0], [3.0, 4.0]])
    assert linalg.norm(cr.asarray(a), 1).item() == np.linalg.norm(a, 1) == 6
    assert cr.norm(cr.asarray(a), 1).item() == cr.asarray(a).norm(1).item() == 10
    assert linalg.norm(cr.asarray(a)).item() == pytest.approx(np.sqrt(30))


def test_rank_and_condition():
    a = matrix(5, 2) @ matrix(2, 4)
    assert linalg.matrix_rank(cr.asarray(a)).item() == 2 and linalg.matrix_rank(cr.zeros((2, 3, 3))).tolist() == [0, 0]
    assert linalg.matrix_rank(cr.asarray(np.diag([1.0, 0.1, 0.01])), rtol=0.05).item() == 2
    assert linalg.matrix_rank(cr.asarray(np.diag([4.0, 0.4, 0.04])), tol=1).item() == 1
    both = cr.asarray(np.stack([np.diag([1.0, 0.1])] * 2))
    assert linalg.matrix_rank(both, rtol=cr.tensor([0.5, 0.01])).tolist() == [1, 2]
    assert linalg.matrix_rank(cr.zeros((0, 3))).item() == 0
    assert (
        linalg.cond(cr.zeros((2, 2)) + 1.0).item() > 1e6
        and linalg.cond(cr.asarray(np.diag([1.0, 0]))).item() == INFINITY
    )


# -- products and functions -------------------------------------------------------------------------------------------


@DTYPES
def test_products(dtype):
    a, b = matrix(2, 3, dtype=dtype), matrix(2, 3, 4, dtype=dtype)
    close(linalg.kron(cr.asarray(a), cr.asarray(b)), np.kron(a, b))
    close(linalg.inner(cr.asarray(a), cr.asarray(b.swapaxes(1, 2))), np.inner(a, b.swapaxes(1, 2)))
    close(linalg.inner(cr.asarray(a), cr.asarray(b[0, 0, 0])), np.inner(a, b[0, 0, 0]))
    close(linalg.vecdot(cr.asarray(b), cr.asarray(a[:, :, None]), axis=1), (b.conj() * a[:, :, None]).sum(1))
    close(linalg.vecdot(cr.asarray(a), cr.asarray(b[0, :, 0])), (a.conj() * b[0, :, 0]).sum(-1))
    close(linalg.dot(cr.asarray(a[0]), cr.asarray(a[1])), np.dot(a[0], a[1]))
    close(linalg.outer(cr.asarray(a[0]), cr.asarray(b[0, 0])), np.outer(a[0], b[0, 0]))
    close(linalg.cross(cr.asarray(a[0]), cr.asarray(a)), np.cross(a[0], a))
    close(linalg.cross(cr.asarray(b), cr.asarray(b[::-1].copy()), axis=1), np.cross(b, b[::-1], axis=1))
    close(linalg.tensordot(cr.asarray(a), cr.asarray(b)), np.tensordot(a, b))
    close(linalg.tensordot(cr.asarray(a), cr.asarray(b), axes=((1,), (-2,))), np.tensordot(a, b, ((1,), (-2,))))
    close(linalg.matmul(cr.asarray(a), cr.asarray(b)), a @ b)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64"])
def test_products_of_integers(dtype):
    a, b = np.arange(6).reshape(2, 3).astype(dtype), np.arange(3).astype(dtype)
    for name in ("vecdot", "matmul"):
        close(getattr(linalg, name)(cr.asarray(a), cr.asarray(b)), getattr(np.linalg, name, np.matmul)(a, b))
    close(linalg.kron(cr.asarray(a), cr.asarray(b)), np.kron(a, b))
    close(linalg.trace(cr.asarray(a)), np.trace(a).astype("uint64" if dtype == "uint8" else "int64"))
    close(linalg.trace(cr.asarray(a), dtype=cr.int32), np.trace(a, dtype="int32"))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_multi_dot(first, last):
    sizes = [3, 7, 2, 5, 4]
    factors = [matrix(m, n) for m, n in itertools.pairwise(sizes)]
    factors[0] = factors[0][0] if first else factors[0]
    factors[-1] = factors[-1][:, 0] if last else factors[-1]
    close(linalg.multi_dot([cr.asarray(f) for f in factors]), np.linalg.multi_dot(factors))
    close(linalg.multi_dot([cr.asarray(f) for f in factors[1:3]]), np.linalg.multi_dot(factors[1:3]))


def test_block_diag():
    block_diag = pytest.importorskip("scipy.linalg").block_diag
    parts = [matrix(2, 3), matrix(2), matrix(1, 1), np.zeros((2, 0))]
    close(linalg.block_diag(*map(cr.asarray, parts)), block_diag(*parts))
    assert linalg.block_diag(cr.asarray(3.0)).tolist() == [[3.0]]


@pytest.mark.parametrize("offset", [0, 1, -1, 2, -3, 9, -9])
def test_diagonal(offset):
    a = matrix(2, 3, 4)
    for axes in ((-2, -1), (0, 2), (2, 0), (1, 0)):
        wanted = np.diagonal(a, offset, *axes)
        close(linalg.diagonal(cr.asarray(a), offset=offset, axis1=axes[0], axis2=axes[1]), wanted)
    close(linalg.trace(cr.asarray(a), offset=offset), np.trace(a, offset, 1, 2))


@DTYPES
@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, -1, -3])
def test_matrix_power(dtype, n):
    a = matrix(2, 3, 3, dtype=dtype)
    close(linalg.matrix_power(cr.asarray(a), n), np.linalg.matrix_power(a, n), 1e-9)


@DTYPES
def test_expm(dtype):
    expm = pytest.importorskip("scipy.linalg").expm
    a = matrix(4, 3, 3, dtype=dtype) * np.array([1e-8, 0.1, 1, 4], np.zeros((), dtype).real.dtype)[:, None, None]
    close(linalg.expm(cr.asarray(a)), expm(a.astype(np.result_type(dtype, np.float64))).astype(dtype))
    assert linalg.matrix_exp is linalg.expm
    assert np.isnan(linalg.expm(cr.asarray(np.full((2, 2), np.nan))).numpy()).all()


def test_autocast_leaves_linear_algebra_alone():
    a, b = cr.asarray(matrix(5, 3, dtype="float32")), cr.asarray(matrix(5, 2, dtype="float32"))
    square = cr.asarray(matrix(3, 3, dtype="float32"))

    def all_of():
        return [*linalg.lstsq(a, b), *linalg.qr(a.mT), linalg.matrix_power(square, 3), linalg.solve(square, b[:3])]

    wanted = [x.numpy() for x in all_of()]
    with cr.autocast("bfloat16"):
        found = all_of()
    for x, y in zip(found, wanted):
        np.testing.assert_array_equal(x.numpy(), y)


def test_inside_loops():
    """A filter whose steps solve systems: values and gradients of a loop equal those of its steps, compiled too."""
    a, x = matrix(4, 3, 3) + 3 * np.eye(3), matrix(3)

    def looped(a, x):
        return cr.scan(lambda state, m: (linalg.solve(m, state), linalg.det(m)), x, a)

    def unrolled(a, x):
        found = []
        for i in range(4):
            x = linalg.solve(a[i], x)
            found.append(linalg.det(a[i]))
        return x, cr.stack(found)

    def loss(function):
        def total(a, x):
            state, found = function(a, x)
            return (state**2).sum() + found.sum()

        return cr.value_and_grad(total, (0, 1))

    for function in (loss(looped), cr.compile(loss(looped))):
        value, gradients = function(cr.asarray(a), cr.asarray(x))
        wanted, others = loss(unrolled)(cr.asarray(a), cr.asarray(x))
        close(value, wanted.numpy(), 1e-12)
        for found, other in zip(gradients, others):
            close(found, other.numpy(), 1e-12)
