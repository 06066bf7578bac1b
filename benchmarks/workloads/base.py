"""`Workload`: the sizes, data and initial weights of one training task, shared by every side of a comparison."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

LOSSES = ("cross_entropy", "squared_error", "gaussian_nll", "q_value")


@dataclass(frozen=True)
class Workload:
    """A multilayer perceptron, its loss, its optimiser and its data.

    `widths` are the layers' widths from input to output. `rows == batch` means that every step takes the whole data
    set; otherwise every step gathers `batch` rows of a shuffled order, inside the measurement, on every side.
    `losses` are means over the batch: cross entropy of class indices; squared error; Gaussian negative
    log-likelihood of outputs (mean, log sigma) without its constant; squared error of the value of the action taken.
    `aim` is the ratio over the best peer that the project has to reach.
    """

    name: str
    widths: tuple[int, ...]
    activation: str
    loss: str
    batch: int
    rows: int
    aim: float
    optimizer: str = "adam"
    learning_rate: float = 1e-3

    @property
    def full_batch(self) -> bool:
        return self.rows == self.batch

    def _generator(self, purpose: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.name}:{purpose}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))

    def initial(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weight ``(out, in)`` and bias ``(out,)`` of each layer: PyTorch's default distribution, in float32."""
        generator = self._generator("weights")
        layers = []
        for fan_in, fan_out in zip(self.widths, self.widths[1:]):
            bound = fan_in**-0.5
            weight = generator.uniform(-bound, bound, (fan_out, fan_in)).astype(np.float32)
            layers.append((weight, generator.uniform(-bound, bound, fan_out).astype(np.float32)))
        return layers

    def data(self) -> tuple[np.ndarray, ...]:
        """Inputs ``(rows, in)`` followed by what the loss needs, made up from a fixed seed.

        Values do not change the time of a step; they are made so that there is something to learn.
        """
        generator = self._generator("data")
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

    def flops(self) -> int:
        """Floating-point operations of the matrix products of one step, the only ones counted."""
        products = [a * b for a, b in zip(self.widths, self.widths[1:])]
        return 2 * self.batch * (3 * sum(products) - products[0])

    def variant(self, label: str, **changes) -> Workload:
        """A copy with `changes`, called ``name/label``; its aim is a quarter lower."""
        changed = replace(self, name=f"{self.name}/{label}", aim=self.aim * 0.75, **changes)
        return replace(changed, rows=changed.batch) if self.full_batch else changed

    def variants(self, other_widths: tuple[int, ...]) -> list[Workload]:
        """The printed variants: no test for a particular network hides in the compiler."""
        first, *hidden, last = self.widths
        output = 1 if self.loss == "gaussian_nll" else last
        made = [
            self.variant("widths", widths=(first, *other_widths, last)),
            *(
                self.variant(f"hidden-{n}", widths=(first, *(hidden[0],) * n, last))
                for n in (1, 2, 3)
                if n != len(hidden)
            ),
            *(self.variant(name, activation=name) for name in ("relu", "tanh", "elu") if name != self.activation),
            self.variant("squared-error", loss="squared_error", widths=(first, *hidden, output)),
            self.variant("sgd", optimizer="sgd", learning_rate=0.01),
            self.variant("batch-149", batch=149),
            self.variant("batch-97", batch=97),
        ]
        return made
