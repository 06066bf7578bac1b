"""``chainrule evaluate``: metrics of a trained run on a table, beside the trivial baseline."""

from __future__ import annotations

import argparse

from ..data.csvfile import read_csv
from ..data.storage import write_atomically
from ..train.runfolder import json_text
from ..train.saved import SavedModel
from ..train.tabular import metric_rows
from .console import print_table, warn


def evaluate(options: argparse.Namespace) -> None:
    """Print the metrics; with ``--json`` write them too."""
    saved = SavedModel(options.folder)
    table = read_csv(options.file, target=saved.target.name, header=options.header)
    results, warnings = saved.evaluate(table)
    for text in [*table.notes, *warnings]:
        warn(text)
    if table.digest and table.digest == saved.config.get("data_sha256"):
        warn("this is the file that the model was trained on: these figures include rows that it has seen")
    against = "most frequent" if saved.target.task == "classification" else "mean"
    columns = {f"model\n{table.num_rows} rows": results["model"], f"baseline\n{against}": results["baseline"]}
    print_table(f"{options.folder} on {options.file}: {saved.target.name}", *metric_rows(columns))
    if options.json:
        write_atomically(options.json, json_text({"task": saved.target.task, **results}))
