"""The workloads in JAX: ``jit`` per step and many steps under ``lax.scan``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..workloads import Workload
from .base import Candidate, Order

#: steps a call under ``lax.scan``: short and long scans are fastest on different workloads
SCANS = (16, 256)
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "elu": jax.nn.elu}


def loss_of(workload: Workload, layers, x, *targets):
    """The workload's mean loss."""
    for weight, bias in layers[:-1]:
        x = ACTIVATIONS[workload.activation](x @ weight + bias)
    out = x @ layers[-1][0] + layers[-1][1]
    if workload.loss == "cross_entropy":
        picked = jnp.sum(jax.nn.log_softmax(out) * jax.nn.one_hot(targets[0], out.shape[1]), 1)
        return -jnp.mean(picked)
    if workload.loss == "squared_error":
        return jnp.mean((out - targets[0]) ** 2)
    if workload.loss == "q_value":
        chosen = jnp.sum(out * jax.nn.one_hot(targets[0], out.shape[1]), 1)
        return jnp.mean((chosen - targets[1]) ** 2)
    mean, log_sigma = out[:, 0], out[:, 1]
    return jnp.mean(log_sigma + 0.5 * ((targets[0] - mean) * jnp.exp(-log_sigma)) ** 2)


def build(workload: Workload):
    """The initial state (weights, Adam's slots, step) and ``step(state, x, *targets) -> (state, loss)``."""
    layers = [(jnp.asarray(weight.T), jnp.asarray(bias)) for weight, bias in workload.initial()]
    zeros = jax.tree.map(jnp.zeros_like, layers)
    rate = workload.learning_rate

    def step(state, *batch):
        layers, first, second, count = state
        loss, gradients = jax.value_and_grad(lambda p: loss_of(workload, p, *batch))(layers)
        count = count + 1
        if workload.optimizer == "sgd":
            return (jax.tree.map(lambda p, g: p - rate * g, layers, gradients), first, second, count), loss
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
        time = count.astype(jnp.float32)
        size, root = rate / (1 - 0.9**time), jnp.sqrt(1 - 0.999**time)
        layers = jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + 1e-8), layers, first, second)
        return (layers, first, second, count), loss

    return (layers, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros((), jnp.int32)), step


def _run(workload: Workload, call, state, data, chunk: int):
    """`Candidate.check` and `.run` around ``call(state, data, indices or None) -> (state, losses)``."""
    generator = np.random.default_rng(0)
    order = Order(workload, lambda rows: generator.permutation(rows).astype(np.int32))

    def check(steps: int) -> np.ndarray:
        nonlocal state
        rows = None if workload.full_batch else np.arange(chunk * workload.batch, dtype=np.int32).reshape(chunk, -1)
        losses: list[float] = []
        while len(losses) < steps:
            here = rows if rows is None or chunk > 1 else rows + len(losses) * workload.batch
            state, found = call(state, data, here)
            losses += np.atleast_1d(found).tolist()
        return np.array(losses[:steps])

    def run(steps: int) -> int:
        nonlocal state
        done = 0
        while done < steps:
            rows = None
            if not workload.full_batch:
                rows = order.take(chunk)
                if len(rows) < chunk * workload.batch:
                    order.position = order.rows
                    continue
                rows = rows.reshape(chunk, workload.batch)
            state, _ = call(state, data, rows)
            done += chunk
        jax.block_until_ready(state)
        return done

    return check, run


def candidates(workload: Workload, threads: int) -> list[Candidate]:
    """A call a step, and scans of many steps a call. JAX takes its threads from the process's affinity."""
    data = tuple(jnp.asarray(a.astype(np.int32) if a.dtype == np.int64 else a) for a in workload.data())

    def take(data, rows):
        return data if rows is None else tuple(a.at[rows].get(mode="promise_in_bounds") for a in data)

    state, step = build(workload)

    def one(state, data, rows):
        return step(state, *take(data, None if rows is None else rows[0]))

    def scan(length: int):
        return lambda state, data, rows: jax.lax.scan(
            lambda s, r: step(s, *take(data, r)), state, rows, length=length
        )

    longest = SCANS[1] if workload.full_batch else min(SCANS[1], workload.rows // workload.batch)
    forms = [("jit", one, 1), *((f"scan {n}", scan(n), n) for n in (SCANS[0], longest))]
    found = []
    for name, function, chunk in forms:
        fresh = jax.tree.map(jnp.copy, state)
        check, run = _run(workload, jax.jit(function, donate_argnums=0), fresh, data, chunk)
        found.append(Candidate(f"jax {name} {threads}t", check, run, smallest=chunk))
    return found
