"""Chains of kernels along rows that become one: each some rows behind the one before, all in one loop along the row.

A reduction along a row waits for its chain, a map after it for the memory or for a division, an exponential for
neither. One after another they wait in turn; in step, the processor has all of their operations at once and does what
it can. When the first kernel is at row r the second is at row r - 1, whose first pass is over, and so on; at r - 2
where rows are so short that it would wait for what the first has found in its row. What each row's results are made
of, and in which order, stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from .kernel import FIRST_BUFFER, LANES, STATUS, TRANSCENDENTAL, Access, Body, Kernel
from .lowering import Step

#: walks in step at most, and instructions of all their elements: more would not fit in registers
MOST_STAGES, MOST_INSTRUCTIONS = 4, 24
#: elements of a row from which on it pays, and of one that takes elementary functions; rows of a chunk
LONG_ROW, LONG_HARD_ROW, FEWEST_ROWS = 64, 256, 8
#: bytes that the rows between the first kernel and the last take at most, to stay in the nearest cache
NEAR_BYTES = 40 << 10
#: bytes of all rows from which on they are not in the second-level cache, and that come from the memory
BEYOND, FAR = 1 << 20, 16 << 20


def in_step(steps: list[Step], place_of: Callable[[int], tuple[str, int]]) -> list[Step]:
    """The steps of a task, with kernels that may run in step as one. `place_of` tells where a buffer lies."""
    result: list[Step] = []
    run: list[Step] = []
    for step in (*steps, None):
        if step is not None and _fits(step, run) and _ordered([*run, step], place_of):
            run.append(step)
            continue
        result += [_merged(run)] if _pays(run) else run
        run = [step] if step is not None and _fits(step, []) else []
        if step is not None and not run:
            result.append(step)
    return result


def _fits(step: Step, run: Sequence[Step]) -> bool:
    """Whether a step is a walk along whole rows of the same shape as those of a run, which has room for it."""
    kernel = step.kernel
    if kernel is None or kernel.kind not in ("map", "reduce") or not kernel.baked or len(kernel.sizes) > 2:
        return False
    if len(kernel.sizes) == 1:  # something for each row, as a rule with what a reduction has found
        return bool(run) and kernel.kind == "map" and not kernel.static and _only(kernel) and _alike(step, run)
    if kernel.vector != 1 or kernel.sizes[1] < LONG_ROW or kernel.strips:
        return False
    if kernel.kind == "map" and kernel.static:
        return False
    if kernel.kind == "reduce":
        name, reduced, lanes, short, _ = kernel.static
        if reduced != 1 or lanes != LANES or short or name.startswith("arg") or kernel.sizes[1] > kernel.extra[1]:
            return False
    if not _only(kernel):
        return False
    along = _along(kernel)
    touched = {i[1] for i in along.code if i[0] in ("load", "index")} | {n for _, n in along.stores}
    if any(kernel.accesses[n].strides[1] not in (0, 1) for n in touched):
        return False
    if any(kernel.accesses[n].strides[1] == 0 for _, n in along.stores):
        return False
    return not run or _alike(step, run)


def _only(kernel: Kernel) -> bool:
    """Whether a kernel does nothing but to compute elements from others in their places."""
    code = (*kernel.inner.code, *kernel.body.code)
    return all(i[0] in ("load", "op", "scalar", "const", "index", "anchor") for i in code)


def _alike(step: Step, run: Sequence[Step]) -> bool:
    """Whether a step walks over the same rows as a run, which has room for it."""
    first, kernel = run[0].kernel, step.kernel
    assert first is not None and kernel is not None
    sizes = first.sizes[: len(kernel.sizes)]
    if (sizes, first.scale, run[0].rows) != (kernel.sizes, kernel.scale, step.rows):
        return False
    kernels = [*(s.kernel for s in run if s.kernel is not None), kernel]
    walks = sum(len(k.sizes) == 2 for k in kernels)
    return walks <= MOST_STAGES and sum(len(_along(k).code) for k in kernels) <= MOST_INSTRUCTIONS


def _step_along(access: Access) -> int:
    """The stride of an operand along a row."""
    return access.strides[1] if len(access.strides) > 1 else 0


def _along(kernel: Kernel) -> Body:
    """What a kernel does for each element of a row."""
    return kernel.inner if kernel.kind == "reduce" else kernel.body


def _ordered(run: Sequence[Step], place_of: Callable[[int], tuple[str, int]]) -> bool:
    """Whether a row of each kernel needs and overwrites nothing of the others but what belongs to that row."""
    touched: dict[tuple[str, int], list[tuple[int, Access, bool]]] = {}
    length = 0
    for number, step in enumerate(run):
        kernel = step.kernel
        assert kernel is not None
        length = length or kernel.sizes[1]  # the first is a walk along rows
        for access, written in _operands(kernel):
            touched.setdefault(place_of(kernel.accesses[access].buffer), []).append(
                (number, kernel.accesses[access], written)
            )
    for uses in touched.values():
        if not any(written for *_, written in uses) or len({number for number, *_ in uses}) == 1:
            continue
        row = {(a.offset * a.dtype.itemsize, a.strides[0] * a.dtype.itemsize) for _, a, _ in uses}
        widest = max(((length - 1) * abs(_step_along(a)) + 1) * a.dtype.itemsize for _, a, _ in uses)
        if len(row) > 1 or min(row)[1] < widest:
            return False
    return True


def _operands(kernel: Kernel) -> list[tuple[int, bool]]:
    """The accesses that a kernel loads or stores, and which."""
    found = []
    for body in (kernel.inner, kernel.body):
        found += [(i[1], False) for i in body.code if i[0] == "load"] + [(n, True) for _, n in body.stores]
    return [(n, written) for n, written in found if kernel.accesses[n].buffer >= FIRST_BUFFER]


def _pays(run: Sequence[Step]) -> bool:
    """Whether several kernels, one of which reduces rows, are worth running in step."""
    kernels = [step.kernel for step in run if step.kernel is not None]
    walks = [kernel for kernel in kernels if len(kernel.sizes) == 2]
    if len(walks) < 2 or all(k.kind == "map" for k in walks) or walks[0].sizes[0] < FEWEST_ROWS:
        return False
    hard = any(i[0] == "op" and i[1].name in TRANSCENDENTAL for kernel in walks for i in _along(kernel).code)
    if hard and walks[0].sizes[1] < LONG_HARD_ROW:
        return False
    first: dict[int, int] = {}
    last: dict[int, tuple[int, int]] = {}
    for number, kernel in enumerate(walks):
        for access, _ in _operands(kernel):
            a = kernel.accesses[access]
            if a.strides[1]:
                first.setdefault(a.buffer, number)
                last[a.buffer] = number, a.dtype.itemsize
    rows = sum((number - first[buffer] + 1) * itemsize for buffer, (number, itemsize) in last.items())
    return rows * kernels[0].sizes[1] <= NEAR_BYTES


def _merged(run: Sequence[Step]) -> Step:
    """One step of a run."""
    kernels = [step.kernel for step in run if step.kernel is not None]
    accesses: list[Access] = []
    stages: list[Kernel] = []
    asked: set[int] = set()
    bytes_of = {}
    for kernel in kernels:
        for n, _ in _operands(kernel):
            a = kernel.accesses[n]
            if a.strides[0]:
                bytes_of[a.buffer] = kernel.sizes[0] * abs(a.strides[0]) * a.dtype.itemsize
    size = sum(bytes_of.values())
    for kernel in kernels:
        number = {}
        alone = len(kernel.sizes) == 1
        for n, access in enumerate(kernel.accesses):
            if alone:
                access = replace(access, strides=(*access.strides, 0))
            same = (m for m, a in enumerate(accesses) if a.same_place(access) and a.dtype is access.dtype)
            number[n] = next(same, len(accesses))
            if number[n] == len(accesses):
                accesses.append(access)
        body, inner = _renumbered(kernel.body, number, number), _renumbered(kernel.inner, number, number)
        along = inner if kernel.kind == "reduce" else body
        loads = [i[1] for i in along.code if i[0] == "load"]
        ahead = set()
        for n in dict.fromkeys([*loads, *(n for _, n in along.stores)]):
            access = accesses[n]
            if access.buffer not in asked and all(access.strides):
                asked.add(access.buffer)
                if size >= (BEYOND if n in loads else FAR):
                    ahead.add(n)
        stage = replace(kernel, accesses=accesses, body=body, inner=inner, ahead=tuple(sorted(ahead)))
        stages.append(replace(stage, sizes=kernels[0].sizes, vector=1, static=("row",)) if alone else stage)
    scratch = _on_the_stack(stages)
    first = stages[0]
    label = "+".join(step.label for step in run)
    kernel = Kernel(
        "in_step", first.sizes, 1, accesses, Body(), extra=tuple(word for stage in stages for word in stage.extra),
        scale=first.scale, label=label, scratch=scratch, stages=tuple(stages),
    )  # fmt: skip
    rows: dict[int, int] = {}
    for step in run:
        for buffer, elements in step.row_elements.items():
            rows[buffer] = elements if rows.get(buffer, elements) == elements else 0
    return Step(
        kernel, set().union(*(s.reads for s in run)), set().union(*(s.writes for s in run)), run[0].rows, rows, label,
        checks=[check for step in run for check in step.checks],
        origin=tuple(serial for step in run for serial in step.origin),
    )  # fmt: skip


def _on_the_stack(stages: list[Kernel]) -> tuple[int, ...]:
    """Let what a walk stores and the next one overwrites pass through a row on the stack; the new accesses.

    One row is enough: the next walk reads an element of its row before this one writes that of the row behind it.
    """
    accesses, made = stages[0].accesses, []
    walks = [n for n, stage in enumerate(stages) if not stage.for_each_row]
    for writer, reader in pairwise(walks):
        for number in sorted({n for _, n in _along(stages[writer]).stores}):
            access, next_walk = accesses[number], stages[reader]
            uses = {
                (n, place, written)
                for place, stage in enumerate(stages)
                for n, written in _operands(stage)
                if accesses[n].buffer == access.buffer
            }
            wanted = {(number, writer, True), (number, reader, False), (number, reader, True)}
            if next_walk.kind != "map" or uses != wanted or access.strides[1] != 1:
                continue
            made.append(len(accesses))
            accesses.append(Access(STATUS, access.dtype, 0, (0, 1)))
            other = {n: made[-1] if n == number else n for n in range(len(accesses))}
            same = {n: n for n in range(len(accesses))}
            before, behind = stages[writer], next_walk
            asked = tuple(sorted({*behind.ahead, *(n for n in before.ahead if n == number)}))
            stages[writer] = replace(
                before, inner=_renumbered(before.inner, same, other), body=_renumbered(before.body, same, other),
                ahead=tuple(n for n in before.ahead if n != number),
            )  # fmt: skip
            stages[reader] = replace(behind, body=_renumbered(behind.body, other, same), ahead=asked)
    for place, stage in enumerate(stages):
        stages[place] = replace(stage, scratch=tuple(made))
    return tuple(made)


def _renumbered(body: Body, loads: Mapping[int, int], stores: Mapping[int, int]) -> Body:
    """`body` with other numbers for the accesses that it loads and stores."""
    code = [(i[0], loads[i[1]], *i[2:]) if i[0] in ("load", "index") else i for i in body.code]
    return Body(code, [(value, stores[access]) for value, access in body.stores])
