"""The benchmark of derivatives: what it counts meets its aims, and its sides compute the same."""

from __future__ import annotations

import importlib
import importlib.util

import numpy as np
import pytest

import chainrule as cr
from benchmarks import derivative_sides, derivatives


def test_operations_of_derivatives_meet_the_aims() -> None:
    """Counted flops of compiled programs: exact, so no tolerance."""
    for row in derivatives.counted():
        for what, aim in derivatives.AIMS.items():
            assert 1.0 < row[what] <= aim, (row["function"], what, row[what])


def test_deep_graphs_are_timed_at_three_lengths() -> None:
    rows = derivatives.deep(chain=80, steps=16)
    assert [row["length"] for row in rows] == [20, 40, 80, 4, 8, 16]
    assert all(row[what] > 0 for row in rows for what in ("record", "grad", "hvp", "compile record", "compile grad"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little inputs instead of 256 examples of a large network."""
    right = derivative_sides.inputs

    def inputs(case: str):
        parameters, x, y = right("hessian")
        return parameters, x[:6], y[:6]

    monkeypatch.setattr(derivative_sides, "inputs", inputs)


@pytest.mark.parametrize("case", derivative_sides.CASES)
@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_sides_compute_the_same(case: str, peer: str, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is the peer")
    # what the sides set lasts in this process: no affinity, and as many threads as there were
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None, raising=False)
    module = importlib.import_module(peer)
    threads = {"chainrule": cr.get_num_threads(), "torch": module.get_num_threads() if peer == "torch" else 1}
    found = [derivative_sides.SIDES[name](case, threads.get(name, 1))[0]() for name in ("chainrule", peer)]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=2e-3, atol=2e-5)
