"""Products in lower precision: values, derivatives, programs, training."""

from __future__ import annotations

import dataclasses
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.backends.cpu.contract import CpuTiles
from chainrule.compiler.plan import make_plan
from chainrule.dtypes import converted, widened
from chainrule.errors import ConfigError, DTypeError
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

LOW = (cr.bfloat16, cr.float16)
#: k beyond one block of 512, odd k, tails of rows and columns, single rows and columns
SHAPES = [(1, 1, 2), (5, 7, 9), (17, 33, 31), (8, 64, 48), (37, 64, 100), (64, 600, 33), (3, 1031, 50), (16, 32, 1)]


def rounded(x, dtype=cr.bfloat16):
    """The numbers of `x`, rounded to `dtype`."""
    return widened(converted(np.asarray(x, np.float32), dtype)).astype(np.float64)


def normal(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def near(got, expected, length=1):
    """Within the rounding of a float32 sum of `length` terms."""
    assert got.dtype == np.float32
    scale = np.abs(expected).max(initial=1.0)
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-7 * scale * max(1, length) ** 0.5)


def evaluations(function, *arrays):
    """The values of ``function(*tensors)`` by the interpreter, uncompiled and compiled."""
    nodes = [constant(a) for a in arrays]
    yield interpreter.run([function(*map(cr.Tensor, nodes))._node])[0]
    yield function(*map(cr.asarray, arrays)).numpy()
    yield cr.compile(function)(*map(cr.asarray, arrays)).numpy()


@pytest.fixture(params=["host", "without pairs"])
def host(request, monkeypatch):
    """This machine, and this machine without instructions for bfloat16."""
    if request.param != "host":
        plain = dataclasses.replace(toolchain.host(), has_bfloat16_products=False)
        monkeypatch.setattr(toolchain, "host", lambda: plain)
        runtime._programs.clear()
    yield request.param
    if request.param != "host":
        runtime._programs.clear()


@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("batch", [(), (3,)], ids=["matrix", "batch"])
def test_products_of_rounded_operands(transposed, batch, host):
    for m, k, n in SHAPES[1:3] if host != "host" else SHAPES[::2] if batch else SHAPES:
        a = normal(*batch, *((k, m) if transposed[0] else (m, k)))
        b = normal(*batch, *((n, k) if transposed[1] else (k, n)))

        def function(x, y):
            with cr.autocast():
                return (x.mT if transposed[0] else x) @ (y.mT if transposed[1] else y) * 2.0

        left = rounded(a).swapaxes(-1, -2) if transposed[0] else rounded(a)
        right = rounded(b).swapaxes(-1, -2) if transposed[1] else rounded(b)
        values = list(evaluations(function, a, b))
        for value in values:
            near(value, 2 * (left @ right), k)
        assert values[1].tobytes() == values[2].tobytes()


@pytest.mark.parametrize("dtype", LOW, ids=lambda d: d.name)
def test_einsum_and_strided_operands(dtype):
    q, k = normal(2, 6, 3, 8), normal(2, 10, 3, 8, seed=1)

    def function(x, y):
        with cr.autocast(dtype):
            return cr.einsum("btha,bsha->bhts", x, y)

    for value in evaluations(function, q, k):
        near(value, np.einsum("btha,bsha->bhts", rounded(q, dtype), rounded(k, dtype)), 8)


def test_what_precedes_and_follows_is_fused_and_float32():
    x, w, b = normal(20, 40), normal(30, 40), normal(30)

    def function(x, w, b):
        with cr.autocast("bfloat16"):
            return cr.tanh(cr.exp(x * 0.1) @ w.T + b) - 1.0

    expected = np.tanh(rounded(np.exp(x * np.float32(0.1))) @ rounded(w).T + b) - 1
    first, *others = evaluations(function, x, w, b)
    near(first, expected, 400)
    for other in others:  # an operand on the border of two bfloat16 numbers may be rounded the other way
        np.testing.assert_allclose(other, expected, atol=2e-2)


@pytest.mark.parametrize("dtype", LOW, ids=lambda d: d.name)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
def test_gradients_are_products_of_the_same_precision(dtype, inside):
    x, w, g = normal(9, 20), normal(20, 12), normal(9, 12, seed=3)
    a, b = cr.tensor(x, requires_grad=True), cr.tensor(w, requires_grad=True)
    with cr.autocast(dtype):
        loss = (a @ b * cr.asarray(g)).sum()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    near(a.grad.numpy(), rounded(g, dtype) @ rounded(w, dtype).T, 12)
    near(b.grad.numpy(), rounded(x, dtype).T @ rounded(g, dtype), 9)


