"""`unet`: a small denoising U-Net on 28x28 images, with group norms and a time embedding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .base import Start, Workload, convolution, dense, labelled, norm

#: noise levels
TIMES = 1000


@dataclass(frozen=True, kw_only=True)
class Denoiser(Workload):
    """Residual blocks at three resolutions, joined by concatenation; the loss is the squared error of the noise.

    `factors` times `width` are the channels of the resolutions, `groups` those of the group norms.
    """

    width: int = 32
    factors: tuple[int, ...] = (1, 2, 2)
    groups: int = 8
    activation: str = "silu"
    side: int = 28

    network = "denoiser"
    images = True

    @property
    def channels(self) -> tuple[int, ...]:
        return tuple(self.width * factor for factor in self.factors)

    @property
    def embedding(self) -> int:
        return 4 * self.width

    def blocks(self) -> Iterator[tuple[str, int, int, int]]:
        """(key, channels in, channels out, side) of each residual block."""
        fan_in, side = self.width, self.side
        for level, channels in enumerate(self.channels):
            yield f"down.{level}", fan_in, channels, side >> level
            fan_in = channels
        last = len(self.channels) - 1
        yield "middle", fan_in, fan_in, side >> last
        for number, level in enumerate(range(last, -1, -1)):
            yield f"up.{number}", 2 * self.channels[level], self.channels[level], side >> level

    def scalings(self) -> Iterator[tuple[str, int, int, int]]:
        """(key, channels in, channels out, side of the result) of each convolution between two resolutions."""
        last = len(self.channels) - 1
        for level in range(last):
            yield f"shrink.{level}", self.channels[level], self.channels[level], self.side >> (level + 1)
        for number, level in enumerate(range(last, 0, -1)):
            yield f"grow.{number}", self.channels[level], self.channels[level - 1], self.side >> (level - 1)

    def starts(self) -> dict[str, Start]:
        found = dense("time.0", self.width, self.embedding) | dense("time.2", self.embedding, self.embedding)
        found |= convolution("input", 1, self.width, 3)
        for key, fan_in, fan_out, _ in self.blocks():
            found |= {**norm(f"{key}.norm1", fan_in), **convolution(f"{key}.conv1", fan_in, fan_out, 3)}
            found |= {**dense(f"{key}.time", self.embedding, fan_out), **norm(f"{key}.norm2", fan_out)}
            found |= convolution(f"{key}.conv2", fan_out, fan_out, 3)
            if fan_in != fan_out:
                found |= convolution(f"{key}.skip", fan_in, fan_out, 1)
        for key, fan_in, fan_out, _ in self.scalings():
            found |= convolution(key, fan_in, fan_out, 3)
        return found | norm("norm", self.width) | convolution("output", self.width, 1, 3)

    def data(self) -> tuple[np.ndarray, ...]:
        x, _ = labelled(self, (1, self.side, self.side), 10)
        return (np.tanh(x),)

    def draws(self, rows: int) -> tuple[np.ndarray, ...]:
        noise = self.generator("noise").standard_normal((rows, 1, self.side, self.side), dtype=np.float32)
        return self.generator("times").integers(0, TIMES, rows), noise

    def signal(self) -> np.ndarray:
        """Share of the image's variance that is left at each noise level: a linear schedule."""
        return np.cumprod(1 - np.linspace(1e-4, 0.02, TIMES)).astype(np.float32)

    def macs(self) -> Iterator[tuple[int, bool]]:
        batch = self.batch
        yield batch * self.width * self.embedding, False
        yield batch * self.embedding**2, True
        yield batch * self.side**2 * 9 * self.width, False
        for _, fan_in, fan_out, side in self.blocks():
            yield batch * side * side * 9 * fan_in * fan_out, True
            yield batch * self.embedding * fan_out, True
            yield batch * side * side * 9 * fan_out * fan_out, True
            if fan_in != fan_out:
                yield batch * side * side * fan_in * fan_out, True
        for _, fan_in, fan_out, side in self.scalings():
            yield batch * side * side * 9 * fan_in * fan_out, True
        yield batch * self.side**2 * 9 * self.width, True


WORKLOAD = Denoiser(name="unet", batch=32, rows=16384, aim=2.0, scans=(8,))
VARIANTS = [
    WORKLOAD.variant("widths", width=24),
    WORKLOAD.variant("levels-2", factors=(1, 2)),
    WORKLOAD.variant("relu", activation="relu"),
    WORKLOAD.variant("tanh", activation="tanh"),
    WORKLOAD.variant("sgd", optimizer="sgd", learning_rate=0.01, momentum=0.9),
    *WORKLOAD.batches(37, 97),
]
