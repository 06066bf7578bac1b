"""Loops inside native programs: moving entries, nesting, threads, status, signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import driver
from chainrule.backends.cpu.pool import Pool

from .test_pool import Toy


def one(toy: Toy, name: str, x: int, y: int, extent: int, chunk: int, parallel: bool = False):
    """A region of one call."""
    return parallel, [([toy.call(name, x, y)], extent, chunk)]


@pytest.fixture
def toy() -> Toy:
    """Ten entries more than arrays: 4 to 13 are free for loops."""
    made = Toy(64)
    made.ptrs = np.concatenate([made.ptrs, np.zeros(10, np.int64)])
    return made


@pytest.mark.parametrize("parallel", [False, True])
def test_entries_walk_along_stacks(toy: Toy, parallel: bool) -> None:
    """Row i of array 1 becomes 2 x + 1 of row 15 - i of array 0."""
    toy.arrays[0][:] = np.arange(64)
    body = [one(toy, "affine", 4, 5, 4, 1, parallel)]
    loop = driver.Loop(16, body, [(4, 0, 15 * 32), (5, 1, 0)], [(4, 4, -32), (5, 5, 32)])
    program = toy.build([loop])
    assert program.parallel is parallel
    for _ in range(2):  # the second run starts again at the same places
        toy.arrays[1][:] = 0
        assert Pool(3).execute(program.address, 1, parallel) == 1
        np.testing.assert_array_equal(toy.arrays[1].reshape(16, 4), 2 * toy.arrays[0].reshape(16, 4)[::-1] + 1)


@pytest.mark.parametrize("times", [1, 2, 3, 10])
def test_a_carry_is_handed_on_without_copying(toy: Toy, times: int) -> None:
    """x <- x + 1, read from array 0 first, then in turn from arrays 1 and 2; the last is array 1."""
    body = [one(toy, "increment", 4, 5, 64, 64)]
    last, other = (1, 2) if times % 2 else (2, 1)
    starts = [(4, 0, 0), (5, last, 0), (6, other, 0)]
    loop = driver.Loop(times, body, starts, [(4, 5, 0), (5, 6, 0), (6, 4, 0)])
    Pool(1).execute(toy.build([loop]).address, 3)
    np.testing.assert_array_equal(toy.arrays[1], np.full(64, float(times)))
    np.testing.assert_array_equal(toy.arrays[0], np.zeros(64))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_go_through_all_iterations_by_themselves(toy: Toy, threads: int, chunk: int) -> None:
    """x <- x + 1 seven times, of rows that are apart; the table of the program stays as it was."""
    body = [one(toy, "increment", 4, 5, 64, chunk, True)]
    starts = [(4, 0, 0), (5, 1, 0), (6, 2, 0)]
    loop = driver.Loop(7, body, starts, [(4, 5, 0), (5, 6, 0), (6, 4, 0)], apart=True)
    program = toy.build([loop, one(toy, "increment", 1, 2, 64, 64)])
    table = toy.ptrs.copy()
    for _ in range(2):
        toy.arrays[1][:] = toy.arrays[2][:] = 0
        assert Pool(threads).execute(program.address, 1, threads > 1) == 1
        np.testing.assert_array_equal(toy.arrays[1], np.full(64, 7.0))
        np.testing.assert_array_equal(toy.arrays[2], np.full(64, 8.0))
    np.testing.assert_array_equal(toy.ptrs, table)


def test_loops_in_loops_between_other_regions(toy: Toy) -> None:
    inner = driver.Loop(3, [one(toy, "increment", 0, 0, 64, 16, True)], [], [])
    outer = driver.Loop(5, [one(toy, "increment", 1, 1, 64, 64), inner], [], [])
    program = toy.build([one(toy, "increment", 0, 0, 64, 64), outer, one(toy, "increment", 1, 1, 64, 64)])
    assert program.parallel
    assert Pool(2).execute(program.address, 7, True) == 7
    np.testing.assert_array_equal(toy.arrays[0], np.full(64, 7 * 16.0))
    np.testing.assert_array_equal(toy.arrays[1], np.full(64, 7 * 6.0))


def test_a_status_ends_the_loop_and_the_step(toy: Toy) -> None:
    body = [one(toy, "increment", 0, 0, 64, 64), (False, [([toy.call("check", 0, 3, 5)], 1, 1)])]
    program = toy.build([driver.Loop(100, body, [], []), one(toy, "increment", 1, 1, 64, 64)])
    assert Pool(1).execute(program.address, 1) == 0
    assert toy.status[0] == 7
    np.testing.assert_array_equal(toy.arrays[0], np.full(64, 5.0))
    np.testing.assert_array_equal(toy.arrays[1], np.zeros(64))


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("begin", [0, 3])
def test_a_loop_ends_when_a_byte_is_zero(toy: Toy, parallel: bool, begin: int) -> None:
    """The entry walks along bytes, as that of a carried flag goes from place to place."""
    flags = np.array([1, 1, 255, 0, 1, 1], np.uint8)
    toy.ptrs[6] = flags.ctypes.data
    body = [one(toy, "increment", 0, 0, 64, 8, parallel)]
    loop = driver.Loop(1 << 62, body, [(7, 6, begin)], [(7, 7, 1)], when=(7, -1))
    assert Pool(3).execute(toy.build([loop]).address, 2, parallel) == 2
    np.testing.assert_array_equal(toy.arrays[0], np.full(64, 2.0 * (3 - begin)))


@pytest.mark.parametrize("number", [-1, 0, 1, 2, 1 << 40])
def test_a_region_runs_if_its_number_is_asked_for(toy: Toy, number: int) -> None:
    asked = np.array([7, number], np.int64)
    toy.ptrs[6] = asked.ctypes.data
    choices = [
        driver.Loop(1, [one(toy, "increment", k, k, 64, 64), one(toy, "increment", k, k, 64, 8, True)], [(7, 6, 8)], [],
                    when=(7, k))
        for k in range(2)
    ]  # fmt: skip
    program = toy.build([driver.Loop(3, choices, [], []), one(toy, "increment", 2, 2, 64, 64)])
    assert Pool(2).execute(program.address, 5, True) == 5
    for k in range(2):
        np.testing.assert_array_equal(toy.arrays[k], np.full(64, 30.0 * (number == k)))
    np.testing.assert_array_equal(toy.arrays[2], np.full(64, 5.0))


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT for itself")
def test_control_c_ends_a_long_loop_and_changes_nothing() -> None:
    state = cr.ones((2, 4))
    state.name = "state"

    @cr.compile
    def step(length_holder):
        last, _ = cr.scan(lambda c, _: (c * 0.5 + length_holder, None), state, length=200_000_000)
        state[...] = last

    step.trace(cr.ones(()))  # compiled before the signal is sent
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        step(cr.ones(()))
    assert time.perf_counter() - start < 3  # about 0.35 s on a machine with nothing else to do
    assert state.tolist() == [[1.0] * 4] * 2
