"""Data sets by name: iris travels with the package, the others are read from the folder ``CHAINRULE_DATA``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import config
from ..errors import DataError
from .csvfile import read_csv
from .table import Column, Table, help_nearest


@dataclass
class Dataset:
    """A data set: where its files are, what to predict, and the split that is customary for it.

    Attributes: ``table``; ``target``; ``test``, the official test table or None; ``settings``, changes of
    the default settings; ``path``.
    """

    table: Table
    target: str
    path: Path
    test: Table | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def _split(names: str) -> list[str]:
    return names.split(",")


_ADULT = _split(
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,"
    "capital_gain,capital_loss,hours_per_week,native_country,income"
)
_WINE = _split(
    "alcohol,malic_acid,ash,alcalinity_of_ash,magnesium,total_phenols,flavanoids,nonflavanoid_phenols,"
    "proanthocyanins,color_intensity,hue,od280_od315,proline,cultivar"
)
_CANCER = _split(
    "clump_thickness,uniformity_of_cell_size,uniformity_of_cell_shape,marginal_adhesion,"
    "single_epithelial_cell_size,bare_nuclei,bland_chromatin,normal_nucleoli,mitoses,class"
)


def _folder(name: str) -> Path:
    """The folder of real data sets."""
    folder = config.data_folder()
    if folder is None:
        raise DataError(f"the data set {name!r} is not here\nhelp: set CHAINRULE_DATA to the folder of the data sets")
    return folder


def _named(path: Path, names: list[str]) -> Table:
    """A file without a header, its columns named."""
    table = read_csv(path, header=False)
    if len(table.columns) != len(names):
        raise DataError(f"{path} has {len(table.columns)} columns, not the {len(names)} of the data set")
    columns = {name: Column(name, column.texts, column.lines) for name, column in zip(names, table.columns.values())}
    return Table(columns, table.source, True, table.digest, table.notes)


def _iris() -> Dataset:
    path = Path(__file__).parent / "files" / "iris.csv"
    return Dataset(read_csv(path, header=True), "species", path)


def _adult() -> Dataset:
    path = _folder("adult") / "adult" / "adult-train.csv"
    test = _named(path.with_name("adult-test.csv"), _ADULT)
    return Dataset(_named(path, _ADULT), "income", path, test)


def _california_housing() -> Dataset:
    path = _folder("california-housing") / "california_housing" / "housing.csv"
    return Dataset(read_csv(path, header=True), "median_house_value", path)


def _titanic() -> Dataset:
    path = _folder("titanic") / "titanic" / "train.csv"
    return Dataset(read_csv(path, header=True), "Survived", path, settings={"test_fraction": 0.2})


def _wine() -> Dataset:
    path = _folder("wine") / "small_uci" / "wine.csv"
    return Dataset(_named(path, _WINE), "cultivar", path)


def _breast_cancer() -> Dataset:
    path = _folder("breast-cancer") / "small_uci" / "breast-cancer-wisconsin.csv"
    return Dataset(_named(path, _CANCER), "class", path)


#: name -> reader
DATASETS = {
    "iris": _iris,
    "adult": _adult,
    "california-housing": _california_housing,
    "titanic": _titanic,
    "wine": _wine,
    "breast-cancer": _breast_cancer,
}


def load_dataset(name: str) -> Dataset:
    """Read a data set by name.

    Raises:
        DataError: no such name, ``CHAINRULE_DATA`` is not set, or the files are not there.
    """
    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r}\n{help_nearest(name, [*DATASETS], 'data sets')}")
    return DATASETS[name]()
