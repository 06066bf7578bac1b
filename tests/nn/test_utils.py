"""Gradient clipping and padded sequences against PyTorch."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError, DataError, ShapeError

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


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("rest", [(), (3,), (2, 1)])
def test_sequences_are_padded(batch_first, side, rest):
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=(n, *rest)) for n in (2, 5, 0, 5, 1)]
    ours = [cr.asarray(a).requires_grad_() for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    a = nn.utils.pad_sequence(ours, batch_first, -1.5, side)
    b = torch.nn.utils.rnn.pad_sequence(theirs, batch_first, -1.5, side)
    np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    (a**2).sum().backward()
    (b**2).sum().backward()
    for x, y in zip(ours, theirs):
        np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())


def test_sequences_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"pad_sequence: sequence 1 has shape \(2, 3\), sequence 0 \(2, 4\); operands"):
        nn.utils.pad_sequence([cr.ones((2, 4)), cr.ones((2, 3))])
    with pytest.raises(ConfigError, match="pad_sequence: there are no sequences\nrecorded at"):
        nn.utils.pad_sequence([])
    with pytest.raises(ConfigError, match="pad_sequence: padding_side must be 'right' or 'left', not 'both'"):
        nn.utils.pad_sequence([cr.ones(2)], padding_side="both")
