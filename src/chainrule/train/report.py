"""The report of a training run: one HTML file with its learning curves, figures and epochs."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence

from .plots import learning_curves

#: rows of the table of epochs; of longer runs it shows evenly spaced ones, the best and the last
TABLE_ROWS = 50

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 sans-serif; color: #333; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; margin: 1em 0; }}
td, th {{ padding: 0.15em 0.9em; text-align: right; border-bottom: 1px solid #ddd; }}
tr.best {{ background: #eaf4ea; }}
img {{ max-width: 100%; display: block; }}
</style></head><body>
<h1>{title}</h1>
<p>{summary}</p>
{pictures}
<table><tr>{heads}</tr>
{rows}
</table>
</body></html>
"""


def _picture(curves: Mapping[str, Sequence[float]], title: str) -> str:
    """An image of curves of one kind, as part of the page."""
    positive = all(value > 0 for values in curves.values() for value in values)
    image = learning_curves(curves, title=title, xlabel="epoch", ylabel=title.lower(), logarithmic=positive)
    return f'<img alt="{html.escape(title)}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'


def report_page(
    records: Sequence[Mapping[str, float]], best_epoch: int, stopped_early: bool, seconds: float, title: str
) -> str:
    """The page's text: losses in one picture, each other quantity in one of its own, and a table of epochs."""
    names = list(dict.fromkeys(name for record in records for name in record if name != "epoch"))
    series = {name: [record[name] for record in records if name in record] for name in names}
    groups: dict[str, dict[str, Sequence[float]]] = {}
    for name in names:
        if all(map(math.isfinite, series[name])):
            label = name.removeprefix("train_").removeprefix("validation_")
            groups.setdefault(label.replace("_", " ").capitalize(), {})[name.replace("_", " ")] = series[name]
    summary = f"{len(records)} epochs in {seconds:.1f} s; the weights are those of epoch {best_epoch}"
    if stopped_early:
        summary += ", after which the validation loss became no smaller, and training stopped"
    every = max(1, math.ceil(len(records) / TABLE_ROWS))
    rows = []
    for number, record in enumerate(records, 1):
        if number % every == 0 or number in (1, best_epoch, len(records)):
            cells = [f"<td>{number}</td>"]
            cells += [f"<td>{record[name]:.6g}</td>" if name in record else "<td></td>" for name in names]
            start = '<tr class="best">' if number == best_epoch else "<tr>"
            rows.append(f"{start}{''.join(cells)}</tr>")
    heads = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in ["epoch", *names])
    pictures = "\n".join(_picture(curves, label) for label, curves in groups.items())
    return _PAGE.format(
        title=html.escape(title), summary=html.escape(summary) + ".", pictures=pictures, heads=heads,
        rows="\n".join(rows),
    )  # fmt: skip
