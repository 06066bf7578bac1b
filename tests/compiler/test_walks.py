"""How loops walk over memory: several vectors side by side, short rows written out, chunks of rows that stay near."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.compiler.kernel import LANES

WIDE = toolchain.host().vector_bits >= 512


def compiled(function, *arrays):
    """The results of a compiled function, and its plan."""
    step = cr.compile(function)
    given = [cr.asarray(a) for a in arrays]
    step(*given)
    return step(*given).numpy(), step.programs[0].plan


def text(plan) -> str:
    return kernel_module([(f"k{n}", kernel) for n, kernel in enumerate(plan.kernels)], toolchain.host())


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


@pytest.mark.skipif(not WIDE, reason="one vector register holds fewer than 16 numbers")
def test_exponentials_are_computed_side_by_side():
    x = normal(4096)
    got, plan = compiled(cr.exp, x)
    blocks = re.split(r"\n[\w.]+:\n", text(plan))
    assert max(block.count("scalef.ps.512(<16 x float> %") for block in blocks) == 4
    np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=2e-7)


@pytest.mark.parametrize("length", [17, 48, 64, 65, 127, 128, 200, 1024, 5000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_of_exponentials_does_not_depend_on_how_many_are_computed_at_once(length, dtype):
    """Against the tree of the documentation: 16 lanes, which meet pairwise, in blocks of 4096."""
    x = normal(3, length, dtype=dtype)
    terms = cr.exp(cr.asarray(x)).numpy()
    got, _ = compiled(lambda x: cr.sum(cr.exp(x), axis=1), x)
    for row, result in zip(terms, got):
        total = dtype(0)
        for start in range(0, length, 4096):
            block = row[start : start + 4096]
            lanes = np.zeros(LANES, dtype)
            for first in range(0, len(block), LANES):
                part = block[first : first + LANES]
                lanes[: len(part)] += part
            while len(lanes) > 1:
                half = len(lanes) // 2
                lanes = lanes[:half] + lanes[half:]
            total += lanes[0]
        assert result == total


@pytest.mark.parametrize("width", [1, 5, 16, 40, 64, 256, 257])
def test_short_rows_are_written_out(width):
    x, y = normal(9, width), normal(width)
    got, plan = compiled(lambda x, y: x + y, x, y)
    np.testing.assert_array_equal(got, x + y)
    loops = len(re.findall(r"phi i64", text(plan)))
    assert loops == (1 if 1 < width <= 256 else 2 if width > 256 else loops)


@pytest.mark.parametrize("rows", [1, 7, 300])
@pytest.mark.parametrize("width", [5, 64, 1000])
def test_rows_of_a_chain_stay_near(rows, width):
    """A softmax walks three times over a few rows, not over all; its bits are those of one row alone."""
    x = normal(rows, width)
    got, plan = compiled(lambda x: cr.functional.softmax(x, 1), x)
    tasks = [task for region in plan.regions for task in region.tasks]
    assert sum(len(task.calls) for task in tasks) == 3
    if rows * width * 8 > 64 << 10:
        (task,) = tasks
        assert task.chunk < rows and task.chunk * width * 8 <= 48 << 10
    alone, _ = compiled(lambda x: cr.functional.softmax(x, 1), x[-1:])
    np.testing.assert_array_equal(got[-1:], alone)


@pytest.mark.parametrize("shape", [(300,), (1000, 3), (0, 4), ()])
def test_arrays_that_come_in_begin_at_a_cache_line(shape):
    for offset in range(3):
        raw = np.zeros(int(np.prod(shape)) + offset, np.float32)[offset:].reshape(shape)
        tensor = cr.asarray(raw)
        array = tensor.numpy()
        np.testing.assert_array_equal(array, raw)
        assert array.nbytes < 1024 or array.ctypes.data % 64 == 0
        assert not np.shares_memory(array, raw)