def test_forward_mode_and_vmap():
    x, w, t = normal(4, 6), normal(6, 5), normal(4, 6, seed=5)
    with cr.autocast():
        _, tangent = cr.jvp(lambda a: a @ cr.asarray(w), (cr.asarray(x),), (cr.asarray(t),))
        batched = cr.vmap(lambda a: a @ cr.asarray(w))(cr.asarray(np.stack([x, t])))
    near(tangent.numpy(), rounded(t) @ rounded(w), 6)
    near(batched.numpy(), np.stack([rounded(x), rounded(t)]) @ rounded(w), 6)


def test_contexts_nest_and_decorate():
    x = cr.full((2, 2), 1.001)
    full, low = (x @ x).numpy(), np.full((2, 2), 2.0)
    assert full[0, 0] != 2.0

    @cr.autocast("bfloat16")
    def decorated():
        return x @ x

    np.testing.assert_array_equal(decorated().numpy(), low)
    with cr.autocast():
        np.testing.assert_array_equal((x @ x).numpy(), low)
        with cr.autocast(enabled=False):
            np.testing.assert_array_equal((x @ x).numpy(), full)
        with cr.autocast("float16"):
            half = (x @ x).numpy()
        np.testing.assert_array_equal((x @ x).numpy(), low)
    assert half[0, 0] not in (full[0, 0], 2.0)
    np.testing.assert_array_equal((x @ x).numpy(), full)
    with pytest.raises(ZeroDivisionError), cr.autocast():
        raise ZeroDivisionError
    np.testing.assert_array_equal((x @ x).numpy(), full)


def test_a_compiled_function_has_a_program_for_each_state():
    step = cr.compile(lambda x: x @ x)
    x = cr.full((2, 2), 1.001)
    full = step(x).numpy()
    with cr.autocast():
        low = step(x).numpy()
        assert len(step.programs) == 2
        step(x)
    step(x)
    assert len(step.programs) == 2
    assert full[0, 0] != 2.0 and low[0, 0] == 2.0
    np.testing.assert_array_equal(step(x).numpy(), full)


def test_only_float32_operands_are_rounded():
    x = np.full((2, 2), 1.001)
    with cr.autocast():
        assert (cr.asarray(x) @ cr.asarray(x)).numpy()[0, 0] == pytest.approx(2 * 1.001**2, rel=1e-14)
        half = cr.asarray(x, dtype="float16")
        product = half @ half
        assert product.dtype is cr.float16 and product.numpy()[0, 0] != 2.0
        vector = cr.full((2,), 1.001)
        assert (vector @ vector).item() != 2.0  # recorded as multiplication and sum
        assert (cr.arange(4).reshape(2, 2) @ cr.arange(4).reshape(2, 2)).tolist() == [[2, 3], [6, 11]]


def test_bits_do_not_depend_on_threads():
    a, b = cr.asarray(normal(150, 700)), cr.asarray(normal(700, 130))
    with cr.autocast():
        found = []
        for threads in (1, 2):
            before = cr.get_num_threads()
            cr.set_num_threads(threads)
            try:
                found.append(cr.compile(lambda x, y: (x @ y, y.T @ x.T))(a, b))
            finally:
                cr.set_num_threads(before)
    for one, other in zip(*found):
        assert one.numpy().tobytes() == other.numpy().tobytes()
    # the same sums, whichever operand is in lanes
    assert found[0][0].numpy().tobytes() == np.ascontiguousarray(found[0][1].numpy().T).tobytes()


def test_non_finite_numbers_pass_through():
    a, b = normal(6, 9), normal(9, 20)
    a[0, 3], a[1, 2], b[4, 7] = np.nan, np.inf, 1e-40
    with cr.autocast():
        value = (cr.asarray(a) @ cr.asarray(b)).numpy()
    assert np.isnan(value[0]).all() and not np.isfinite(value[1]).any() and np.isfinite(value[2:]).all()


