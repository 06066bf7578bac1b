"""`char-lstm`: embedding 128, LSTM 256, 65 symbols, windows of 64 steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .base import Start, Workload, dense
from .text import windows


@dataclass(frozen=True, kw_only=True)
class Recurrent(Workload):
    """An embedding, LSTM layers, and a linear layer that predicts the next symbol at every step."""

    embedding: int = 128
    hidden: int = 256
    layers: int = 1
    length: int = 64
    symbols: int = 65

    network = "recurrent"

    def starts(self) -> dict[str, Start]:
        found: dict[str, Start] = {"embedding.weight": ((self.symbols, self.embedding), 1.0)}
        bound = self.hidden**-0.5
        for layer in range(self.layers):
            fan_in = self.hidden if layer else self.embedding
            found[f"lstm.weight_ih_l{layer}"] = ((4 * self.hidden, fan_in), bound)
            found[f"lstm.weight_hh_l{layer}"] = ((4 * self.hidden, self.hidden), bound)
            found[f"lstm.bias_ih_l{layer}"] = ((4 * self.hidden,), bound)
            found[f"lstm.bias_hh_l{layer}"] = ((4 * self.hidden,), bound)
        return found | dense("output", self.hidden, self.symbols)

    def data(self) -> tuple[np.ndarray, ...]:
        return (windows(self.generator("data"), self.rows, self.length, self.symbols),)

    def macs(self) -> Iterator[tuple[int, bool]]:
        tokens = self.batch * self.length
        for layer in range(self.layers):
            fan_in = self.hidden if layer else self.embedding
            yield tokens * 4 * self.hidden * fan_in, True
            yield tokens * 4 * self.hidden * self.hidden, True
        yield tokens * self.hidden * self.symbols, True


WORKLOAD = Recurrent(name="char-lstm", batch=32, rows=16384, aim=1.15, scans=(8, 32))
VARIANTS = [
    WORKLOAD.variant("widths", embedding=96, hidden=200),
    WORKLOAD.variant("layers-2", layers=2),
    WORKLOAD.variant("length-35", length=35),
    WORKLOAD.variant("sgd", optimizer="sgd", learning_rate=0.5),
    *WORKLOAD.batches(37, 149),
]
