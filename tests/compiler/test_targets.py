"""Code for other machines: it compiles for all of them, and x86-64's narrower vectors run here, where they can."""

from __future__ import annotations

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
from chainrule.dtypes import bfloat16, float32, int64, uint32
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.control import results
from chainrule.ops.leaf import constant
from chainrule.transforms import vjp
from tests.compiler.graphs import Generator
from tests.ops.table_control import FORWARD
from tests.ops.table_sparse import operands

MACHINES = {
    "avx2": ("x86_64-unknown-linux-gnu", "haswell", ""),
    "sse2": ("x86_64-unknown-linux-gnu", "x86-64", ""),
    "windows": ("x86_64-pc-windows-msvc-elf", "x86-64-v3", ""),
    "apple": ("arm64-apple-macosx14.0.0", "apple-m1", ""),
    "cortex": ("aarch64-unknown-linux-gnu", "cortex-a72", ""),
}


def node(*shape: int, dtype=np.float32):
    return constant(np.random.default_rng(len(shape)).normal(size=shape).astype(dtype))


def dense(rows: int = 20, inner: int = 30, columns: int = 33, dtype=np.float32):
    """A layer forwards and backwards: all three layouts of products, epilogues, reductions."""
    x, w, b = node(rows, inner, dtype=dtype), node(columns, inner, dtype=dtype), node(columns, dtype=dtype)
    y = emit("contract", x, w, attributes=((0, 1), (2, 1), (0, 2)))
    y = emit("tanh", emit("add", y, emit("broadcast", b, attributes=((rows, columns), (1,)))))
    dw = emit("contract", y, x, attributes=((0, 1), (0, 2), (1, 2)))
    dx = emit("contract", y, w, attributes=((0, 1), (1, 2), (0, 2)))
    return [y, dw, dx, emit("sum", y, attributes=((0,),)), emit("argmax", x, attributes=(1,))]


def elementary(dtype=np.float32):
    """Every elementary function, a reduction in lanes, casts and comparisons."""
    x = node(7, 65, dtype=dtype)
    names = "exp expm1 log log1p sin cos tan asin atan sinh tanh erf sigmoid sqrt rsqrt floor ceil round trunc sign"
    parts = [emit(name, x) for name in names.split()]
    total = parts[0]
    for part in parts[1:]:
        total = emit("add", total, emit("where", emit("isfinite", part), part, x))
    whole = emit("cast", emit("maximum", total, x), attributes=(int64,))
    larger = emit("all", emit("gt", x, total), attributes=((0, 1),))
    return [emit("sum", total, attributes=((1,),)), emit("pow", emit("abs", x), x), whole, larger]


def walks():
    """Centred long rows, reduced together or in step and computed again behind their sum; columns that make strips."""
    far = node(4100, 520)

    def normalised(rows: int):
        def over(value):
            return emit("broadcast", value, attributes=((rows, 700), (0,)))

        x = node(rows, 700)
        centred = emit("sub", x, over(emit("max", x, attributes=((1,),))))
        squares = emit("sum", emit("mul", centred, centred), attributes=((1,),))
        return emit("mul", centred, over(emit("rsqrt", squares)))

    return [normalised(5), normalised(9), emit("sum", far, attributes=((0,),))]


def moving():
    """Gathers, scatters, padding, concatenation, random bits, a product in blocks of k."""
    x, index = node(9, 40), constant(np.array([3, -1, 0, 3]))
    taken = emit("take", x, index, attributes=(0,))
    spread = emit("scatter_add", x, index, taken, attributes=(0,))
    zero = emit("full", attributes=(0.0, (), x.dtype))
    padded = emit("pad", taken, zero, attributes=((1, 2), (0, 1), (1, 0)))
    bits = emit("random_bits", constant(np.array([5, 7], np.uint64)), attributes=((4, 33),))
    shifted = emit("shift_right", bits, emit("full", attributes=(8, (4, 33), uint32)))
    uniform = emit("cast", shifted, attributes=(float32,))
    long = emit("contract", node(5, 1300), node(1300, 18), attributes=((0, 1), (1, 2), (0, 2)))
    return [spread, padded, uniform, long, emit("concat", taken, emit("flip", x, attributes=((1,),)), attributes=(0,))]


