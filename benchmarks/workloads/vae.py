"""`vae`: a variational autoencoder of perceptrons, 784-400-20-400-784, on images of numbers in [0, 1]."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .base import Start, Workload, dense


@dataclass(frozen=True, kw_only=True)
class Autoencoder(Workload):
    """Encoder and decoder perceptrons around a Gaussian code.

    The loss is the mean over the batch of the negative evidence lower bound; `loss` names the likelihood of a pixel.
    """

    inputs: int = 784
    hidden: tuple[int, ...] = (400,)
    code: int = 20
    activation: str = "relu"
    loss: str = "bernoulli"

    network = "autoencoder"

    def starts(self) -> dict[str, Start]:
        found: dict[str, Start] = {}
        for number, pair in enumerate(zip((self.inputs, *self.hidden), self.hidden)):
            found |= dense(f"encoder.{2 * number}", *pair)
        found |= dense("mean", self.hidden[-1], self.code) | dense("log_variance", self.hidden[-1], self.code)
        widths = (self.code, *reversed(self.hidden), self.inputs)
        for number, pair in enumerate(pairwise(widths)):
            found |= dense(f"decoder.{2 * number}", *pair)
        return found

    def data(self) -> tuple[np.ndarray, ...]:
        generator = self.generator("data")
        patterns = generator.uniform(0, 1, (10, self.inputs)).astype(np.float32)
        noise = generator.uniform(0, 1, (self.rows, self.inputs)).astype(np.float32)
        return (0.8 * patterns[generator.integers(0, 10, self.rows)] + 0.2 * noise,)

    def draws(self, rows: int) -> tuple[np.ndarray, ...]:
        return (self.generator("draws").standard_normal((rows, self.code), dtype=np.float32),)

    def macs(self) -> Iterator[tuple[int, bool]]:
        for number, (fan_in, fan_out) in enumerate(zip((self.inputs, *self.hidden), self.hidden)):
            yield self.batch * fan_in * fan_out, number > 0
        yield self.batch * self.hidden[-1] * 2 * self.code, True
        widths = (self.code, *reversed(self.hidden), self.inputs)
        for fan_in, fan_out in pairwise(widths):
            yield self.batch * fan_in * fan_out, True


WORKLOAD = Autoencoder(name="vae", batch=128, rows=16384, aim=1.3, scans=(16, 128))
VARIANTS = [
    WORKLOAD.variant("widths", hidden=(300,), code=12),
    WORKLOAD.variant("hidden-2", hidden=(400, 200)),
    WORKLOAD.variant("tanh", activation="tanh"),
    WORKLOAD.variant("elu", activation="elu"),
    WORKLOAD.variant("gaussian", loss="gaussian"),
    WORKLOAD.variant("sgd", optimizer="sgd", learning_rate=1e-4),
    *WORKLOAD.batches(149, 97),
]
