"""Products with sparse matrices in rows of nonzeros (CSR)."""

from __future__ import annotations

import math

import numpy as np

from ..dtypes import int64
from ..errors import DTypeError
from ..graph.node import Node
from .base import Primitive, apply, emit, same_dtype
from .rules import add, all_lead, cast, full, mul, permute, reshape, sum_parts, total

#: what the operands are called in messages
NAMES = ("indptr", "indices", "values", "x", "transposed indptr", "transposed indices", "order", "inverse")


class CsrMatmul(Primitive):
    """The product of a sparse matrix and a dense one: ``out[i] = sum of values[j] x[indices[j]]`` for j in row i.

    Operands: indptr (m + 1,), row i has the nonzeros ``indptr[i] .. indptr[i + 1]``; indices (nonzeros,), their
    columns; values (nonzeros,); x (n, features); then the structure of the transposed matrix: its indptr (n + 1,) and
    indices (nonzeros,), ``order``, where nonzero k of it stands here, and ``inverse``, the reverse. The derivative with
    respect to x is the product with the transposed matrix, which is so ready, and has this one ready in turn.

    A primitive because a gather of rows would write (nonzeros, features) elements, and a scatter of them could not be
    shared by threads. Each element of the result is a chain of multiply-adds in the order of the nonzeros, fused where
    the host has the instruction.
    """

    name = "csr_matmul"
    family = "contraction"

    def infer(self, *operands):
        """(m, features), in the dtype of values and x."""
        for what, operand in zip(NAMES, operands):
            rank = 2 if what == "x" else 1
            if len(operand.shape) != rank:
                self.reject(f"{what} has {len(operand.shape)} axes, it needs {rank}", operands)
            if what not in ("values", "x") and operand.dtype.kind != "i":
                self.reject(f"{what} is {operand.dtype.name}, it needs signed integers", operands, kind=DTypeError)
        indptr, values, x, t_indptr = operands[0], operands[2], operands[3], operands[4]
        dtype = same_dtype(self, (values, x))
        if dtype.kind != "f":
            self.reject("needs floating operands", (values, x), "convert with .astype(...)", DTypeError)
        nonzeros = values.shape[0]
        for what, operand in zip(NAMES, operands):
            if what in ("indices", "transposed indices", "order", "inverse") and operand.shape[0] != nonzeros:
                self.reject(f"{what} has {operand.shape[0]} elements, there are {nonzeros} values", operands)
        if t_indptr.shape[0] != x.shape[0] + 1:
            self.reject(f"the matrix has {t_indptr.shape[0] - 1} columns, x has {x.shape[0]} rows", operands)
        if indptr.shape[0] < 1:
            self.reject("indptr is empty", operands)
        return (indptr.shape[0] - 1, x.shape[1]), dtype

    def vjp(self, node, cotangent, needed):
        """For x the product with the transposed matrix; for a value the product of its two rows."""
        indptr, indices, values, x, t_indptr, t_indices, order, inverse = node.inputs
        to_values = to_x = None
        if needed[2]:
            rows = emit("take", t_indices, inverse, attributes=(0,))
            ours = emit("take", cotangent, rows, attributes=(0,))
            theirs = emit("take", x, indices, attributes=(0,))
            to_values = total(mul(ours, theirs), (1,))
        if needed[3]:
            moved = emit("take", values, order, attributes=(0,))
            to_x = emit("csr_matmul", t_indptr, t_indices, moved, cotangent, indptr, indices, inverse, order)
        return None, None, to_values, to_x, None, None, None, None

    def jvp(self, node, tangents):
        """The product with the tangent of either, added."""
        before, (values, x), after = node.inputs[:2], node.inputs[2:4], node.inputs[4:]
        parts = []
        if tangents[2] is not None:
            parts.append(apply(self, (*before, tangents[2], x, *after)))
        if tangents[3] is not None:
            parts.append(apply(self, (*before, values, tangents[3], *after)))
        return sum_parts(*parts)

    def batch(self, inputs, batched, size):
        """Batched columns lie side by side; batched matrices lie along the diagonal of a large one."""
        before, values, x, after = inputs[:2], inputs[2], inputs[3], inputs[4:]
        if not any(batched[:3]) and not any(batched[4:]):
            rows, features = x.shape[1:]
            wide = reshape(permute(x, (1, 0, 2)), (rows, size * features))
            product = apply(self, (*before, values, wide, *after))
            return permute(reshape(product, (product.shape[0], size, features)), (1, 0, 2))
        indptr, indices, values, x, t_indptr, t_indices, order, inverse = all_lead(inputs, batched, size)
        nonzeros = values.shape[1]
        _, columns, features = x.shape
        rows = indptr.shape[1] - 1
        product = apply(
            self,
            (
                _joined_ends(indptr, nonzeros),
                _joined(indices, columns),
                reshape(values, (size * nonzeros,)),
                reshape(x, (size * columns, features)),
                _joined_ends(t_indptr, nonzeros),
                _joined(t_indices, rows),
                _joined(order, nonzeros),
                _joined(inverse, nonzeros),
            ),
        )
        return reshape(product, (size, rows, features))

    def numpy(self, *operands):
        """Rows gathered, multiplied and added up."""
        indptr, indices, values, x = operands[:4]
        result = np.zeros((len(indptr) - 1, x.shape[1]), x.dtype)
        rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        np.add.at(result, rows, values[:, None] * x[indices])
        return result

    def cost(self, node):
        """A multiply-add for each nonzero and feature."""
        _, moved = super().cost(node)
        return 2 * node.inputs[2].shape[0] * node.shape[1], moved


def _joined(numbers: Node, extent: int) -> Node:
    """(size, n) numbers below `extent` as one vector, row b moved up by ``b * extent``."""
    numbers = cast(numbers, int64)
    steps = mul(emit("iota", attributes=(numbers.shape, 0, int64)), full(extent, numbers.shape, int64))
    return reshape(add(numbers, steps), (math.prod(numbers.shape),))


def _joined_ends(indptr: Node, nonzeros: int) -> Node:
    """The row ends of matrices laid along a diagonal, from (size, rows + 1)."""
    size, ends = indptr.shape
    begins = emit("slice", indptr, attributes=((0, 0), (size, ends - 1), (1, 1)))
    last = full(size * nonzeros, (1,), int64)
    return emit("concat", _joined(begins, nonzeros), last, attributes=(0,))
