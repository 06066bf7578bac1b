"""What the primitives of linear algebra and their rules share: checks, products, masks, packed results, error messages.

Matrices are the last two axes; leading axes are a batch. An operation with several results has one array, its factors
flattened side by side along the last axis: `pack` and `cut` put them together and take them apart.

Derivatives of factorisations that are not holomorphic (those in which the adjoint occurs) are derived for the pairing
Re <g, t> = Re sum(conj(g) t), in which formulas are written with adjoints. The sweep's cotangents are transposes under
Re sum(g t), so such a rule conjugates the cotangent that it is given and the one that it returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..dtypes import int64
from ..errors import DTypeError
from ..graph.node import Node
from ..shapes import size
from .base import Primitive, apply, emit, same_dtype
from .rules import all_lead, cast, div, full_like, mul, permute, reshape, sub, where

Shape = tuple[int, ...]


class Matrices(Primitive):
    """Family base: operands are stacks of matrices with the same leading axes; computed by LAPACK through NumPy."""

    family = "matrix"
    host = True

    def check_matrices(self, *operands: Node) -> None:
        """Reject operands without two axes, with other leading axes, and of dtypes that LAPACK lacks, or mixed."""
        for operand in operands:
            if operand.dtype.kind not in "fc" or operand.dtype.is_half:
                problem = "needs float32, float64, complex64 or complex128"
                self.reject(problem, operands, "convert with .astype(chainrule.float32)", DTypeError)
            if len(operand.shape) < 2:
                self.reject(f"needs matrices, which have two axes, not {len(operand.shape)}", operands)
        same_dtype(self, operands)
        first = operands[0].shape[:-2]
        for operand in operands[1:]:
            if operand.shape[:-2] != first:
                self.reject(f"leading axes {list(first)} and {list(operand.shape[:-2])} differ", operands)

    def check_square(self, a: Node, operands: tuple[Node, ...]) -> None:
        """Reject a first operand that is not square."""
        rows, columns = a.shape[-2:]
        if rows != columns:
            self.reject(f"needs square matrices, axis -2 has {rows} elements and axis -1 has {columns}", operands)

    def batch(self, inputs, batched, size):
        """The batch axis is one more leading axis."""
        return apply(self, inputs if all(batched) else all_lead(inputs, batched, size))

    def work(self, node: Node) -> int:
        """Multiply-adds of one matrix; n^3 for matrices of n rows."""
        *_, rows, columns = node.inputs[0].shape
        return rows * columns * min(rows, columns)

    def cost(self, node):
        """Twice `work` for each matrix."""
        _, moved = super().cost(node)
        return 2 * size(node.inputs[0].shape[:-2]) * self.work(node), moved


# --- nodes ----------------------------------------------------------------------------------------------


def matmul(a: Node, b: Node) -> Node:
    """a @ b, of operands with the same leading axes."""
    rank = len(a.shape)
    lead = tuple(range(rank - 2))
    row, inner, column = rank, rank + 1, rank + 2
    return emit("contract", a, b, attributes=((*lead, row, inner), (*lead, inner, column), (*lead, row, column)))


def transposed(x: Node) -> Node:
    """x with its last two axes exchanged."""
    rank = len(x.shape)
    return permute(x, (*range(rank - 2), rank - 1, rank - 2))


def conj(x: Node) -> Node:
    """The complex conjugate; x itself if it is real."""
    return emit("conj", x) if x.dtype.kind == "c" else x


def adjoint(x: Node) -> Node:
    """The conjugate transpose."""
    return conj(transposed(x))


def real(x: Node) -> Node:
    """The real part; x itself if it is real."""
    return emit("real", x) if x.dtype.kind == "c" else x


def only_real(x: Node) -> Node:
    """x with its imaginary part replaced by 0."""
    return cast(emit("real", x), x.dtype) if x.dtype.kind == "c" else x


def only_imaginary(x: Node) -> Node:
    """x, which is complex, with its real part replaced by 0."""
    part = emit("imag", x)
    return emit("complex", full_like(part, 0.0), part)


def scaled(x: Node, factor: float) -> Node:
    """x times a number."""
    return mul(x, full_like(x, factor))


def hermitian_part(x: Node) -> Node:
    """(x + x^H) / 2."""
    return scaled(emit("add", x, adjoint(x)), 0.5)


def _indices(x: Node) -> tuple[Node, Node]:
    rank = len(x.shape)
    return (emit("iota", attributes=(x.shape, rank - 2, int64)), emit("iota", attributes=(x.shape, rank - 1, int64)))


def on_diagonal(x: Node) -> Node:
    """A bool node like x: whether the row's number is the column's."""
    return emit("eq", *_indices(x))


def lower(x: Node, strict: bool = False) -> Node:
    """x, with zeros above its diagonal (on it too, if `strict`)."""
    return where(emit("gt" if strict else "ge", *_indices(x)), x, full_like(x, 0.0))


def upper(x: Node, strict: bool = False) -> Node:
    """x, with zeros below its diagonal (on it too, if `strict`)."""
    return where(emit("lt" if strict else "le", *_indices(x)), x, full_like(x, 0.0))


def half_diagonal(x: Node) -> Node:
    """x with half its diagonal."""
    return where(on_diagonal(x), scaled(x, 0.5), x)


def off_diagonal(x: Node) -> Node:
    """x with zeros on its diagonal."""
    return where(on_diagonal(x), full_like(x, 0.0), x)


def diagonal(x: Node) -> Node:
    """The diagonal of square matrices."""
    return emit("sum", where(on_diagonal(x), x, full_like(x, 0.0)), attributes=((len(x.shape) - 1,),))


def along_rows(x: Node, n: int) -> Node:
    """Matrices with `n` equal columns, each of them a vector of x: element (i, j) is x[i]."""
    return emit("broadcast", x, attributes=((*x.shape, n), tuple(range(len(x.shape)))))


def along_columns(x: Node, n: int) -> Node:
    """Matrices with `n` equal rows, each of them a vector of x: element (i, j) is x[j]."""
    rank = len(x.shape)
    shape = (*x.shape[:-1], n, x.shape[-1])
    return emit("broadcast", x, attributes=(shape, (*range(rank - 1), rank)))


def diagonal_matrix(x: Node) -> Node:
    """Square matrices with the vectors of x on their diagonals."""
    spread = along_rows(x, x.shape[-1])
    return where(on_diagonal(spread), spread, full_like(spread, 0.0))


def everywhere(x: Node, shape: Shape) -> Node:
    """One number for each matrix, repeated over matrices of `shape`."""
    return emit("broadcast", x, attributes=(shape, tuple(range(len(x.shape)))))


def quotient(x: Node, y: Node) -> Node:
    """x / y, where 0 / 0 is 0 and other numbers over 0 are infinite: distances of eigenvalues may vanish unused."""
    zero = emit("eq", y, full_like(y, 0.0))
    nothing = emit("eq", x, full_like(x, 0.0))
    end = where(nothing, full_like(x, 0.0), full_like(x, float("inf")))
    return where(zero, end, div(x, where(zero, full_like(y, 1.0), y)))


def gaps(values: Node) -> Node:
    """Element (i, j) is values[j] - values[i]; 1 on the diagonal."""
    n = values.shape[-1]
    result = sub(along_columns(values, n), along_rows(values, n))
    return where(on_diagonal(result), full_like(result, 1.0), result)


def pack(*parts: Node, axes: Sequence[int]) -> Node:
    """The parts, of which the last ``axes[i]`` axes belong to part i alone, flattened, side by side."""
    flat = []
    for part, count in zip(parts, axes):
        lead = part.shape[: len(part.shape) - count]
        flat.append(reshape(part, (*lead, size(part.shape[len(lead) :]))))
    return emit("concat", *flat, attributes=(len(flat[0].shape) - 1,)) if len(flat) > 1 else flat[0]


def cut(packed: Node, shapes: Sequence[Shape]) -> list[Node]:
    """The parts of a packed array, each of the batch's leading axes and its own of `shapes`."""
    lead, last = packed.shape[:-1], len(packed.shape) - 1
    parts, start = [], 0
    for shape in shapes:
        stop = start + size(shape)
        bounds = ((*(0 for _ in lead), start), (*lead, stop), (1,) * (last + 1))
        parts.append(reshape(emit("slice", packed, attributes=bounds), (*lead, *shape)))
        start = stop
    return parts


