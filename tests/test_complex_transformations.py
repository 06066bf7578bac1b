"""Complex numbers under the other transformations: compiled, batched, in loops and branches; optimisers."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import DTypeError

from .test_complex_derivatives import REAL, W, Z, close, numbers

# -- under the other transformations ----------------------------------------------------------------------------------


def loss(z, w, x):
    """A real function of complex and real arguments."""
    y = cr.tanh(z @ w.mH / 4) * x[:, :3]
    return (abs(y) ** 2).sum() + (y * 1j).exp().real.mean() + cr.vecdot(z, w).imag.sum()


ARGUMENTS = tuple(map(cr.asarray, (Z, W, REAL)))


def test_compiled_gradients():
    wanted = cr.grad(loss, (0, 1, 2))(*ARGUMENTS)
    compiled = cr.compile(cr.grad(loss, (0, 1, 2)))
    for _ in range(2):
        for found, expected in zip(compiled(*ARGUMENTS), wanted):
            close(found, expected, 1e-13)


def test_gradients_by_the_interpreter(monkeypatch):
    wanted = [g.numpy() for g in cr.grad(loss, (0, 1, 2))(*ARGUMENTS)]
    monkeypatch.setenv("CHAINRULE_BACKEND", "interpreter")
    for found, expected in zip(cr.grad(loss, (0, 1, 2))(*ARGUMENTS), wanted):
        close(found, expected, 1e-13)


def test_gradients_of_a_batch():
    stack = np.stack([Z, W, numbers(3, 4)])
    one = cr.grad(loss, (0, 2))
    found = cr.vmap(one, in_axes=(0, None, None))(cr.asarray(stack), *ARGUMENTS[1:])
    for part, parts in zip(found, zip(*(one(cr.asarray(z), *ARGUMENTS[1:]) for z in stack))):
        close(part, np.stack([p.numpy() for p in parts]))


def test_checkpointed_gradients():
    wanted = cr.grad(loss, (0, 1, 2))(*ARGUMENTS)
    found = cr.grad(lambda *a: cr.checkpoint(loss, *a), (0, 1, 2))(*ARGUMENTS)
    for part, expected in zip(found, wanted):
        close(part, expected, 1e-13)


@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_of_loops(compiled):
    torch = pytest.importorskip("torch")
    xs, start, factor = numbers(5, 2), numbers(2), numbers(2)

    def body(c, x, factor):
        c = c * x * 0.5 + factor
        return c, c.conj() * x

    def ours(start, xs, factor):
        last, stack = cr.scan(lambda c, x: body(c, x, factor), start, xs)
        return (abs(last) ** 2).sum() + (stack * stack).real.sum()

    def theirs(c, xs, factor):
        stack = []
        for x in xs:
            c, y = body(c, x, factor)
            stack.append(y)
        return (abs(c) ** 2).sum() + (torch.stack(stack) ** 2).real.sum()

    arguments = [torch.tensor(array, requires_grad=True) for array in (start, xs, factor)]
    theirs(*arguments).backward()
    gradient = cr.grad(ours, (0, 1, 2))
    for found, other in zip(
        (cr.compile(gradient) if compiled else gradient)(*map(cr.asarray, (start, xs, factor))), arguments
    ):
        close(found, other.grad)


def recurrence(h, xs, weight, unroll=1):
    """A recurrent layer of complex numbers, and a real number of its states."""

    def body(h, x):
        new = cr.tanh(h @ weight + x)
        return new, new.conj() * h

    last, stack = cr.scan(body, h, xs, unroll=unroll)
    return (abs(last) ** 2).sum() + stack.imag.sum()


RECURRENT = tuple(map(cr.asarray, (numbers(2, 3) / 4, numbers(4, 2, 3) / 4, numbers(3, 3) / 4)))


@pytest.mark.parametrize("unroll", [1, 2])
def test_recurrence(unroll):
    """The gradient of a weight that every iteration multiplies by; of a batch; and its own derivative."""
    gradient = cr.grad(lambda *a: recurrence(*a, unroll=unroll), (0, 1, 2))
    found, compiled = gradient(*RECURRENT), cr.compile(gradient)(*RECURRENT)
    along = [numbers(*a.shape) for a in RECURRENT]
    step = 1e-6

    def moved(sign):
        return [cr.asarray(a.numpy() + sign * step * t) for a, t in zip(RECURRENT, along)]

    slope = (recurrence(*moved(1)) - recurrence(*moved(-1))).item() / (2 * step)
    assert sum(np.real(np.sum(np.conj(g.numpy()) * t)) for g, t in zip(found, along)) == pytest.approx(slope, rel=1e-7)
    for part, other in zip(found, compiled):
        close(part, other, 1e-13)
    _, pushed = cr.jvp(gradient, RECURRENT, tuple(map(cr.asarray, along)))
    for part, up, down in zip(pushed, gradient(*moved(1)), gradient(*moved(-1))):
        np.testing.assert_allclose(part.numpy(), (up.numpy() - down.numpy()) / (2 * step), rtol=1e-5, atol=1e-6)
    starts = np.stack([RECURRENT[0].numpy(), along[0]])
    batched = cr.vmap(gradient, in_axes=(0, None, None))(cr.asarray(starts), *RECURRENT[1:])
    for part, parts in zip(batched, zip(*(gradient(cr.asarray(h), *RECURRENT[1:]) for h in starts))):
        close(part, np.stack([p.numpy() for p in parts]))


def test_gradients_through_branches_and_while_loops():
    z = cr.asarray(Z)

    def branched(z, flag):
        return abs(cr.cond(flag, lambda z: z * z * 1j, lambda z: z.conj() + 2j, z)).sum()

    for flag, f in ((True, lambda z: z * z * 1j), (False, lambda z: z.conj() + 2j)):
        wanted = cr.grad(lambda z, f=f: abs(f(z)).sum())(z)
        close(cr.grad(branched)(z, cr.tensor(flag)), wanted, 1e-13)
        close(cr.compile(cr.grad(branched))(z, cr.tensor(flag)), wanted, 1e-13)

    def looped(z):
        return cr.while_loop(lambda c: abs(c[0]).sum() < 100, lambda c: (c[0] * c[1], c[1]), (z, z / 2 + 1j))[0]

    def unrolled(z):
        c, factor = z, z / 2 + 1j
        while abs(c).sum() < 100:
            c = c * factor
        return c

    _, found = cr.jvp(looped, (z,), (cr.asarray(W),))
    _, wanted = cr.jvp(unrolled, (z,), (cr.asarray(W),))
    close(found, wanted, 1e-12)


def test_custom_derivatives_see_the_convention():
    """A user's rule of reverse mode is given gradients as `.grad` would hold them, and returns such ones."""
    seen = []

    @cr.custom_vjp
    def square(z):
        return z * z

    def backward(z, cotangent):
        seen.append(cotangent)
        return (cr.conj(2 * z) * cotangent,)

    square.defvjp(lambda z: (z * z, z), backward)
    z = cr.asarray(Z)
    gradient = cr.grad(lambda z: (cr.asarray(W).conj() * square(z)).real.sum())(z)
    close(gradient, np.conj(2 * Z) * W)
    close(seen[0], W)

    @cr.custom_jvp
    def cube(z):
        return z**3

    cube.defjvp(lambda primals, tangents: (primals[0] ** 3, 3 * primals[0] ** 2 * tangents[0]))
    close(cr.grad(lambda z: cube(z).imag.sum())(z), cr.grad(lambda z: (z**3).imag.sum())(z))
    close(cr.jvp(cube, (z,), (cr.asarray(W),))[1], 3 * Z**2 * W)


