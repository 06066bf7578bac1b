"""Settings written as ``key=value``, checked against a dataclass of defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

from ..data.table import help_nearest
from ..errors import ConfigError

S = TypeVar("S")


def setting(default: Any, least: float | None = None, most: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A dataclass field of a setting: its default and the values accepted (bounds included)."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most, "choices": choices})


@dataclasses.dataclass(frozen=True)
class TableSettings:
    """Settings of training on a table.

    The defaults were chosen on the Adult, California housing and Titanic data sets. ``batch_size`` 0 means by
    the number of rows; ``patience`` is the number of epochs without a better validation loss before training
    stops (0: never); ``drop`` and ``keep`` name columns.
    """

    epochs: int = setting(200, 1, 1_000_000)
    lr: float = setting(1e-3, 1e-12, 1e3)
    batch_size: int = setting(0, 0, 1 << 30)
    hidden: tuple[int, ...] = setting((64, 64), 1, 65536)
    activation: str = setting("relu", choices=("relu", "elu", "tanh"))
    dropout: float = setting(0.1, 0, 0.99)
    weight_decay: float = setting(1e-2, 0, 1e3)
    optimizer: str = setting("adamw", choices=("adamw", "adam", "sgd"))
    momentum: float = setting(0.9, 0, 0.9999)
    patience: int = setting(15, 0, 1_000_000)
    validation_fraction: float = setting(0.15, 0, 0.9)
    test_fraction: float = setting(0.15, 0, 0.9)
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


def _number(key: str, text: str, kind: type, metadata: Any) -> Any:
    try:
        value = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{key} must be {what}, not {text!r}") from None
    least, most = metadata.get("least"), metadata.get("most")
    if value != value or (least is not None and value < least) or (most is not None and value > most):
        raise ConfigError(f"{key} must lie between {least:g} and {most:g}, not {text}")
    return value


def _parse(key: str, text: str, default: Any, metadata: Any) -> Any:
    """The value that `text` spells, of the kind that the default has."""
    if isinstance(default, tuple):
        if key in ("drop", "keep"):
            return tuple(part.strip() for part in text.split(",") if part.strip())
        parts = [part for part in text.replace(",", "-").split("-") if part]
        kind = float if default and isinstance(default[0], float) else int
        if kind is float:  # a minus or an exponent may be part of a number: commas only
            parts = [part for part in text.split(",") if part]
        return tuple(_number(key, part, kind, metadata) for part in parts)
    if isinstance(default, str):
        choices = metadata.get("choices", ())
        if choices and text not in choices:
            raise ConfigError(f"{key} must be one of {', '.join(choices)}, not {text!r}")
        return text
    return _number(key, text, type(default), metadata)


def parse_settings(defaults: S, pairs: Iterable[str]) -> S:
    """A copy of a settings dataclass with ``key=value`` texts applied.

    Raises:
        ConfigError: no equals sign, an unknown key (the nearest is named), a key given twice, or a
            value of the wrong kind or range.
    """
    fields = {field.name: field for field in dataclasses.fields(defaults)}  # type: ignore[arg-type]
    changes: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise ConfigError(
                f"{pair!r} is not a setting of the form key=value\n{help_nearest(pair, [*fields], 'keys')}"
            )
        if key not in fields:
            raise ConfigError(f"there is no setting {key!r}\n{help_nearest(key, [*fields], 'settings')}")
        if key in changes:
            raise ConfigError(f"the setting {key!r} is given twice")
        changes[key] = _parse(key, text.strip(), getattr(defaults, key), fields[key].metadata)
    return dataclasses.replace(defaults, **changes)  # type: ignore[type-var]
