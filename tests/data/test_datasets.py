"""Data sets by name."""

import pytest

from chainrule import config
from chainrule.data import DATASETS, load_dataset
from chainrule.errors import DataError

needs_data = pytest.mark.skipif(config.data_folder() is None, reason="CHAINRULE_DATA is not set")


def test_iris_travels_with_the_package():
    data = load_dataset("iris")
    assert data.table.num_rows == 150
    assert data.table.names == ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"]
    assert data.table.columns["species"].texts.count("setosa") == 50


def test_unknown_and_unavailable(monkeypatch):
    with pytest.raises(DataError, match="did you mean 'titanic'"):
        load_dataset("titanik")
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    with pytest.raises(DataError, match="CHAINRULE_DATA"):
        load_dataset("adult")


@needs_data
@pytest.mark.parametrize(
    ("name", "rows", "columns", "test_rows"),
    [
        ("adult", 32561, 15, 16281),
        ("california-housing", 20640, 10, None),
        ("titanic", 891, 12, None),
        ("wine", 178, 14, None),
        ("breast-cancer", 699, 10, None),
    ],
)
def test_shapes(name, rows, columns, test_rows):
    data = load_dataset(name)
    assert (data.table.num_rows, len(data.table.columns)) == (rows, columns)
    assert data.target in data.table.columns
    assert (data.test.num_rows if data.test else None) == test_rows


def test_every_name_has_a_recipe():
    from chainrule.recipes import RECIPES, SUMMARIES

    assert set(DATASETS) <= set(RECIPES)
    assert set(RECIPES) == set(SUMMARIES)
