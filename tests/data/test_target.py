"""What a target column is taken for, and its encoding."""

import numpy as np
import pytest

from chainrule.data.table import Column
from chainrule.data.target import ClassTarget, NumberTarget, fit_target, infer_target, target_from_json
from chainrule.errors import ConfigError, DataError


def column(texts):
    return Column("y", [str(text) for text in texts], range(2, 2 + len(texts)))


@pytest.mark.parametrize(
    ("texts", "task"),
    [
        (["yes", "no"] * 10, "classification"),
        ([0, 1] * 10, "classification"),
        ([1, 2, 3] * 20, "classification"),
        (range(100), "regression"),
        ([0.5, 1.0, 1.5] * 20, "regression"),
        (list(range(10)) * 2, "regression"),
        (["1", "2", "many"] * 10, "classification"),
    ],
)
def test_inference(texts, task):
    found, _, sentence = infer_target(column(list(texts)))
    assert found == task
    assert sentence.startswith(task)


def test_classes_are_in_order():
    assert infer_target(column([10, 9, 2] * 10))[1] == ["2", "9", "10"]
    assert infer_target(column(["b", "a", "C"] * 10))[1] == ["C", "a", "b"]
    assert infer_target(column(["1", "1.0", "0", "0"] * 10))[1] == ["0", "1"]


def test_override():
    assert infer_target(column([1, 2, 3] * 20), "regression")[0] == "regression"
    assert infer_target(column([0.5, 1.5] * 20), "classification")[1] == ["0.5", "1.5"]
    with pytest.raises(ConfigError, match="classification"):
        infer_target(column([1, 2]), "ranking")


@pytest.mark.parametrize(
    ("texts", "task", "message"),
    [
        (["a"] * 20, None, "one class only, 'a'"),
        ([1] * 20, None, "one class only, '1'"),
        ([1.5] * 20, None, "the same value, 1.5"),
        ([f"name {i}" for i in range(20)], None, "20 different labels in 20 rows"),
        (["a", "b"] * 20, "regression", "line 2, holds 'a', which is not a number"),
        (["1.5", "inf"] * 20, None, "infinite value 'inf' in line 3"),
    ],
)
def test_unusable_targets(texts, task, message):
    with pytest.raises(DataError, match=message):
        infer_target(column(texts), task)


def test_class_encoding():
    target = ClassTarget("y", ["0", "1"], [0.5, 0.5])
    assert target.encode(column(["1", "0.0", "01"]))[0].tolist() == [1, 0, 1]
    with pytest.raises(DataError, match=r"line 3: the label '2' is not a class"):
        target.encode(column(["1", "2"]))
    with pytest.raises(DataError, match=r"line 3: the label is missing"):
        target.encode(column(["1", ""]))


def test_full_stops_after_labels_are_ignored_and_noted():
    encoded, notes = ClassTarget("y", ["<=50K", ">50K"], [0.7, 0.3]).encode(column([">50K.", "<=50K."]))
    assert encoded.tolist() == [1, 0]
    assert notes == ["2 labels ended in a full stop, which was ignored"]


def test_regression_is_standardised_by_training_rows_alone():
    values = np.array([1.0, 3.0, 1000.0])
    target = fit_target(column(values), "regression", None, np.array([0, 1]))
    assert isinstance(target, NumberTarget)
    assert (target.mean, target.scale) == (2.0, 1.0)
    assert target.encode(column([2, 4]))[0].tolist() == [0, 2]
    with pytest.raises(DataError, match="line 3: the value 'x' is not a number"):
        target.encode(column([1, "x"]))


def test_huge_values_do_not_overflow():
    target = fit_target(column([1e300, -1e300, 3e300]), "regression", None, np.arange(3))
    assert np.isfinite(target.scale)
    assert np.isfinite(target.encode(column([1e300]))[0]).all()


@pytest.mark.parametrize("target", [ClassTarget("y", ["a", "b"], [0.25, 0.75]), NumberTarget("y", 1 / 3, 2e-5)])
def test_json_round_trip(target):
    assert target_from_json(target.to_json()) == target
