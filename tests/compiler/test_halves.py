"""Graphs of float16 and bfloat16 values, and of products in lower precision: the same bits however they are evaluated.

More graphs than a test run has time for: ``python -m tests.compiler.test_halves FIRST LAST``.
"""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.plan import make_plan
from chainrule.dtypes import DType, bfloat16, converted, float16, float32, float64, int8, int16, int64, uint8
from chainrule.graph.node import Node, topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant
from tests.compiler.graphs import Generator
from tests.compiler.test_bits import native, same_bits, threads, with_cuts

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class HalfGenerator(Generator):
    """A generator whose float32 leaves and casts are often float16 or bfloat16, and whose products are often low."""

    #: whether a leaf has to have the dtype that it is asked for
    exact = False

    def leaf(self, shape: tuple[int, ...], dtype: DType) -> Node:
        if dtype is float32 and not self.exact:
            dtype = self.pick([bfloat16, float16, float32])
        node = constant(converted(super().array(shape, float64 if dtype.kind == "f" else dtype), dtype))
        self.nodes.append(node)
        return node

    def grow(self) -> None:
        self.exact = True
        super().grow()
        self.exact = False

    def leaves(self) -> None:
        self.exact = False
        super().leaves()

    def add(self, name: str, *inputs: Node, attributes: tuple = ()) -> Node:
        if name == "cast" and attributes[0] is float32:
            attributes = (self.pick([bfloat16, float16, float32]),)
        if name == "contract" and inputs[0].dtype is float32:
            attributes = (*attributes, self.pick([bfloat16, float16, None]))
        return super().add(name, *inputs, attributes=attributes)


def check(seed: int) -> None:
    """One random graph: specialised, generic, cut, and by several threads."""
    graph = HalfGenerator(seed, count=18 + seed % 5 * 6, special=seed % 2 == 1)
    results = graph.results
    whole = native(results, True)
    same_bits(whole, native(results, False), results, "generic")
    same_bits(whole, with_cuts(graph, 0.5, seed % 3 == 0), results, "cut")
    with threads(2):
        same_bits(whole, native(results, seed % 2 == 0), results, "2 threads")


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_have_the_same_bits_however_they_are_evaluated(seed):
    check(seed)


def halves() -> list[Node]:
    """Conversions between all floating dtypes, arithmetic, reductions and products."""
    results = []
    x = constant(np.random.default_rng(0).normal(size=(7, 65)).astype(np.float32))
    for dtype in (bfloat16, float16):
        y = emit("cast", x, attributes=(dtype,))
        z = emit("tanh", emit("add", y, emit("full", attributes=(0.1, (7, 65), dtype))))
        whole = emit("cast", emit("cast", z, attributes=(float64,)), attributes=(dtype,))
        results += [z, whole, emit("cast", z, attributes=(int64,)), emit("sum", z, attributes=((0,),))]
        results += [emit("max", z, attributes=((1,),)), emit("contract", y, z, attributes=((0, 1), (2, 1), (0, 2)))]
        results.append(emit("contract", x, x, attributes=((0, 1), (0, 2), (1, 2), dtype)))
    return results


MACHINES = {
    "avx2": ("x86_64-unknown-linux-gnu", "haswell"),
    "avx": ("x86_64-unknown-linux-gnu", "sandybridge"),
    "sse2": ("x86_64-unknown-linux-gnu", "x86-64"),
    "avx512": ("x86_64-unknown-linux-gnu", "skylake-avx512"),
    "avx512bf16": ("x86_64-unknown-linux-gnu", "cooperlake"),
    "apple": ("arm64-apple-macosx14.0.0", "apple-m1"),
    "cortex": ("aarch64-unknown-linux-gnu", "cortex-a72"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_no_library_is_called_on_any_machine(machine):
    triple, cpu = MACHINES[machine]
    target = toolchain.describe(triple, cpu, "")
    assert target.has_half is (machine not in ("avx", "sse2"))
    assert target.has_bfloat16_products is (machine == "avx512bf16")
    results = halves()
    plan = make_plan(topological(results), results, CpuTiles(target), 1, None, True)
    text = kernel_module([(f"k{n}", kernel) for n, kernel in enumerate(plan.kernels)], target)
    code = toolchain.assembly(text, cpu=cpu, features="", triple=triple)
    assert "call" not in code and "\tbl\t" not in code
    assert ("dpbf16ps" in code) is (machine == "avx512bf16")


RUN = """
import numpy as np
from chainrule.backends.cpu import toolchain
from chainrule.dtypes import bfloat16, converted, float16, float32, widened
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant
from tests.compiler.test_halves import native
assert not toolchain.host().has_half
bits = np.arange(1 << 16, dtype=np.uint16)
wide = np.random.default_rng(0).integers(0, 1 << 32, 1 << 16).astype(np.uint32).view(np.float32)
wide = np.concatenate([wide, np.random.default_rng(1).normal(0, 1e-4, 9999).astype(np.float32)])
for dtype in (float16, bfloat16):
    narrow = bits.view(dtype.numpy)
    up, = native([emit("cast", constant(narrow), attributes=(float32,))], True)
    np.testing.assert_array_equal(up, widened(narrow))
    for values in (wide, wide.astype(np.float64)):
        down, = native([emit("cast", constant(values), attributes=(dtype,))], True)
        np.testing.assert_array_equal(widened(down), widened(converted(values, dtype)))
print("done")
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="needs an x86-64 machine")
def test_conversions_without_instructions_run_here():
    result = subprocess.run(
        [sys.executable, "-c", RUN], env={**os.environ, "CHAINRULE_TARGET": "x86-64:"},
        capture_output=True, text=True, timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0 and "done" in result.stdout, result.stderr[-3000:]


@pytest.mark.parametrize("dtype", [bfloat16, float16, int16, int8, uint8], ids=lambda d: d.name)
@pytest.mark.parametrize("columns", [17, 33, 18])
def test_the_last_vector_writes_nothing_beyond_its_row(dtype, columns):
    """Code without IR passes: LLVM may make a store of one lane of short elements four bytes wide."""
    x = constant(converted(np.arange(16 * columns).reshape(2, columns, 8) % 100, dtype))
    turned = emit("permute", x, attributes=((0, 2, 1),))
    plan = make_plan(topological([turned]), [turned], CpuTiles(toolchain.host()), 1, None, True)
    ((kernel,), (call,)) = plan.kernels, [c for r in plan.regions for t in r.tasks for c in t.calls]
    text = kernel_module([("the_kernel", kernel)], toolchain.host())
    address = toolchain.load(toolchain.compile_ir(text, opt=0), ["the_kernel"])["the_kernel"]
    size = 16 * columns * dtype.itemsize
    memory = np.full(size + 64, 0xA5, np.uint8)
    table = np.zeros(64, np.int64)
    for buffer in plan.buffers:
        array = x.value if buffer.kind == "leaf" else memory
        table[buffer.number] = array.__array_interface__["data"][0]
    words = np.array(call.arguments, np.int64)
    native_call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(address)
    native_call(table.ctypes.data, words.ctypes.data, 0, plan.regions[0].tasks[0].extent)
    assert (memory[size:] == 0xA5).all()
    assert memory[:size].tobytes() == np.ascontiguousarray(x.value.transpose(0, 2, 1)).tobytes()


if __name__ == "__main__":
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        check(number)
