"""From matrix products to contraction kernels, and to copies of operands: in panels, or transposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..dtypes import DType
from .dealt import dealt_tiling, dense_rows, side_by_side
from .elements import Bodies, shift_accesses
from .grouping import Group
from .kernel import DEALT, LINE, Access, Body, Kernel
from .scattered import copied, scattered, transposed
from .tiling import is_short, tiling
from .trees import contraction_block, product_blocks, product_chains
from .views import contiguous

if TYPE_CHECKING:
    from .lowering import Lowering

#: bytes of a right operand from which on it is packed though its rows are contiguous, and rows on the left at least
LARGE_OPERAND, MANY_ROWS = 3 << 19, 256
#: the same above so many bytes where vectors are shorter than a line and rows are `scattered`
MEDIUM_OPERAND, SOME_ROWS = 1 << 17, 96
#: such operands that are larger than a second-level cache are packed for fewer rows
FAR_OPERAND, FAR_ROWS = 1 << 20, 32
#: such copies have room for a multiple of so many terms: batches of similar sizes share their kernels
ROOM = 256
#: terms from which on that matters; columns from which on a left operand whose terms lie so is transposed beforehand
SOME_TERMS, SOME_COLUMNS = 32, 64

#: a right operand whose columns are contiguous is transposed in registers, each time it is read, for at most so many
#: rows on the left, if its columns are so long at least
FEW_ROWS, LONG_COLUMN = 8, 16
#: terms from which on vectors along the rows, all of whose lanes are in use, pay for writing a few columns one by one,
#: if nothing else is read or written that way
WORTH_SCATTERING = 64


def lower_product(lowering: Lowering, group: Group) -> None:
    """Add the kernel of a matrix product, with what follows it."""
    item = group.anchor
    assert item is not None
    a, b = item.inputs
    if 0 in item.shape:
        return
    batched = len(item.shape) == 3
    view_a, view_b = lowering.views[a], lowering.views[b]
    lead_a, lead_b = (view_a.strides[:1], view_b.strides[:1]) if batched else ((), ())
    m, n, k = item.shape[-2], item.shape[-1], a.shape[-1]
    a_m, a_k = view_a.strides[-2:]
    b_k, b_n = view_b.strides[-2:]
    itemsize = item.dtype.itemsize
    lanes = lowering.tiles.lanes(itemsize)
    dealt = product_chains(k, n) > 1
    narrow = n < lanes // 2 or (4 * n <= 3 * lanes and k >= WORTH_SCATTERING and not group.items)
    swapped = a_m == 1 and m >= lanes and (narrow or (b_n != 1 and n < lanes)) and n < m
    if swapped:
        view_a, view_b, lead_a, lead_b = view_b, view_a, lead_b, lead_a
        m, n, a_m, a_k, b_k, b_n = n, m, b_n, b_k, a_k, a_m
    chain = k // DEALT if dealt else k
    bodies = Bodies(lowering, item.shape, [k, chain, contraction_block(chain)])
    vectors = -(-n // lanes)
    source, offset_b, step = lowering.buffer(view_b.base).number, view_b.offset, 1
    stays, registers = lowering.stays(source), lowering.tiles.registers()
    across = n > 1 and b_k == 1 and b_n != 1 and m <= FEW_ROWS and k >= LONG_COLUMN and not stays
    across = across and (not dealt or side_by_side(registers, m, vectors, True))
    dense = dense_rows(registers, lanes, n) if dealt and not (swapped or across) and a_k == 1 else 0
    if dense and (b_k, b_n) != (n, 1):
        if b_n == 1 or stays or m <= FEW_ROWS:
            dense = 0
        else:
            source, offset_b, b_k, b_n = copied(lowering, b), 0, n, 1
            lead_b = (k * n,) if batched else ()
    short, begin, room = is_short(lanes, itemsize) and k >= SOME_TERMS, len(lowering.steps), _room(k)
    left, offset_a = lowering.buffer(view_a.base).number, view_a.offset
    turns = short and not swapped and a_k != 1 and n >= SOME_COLUMNS and m * room * itemsize > MEDIUM_OPERAND
    if turns and scattered(a_k * itemsize, contraction_block(room)):
        a_m, a_k = room + LINE // itemsize, 1  # rows that begin at a multiple of a large power of two collide
        left, offset_a, lead_a = transposed(lowering, a, a_m), 0, (m * a_m,) if batched else ()
    bytes_b = room * n * itemsize
    large = bytes_b >= LARGE_OPERAND and m >= MANY_ROWS
    medium = short and bytes_b > MEDIUM_OPERAND and m >= (SOME_ROWS if bytes_b < FAR_OPERAND else FAR_ROWS)
    medium = medium and n * itemsize > 2 * LINE and scattered(b_k * itemsize, room)
    packed = not across and n > 1 and (b_n != 1 or large or medium)
    if packed:
        source = lowering.pack(item.dtype, source, offset_b, lead_b, (b_k, b_n), k, n, lanes, item.shape)
        offset_b, step, b_k = 0, (room if b_n == 1 else k) * lanes, lanes
        lead_b = (vectors * step,) if batched else ()
    for copy in lowering.steps[begin:]:
        copy.late = short  # a copy of what the forward pass leaves should not be made in it
    axes = (0, 1, 2) if batched else (0, 1)
    body, _ = bodies.body(group.items, item, list(axes), lowering.stored)
    if swapped:
        for access in bodies.accesses:
            access.strides = (*access.strides[:-2], access.strides[-1], access.strides[-2])
    if across:
        step = b_n
    operands = [
        Access(left, item.dtype, offset_a, (*lead_a, a_m, 0, a_k)),
        Access(source, item.dtype, offset_b, (*lead_b, 0, step, b_k)),
    ]
    sizes = (*item.shape[:-2], m, n)
    static = tiling(
        registers, lanes, sizes[:-1], n, (k,), (0, contraction_block(k)), free=(len(sizes) - 2,),
        fixed=len(sizes) - 2, itemsize=itemsize, strided=a_k != 1, along=False, packed=packed, across=across,
    )  # fmt: skip
    if dealt:
        static = dealt_tiling(static, registers, sizes[:-1], operands, dense)
    if static.blocks == "outside":
        partial = lowering.new_buffer("arena", item.dtype, sizes)
        operands.append(Access(partial.number, item.dtype, 0, contiguous(sizes)))
    shift_accesses(body, len(operands))
    accesses = operands + bodies.accesses
    kernel = Kernel("contract", sizes, len(sizes) - 1, accesses, body, extra=tuple(bodies.extra), static=static)
    lowering.add(kernel, sizes[0] if sizes[0] > 1 else 0, lowering.label([item, *group.items]))


def _room(k: int) -> int:
    """Terms for which a copy has room."""
    return -(-k // ROOM) * ROOM if k >= SOME_TERMS else k


def lower_generic_product(lowering: Lowering, group: Group) -> None:
    """A generic contraction: one function for every product, whose result is only stored."""
    item = group.anchor
    assert item is not None
    a, b = item.inputs
    if 0 in item.shape:
        return
    batched = len(item.shape) == 3
    view_a, view_b = lowering.views[a], lowering.views[b]
    n, k = item.shape[-1], a.shape[-1]
    lanes = lowering.tiles.lanes(item.dtype.itemsize)
    b_k, b_n = view_b.strides[-2:]
    source, offset, lead, vector = lowering.buffer(view_b.base).number, view_b.offset, view_b.strides[:-2], lanes
    if b_n != 1 and n > 1:
        source = lowering.pack(item.dtype, source, offset, lead, (b_k, b_n), k, n, lanes, item.shape)
        vectors = -(-n // lanes)
        offset, vector, b_k = 0, k * lanes, lanes
        lead = (vectors * k * lanes,) if batched else ()
    a_m, a_k = view_a.strides[-2:]
    accesses = [
        Access(lowering.buffer(view_a.base).number, item.dtype, view_a.offset, (*view_a.strides[:-2], a_m, 0, a_k)),
        Access(source, item.dtype, offset, (*lead, 0, vector, b_k)),
        Access(lowering.buffer(item).number, item.dtype, lowering.views[item].offset, lowering.views[item].strides),
    ]
    static = (batched, lanes, *lowering.tiles.generic(), False)
    extra = (k, *product_blocks(k, n))
    axis_n = len(item.shape) - 1
    kernel = Kernel("contract", item.shape, axis_n, accesses, Body(), extra=extra, static=static, baked=False)
    lowering.add(kernel, item.shape[0] if item.shape[0] > 1 else 0, "bmm")


def _at_once(itemsize: int, lanes: int, k: int) -> int:
    """Elements that a copy loads of each contiguous column at once; 0: an element of every column."""
    wide = lanes * itemsize == 64 and k * itemsize >= 32
    together = (32 if wide else 16) // itemsize
    return together if lanes > 1 and k >= together else 0


def pack_operand(
    lowering: Lowering, dtype: DType, source: int, offset: int, lead, strides, k: int, n: int, lanes: int, shape
) -> int:
    """A kernel that copies b into panels of vectors, one for all products with b; returns the buffer's number."""
    key = (source, offset, lead, strides, k, n, lanes, shape[:-2])
    if key in lowering.packed:
        return lowering.packed[key]
    vectors = -(-n // lanes)
    outer = shape[:-2]
    b_k, b_n = strides
    room = _room(k) if b_n == 1 else k
    packed = lowering.new_buffer("arena", dtype, (*outer, vectors, room, lanes))
    accesses = [
        Access(source, dtype, offset, (*lead, lanes * b_n, b_k, b_n)),
        Access(packed.number, dtype, 0, (*(vectors * room * lanes for _ in outer), room * lanes, lanes)),
    ]
    # Transposing blocks of registers is slow to compile: one function for operands of all shapes.
    static = (bool(outer), lanes, _at_once(dtype.itemsize, lanes, k) if b_k == 1 else 0)
    sizes = (*outer, vectors, k)
    kernel = Kernel("pack", sizes, len(sizes), accesses, Body(), extra=(k, n), static=static, baked=False)
    lowering.add(kernel, outer[0] if outer and outer[0] > 1 else 0, "pack")
    lowering.packed[key] = packed.number
    return packed.number
