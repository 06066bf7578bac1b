"""Attention with kernels of its own: that they are taken, for what, and that only shapes and values decide bits."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import pytest

import chainrule as cr
from chainrule.backends.cpu import toolchain
from chainrule.backends.cpu.codegen import kernel_module
from chainrule.compiler.attention import KINDS, attention_flops, operand_shapes
from chainrule.compiler.schedule import SEQUENCES

ATTEND = cr.functional.scaled_dot_product_attention


def values(*shape: int, seed: int = 0, dtype: str = "float32") -> cr.Tensor:
    return cr.asarray(np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype))


def kernels(function, *args) -> list:
    """(kernel, what it is called) of a compiled function's program."""
    plan = cr.compile(function).trace(*args).plan
    calls = [call for region in plan.regions for task in region.tasks for call in task.calls]
    return [(plan.kernels[call.kernel].with_arguments(call.arguments), call.label) for call in calls]


def gradients(*given, argnums=(0, 1, 2), causal=True):
    *operands, c = given
    y, pull = cr.vjp(lambda *x: ATTEND(*x, is_causal=causal), *operands)
    found = pull(c)
    return (y, *(found[n] for n in argnums))


def reference(q, k, v, c, causal):
    """The result and all gradients, written out in float64."""
    q, k, v, c = (x.numpy().astype(float) for x in (q, k, v, c))
    scale = 1 / np.sqrt(q.shape[-1])
    scores = np.einsum("...me,...ne->...mn", q, k) * scale
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    y = p @ v
    change = p * (np.einsum("...mf,...nf->...mn", c, v) - (c * y).sum(-1, keepdims=True)) * scale
    return y, change @ k, np.swapaxes(change, -1, -2) @ q, np.swapaxes(p, -1, -2) @ c


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "m, n, e, f",
    [(64, 64, 32, 32), (65, 70, 20, 17), (16, 130, 7, 1), (200, 31, 1, 48), (33, 520, 40, 33), (530, 529, 8, 16)],
)
def test_values_and_gradients(causal, dtype, m, n, e, f):
    """Whole and partial blocks of queries and keys, vectors and tiles; kept exponentials and log-sum-exps."""
    q, k, v, c = (values(2, *s, seed=i, dtype=dtype) for i, s in enumerate(((m, e), (n, e), (n, f), (m, f))))
    got = cr.compile(lambda *x: gradients(*x, causal=causal))(q, k, v, c)
    for one, again, exact in zip(got, gradients(q, k, v, c, causal=causal), reference(q, k, v, c, causal)):
        np.testing.assert_array_equal(one.numpy(), again.numpy())
        loose = (3e-6 if dtype == "float32" else 1e-14) * np.abs(exact).max()
        np.testing.assert_allclose(one.numpy(), exact, rtol=0, atol=loose)


def test_one_kernel_forwards_and_one_backwards():
    q, k, v, c = (values(3, 40, 24, seed=i) for i in range(4))
    found = kernels(gradients, q, k, v, c)
    assert [label for _, label in found] == ["attention", "attention_grad"]
    forward, backward = (kernel for kernel, _ in found)
    assert forward.static.kept and forward.static.wanted == (True, True)
    assert backward.static.wanted == (True, True, True)
    seen = 40 * 41 // 2
    assert attention_flops(forward) == 2 * 3 * seen * 48 and attention_flops(backward) == 2 * attention_flops(forward)
    assert operand_shapes(forward)[4] == (1, 41, 64)
    forward, backward = (kernel for kernel, _ in kernels(lambda *x: gradients(*x, argnums=(2,))[1:], q, k, v, c))
    assert backward.static.wanted == (False, False, True)
    ((forward, _),) = kernels(lambda *x: ATTEND(*x), q, k, v)
    assert forward.static.wanted == (True, False)


def test_explanation_names_what_is_computed():
    q, k, v, c = (values(3, 40, 24, seed=i) for i in range(4))
    explanation = cr.explain(gradients, q, k, v, c)
    assert "3 x 40v x r40" in str(explanation)
    assert "result, what is kept; kept: exponentials; keys up to the query's own" in str(explanation.kernel(0))
    assert "gradients of queries, keys, values; kept: exponentials" in str(explanation.kernel(1))
    assert explanation.assembly(1)


def test_a_constant_cotangent_is_stored_once():
    x = values(3, 40, 24)
    found = kernels(cr.grad(lambda x: cr.sum(ATTEND(x, x, x))), x)
    assert [label for _, label in found][:3] == ["attention", "copy", "attention_grad"] and len(found) == 4


