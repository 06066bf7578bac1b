"""Which regions threads share, and in which chunks: whole rows of a task, claimed one after another.

Threads claim chunks in the order of the tasks. The longest come first, so that the last ones, at which a thread may
have to wait for another, are short; and there are as many as an estimate of all threads' times, claim by claim, asks
for. Neither changes a bit of any result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from heapq import heapreplace
from typing import TYPE_CHECKING

from .attention import KINDS, attention_flops
from .kernel import LANES, TRANSCENDENTAL, Body, Kernel, Tiling

if TYPE_CHECKING:
    from .lowering import Step
    from .schedule import Region, Task

#: a region below this many nanoseconds of estimated work is not worth a thread
SERIAL_NS = 5000.0
#: what it takes at least until all threads have ended a region and begun the next
MEETING_NS = 1000.0
#: chunks should take at least this long; how many there may be for each thread, and what claiming one takes
CHUNK_NS, CHUNKS_PER_THREAD, CLAIM_NS = 2500.0, (4, 6, 8), 300.0
#: how much longer a thread may take whose core is busy with other things as well, and how often that is so
SLOWER, DISTURBED = 1.15, 0.25
#: bytes a nanosecond at which each chunk of a product reads the right operand again
READ_RATE = 64.0
#: operations a nanosecond of products, of convolutions by fewer multiplications (those they save counted), of attention
PRODUCT_RATE, TRANSFORMED_RATE, ATTENTION_RATE = 200.0, 400.0, 100.0
#: bytes a nanosecond that a walk over its operands moves
WALK_RATE = 75.0
#: more chunks must save this share of a region's time
GAIN = 0.003
#: a chunk of a chain of kernels should touch at most this many bytes between kernels
CHUNK_BYTES = 192 << 10
#: and in all, where the kernels only walk over their operands, as many bytes as the nearest cache holds, or so
#: many of each operand
NEAR_BYTES, NEAR_LEAST = 16 << 10, 4 << 10
#: a product with a right operand of more bytes wants as many rows in a chunk
LARGE_OPERAND, ROWS_FOR_LARGE = 256 << 10, 32


def share(regions: Sequence[Region], threads: int, bytes_of: Mapping[int, int], times: int = 1) -> list[Region]:
    """Decide which regions threads share, and the chunks of every task; serial neighbours become one region.

    `times`: how often a chunk runs before the next one is claimed.
    """
    for region in regions:
        divide(region, threads, bytes_of, times)
    merged: list[Region] = []
    for region in regions:
        host = any(s.kernel is None for s in region.steps())
        before = merged[-1] if merged and not host and not region.parallel else None
        if before and not before.parallel and before.tasks[0].steps[0].kernel is not None:
            before.tasks += region.tasks
        else:
            merged.append(region)
    return merged


def divide(region: Region, threads: int, bytes_of: Mapping[int, int], times: int = 1) -> None:
    """The chunks of one region's tasks, and their order."""
    costs = {id(task): times * sum(step_cost(s) for s in task.steps) for task in region.tasks}
    total = sum(costs.values())
    region.parallel = threads > 1 and total >= SERIAL_NS and all(s.kernel is not None for s in region.steps())
    bounds, claims = {}, {}
    for task in region.tasks:
        if len(task.steps) == 1 and task.rows < 2 and task.steps[0].kernel is not None:
            task.rows = task.steps[0].kernel.sizes[0]
        task.extent = max(task.rows, 1)
        bounds[id(task)] = _bounds(task, threads if region.parallel else 1, bytes_of)
        claims[id(task)] = CLAIM_NS + times * sum(_right_operand(step) for step in task.steps) / READ_RATE

    def cut(number: int, unit: int) -> float:
        """The time of the region with so many chunks for each thread, and for each task a multiple of `unit`."""
        target = max(CHUNK_NS, total / (threads * number))
        for task in region.tasks:
            least, most = bounds[id(task)]
            wanted = min(round(costs[id(task)] / target / unit) * unit, task.extent) if region.parallel else 1
            task.chunk = _chunk_rows(task.extent, max(1, min(max(wanted, least), most)), _vector_rows(task))
        if not region.parallel:
            return total
        region.tasks.sort(key=lambda task: -costs[id(task)] * task.chunk / task.extent)
        return _makespan(region.tasks, costs, claims, threads)

    best = (CHUNKS_PER_THREAD[0], 1)
    time = cut(*best)
    if region.parallel:
        for plan in ((number, unit) for number in CHUNKS_PER_THREAD for unit in (1, threads)):
            other = cut(*plan)
            if other < time * (1 - GAIN):
                best, time = plan, other
        cut(*best)


