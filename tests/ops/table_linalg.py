"""Rows of linear algebra; packed results are put together here by hand."""

from __future__ import annotations

import numpy as np

from chainrule.errors import DTypeError

from .table import case, floats, integers, row, wrong


def near_one(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    """Well conditioned square matrices."""
    return (floats(*shape, low=-0.4, high=0.4, seed=seed) + 2 * np.eye(shape[-1])).astype(dtype)


def complexes(*shape: int, seed: int = 0, dtype: str = "complex128") -> np.ndarray:
    """Uniform numbers in a square around 0."""
    return (floats(*shape, seed=seed) + 1j * floats(*shape, seed=seed + 50)).astype(dtype)


def positive(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    """Hermitian positive definite matrices."""
    a = complexes(*shape, seed=seed) if dtype.startswith("c") else floats(*shape, seed=seed)
    return (a @ a.swapaxes(-1, -2).conj() + np.eye(shape[-1])).astype(dtype)


def part(a: np.ndarray) -> np.ndarray:
    """The Hermitian part."""
    return (a + a.swapaxes(-1, -2).conj()) / 2


def side_by_side(dtype, *factors: tuple[np.ndarray, int]) -> np.ndarray:
    """Factors, of which the last so many axes are their own, flattened along the last axis."""
    flat = [f.reshape(*f.shape[: f.ndim - count], -1) for f, count in factors]
    return np.concatenate(flat, -1).astype(dtype)


NOT_SQUARE = "needs square matrices, axis -2 has 2 elements and axis -1 has 3"
HALF = "needs float32, float64, complex64 or complex128"
BAD = [
    wrong(floats(2, 3), message=NOT_SQUARE),
    wrong(floats(3), message="needs matrices, which have two axes, not 1"),
    wrong(integers(3, 3), message=HALF, error=DTypeError),
    wrong(floats(3, 3, dtype="float16"), message=HALF, error=DTypeError),
]


def bad(*attributes, square: bool = True) -> list:
    """Operands that no factorisation takes."""
    chosen = BAD if square else BAD[1:]
    return [type(w)(attributes, w.operands, w.message, w.error) for w in chosen]


row(
    "inv",
    np.linalg.inv,
    [
        case(near_one(3, 3), smooth=True),
        case(near_one(2, 3, 3, seed=1), smooth=True, tag="batch"),
        case(near_one(3, 3, dtype="float32")),
        case(complexes(2, 3, 3) + 4 * np.eye(3), smooth=True, tag="complex"),
        case(floats(2, 0, 0), smooth=True, tag="empty"),
    ],
    bad(),
    loose=1e3,
)
row(
    "det",
    np.linalg.det,
    [
        case(near_one(3, 3), smooth=True),
        case(near_one(2, 4, 4, seed=1), smooth=True, tag="batch"),
        case(np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]]), smooth=True, tag="rank 2"),
        case(np.zeros((2, 2)), smooth=True, tag="rank 0"),
        case(floats(4, 2) @ floats(2, 4, seed=1), smooth=True, tag="rank 2 of 4"),
        case(floats(1, 1), smooth=True, tag="one"),
        case(complexes(2, 3, 3), smooth=True, tag="complex"),
        case(near_one(3, 3, dtype="float32")),
        case(floats(2, 0, 0), tag="empty"),
    ],
    bad(),
    loose=1e3,
)


def cofactors(a):
    """Transposed, from minors."""
    n = a.shape[-1]
    result = np.empty_like(a)
    for i in range(n):
        for j in range(n):
            minor = np.delete(np.delete(a, i, -2), j, -1)
            result[..., j, i] = (-1) ** (i + j) * np.linalg.det(minor)
    return result