@pytest.mark.parametrize("kind", ["matrix", "convolution", "transposed convolution", "gradient of a kernel"])
def test_machine_code_multiplies_pairs_where_it_can(kind):
    x, w = constant(normal(20, 30)), constant(normal(30, 40))
    attributes: tuple = ((0, 1), (1, 2), (0, 2))
    if kind != "matrix":
        x, w = constant(normal(2, 8, 7, 7)), constant(normal(8, 8, 3, 3))
        attributes = ((1, 1), (1, 1), (1, 1), (1, 1), 1)
    if kind == "transposed convolution":
        attributes = (*attributes, (7, 7))
    if kind == "gradient of a kernel":
        w, attributes = constant(normal(2, 8, 7, 7, seed=1)), (*attributes, (3, 3))
    name = {
        "matrix": "contract", "convolution": "convolution", "gradient of a kernel": "convolution_weight_grad"
    }.get(kind, "convolution_input_grad")  # fmt: skip
    product = emit(name, x, w, attributes=(*attributes, cr.bfloat16))
    order = topological([product])
    for cpu, pairs in (("cooperlake", True), ("znver5", True), ("skylake-avx512", False), ("haswell", False)):
        target = toolchain.describe("x86_64-unknown-linux-gnu", cpu, "")
        assert target.has_bfloat16_products is pairs
        for baked in (True, False):
            plan = make_plan(order, [product], CpuTiles(target), 1, baked=baked)
            text = kernel_module([(f"k{n}", kernel) for n, kernel in enumerate(plan.kernels)], target)
            code = toolchain.assembly(text, cpu=cpu, features="", triple=target.triple)
            assert ("vdpbf16ps" in code) is pairs
            assert "call" not in code


def labels(function, *shapes):
    """The labels of the kernels of a compiled function of float32 arrays on a host with pairs."""
    nodes = [constant(normal(*shape)) for shape in shapes]
    results = [tensor._node for tensor in function(*map(cr.Tensor, nodes))]
    tiles = CpuTiles(toolchain.describe("x86_64-unknown-linux-gnu", "cooperlake", ""))
    plan = make_plan(topological(results), results, tiles, 1, baked=True)
    return [call.label for region in plan.regions for task in region.tasks for call in task.calls]


def test_rounding_is_part_of_the_kernel_that_computes_an_operand():
    def function(x, w, u):
        weights = cr.exp(x)
        total = weights.sum(-1, keepdims=True)
        with cr.autocast():
            y = weights @ w
            a, b, c = cr.split(y, 32, axis=1)
            return y / total, a @ u, b @ u, c @ u

    found = labels(function, (64, 48), (48, 96), (32, 40))
    assert any("exp" in label and "cast" in label for label in found)
    assert any("bmm" in label and "cast" in label for label in found)
    assert sum(label == "cast" for label in found) == 2  # w and u, which no kernel computes


def test_explain_shows_a_program_in_lower_precision():
    x, w = cr.asarray(normal(20, 30)), cr.asarray(normal(30, 40))

    @cr.compile
    def layer(x):
        with cr.autocast():
            return cr.tanh(x @ w)

    text = str(cr.explain(layer, x))
    assert "bfloat16" in text


def test_refusals():
    with pytest.raises(ConfigError) as caught:
        cr.autocast("float64")
    assert str(caught.value).splitlines()[0] == "autocast: the dtype is bfloat16 or float16, not float64"
    with pytest.raises(ConfigError, match=r"the first argument is the dtype"):
        cr.autocast("cpu")
    wide = constant(np.ones((2, 2)))
    with pytest.raises(DTypeError) as caught:
        emit("contract", wide, wide, attributes=((0, 1), (1, 2), (0, 2), cr.bfloat16))
    first, second, third = str(caught.value).splitlines()
    assert first == ("contract: products in bfloat16 are for float32 operands; operands float64[2, 2], float64[2, 2]")
    assert second.startswith("recorded at ") and third == "help: convert with .astype(chainrule.float32)"


def test_layers_refuse_mixed_operands():
    layer = nn.Linear(3, 2)
    x = cr.ones((4, 3), dtype="bfloat16")
    for context in (cr.autocast(enabled=False), cr.autocast()):
        with context, pytest.raises(DTypeError) as caught:
            layer(x)
        first, _, third = str(caught.value).splitlines()
        assert first == ("linear: input is bfloat16, weight is float32; operands bfloat16[4, 3], float32[2, 3]")
        assert third == (
            "help: convert the input with .astype(chainrule.float32), or the module with .to(chainrule.bfloat16)"
        )


