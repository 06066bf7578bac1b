"""Optimisers against PyTorch over trajectories of 20 steps; state dicts; the lectures' forms; behaviour."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ConfigError, DataError, ShapeError

torch = pytest.importorskip("torch")

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.02, "momentum": 0.9}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.02, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.02, "maximize": True}),
    ("AdamW", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.3}),
    ("Adagrad", {"lr": 0.3, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
]
IDS = [f"{name} {options}" for name, options in CASES]
RNG = np.random.default_rng(0)
START = [RNG.normal(size=(3, 4)), RNG.normal(size=4), RNG.normal(size=())]


def parameters(dtype):
    arrays = [np.asarray(a, dtype) for a in START]
    return [nn.Parameter(cr.asarray(a)) for a in arrays], [torch.nn.Parameter(torch.tensor(a)) for a in arrays]


def loss_of(params, step, exp):
    """A function whose gradient changes with the step, and that leaves out the last parameter at times."""
    total = ((params[0] * params[1] - 1.0) ** 2).sum() + (exp(params[1]) * (0.1 * (step % 3))).sum()
    return total + params[2] ** 2 if step % 4 != 1 else total


def run(ours, theirs, a, b, first, count):
    for step in range(first, first + count):
        a.zero_grad()
        b.zero_grad()
        loss_of(ours, step, cr.exp).backward()
        loss_of(theirs, step, torch.exp).backward()
        a.step()
        b.step()


def agree(ours, theirs, relative, absolute):
    for p, q in zip(ours, theirs):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=relative, atol=absolute)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_trajectory_in_float64(name, options):
    ours, theirs = parameters(np.float64)
    a, b = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    run(ours, theirs, a, b, 0, 20)
    agree(ours, theirs, 1e-10, 1e-10)
    ours_state, theirs_state = a.state_dict()["state"], b.state_dict()["state"]
    assert set(ours_state) == {i for i, s in theirs_state.items() if any(v is not None for v in s.values())}
    for index, slots in ours_state.items():
        assert set(slots) == {k for k, v in theirs_state[index].items() if v is not None}
        for key, value in slots.items():
            np.testing.assert_allclose(value.numpy(), theirs_state[index][key].numpy(), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_trajectory_in_float32(name, options):
    ours, theirs = parameters(np.float32)
    a, b = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    run(ours, theirs, a, b, 0, 20)
    # 20 steps of rounding to 24 bits, in another order of operations
    agree(ours, theirs, 2e-4, 2e-5)
    assert all(p.dtype.name == "float32" for p in ours)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_going_on_from_torchs_state_dict(name, options):
    ours, theirs = parameters(np.float64)
    a, b = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    run(ours, theirs, a, b, 0, 7)
    resumed, _ = parameters(np.float64)
    with cr.no_grad():
        for p, q in zip(resumed, theirs):
            nn.init.zeros_(p)
            p += cr.asarray(q.detach().numpy().copy())
    c = getattr(optim, name)(resumed, lr=123.0)
    c.load_state_dict(b.state_dict())
    assert c.param_groups[0]["lr"] == options["lr"]
    run(resumed, theirs, c, b, 7, 8)
    agree(resumed, theirs, 1e-9, 1e-9)


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_resuming_from_our_state_dict_gives_the_same_bits(name, options):
    def train(params, optimizer, steps):
        for step in steps:
            optimizer.zero_grad()
            loss_of(params, step, cr.exp).backward()
            optimizer.step()

    whole, _ = parameters(np.float32)
    train(whole, getattr(optim, name)(whole, **options), range(12))
    first, _ = parameters(np.float32)
    optimizer = getattr(optim, name)(first, **options)
    train(first, optimizer, range(5))
    saved, weights = optimizer.state_dict(), [p.numpy().copy() for p in first]
    second = [nn.Parameter(cr.asarray(w)) for w in weights]
    resumed = getattr(optim, name)(second, lr=9.0)
    resumed.load_state_dict(saved)
    train(second, resumed, range(5, 12))
    for p, q in zip(whole, second):
        assert p.numpy().tobytes() == q.numpy().tobytes()


def reference(form, steps, lr=0.1, b1=0.9, b2=0.999, eps=1e-3, w=0.2):
    """Adam's variants in NumPy, as lecture 004 writes them."""
    theta = START[1].copy()
    m = v = g_sum = np.zeros_like(theta)
    for k in range(1, steps + 1):
        g = 2 * theta * np.arange(1, 5)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat, v_hat = m / (1 - b1**k), v / (1 - b2**k)
        g_sum = g_sum + g * g
        if form == "adam":
            theta = theta - lr * (v_hat + eps) ** -0.5 * m_hat
        elif form == "adamw":
            theta = theta - lr * (v_hat + eps) ** -0.5 * (m_hat + w * theta)
        elif form == "adamw standard root":
            theta = theta - lr * (m_hat + w * theta) / (np.sqrt(v_hat) + eps)
        else:
            theta = theta - lr * g / np.sqrt(g_sum + eps)
    return theta


