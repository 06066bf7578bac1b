"""Fixtures: the command in this process, and two trained runs."""

import pytest

from chainrule.cli import main

from . import tables


@pytest.fixture
def chainrule(capsys):
    """Run the command: (status, output, errors)."""

    def run(*arguments):
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
        output, errors = capsys.readouterr()
        return status, output, errors

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Folder with flowers.csv, houses.csv and a run of each."""
    folder = tmp_path_factory.mktemp("trained")
    for name, target, make in (("flowers", "kind", tables.flowers), ("houses", "price", tables.houses)):
        path = make(folder / f"{name}.csv")
        arguments = ["train", str(path), "--target", target, "--out", str(folder / f"{name}-run"), "--quiet"]
        assert main([*arguments, "epochs=60", "lr=0.01"]) == 0
    return folder
