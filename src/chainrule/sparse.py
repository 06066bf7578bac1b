"""`CSR`: a sparse matrix in compressed rows, with its transpose at hand, and its products with dense matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import functions as fn
from .dtypes import as_dtype, default_float
from .errors import DTypeError, IndexOutOfRangeError, ShapeError
from .ops.base import emit, message
from .tensor import Tensor, node_of
from .tree import register

#: the tensors that say where the nonzeros are
STRUCTURE = ("indptr", "indices", "t_indptr", "t_indices", "order", "inverse")


class CSR:
    """A sparse matrix (rows, columns): row i holds ``values[indptr[i] : indptr[i + 1]]`` in columns ``indices[...]``.

    The structure of the transposed matrix is worked out here, once, so that gradients need not look for it. Products
    are differentiable in `values` and in the dense operand, of any order, and run as one native kernel.

    Args:
        indptr: (rows + 1,) integers ascending from 0 to the number of nonzeros; present values (NumPy or evaluated).
        indices: (nonzeros,) the columns.
        values: (nonzeros,) floating; None for ones.
        shape: (rows, columns).
    Its operators are ``A @ x`` and ``x @ A``, `T` the transposed matrix.

    Attributes:
        shape, nnz, dtype; values, a tensor; indptr and indices.
    Raises:
        ShapeError, IndexOutOfRangeError: the arrays describe no matrix of this shape.
    Example:
        >>> import chainrule as cr
        >>> a = cr.sparse.CSR.from_dense([[0.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
        >>> (a @ cr.asarray([[1.0], [10.0]]))[:, 0].tolist(), (a.T @ cr.ones((3, 1)))[:, 0].tolist()
        ([20.0, 3.0, 0.0], [3.0, 2.0])
    """

    shape: tuple[int, int]
    values: Tensor
    indptr: Tensor
    indices: Tensor
    t_indptr: Tensor
    t_indices: Tensor
    order: Tensor
    inverse: Tensor

    def __init__(self, indptr: Any, indices: Any, values: Any, shape: tuple[int, int]):
        rows, columns = int(shape[0]), int(shape[1])
        ends, places = _whole("indptr", indptr), _whole("indices", indices)
        count = len(places)
        if len(ends) != rows + 1 or ends[0] != 0 or ends[-1] != count or (np.diff(ends) < 0).any():
            problem = f"indptr has to ascend from 0 to {count}, the number of indices, in {rows + 1} elements"
            raise ShapeError(message("CSR", problem, ()))
        if count and (places.min() < 0 or places.max() >= columns):
            bad = int(places.min()) if places.min() < 0 else int(places.max())
            problem = f"column {bad} is out of range for a matrix of {columns} columns"
            raise IndexOutOfRangeError(message("CSR", problem, ()))
        order = np.argsort(places, kind="stable")
        inverse = np.empty_like(order)
        inverse[order] = np.arange(count)
        t_ends = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=columns))])
        row_of = np.repeat(np.arange(rows), np.diff(ends))
        small = max(count, rows, columns) < 1 << 31
        arrays = (ends, places, t_ends, row_of[order], order, inverse)
        for name, array in zip(STRUCTURE, arrays):
            setattr(self, name, fn.asarray(array.astype(np.int32 if small else np.int64)))
        self.shape = (rows, columns)
        self.values = fn.ones((count,), dtype=default_float) if values is None else fn.asarray(values)
        self._check_values()

    def _check_values(self) -> None:
        given, wanted = tuple(self.values.shape), tuple(self.indices.shape)
        if given != wanted:
            raise ShapeError(message("CSR", f"values have shape {given}, there are {wanted[0]} nonzeros", ()))
        if self.values.dtype.kind != "f":
            problem = f"values are {self.values.dtype.name}, they have to be floating"
            raise DTypeError(message("CSR", problem, (), "convert with .astype(chainrule.float32)"))

    @classmethod
    def from_coo(cls, rows: Any, columns: Any, values: Any, shape: tuple[int, int]) -> CSR:
        """The matrix with ``values[k]`` at ``(rows[k], columns[k])``; those in one place are added up.

        Args:
            rows, columns: (n,) integers.
            values: (n,) floating, NumPy or evaluated; None for ones.
            shape: (rows, columns).
        """
        i, j = _whole("rows", rows), _whole("columns", columns)
        v = np.ones(len(i), default_float.numpy) if values is None else fn.asarray(values).numpy()
        if not len(i) == len(j) == len(v):
            raise ShapeError(message("CSR", f"{len(i)} rows, {len(j)} columns and {len(v)} values are given", ()))
        for what, numbers, extent in (("row", i, shape[0]), ("column", j, shape[1])):
            if len(numbers) and (numbers.min() < 0 or numbers.max() >= extent):
                bad = int(numbers.min()) if numbers.min() < 0 else int(numbers.max())
                problem = f"{what} {bad} is out of range for a matrix of {extent} {what}s"
                raise IndexOutOfRangeError(message("CSR", problem, ()))
        flat, place = np.unique(i * shape[1] + j, return_inverse=True)
        total = np.zeros(len(flat), v.dtype)
        np.add.at(total, place, v)
        counts = np.bincount(flat // max(shape[1], 1), minlength=shape[0])
        return cls(np.concatenate([[0], np.cumsum(counts)]), flat % max(shape[1], 1), total, shape)

    @classmethod
    def from_dense(cls, matrix: Any) -> CSR:
        """The elements of `matrix`, (rows, columns), that are not 0."""
        array = np.asarray(matrix, default_float.numpy) if isinstance(matrix, (list, tuple)) else np.asarray(matrix)
        if array.ndim != 2:
            raise ShapeError(message("CSR", f"a matrix has 2 axes, not {array.ndim}", ()))
        rows, columns = np.nonzero(array)
        return cls.from_coo(rows, columns, array[rows, columns], array.shape)

    @property
    def nnz(self) -> int:
        """Number of stored elements."""
        return self.indices.shape[0]

    @property
    def dtype(self) -> Any:
        """Of the values."""
        return self.values.dtype

    @property
    def rows(self) -> Tensor:
        """(nonzeros,) the row of each, as `indices` are the columns."""
        return Tensor(emit("take", node_of(self.t_indices), node_of(self.inverse), attributes=(0,)))

    @property
    def T(self) -> CSR:
        """The transposed matrix; it shares the structure."""
        moved = Tensor(emit("take", node_of(self.values), node_of(self.order), attributes=(0,)))
        parts = (self.t_indptr, self.t_indices, self.indptr, self.indices, self.inverse, self.order)
        return _assembled(self.shape[::-1], moved, parts)

    def with_values(self, values: Tensor) -> CSR:
        """A matrix of the same structure with other values, (nonzeros,): dropout or attention, for instance."""
        other = _assembled(self.shape, values, tuple(getattr(self, name) for name in STRUCTURE))
        other._check_values()
        return other

    def astype(self, dtype: Any) -> CSR:
        """A matrix of the same structure whose values are converted."""
        return self.with_values(self.values.astype(as_dtype(dtype)))

    def __matmul__(self, x: Tensor) -> Tensor:
        """The product with x, (columns, features) or (columns,): (rows, features) or (rows,)."""
        if x is None or isinstance(x, CSR):
            what = "None" if x is None else "sparse as well"
            raise DTypeError(message("csr_matmul", f"x is {what}", (), "" if x is None else "write x.to_dense()"))
        x = fn.asarray(x)
        vector = len(x.shape) == 1
        columns = self.shape[1]
        if len(x.shape) not in (1, 2) or x.shape[0] != columns:
            problem = f"the matrix has {columns} columns, x has shape {tuple(x.shape)}"
            raise ShapeError(message("csr_matmul", problem, (node_of(self.values), node_of(x))))
        if x.dtype is not self.values.dtype:
            problem = f"the matrix is {self.values.dtype.name}, x is {x.dtype.name}"
            help = f"convert one, for instance matrix.astype(chainrule.{x.dtype.name})"
            raise DTypeError(message("csr_matmul", problem, (node_of(self.values), node_of(x)), help))
        wide = fn.expand_dims(x, 1) if vector else x
        first, last = (self.indptr, self.indices, self.values, wide), STRUCTURE[2:]
        operands = [*first, *(getattr(self, name) for name in last)]
        result = Tensor(emit("csr_matmul", *map(node_of, operands)))
        return fn.squeeze(result, 1) if vector else result

    #: NumPy arrays leave ``x @ matrix`` to the matrix
    __array_ufunc__ = None

    def __rmatmul__(self, x: Any) -> Tensor:
        """The product x A with x, (features, rows) or (rows,): (features, columns) or (columns,)."""
        x = fn.asarray(x)
        rows = self.shape[0]
        if len(x.shape) not in (1, 2) or x.shape[-1] != rows:
            problem = f"x has shape {tuple(x.shape)}, the matrix has {rows} rows"
            raise ShapeError(message("csr_matmul", problem, (node_of(x), node_of(self.values))))
        return self.T @ x if len(x.shape) == 1 else (self.T @ x.mT).mT

    def to_dense(self) -> Tensor:
        """The matrix with its zeros, (rows, columns)."""
        return self @ fn.eye(self.shape[1], dtype=self.values.dtype)

    def __repr__(self) -> str:
        return f"CSR(shape={self.shape}, nnz={self.nnz}, dtype={self.values.dtype.name})"


def _whole(what: str, numbers: Any) -> np.ndarray:
    """`numbers` as a vector of int64."""
    array = np.asarray(numbers)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        problem = f"{what} has to be a vector of integers, not {array.dtype}{list(array.shape)}"
        raise DTypeError(message("CSR", problem, ()))
    return array.astype(np.int64)


def _assembled(shape: tuple[int, int], values: Any, structure: tuple) -> CSR:
    """A matrix of parts that are known to fit."""
    matrix = CSR.__new__(CSR)
    matrix.shape = shape
    matrix.values = values
    for name, part in zip(STRUCTURE, structure):
        setattr(matrix, name, part)
    return matrix


def _flatten(matrix: CSR) -> tuple[dict[str, Any], Any]:
    return {name: getattr(matrix, name) for name in ("values", *STRUCTURE)}, matrix.shape


def _unflatten(shape: Any, parts: dict[str, Any]) -> CSR:
    return _assembled(shape, parts["values"], tuple(parts[name] for name in STRUCTURE))


register(CSR, _flatten, _unflatten)


def normalized_adjacency(edges: Any, num_nodes: int, symmetric: bool = True, dtype: Any = None) -> CSR:
    """The matrix of a graph convolution: ``D^(-1/2) (A + I) D^(-1/2)``, D the degrees of A + I.

    Args:
        edges: (2, n) integers, edge k from node ``edges[0, k]`` to ``edges[1, k]``; those given twice count once, and
            loops once beside the one that is added.
        num_nodes: number of nodes.
        symmetric: whether each edge leads both ways.
        dtype: of the values, default float32.
    Returns:
        (num_nodes, num_nodes); row i weighs the nodes with an edge to i.
    Example:
        >>> import chainrule as cr
        >>> cr.sparse.normalized_adjacency([[0], [1]], 2).to_dense().tolist()
        [[0.5, 0.5], [0.5, 0.5]]

    Reference:
        Kipf and Welling, Semi-supervised classification with graph convolutional networks, ICLR 2017, equation 2.
    """
    pairs = np.asarray(edges)
    if pairs.ndim != 2 or pairs.shape[0] != 2:
        raise ShapeError(message("normalized_adjacency", f"edges have shape {pairs.shape}, not (2, number)", ()))
    source, target = (_whole("edges", part) for part in pairs)
    if len(source) and (pairs.min() < 0 or pairs.max() >= num_nodes):
        bad = int(pairs.min()) if pairs.min() < 0 else int(pairs.max())
        raise IndexOutOfRangeError(
            message("normalized_adjacency", f"node {bad} is out of range for a graph of {num_nodes} nodes", ())
        )
    if symmetric:
        source, target = np.concatenate([source, target]), np.concatenate([target, source])
    loops = np.arange(num_nodes)
    flat = np.unique(np.concatenate([target, loops]) * num_nodes + np.concatenate([source, loops]))
    rows, columns = flat // num_nodes, flat % num_nodes
    degree = np.bincount(rows, minlength=num_nodes).astype(np.float64)
    values = 1 / np.sqrt(degree[rows] * degree[columns])
    wanted = default_float if dtype is None else as_dtype(dtype)
    return CSR.from_coo(rows, columns, values.astype(wanted.numpy), (num_nodes, num_nodes))
