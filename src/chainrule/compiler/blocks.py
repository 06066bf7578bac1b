"""Maps whose operands are contiguous along different axes: they walk square blocks, which are transposed in registers.

Where one operand lies with its channels last and the other is row-major, a vector of the one is a gather of the other.
"""

from __future__ import annotations

from dataclasses import replace

from .kernel import Kernel

#: extent along the other axis below which a block is mostly empty
SHORTEST = 3


def in_blocks(kernel: Kernel) -> Kernel:
    """`kernel`, a map, to be walked in blocks if some of its operands are contiguous along another axis than the last.

    Then ``static = ("blocks", that axis, the accesses that are contiguous along it)``.
    """
    along = kernel.vector
    if kernel.static or len(kernel.sizes) < 2 or any(i[0] in ("take", "check") for i in kernel.body.code):
        return kernel
    places = {i[1] for i in kernel.body.code if i[0] == "load"} | {access for _, access in kernel.body.stores}
    turned: dict[int, list[int]] = {}
    for number in sorted(places):
        strides = kernel.accesses[number].strides
        if strides[along] not in (0, 1):
            for axis in range(len(kernel.sizes)):
                if axis != along and strides[axis] == 1 and kernel.sizes[axis] >= SHORTEST:
                    turned.setdefault(axis, []).append(number)
    if not turned:
        return kernel
    across = max(turned, key=lambda axis: (len(turned[axis]), axis))
    return replace(kernel, static=("blocks", across, tuple(turned[across])))
