"""While a profile is open: programs run on instances whose calls are timed, and what they come from is noted.

The hooks stand in place of a few methods for as long as a profile is open, so that nothing is asked when none is.
"""

from __future__ import annotations

import threading
import weakref
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import runtime
from ..backends.cpu import driver
from ..capture.compiled import Compiled
from ..compiler.plan import CallPlan, Plan
from ..compiler.program import Instance, Program, address
from ..explanation.facts import calls_of
from ..graph.node import Node
from ..lines import describe_line
from ..ops.base import Credit, misuse, mode
from ..ops.control import with_bodies
from .clock import RECORD_WORDS, Clock, functions, new_log

#: chunks and runs that are listed one by one, for the trace file; all of them are counted
LISTED = 1 << 18
#: credits after which those that no profiled node needs are dropped
MAXIMUM_TRAIL = 1 << 14

_EXECUTE, _HOST = Program.execute, Program._host
_ACQUIRE, _RELEASE = Program.acquire, Program.release
_COMPILED, _RUN, _COMPILE = Compiled.execute, runtime.run, runtime.compile_nodes


class Place(NamedTuple):
    """What is kept of a node: `op` and `family` are its primitive's."""

    serial: int
    where: Any
    op: str
    family: str

    @property
    def location(self) -> str:
        return describe_line(self.where)


class Source(NamedTuple):
    """Where the nodes of a plan come from: a place for each serial in it, and the trail of a compiled function."""

    places: dict[int, Place]
    trail: Sequence[Credit] | None


class Span(NamedTuple):
    """One run of a program, or the compiling of one, in seconds since the profile was opened."""

    name: str
    start: float
    stop: float
    thread: int


class Counted:
    """The records of one call of a plan, one in each instance; host calls are counted in `calls` and `seconds`."""

    __slots__ = ("calls", "records", "seconds")

    def __init__(self) -> None:
        self.records: list[np.ndarray] = []
        self.calls = 0
        self.seconds = 0.0


