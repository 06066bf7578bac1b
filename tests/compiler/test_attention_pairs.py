"""Attention of bfloat16 operands: one kernel forwards and one backwards, on pairs where the host multiplies them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, runtime
from chainrule.backends import interpreter
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.compiler.attention import operand_shapes
from chainrule.dtypes import bfloat16, widened
from chainrule.graph.node import topological
from chainrule.ops.base import emit
from chainrule.ops.leaf import constant

from .test_attention import ATTEND, gradients, kernels, reference


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


def values(*shape: int, seed: int = 0, dtype: str = "bfloat16") -> cr.Tensor:
    return cr.asarray(np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)).astype(dtype)


def near(got, exact):
    """Within what rounding operands, weights and results to 8 digits can do, nowhere and on average."""
    error = np.abs(got - exact)
    assert error.max() < 0.015 * np.abs(exact).max()
    assert np.sqrt(np.square(error).mean()) < 0.006 * np.sqrt(np.square(exact).mean())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "m, n, e, f",
    [(64, 64, 32, 32), (65, 70, 20, 18), (16, 130, 8, 2), (200, 31, 2, 48), (33, 512, 40, 34), (131, 35, 6, 130)],
)
def test_values_and_gradients(causal, m, n, e, f, host):
    """Whole and partial blocks of queries and keys, vectors and tiles, odd numbers of both."""
    q, k, v, c = (values(2, *s, seed=i) for i, s in enumerate(((m, e), (n, e), (n, f), (m, f))))
    got = cr.compile(lambda *x: gradients(*x, causal=causal))(q, k, v, c)
    for one, again, exact in zip(got, gradients(q, k, v, c, causal=causal), reference(q, k, v, c, causal)):
        assert one.dtype is cr.bfloat16
        np.testing.assert_array_equal(one.numpy(), again.numpy())
        near(one.numpy(), exact)


@pytest.mark.parametrize("m, n", [(64, 40), (70, 33)])
def test_what_is_kept_are_weights(m, n, host):
    """Also where the user is given them: zeros for queries beyond the last and for keys that are not seen."""
    given = [constant(values(2, length, 8, seed=i).numpy()) for i, length in enumerate((m, n, n))]
    operands = [emit("cast", x, attributes=(bfloat16,)) for x in given]
    kept = emit("fused_attention_kept", *operands, attributes=(True, 0.3))
    assert kept.shape == (2, -(-m // 64), n, 64) and kept.dtype is bfloat16
    order = topological([kept])
    program = runtime.compile_nodes(order, [kept], True)
    _, leaves, scalars = runtime.structure(order, [kept])
    (got,) = program.run(leaves, scalars)
    (expected,) = interpreter.run([kept])
    got, expected = widened(got), widened(expected)
    np.testing.assert_allclose(got, expected, rtol=0.01, atol=1e-6)
    assert np.array_equal(got == 0, expected == 0)
    sums = np.moveaxis(got, -1, -2).reshape(2, -1, n)[:, :m].sum(-1)
    np.testing.assert_allclose(sums, 1, rtol=0.01)


def test_one_kernel_forwards_and_one_backwards():
    """With autocast the products before and behind convert nothing, nor does the sum that is the gradient of a bias."""
    shapes = (4, 32, 24), (72, 24), (24, 24), (4, 32, 24), (72,)
    x, w, o, c, b = (values(*s, seed=i, dtype="float32") for i, s in enumerate(shapes))

    def step(x, w, o, c, b):
        def block(w, o, b):
            parts = cr.functional.linear(x, w, b).reshape((4, 32, 3, 2, 12))
            y = ATTEND(*(parts[:, :, n].permute(0, 2, 1, 3) for n in range(3)), is_causal=True)
            return cr.functional.linear(y.permute(0, 2, 1, 3).reshape((4, 32, 24)), o)

        with cr.autocast("bfloat16"):
            y, pull = cr.vjp(block, w, o, b)
            return (y, *pull(c))

    found = kernels(step, x, w, o, c, b)
    labels = [label for _, label in found]
    assert labels.count("attention") == labels.count("attention_grad") == labels.count("cast+sum") == 1
    if toolchain.host().has_bfloat16_products:
        assert labels.count("cast") == 4 and labels.count("copy") == 1 and "reshape" not in labels  # x, w, o, c; y
    forward, backward = (kernel for kernel, label in found if label.startswith("attention"))
    assert forward.static.pairs and forward.static.wanted == (True, True) and backward.static.pairs
    assert operand_shapes(forward)[0] == (32, 6) and operand_shapes(forward)[4] == (1, 32, 32)
    plain = cr.compile(step)(x, w, o, c, b)
    for one, again in zip(plain, step(x, w, o, c, b)):
        assert one.dtype is cr.float32
        np.testing.assert_array_equal(one.numpy(), again.numpy())


@pytest.mark.skipif(not toolchain.host().has_bfloat16_products, reason="this machine multiplies no pairs")
def test_pairs_are_multiplied_by_one_instruction():
    q = values(2, 40, 24)
    for kernel, _ in kernels(gradients, q, q, q, q):
        assert "dpbf16ps" in kernel_module([("k", kernel)], toolchain.host())


def test_explanation_names_what_is_kept():
    explanation = cr.explain(gradients, *(values(2, 40, 24, seed=i) for i in range(4)))
    assert "what is kept; kept: weights; products of pairs of bfloat16; keys up to" in str(explanation.kernel(0))


def test_gradients_from_several_blocks_of_queries_are_rounded_once():
    """Values that are all equal: sums of 200 weights, which 8 digits would not hold if each block were rounded."""
    q, k = values(2, 200, 8), values(2, 17, 8, seed=1)
    v, c = values(2, 17, 4, seed=2), values(2, 200, 4, seed=3) * 0 + 1
    plan = cr.compile(gradients).trace(q, k, v, c).plan
    buffers = [kernel.static for kernel in plan.kernels if kernel.kind == "attention_grad"]
    assert buffers[0].queries == 200
    got = gradients(q, k, v, c, causal=False)[3].numpy()
    exact = reference(q, k, v, c, False)[3]
    np.testing.assert_allclose(got, exact, rtol=0.006)


@pytest.mark.parametrize("length", [50, 70])
def test_bits_do_not_depend_on_threads_or_on_other_heads(length, host):
    given = [values(3, 5, length, 12, seed=i) for i in range(4)]
    before = cr.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            cr.set_num_threads(threads)
            found.append([x.numpy() for x in cr.compile(lambda *x: gradients(*x))(*given)])
    finally:
        cr.set_num_threads(before)
    alone = gradients(*(x[1, 2] for x in given))
    for one, two, single in zip(*found, alone):
        assert one.tobytes() == two.tobytes()
        assert one[1, 2].tobytes() == single.numpy().tobytes()


def test_operands_that_do_not_go_by_pairs_are_copied(host):
    """Features that do not lie side by side, or begin at an odd place."""
    given = [values(2, 24, 34, seed=i) for i in range(4)]
    expected = gradients(*given)
    turned = [cr.asarray(np.ascontiguousarray(np.swapaxes(x.numpy(), 1, 2))).astype("bfloat16") for x in given]
    got = cr.compile(lambda *x: gradients(*(y.mT for y in x)))(*turned)
    moved = [cr.concat([x[..., :1], x, x[..., :2]], axis=-1) for x in given]
    also = cr.compile(lambda *x: gradients(*(y[..., 1:35] for y in x)))(*moved)
    for one, other, third in zip(got, also, expected):
        np.testing.assert_array_equal(one.numpy(), third.numpy())
        np.testing.assert_array_equal(other.numpy(), third.numpy())


@pytest.mark.parametrize("beside", [1, 2])
def test_results_inside_a_concatenation(beside, host):
    """Behind an odd number of others they do not lie by pairs."""
    q, k, v, c = (values(2, 24, 8, seed=i) for i in range(4))

    def joined(q, k, v, c):
        y, dq, dk, dv = gradients(q, k, v, c)
        return cr.concat([c[..., :beside], dq, dk, dv], axis=-1), cr.concat([c[..., :beside], y], axis=-1) * 2

    for one, again in zip(cr.compile(joined)(q, k, v, c), joined(q, k, v, c)):
        np.testing.assert_array_equal(one.numpy(), again.numpy())
    parts = [x.numpy() for x in gradients(q, k, v, c)[1:]]
    np.testing.assert_array_equal(cr.compile(joined)(q, k, v, c)[0].numpy()[..., beside:], np.concatenate(parts, -1))


def test_hidden_keys_do_not_count_whatever_they_are(host):
    q, k, v, c = (values(2, 100, 16, seed=i).numpy().copy() for i in range(4))
    k[:, 72:], v[:, 72:] = np.nan, np.inf
    c[:, 72:] = 0

    def found(length):
        given = (cr.asarray(x[:, :length]).astype("bfloat16") for x in (q, k, v, c))
        return [x.numpy()[:, :72] for x in gradients(*given)[:2]]

    for whole, part in zip(found(100), found(72)):
        np.testing.assert_array_equal(whole, part)


def test_special_scores(host):
    """As the softmax has them: NaN for a row with NaN or an infinite largest score, 0 for what is far below."""
    q = cr.asarray(np.ones((16, 2), np.float32)).astype("bfloat16")
    v = cr.asarray(np.arange(32, dtype=np.float32).reshape(16, 2)).astype("bfloat16")
    k = np.full((16, 2), -1e30, np.float32)
    k[5] = 3.0

    def result(k):
        return ATTEND(q, cr.asarray(k).astype("bfloat16"), v).numpy()

    assert (result(k) == [10, 11]).all()
    for special in (np.nan, np.inf):
        k[7] = special
        assert np.isnan(result(k)).all()


@pytest.mark.parametrize("scale", [-0.5, 0.0])
def test_other_factors_of_the_scores(scale, host):
    q, k, v = (values(2, 20, 8, seed=i) for i in range(3))
    got = cr.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale).numpy()
    scores = np.where(np.tri(20, dtype=bool), q.numpy() @ np.swapaxes(k.numpy(), 1, 2) * scale, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    near(got, weights / weights.sum(-1, keepdims=True) @ v.numpy())


def test_derivatives_of_every_order():
    given = [values(2, 20, 8, seed=i, dtype="float32") for i in range(4)]

    def loss(*x):
        return cr.sum(cr.sin(ATTEND(*x[:3], is_causal=True)) * x[3])

    def second(*x):
        return cr.grad(lambda *y: sum(cr.sum(g * g) for g in cr.grad(loss, (0, 1, 2))(*y)), (0, 1, 2, 3))(*x)

    def forward(*x):
        return cr.jvp(lambda *y: ATTEND(*y, is_causal=True), x[:3], tuple(cr.cos(y) for y in x[:3]))

    for function in (second, forward):
        exact = function(*given)
        with cr.autocast("bfloat16"):
            found = function(*given)
        for got, wanted in zip(found, exact):
            assert got.dtype is cr.float32
            error = np.abs(got.numpy() - wanted.numpy())
            assert 0 < error.max() < 0.06 * np.abs(wanted.numpy()).max()
    lanes = cr.vmap(lambda *x: cr.grad(loss)(*x))(*given)
    for lane in range(2):
        np.testing.assert_array_equal(lanes[lane].numpy(), cr.grad(loss)(*(x[lane] for x in given)).numpy())


def test_a_transformer_follows_float32():
    """Its losses while it learns to give back what it saw two places before."""

    def losses(enabled):
        cr.manual_seed(0)
        model = nn.Sequential(
            nn.Embedding(8, 32), nn.SinusoidalPositions(32, 32),
            nn.TransformerEncoderLayer(32, 2, 64, 0.0, "gelu", batch_first=True), nn.Linear(32, 8),
        )  # fmt: skip
        optimizer = cr.optim.Adam(model.parameters(), lr=3e-3)
        tokens = cr.asarray(np.random.default_rng(1).integers(0, 8, (16, 32)))
        wanted = cr.concat([tokens[:, :2], tokens[:, :-2]], axis=1)

        @cr.compile
        def step():
            optimizer.zero_grad()
            with cr.autocast("bfloat16", enabled=enabled):
                outputs = model(tokens)
            loss = cr.functional.cross_entropy(outputs.reshape((-1, 8)), wanted.reshape((-1,)))
            loss.backward()
            optimizer.step()
            return loss

        return np.array([step().item() for _ in range(60)])

    full, low = losses(False), losses(True)
    assert full[-1] < 0.8 * full[0] and not np.array_equal(full, low)
    np.testing.assert_allclose(low, full, rtol=0.03, atol=0.01)
