"""The reverse sweep through slices: parts that lie side by side are joined, others are added up."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.graph import topological
from chainrule.graph.verify import verify

#: slices of a (6, 8) tensor, and whether their cotangents are joined by one concatenation
CUTS = {
    "halves": ((np.s_[:, :4], np.s_[:, 4:]), True),
    "out of order": ((np.s_[4:], np.s_[:1], np.s_[1:4]), True),
    "with gaps": ((np.s_[:, 1:3], np.s_[:, 5:7]), True),
    "rows": (tuple(np.s_[i] for i in range(6)), True),
    "overlapping": ((np.s_[:, :5], np.s_[:, 4:]), False),
    "twice": ((np.s_[:, :4], np.s_[:, :4]), False),
    "along two axes": ((np.s_[:3], np.s_[:, 4:]), False),
    "corners": ((np.s_[:3, :4], np.s_[3:, 4:]), False),
    "one": ((np.s_[1:3],), False),
    "in steps": ((np.s_[::2], np.s_[1::2]), False),
}


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("dense", [False, True])
def test_gradients_of_slices(name: str, dense: bool) -> None:
    cuts, joined = CUTS[name]
    values = np.random.default_rng(0).normal(size=(6, 8))
    expected = np.cos(values) if dense else np.zeros_like(values)
    for number, cut in enumerate(cuts):
        expected[cut] += 2 * values[cut] * (number + 1)
    x = cr.asarray(values).requires_grad_()
    total = cr.sin(x).sum() if dense else cr.asarray(0.0, dtype=cr.float64)
    for number, cut in enumerate(cuts):
        total = total + (x[cut] * x[cut] * (number + 1.0)).sum()
    total.backward()
    assert x.grad is not None
    verify([x.grad._node])
    names = [node.op.name for node in topological([x.grad._node])]
    assert names.count("concat") == joined and ("pad" in names) != joined
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12)


def test_second_order() -> None:
    x = cr.asarray(np.random.default_rng(0).normal(size=(4, 6)))

    def f(x):
        a, b = x[:, :3], x[:, 3:]
        return (a * a * cr.sin(b)).sum()

    tangent = cr.ones((4, 6), dtype=cr.float64)
    _, moved = cr.jvp(cr.grad(f), (x,), (tangent,))
    step = 1e-6
    expected = (cr.grad(f)(x + step).numpy() - cr.grad(f)(x - step).numpy()) / (2 * step)
    np.testing.assert_allclose(moved.numpy(), expected, rtol=1e-7, atol=1e-8)
