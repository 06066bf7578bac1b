"""`set_detect_nonfinite`: the address of the first value that is not finite, wherever it was computed."""

from __future__ import annotations

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, runtime
from chainrule.errors import NonFiniteError
from chainrule.nonfinite import is_detecting
from chainrule.ops.base import mode


@pytest.fixture(autouse=True)
def detecting():
    with cr.set_detect_nonfinite(True):
        yield
    assert runtime.checker is None and mode.trail is None


def raised(call) -> str:
    with pytest.raises(NonFiniteError) as caught:
        call()
    assert isinstance(caught.value, FloatingPointError)
    return re.sub(r"recorded at \S*/(\w+\.py):\d+", r"recorded at \1:N", str(caught.value))


def test_uncompiled_forward():
    x = cr.tensor([[1.0, 0.0], [-2.0, 4.0]])
    assert raised(lambda: cr.log(x).numpy()) == (
        "log: 1 NaN and 1 inf among 4 values, the first at [0, 1] is -inf; operands float32[2, 2] from -2 to 4\n"
        "recorded at test_nonfinite.py:N, forward"
    )


def test_the_first_of_several_and_not_what_follows():
    x = cr.tensor([1.0, 0.0])
    text = raised(lambda: (cr.exp(1 / x) - cr.exp(1 / x)).numpy())
    assert text.startswith("div: 1 inf among 2 values, the first at [1] is inf; operands float32[2]")


def test_names_the_line():
    x = cr.tensor([0.0])
    with pytest.raises(NonFiniteError) as caught:
        y = cr.log(x)  # this line
        (y * 2).numpy()
    number = int(re.search(r"test_nonfinite\.py:(\d+)", str(caught.value))[1])
    with open(__file__) as file:
        assert "# this line" in file.readlines()[number - 1]


def test_backward():
    w = cr.tensor([1.0, 0.0], requires_grad=True)
    cr.sqrt(w).sum().backward()
    text = raised(lambda: w.grad.numpy())
    assert text.startswith("div: 1 inf among 2 values, the first at [1] is inf; operands float32[2]")
    assert "recorded at test_nonfinite.py:N, backward\nhelp: this is a derivative of what the line computes" in text


def test_where_hides_a_value_but_not_its_gradient():
    x = cr.tensor([1.0, 0.0])

    def f(x):
        return cr.where(x > 0, cr.log(x), 0.0).sum()

    assert float(f(x)) == 0.0
    assert "backward" in raised(lambda: cr.grad(f)(x).numpy())


def test_given_infinities_pass_and_given_nan_does_not():
    mask = cr.tensor([True, False])
    scores = cr.where(mask, cr.tensor([1.0, 2.0]), -cr.inf)
    assert cr.functional.softmax(scores, -1).tolist() == [1.0, 0.0]
    assert scores.tolist() == [1.0, -np.inf]
    assert (cr.tensor([np.inf]) * 2).tolist() == [np.inf]
    assert raised(lambda: (cr.tensor([1.0, np.nan]) * 2).numpy()) == (
        "float32[2]: a value that was given has 1 NaN among 2 values, the first at [1] is nan\n"
        "recorded at test_nonfinite.py:N, forward"
    )
    empty = cr.where(cr.tensor([False, False]), cr.tensor([1.0, 2.0]), -cr.inf)
    text = raised(lambda: cr.functional.softmax(empty, -1).numpy())
    assert text.startswith("sub: 2 NaN among 2 values") and "from -inf to -inf" in text


