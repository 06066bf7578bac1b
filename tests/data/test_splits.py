"""Splits: complete, disjoint, stratified, a function of the seed."""

import numpy as np
import pytest

from chainrule.data import split_rows
from chainrule.errors import ConfigError, DataError


@pytest.mark.parametrize("rows", [10, 11, 97, 150, 1000])
@pytest.mark.parametrize("stratified", [False, True])
def test_parts_are_a_partition(rows, stratified):
    labels = np.arange(rows) % 3 if stratified else None
    parts = split_rows(rows, 7, labels=labels)
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert all(len(part) for part in parts)
    assert [len(part) for part in parts[1:]] == [round(0.15 * rows)] * 2


def test_seed_decides():
    first, again, other = (split_rows(100, seed)[0].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_stratified_shares():
    labels = np.repeat([0, 1, 2], [700, 200, 100])
    for part, size in zip(split_rows(1000, 3, 0.2, 0.2, labels), (600, 200, 200)):
        shares = np.bincount(labels[part]) / size
        assert np.abs(shares - [0.7, 0.2, 0.1]).max() < 0.01


def test_every_class_is_in_training():
    labels = np.array([0] * 50 + [1] * 48 + [2, 3])
    for seed in range(20):
        training = split_rows(100, seed, 0.4, 0.4, labels)[0]
        assert set(labels[training]) == {0, 1, 2, 3}


def test_no_test_part():
    training, validation, test = split_rows(100, 0, 0.2, 0.0)
    assert (len(training), len(validation), len(test)) == (80, 20, 0)


@pytest.mark.parametrize(("validation", "test"), [(-0.1, 0.1), (0.1, 1.0), (0.5, 0.5), (0.9, 0.2)])
def test_bad_fractions(validation, test):
    with pytest.raises(ConfigError):
        split_rows(100, 0, validation, test)


def test_too_few_rows():
    with pytest.raises(DataError, match="too few"):
        split_rows(3, 0)
