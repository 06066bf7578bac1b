"""Einstein's summation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from ..conversion import to_node
from ..errors import ConfigError
from ..graph.node import Node
from ..ops.base import emit, message
from ..recording import cast, permute, promoted, reject, reshape
from ..tensor import Tensor
from .contraction_paths import contraction_path, describe
from .contractions import diagonal_of, pair

Label = Hashable


class EinsumPath(NamedTuple):
    """The order of contractions, as `einsum` takes it for `optimize`, and a text about its cost."""

    path: list
    description: str


def einsum(*operands: Any, optimize: Any = True) -> Tensor:
    """Einstein's summation: products over shared labels, summed over those that the result does not name.

    out[kept labels] = sum over the other labels of the product of the operands

    Args:
        operands: a string such as ``"bij,bjk->bik"`` and one array for each of its terms; or arrays and lists of labels
            in turn (``x, [0, 1], y, [1, 2], [0, 2]``). A label twice in one term stands for a diagonal; ``...`` for
            leading axes, which broadcast. Without ``->`` the result has the labels that occur once, in order.
        optimize: True (every order for at most 7 operands, else greedy), "optimal", "greedy", False (left to
            right), or a path from `einsum_path`.
    Returns: a tensor with the result's labels as axes, in the operands' common dtype.
    Raises: ConfigError for malformed labels or paths; ShapeError where a label has two extents.
    Example:
        >>> import chainrule as cr
        >>> x = cr.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> cr.einsum("ii", x), cr.einsum("ij,kj->ik", x, x)
        (tensor(5.), tensor([[ 5., 11.],
                [11., 25.]]))
        >>> cr.einsum(x, [0, 1], [1])
        tensor([4., 6.])
    """
    nodes, terms, result = _parsed("einsum", operands)
    extents = _extents(terms, nodes)
    steps = contraction_path([frozenset(t) for t in terms], frozenset(result), extents, optimize, "einsum")
    dtype = promoted("einsum", nodes)
    held = [_simplified(cast(n, dtype), t, extents) for n, t in zip(nodes, terms)]
    for i in range(len(held)):
        elsewhere = set(result).union(*(labels for j, (_, labels) in enumerate(held) if j != i))
        held[i] = _summed(*held[i], elsewhere)
    for step in steps:
        parts = [held[i] for i in step.positions]
        held = [h for i, h in enumerate(held) if i not in step.positions]
        needed = set(result).union(*(labels for _, labels in held))
        node, labels = parts[0]
        for position, (other, others) in enumerate(parts[1:], 2):
            later = needed.union(*(labels for _, labels in parts[position:]))
            node, labels = _joined(node, labels, other, others, later, result)
        held.append((node, labels))
    node, labels = held[0]
    node, labels = _summed(node, labels, set(result))
    return Tensor(permute(node, tuple(labels.index(label) for label in result)))


def einsum_path(*operands: Any, optimize: Any = True) -> EinsumPath:
    """The order in which `einsum` with the same arguments contracts its operands, and what that costs.

    Returns: ``path``, a list of "einsum_path" and the positions contracted at each step (results go to the end of
    the list of operands, as in NumPy), and ``description``, a text with multiplications and sizes.
    Raises: as `einsum`.
    Example:
        >>> import chainrule as cr
        >>> a, b, c = cr.ones(2, 50), cr.ones(50, 40), cr.ones(40, 3)
        >>> cr.einsum_path("ij,jk,kl->il", a, b, c).path
        ['einsum_path', (0, 1), (0, 1)]
    """
    nodes, terms, result = _parsed("einsum_path", operands)
    extents = _extents(terms, nodes)
    labels = [frozenset(t) for t in terms]
    steps = contraction_path(labels, frozenset(result), extents, optimize, "einsum_path")
    return EinsumPath(["einsum_path", *(s.positions for s in steps)], describe(terms, result, steps, extents))


def _joined(a: Node, a_labels: list, b: Node, b_labels: list, later: set, result: Sequence[Label]) -> tuple[Node, list]:
    """The contraction of two operands over the labels that nothing needs later."""
    a, a_labels = _summed(a, a_labels, later.union(b_labels))
    b, b_labels = _summed(b, b_labels, later.union(a_labels))
    every = list(dict.fromkeys([*a_labels, *b_labels]))
    kept = [label for label in every if label in later]
    if set(kept) == set(result):
        kept = list(result)
    number = {label: i for i, label in enumerate(every)}
    lists = ([number[c] for c in labels] for labels in (a_labels, b_labels, kept))
    return pair(a, b, *lists), kept


def _simplified(node: Node, labels: list, extents: dict[Label, int]) -> tuple[Node, list]:
    """`node` with every repeated label made one axis, and without axes of one element where the label has more."""
    while len(set(labels)) != len(labels):
        label = next(c for c in labels if labels.count(c) > 1)
        first = labels.index(label)
        second = labels.index(label, first + 1)
        node = diagonal_of(node, first, second)
        labels = labels[:second] + labels[second + 1 :]
    left = [i for i, label in enumerate(labels) if node.shape[i] == extents[label]]
    return reshape(node, tuple(node.shape[i] for i in left)), [labels[i] for i in left]


def _summed(node: Node, labels: list, needed: set) -> tuple[Node, list]:
    """`node` summed over the labels that nothing else needs."""
    axes = tuple(i for i, label in enumerate(labels) if label not in needed)
    if not axes:
        return node, labels
    return emit("sum", node, attributes=(axes,)), [label for label in labels if label in needed]


def _extents(terms: list[list], nodes: list[Node]) -> dict[Label, int]:
    extents: dict[Label, int] = {}
    for term, node in zip(terms, nodes):
        for axis, (label, extent) in enumerate(zip(term, node.shape)):
            have = extents.setdefault(label, extent)
            if have == 1:
                extents[label] = extent
            if extent not in (have, 1) and have != 1:
                problem = f"label {label!r} has {have} and {extent} elements (axis {axis} of {_written(term)})"
                reject("einsum", problem, nodes)
        for label in set(term):  # a diagonal needs equal extents
            found = {e for c, e in zip(term, node.shape) if c == label}
            if len(found) > 1:
                problem = f"label {label!r} has {' and '.join(map(str, sorted(found)))} elements in {_written(term)}"
                reject("einsum", problem, nodes)
    return extents


def _written(term: Sequence[Label]) -> str:
    return repr("".join(map(str, term))) if all(isinstance(c, str) for c in term) else repr(list(term))


def _parsed(name: str, operands: tuple) -> tuple[list[Node], list[list], list]:
    """Nodes, the labels of each, and those of the result, ellipses written out as labels ("...", k from the end)."""
    if operands and isinstance(operands[0], str):
        nodes = [to_node(x, name) for x in operands[1:]]
        left, arrow, right = operands[0].replace(" ", "").partition("->")
        written = [_letters(name, term, operands[0], nodes) for term in left.split(",")]
        wanted = _letters(name, right, operands[0], nodes) if arrow else None
        text = repr(operands[0])
    else:
        rest = list(operands)
        wanted = list(rest.pop()) if len(rest) % 2 else None
        nodes = [to_node(x, name) for x in rest[::2]]
        written = [list(labels) for labels in rest[1::2]]
        text = f"the labels {written}"
    if not nodes:
        raise ConfigError(message(name, "there are no operands", ()))
    if len(written) != len(nodes):
        problem = f"{text} has {len(written)} terms for {len(nodes)} operands"
        raise ConfigError(message(name, problem, tuple(nodes)))
    count = 0
    terms = []
    for term, node in zip(written, nodes):
        named = len([c for c in term if c is not Ellipsis])
        extra = len(node.shape) - named
        if extra < 0 or (extra and Ellipsis not in term):
            problem = f"term {_shown(term)} names {named} axes, its operand has {len(node.shape)}"
            raise ConfigError(message(name, problem, tuple(nodes)))
        count = max(count, extra)
        terms.append(_filled(term, extra))
    if wanted is None:
        flat = [c for term in written for c in term if c is not Ellipsis]
        once = sorted({c for c in flat if flat.count(c) == 1})
        result = [*_filled([Ellipsis], count), *once]
    else:
        result = _filled(wanted, count)
    known = {c for term in terms for c in term}
    if any(c not in known for c in result) or len(set(result)) != len(result):
        problem = f"the result {_shown(wanted or [])} of {text} has to name labels of the operands, each once"
        raise ConfigError(message(name, problem, tuple(nodes)))
    return nodes, terms, result


def _letters(name: str, term: str, whole: str, nodes: list[Node]) -> list:
    first, dots, last = term.partition("...")
    for c in first + last:
        if not c.isalpha():
            problem = f"{c!r} in {whole!r} is no label; there are letters and one ellipsis a term"
            raise ConfigError(message(name, problem, tuple(nodes)))
    return [*first, *([Ellipsis] if dots else []), *last]


def _filled(term: list, extra: int) -> list:
    if Ellipsis not in term:
        return term
    at = term.index(Ellipsis)
    return [*term[:at], *(("...", k) for k in range(extra, 0, -1)), *term[at + 1 :]]


def _shown(term: list) -> str:
    if all(c is Ellipsis or isinstance(c, str) for c in term):
        return repr("".join("..." if c is Ellipsis else c for c in term))
    return repr(term)


__all__ = ["EinsumPath", "einsum", "einsum_path"]