def _bounds(task: Task, threads: int, bytes_of: Mapping[int, int]) -> tuple[int, int]:
    """Least and greatest number of chunks of a task, by what lies in caches."""
    least = 1
    if len(task.steps) > 1:
        least = -(-chain_bytes(task.steps, bytes_of) // CHUNK_BYTES)
        if all(s.kernel is not None and s.kernel.kind in ("map", "reduce") for s in task.steps):
            touched = {b for s in task.steps for b, elements in s.row_elements.items() if elements}
            size = sum(bytes_of[b] for b in touched)
            least = max(least, -(-size // max(NEAR_BYTES, NEAR_LEAST * len(touched))))
    rows = max(rows_at_once(task.steps), _tile_rows(task.steps))
    return least, max(task.extent // max(rows, _vector_rows(task)), threads)


def _vector_rows(task: Task) -> int:
    """What rows of a chunk should be a multiple of: whole vectors, if they lie along the rows, as down columns."""
    return LANES if all(s.kernel is not None and s.kernel.vector == 0 for s in task.steps) else 1


def _makespan(tasks: Sequence[Task], costs: Mapping[int, float], claims: Mapping[int, float], threads: int) -> float:
    """When the last thread is done, where all are equally fast and where one is slower, on average.

    `claims`: the price of another chunk.
    """
    total = 0.0
    for slowness, share_of_runs in ((1.0, 1 - DISTURBED), (SLOWER, DISTURBED)):
        free = [(0.0, slowness if n == 0 else 1.0) for n in range(threads)]
        for task in tasks:
            whole, rest = divmod(task.extent, task.chunk)
            row, claim = costs[id(task)] / task.extent, claims[id(task)]
            for rows in (task.chunk,) * whole + (rest,) * (rest > 0):
                begin, factor = free[0]
                heapreplace(free, (begin + factor * (rows * row + claim), factor))
        total += share_of_runs * max(free)[0]
    return total


def step_cost(step: Step) -> float:
    """Estimated nanoseconds of a kernel on one thread."""
    kernel = step.kernel
    if step.loop is not None:
        return step.loop.times * sum(step_cost(inner) for inner in step.loop.body.steps)
    if kernel is None:
        return 1e4
    if kernel.stages:
        return sum(kernel_cost(stage) for stage in kernel.stages)
    return kernel_cost(kernel)


def kernel_cost(kernel: Kernel) -> float:
    """The same of a kernel that is no loop and no call of the host."""
    elements = math.prod(kernel.sizes)
    if kernel.kind == "contract":
        epilogue = elements * (0.03 + _element_cost(kernel, kernel.body))
        if isinstance(kernel.static, Tiling) and kernel.static.block:
            return 20 + 2 * kernel.extra[0] * elements / TRANSFORMED_RATE + epilogue
        if isinstance(kernel.static, Tiling):
            lanes, rows = kernel.static.lanes, math.prod(kernel.static.tile)
        else:
            lanes, rows = kernel.static[1], kernel.static[2]
        used = kernel.sizes[-1] / (-(-kernel.sizes[-1] // lanes) * lanes)
        return 20 + 2 * kernel.extra[0] * elements / (PRODUCT_RATE * used * min(1.0, rows / 6)) + epilogue
    if kernel.kind in KINDS:
        return 20 + attention_flops(kernel) / ATTENTION_RATE
    if kernel.kind == "csr":
        return 20 + kernel.sizes[0] + kernel.extra[2] * (0.8 + 0.05 * kernel.sizes[1])
    if kernel.kind == "pack":
        return 20 + elements * kernel.static[1] * 0.08
    outputs = math.prod(kernel.sizes[: kernel.static[1]]) if kernel.kind == "reduce" else elements
    work = elements * _element_cost(kernel, kernel.inner) + outputs * (0.02 + _element_cost(kernel, kernel.body))
    if kernel.kind == "scatter":
        work += 0.1 * elements
    moved = sum(
        a.dtype.itemsize * math.prod(size for size, stride in zip(kernel.sizes, a.strides) if stride)
        for a in kernel.accesses
    )
    return 20 + max(work, moved / WALK_RATE)


def _element_cost(kernel: Kernel, body: Body) -> float:
    """Estimated nanoseconds of an element, whatever it takes to load and store it."""
    cost = 0.0
    for instruction in body.code:
        if instruction[0] == "random" or (instruction[0] == "op" and instruction[1].name in TRANSCENDENTAL):
            cost += 0.2
        elif instruction[0] == "op":
            cost += 0.01
        elif instruction[0] == "take":  # whole rows, or single elements wherever they are
            cost += 0.1 if kernel.accesses[instruction[1]].strides[kernel.vector] == 1 else 0.6
    return cost


def rows_at_once(steps: Sequence[Step]) -> int:
    """Rows that a chunk should have: many, if a product reads a large operand anew for each chunk."""
    return ROWS_FOR_LARGE if any(_right_operand(step) > LARGE_OPERAND for step in steps) else 1


def _tile_rows(steps: Sequence[Step]) -> int:
    """Rows of the highest register tile of products that take most of the time.

    Of smaller chunks they would compute rows twice. Where they are a small part of a chain, it is worth more that a few
    rows of all the rest stay in cache.
    """
    rows, products = 1, 0.0
    for step in steps:
        tiling = step.kernel.static if step.kernel is not None and step.kernel.scale == 1 else None
        if isinstance(tiling, Tiling) and tiling.tile and not tiling.block and tiling.tile[0] > 1:
            rows, products = max(rows, tiling.tile[0]), products + step_cost(step)
    return rows if 2 * products > sum(map(step_cost, steps)) else 1


def _right_operand(step: Step) -> int:
    """Bytes of the operand that every chunk of a product reads."""
    kernel = step.kernel
    if kernel is None or kernel.kind != "contract" or step.rows < 2 or kernel.accesses[1].strides[0]:
        return 0
    return kernel.sizes[-1] * kernel.extra[0] * kernel.accesses[1].dtype.itemsize


def chain_bytes(steps: Sequence[Step], bytes_of: Mapping[int, int]) -> int:
    """Bytes that a chain of kernels hands from one to the next."""
    written = set().union(*(s.writes for s in steps)) & set().union(*(s.reads for s in steps))
    return sum(bytes_of[b] for b in written)


def _chunk_rows(extent: int, chunks: int, unit: int) -> int:
    """Rows of a chunk: balanced, a multiple of `unit`, and whole register tiles where there are enough rows."""
    rows = -(-extent // max(chunks, 1) // unit) * unit
    for tile in (64, 16, 8):
        if rows >= 2 * tile:
            rows = -(-rows // tile) * tile
            break
    return max(1, min(rows, extent))
