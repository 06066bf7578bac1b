"""Chains of kernels that walk over rows: while they work on some rows, the memory is asked for the next.

A chain passes over a few rows several times, and only its first pass over an operand waits for memory. A processor
looks ahead within a pass, and not beyond a page; so kernels of the chain ask for each operand where the next call
will be. One that computes elementary functions does it, which takes longer than the memory; else the second that
touches an operand, since the first has loads of its own to wait for. What is touched once, as a rule a result, is asked
for if it comes from far away. Rows that are near by then are reduced several at once.
"""

from __future__ import annotations

from .kernel import TRANSCENDENTAL, Kernel
from .lowering import Step

#: bytes of a row of all operands beyond which the next one would push this one out of the nearest cache
LONGEST = 24 << 10
#: bytes of all operands from which on what a chain touches once comes from the memory
FAR = 16 << 20
#: rows that are reduced at once
MOST_ROWS = (4, 2)


def fetch_ahead(steps: list[Step]) -> None:
    """Let kernels of a chain of walks fetch the next rows of the buffers that they walk row by row."""
    if not _is_chain(steps):
        return
    wanted = {b for s in steps for b, elements in s.row_elements.items() if elements}
    size = {}
    for step in steps:
        for access in step.kernel.accesses if step.kernel is not None else ():
            if access.buffer in wanted:
                size[access.buffer] = step.row_elements.get(access.buffer, 0) * access.dtype.itemsize
    if sum(size.values()) > LONGEST:
        return
    far = sum(size.values()) * max(step.rows for step in steps) >= FAR
    touching: dict[int, list[tuple[Kernel, int]]] = {}
    for kernel in (step.kernel for step in steps if step.kernel is not None):
        for buffer, number in {kernel.accesses[n].buffer: n for n in _walked(kernel)}.items():
            touching.setdefault(buffer, []).append((kernel, number))
    for buffer in sorted(wanted & touching.keys()):
        found = touching[buffer]
        kernel, number = max(found, key=lambda place: _functions(place[0]))
        if not _functions(kernel):
            kernel, number = found[:2][-1]
            if len(found) == 1 and not far:  # as a rule a result
                continue
        kernel.ahead = tuple(sorted((*kernel.ahead, number)))


def take_together(steps: list[Step], chunk: int) -> int:
    """Let reductions of a chain that gets `chunk` rows at a time take several of them at once; the rows of a chunk."""
    kernels = [step.kernel for step in steps if step.kernel is not None and _waits(step.kernel)]
    rows = next((rows for rows in MOST_ROWS if rows <= chunk), 0)
    if not rows or not kernels or not _is_chain(steps):
        return chunk
    for kernel in kernels:
        kernel.together = rows
    return chunk // rows * rows


def _waits(kernel: Kernel) -> bool:
    """Whether a kernel reduces along rows, with little else to do than to wait for one element after the other."""
    if kernel.kind != "reduce" or kernel.vector < kernel.static[1] or _functions(kernel):
        return False
    return kernel.static[0] not in ("max", "min", "argmax", "argmin")


def _is_chain(steps: list[Step]) -> bool:
    """Whether these are several kernels, all of which walk over rows."""
    return len(steps) > 1 and all(s.kernel is not None and s.kernel.kind in ("map", "reduce") for s in steps)


def _walked(kernel: Kernel) -> list[int]:
    """The operands that a kernel touches by whole vectors, on every row others."""
    axis = kernel.vector
    if not kernel.baked or kernel.static[:1] == ("blocks",):
        return []
    body = kernel.body
    if kernel.kind == "reduce":
        if axis < kernel.static[1] or kernel.static[0] in ("max", "min", "argmax", "argmin"):
            return []
        body = kernel.inner
    places = {i[1] for i in body.code if i[0] == "load"} | {access for _, access in body.stores}
    return [n for n in sorted(places) if axis > 0 and kernel.accesses[n].strides[axis] == 1]


def _functions(kernel: Kernel | None) -> int:
    """How many elementary functions an element takes."""
    codes = () if kernel is None else (*kernel.body.code, *kernel.inner.code)
    return sum(i[0] == "op" and i[1].name in TRANSCENDENTAL for i in codes)