class TimedInstance(Instance):
    """An instance whose calls go through the timing function."""

    def __init__(self, program: Program, recorder: Recorder):
        self.recorder = recorder
        super().__init__(program)
        self.arena.fill(0)  # else the first run would count the system's work of finding the memory

    def entry(self, program: Program, call: CallPlan, words: np.ndarray) -> tuple[int, int]:
        kernel, arguments = super().entry(program, call, words)
        record = np.zeros(2 * RECORD_WORDS, np.int64)
        record = record[-(address(record) // 8) % RECORD_WORDS :][:RECORD_WORDS]  # cache lines of its own
        record[:2] = kernel, arguments
        record[5] = address(self.recorder.log)
        self.words.append(record)
        self.recorder.counted(program.plan, call).records.append(record)
        return functions()["timed"], address(record)


class Recorder:
    """Everything that a profile collects."""

    def __init__(self) -> None:
        functions()
        self.log = new_log(LISTED)
        self.plans: dict[int, Plan] = {}
        self.sources: dict[int, Source] = {}
        self.spans: list[Span] = []
        self.trail: list[Credit] = []
        self.running = self.compiling = 0.0
        self.runs = 0
        self._counted: dict[int, dict[int, Counted]] = {}
        self._idle: weakref.WeakKeyDictionary[Program, list[TimedInstance]] = weakref.WeakKeyDictionary()
        self.given = 0  # instances that a run has at the moment
        self._ranges: list[tuple[int, int]] = []
        self._lock = threading.Lock()
        self.local = threading.local()
        self.clock = Clock()
        self.floor = self._floor()

    def _floor(self) -> int:
        """Ticks that the timing of a call itself adds to it."""
        log, record = new_log(64), np.zeros(RECORD_WORDS, np.int64)
        record[0], record[5] = functions()["nothing"], address(log)
        empty = np.zeros(4, np.int64)
        program = driver.build([(False, [([(functions()["timed"], address(record))], 1, 1)])], (), empty, empty)
        driver.load().run(program.address, 64, 0, 1)
        return int(np.sort(log[16:].reshape(-1, 4)[:, 2] - log[16:].reshape(-1, 4)[:, 1])[16])

    def counted(self, plan: Plan, call: CallPlan) -> Counted:
        """The counters of a call."""
        calls = self._counted.setdefault(id(plan), {})
        self.plans.setdefault(id(plan), plan)
        found = calls.get(id(call))
        if found is None:
            found = calls[id(call)] = Counted()
        return found

    def take(self, program: Program) -> Instance:
        """An instance for a run of `program`."""
        with self._lock:
            self.given += 1
            idle = self._idle.get(program)
            if idle:
                return idle.pop()
        return TimedInstance(program, self)

    def give(self, program: Program, instance: TimedInstance) -> None:
        """`instance` is free again."""
        with self._lock:
            self.given -= 1
            if _open is self:
                self._idle.setdefault(program, []).append(instance)

    def note(self, plan: Plan) -> None:
        """Remember what the nodes of `plan` come from, the first time that it runs."""
        if id(plan) in self.sources:
            return
        source = getattr(self.local, "source", None)
        if source is None:
            return
        if isinstance(source, Compiled):
            order, trail = source.order, source.trail
        else:
            order, trail = source, None
        places = {
            serial: Place(node.serial, node.where, node.op.name, node.op.family)
            for serial, node in zip(plan.serials, with_bodies(order))
        }
        self.plans[id(plan)] = plan
        self.sources[id(plan)] = Source(places, trail)
        if trail is None and places:
            serials = [place.serial for place in places.values()]
            self._ranges.append((min(serials), max(serials)))
            self._prune()

    def _prune(self) -> None:
        """Drop credits that no profiled node needs, when many have gathered."""
        if len(self.trail) < MAXIMUM_TRAIL:
            return
        recent = self.trail[-MAXIMUM_TRAIL // 4 :]
        self.trail[:] = [*self.needed(self.trail[: -MAXIMUM_TRAIL // 4]), *recent]

    def needed(self, trail: Sequence[Credit]) -> list[Credit]:
        """The credits for nodes of programs that ran."""
        serials = sorted(p.serial for s in self.sources.values() if s.trail is None for p in s.places.values())

        def used(credit: Credit) -> bool:
            place = bisect_left(serials, credit.first + 1)
            return place < len(serials) and serials[place] <= credit.last

        return [credit for credit in trail if used(credit)]

    def span(self, name: str, start: float, stop: float) -> None:
        """List a run."""
        if len(self.spans) < LISTED:
            self.spans.append(Span(name, start, stop, threading.get_ident()))

    def close(self) -> None:
        """Free the memory of the instances; keep the counters."""
        self.clock.stop()
        with self._lock:
            self._idle.clear()


_open: Recorder | None = None
_guard = threading.Lock()


def _acquire(program: Program) -> Instance:
    recorder = _open
    return _ACQUIRE(program) if recorder is None else recorder.take(program)


def _release(program: Program, instance: Instance) -> None:
    if not isinstance(instance, TimedInstance):
        _RELEASE(program, instance)
        return
    instance.recorder.give(program, instance)
    with _guard:
        if _open is None and not instance.recorder.given:  # the last one of a profile that was closed before
            Program.release = _RELEASE  # type: ignore[method-assign]


def _execute(program: Program, instance: Instance, leaves: Any, outputs: Any, steps: int) -> int:
    recorder = _open
    if recorder is None:
        return _EXECUTE(program, instance, leaves, outputs, steps)
    recorder.note(program.plan)
    start = recorder.clock.now()
    try:
        return _EXECUTE(program, instance, leaves, outputs, steps)
    finally:
        stop = recorder.clock.now()
        recorder.running += stop - start
        recorder.runs += 1
        recorder.span("run" if steps == 1 else f"run {steps} steps", start, stop)


def _host(program: Program, call: tuple, instance: Instance, leaves: Any, outputs: Any) -> None:
    recorder = _open
    if recorder is None:
        _HOST(program, call, instance, leaves, outputs)
    else:
        start = recorder.clock.now()
        _HOST(program, call, instance, leaves, outputs)
        stop = recorder.clock.now()
        found = next(c for _, _, c in calls_of(program.plan) if c.host is call)
        counted = recorder.counted(program.plan, found)
        counted.calls += 1
        counted.seconds += stop - start
        recorder.span(found.label, start, stop)


def _compiled(entry: Compiled, *args: Any, **kwargs: Any) -> Any:
    return _sourced(entry, _COMPILED, entry, *args, **kwargs)


def _run(order: Sequence[Node], outputs: Sequence[Node]) -> Any:
    return _sourced(order, _RUN, order, outputs)


def _sourced(source: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
    recorder = _open
    if recorder is None:
        return function(*args, **kwargs)
    before = getattr(recorder.local, "source", None)
    recorder.local.source = source
    try:
        return function(*args, **kwargs)
    finally:
        recorder.local.source = before


def _compile(*args: Any, **kwargs: Any) -> Any:
    recorder = _open
    if recorder is None:
        return _COMPILE(*args, **kwargs)
    start = recorder.clock.now()
    try:
        return _COMPILE(*args, **kwargs)
    finally:
        stop = recorder.clock.now()
        recorder.compiling += stop - start
        recorder.span("compile", start, stop)


_HOOKS: tuple[tuple[Any, str, Any, Any], ...] = (
    (Program, "acquire", _acquire, _ACQUIRE),
    (Program, "release", _release, _RELEASE),
    (Program, "execute", _execute, _EXECUTE),
    (Program, "_host", _host, _HOST),
    (Compiled, "execute", _compiled, _COMPILED),
    (runtime, "run", _run, _RUN),
    (runtime, "compile_nodes", _compile, _COMPILE),
)


def start() -> Recorder:
    """Open a profile. Raises ConfigError if one is open."""
    global _open
    recorder = Recorder()
    with _guard:
        if _open is not None:
            raise misuse("profile: another profile is open; close it first, or read that one")
        _open = recorder
        for owner, name, hook, _ in _HOOKS:
            setattr(owner, name, hook)
    if mode.trail is None:
        mode.trail = recorder.trail
    return recorder


def stop(recorder: Recorder) -> None:
    """Close a profile."""
    global _open
    with _guard:
        for owner, name, _, original in _HOOKS:
            if name != "release" or not recorder.given:  # else a run on another thread has yet to give one back
                setattr(owner, name, original)
        _open = None
    if mode.trail is recorder.trail:
        mode.trail = None
    recorder.close()
