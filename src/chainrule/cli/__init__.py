"""The `chainrule` command. Modules are loaded when a command needs them, so that it starts quickly."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status.

    0: done; 2: the input was not as it has to be (one message on the error stream, no traceback);
    130: interrupted.
    """
    from ..errors import ChainruleError
    from .parser import parse

    options = parse(arguments)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        return 0
    except (ChainruleError, OSError, MemoryError) as error:
        text = str(error) or type(error).__name__
        if isinstance(error, MemoryError):
            text = f"out of memory: {text}\nhelp: a smaller batch_size, network or file needs less"
        print(f"chainrule: error: {text}", file=sys.stderr)
        return 2
