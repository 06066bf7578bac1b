"""The native side of the profiler: a function that the driver calls in place of a kernel and that times it.

A timed call is a call like any other: its function is `timed` and its argument a *record*, which names the kernel. The
driver is the same, and programs that are not profiled know nothing of it.

Record, in int64 words: 0 the kernel, 1 its arguments, 2 calls (chunks that begin at row 0), 3 chunks, 4 ticks, 5 the
log. Counters are added to atomically, so that threads that share a region add up.

Log, in int64 words: 0 chunks written so far, 1 for how many there is room, and from word 16 on four words for each
chunk: its record, start and end in ticks, and an address on the stack, which tells threads apart.
"""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache

import numpy as np

from ..backends.cpu import driver, driver_ir, toolchain
from ..compiler import cache
from ..compiler.code import prepare
from ..ops.base import misuse

RECORD_WORDS = 16
LOG_HEAD, LOG_WORDS = 16, 4

_SOURCE = """
declare i64 @llvm.readcyclecounter()

define void @timed(ptr %ptrs, ptr %record, i64 %lo, i64 %hi) {
entry:
  %here = alloca i64
  %kernel = load ptr, ptr %record
  %args.at = getelementptr i64, ptr %record, i64 1
  %args = load ptr, ptr %args.at
  %start = call i64 @llvm.readcyclecounter()
  call void %kernel(ptr %ptrs, ptr %args, i64 %lo, i64 %hi)
  %stop = call i64 @llvm.readcyclecounter()
  %took = sub i64 %stop, %start
  %calls.at = getelementptr i64, ptr %record, i64 2
  %chunks.at = getelementptr i64, ptr %record, i64 3
  %ticks.at = getelementptr i64, ptr %record, i64 4
  %log.at = getelementptr i64, ptr %record, i64 5
  %is.first = icmp eq i64 %lo, 0
  %first = zext i1 %is.first to i64
  %calls = atomicrmw add ptr %calls.at, i64 %first monotonic
  %chunks = atomicrmw add ptr %chunks.at, i64 1 monotonic
  %ticks = atomicrmw add ptr %ticks.at, i64 %took monotonic
  %log = load ptr, ptr %log.at
  %slot = atomicrmw add ptr %log, i64 1 monotonic
  %room.at = getelementptr i64, ptr %log, i64 1
  %room = load i64, ptr %room.at
  %fits = icmp ult i64 %slot, %room
  br i1 %fits, label %note, label %exit
note:
  %offset = mul i64 %slot, 4
  %entries = getelementptr i64, ptr %log, i64 16
  %at.0 = getelementptr i64, ptr %entries, i64 %offset
  %at.1 = getelementptr i64, ptr %at.0, i64 1
  %at.2 = getelementptr i64, ptr %at.0, i64 2
  %at.3 = getelementptr i64, ptr %at.0, i64 3
  %number = ptrtoint ptr %record to i64
  %thread = ptrtoint ptr %here to i64
  store i64 %number, ptr %at.0
  store i64 %start, ptr %at.1
  store i64 %stop, ptr %at.2
  store i64 %thread, ptr %at.3
  br label %exit
exit:
  ret void
}

define void @nothing(ptr %ptrs, ptr %args, i64 %lo, i64 %hi) {
  ret void
}
"""


@lru_cache(maxsize=1)
def functions() -> dict[str, int]:
    """Addresses of ``timed`` and of ``nothing``, a kernel that does nothing."""
    if not driver_ir.has_clock(toolchain.host().architecture):
        raise misuse("profile: this processor has no counter that programs can read")
    prepare()
    entry = hashlib.sha256(_SOURCE.encode()).hexdigest()
    code = cache.read(entry)
    if code is None:
        code = toolchain.compile_ir(_SOURCE)
        cache.write(entry, code)
    return toolchain.load(code, ("timed", "nothing"))


def new_log(room: int) -> np.ndarray:
    """A log with room for so many chunks; beyond it chunks are counted but not listed."""
    log = np.zeros(LOG_HEAD + LOG_WORDS * room, np.int64)
    log[1] = room
    return log


class Clock:
    """Ticks of the processor's counter as seconds since the clock was made."""

    def __init__(self) -> None:
        self._ticks = driver.load().ticks
        self._start = self._ticks(), time.perf_counter_ns()
        while time.perf_counter_ns() - self._start[1] < 200_000:
            pass
        self.stop()

    def stop(self) -> None:
        """Measure the rate over all the time since the start."""
        ticks, now = self._ticks(), time.perf_counter_ns()
        self.rate = max(ticks - self._start[0], 1) * 1e9 / (now - self._start[1])

    def seconds(self, ticks: float) -> float:
        """The length of an interval."""
        return ticks / self.rate

    def when(self, ticks: int) -> float:
        """The time since the start."""
        return (ticks - self._start[0]) / self.rate

    def now(self) -> float:
        """The time since the start, now."""
        return (time.perf_counter_ns() - self._start[1]) / 1e9
