"""Indices and state: rows are added to the state itself, and gathered into it, not in a copy of it.

A step that fails must change nothing, so all indices are checked before the first is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .kernel import Access, Body, Kernel
from .lowering import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .lowering import Buffer
    from .schedule import Schedule


def scatter_into_state(
    schedule: Schedule,
    writers: list[int],
    source: Buffer,
    target: Buffer,
    uses: dict,
    reach: list[int],
    checks: list[int],
) -> bool:
    """Let a result that is a copy of the state it replaces, with rows added, be computed in the state; if it is one.

    `writers` are the steps that write the result `source`; `uses` and `reach` as the schedule has them.
    """
    steps = schedule.steps
    if len(writers) != 2:
        return False
    fill, scatter = writers
    copy, kernel = steps[fill].kernel, steps[scatter].kernel
    if copy is None or kernel is None or copy.kind != "map" or kernel.kind != "scatter":
        return False
    read, written = ([a for a in copy.accesses if a.buffer == b.number] for b in (target, source))
    if len(copy.body.code) != 1 or len(read) != 1 or len(written) != 1 or read[0].dtype is not written[0].dtype:
        return False
    if (read[0].offset, read[0].strides) != (written[0].offset, written[0].strides):
        return False
    indices = kernel.accesses[1]
    if indices.strides != (0, 1, 0) or target.number in steps[scatter].reads | steps[scatter].writes:
        return False
    readers = [n for n in uses[target.number][1] if n != fill]
    after = [n for n in (*readers, *checks) if n != scatter and (reach[n] >> fill & 1 or reach[n] >> scatter & 1)]
    if after:
        return False
    code = [("load", 0), ("check", 0, 0)]
    accesses = [Access(indices.buffer, indices.dtype, indices.offset, (1,))]
    checked = Kernel(
        "map", (kernel.sizes[1],), 0, accesses, Body(code), extra=kernel.extra[:2], baked=copy.baked, label="check"
    )
    step = steps[fill]
    step.kernel, step.label = checked, "check"
    step.reads, step.writes, step.rows, step.row_elements = {indices.buffer}, set(), 0, {}
    schedule._predecessors[fill] = set(uses.get(indices.buffer, ([], []))[0])
    schedule._predecessors[scatter] |= {fill, *readers}
    schedule._rename(source, target, [scatter, *uses[source.number][1]])
    return True


def trust_checked(steps: Sequence[Step]) -> None:
    """Let rows be added without a check where a gather with the same indices checks them: an embedding's gradient.

    State that is overwritten then need not wait for the last of the gradients.
    """
    gathered: set[tuple] = set()
    for step in steps:
        kernel = step.kernel
        for body in (kernel.body, kernel.inner) if kernel is not None else ():
            for instruction in body.code:
                if instruction[0] == "take" and body.code[instruction[2]][0] == "load":
                    assert kernel is not None
                    access = kernel.accesses[body.code[instruction[2]][1]]
                    gathered.add((access.buffer, kernel.extra[instruction[3] + 1], *_walked(access, kernel.sizes)))
    for step in steps:
        if step.kernel is not None and step.kernel.kind == "scatter":
            access, size = step.kernel.accesses[1], step.kernel.extra[1]
            step.checked = (access.buffer, size, *_walked(access, step.kernel.sizes)) in gathered


def _walked(access: Access, sizes: Sequence[int]) -> tuple:
    """Which elements of its buffer an operand reads: the first, then extents and strides of the axes along it."""
    axes: list[tuple[int, int]] = []
    for extent, stride in sorted(zip(sizes, access.strides), key=lambda axis: -abs(axis[1])):
        if not stride or extent == 1:
            continue
        if axes and axes[-1][1] == extent * stride:
            extent *= axes.pop()[0]
        axes.append((extent, stride))
    return access.offset, *axes


def index_loads(kernel: Kernel) -> list[tuple[int, int]] | None:
    """(access, number of the check) of every index that a map checks; None unless all lie in memory and walk alike."""
    code, found = kernel.body.code, []
    if kernel.kind != "map" or kernel.static or kernel.inner.code:
        return None
    for instruction in code:
        if instruction[0] not in ("take", "check"):
            continue
        source = code[instruction[2] if instruction[0] == "take" else instruction[1]]
        if source[0] == "check":
            continue  # which is looked at for itself
        if source[0] != "load":
            return None
        found.append((source[1], instruction[3] if instruction[0] == "take" else instruction[2]))
    moving = {tuple(stride != 0 for stride in kernel.accesses[access].strides) for access, _ in found}
    return found if len(moving) == 1 and any(next(iter(moving))) else None


def check_before(schedule: Schedule, number: int, uses: dict) -> None:
    """Let a step of its own check the indices of step `number`, a map with `index_loads`, before that begins."""
    step = schedule.steps[number]
    kernel = step.kernel
    assert kernel is not None
    loads = index_loads(kernel)
    assert loads is not None
    axes = [a for a, stride in enumerate(kernel.accesses[loads[0][0]].strides) if stride]
    accesses: list[Access] = []
    code: list[tuple] = []
    extra: list[int] = []
    for access, check in loads:
        given = kernel.accesses[access]
        accesses.append(Access(given.buffer, given.dtype, given.offset, tuple(given.strides[a] for a in axes)))
        code += [("load", len(accesses) - 1), ("check", len(code), len(extra))]
        extra += kernel.extra[check : check + 2]
    sizes = tuple(kernel.sizes[a] for a in axes)
    checked = Kernel(
        "map", sizes, len(axes) - 1, accesses, Body(code), extra=tuple(extra), baked=kernel.baked, label="check"
    )
    read = {access.buffer for access in accesses}
    schedule.steps.append(Step(checked, read, set(), 0, {}, "check"))
    schedule._predecessors.append({n for buffer in read for n in uses.get(buffer, ([], []))[0]})
    schedule._barriers.append(set())
    schedule._predecessors[number].add(len(schedule.steps) - 1)
    step.checked = True