def test_jacobians_of_holomorphic_functions():
    z = cr.asarray(Z[0])
    wanted = np.diag(np.exp(Z[0]) * (1 + Z[0]))
    for jacobian in (cr.jacfwd, cr.jacrev):
        close(jacobian(lambda z: cr.exp(z) * z, holomorphic=True)(z), wanted)
        with pytest.raises(DTypeError, match="holomorphic=True"):
            jacobian(abs)(z)


def test_products_with_hessians_and_linear_maps():
    z, t = cr.asarray(Z), cr.asarray(W)

    def f(z):
        return (abs(z) ** 4).sum() + cr.sin(z).imag.sum()

    step = 1e-5
    ends = [cr.grad(f)(cr.asarray(Z + sign * step * W)).numpy() for sign in (1, -1)]
    np.testing.assert_allclose(cr.hvp(f, (z,), (t,)).numpy(), (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-7)
    _, linear = cr.linearize(lambda z: cr.exp(z) * z.conj(), z)
    close(linear(t), cr.jvp(lambda z: cr.exp(z) * z.conj(), (z,), (t,))[1])


# -- optimisers -------------------------------------------------------------------------------------------------------

OPTIMISERS = {
    "SGD": {"lr": 0.01},
    "momentum": {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "Adam": {"lr": 0.05, "weight_decay": 0.1},
    "amsgrad": {"lr": 0.05, "amsgrad": True},
    "AdamW": {"lr": 0.05, "weight_decay": 0.3},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
    "Adagrad": {"lr": 0.1, "initial_accumulator_value": 0.1},
}
NAMES = {"momentum": "SGD", "amsgrad": "Adam"}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_optimisers(name):
    """Complex parameters move as pairs of real ones, beside real parameters, compiled and not."""
    torch = pytest.importorskip("torch")
    kind, settings = NAMES.get(name, name), OPTIMISERS[name]
    p, s = cr.nn.Parameter(cr.asarray(Z)), cr.nn.Parameter(cr.asarray(REAL))
    q, t = torch.nn.Parameter(torch.tensor(Z)), torch.nn.Parameter(torch.tensor(REAL))
    ours, theirs = getattr(cr.optim, kind)([p, s], **settings), getattr(torch.optim, kind)([q, t], **settings)

    def step():
        ours.zero_grad()
        (abs(p * p * s - cr.asarray(W)) ** 2).sum().backward()
        ours.step()

    compiled = cr.compile(step)
    for number in range(4):
        (compiled if number > 1 else step)()
        theirs.zero_grad()
        (abs(q * q * t - torch.tensor(W)) ** 2).sum().backward()
        theirs.step()
        close(p, q.detach(), 1e-12)
        close(s, t.detach(), 1e-12)
    for slot, value in theirs.state_dict()["state"].get(0, {}).items():
        if slot in ours.state_dict()["state"].get(0, {}):
            close(ours.state_dict()["state"][0][slot], value, 1e-12)
    again = getattr(cr.optim, kind)([p, s], **settings)
    again.load_state_dict(theirs.state_dict())


def test_optimisers_refuse_gradients_of_another_dtype():
    p = cr.nn.Parameter(cr.asarray(Z))
    optimiser = cr.optim.SGD([p], lr=0.1)
    p.grad = cr.asarray(Z)
    p._grad = cr.asarray(Z).astype(cr.complex64)
    with pytest.raises(DTypeError, match="SGD: a complex128 parameter has a complex64 gradient"):
        optimiser.step()
