"""Transformers against PyTorch with loaded state dicts; positions; generation with a cache."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError, IndexOutOfRangeError, ShapeError

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(18)
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")


def loaded(ours, theirs):
    """`ours` in float64 with the state of `theirs`, whose parameters are drawn anew; both without dropout."""
    theirs = theirs.double().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.tensor(RNG.normal(size=tuple(parameter.shape)) / 2))
    ours = ours.double().eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare(ours, theirs, arrays, *rest, **options):
    """Values and all gradients agree to 1e-10, relative to the largest."""
    a = [cr.asarray(x).requires_grad_() for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    for_ours = {k: cr.asarray(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    for_theirs = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y, expected = ours(*a, **for_ours), theirs(*b, **for_theirs)
    np.testing.assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    weight = RNG.normal(size=tuple(expected.shape))
    (y * cr.asarray(weight)).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    named = dict(theirs.named_parameters())
    leaves = [*zip(a, b), *((parameter, named[name]) for name, parameter in ours.named_parameters())]
    for left, right in leaves:
        found = right.grad.numpy()
        np.testing.assert_allclose(left.grad.numpy(), found, rtol=1e-10, atol=1e-10 * max(1.0, abs(found).max()))


def causal(length):
    return np.triu(np.ones((length, length), bool), 1)


def padding(*shape):
    mask = RNG.uniform(size=shape) < 0.3
    mask[:, 0] = False
    return mask


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("activation, bias", [("relu", True), ("gelu", False)])
def test_whole_transformer(monkeypatch, norm_first, batch_first, activation, bias):
    if norm_first or batch_first or not bias:  # one of them natively: compiling takes longer than the rest
        monkeypatch.setenv("CHAINRULE_BACKEND", "interpreter")
    options = {"norm_first": norm_first, "batch_first": batch_first, "activation": activation, "bias": bias}
    sizes = (8, 2, 2, 1, 12)
    ours, theirs = loaded(nn.Transformer(*sizes, **options), torch.nn.Transformer(*sizes, **options))
    arrays = [RNG.normal(size=(6, 3, 8)), RNG.normal(size=(5, 3, 8))]
    arrays = [x.swapaxes(0, 1).copy() for x in arrays] if batch_first else arrays
    masks = {"tgt_mask": causal(5), "src_key_padding_mask": padding(3, 6), "tgt_key_padding_mask": padding(3, 5),
             "memory_key_padding_mask": padding(3, 6)}  # fmt: skip
    compare(ours, theirs, arrays, **masks)


def test_repr_is_torchs():
    ours, theirs = nn.Transformer(8, 2, 1, 1, 12), torch.nn.Transformer(8, 2, 1, 1, 12)
    affine = "elementwise_affine=True"  # after which some versions of PyTorch print "bias" for normalisations
    expected = repr(theirs).replace("NonDynamicallyQuantizable", "").replace(f"{affine}, bias=True", affine)
    assert repr(ours).replace(f"{affine}, bias=True", affine) == expected


@pytest.mark.parametrize("activation", [torch.tanh, torch.nn.functional.gelu])
def test_encoder_and_decoder_layers(activation):
    own = {torch.tanh: cr.functional.tanh}.get(activation, "gelu")
    ours, theirs = loaded(
        nn.TransformerEncoderLayer(8, 2, 12, activation=own, layer_norm_eps=1e-3),
        torch.nn.TransformerEncoderLayer(8, 2, 12, activation=activation, layer_norm_eps=1e-3),
    )
    compare(ours, theirs, [RNG.normal(size=(5, 3, 8))], src_mask=causal(5), is_causal=True)
    kit = nn.TransformerDecoderLayer(8, 2, 12, activation=own)
    ours, theirs = loaded(kit, torch.nn.TransformerDecoderLayer(8, 2, 12, 0.1, activation))
    compare(ours, theirs, [RNG.normal(size=(5, 3, 8)), RNG.normal(size=(4, 3, 8))], memory_mask=causal(5)[:, :4])


def test_copies_start_equal_and_are_trained_apart():
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12), 2, nn.LayerNorm(8))
    first, second = stack.layers[0].linear1.weight, stack.layers[1].linear1.weight
    assert (first.detach().numpy() == second.detach().numpy()).all() and first is not second
    assert len(list(stack.parameters())) == 2 * 12 + 2


def test_square_subsequent_mask():
    ours = nn.Transformer.generate_square_subsequent_mask(4).numpy()
    assert (ours == torch.nn.Transformer.generate_square_subsequent_mask(4).numpy()).all()


def test_compiled_training_step_gives_the_same_bits():
    def run(compiled):
        cr.manual_seed(3)
        model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True), 2)
        optimizer = cr.optim.Adam(model.parameters(), 0.01)

        def step(x):
            optimizer.zero_grad()
            loss = (model(x, is_causal=True) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        f = cr.compile(step) if compiled else step
        x = cr.asarray(np.random.default_rng(0).normal(size=(3, 5, 8)).astype(np.float32))
        losses = [f(x).item() for _ in range(4)]
        return losses, [p.detach().numpy() for p in model.parameters()]

    plain, compiled = run(False), run(True)
    assert plain[0] == compiled[0] and plain[0][3] < plain[0][0]
    for a, b in zip(plain[1], compiled[1]):
        assert (a == b).all()


# -- positions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [6, 7])
def test_sinusoidal_positions(width):
    layer = nn.SinusoidalPositions(20, width, dtype="float64")
    x = RNG.normal(size=(2, 5, width))
    added = layer(cr.asarray(x), offset=3).numpy() - x
    for t in range(5):
        for i in range(width):
            angle = (t + 3) / 10000 ** (2 * (i // 2) / width)
            assert added[0, t, i] == pytest.approx(np.cos(angle) if i % 2 else np.sin(angle), abs=1e-12)
    assert (layer(cr.asarray(x), cr.asarray(3)).numpy() == layer(cr.asarray(x), 3).numpy()).all()
    assert not layer.state_dict()


def test_learned_positions():
    layer = nn.LearnedPositions(6, 4)
    y = layer(cr.zeros((3, 2, 4)), offset=1)
    assert (y.detach().numpy() == layer.weight.detach().numpy()[1:3]).all()
    y.sum().backward()
    assert layer.weight.grad.numpy()[:, 0].tolist() == [0, 3, 3, 0, 0, 0]


@pytest.mark.parametrize("layer", [nn.SinusoidalPositions(6, 4), nn.LearnedPositions(6, 4)])
def test_positions_beyond_the_table(layer):
    name = type(layer).__name__
    with pytest.raises(ShapeError, match=f"{name}: positions 5 to 6 are asked for, there are 6; operands"):
        layer(cr.zeros((2, 4)), offset=5)
    with pytest.raises(ShapeError, match=rf"{name}: input has shape \(2, 3\), the layer takes \(..., length, 4\)"):
        layer(cr.zeros((2, 3)))
    with pytest.raises(IndexOutOfRangeError, match="index 6 is out of range for axis 0 of size 6"):
        layer(cr.zeros((2, 4)), cr.asarray(5)).numpy()


@pytest.mark.parametrize("interleaved", [True, False])
def test_rotary_turns_pairs_so_that_products_depend_on_distances(interleaved):
    q, k = RNG.normal(size=(2, 1, 6))

    def product(i, j):
        a, b = (nn.apply_rotary(cr.asarray(x), t, 100.0, interleaved).numpy() for x, t in ((q, i), (k, j)))
        return float((a * b).sum())

    assert product(3, 7) == pytest.approx(product(10, 14), rel=1e-12)
    assert abs(product(3, 7) - product(3, 8)) > 1e-3
    x = RNG.normal(size=(2, 4, 6))
    turned = nn.apply_rotary(cr.asarray(x), 2, 100.0, interleaved).numpy()
    pairs = (lambda z: z[..., ::2] + 1j * z[..., 1::2]) if interleaved else (lambda z: z[..., :3] + 1j * z[..., 3:])
    angles = np.arange(2, 6)[:, None] * 100.0 ** (-np.arange(3) / 3)
    np.testing.assert_allclose(pairs(turned), pairs(x) * np.exp(1j * angles), rtol=1e-12)
    moved = nn.apply_rotary(cr.asarray(x), cr.asarray(2), 100.0, interleaved).numpy()
    np.testing.assert_allclose(moved, turned, rtol=1e-12, atol=1e-14)
    with pytest.raises(ShapeError, match=r"needs \(\.\.\., length, an even number of features\)"):
        nn.apply_rotary(cr.zeros((2, 3)))


# -- generation ---------------------------------------------------------------------------------------------------


def stack(layers=2):
    cr.manual_seed(4)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, layers, nn.LayerNorm(8)).double().eval()


@pytest.mark.parametrize("parts", [[1] * 6, [4, 1, 1], [2, 3, 1], [6]])
def test_tokens_one_after_another_equal_all_at_once(parts):
    model, x = stack(), cr.asarray(RNG.normal(size=(3, 6, 8)))
    caches = [nn.KeyValueCache(3, 2, 7, 4, dtype="float64") for _ in range(2)]
    found, start = [], 0
    with cr.no_grad():
        expected = model(x, is_causal=True).numpy()
        for count in parts:
            found.append(model(x[:, start : start + count], caches=caches).numpy())
            start += count
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=1e-10, atol=1e-12)
    assert int(caches[0].length) == 6


def test_a_compiled_step_serves_every_position():
    model, x = stack(), cr.asarray(RNG.normal(size=(3, 6, 8)))
    caches = [nn.KeyValueCache(3, 2, 6, 4, dtype="float64") for _ in range(2)]

    @cr.compile
    def step(token):
        return model(token, caches=caches)

    with cr.no_grad():
        expected = model(x, is_causal=True).numpy()
        for _ in range(2):
            for t in range(6):
                np.testing.assert_allclose(step(x[:, t : t + 1]).numpy()[:, 0], expected[:, t], rtol=1e-10, atol=1e-12)
            for cache in caches:
                cache.reset()
    assert len(step.programs) == 1


def test_a_full_cache_refuses_and_stays_as_it_is():
    cache = nn.KeyValueCache(1, 1, 2, 3)
    k = cr.ones((1, 1, 1, 3))
    step = cr.compile(cache.append)
    step(k, k)
    cache.append(k * 2, k)
    with pytest.raises(IndexOutOfRangeError, match="index 2 is out of range for KeyValueCache of size 2"):
        step(k, k)
    with pytest.raises(IndexOutOfRangeError, match="KeyValueCache: 2 tokens are in the cache, 1 more exceed its capac"):
        cache.append(k, k)
    assert int(cache.length) == 2 and cache.keys.numpy()[0, 0, :, 0].tolist() == [1, 2]


def test_cache_refusals():
    cache = nn.KeyValueCache(1, 2, 4, 3)
    k = cr.ones((1, 2, 1, 3))
    with pytest.raises(ShapeError, match=r"KeyValueCache: value has shape \(1, 2, 2, 3\), the cache \(1, 2, 4, 3\);"):
        cache.append(k, cr.ones((1, 2, 2, 3)))
    with pytest.raises(ShapeError, match="KeyValueCache: 5 tokens for a capacity of 4; operands"):
        cache.append(cr.ones((1, 2, 5, 3)), cr.ones((1, 2, 5, 3)))
    with pytest.raises(ConfigError, match="KeyValueCache: capacity must be a positive whole number, not 0"):
        nn.KeyValueCache(1, 1, 0, 3)
    with pytest.raises(ConfigError, match="TransformerEncoder: there are 2 layers and 1 caches"):
        stack()(cr.zeros((1, 1, 8), dtype="float64"), caches=[cache])


# -- refusals -----------------------------------------------------------------------------------------------------


def test_refusals():
    with pytest.raises(ConfigError, match="embed_dim 10 is not divisible by num_heads 4"):
        nn.TransformerEncoderLayer(10, 4)
    with pytest.raises(ConfigError, match="TransformerDecoderLayer: activation must be 'relu', 'gelu' or a function"):
        nn.TransformerDecoderLayer(8, 4, activation="swish")
    with pytest.raises(ConfigError, match="TransformerEncoder: num_layers must be a positive whole number, not 0"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 0)
    model = nn.Transformer(8, 2, 1, 1, 12)
    with pytest.raises(ShapeError, match=r"Transformer: src \(4, 3, 8\) and tgt \(4, 2, 8\) differ in the batch"):
        model(cr.zeros((4, 3, 8)), cr.zeros((4, 2, 8)))
    with pytest.raises(ShapeError, match=r"Transformer: tgt has shape \(4, 3, 7\), the model takes 8 features last"):
        model(cr.zeros((4, 3, 8)), cr.zeros((4, 3, 7)))
