"""`Workload`: the sizes, data and initial weights of one training task, shared by every side of a comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

#: the shape of a parameter or buffer, and the bound of a uniform distribution or a constant's name
Start = tuple[tuple[int, ...], float | str]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A network, its loss, its optimiser and its data; a class a network, which every side knows by its name.

    `rows == batch` means that every step takes the whole data set; otherwise every step gathers `batch` rows of a
    shuffled order, inside the measurement, on every side. `aim` is the ratio over the best peer that the project has
    to reach, `peak_aim` the share of the machine's peak. `tolerance` bounds the difference of a checked float32 loss
    from the float64 one, relative to max(1, |loss|). `scans` are the steps a call of JAX's scans.
    """

    name: str
    batch: int
    rows: int
    aim: float
    peak_aim: float | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.0
    weight_decay: float = 0.0
    tolerance: float = 1e-4
    scans: tuple[int, ...] = (16, 256)

    #: the network in `sides`, and whether its data are images that a side may lay out in its own way
    network: ClassVar[str]
    images: ClassVar[bool] = False

    @property
    def full_batch(self) -> bool:
        return self.rows == self.batch

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers of this workload for one purpose, the same in every process."""
        digest = hashlib.sha256(f"{self.name}:{purpose}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))

    def starts(self) -> dict[str, Start]:
        """Every parameter and buffer by its key in the state dict, in the network's order."""
        raise NotImplementedError

    def initial(self) -> dict[str, np.ndarray]:
        """The state dict that every side starts from, in float32 and PyTorch's layout."""
        generator = self.generator("weights")
        state = {}
        for key, (shape, start) in self.starts().items():
            if start == "count":
                state[key] = np.zeros(shape, np.int64)
            elif isinstance(start, str):
                state[key] = np.full(shape, {"zeros": 0, "ones": 1}[start], np.float32)
            else:
                state[key] = generator.uniform(-start, start, shape).astype(np.float32)
        return state

    def data(self) -> tuple[np.ndarray, ...]:
        """The data set, a fixed one: arrays of `rows` rows each.

        Values do not change the time of a step; they are made so that there is something to learn.
        """
        raise NotImplementedError

    def draws(self, rows: int) -> tuple[np.ndarray, ...]:
        """What stands for the network's random draws when losses are checked, as further columns of the data.

        The first rows are the same however many there are: sides that run several steps a call draw more of them.
        """
        return ()

    def macs(self) -> Iterator[tuple[int, bool]]:
        """Multiply-adds of each matrix product or convolution in a forward pass over the batch.

        The flag says whether the derivative by the product's first operand is needed: not where that is data.
        """
        raise NotImplementedError

    def flops(self) -> int:
        """Floating-point operations of the matrix products and convolutions of one step, the only ones counted.

        Each derivative costs what the product costs; products with padding and masked scores count in full.
        """
        return sum(2 * count * (3 if both else 2) for count, both in self.macs())

    def variant(self, label: str, **changes) -> Workload:
        """A copy with `changes`, called ``name/label``; its aim is a quarter lower."""
        changed = replace(self, name=f"{self.name}/{label}", aim=self.aim * 0.75, peak_aim=None, **changes)
        return replace(changed, rows=changed.batch) if self.full_batch else changed

    def batches(self, *sizes: int) -> list[Workload]:
        """Variants with other batch sizes."""
        return [self.variant(f"batch-{size}", batch=size) for size in sizes]


def dense(key: str, fan_in: int, fan_out: int) -> dict[str, Start]:
    """A linear layer, PyTorch's default distribution."""
    bound = fan_in**-0.5
    return {f"{key}.weight": ((fan_out, fan_in), bound), f"{key}.bias": ((fan_out,), bound)}


def convolution(key: str, fan_in: int, fan_out: int, size: int, bias: bool = True) -> dict[str, Start]:
    """A two-dimensional convolution, PyTorch's default distribution."""
    bound = (fan_in * size * size) ** -0.5
    found: dict[str, Start] = {f"{key}.weight": ((fan_out, fan_in, size, size), bound)}
    return found | ({f"{key}.bias": ((fan_out,), bound)} if bias else {})


def norm(key: str, channels: int, running: bool = False) -> dict[str, Start]:
    """A normalisation layer, with running statistics for a batch norm."""
    found: dict[str, Start] = {f"{key}.weight": ((channels,), "ones"), f"{key}.bias": ((channels,), "zeros")}
    if running:
        found[f"{key}.running_mean"] = ((channels,), "zeros")
        found[f"{key}.running_var"] = ((channels,), "ones")
        found[f"{key}.num_batches_tracked"] = ((), "count")
    return found


def labelled(workload: Workload, shape: tuple[int, ...], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy copies of one random pattern a class, and the classes."""
    generator = workload.generator("data")
    labels = generator.integers(0, classes, workload.rows)
    centres = generator.standard_normal((classes, *shape), dtype=np.float32)
    x = generator.standard_normal((workload.rows, *shape), dtype=np.float32)
    x += centres[labels]
    return x, labels
