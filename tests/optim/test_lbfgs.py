"""`optim.LBFGS` against PyTorch's, step by step without a line search; the line search by where it leads."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import CompileError, ConfigError, ShapeError

START = [np.random.default_rng(0).normal(size=shape) for shape in ((2, 3), (3,))]


def ours(dtype=np.float64):
    return [nn.Parameter(cr.asarray(a.astype(dtype))) for a in START]


def closure_of(params, optimizer, exp):
    def closure():
        optimizer.zero_grad()
        loss = ((params[0] * params[1] - 1) ** 2).sum() + exp(params[1]).sum()
        loss.backward()
        return loss

    return closure


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.3, "history_size": 2},
        {"max_iter": 1},
        {"max_eval": 3, "lr": 0.5},
        {"tolerance_grad": 3.0},
        {"tolerance_change": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_trajectories_are_those_of_torch(options, dtype):
    torch = pytest.importorskip("torch")
    options = {"max_iter": 4, **options}
    p, q = ours(dtype), [torch.nn.Parameter(torch.tensor(a.astype(dtype))) for a in START]
    a, b = optim.LBFGS(p, **options), torch.optim.LBFGS(q, **options)
    first, second = closure_of(p, a, cr.exp), closure_of(q, b, torch.exp)
    tolerance = 1e-7 if dtype == np.float64 else 2e-3
    for _ in range(6 if dtype == np.float64 else 2):  # without a line search, rounding grows fast
        loss, theirs = a.step(first), b.step(second)
        np.testing.assert_allclose(float(loss), float(theirs.detach()), rtol=tolerance)
        for x, y in zip(p, q):
            np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=tolerance, atol=tolerance)
    state = a.state_dict()["state"][0]
    expected = b.state_dict()["state"][0]
    if dtype == np.float64:
        assert state["func_evals"] == expected["func_evals"] and state["n_iter"] == expected["n_iter"]
        assert len(state.get("old_dirs", [])) == len(expected.get("old_dirs", []))
    assert expected.keys() - state.keys() <= {"al"}


def test_state_dicts_of_torch_load():
    torch = pytest.importorskip("torch")
    p, q = ours(), [torch.nn.Parameter(torch.tensor(a)) for a in START]
    a, b = optim.LBFGS(p, lr=0.7, max_iter=3), torch.optim.LBFGS(q, lr=0.5, max_iter=3)
    second = closure_of(q, b, torch.exp)
    b.step(second)
    for x, y in zip(p, q):
        x._rebind(cr.asarray(y.detach().numpy().copy())._node)
    a.load_state_dict(b.state_dict())
    assert a.param_groups[0]["lr"] == 0.5
    first = closure_of(p, a, cr.exp)
    for _ in range(3):
        a.step(first)
        b.step(second)
    for x, y in zip(p, q):
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=1e-9)


def test_own_state_dicts_continue_bit_for_bit():
    p, q = ours(), ours()
    a, b = (optim.LBFGS(x, max_iter=3, line_search_fn="strong_wolfe") for x in (p, q))
    a.step(closure_of(p, a, cr.exp))
    for x, y in zip(p, q):
        y._rebind(cr.asarray(x.detach().numpy().copy())._node)
    b.load_state_dict(a.state_dict())
    for _ in range(3):
        assert float(a.step(closure_of(p, a, cr.exp))) == float(b.step(closure_of(q, b, cr.exp)))
    np.testing.assert_array_equal(p[0].detach().numpy(), q[0].detach().numpy())
    with pytest.raises(ShapeError, match="LBFGS: old_dirs has shape \\(9,\\), the parameters have 2 elements"):
        optim.LBFGS([nn.Parameter(cr.zeros(2))]).load_state_dict(a.state_dict())


def rosenbrock_run(**options):
    p = nn.Parameter(cr.asarray(np.array([-1.2, 1.0])))
    optimizer = optim.LBFGS([p], **options)
    calls = []

    def closure():
        calls.append(0)
        optimizer.zero_grad()
        loss = 100 * (p[1] - p[0] ** 2) ** 2 + (1 - p[0]) ** 2
        loss.backward()
        return loss

    losses = [float(optimizer.step(closure)) for _ in range(6)]
    return p.detach().numpy(), losses, len(calls)


def test_strong_wolfe_finds_the_minimum():
    x, losses, calls = rosenbrock_run(line_search_fn="strong_wolfe")
    np.testing.assert_allclose(x, [1, 1], atol=1e-4)  # tolerance_change ends it, as in PyTorch
    assert (np.diff(losses) <= 0).all() and calls < 80


def test_a_compiled_closure_gives_the_same():
    p, q = ours(), ours()
    a, b = (optim.LBFGS(x, max_iter=3, line_search_fn="strong_wolfe") for x in (p, q))
    plain, compiled = closure_of(p, a, cr.exp), cr.compile(closure_of(q, b, cr.exp), keep_grads=True)
    for _ in range(2):
        np.testing.assert_allclose(float(a.step(plain)), float(b.step(compiled)), rtol=1e-12)
    np.testing.assert_allclose(p[1].detach().numpy(), q[1].detach().numpy(), rtol=1e-9)


def test_complex_and_half_parameters():
    z = nn.Parameter(cr.asarray(np.array([2 + 1j, -1j], np.complex64)))
    h = nn.Parameter(cr.asarray(np.array([1.0, 2.0], np.float16)))
    optimizer = optim.LBFGS([z, h], line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (cr.abs(z - (1 - 2j)) ** 2).sum() + ((h.astype(cr.float32) - 0.5) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    np.testing.assert_allclose(z.detach().numpy(), np.full(2, 1 - 2j), atol=1e-4)
    np.testing.assert_allclose(h.detach().numpy(), [0.5, 0.5], atol=1e-2)


def test_parameters_without_gradients_stay():
    p, idle = nn.Parameter(cr.asarray([3.0])), nn.Parameter(cr.asarray([7.0]))
    optimizer = optim.LBFGS([p, idle])

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert idle.tolist() == [7.0] and abs(p.tolist()[0]) < 1e-3


def refused(error, call):
    with pytest.raises(error) as caught:
        call()
    return str(caught.value).partition("\nrecorded at ")[0]


def test_refusals():
    p = nn.Parameter(cr.asarray([3.0]))
    assert refused(ConfigError, lambda: optim.LBFGS([p], line_search_fn="armijo")) == (
        "LBFGS: line_search_fn is 'strong_wolfe' or None, not 'armijo'"
    )
    assert refused(ConfigError, lambda: optim.LBFGS([p], max_iter=0)) == (
        "LBFGS: max_iter must be a positive whole number, not 0"
    )
    assert refused(ConfigError, lambda: optim.LBFGS([p], history_size=-1)) == (
        "LBFGS: history_size must be a positive whole number, not -1"
    )
    assert refused(ConfigError, lambda: optim.LBFGS([p], lr=-1.0)) == "LBFGS: lr must not be negative, not -1.0"
    assert refused(ConfigError, lambda: optim.LBFGS([p], tolerance_grad=-1.0)) == (
        "LBFGS: tolerance_grad must not be negative, not -1.0"
    )
    groups = [{"params": [p]}, {"params": [nn.Parameter(cr.asarray([1.0]))]}]
    assert refused(ConfigError, lambda: optim.LBFGS(groups)) == (
        "LBFGS: there can be one group of parameters only; they share one approximation"
    )
    optimizer = optim.LBFGS([p])
    assert refused(ConfigError, optimizer.step) == (
        "LBFGS: step needs a closure that computes the loss and its gradients anew"
    )
    assert refused(CompileError, cr.compile(lambda: optimizer.step(lambda: p.sum()))) == (
        "LBFGS: how often a step calls its closure depends on values, which a compiled function does not have\n"
        "help: compile the closure, and call step outside"
    )
