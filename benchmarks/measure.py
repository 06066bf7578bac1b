"""Sides in processes of their own, blocks of steps in turn, and the tables that benchmarks print."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import statistics
import time
import traceback
from dataclasses import dataclass, field

from . import reference
from .peak import MultiplyAdds
from .workloads import Workload

#: seconds that one block of steps should take, its least number of steps, and the pause after it in which idle
#: threads fall asleep
BLOCK, FEWEST, PAUSE = 0.08, 4, 0.005
#: first losses that are checked
CHECKED = 6
#: a peer's candidate that is this many times slower than its side's best is not timed further
HOPELESS = 4.0
#: seconds that the first steps of a scan may take, compilation included: convolutions in loops of JAX take minutes
PATIENCE = 40.0


@dataclass
class Timing:
    """Microseconds per step of one candidate: a figure a block."""

    name: str
    blocks: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.blocks)

    @property
    def best(self) -> float:
        return min(self.blocks)


def _seconds(candidate, steps: int) -> float:
    start = time.perf_counter()
    done = candidate.run(steps)
    return (time.perf_counter() - start) / done


def _serve(module: str, workload: Workload, threads: int, expected, pipe) -> None:
    """The child process: builds the candidates, checks their losses, then times a block whenever it is told to."""
    try:
        if module == "jax_side":
            os.environ.setdefault("JAX_PLATFORMS", "cpu")
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
        side = importlib.import_module(f"benchmarks.sides.{module}")
        candidates = side.candidates(workload, threads)
        seconds = {}
        for candidate in candidates:
            start = time.perf_counter()
            reference.check(workload, candidate.check(CHECKED), expected, candidate.name)
            first = time.perf_counter() - start
            if candidate.smallest > 1 and first > PATIENCE:
                seconds[candidate.name] = first / candidate.smallest
                continue
            candidate.run(1)
            seconds[candidate.name] = min(_seconds(candidate, 1) for _ in range(3))
        least = min(seconds.values())
        slow = {} if module == "ours" else {n: s * 1e6 for n, s in seconds.items() if s > HOPELESS * least}
        candidates = [c for c in candidates if c.name not in slow]
        pipe.send(([c.name for c in candidates], slow))
        while True:
            index, steps = pipe.recv()
            candidates[index].run(1)  # threads wake, caches fill, memory that the system took comes back
            pipe.send(_seconds(candidates[index], steps))
    except EOFError:
        return
    except BaseException as error:
        pipe.send(error if isinstance(error, SystemExit) else traceback.format_exc())


class Side:
    """One system on one workload with one number of threads, in its own process.

    `expected` are the first losses, or None. `left_out` are candidates that are too slow to be timed, with the
    microseconds of a step.
    """

    def __init__(self, module: str, workload: Workload, threads: int, expected):
        context = multiprocessing.get_context("spawn")
        self.pipe, child = context.Pipe()
        self.process = context.Process(target=_serve, args=(module, workload, threads, expected, child), daemon=True)
        self.process.start()
        child.close()
        names, self.left_out = self._receive()
        self.timings = [Timing(name) for name in names]
        self.steps = [self._calibrate(i) for i in range(len(self.timings))]

    def _receive(self):
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise SystemExit("a benchmark process ended without an answer") from None
        if isinstance(answer, SystemExit):
            raise answer
        if isinstance(answer, str):
            raise SystemExit(answer)
        return answer

    def time(self, index: int, steps: int) -> float:
        """Seconds per step of one block."""
        self.pipe.send((index, steps))
        return self._receive()

    def _calibrate(self, index: int) -> int:
        steps = 1
        for _ in range(4):
            steps = max(FEWEST, min(round(BLOCK / self.time(index, steps)), steps * 50))
        return steps

    def block(self, index: int) -> None:
        self.timings[index].blocks.append(self.time(index, self.steps[index]) * 1e6)
        time.sleep(PAUSE)

    def close(self) -> None:
        self.pipe.close()
        self.process.join(10)


class PeakSide:
    """The machine's fused multiply-adds as one more side: its timing is of 1e9 operations on `threads` threads."""

    def __init__(self, threads: int):
        self.work = MultiplyAdds(threads)
        self.timings = [Timing("peak")]
        self.iterations = 1000
        for _ in range(4):
            self.iterations = round(self.iterations * min(50.0, BLOCK / self.work.seconds(self.iterations)))

    def block(self, index: int) -> None:
        seconds = self.work.seconds(self.iterations)
        self.timings[index].blocks.append(seconds * 1e15 / (self.work.flops * self.iterations))
        time.sleep(PAUSE)

    def close(self) -> None:
        """Nothing is kept."""


def interleave(sides: list[Side | PeakSide], rounds: int) -> list[Timing]:
    """Time every candidate of every side `rounds` times, in turn, starting elsewhere each round."""
    turns = [(side, i) for side in sides for i in range(len(side.timings))]
    for number in range(rounds):
        shift = number % len(turns)
        for side, index in turns[shift:] + turns[:shift]:
            side.block(index)
    return [timing for side in sides for timing in side.timings]


def microseconds(value: float) -> str:
    """Three significant digits with a unit."""
    for limit, scale, unit in ((1e3, 1, "us"), (1e6, 1e3, "ms")):
        if value < limit:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e6:.3g} s"


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table with aligned columns."""
    widths = [max(len(str(row[i])) for row in [columns, *rows]) for i in range(len(columns))]
    print(f"\n{title}")
    for row in [columns, ["-" * w for w in widths], *rows]:
        print("  " + "  ".join(str(cell).ljust(w) for cell, w in zip(row, widths)).rstrip())


def users_environment(**given: str) -> dict[str, str]:
    """The variables of a process as users start one, whose Python keeps the bytecode of modules; and those given."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **given}


def resident_bytes() -> int:
    """Memory of this process that is in use now, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
