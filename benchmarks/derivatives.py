"""``python -m benchmarks derivatives``: what derivatives cost.

Operations of gradients, forward mode and Hessian products beside those of the value; per-example gradients and Hessians
beside PyTorch and JAX; the time to record, differentiate and compile deep graphs.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .derivative_sides import CASES, Peer, interleave
from .measure import available_cores, microseconds, table

#: most operations of a derivative, relative to those of the value
AIMS = {"grad": 4.0, "jvp": 3.0, "hvp": 8.0}


def _normal(*shape: int, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return values / math.sqrt(math.prod(shape[1:]) or 1)


def functions() -> dict[str, tuple[Callable[..., Any], Any]]:
    """Scalar functions of a tree of parameters, with the parameters: a network of each kind on a fixed batch."""
    import chainrule as cr
    from chainrule import functional as F

    def parameters(**shapes: tuple[int, ...]) -> dict[str, Any]:
        return {name: cr.asarray(_normal(*shape, seed=n)) for n, (name, shape) in enumerate(shapes.items())}

    rows, labels = cr.asarray(_normal(64, 64, seed=9)), cr.asarray(np.arange(64) % 10)
    images, classes = cr.asarray(_normal(8, 3, 16, 16, seed=9)), cr.asarray(np.arange(8) % 10)
    text = cr.asarray(_normal(4, 32, 32, seed=9))
    steps = cr.asarray(_normal(16, 8, 32, seed=9))

    def mlp(p):
        h = cr.tanh(F.linear(cr.tanh(F.linear(rows, p["w1"], p["b1"])), p["w2"], p["b2"]))
        return F.cross_entropy(F.linear(h, p["w3"], p["b3"]), labels)

    def convolutional(p):
        h = F.max_pool2d(F.gelu(F.conv2d(images, p["c1"], padding=1)), 2)
        h = F.max_pool2d(F.gelu(F.conv2d(h, p["c2"], padding=1)), 2)
        return F.cross_entropy(F.linear(h.reshape(8, -1), p["w"]), classes)

    def attention(p):
        q, k, v = (F.linear(text, p[name]).reshape(4, 32, 4, 8).permute(0, 2, 1, 3) for name in ("q", "k", "v"))
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True).permute(0, 2, 1, 3).reshape(4, 32, 32)
        return (F.linear(h, p["o"]) ** 2).mean()

    def lstm(p):
        zeros = cr.zeros((8, 32))
        h = F.lstm_layer(steps, (zeros, zeros), p["ih"], p["hh"], p["bi"], p["bh"])[0]
        return (F.linear(h, p["o"]) ** 2).mean()

    return {
        "MLP 64-128-128-10": (
            mlp,
            parameters(w1=(128, 64), b1=(128,), w2=(128, 128), b2=(128,), w3=(10, 128), b3=(10,)),
        ),
        "convolutions 3-16-32, 10 classes": (
            convolutional,
            parameters(c1=(16, 3, 3, 3), c2=(32, 16, 3, 3), w=(10, 512)),
        ),
        "attention, 4 heads, width 32": (attention, parameters(q=(32, 32), k=(32, 32), v=(32, 32), o=(32, 32))),
        "LSTM 32-32, 16 steps": (lstm, parameters(ih=(128, 32), hh=(128, 32), bi=(128,), bh=(128,), o=(8, 32))),
    }


def counted() -> list[dict[str, Any]]:
    """Operations of compiled programs: of the value, and of its derivatives as multiples of that."""
    import chainrule as cr

    found = []
    for name, (f, p) in functions().items():
        value = cr.explain(cr.compile(f), p).flops
        direction = cr.tree_map(cr.ones_like, p)
        programs = {
            "grad": (cr.grad(f), (p,)),
            "jvp": (lambda p, t, f=f: cr.jvp(f, (p,), (t,))[1], (p, direction)),
            "hvp": (lambda p, t, f=f: cr.jvp(cr.grad(f), (p,), (t,))[1], (p, direction)),
        }
        ratios = {k: cr.explain(cr.compile(g), *args).flops / value for k, (g, args) in programs.items()}
        found.append({"function": name, "value": value, **ratios})
    return found


def deep(chain: int, steps: int) -> list[dict[str, Any]]:
    """Seconds to record, differentiate and compile deep graphs at a quarter, half and all of their length."""
    import chainrule as cr

    def sines(length: int):
        def f(x):
            for _ in range(length // 2):
                x = cr.sin(x) * 1.01
            return x.sum()

        return f, (cr.asarray(_normal(8, seed=0)),)

    def recurrence(length: int):
        def f(w, u, xs):
            h = cr.zeros((8,))
            for t in range(length):
                h = cr.tanh(w @ h + u @ xs[t])
            return h.sum()

        return f, tuple(cr.asarray(_normal(*s, seed=n)) for n, s in enumerate(((8, 8), (8, 4), (length, 4))))

    found = []
    for name, make, length in (("chain of operations", sines, chain), ("unrolled recurrence", recurrence, steps)):
        for part in (4, 2, 1):
            f, args = make(length // part)
            times: dict[str, float] = {}
            for what, g in (("record", f), ("grad", cr.grad(f)), ("hvp", lambda *a, f=f: cr.jvp(cr.grad(f), a, a))):
                compiled = cr.compile(g)
                start = time.perf_counter()
                key, _, definition, leaves = compiled._split(args, {})
                entry = compiled._find(key, definition, leaves)
                times[what] = time.perf_counter() - start
                if what != "hvp":
                    start = time.perf_counter()
                    entry.program()
                    times[f"compile {what}"] = time.perf_counter() - start
            found.append({"graph": name, "length": length // part, **times})
    return found


def compare(case: str, peers: list[str], threads: int, rounds: int) -> dict[str, Any]:
    """Medians in seconds of each side, and the best peer's as a multiple of ours."""
    sides = [Peer(name, case, threads) for name in ("chainrule", *peers)]
    try:
        times = interleave(sides, rounds)
    finally:
        for side in sides:
            side.close()
    ours = times["chainrule"]
    return {
        "case": case,
        "threads": threads,
        "seconds": times,
        "ratios": {name: seconds / ours for name, seconds in times.items() if name != "chainrule"},
    }


