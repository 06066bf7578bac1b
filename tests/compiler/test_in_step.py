"""Walks along rows that run in step, in one kernel: the bits of walks that follow one another."""

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.compiler import schedule
from tests.compiler.test_walks import compiled, normal

F = cr.functional


def rms_norm(x):
    return x / cr.sqrt(cr.mean(x * x, axis=1, keepdims=True) + 1e-5)


FUNCTIONS = {
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "layer norm": lambda x: F.layer_norm(x, (x.shape[1],)),
    "RMS norm": rms_norm,
    "smallest": lambda x: x - cr.min(x, axis=1, keepdims=True),
    "product": lambda x: x / cr.prod(1 + x / 64, axis=1, keepdims=True),
    "some": lambda x: cr.where(cr.any(x > 3, axis=1, keepdims=True), x, -x),
}
#: kernels in step: walks, and of the first, second and fourth what is computed for each row between two of them
STAGES = {"softmax": 4, "log_softmax": 4, "layer norm": 3, "RMS norm": 3, "smallest": 2, "product": 2, "some": 2}


def one_after_another(monkeypatch, function, *arrays):
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "in_step", lambda steps, place_of: steps)
        return compiled(function, *arrays)


def stages(plan) -> list[int]:
    return [len(kernel.stages) for kernel in plan.kernels]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "shape", [(8, 256), (9, 257), (8, 64), (13, 100), (70, 128), (64, 1024), (23, 1000), (8, 271), (40, 320)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_walks_in_step_give_the_bits_of_walks_one_after_another(monkeypatch, name, shape, dtype):
    x = normal(*shape, dtype=dtype)
    x[1, 3], x[2, 7], x[3, :] = np.nan, np.inf, -0.0
    x[4, 11] = -np.inf
    got, plan = compiled(FUNCTIONS[name], x)
    expected, apart = one_after_another(monkeypatch, FUNCTIONS[name], x)
    hard = name.endswith("softmax")
    assert stages(plan) == ([0] * STAGES[name] if hard and shape[1] < 256 else [STAGES[name]])
    assert stages(apart) == [0] * STAGES[name]
    # what the next walk overwrites is handed on by way of a row on the stack
    assert len(plan.kernels[0].scratch) == (hard and shape[1] >= 256)
    assert got.tobytes() == expected.tobytes() or np.array_equal(np.isnan(got), np.isnan(expected))
    same = np.isnan(got) | (got.view(f"u{got.itemsize}") == expected.view(f"u{got.itemsize}"))
    assert same.all()
    alone, plan = compiled(FUNCTIONS[name], x[-1:])
    assert not any(stages(plan))
    np.testing.assert_array_equal(got[-1:], alone)


@pytest.mark.parametrize("length", [300, 1024])
def test_what_is_used_again_is_not_left_on_the_stack(length):
    """Exponentials that are a result as well, and the quotients over them."""

    def step(x):
        terms = cr.exp(x - cr.max(x, axis=1, keepdims=True))
        return cr.stack([terms, terms / cr.sum(terms, axis=1, keepdims=True)])

    x = normal(33, length)
    got, _ = compiled(step, x)
    wide = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(got, np.stack([wide, wide / wide.sum(1, keepdims=True)]), rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 1000), (300, 255), (30, 9000)])
def test_few_rows_short_rows_and_very_long_rows_are_walked_one_after_another(shape):
    x = normal(*shape)
    got, plan = compiled(FUNCTIONS["softmax"], x)
    assert not any(stages(plan))
    wide = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    np.testing.assert_allclose(got, wide / wide.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [8, 65, 700])
