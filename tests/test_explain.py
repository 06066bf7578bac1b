"""`explain`: the facts are right, every section is there, and the text keeps its form."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import functional, nn, optim
from chainrule.compiler.arena import ALIGNMENT
from chainrule.errors import ConfigError

ROWS, INPUTS, HIDDEN, CLASSES = 32, 48, 40, 10


@pytest.fixture(scope="module")
def training():
    """A training step of a small network, explained."""
    cr.manual_seed(0)
    model = nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x, y):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    compiled = cr.compile(step)
    before = [parameter.numpy().copy() for parameter in model.parameters()]
    explanation = cr.explain(compiled, np.zeros((ROWS, INPUTS), np.float32), np.zeros(ROWS, np.int64))
    for parameter, value in zip(model.parameters(), before):
        assert np.array_equal(parameter.numpy(), value)  # nothing has run
    return explanation


def test_sections(training):
    text = str(training)
    for part in ("inputs and state", "graph: forward", "the reverse sweep", "graph: optimiser", "kernels", "fusion",
                 "regions", "memory plan"):  # fmt: skip
        assert f"-- {part}" in text or f": {part}" in text, part
    assert text.startswith(f"step(x: float32[{ROWS}, {INPUTS}], y: int64[{ROWS}]) -> float32[]")
    assert max(map(len, text.splitlines())) <= 120
    assert all(line == line.rstrip() for line in text.splitlines())
    assert len(training.text(all=True).splitlines()) > len(text.splitlines())
    assert training.text("memory").startswith("-- memory plan")
    assert "memory plan" not in training.text("kernels", "graph")


def test_phases_and_layers(training):
    forward, reverse, update = (training.phases[p] for p in ("forward", "reverse", "optimiser"))
    assert sum(node.op.name == "contract" for node in forward) == 2
    assert sum(node.op.name == "contract" for node in reverse) == 3  # no gradient of the data
    assert {training.layers[node.serial] for node in update} == {"Adam"}
    products = [training.layers[node.serial] for node in forward + reverse if node.op.name == "contract"]
    assert sorted(products) == ["Linear 0"] * 2 + ["Linear 2"] * 3
    names = [name for _, name, _ in training.inputs]
    assert {"x", "y", "0.weight", "2.bias", "exp_avg of 0.weight", "step of Adam"} <= set(names)
    assert ("lr", 0.01) in training.lifted


def test_contraction_flops(training):
    found = sorted(k.contraction_flops for k in training.kernels if k.kind == "contract" for _ in range(k.calls))
    first, second = 2 * ROWS * INPUTS * HIDDEN, 2 * ROWS * HIDDEN * CLASSES
    assert found == sorted([first, first, second, second, second])
    assert training.flops >= sum(found)


def test_memory(training):
    assert 0 < training.arena_bytes <= training.intermediate_bytes <= training.unfused_bytes
    arena = training.arena
    assert len(arena) > 5
    for one in arena:
        assert one.offset % ALIGNMENT == 0 and 0 <= one.offset <= training.arena_bytes - one.bytes
        assert 0 <= one.first <= one.last
        for other in arena:
            apart = one.offset + one.bytes <= other.offset or other.offset + other.bytes <= one.offset
            assert one is other or apart or one.last < other.first or other.last < one.first
    numbers = {buffer.number: buffer for buffer in arena}
    assert all(numbers[n].last < buffer.first for buffer in arena for n in buffer.reuses)


def test_in_place(training):
    updated = {update.name: update for update in training.updates}
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        assert {name, f"exp_avg of {name}", f"exp_avg_sq of {name}"} <= set(updated)
    assert "step of Adam" in updated
    assert not any(update.copied for update in updated.values())
    assert "0.weight" in training.text("memory") and "in place by k" in training.text("memory")


def test_reasons(training):
    """Each value in memory that a kernel reads has its writer, its reader and a reason."""
    numbers = {b.number: b for b in training.arena}
    assert training.links
    for link in training.links:
        assert link.buffer is numbers[link.buffer.number] and link.producer in link.buffer.written and link.reason
    kinds = {k.number: k.kind for k in training.kernels}
    for link in training.links:
        if kinds[link.consumer] == "pack":
            assert link.reason == "copied into panels for a product"
        if kinds[link.producer] == "pack":
            assert link.reason == "a product reads each element many times" and kinds[link.consumer] == "contract"
    text = training.text("fusion")
    assert "values of" in text and "a product reads each element many times" in text


def reasons(function, *arguments):
    return [link.reason for link in cr.explain(function, *arguments).links]


def test_reasons_one_by_one():
    x = cr.ones((24, 36))
    whole = "a complete reduction is needed for each of many elements"
    assert reasons(lambda x: cr.exp(x) * 2 + 1, x) == []
    assert reasons(lambda x: x - cr.max(x, axis=1, keepdims=True), x) == [whole]
    assert reasons(lambda x: cr.sort(cr.exp(x), axis=1) + 1, x) == ["sort runs on the host"] * 2
    assert reasons(lambda x, i: cr.take(cr.exp(x), i, axis=0), x, cr.asarray([1, 2])) == ["read at indices"]
    assert reasons(lambda x: cr.exp(x) @ cr.ones((36, 20)), x)[0] == "a product reads each element many times"
    (reason,) = reasons(lambda x: (cr.exp(x), cr.sum(cr.exp(x).T, axis=1))[1], x)
    assert reason == "other loops than the writer's"


def test_large_programs_layer_by_layer():
    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.first, self.second = nn.Linear(width, width + 1), nn.Linear(width + 1, width + 2)

        def forward(self, x):
            return self.second(cr.tanh(self.first(x)))

    cr.manual_seed(0)
    model = nn.Sequential(*(Block(8 + 2 * n) for n in range(24)))

    def step(x):
        loss = (model(x) ** 2).sum()
        loss.backward()
        return loss

    e = cr.explain(step, cr.ones((4, 8)))
    kernels, graph = e.text("kernels"), e.text("graph")
    assert len(e.kernels) > 64 and len(kernels.splitlines()) < 120
    rows = [line for line in kernels.splitlines() if line.startswith("Block ")]
    assert {line.split()[1] for line in rows} == {str(n) for n in range(24)}
    assert f"the 8 with the most operations, of {len(e.kernels)}:" in kernels
    assert sum(line.startswith("Block ") for line in graph.splitlines()) == 24
    full = e.text("kernels", all=True)
    assert all(f"k{k.number} " in full for k in e.kernels) and "most operations" not in full
    assert max(map(len, [*kernels.splitlines(), *graph.splitlines()])) <= 120


def test_kept_for_the_backward_pass(training):
    assert training.retained.bytes > 0
    assert "kept from the forward pass for the backward pass: " in training.text("memory")
    assert "kept" not in cr.explain(lambda x: cr.exp(x) @ x, cr.ones((8, 8))).text("memory")


def test_kernel_texts(training):
    for number in range(len(training.plan.kernels)):
        assert training.kernel(number).startswith(f"kernel {number}: ")
        assert max(map(len, training.kernel(number).splitlines())) <= 120
    number = next(k.number for k in training.kernels if k.kind == "contract")
    assert "r = sum over k of a0 * a1" in training.kernel(number)
    assert f"define void @k{training.plan.keys[number]}" in training.llvm(number)
    assert f"k{training.plan.keys[number]}:" in training.assembly(number)
    for number in (-1, len(training.plan.kernels)):
        with pytest.raises(ConfigError, match="there is no kernel"):
            training.llvm(number)
    with pytest.raises(ConfigError, match="no section"):
        training.text("memroy")


def test_function_without_state():
    e = cr.explain(lambda x, y: (x * y + 1.5).sum(axis=1), cr.ones((20, 30)), cr.ones((20, 30)))
    assert [(k.kind, k.flops, k.read, k.written) for k in e.kernels] == [("reduce", 3 * 600, 2 * 2400, 80)]
    assert "nothing is differentiated" in str(e)
    assert e.phases["reverse"] == [] and e.updates == []
    assert "test_explain.py" in e.text("graph")


def test_broadcast_operand_counts_once():
    e = cr.explain(lambda x, b: x * cr.exp(cr.broadcast_to(b, (20, 30))), cr.ones((20, 30)), cr.ones((30,)))
    (kernel,) = e.kernels
    assert (kernel.flops, kernel.read, kernel.written) == (600 + 30, 2400 + 120, 2400)


def test_overlapping_and_gathered_operands():
    (shifted,) = cr.explain(lambda x: x[1:] - x[:-1], cr.ones((100,))).kernels
    assert (shifted.flops, shifted.read, shifted.written) == (99, 400, 396)
    (taken,) = cr.explain(lambda x, i: cr.take(x, i, axis=0) * 2, cr.ones((50, 4)), cr.asarray([1, 2, 3])).kernels
    assert (taken.flops, taken.read, taken.written) == (12, 12 * 4 + 3 * 8, 48)


def test_blocked_contraction():
    e = cr.explain(lambda a, b: a @ b, cr.ones((64, 1000)), cr.ones((1000, 32)))
    kernel = next(k for k in e.kernels if k.kind == "contract")
    assert kernel.flops == 2 * 64 * 1000 * 32
    assert "k in 2 blocks of 504" in str(e)


def test_packed_operand_counts_whole_vectors():
    from_panels = cr.explain(lambda a, b: a @ b.T, cr.ones((64, 48)), cr.ones((40, 48))).kernels[-1]
    lanes = from_panels.kernel.static.lanes
    columns = -(-40 // lanes) * lanes
    assert from_panels.kind == "contract"
    assert (from_panels.read, from_panels.written) == (4 * (64 * 48 + columns * 48), 4 * 64 * 40)


def test_gradient_of_function():
    e = cr.explain(cr.grad(lambda w: (w**2).sum()), cr.ones((7,)))
    assert e.phases["reverse"] and "gradient graph" in str(e)


def test_pending_expression():
    x = cr.ones((8, 8))
    e = cr.explain((x @ x).sum())
    assert sum(k.contraction_flops for k in e.kernels) == 2 * 8**3
    assert str(e).startswith("expression() -> float32[]")
    x.numpy()
    with pytest.raises(ConfigError, match="has its value already"):
        cr.explain(x)


@pytest.mark.parametrize("function", [lambda x: x, lambda x: cr.sort(x), lambda x: {"a": x[:0]}], ids="xsz")
def test_little_work(function):
    assert "memory plan" in str(cr.explain(function, cr.ones((5,))))


def test_module_and_deep_network():
    layers: list[nn.Module] = []
    for _ in range(12):
        layers += [nn.Linear(16, 16), nn.Dropout(0.1), nn.Tanh()]
    model = nn.Sequential(*layers)
    e = cr.explain(model, cr.ones((4, 16)))
    assert e.name == "Sequential" and "Linear 33" in e.text("graph", all=True)
    assert any(k.calls > 8 for k in e.kernels)
    assert len(str(e).splitlines()) < 200
    assert max(map(len, e.text(all=True).splitlines())) <= 120


def test_command_line(capsys):
    from chainrule.cli import main

    assert main(["explain", "iris"]) == 0
    output = capsys.readouterr().out
    assert "gradient graph" in output and "memory plan" in output and "exp_avg of 0.weight" in output
    assert max(map(len, output.splitlines())) <= 120
    assert main(["explain", "iris", "--section", "fusion", "--full"]) == 0
    assert capsys.readouterr().out.startswith("-- fusion")
    assert main(["explain", "iris", "--section", "memory"]) == 0
    assert capsys.readouterr().out.startswith("-- memory plan")
    assert main(["explain", "iris", "--kernel", "0"]) == 0
    assert capsys.readouterr().out.startswith("kernel 0")
    assert main(["explain", "iris", "--llvm", "0"]) == 0
    assert "define void" in capsys.readouterr().out
    assert main(["explain", "iris", "--kernel", "999"]) == 2
