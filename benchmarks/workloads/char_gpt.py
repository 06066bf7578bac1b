"""`char-gpt`: a decoder of 4 layers, 4 heads and width 128 over windows of 64 characters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .base import Start, Workload, dense, norm
from .text import windows


@dataclass(frozen=True, kw_only=True)
class Decoder(Workload):
    """Token and position embeddings, blocks of causal self-attention and a perceptron, each after a layer norm."""

    layers: int = 4
    heads: int = 4
    width: int = 128
    activation: str = "gelu"
    length: int = 64
    symbols: int = 65

    network = "decoder"

    def starts(self) -> dict[str, Start]:
        width = self.width
        found: dict[str, Start] = {"tokens.weight": ((self.symbols, width), 0.1)}
        found["positions.weight"] = ((self.length, width), 0.1)
        for layer in range(self.layers):
            key = f"blocks.{layer}"
            found |= {**norm(f"{key}.norm1", width), **dense(f"{key}.attention.projection", width, 3 * width)}
            found |= {**dense(f"{key}.attention.output", width, width), **norm(f"{key}.norm2", width)}
            found |= {**dense(f"{key}.expand", width, 4 * width), **dense(f"{key}.contract", 4 * width, width)}
        return found | norm("norm", width) | dense("output", width, self.symbols)

    def data(self) -> tuple[np.ndarray, ...]:
        return (windows(self.generator("data"), self.rows, self.length, self.symbols),)

    def macs(self) -> Iterator[tuple[int, bool]]:
        tokens, width = self.batch * self.length, self.width
        for _ in range(self.layers):
            yield tokens * width * 3 * width, True
            yield tokens * self.length * width, True  # scores
            yield tokens * self.length * width, True  # and their products with the values
            yield tokens * width * width, True
            yield tokens * width * 4 * width, True
            yield tokens * 4 * width * width, True
        yield tokens * width * self.symbols, True


WORKLOAD = Decoder(name="char-gpt", batch=32, rows=16384, aim=1.7, peak_aim=0.7, scans=(8,))
VARIANTS = [
    WORKLOAD.variant("widths", width=96),
    WORKLOAD.variant("layers-1", layers=1),
    WORKLOAD.variant("layers-2", layers=2),
    WORKLOAD.variant("length-50", length=50),
    WORKLOAD.variant("relu", activation="relu"),
    WORKLOAD.variant("sgd", optimizer="sgd", learning_rate=0.05, momentum=0.9),
    *WORKLOAD.batches(37, 97),
]
