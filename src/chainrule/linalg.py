"""Products of vectors, matrices and many-axis arrays: all are one contraction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .conversion import to_node
from .dtypes import float32
from .errors import ConfigError, DTypeError
from .functions.elementwise import abs as absolute
from .functions.elementwise import sqrt, square
from .functions.reduction import max as maximum_of
from .functions.reduction import min as minimum_of
from .functions.reduction import sum as sum_of
from .functions.shape import matrix_transpose, transpose
from .graph.node import Node
from .ops.base import emit, message, mode, primitive
from .recording import cast, normal_axis, permute, product, promoted, reject, reshape
from .tensor import Tensor, node_of

__all__ = [
    "diagonal", "dot", "einsum", "matmul", "matrix_norm", "matrix_transpose", "norm", "outer", "tensordot", "trace",
    "transpose", "vecdot", "vector_norm",
]  # fmt: skip


_MATRICES = primitive("contract", ((0, 1), (1, 2), (0, 2)))


def _operands(name: str, x1: Any, x2: Any) -> tuple[Node, Node]:
    a, b = to_node(x1, name), to_node(x2, name)
    if a.dtype is b.dtype:
        if a.dtype.kind == "b":
            reject(name, "numbers are needed, not bool", (a, b), "convert with .astype(...)", DTypeError)
        return a, b
    dtype = promoted(name, (a, b))
    return cast(a, dtype), cast(b, dtype)


def _contract(a: Node, b: Node, a_labels: Sequence[int], b_labels: Sequence[int], out: Sequence[int]) -> Node:
    return product("contract", a, b, (tuple(a_labels), tuple(b_labels), tuple(out)))


def _product_sum(a: Node, b: Node, a_labels: Sequence[int], b_labels: Sequence[int], out: Sequence[int]) -> Node:
    """The contraction as multiplication and sum, which fuse with their neighbours: for vectors."""
    if a.dtype.is_half:  # products are not rounded before they are added
        return cast(_product_sum(cast(a, float32), cast(b, float32), a_labels, b_labels, out), a.dtype)
    summed = [label for label in dict.fromkeys([*a_labels, *b_labels]) if label not in out]
    order = [*out, *summed]
    extents = dict(zip(a_labels, a.shape)) | dict(zip(b_labels, b.shape))
    shape = tuple(extents[label] for label in order)
    spread = []
    for node, labels in ((a, a_labels), (b, b_labels)):
        sorting = tuple(sorted(range(len(labels)), key=lambda i: order.index(labels[i])))
        node = permute(node, sorting)
        axes = tuple(order.index(labels[i]) for i in sorting)
        spread.append(node if node.shape == shape else emit("broadcast", node, attributes=(shape, axes)))
    return emit("sum", emit("mul", *spread), attributes=(tuple(range(len(out), len(order))),))


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
        return Tensor(_product_sum(a, b, range(ra), (ra - 1,), range(ra - 1)))
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
    a = reshape(a, (*keep_a, *(a.shape[-2:] if ra > 1 else a.shape)))
    b = reshape(b, (*keep_b, *b.shape[-2:]))
    labels_a = [*labels_a, row, inner] if ra > 1 else [*labels_a, inner]
    labels_b = [*labels_b, inner, column]
    out = [*out, row, column] if ra > 1 else [*out, column]
    if (ra == 1 or a.shape[-2] == 1) and b.shape[-1] == 1:
        return Tensor(_product_sum(a, b, labels_a, labels_b, out))
    return Tensor(_contract(a, b, labels_a, labels_b, out))


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Tensor:
    """Sum of x1 * x2 along `axis`; the other axes broadcast."""
    a, b = _operands("vecdot", x1, x2)
    if not a.shape or not b.shape:
        reject("vecdot", "operands have at least one axis", (a, b))
    i, j = normal_axis("vecdot", axis, len(a.shape), a), normal_axis("vecdot", axis, len(b.shape), b)
    if a.shape[i] != b.shape[j]:
        reject("vecdot", f"axis {axis} has {a.shape[i]} and {b.shape[j]} elements", (a, b))
    if a.dtype.is_half and a.dtype is b.dtype:  # products are not rounded before they are added
        return Tensor(cast(node_of(vecdot(Tensor(cast(a, float32)), Tensor(cast(b, float32)), axis=axis)), a.dtype))
    return sum_of(Tensor(a) * Tensor(b), axis)


def dot(x1: Any, x2: Any, /) -> Tensor:
    """Inner product of two vectors."""
    a, b = to_node(x1, "dot"), to_node(x2, "dot")
    if len(a.shape) != 1 or len(b.shape) != 1:
        reject("dot", "vectors are needed", (a, b), "use matmul")
    return vecdot(Tensor(a), Tensor(b))


def outer(x1: Any, x2: Any, /) -> Tensor:
    """out[i, j] = x1[i] x2[j] of two vectors."""
    a, b = _operands("outer", x1, x2)
    if len(a.shape) != 1 or len(b.shape) != 1:
        reject("outer", "vectors are needed", (a, b))
    return Tensor(reshape(a, (a.shape[0], 1))) * Tensor(reshape(b, (1, b.shape[0])))


def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Tensor:
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
    return Tensor(_pair(a, b, list(range(ra)), labels_b, out))


def _pair(a: Node, b: Node, a_labels: list[int], b_labels: list[int], out: list[int]) -> Node:
    """One contraction of two operands; without a summed label it is a plain product."""
    summed = {*a_labels, *b_labels} - set(out)
    if not summed:
        extents = dict(zip(a_labels, a.shape)) | dict(zip(b_labels, b.shape))
        shape = tuple(extents[label] for label in out)
        parts = []
        for node, labels in ((a, a_labels), (b, b_labels)):
            sorting = tuple(sorted(range(len(labels)), key=lambda i: out.index(labels[i])))
            axes = tuple(out.index(labels[i]) for i in sorting)
            node = permute(node, sorting)
            parts.append(node if node.shape == shape else emit("broadcast", node, attributes=(shape, axes)))
        return emit("mul", *parts)
    if not out:
        return _product_sum(a, b, a_labels, b_labels, out)
    return _contract(a, b, a_labels, b_labels, out)


def einsum(subscripts: str, /, *operands: Any) -> Tensor:
    """Einstein's summation, as in ``einsum("bij,bjk->bik", x, y)``.

    Labels are letters; a label that the result does not name is summed over. With several operands they are contracted
    from left to right. An ellipsis stands for leading axes, which have to be equal.
    Raises ConfigError for malformed subscripts, ShapeError where a label has two extents.
    """
    nodes = [to_node(x, "einsum") for x in operands]
    inputs, result = _subscripts(subscripts, nodes)
    dtype = promoted("einsum", nodes)
    nodes = [cast(n, dtype) for n in nodes]
    extents: dict[str, int] = {}
    for text, node in zip(inputs, nodes):
        for axis, (label, extent) in enumerate(zip(text, node.shape)):
            if extents.setdefault(label, extent) != extent:
                problem = f"label {label!r} has {extents[label]} and {extent} elements (axis {axis} of {text!r})"
                reject("einsum", problem, nodes)
    terms = []
    for position, (text, node) in enumerate(zip(inputs, nodes)):
        node, text = _diagonals(node, text)
        elsewhere = set(result).union(*(t for i, t in enumerate(inputs) if i != position))
        terms.append(_summed(node, text, elsewhere))
    node, text = terms[0]
    for position, (other, labels) in enumerate(terms[1:], 2):
        later = set(result).union(*(t for _, t in terms[position:]))
        kept = [label for label in dict.fromkeys(text + labels) if label in later]
        if position == len(terms):
            kept = [label for label in result if label in kept]
        numbers = {label: i for i, label in enumerate(dict.fromkeys(text + labels))}
        node = _pair(node, other, [numbers[c] for c in text], [numbers[c] for c in labels], [numbers[c] for c in kept])
        text = "".join(kept)
        node, text = _summed(node, text, later)
    return Tensor(permute(node, tuple(text.index(label) for label in result)))


def _subscripts(text: str, nodes: list[Node]) -> tuple[list[str], str]:
    """The labels of each operand and of the result, ellipses written out."""
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(nodes):
        problem = f"{text!r} has {len(terms)} terms for {len(nodes)} operands"
        raise ConfigError(message("einsum", problem, tuple(nodes)))
    spare = [chr(c) for c in range(0x3B1, 0x3C9)]
    count = 0
    written = []
    for term, node in zip(terms, nodes):
        if "..." in term:
            extra = len(node.shape) - len(term) + 3
            count = max(count, extra)
            term = term.replace("...", "".join(spare[24 - extra :]) if extra > 0 else "")
        if len(term) != len(node.shape):
            problem = f"term {term!r} names {len(term)} axes, its operand has {len(node.shape)}"
            raise ConfigError(message("einsum", problem, tuple(nodes)))
        written.append(term)
    ellipsis = "".join(spare[24 - count :]) if count else ""
    if not arrow:
        letters = "".join(written)
        right = ellipsis + "".join(c for c in sorted(set(letters)) if letters.count(c) == 1 and c not in ellipsis)
    else:
        right = right.replace("...", ellipsis)
    if any(c not in "".join(written) for c in right) or len(set(right)) != len(right):
        problem = f"the result {right!r} of {text!r} has to name labels of the operands, each once"
        raise ConfigError(message("einsum", problem, tuple(nodes)))
    return written, right


def _summed(node: Node, text: str, needed: set[str]) -> tuple[Node, str]:
    """`node` summed over the labels that nothing else needs."""
    axes = tuple(i for i, label in enumerate(text) if label not in needed)
    if not axes:
        return node, text
    return emit("sum", node, attributes=(axes,)), "".join(label for label in text if label in needed)


def _diagonals(node: Node, text: str) -> tuple[Node, str]:
    """`node` with every repeated label made one axis."""
    while len(set(text)) != len(text):
        label = next(c for c in text if text.count(c) > 1)
        first = text.index(label)
        second = text.index(label, first + 1)
        node = _diagonal(node, first, second)
        text = text[:second] + text[second + 1 :]
    return node, text


def _diagonal(node: Node, first: int, second: int) -> Node:
    """Elements with equal indices on two axes of equal extent, at the place of the first."""
    extent = node.shape[first]
    order = [i for i in range(len(node.shape)) if i not in (first, second)]
    order[first:first] = [first]
    front = permute(node, (*order, second))
    shape = tuple(1 if i != first else extent for i in range(len(order)))
    index = emit("iota", attributes=((extent,), 0, to_node(0).dtype))
    column, everywhere = (*front.shape[:-1], 1), tuple(range(len(order) + 1))
    spread = emit("broadcast", reshape(index, (*shape, 1)), attributes=(column, everywhere))
    return reshape(emit("take_along", front, spread, attributes=(len(order),)), front.shape[:-1])


def diagonal(x: Any, /, *, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The elements with equal indices on two axes, on a new last axis."""
    node = to_node(x, "diagonal")
    rank = len(node.shape)
    first, second = sorted((normal_axis("diagonal", axis1, rank, node), normal_axis("diagonal", axis2, rank, node)))
    extent = min(node.shape[first], node.shape[second])
    stops = tuple(extent if i in (first, second) else e for i, e in enumerate(node.shape))
    if stops != node.shape:
        node = emit("slice", node, attributes=((0,) * rank, stops, (1,) * rank))
    result = _diagonal(node, first, second)
    return Tensor(permute(result, (*(i for i in range(rank - 1) if i != first), first)))


