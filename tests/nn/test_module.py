"""Modules: registration, walking, modes, state dicts, messages."""

import copy
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError, DataError, DTypeError, ShapeError
from chainrule.tensor import version

torch = pytest.importorskip("torch")


def mlp(kit, hidden=8):
    return kit.Sequential(
        kit.Linear(4, hidden), kit.ReLU(), kit.Dropout(0.1), kit.Sequential(kit.Linear(hidden, 3), kit.Tanh())
    )


def test_keys_order_shapes_and_repr_are_torchs():
    ours, theirs = mlp(nn), mlp(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert ours.state_dict()[key].shape == tuple(value.shape)
    assert repr(ours) == repr(theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]


@pytest.mark.parametrize(
    "make",
    [
        lambda kit: kit.LeakyReLU(0.2), lambda kit: kit.ELU(2.0), lambda kit: kit.GELU("tanh"), lambda kit: kit.SELU(),
        lambda kit: kit.Softplus(), lambda kit: kit.Hardtanh(), lambda kit: kit.Softmax(dim=1), lambda kit: kit.SiLU(),
        lambda kit: kit.LogSoftmax(dim=-1), lambda kit: kit.Sigmoid(), lambda kit: kit.Tanh(),
        lambda kit: kit.Flatten(),
        lambda kit: kit.Identity(), lambda kit: kit.Linear(3, 2, bias=False), lambda kit: kit.Dropout(0.3),
        lambda kit: kit.ReLU(inplace=True), lambda kit: kit.MSELoss(),
    ],
)  # fmt: skip
def test_repr_and_values_of_layers(make):
    ours, theirs = make(nn).eval(), make(torch.nn).eval()
    assert repr(ours) == repr(theirs)
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    if isinstance(ours, nn.Linear):
        ours.load_state_dict(theirs.state_dict())
    inputs = [x, x[::-1].copy()] if isinstance(ours, nn.MSELoss) else [x]
    a, b = ours(*map(cr.asarray, inputs)), theirs(*map(torch.tensor, inputs))
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, options, count",
    [
        ("CrossEntropyLoss", {"label_smoothing": 0.1, "reduction": "sum"}, "labels"),
        ("NLLLoss", {"ignore_index": 1}, "labels"),
        ("BCEWithLogitsLoss", {}, "pair"),
        ("L1Loss", {"reduction": "none"}, "pair"),
        ("HuberLoss", {"delta": 0.5}, "pair"),
        ("SmoothL1Loss", {"beta": 0.5}, "pair"),
        ("PoissonNLLLoss", {"full": True}, "pair"),
        ("KLDivLoss", {"reduction": "batchmean"}, "pair"),
        ("GaussianNLLLoss", {"full": True}, "triple"),
    ],
)
def test_loss_modules(name, options, count):
    rng = np.random.default_rng(1)
    x, y, v = rng.normal(size=(5, 3)), rng.uniform(0.1, 0.9, size=(5, 3)), rng.uniform(0.5, 1, size=(5, 3))
    arrays = {"labels": [x, np.array([0, 1, 2, 1, 0])], "pair": [x, y], "triple": [x, y, v]}[count]
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    a, b = ours(*map(cr.asarray, arrays)), theirs(*map(torch.tensor, arrays))
    np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10)


