"""Products of vectors, matrices and many-axis arrays: all are one contraction; and the diagonals of matrices."""

from __future__ import annotations

from typing import Any

from ..conversion import to_node
from ..dtypes import float32
from ..errors import DTypeError
from ..graph.node import Node
from ..ops.base import emit, mode, primitive
from ..recording import cast, normal_axis, permute, promoted, reject, slice_node
from ..recording import reshape as reshape_node
from ..tensor import Tensor, node_of
from .contractions import contract, diagonal_of, pair, product_sum
from .elementwise import multiply
from .reduction import sum as sum_of
from .shape import concat, pad, reshape, stack

_MATRICES = primitive("contract", ((0, 1), (1, 2), (0, 2)))


def _operands(name: str, x1: Any, x2: Any) -> tuple[Node, Node]:
    a, b = to_node(x1, name), to_node(x2, name)
    if a.dtype is b.dtype:
        if a.dtype.kind == "b":
            reject(name, "numbers are needed, not bool", (a, b), "convert with .astype(...)", DTypeError)
        return a, b
    dtype = promoted(name, (a, b))
    return cast(a, dtype), cast(b, dtype)


def matmul(x1: Any, x2: Any, /) -> Tensor:
    """The matrix product x1 @ x2 over the last two axes; leading axes broadcast, a vector counts as one row or column.

    out[..., i, j] = sum over k of x1[..., i, k] x2[..., k, j]
    """
    a, b = _operands("matmul", x1, x2)
    ra, rb = len(a.shape), len(b.shape)
    if ra == 0 or rb == 0:
        reject("matmul", "operands have at least one axis", (a, b), "use * for numbers")
    k, m = a.shape[-1], b.shape[-2 if rb > 1 else 0]
    if k != m:
        help = ""
        if rb > 1 and k == b.shape[-1]:
            help = "the second operand may have to be transposed: x2.mT"
        reject("matmul", f"axis -1 of the first has {k} elements, axis {-2 if rb > 1 else 0} of the second has {m}",
               (a, b), help)  # fmt: skip
    if ra == 2 and rb == 2 and not (a.shape[0] == 1 and b.shape[1] == 1) and mode.precision is None:
        requires_grad = (a.requires_grad or b.requires_grad) and mode.grad_enabled
        return Tensor(Node(_MATRICES, (a, b), (a.shape[0], b.shape[1]), a.dtype, None, requires_grad, mode.where))
    if rb == 1:  # matrix or batch of matrices times vector, or vector times vector
        return Tensor(product_sum(a, b, range(ra), (ra - 1,), range(ra - 1)))
    # leading axes have their position as label; the last two have labels beyond any position
    row, inner, column = 1000, 1001, 1002
    lead_a, lead_b = a.shape[:-2], b.shape[:-2]
    rank = max(len(lead_a), len(lead_b))
    labels_a, labels_b, keep_a, keep_b = [], [], [], []
    for position in range(rank):
        ia, ib = position - rank + len(lead_a), position - rank + len(lead_b)
        ea, eb = lead_a[ia] if ia >= 0 else None, lead_b[ib] if ib >= 0 else None
        if ea is not None and eb is not None and ea != eb and 1 not in (ea, eb):
            reject("matmul", f"leading axis {position - rank - 2} has {ea} and {eb} elements", (a, b))
        # an axis of one element against a longer one is left out: it repeats
        if ea is not None and (ea != 1 or eb in (None, 1)):
            labels_a.append(position)
            keep_a.append(ea)
        if eb is not None and (eb != 1 or ea in (None, 1)):
            labels_b.append(position)
            keep_b.append(eb)
    out = sorted({*labels_a, *labels_b})
    a = reshape_node(a, (*keep_a, *(a.shape[-2:] if ra > 1 else a.shape)))
    b = reshape_node(b, (*keep_b, *b.shape[-2:]))
    labels_a = [*labels_a, row, inner] if ra > 1 else [*labels_a, inner]
    labels_b = [*labels_b, inner, column]
    out = [*out, row, column] if ra > 1 else [*out, column]
    if (ra == 1 or a.shape[-2] == 1) and b.shape[-1] == 1:
        return Tensor(product_sum(a, b, labels_a, labels_b, out))
    return Tensor(contract(a, b, labels_a, labels_b, out))


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Sum of conj(x1) * x2 along `axis`; the other axes broadcast. Real numbers are their own conjugates.

    Args:
        x1, x2: numeric tensors with equally many elements along `axis`.
        axis: counted in each operand; it is left out of the result.
    Returns: the common dtype, without `axis`.
    Raises: ShapeError where lengths differ or the other axes do not broadcast.
    Example:
        >>> cr.vecdot(cr.tensor([1j, 2j]), cr.tensor([1j, 1 + 0j]))
        tensor(1.-2.j, dtype=complex64)
    """
    a, b = _operands("vecdot", x1, x2)
    return _vecdot("vecdot", emit("conj", a) if a.dtype.kind == "c" else a, b, axis)


def _vecdot(name: str, a: Node, b: Node, axis: int) -> Tensor:
    if not a.shape or not b.shape:
        reject(name, "operands have at least one axis", (a, b))
    i, j = normal_axis(name, axis, len(a.shape), a), normal_axis(name, axis, len(b.shape), b)
    if a.shape[i] != b.shape[j]:
        reject(name, f"axis {axis} has {a.shape[i]} and {b.shape[j]} elements", (a, b))
    if a.dtype.is_half:  # products are not rounded before they are added
        return Tensor(cast(node_of(_vecdot(name, cast(a, float32), cast(b, float32), axis)), a.dtype))
    if len(a.shape) != len(b.shape) and axis >= 0:
        a, b = (permute(n, (*(x for x in range(len(n.shape)) if x != k), k)) for n, k in ((a, i), (b, j)))
        axis = -1
    return sum_of(Tensor(a) * Tensor(b), axis, dtype=a.dtype)


def dot(x1: Any, x2: Any, /) -> Tensor:
    """Sum of x1 * x2 of two vectors, without conjugation (see `vecdot`)."""
    a, b = _operands("dot", x1, x2)
    if len(a.shape) != 1 or len(b.shape) != 1:
        reject("dot", "vectors are needed", (a, b), "use matmul")
    return _vecdot("dot", a, b, -1)


def outer(x1: Any, x2: Any, /) -> Tensor:
    """out[i, j] = x1[i] x2[j] of two vectors."""
    a, b = _operands("outer", x1, x2)
    if len(a.shape) != 1 or len(b.shape) != 1:
        reject("outer", "vectors are needed", (a, b))
    return Tensor(reshape_node(a, (a.shape[0], 1))) * Tensor(reshape_node(b, (1, b.shape[0])))


def tensordot(x1: Any, x2: Any, /, axes: Any = 2) -> Tensor:
    """Sum of products over the last `axes` of x1 and the first of x2, or over two listed sequences of axes."""
    a, b = _operands("tensordot", x1, x2)
    ra, rb = len(a.shape), len(b.shape)
    if hasattr(axes, "__index__"):
        if not 0 <= axes <= min(ra, rb):
            reject("tensordot", f"{axes} axes of operands with {ra} and {rb}", (a, b))
        first, second = list(range(ra - axes, ra)), list(range(axes))
    else:
        first, second = ([v] if hasattr(v, "__index__") else list(v) for v in axes)
        first = [normal_axis("tensordot", i, ra, a) for i in first]
        second = [normal_axis("tensordot", i, rb, b) for i in second]
    if len(first) != len(second):
        reject("tensordot", f"{len(first)} axes against {len(second)}", (a, b))
    for i, j in zip(first, second):
        if a.shape[i] != b.shape[j]:
            reject("tensordot", f"axis {i} has {a.shape[i]} elements, axis {j} has {b.shape[j]}", (a, b))
    labels_b = [ra + j for j in range(rb)]
    for i, j in zip(first, second):
        labels_b[j] = i
    out = [i for i in range(ra) if i not in first] + [ra + j for j in range(rb) if j not in second]
    return Tensor(pair(a, b, list(range(ra)), labels_b, out))


def inner(x1: Any, x2: Any, /) -> Tensor:
    """Sum of products over the last axes of both, for every pair of the others; without conjugation."""
    a, b = _operands("inner", x1, x2)
    if not a.shape or not b.shape:
        return multiply(Tensor(a), Tensor(b))
    return tensordot(Tensor(a), Tensor(b), axes=((-1,), (-1,)))


def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """The vector product of vectors with three elements along `axis`; the other axes broadcast.

    out = (a_1 b_2 - a_2 b_1, a_2 b_0 - a_0 b_2, a_0 b_1 - a_1 b_0)

    Args:
        x1, x2: numeric tensors with three elements along `axis`.
        axis: counted in each operand.
    Returns: the common dtype and shape.
    Raises: ShapeError if there are not three elements.
    Example:
        >>> cr.linalg.cross(cr.tensor([1.0, 0.0, 0.0]), cr.tensor([0.0, 1.0, 0.0]))
        tensor([0., 0., 1.])
    """
    a, b = _operands("cross", x1, x2)
    rank = max(len(a.shape), len(b.shape))
    parts = []
    for node in (a, b):
        if not node.shape:
            reject("cross", "operands have at least one axis", (a, b))
        place = normal_axis("cross", axis, len(node.shape), node)
        if node.shape[place] != 3:
            reject("cross", f"vectors of 3 elements are needed, axis {axis} has {node.shape[place]}", (a, b))
        parts.append([Tensor(_one(node, place, i)) for i in range(3)])
    p, q = parts
    position = axis if axis < 0 else normal_axis("cross", axis, rank)
    return stack([p[i] * q[j] - p[j] * q[i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=position)


def _one(node: Node, axis: int, index: int) -> Node:
    """The elements of `node` at `index` along `axis`, which is left out."""
    starts = tuple(index if i == axis else 0 for i in range(len(node.shape)))
    stops = tuple(index + 1 if i == axis else e for i, e in enumerate(node.shape))
    kept = tuple(e for i, e in enumerate(node.shape) if i != axis)
    shape = tuple(1 if i == axis else e for i, e in enumerate(node.shape))
    return reshape_node(slice_node(node, starts, stops, (1,) * len(starts), shape), kept)


def kron(x1: Any, x2: Any, /) -> Tensor:
    """The Kronecker product: every element of x1 times the whole of x2, in blocks.

    out[..., i p + k, j q + l] = x1[..., i, j] x2[..., k, l]

    Args:
        x1, x2: numeric tensors; missing axes count as leading axes of one element.
    Returns: each extent the product of both extents.
    Example:
        >>> cr.linalg.kron(cr.tensor([1, 10]), cr.tensor([1, 2, 3]))
        tensor([ 1,  2,  3, 10, 20, 30])
    """
    a, b = _operands("kron", x1, x2)
    rank = max(len(a.shape), len(b.shape))
    shape_a, shape_b = ((1,) * (rank - len(n.shape)) + n.shape for n in (a, b))
    apart_a = tuple(e for extent in shape_a for e in (extent, 1))
    apart_b = tuple(e for extent in shape_b for e in (1, extent))
    product = Tensor(reshape_node(a, apart_a)) * Tensor(reshape_node(b, apart_b))
    return reshape(product, tuple(m * n for m, n in zip(shape_a, shape_b)))


def block_diag(*matrices: Any) -> Tensor:
    """The matrices one after another along the diagonal, with zeros elsewhere; vectors count as rows.

    Args:
        matrices: tensors of at most two axes.
    Returns: a matrix with the rows and columns of all together.
    Example:
        >>> cr.linalg.block_diag(cr.tensor([[1, 2]]), cr.tensor([[3], [4]]))
        tensor([[1, 2, 0],
                [0, 0, 3],
                [0, 0, 4]])
    """
    nodes = [to_node(m, "block_diag") for m in matrices]
    if not nodes:
        reject("block_diag", "there is nothing to put on the diagonal")
    for position, node in enumerate(nodes):
        if len(node.shape) > 2:
            reject("block_diag", f"matrices are needed, operand {position} has {len(node.shape)} axes", nodes)
    dtype = promoted("block_diag", nodes)
    parts = [cast(reshape_node(n, (1,) * (2 - len(n.shape)) + n.shape), dtype) for n in nodes]
    columns, before, rows = sum(p.shape[1] for p in parts), 0, []
    for part in parts:
        after = columns - before - part.shape[1]
        rows.append(pad(Tensor(part), ((0, 0), (before, after))))
        before += part.shape[1]
    return concat(rows, axis=0)


def multi_dot(arrays: Any, /) -> Tensor:
    """The product of several matrices, in the order that needs the fewest multiplications.

    Args:
        arrays: at least two matrices; the first and the last may be vectors (a row and a column).
    Returns: their product, without the axes that vectors lack.
    Raises: ShapeError if neighbours do not fit.
    Example:
        >>> x = cr.ones((4, 2))
        >>> cr.linalg.multi_dot([x, x.mT, x]).shape
        (4, 2)
    Reference: Cormen et al., Introduction to Algorithms, section 15.2.
    """
    nodes = [to_node(a, "multi_dot") for a in arrays]
    if len(nodes) < 2:
        reject("multi_dot", f"at least two matrices are needed, not {len(nodes)}", nodes)
    for position, node in enumerate(nodes):
        end = position in (0, len(nodes) - 1)
        if len(node.shape) != 2 and not (end and len(node.shape) == 1):
            reject("multi_dot", f"matrices are needed, operand {position} has {len(node.shape)} axes", nodes)
    first, last = len(nodes[0].shape) == 1, len(nodes[-1].shape) == 1
    shapes = [n.shape for n in nodes]
    shapes[0] = (1, *shapes[0]) if first else shapes[0]
    shapes[-1] = (*shapes[-1], 1) if last else shapes[-1]
    for i in range(len(nodes) - 1):
        if shapes[i][1] != shapes[i + 1][0]:
            problem = f"operand {i} has {shapes[i][1]} columns, operand {i + 1} has {shapes[i + 1][0]} rows"
            reject("multi_dot", problem, nodes)
    count = len(nodes)
    cost = [[0] * count for _ in range(count)]
    split = [[0] * count for _ in range(count)]
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            outer_size = shapes[i][0] * shapes[j][1]
            cost[i][j], split[i][j] = min(
                (cost[i][k] + cost[k + 1][j] + outer_size * shapes[k][1], k) for k in range(i, j)
            )
    stack_of: list[Any] = [(0, count - 1, False)]
    done: list[Tensor] = []
    while stack_of:
        i, j, ready = stack_of.pop()
        if i == j:
            done.append(Tensor(nodes[i]))
        elif ready:
            right = done.pop()
            done.append(matmul(done.pop(), right))
        else:
            k = split[i][j]
            stack_of += [(i, j, True), (k + 1, j, False), (i, k, False)]
    return done[0]


def diagonal(x: Any, /, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The elements (i, i + offset) of two axes, on a new last axis.

    Args:
        x: a tensor of any dtype with at least two axes.
        offset: above the main diagonal if positive, below it if negative.
        axis1, axis2: the axes of i and of i + offset.
    Returns: a tensor without both axes, and with a last one as long as the diagonal, which may be 0.
    Example:
        >>> cr.linalg.diagonal(cr.tensor([[1, 2, 3], [4, 5, 6]]), offset=1)
        tensor([2, 6])
    """
    node = to_node(x, "diagonal")
    rank = len(node.shape)
    if rank < 2:
        reject("diagonal", "at least two axes are needed", (node,))
    first, second = normal_axis("diagonal", axis1, rank, node), normal_axis("diagonal", axis2, rank, node)
    if first == second:
        reject("diagonal", f"two different axes are needed, not {first} twice", (node,))
    if first > second:
        first, second, offset = second, first, -offset
    starts, stops = [0] * rank, list(node.shape)
    row, column = max(-offset, 0), max(offset, 0)
    extent = max(min(node.shape[first] - row, node.shape[second] - column), 0)
    for axis, start in ((first, row), (second, column)):
        starts[axis] = start if extent else 0
        stops[axis] = starts[axis] + extent
    shape = tuple(stop - start for start, stop in zip(starts, stops))
    if shape != node.shape:
        node = slice_node(node, tuple(starts), tuple(stops), (1,) * rank, shape)
    if not extent:
        return Tensor(reshape_node(node, (*(e for i, e in enumerate(shape) if i not in (first, second)), 0)))
    result = diagonal_of(node, first, second)
    return Tensor(permute(result, (*(i for i in range(rank - 1) if i != first), first)))


def trace(x: Any, /, offset: int = 0, *, dtype: Any = None) -> Tensor:
    """Sum of a diagonal (see `diagonal`) of the last two axes; whole numbers add up in 64 bits."""
    return sum_of(diagonal(x, offset=offset), -1, dtype=dtype)
