"""The rows of the markers of calls with derivatives written by hand; their rules are tested in test_custom.py."""

from __future__ import annotations

from chainrule.ops.custom import Rule

from .table import case, floats, integers, row

RULE = Rule("f", 2, 1, "table")

for name, pulled in (("custom_vjp", (False,)), ("custom_jvp", ())):
    row(
        name,
        lambda rule, index, *rest: [x for x in rest if not isinstance(x, bool)][index],
        [
            case(floats(3, 4), floats(2), floats(2), attributes=(RULE, 0, *pulled)),
            case(floats(3, 4), integers(2), floats(2), attributes=(RULE, 1, *pulled), tag="second"),
        ],
    )
