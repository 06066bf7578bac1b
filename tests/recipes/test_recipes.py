"""The built-in experiments reach their figures."""

import json
import os

import numpy as np
import pytest

from chainrule import config
from chainrule.errors import ConfigError
from chainrule.recipes import RECIPES, load_recipe
from chainrule.recipes.uncertainty import draw_points, model_nll, true_nll
from chainrule.train.settings import parse_settings

needs_data = pytest.mark.skipif(config.data_folder() is None, reason="CHAINRULE_DATA is not set")


def run(name, out, seed=0, *settings):
    recipe = load_recipe(name)
    return recipe.run(parse_settings(recipe.SETTINGS, settings), seed=seed, out=out)


def test_names():
    for name in RECIPES:
        assert load_recipe(name).run
    with pytest.raises(ConfigError, match="did you mean 'iris'"):
        load_recipe("irsi")


@pytest.mark.parametrize("seed", range(5))
def test_iris(tmp_path, seed):
    metrics = run("iris", tmp_path / "run", seed)
    assert metrics["test"]["accuracy"] >= 0.93
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["model"]["inputs"], config["model"]["hidden"], config["model"]["outputs"]) == (4, [8], 3)


@pytest.mark.parametrize("name", ["iris-optimisers", "iris-learning-rates"])
def test_learning_curves(tmp_path, name):
    metrics = run(name, tmp_path / "run")
    assert len(metrics["loss"]) == 5
    assert sorted(os.listdir(tmp_path / "run")) == [
        "config.json", "curves.png", "log.jsonl", "metrics.json", "timing.json",
    ]  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 5 * metrics["steps"]
    firsts = {losses["first"] for losses in metrics["loss"].values()}
    assert len(firsts) == 1  # all start from the same weights
    if name == "iris-optimisers":
        last = [losses["last"] for losses in metrics["loss"].values()]
        assert max(last[1:]) < last[0]  # plain gradient descent is the slowest
    run(name, tmp_path / "again")
    for file in ("config.json", "curves.png", "log.jsonl", "metrics.json"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "run" / file).read_bytes()


def test_points_of_the_uncertainty_recipe():
    x, y = draw_points(0)
    assert len(x) == len(y) == 5000
    assert x.min() >= 0 and x.max() <= 2
    noise = (y - x**2) / (0.2 * x)
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.03
    outputs = np.stack([x**2, np.log(0.2 * x)], 1)
    assert model_nll(outputs, y) == pytest.approx(true_nll(x, y))


def test_uncertainty(tmp_path):
    metrics = run("uncertainty", tmp_path / "run")
    assert abs(metrics["test"]["gap"]) < 0.02
    assert metrics["test"]["nll_before_training"] > 1
    files = set(os.listdir(tmp_path / "run"))
    assert files >= {"uncertainty.png", "curves.png", "log.jsonl", "metrics.json", "model.safetensors"}


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric", "least"),
    [("adult", "accuracy", 0.85), ("california-housing", "r2", 0.78), ("titanic", "accuracy", 0.78)],
)
def test_tables(tmp_path, name, metric, least):
    """Default settings, mean of three seeds."""
    values = [run(name, tmp_path / str(seed), seed)["test"][metric] for seed in range(3)]
    assert np.mean(values) >= least