row(
    "adjugate",
    cofactors,
    [
        case(near_one(3, 3), smooth=True),
        case(np.stack([near_one(3, 3), np.array([[1.0, 2, 3], [2, 4, 6], [1, 0, 1]])]), smooth=True, tag="rank 2"),
        case(floats(4, 2) @ floats(2, 4, seed=1), tag="rank 2 of 4"),
        case(np.eye(3), smooth=True, tag="equal values"),
        case(complexes(2, 3, 3), smooth=True, tag="complex"),
        case(floats(1, 1), tag="one"),
        case(floats(2, 0, 0), tag="empty"),
    ],
    bad(),
    loose=1e4,
)
row(
    "slogdet",
    lambda a: np.stack(np.linalg.slogdet(a), -1).astype(a.dtype),
    [
        case(near_one(3, 3), smooth=True),
        case(floats(2, 3, 3, seed=1), smooth=True, tag="batch"),
        case(complexes(2, 3, 3), smooth=True, tag="complex"),
        case(np.zeros((2, 2)), tag="singular"),
        case(near_one(3, 3, dtype="float32")),
        case(floats(2, 0, 0), tag="empty"),
    ],
    bad(),
    loose=1e3,
)
row(
    "solve",
    np.linalg.solve,
    [
        case(near_one(3, 3), floats(3, 2), smooth=True),
        case(near_one(2, 3, 3, seed=1), floats(2, 3, 4), smooth=True, tag="batch"),
        case(near_one(3, 3, dtype="float32"), floats(3, 2, dtype="float32")),
        case(complexes(3, 3) + 4 * np.eye(3), complexes(3, 2, seed=1), smooth=True, tag="complex"),
        case(near_one(3, 3), floats(3, 0), smooth=True, tag="no sides"),
        case(floats(2, 0, 0), floats(2, 0, 3), tag="empty"),
    ],
    [
        wrong(floats(2, 3), floats(2, 1), message=NOT_SQUARE),
        wrong(floats(3, 3), floats(4, 1), message="the matrix has 3 rows, the right-hand side has 4 on axis -2"),
        wrong(floats(2, 3, 3), floats(3, 3, 1), message="leading axes [2] and [3] differ"),
        wrong(floats(3, 3), floats(3, 1, dtype="float32"), message="different dtypes", error=DTypeError),
    ],
    loose=1e3,
)


def substituted(lower, unit, a, b):
    """By a full solution."""
    triangle = np.tril(a) if lower else np.triu(a)
    if unit:
        triangle = triangle - np.einsum("...ii->...i", triangle)[..., None] * np.eye(a.shape[-1])
        triangle = triangle + np.eye(a.shape[-1])
    return np.linalg.solve(triangle, b).astype(b.dtype)


row(
    "triangular_solve",
    substituted,
    [
        *(
            case(near_one(2, 3, 3), floats(2, 3, 2), attributes=(low, unit), smooth=True, tag=f"{low} {unit}")
            for low in (True, False)
            for unit in (True, False)
        ),
        case(near_one(70, 70) + 4 * np.eye(70), floats(70, 2), attributes=(True, False), tag="blocks"),
        case(near_one(70, 70) + 4 * np.eye(70), floats(70, 2), attributes=(False, False), tag="blocks"),
        case(near_one(3, 3, dtype="float32"), floats(3, 2, dtype="float32"), attributes=(True, False)),
        case(complexes(3, 3) + 4 * np.eye(3), complexes(3, 2), attributes=(False, False), smooth=True, tag="complex"),
        case(floats(0, 0), floats(0, 2), attributes=(True, False), tag="empty"),
    ],
    [wrong(floats(2, 3), floats(2, 1), attributes=(True, False), message=NOT_SQUARE)],
    loose=1e3,
)
row(
    "pinv",
    lambda a, rtol: np.linalg.pinv(a, rtol),
    [
        case(floats(4, 3), np.array(1e-10), smooth=True),
        case(floats(2, 3, 4), np.full(2, 1e-10), smooth=True, tag="wide"),
        case(floats(4, 2) @ floats(2, 3, seed=1), np.array(1e-10), tag="deficient"),
        case(complexes(2, 4, 3), np.full(2, 1e-10), smooth=True, tag="complex"),
        case(floats(4, 3, dtype="float32"), np.array(1e-5, np.float32)),
        case(floats(0, 3), np.array(1e-5), tag="empty"),
    ],
    [
        wrong(floats(2, 4, 3), np.array(0.0), message="rtol of shape [] should have [2]"),
        wrong(floats(4, 3), np.array(0.0, np.float32), message="rtol should be float64", error=DTypeError),
    ],
    loose=1e4,
)


