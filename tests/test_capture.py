"""`compile`: a compiled function is the function itself, to the last bit, in its results and in the state it leaves."""

from __future__ import annotations

import contextlib
import re
import threading
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.compiler import chunks
from chainrule.compiler.program import Program
from chainrule.errors import (
    ChainruleError,
    ConfigError,
    DifferentiationError,
    DTypeError,
    GradientNotStoredError,
    IndexOutOfRangeError,
    PlaceholderError,
    ShapeError,
)
from chainrule.order import epoch_order

RANDOM = np.random.default_rng(11)
ROWS = 23
X = RANDOM.normal(size=(ROWS, 6)).astype(np.float32)
Y = RANDOM.integers(0, 4, ROWS)

OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.02),
    "AdamW": lambda p: optim.AdamW(p, lr=0.02, weight_decay=0.1),
}


class Job:
    """A network, an optimiser and the training step; the same start each time."""

    def __init__(self, optimiser: str = "Adam", dropout: float = 0.3, noise: bool = True):
        cr.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 4))
        self.optimiser = OPTIMISERS[optimiser](self.model.parameters())
        self.noise = noise

    def step(self, x, y):
        self.optimiser.zero_grad()
        if self.noise:
            x = x + 0.01 * cr.random.normal(shape=x.shape)
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimiser.step()
        return loss

    def state(self) -> list[bytes]:
        """The bytes of parameters, optimiser slots and the generator."""
        parameters = list(self.model.parameters())
        slots = [slot for p in parameters for _, slot in sorted(self.optimiser.state[p].items())]
        tensors = [p.detach() for p in parameters] + slots + [cr.random.default_generator.get_state()]
        return [t.numpy().tobytes() for t in tensors]


@contextlib.contextmanager
def threads(count: int):
    """`count` threads and many small chunks."""
    before = cr.get_num_threads()
    cr.set_num_threads(count)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(chunks, "SERIAL_NS", 1.0)
            patch.setattr(chunks, "CHUNK_NS", 1.0)
            yield
    finally:
        cr.set_num_threads(before)


def stacked(losses) -> bytes:
    return np.stack([loss.numpy() for loss in losses]).tobytes()


# --- one step, many ways ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMISERS)
def test_compiled_uncompiled_and_repeat_agree(name):
    x, y = cr.asarray(X), cr.asarray(Y)
    results = []
    for count in (1, 2):
        with threads(count):
            job = Job(name)
            results.append((stacked([job.step(x, y) for _ in range(7)]), job.state()))
            job = Job(name)
            step = cr.compile(job.step)
            results.append((stacked([step(x, y) for _ in range(7)]), job.state()))
            assert len(step.programs) == 1
            job = Job(name)
            step = cr.compile(job.step)
            results.append((step.repeat(7, x, y).numpy().tobytes(), job.state()))
            job = Job(name)  # a mixture
            step = cr.compile(job.step)
            losses = [job.step(x, y), step(x, y)]
            losses += list(step.repeat(3, x, y))
            losses += [job.step(x, y), step(x, y)]
            results.append((stacked(losses), job.state()))
    for other in results[1:]:
        assert other == results[0]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_reading_values_on_the_way_changes_no_bit(name):
    x, y = cr.asarray(X), cr.asarray(Y)
    job, other, third = Job(name), Job(name), Job(name)
    job.noise = other.noise = third.noise = False
    for model in (job.model, other.model, third.model):
        model[2].p = 0.0
    for turn in range(5):
        job.step(x, y)
        other.optimiser.zero_grad()
        hidden = other.model[:2](x)
        assert np.isfinite(hidden.numpy()).all()
        logits = other.model[3](hidden)
        loss = nn.functional.cross_entropy(logits, y)
        assert loss.item() > 0 and repr(logits)
        loss.backward()
        for p in list(other.model.parameters())[turn % 2 :: 2]:
            assert p.grad.numpy().any()
        other.optimiser.step()
        third.optimiser.zero_grad()
        whole = nn.functional.cross_entropy(third.model(x), y)
        grads = cr.compile(lambda third=third: nn.functional.cross_entropy(third.model(x), y))()
        assert grads.item() == whole.item() == loss.item()
        whole.backward()
        third.optimiser.step()
    assert job.state()[:-1] == other.state()[:-1] == third.state()[:-1]


