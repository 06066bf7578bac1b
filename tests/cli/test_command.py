"""The command itself: start-up, help, interruption."""

import os
import subprocess
import sys

import pytest

import chainrule as cr
from chainrule.cli import main, train
from chainrule.cli.console import print_table
from chainrule.cli.parser import parse


def test_settings_may_stand_anywhere():
    for line in (
        "train f.csv lr=1 epochs=2 --target y --seed 3",
        "train --target y f.csv lr=1 --seed 3 epochs=2",
        "train f.csv --target y lr=1 --seed 3 epochs=2",
    ):
        options = parse(line.split())
        assert (options.name, options.settings, options.target, options.seed) == ("f.csv", ["lr=1", "epochs=2"], "y", 3)


def test_version_and_help(chainrule):
    status, output, _ = chainrule("--version")
    assert (status, output.strip()) == (0, f"chainrule {cr.__version__}")
    status, output, _ = chainrule("--help")
    assert status == 0 and "chainrule train iris" in output
    assert chainrule()[0] == 2


@pytest.mark.parametrize("module", ["chainrule", "chainrule.cli"])
def test_python_runs_the_command(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"chainrule {cr.__version__}"
    done = subprocess.run([sys.executable, "-m", module, "train", "missing.csv"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("chainrule: error: ")


def test_recipes_are_listed(chainrule):
    status, output, _ = chainrule("recipe")
    assert status == 0
    for name in ("iris-optimisers", "iris-learning-rates", "uncertainty"):
        assert name in output


def test_help_loads_no_engine():
    program = (
        "import sys; from chainrule.cli.parser import parse\n"
        "try: parse(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted(sys.modules.keys() & {'llvmlite', 'matplotlib', 'rich', 'safetensors', 'chainrule.train'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_interruption(chainrule, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "recipe", interrupt)
    assert main(["train", "iris"]) == 130


def test_reader_that_goes_away(trained):
    """`chainrule predict ... | head -1` ends quietly."""
    command = [sys.executable, "-m", "chainrule", "predict", trained / "flowers-run", trained / "flowers.csv"]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
    )
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


def test_tables_are_never_cut_off(capsys):
    print_table("title", ["", "a" * 90, "b" * 90], [["x" * 90, "1", "2"]])
    output = capsys.readouterr().out
    for letter in "abx":
        assert letter * 90 in output