def exponential(a):
    """By eigenvalues."""
    values, vectors = np.linalg.eig(a)
    result = (vectors * np.exp(values)[..., None, :]) @ np.linalg.inv(vectors)
    return (result if a.dtype.kind == "c" else result.real).astype(a.dtype)


row(
    "expm",
    exponential,
    [
        case(floats(3, 3), smooth=True),
        case(floats(2, 3, 3, seed=1) * np.array([0.1, 4.0])[:, None, None], smooth=True, tag="batch"),
        case(complexes(2, 3, 3), smooth=True, tag="complex"),
        case(floats(3, 3, dtype="float32")),
        case(floats(2, 0, 0), smooth=True, tag="empty"),
    ],
    bad(),
    loose=1e4,
)
row(
    "cholesky",
    lambda a: np.linalg.cholesky(part(a)),
    [
        case(positive(3, 3), smooth=True),
        case(positive(2, 3, 3, seed=1) + np.triu(np.ones((3, 3)), 1), smooth=True, tag="not symmetric"),
        case(positive(2, 3, 3, dtype="complex128"), smooth=True, tag="complex"),
        case(positive(3, 3, dtype="float32")),
        case(floats(2, 0, 0), smooth=True, tag="empty"),
    ],
    bad(),
    loose=1e3,
    batches=False,
)


def hermitian_eigen(vectors, a):
    """Values, and vectors."""
    values, columns = np.linalg.eigh(part(a))
    return side_by_side(a.dtype, (values, 1), (columns, 2)) if vectors else values.astype(a.dtype)


row(
    "eigh",
    hermitian_eigen,
    [
        case(floats(3, 3), attributes=(True,), smooth=True),
        case(floats(2, 4, 4, seed=1), attributes=(True,), smooth=True, tag="batch"),
        case(floats(2, 4, 4, seed=1), attributes=(False,), smooth=True, tag="values"),
        case(np.diag([1.0, 2.0, 4.0]), attributes=(True,), smooth=True, tag="diagonal"),
        case(complexes(2, 3, 3), attributes=(True,), tag="complex"),
        case(complexes(2, 3, 3), attributes=(False,), smooth=True, tag="complex values"),
        case(floats(3, 3, dtype="float32"), attributes=(True,)),
        case(floats(2, 0, 0), attributes=(True,), smooth=True, tag="empty"),
    ],
    bad(True),
    loose=1e3,
)


def eigen(vectors, a):
    """Values, and vectors."""
    values, columns = np.linalg.eig(a)
    dtype = np.result_type(a.dtype, np.complex64)
    return side_by_side(dtype, (values, 1), (columns, 2)) if vectors else np.linalg.eigvals(a).astype(dtype)


row(
    "eig",
    eigen,
    [
        case(floats(3, 3), attributes=(True,)),
        case(floats(2, 3, 3), attributes=(False,), smooth=True, tag="values"),
        case(complexes(2, 3, 3), attributes=(True,), tag="complex"),
        case(floats(3, 3, dtype="float32"), attributes=(True,)),
        case(floats(2, 0, 0), attributes=(True,), tag="empty"),
    ],
    bad(True),
    loose=1e3,
)


def singular_values(mode, a):
    """U, S and V^H, or S."""
    if mode == "values":
        return np.linalg.svd(a, compute_uv=False).astype(a.dtype)
    u, s, vh = np.linalg.svd(a, full_matrices=mode == "full")
    return side_by_side(a.dtype, (u, 2), (s, 1), (vh, 2))