def sparse(features=33):
    """A product with a sparse matrix, forwards and backwards."""
    nodes = [constant(array) for array in operands(9, 7, features, 3, "float32", empty=(2,))]
    y = emit("csr_matmul", *nodes)
    indptr, indices, values, _, t_indptr, t_indices, order, inverse = nodes
    moved = emit("take", values, order, attributes=(0,))
    return [y, emit("csr_matmul", t_indptr, t_indices, moved, y, indptr, indices, inverse, order)]


def looped():
    """A loop and its reverse sweep."""
    random = np.random.default_rng(0)
    w, carry, xs = (constant(random.normal(size=s), True) for s in ((3,), (3,), (5, 3)))
    found = results(FORWARD, (w, carry, xs), (0, 1))
    ones = [constant(np.ones(n.shape)) for n in found]
    return [*found, *(n for n in vjp(found, ones, [w, carry, xs]) if n is not None)]


def images():
    """Convolutions by few multiplications, in all three forms, with odd extents and channels."""
    x, w, g = node(4, 17, 9, 8), node(20, 17, 3, 3), node(4, 20, 9, 8)
    form = ((1, 1), (1, 1), (1, 1), (1, 1), 1)
    y = emit("relu", emit("convolution", x, w, attributes=form))
    dx = emit("convolution_input_grad", g, w, attributes=(*form, (9, 8)))
    return [y, dx, emit("convolution_weight_grad", x, g, attributes=(*form, (3, 3)))]


def depthwise(rank: int, stride: int, dilation: int, dtype=np.float32, channels: int = 21, spatial=(9, 14, 5)):
    """A depthwise convolution and its gradients, whose windows reach over all borders; 21 channels, partly in use."""
    x, w = node(3, channels, *spatial[:rank], dtype=dtype), node(channels, 1, *(3, 5, 2)[:rank], dtype=dtype)
    form = ((stride,) * rank, (2,) * rank, (1,) * rank, (dilation,) * rank, channels)
    y = emit("convolution", x, w, attributes=form)
    gradients = [emit("convolution_input_grad", y, w, attributes=(*form, x.shape[2:]))]
    return [y, *gradients, emit("convolution_weight_grad", x, y, attributes=(*form, w.shape[2:]))]


def attention(causal: bool, m: int, n: int, dtype=np.float32):
    """Attention and its gradients, of lengths that are no multiples of any vector."""
    q, k, v, c = (constant(np.random.default_rng(i).normal(size=(2, *s)).astype(dtype)) for i, s in enumerate(
        ((m, 20), (n, 20), (n, 17), (m, 17))
    ))  # fmt: skip
    y = emit("fused_attention", q, k, v, attributes=(causal, 0.25))
    kept = emit("fused_attention_kept", q, k, v, attributes=(causal, 0.25))
    return [y, *(emit("fused_attention_grad", q, k, v, y, kept, c, attributes=(causal, 0.25, i)) for i in range(3))]


def attention_in_pairs(causal: bool, m: int, n: int):
    """The same of bfloat16 operands, with even numbers of features."""
    shapes = (m, 20), (n, 20), (n, 18), (m, 18)
    given = [constant(np.random.default_rng(i).normal(size=(2, *s)).astype(np.float32)) for i, s in enumerate(shapes)]
    q, k, v, c = (emit("cast", x, attributes=(bfloat16,)) for x in given)
    y = emit("fused_attention", q, k, v, attributes=(causal, 0.25))
    kept = emit("fused_attention_kept", q, k, v, attributes=(causal, 0.25))
    parts = [emit("fused_attention_grad", q, k, v, y, kept, c, attributes=(causal, 0.25, i)) for i in range(3)]
    return [emit("cast", x, attributes=(float32,)) for x in (y, *parts)]


def few_channels():
    """Convolutions with one or two results at each position, forwards and backwards, one of them with long sums."""
    x, w, wide = node(2, 70, 9, 19), node(2, 70, 3, 3), node(70, 1, 3, 3)
    form = ((1, 1), (1, 1), (1, 0), (1, 1), 1)
    y = emit("relu", emit("convolution", x, w, attributes=form))
    return [y, emit("convolution_input_grad", x, wide, attributes=(*form, (9, 20)))]


def one_channel(dtype=np.float32):
    """The gradient of a kernel of one channel, whose cotangent is transposed in registers, rows of 11 in pieces."""
    form = ((1, 1), (1, 1), (1, 1), (1, 1), 1, (3, 3))
    return [
        emit(
            "convolution_weight_grad", node(4, 1, 6, 11, dtype=dtype), node(4, 21, 6, 11, dtype=dtype), attributes=form
        )
    ]