class Net(nn.Module):
    """A wide exponential between two layers."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 3), Exponential())
        self.outer = nn.Linear(3, 1)

    def forward(self, x):
        return self.outer(self.inner(x))


class Exponential(nn.Module):
    """Overflows soon."""

    def forward(self, x):
        return cr.exp(x * 1e4)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_step_names_the_layer_and_keeps_its_state(compiled):
    cr.manual_seed(0)
    net = Net()
    net.inner[0].weight._rebind(cr.ones((3, 2))._node)
    optimizer = optim.Adam(net.parameters())

    def step(x):
        optimizer.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    run = cr.compile(step) if compiled else step
    before = [p.numpy().copy() for p in net.parameters()]
    text = raised(lambda: float(run(cr.ones((4, 2)))))
    assert text.startswith("exp: 12 inf among 12 values, the first at [0, 0] is inf; operands float32[4, 3] from ")
    assert "recorded at test_nonfinite.py:N, forward, in layer Exponential inner.1" in text
    if compiled:
        assert all((a == p.numpy()).all() for a, p in zip(before, net.parameters()))


def test_state_written_in_place_is_as_before_the_step():
    total = cr.tensor([1.0, 2.0])

    @cr.compile
    def step(factor):
        total.__imul__(factor) if hasattr(type(total), "__imul__") else total._rebind((total * factor)._node)
        return total.sum()

    step(2.0**100)
    kept = total.numpy().copy()
    text = raised(lambda: step(2.0**100))
    assert text.startswith("mul: 2 inf among 2 values") and "from 1.26765e+30 to 2.5353e+30" in text
    assert (total.numpy() == kept).all()
    raised(lambda: step.repeat(3, 2.0**20))  # the second of the three
    assert (total.numpy() == kept * 2.0**20).all()
    assert float(step(1.0)) == float(kept.sum() * 2.0**20)


def test_optimiser():
    w = nn.Parameter(cr.tensor([1.0]))
    optimizer = optim.SGD([w], lr=1e38)

    @cr.compile
    def step():
        optimizer.zero_grad()
        (w * 1e30).sum().backward()
        optimizer.step()

    assert re.search(r"recorded at test_nonfinite.py:N, (optimiser|forward)", raised(step))


def test_inside_loops_forward_and_backward():
    xs = cr.tensor([1.0, 2.0, 1e10, 1e10, 3.0])

    def run(x, xs):
        return cr.scan(lambda c, x: (c * x, cr.sin(c)), x, xs)

    text = raised(lambda: run(cr.tensor(1e20), xs)[0].numpy())
    assert text.startswith("mul: 1 inf among 1 value, the first is inf, in iteration 3 of the loop; operands float32[]")
    assert "recorded at test_nonfinite.py:N, forward" in text
    compiled = cr.compile(lambda x, xs: run(x, xs)[0])
    assert "in iteration 3 of the loop" in raised(lambda: compiled(cr.tensor(1e20), xs))

    def root(x, xs):
        return cr.scan(lambda c, x: (cr.sqrt(c * x), c), x, xs)[0]

    zero = cr.tensor([1.0, 0.0, 1.0])
    assert float(root(cr.tensor(1.0), zero)) == 0.0
    text = raised(lambda: cr.grad(root)(cr.tensor(1.0), zero).numpy())
    assert "in iteration 2 of the loop" in text and "backward" in text


def test_inside_other_control_flow():
    x = cr.tensor(3.0)
    log = "recorded at test_nonfinite.py:N, forward"

    def shrink(c):
        return c[0] + 1, cr.log(c[1])

    for bound in (None, 6):
        last = cr.while_loop(lambda c: c[0] < 5, shrink, (cr.tensor(0), x), max_steps=bound)[1]
        text = raised(last.numpy)
        assert text.startswith("log: 1 NaN among 1 value, the first is nan, in iteration 3") and log in text
    text = raised(lambda: cr.cond(x > 0, lambda x: cr.log(x - 3), cr.sin, x).numpy())
    assert text.startswith("log: 1 inf among 1 value, the first is -inf; operands float32[] from 0 to 0")
    assert np.isfinite(float(cr.cond(x < 0, lambda x: cr.log(x - 3), cr.sin, x)))
    assert raised(lambda: cr.switch(cr.tensor(1), [cr.sin, lambda x: cr.sqrt(-x)], x).numpy()).startswith("sqrt: 1 NaN")
    assert "in iteration 1 of the loop" in raised(lambda: cr.map(cr.log, cr.tensor([1.0, 0.0])).numpy())
    text = raised(lambda: cr.grad(lambda x: cr.checkpoint(lambda x: cr.sqrt(x - 3), x))(x).numpy())
    assert text.startswith("div: 1 inf") and "backward" in text


def test_forward_mode_and_batches():
    x = cr.tensor([4.0, 0.0])
    text = raised(lambda: cr.jvp(cr.sqrt, (x,), (cr.ones_like(x),))[1].numpy())
    assert text.startswith("div: 1 inf")
    assert "[1]" in raised(lambda: cr.vmap(cr.log)(x).numpy())


def test_native_bits_are_found_where_numpy_rounds_otherwise(monkeypatch):
    x = cr.tensor([100.0])
    y = cr.exp(x)
    monkeypatch.setattr(type(y._node.op), "numpy", lambda self, x: np.float32(3e38) + 0 * x)
    assert raised(lambda: y.numpy()).startswith("exp: 1 inf among 1 value, the first at [0] is inf")


def test_switched_off_again():
    assert is_detecting()
    with cr.set_detect_nonfinite(False):
        assert not is_detecting()
        assert cr.log(cr.tensor([0.0])).tolist() == [-np.inf]
    assert is_detecting()
    cr.set_detect_nonfinite(False)
    assert runtime.checker is None and mode.trail is None
    cr.set_detect_nonfinite(True)
    assert is_detecting()


def test_other_types():
    half = cr.tensor([60000.0]).astype(cr.float16)
    assert raised(lambda: (half * 2).numpy()).startswith("mul: 1 inf among 1 value, the first at [0] is inf; operands ")
    assert (cr.tensor([1, 2]) * 2).tolist() == [2, 4]
    assert cr.zeros((0,)).sum().tolist() == 0.0
    text = raised(lambda: cr.log(cr.complex(cr.tensor(0.0), cr.tensor(0.0))).numpy())
    assert text.startswith("log: 1 inf among 1 value, the first is (-inf+0j); operands complex64[] of magnitude 0 to 0")


def test_native_loops_over_batches():
    x = cr.asarray(np.arange(-3.0, 9.0, dtype=np.float32).reshape(6, 2) + 0.5)
    total = cr.zeros((2,))

    @cr.compile
    def step(rows):
        total.__iadd__(rows.sum(axis=0))
        return cr.log(total + 10).sum()

    assert step.epochs(x, batch_size=2, shuffle=False).shape == (3,)
    text = raised(lambda: step.epochs(-x, batch_size=2, shuffle=False, num_epochs=2))
    assert text.startswith("log: 2 NaN among 2 values, the first at [0] is nan; operands float32[2] from -11 to -5")
    assert total.tolist() == [-2.0, -6.0]  # as before the sixth step, after five of them
