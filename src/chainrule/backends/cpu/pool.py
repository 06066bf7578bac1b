"""Threads for native programs: workers that share the chunks of parallel regions with the thread that runs a program.

Workers are daemon Python threads inside a native loop, without the interpreter lock. They poll for a bounded time and
then return to Python, where they sleep on an ordinary lock, so that nothing here depends on the operating system. One
that has to wait for the interpreter lock, because a run was being prepared, and finds that run begun goes back at once.

**Sharing a region.** Every thread of a run has a slot with the word ``claim = {epoch:32, remaining:32}``. The caller
deals the chunks out, a contiguous range to each slot, and raises the slots' epochs. A thread claims the next chunk of
a slot by one compare-and-swap, first in its own slot (the same rows meet the same core in every region), then in the
others'. A swap succeeds only within the epoch that was read, so that a delayed thread can never take a chunk of a
later region. Each worker subtracts what it ran from ``pending`` and the caller waits until only its own chunks are
missing: nothing ever waits for a worker that has claimed nothing, be it asleep, delayed or dead. (An epoch number
comes back after 2^32 regions; a thread would have to be stopped exactly that long between two instructions.) So
chunks are dealt to workers that are only waking up, too, if a region takes so long (50 us) that they come in time.

**Retreat.** A worker whose core is taken by another process in the middle of a chunk does hold the caller up. When
the caller has waited longer than the patience (300 us, plus twice the average time of its own chunks) and the region
took half as long again as it does at best, it dismisses the workers and goes on alone for 2 ms, and for twice as long
at each further time, up to 64 ms; a calm period of eight times the pause resets it.

Control block, in int64 words (`driver_ir` has the numbers): ``BUSY`` (1 while a run holds the pool), ``RUNNING``
(number of runs), ``PENDING``, ``THREADS`` (slots in use), ``STOP`` (interpreter exit), ``DISMISSED``,
``BACKOFF_UNTIL`` and ``BACKOFF_TICKS`` (end and next length of the pause), counters, settings in clock ticks, and from
word ``SLOTS`` one slot per thread: ``CLAIM``, ``END`` (one past its last chunk), ``REGION``, ``PROGRAM``, ``AWAKE``.
Slot 0 is the caller's.

Several Python threads may run programs at once: one gets the pool, the others work alone, with the same results.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
import threading
import time

import numpy as np

from ... import config
from ...errors import ConfigError
from . import driver_ir as ir
from . import toolchain
from .driver import Driver, load

#: Upper bound on threads: slots in a control block.
MAX_THREADS = 256

# Times in microseconds.
BLOCK = 50_000  # one native call, so that Python handles Ctrl-C in between
IDLE = 2_000  # a worker polls this long when nothing runs
ACTIVE = 20_000  # and this long while a program is running
YIELD_AFTER = 50  # then it offers its core to others between polls
PATIENCE = 300
WORTH = 500  # sleeping workers are woken for a run that takes longer, or if the last run ended less than IDLE ago
BACKOFF_FIRST = 2_000
BACKOFF_LAST = 64_000

#: what a long loop calls to let signals be handled, in the order of the control block's words
_PYTHON = (
    ctypes.pythonapi.PyGILState_Ensure, ctypes.pythonapi.PyErr_CheckSignals,
    ctypes.pythonapi.PyErr_Clear, ctypes.pythonapi.PyGILState_Release,
)  # fmt: skip


def _yield_function() -> int:
    """Address of the system's "let another thread have this core", or 0."""
    try:
        if sys.platform == "win32":
            function = ctypes.WinDLL("kernel32").SwitchToThread
        else:
            function = ctypes.CDLL(None).sched_yield
    except (AttributeError, OSError):
        return 0
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _ticks_per_microsecond(driver: Driver) -> float:
    """Rate of the processor's counter, measured against the system's clock for about 0.2 ms."""
    ticks, clock = driver.ticks, time.perf_counter_ns
    start_ticks, start = ticks(), clock()
    while clock() - start < 200_000:
        pass
    return (ticks() - start_ticks) * 1e3 / (clock() - start)


