"""Kernels in step: in one loop along the row, each at a row of its own, one or two behind that of the kernel before.

What is computed once for each row comes before the next walk along it.
The first rows and the last ones, at which not all kernels have one, are walked by those that have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ...compiler.kernel import LANES, Body, Kernel
from ...dtypes import float32, float64
from ..base import Value
from .bodies import BodyCode, Point
from .emit import LINE, Function, Int, whole_vectors
from .extremes import keys_for
from .loops import axis_range, body_dtypes, side_by_side
from .reductions import combine, identity, pairwise

#: bytes behind where a kernel is that are asked for, in whole rows
AHEAD = 8192


def emit_in_step(f: Function) -> None:
    """The kernels `stages`, the first some rows before the second, and so on."""
    f.both_ways(partial(_emit, f))


def _emit(f: Function) -> None:
    stages: list[_Stage] = []
    start = 0
    for kernel in f.kernel.stages:
        kind = _Reduction if kernel.kind == "reduce" else _Row if kernel.for_each_row else _Map
        stages.append(kind(f, kernel, start))
        start += len(kernel.extra)
    behind = [sum(not isinstance(stage, _Row) for stage in stages[:number]) for number in range(len(stages))]
    behind = [f.kernel.rows_apart * number for number in behind]
    begin, end = axis_range(f, 0)
    with f.loop(begin, f.add(end, behind[-1])) as loop:
        rows = [f.sub(loop.index, number) for number in behind]
        begun = f.let(f"icmp sge i64 {rows[-1]}, {begin}")
        whole = f.let(f"and i1 {begun}, {f.let(f'icmp slt i64 {rows[0]}, {end}')}")
        with f.when(whole):
            _walk(f, stages, rows, True)
        with f.when(f.let(f"xor i1 {whole}, true")):
            for number in sorted(set(behind), reverse=True):  # what a walk leaves on the stack is read by the next one
                row = f.sub(loop.index, number)
                some = [stage for stage, at in zip(stages, behind) if at == number]
                inside = f.let(f"icmp sge i64 {row}, {begin}")
                with f.when(f.let(f"and i1 {inside}, {f.let(f'icmp slt i64 {row}, {end}')}")):
                    _walk(f, some, [row] * len(some), False)


def _walk(f: Function, stages: Sequence[_Stage], rows: Sequence[Int], fetch: bool) -> None:
    """Each of `stages` at its row."""
    length = f.kernel.sizes[1]
    for stage, row in zip(stages, rows):
        with stage.current():
            stage.open(row)
    states = [list(stage.start) for stage in stages]

    def at(states: list[list[str]], index: Int, together: int, count: Int | None) -> list[list[str]]:
        result = []
        for stage, state in reversed(list(zip(stages, states))):
            with stage.current():
                if fetch and count is None:
                    stage.fetch(index, together)
                result.append(stage.step(state, index, together, count))
        return result[::-1]

    together = max(stage.together for stage in stages)
    begin: Int = 0
    for width in dict.fromkeys((together, 1)):
        stop = whole_vectors(f, begin, length, LANES * width)
        if stop == begin:
            continue
        carried = [(kind, value) for stage, state in zip(stages, states) for kind, value in zip(stage.kinds, state)]
        with f.loop(begin, stop, LANES * width, carried) as loop:
            loop.next = [v for state in at(_split(loop.values, states), loop.index, width, None) for v in state]
        states, begin = _split(loop.values, states), stop
    if begin != length:
        states = at(states, begin, 1, f.sub(length, begin))
    for stage, state in zip(stages, states):
        with stage.current():
            stage.close(state)


def _split(values: Sequence[str], states: Sequence[Sequence[str]]) -> list[list[str]]:
    """Values one behind the other, as those of each stage."""
    rest = iter(values)
    return [[next(rest) for _ in state] for state in states]


def _numbers(f: Function, body: Body, width: int) -> dict[int, Value]:
    """The numbers in a body, which are the same for all rows."""
    numbers = [n for n, instruction in enumerate(body.code) if instruction[0] in ("scalar", "const")]
    return BodyCode(f, body, 1).at(Point.start(f, body, width), numbers)


class _Stage:
    """One of the kernels, at a row."""

    kinds: Sequence[str] = ()
    start: Sequence[str] = ()
    together = 0

    def __init__(self, f: Function, kernel: Kernel, first_extra: int):
        self.f, self.kernel, self.first_extra = f, kernel, first_extra
        self.along = kernel.inner if kernel.kind == "reduce" else kernel.body
        with self.current():
            self.together = self.together or side_by_side(f, self.along)
            self.known, self.other = _numbers(f, self.along, LANES), _numbers(f, kernel.body, 1)

    @contextmanager
    def current(self) -> Iterator[None]:
        """What the function is asked about its kernel is about this one."""
        f = self.f
        before = f.kernel, f.first_extra
        f.kernel, f.first_extra = self.kernel, self.first_extra
        yield
        f.kernel, f.first_extra = before

    def open(self, row: Int) -> None:
        """Go to a row."""
        self.point = Point.start(self.f, self.along, LANES).moved(0, row, self.along)
        self.code = BodyCode(self.f, self.along, 1)
        self.code.hoist(self.point, self.known)
        self.row = row

    def run(self, index: Int, count: Int | None) -> dict[int, Value]:
        """A vector of the row."""
        here = self.point.moved(1, index, self.along)
        here.mask = None if count is None else self.f.mask(count, LANES)
        return self.code.run(here)

    def runs(self, index: Int, together: int) -> list[dict[int, Value]]:
        """Some vectors of the row: side by side if that helps, else one after another."""
        f = self.f
        parts = [partial(self.run, f.add(index, LANES * n), None) for n in range(together)]
        return f.side_by_side(parts) if self.together > 1 else [part() for part in parts]

    def fetch(self, index: Int, together: int) -> None:
        """Ask for what is touched soon, if it is not near."""
        f = self.f
        loaded = {i[1] for i in self.along.code if i[0] == "load"}
        for access in (n for n in self.kernel.ahead if n not in f.past):
            dtype = self.kernel.accesses[access].dtype
            rows = -(-AHEAD // (self.kernel.sizes[1] * dtype.itemsize))
            there = self.point.moved(1, index, self.along).pointer(access)
            there = f.advance(there, dtype, f.mul(f.stride(access, 0), rows))
            for first in range(0, together * LANES, LINE // dtype.itemsize):
                f.prefetch(f.advance(there, dtype, first), access not in loaded)

    def step(self, state: list[str], index: Int, together: int, count: Int | None) -> list[str]:
        """The next vectors of the row."""
        raise AssertionError

    def close(self, state: list[str]) -> None:
        """The row is over."""


class _Row(_Stage):
    """What is computed once for each row."""

    together = 1

    def open(self, row: Int) -> None:
        body = self.kernel.body
        BodyCode(self.f, body, 1).run(Point.start(self.f, body, 1).moved(0, row, body), given=self.other)

    def fetch(self, index: Int, together: int) -> None:
        """Nothing: it does not walk."""

    def step(self, state: list[str], index: Int, together: int, count: Int | None) -> list[str]:
        return state


class _Map(_Stage):
    def step(self, state: list[str], index: Int, together: int, count: Int | None) -> list[str]:
        if count is None:
            self.runs(index, together)
        else:
            self.run(index, count)
        return state


class _Reduction(_Stage):
    def __init__(self, f: Function, kernel: Kernel, first_extra: int):
        super().__init__(f, kernel, first_extra)
        self.name, self.value = kernel.static[0], kernel.static[4]
        self.dtype = dtype = body_dtypes(kernel, kernel.inner)[self.value]
        extreme = self.name in ("max", "min") and dtype in (float32, float64)
        self.keys = keys_for(f, dtype, self.name) if extreme else None
        wide = f.builder(LANES)
        if self.keys is not None:
            self.kinds, self.start = (self.keys.vector, self.keys.flags), (self.keys.worst(LANES), "zeroinitializer")
        else:
            self.kinds = (wide.llvm_type(dtype),)
            self.start = (wide.const(identity(self.name, dtype), dtype).ref,)

    def step(self, state: list[str], index: Int, together: int, count: Int | None) -> list[str]:
        if count is not None:
            return self._last(state, index, count)
        given = [values[self.value].ref for values in self.runs(index, together)]
        if self.keys is not None:
            return self.keys.added(state, given)
        for one in given:
            state = [self._met(state[0], one)]
        return state

    def _met(self, total: str, given: str) -> str:
        return combine(self.f.builder(LANES), self.name, Value(total, self.dtype), Value(given, self.dtype)).ref

    def _last(self, state: list[str], index: Int, count: Int) -> list[str]:
        """The elements behind the last whole vector."""
        f, mask = self.f, self.f.mask(count, LANES)
        given = self.run(index, count)[self.value].ref
        if self.keys is not None:
            return self.keys.added_some(state, given, mask)
        given = f.let(f"select <{LANES} x i1> {mask}, {self.kinds[0]} {given}, {self.kinds[0]} {self.start[0]}")
        return [self._met(state[0], given)]

    def close(self, state: list[str]) -> None:
        f, name, dtype, body = self.f, self.name, self.dtype, self.kernel.body
        if self.keys is not None:
            result = Value(self.keys.result(*state), dtype)
        else:
            narrow = f.builder(1)
            start = narrow.const(identity(name, dtype), dtype)
            result = combine(narrow, name, start, pairwise(f, name, state[0], dtype))
        outer = Point.start(f, body, 1).moved(0, self.row, body)
        BodyCode(f, body, 1).run(outer, result, given=self.other)