@pytest.mark.parametrize("form, make", [
    ("adam", lambda p: optim.Adam(p, lr=0.1, eps=1e-3, eps_inside_root=True)),
    ("adamw", lambda p: optim.AdamW(p, lr=0.1, eps=1e-3, weight_decay=0.2, eps_inside_root=True,
                                    preconditioned_decay=True)),
    ("adamw standard root", lambda p: optim.AdamW(p, lr=0.1, eps=1e-3, weight_decay=0.2, preconditioned_decay=True)),
    ("adagrad", lambda p: optim.Adagrad(p, lr=0.1, eps=1e-3, eps_inside_root=True)),
])  # fmt: skip
def test_lecture_forms(form, make):
    p = nn.Parameter(cr.asarray(START[1]))
    optimizer = make([p])
    scale = cr.asarray(np.arange(1.0, 5.0))
    for _ in range(15):
        optimizer.zero_grad()
        (p * p * scale).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(p.numpy(), reference(form, 15), rtol=1e-11)


def test_adamw_coupled_is_adam():
    results = []
    for make in (lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.2, decoupled=False),
                 lambda p: optim.Adam(p, lr=0.1, weight_decay=0.2)):  # fmt: skip
        p = nn.Parameter(cr.asarray(START[0]))
        optimizer = make([p])
        (p * p).sum().backward()
        optimizer.step()
        results.append(p.numpy().tobytes())
    assert results[0] == results[1]


def test_groups_and_changed_hyperparameters():
    ours, theirs = parameters(np.float64)
    groups = lambda p: [{"params": p[:1], "lr": 0.3}, {"params": p[1:], "momentum": 0.5}]  # noqa: E731
    a, b = optim.SGD(groups(ours), lr=0.1), torch.optim.SGD(groups(theirs), lr=0.1)
    run(ours, theirs, a, b, 0, 3)
    for optimizer in (a, b):
        optimizer.param_groups[0]["lr"] = 0.01
        optimizer.param_groups[0]["momentum"] = 0.9
        optimizer.param_groups[1]["weight_decay"] = 0.1
    run(ours, theirs, a, b, 3, 4)
    agree(ours, theirs, 1e-11, 1e-11)


def test_every_change_of_a_group_is_counted():
    from chainrule.tensor import version

    optimizer = optim.SGD([nn.Parameter(cr.ones((1,)))], lr=0.1)
    before = version()
    optimizer.param_groups[0]["lr"] = 0.2
    assert version() > before
    before = version()
    optimizer.param_groups[0].update(lr=0.3)
    assert version() > before


def test_state_is_made_at_construction():
    p = nn.Parameter(cr.ones((2,)))
    optimizer = optim.Adam([p])
    assert set(optimizer.state[p]) == {"step", "exp_avg", "exp_avg_sq"}
    slots = dict(optimizer.state[p])
    (p * p).sum().backward()
    optimizer.step()
    assert all(optimizer.state[p][k] is v for k, v in slots.items())
    assert slots["step"].item() == 1.0


