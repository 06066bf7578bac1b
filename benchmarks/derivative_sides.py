"""Per-example gradients and Hessians by Chainrule, PyTorch and JAX, each in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

#: what is compared
CASES = {
    "per-example": "vmap(grad) of mnist-mlp over 256 examples",
    "hessian": "hessian of a perceptron with 995 parameters",
}
#: seconds that one block of runs should take, and the pause after it in which idle threads fall asleep
BLOCK, PAUSE = 0.3, 0.02
#: largest relative difference between two sides' results
TOLERANCE = 1e-3


def _shapes(widths: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [shape for a, b in pairwise(widths) for shape in ((b, a), (b,))]


def inputs(case: str) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Parameters (weight, bias, ...), rows and labels, the same on all sides."""
    widths, rows = ((784, 512, 512, 10), 256) if case == "per-example" else ((20, 30, 10, 5), 64)
    generator = np.random.default_rng(0)
    parameters = [
        (generator.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32) for shape in _shapes(widths)
    ]
    x = generator.standard_normal((rows, widths[0])).astype(np.float32)
    return parameters, x, generator.integers(0, widths[-1], rows)


def ours(case: str, threads: int) -> tuple[Callable[[], Any], Callable[[Any], np.ndarray]]:
    """A run, and what reads a checksum of its result."""
    import chainrule as cr
    from chainrule import functional as F

    cr.set_num_threads(threads)
    parameters, x, y = inputs(case)
    p, rows, labels = [cr.asarray(a) for a in parameters], cr.asarray(x), cr.asarray(y)
    activation = cr.functional.relu if case == "per-example" else cr.tanh

    def loss(p, x, y):
        for number in range(0, len(p), 2):
            x = F.linear(activation(x) if number else x, p[number], p[number + 1])
        return F.cross_entropy(x, y)

    if case == "per-example":
        step = cr.compile(cr.vmap(cr.grad(loss), in_axes=(None, 0, 0)))
    else:
        step = cr.compile(cr.hessian(lambda flat: loss(_unflat(flat, parameters), rows, labels)))
        p = cr.concat([a.reshape(-1) for a in p])
    arguments = (p, rows, labels) if case == "per-example" else (p,)

    def run() -> Any:
        result = step(*arguments)
        return [leaf.numpy() for leaf in (result if isinstance(result, (list, tuple)) else [result])]

    return run, checksum


def torch_side(case: str, threads: int) -> tuple[Callable[[], Any], Callable[[Any], np.ndarray]]:
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    parameters, x, y = inputs(case)
    p, rows, labels = [torch.from_numpy(a) for a in parameters], torch.from_numpy(x), torch.from_numpy(y)
    activation = torch.relu if case == "per-example" else torch.tanh

    def loss(p, x, y):
        for number in range(0, len(p), 2):
            x = F.linear(activation(x) if number else x, p[number], p[number + 1])
        return F.cross_entropy(x, y)

    if case == "per-example":
        step = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
        arguments: tuple = (p, rows, labels)
    else:
        step = torch.func.hessian(lambda flat: loss(_unflat(flat, parameters), rows, labels))
        arguments = (torch.cat([a.reshape(-1) for a in p]),)

    def run() -> Any:
        result = step(*arguments)
        return [leaf.numpy() for leaf in (result if isinstance(result, (list, tuple)) else [result])]

    return run, checksum


def jax_side(case: str, threads: int) -> tuple[Callable[[], Any], Callable[[Any], np.ndarray]]:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    import jax
    import jax.numpy as jnp

    parameters, x, y = inputs(case)
    p, rows, labels = [jnp.asarray(a) for a in parameters], jnp.asarray(x), jnp.asarray(y.astype(np.int32))
    activation = jax.nn.relu if case == "per-example" else jnp.tanh

    def loss(p, x, y):
        for number in range(0, len(p), 2):
            x = (activation(x) if number else x) @ p[number].T + p[number + 1]
        chosen = jnp.sum(jax.nn.log_softmax(x) * jax.nn.one_hot(y, x.shape[-1]), -1)
        return -jnp.mean(chosen)

    if case == "per-example":
        step = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0, 0)))
        arguments: tuple = (p, rows, labels)
    else:
        step = jax.jit(jax.hessian(lambda flat: loss(_unflat(flat, parameters), rows, labels)))
        arguments = (jnp.concatenate([a.reshape(-1) for a in p]),)

    def run() -> Any:
        result = jax.block_until_ready(step(*arguments))
        return result if isinstance(result, (list, tuple)) else [result]

    return run, checksum


def _unflat(flat: Any, parameters: list[np.ndarray]) -> list[Any]:
    """The parameters from one vector."""
    parts, start = [], 0
    for a in parameters:
        parts.append(flat[start : start + a.size].reshape(a.shape))
        start += a.size
    return parts


def checksum(results: Any) -> np.ndarray:
    """Norms of the results of a run."""
    return np.array([np.linalg.norm(np.asarray(a).astype(np.float64).ravel()) for a in results])


SIDES = {"chainrule": ours, "torch": torch_side, "jax": jax_side}


def _serve(name: str, case: str, threads: int, pipe: Any) -> None:
    """The child process: one run at the start, whose checksum is sent, then blocks of so many runs as it is told.

    The result of a run is dropped before the next one, on all sides.
    """
    try:
        run, read = SIDES[name](case, threads)
        pipe.send(read(run()))
        while True:
            count = pipe.recv()
            run()  # before the clock starts: memory that the machine took back while others ran comes again
            start = time.perf_counter()
            for _ in range(count):
                run()
            pipe.send((time.perf_counter() - start) / count)
    except EOFError:
        return
    except BaseException:
        pipe.send(traceback.format_exc())


class Peer:
    """One side in its own process."""

    def __init__(self, name: str, case: str, threads: int):
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.pipe, child = context.Pipe()
        self.process = context.Process(target=_serve, args=(name, case, threads, child), daemon=True)
        self.process.start()
        child.close()
        self.checksum = self._receive()
        self.times: list[float] = []
        self.count = 1
        self.count = max(1, min(1000, round(BLOCK / min(self.block() for _ in range(2)))))
        self.times.clear()

    def _receive(self) -> Any:
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise SystemExit(f"the process of {self.name} ended without an answer") from None
        if isinstance(answer, str):
            raise SystemExit(answer)
        return answer

    def block(self) -> float:
        """Seconds of a run in one block of them."""
        self.pipe.send(self.count)
        seconds = self._receive()
        self.times.append(seconds)
        time.sleep(PAUSE)
        return seconds

    def close(self) -> None:
        self.pipe.close()
        self.process.join(10)


def interleave(sides: list[Peer], rounds: int) -> dict[str, float]:
    """Median seconds of each side, blocks in turn; SystemExit if the results of two sides differ."""
    for side in sides[1:]:
        off = np.abs(side.checksum / sides[0].checksum - 1).max()
        if not off < TOLERANCE:
            raise SystemExit(f"{side.name} and {sides[0].name} differ by {off:.2g}")
    for number in range(rounds):
        shift = number % len(sides)
        for side in sides[shift:] + sides[:shift]:
            side.block()
    return {side.name: statistics.median(side.times) for side in sides}
