"""The examples in the docstrings of functions beyond the standard are executed."""

import doctest
import importlib

import pytest

import chainrule as cr
from chainrule.functions.extended import EXTENDED

FILES = sorted({file for file, _ in EXTENDED.values()} | {"functions.searching", "functions.uniques", "functions.at"})


@pytest.mark.parametrize("name", FILES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(f"chainrule.{name}"))
    assert result.failed == 0
    made = [function for function, (file, _) in EXTENDED.items() if file == name]
    module = vars(importlib.import_module(f"chainrule.{name}"))
    examples = {f: doctest.DocTestFinder(recurse=False).find(module[f], f) for f in made}
    runner = doctest.DocTestRunner()
    for found in examples.values():
        for example in found:  # of functions that other functions make, which the module's search may miss
            assert runner.run(example).failed == 0


def test_every_name_is_there_and_described():
    for name, (file, attribute) in EXTENDED.items():
        function = getattr(cr, name)
        assert function is getattr(importlib.import_module(f"chainrule.{file}"), attribute)
        assert function.__doc__, name
