"""Initialisation: bounds and moments, PyTorch's defaults, reproducibility."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError, ShapeError
from chainrule.nn import init

torch = pytest.importorskip("torch")


def fresh(*shape):
    return cr.empty(shape)


@pytest.fixture(autouse=True)
def seed():
    cr.manual_seed(0)


def test_constants():
    w = fresh(2, 3)
    assert init.zeros_(w) is w and w.tolist() == [[0.0] * 3] * 2
    assert init.ones_(w).tolist() == [[1.0] * 3] * 2
    assert init.constant_(w, 2.5).tolist() == [[2.5] * 3] * 2


def test_uniform_and_normal():
    u = init.uniform_(fresh(200, 200), -2.0, 3.0).numpy()
    assert u.min() >= -2 and u.max() < 3 and abs(u.mean() - 0.5) < 0.03 and abs(u.std() - 5 / math.sqrt(12)) < 0.02
    n = init.normal_(fresh(200, 200), 1.0, 0.5).numpy()
    assert abs(n.mean() - 1) < 0.01 and abs(n.std() - 0.5) < 0.01


@pytest.mark.parametrize("name, spread", [
    ("xavier_uniform_", math.sqrt(2 / 900)), ("xavier_normal_", math.sqrt(2 / 900)),
    ("kaiming_uniform_", math.sqrt(2 / 600)), ("kaiming_normal_", math.sqrt(2 / 600)),
])  # fmt: skip
def test_fans(name, spread):
    w = getattr(init, name)(fresh(300, 600)).numpy()
    assert abs(w.std() / spread - 1) < 0.01
    if "uniform" in name:
        assert abs(w).max() <= spread * math.sqrt(3) and abs(w).max() > 0.99 * spread * math.sqrt(3)
    with pytest.raises(ShapeError, match="two axes"):
        getattr(init, name)(fresh(3))


def test_fan_out_and_errors():
    w = init.kaiming_normal_(fresh(300, 600), mode="fan_out", nonlinearity="relu").numpy()
    assert abs(w.std() / math.sqrt(2 / 300) - 1) < 0.01
    with pytest.raises(ConfigError, match="fan_in"):
        init.kaiming_normal_(fresh(3, 3), mode="in")
    with pytest.raises(ConfigError, match="no gain"):
        init.calculate_gain("mish")


@pytest.mark.parametrize("shape", [(5, 5), (3, 7), (7, 3), (4, 2, 3)])
def test_orthogonal(shape):
    w = init.orthogonal_(cr.empty(shape, dtype="float64"), gain=2.0).numpy().reshape(shape[0], -1) / 2.0
    square = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(square, np.eye(len(square)), atol=1e-12)


def test_trunc_normal():
    w = init.trunc_normal_(fresh(100, 100), 0.0, 1.0, -1.0, 2.0).numpy()
    assert w.min() >= -1 and w.max() <= 2
    draws = np.random.default_rng(0).normal(size=400_000)
    draws = draws[(draws > -1) & (draws < 2)]
    assert abs(w.mean() - draws.mean()) < 0.03 and abs(w.std() - draws.std()) < 0.03


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "selu", "conv2d"])
def test_gains(name):
    assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))


def test_linear_default_is_torchs():
    ours, theirs = nn.Linear(400, 300), torch.nn.Linear(400, 300)
    bound = 1 / math.sqrt(400)
    for a, b in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        a, b = a.detach().numpy(), b.detach().numpy()
        assert abs(a).max() <= bound and abs(b).max() <= bound * (1 + 1e-6)
        assert abs(a).max() > 0.98 * bound and abs(a.std() / b.std() - 1) < 0.1
    assert ours.weight.requires_grad and ours.weight.is_leaf


def test_reproducible_and_symmetry_is_broken():
    cr.manual_seed(3)
    a = nn.Linear(10, 10).state_dict()
    cr.manual_seed(3)
    b = nn.Linear(10, 10).state_dict()
    assert all((a[k].numpy() == b[k].numpy()).all() for k in a)
    rows = a["weight"].numpy()
    assert len({row.tobytes() for row in rows}) == 10


def test_linear_arguments():
    for bad in (0, -1, 2.5, "3"):
        with pytest.raises(ConfigError, match="positive whole number"):
            nn.Linear(bad, 2)
    assert nn.Linear(2, 2, dtype="float64").weight.dtype.name == "float64"