def test_forward_equals_torch_after_loading_its_state():
    ours, theirs = mlp(nn).eval(), mlp(torch.nn).eval()
    assert repr(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    x = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    np.testing.assert_allclose(
        ours(cr.asarray(x)).detach().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=2e-5, atol=1e-6
    )


def test_state_dict_is_a_snapshot():
    layer = nn.Linear(2, 2)
    before = layer.state_dict()
    values = before["weight"].numpy().copy()
    with cr.no_grad():
        layer.weight += 1.0
    assert (before["weight"].numpy() == values).all()
    assert not (layer.weight.detach().numpy() == values).any()


def test_load_state_dict_reports_all_problems_and_changes_nothing():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    before = model.state_dict()
    state = dict(before)
    state["0.wieght"] = state.pop("0.weight")
    state["1.bias"] = np.zeros(3, np.float32)
    with pytest.raises(DataError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    assert "missing '0.weight' (nearest: '0.wieght')" in text
    assert "unexpected '0.wieght' (nearest: '0.weight')" in text
    assert "'1.bias' has shape (3,), the module's (2,)" in text
    for key, value in model.state_dict().items():
        assert (value.numpy() == before[key].numpy()).all()
    with pytest.raises(ShapeError, match="has shape"):
        model.load_state_dict({**before, "1.bias": np.zeros(3, np.float32)})
    with pytest.raises(DTypeError, match=r"'1\.bias' is float64, the module's is float32"):
        model.load_state_dict({**before, "1.bias": np.zeros(2)})
    result = model.load_state_dict({"0.bias": np.ones(3, np.float32), "x": 1}, strict=False)
    assert result.unexpected_keys == ["x"] and "0.weight" in result.missing_keys
    assert model[0].bias.tolist() == [1.0] * 3


def test_train_and_eval():
    model = mlp(nn)
    x = cr.ones((64, 4))
    assert all(m.training for m in model.modules())
    cr.manual_seed(0)
    assert (model(x).detach().numpy() != model(x).detach().numpy()).any()
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    assert (model(x).detach().numpy() == model(x).detach().numpy()).all()
    assert model.train()[2].training


def test_dropout_module_validates_and_takes_a_new_probability():
    layer = nn.Dropout(0.0)
    x = cr.ones((100,))
    assert layer(x) is x
    layer.p = 1.0
    assert layer(x).tolist() == [0.0] * 100
    with pytest.raises(ConfigError):
        layer.p = 2.0
    with pytest.raises(ConfigError):
        nn.Dropout(-1)


def test_shared_modules_and_parameters():
    layer = nn.Linear(3, 3)
    ours = nn.Sequential(layer, layer)
    torch_layer = torch.nn.Linear(3, 3)
    theirs = torch.nn.Sequential(torch_layer, torch_layer)
    assert len(list(ours.parameters())) == 2
    assert list(ours.state_dict()) == list(theirs.state_dict())
    tied = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    tied[1].weight = tied[0].weight
    assert len(list(tied.parameters())) == 3
    x = cr.ones((1, 3))
    tied(x).sum().backward()
    assert tied[0].weight.grad is tied[1].weight.grad


def test_buffers():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", cr.zeros(()))
            self.register_buffer("scratch", cr.zeros(()), persistent=False)

        def forward(self, x):
            self.count = self.count + 1
            return x

    module = Counter()
    cell = module.count
    module(cr.zeros(()))
    assert module.count is cell and cell.item() == 1.0
    assert list(module.state_dict()) == ["count"]
    assert [n for n, _ in module.named_buffers()] == ["count", "scratch"]
    assert not list(module.parameters())


def test_registration_rules():
    layer = nn.Linear(2, 2)
    with pytest.raises(DTypeError, match="is a parameter"):
        layer.weight = cr.zeros((2, 2))
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]
    with pytest.raises(ConfigError):
        layer.add_module("a.b", nn.ReLU())
    with pytest.raises(ConfigError, match="an attribute of Linear already"):
        layer.add_module("forward", nn.ReLU())
    with pytest.raises(DTypeError, match="no module"):
        nn.Sequential(nn.ReLU(), cr.functional.relu)
    del layer.weight
    assert not list(layer.parameters())
    with pytest.raises(DTypeError):
        nn.Parameter(cr.asarray([1, 2]))
    assert not nn.Parameter(cr.asarray([1, 2]), requires_grad=False).requires_grad


def test_forgotten_super_init_works():
    class Network(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(2, 1)

        def forward(self, x):
            return self.layer(x)

    assert [n for n, _ in Network().named_parameters()] == ["layer.weight", "layer.bias"]


def test_constructor_on_a_tensor_teaches():
    z = cr.zeros((2, 3))
    with pytest.raises(ConfigError) as caught:
        nn.ReLU(z)
    assert "nn.ReLU()(x)" in str(caught.value) and "nn.functional.relu(x)" in str(caught.value)
    with pytest.raises(ConfigError, match=r"nn.Linear\(\.\.\.\)"):
        nn.Linear(z)
    with pytest.raises(ConfigError, match=r"nn.CrossEntropyLoss\(\)\(x, y\)"):
        nn.CrossEntropyLoss(z, cr.asarray([0, 1]))
    nn.CrossEntropyLoss(cr.ones((3,)))(z, cr.asarray([0, 1]))


def test_errors_carry_the_path_of_the_layer():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Sequential(nn.Linear(9, 3)))
    with pytest.raises(ShapeError) as caught:
        model(cr.zeros((1, 4)))
    assert caught.value.__notes__ == ["in layer 2.0 (Linear) of Sequential"]
    assert __file__ in str(caught.value)
    with pytest.raises(DTypeError) as caught:
        model(cr.zeros((1, 4), dtype="float64"))
    assert caught.value.__notes__ == ["in layer 0 (Linear) of Sequential"]
    with pytest.raises(ConfigError, match="forward"):
        nn.Module()()
    with pytest.raises(ConfigError, match="Sequential"):
        nn.ModuleList([nn.ReLU()])(1)


def test_containers():
    first, second = nn.Linear(2, 2), nn.ReLU()
    model = nn.Sequential({"a": first, "b": second})
    assert len(model) == 2 and model[0] is first and list(model) == [first, second] and len(model[1:]) == 1
    model.append(nn.Linear(2, 1))
    assert list(model.state_dict()) == ["a.weight", "a.bias", "2.weight", "2.bias"]
    items = nn.ModuleList([first])
    items.append(second)
    items[1] = nn.Linear(2, 5)
    assert list(items.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"] and items[-1].out_features == 5
    table = nn.ModuleDict({"items": first})
    table["x"] = second
    assert "x" in table and list(table) == ["items", "x"] and table["items"] is first and len(table) == 2


def test_apply_to_and_versions():
    model = mlp(nn)
    seen = []
    model.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Sequential" and seen.count("Linear") == 2
    before = version()
    model.eval()
    assert version() > before
    before = version()
    model[2].p = 0.3
    assert version() > before
    assert model.to("float64") is model
    assert {p.dtype.name for p in model.parameters()} == {"float64"}
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())
    assert model(cr.zeros((1, 4), dtype="float64")).dtype.name == "float64"
    model.requires_grad_(False)
    assert not model(cr.zeros((1, 4), dtype="float64")).requires_grad


def test_zero_grad():
    layer = nn.Linear(2, 1)
    layer(cr.ones((1, 2))).sum().backward()
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0.0, 0.0]]
    layer.zero_grad()
    assert layer.weight.grad is None


