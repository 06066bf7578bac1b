"""Updates of a table of which a step touches a few rows: the others are left alone.

The gradient of an embedding is a table of zeros to which some rows are added, and descent along it, ``p - lr g``,
leaves every element with g = 0 as it is. Where few rows are touched, filling, reading and writing whole tables would be
most of a step. Two kernels become walks over the row numbers: zeros are written to the rows that will be added to
(which also checks the numbers, before state changes), the rows are added as ever, and each touched row is updated and
its gradient set back to 0, so that a row that is there twice is updated once. The bits are those of the whole update,
for factors that are finite and not negative, as learning rates are (a negative one turns -0 to 0 in rows that are not
touched).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .kernel import Access, Body, Kernel

if TYPE_CHECKING:
    from .lowering import Step
    from .schedule import Schedule

#: the table has at least so many rows for each that is touched
SELDOM = 4


def walk_touched_rows(schedule: Schedule, number: int) -> None:
    """Make step `number`, which updates state in place, a walk over the rows of a gradient, if it is such an update."""
    update = schedule.steps[number]
    kernel = update.kernel
    if (
        kernel is None
        or kernel.kind != "map"
        or len(kernel.sizes) != 1
        or kernel.static
        or len(kernel.body.stores) != 1
    ):
        return
    target = kernel.accesses[kernel.body.stores[0][1]]
    for place, access in enumerate(kernel.accesses):
        if access.buffer == target.buffer or access.strides != (1,) or access.offset:
            continue
        found = _gradient(schedule, number, access)
        if found is None:
            continue
        fill, scatter = found
        if _leaves_alone(kernel, place, target):
            _rewrite(schedule, number, place, fill, scatter)
            return


def _gradient(schedule: Schedule, number: int, access: Access) -> tuple[int, Kernel] | None:
    """The step that fills the buffer of `access` with zeros, and the scatter to few rows after it, if that is all."""
    writers, buffer = [], access.buffer
    for n, step in enumerate(schedule.steps):
        if buffer in step.writes:
            writers.append(n)
        elif buffer in step.reads and n != number:
            return None
    if len(writers) != 2 or schedule.buffers[buffer - schedule.buffers[0].number].kind != "arena":
        return None
    fill, scatter = (schedule.steps[n].kernel for n in writers)
    if fill is None or scatter is None or fill.kind != "map" or scatter.kind != "scatter":
        return None
    code = fill.body.code
    if len(code) != 1 or code[0][0] != "const" or code[0][1] != 0 or len(fill.body.stores) != 1:
        return None
    rows, behind = scatter.extra[1:3]
    if scatter.sizes[0] * scatter.sizes[2] != behind or scatter.accesses[1].strides != (0, 1, 0):
        return None
    whole = fill.sizes == schedule.steps[number].kernel.sizes == (rows * behind,)  # type: ignore[union-attr]
    indices = scatter.accesses[1].buffer
    changed = any(indices in step.writes and step.kernel is None for step in schedule.steps)
    if not whole or changed or scatter.sizes[1] * SELDOM > rows:
        return None
    return writers[0], scatter


def _leaves_alone(kernel: Kernel, place: int, target: Access) -> bool:
    """Whether the code stores what was there where the element at access `place` is 0: ``p - number * 0``."""
    found: list[str] = []
    for instruction in kernel.body.code:
        kind, meaning = instruction[0], "other"
        if kind == "load":
            access = kernel.accesses[instruction[1]]
            if instruction[1] == place:
                meaning = "zero"
            elif access.buffer == target.buffer and (access.offset, access.strides) == (target.offset, target.strides):
                meaning = "old"
            elif access.strides == (0,):
                meaning = "number"
        elif kind in ("scalar", "const"):
            meaning = "number"
        elif kind == "op":
            parts = [found[i] for i in instruction[2]]
            if all(part == "number" for part in parts):
                meaning = "number"
            elif instruction[1].name == "mul" and sorted(parts) == ["number", "zero"]:
                meaning = "zero"
            elif instruction[1].name == "sub" and parts == ["old", "zero"]:
                meaning = "old"
        found.append(meaning)
    return found[kernel.body.stores[0][0]] == "old"


def _rewrite(schedule: Schedule, number: int, place: int, fill: int, scatter: Kernel) -> None:
    steps = schedule.steps
    update: Step = steps[number]
    old = update.kernel
    assert old is not None
    gradient, indices = old.accesses[place], scatter.accesses[1]
    count = scatter.sizes[1]
    check, rows, behind = scatter.extra[:3]
    numbers = Access(indices.buffer, indices.dtype, indices.offset, (0, 1, 0))

    def at_rows(access: Access) -> Access:
        moves = access.strides == (1,)
        return Access(access.buffer, access.dtype, access.offset, (0, behind if moves else 0, int(moves)))

    zero = ("const", 0.0, gradient.dtype)
    code = [("load", 0), zero]
    first = Body(code, [(1, 1)])
    accesses = [numbers, at_rows(gradient)]
    sizes = (1, count, behind)
    steps[fill].kernel = Kernel(
        "rows", sizes, 2, accesses, first, extra=(check, rows), static=(0, True), baked=old.baked, label="zero rows"
    )
    last = Body([*old.body.code, zero, ("load", len(old.accesses))], list(old.body.stores))
    last.stores.append((len(old.body.code), place))
    update.kernel = Kernel(
        "rows", sizes, 2, [*map(at_rows, old.accesses), numbers], last, extra=(*old.extra, check, rows),
        static=(len(old.extra), False), baked=old.baked, label=old.label,
    )  # fmt: skip
    steps[fill].label = "zero rows"
    steps[fill].reads = {indices.buffer}
    update.reads = update.reads | {indices.buffer}
    update.writes = update.writes | {gradient.buffer}
    for step in (steps[fill], update):
        step.rows, step.row_elements = 0, {}
    for n, step in enumerate(steps):
        if indices.buffer in step.writes:
            schedule._predecessors[fill].add(n)
