"""``chainrule predict``: predictions of a trained run for the rows of a table."""

from __future__ import annotations

import argparse
import sys

from ..data.csvfile import read_csv
from ..data.storage import csv_text, write_csv
from ..train.saved import SavedModel
from .console import warn


def predict(options: argparse.Namespace) -> None:
    """Write (or print) a row of predictions for each row of the table, in its order."""
    saved = SavedModel(options.folder)
    first = saved.preprocessor.encoders[0].name  # a name that a header, if there is one, has to hold
    table = read_csv(options.file, target=first, header=options.header)
    header, rows, warnings = saved.predict(table)
    for text in [*table.notes, *warnings]:
        warn(text)
    if options.out:
        write_csv(options.out, header, rows)
        print(f"{len(rows)} predictions in {options.out}", file=sys.stderr)
    else:
        sys.stdout.write(csv_text(header, rows))
