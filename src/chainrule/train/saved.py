"""`SavedModel`: a trained table model read back from its run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..data.preprocess import Preprocessor
from ..data.table import Table
from ..data.target import ClassTarget, target_from_json
from ..errors import ChainruleError, DataError, RunError
from ..functions import tensor
from . import metrics, tabular
from .loop import predict
from .runfolder import load_run


class SavedModel:
    """The network, preprocessing and target of a run folder.

    Attributes: ``model``; ``preprocessor``; ``target``; ``config``, the contents of ``config.json``.

    Raises:
        RunError: the folder is missing, damaged, or holds no model of tables.
    """

    def __init__(self, path: str | Path):
        folder = Path(path)
        self.config, weights = load_run(folder)
        try:
            self.preprocessor = Preprocessor.from_json(self.config["columns"])
            self.target = target_from_json(self.config["target"])
            description = self.config["model"]
            width = len(self.preprocessor.features)
            if description["inputs"] != width or description["outputs"] != self.target.num_outputs:
                raise ValueError("the model does not fit the columns")
            self.model = tabular.build_model(description)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{folder / 'config.json'} is damaged or of another kind of run: {error!r}") from None

        try:
            self.model.load_state_dict({name: tensor(array) for name, array in weights.items()})
        except (ChainruleError, KeyError, ValueError, RuntimeError) as error:
            raise RunError(f"{folder / 'model.safetensors'} does not fit config.json: {error}") from None
        self.model.eval()

    def outputs(self, table: Table) -> tuple[np.ndarray, list[str]]:
        """(rows, outputs) of the network for a table, and warnings."""
        inputs, warnings = self.preprocessor.transform(table)
        return predict(self.model, inputs), warnings

    def predict(self, table: Table) -> tuple[list[str], list[list[Any]], list[str]]:
        """(header, rows, warnings) of predictions: a class and the probability of each class, or a mean and a
        standard deviation in the target's own units."""
        outputs, warnings = self.outputs(table)
        target = self.target
        if isinstance(target, ClassTarget):
            probabilities = np.exp(metrics.log_softmax(outputs))
            header = ["prediction", *(f"probability_{label}" for label in target.classes)]
            rows = [[target.classes[int(row.argmax())], *(f"{value:.6g}" for value in row)] for row in probabilities]
            return header, rows, warnings
        mean, deviation = tabular.own_units(outputs, target)
        rows = [[f"{m:.8g}", f"{s:.6g}"] for m, s in zip(mean, deviation)]
        return ["mean", "standard_deviation"], rows, warnings

    def evaluate(self, table: Table) -> tuple[dict[str, dict[str, float]], list[str]]:
        """Metrics on a table that has the target column, beside the trivial baseline's, and warnings.

        Raises:
            DataError: the target is not a column of it, or has no value or an unknown one.
        """
        notes: list[str] = []
        name = self.target.name
        table.column(name, "the target")
        table = tabular._present(table, name, notes)
        if table.num_rows == 0:
            raise DataError(f"{table.source} has no rows")
        encoded, more = self.target.encode(table.columns[name])
        outputs, warnings = self.outputs(table)
        results = {
            "model": tabular.measure(outputs, encoded, self.target),
            "baseline": tabular.baseline(encoded, self.target),
        }
        return results, notes + more + warnings
