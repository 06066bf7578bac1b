"""The native program driver: LLVM IR that runs whole programs, step by step and region by region, without Python.

A compiled program is data. Everything is an array of int64 words (pointers are addresses), so that Python builds it
with NumPy; see `build`. ``*`` marks an address.

========  =======================================================================================================
Kernel    ``void fn(ptr ptrs, ptr args, i64 lo, i64 hi)``: work items ``lo <= i < hi``. ``ptrs`` is the program's
          table of buffer addresses, ``args`` belongs to the call.
Call      0 ``fn*``, 1 ``args*``
Task      0 ``calls*``, 1 ``num_calls``, 2 ``extent``, 3 ``chunk``, 4 ``num_chunks`` (= ceil(extent / chunk));
          chunk ``c`` runs every call, in order, with ``lo = c*chunk``, ``hi = min(extent, (c+1)*chunk)``
Region    0 ``tasks*``, 1 ``num_tasks``, 2 ``total_chunks`` (sum over the tasks), 3 ``parallel`` (0 or 1),
          4 ``best`` (start with 0: the driver keeps the best time of the shared region here); chunks of a parallel
          region must not depend on each other. For a loop 0 is ``loop*`` and 3 is 2. 5 is ``loop*`` if each chunk runs
          all iterations of a loop before the thread claims another: of one region, whose tasks these are; else 0
Loop      0 ``count``, 1 ``regions*``, 2 ``num_regions``, 3 ``starts*``, 4 ``num_starts``, 5 ``moves*``,
          6 ``num_moves``, 7 ``polls`` (0 or 1), 8 ``entry``, 9 ``number``, 10 how many entries ``ptrs`` has. A start or
          move is ``entry``, ``source``, ``bytes``: ``ptrs[entry] = ptrs[source] + bytes``, in order, before the loop
          and after each iteration. A loop that polls lets Python handle signals from time to time, and if a handler
          raises, the step ends with status -1. Unless word 8 is negative there is a condition, read before each
          iteration by the thread that runs the program, when all others have finished the one before: the byte at
          ``ptrs[entry]`` is not 0 if ``number`` is negative, else the word there is ``number``
Advance   0 ``ptr_index``, 1 ``stride_bytes``: after each step ``ptrs[ptr_index] += stride_bytes``
Program   0 ``regions*``, 1 ``num_regions``, 2 ``advances*``, 3 ``num_advances``, 4 ``ptrs*``, 5 ``status*``,
          6 ``completed``, 7 ``step_ticks`` (both start with 0 and are the driver's). ``completed`` counts the steps
          that were run since the program was built, also when Ctrl-C interrupted Python; ``step_ticks`` is the time
          of a step in the last run on several threads. A program must not be run by two threads at once.
========  =======================================================================================================

``i64 run(Program*, i64 num_steps, Control*, i64 num_threads)`` gives the number of steps it ran. A step runs the
regions in order and then advances the pointers. The run ends early if ``status[0]`` is not
0 (before the next task or region; the step does not count, and nothing runs until the status is reset), or when the
time for one block is over.
With a null control block everything runs on the calling thread. The control block, the work-sharing protocol and the
workers are described in `pool`.

Kernels run with the default floating-point environment (round to nearest, subnormal numbers kept, no traps); the
caller's is restored.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from . import driver_ir, toolchain

_ENTRY_POINTS = ("run", "worker", "invite", "ticks")


def compile_driver() -> bytes:
    """Object code of the driver for this machine; may be kept in the disk cache and given to `load`."""
    return toolchain.compile_ir(driver_ir.text(toolchain.host().architecture))


@dataclass(frozen=True)
class Driver:
    """The loaded entry points as ctypes functions of plain ints; they release the interpreter lock while they run.

    Attributes:
        run: ``(program, num_steps, control, num_threads) -> steps``; see the module's description.
        worker: ``(control, index)``: returns after a bounded time without work, 1 if no program was running.
        invite: ``(control, program, num_steps) -> 1`` if sleeping workers should be woken for that run.
        ticks: ``() -> time`` in units of the processor's counter.
    """

    run: Callable[[int, int, int, int], int]
    worker: Callable[[int, int], int]
    invite: Callable[[int, int, int], int]
    ticks: Callable[[], int]


_driver: Driver | None = None


def loaded() -> bool:
    """Whether this process has a driver already."""
    return _driver is not None


def load(code: bytes | None = None) -> Driver:
    """The driver of this process, loaded once: from ``code`` if given and nothing is loaded yet, else compiled."""
    global _driver
    if _driver is None:
        addresses = toolchain.load(compile_driver() if code is None else code, _ENTRY_POINTS)
        word = ctypes.c_int64
        _driver = Driver(
            run=ctypes.CFUNCTYPE(word, word, word, word, word)(addresses["run"]),
            worker=ctypes.CFUNCTYPE(word, word, word)(addresses["worker"]),
            invite=ctypes.CFUNCTYPE(word, word, word, word)(addresses["invite"]),
            ticks=ctypes.CFUNCTYPE(word)(addresses["ticks"]),
        )
    return _driver


#: One task for `build`: ``([(function address, argument address), ...], extent, chunk)``.
TaskSpec = tuple[Sequence[tuple[int, int]], int, int]
#: words of a region; its word ``parallel`` if it is a loop
REGION, LOOP = 6, 2
#: the condition of a loop that has none
ALWAYS = (-1, 0)


class Loop(NamedTuple):
    """A region that runs others `times` times; `starts` and `moves` are triples ``(entry, source, bytes)``.

    `polls`: whether a signal may end it, which leaves the step half done. `when`: the entry and number of a condition.
    `apart`: whether chunks of its only region, which is parallel, go through all iterations by themselves.
    """

    times: int
    regions: Sequence[Any]
    starts: Sequence[tuple[int, int, int]]
    moves: Sequence[tuple[int, int, int]]
    polls: bool = False
    when: tuple[int, int] = ALWAYS
    apart: bool = False


Region = tuple[bool, Sequence[TaskSpec]] | Loop


class Program:
    """A program in memory: one int64 array holding every structure.

    Attributes:
        words: the array; words 0..7 are the Program structure. It must outlive every run.
        address: what `Driver.run` and `pool.Pool.execute` take.
        parallel: whether any region may be shared between threads.
    """

    __slots__ = ("address", "parallel", "words")

    def __init__(self, words: np.ndarray, parallel: bool):
        self.words = words
        self.address = int(words.ctypes.data)
        self.parallel = parallel

    @property
    def completed(self) -> int:
        """Steps run since the program was built, also those of a run that Ctrl-C interrupted."""
        return int(self.words[6])


def build(
    regions: Sequence[Region],
    advances: Sequence[tuple[int, int]],
    ptrs: np.ndarray,
    status: np.ndarray,
) -> Program:
    """Lay a program out as int64 words.

    Args:
        regions: in order, ``(parallel, tasks)`` or a `Loop`; a task is ``(calls, extent, chunk)`` with ``chunk >= 1``.
        advances: pairs ``(index into ptrs, stride in bytes)``.
        ptrs, status: int64 arrays that the program reads and writes in place; kept by the caller.
    """
    layout = _Layout(len(ptrs))
    layout.words = [0] * 8
    first, parallel = layout.regions(regions)
    moved = layout.add([word for advance in advances for word in advance])
    words = np.array(layout.words, np.int64)
    base = int(words.ctypes.data)
    for place in layout.pointers:
        words[place] = base + 8 * words[place]
    words[:6] = (base + 8 * first, len(regions), base + 8 * moved, len(advances), ptrs.ctypes.data, status.ctypes.data)
    return Program(words, parallel)


class _Layout:
    """Words of a program; those in `pointers` are positions, to be made addresses."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.words: list[int] = []
        self.pointers: list[int] = []

    def add(self, words: Sequence[int]) -> int:
        """Append words; gives the position of the first."""
        place = len(self.words)
        self.words += words
        return place

    def regions(self, regions: Sequence[Region]) -> tuple[int, bool]:
        """Append regions and all that they hold; gives the position of the first, and whether any is shared."""
        first = self.add([0] * (REGION * len(regions)))
        shared = False
        for place, region in zip(range(first, first + REGION * len(regions), REGION), regions):
            self.pointers.append(place)
            if not isinstance(region, Loop):
                shared = self._tasks(place, *region) or shared
            elif region.apart:
                ((parallel, tasks),) = region.regions
                shared = self._tasks(place, parallel, tasks) or shared
                self.pointers.append(place + 5)
                self.words[place + 5] = self._loop(region, 0)
            else:
                inside, some = self.regions(region.regions)
                self.words[place : place + 4] = [self._loop(region, inside), 0, 0, LOOP]
                shared = shared or some
        return first, shared

    def _loop(self, loop: Loop, inside: int) -> int:
        """Append a loop over regions at a place; gives its position."""
        starts = self.add([word for move in loop.starts for word in move])
        moves = self.add([word for move in loop.moves for word in move])
        counts = (len(loop.regions), len(loop.starts), len(loop.moves))
        place = self.add(
            [loop.times, inside, counts[0], starts, counts[1], moves, counts[2], int(loop.polls)]
            + [*loop.when, self.entries]
        )
        self.pointers += [place + 1, place + 3, place + 5]
        return place

    def _tasks(self, place: int, parallel: bool, tasks: Sequence[TaskSpec]) -> bool:
        """Append the tasks of the region at a place; gives whether they are shared."""
        at = self.add([0] * (5 * len(tasks)))
        total = 0
        for number, (calls, extent, chunk) in enumerate(tasks):
            task = at + 5 * number
            num_chunks = -(-extent // chunk)
            self.pointers.append(task)
            listed = self.add([word for call in calls for word in call])
            self.words[task : task + 5] = [listed, len(calls), extent, chunk, num_chunks]
            total += num_chunks
        self.words[place : place + 4] = [at, len(tasks), total, int(parallel)]
        return parallel
