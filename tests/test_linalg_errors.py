"""What linear algebra refuses, with the exact messages: when recorded, and singular matrices when evaluated."""

from __future__ import annotations

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, DTypeError, ShapeError, SingularMatrixError

linalg = cr.linalg
random = np.random.default_rng(0)


def matrix(*shape):
    """Numbers from a normal distribution."""
    return random.normal(size=shape)


def message_of(error, function):
    """The lines of an error that `function` raises, without the line where it was recorded."""
    with pytest.raises(error) as caught:
        function()
    lines = str(caught.value).splitlines()
    assert re.match(r"recorded at .*test_linalg_errors.py:\d+", lines[1])
    return [lines[0], *lines[2:]]


SQUARE = ["inv", "det", "slogdet", "cholesky", "eigh", "eigvalsh", "eig", "eigvals", "expm", "logdet"]


@pytest.mark.parametrize("name", SQUARE)
def test_matrices_that_are_not_square(name):
    shown = {"logdet": "slogdet"}.get(name, name)
    problem = "square matrices are needed, axis -2 has 2 elements and axis -1 has 3; operands float64[4, 2, 3]"
    assert message_of(ShapeError, lambda: getattr(linalg, name)(cr.asarray(matrix(4, 2, 3)))) == [f"{shown}: {problem}"]


@pytest.mark.parametrize("name", [*SQUARE, "svd", "svdvals", "qr", "lu", "pinv", "matrix_rank"])
def test_operands_that_are_no_matrices(name):
    shown, function = {"logdet": "slogdet"}.get(name, name), getattr(linalg, name)
    problem = "matrices are needed, which have two axes, not 1; operands float64[3]"
    assert message_of(ShapeError, lambda: function(cr.asarray(matrix(3)))) == [f"{shown}: {problem}"]
    for dtype in (cr.float16, cr.bfloat16, cr.int64):
        problem = f"float32, float64, complex64 or complex128 is needed, not {dtype.name}; operands {dtype.name}[3, 3]"
        found = message_of(DTypeError, lambda dtype=dtype: function(cr.ones((3, 3), dtype=dtype)))
        assert found == [f"{shown}: {problem}", "help: convert with .astype(chainrule.float32)"]


def test_right_hand_sides_that_do_not_fit():
    a = cr.asarray(matrix(2, 3, 3))
    cases = {
        (4,): "solve: the matrix has 3 rows, the right-hand side has 4 on axis -1",
        (4, 2): "solve: the matrix has 3 rows, the right-hand side has 4 on axis -2",
        (5, 3, 2): "solve: leading axis -3 has 2 and 5 elements",
        (): "solve: the right-hand side has at least one axis",
    }
    for shape, problem in cases.items():
        found = message_of(ShapeError, lambda shape=shape: linalg.solve(a, cr.asarray(matrix(*shape))))
        assert found == [f"{problem}; operands float64[2, 3, 3], float64{list(shape)}"]
    found = message_of(ShapeError, lambda: linalg.solve(a, cr.asarray(matrix(2, 3))))
    assert found == [
        "solve: the matrix has 3 rows, the right-hand side has 2 on axis -2; operands float64[2, 3, 3], float64[2, 3]",
        "help: a batch of vectors needs one more axis: b[..., None]",
    ]
    found = message_of(ShapeError, lambda: linalg.lstsq(cr.asarray(matrix(4, 3)), cr.asarray(matrix(3))))
    assert found[0].startswith("lstsq: the matrix has 4 rows, the right-hand side has 3 on axis -1")


