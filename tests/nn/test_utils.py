"""Gradient clipping against PyTorch."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import DataError

torch = pytest.importorskip("torch")


def pair():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, 4)), rng.normal(size=5)]
    ours = [nn.Parameter(cr.asarray(a)) for a in arrays]
    theirs = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    for params in (ours, theirs):
        sum((p**3).sum() for p in params).backward()
    return [*ours, nn.Parameter(cr.ones((2,)))], [*theirs, torch.nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clip_grad_norm(max_norm, norm_type):
    ours, theirs = pair()
    a = nn.utils.clip_grad_norm_(ours, max_norm, norm_type)
    b = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert float(a) == pytest.approx(float(b), rel=1e-12)
    for p, q in zip(ours[:2], theirs):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)
    assert ours[2].grad is None


def test_clip_grad_value():
    ours, theirs = pair()
    nn.utils.clip_grad_value_(ours, 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    for p, q in zip(ours[:2], theirs):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)


def test_non_finite_norm():
    p = nn.Parameter(cr.zeros((1,)))
    (p * math.nan).sum().backward()
    with pytest.raises(DataError, match="nan"):
        nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_([], 1.0).item() == 0.0