def test_long_sequences_keep_the_log_sum_exp_alone():
    q = values(2, 1024, 16)
    (forward, _), (backward, _) = kernels(gradients, q, q, q, q)
    assert not forward.static.kept and not backward.static.kept
    arena = cr.compile(gradients).trace(q, q, q, q).program().plan.arena_bytes
    assert arena < 2 * 1024 * 1024 * 4 / 10


def test_heads_of_a_projection_are_not_copied():
    """Queries, keys and values are views of one product; the result and the gradients lie as they do."""
    x = values(4, 32, 96)

    def attend(x):
        q, k, v = (p.reshape((4, 32, 2, 16)).permute(0, 2, 1, 3) for p in (x[..., :32], x[..., 32:64], x[..., 64:]))
        return ATTEND(q, k, v, is_causal=True).permute(0, 2, 1, 3)

    found = kernels(attend, x)
    assert [label for _, label in found] == ["attention"]
    assert found[0][0].sizes == (4, 2)
    plain = [np.ascontiguousarray(np.moveaxis(p.reshape(4, 32, 2, 16), 2, 1)) for p in np.split(x.numpy(), 3, -1)]
    expected = ATTEND(*map(cr.asarray, plain), is_causal=True).numpy()
    np.testing.assert_array_equal(cr.compile(attend)(x).numpy(), np.moveaxis(expected, 1, 2))


def test_gradients_of_a_projection_are_not_copied():
    """They are computed where the projection's gradient wants them, though it is a concatenation of them."""
    x, c = values(4, 32, 3, 2, 16), values(4, 32, 2, 16)

    def gradient(x, c):
        q, k, v = (x[:, :, n].permute(0, 2, 1, 3) for n in range(3))
        _, pull = cr.vjp(lambda *x: ATTEND(*x, is_causal=True).permute(0, 2, 1, 3), q, k, v)
        return cr.stack([part.permute(0, 2, 1, 3) for part in pull(c)], axis=2)

    found = kernels(gradient, x, c)
    assert [label for _, label in found] == ["attention", "attention_grad"]
    np.testing.assert_array_equal(cr.compile(gradient)(x, c).numpy(), gradient(x, c).numpy())


def test_short_sequences_fetch_the_next_head():
    """A head of a long sequence takes longer to work on than to fetch, and is fetched by itself."""
    for length, expected in ((64, True), (40, True), (65, False)):
        q = values(2, 3, length, 24)
        kernel = next(kernel for kernel, label in kernels(gradients, q, q, q, q) if label == "attention_grad")
        assert ("llvm.prefetch" in kernel_module([("k", kernel)], toolchain.host())) == expected


def test_parts_of_two_concatenations_and_twice_of_one():
    x = values(6, 4)

    def joined(x):
        a, b = cr.exp(x), cr.tanh(x)
        apart = cr.reshape(a, (6, 1, 4))
        rows = [cr.concat([a, a, a[:2], cr.reshape(apart, (6, 4))]), cr.concat([b, b[::-1], -b], axis=1)]
        return [*rows, cr.stack([a * 2, a * 2, a + 1], axis=1), cr.concat([apart, cr.reshape(b, (6, 1, 4))], axis=1)]

    for one, again in zip(cr.compile(joined)(x), joined(x), strict=True):
        np.testing.assert_array_equal(one.numpy(), again.numpy())


def test_parts_that_numpy_computes():
    z = np.array([1 + 2j, 3 + 4j, 5 - 6j], np.complex64)

    def joined(z):
        parts = cr.real(z), cr.imag(z)
        return cr.concat(parts), cr.stack(parts), cr.stack([part * 2 for part in parts], axis=1)

    expected = [1, 3, 5, 2, 4, -6], [[1, 3, 5], [2, 4, -6]], [[2, 4], [6, 8], [10, -12]]
    for function in (joined, cr.compile(joined)):
        for one, exact in zip(function(cr.asarray(z)), expected, strict=True):
            assert one.tolist() == exact


def test_features_that_do_not_lie_side_by_side():
    q, k, v, c = (values(2, 24, 33, seed=i) for i in range(4))
    expected = gradients(*(cr.asarray(np.ascontiguousarray(np.swapaxes(x.numpy(), 1, 2))) for x in (q, k, v, c)))
    got = cr.compile(lambda *given: gradients(*(x.mT for x in given)))(q, k, v, c)
    for one, other in zip(got, expected):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("length", [70, 600])
def test_bits_do_not_depend_on_threads_or_on_other_heads(length):
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


def test_hidden_keys_do_not_count_whatever_they_are():
    """What a query does not see, nor the eight that it is computed with, is not touched: no infinity gets through."""
    q, k, v = (values(2, 100, 16, seed=i).numpy().copy() for i in range(3))
    k[:, 72:], v[:, 72:] = np.nan, np.inf
    full = ATTEND(*map(cr.asarray, (q, k, v)), is_causal=True).numpy()[:, :72]
    part = ATTEND(*(cr.asarray(x[:, :72]) for x in (q, k, v)), is_causal=True).numpy()
    np.testing.assert_array_equal(full, part)