class _Worker:
    """One worker thread: in the native loop, or asleep on its lock."""

    __slots__ = ("bed", "index", "thread")

    def __init__(self, pool: Pool, index: int):
        self.index = index
        self.bed = threading.Lock()  # held while asleep; whoever takes the worker off the sleepers' list releases it
        self.bed.acquire()
        self.thread = threading.Thread(target=self._work, args=(pool, pool._control), name=f"chainrule-{index}")
        self.thread.daemon = True
        self.thread.start()

    def _work(self, pool: Pool, control: int) -> None:
        native = pool._driver.worker
        while pool._keeps(self):
            idle = native(control, self.index)
            if idle and pool._words[ir.BUSY] and not pool._words[ir.DISMISSED]:
                continue  # a run began, which found no sleeper, while this thread waited for the interpreter's lock
            pool._sleepers.append(self)
            self.bed.acquire()


class Pool:
    """Runs native programs on up to ``num_threads`` threads, the calling one included.

    Args:
        num_threads: by default ``CHAINRULE_NUM_THREADS`` or the cores that this process may use.
    """

    def __init__(self, num_threads: int | None = None):
        self._driver = load()
        self._run = self._driver.run
        self._clock = ir.has_clock(toolchain.host().architecture)
        self._rate = max(_ticks_per_microsecond(self._driver), 1e-3) if self._clock else 1.0
        self._num_threads = 1
        self._guard = threading.Lock()
        self._exiting = 0
        self._reset()
        self.set_num_threads(config.num_threads() if num_threads is None else num_threads)
        atexit.register(self._stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=lambda: self._guard.acquire(),
                after_in_parent=lambda: self._guard.release(),
                after_in_child=self._reset,
            )

    def _reset(self) -> None:
        """A fresh control block and no workers: at the start, and in a forked child, which has none of the threads."""
        words = np.zeros(ir.SLOTS + ir.SLOT_WORDS * MAX_THREADS + 16, np.int64)
        # A worker may read the block until the process is gone: it is never freed, not even at interpreter exit.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(words))
        words = words[-(words.ctypes.data // 8) % 16 :]  # from a multiple of 128 bytes
        for word, microseconds in (
            (ir.BLOCK_TICKS, BLOCK),
            (ir.IDLE_TICKS, IDLE),
            (ir.ACTIVE_TICKS, ACTIVE),
            (ir.YIELD_TICKS, YIELD_AFTER),
            (ir.PATIENCE_TICKS, PATIENCE),
            (ir.WORTH_TICKS, WORTH),
            (ir.BACKOFF_MIN, BACKOFF_FIRST),
            (ir.BACKOFF_MAX, BACKOFF_LAST),
            (ir.BACKOFF_TICKS, BACKOFF_FIRST),
        ):
            words[word] = int(microseconds * self._rate)
        if not self._clock:
            words[ir.BLOCK_TICKS] = -1  # after each step
        words[ir.YIELD_FUNCTION] = _yield_function()
        for word, function in zip(range(ir.ENSURE_FUNCTION, ir.RELEASE_FUNCTION + 1), _PYTHON):
            words[word] = ctypes.cast(function, ctypes.c_void_p).value or 0
        self._words = words
        self._control = int(words.ctypes.data)
        self._guard = threading.Lock()
        self._workers: dict[int, _Worker] = {}
        self._sleepers: list[_Worker] = []

    def get_num_threads(self) -> int:
        """Threads that a program may use, the calling one included."""
        return self._num_threads

    def set_num_threads(self, num_threads: int) -> None:
        """Let programs use ``num_threads`` threads, the calling one included. Workers start with the first need.

        Raises:
            ConfigError: the number is not an int from 1 to 256.
        """
        if not isinstance(num_threads, int) or isinstance(num_threads, bool) or not 1 <= num_threads <= MAX_THREADS:
            raise ConfigError(f"num_threads must be a whole number from 1 to {MAX_THREADS}, not {num_threads!r}")
        with self._guard:
            self._num_threads = num_threads if self._clock else 1
        self._wake()  # superfluous workers end

    def _keeps(self, worker: _Worker) -> bool:
        """Whether the worker goes on; it is struck off otherwise."""
        with self._guard:
            if self._workers.get(worker.index) is not worker:
                return False
            if worker.index < self._num_threads and not self._words[ir.STOP]:
                return True
            del self._workers[worker.index]
            return False

    def _start(self) -> None:
        """Start the missing workers."""
        with self._guard:
            for index in range(1, self._num_threads):
                if index not in self._workers and not self._words[ir.STOP]:
                    try:
                        # The thread waits in `_keeps` for the guard until it is in the table.
                        self._workers[index] = _Worker(self, index)
                    except RuntimeError:
                        return  # no more threads to be had, or the interpreter is exiting: fewer workers do as well

    def _wake(self) -> None:
        sleepers = self._sleepers
        while True:
            try:
                worker = sleepers.pop()
            except IndexError:
                return
            worker.bed.release()

    def execute(self, program: int, num_steps: int = 1, parallel: bool = False) -> int:
        """Run steps of a program and give how many were run: fewer than ``num_steps`` only if its status became set.

        Ctrl-C is handled between native calls of at most about 50 ms (or one step); the program is then at the
        boundary between two steps, and its ``completed`` word tells which.

        Args:
            program: address of a Program structure (`driver`).
            num_steps: steps to run.
            parallel: whether the program has parallel regions.
        """
        threads = self._num_threads if parallel else 1
        if threads > 1:
            if len(self._workers) + 1 < threads:
                self._start()
        elif num_steps == 1 and self._run(program, 1, self._control, 1):
            return 1
        done = 0
        while done < num_steps:
            if threads > 1 and self._sleepers and self._driver.invite(self._control, program, num_steps - done):
                self._wake()
            steps = self._run(program, num_steps - done, self._control, threads)
            if steps == 0:
                if self._exiting:
                    steps = self._run_at_exit(program, num_steps - done)
                if steps == 0:
                    break
            done += steps
        return done

    def statistics(self) -> dict[str, int]:
        """Counters for tests and benchmarks: regions of which workers ran a part, and late joins."""
        return {"shared": int(self._words[ir.SHARED_REGIONS]), "late": int(self._words[ir.LATE_JOINS])}

    def _stop(self) -> None:
        """At interpreter exit: end the workers, and hold daemon threads that run programs at the end of their step.

        The interpreter is about to free the arrays that they work on. A step that takes longer than ten seconds is
        not waited for.
        """
        self._exiting = threading.get_ident()
        self._words[ir.STOP] = 1
        workers = list(self._workers.values())
        self._wake()
        deadline = time.monotonic() + 10
        while self._words[ir.RUNNING] > 0 and time.monotonic() < deadline:
            time.sleep(0.0002)
        deadline = time.monotonic() + 0.1
        for worker in workers:
            worker.thread.join(max(0.0, deadline - time.monotonic()))

    def _run_at_exit(self, program: int, num_steps: int) -> int:
        """What a run becomes after `_stop`: it goes on alone in the exiting thread, and never in any other."""
        if threading.get_ident() != self._exiting:
            threading.Event().wait()
        return self._run(program, num_steps, 0, 1)


_pool: Pool | None = None
_pool_guard = threading.RLock()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_pool_guard.acquire, after_in_parent=_pool_guard.release, after_in_child=_pool_guard.release
    )


def pool() -> Pool:
    """The process's pool, made on first use."""
    global _pool
    if _pool is None:
        with _pool_guard:
            if _pool is None:
                _pool = Pool()
    return _pool