def loop(job, step, batch: int, num_epochs: int, shuffle: bool, drop_last: bool, seed: int):
    """What `epochs` stands for, in Python."""
    losses = []
    for epoch in range(num_epochs):
        order = epoch_order(ROWS, seed, epoch) if shuffle else np.arange(ROWS)
        for start in range(0, ROWS, batch):
            rows = order[start : start + batch]
            if len(rows) == batch or not drop_last:
                losses.append(step(cr.asarray(X[rows]), cr.asarray(Y[rows])))
    return stacked(losses), job.state()


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
def test_epochs_are_the_python_loop(name, shuffle, drop_last):
    job = Job(name)
    expected = loop(job, cr.compile(job.step), 5, 3, shuffle, drop_last, 42)
    job = Job(name)
    assert loop(job, job.step, 5, 3, shuffle, drop_last, 42) == expected
    for count in (1, 2):
        with threads(count):
            job = Job(name)
            step = cr.compile(job.step)
            losses = step.epochs((X, Y), batch_size=5, num_epochs=3, shuffle=shuffle, drop_last=drop_last, seed=42)
            assert (losses.numpy().tobytes(), job.state()) == expected


def test_epochs_take_tensors_one_array_and_batches_larger_than_the_data():
    total = cr.zeros(())

    def step(x):
        total._rebind((total + x.sum())._node)
        return x.mean()

    means = cr.compile(step).epochs(cr.asarray(X), batch_size=100, num_epochs=2, shuffle=False)
    assert means.shape == (2,)
    np.testing.assert_allclose(total.numpy(), 2 * X.sum(), rtol=1e-5)


def test_epochs_of_a_step_with_several_results():
    def step(x, y):
        return {"mean": x.mean(), "first": x[0], "count": y.sum()}

    result = cr.compile(step).epochs((X, Y), batch_size=4, num_epochs=2, seed=9)
    order = np.concatenate([epoch_order(ROWS, 9, 0), epoch_order(ROWS, 9, 1)])
    starts = [0, 4, 8, 12, 16, 20, 23, 27, 31, 35, 39, 43]
    assert result["first"].numpy().tobytes() == X[order[starts]].tobytes()
    assert result["count"].shape == (12,) and result["count"].numpy().sum() == 2 * Y.sum()


def test_epochs_refuses_what_does_not_fit():
    step = cr.compile(lambda x, y: x * 2)
    with pytest.raises(ShapeError, match="rows"):
        step.epochs((X, Y[:-1]), batch_size=4)
    with pytest.raises(ConfigError):
        step.epochs((X, Y), batch_size=0)
    with pytest.raises(ShapeError, match="drop_last"):
        step.epochs((X, Y), batch_size=4)
    with pytest.raises(ConfigError):
        step.repeat(0, X, Y)
    with pytest.raises(ShapeError, match="no rows"):
        step.epochs((X[:0], Y[:0]), batch_size=4)


