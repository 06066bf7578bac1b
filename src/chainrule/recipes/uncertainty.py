"""Heteroscedastic regression: a network that says how sure it is (lecture 000).

``x`` is uniform on [0, 2] and ``y = x^2 + 0.2 x noise`` with standard normal noise: 5000 points, 4000 of them for
training. A network 1-64-64-2 of exponential linear units gives the mean and the logarithm of the standard deviation
at each x, and is trained by the Gaussian negative log-likelihood. On the 1000 test points its negative log-likelihood
is compared with that of the distribution the points were drawn from, the best that any model can expect.

The difference that remains lies almost wholly at x < 0.01, where the true standard deviation falls to 0 and its
logarithm to minus infinity, with some twenty training points to learn it from.

Reference: D. A. Nix and A. S. Weigend, "Estimating the mean and variance of the target probability distribution",
ICNN 1994.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..train.loop import fit, predict, training_step
from ..train.metrics import HALF_LOG_2_PI
from ..train.plots import COLOURS, new_figure, png, style
from ..train.runfolder import RunWriter
from ..train.settings import setting
from ..train.tabular import Reporter
from .iris_curves import timing

NUM_POINTS, NUM_TRAINING = 5000, 4000


@dataclass(frozen=True)
class Settings:
    """Epochs, first learning rate (it falls to 0 along half a cosine), rows of a step, and widths."""

    epochs: int = setting(1000, 1, 1_000_000)
    lr: float = setting(1e-2, 1e-12, 1e3)
    batch_size: int = setting(400, 1, NUM_TRAINING)
    hidden: tuple[int, ...] = setting((64, 64), 1, 65536)


SETTINGS = Settings()


def draw_points(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, y), each (5000,) float64; the first 4000 are for training."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(0.0, 2.0, NUM_POINTS)
    return x, x**2 + 0.2 * x * generator.standard_normal(NUM_POINTS)


def true_nll(x: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log-likelihood of the points under the distribution that they were drawn from, in nats."""
    deviation = 0.2 * x
    return float((np.log(deviation) + 0.5 * ((y - x**2) / deviation) ** 2).mean() + HALF_LOG_2_PI)


def model_nll(outputs: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log-likelihood under the network's outputs (rows, 2): mean and log sigma."""
    outputs = np.asarray(outputs, np.float64)
    losses = outputs[:, 1] + 0.5 * ((y - outputs[:, 0]) * np.exp(-outputs[:, 1])) ** 2
    return float(losses.mean() + HALF_LOG_2_PI)


def build_network(settings: Settings, seed: int) -> Any:
    """The network with its first weights."""
    from .. import manual_seed, nn

    manual_seed(seed)
    layers: list[Any] = []
    width = 1
    for hidden in settings.hidden:
        layers += [nn.Linear(width, hidden), nn.ELU()]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 2))


def example(settings: Settings, seed: int) -> tuple[Callable, tuple[Any, Any]]:
    """The training step and a batch, for ``chainrule explain``."""
    from .. import objectives, optim, tensor

    network = build_network(settings, seed)
    step = training_step(network, objectives.Gaussian(), optim.Adam(network.parameters(), lr=settings.lr))
    inputs, targets = _training_arrays(*draw_points(seed))
    return step, (tensor(inputs[: settings.batch_size]), tensor(targets[: settings.batch_size]))


