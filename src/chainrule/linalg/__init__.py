"""Linear algebra: products, factorisations, systems of equations, norms; by LAPACK, with every derivative."""

from ..functions.einsum import einsum, einsum_path
from ..functions.products import (
    block_diag,
    cross,
    diagonal,
    dot,
    inner,
    kron,
    matmul,
    multi_dot,
    outer,
    tensordot,
    trace,
    vecdot,
)
from ..functions.shape import matrix_transpose, transpose
from .factorisations import cholesky, eig, eigh, eigvals, eigvalsh, lu, qr, svd, svdvals
from .functions import expm, matrix_exp, matrix_power
from .norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from .systems import (
    cho_solve,
    det,
    inv,
    logdet,
    lstsq,
    pinv,
    slogdet,
    solve,
    solve_triangular,
    tensorinv,
    tensorsolve,
)

__all__ = [
    "block_diag", "cho_solve", "cholesky", "cond", "cross", "det", "diagonal", "dot", "eig", "eigh", "eigvals",
    "eigvalsh", "einsum", "einsum_path", "expm", "inner", "inv", "kron", "logdet", "lstsq", "lu", "matmul",
    "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer",
    "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve",
    "trace", "transpose", "vecdot", "vector_norm",
]  # fmt: skip