def test_copy_and_pickle():
    model = mlp(nn).eval()
    x = cr.ones((2, 4))
    expected = model(x).detach().numpy()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (twin(x).detach().numpy() == expected).all()
        with cr.no_grad():
            twin[0].weight += 1.0
        assert (model(x).detach().numpy() == expected).all()
        assert isinstance(twin[0].weight, nn.Parameter) and twin[0].weight.requires_grad


def test_parameters_keep_their_names():
    assert nn.Linear(2, 1).weight.name == "weight"


def test_modules_are_trees():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    x = cr.asarray(np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32))
    grads = cr.grad(lambda m: m(x).sum())(model)
    model(x).sum().backward()
    assert type(grads) is nn.Sequential
    for name, parameter in model.named_parameters():
        layer, key = name.split(".")
        np.testing.assert_array_equal(getattr(grads[int(layer)], key).numpy(), parameter.grad.numpy())
    moved = cr.tree_map(lambda p, g: p - 0.1 * g, model, grads)
    assert moved(x).sum().item() < model(x).sum().item()
    assert cr.tree_structure(model) == cr.tree_structure(moved)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_state_of_half_precision_comes_from_pytorch(dtype):
    theirs = torch.nn.Linear(3, 2).to(getattr(torch, dtype))
    ours = nn.Linear(3, 2).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    expected = theirs.weight.detach().float().numpy()
    assert (ours.weight.astype(cr.float32).detach().numpy() == expected).all()
    with torch.no_grad():
        theirs.weight.zero_()
    assert (ours.weight.astype(cr.float32).detach().numpy() == expected).all()


def test_what_is_no_state_dict():
    with pytest.raises(
        ConfigError, match=r"load_state_dict: the state dict is str, not a mapping.*\nrecorded at .*\nhelp"
    ):
        nn.Linear(3, 2).load_state_dict("model.npz")
