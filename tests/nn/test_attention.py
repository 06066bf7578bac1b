"""Multi-head attention against PyTorch: masks, weights, projections; refusals."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError, DTypeError, ShapeError
from chainrule.functional import attention as functional

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(17)
N, L, S, D, H = 3, 4, 5, 8, 2


def pair(**options):
    """The same layer on both sides, in float64, all parameters drawn."""
    theirs = torch.nn.MultiheadAttention(D, H, **options).double()
    state = {name: RNG.normal(size=tuple(value.shape)) / 2 for name, value in theirs.state_dict().items()}
    theirs.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    ours = nn.MultiheadAttention(D, H, dtype="float64", **options)
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict(state)
    return ours, theirs


def compare(ours, theirs, arrays, masks, causal=False, **options):
    """Results, weights, and gradients of operands, floating masks and parameters agree to 1e-10.

    With `causal`, ours is told so, and only PyTorch's gets a mask for it.
    """
    a = [cr.asarray(x).requires_grad_() for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    floating = [name for name, mask in masks.items() if mask.dtype.kind == "f"]
    mask_a = {name: cr.asarray(mask) for name, mask in masks.items()}
    mask_b = {name: torch.tensor(mask) for name, mask in masks.items()}
    for name in floating:
        mask_a[name].requires_grad_()
        mask_b[name].requires_grad_()
    if causal:
        mask_b["attn_mask"] = torch.triu(torch.ones(arrays[0].shape[1], arrays[1].shape[1], dtype=torch.bool), 1)
    (y_a, w_a), (y_b, w_b) = ours(*a, is_causal=causal, **mask_a, **options), theirs(*b, **mask_b, **options)
    results = [(y_a, y_b)]
    if w_b is None:
        assert w_a is None
    else:
        results.append((w_a, w_b))
    total_a, total_b = 0.0, 0.0
    for left, right in results:
        np.testing.assert_allclose(left.detach().numpy(), right.detach().numpy(), rtol=1e-10, atol=1e-12)
        weight = RNG.normal(size=tuple(right.shape))
        total_a, total_b = total_a + (left * cr.asarray(weight)).sum(), total_b + (right * torch.tensor(weight)).sum()
    for module in (ours, theirs):
        module.zero_grad()
    total_a.backward()
    total_b.backward()
    leaves = [*zip(a, b), *((mask_a[name], mask_b[name]) for name in floating)]
    named = dict(theirs.named_parameters())
    assert sorted(named) == sorted(name for name, _ in ours.named_parameters())
    leaves += [(parameter, named[name]) for name, parameter in ours.named_parameters()]
    for left, right in leaves:
        np.testing.assert_allclose(left.grad.numpy(), right.grad.numpy(), rtol=1e-10, atol=1e-12)


def operands(batch_first, kdim=D, vdim=D):
    shapes = [(L, N, D), (S, N, kdim), (S, N, vdim)]
    arrays = [RNG.normal(size=shape) for shape in shapes]
    return [x.swapaxes(0, 1).copy() for x in arrays] if batch_first else arrays


def left_out(*shape):
    """A bool mask that leaves the last key to every query."""
    mask = RNG.uniform(size=shape) < 0.4
    mask[..., -1] = False
    return mask


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 6, "vdim": 7},
     {"kdim": 6, "add_bias_kv": True, "add_zero_attn": True}],
)  # fmt: skip
@pytest.mark.parametrize("need_weights", [False, True])
def test_layer_with_a_padding_mask_and_a_mask(batch_first, options, need_weights):
    ours, theirs = pair(batch_first=batch_first, **options)
    arrays = operands(batch_first, options.get("kdim", D), options.get("vdim", D))
    masks = {"key_padding_mask": left_out(N, S), "attn_mask": left_out(L, S)}
    compare(ours, theirs, arrays, masks, need_weights=need_weights)


@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("kind", ["bool", "floating", "mixed"])
@pytest.mark.parametrize("heads", [False, True])
def test_kinds_of_masks(kind, heads):
    ours, theirs = pair()
    shape = (N * H, L, S) if heads else (L, S)
    attn = left_out(*shape) if kind != "floating" else RNG.normal(size=shape)
    padding = left_out(N, S) if kind == "bool" else RNG.normal(size=(N, S))
    compare(ours, theirs, operands(False), {"attn_mask": attn}, need_weights=False)
    compare(ours, theirs, operands(False), {"key_padding_mask": padding}, average_attn_weights=False)
    compare(ours, theirs, operands(False), {"attn_mask": attn, "key_padding_mask": padding})


def test_one_example_and_self_attention():
    ours, theirs = pair(batch_first=True)
    arrays = [x[:, 0] for x in operands(False)]
    compare(ours, theirs, arrays, {"key_padding_mask": left_out(S), "attn_mask": left_out(L, S)})
    x = RNG.normal(size=(N, L, D))
    a, b = cr.asarray(x), torch.tensor(x)
    np.testing.assert_allclose(ours(a, a, a)[0].detach().numpy(), theirs(b, b, b)[0].detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(ours(a[:, :2], a, a)[0].detach().numpy(), ours(a, a, a)[0].detach().numpy()[:, :2])


def test_blocks_with_padding_and_causal_equal_torch(monkeypatch):
    monkeypatch.setattr(functional, "LONG", 0)
    monkeypatch.setattr(functional, "block_rows", lambda num_queries: 2)
    ours, theirs = pair(batch_first=True)
    arrays = [RNG.normal(size=(N, S, D)) for _ in range(3)]
    padding = left_out(N, S)
    padding[:, 0], padding[:, -1] = False, True
    compare(ours, theirs, arrays, {"key_padding_mask": padding}, causal=True, need_weights=False)


def test_is_causal_needs_no_mask_and_agrees_with_it():
    ours, _ = pair(batch_first=True)
    x = cr.asarray(RNG.normal(size=(N, L, D)))
    mask = cr.asarray(np.triu(np.ones((L, L), bool), 1))
    expected = ours(x, x, x, attn_mask=mask)[0].detach().numpy()
    for options in ({}, {"attn_mask": mask}, {"need_weights": False}):
        np.testing.assert_allclose(ours(x, x, x, is_causal=True, **options)[0].detach().numpy(), expected, rtol=1e-12)


def test_all_keys_left_out_gives_weights_of_zero():
    ours, _ = pair(batch_first=True)
    x = cr.asarray(RNG.normal(size=(N, L, D))).requires_grad_()
    padding = cr.asarray(np.arange(N)[:, None] * np.ones((N, L)) == 1)
    y, weights = ours(x, x, x, key_padding_mask=padding)
    y.sum().backward()
    assert (weights.detach().numpy()[1] == 0).all() and np.isfinite(x.grad.numpy()).all()
    np.testing.assert_allclose(y.detach().numpy()[1], np.broadcast_to(ours.out_proj.bias.detach().numpy(), (L, D)))


def test_initial_values_have_torchs_distribution():
    cr.manual_seed(0)
    ours = nn.MultiheadAttention(64, 4, add_bias_kv=True)
    bound = np.sqrt(6 / (64 + 192))
    weight = ours.in_proj_weight.detach().numpy()
    assert abs(weight).max() <= bound and weight.std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert (ours.in_proj_bias.detach().numpy() == 0).all() and (ours.out_proj.bias.detach().numpy() == 0).all()
    assert ours.bias_k.detach().numpy().std() > 0


def test_dropout_only_in_training_and_never_compiled_again_for_its_rate():
    cr.manual_seed(0)
    layer = nn.MultiheadAttention(D, H, dropout=0.5, batch_first=True)
    x = cr.asarray(RNG.normal(size=(N, L, D)).astype(np.float32))
    step = cr.compile(lambda x: layer(x, x, x)[0])
    first = step(x).numpy()
    assert (step(x).numpy() != first).any()
    layer.dropout = 0.25
    step(x)
    assert len(step.programs) == 1
    layer.eval()
    assert (step(x).numpy() == step(x).numpy()).all()
    with pytest.raises(ConfigError, match=r"MultiheadAttention: dropout must lie between 0 and 1, not 1\.5"):
        layer.dropout = 1.5


@pytest.mark.parametrize("need_weights", [False, True])
def test_compiled_gives_the_same_bits(need_weights):
    layer = nn.MultiheadAttention(D, H, batch_first=True)
    x = cr.asarray(RNG.normal(size=(N, L, D)).astype(np.float32))
    padding = cr.asarray(left_out(N, L))

    def step(x, padding):
        layer.zero_grad()
        y, _ = layer(x, x, x, key_padding_mask=padding, need_weights=need_weights, is_causal=True)
        (y * y).sum().backward()
        return y, [p.grad for p in layer.parameters()]

    for a, b in zip(cr.tree_leaves(step(x, padding)), cr.tree_leaves(cr.compile(step)(x, padding))):
        assert (a.detach().numpy() == b.detach().numpy()).all()


def zeros(*shape, dtype="float32"):
    return cr.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    "arguments, options, error, text",
    [
        ((zeros(4, 3, 8), zeros(5, 3, 8), zeros(5, 3, 8)), {"attn_mask": zeros(5, 4, dtype="bool")}, ShapeError,
         "attn_mask has shape (5, 4), it has to have (4, 5) or (6, 4, 5); operands float32[4, 3, 8], bool[5, 4]"),
        ((zeros(4, 3, 8), zeros(5, 3, 8), zeros(5, 3, 8)), {"key_padding_mask": zeros(5, 3, dtype="bool")}, ShapeError,
         "key_padding_mask has shape (5, 3), it has to have (3, 5); operands float32[4, 3, 8], bool[5, 3]"),
        ((zeros(4, 3, 8), zeros(5, 3, 8), zeros(5, 3, 8)), {"attn_mask": zeros(4, 5, dtype="int64")}, DTypeError,
         "attn_mask is int64, it has to be bool or float32; operands "),
        ((zeros(4, 3, 8), zeros(5, 2, 8), zeros(5, 2, 8)), {}, ShapeError,
         "query, key and value have 3, 2, 2 examples (axis 1); operands "),
        ((zeros(4, 3, 8), zeros(5, 3, 8), zeros(6, 3, 8)), {}, ShapeError, "there are 5 keys (axis 0) and 6 values; "),
        ((zeros(4, 3, 8), zeros(5, 3, 7), zeros(5, 3, 8)), {}, ShapeError,
         "key has 7 features (axis -1), the layer takes 8; operands "),
        ((zeros(0, 3, 8), zeros(5, 3, 8), zeros(5, 3, 8)), {}, ShapeError,
         "query is a sequence of length zero (axis 0); operands float32[0, 3, 8], "),
        ((zeros(4, 3, 8), zeros(5, 8), zeros(5, 8)), {}, ShapeError,
         "query, key and value have 3, 2, 2 axes; they need 3 each, or 2 for one example; "),
        ((zeros(4, 3, 8, dtype="float64"), zeros(5, 3, 8), zeros(5, 3, 8)), {}, DTypeError,
         "query is float64, the layer float32; operands "),
    ],
)  # fmt: skip
def test_refusals(arguments, options, error, text):
    layer = nn.MultiheadAttention(8, 2)
    with pytest.raises(error) as caught:
        layer(*arguments, **options)
    assert str(caught.value).startswith("MultiheadAttention: " + text), str(caught.value)
    assert "test_attention.py:" in str(caught.value)


def test_heads_that_do_not_divide_the_features():
    with pytest.raises(ConfigError) as caught:
        nn.MultiheadAttention(10, 3)
    problem, place, help = str(caught.value).splitlines()
    assert problem == "MultiheadAttention: embed_dim 10 is not divisible by num_heads 3"
    assert place.startswith("recorded at ") and help == "help: choose num_heads among 1, 2, 5, 10"
    with pytest.raises(ConfigError, match="num_heads must be a positive whole number, not 0"):
        nn.MultiheadAttention(8, 0)
