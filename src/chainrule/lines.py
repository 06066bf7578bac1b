"""The user's line: where in the code outside of the package something was asked for."""

from __future__ import annotations

import os
import sys
from typing import Any

PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


def user_line() -> tuple[Any, int] | None:
    """Code object and instruction offset of the innermost frame outside the package."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return (code, frame.f_lasti)
        frame = frame.f_back
    return None


def describe_line(where: tuple[Any, int] | None) -> str:
    """``file:line`` of a code object and instruction offset as `user_line` gives them."""
    if where is None:
        return "<unknown>"
    code, offset = where
    number = code.co_firstlineno
    for start, end, line in code.co_lines():
        if line is not None and start <= offset < end:
            number = line
            break
    return f"{code.co_filename}:{number}"
