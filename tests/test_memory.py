"""What a program needs is known before it runs; evaluation keeps nothing for a backward pass."""

from __future__ import annotations

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import memory, nn, optim
from chainrule.errors import ConfigError, MemoryLimitError

ROWS, WIDTH = 192, 128


@pytest.fixture(autouse=True)
def no_limit():
    yield
    cr.set_memory_limit(None)


def network(depth: int = 8) -> nn.Sequential:
    cr.manual_seed(0)
    return nn.Sequential(*(layer for _ in range(depth) for layer in (nn.Linear(WIDTH, WIDTH), nn.Tanh())))


def training(model):
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @cr.compile
    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_error_before_running():
    model = network()
    before = [p.numpy().copy() for p in model.parameters()]
    step = training(model)
    needed = cr.explain(step, np.ones((ROWS, WIDTH), np.float32)).arena_bytes + 4
    cr.set_memory_limit(needed - 1)
    with pytest.raises(MemoryLimitError, match=r"largest tensors:\n  96 KiB  float32\[192, 128\]\n"):
        step(np.ones((ROWS, WIDTH), np.float32))  # compiled before there was a limit
    step = training(model)
    with pytest.raises(MemoryLimitError) as caught:
        step(np.ones((ROWS, WIDTH), np.float32))
    lines = str(caught.value).splitlines()
    what = memory.text_size(needed)  # a few bytes less are the same text
    parts = f"{what} for intermediate values and 4 B for results"
    assert lines[0] == f"memory: the program needs {what} ({parts}), the limit is {what}"
    assert lines[1] == "the largest tensors:" and len(lines) == 2 + memory.NAMED + 1
    for line in lines[2:-1]:
        assert re.fullmatch(
            r"  [\d.]+ KiB  float32\[\d+, \d+\]  \w+ of (Linear|Tanh) \d+, recorded at .*test_memory.py:\d+", line
        )
    assert re.fullmatch(
        r"help: [\d.]+ [KM]iB of it are kept for the backward pass; cr.checkpoint around \d+ parts of the model would "
        r"save about [\d.]+ [KM]iB",
        lines[-1],
    )
    assert isinstance(caught.value, MemoryError)
    assert all(np.array_equal(p.numpy(), b) for p, b in zip(model.parameters(), before, strict=True))
    cr.set_memory_limit(needed)
    step(np.ones((ROWS, WIDTH), np.float32))
    assert not np.array_equal(model[0].weight.numpy(), before[0])


def test_explain_shows_what_is_too_large_to_run():
    step = training(network())
    cr.set_memory_limit(1000)
    x = np.ones((ROWS, WIDTH), np.float32)
    assert cr.explain(step, x).arena_bytes > 1000
    with pytest.raises(MemoryLimitError):
        step(x)


def test_uncompiled_code():
    x = cr.ones((64, 64), requires_grad=True)
    cr.set_memory_limit(64 * 64 * 4 - 1)
    y = cr.exp(x) + 1.5
    with pytest.raises(MemoryLimitError, match=r"16 KiB  float32\[64, 64\]  \w+, recorded at .*test_memory.py:\d+"):
        y.numpy()
    cr.set_memory_limit(None)
    assert y.numpy().shape == (64, 64)


def test_without_a_limit_the_machine_decides(monkeypatch):
    there = memory.available_bytes()
    assert there is None or there > 1 << 20
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 20)
    step = cr.compile(lambda x: cr.exp(x)[:, None] * x)
    x = np.ones(5000, np.float32)
    with pytest.raises(MemoryLimitError, match=r"needs 95\.4 MiB .* 1 MiB are available"):
        step(x)
    assert step(x[:100]).shape == (100, 100)  # too small to ask


def test_environment_variable(monkeypatch):
    monkeypatch.setenv("CHAINRULE_MEMORY", "100")
    assert cr.get_memory_limit() == 100
    cr.set_memory_limit(200)
    assert cr.get_memory_limit() == 200
    monkeypatch.setenv("CHAINRULE_MEMORY", "much")
    cr.set_memory_limit(None)
    with pytest.raises(ConfigError, match="CHAINRULE_MEMORY must be a whole number, not 'much'"):
        cr.get_memory_limit()


@pytest.mark.parametrize("wrong", [0, -5, 1.5, True, "1"])
def test_wrong_limit(wrong):
    with pytest.raises(ConfigError) as caught:
        cr.set_memory_limit(wrong)
    problem = str(caught.value).splitlines()[0]
    assert problem == f"set_memory_limit: a positive whole number of bytes is needed, not {wrong!r}"


def test_evaluation_keeps_nothing_for_a_backward_pass():
    """The arena of an evaluation does not grow with depth; that of training does."""
    x = np.ones((ROWS, WIDTH), np.float32)
    value = ROWS * WIDTH * 4
    arenas = {}
    for depth in (4, 16):
        model = network(depth)

        def evaluation(x, model=model):
            with cr.no_grad():
                return model(x)

        arenas[depth] = cr.explain(evaluation, x).arena_bytes, cr.explain(training(model), x).arena_bytes
    packed = 16 * WIDTH * WIDTH * 4  # copies of transposed weights
    assert arenas[16][1] - arenas[4][1] >= 10 * value
    assert arenas[16][0] <= 2 * arenas[4][0] + packed
    assert arenas[16][0] < arenas[16][1]


def test_estimate_of_what_a_checkpoint_saves():
    model = network(12)
    explanation = cr.explain(training(model), np.ones((ROWS, WIDTH), np.float32))
    kept = explanation.retained
    value = ROWS * WIDTH * 4
    assert kept.bytes >= 10 * value and kept.bytes <= explanation.arena_bytes
    assert sum(size for _, size in kept.layers) == kept.bytes == sum(b.bytes for b, _ in kept.buffers)
    assert kept.segments > 1 and 0 < kept.saved < kept.bytes
    assert {name.split()[0] for name, _ in kept.layers} <= {"Linear", "Tanh"}
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = (cr.checkpoint_sequential(model, kept.segments, x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    after = cr.explain(step, np.ones((ROWS, WIDTH), np.float32))
    assert explanation.arena_bytes - after.arena_bytes > kept.saved / 3
    assert after.retained.bytes < kept.bytes
