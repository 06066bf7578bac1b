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


ROOMS = (
    "functional.adaptive functional.attention functional.convolution functional.embedding functional.normalisation "
    "functional.padding functional.pooling functional.recurrence functional.resampling nn.attention nn.cache "
    "nn.convolution nn.graph nn.normalisation nn.pooling nn.positions nn.recurrent nn.resampling nn.sparse "
    "nn.transformer"
)


@pytest.mark.parametrize("name", ROOMS.split())
def test_what_users_call_has_an_example(name):
    room = importlib.import_module(f"chainrule.{name}")
    public = importlib.import_module(f"chainrule.{name.split('.')[0]}").__all__
    found = [word for word in public if getattr(getattr(room, word, None), "__module__", "") == room.__name__]
    assert found and [word for word in found if ">>>" not in getattr(room, word).__doc__] == []
