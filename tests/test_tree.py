"""Trees: containers of every kind, paths, reductions, messages."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError

Pair = namedtuple("Pair", "x y")


@dataclass(frozen=True)
class Settings:
    weight: Any
    name: str = field(default="s", metadata={"static": True})


@dataclass
class Two:
    """Two fields of which the first holds a tuple, as the names of fields do."""

    first: Any
    second: Any


TREE = {
    "b": [1, (2, None)],
    "a": Pair(3, {"z": 4, "y": 5}),
    "c": Settings(6, "six"),
    "d": OrderedDict([("q", 7), ("p", 8)]),
    "e": Two((9,), 10),
}
LEAVES = [3, 5, 4, 1, 2, 6, 8, 7, 9, 10]
PATHS = [
    "['a'].x", "['a'].y['y']", "['a'].y['z']", "['b'][0]", "['b'][1][0]", "['c'].weight", "['d']['p']", "['d']['q']",
    "['e'].first[0]", "['e'].second",
]  # fmt: skip


def test_there_and_back() -> None:
    leaves, definition = cr.tree_flatten(TREE)
    assert leaves == LEAVES and definition.num_leaves == 10
    assert cr.tree_leaves(TREE) == LEAVES
    assert cr.tree_leaves_with_path(TREE) == list(zip(PATHS, LEAVES))
    again = cr.tree_unflatten(definition, leaves)
    assert again == {**TREE, "d": {"p": 8, "q": 7}}
    assert again["c"].name == "six" and isinstance(again["a"], Pair) and isinstance(again["d"], OrderedDict)
    assert cr.tree_structure(TREE) == definition
    assert cr.tree_structure({"c": Settings(1, "a")}) != cr.tree_structure({"c": Settings(1, "b")})
    groups = defaultdict(list, k=[1, 2])
    assert cr.tree_leaves(groups) == [1, 2] and cr.tree_map(str, groups) == {"k": ["1", "2"]}
    assert cr.tree_map(str, groups).default_factory is list
    assert cr.tree_leaves(None) == [] and cr.tree_leaves(5) == [5]


def test_keys_of_several_types_have_one_order() -> None:
    assert cr.tree_map(lambda a, b: a + b, {1: 1, "a": 2}, {"a": 20, 1: 10}) == {1: 11, "a": 22}
    assert cr.tree_leaves({"b": 1, 2: 3, "a": 4, 1: 5}) == [5, 3, 4, 1]


class Scaled(nn.Module):
    """A setting that has no truth value when compared."""

    def __init__(self, scale: Any):
        super().__init__()
        self.scale = scale


def test_structures_are_keys() -> None:
    one, other = (cr.tree_structure({"c": Settings(1, name)}) for name in "ab")
    assert len({one, other, cr.tree_structure({"c": Settings(2, "a")})}) == 2
    assert repr(one) == "dict('c': Settings('weight': *, (('name', 'a'),)))"
    assert len({cr.tree_structure(nn.Dropout(rate)) for rate in (0.25, 0.5, 0.25)}) == 2
    assert cr.tree_structure(Scaled(np.ones(2))) != cr.tree_structure(Scaled(np.zeros(2)))
    assert "'p': 0.25" in repr(cr.tree_structure(nn.Dropout(0.25)))


def test_maps() -> None:
    doubled = cr.tree_map(lambda leaf: 2 * leaf, TREE)
    assert cr.tree_leaves(doubled) == [2 * leaf for leaf in LEAVES]
    assert cr.tree_leaves(cr.tree_map(lambda a, b, c: a + b + c, TREE, doubled, TREE)) == [4 * leaf for leaf in LEAVES]
    pairs = cr.tree_map_with_path(lambda path, leaf: (path, leaf), TREE)
    assert cr.tree_leaves(pairs["b"]) == ["['b'][0]", 1, "['b'][1][0]", 2]
    assert cr.tree_map_with_path(lambda path, a, b: path + str(a + b), [1], [2]) == ["[0]3"]
    assert cr.tree_map(len, {"a": [1, 2]}, is_leaf=lambda value: isinstance(value, list)) == {"a": 2}
    assert cr.tree_leaves([(1, 2), 3], is_leaf=lambda value: isinstance(value, tuple)) == [(1, 2), 3]


def test_reductions() -> None:
    assert cr.tree_reduce(lambda a, b: a + b, TREE) == 55
    assert cr.tree_reduce(lambda a, b: a + str(b), [1, {"k": 2}], "x") == "x12"
    assert cr.tree_reduce(max, [], 3) == 3
    assert cr.tree_all([True, {"k": 1}]) and not cr.tree_all([True, {"k": 0}]) and cr.tree_all([])


def test_modules() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    paths = [path for path, _ in cr.tree_leaves_with_path(model)]
    assert set(paths) == {"." + name.replace(".", ".") for name in model.state_dict()}
    zeros = cr.tree_map(cr.zeros_like, model)
    assert isinstance(zeros, nn.Sequential) and float(abs(zeros[0].weight).sum()) == 0
    assert float(abs(model[0].weight).sum()) > 0
    total = cr.tree_reduce(lambda a, b: a + b.size, model, 0)
    assert total == 6 + 3 + 3 + 3 + 3 + 3 + 1


def test_stop_gradient() -> None:
    x = cr.asarray(np.array([1.0, 2.0]))

    def f(x: Any) -> Any:
        kept = cr.stop_gradient({"k": x, "name": "text", "n": 2})
        return (kept["k"] * x * kept["n"]).sum()

    assert cr.grad(f)(x).tolist() == [2, 4]
    assert cr.jvp(f, (x,), (x,))[1].item() == 10
    assert cr.vmap(cr.grad(lambda x: cr.stop_gradient(x) * x))(x).tolist() == [1, 2]
    assert cr.hessian(f)(x).tolist() == [[0, 0], [0, 0]]


def test_messages() -> None:
    with pytest.raises(ConfigError) as caught:
        cr.tree_map(lambda a, b: a, [1], (1,))
    assert str(caught.value).splitlines()[0] == "tree_map: tree 1 has structure tuple(*), the first has list(*)"
    with pytest.raises(ConfigError) as caught:
        cr.tree_reduce(max, {})
    assert str(caught.value).splitlines()[0] == "tree_reduce: a tree without leaves needs an initial value"
    with pytest.raises(ConfigError) as caught:
        cr.tree_unflatten(cr.tree_structure([1, 2]), [1])
    assert str(caught.value).splitlines()[0] == "tree_unflatten: 1 leaves for a tree of 2"
