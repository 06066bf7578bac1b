"""`GradScaler` against PyTorch's, uncompiled and compiled."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError

FACTORS = [1.0, 2.0, np.inf, 0.5, 1.0, np.nan, 1.0, 1.0]


def course(compiled, optimizer_name="Adam"):
    """Parameters, scales and counts after each step of a problem whose gradients are not always finite."""
    p = cr.nn.Parameter(cr.asarray([2.0, 1.0]))
    optimizer = getattr(cr.optim, optimizer_name)([p], lr=0.1)
    scaler = cr.optim.GradScaler(init_scale=8.0, growth_interval=2)

    def step(factor):
        optimizer.zero_grad()
        scaler.scale((p * p * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    run = cr.compile(step) if compiled else step
    found = []
    for factor in FACTORS:
        run(cr.asarray([factor, 1.0]))
        found.append((p.tolist(), scaler.get_scale(), scaler.state_dict()["_growth_tracker"]))
    return found


@pytest.mark.parametrize("compiled", [False, True], ids=["uncompiled", "compiled"])
@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_steps_with_infinite_gradients_are_left_out(name, compiled):
    torch = pytest.importorskip("torch")
    p = torch.nn.Parameter(torch.tensor([2.0, 1.0]))
    optimizer = getattr(torch.optim, name)([p], lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    for factor, (values, scale, tracker) in zip(FACTORS, course(compiled, name), strict=True):
        optimizer.zero_grad()
        scaler.scale((p * p * torch.tensor([factor, 1.0])).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        np.testing.assert_allclose(values, p.tolist(), rtol=1e-6)
        assert scale == scaler.get_scale() and tracker == scaler.state_dict()["_growth_tracker"]


def test_unscaled_gradients_can_be_changed_before_the_step():
    p = cr.nn.Parameter(cr.asarray([3.0]))
    optimizer, scaler = cr.optim.SGD([p], lr=1.0), cr.optim.GradScaler(init_scale=16.0)
    scaler.scale((2.0 * p).sum()).backward()
    assert p.grad.item() == 32.0
    scaler.unscale_(optimizer)
    assert p.grad.item() == 2.0
    with pytest.raises(ConfigError) as caught:
        scaler.unscale_(optimizer)
    assert str(caught.value).startswith("unscale_: the gradients of this optimiser are not scaled any more\n")
    p.grad = p.grad * 0.5
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == 2.0


def test_gradients_too_small_for_float16_arrive():
    def gradient(scaler):
        w = cr.nn.Parameter(cr.full((4, 4), 0.5))
        optimizer = cr.optim.SGD([w], lr=0.0)
        with cr.autocast("float16"):
            loss = (cr.ones((4, 4)) @ w).sum() * 1e-9
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        return w.grad.numpy()

    np.testing.assert_array_equal(gradient(cr.optim.GradScaler(enabled=False)), 0.0)
    np.testing.assert_allclose(gradient(cr.optim.GradScaler()), 4e-9, rtol=1e-2)


def test_state_goes_on():
    one, other = cr.optim.GradScaler(init_scale=4.0, growth_interval=3), cr.optim.GradScaler()
    other.load_state_dict(one.state_dict())
    assert other.state_dict() == one.state_dict()
    off = cr.optim.GradScaler(enabled=False)
    assert off.state_dict() == {} and off.get_scale() == 1.0
    p = cr.nn.Parameter(cr.asarray([3.0]))
    optimizer = cr.optim.SGD([p], lr=1.0)
    off.scale(p.sum()).backward()
    off.step(optimizer)
    off.update()
    assert p.item() == 2.0


def test_refusals():
    for arguments, message in (
        ({"growth_factor": 1.0}, "GradScaler: growth_factor must be above 1, not 1.0"),
        ({"backoff_factor": 1.0}, "GradScaler: backoff_factor must lie between 0 and 1, not 1.0"),
        ({"growth_interval": 0}, "GradScaler: growth_interval must be at least 1, not 0"),
    ):
        with pytest.raises(ConfigError) as caught:
            cr.optim.GradScaler(**arguments)
        assert str(caught.value).splitlines()[0] == message
    with pytest.raises(ConfigError, match=r"update: no gradients were unscaled"):
        cr.optim.GradScaler().update()
