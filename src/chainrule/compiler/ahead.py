"""Chains of kernels that walk over rows: while they work on some rows, the memory is asked for the next.

A chain passes over a few rows several times, and only its first pass over an operand waits for memory. A processor
looks ahead within a pass, not beyond it; so where a kernel of the chain computes elementary functions, which takes
longer than the memory, it asks for each operand where the next call will be. (Where none does, as in layer norm, that
was found to gain nothing.)
"""

from __future__ import annotations

from .kernel import TRANSCENDENTAL, Kernel
from .lowering import Step

#: bytes of a row of all operands beyond which the next one would push this one out of the nearest cache
LONGEST = 24 << 10


def fetch_ahead(steps: list[Step]) -> None:
    """Let kernels of a chain of walks fetch the next rows of the buffers that they walk row by row."""
    if len(steps) < 2 or any(s.kernel is None or s.kernel.kind not in ("map", "reduce") for s in steps):
        return
    wanted = {b for s in steps for b, elements in s.row_elements.items() if elements}
    size = {}
    for step in steps:
        for access in step.kernel.accesses if step.kernel is not None else ():
            if access.buffer in wanted:
                size[access.buffer] = step.row_elements.get(access.buffer, 0) * access.dtype.itemsize
    if sum(size.values()) > LONGEST:
        return
    for step in sorted(steps, key=lambda step: -_functions(step.kernel)):
        kernel = step.kernel
        if kernel is None or not _functions(kernel):
            return
        found = {kernel.accesses[n].buffer: n for n in _walked(kernel)}
        kernel.ahead = tuple(sorted(found[buffer] for buffer in wanted & found.keys()))
        wanted -= found.keys()


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
