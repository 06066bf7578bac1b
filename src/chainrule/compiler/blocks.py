"""Maps whose operands are contiguous along different axes: they walk square blocks, which are transposed in registers.

Where one operand lies with its channels last and the other is row-major, a vector of the one is a gather of the other.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .kernel import LANES, Kernel

#: extent along the other axis below which a block is mostly empty
SHORTEST = 3
#: bytes of a result from which on none of it is in a cache when it is read again
FAR = 16 << 20


def in_blocks(kernel: Kernel) -> Kernel:
    """`kernel`, a map, to be walked in blocks if some of its operands are contiguous along another axis than the last.

    Then ``static = ("blocks", that axis, the accesses that are contiguous along it, those that are written past the
    caches)``.
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
    past = tuple(n for n in sorted({n for _, n in kernel.body.stores}) if _streams(kernel, n))
    return replace(kernel, static=("blocks", across, tuple(turned[across]), past))


def _streams(kernel: Kernel, number: int) -> bool:
    """Whether a large result is written in whole cache lines along the vectors, if it begins with one.

    Lines that are written far from one another would be read before, and drive out what is read.
    """
    access, along = kernel.accesses[number], kernel.vector
    line = 64 // access.dtype.itemsize
    if not kernel.baked or line != LANES or access.strides[along] != 1 or access.offset % line:
        return False
    rows = [size for axis, size in enumerate(kernel.sizes) if access.strides[axis] or axis == along]
    if math.prod(rows) * access.dtype.itemsize < FAR:
        return False
    return all(stride % line == 0 for axis, stride in enumerate(access.strides) if axis != along)
