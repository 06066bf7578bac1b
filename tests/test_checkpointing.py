"""`checkpoint`: the same bits, less memory, nothing repeated but the computation."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ConfigError
from chainrule.graph.node import topological
from chainrule.transforms.checkpoint import region

WIDTH, ROWS = 64, 128


def deep(depth: int, dropout: float = 0.0) -> nn.Sequential:
    cr.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(WIDTH, WIDTH), nn.Tanh()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


def training(segments: int, depth: int = 12, dropout: float = 0.0):
    """A model, and a training step with so many checkpointed segments (0: none)."""
    model = deep(depth, dropout)
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        y = cr.checkpoint_sequential(model, segments, x) if segments else model(x)
        loss = (y * y).sum()
        loss.backward()
        optimizer.step()
        return loss

    return model, step


def data(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((ROWS, WIDTH), dtype=np.float32)


def gradients(segments: int, compiled: bool, dropout: float = 0.0) -> list[np.ndarray]:
    model, step = training(segments, dropout=dropout)
    run = cr.compile(step, keep_grads=True) if compiled else step
    cr.manual_seed(7)
    losses = [np.asarray(run(cr.asarray(data(n)))) for n in range(2)]
    return [*losses, *(np.asarray(p.grad) for p in model.parameters()), *(np.asarray(p) for p in model.parameters())]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_same_bits(compiled, dropout):
    expected = gradients(0, compiled, dropout)
    for segments in (3, 12):
        actual = gradients(segments, compiled, dropout)
        assert all(np.array_equal(a, b) for a, b in zip(expected, actual, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_arena_shrinks(threads):
    before = cr.get_num_threads()
    cr.set_num_threads(threads)
    try:
        arenas = []
        for segments in (0, 4, 12):
            _, step = training(segments)
            arenas.append(cr.explain(step, data()).arena_bytes)
    finally:
        cr.set_num_threads(before)
    values = ROWS * WIDTH * 4
    assert arenas[0] - arenas[1] > 4 * values  # of the 12 layers' values those of the segments' insides go
    assert arenas[1] < 0.8 * arenas[0]


def test_draws_and_state_are_not_repeated():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.register_buffer("count", cr.zeros(()))
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            self.count = self.count + 1.0
            return self.layer(x) * cr.rand(3, 4)

    results = []
    for wrapped in (False, True):
        cr.manual_seed(3)
        model = Noisy()
        x = cr.ones((3, 4), requires_grad=True)
        y = cr.checkpoint(model, x) if wrapped else model(x)
        y.sum().backward()
        assert model.calls == 1 and float(model.count) == 1.0
        results.append([x.grad.numpy(), model.layer.weight.grad.numpy(), cr.rand(2).numpy()])
    assert all(np.array_equal(a, b) for a, b in zip(*results))


def test_computed_again_and_waiting():
    """The reverse sweep reads no value from inside the region, and all that it computes again depends on a barrier."""
    x = cr.ones((5, 5), requires_grad=True)
    y = cr.checkpoint(lambda x: cr.tanh(cr.exp(x) @ x), x)
    inner = {node for node in region(y._node) if node.op.name in ("exp", "tanh", "contract")}
    assert len(inner) == 3
    loss = (y * y).sum()
    loss.backward()
    found = topological([x.grad._node])
    sweep = [node for node in found if node.serial > loss._node.serial]
    assert not any(operand in inner for node in sweep for operand in node.inputs)
    assert sum(node.op.name == "barrier" for node in sweep) == 1
    assert {node.op.name for node in sweep} >= {"exp", "contract"}


def test_an_evaluation_in_between_keeps_nothing_from_inside():
    def inner(x):
        return cr.exp(cr.sin(cr.exp(cr.sin(x))))

    x = cr.full((6,), 0.3, requires_grad=True)
    y = cr.checkpoint(inner, x)
    loss = y.sum()
    float(loss)
    assert all(node.value is None for node in region(y._node))
    loss.backward()
    z = cr.full((6,), 0.3, requires_grad=True)
    other = inner(z).sum()
    float(other)
    other.backward()
    assert np.array_equal(x.grad.numpy(), z.grad.numpy())


def test_several_results_and_nesting():
    def inner(a, b):
        c = cr.checkpoint(lambda a: cr.sin(a) * cr.exp(a), a)
        return {"p": c * b, "q": [cr.cos(c), 3, b.shape[0]], "i": cr.argmax(c, axis=0)}

    def total(f, a, b):
        found = f(a, b)
        return (found["p"] * found["q"][0]).sum() + (found["q"][0] * a).sum()

    rng = np.random.default_rng(1)
    values = [cr.asarray(rng.standard_normal((4, 3))) for _ in range(2)]
    plain = cr.value_and_grad(lambda a, b: total(inner, a, b), argnums=(0, 1))
    again = cr.value_and_grad(lambda a, b: total(lambda *x: cr.checkpoint(inner, *x), a, b), argnums=(0, 1))
    for first, second in ((plain, again), (cr.compile(plain), cr.compile(again))):
        (u, (ua, ub)), (v, (va, vb)) = first(*values), second(*values)
        assert float(u) == float(v)
        assert np.array_equal(np.asarray(ua), np.asarray(va)) and np.array_equal(np.asarray(ub), np.asarray(vb))
    kept = cr.checkpoint(inner, *values)
    assert kept["q"][1:] == [3, 4]


def test_other_transformations():
    def f(x):
        return cr.sin(x) * cr.exp(x)

    x = cr.asarray([0.1, 0.5, -1.0], dtype=cr.float64)
    wrapped = lambda x: cr.checkpoint(f, x)  # noqa: E731
    second = cr.grad(lambda x: cr.grad(lambda x: f(x).sum())(x).sum())(x)
    second_again = cr.grad(lambda x: cr.grad(lambda x: wrapped(x).sum())(x).sum())(x)
    assert np.allclose(np.asarray(second), np.asarray(second_again), rtol=1e-14)
    tangent = cr.jvp(f, (x,), (cr.ones_like(x),))[1]
    assert np.array_equal(np.asarray(tangent), np.asarray(cr.jvp(wrapped, (x,), (cr.ones_like(x),))[1]))
    lanes = cr.vmap(cr.grad(lambda x: wrapped(x)))(x)
    assert np.array_equal(np.asarray(lanes), np.asarray(cr.vmap(cr.grad(f))(x)))
    batched = cr.grad(lambda x: cr.vmap(wrapped)(x).sum())(x)
    assert np.array_equal(np.asarray(batched), np.asarray(lanes))


def test_loops_inside_and_around():
    rng = np.random.default_rng(0)
    w, xs = cr.asarray(rng.standard_normal((8, 8)) * 0.3), cr.asarray(rng.standard_normal((5, 3, 8)))

    def body(carry, x):
        carry = cr.tanh(carry @ w + x)
        return carry, carry * 2

    def total(xs, body=body):
        carry, ys = cr.scan(body, cr.zeros((3, 8), dtype=cr.float64), xs)
        return (ys**2).sum() + carry.sum()

    expected = cr.grad(total)(xs).numpy()
    inside = cr.grad(lambda xs: total(xs, lambda c, x: cr.checkpoint(body, c, x)))
    around = cr.grad(lambda xs: cr.checkpoint(total, xs))
    for function in (inside, around, cr.compile(inside), cr.compile(around)):
        assert np.array_equal(function(xs).numpy(), expected)


@pytest.mark.parametrize("compiled", [True, False])
def test_running_statistics_are_written_once(compiled):
    x = cr.asarray(np.random.default_rng(0).standard_normal((4, 3, 6, 6), dtype=np.float32))
    results = []
    for wrapped in (False, True):
        cr.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh())

        def step(x, model=model, wrapped=wrapped):
            loss = (cr.checkpoint(model, x) if wrapped else model(x)).sum()
            loss.backward()
            return loss

        (cr.compile(step) if compiled else step)(x)
        norm = model[1]
        assert int(norm.num_batches_tracked) == 1
        results.append([*(p.grad.numpy() for p in model.parameters()), norm.running_mean.numpy()])
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_without_gradients_nothing_is_recorded():
    with cr.no_grad():
        y = cr.checkpoint(lambda x: x * 2, cr.ones(3, requires_grad=True))
    assert y._node.op.name != "checkpoint"
    assert cr.checkpoint(lambda x: x * 2, cr.ones(3))._node.op.name != "checkpoint"


def test_bad_input():
    with pytest.raises(ConfigError, match=r"checkpoint: function is no function but int\nrecorded at .*ing.py:\d+"):
        cr.checkpoint(3)
    layers = [cr.exp, cr.sin]
    for segments in (0, 3, 1.5, True):
        with pytest.raises(ConfigError) as caught:
            cr.checkpoint_sequential(layers, segments, cr.ones(2))
        assert f"2 functions cannot be divided into {segments!r} segments" in str(caught.value)
        assert "help: segments from 1 to 2" in str(caught.value)


def test_options_of_pytorch_are_refused_with_the_cure():
    for options in ({"use_reentrant": False}, {"preserve_rng_state": True}):
        with pytest.raises(ConfigError, match=r"checkpoint: \w+ is an option of PyTorch alone\n.*\nhelp: leave it out"):
            cr.checkpoint(cr.sin, cr.ones(2), **options)
