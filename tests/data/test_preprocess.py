"""Preprocessing: kinds of columns, missing and unseen values, no influence of other than training rows."""

import json

import numpy as np
import pytest

from chainrule.data.bins import cut_points
from chainrule.data.preprocess import Preprocessor, normal_scores
from chainrule.data.table import Column, Table
from chainrule.errors import DataError


def table(**columns):
    built = {
        name: Column(name, ["" if t is None else str(t) for t in texts], range(2, 2 + len(texts)))
        for name, texts in columns.items()
    }
    return Table(built, "table.csv")


def fit(data, rows=None, targets=None, **options):
    rows = np.arange(data.num_rows) if rows is None else rows
    return Preprocessor.fit(data, rows, targets, **options)


def test_numbers_are_standardised():
    data = table(a=[1, 2, 4, 5] * 5)
    inputs, warnings = fit(data).transform(data)
    assert inputs.dtype == np.float32
    assert abs(inputs.mean()) < 1e-6
    assert abs(inputs.std() - 1) < 1e-6
    assert warnings == []


def test_missing_numbers_get_the_training_median_and_an_indicator():
    data = table(a=[1, 2, None, 3, 100, 2.5])
    preprocessor = fit(data, np.arange(4))
    assert preprocessor.features == ["a", "a is missing"]
    inputs, _ = preprocessor.transform(data)
    assert inputs[2].tolist() == [0, 1]  # the median of 1, 2, 3 is their mean too
    assert inputs[:, 1].tolist() == [0, 0, 1, 0, 0, 0]


def test_categories_are_one_hot():
    data = table(c=["x", "y", "x", "y", "z", "z"])
    preprocessor = fit(data)
    assert preprocessor.features == ["c = x", "c = y", "c = z"]
    assert preprocessor.transform(data)[0].tolist()[:3] == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_unseen_categories_count_as_missing_with_a_warning():
    training = table(c=["x", "y", "", "x", "y", "x"])
    preprocessor = fit(training)
    inputs, warnings = preprocessor.transform(table(c=["x", "new", "newer", ""]))
    assert inputs.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1]]
    assert warnings == ["'c': 2 values were not seen in training ('new', 'newer'); treated as missing"]


def test_rare_categories_count_as_missing_without_a_warning():
    data = table(c=["x"] * 300 + ["y"] * 100 + ["rare"])
    preprocessor = fit(data)
    assert preprocessor.features == ["c = x", "c = y", "c is missing or rare"]
    assert "1 of 3 categories are rare" in preprocessor.notes[0]
    assert preprocessor.transform(table(c=["rare"])) == (pytest.approx(np.array([[0, 0, 1]])), [])


def test_row_numbers_constants_and_names_are_left_out_with_a_note():
    data = table(
        id=range(1, 61), same=["k"] * 60, name=[f"person {i}" for i in range(60)], a=np.sin(np.arange(60)).tolist()
    )
    preprocessor = fit(data)
    assert preprocessor.features == ["a"]
    assert [note.split("'")[1] for note in preprocessor.notes] == ["id", "same", "name"]
    assert fit(data, keep=("id",)).features == ["id", "a"]


def test_texts_that_differ_but_are_often_missing_keep_their_indicator():
    data = table(cabin=[f"C{i}" if i % 3 == 0 else None for i in range(60)])
    assert fit(data).features == ["cabin is missing"]


def test_numbers_with_a_few_texts_are_numbers():
    values = [str(i / 7) for i in range(50)] + ["unknown"]
    preprocessor = fit(table(a=values))
    assert preprocessor.features == ["a", "a is missing"]
    assert "holds numbers, except in 1" in preprocessor.notes[0]
    _, warnings = preprocessor.transform(table(a=["1", "a lot"]))
    assert warnings == ["'a': 1 values are not numbers (such as 'a lot'); treated as missing"]


