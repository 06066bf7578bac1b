"""Maps in square blocks: operands and results that are contiguous along different axes."""

import itertools
import re

import numpy as np
import pytest

from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.compiler import program as program_module
from chainrule.graph.node import topological
from chainrule.ops import leaf
from chainrule.ops.base import emit

DTYPES = ["float32", "float64", "float16", "int8", "bool", "int64"]


def program(outputs, baked):
    order = topological(outputs)
    made = runtime.compile_nodes(order, outputs, baked)
    _, leaves, scalars = runtime.structure(order, outputs)
    return made, made.run(leaves, scalars)


def operand(shape, dtype="float32", seed=0):
    return leaf.constant((np.random.default_rng(seed).normal(size=shape) * 50).astype(dtype))


def same(outputs, baked):
    made, results = program(outputs, baked)
    for got, expected in zip(results, interpreter.run(outputs), strict=True):
        assert got.dtype == expected.dtype
        assert got.tobytes() == np.ascontiguousarray(expected).tobytes()
    return made


@pytest.mark.parametrize("baked", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(16, 16), (32, 48), (3, 70), (70, 3), (17, 33), (2, 300), (301, 290), (4, 4)])
def test_transposed_copies(shape, dtype, baked):
    made = same([emit("permute", operand(shape, dtype), attributes=((1, 0),))], baked)
    assert [k.static[:1] for k in made.plan.kernels] == [("blocks",)] or min(shape) < 3


@pytest.mark.parametrize("baked", [True, False])
@pytest.mark.parametrize("axes", list(itertools.permutations(range(4)))[1::2])
def test_permuted_copies(axes, baked):
    same([emit("permute", operand((3, 5, 18, 37)), attributes=(axes,))], baked)


@pytest.mark.parametrize("baked", [True, False])
def test_bodies_with_operands_both_ways(baked):
    x, y, z = operand((40, 35), seed=1), operand((35, 40), seed=2), operand((40, 35), seed=3)
    row = emit("broadcast", operand((40,), seed=4), attributes=((35, 40), (1,)))

    def turn(node):
        return emit("permute", node, attributes=((1, 0),))

    short = emit("add", turn(x), y)
    long = emit("mul", emit("sub", emit("mul", turn(x), y), emit("add", turn(z), row)), emit("neg", y))
    assert any(k.static[:1] == ("blocks",) for k in same([short], baked).plan.kernels)
    assert any(k.static[:1] == ("blocks",) for k in same([long], baked).plan.kernels)
    same([short, long, emit("lt", turn(x), y)], baked)


def test_leading_axis_may_change_without_new_code():
    keys = set()
    for rows in (20, 47):
        made, _ = program([emit("permute", operand((rows, 9, 24)), attributes=((0, 2, 1),))], True)
        keys |= set(made.plan.keys)
    assert len(keys) == 1


@pytest.mark.parametrize("shape", [(256, 256), (250, 71), (160, 1024), (176, 1040), (150, 1101), (1023, 150)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_are_walked_along_diagonals_of_squares(shape, dtype):
    """Every block once, at the edges too; the squares are larger for operands that fill the second-level cache."""
    made = same([emit("permute", operand(shape, dtype), attributes=((1, 0),))], True)
    target, itemsize = toolchain.host(), np.dtype(dtype).itemsize
    steps = re.findall(r"add nsw i64 %L\d+\.i, (\d+)", kernel_module([("k", made.plan.kernels[0])], target))
    wide, whole = target.vector_bits >= 512, all(size * itemsize % 64 == 0 for size in shape)
    near = shape[0] * shape[1] * itemsize < 512 << 10
    side = 32 if near and (wide or whole) else 128 if not near and wide and whole else 0
    lanes = min(16, max(target.vector_bits // 8 // itemsize, 4))
    assert steps.count(str(side)) == (2 if side else 0) and steps.count(str(lanes)) >= 2


@pytest.mark.parametrize("shape", [(2064, 2100), (2080, 2048)])
@pytest.mark.parametrize("shift", [0, 4])
def test_large_results_are_written_past_the_caches(monkeypatch, shape, shift):
    """In whole lines, if they begin with one: wherever the result lies, also with blocks at the edges."""

    def empty(shape, dtype):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.empty(size + 128, np.uint8)
        start = -raw.__array_interface__["data"][0] % 64 + shift
        return raw[start : start + size].view(dtype).reshape(shape)

    monkeypatch.setattr(program_module, "aligned_empty", empty)
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    made, (got,) = program([emit("neg", emit("permute", leaf.constant(x), attributes=((1, 0),)))], True)
    got = np.asarray(got)
    np.testing.assert_array_equal(got, -x.T)
    (kernel,) = made.plan.kernels
    target = toolchain.host()
    assert kernel.past == (1,) and got.ctypes.data % 64 == shift
    wide = target.vector_bits >= 512 and target.architecture == "x86_64"
    code = kernel_module([("k", kernel)], target)
    assert ("!nontemporal" in code) == wide
    squares = len(re.findall(r"add nsw i64 %L\d+\.i, 512", code))
    assert squares == (2 if wide and shape == (2080, 2048) else 0)  # where all lines are whole


def test_results_that_are_small_or_split_lines_stay_in_the_caches():
    for shape, dtype in (((2048, 1024), "float32"), ((2050, 2048), "float32"), ((2048, 2048), "float16")):
        made, (got,) = program([emit("permute", operand(shape, dtype), attributes=((1, 0),))], True)
        assert made.plan.kernels[0].past == ()
        assert np.asarray(got).shape == shape[::-1]
