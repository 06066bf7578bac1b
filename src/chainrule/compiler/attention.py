"""Attention with kernels of its own: items with several results, and what their kernels are made for.

`fused_attention` and what it keeps are results of one item, so that one kernel computes both where both are wanted; the
three gradients are those of another. Results lie in memory as the operand does whose shape they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..dtypes import bfloat16
from ..ops.fused_attention import QUERIES
from .kernel import LANES, Attention, Kernel

if TYPE_CHECKING:
    from .canonical import Canonical, Item

#: kinds of kernels, and of the items that they compute
KINDS = frozenset(("attention", "attention_grad"))
#: the primitives that are results of one item, with the number of the first
RESULTS = {"fused_attention": 0, "fused_attention_kept": 1, "fused_attention_grad": 0}


class Result(NamedTuple):
    """Which result of an item a part is, and where its axes are among those of the part."""

    number: int
    axes: tuple[int, ...]


def canonical_attention(
    graph: Canonical, op: Any, inputs: tuple[Item, ...], shape: tuple[int, ...], make: type[Item]
) -> Item:
    """One result as a part of the item of all, permuted if its operand is."""
    if inputs[0].dtype is bfloat16:  # rounded by the kernel that computes them, once for all uses
        inputs = tuple(graph.narrow(x) for x in inputs)
    backwards = op.name == "fused_attention_grad"
    number = op.index if backwards else RESULTS[op.name]
    kind, dtype = ("attention_grad" if backwards else "attention"), inputs[0].dtype
    key = (kind, op.causal, op.scale, *map(id, inputs))
    item = graph.shared(key, lambda: make(kind, op, inputs, (), dtype))
    like: Any = inputs[number] if backwards else inputs[0]
    axes = tuple(range(len(shape)))
    if op.name != "fused_attention_kept" and like.kind == "permute" and like.op.axes[-1] == axes[-1]:
        axes = like.op.axes
    inside = [0] * len(shape)
    for place, axis in enumerate(axes):
        inside[axis] = shape[place]
    part = graph.shared(("part", id(item), number), lambda: make("part", None, (item,), tuple(inside), dtype))
    part.value = Result(number, axes)
    return graph.permute(part, axes)


def narrow_result(x: Item) -> Item | None:
    """What `x` converts to a wider type, if that is a result of attention or shows some."""
    if x.kind != "cast" or not x.inputs[0].dtype.is_half:
        return None
    parts = [x.inputs[0]]
    for part in parts:
        if part.kind in ("reshape", "permute", "slice", "concat"):
            parts += part.inputs
        elif part.kind != "part" or part.inputs[0].kind not in KINDS:
            return None
    return x.inputs[0]


def attention_flops(kernel: Kernel) -> int:
    """Operations of the products of an attention kernel, those of masked scores not counted."""
    plan = kernel.static
    assert isinstance(plan, Attention)
    heads = 1
    for extent in kernel.sizes:
        heads *= extent
    scores = plan.queries * plan.keys
    if plan.causal:
        seen = min(plan.queries, plan.keys)
        scores = seen * (seen + 1) // 2 + (plan.queries - seen) * plan.keys
    if kernel.kind == "attention":
        terms = plan.features + plan.values * plan.wanted[0]
    else:
        dq, dk, dv = plan.wanted
        terms = plan.values * (dv + (dq or dk)) + plan.features * (dq + dk + (not plan.kept))
    return 2 * heads * scores * terms


def operand_shapes(kernel: Kernel) -> list[tuple[int, ...]]:
    """Of each access the extents behind the leading axes."""
    plan = kernel.static
    assert isinstance(plan, Attention)
    q, k = (plan.queries, plan.features), (plan.keys, plan.features)
    v, out = (plan.keys, plan.values), (plan.queries, plan.values)
    blocks = -(-plan.queries // QUERIES)
    kept = (blocks, plan.keys + 1, QUERIES) if plan.kept else (blocks * QUERIES,)
    if plan.pairs:
        q, k, v, out = ((length, features // 2) for length, features in (q, k, v, out))
        kept = (blocks, plan.keys, QUERIES // 2)
    if kernel.kind == "attention":
        return [q, k, v, *(shape for shape, wanted in zip((out, kept), plan.wanted) if wanted)]
    found = [q, k, v, out, kept, out, *(shape for shape, wanted in zip((q, k, v), plan.wanted) if wanted)]
    return [*found, *((plan.keys, features) for _, features in sums_apart(plan))]


def sums_apart(plan: Attention) -> list[tuple[int, int]]:
    """Which gradients of a kernel on pairs (1, of keys, and 2) are added up in float32 beside it, and their features.

    They come from several blocks of queries; whole vectors have room.
    """
    wide = ((1, plan.features), (2, plan.values))
    backwards = len(plan.wanted) > len(wide)
    several = plan.pairs and backwards and plan.queries > QUERIES
    return [(n, -(-features // (2 * LANES)) * 2 * LANES) for n, features in wide if several and plan.wanted[n]]
