"""Kernels of products with sparse matrices."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .kernel import Access, Body, Kernel

if TYPE_CHECKING:
    from .grouping import Group
    from .lowering import Lowering


def lower_csr(lowering: Lowering, group: Group) -> None:
    """One kernel over (rows, features); see `emit_csr` for what it is given."""
    item = group.anchor
    assert item is not None
    if math.prod(item.shape) == 0:
        return
    indptr, indices, values, x = item.inputs[:4]
    features = item.shape[1]
    view = lowering.views[item]
    accesses = [Access(lowering.buffer(item).number, item.dtype, view.offset, view.strides)]
    for operand, strides in ((indptr, (1, 0)), (indices, (0, 0)), (values, (0, 0)), (x, (0, 1))):
        accesses.append(Access(lowering.buffer(operand).number, operand.dtype, 0, strides))
    # The code says what is read, checked and stored; the loop over a row's nonzeros is the emitter's.
    body = Body([("load", 1), ("load", 2), ("load", 3), ("load", 4), ("check", 1, 0)], [(3, 0)])
    extra = (lowering.check("the columns of a sparse matrix,", item), x.shape[0], values.shape[0])
    kernel = Kernel("csr", (item.shape[0], features), 1, accesses, body, extra=extra, baked=lowering.baked)
    lowering.add(kernel, item.shape[0] if item.shape[0] > 1 else 0, item.kind)