#: extents of x and w, padding, stride, dilation, groups; odd channels and others, tails of vectors, several axes
CONVOLUTIONS = [
    ((2, 3, 6, 6), (4, 3, 3, 3), 1, 1, 1, 1),
    ((2, 4, 7, 9), (18, 4, 3, 2), 1, 1, 1, 1),
    ((3, 16, 8, 8), (32, 16, 3, 3), 1, 2, 1, 1),
    ((2, 12, 9, 9), (6, 6, 3, 3), 2, 1, 2, 2),
    ((2, 8, 5, 5), (8, 1, 3, 3), 1, 1, 1, 8),
    ((4, 34, 6), (20, 34, 1), 0, 1, 1, 1),
    ((2, 6, 11), (33, 6, 4), 2, 3, 1, 1),
    ((1, 4, 4, 5, 6), (2, 4, 2, 3, 2), 1, 1, 1, 1),
    ((4, 17, 8, 7), (33, 17, 3, 3), 1, 1, 1, 1),
    ((2, 20, 9, 9), (40, 20, 3, 3), 0, 2, 1, 1),
    ((6, 64, 7, 9), (96, 32, 3, 2), 2, 1, 2, 2),
    ((2, 64, 19), (64, 64, 4), 1, 1, 1, 1),
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=lambda case: "x".join(map(str, case[1])))
@pytest.mark.parametrize("compiled", [False, True], ids=["uncompiled", "compiled"])
def test_convolutions_of_rounded_operands(case, compiled, host):
    x, w, padding, stride, dilation, groups = normal(*case[0]), normal(*case[1]), *case[2:]
    function = [cr.functional.conv1d, cr.functional.conv2d, cr.functional.conv3d][x.ndim - 3]
    settings = {"padding": padding, "stride": stride, "dilation": dilation, "groups": groups}
    shape = function(cr.asarray(x), cr.asarray(w), **settings).shape
    g = rounded(normal(*shape, seed=4))

    def results(x, w, g, low):
        a, b = x * 1.0, w * 1.0  # a convolution of what is computed may be stored for its users as they want it
        with cr.autocast(enabled=low):
            y, back = cr.vjp(lambda a, b: function(a, b, **settings), a, b)
        return y + 0.5, *back(g)

    run = cr.compile(results) if compiled else results
    found = run(cr.asarray(x), cr.asarray(w), cr.asarray(g.astype(np.float32)), True)
    exact = results(*(cr.asarray(v, dtype="float64") for v in (rounded(x), rounded(w), g)), False)
    for got, expected in zip(found, exact, strict=True):
        near(got.numpy(), expected.numpy(), 400)


@pytest.mark.parametrize("case", CONVOLUTIONS[-4:], ids=lambda case: "x".join(map(str, case[1])))
def test_gradients_of_kernels_have_the_same_bits_however_they_are_computed(case):
    x, w, padding, stride, dilation, groups = normal(*case[0]), normal(*case[1]), *case[2:]
    function = [cr.functional.conv1d, cr.functional.conv2d][x.ndim - 3]
    settings = {"padding": padding, "stride": stride, "dilation": dilation, "groups": groups}

    def gradient(x, w):
        with cr.autocast():
            y, back = cr.vjp(lambda a, b: function(a, b, **settings), x * 1.0, w)
        return back(cr.tanh(y))[1]

    given = [cr.asarray(x), cr.asarray(w)]
    expected = gradient(*given).numpy()
    before = cr.get_num_threads()
    for threads in (1, 2):
        cr.set_num_threads(threads)
        try:
            assert cr.compile(gradient)(*given).numpy().tobytes() == expected.tobytes()
        finally:
            cr.set_num_threads(before)


