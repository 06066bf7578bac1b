"""Order and threads: from kernels to regions of tasks.

A *task* is a list of kernels that run one after another on a chunk of rows: a kernel joins the task of another if row
r of its work needs row r of the other's result only, so that a chunk passes through a whole chain while it is in cache
and no thread waits in between. A *region* is a set of independent tasks, whose chunks threads claim; regions follow
one another. Regions too small to share run serially.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from .ahead import fetch_ahead, take_together
from .arena import plan_arena
from .attention import KINDS
from .chunks import MEETING_NS, chain_bytes, divide, rows_at_once, share, step_cost
from .in_place import check_before, index_loads, scatter_into_state, trust_checked
from .in_step import in_step
from .iterations import rows_apart
from .kernel import Access, Body, Kernel
from .lowering import Buffer, Lowering, Step
from .past import write_past
from .sharing import replaced_by_results
from .sinking import sink
from .touched import walk_touched_rows

if TYPE_CHECKING:
    from .repeat import Repetition

#: sequences from which on the rows of a task are whole sequences
SEQUENCES = 16
#: a chain in which as many rows as a product wants at once hand more bytes from kernel to kernel is cut before it
LARGE_CHAIN_BYTES = 2 << 20


@dataclass(slots=True)
class Task:
    steps: list[Step]
    rows: int
    extent: int = 1
    chunk: int = 1


@dataclass(slots=True)
class Region:
    tasks: list[Task]
    parallel: bool = False

    def steps(self) -> list[Step]:
        return [step for task in self.tasks for step in task.steps]


class Schedule:
    """Regions and memory of a lowered graph, which may be the body of a loop.

    `in_place` maps outputs to the leaves whose storage they take over.
    """

    def __init__(self, lowering: Lowering, in_place: dict[int, int], threads: int, loop: Repetition | None = None):
        self.lowering = lowering
        self.steps = lowering.steps
        self.buffers = lowering.buffers
        self.in_place: dict[int, int] = {}
        self._predecessors = self._hazards()
        #: for each step, the steps that must be over, on every thread, before it begins
        self._barriers: list[set[int]] = [set() for _ in self.steps]
        trust_checked(self.steps)
        self._hold_back()
        self._take_over(in_place)
        self._guard_state()
        for step in self.steps:
            if step.loop is not None:
                step.loop.schedule = Schedule(step.loop.body, {}, threads, step.loop)
                step.loop.workspace.bytes = step.loop.schedule.arena.bytes
        self._bytes = {b.number: b.bytes for b in self.buffers}
        self.regions: list[Region] = []
        self._form_regions()
        arena = {b.number: b.bytes for b in self.buffers if b.kind == "arena"}
        sink(self.regions, self.steps, self._predecessors, arena)
        apart = loop is not None and rows_apart(loop, self.regions)
        times = loop.count if loop is not None and apart else 1
        self.regions = share(self.regions, threads, self._bytes, times)
        if loop is not None:
            loop.apart = apart and self.regions[0].parallel
        self._replace_by_results()
        self.arena = plan_arena(self.regions, [b for b in self.buffers if b.number in lowering.own])
        self._run_in_step(threads, times)
        for region in self.regions:
            for task in region.tasks:
                write_past(task.steps)
                fetch_ahead(task.steps)
                task.chunk = take_together(task.steps, task.chunk)

    # --- dependencies -----------------------------------------------------------------------------

    def _hazards(self) -> list[set[int]]:
        """For each step, the earlier steps that it must follow."""
        writer: dict[int, list[int]] = {}
        readers: dict[int, list[int]] = {}
        result = []
        for number, step in enumerate(self.steps):
            needed: set[int] = set()
            for buffer in step.reads:
                needed.update(writer.get(buffer, ()))
            for buffer in step.writes:
                needed.update(writer.get(buffer, ()))
                needed.update(readers.get(buffer, ()))
            needed.discard(number)
            for buffer in step.reads:
                readers.setdefault(buffer, []).append(number)
            for buffer in step.writes:
                writer.setdefault(buffer, []).append(number)
            result.append(needed)
        return result

    def _hold_back(self) -> None:
        """Let a step that computes something again wait for what its first user waits for as well."""
        if not any(step.late for step in self.steps):
            return
        reach = self._reaches()
        users: dict[int, int] = {}
        for number in reversed(range(len(self.steps))):
            for before in self._predecessors[number]:
                users[before] = number
        for number in reversed(range(len(self.steps))):
            if self.steps[number].late and number in users:
                others = self._predecessors[users[number]] - {number}
                added = {other for other in others if not reach[other] >> number & 1}
                self._predecessors[number] |= added
                self._follow(reach, number, added)

    def _reaches(self) -> list[int]:
        """Bit set of all steps that each step follows, directly or not (steps in a topological order)."""
        result = [0] * len(self.steps)
        for number in self._topological():
            bits = 0
            for before in self._predecessors[number]:
                bits |= result[before] | 1 << before
            result[number] = bits
        return result

    def _topological(self) -> list[int]:
        order: list[int] = []
        done: set[int] = set()
        stack = [(n, False) for n in reversed(range(len(self.steps)))]
        while stack:
            number, expanded = stack.pop()
            if number in done:
                continue
            if expanded:
                done.add(number)
                order.append(number)
                continue
            stack.append((number, True))
            stack.extend((p, False) for p in sorted(self._predecessors[number], reverse=True) if p not in done)
        return order

    def _take_over(self, wanted: dict[int, int]) -> None:
        """Let outputs be written over the leaves they replace, where every reader of the old value comes first."""
        leaves = {b.index: b for b in self.buffers if b.kind == "leaf"}
        outputs = {b.index: b for b in self.buffers if b.kind == "output"}
        uses, reach, waited = self._uses(), self._reaches(), set().union(*self._predecessors)
        # A check that follows could fail when the old value is gone.
        checks = [n for n, s in enumerate(self.steps) if _checks(s)]
        for output, leaf in wanted.items():
            source = outputs.get(output)
            if source is None:
                continue
            target = leaves.get(leaf) or self.lowering.leaf_buffer(leaf)
            self.in_place[output] = leaf
            writers, later = uses.get(source.number, ([], []))
            if writers and all(self._may_overwrite(n, source, target) for n in writers):
                reading = uses.get(target.number, ([], []))[1]
                readers = [n for n in reading if n not in writers]
                # one of several writers must not read what another one has overwritten, nor check anything
                alone = len(writers) == 1
                apart = alone or (len(readers) == len(reading) and not any(_checks(self.steps[w]) for w in writers))
                if apart and not any(reach[n] >> w & 1 for n in readers + checks for w in writers if n != w):
                    kernels = [self.steps[writer].kernel for writer in writers]
                    for writer in writers:
                        if _checks(self.steps[writer]):
                            check_before(self, writer, uses)
                            reach.append(0)
                        self._predecessors[writer].update(readers)
                        self._follow(reach, writer, readers, writer in waited)
                    waited.update(readers)
                    self._rename(source, target, [*writers, *later])
                    if alone:
                        walk_touched_rows(self, writers[0])
                    changed = (self.steps[w].kernel is not k or self.steps[w].checked for w, k in zip(writers, kernels))
                    if any(changed):
                        uses, reach, waited = self._uses(), self._reaches(), set().union(*self._predecessors)
                        checks = [n for n, s in enumerate(self.steps) if _checks(s)]
                    continue
            elif scatter_into_state(self, writers, source, target, uses, reach, checks):
                uses, reach, waited = self._uses(), self._reaches(), set().union(*self._predecessors)
                checks = [n for n, s in enumerate(self.steps) if _checks(s)]
                continue
            self._copy_back(source, target, writers)

    def _uses(self) -> dict[int, tuple[list[int], list[int]]]:
        """The steps that write each buffer, and those that read it."""
        found: dict[int, tuple[list[int], list[int]]] = {}
        for number, step in enumerate(self.steps):
            for buffer in step.writes:
                found.setdefault(buffer, ([], []))[0].append(number)
            for buffer in step.reads:
                found.setdefault(buffer, ([], []))[1].append(number)
        return found

    def _follow(self, reach: list[int], number: int, before: Iterable[int], followed: bool = True) -> None:
        """Let what a step follows, and what follows it if anything does, include the steps `before` it."""
        added = 0
        for other in before:
            added |= reach[other] | 1 << other
        if not added & ~reach[number]:
            return  # known, also to what follows
        reach[number] |= added
        if followed:
            for other in range(len(reach)):
                if reach[other] >> number & 1:
                    reach[other] |= added

    def _guard_state(self) -> None:
        """Let what may fail be over before state is overwritten, so that a step that fails has changed nothing."""
        checking = {n for n, step in enumerate(self.steps) if _checks(step)}
        if not checking:
            return
        leaves = {b.number for b in self.buffers if b.kind == "leaf"}
        reach = self._reaches()
        for number, step in enumerate(self.steps):
            if not step.writes & leaves:
                continue
            before = {c for c in checking if c != number and not reach[c] >> number & 1}
            self._barriers[number] = before
            self._predecessors[number] |= before
            self._follow(reach, number, before)

    def _copy_back(self, source: Buffer, target: Buffer, writers: list[int]) -> None:
        """Compute an output in the arena and copy it over its leaf when everything else has read that."""
        source.kind = "arena"
        count = max(source.bytes // source.dtype.itemsize, 0)
        accesses = [Access(b.number, source.dtype, 0, (1,)) for b in (source, target)]
        body = Body([("load", 0)], [(0, 1)])
        kernel = Kernel("map", (count,), 0, accesses, body, baked=self.lowering.baked, label="copy")
        readers = {n for n, s in enumerate(self.steps) if target.number in s.reads | s.writes}
        self.steps.append(Step(kernel, {source.number}, {target.number}, 0, {}, "copy"))
        self._predecessors.append(readers | set(writers))
        self._barriers.append(set())

    def _may_overwrite(self, number: int, source: Buffer, target: Buffer) -> bool:
        """Whether the step that writes `source` reads `target` at most at the element that it writes."""
        step = self.steps[number]
        kernel = step.kernel
        if kernel is None or source.dtype is not target.dtype or target.number in step.writes:
            return False
        if _checks(step) and index_loads(kernel) is None:
            return False
        if target.number not in step.reads:
            return kernel.kind in KINDS or kernel.kind in ("map", "reduce", "contract")
        if kernel.kind not in ("map", "reduce", "contract"):
            return False
        stored = [kernel.accesses[a] for _, a in kernel.body.stores if kernel.accesses[a].buffer == source.number]
        if not stored:
            return False
        place = stored[0]
        inside = {i[1] for i in kernel.inner.code if i[0] in ("load", "take")}
        for n, access in enumerate(kernel.accesses):
            if access.buffer != target.number:
                continue
            if n in inside or (kernel.kind == "contract" and n < 2):
                return False
            if (access.offset, access.strides) != (place.offset, place.strides):
                return False
        return not any(i[0] == "take" and kernel.accesses[i[1]].buffer == target.number for i in kernel.body.code)

    def _rename(self, old: Buffer, new: Buffer, touching: list[int]) -> None:
        self._rename_in([self.steps[number] for number in dict.fromkeys(touching)], old, new)
        old.kind = "none"

    def _rename_in(self, steps: list[Step], old: Buffer, new: Buffer) -> None:
        for step in steps:
            if old.number not in step.reads and old.number not in step.writes:
                continue
            for group in (step.reads, step.writes):
                if old.number in group:
                    group.discard(old.number)
                    group.add(new.number)
            if old.number in step.row_elements:
                moved = step.row_elements.pop(old.number)
                known = step.row_elements.get(new.number)
                step.row_elements[new.number] = moved if known in (None, moved) else 0
            if step.kernel is not None:
                for access in step.kernel.accesses:
                    if access.buffer == old.number:
                        access.buffer = new.number
            if step.host is not None:
                operation, operands, result, where = step.host
                operands = [new.number if b == old.number else b for b in operands]
                step.host = (operation, operands, new.number if result == old.number else result, where)
            if step.loop is not None:
                step.loop.rename(old.number, new.number)
                self._rename_in(step.loop.body.steps, old, new)

    # --- regions ----------------------------------------------------------------------------------

    def _form_regions(self) -> None:
        """Fill one region after another with the steps that are ready, those recorded first before others."""
        missing = [len(needed) for needed in self._predecessors]
        followers: list[list[int]] = [[] for _ in self.steps]
        for number, needed in enumerate(self._predecessors):
            for before in needed:
                followers[before].append(number)
        ready = [number for number, count in enumerate(missing) if not count]
        while ready:
            task_of: dict[int, Task] = {}
            tasks: list[Task] = []
            later: list[int] = []
            entered: dict[int, int] = {}  # where each step comes in its task: joined tasks interleave
            while ready:
                number = heappop(ready)
                host = self.steps[number].kernel is None
                inside = {p for p in self._predecessors[number] if p in task_of}
                waits = any(before in task_of for before in self._barriers[number])
                if waits or (host and tasks) or not self._join(number, inside, tasks, task_of):
                    later.append(number)
                    continue
                entered[id(self.steps[number])] = len(entered)
                for follower in followers[number]:
                    missing[follower] -= 1
                    if not missing[follower]:
                        heappush(ready, follower)
                if host:
                    break
            for number in later:
                heappush(ready, number)
            for task in tasks:
                task.steps.sort(key=lambda step: entered[id(step)])
            self.regions.append(Region(tasks))
        assert sum(len(region.steps()) for region in self.regions) == len(self.steps), "steps that wait for each other"

    def _join(self, number: int, needed: set[int], tasks: list[Task], task_of: dict[int, Task]) -> bool:
        """Put a step into the current region, if what it needs there is in tasks whose rows it follows, or is short."""
        step = self.steps[number]
        involved: list[Task] = []
        for before in sorted(needed):
            if not any(task_of[before] is task for task in involved):
                involved.append(task_of[before])
        if not involved:
            task_of[number] = Task([step], step.rows)
            tasks.append(task_of[number])
            return True
        joined = [s for task in involved for s in task.steps] + [step]
        together = all(self._row_by_row(self.steps[before], step) for before in needed)
        rows = self._common_rows(joined) if together else 0
        if rows < 2 or rows_at_once(joined) * chain_bytes(joined, self._bytes) > step.rows * LARGE_CHAIN_BYTES:
            rows = 0
            if not _is_short(joined):
                return False
        for inside in joined:
            _coarsen(inside, rows)
        first = involved[0]
        first.rows = rows
        for other in involved[1:]:
            first.steps += other.steps
            tasks[:] = [t for t in tasks if t is not other]
            for key, task in task_of.items():
                if task is other:
                    task_of[key] = first
        first.steps.append(step)
        task_of[number] = first
        return True

    def _common_rows(self, steps: list[Step]) -> int:
        """Rows of a task of all `steps`; 0 if they cannot be one.

        Attention has a row for each sequence, where what is computed before and after has one for each position: such
        rows are taken together, as long as there are enough sequences to share.
        """
        rows = min(step.rows for step in steps)
        if all(step.rows == rows for step in steps):
            return rows
        attends = any(step.kernel is not None and step.kernel.kind in KINDS for step in steps)
        return rows if attends and rows >= SEQUENCES and all(step.rows % rows == 0 for step in steps) else 0

    def _row_by_row(self, before: Step, step: Step) -> bool:
        rows = self._common_rows([before, step])
        if rows < 2:
            return False
        shared = (before.writes & (step.reads | step.writes)) | (before.reads & step.writes)
        for buffer in shared:
            elements = step.row_elements.get(buffer, 0) * (step.rows // rows)
            if elements == 0 or before.row_elements.get(buffer, 0) * (before.rows // rows) != elements:
                return False
        return True

    def _run_in_step(self, threads: int, times: int) -> None:
        """Let chains of walks along rows be one kernel, which walks as far as there are rows for a thread."""
        offsets = self.arena.offsets

        def place_of(buffer: int) -> tuple[str, int]:
            return ("arena", offsets[buffer]) if buffer in offsets else ("buffer", buffer)

        for region in self.regions:
            alone = False
            for task in region.tasks:
                count = len(task.steps)
                if count > 1 and task.rows > 1:
                    task.steps = in_step(task.steps, place_of)
                if len(task.steps) < count and len(task.steps) == 1:
                    alone, task.chunk = True, task.extent
            if alone and region.parallel:
                divide(region, threads, self._bytes, times)

    # --- memory -----------------------------------------------------------------------------------

    def _replace_by_results(self) -> None:
        """Let values that results replace, element by element, lie in the buffers of these results."""
        numbered = {b.number: b for b in self.buffers}
        own = self.lowering.own
        arena = {n: b for n, b in numbered.items() if b.kind == "arena" and n in own}
        results = {n: b for n, b in numbered.items() if b.kind == "output" and n in own}
        overwritten = {n for n, b in numbered.items() if b.kind == "leaf"}
        for step, barriers in zip(self.steps, self._barriers):  # state that is only written, whatever was there
            overwritten -= step.reads | (step.writes if barriers or step.kernel is None else set())
        results |= {n: numbered[n] for n in overwritten}
        for old, new in replaced_by_results(self.regions, arena, results).items():
            self._rename(numbered[old], numbered[new], list(range(len(self.steps))))


def _coarsen(step: Step, rows: int) -> None:
    """Let a step have so many rows, each of which is several of its own; all of it in one piece for less than 2."""
    assert step.kernel is not None
    if rows < 2:
        step.kernel.scale, step.rows, step.row_elements = step.kernel.sizes[0], 0, {}
    elif step.rows != rows:
        together = step.rows // rows
        step.rows = rows
        step.kernel.scale *= together
        step.row_elements = {buffer: count * together for buffer, count in step.row_elements.items()}


def _is_short(steps: Iterable[Step]) -> bool:
    """Whether steps that follow one another take less time in one thread than several threads take to meet."""
    simple = all(step.kernel is not None and step.kernel.kind in ("map", "reduce") for step in steps)
    return simple and sum(map(step_cost, steps)) < MEETING_NS


def _checks(step: Step) -> bool:
    """Whether the step may fail: by an index that is out of range, or a matrix that is singular."""
    kernel = step.kernel
    if kernel is None and step.loop is not None:  # a loop that may never end should be one that Ctrl-C can end
        return step.loop.endless or any(_checks(inner) for inner in step.loop.body.steps)
    if kernel is None:
        return step.host is not None and step.host[0].family == "matrix"
    if step.checked:
        return False
    codes = (*kernel.body.code, *kernel.inner.code)
    if kernel.kind == "rows":
        return kernel.static[1]
    return kernel.kind == "scatter" or any(i[0] in ("check", "take") for i in codes)


def kernels_of(regions: list[Region]) -> list[Kernel]:
    """All kernels in order."""
    return [step.kernel for region in regions for step in region.steps() if step.kernel is not None]
