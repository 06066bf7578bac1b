"""The examples in the docstrings of layers, functions, optimisers and objectives are executed."""

import doctest
import importlib
import pkgutil

import pytest

import chainrule


def modules():
    for package in ("functional", "nn", "optim", "objectives"):
        root = importlib.import_module(f"chainrule.{package}")
        for info in pkgutil.iter_modules(root.__path__, root.__name__ + "."):
            yield info.name


@pytest.mark.parametrize("name", list(modules()))
def test_examples(name):
    chainrule.manual_seed(0)
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
