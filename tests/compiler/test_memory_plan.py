"""Where values lie: inside chained tasks memory is shared, and what needs nothing is made late."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional, nn
from chainrule.compiler.sinking import WORTH


@pytest.fixture(params=[1, 2])
def threads(request):
    before = cr.get_num_threads()
    cr.set_num_threads(request.param)
    yield request.param
    cr.set_num_threads(before)


def apart(explanation) -> None:
    """No two values that are needed at the same time lie in the same place."""
    arena = [b for b in explanation.arena if b.first >= 0 and b.bytes]
    for n, one in enumerate(arena):
        for other in arena[:n]:
            disjoint = one.offset + one.bytes <= other.offset or other.offset + other.bytes <= one.offset
            # a map may write each element of a value where it has read the same one of another
            over = (one.offset, one.bytes) == (other.offset, other.bytes)
            before, after = one.last - other.first, other.last - one.first
            assert disjoint or min(before, after) < (1 if over else 0), (one, other)


def chain(depth: int, width: int = 64):
    weights = [np.random.default_rng(n).standard_normal((width, width), dtype=np.float32) * 0.1 for n in range(depth)]

    def run(x):
        for n, w in enumerate(weights):
            x = cr.tanh(x @ cr.asarray(w)) if n % 3 else functional.softmax(x @ cr.asarray(w), dim=-1)
        return x

    return run


def test_a_chain_of_rows_needs_no_more_memory_when_it_is_deeper(threads):
    x = np.random.default_rng(0).standard_normal((256, 64), dtype=np.float32)
    explanations = {depth: cr.explain(chain(depth), x) for depth in (6, 24)}
    for depth, explanation in explanations.items():
        apart(explanation)
        function = chain(depth)
        y = cr.asarray(x)
        for n in range(depth):  # the same without any chain: each step is evaluated
            w = np.random.default_rng(n).standard_normal((64, 64), dtype=np.float32) * 0.1
            y = cr.tanh(y @ cr.asarray(w)) if n % 3 else functional.softmax(y @ cr.asarray(w), dim=-1)
            y = cr.asarray(y.numpy())
        assert np.array_equal(cr.compile(function)(x).numpy(), y.numpy())
    assert explanations[24].arena_bytes <= explanations[6].arena_bytes + 4096
    assert any(b.first_region == b.last_region and b.reuses for b in explanations[24].arena)


def test_values_that_are_still_needed_are_not_overwritten(threads):
    """Early values are read again at the end of a chain."""

    def run(x):
        early = cr.exp(x.sum(axis=1, keepdims=True) * 0.01) * x
        y = early
        for _ in range(6):
            y = functional.softmax(y, dim=-1) * early + y
        return y - early, early.max(axis=1)

    x = np.random.default_rng(0).standard_normal((300, 50), dtype=np.float32)
    apart(cr.explain(run, x))
    compiled = cr.compile(run)(x)
    for actual, expected in zip(compiled, run(cr.asarray(x)), strict=True):
        assert np.array_equal(actual.numpy(), expected.numpy())


def test_borders_and_panels_are_made_late(threads):
    cr.manual_seed(0)
    layers = ((nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()) for _ in range(5))
    model = nn.Sequential(*(layer for group in layers for layer in group))
    x = np.random.default_rng(0).standard_normal((4, 16, 16, 16), dtype=np.float32)

    def loss(x):
        value = (model(x) ** 2).sum()
        value.backward()
        return value

    explanation = cr.explain(loss, x)
    apart(explanation)
    padded = [b for b in explanation.arena if b.bytes >= WORTH and b.shape[1:3] == (18, 18)]
    assert len(padded) >= 8
    if threads == 2:  # regions on one thread are joined
        firsts = [b.first_region for b in padded]
        assert len(set(firsts)) >= 6, "all are cleared at the same time"
        users = {}
        for number, region in enumerate(explanation.plan.regions):
            for call in (call for task in region.tasks for call in task.calls):
                for read in call.reads if len(call.reads) > 1 else ():  # clearing a border reads what it writes at most
                    users.setdefault(read, number)
        assert all(users[b.number] - b.first_region <= 3 for b in padded)
