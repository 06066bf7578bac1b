"""Scaled dot-product attention against PyTorch, in one piece and in blocks; derivatives, batching, refusals."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional as F
from chainrule.errors import ConfigError, DTypeError, ShapeError
from chainrule.functional import attention as module
from chainrule.ops import fused_attention

from .compare import close, same_as_torch, torch

TF = torch.nn.functional
RNG = np.random.default_rng(16)
ATTEND, TORCH = F.scaled_dot_product_attention, TF.scaled_dot_product_attention


@pytest.fixture(params=["whole", "blocks", "kernels"])
def form(request, monkeypatch):
    """The forms of the computation: the second with blocks that do not divide the number of queries, the third with
    kernels of its own where there is no mask and no dropout."""
    if request.param == "kernels":
        monkeypatch.setattr(fused_attention, "LEAST", 1)
    if request.param == "blocks":
        monkeypatch.setattr(module, "LONG", 0)
        monkeypatch.setattr(module, "ROWS", 4)
        monkeypatch.setattr(module, "block_rows", lambda num_queries: 4)
    return request.param


def operands(*lead, m=7, n=9, e=5, f=3):
    return [RNG.normal(size=(*lead, m, e)), RNG.normal(size=(*lead, n, e)), RNG.normal(size=(*lead, n, f))]


def keep(*shape):
    """A random bool mask; its first row holds nothing."""
    mask = RNG.uniform(size=shape) < 0.6
    mask[..., 0, :] = False
    return mask


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("lead", [(), (2, 3)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("m, n", [(7, 9), (9, 6), (1, 5), (8, 1)])
def test_values_and_gradients(form, lead, causal, m, n, dtype):
    options = {"is_causal": causal, "scale": 0.7 if causal else None}
    same_as_torch(
        lambda q, k, v: ATTEND(q, k, v, **options),
        lambda q, k, v: TORCH(q, k, v, **options),
        operands(*lead, m=m, n=n),
        dtype,
        scale=4.0,
    )


@pytest.mark.parametrize("shape", [(7, 9), (1, 9), (7, 1), (9,), (3, 7, 9), (2, 1, 7, 9), (2, 1, 1, 9), (2, 3, 7, 1)])
def test_masks(form, shape):
    q, k, v = operands(2, 3)
    same_as_torch(ATTEND, lambda q, k, v, mask: TORCH(q, k, v, mask.expand(2, 3, 7, 9)), [q, k, v, keep(1, *shape)[0]])
    bias = RNG.normal(size=shape)
    same_as_torch(ATTEND, lambda q, k, v, mask: TORCH(q, k, v, mask.expand(2, 3, 7, 9)), [q, k, v, bias])


@pytest.mark.parametrize("seed", range(16))
def test_random_shapes_masks_and_blocks(seed, monkeypatch):
    """In the interpreter, to be fast; of operands that are permuted views."""
    rng = np.random.default_rng(seed)
    monkeypatch.setenv("CHAINRULE_BACKEND", "interpreter")
    rows = int(rng.integers(1, 7))
    monkeypatch.setattr(module, "LONG", 0 if seed % 4 else module.LONG)
    monkeypatch.setattr(module, "block_rows", lambda num_queries: rows)
    lead = tuple(int(x) for x in rng.integers(1, 4, size=rng.integers(0, 4)))
    m, n, e, f = (int(x) for x in rng.integers(1, 12, size=4))
    arrays = [rng.normal(size=(*lead, *shape)) for shape in ((e, m), (e, n), (n, f))]
    kind = ("none", "causal", "bool", "bias")[int(rng.integers(0, 4))]
    if kind in ("bool", "bias"):
        shape = [int(x) if rng.integers(0, 2) else 1 for x in (*lead, m, n)]
        arrays.append(rng.uniform(size=shape) < 0.7 if kind == "bool" else rng.normal(size=shape))

    def ours(q, k, v, *mask):
        return ATTEND(q.mT, k.mT, v, *mask, is_causal=kind == "causal")

    def theirs(q, k, v, *mask):
        mask = [x.expand(*lead, m, n) for x in mask]
        return TORCH(q.mT, k.mT, v, *mask, is_causal=kind == "causal")

    same_as_torch(ours, theirs, arrays)


def test_query_without_keys_gives_zeros_and_no_gradient(form):
    q, k, v = operands(2)
    for mask in (keep(7, 9), np.where(keep(7, 9), 0.3, -np.inf)):
        leaves = [cr.asarray(x).requires_grad_() for x in (q, k, v)]
        y = ATTEND(*leaves, cr.asarray(mask))
        y.sum().backward()
        assert (y.detach().numpy()[:, 0] == 0).all()
        assert (leaves[0].grad.numpy()[:, 0] == 0).all()
        assert all(np.isfinite(x.grad.numpy()).all() for x in leaves)


def test_additive_mask_with_infinities_equals_the_bool_mask(form):
    q, k, v = map(cr.asarray, operands(2, 3))
    mask = keep(7, 9)
    close(ATTEND(q, k, v, cr.asarray(np.where(mask, 0.0, -np.inf))).numpy(), ATTEND(q, k, v, cr.asarray(mask)).numpy())


def test_large_scores_do_not_overflow(form):
    arrays = [x * scale for x, scale in zip(operands(2), (1e3, 1e3, 1.0))]
    leaves = [cr.asarray(x).requires_grad_() for x in arrays]
    y = ATTEND(*leaves)
    close(y.detach().numpy(), TORCH(*map(torch.tensor, arrays)).numpy())
    y.sum().backward()
    assert all(np.isfinite(x.grad.numpy()).all() for x in leaves)


def test_grouped_heads(form):
    q, _, _ = operands(2, 6)
    _, k, v = operands(2, 3)
    same_as_torch(
        lambda q, k, v: ATTEND(q, k, v, enable_gqa=True), lambda q, k, v: TORCH(q, k, v, enable_gqa=True), [q, k, v]
    )


def test_leading_axes_broadcast(form):
    q, k, v = operands(2, 3)
    same_as_torch(ATTEND, lambda q, k, v: TORCH(q, k.expand(2, 3, 9, 5), v.expand(2, 3, 9, 3)), [q, k[:1], v[0, 0]])


def test_dropout_keeps_the_expectation():
    q, k, _ = (cr.asarray(x) for x in operands(400, m=2, n=3))
    v = cr.ones((400, 3, 4), dtype="float64")
    cr.manual_seed(0)
    y = ATTEND(q, k, v, dropout_p=0.25).numpy()
    assert abs(y.mean() - 1) < 0.03 and y.std() > 0.1
    assert (ATTEND(q, k, v, dropout_p=1.0).numpy() == 0).all()


def difference(f, x, t, step=1e-5):
    return (f(x + step * t) - f(x - step * t)) / (2 * step)


@pytest.mark.parametrize("masked", ["none", "causal", "bool", "bias"])
def test_forward_mode_and_second_order(form, masked):
    """jvp, and the gradient of a gradient, against central differences in all operands at once."""
    q, k, v = operands(2)
    bias = RNG.normal(size=(1, 7, 9))
    shapes, weight = [q.shape, k.shape, v.shape, bias.shape], cr.asarray(RNG.normal(size=(2, 7, 3)))
    ends = np.cumsum([0, *(math.prod(s) for s in shapes)])
    mask = cr.asarray(keep(7, 9))

    def attention(x):
        a, b, c, d = (x[int(i) : int(j)].reshape(s) for i, j, s in zip(ends, ends[1:], shapes))
        if masked == "causal":
            return ATTEND(a, b, c, is_causal=True)
        return ATTEND(a, b, c, {"none": None, "bool": mask, "bias": d}[masked])

    x, t = RNG.normal(size=ends[-1]), RNG.normal(size=ends[-1])
    _, tangent = cr.jvp(attention, (cr.asarray(x),), (cr.asarray(t),))
    expected = difference(lambda x: attention(cr.asarray(x)).numpy(), x, t)
    np.testing.assert_allclose(tangent.numpy(), expected, rtol=1e-6, atol=1e-8)
    gradient = cr.grad(lambda x: cr.sum(attention(x) * weight))
    expected = difference(lambda x: gradient(cr.asarray(x)).numpy(), x, t)
    again = cr.grad(lambda x: cr.sum(gradient(x) * cr.asarray(t)))(cr.asarray(x))
    np.testing.assert_allclose(again.numpy(), expected, rtol=1e-6, atol=1e-8)
    _, forward = cr.jvp(gradient, (cr.asarray(x),), (cr.asarray(t),))
    np.testing.assert_allclose(forward.numpy(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("axes", [(0, 0, 0, None), (0, None, 0, 0), (None, 0, None, 0)])
def test_vmap(form, axes):
    arrays = [*operands(3, 2), keep(3, 7, 9)]
    arrays = [cr.asarray(x if axis == 0 else x[0]) for x, axis in zip(arrays, axes)]

    def loss(q, k, v, mask):
        return cr.sum(cr.sin(ATTEND(q, k, v, mask)))

    def one(i):
        return [x[i] if axis == 0 else x for x, axis in zip(arrays, axes)]

    got = cr.vmap(cr.grad(loss, (0, 1, 2)), in_axes=axes)(*arrays)
    for i in range(3):
        for ours, expected in zip(got, cr.grad(loss, (0, 1, 2))(*one(i))):
            close(ours.numpy()[i], expected.numpy())


@pytest.mark.parametrize("causal", [False, True])
def test_compiled_gives_the_same_bits(form, causal):
    arrays = [cr.asarray(x.astype(np.float32)) for x in operands(2)]

    def step(q, k, v):
        return cr.value_and_grad(lambda *x: cr.sum(cr.sin(ATTEND(*x, is_causal=causal))), (0, 1, 2))(q, k, v)

    plain, compiled = step(*arrays), cr.compile(step)(*arrays)
    assert plain[0].item() == compiled[0].item()
    for a, b in zip(plain[1], compiled[1]):
        assert (a.numpy() == b.numpy()).all()


@pytest.mark.parametrize("causal", [False, True])
def test_autocast_rounds_the_operands_of_both_products(form, causal):
    arrays = [cr.asarray(x.astype(np.float32)) for x in operands(2)]

    def step(*x):
        return cr.value_and_grad(lambda *x: cr.sum(cr.sin(ATTEND(*x, is_causal=causal))), (0, 1, 2))(*x)

    value, gradients = step(*arrays)
    with cr.autocast("bfloat16"):
        rounded, found = step(*arrays)
        compiled = cr.compile(step)(*arrays)
    assert rounded.item() != value.item() and rounded.item() == compiled[0].item()
    assert rounded.item() == pytest.approx(value.item(), rel=0.02, abs=0.1)
    for a, b in zip(found, gradients):
        assert a.dtype is cr.float32
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=0.1, atol=0.05)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("lead", [1, 8])
def test_long_sequences_never_hold_all_scores(lead, backward):
    x = cr.zeros((lead, 1024, 8))

    def attention(x):
        return ATTEND(x, x, x)

    f = cr.grad(lambda x: cr.sum(attention(x))) if backward else attention
    assert cr.compile(f).trace(x).program().plan.arena_bytes < lead * 1024 * 1024 * 4 * 0.7


def test_form_follows_from_shapes():
    def kind(length, features=2, dtype="float32", **options):
        x = cr.zeros((length, features), dtype=dtype)
        seen, stack = set(), [ATTEND(x, x, x, **options)._node]
        while stack:
            node = stack.pop()
            seen.add(node.op.name)
            stack.extend(node.inputs)
        return next((name for name in ("attention", "fused_attention") if name in seen), "whole")

    mask = cr.ones((1, 1), dtype="bool")
    assert kind(512, attn_mask=mask) == "whole" and kind(513, attn_mask=mask) == "attention"
    assert kind(513, dropout_p=0.1) == kind(16, dropout_p=0.1) == "whole"
    assert kind(15) == "whole" and kind(16) == kind(513, dropout_p=0) == kind(16, dtype="float64") == "fused_attention"
    assert kind(16, 257) == "whole" and kind(513, 257) == "attention"
    low = {"dtype": "bfloat16"}
    assert kind(16, **low) == kind(512, **low) == "fused_attention"
    assert kind(15, **low) == kind(16, 3, **low) == "whole" and kind(513, **low) == "attention"
    with cr.autocast("bfloat16"):
        assert kind(16) == kind(512) == kind(16, dtype="float64") == "fused_attention"
        assert kind(16, 3) == "whole" and kind(513) == "attention"
    with cr.autocast("float16"):
        assert kind(16) == "whole"
    assert [module.block_rows(n) for n in (1, 513, 4096, 4097, 10000)] == [128, 128, 128, 192, 320]


def at(*shape, dtype="float32"):
    return cr.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    "arguments, options, error, text",
    [
        ((at(2, 4, 8), at(2, 5, 7), at(2, 5, 8)), {}, ShapeError,
         "query has 8 features (axis -1), key has 7; operands float32[2, 4, 8], float32[2, 5, 7], float32[2, 5, 8]"),
        ((at(2, 4, 8), at(2, 5, 8), at(2, 6, 8)), {}, ShapeError, "there are 5 keys (axis -2) and 6 values; operands "),
        ((at(2, 4, 8), at(3, 5, 8), at(3, 5, 8)), {}, ShapeError, "leading axis -3 has 2 and 3 elements; operands "),
        ((at(2, 0, 8), at(2, 5, 8), at(2, 5, 8)), {}, ShapeError, "query is a sequence of length zero (axis -2); "),
        ((at(2, 4, 8), at(2, 0, 8), at(2, 0, 8)), {}, ShapeError, "key is a sequence of length zero (axis -2); "),
        ((at(8), at(5, 8), at(5, 8)), {}, ShapeError, "query needs axes (..., length, features), it has 1; operands "),
        ((at(4, 8), at(5, 8), at(5, 8)), {"attn_mask": at(5, 4, dtype="bool")}, ShapeError,
         "attn_mask has shape (5, 4), which does not broadcast to the scores (4, 5); "
         "operands float32[4, 8], bool[5, 4]"),
        ((at(4, 8), at(5, 8), at(5, 8)), {"attn_mask": at(1, 4, 5, dtype="bool")}, ShapeError,
         "attn_mask has shape (1, 4, 5), which does not broadcast to the scores (4, 5); "),
        ((at(4, 8), at(5, 8), at(5, 8)), {"attn_mask": at(4, 5, dtype="int64")}, DTypeError,
         "attn_mask is int64, it has to be bool or float32; "),
        ((at(4, 8), at(5, 8), at(5, 8, dtype="float64")), {}, DTypeError, "query is float32, value is float64; "),
        ((at(4, 8), at(4, 8), at(4, 8)), {"attn_mask": at(4, 4, dtype="bool"), "is_causal": True}, ConfigError,
         "attn_mask and is_causal exclude each other"),
        ((at(4, 8), at(4, 8), at(4, 8)), {"dropout_p": 1.5}, ConfigError,
         "dropout_p must lie between 0 and 1, not 1.5"),
        ((at(5, 4, 8), at(2, 4, 8), at(2, 4, 8)), {"enable_gqa": True}, ShapeError,
         "5 heads of query (axis -3) are no multiple of the 2 heads of key; "),
    ],
)  # fmt: skip
def test_refusals(arguments, options, error, text):
    with pytest.raises(error) as caught:
        ATTEND(*arguments, **options)
    message = str(caught.value)
    assert message.startswith("scaled_dot_product_attention: " + text), message
    if error is not ConfigError:
        assert "test_attention.py:" in message


def test_a_scale_that_is_learned_has_a_gradient(form):
    arrays = [*RNG.normal(size=(3, 2, 7, 4)), np.array(0.3)]
    same_as_torch(lambda q, k, v, s: ATTEND(q, k, v, scale=s), lambda q, k, v, s: TORCH(q * s, k, v, scale=1.0), arrays)
    with pytest.raises(ShapeError, match=r"scale has shape \(2,\), it is one number"):
        ATTEND(*map(cr.asarray, arrays[:3]), scale=cr.ones(2))


def test_fewer_heads_of_keys_are_told_of_their_option():
    query, key = cr.ones((1, 4, 2, 8)), cr.ones((1, 2, 2, 8))
    with pytest.raises(ShapeError, match=r"leading axis -3 has 2 and 4 elements; .*\n.*\nhelp: enable_gqa=True lets"):
        F.scaled_dot_product_attention(query, key, key)
    with pytest.raises(ShapeError, match=r"leading axis -3 has 2 and 4 elements; [^\n]*\nrecorded at \S+$"):
        F.scaled_dot_product_attention(key, query, query)
