"""The command line's grammar."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from .. import __version__

_EPILOG = """\
examples:
  chainrule train iris
  chainrule train houses.csv --target price epochs=100 hidden=128-128
  chainrule evaluate runs/houses-seed0 more-houses.csv
  chainrule predict runs/houses-seed0 new-houses.csv --out prices.csv
  chainrule recipe uncertainty
  chainrule explain iris
"""


def _seed(text: str) -> int:
    value = int(text)
    if not 0 <= value < 1 << 32:
        raise argparse.ArgumentTypeError(f"a seed lies between 0 and {(1 << 32) - 1}, not {text}")
    return value


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings, such as epochs=50 lr=0.01")
    parser.add_argument("--out", metavar="DIR", help="run folder to make (default: runs/TARGET-seedN)")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="of all random choices (default: 0)")
    parser.add_argument("--quiet", action="store_true", help="print results and warnings only")


def _header_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--header", dest="header", action="store_true", default=None, help="the first line is a header")
    group.add_argument("--no-header", dest="header", action="store_false", help="the first line is data")


def _table_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target", metavar="COLUMN", help="column to predict (a number from 1 in a file without header)"
    )
    parser.add_argument("--task", choices=("classification", "regression"), help="overrides what the target looks like")
    _header_options(parser)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command and its subcommands; each stores a function as ``run``."""
    parser = argparse.ArgumentParser(
        prog="chainrule",
        description="Train networks on tables and on built-in experiments, use them, and look inside.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"chainrule {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)

    train = commands.add_parser("train", help="train on a CSV file or a built-in recipe")
    train.add_argument("name", metavar="TARGET", help="a CSV file, or the name of a recipe")
    _table_options(train)
    _run_options(train)
    train.set_defaults(run=_command("train"))

    evaluate = commands.add_parser("evaluate", help="metrics of a trained run on a CSV file")
    evaluate.add_argument("folder", metavar="RUN", help="run folder")
    evaluate.add_argument("file", metavar="FILE.csv", help="table with the target column")
    evaluate.add_argument("--json", metavar="FILE", help="write the metrics there too")
    _header_options(evaluate)
    evaluate.set_defaults(run=_command("evaluate"))

    predict = commands.add_parser("predict", help="predictions of a trained run for a CSV file")
    predict.add_argument("folder", metavar="RUN", help="run folder")
    predict.add_argument("file", metavar="FILE.csv", help="table of the input columns")
    predict.add_argument("--out", metavar="OUT.csv", help="file to write (default: print)")
    _header_options(predict)
    predict.set_defaults(run=_command("predict"))

    recipe = commands.add_parser("recipe", help="run a built-in experiment; without a name, list them")
    recipe.add_argument("name", metavar="NAME", nargs="?", help="the experiment")
    _run_options(recipe)
    recipe.set_defaults(run=_command("recipe"))

    explain = commands.add_parser("explain", help="graph, gradient graph, kernels and memory plan of a training step")
    explain.add_argument("name", metavar="TARGET", help="a recipe, a run folder, or a CSV file with --target")
    explain.add_argument("settings", nargs="*", metavar="key=value", help="settings, as for train")
    _table_options(explain)
    explain.add_argument("--seed", type=_seed, default=0, metavar="N")
    explain.add_argument("--full", "--all", dest="all", action="store_true",
                         help="show long lists whole, and large programs kernel by kernel, not by layer")  # fmt: skip
    explain.add_argument("--section", action="append", default=[], metavar="NAME",
                         help="show this section only: summary, state, graph, gradient, optimiser, kernels, fusion, "
                              "regions, memory; may be repeated")  # fmt: skip
    code = explain.add_mutually_exclusive_group()
    code.add_argument("--kernel", type=int, metavar="N", help="show the loops and code of kernel kN instead")
    code.add_argument("--llvm", type=int, metavar="N", help="show the LLVM IR of kernel kN instead")
    code.add_argument("--assembly", type=int, metavar="N", help="show the machine code of kernel kN instead")
    explain.set_defaults(run=_command("explain"))
    return parser


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line; settings may stand before and after options.

    argparse takes positional arguments in one piece only, so that in ``train FILE --target y lr=0.1`` the
    setting is left over; it is collected here. Anything else left over is an error, with exit status 2.
    """
    parser = build_parser()
    options, extras = parser.parse_known_args(arguments)
    strange = [text for text in extras if text.startswith("-") or not hasattr(options, "settings")]
    if strange:
        parser.error(f"unrecognised arguments: {' '.join(strange)}")
    if extras:
        options.settings = [*options.settings, *extras]
    return options


def _command(name: str) -> Callable[[argparse.Namespace], int | None]:
    """A function that loads the command's module and runs it."""

    def run(options: argparse.Namespace) -> int | None:
        import importlib

        module = "train" if name in ("train", "recipe") else name
        return getattr(importlib.import_module(f".{module}", __package__), name)(options)

    return run
