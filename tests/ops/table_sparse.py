"""The row of the product with a sparse matrix."""

from __future__ import annotations

import numpy as np

from chainrule.errors import DTypeError

from .table import case, floats, row, wrong


def structure(dense, kind="int32"):
    """indptr, indices, values and the structure of the transposed, of the elements that are not 0."""
    places = np.argwhere(dense)
    i, j = places[:, 0], places[:, 1]
    order = np.lexsort((i, j))
    ends = [np.searchsorted(i, np.arange(dense.shape[0] + 1)), np.searchsorted(j[order], np.arange(dense.shape[1] + 1))]
    parts = [ends[0], j, ends[1], i[order], order, np.argsort(order)]
    return [part.astype(kind) for part in parts], dense[i, j]


def operands(rows, columns, features, seed=0, dtype="float64", kind="int32", empty=()):
    """A random matrix with half of its elements, rows `empty` without any, and x."""
    dense = floats(rows, columns, seed=seed, low=0.5, dtype=dtype)
    dense[np.random.default_rng(seed).random(dense.shape) < 0.5] = 0
    dense[list(empty)] = 0
    (ends, places, *transposed), values = structure(dense, kind)
    return ends, places, values, floats(columns, features, seed=seed + 1, dtype=dtype), *transposed


def product(indptr, indices, values, x, *_):
    """Row by row."""
    result = np.zeros((len(indptr) - 1, x.shape[1]), x.dtype)
    for i in range(len(result)):
        for j in range(indptr[i], indptr[i + 1]):
            result[i] += values[j] * x[indices[j]]
    return result


good = operands(3, 4, 2)
row(
    "csr_matmul",
    product,
    [
        case(*good, smooth=True),
        case(*operands(5, 2, 3, 1, empty=(0, 3)), smooth=True, tag="empty rows"),
        case(*operands(2, 3, 1, 2, empty=(0, 1)), tag="no elements"),
        case(*operands(4, 6, 17, 3, "float32", "int64")),
        case(*operands(9, 5, 70, 4, "float32")),
        case(*operands(0, 3, 2, 5), tag="no rows"),
    ],
    [
        wrong(*good[:3], good[3][:3], *good[4:], message="the matrix has 4 columns, x has 3 rows"),
        wrong(*good[:2], good[2][1:], *good[3:], message="indices has"),
        wrong(*good[:3], good[3].astype("float32"), *good[4:], message="different dtypes", error=DTypeError),
        wrong(good[0].astype("float64"), *good[1:], message="needs signed integers", error=DTypeError),
        wrong(*good[:3], good[3][0], *good[4:], message="x has 1 axes, it needs 2"),
    ],
    batches=False,  # rolled row ends are no matrix; tests/test_sparse.py batches whole matrices
)