def test_special_scores():
    """As the softmax has them: NaN for a row with NaN or an infinite largest score, 0 for what is far below."""
    q = cr.asarray(np.ones((16, 1), np.float32))
    v = cr.asarray(np.arange(16, dtype=np.float32)[:, None])
    k = np.full((16, 1), -1e30, np.float32)
    k[5] = 3.0
    assert (ATTEND(q, cr.asarray(k), v).numpy() == 5).all()
    for special in (np.nan, np.inf):
        k[7] = special
        assert np.isnan(ATTEND(q, cr.asarray(k), v).numpy()).all()


class Guarded:
    """Arrays whose last element is the last of a page, behind which nothing may be read or written."""

    def __init__(self) -> None:
        self.maps: list = []

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape)) * 4
        pages = -(-size // mmap.PAGESIZE)
        memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
        self.maps.append(memory)
        whole = np.frombuffer(memory, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        behind = whole.ctypes.data + pages * mmap.PAGESIZE
        assert libc.mprotect(ctypes.c_void_p(behind), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        return whole[pages * mmap.PAGESIZE - size : pages * mmap.PAGESIZE].view(np.float32).reshape(shape)


@pytest.mark.skipif(not hasattr(mmap, "MAP_ANONYMOUS"), reason="needs POSIX memory protection")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("m, n, e, f", [(33, 21, 5, 19), (70, 66, 16, 8), (40, 530, 3, 3)])
def test_nothing_beyond_the_operands_is_touched(causal, m, n, e, f):
    from chainrule import runtime
    from chainrule.graph.node import topological
    from chainrule.ops.base import emit
    from chainrule.ops.leaf import constant

    rng, guarded = np.random.default_rng(0), Guarded()
    arrays = [guarded.array(shape) for shape in ((m, e), (n, e), (n, f), (m, f))]
    for array in arrays:
        array[...] = rng.normal(size=array.shape)
    q, k, v, c = map(constant, arrays)
    attributes = (causal, 0.5)
    y = emit("fused_attention", q, k, v, attributes=attributes)
    kept = emit("fused_attention_kept", q, k, v, attributes=attributes)
    parts = [emit("fused_attention_grad", q, k, v, y, kept, c, attributes=(*attributes, i)) for i in range(3)]
    outputs = [y, *parts]
    order = topological(outputs)
    program = runtime.compile_nodes(order, outputs, True)
    instance = program.acquire()
    results = [guarded.array(shape) for shape, _ in program.plan.outputs]
    for slots, array in zip((*program.leaf_slots, *program.output_slots), (*arrays, *results)):
        for slot in slots:
            instance.words_of_table[slot] = array.ctypes.data
    program.execute(instance, arrays, results, 1)
    assert all(np.isfinite(x).all() for x in results)


def test_the_kernels_are_known_to_the_scheduler():
    q, k, v, c = (values(8, 64, 32, seed=i) for i in range(4))
    plan = cr.compile(gradients).trace(q, k, v, c).plan
    assert {kernel.kind for kernel in plan.kernels} == KINDS
    tasks = [task for region in plan.regions for task in region.tasks]
    assert len(tasks) == 1 and tasks[0].chunk < 8  # head by head forwards and backwards, while it is in cache


@pytest.mark.parametrize("batch", [16, 15])
def test_sequences_pass_through_products_and_attention_while_they_are_in_cache(batch):
    """A row of the products is a position, one of attention a sequence: in a task of both, rows are sequences."""
    x, w, o = values(batch * 32, 24), values(24, 72, seed=1), values(24, 24, seed=2)

    def block(x, w, o):
        projected = x @ w
        parts = (projected[:, 24 * n : 24 * n + 24].reshape((batch, 32, 2, 12)).permute(0, 2, 1, 3) for n in range(3))
        y = ATTEND(*parts, is_causal=True)
        return y.permute(0, 2, 1, 3).reshape((batch * 32, 24)) @ o

    plan = cr.compile(block).trace(x, w, o).plan
    tasks = [(task.extent, [call.label for call in task.calls]) for region in plan.regions for task in region.tasks]
    assert ((batch, ["bmm", "attention", "bmm"]) in tasks) == (batch >= SEQUENCES)
    before = cr.get_num_threads()
    try:
        for threads in (1, 2):
            cr.set_num_threads(threads)
            np.testing.assert_array_equal(cr.compile(block)(x, w, o).numpy(), block(x, w, o).numpy())
    finally:
        cr.set_num_threads(before)
