"""No collection of cycles while a graph is recorded and compiled, and everything as it was afterwards."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule.collector import put_off


@pytest.fixture
def enabled():
    """Whether Python collects by itself, before and after a test."""
    before = gc.isenabled()
    yield before
    assert gc.isenabled() == before


def test_nothing_is_collected_while_a_step_is_traced_and_compiled(enabled):
    seen, thresholds = [], gc.get_threshold()
    weights = cr.asarray(np.ones((7, 5), np.float32))

    def f(x):
        seen.append(gc.isenabled())
        return cr.tanh(x @ weights).sum(axis=1)

    collections = []
    inside = lambda phase, info: phase == "start" and collections.append(bool(seen))  # noqa: E731
    compiled = cr.compile(f)
    gc.callbacks.append(inside)
    gc.set_threshold(20, 2, 2)
    try:
        program = compiled.trace(np.ones((9, 7), np.float32))
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(inside)
    assert seen == [False] and program.plan is not None
    assert collections.count(True) <= 2  # between tracing and compiling, and behind


@pytest.mark.parametrize("on", [True, False])
def test_nested_and_ended_by_errors(enabled, on):
    try:
        gc.enable() if on else gc.disable()
        with put_off():
            with pytest.raises(ZeroDivisionError), put_off():
                assert not gc.isenabled()
                raise ZeroDivisionError
            assert not gc.isenabled()
        assert gc.isenabled() == on
        with pytest.raises(ZeroDivisionError):
            cr.compile(lambda x: 1 // 0)(np.ones(3, np.float32))
        assert gc.isenabled() == on
    finally:
        gc.enable() if enabled else gc.disable()


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_importing_collects_nothing_and_leaves_the_collector_as_it_was(before):
    code = f"""
import gc, numpy
seen = []
gc.{before}()
gc.callbacks.append(lambda phase, info: seen.append(info["generation"]))
import chainrule
assert gc.isenabled() == ("{before}" == "enable")
assert len(seen) <= 4, seen  # what was put off may come behind; a dozen would come in between
"""
    subprocess.run([sys.executable, "-c", code], check=True)