def test_a_tail_joins_the_state_of_whole_batches():
    job, other = Job(noise=False), Job(noise=False)
    for rows, batch in ((23, 5), (23, 23), (23, 1), (23, 22), (23, 64)):
        job, other = Job("SGD", 0.0, False), Job("SGD", 0.0, False)
        losses = cr.compile(job.step).epochs((X, Y), batch_size=batch, shuffle=False)
        for start in range(0, rows, batch):
            other.step(cr.asarray(X[start : start + batch]), cr.asarray(Y[start : start + batch]))
        assert len(losses.numpy()) == -(-rows // batch)
        assert job.state() == other.state()


# --- arguments ----------------------------------------------------------------------------------------


def test_trees_of_arguments_and_results():
    def f(batch, scale, names=("a",), power=2):
        assert names == ("a",)
        return {"x": batch["x"] * scale, "rest": [batch["x"].sum(), power, None], "y": (batch["y"] ** power,)}

    g = cr.compile(f)
    batch = {"x": cr.asarray(X), "y": Y.astype(np.float64)}
    got, want = g(batch, 0.75), f({"x": cr.asarray(X), "y": cr.asarray(batch["y"])}, 0.75)
    assert got["x"].numpy().tobytes() == want["x"].numpy().tobytes()
    assert got["y"][0].numpy().tobytes() == want["y"][0].numpy().tobytes()
    assert got["rest"][1:] == [2, None]
    g(batch, 0.5)
    g(batch, scale=3.25)
    assert len(g.programs) == 2  # another structure of the call
    g(batch, scale=-1.0)
    assert len(g.programs) == 2
    g(batch, 0.5, power=3)
    assert len(g.programs) == 3


def test_arguments_may_be_strided_read_only_pending_or_numbers():
    f = cr.compile(lambda x, k: x.sum() * k)
    wide = np.arange(24.0, dtype=np.float32).reshape(4, 6)
    assert f(wide[:, ::2], 2.0).item() == wide[:, ::2].sum() * 2
    assert f(wide.T, 0.5).item() == wide.sum() / 2
    pending = cr.asarray(wide) + 1
    assert f(pending, 2.0).item() == (wide + 1).sum() * 2
    frozen = wide.copy()
    frozen.flags.writeable = False
    assert f(frozen, 1.0).item() == wide.sum()
    with pytest.raises(DTypeError):
        f(np.array(["a"]), 1.0)


def test_no_arguments_and_constant_results():
    w = cr.asarray(np.arange(3.0, dtype=np.float32))
    f = cr.compile(lambda: (w + 1, cr.ones((2, 2)), 5, w))
    a, b, c, d = f()
    assert a.tolist() == [1, 2, 3] and b.tolist() == [[1, 1], [1, 1]] and c == 5 and d.tolist() == [0, 1, 2]
    w._rebind((w * 2)._node)
    assert f()[0].tolist() == [1, 3, 5] and len(f.programs) == 1


def test_results_that_are_arguments_are_copies():
    x = np.ones(4, np.float32)
    f = cr.compile(lambda x: (x, x, x.reshape((2, 2))))
    a, b, c = f(x)
    x[:] = 7
    assert a.tolist() == b.tolist() == [1, 1, 1, 1] and c.tolist() == [[1, 1], [1, 1]]


# --- values and cells ---------------------------------------------------------------------------------


def test_other_holders_keep_the_old_value():
    p = nn.Parameter(cr.asarray(np.arange(600, dtype=np.float32)))

    def double():
        with cr.no_grad():
            p._rebind((p * 2)._node)

    f = cr.compile(double)
    f()  # from here on p's storage is its own
    now = p.detach().numpy().copy()
    view, tensor, part = p.detach().numpy(), p.detach(), p.detach().numpy()[::2]
    pending = p.detach() + 1  # recorded, not evaluated
    f()
    f.repeat(2)
    assert (view == now).all() and (tensor.numpy() == now).all() and (part == now[::2]).all()
    assert (pending.numpy() == now + 1).all()
    assert (p.detach().numpy() == now * 8).all()
    del view, tensor, part, pending
    before = p._node.value.__array_interface__["data"][0]
    f()
    assert p._node.value.__array_interface__["data"][0] == before  # in place: nothing else holds it
    assert (p.detach().numpy() == now * 16).all()


def test_state_that_has_no_value_yet_is_evaluated_and_then_written_in_place():
    first, second = cr.zeros((300,)), cr.ones((300,))

    @cr.compile
    def step(x):
        first.copy_(first + x)
        second.copy_(second * 2 + first)
        return second.sum()

    x = np.ones(300, np.float32)
    step(x)
    assert (first.numpy()[0], second.numpy()[0]) == (1, 3)
    second.copy_(first * 10)  # recorded, not evaluated; it holds what `first` was
    assert second._node.value is None
    assert step(x).item() == 300 * 22
    assert (first.numpy()[0], second.numpy()[0]) == (2, 22)
    places = [t._node.value.__array_interface__["data"][0] for t in (first, second)]
    step(x)
    assert places == [t._node.value.__array_interface__["data"][0] for t in (first, second)]
    assert (first.numpy()[0], second.numpy()[0]) == (3, 47)


def test_arguments_are_never_written():
    w = cr.asarray(np.zeros(300, np.float32))

    def f(x):
        w._rebind((w + x)._node)
        return w

    g = cr.compile(f)
    x = cr.asarray(np.ones(300, np.float32))
    first = g(x)
    second = g(x)
    own = g(w)  # the cell itself as the argument
    assert first.tolist() == [1.0] * 300 and second.tolist() == [2.0] * 300 and own.tolist() == [4.0] * 300
    assert x.tolist() == [1.0] * 300


def test_swapped_cells():
    size = 500
    a, b = (cr.asarray(np.full(size, v, np.float32)) for v in (1.0, 2.0))
    first, second = a, b

    def swap():
        one, two = a + 0, b + 0
        a._rebind(two._node)
        b._rebind(one._node)

    def exchange():
        one, two = a.detach(), b.detach()
        a._rebind(two._node)
        b._rebind(one._node)

    for function in (swap, exchange):
        f = cr.compile(function)
        start = a.numpy().copy(), b.numpy().copy()
        f()
        assert (a.numpy() == start[1]).all() and (b.numpy() == start[0]).all()
        f()
        assert (a.numpy() == start[0]).all() and (b.numpy() == start[1]).all()
        f.repeat(3)
        assert (a.numpy() == start[1]).all() and (b.numpy() == start[0]).all()
    assert first is a and second is b


def random_update(seed: int, size: int):
    """Square cells and a function that gives most of them new values made of all, read as they are or moved."""
    random = np.random.default_rng(seed)
    cells = [cr.asarray(random.normal(size=(size, size)).astype(np.float32)) for _ in range(4)]
    rows = cr.asarray(random.integers(0, size, size))
    operations = [
        lambda a, b: cr.tanh(a @ b), lambda a, b: a + b * 0.25, lambda a, b: a.T - b,
        lambda a, b: cr.flip(a, axis=0) * b, lambda a, b: a + b.sum(axis=1).reshape((-1, 1)),
        lambda a, b: cr.take(a, rows, axis=0) + b, lambda a, b: cr.tanh(a) + b.sum(axis=0), lambda a, b: b - a.mean(),
        lambda a, b: cr.concat([a[1:], b[:1]]), lambda a, b: cr.where(a > b, a, b),
        lambda a, b: b, lambda a, b: cr.tanh(a.T @ b + a),
    ]  # fmt: skip
    choices = random.integers(0, len(operations), 9)
    operands = [random.integers(0, 4 + n, 2) for n in range(9)]
    targets = random.permutation(4)[: int(random.integers(2, 5))]
    sources = random.integers(0, 13, 4)

    def step():
        values = [cell + 0 if random_order else cell.detach() for cell, random_order in zip(cells, (0, 1, 0, 1))]
        for choice, (a, b) in zip(choices, operands):
            values.append(cr.clip(operations[choice](values[a], values[b]), -3.0, 3.0))
        for target in targets:
            cells[target]._rebind(values[sources[target]]._node)
        return values[-1].sum()

    return cells, step


@pytest.mark.parametrize("size", [1, 3, 17, 40])
@pytest.mark.parametrize("seed", range(6))
def test_random_updates_of_cells(seed, size):
    results = []
    for mode, count in (("plain", 1), ("compiled", 1), ("compiled", 3), ("repeat", 2)):
        with threads(count):
            cells, step = random_update(seed, size)
            if mode == "repeat":
                losses = cr.compile(step).repeat(5).numpy().tobytes()
            else:
                function = cr.compile(step) if mode == "compiled" else step
                losses = stacked([function() for _ in range(5)])
            results.append((losses, [cell.numpy().tobytes() for cell in cells]))
    for other in results[1:]:
        assert other == results[0]


def test_two_cells_that_share_a_value_part():
    a = cr.asarray(np.zeros(400, np.float32))
    b = a.detach()

    def f():
        a._rebind((a + 1)._node)
        b._rebind((b - 1)._node)

    g = cr.compile(f)
    g()
    g()
    assert a.tolist() == [2.0] * 400 and b.tolist() == [-2.0] * 400


def test_a_cell_that_changes_shape_and_dtype():
    a = cr.asarray(np.arange(3.0, dtype=np.float32))

    def grow():
        a._rebind(cr.concat([a, a]).astype(cr.float64)._node)

    f = cr.compile(grow)
    f()
    assert a.dtype is cr.float64 and a.tolist() == [0, 1, 2, 0, 1, 2]
    f()
    assert a.shape == (12,)


# --- gradients ----------------------------------------------------------------------------------------


def parts():
    p = nn.Parameter(cr.asarray(np.array([1.0, -2.0, 3.0], np.float32)))
    return p, cr.asarray(np.array([0.5, 0.25, 2.0], np.float32))


def test_gradients_that_are_not_consumed_are_kept():
    p, x = parts()

    def f(x):
        p.grad = None
        loss = (p * p * x).sum()
        loss.backward()
        return loss

    g = cr.compile(f)
    g(x)
    assert p.grad.tolist() == [1.0, -1.0, 12.0]
    g(x * 2)
    assert p.grad.tolist() == [2.0, -2.0, 24.0]
    assert not p.grad.requires_grad


def test_gradients_accumulate_as_without_compile():
    results = []
    for wrap in (lambda f: f, cr.compile):
        p, x = parts()

        def f(x, p=p):
            loss = (p * p * x).sum()
            loss.backward()
            return loss

        g = wrap(f)
        for _ in range(3):
            g(x)
        seen = [p.grad.numpy().tobytes()]
        p.grad = None
        g(x)
        seen.append(p.grad.numpy().tobytes())
        results.append(seen)
    p, x = parts()

    def f(x):
        (p * p * x).sum().backward()

    cr.compile(f).repeat(3, x)
    assert results[0] == results[1]
    assert p.grad.numpy().tobytes() == results[0][0]


def test_micro_batches_accumulate_in_one_program():
    results = []
    for wrap in (lambda f: f, cr.compile):
        job = Job("SGD", 0.0, False)

        def accumulate(x, y, job=job):
            loss = nn.functional.cross_entropy(job.model(x), y) / 2.0
            loss.backward()
            return loss

        def step(job=job):
            job.optimiser.step()
            job.optimiser.zero_grad()

        accumulate, step = wrap(accumulate), wrap(step)
        for _ in range(3):
            accumulate(cr.asarray(X[:10]), cr.asarray(Y[:10]))
            accumulate(cr.asarray(X[10:20]), cr.asarray(Y[10:20]))
            step()
        results.append(job.state())
    assert results[0] == results[1]


def consuming(keep_grads: bool):
    p, x = parts()
    optimiser = optim.SGD([p], lr=0.1)

    @cr.compile(keep_grads=keep_grads)
    def step(x):
        optimiser.zero_grad()
        (p * p * x).sum().backward()
        optimiser.step()

    return p, x, step


def test_a_consumed_gradient_is_not_stored_and_says_so():
    p, x, step = consuming(False)
    step(x)
    for _ in range(2):
        with pytest.raises(GradientNotStoredError, match="keep_grads"):
            _ = p.grad
    step(x)
    assert len(step.programs) == 1
    with pytest.raises(GradientNotStoredError, match="keep_grads"):
        (p * x).sum().backward()
    p.grad = None
    (p * x).sum().backward()
    assert p.grad.tolist() == x.tolist()


def test_keep_grads_keeps():
    p, x, step = consuming(True)
    before = p.detach().numpy().copy()
    step(x)
    np.testing.assert_array_equal(p.grad.numpy(), 2 * before * x.numpy())
    np.testing.assert_allclose(p.detach().numpy(), before - 0.1 * p.grad.numpy(), rtol=1e-6)


# --- when another program is made ---------------------------------------------------------------------


def test_numbers_do_not_make_programs_and_flags_do():
    job = Job("AdamW")
    step = cr.compile(job.step)
    x, y = cr.asarray(X), cr.asarray(Y)
    step(x, y)
    for change in ({"lr": 0.3}, {"betas": (0.3, 0.4)}, {"weight_decay": 0.2}, {"eps": 1e-5}):
        before = job.state()
        job.optimiser.param_groups[0].update(change)
        step(x, y)
        assert job.state() != before
    cr.manual_seed(77)
    step(x, y)
    job.model[2].p = 0.1
    step(x, y)
    assert len(step.programs) == 1
    job.model.eval()
    step(x, y)
    assert len(step.programs) == 2
    job.model.train()
    step(x, y)
    assert len(step.programs) == 2
    step(cr.asarray(X[:9]), cr.asarray(Y[:9]))
    assert len(step.programs) == 3
    step(x, y)
    assert len(step.programs) == 3


def test_float_arguments_are_inputs():
    f = cr.compile(lambda x, k: x * k + k)
    x = cr.asarray(X)
    for k in (0.5, 1.0, 2.0, -3.25, 0.0):
        assert f(x, k).numpy().tobytes() == (x * np.float32(k) + np.float32(k)).numpy().tobytes()
    assert len(f.programs) == 1
    f(x, 3)
    f(x, 4)
    assert len(f.programs) == 3  # whole numbers are part of the structure


def test_a_rebound_closure_name_makes_another_program():
    scale = cr.asarray(np.float32(2.0))

    def f(x):
        return x * scale

    g = cr.compile(f)
    assert g(cr.asarray(np.ones(2, np.float32))).tolist() == [2, 2]
    scale = cr.asarray(np.float32(5.0))
    assert g(cr.asarray(np.ones(2, np.float32))).tolist() == [5, 5]
    assert len(g.programs) == 2


FACTOR = 2


def test_a_rebound_global_name_makes_another_program(monkeypatch):
    f = cr.compile(lambda x: x * FACTOR)
    x = cr.asarray(np.ones(2, np.float32))
    assert f(x).tolist() == [2, 2]
    monkeypatch.setitem(globals(), "FACTOR", 3)
    assert f(x).tolist() == [3, 3]
    assert len(f.programs) == 2


def test_requires_grad_is_seen():
    p, x = parts()

    def f(x):
        p.grad = None
        q = p if p.requires_grad else p + 0
        return (q * x).sum(), q.requires_grad

    g = cr.compile(f)
    assert g(x)[1] is True
    p.requires_grad = False
    assert g(x)[1] is False


def test_programs_of_a_function_are_bounded(monkeypatch):
    from chainrule.capture import function

    monkeypatch.setattr(function, "GENERIC_AFTER", 3)
    monkeypatch.setattr(function, "MAXIMUM_PROGRAMS", 5)
    f = cr.compile(lambda x: (x * x).sum(axis=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in range(1, 12):
            assert f(np.full((3, n), 2.0, np.float32)).tolist() == [4.0 * n] * 3
    assert len(f.programs) == 5
    assert f(np.full((3, 1), 2.0, np.float32)).tolist() == [4.0] * 3


def test_many_programs_warn():
    f = cr.compile(lambda x: x + 1)
    with pytest.warns(UserWarning, match="compiled 8 times"):
        for n in range(1, 12):
            f(np.ones(n, np.float32))


# --- errors -------------------------------------------------------------------------------------------


def test_an_exception_leaves_the_state_as_it_was():
    job = Job()
    before = job.state()

    def broken(x, y):
        job.step(x, y)
        raise KeyError("stop")

    f = cr.compile(broken)
    for _ in range(2):
        with pytest.raises(KeyError):
            f(cr.asarray(X), cr.asarray(Y))
    assert job.state() == before and all(p.grad is None for p in job.model.parameters())
    x, y = cr.asarray(X), cr.asarray(Y)
    loss = job.step(x, y).item()  # and recording goes on outside
    other = Job()
    assert cr.compile(other.step)(x, y).item() == loss and other.state() == job.state()


def line_of(error, text: str) -> bool:
    """Whether the message names this file and the line that holds `text`."""
    found = re.findall(r"test_capture\.py:(\d+)", str(error.value))
    with open(__file__) as file:
        lines = file.read().splitlines()
    return any(text in lines[int(number) - 1] for number in found)


@pytest.mark.parametrize(
    "ask", [float, bool, int, lambda t: t.numpy(), lambda t: t.item(), lambda t: t.tolist(), np.asarray]
)
def test_asking_for_a_value_inside(ask):
    def f(x):
        loss = (x * 3).sum()  # the user's line
        return loss if ask(loss) else x

    g = cr.compile(f)
    for _ in range(2):
        with pytest.raises(PlaceholderError) as error:
            g(cr.asarray(X))
        assert any(line_of(error, text) for text in ("the user's line", "if ask(loss)", "lambda t: t"))
        assert "where" in str(error.value)
    assert cr.tensor([1.0]).item() == 1.0


def test_a_comparison_inside():
    def f(x):
        if x.sum() > 1:  # the decision
            return x
        return -x

    with pytest.raises(PlaceholderError) as error:
        cr.compile(f)(cr.asarray(X))
    assert line_of(error, "the decision")


def test_an_escaped_placeholder_names_its_line():
    kept = []

    def f(x):
        kept.append(x * 2)  # it escapes here
        return x

    cr.compile(f)(cr.asarray(X))
    again = cr.compile(lambda y: y + 1)
    for use in (lambda t: t.numpy(), lambda t: (t + 1).numpy(), lambda t: again(t).numpy(), float):
        with pytest.raises(ChainruleError) as error:
            use(kept[0][0, 0] if use is float else kept[0])
        assert line_of(error, "it escapes here") or "test_capture.py" in str(error.value), str(error.value)


def test_printing_a_placeholder():
    texts = []

    def f(x):
        y = x.sum(axis=0)
        texts.extend([repr(x), str(y), f"{y}"])
        print(y)
        return y

    cr.compile(f)(cr.asarray(X))
    assert all("float32" in text or "Tensor" in text or "tensor" in text for text in texts)


def test_an_index_out_of_range_inside():
    table = cr.asarray(np.arange(12.0, dtype=np.float32).reshape(4, 3))
    f = cr.compile(lambda i: cr.take(table, i, axis=0) * 2)
    good = np.array([0, 3, -4, 1])
    assert f(good).numpy().tolist() == (table.numpy()[good] * 2).tolist()
    for bad, index in (([0, 4, 1, 1], 4), ([0, 1, -5, 1], -5), ([2**40, 0, 0, 0], 2**40)):
        with pytest.raises(IndexOutOfRangeError) as error:
            f(np.array(bad)).numpy()
        assert str(index) in str(error.value) and "4" in str(error.value)
        assert f(good).numpy().tolist() == (table.numpy()[good] * 2).tolist()


def test_a_label_out_of_range_in_a_loop_stops_at_a_step():
    job = Job("SGD", 0.0, False)
    labels = Y.copy()
    step = cr.compile(job.step)
    step(cr.asarray(X), cr.asarray(labels))
    labels[17] = 9
    with pytest.raises(IndexOutOfRangeError, match="9"):
        step.epochs((X, labels), batch_size=5, shuffle=False)
    loss = step(cr.asarray(X), cr.asarray(Y)).item()
    assert np.isfinite(loss)
    assert all(np.isfinite(np.frombuffer(b, np.float32)).all() for b in job.state()[:4])


# --- nesting and threads of Python --------------------------------------------------------------------


def test_nested_compiled_functions():
    inner = cr.compile(lambda x: x * x + 1)
    outer = cr.compile(lambda x: inner(x).sum() + inner(x * 2).sum())
    x = cr.asarray(X)
    plain = ((x * x + 1).sum() + (x * 2 * (x * 2) + 1).sum()).numpy()
    assert outer(x).numpy().tobytes() == plain.tobytes()
    assert inner(x).numpy().tobytes() == (x * x + 1).numpy().tobytes()


def test_repeat_inside_is_refused():
    inner = cr.compile(lambda x: x + 1)
    with pytest.raises(ChainruleError, match="repeat"):
        cr.compile(lambda x: inner.repeat(2, x))(cr.asarray(X))
    assert inner(cr.asarray(X)).shape == X.shape


def test_repeat_of_a_step_whose_state_changes_type():
    a = cr.asarray(np.arange(3.0, dtype=np.float32))

    def grow():
        a._rebind(cr.concat([a, a])._node)
        return a.sum()

    f = cr.compile(grow)
    assert f.repeat(3).tolist() == [6, 12, 24] and a.shape == (24,)

    def show():
        a._rebind(cr.concat([a, a])._node)
        return a

    with pytest.raises(ShapeError, match="repeat"):
        cr.compile(show).repeat(3)


def test_grad_inside_and_outside():
    f = lambda w, x: ((x @ w) ** 2).mean()  # noqa: E731
    w = np.asarray(RANDOM.normal(size=(6, 2)), np.float32)
    gradient = cr.grad(f)
    compiled = cr.compile(lambda w, x: gradient(w, x))
    assert compiled(w, X).numpy().tobytes() == gradient(cr.asarray(w), cr.asarray(X)).numpy().tobytes()
    around = cr.grad(cr.compile(f))(cr.asarray(w), cr.asarray(X))
    np.testing.assert_array_equal(around.numpy(), gradient(cr.asarray(w), cr.asarray(X)).numpy())


def test_python_threads_share_a_compiled_function():
    w = cr.asarray(np.asarray(RANDOM.normal(size=(6, 40)), np.float32))
    f = cr.compile(lambda x: cr.tanh(x @ w).sum(axis=1))
    inputs = [np.asarray(RANDOM.normal(size=(23, 6)), np.float32) for _ in range(4)]
    expected = [f(x).numpy().tobytes() for x in inputs]
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(150):
                place = (number + turn) % 4
                if f(inputs[place]).numpy().tobytes() != expected[place]:
                    wrong.append(place)
        except Exception as error:
            wrong.append(error)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong and len(f.programs) == 1


def test_python_threads_compile_at_once():
    wrong: list[object] = []
    gate = threading.Barrier(4)

    def work(number: int) -> None:
        try:
            f = cr.compile(lambda x: (x * (number + 2)).sum(axis=0) - number)
            x = np.full((5, 7 + number), 1.5, np.float32)
            gate.wait()
            for _ in range(20):
                if f(x).tolist() != [7.5 * (number + 2) - number] * (7 + number):
                    wrong.append(number)
                if (cr.asarray(x) * number).sum().item() != 1.5 * x.size * number:
                    wrong.append(-number)
        except Exception as error:
            wrong.append(error)

    workers = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_warnings_are_not_given_for_ordinary_use():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        job = Job()
        cr.compile(job.step).epochs((X, Y), batch_size=5, num_epochs=2)


def test_several_cells_written_through_index_checks():
    table = cr.asarray(np.arange(12, dtype=np.float32).reshape(4, 3))
    cells = [cr.zeros((2, 3)) for _ in range(3)]

    def step(rows):
        for number, cell in enumerate(cells):
            cell._rebind(cr.take(table * (number + 1.0), (rows + number) % 4, axis=0)._node)

    rows = np.array([0, 3])
    cr.compile(step)(rows)
    expected = [table.numpy()[(rows + number) % 4] * (number + 1) for number in range(3)]
    for cell, wanted in zip(cells, expected):
        np.testing.assert_array_equal(cell.numpy(), wanted)


def test_views_keep_the_old_value():
    p = cr.zeros((1000,))

    def f():
        p._rebind((p + 1)._node)

    g = cr.compile(f)
    g()
    place = p.numpy().ctypes.data
    g()
    assert p.numpy().ctypes.data == place  # in place
    views = [p.numpy(), p.numpy()[3:], np.asarray(p), np.from_dlpack(p)]
    g()
    assert all((view == 2).all() for view in views)
    assert (p.numpy() == 3).all()


def test_a_number_of_numpy_has_no_axes():
    f = cr.compile(lambda x, factor=1: x * factor)
    assert f(np.float32(3)).shape == f(np.array(3.0), 2).shape == f(x=np.array(3.0)).shape == ()


def test_a_check_after_a_write_leaves_the_state():
    table = cr.asarray(np.arange(4, dtype=np.float32))

    def f(index):
        table._rebind((table + 1)._node)
        return cr.take(table, index, axis=0)

    g = cr.compile(f)
    assert g(np.array([1, 2])).tolist() == [2, 3]
    with pytest.raises(IndexOutOfRangeError):
        g(np.array([1, 9]))
    assert table.tolist() == [1, 2, 3, 4]


def test_loops_with_operations_on_the_host():
    start = np.array([3, 1, 2], np.float32)
    s = cr.asarray(start)

    def f(x):
        y = cr.sort(s + x) * 2
        s._rebind((y * 0.5 + cr.asarray(np.array([0, 5, 1], np.float32)))._node)
        return y

    data = np.arange(12, dtype=np.float32).reshape(4, 1, 3)
    g = cr.compile(lambda x: f(cr.sum(x, axis=0)))
    for shuffle in (False, True):
        s._rebind(cr.asarray(start)._node)
        order = epoch_order(4, 0, 0) if shuffle else range(4)
        expected = [f(cr.sum(cr.asarray(data[n]), axis=0)).numpy() for n in order]
        s._rebind(cr.asarray(start)._node)
        found = g.epochs(data.reshape(4, 3), batch_size=1, shuffle=shuffle)
        np.testing.assert_array_equal(found.numpy(), expected)
    x = np.ones((1, 3), np.float32)
    s._rebind(cr.asarray(start)._node)
    expected = [g(x).numpy() for _ in range(4)]
    s._rebind(cr.asarray(start)._node)
    np.testing.assert_array_equal(g.repeat(4, x).numpy(), expected)


def test_repeat_of_a_step_that_empties_gradients():
    def make():
        w = cr.tensor([1.0, 2.0], requires_grad=True)
        optimiser = optim.SGD([w], lr=0.5)
        (w * 4).sum().backward()

        def f():
            optimiser.step()
            optimiser.zero_grad()

        return w, f

    w, f = make()
    for _ in range(3):
        f()
    other, g = make()
    cr.compile(g).repeat(3)
    assert other.tolist() == w.tolist() == [-1, 0]


def test_a_global_name_defined_later_is_guarded():
    space = {"cr": cr}
    exec("f = cr.compile(lambda x: x * LATER)\nLATER = 2", space)
    x = np.ones(2, np.float32)
    assert space["f"](x).tolist() == [2, 2]
    space["LATER"] = 3
    assert space["f"](x).tolist() == [3, 3]


def test_large_unsigned_numbers():
    x = np.array([5], np.uint64)
    assert cr.bitwise_xor(cr.asarray(x), 2**63 + 1).tolist() == [2**63 + 4]
    assert cr.compile(lambda v: cr.bitwise_xor(v, 2**64 - 3))(x).tolist() == [2**64 - 8]


def test_an_interrupt_after_a_step_keeps_its_gradients(monkeypatch):
    step, w = interruptible()
    step(np.float32(1))
    run = Program.execute

    def interrupted(*arguments):
        run(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Program, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step(np.float32(3))
    assert w.tolist() == [-4]
    assert w.grad.tolist() == [3]


def interruptible():
    w = cr.tensor([0.0], requires_grad=True)
    optimiser = optim.SGD([w], lr=1.0)

    def f(x):
        optimiser.zero_grad()
        (w * x).sum().backward()
        optimiser.step()

    return cr.compile(f, keep_grads=True), w


def test_an_argument_of_repeat_that_is_state_is_read_at_each_step():
    p = cr.tensor([1.0])
    double = cr.compile(lambda x: p._rebind((p.detach() + x)._node))
    double.repeat(3, p)
    assert p.tolist() == [8.0]


def test_history_from_outside_is_refused():
    w = cr.tensor([2.0], requires_grad=True)
    h = w * 3.0
    with pytest.raises(DifferentiationError, match="detach"):
        cr.compile(lambda x: (x * h).sum())(np.ones(1, np.float32))
    constant = h.detach()
    assert cr.compile(lambda x: (x * constant).sum())(np.ones(1, np.float32)).item() == 6.0


def test_epochs_without_a_whole_batch():
    with pytest.raises(ShapeError, match="no whole batch"):
        cr.compile(lambda x: x.sum()).epochs(np.ones((3, 2), np.float32), batch_size=4, drop_last=True)


def test_names_of_a_wrapped_function_are_guarded() -> None:
    scale = 2.0

    def loss(x):
        return cr.sum(x * scale)

    gradient = cr.compile(cr.grad(loss))
    assert gradient(cr.ones(2)).tolist() == [2.0, 2.0]
    scale = 3.0
    assert gradient(cr.ones(2)).tolist() == [3.0, 3.0]
