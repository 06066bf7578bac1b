"""Iris: 150 flowers, four measurements, three species; the 4-8-3 network of the lecture.

One hidden layer of eight rectified linear units, cross-entropy, Adam on the full batch. A fifth of the rows is
held out for testing and a fifth chooses the epoch whose weights are kept.

Reference: R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936.
"""

from __future__ import annotations

from ..train.settings import TableSettings
from .tables import TableRecipe

SETTINGS = TableSettings(
    epochs=300,
    lr=1e-2,
    batch_size=150,
    hidden=(8,),
    dropout=0.0,
    weight_decay=5e-3,
    optimizer="adam",
    patience=60,
    validation_fraction=0.2,
    test_fraction=0.2,
)


def recipe(name: str) -> TableRecipe:
    """The recipe: the data set with these settings."""
    return TableRecipe(name, SETTINGS)