def _training_arrays(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(4000, 1) inputs and (4000,) targets, float32."""
    return x[:NUM_TRAINING, None].astype(np.float32), y[:NUM_TRAINING].astype(np.float32)


def run(settings: Settings, *, seed: int, out: str | Path, reporter: Reporter | None = None) -> dict[str, Any]:
    """Train, compare with the true distribution, and draw mean and band before and after."""
    from .. import objectives, optim

    reporter = reporter or Reporter()
    started = time.perf_counter()
    with RunWriter(out) as writer:
        x, y = draw_points(seed)
        network = build_network(settings, seed)
        optimizer = optim.Adam(network.parameters(), lr=settings.lr)
        grid = np.linspace(0.0, 2.0, 401, dtype=np.float32)[:, None]
        test_inputs = x[NUM_TRAINING:, None].astype(np.float32)
        before, first = predict(network, grid), model_nll(predict(network, test_inputs), y[NUM_TRAINING:])

        def cosine(epoch: int) -> None:
            rate = settings.lr * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / settings.epochs))
            for group in optimizer.param_groups:
                group["lr"] = rate

        reporter.start("uncertainty", settings.epochs)
        history = fit(
            network,
            objectives.Gaussian(),
            optimizer,
            _training_arrays(x, y),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            seed=seed,
            on_epoch=reporter.epoch,
            callbacks=[cosine],
        )
        reporter.finish()
        after, last = predict(network, grid), model_nll(predict(network, test_inputs), y[NUM_TRAINING:])
        best = true_nll(x[NUM_TRAINING:], y[NUM_TRAINING:])
        summary = {
            "recipe": "uncertainty",
            "test": {"nll": last, "nll_before_training": first, "nll_true_distribution": best, "gap": last - best},
        }
        rows = [
            ["before training", f"{first:.4f}", f"{first - best:+.4f}"],
            ["after training", f"{last:.4f}", f"{last - best:+.4f}"],
            ["true distribution", f"{best:.4f}", f"{0:+.4f}"],
        ]
        reporter.table("1000 test points", ["", "NLL (nats)", "above the true one"], rows)
        checksum = writer.write_weights({name: np.array(v.numpy()) for name, v in network.state_dict().items()})
        writer.write_json(
            "config.json",
            {
                "format": 1,
                "recipe": "uncertainty",
                "seed": seed,
                "settings": asdict(settings),
                "weights_sha256": checksum,
            },
        )
        writer.write_json("metrics.json", summary)
        writer.write_lines("log.jsonl", history.records)
        writer.write("curves.png", _curve(history.series("train_loss")))
        writer.write("uncertainty.png", _bands(x, y, grid[:, 0], before, after))
        writer.write_json("timing.json", timing(started, out))
        writer.commit()
    return summary


def _curve(losses: list[float]) -> bytes:
    """The learning curve."""
    figure, (axes,) = new_figure(6, 3.8)
    axes.plot(range(1, len(losses) + 1), losses, color=COLOURS[0], linewidth=1.5)
    style(axes, "Training loss", "epoch", "negative log-likelihood (nats)")
    return png(figure)


def _bands(x: np.ndarray, y: np.ndarray, grid: np.ndarray, before: np.ndarray, after: np.ndarray) -> bytes:
    """Mean and two standard deviations over the test points, before and after training."""
    figure, panels = new_figure(10, 4.4, 2, share=True)
    for axes, outputs, title in zip(panels, (before, after), ("Before training", "After training")):
        outputs = np.asarray(outputs, np.float64)
        mean, deviation = outputs[:, 0], np.exp(outputs[:, 1])
        axes.scatter(x[NUM_TRAINING:], y[NUM_TRAINING:], s=4, color="#888888", linewidths=0, label="test points")
        axes.fill_between(
            grid, mean - 2 * deviation, mean + 2 * deviation, color=COLOURS[0], alpha=0.22, linewidth=0,
            label="mean ± 2 standard deviations",
        )  # fmt: skip
        axes.plot(grid, mean, color=COLOURS[0], linewidth=1.8, label="mean of the network")
        for side, label in ((-2, "true band, ± 2 standard deviations"), (2, None)):
            axes.plot(grid, grid**2 + side * 0.2 * grid, color=COLOURS[1], linewidth=1.1, linestyle="--", label=label)
        style(axes, title, "x", "y" if axes is panels[0] else "")
        axes.set_ylim(-2.2, 5.8)
        axes.set_xticks([0.0, 0.5, 1.0, 1.5, 2.0])
        axes.margins(x=0.02)
    panels[0].legend(fontsize=8, frameon=False, loc="upper left")
    return png(figure)
