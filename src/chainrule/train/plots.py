"""Pictures of runs, drawn by matplotlib's Agg canvas directly (its pyplot layer would cost start-up time)."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

#: colours that remain distinct for most colour-blind readers (Okabe and Ito, 2008)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_INK, _GRID = "#333333", "#dddddd"


def new_figure(width: float, height: float, columns: int = 1, share: bool = False) -> tuple[Any, list[Any]]:
    """(figure, axes) of the given size in inches, with panels side by side and a canvas to draw on.

    The margins are computed here: matplotlib's automatic layouts would draw everything twice.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, columns, sharey=share, squeeze=False)[0]
    panel = (width - 0.75) / columns  # inches, what the margins leave of the width
    gap = 0.3 if share else 0.75
    figure.subplots_adjust(
        left=0.65 / width,
        right=1 - 0.12 / width,
        bottom=0.5 / height,
        top=1 - 0.35 / height,
        wspace=gap / (panel - gap * (columns - 1) / columns),
    )
    return figure, list(panels)


def style(axes: Any, title: str, xlabel: str, ylabel: str) -> None:
    """Titles, a light grid, and no box above and to the right."""
    axes.set_title(title, fontsize=11, color=_INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=10, color=_INK)
    axes.set_ylabel(ylabel, fontsize=10, color=_INK)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")


def png(figure: Any) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def training_curves(
    epochs: Sequence[float],
    losses: Mapping[str, Sequence[float]],
    scores: Mapping[str, Sequence[float]],
    *,
    score_label: str,
    best_epoch: int = 0,
    baselines: dict[str, float] | None = None,
    title: str = "",
) -> bytes:
    """Loss and score against the epoch, side by side, as a PNG file.

    Args:
        epochs: x values.
        losses, scores: curves by their names in the legend.
        score_label: y axis of the right panel.
        best_epoch: marked by a line; 0 for none.
        baselines: "loss" and "score" of the trivial model, as dotted lines.
        title: of the left panel.
    """
    figure, panels = new_figure(9, 3.8, 2)
    baselines = baselines or {}
    colours: dict[str, str] = {}
    for axes, curves, key in zip(panels, (losses, scores), ("loss", "score")):
        for name, values in curves.items():
            colour = colours.setdefault(name, COLOURS[len(colours)])  # a name has one colour in both panels
            marker = "o" if len(epochs) < 3 else None
            axes.plot(epochs, values, color=colour, linewidth=1.6, label=name, marker=marker, markersize=4)
        if key in baselines:
            axes.axhline(baselines[key], color="#777777", linestyle=":", linewidth=1.3, label="trivial baseline")
        if best_epoch:
            axes.axvline(best_epoch, color="#999999", linestyle="--", linewidth=1.0, label=f"best epoch, {best_epoch}")
        axes.margins(x=0.02)
    style(panels[0], title or "Loss", "epoch", "negative log-likelihood (nats)")
    style(panels[1], f"{title.partition(':')[0]}: {score_label}", "epoch", score_label)
    for axes in panels:
        axes.legend(fontsize=8, frameon=False, labelcolor=_INK)
    return png(figure)


def calibration_diagram(found: Sequence[Mapping[str, float]], title: str) -> bytes:
    """Accuracy against confidence, the areas of the points by their number of rows, as a PNG file."""
    figure, (axes,) = new_figure(4.6, 4.6)
    total = sum(part["count"] for part in found)
    x, y = ([part[name] for part in found] for name in ("confidence", "accuracy"))
    axes.plot([0, 1], [0, 1], color="#999999", linestyle="--", linewidth=1.0)
    axes.plot(x, y, color=COLOURS[0], linewidth=1.2)
    axes.scatter(x, y, s=[15 + 250 * part["count"] / total for part in found], color=COLOURS[0])
    axes.set_xlim(0, 1.02)
    axes.set_ylim(-0.02, 1.05)
    style(axes, title, "confidence", "accuracy")
    return png(figure)


def learning_curves(
    curves: Mapping[str, Sequence[float]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    dashed: Collection[str] = (),
    logarithmic: bool = True,
) -> bytes:
    """Curves of several runs in one panel, as a PNG file; values against their number from 1.

    The names in `dashed` are drawn so, for curves that lie on others.
    """
    figure, (axes,) = new_figure(7.5, 4.6)
    for (name, values), colour in zip(curves.items(), COLOURS):
        dash = "--" if name in dashed else "-"
        axes.plot(range(1, len(values) + 1), values, color=colour, linestyle=dash, linewidth=1.7, label=name)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    style(axes, title, xlabel, ylabel)
    axes.margins(x=0.02)
    axes.legend(fontsize=9, frameon=False, labelcolor=_INK)
    return png(figure)