def test_heavy_tails_are_ranked():
    generator = np.random.default_rng(0)
    values = np.exp(3 * generator.standard_normal(2000))
    data = table(a=values.tolist())
    preprocessor = fit(data)
    inputs = preprocessor.transform(data)[0][:, 0]
    assert len(preprocessor.encoders[0].knots) > 100
    assert np.abs(inputs).max() < 3
    assert abs(inputs.std() - 1) < 0.05
    order = np.argsort(values)
    assert np.all(np.diff(inputs[order]) >= 0)


def test_normal_scores_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    for count in (2, 11, 129):
        expected = stats.norm.ppf((np.arange(count) + 0.5) / count)
        assert np.abs(normal_scores(count) - expected).max() < 5e-4


def test_cut_points_find_the_steps():
    values = np.random.default_rng(1).uniform(0, 1, 2000)
    targets = np.select([values < 0.2, values < 0.7], [0.0, 5.0], 1.0)[:, None]
    cuts = cut_points(values, targets, 3, 20)
    assert cuts == pytest.approx([0.2, 0.7], abs=2e-3)
    assert len(cut_points(values, np.ones((2000, 1)), 3, 20)) == 0
    assert len(cut_points(np.ones(100), np.arange(100.0)[:, None], 3, 5)) == 0


def test_intervals_of_numeric_columns():
    generator = np.random.default_rng(2)
    values = generator.uniform(0, 1, 2000)
    data = table(a=values.tolist())
    preprocessor = fit(data, targets=(values > 0.5).astype(float)[:, None])
    steps = preprocessor.transform(table(a=["-5", "0.25", "0.5", "0.75", "7"]))[0][:, 1:]
    assert ((steps >= 0) & (steps <= 1)).all()
    assert steps[0].tolist() == [0] * steps.shape[1]
    assert steps[-1].tolist() == [1] * steps.shape[1]


def test_only_training_rows_have_influence():
    generator = np.random.default_rng(3)
    values = generator.standard_normal(1500).tolist()
    texts = generator.choice(["a", "b"], 1500).tolist()
    targets = generator.standard_normal((1000, 1))
    first = table(x=values, c=texts)
    second = table(x=values[:1000] + [None, "text"] * 250, c=texts[:1000] + ["other"] * 500)
    rows = np.arange(1000)
    assert fit(first, rows, targets).to_json() == fit(second, rows, targets).to_json()


def test_json_round_trip():
    generator = np.random.default_rng(4)
    data = table(
        a=np.exp(2 * generator.standard_normal(1200)).tolist(),
        b=[None, 1, 2, 4] * 300,
        c=["x", "y", None] * 400,
        d=[f"t{i}" if i % 2 else None for i in range(1200)],
    )
    preprocessor = fit(data, targets=generator.standard_normal((1200, 1)))
    copy = Preprocessor.from_json(json.loads(json.dumps(preprocessor.to_json())))
    assert copy.features == preprocessor.features
    assert np.array_equal(copy.transform(data)[0], preprocessor.transform(data)[0])


def test_unusable_columns():
    with pytest.raises(DataError, match=r"column 'b' holds missing values only\nhelp: .*drop=b"):
        fit(table(a=[1, 2, 3], b=["", "?", "NA"]))
    with pytest.raises(DataError, match="no column is left"):
        fit(table(a=["same"] * 10))
    with pytest.raises(DataError, match="infinite value 'inf' in line 3"):
        fit(table(a=[1, "inf", 3]))
    with pytest.raises(DataError, match=r"has no column 'length'[^\n]*\nhelp: did you mean 'lenght'"):
        fit(table(length=[1, 2, 4])).transform(table(lenght=[1, 2]))


def test_a_column_without_a_training_value_is_left_out():
    preprocessor = fit(table(a=[1, 2, 4, 5], b=["", "", "", "7"]), np.arange(3))
    assert preprocessor.features == ["a"]
    assert "no value in the training rows" in preprocessor.notes[0]


def test_huge_values_do_not_overflow():
    data = table(a=[1e300, -1e300, 2e299, 5e299])
    assert np.isfinite(fit(data).transform(data)[0]).all()