row(
    "svd",
    singular_values,
    [
        case(floats(3, 3), attributes=("reduced",), smooth=True),
        case(floats(4, 3), attributes=("reduced",), smooth=True, tag="tall"),
        case(floats(2, 3, 4), attributes=("reduced",), smooth=True, tag="wide"),
        case(floats(2, 4, 3), attributes=("values",), smooth=True, tag="values"),
        case(floats(4, 2), attributes=("full",), tag="full tall"),
        case(floats(2, 4), attributes=("full",), tag="full wide"),
        case(complexes(2, 4, 3), attributes=("reduced",), tag="complex"),
        case(complexes(2, 3), attributes=("values",), smooth=True, tag="complex values"),
        case(floats(4, 3, dtype="float32"), attributes=("reduced",)),
        case(floats(2, 0, 3), attributes=("reduced",), smooth=True, tag="empty"),
    ],
    bad("reduced", square=False),
    loose=1e3,
)


def orthogonal_triangular(complete, a):
    """Q and the square R."""
    q, r = np.linalg.qr(a, "complete" if complete else "reduced")
    return side_by_side(a.dtype, (q, 2), (r[..., : a.shape[-1], :], 2))


row(
    "qr",
    orthogonal_triangular,
    [
        case(floats(3, 3), attributes=(False,), smooth=True),
        case(floats(2, 4, 3), attributes=(False,), smooth=True, tag="tall"),
        case(floats(4, 2), attributes=(True,), tag="complete"),
        case(complexes(2, 4, 3), attributes=(False,), smooth=True, tag="complex"),
        case(floats(4, 3, dtype="float32"), attributes=(False,)),
        case(floats(2, 3, 0), attributes=(False,), smooth=True, tag="empty"),
    ],
    [
        wrong(floats(2, 3), attributes=(False,), message="needs as many rows as columns, axis -2 has 2 elements and"),
        *bad(False, square=False),
    ],
    loose=1e3,
)


def pivoting(a):
    """Row numbers, by elimination of one matrix after another."""
    order = np.empty(a.shape[:-1], np.int64)
    for index in np.ndindex(a.shape[:-2]):
        work, numbers = a[index].copy(), list(range(a.shape[-2]))
        for j in range(min(work.shape)):
            best = max(range(j, len(numbers)), key=lambda i: (abs(work[i, j].real) + abs(work[i, j].imag), -i))
            work[[j, best]], numbers[j], numbers[best] = work[[best, j]], numbers[best], numbers[j]
            for i in range(j + 1, len(numbers)):
                if work[j, j]:
                    work[i] -= work[i, j] / work[j, j] * work[j]
        order[index] = numbers
    return order


row(
    "pivot_order",
    pivoting,
    [
        case(floats(4, 4)),
        case(floats(2, 4, 3), tag="tall"),
        case(floats(3, 5), tag="wide"),
        case(complexes(2, 3, 3), tag="complex"),
        case(floats(0, 3), tag="empty"),
    ],
    bad(square=False),
)


def triangles(a):
    """Both factors, by determinants of leading blocks."""
    result = np.empty_like(a)
    n = a.shape[-1]
    for i in range(n):
        for j in range(n):
            k = min(i, j)
            rows, columns = [*range(k), i], [*range(k), j]
            bottom = np.linalg.det(a[..., :k, :k])
            top = np.linalg.det(a[..., rows, :][..., :, columns])
            result[..., i, j] = top / bottom if i <= j else top / np.linalg.det(a[..., : k + 1, : k + 1])
    return result


row(
    "lu",
    triangles,
    [
        case(near_one(4, 4), smooth=True),
        case(near_one(2, 3, 3, seed=1), smooth=True, tag="batch"),
        case(near_one(2, 3, 3) + 1j * floats(2, 3, 3), smooth=True, tag="complex"),
        case(near_one(3, 3, dtype="float32")),
        case(floats(2, 0, 0), tag="empty"),
    ],
    bad(),
    loose=1e4,
)
