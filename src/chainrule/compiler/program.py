"""`Program`: a plan bound to machine code and memory, ready to run."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..alignment import ALIGNMENT, aligned_empty
from ..backends.cpu import driver
from ..backends.cpu.pool import pool
from ..dtypes import as_dtype
from ..errors import IndexOutOfRangeError, SingularMatrixError
from ..memory import require
from .code import addresses_of
from .kernel import FIRST_BUFFER, SCALARS, STATUS
from .plan import CallPlan, LoopPlan, Plan, RegionPlan

#: bytes of memory that programs keep for their next calls, all together, not counting arenas below `LARGE`
IDLE_BYTES, LARGE = 1 << 30, 64 << 10


def address(array: np.ndarray) -> int:
    """Address of the first element."""
    return array.__array_interface__["data"][0]


class HostLoop(NamedTuple):
    """A loop in which an operation runs on the host."""

    plan: LoopPlan
    segments: list[Any]


class Instance:
    """Memory of one running call: arena, pointer table, scalars, status, and the driver's structures."""

    def __init__(self, program: Program):
        plan = program.plan
        count = FIRST_BUFFER + len(plan.buffers) + 64
        count = max([count, *(b.number + 1 for b in plan.buffers)])
        self.table = np.zeros(count, np.int64)
        self.words_of_table = self.table.data  # writes faster than the array
        #: memory of numbers that each call sets, and what all calls keep alive, by leaf; see `Compiled`
        self.lifted: memoryview | None = None
        self.alive: list[Any] = []
        #: arrays for operations on the host, by buffer, each with the address that it has
        self.arrays: dict[int, tuple[int, np.ndarray]] = {}
        self.scalars = np.zeros(max(len(plan.scalars), 1), np.int64)
        self.float_scalars = self.scalars.view(np.float64)
        self.status = np.zeros(4, np.int64)
        require(plan)
        self.arena = np.zeros(plan.arena_bytes + ALIGNMENT, np.uint8)
        base = -(-address(self.arena) // ALIGNMENT) * ALIGNMENT
        self.table[STATUS] = address(self.status)
        self.table[SCALARS] = address(self.scalars)
        for b in plan.buffers:
            if b.kind == "arena" and b.offset >= 0:
                self.table[b.number] = base + b.offset
        self.words: list[np.ndarray] = []
        self.segments = self._segments(plan.regions, program, program.advances)
        self._last = next((s for s in reversed(self.segments) if type(s) is driver.Program), None)

    def _segments(self, regions: Sequence[RegionPlan], program: Program, advances: Sequence[tuple[int, int]]) -> list:
        """Native programs, operations on the host, and loops with such operations inside, in order."""
        found: list[Any] = []
        native: list[RegionPlan] = []
        for region in [*regions, None]:
            if region is not None and not region.hosted:
                native.append(region)
                continue
            if native:
                built = [self._native(r, program) for r in native]
                found.append(driver.build(built, advances, self.table, self.status))
                native = []
            if region is not None and region.loop is not None:
                found.append(HostLoop(region.loop, self._segments(region.loop.regions, program, ())))
            elif region is not None:
                found.append(region.tasks[0].calls[0].host)
        return found

    def entry(self, program: Program, call: CallPlan, words: np.ndarray) -> tuple[int, int]:
        """What the driver is given for a call: the addresses of a function and of its arguments."""
        return program.addresses[call.kernel], address(words)

    def _native(self, region: RegionPlan, program: Program) -> driver.Region:
        """What the driver is told of a region."""
        loop = region.loop
        if loop is not None:
            inside = [self._native(inner, program) for inner in loop.regions]
            when = loop.when or driver.ALWAYS
            return driver.Loop(loop.count, inside, loop.starts, loop.moves, loop.polls, when, loop.apart)
        tasks = []
        for task in region.tasks:
            calls = []
            for call in task.calls:
                words = np.array(call.arguments, np.int64)
                self.words.append(words)
                calls.append(self.entry(program, call, words))
            tasks.append((calls, task.extent, task.chunk))
        return region.parallel, tasks

    def holds(self, when: tuple[int, int] | None) -> bool:
        """Whether a loop may go on, or a branch run: see `repeat`."""
        if when is None:
            return True
        place = int(self.table[when[0]])
        if when[1] < 0:
            return ctypes.c_int8.from_address(place).value != 0
        return ctypes.c_int64.from_address(place).value == when[1]

    def completed(self) -> int:
        """Steps that the last native segment has run so far."""
        return 0 if self._last is None else self._last.completed

    def set_scalars(self, values: Sequence[Any], dtypes: Sequence[bool]) -> None:
        """Fill the block of lifted scalars; `dtypes` says which are floating."""
        for number, (value, floating) in enumerate(zip(values, dtypes)):
            if floating:
                self.float_scalars[number] = value
            else:
                self.scalars[number] = value if value < 1 << 63 else value - (1 << 64)


class _Idle:
    """Large instances that wait for the next call of their program: the oldest are dropped beyond `IDLE_BYTES`.

    Their programs hold them; a program that goes takes its instances with it.
    """

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, tuple[weakref.ref[Instance], weakref.ref[Program], int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.RLock()  # a reference may die, and `_drop` be called, at any moment

    def add(self, instance: Instance, program: Program) -> None:
        """`instance` has been given back to `program`."""
        number = id(instance)
        with self._lock:
            if number not in self._waiting:  # else another call took it and gave it back in between
                gone = weakref.ref(instance, lambda _: self._drop(number))
                self._waiting[number] = gone, weakref.ref(program), instance.arena.nbytes
                self._bytes += instance.arena.nbytes
            while self._bytes > IDLE_BYTES:
                oldest = next(iter(self._waiting))
                instance_of, home, _ = self._waiting[oldest]
                self._drop(oldest)
                owner, dropped = home(), instance_of()
                if owner is not None and dropped is not None:
                    with contextlib.suppress(ValueError):  # a call has just taken it
                        owner.idle.remove(dropped)

    def remove(self, instance: Instance) -> None:
        """`instance` is taken for a call."""
        self._drop(id(instance))

    def _drop(self, number: int) -> None:
        with self._lock:
            found = self._waiting.pop(number, None)
            if found is not None:
                self._bytes -= found[2]


_idle = _Idle()


class Program:
    """A compiled graph. `run` binds leaves and outputs, executes, and gives the outputs.

    Calls from several threads use an instance each; instances are kept for the next call.
    """

    def __init__(self, plan: Plan, advances: Sequence[tuple[int, int]] = ()):
        self.plan = plan
        self.advances = list(advances)
        self.addresses = addresses_of(plan)
        self.floating = [dtype.kind == "f" for _, dtype in plan.scalars]
        self.leaf_slots: list[list[int]] = [[] for _ in range(plan.num_leaves)]
        self.output_slots: list[list[int]] = [[] for _ in plan.outputs]
        for b in plan.buffers:
            if b.kind == "leaf":
                self.leaf_slots[b.index].append(b.number)
            elif b.kind == "output":
                self.output_slots[b.index].append(b.number)
        self.numbered = {b.number: b for b in plan.buffers}
        self.idle: list[Instance] = []

    def acquire(self) -> Instance:
        """An instance that no other call uses."""
        try:
            instance = self.idle.pop()
        except IndexError:
            return Instance(self)
        if self.plan.arena_bytes >= LARGE:
            _idle.remove(instance)
        return instance

    def release(self, instance: Instance) -> None:
        if len(self.idle) >= 4:
            return
        self.idle.append(instance)
        if self.plan.arena_bytes >= LARGE:
            _idle.add(instance, self)

    def run(self, leaves: Sequence[np.ndarray], scalars: Sequence[Any]) -> list[np.ndarray]:
        """Evaluate: `leaves` are C-contiguous arrays; returns new read-only arrays."""
        instance = self.acquire()
        try:
            table = instance.words_of_table
            for slots, array in zip(self.leaf_slots, leaves):
                for slot in slots:
                    table[slot] = address(array)
            outputs = []
            for slots, (shape, dtype) in zip(self.output_slots, self.plan.outputs):
                array = aligned_empty(shape, dtype.numpy)
                for slot in slots:
                    table[slot] = address(array)
                outputs.append(array)
            instance.set_scalars(scalars, self.floating)
            self.execute(instance, leaves, outputs, 1)
        finally:
            self.release(instance)
        for array in outputs:
            array.flags.writeable = False
        return outputs

    def execute(
        self, instance: Instance, leaves: Sequence[np.ndarray], outputs: Sequence[np.ndarray], steps: int
    ) -> int:
        """Run `steps` steps on an instance whose table is bound; raises what the status words report."""
        segments = instance.segments
        done = steps
        if len(segments) == 1 and type(segments[0]) is driver.Program:
            native = segments[0]
            done = pool().execute(native.address, steps, native.parallel)
        elif segments:
            with np.errstate(all="ignore"):
                for _ in range(steps):
                    self._walk(segments, instance, leaves, outputs)
        if instance.status[0]:
            self._raise(instance)
        return done

    def _walk(self, segments: Sequence[Any], instance: Instance, leaves, outputs) -> None:
        """Run segments one after another."""
        table = instance.table
        for segment in segments:
            if type(segment) is driver.Program:
                pool().execute(segment.address, 1, segment.parallel)
            elif type(segment) is HostLoop:
                for entry, source, step in segment.plan.starts:
                    table[entry] = table[source] + step
                done = 0
                while done < segment.plan.count and instance.holds(segment.plan.when) and not instance.status[0]:
                    self._walk(segment.segments, instance, leaves, outputs)
                    for entry, source, step in segment.plan.moves:
                        table[entry] = table[source] + step
                    done += 1
            else:
                self._host(segment, instance, leaves, outputs)

    def _host(self, call: tuple, instance: Instance, leaves, outputs) -> None:
        """Run a host operation on arrays over the program's buffers."""
        op, operands, result, where = call
        arrays = [self._array(b, instance, leaves, outputs) for b in operands]
        target = self._array(result, instance, leaves, outputs)
        function = op.numpy
        try:
            if type(function) is np.ufunc and arrays[0].dtype.kind in "fc" and arrays[0].itemsize > 2:
                function(*arrays, out=target)  # without an array in between
            else:
                target[...] = op.evaluate(as_dtype(target.dtype), arrays)
        except np.linalg.LinAlgError as error:
            raise SingularMatrixError(f"{op.name}: {error}\nrecorded at {where}") from None

    def _array(self, number: int, instance: Instance, leaves, outputs) -> np.ndarray:
        """The array over a buffer; those over the program's own memory are kept as long as they do not move."""
        plan = self.numbered[number]
        if plan.kind == "leaf":
            return leaves[plan.index]
        if plan.kind == "output":
            return outputs[plan.index]
        place = instance.words_of_table[number]
        known = instance.arrays.get(number)
        if known is not None and known[0] == place:
            return known[1]
        if plan.kind == "entry":
            where = ctypes.c_char * max(plan.bytes, 1)
            memory: Any = where.from_address(place)
            raw = np.frombuffer(memory, np.uint8)[: plan.bytes]
        else:
            start = place - address(instance.arena)
            raw = instance.arena[start : start + plan.bytes]
        array = raw.view(plan.dtype.numpy).reshape(plan.shape)
        instance.arrays[number] = place, array
        return array

    def _raise(self, instance: Instance) -> None:
        number, index, size = int(instance.status[0]) - 1, int(instance.status[1]), int(instance.status[2])
        instance.status[:] = 0
        if number < 0:  # Ctrl-C ended a loop
            raise KeyboardInterrupt
        what, line = self.plan.checks[number]
        raise IndexOutOfRangeError(f"index {index} is out of range for {what} of size {size}\nrecorded at {line}")