def main(arguments: list[str]) -> None:
    """Print the three parts."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks derivatives", description=__doc__)
    parser.add_argument("--parts", default="flops,peers,deep", help="which of flops, peers, deep (default: all)")
    parser.add_argument("--cases", default=",".join(CASES), help=f"of the peers: {', '.join(CASES)} (default: all)")
    parser.add_argument("--peers", default="torch,jax", help="comma-separated (default: torch,jax)")
    parser.add_argument("--threads", type=int, default=available_cores(), help="default: all cores")
    parser.add_argument("--rounds", type=int, default=11, help="runs of each side, in turn (default: 11)")
    parser.add_argument("--chain", type=int, default=10_000, help="operations of the chain (default: 10,000)")
    parser.add_argument("--steps", type=int, default=2_000, help="steps of the recurrence (default: 2,000)")
    options = parser.parse_args(arguments)
    parts = options.parts.split(",")
    if "flops" in parts:
        rows = [
            [row["function"], f"{row['value']:,}", *(f"{row[k]:.2f} (at most {aim:g})" for k, aim in AIMS.items())]
            for row in counted()
        ]
        table("operations of compiled programs, relative to the value's", ["function", "value", *AIMS], rows)
    if "peers" in parts:
        peers = [name for name in options.peers.split(",") if name]
        rows = []
        for case in options.cases.split(","):
            found = compare(case, peers, options.threads, options.rounds)
            ratios = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found["ratios"].items())
            times = [microseconds(1e6 * seconds) for seconds in found["seconds"].values()]
            rows.append([CASES[case], *times, ratios])
        table(f"beside peers, {options.threads} threads, medians", ["", "chainrule", *peers, "peer / chainrule"], rows)
    if "deep" in parts:
        rows = []
        for row in deep(options.chain, options.steps):
            times = [f"{1e3 * row[k]:.0f} ms" for k in row if k not in ("graph", "length")]
            rows.append([row["graph"], f"{row['length']:,}", *times])
        columns = ["", "length", "record", "compile", "grad", "compile grad", "hvp"]
        table("deep graphs: doubling the length should double the times", columns, rows)
