"""The text of one kernel: its loops in words, and its loop IR."""

from __future__ import annotations

import math
from typing import Any

from ..compiler.kernel import Attention, Body, Kernel, Tiling, summed_extents
from ..compiler.measure import operands
from .facts import BufferFact, KernelFact
from .text import count, plural, runs, size, table, tally, type_text


def loops_text(kernel: Kernel) -> str:
    """Extents, outermost first: ``v`` marks the axis in vector lanes, ``r`` a reduced one."""
    sizes = list(map(str, kernel.sizes))
    if kernel.kind == "contract":
        sizes[kernel.vector] += "v"
        return " x ".join([*sizes, *(f"r{extent}" for extent in summed_extents(kernel))])
    if kernel.kind == "pack":
        return " x ".join([*sizes, f"{kernel.static[1]}v"])
    if isinstance(kernel.static, Attention):
        return " x ".join([*sizes, f"{kernel.static.queries}v", f"r{kernel.static.keys}"])
    if kernel.kind == "reduce":
        for axis in range(kernel.static[1], len(sizes)):
            sizes[axis] = "r" + sizes[axis]
    if kernel.kind == "map" and "scalar" in kernel.static:
        return "1"
    sizes[kernel.vector] += "v"
    return " x ".join(sizes)


def method_text(kernel: Kernel) -> str:
    """How the loops are cut up: register tiles of a contraction, the tree of a reduction."""
    if kernel.stages:
        trees = [text for text in map(method_text, kernel.stages) if text]
        apart = "a row" if kernel.rows_apart == 1 else "two rows"
        walks = sum(not stage.for_each_row for stage in kernel.stages)
        return "; ".join([f"{walks} walks in step, each {apart} behind the one before", *trees])
    if kernel.kind == "contract" and isinstance(kernel.static, Tiling):
        return _nest_text(kernel)
    if kernel.kind == "contract":
        batched, lanes, rows, width, _ = kernel.static
        parts = [f"tile {plural(rows, 'row')} x {plural(width, 'vector')} of {lanes}"]
        _, length, chains, _, apart = kernel.extra
        parts.append(f"k dealt to {chains} chains" if apart > 1 else f"k in {chains} blocks of {length}")
        return "; ".join((["batched"] if batched else []) + parts)
    if kernel.kind == "reduce":
        name, reduced, lanes, short, _ = kernel.static
        block = kernel.extra[1]
        length = math.prod(kernel.sizes[reduced:])
        if name.startswith("arg"):
            return f"{name} of {length} in order"
        blocks = f" in {-(-length // block)} blocks of {block}" if length > block else ""
        if lanes > 1:
            return f"{name} of {length}: tree of {lanes} lanes{blocks}"
        return f"{name} of {length}: one chain for each result{blocks}{', unrolled' if short else ''}"
    if isinstance(kernel.static, Attention):
        return _attention_text(kernel)
    if kernel.kind == "scatter":
        return "in the order of the indices"
    if kernel.kind == "pack":
        if kernel.accesses[1].dtype.is_half:
            return f"copies an operand of a product into panels of {kernel.static[1]} columns or rows, in pairs along k"
        return f"copies the right operand of a product into panels of {kernel.static[1]} columns"
    return ""


def _attention_text(kernel: Kernel) -> str:
    """What an attention kernel computes, and from what."""
    plan = kernel.static
    assert isinstance(plan, Attention)
    names = ("result", "what is kept") if kernel.kind == "attention" else ("queries", "keys", "values")
    wanted = ", ".join(name for name, yes in zip(names, plan.wanted) if yes)
    saved = "exponentials" if plan.kept else f"log-sum-exp, keys in blocks of {plan.block}"
    saved = "weights; products of pairs of bfloat16" if plan.pairs else saved
    parts = [wanted if kernel.kind == "attention" else f"gradients of {wanted}", f"kept: {saved}"]
    return "; ".join([*parts, *(["keys up to the query's own"] if plan.causal else [])])


def _nest_text(kernel: Kernel) -> str:
    """How a contraction over several axes is walked."""
    tiling: Any = kernel.static
    widths = [f"{tiling.panels.count(w)} of {plural(w, 'vector')}" for w in dict.fromkeys(tiling.panels)]
    parts = [f"tile {' x '.join(map(str, tiling.tile))} x {plural(max(tiling.panels, default=1), 'vector')}"]
    parts[0] += f" of {tiling.lanes}"
    parts.append(f"panels: {' + '.join(widths)}")
    if tiling.dealt:
        beside = "side by side" if tiling.blocks == "dealt" else "one after another"
        parts.append(f"k dealt to {tiling.reduced[0]} chains, {beside}")
    elif tiling.blocks != "one":
        length, block = summed_extents(kernel)[tiling.first], kernel.extra[2]
        axis = "k" if len(tiling.reduced) == 1 else f"summed axis {tiling.first}"
        where = "" if tiling.blocks == "inside" else ", partial sums in memory"
        parts.append(f"{axis} in {-(-length // block)} blocks of {block}{where}")
    if tiling.pieces is not None:
        axis, count = tiling.pieces
        parts.append(f"sums wait after every {count} of summed axis {axis}")
    parts.append("b packed" if tiling.packed else "b in place")
    return "; ".join(parts)


