"""`chainrule explain` builds the step that training uses."""

import pytest

from chainrule.cli.explain import training_example
from chainrule.cli.parser import parse


@pytest.mark.parametrize("name", ["iris", "iris-optimisers", "iris-learning-rates", "uncertainty"])
def test_recipes(name):
    step, arguments = training_example(parse(["explain", name]))
    assert float(step(*arguments)) > 0


def test_files_and_runs(trained):
    for name, target in (("flowers", "kind"), ("houses", "price")):
        step, arguments = training_example(parse(["explain", str(trained / f"{name}.csv"), "--target", target]))
        assert float(step(*arguments)) > 0
        again, zeros = training_example(parse(["explain", str(trained / f"{name}-run")]))
        assert [tuple(a.shape) for a in zeros] == [tuple(a.shape) for a in arguments]
        assert [a.dtype for a in zeros] == [a.dtype for a in arguments]
        float(again(*zeros))


def test_output(chainrule):
    status, output, errors = chainrule("explain", "iris")
    assert (status, errors) == (0, "")
    for word in ("flop", "bytes", "arena", "float32[90, 4]", "kernels"):
        assert word in output


def test_errors(chainrule, tmp_path):
    assert chainrule("explain", "none.csv")[0] == 2
    assert chainrule("explain", tmp_path)[0] == 2
    assert chainrule("explain", "irsi")[0] == 2
