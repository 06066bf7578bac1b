"""Reductions along several short rows at once: their chains hide each other's latency.

A row's elements meet in one chain of vectors, each of which waits for the one before; those of other rows do not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...compiler.kernel import LANES, TRANSCENDENTAL, Kernel
from ...dtypes import DType
from ..base import Value
from .bodies import BodyCode, Point
from .emit import Function, Int, whole_vectors

#: rows at once, and instructions up to which an element of a row, and its result, are light
ROWS, LIGHT = 4, 4
#: elements of a row up to which several are taken at once, by the bits of a vector register
LONGEST = {512: 64, 256: 256}
#: vectors of a row up to which a loop would take longer than they do
WRITTEN_OUT = 4

Combine = Callable[[str, str], str]


def pays(kernel: Kernel, bits: int) -> bool:
    """Whether `kernel`, a reduction along rows, waits for the chain of each, on a target with registers of `bits`.

    It does where an element takes little. A processor with wide registers looks ahead as far as the next row, unless
    rows are so short that it waits for their ends.
    """
    light = len(kernel.inner.code) <= LIGHT and len(kernel.body.code) <= 2 * LIGHT
    if not kernel.baked or not light or any(i[0] == "op" and i[1].name in TRANSCENDENTAL for i in kernel.inner.code):
        return False
    return bool(kernel.together) or 0 < kernel.row <= LONGEST.get(bits, LONGEST[256])


def reduce_rows(
    f: Function,
    rows: Sequence[tuple[Point, Point]],
    dtype: DType,
    start: tuple[str, str],
    combine: Combine,
    met: Combine,
) -> None:
    """Reduce `rows`, given as the places of their elements and of their results, by the tree of a single one.

    `start`: what a vector of lanes and a result begin with. `combine` takes lanes and a vector, `met` a result and
    lanes.
    """
    kernel = f.kernel
    axis, value = kernel.vector, kernel.static[4]
    length, block = f.extra(0), f.extra(1)
    vector, element = f.builder(LANES).llvm_type(dtype), f.builder(1).llvm_type(dtype)
    codes = []
    for inner, _ in rows:
        codes.append(BodyCode(f, kernel.inner, axis))
        codes[-1].hoist(inner)

    def added(lanes: Sequence[str], index: Int, count: Int | None) -> list[str]:
        mask = None if count is None else f.mask(count, LANES)
        result = []
        for (inner, _), code, so_far in zip(rows, codes, lanes):
            here = inner.moved(axis, index, kernel.inner)
            here.mask = mask
            if mask is None and kernel.ahead:
                code.fetch_next(here)
            given = code.run(here)[value].ref
            if mask is not None:
                given = f.let(f"select <{LANES} x i1> {mask}, {vector} {given}, {vector} {start[0]}")
            result.append(combine(so_far, given))
        return result

    def ends(lanes: list[str], full: Int, stop: Int) -> list[str]:
        """`lanes` with the elements behind the last whole vector."""
        rest = f.sub(stop, full)
        if isinstance(rest, int):
            return added(lanes, full, rest) if rest else lanes
        before = f.block
        with f.when(f.let(f"icmp sgt i64 {rest}, 0")):
            more = added(lanes, full, rest)
            inside = f.block
        return [f.let(f"phi {vector} [ {a}, %{before} ], [ {b}, %{inside} ]") for a, b in zip(lanes, more)]

    starts = [start[0]] * len(rows)
    if kernel.row:
        full = kernel.row // LANES * LANES
        if full <= WRITTEN_OUT * LANES:
            lanes = starts
            for index in range(0, full, LANES):
                lanes = added(lanes, index, None)
        else:
            with f.loop(0, full, LANES, [(vector, start[0])] * len(rows)) as loop:
                loop.next = added(loop.values, loop.index, None)
            lanes = loop.values
        totals = [met(start[1], so_far) for so_far in ends(lanes, full, kernel.row)]
    else:
        with f.loop(0, length, block, [(element, start[1])] * len(rows)) as blocks:
            stop = f.minimum(f.add(blocks.index, block), length)
            whole = whole_vectors(f, blocks.index, stop, LANES)
            with f.loop(blocks.index, whole, LANES, [(vector, start[0])] * len(rows)) as loop:
                loop.next = added(loop.values, loop.index, None)
            lanes = ends(loop.values, whole, stop)
            blocks.next = [met(total, so_far) for total, so_far in zip(blocks.values, lanes)]
        totals = blocks.values
    for (_, outer), total in zip(rows, totals):
        BodyCode(f, kernel.body, axis).run(outer, Value(total, dtype))
