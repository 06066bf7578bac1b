"""What a kernel does, counted from its loop IR: floating-point operations and distinct bytes.

Operations are counted where they differ: an operation on operands that do not move along an axis counts once for the
whole axis, whether or not the code repeats it. Every elementwise primitive with a floating operand counts as one, a
transcendental function too; selections, casts and comparisons count as none. A multiply-add is two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .attention import KINDS, attention_flops, operand_shapes
from .kernel import (
    FIRST_BUFFER,
    Access,
    Body,
    Kernel,
    Tiling,
    has_windows,
    inside_windows,
    multiplies_pairs,
    partial_sums,
    summed_extents,
)

#: elementwise primitives that move or test bits instead of computing
FREE = frozenset("where cast eq ne lt le gt ge isfinite isnan isinf check_index".split())


def contraction_flops(kernel: Kernel) -> int:
    """2 * m * n * k (times the batch) of a contraction; 0 for another kernel."""
    if kernel.kind != "contract":
        return 0
    terms = kernel.extra[0] * (2 if multiplies_pairs(kernel) else 1)
    return 2 * terms * math.prod(kernel.sizes)


def flops(kernel: Kernel) -> int:
    """Floating-point operations of one call, those fused before and after the main one included."""
    everywhere = range(len(kernel.sizes))
    if kernel.stages:
        return sum(map(flops, kernel.stages))
    if kernel.for_each_row:
        everywhere = range(1)
    if kernel.kind == "pack":
        return 0
    if kernel.kind in KINDS:
        return attention_flops(kernel)
    if kernel.kind == "csr":
        return 2 * kernel.extra[2] * kernel.sizes[1]
    if kernel.kind == "scatter":
        return math.prod(kernel.sizes) if kernel.accesses[0].dtype.kind == "f" else 0
    if kernel.kind == "reduce":
        name, reduced, *_ = kernel.static
        value = _floating(kernel, kernel.inner)[kernel.static[4]]
        combined = math.prod(kernel.sizes) if value and not name.startswith("arg") else 0
        kept = list(range(reduced))
        inside = _body_flops(kernel, kernel.inner, everywhere, None)
        return combined + inside + _body_flops(kernel, kernel.body, kept, kept)
    return contraction_flops(kernel) + _body_flops(kernel, kernel.body, everywhere, list(everywhere))


def _body_flops(kernel: Kernel, body: Body, axes: Iterable[int], anchored: list[int] | None) -> int:
    """Operations of a body over `axes`; the anchor moves along the axes `anchored`."""
    allowed = set(axes)
    floating = _floating(kernel, body)
    moving: list[set[int]] = []
    total = 0
    for number, instruction in enumerate(body.code):
        kind = instruction[0]
        along: set[int] = set()
        if kind in ("load", "index"):
            along = _axes_of(kernel.accesses[instruction[1]])
        elif kind == "take":
            along = _axes_of(kernel.accesses[instruction[1]]) | moving[instruction[2]]
        elif kind == "random":
            along = moving[instruction[3]]
        elif kind == "check":
            along = moving[instruction[1]]
        elif kind == "anchor":
            along = set(anchored or ())
        elif kind == "op":
            along = set().union(*(moving[i] for i in instruction[2]))
            works = floating[number] or any(floating[i] for i in instruction[2])
            if works and instruction[1].name not in FREE:
                total += math.prod(kernel.sizes[axis] for axis in along & allowed)
        moving.append(along)
    return total


def _floating(kernel: Kernel, body: Body) -> list[bool]:
    """Whether each value of a body is a floating-point number."""
    result: list[bool] = []
    for instruction in body.code:
        kind = instruction[0]
        if kind in ("load", "take"):
            result.append(kernel.accesses[instruction[1]].dtype.kind == "f")
        elif kind in ("scalar", "const"):
            result.append(instruction[2].kind == "f")
        elif kind == "op":
            result.append(instruction[3].kind == "f")
        elif kind == "anchor":
            result.append(not (kernel.kind == "reduce" and kernel.static[0].startswith("arg")))
        else:
            result.append(False)
    return result


def _axes_of(access: Access) -> set[int]:
    return {axis for axis, stride in enumerate(access.strides) if stride}


def operands(kernel: Kernel) -> tuple[set[int], set[int]]:
    """The accesses that a kernel loads, and those that it stores."""
    if kernel.stages:
        return _operands_in_step(kernel)
    stores = {access for body in (kernel.body, kernel.inner) for _, access in body.stores}
    if kernel.kind == "scatter":
        return {0, 1, 2}, {0}
    if kernel.kind == "pack":
        return {0}, {1}
    code = [*kernel.body.code, *kernel.inner.code]
    loads = {i[1] for i in code if i[0] in ("load", "take")} | {i[2] for i in code if i[0] == "random"}
    if kernel.kind == "contract":
        loads |= {0, 1}
        loads, stores = loads | partial_sums(kernel), stores | partial_sums(kernel)
        if isinstance(kernel.static, Tiling) and kernel.static.turned:  # a and b are near, what they copy is not
            first = 2 + len(partial_sums(kernel))
            loads = loads - {0, 1} | {first, first + 1}
    return loads, stores


def _operands_in_step(kernel: Kernel) -> tuple[set[int], set[int]]:
    """The same of kernels in step, which load again what they have stored from the nearest cache."""
    loads: set[int] = set()
    stores: set[int] = set()
    for stage in kernel.stages:
        loaded, stored = operands(stage)
        loads |= loaded - stores
        stores |= stored
    return loads, stores


def traffic(kernel: Kernel) -> tuple[int, int]:
    """Distinct bytes that one call reads and writes.

    An element that several operands of the kernel read counts once. Of gathered operands nobody knows which
    elements are read: as many are counted as there are indices, if the array has as many.
    """
    loads, stores = operands(kernel)
    return _distinct(kernel, loads), _distinct(kernel, stores)


def _distinct(kernel: Kernel, numbers: set[int]) -> int:
    by_buffer: dict[int, list[tuple[int, int, int, int]]] = {}
    places = set()
    for number in sorted(numbers):
        access = kernel.accesses[number]
        if access.buffer < FIRST_BUFFER or (access.buffer, access.offset, access.strides) in places:
            continue
        places.add((access.buffer, access.offset, access.strides))
        count, low, high = _extent(kernel, number)
        by_buffer.setdefault(access.buffer, []).append((count, low, high, access.dtype.itemsize))
    total = 0
    for parts in by_buffer.values():
        spread = max(high for _, _, high, _ in parts) - min(low for _, low, _, _ in parts) + 1
        total += min(sum(count for count, *_ in parts), spread) * parts[0][3]
    return total


def _extent(kernel: Kernel, number: int) -> tuple[int, int, int]:
    """Distinct elements that an access touches, and the first and last of them."""
    access = kernel.accesses[number]
    sizes, strides, offset = kernel.sizes, access.strides, access.offset
    if kernel.kind in KINDS:
        sizes = (*sizes, *operand_shapes(kernel)[number])
    elif number == 0 and has_windows(kernel):
        offset, extents, strides = inside_windows(kernel)
        sizes = tuple(extents)
    elif kernel.kind == "contract":
        sizes = (*sizes, *summed_extents(kernel))
        if isinstance(kernel.static, Tiling):
            if number == 1 and kernel.static.packed:  # its stride of n is that of a whole vector
                last, lanes = len(kernel.sizes) - 1, kernel.static.lanes
                sizes = (*sizes[:last], -(-sizes[last] // lanes), *sizes[last + 1 :], lanes)
                strides = (*strides, *(0 for _ in range(len(sizes) - 1 - len(strides))), 1)
        elif number == 1:
            lanes = kernel.static[1]
            panel = -(-kernel.sizes[-1] // lanes) * lanes * kernel.extra[0]
            batch = kernel.sizes[0] if kernel.static[0] else 1
            return panel * batch, access.offset, access.offset + panel * batch - 1
    if kernel.kind == "pack":
        (k, n), lanes = kernel.extra[:2], kernel.static[1]
        batch = math.prod(kernel.sizes[:-2])
        if number == 0:
            return batch * k * n, access.offset, access.offset + batch * k * n - 1
        return math.prod(kernel.sizes) * lanes, 0, math.prod(kernel.sizes) * lanes - 1
    if kernel.kind == "csr" and number:
        _, columns, nonzeros = kernel.extra[:3]
        count = (0, sizes[0] + 1, nonzeros, nonzeros, columns * sizes[1])[number]
        return count, access.offset, access.offset + count - 1
    low = high = offset
    count = 1
    for size, stride in zip(sizes, strides):
        if stride:
            count *= size
            low, high = low + min(stride, 0) * (size - 1), high + max(stride, 0) * (size - 1)
    gathered = _gathered(kernel, number)
    if gathered is not None:
        points, reach = gathered
        low, high = low + min(reach, 0), high + max(reach, 0)
        count = min(points, high - low + 1)
    return min(count, high - low + 1), low, high


def _gathered(kernel: Kernel, number: int) -> tuple[int, int] | None:
    """For an operand at indices: how many elements are picked, and how far an index can move it."""
    if kernel.kind == "scatter":
        if number != 0:
            return None
        return math.prod(kernel.sizes), (kernel.extra[1] - 1) * kernel.extra[2]
    for body in (kernel.body, kernel.inner):
        for instruction in body.code:
            if instruction[0] == "take" and instruction[1] == number:
                size, stride = kernel.extra[instruction[3] + 1 : instruction[3] + 3]
                return math.prod(kernel.sizes), (size - 1) * stride
    return None