def test_loops_round_what_stays_the_same_once():
    x, w, u = normal(5, 3, 8), normal(12, 8) * np.float32(0.3), normal(12, 12) * np.float32(0.3)

    def loop(x, w, u):
        with cr.autocast():
            return cr.scan(lambda h, part: (cr.tanh(part @ w.T + h @ u),) * 2, cr.zeros(3, 12), x)

    def unrolled(x, w, u):
        h, rows = cr.zeros(3, 12), []
        with cr.autocast():
            for step in range(5):
                h = cr.tanh(x[step] @ w.T + h @ u)
                rows.append(h)
        return h, cr.stack(rows)

    def gradients(function):
        def run(x, w, u):
            (last, rows), back = cr.vjp(function, x, w, u)
            return (last, rows, *back((last, rows)))

        return cr.compile(run)

    given = [cr.asarray(v) for v in (x, w, u)]
    found, expected = (gradients(f) for f in (loop, unrolled))
    for got, wanted in zip(found(*given)[:2], expected(*given)[:2], strict=True):
        assert got.numpy().tobytes() == wanted.numpy().tobytes()
    for got, wanted in zip(found(*given)[2:], expected(*given)[2:], strict=True):
        near(got.numpy(), wanted.numpy().astype(np.float64), 4000)


# --- training -------------------------------------------------------------------------------------


def perceptron(dtype, epochs=3, enabled=True):
    """Losses of a perceptron that learns which of four corners a point is near, and what it holds afterwards."""
    cr.manual_seed(3)
    rng = np.random.default_rng(7)
    labels = rng.integers(0, 4, 1024)
    points = np.concatenate([np.stack([labels % 2, labels // 2], 1) * 2.0 - 1, np.zeros((1024, 6))], 1)
    points = (points + rng.normal(0, 0.6, points.shape)).astype(np.float32)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
    optimizer = cr.optim.Adam(model.parameters(), lr=3e-3)

    @cr.compile
    def step(x, y):
        optimizer.zero_grad()
        with cr.autocast(dtype, enabled=enabled):
            outputs = model(x)
        loss = cr.functional.cross_entropy(outputs, y)
        loss.backward()
        optimizer.step()
        return loss

    losses = step.epochs((points, labels), batch_size=64, num_epochs=epochs, seed=1).numpy()
    return losses, model, optimizer


@pytest.mark.parametrize("dtype", LOW, ids=lambda d: d.name)
def test_training_follows_float32(dtype):
    expected, *_ = perceptron(dtype, enabled=False)
    losses, model, optimizer = perceptron(dtype)
    assert losses.dtype == np.float32
    assert expected[-16:].mean() < 0.5 * expected[0]
    assert losses[-16:].mean() == pytest.approx(expected[-16:].mean(), rel=0.01)
    assert not np.array_equal(losses, expected)
    for param in model.parameters():
        assert param.dtype is cr.float32
        slots = optimizer.state[param]
        assert slots["exp_avg"].dtype is cr.float32 and slots["exp_avg_sq"].dtype is cr.float32


DATA = Path(os.environ.get("CHAINRULE_DATA", "")) / "mnist"


def classifier(images, labels, enabled, channels=(32, 64), hidden=128, lr=1e-3):
    """Losses of one epoch of a network of two convolutions."""
    cr.manual_seed(0)
    first, second = channels
    model = nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(second * (images.shape[-1] // 4) ** 2, hidden), nn.ReLU(), nn.Linear(hidden, 10),
    )  # fmt: skip
    optimizer = cr.optim.Adam(model.parameters(), lr)

    @cr.compile
    def step(x, y):
        optimizer.zero_grad()
        with cr.autocast("bfloat16", enabled=enabled):
            outputs = model(x)
        loss = cr.functional.cross_entropy(outputs, y)
        loss.backward()
        optimizer.step()
        return loss

    return step.epochs((images, labels), batch_size=64, seed=0).numpy()


def test_a_convolutional_network_follows_float32():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 4096)
    patterns = rng.normal(size=(10, 1, 8, 8))
    images = (patterns[labels] + rng.normal(0, 0.7, (4096, 1, 8, 8))).astype(np.float32)
    full, low = (classifier(images, labels, enabled, (16, 32), 32, 2e-3) for enabled in (False, True))
    assert full[-8:].mean() < 0.1 * full[0] and not np.array_equal(full, low)
    assert low.mean() == pytest.approx(full.mean(), rel=0.01)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="CHAINRULE_DATA names no folder with mnist")
def test_an_epoch_of_mnist_follows_float32():
    def content(name, header):
        return np.frombuffer(gzip.decompress((DATA / name).read_bytes()), np.uint8, offset=header)

    images = content("train-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28).astype(np.float32) / 255
    labels = content("train-labels-idx1-ubyte.gz", 8).astype(np.int64)
    full, low = (classifier(images, labels, enabled) for enabled in (False, True))
    assert low.mean() == pytest.approx(full.mean(), rel=0.01)