def test_rows_that_are_replaced_are_those_that_were_read(rows, threads):
    """A softmax over its own operand: no walk sees what a later one has written."""
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        x = normal(rows, 600)
        state, weight = cr.asarray(x), normal(600)

        def step(w):
            state[...] = F.layer_norm(F.softmax(state, 1), (600,), w)

        run = cr.compile(step)
        run(cr.asarray(weight))
        kernels = run.programs[0].plan.kernels
    finally:
        cr.set_num_threads(before)
    assert any(kernel.stages for kernel in kernels)
    wide = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    wide /= wide.sum(1, keepdims=True)
    wide = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5) * weight
    np.testing.assert_allclose(state.numpy(), wide, rtol=2e-3, atol=1e-4)


def test_a_walk_that_needs_other_rows_is_not_in_step(monkeypatch):
    """The largest of each row, and the rows in another order."""

    def step(x):
        shifted = x - cr.max(x, axis=1, keepdims=True)
        return shifted[::-1] * cr.sum(shifted, axis=1, keepdims=True)

    x = normal(40, 512)
    got, plan = compiled(step, x)
    assert not any(sum(bool(stage.body.stores) for stage in kernel.stages) > 2 for kernel in plan.kernels)
    expected, _ = one_after_another(monkeypatch, step, x)
    np.testing.assert_array_equal(got, expected)
    wide = x.astype(np.float64) - x.max(1, keepdims=True)
    np.testing.assert_allclose(got, wide[::-1] * wide.sum(1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_derivatives_through_walks_in_step(monkeypatch, threads):
    """Of a layer norm and a cross-entropy over long rows: by the formulas in float64, and the same bits."""
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        x, weight = normal(50, 400), 1 + normal(400) / 8
        labels = np.arange(50) % 400

        def gradients(x, w):
            def loss(x, w):
                return F.cross_entropy(F.layer_norm(x, (400,), w), cr.asarray(labels))

            dx, dw = cr.grad(loss, (0, 1))(x, w)
            return cr.concat([dx, cr.reshape(dw, (1, 400))])

        got, plan = compiled(gradients, x, weight)
        expected, _ = one_after_another(monkeypatch, gradients, x, weight)
    finally:
        cr.set_num_threads(before)
    assert any(stages(plan))
    np.testing.assert_array_equal(got, expected)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(1, keepdims=True)
    scale = 1 / np.sqrt(centred.var(1, keepdims=True) + 1e-5)
    z = centred * scale
    y = z * weight
    p = np.exp(y - y.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(50), labels] -= 1
    dz = p / 50 * weight
    dx = scale * (dz - dz.mean(1, keepdims=True) - z * (dz * z).mean(1, keepdims=True))
    np.testing.assert_allclose(got[:-1], dx, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(got[-1], (p / 50 * z).sum(0), rtol=1e-3, atol=1e-6)


def test_an_explanation_shows_each_walk():
    x = cr.asarray(normal(64, 512))
    explained = cr.explain(cr.compile(FUNCTIONS["softmax"]), x)
    (kernel,) = explained.kernels
    assert kernel.kind == "in_step"
    # largest, difference, exponential, sum, product, and a reciprocal of each row; elements are read and written once
    assert kernel.flops == 5 * 64 * 512 + 64
    assert (kernel.read, kernel.written) == (64 * 512 * 4, 64 * 512 * 4 + 3 * 64 * 4)
    whole = str(explained)
    assert "3 walks in step, each a row behind the one before" in whole


@pytest.mark.parametrize("length, apart", [(64, 2), (700, 2), (1024, 1)])
def test_walks_are_further_apart_where_they_would_wait_for_the_ends_of_short_rows(length, apart):
    x = cr.asarray(normal(64, length))
    compiled_function = cr.compile(FUNCTIONS["layer norm"])
    assert f"each {('a row', 'two rows')[apart - 1]} behind" in str(cr.explain(compiled_function, x))
    compiled_function(x)
    (kernel,) = compiled_function.programs[0].plan.kernels
    steps = re.findall(r"= sub i64 %L\d+\.i, (\d+)", kernel_module([("k", kernel)], toolchain.host()))
    assert {int(step) for step in steps} == {apart, 2 * apart}