def trace(x: Any, /) -> Tensor:
    """Sum of the diagonal of the last two axes."""
    return sum_of(diagonal(x), -1)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """The norm (sum of |x|^ord)^(1/ord) over `axis` (all axes by default).

    ord inf and -inf give the extremes of |x|, ord 0 counts the elements that are not 0.
    """
    value = Tensor(to_node(x, "norm"))
    if ord == 2:
        return sqrt(sum_of(square(value), axis, keepdims=keepdims))
    size = absolute(value)
    if ord == float("inf"):
        return maximum_of(size, axis, keepdims=keepdims)
    if ord == float("-inf"):
        return minimum_of(size, axis, keepdims=keepdims)
    if ord == 1:
        return sum_of(size, axis, keepdims=keepdims)
    if ord == 0:
        return sum_of((value != 0).astype(value.dtype), axis, keepdims=keepdims)
    return sum_of(size ** float(ord), axis, keepdims=keepdims) ** (1.0 / ord)


def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The Frobenius norm, or the greatest sum of magnitudes of a column (1) or row (inf), over the last two axes."""
    value = Tensor(to_node(x, "matrix_norm"))
    if ord == "fro":
        return vector_norm(value, axis=(-2, -1), keepdims=keepdims)
    if ord in (1, float("inf")):
        inner, outward = (-2, -1) if ord == 1 else (-1, -2)
        result = maximum_of(sum_of(absolute(value), inner, keepdims=True), outward, keepdims=True)
        return result if keepdims else maximum_of(result, (-2, -1))
    raise ConfigError(message("matrix_norm", f"ord is 'fro', 1 or inf, not {ord!r}", ()))


def norm(
    x: Any, /, p: Any = 2, *, ord: Any = None, axis: Any = None, dim: Any = None, keepdims: bool = False
) -> Tensor:
    """`vector_norm` with PyTorch's name and arguments."""
    order = p if ord is None else ord
    order = 2 if order == "fro" else order
    return vector_norm(x, axis=dim if axis is None else axis, keepdims=keepdims, ord=order)
