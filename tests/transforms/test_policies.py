"""Policies of `checkpoint`: what is kept of a region, in gradients, second order, batches and compiled memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError
from chainrule.graph.node import topological
from chainrule.transforms.checkpoint import hidden, kept, region

P = cr.checkpoint_policies
random = np.random.default_rng(0)
W = cr.asarray(random.normal(size=(4, 4)) / 2)
X = cr.asarray(random.normal(size=(3, 4)))

POLICIES = {
    "default": None,
    "nothing": P.nothing_saveable,
    "everything": P.everything_saveable,
    "dots": P.dots_saveable,
    "no batch": P.dots_with_no_batch_dims_saveable,
    "names": P.save_only_these_names("bell"),
    "other names": P.save_any_names_but_these("bell"),
    "all but names": P.save_anything_except_these_names("bell"),
    "both": P.save_from_both_policies(P.dots_saveable, P.save_only_these_names("bell")),
    "own": lambda operation: operation.primitive == "exp" and operation.shape == (3, 4),
}


def block(w: Any, x: Any) -> Any:
    for _ in range(2):
        bell = cr.checkpoint_name(cr.exp(-((x @ w) ** 2)), "bell")
        x = cr.checkpoint_name(cr.tanh(bell @ w), "other")
    return x.sum()


@pytest.mark.parametrize("name", POLICIES)
def test_same_bits(name: str) -> None:
    f = cr.checkpoint(block, policy=POLICIES[name])
    expected = cr.grad(block, argnums=(0, 1))(W, X)
    for wrap in (lambda f: f, cr.compile):
        for found, wanted in zip(wrap(cr.grad(f, argnums=(0, 1)))(W, X), expected):
            np.testing.assert_array_equal(found.numpy(), wanted.numpy())
        product = wrap(lambda w, x: cr.hvp(lambda w: f(w, x), (w,), (w,)))(W, X)
        np.testing.assert_allclose(product, cr.hvp(lambda w: block(w, X), (W,), (W,)), rtol=1e-11)
        second = wrap(cr.grad(lambda w, x: cr.grad(f)(w, x).sum()))(W, X)
        np.testing.assert_allclose(second, cr.grad(lambda w: cr.grad(block)(w, X).sum())(W), rtol=1e-11, atol=1e-12)
        rows = wrap(cr.vmap(cr.grad(f), in_axes=(None, 0)))(W, X[:, None])
        np.testing.assert_allclose(rows, cr.vmap(cr.grad(block), in_axes=(None, 0))(W, X[:, None]), rtol=1e-11)
    np.testing.assert_allclose(cr.jvp(f, (W, X), (W, X))[1], cr.jvp(block, (W, X), (W, X))[1], rtol=1e-12)


def repeated(policy: Any) -> list[str]:
    """The primitives of the region that the reverse sweep computes again."""
    w = cr.asarray(W.numpy())
    out = cr.checkpoint(block, w.requires_grad_(), X, policy=policy)
    last = out._node.serial
    inside = region(out._node)
    out.backward()
    found = topological([w.grad._node], stop_at_values=False)
    again = [node for node in found if node.serial > last and node.op.name in ("exp", "tanh")]
    forward = {(node.op, node.shape) for node in inside}
    return sorted(node.op.name for node in again if (node.op, node.shape) in forward)


def test_what_is_computed_again() -> None:
    assert repeated(None) == ["exp", "exp", "tanh", "tanh"]
    assert repeated(P.everything_saveable) == []
    assert repeated(P.save_only_these_names("bell")) == ["tanh", "tanh"]
    assert repeated(P.save_only_these_names("bell", "other")) == []
    assert repeated(P.dots_saveable) == ["exp", "exp", "tanh", "tanh"]


def test_kept_nodes_are_not_hidden_from_an_evaluation() -> None:
    out = cr.checkpoint(block, W.detach().requires_grad_(), X, policy=P.dots_saveable)
    first = out._node
    assert {node.op.name for node in kept(first)} == {"contract"} and len(kept(first)) == 4
    order = topological([first], stop_at_values=False)
    assert not hidden(order) & set(kept(first))
    float(out)
    assert all(node.value is not None for node in kept(first))
    assert all(node.value is None for node in region(first) if node.op.name == "exp")


def test_memory_between() -> None:
    """Kept products take memory, and less than everything."""
    layers, width, rows = 8, 64, 128
    ws = [cr.asarray(random.normal(size=(width, width)).astype("float32") / 8) for _ in range(layers)]
    x = random.normal(size=(rows, width)).astype("float32")

    def deep(policy: Any, checkpointed: bool) -> int:
        def layer(w: Any, x: Any) -> Any:
            return cr.sin(cr.exp(-((x @ w) ** 2)))

        def loss(ws: Any, x: Any) -> Any:
            for w in ws:
                x = cr.checkpoint(layer, w, x, policy=policy) if checkpointed else layer(w, x)
            return (x * x).sum()

        return cr.explain(cr.grad(loss), ws, x).arena_bytes

    arenas = [deep(None, True), deep(P.dots_saveable, True), deep(None, False)]
    assert arenas[0] < arenas[1] <= arenas[2]


def test_decorator_and_messages() -> None:
    @cr.checkpoint
    def f(x: Any) -> Any:
        return cr.sin(x).sum()

    @cr.checkpoint(policy=P.dots_saveable)
    def g(x: Any, *, power: int = 1) -> Any:
        return (cr.sin(x) ** power).sum()

    np.testing.assert_allclose(cr.grad(f)(X), np.cos(X.numpy()))
    np.testing.assert_allclose(cr.grad(lambda x: g(x, power=1))(X), np.cos(X.numpy()))
    assert f.__name__ == "f"
    with pytest.raises(ConfigError) as caught:
        cr.grad(cr.checkpoint(lambda x: cr.sin(x).sum(), policy=lambda operation: None))(X)
    text = str(caught.value)
    assert text.startswith(
        "checkpoint: the policy returned NoneType for sin, not True or False; operands float64[3, 4]"
    )
    with pytest.raises(ConfigError, match="checkpoint: function is no function but int"):
        cr.checkpoint(3, X)
    with pytest.raises(ConfigError, match="checkpoint_name: a name is a string, not 3"):
        cr.checkpoint_name(X, 3)
