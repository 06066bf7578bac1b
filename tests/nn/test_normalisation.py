"""Normalisation layers: state, modes, compiled steps, parametrised weights; against PyTorch."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError, ShapeError

torch = pytest.importorskip("torch")

LAYERS = {
    "BatchNorm1d": ((6,), (5, 6)),
    "BatchNorm2d": ((6,), (3, 6, 4, 2)),
    "BatchNorm3d": ((6,), (2, 6, 2, 3, 2)),
    "InstanceNorm1d": ((6,), (6, 5)),
    "InstanceNorm2d": ((6,), (3, 6, 4, 2)),
    "InstanceNorm3d": ((6,), (2, 6, 2, 3, 2)),
    "LayerNorm": (((6, 3),), (4, 6, 3)),
    "RMSNorm": ((3,), (4, 6, 3)),
    "GroupNorm": ((3, 6), (4, 6, 3)),
    "LocalResponseNorm": ((3,), (4, 6, 3)),
}
RNG = np.random.default_rng(5)


def pair(name, *arguments, **options):
    """The layer of both, with random parameters, in float64."""
    ours, theirs = getattr(nn, name)(*arguments, **options).double(), getattr(torch.nn, name)(*arguments, **options)
    theirs = theirs.double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    values = {k: RNG.uniform(0.5, 1.5, size=v.shape) for k, v in theirs.state_dict().items() if v.ndim}
    theirs.load_state_dict({k: torch.tensor(v) for k, v in values.items()}, strict=False)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    return ours, theirs


def agree(ours, theirs):
    """Equal state, to rounding."""
    state = theirs.state_dict()
    for key, value in ours.state_dict().items():
        np.testing.assert_allclose(value.numpy(), state[key].numpy(), rtol=1e-10, atol=1e-12)
        assert value.numpy().dtype == state[key].numpy().dtype


@pytest.mark.parametrize("name", LAYERS)
def test_layers_agree_in_training_and_evaluation(name):
    arguments, shape = LAYERS[name]
    options = [{}]
    if "Batch" in name or "Instance" in name:
        options = [{}, {"affine": False}, {"momentum": None, "affine": True, "track_running_stats": True}]
        options.append({"track_running_stats": False, "eps": 1e-3})
        if "Instance" in name:
            options[2]["momentum"] = 0.4
    if name in ("LayerNorm", "GroupNorm"):
        options.append({"elementwise_affine" if name == "LayerNorm" else "affine": False})
    for option in options:
        ours, theirs = pair(name, *arguments, **option)
        if "bias=" in repr(theirs) or "bias=" not in repr(ours):  # older versions lack bias=
            assert repr(ours) == repr(theirs)
        for training in (True, True, True, False):
            ours.train(training), theirs.train(training)
            x = RNG.normal(size=shape) * 2 + 1
            a, b = cr.asarray(x).requires_grad_(), torch.tensor(x, requires_grad=True)
            y, z = ours(a), theirs(b)
            np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
            weights = RNG.normal(size=shape)
            (y * cr.asarray(weights)).sum().backward()
            (z * torch.tensor(weights)).sum().backward()
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-11)
            for p, q in zip(ours.parameters(), theirs.parameters()):
                np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-10, atol=1e-11)
            agree(ours, theirs)


def network(seed=0):
    cr.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 1))


def trained(how, steps=6, momentum=0.1):
    """The state after `steps` steps, taken uncompiled, compiled, or in a native loop."""
    model = network()
    model[1].momentum = momentum
    optimizer = cr.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x = cr.asarray(np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    y = cr.asarray(np.random.default_rng(1).normal(size=(8, 1)).astype(np.float32))

    def step(x, y):
        optimizer.zero_grad()
        loss = cr.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if how == "plain":
        losses = [step(x, y).item() for _ in range(steps)]
    elif how == "compiled":
        compiled = cr.compile(step)
        losses = [compiled(x, y).item() for _ in range(steps)]
        assert len(compiled.programs) == 1
    else:
        losses = cr.compile(step).repeat(steps, x, y).tolist()
    return losses, {key: value.numpy() for key, value in model.state_dict().items()}


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("how", ["compiled", "repeat"])
def test_running_statistics_in_programs_have_the_bits_of_plain_steps(how, momentum):
    losses, state = trained("plain", momentum=momentum)
    again, other = trained(how, momentum=momentum)
    assert losses == again
    assert state["1.num_batches_tracked"] == other["1.num_batches_tracked"] == 6
    for key, value in state.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)
    assert abs(state["1.running_mean"]).max() > 0


def test_a_changed_momentum_does_not_compile_again():
    layer = nn.BatchNorm1d(3)
    step = cr.compile(lambda x: layer(x))
    x = cr.asarray(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32))
    step(x)
    first = layer.running_mean.numpy().copy()
    layer.momentum = 1.0
    step(x)
    assert len(step.programs) == 1
    np.testing.assert_allclose(layer.running_mean.numpy(), x.numpy().mean(0), rtol=1e-5)
    assert abs(first - layer.running_mean.numpy()).max() > 0
    layer.eval()
    step(x)
    assert len(step.programs) == 2
    np.testing.assert_array_equal(layer.num_batches_tracked.numpy(), 2)


def test_uncompiled_steps_keep_no_former_steps():
    """Running statistics are evaluated with their step although nobody reads them."""
    model = network()
    optimizer = cr.optim.SGD(model.parameters(), lr=0.05)
    x = cr.asarray(np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))
    for _ in range(3):
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()
        assert all(buffer._node.value is not None for buffer in model.buffers())


def test_state_is_that_of_the_call_even_under_no_grad_and_in_half_a_step():
    layer = nn.BatchNorm1d(2)
    x = cr.asarray(np.array([[0.0, 1.0], [2.0, 5.0]], np.float32))
    with cr.no_grad():
        layer(x)
    assert layer.running_mean.tolist() == pytest.approx([0.1, 0.3])
    assert layer.running_var.tolist() == pytest.approx([0.9 + 0.2, 0.9 + 0.8])
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0.0, 0.0] and layer.num_batches_tracked.item() == 0


def test_a_refused_batch_changes_no_state():
    layer = nn.BatchNorm1d(4)
    with pytest.raises(ShapeError) as caught:
        layer(cr.ones((1, 4)))
    assert str(caught.value).splitlines()[0] == (
        "BatchNorm1d: training needs more than one value per channel, there is 1 (batch 1 times 1 positions); "
        "operands float32[1, 4]"
    )
    assert layer.num_batches_tracked.item() == 0
    layer.eval()(cr.ones((1, 4)))
    compiled = cr.compile(lambda x: layer.train()(x))
    with pytest.raises(ShapeError, match="more than one value per channel"):
        compiled(cr.ones((1, 4)))
    with pytest.raises(ShapeError) as caught:
        layer(cr.ones((2, 3)))
    assert str(caught.value).splitlines()[0] == (
        "BatchNorm1d: input has 3 channels (axis 1), the layer has 4; operands float32[2, 3]"
    )
    with pytest.raises(ShapeError, match="BatchNorm2d: input has 2 axes, the layer takes 4"):
        nn.BatchNorm2d(4)(cr.ones((2, 4)))


def test_refused_settings():
    with pytest.raises(ConfigError, match="GroupNorm: 5 channels do not divide into 2 groups"):
        nn.GroupNorm(2, 5)
    with pytest.raises(ConfigError, match="num_features must be a positive whole number, not 0"):
        nn.BatchNorm1d(0)
    with pytest.raises(ConfigError, match="normalized_shape has no axes"):
        nn.LayerNorm(())


def test_parameters_of_another_dtype():
    layer = nn.BatchNorm2d(3, dtype="float64")
    assert {value.dtype.name for value in layer.state_dict().values()} == {"float64", "int64"}
    assert nn.LayerNorm(3, bias=False).bias is None and "bias" not in nn.RMSNorm(3).state_dict()


# -- parametrised weights -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("dim", [0, 1, None])
def test_normalised_weights_agree(kind, dim):
    ours, theirs = nn.Linear(5, 3).double(), torch.nn.Linear(5, 3).double()
    getattr(nn.utils.parametrizations, kind)(ours, dim=dim)
    getattr(torch.nn.utils.parametrizations, kind)(theirs, dim=dim)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    compiled = cr.compile(lambda x: ours(x))
    x = RNG.normal(size=(4, 5))
    for call in (ours, compiled, compiled, ours):
        y, z = call(cr.asarray(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-10)
    ours.eval(), theirs.eval()
    y, z = ours(cr.asarray(x)), theirs(torch.tensor(x))
    (y * y).sum().backward()
    (z * z).sum().backward()
    gradients = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[key].grad.numpy(), rtol=1e-9, atol=1e-12)
    agree(ours, theirs)


def test_spectral_norm_bounds_the_largest_singular_value():
    layer = nn.utils.spectral_norm(nn.Linear(6, 4), n_power_iterations=3)
    for _ in range(30):
        layer(cr.ones((1, 6)))
    assert np.linalg.svd(layer.weight.detach().numpy())[1][0] == pytest.approx(1.0, abs=1e-3)
    vector = nn.utils.spectral_norm(nn.LayerNorm(4))
    assert np.linalg.norm(vector.weight.detach().numpy()) == pytest.approx(1.0, rel=1e-6)


def test_parametrisations_come_and_go():
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().numpy().copy()
    nn.utils.weight_norm(layer)
    assert type(layer).__name__ == "ParametrizedLinear" and nn.utils.parametrize.is_parametrized(layer, "weight")
    np.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-6)
    with pytest.raises(ConfigError, match="weight is parametrised already"):
        nn.utils.weight_norm(layer)
    with pytest.raises(ConfigError, match="only be left as it is now"):
        nn.utils.parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    nn.utils.parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and list(layer.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(layer.weight.detach().numpy(), before, rtol=1e-6)
    with pytest.raises(ConfigError, match="has no parameter 'wait'; there are: bias, weight"):
        nn.utils.weight_norm(layer, "wait")
    gradient = cr.grad(lambda model, x: model(x).sum())
    normed = nn.utils.weight_norm(nn.Linear(3, 2))
    assert list(dict(gradient(normed, cr.ones((1, 3))).named_parameters())) == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1",
    ]  # fmt: skip
