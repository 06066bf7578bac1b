"""`Perceptron`: multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .base import Start, Workload, dense


@dataclass(frozen=True, kw_only=True)
class Perceptron(Workload):
    """A multilayer perceptron.

    `widths` are the layers' widths from input to output. `loss` is a mean over the batch: cross entropy of class
    indices; squared error; Gaussian negative log-likelihood of outputs (mean, log sigma) without its constant; squared
    error of the value of the action taken (`q_value`).
    """

    widths: tuple[int, ...]
    activation: str = "relu"
    loss: str = "cross_entropy"

    network = "perceptron"

    def starts(self) -> dict[str, Start]:
        pairs = enumerate(zip(self.widths, self.widths[1:]))
        # an activation stands between two linear layers
        return {k: v for i, (fan_in, fan_out) in pairs for k, v in dense(str(2 * i), fan_in, fan_out).items()}

    def data(self) -> tuple[np.ndarray, ...]:
        generator = self.generator("data")
        rows, inputs, outputs = self.rows, self.widths[0], self.widths[-1]
        if self.loss == "gaussian_nll":
            x = generator.uniform(0, 2, (rows, inputs))
            y = x[:, 0] ** 2 + 0.2 * x[:, 0] * generator.standard_normal(rows)
            return x.astype(np.float32), y.astype(np.float32)
        labels = generator.integers(0, outputs, rows)
        centres = generator.standard_normal((outputs, inputs))
        x = (centres[labels] + generator.standard_normal((rows, inputs), dtype=np.float32)).astype(np.float32)
        if self.loss == "cross_entropy":
            return x, labels
        if self.loss == "squared_error":
            return x, np.sin(x @ centres.T.astype(np.float32) / inputs).astype(np.float32)
        return x, labels, np.tanh(x.sum(1) / inputs).astype(np.float32)

    def macs(self) -> Iterator[tuple[int, bool]]:
        for number, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:])):
            yield self.batch * fan_in * fan_out, number > 0

    def variants(self, other_widths: tuple[int, ...]) -> list[Workload]:
        """The printed variants: no test for a particular network hides in the compiler."""
        first, *hidden, last = self.widths
        output = 1 if self.loss == "gaussian_nll" else last
        return [
            self.variant("widths", widths=(first, *other_widths, last)),
            *(
                self.variant(f"hidden-{n}", widths=(first, *(hidden[0],) * n, last))
                for n in (1, 2, 3)
                if n != len(hidden)
            ),
            *(self.variant(name, activation=name) for name in ("relu", "tanh", "elu") if name != self.activation),
            self.variant("squared-error", loss="squared_error", widths=(first, *hidden, output)),
            self.variant("sgd", optimizer="sgd", learning_rate=0.01),
            *self.batches(149, 97),
        ]
