"""Large results are written past the caches: the same numbers, in whole lines, and only where nobody waits for them."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.capture import compiled as compiled_module
from chainrule.compiler import program as program_module
from tests.compiler.test_walks import compiled, normal, text

F = cr.functional
X86 = toolchain.host().architecture == "x86_64"


def misplaced(shift):
    """An allocator of arrays that begin `shift` bytes behind a cache line."""

    def empty(shape, dtype):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.empty(size + 128, np.uint8)
        start = -raw.__array_interface__["data"][0] % 64 + shift
        return raw[start : start + size].view(dtype).reshape(shape)

    return empty


def past(plan) -> list[int]:
    return [len(kernel.past) for kernel in plan.kernels]


@pytest.mark.parametrize("shift", [0, 8])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_maps_wherever_their_results_lie(monkeypatch, shift, threads, dtype):
    for module in (program_module, compiled_module):
        monkeypatch.setattr(module, "aligned_empty", misplaced(shift))
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        x, y = normal(4099, 1040, dtype=dtype), normal(1040, dtype=dtype)
        got, plan = compiled(lambda x, y: x + y, x, y)
        flat, of_all = compiled(lambda x: -x, x)
    finally:
        cr.set_num_threads(before)
    assert got.ctypes.data % 64 == shift
    np.testing.assert_array_equal(got, x + y)
    np.testing.assert_array_equal(flat, -x)
    for made in (plan, of_all):
        assert past(made) == [1]
        code = text(made)
        assert ("!nontemporal" in code) == ("sfence" in code) == X86
        # eight vectors in a turn of the loop, and one of those behind them
        most = max(block.count("!nontemporal !0") for block in re.split(r"\n[\w.]+:\n", code))
        assert most == (8 if X86 else 0)


@pytest.mark.parametrize("shift", [0, 4])
def test_the_last_walk_of_a_chain_in_step(monkeypatch, shift):
    for module in (program_module, compiled_module):
        monkeypatch.setattr(module, "aligned_empty", misplaced(shift))
    x = normal(4100, 1024)
    for function in (lambda x: F.layer_norm(x, (1024,)), lambda x: F.softmax(x, 1)):
        got, plan = compiled(function, x)
        assert past(plan) == [1] and plan.kernels[0].stages and got.ctypes.data % 64 == shift
        few, plan = compiled(function, x[-64:])
        assert past(plan) == [0]
        np.testing.assert_array_equal(got[-64:], few)


def test_what_is_read_soon_or_lies_in_parts_of_lines_stays_in_the_caches():
    x = normal(4100, 1024)
    _, plan = compiled(lambda x: F.softmax(x, 1), normal(20000, 240))  # exponentials, which are scaled where they are
    assert past(plan) == [0, 0, 0, 0]
    _, plan = compiled(lambda x: x + 1, x[:1000])  # small
    assert past(plan) == [0]
    _, plan = compiled(lambda x: x[:, :1001] + 1, normal(4300, 1010))  # rows that do not begin with lines
    assert past(plan) == [0]
    state = cr.asarray(x)

    def step():
        state[...] = state * 2.0

    run = cr.compile(step)
    run()
    assert past(run.programs[0].plan) == [0]  # lines that were read
    np.testing.assert_array_equal(state.numpy(), 2 * x)