def chain_text(fact: KernelFact) -> str:
    """What is fused, in order; a long chain as how often each primitive occurs before and after the main one."""
    words = fact.label.replace("bmm", "contract").split("+")
    chain = runs(words, " + ")
    if len(chain) <= 84:
        return chain
    main = "contract" if fact.kind == "contract" else ""
    if fact.kernel is not None and fact.kind == "reduce":
        main = fact.kernel.static[0]
    if main not in words:
        return tally(words)
    place = words.index(main)
    parts = [tally(words[:place]), main, tally(words[place + 1 :])]
    return ", then ".join(part for part in parts if part)


def kernel_text(fact: KernelFact, buffers: dict[int, BufferFact], key: str) -> str:
    """Everything about a kernel: sizes, operands, and the code of one element."""
    kernel = fact.kernel
    if kernel is None:
        return f"host call: {fact.label}"
    loads, stores = operands(kernel)
    lines = [f"kernel {fact.number}: {kernel.kind} over {loops_text(kernel)}  (function k{key})"]
    method = method_text(kernel)
    if method:
        lines.append(f"  {method}")
    lines.append(
        f"  {count(fact.flops)} flop, reads {size(fact.read)}, writes {size(fact.written)}, "
        f"{fact.intensity:.2g} flop for each byte"
    )
    times = f" of the first of {fact.calls} calls" if fact.calls > 1 else ""
    lines.append(f"  operands{times} (strides in elements, one for each loop):")
    rows = []
    for number, access in enumerate(kernel.accesses):
        use = ("reads " if number in loads else "") + ("writes" if number in stores else "")
        if not use:
            continue
        buffer = buffers.get(access.buffer)
        name = f"b{access.buffer}" + (f" {buffer.name}" if buffer else "")
        kind = type_text(access.dtype, buffer.shape) if buffer else access.dtype.name
        where = f"+{access.offset}" if access.offset else ""
        rows.append((f"    a{number}", use, name, kind, f"({', '.join(map(str, access.strides))}){where}"))
    lines += table(rows, ("",) * 5, "<<<<<", (0, 0, 36, 30, 40))
    if kernel.stages:
        for number, stage in enumerate(kernel.stages):
            lines += [f"  walk {number + 1}:", *_code_text(stage)]
    else:
        lines += _code_text(kernel)
    return "\n".join(lines)


def _code_text(kernel: Kernel) -> list[str]:
    """What is computed for each element and each result."""
    lines: list[str] = []
    if kernel.kind == "reduce":
        inner, values = _body(kernel, kernel.inner)
        lines += ["  for each element:", *inner, f"    r = {kernel.static[0]} of {values[kernel.static[4]]}"]
        lines += ["  for each result:", *_body(kernel, kernel.body)[0]]
    elif kernel.kind == "contract":
        lines += ["  for each result:", "    r = sum over k of a0 * a1", *_body(kernel, kernel.body)[0]]
    elif kernel.kind == "scatter":
        lines += ["  for each element:", "    a0[a1] += a2"]
    elif kernel.kind == "pack":
        lines += ["  for each element:", "    a1 = a0"]
    else:
        lines += ["  for each element:", *_body(kernel, kernel.body)[0]]
    return lines


def _body(kernel: Kernel, body: Body) -> tuple[list[str], list[str]]:
    """The instructions of a body, one a line, with loads and constants where they are used; and its values' names."""
    names: list[str] = []
    lines = []
    for number, instruction in enumerate(body.code):
        kind = instruction[0]
        name = f"v{number}"
        if kind == "load":
            name = f"a{instruction[1]}"
        elif kind == "const":
            name = f"{instruction[1]}"
        elif kind == "scalar":
            name = f"s{kernel.extra[instruction[1]]}"
        elif kind == "anchor":
            name = "r"
        elif kind == "index":
            access = kernel.accesses[instruction[1]]
            moves = [f"i{a}*{s}" if s != 1 else f"i{a}" for a, s in enumerate(access.strides) if s]
            name = "(" + " + ".join([*moves, *([str(access.offset)] if access.offset or not moves else [])]) + ")"
        elif kind == "take":
            lines.append(f"    {name} = a{instruction[1]}[{names[instruction[2]]}]")
        elif kind == "random":
            lines.append(f"    {name} = random bits of key a{instruction[2]}, element {names[instruction[3]]}")
        elif kind == "check":
            lines.append(f"    {name} = check_index {names[instruction[1]]} of {kernel.extra[instruction[2] + 1]}")
        else:
            words = ", ".join(names[i] for i in instruction[2])
            result = f" : {instruction[3].name}" if instruction[1].name == "cast" else ""
            lines.append(f"    {name} = {instruction[1].name} {words}{result}")
        names.append(name)
    lines += [f"    a{access} = {names[value]}" for value, access in body.stores]
    return lines, names