def test_parameters_stay_leaves_and_keep_identity():
    p = nn.Parameter(cr.ones((2,)))
    optimizer = optim.SGD([p], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()
    assert p.is_leaf and p.requires_grad and not p.grad.requires_grad


def test_parameters_without_gradient_are_left_alone():
    p, q = nn.Parameter(cr.ones((2,))), nn.Parameter(cr.ones((2,)))
    optimizer = optim.AdamW([p, q], lr=0.1, weight_decay=0.5)
    (p * p).sum().backward()
    optimizer.step()
    assert q.tolist() == [1.0, 1.0] and p.tolist() != [1.0, 1.0]
    assert optimizer.state[q]["step"].item() == 0.0


def test_closure_and_zero_grad():
    p = nn.Parameter(cr.asarray([1.0]))
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 1.0
    assert p.tolist() == [0.5]
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0]
    optimizer.zero_grad()
    assert p.grad is None


def test_unbound_optimiser():
    optimizer = optim.AdamW(lr=0.1)
    with pytest.raises(ConfigError, match="bind"):
        optimizer.step()
    p = nn.Parameter(cr.ones((1,)))
    assert optimizer.bind([p]).param_groups[0]["lr"] == 0.1
    with pytest.raises(ConfigError, match="already"):
        optimizer.bind([p])


def test_named_parameters_are_accepted():
    layer = nn.Linear(2, 1)
    assert len(optim.SGD(layer.named_parameters(), lr=0.1).param_groups[0]["params"]) == 2


def test_errors():
    p = nn.Parameter(cr.ones((2,)))
    with pytest.raises(ConfigError, match="no parameters"):
        optim.SGD([], lr=0.1)
    with pytest.raises(ConfigError, match="one tensor"):
        optim.SGD(p, lr=0.1)
    with pytest.raises(ConfigError, match="twice"):
        optim.SGD([p, p], lr=0.1)
    with pytest.raises(ConfigError, match="leaves"):
        optim.SGD([p * 2], lr=0.1)
    with pytest.raises(ConfigError, match="lr must not be negative"):
        optim.SGD([p], lr=-1.0)
    with pytest.raises(ConfigError, match=r"betas\[1\]"):
        optim.Adam([p], betas=(0.9, 1.0))
    with pytest.raises(ConfigError, match="Nesterov"):
        optim.SGD([p], lr=0.1, nesterov=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    with pytest.raises(DataError, match="groups of"):
        optimizer.load_state_dict({"state": {}, "param_groups": []})
    state = optimizer.state_dict()
    state["state"][0]["momentum_buffer"] = np.zeros(3)
    with pytest.raises(ShapeError, match="momentum_buffer"):
        optimizer.load_state_dict(state)


def test_repr_names_the_hyperparameters():
    text = repr(optim.SGD([nn.Parameter(cr.ones((1,)))], lr=0.125))
    assert text.startswith("SGD (") and "lr: 0.125" in text


def test_mlp_trains_like_torch():
    """The house example: an MLP, cross-entropy and Adam; the losses of 25 steps agree with PyTorch's."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 3, size=60)
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).double()
    ours = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    ours.load_state_dict(theirs.state_dict())
    a, b = optim.Adam(ours.parameters(), lr=0.02), torch.optim.Adam(theirs.parameters(), lr=0.02)
    xs, ys, xt, yt = cr.asarray(x), cr.asarray(y), torch.tensor(x), torch.tensor(y)
    for _ in range(25):
        a.zero_grad()
        loss = nn.functional.cross_entropy(ours(xs), ys)
        loss.backward()
        a.step()
        b.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs(xt), yt)
        expected.backward()
        b.step()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    assert loss.item() < 1.1