def few_columns(dtype=np.float32):
    """Products of few columns and many terms, whose terms are dealt to chains: one row and many, all layouts."""
    made = []
    for rows, columns in ((1, 10), (3, 7), (25, 12)):
        for spec in (((0, 1), (1, 2)), ((0, 1), (2, 1)), ((1, 0), (1, 2)), ((1, 0), (2, 1))):
            extents = rows, 264, columns
            a, b = (node(*(extents[axis] for axis in axes), dtype=dtype) for axes in spec)
            made.append(emit("contract", a, b, attributes=(*spec, (0, 2))))
    return [emit("tanh", y) for y in made]


def short_rows(dtype=np.float32):
    """Rows shorter than a vector, some of whose operands are the same along them, and sums over such rows."""
    made = []
    for columns in range(2, 16):
        x, row = node(37, columns, dtype=dtype), node(37, dtype=dtype)
        over = emit("broadcast", row, attributes=((37, columns), (0,)))
        y = emit("where", emit("lt", over, x), x, emit("mul", over, over))
        made += [y, emit("eq", y, x), emit("sum", emit("exp", emit("sub", x, over)), attributes=((1,),))]
    return made


GRAPHS = {
    "short rows": short_rows,
    "short rows float64": lambda: short_rows(np.float64),
    "short rows float16": lambda: short_rows(np.float16),
    "few columns": few_columns,
    "few columns float64": lambda: few_columns(np.float64),
    "images": images,
    "few channels": few_channels,
    "one channel": one_channel,
    "one channel float64": lambda: one_channel(np.float64),
    "depthwise": lambda: depthwise(2, 1, 1),
    "depthwise stride": lambda: depthwise(2, 2, 1),
    "depthwise float64": lambda: depthwise(3, 1, 2, np.float64),
    "depthwise rows": lambda: depthwise(2, 1, 1, channels=3, spatial=(9, 77)),
    "depthwise rows float64": lambda: depthwise(3, 1, 2, np.float64, 3, (9, 14, 39)),
    "attention": lambda: attention(False, 67, 45),
    "attention causal": lambda: attention(True, 70, 75),
    "attention long": lambda: attention(True, 70, 523),
    "attention bfloat16": lambda: attention_in_pairs(False, 67, 45),
    "attention bfloat16 causal": lambda: attention_in_pairs(True, 35, 75),
    "attention float64": lambda: attention(True, 35, 37, np.float64),
    "loop": looped,
    "sparse": sparse,
    "sparse wide": lambda: sparse(130),
    "dense": dense,
    "dense float64": lambda: dense(dtype=np.float64),
    "narrow": lambda: dense(3, 2, 1),
    "elementary": elementary,
    "elementary float64": lambda: elementary(np.float64),
    "moving": moving,
    "walks": walks,
    "random": lambda: Generator(3, 40).results,
}


@pytest.mark.parametrize("machine", MACHINES)
def test_kernels_compile_for_other_machines(machine):
    triple, cpu, features = MACHINES[machine]
    target = toolchain.describe(triple, cpu, features)
    assert target.vector_bits == (256 if machine in ("avx2", "windows") else 128)
    kernels = {}
    for name, make in GRAPHS.items():
        results = make()
        for baked in (True, False) if name in ("dense", "moving", "few columns") else (True,):
            plan = make_plan(topological(results), results, CpuTiles(target), 2, None, baked)
            kernels |= {f"k{key}": kernel for key, kernel in zip(plan.keys, plan.kernels)}
    text = kernel_module(list(kernels.items()), target)
    code = toolchain.compile_ir(text, opt=0, cpu=cpu, features=features, triple=triple)
    assert len(code) > 1000


def test_few_lanes_are_stored_without_vectors_of_masks():
    """Such stores take a dozen cycles on some hosts; what has registers for masks uses them."""
    x, row = node(37, 11), node(37)
    results = [emit("mul", x, emit("broadcast", row, attributes=(x.shape, (0,))))]
    for cpu, masked in (("haswell", False), ("skylake-avx512", True)):
        target = toolchain.describe("x86_64-unknown-linux-gnu", cpu, "")
        (kernel,) = make_plan(topological(results), results, CpuTiles(target), 1).kernels
        assert ("masked.store" in kernel_module([("k", kernel)], target)) == masked


