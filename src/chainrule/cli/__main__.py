"""``python -m chainrule.cli``: the same as the `chainrule` command."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
