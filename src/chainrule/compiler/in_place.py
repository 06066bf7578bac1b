"""Adding to a few places of state: in the state itself, not in a copy of it.

A step that fails must change nothing, so all indices are checked before the first is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .kernel import Access, Body, Kernel

if TYPE_CHECKING:
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