def columns_apart(x: Node, k: int) -> tuple[Node, Node | None]:
    """The first `k` columns and the others, None if there are none."""
    rank, n = len(x.shape), x.shape[-1]
    if n == k:
        return x, None
    start, one = (0,) * rank, (1,) * rank
    return (
        emit("slice", x, attributes=(start, (*x.shape[:-1], k), one)),
        emit("slice", x, attributes=((*start[:-1], k), x.shape, one)),
    )


def columns_together(a: Node, b: Node) -> Node:
    """The columns of a, then those of b."""
    return emit("concat", a, b, attributes=(len(a.shape) - 1,))


# --- arrays ---------------------------------------------------------------------------------------------


def packed(parts: Sequence[np.ndarray], axes: Sequence[int]) -> np.ndarray:
    """`pack` of arrays; a complex part makes the result complex."""
    flat = []
    for part, count in zip(parts, axes):
        lead = part.shape[: part.ndim - count]
        flat.append(part.reshape(*lead, size(part.shape[len(lead) :])))
    return np.concatenate(flat, -1)


def adjoint_array(x: np.ndarray) -> np.ndarray:
    """The conjugate transpose."""
    return x.swapaxes(-1, -2).conj()


def hermitian_array(x: np.ndarray) -> np.ndarray:
    """(x + x^H) / 2."""
    return (x + adjoint_array(x)) * x.dtype.type(0.5)


def each(batch: Shape) -> Iterator[tuple[int, ...]]:
    """The indices of the matrices of a batch."""
    return iter(np.ndindex(*batch))


def which(index: tuple[int, ...]) -> str:
    """The words for one matrix of a batch."""
    if not index:
        return "the matrix"
    return f"matrix {index[0] if len(index) == 1 else index} of the batch"


def guarded(function: Callable[..., object], problem: str, a: np.ndarray, *others: np.ndarray):
    """``function(a, *others)`` over a batch; LinAlgError names the first matrix of `a` that it fails for."""
    try:
        return function(a, *others)
    except np.linalg.LinAlgError:
        for index in each(a.shape[:-2]):
            try:
                function(a[index], *(x[index] for x in others))
            except np.linalg.LinAlgError:
                reason = problem if np.isfinite(a[index]).all() else "holds NaN or infinities"
                raise np.linalg.LinAlgError(f"{which(index)} {reason}") from None
        raise
