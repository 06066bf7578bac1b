"""`resnet20`: the residual network of He et al. for 32x32 images, with batch norm, by SGD with momentum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .base import Start, Workload, convolution, dense, labelled, norm


@dataclass(frozen=True, kw_only=True)
class Residual(Workload):
    """Three groups of `blocks` residual blocks of two 3x3 convolutions; 6 `blocks` + 2 layers.

    Where a group begins with stride 2, the shortcut is a 1x1 convolution with a batch norm.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 3
    activation: str = "relu"
    loss: str = "cross_entropy"
    side: int = 32
    classes: int = 10

    network = "residual"
    images = True

    def plan(self) -> Iterator[tuple[str, int, int, int, int]]:
        """(key, channels in, channels out, stride, side of the result) of each block."""
        fan_in, side = self.widths[0], self.side
        for group, width in enumerate(self.widths):
            for block in range(self.blocks):
                stride = 2 if group and not block else 1
                side //= stride
                yield f"groups.{group}.{block}", fan_in, width, stride, side
                fan_in = width

    def starts(self) -> dict[str, Start]:
        found = {**convolution("conv", 3, self.widths[0], 3, bias=False), **norm("norm", self.widths[0], running=True)}
        for key, fan_in, width, stride, _ in self.plan():
            found |= convolution(f"{key}.conv1", fan_in, width, 3, bias=False)
            found |= norm(f"{key}.norm1", width, running=True)
            found |= convolution(f"{key}.conv2", width, width, 3, bias=False)
            found |= norm(f"{key}.norm2", width, running=True)
            if stride > 1:
                found |= convolution(f"{key}.shortcut.0", fan_in, width, 1, bias=False)
                found |= norm(f"{key}.shortcut.1", width, running=True)
        return found | dense("output", self.widths[-1], self.classes)

    def data(self) -> tuple[np.ndarray, ...]:
        x, labels = labelled(self, (3, self.side, self.side), self.classes)
        if self.loss == "cross_entropy":
            return x, labels
        return x, np.eye(self.classes, dtype=np.float32)[labels]

    def macs(self) -> Iterator[tuple[int, bool]]:
        yield self.batch * self.side**2 * 9 * 3 * self.widths[0], False
        for _, fan_in, width, stride, side in self.plan():
            yield self.batch * side * side * 9 * fan_in * width, True
            yield self.batch * side * side * 9 * width * width, True
            if stride > 1:
                yield self.batch * side * side * fan_in * width, True
        yield self.batch * self.widths[-1] * self.classes, True


WORKLOAD = Residual(
    name="resnet20",
    batch=64,
    rows=4096,
    aim=1.4,
    peak_aim=0.7,
    optimizer="sgd",
    learning_rate=0.01,
    momentum=0.9,
    weight_decay=1e-4,
    tolerance=1e-3,
    scans=(8,),
)
VARIANTS = [
    WORKLOAD.variant("widths", widths=(24, 40, 72)),
    WORKLOAD.variant("resnet-8", blocks=1),
    WORKLOAD.variant("resnet-14", blocks=2),
    WORKLOAD.variant("tanh", activation="tanh"),
    WORKLOAD.variant("elu", activation="elu"),
    WORKLOAD.variant("squared-error", loss="squared_error"),
    WORKLOAD.variant("adam", optimizer="adam", learning_rate=1e-3, momentum=0.0, weight_decay=0.0),
    *WORKLOAD.batches(149, 97),
]


def of_depth(depth: int) -> Workload:
    """The network with `depth` layers, 6 n + 2."""
    if depth < 8 or depth % 6 != 2:
        raise ValueError(f"a residual network has 6 n + 2 layers, not {depth}")
    return WORKLOAD if depth == 20 else WORKLOAD.variant(f"resnet-{depth}", blocks=(depth - 2) // 6)
