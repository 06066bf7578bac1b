"""The workloads in JAX: ``jit`` per step and many steps under ``lax.scan``, in each form of the network."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..workloads import Workload
from .base import Candidate, Order
from .jax_networks import FORMS, make


def build(workload: Workload, form: str = ""):
    """The initial state and ``step(state, batch, draws) -> (state, loss)``.

    The state is the parameters, the optimiser's two slots, buffers, the number of the step and a random key.
    """
    (parameters, buffers), loss_of = make(workload, form)
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    adam, momentum = workload.optimizer == "adam", workload.momentum
    rate, decay = workload.learning_rate, workload.weight_decay
    key = jax.random.key(0)

    def step(state, batch, draws):
        parameters, first, second, buffers, count, key = state
        key, drawn = jax.random.split(key)
        value = jax.value_and_grad(loss_of, has_aux=True)
        (loss, buffers), gradients = value(parameters, buffers, batch, draws, drawn)
        if decay:
            gradients = jax.tree.map(lambda g, p: g + decay * p, gradients, parameters)
        count = count + 1
        if adam:
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
            time = count.astype(jnp.float32)
            size, root = rate / (1 - 0.9**time), jnp.sqrt(1 - 0.999**time)
            parameters = jax.tree.map(
                lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + 1e-8), parameters, first, second
            )
        else:
            if momentum:
                gradients = first = jax.tree.map(lambda m, g: momentum * m + g, first, gradients)
            parameters = jax.tree.map(lambda p, g: p - rate * g, parameters, gradients)
        return (parameters, first, second, buffers, count, key), loss

    slots = (zeros if adam or momentum else {}, jax.tree.map(jnp.copy, zeros) if adam else {})
    return (parameters, *slots, buffers, jnp.zeros((), jnp.int32), key), step


def _run(workload: Workload, call, state, data, chunk: int):
    """`Candidate.check` and `.run` around ``call(state, data, indices or None, draws) -> (state, losses)``."""
    generator = np.random.default_rng(0)
    order = Order(workload, lambda rows: generator.permutation(rows).astype(np.int32))

    def check(steps: int) -> np.ndarray:
        nonlocal state
        draws = tuple(jnp.asarray(_narrow(a)) for a in workload.draws(-(-steps // chunk) * chunk * workload.batch))
        rows = None if workload.full_batch else np.arange(chunk * workload.batch, dtype=np.int32).reshape(chunk, -1)
        losses: list[float] = []
        while len(losses) < steps:
            here = rows if rows is None else rows + len(losses) * workload.batch
            state, found = call(state, data, here, draws)
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
            state, _ = call(state, data, rows, ())
            done += chunk
        jax.block_until_ready(state)
        return done

    return check, run


def _narrow(array: np.ndarray) -> np.ndarray:
    return array.astype(np.int32) if array.dtype == np.int64 else array


def laid_out(workload: Workload, form: str) -> tuple:
    """The data set, in the form's layout."""
    arrays = [_narrow(a) for a in workload.data()]
    return tuple(jnp.asarray(a.transpose(0, 2, 3, 1) if form == "nhwc" and a.ndim == 4 else a) for a in arrays)


def candidates(workload: Workload, threads: int) -> list[Candidate]:
    """A call a step, and scans of many steps a call. JAX takes its threads from the process's affinity."""
    forms = FORMS.get(workload.network, ("",))
    return [c for form in forms for c in of_form(workload, form, laid_out(workload, form), threads)]


def of_form(workload: Workload, form: str, data: tuple, threads: int) -> list[Candidate]:
    """The candidates of one form of the network."""

    def take(arrays, rows):
        return arrays if rows is None else tuple(a.at[rows].get(mode="promise_in_bounds") for a in arrays)

    def drawn(draws, rows):
        draws = take(draws, rows)
        return tuple(d.transpose(0, 2, 3, 1) if form == "nhwc" and d.ndim == 4 else d for d in draws)

    state, step = build(workload, form)

    def one(state, data, rows, draws):
        rows = None if rows is None else rows[0]
        return step(state, take(data, rows), drawn(draws, rows))

    def scan(length: int):
        return lambda state, data, rows, draws: jax.lax.scan(
            lambda s, r: step(s, take(data, r), drawn(draws, r)), state, rows, length=length
        )

    most = max(workload.scans, default=1) if workload.full_batch else workload.rows // workload.batch
    lengths = dict.fromkeys(min(length, most) for length in workload.scans)
    forms = [("jit", one, 1), *((f"scan {n}", scan(n), n) for n in lengths)]
    found = []
    for name, function, chunk in forms:
        fresh = jax.tree.map(jnp.copy, state)
        check, run = _run(workload, jax.jit(function, donate_argnums=0), fresh, data, chunk)
        label = " ".join(word for word in ("jax", name, form, f"{threads}t") if word)
        found.append(Candidate(label, check, run, smallest=chunk))
    return found