RUN = """
import sys
import numpy as np
from chainrule import runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain

from chainrule.graph.node import topological
from tests.compiler import test_bits
from tests.compiler.graphs import Generator
from tests.compiler.test_targets import GRAPHS
assert toolchain.host().vector_bits == int(sys.argv[1]), toolchain.host()
for name, make in GRAPHS.items():
    if name == "random":
        continue
    results = make()
    whole = test_bits.native(results, True)
    test_bits.same_bits(whole, test_bits.native(results, False), results, name)
    for node, got, expected in zip(results, whole, interpreter.run(results)):
        loose = 1e-2 if "float16" in name else 2e-5 if got.dtype == np.float32 else 1e-12
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=0) if got.dtype.kind == "f" else 0
        np.testing.assert_allclose(got, expected, rtol=loose, atol=loose * scale, err_msg=f"{name} {node!r}")
for seed in (1, 3, 5, 6):
    graph = Generator(seed, 30, special=seed % 2 == 1)
    every = [n for n in graph.nodes if n.value is None]
    values = test_bits.native(every, False)
    test_bits.against_interpreter(graph, every, values)
    place = {id(n): v for n, v in zip(every, values)}
    whole = test_bits.native(graph.results, True)
    test_bits.same_bits(whole, [place[id(r)] for r in graph.results], graph.results, f"seed {seed}")
print("done")
"""


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="needs an x86-64 machine")
@pytest.mark.parametrize(("cpu", "bits"), [("haswell", 256), ("x86-64", 128)])
def test_narrower_vectors_run_here(cpu, bits):
    if cpu == "haswell" and toolchain.host().vector_bits < 256:
        pytest.skip("this machine has no AVX2")
    result = subprocess.run(
        [sys.executable, "-c", RUN, str(bits)],
        env={**os.environ, "CHAINRULE_TARGET": f"{cpu}:"}, capture_output=True, text=True, timeout=300,
        cwd=os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
    )  # fmt: skip
    assert result.returncode == 0 and "done" in result.stdout, result.stderr[-3000:]


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def representative(path, target: str) -> dict[str, np.ndarray]:
    """Results of `tests.compiler.representative` in a process of its own, compiled for `target`."""
    result = subprocess.run(
        [sys.executable, "-m", "tests.compiler.representative", str(path)],
        env={**os.environ, "CHAINRULE_TARGET": target, "CHAINRULE_BACKEND": "cpu"}, capture_output=True, text=True,
        timeout=300, cwd=ROOT,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> dict[str, np.ndarray]:
    return representative(tmp_path_factory.mktemp("here") / "results.npz", "")


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="needs an x86-64 machine")
def test_avx2_gives_the_bits_of_this_machine(here, tmp_path):
    """Maps, reductions, products, convolutions and training steps: the width of the registers changes no bit."""
    bits, fused = here["target"]
    if bits < 256 or not fused:
        pytest.skip("this machine has no AVX2 with fused multiply-add")
    narrow = representative(tmp_path / "avx2.npz", "haswell:")
    assert narrow["target"].tolist() == [256, 1]
    assert narrow.keys() == here.keys() and len(here) > 80
    differ = [name for name in here if name != "target" and not _same_bits(here[name], narrow[name])]
    assert not differ


@pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="needs an x86-64 machine")
def test_without_fused_multiply_add_results_are_close(here, tmp_path):
    """Plain x86-64, vectors of 128 bits: every product and sum rounds, elsewhere only some do."""
    narrow = representative(tmp_path / "sse.npz", "x86-64:")
    assert narrow["target"].tolist() == [128, 0]
    for name in here.keys() - {"target"}:
        want, got = here[name], narrow[name]
        assert want.dtype == got.dtype and want.shape == got.shape, name
        finite = np.isfinite(want)
        np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=name)
        if name.startswith("map/"):  # element by element, at most 4 units in the last place on each side
            few = 8 * np.maximum(np.spacing(np.abs(want[finite])), np.finfo(want.dtype).smallest_subnormal)
            assert (np.abs(got[finite].astype(float) - want[finite].astype(float)) <= few).all(), name
        elif want.dtype.kind == "f":
            # three steps of Adam divide by small gradients; otherwise only the sums' rounding differs
            loose = (2e-5 if name.startswith("training/") else 2e-6) if want.dtype == np.float32 else 1e-14
            np.testing.assert_allclose(
                got, want, rtol=0, atol=loose * np.abs(want[finite]).max(initial=0), err_msg=name
            )
        else:
            np.testing.assert_array_equal(got, want, err_msg=name)


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal bytes, any NaN standing for any other."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    number = a == a
    return bool((number == (b == b)).all()) and a[number].tobytes() == b[number].tobytes()