def test_arguments_that_there_are_not():
    a = cr.asarray(matrix(3, 3))
    b = cr.asarray(matrix(3))
    cases = [
        (lambda: linalg.qr(a, mode="raw"), "qr: mode is 'reduced' or 'complete', not 'raw'"),
        (lambda: linalg.eigh(a, UPLO="X"), "eigh: UPLO is 'L', 'U' or None, not 'X'"),
        (lambda: linalg.matrix_norm(a, ord=3), "matrix_norm: ord is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf, not 3"),
        (lambda: linalg.vector_norm(b, ord="fro"), "vector_norm: ord is a number, not 'fro'"),
        (lambda: linalg.vector_norm(b, ord=float("nan")), "vector_norm: ord is a number, not nan"),
        (lambda: linalg.norm(b, "nuc"), "norm: ord 'nuc' is for matrices; vectors have numbers"),
        (lambda: linalg.solve_triangular(a, b, trans=3), "solve_triangular: trans is 0, 1, 2, 'N', 'T' or 'C', not 3"),
        (
            lambda: linalg.solve_triangular(a, b, lower=True, upper=True),
            "solve_triangular: lower=True and upper=True contradict each other",
        ),
        (
            lambda: linalg.matrix_rank(a, rtol=1.0, tol=1.0),
            "matrix_rank: rtol and tol are two bounds, of which one is needed",
        ),
    ]
    for function, problem in cases:
        assert message_of(ConfigError, function)[0].split("; operands")[0] == problem
    shapes = [
        (lambda: linalg.cross(a, cr.asarray(matrix(2))), "cross: vectors of 3 elements are needed, axis -1 has 2"),
        (lambda: linalg.multi_dot([a]), "multi_dot: at least two matrices are needed, not 1"),
        (lambda: linalg.multi_dot([a, cr.ones((2, 3), dtype=cr.float64)]),
         "multi_dot: operand 0 has 3 columns, operand 1 has 2 rows"),
        (lambda: linalg.block_diag(cr.ones((1, 1, 1))), "block_diag: matrices are needed, operand 0 has 3 axes"),
        (lambda: linalg.diagonal(b), "diagonal: at least two axes are needed"),
        (lambda: linalg.diagonal(a, axis1=0, axis2=-2), "diagonal: two different axes are needed, not 0 twice"),
        (lambda: linalg.tensorinv(a, ind=2), "tensorinv: the first 2 axes have 9 elements and the others 1"),
        (lambda: linalg.vector_norm(cr.ones((2, 0)), ord=-float("inf"), axis=1),
         "vector_norm: ord=-inf is the least of 0 values"),
        (lambda: linalg.matrix_norm(cr.ones((0, 2)), ord=-2),
         "matrix_norm: ord=-2 is the least of 0 values"),
        (lambda: linalg.norm(cr.ones((2, 2, 2)), 1),
         "norm: with ord and without axis a vector or a matrix is needed, not 3 axes"),
        (lambda: linalg.pinv(cr.ones((2, 3, 3)), rtol=cr.ones((3,))),
         "pinv: rtol of shape [3] does not broadcast to [2]"),
        (lambda: linalg.matrix_rank(cr.ones((2, 3, 3)), rtol=cr.ones((3,))),
         "matrix_rank: rtol of shape [3] does not broadcast to [2]"),
    ]  # fmt: skip
    for function, problem in shapes:
        assert message_of(ShapeError, function)[0].split("; operands")[0] == problem
    assert message_of(DTypeError, lambda: linalg.matrix_power(a, 0.5))[0].startswith(
        "matrix_power: the power is a whole number, not 0.5"
    )
    assert message_of(DTypeError, lambda: linalg.tensorinv(a, ind=1.5))[0].startswith(
        "tensorinv: ind is a number of axes, not 1.5"
    )
    assert message_of(DTypeError, lambda: linalg.vector_norm(cr.arange(3)))[0].startswith(
        "vector_norm: a floating or complex dtype is needed, not int64"
    )


def singular_batch(n=3, bad=2, size=4):
    a = matrix(size, n, n)
    a[bad] = np.ones((n, n))
    return a


@pytest.mark.parametrize("compiled", [False, True])
def test_singular_matrices_are_named(compiled):
    """When they are found, at evaluation, with the line where the operation was recorded."""
    batch, one = cr.asarray(singular_batch()), cr.zeros((2, 2))
    triangle = cr.asarray(np.tril(singular_batch()) * np.array([1, 1, 1, 0.0])[:, None, None])
    cases = [
        (lambda x: linalg.inv(x), batch, "inv: matrix 2 of the batch is singular"),
        (lambda x: linalg.inv(x), one, "inv: the matrix is singular"),
        (lambda x: linalg.inv(x), batch.reshape(2, 2, 3, 3), "inv: matrix (1, 0) of the batch is singular"),
        (lambda x: linalg.solve(x, cr.ones((2,))), one, "solve: the matrix is singular"),
        (lambda x: linalg.cholesky(x), cr.asarray(np.stack([np.eye(2), -np.eye(2)])),
         "cholesky: matrix 1 of the batch is not positive definite"),
        (lambda x: linalg.solve_triangular(x, cr.ones((3,), dtype=cr.float64), lower=True), triangle,
         "triangular_solve: matrix 3 of the batch is singular: its diagonal has a zero"),
        (lambda x: linalg.eigvals(x), cr.asarray(np.full((2, 2), np.nan)), "eig: the matrix holds NaN or infinities"),
        (lambda x: linalg.svdvals(x), cr.asarray(np.full((2, 2), np.nan)), "svd: the matrix holds NaN or infinities"),
        (lambda x: linalg.matrix_power(x, -2), one, "inv: the matrix is singular"),
        (lambda x: cr.grad(lambda x: linalg.slogdet(x).logabsdet)(x), one, "inv: the matrix is singular"),
    ]  # fmt: skip
    for function, operand, problem in cases:
        with pytest.raises(SingularMatrixError) as caught:
            (cr.compile(function) if compiled else function)(operand).numpy()
        lines = str(caught.value).splitlines()
        assert lines[0] == problem
        assert re.match(r"recorded at .*test_linalg_errors.py:\d+", lines[1])
        assert isinstance(caught.value, ValueError)
