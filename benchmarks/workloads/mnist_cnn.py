"""`mnist-cnn`: conv32-pool-conv64-pool-fc128-fc10 on mini-batches of 28x28 images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .base import Start, Workload, convolution, dense, labelled


@dataclass(frozen=True, kw_only=True)
class Convolutional(Workload):
    """Blocks of a 3x3 convolution, an activation and 2x2 max pooling; two linear layers."""

    channels: tuple[int, ...] = (32, 64)
    hidden: int = 128
    activation: str = "relu"
    loss: str = "cross_entropy"
    side: int = 28
    classes: int = 10

    network = "convolutional"
    images = True

    @property
    def last_side(self) -> int:
        return self.side >> len(self.channels)

    def starts(self) -> dict[str, Start]:
        found: dict[str, Start] = {}
        for number, (fan_in, fan_out) in enumerate(zip((1, *self.channels), self.channels)):
            found |= convolution(str(3 * number), fan_in, fan_out, 3)
        flat = 3 * len(self.channels)  # three layers a block, then the flattening one
        found |= dense(str(flat + 1), self.channels[-1] * self.last_side**2, self.hidden)
        return found | dense(str(flat + 3), self.hidden, self.classes)

    def data(self) -> tuple[np.ndarray, ...]:
        x, labels = labelled(self, (1, self.side, self.side), self.classes)
        if self.loss == "cross_entropy":
            return x, labels
        return x, np.eye(self.classes, dtype=np.float32)[labels]

    def macs(self) -> Iterator[tuple[int, bool]]:
        side = self.side
        for number, (fan_in, fan_out) in enumerate(zip((1, *self.channels), self.channels)):
            yield self.batch * side * side * 9 * fan_in * fan_out, number > 0
            side //= 2
        yield self.batch * self.channels[-1] * side * side * self.hidden, True
        yield self.batch * self.hidden * self.classes, True


WORKLOAD = Convolutional(name="mnist-cnn", batch=64, rows=16384, aim=2.7, peak_aim=0.7, scans=(8, 64))
VARIANTS = [
    WORKLOAD.variant("widths", channels=(24, 48), hidden=100),
    WORKLOAD.variant("convolutions-1", channels=(32,)),
    WORKLOAD.variant("convolutions-3", channels=(32, 64, 64)),
    WORKLOAD.variant("tanh", activation="tanh"),
    WORKLOAD.variant("elu", activation="elu"),
    WORKLOAD.variant("squared-error", loss="squared_error"),
    WORKLOAD.variant("sgd", optimizer="sgd", learning_rate=0.01, momentum=0.9),
    *WORKLOAD.batches(149, 97),
]
