"""Layers, losses and optimisers inside a compiled step: the same bits as outside, and no program for a new number."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import IndexOutOfRangeError

from .test_optimizers import CASES, IDS

RNG = np.random.default_rng(4)
X = RNG.normal(size=(12, 4)).astype(np.float32)
Y = RNG.integers(0, 3, size=12)


def network(dropout=0.0):
    cr.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.ELU(), nn.Dropout(dropout), nn.Linear(8, 3))


def make_step(model, optimizer, loss=nn.functional.cross_entropy, **options):
    def step(x, y):
        optimizer.zero_grad()
        value = loss(model(x), y, **options)
        value.backward()
        optimizer.step()
        return value

    return step


def values(model):
    return [p.numpy().tobytes() for p in model.parameters()]


def both(make_optimizer, dropout=0.0, steps=6, **options):
    """Losses and weights after some steps, uncompiled and compiled."""
    results = []
    for wrap in (lambda f: f, cr.compile):
        model = network(dropout)
        step = wrap(make_step(model, make_optimizer(model.parameters()), **options))
        losses = [step(cr.asarray(X), cr.asarray(Y)).item() for _ in range(steps)]
        results.append((losses, values(model)))
    return results


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_compiled_optimiser_has_the_same_bits(name, options):
    uncompiled, compiled = both(lambda p: getattr(optim, name)(p, **options))
    assert uncompiled == compiled


@pytest.mark.parametrize("options", [{"ignore_index": 1}, {"label_smoothing": 0.1}, {"reduction": "sum"}])
def test_compiled_loss_has_the_same_bits(options):
    uncompiled, compiled = both(lambda p: optim.SGD(p, lr=0.05), **options)
    assert uncompiled == compiled


def test_dropout_draws_the_same_masks():
    uncompiled, compiled = both(lambda p: optim.Adam(p, lr=0.01), dropout=0.5)
    assert uncompiled == compiled


def test_changed_hyperparameters_need_no_new_program():
    model = network(0.5)
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    step = cr.compile(make_step(model, optimizer))
    step(cr.asarray(X), cr.asarray(Y))
    count = sum(len(entry) for entry in step._entries.values())
    for change in ({"lr": 0.5}, {"betas": (0.5, 0.6)}, {"eps": 1e-3}, {"weight_decay": 0.3}):
        before = values(model)
        optimizer.param_groups[0].update(change)
        step(cr.asarray(X), cr.asarray(Y))
        assert values(model) != before
    model[2].p = 0.25
    step(cr.asarray(X), cr.asarray(Y))
    assert sum(len(entry) for entry in step._entries.values()) == count == 1


def test_schedule_reaches_a_compiled_step():
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1.0 if k == 0 else 0.0)
    step = cr.compile(make_step(model, optimizer))
    before = values(model)
    step(cr.asarray(X), cr.asarray(Y))
    assert values(model) != before
    schedule.step()
    before = values(model)
    step(cr.asarray(X), cr.asarray(Y))
    assert values(model) == before


def test_modes_are_guarded():
    model = network(0.5)
    forward = cr.compile(lambda x: model(x))
    x = cr.asarray(X)
    assert (forward(x).numpy() != forward(x).numpy()).any()
    model.eval()
    assert (forward(x).numpy() == forward(x).numpy()).all()
    np.testing.assert_array_equal(forward(x).numpy(), model(x).detach().numpy())


@pytest.mark.parametrize("order", ["112212", "211221", "121"])
def test_parameters_that_join_late(order):
    """A parameter that gets its first gradient after others counts its own steps, compiled or not."""
    results = []
    for wrap in (lambda f: f, cr.compile):
        p, q = (nn.Parameter(cr.asarray(np.array([v], np.float64))) for v in (1.0, 2.0))
        optimizer = optim.Adam([p, q], lr=0.1)

        def alone(optimizer=optimizer, p=p):
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()

        def together(optimizer=optimizer, p=p, q=q):
            optimizer.zero_grad()
            (p * p * q).sum().backward()
            optimizer.step()

        first, second = wrap(alone), wrap(together)
        for which in order:
            (first if which == "1" else second)()
        results.append((p.item(), q.item(), optimizer.state[p]["step"].item(), optimizer.state[q]["step"].item()))
    assert results[0] == results[1]
    assert results[0][2:] == (len(order), order.count("2"))


def test_clipping_inside():
    results = []
    for wrap in (lambda f: f, cr.compile):
        model = network()
        optimizer = optim.SGD(model.parameters(), lr=0.1)

        def step(x, y, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            return norm

        step = wrap(step)
        results.append(([step(cr.asarray(X), cr.asarray(Y)).item() for _ in range(3)], values(model)))
    assert results[0] == results[1]


@pytest.mark.parametrize("label", [3, -1])
def test_label_out_of_range_in_a_compiled_step(label):
    model = network()
    step = cr.compile(make_step(model, optim.SGD(model.parameters(), lr=0.1)))
    step(cr.asarray(X), cr.asarray(Y))
    wrong = Y.copy()
    wrong[3] = label
    with pytest.raises(IndexOutOfRangeError) as caught:
        step(cr.asarray(X), cr.asarray(wrong)).item()
    assert f"index {label} " in str(caught.value) and "3" in str(caught.value)


def test_loading_a_state_reaches_a_compiled_step():
    results = []
    for wrap in (lambda f: f, cr.compile):
        model = network()
        optimizer = optim.Adam(model.parameters(), lr=0.05)
        step = wrap(make_step(model, optimizer))
        for _ in range(3):
            step(cr.asarray(X), cr.asarray(Y))
        saved, weights = optimizer.state_dict(), model.state_dict()
        once = step(cr.asarray(X), cr.asarray(Y)).item(), values(model)
        step(cr.asarray(X), cr.asarray(Y))
        optimizer.load_state_dict(saved)
        model.load_state_dict(weights)
        again = step(cr.asarray(X), cr.asarray(Y)).item(), values(model)
        assert once == again
        saved["state"][1]["step"] = np.float64(1.0)
        optimizer.load_state_dict(saved)
        step(cr.asarray(X), cr.asarray(Y))
        results.append(values(model))
    assert results[0] == results[1]


def test_groups_added_later_reach_the_compiled_step():
    model, twin = network(), network()
    optimizer, other = optim.Adam(model.parameters(), lr=0.01), optim.Adam(twin.parameters(), lr=0.01)
    step, compiled = make_step(model, optimizer), cr.compile(make_step(twin, other))
    for _ in range(5):
        assert step(cr.asarray(X), cr.asarray(Y)).item() == compiled(cr.asarray(X), cr.asarray(Y)).item()
    assert values(model) == values(twin)
    assert all(p.grad is not None for p in model.parameters())
    extra = nn.Parameter(cr.ones((2,)))
    optimizer.add_param_group({"params": [extra], "lr": 0.5})
    optimizer.zero_grad()
    (extra * extra).sum().backward()
    optimizer.step()
    assert extra.tolist() != [1.0, 1.0]
    assert values(model) == values(twin)
