"""Settings as key=value."""

import pytest

from chainrule.errors import ConfigError
from chainrule.recipes.iris_learning_rates import Settings
from chainrule.train.settings import TableSettings, parse_settings


def test_values_of_all_kinds():
    settings = parse_settings(
        TableSettings(),
        ["epochs=5", "lr=1e-2", "hidden=32-16", "activation=elu", "drop=a, b", "weight-decay=0", "batch_size=64"],
    )
    assert (settings.epochs, settings.lr, settings.hidden) == (5, 0.01, (32, 16))
    assert (settings.activation, settings.drop, settings.weight_decay) == ("elu", ("a", "b"), 0.0)
    assert parse_settings(TableSettings(), ["hidden="]).hidden == ()
    assert parse_settings(TableSettings(), ["hidden=100"]).hidden == (100,)
    assert parse_settings(Settings(), ["rates=1e-3,0.5"]).rates == (1e-3, 0.5)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("epoch=5", "no setting 'epoch'\nhelp: did you mean 'epochs'"),
        ("epochs", "not a setting of the form key=value\nhelp: did you mean 'epochs'"),
        ("epochs=many", "epochs must be a whole number, not 'many'"),
        ("epochs=0", "epochs must lie between 1 and"),
        ("lr=nan", "lr must lie between"),
        ("lr=fast", "lr must be a number"),
        ("dropout=1", "dropout must lie between 0 and 0.99"),
        ("activation=relo", "activation must be one of relu, elu, tanh"),
        ("hidden=64-x", "hidden must be a whole number"),
    ],
)
def test_bad_values(pair, message):
    with pytest.raises(ConfigError, match=message):
        parse_settings(TableSettings(), [pair])


def test_twice():
    with pytest.raises(ConfigError, match="given twice"):
        parse_settings(TableSettings(), ["lr=1", "lr=2"])
