"""Vectors on the stack: for a loop over what otherwise is written out, so that the code of a step stands once."""

from __future__ import annotations

from collections.abc import Sequence

from .emit import Function, Int


class Stacked:
    """As many places for vectors of LLVM type `kind` as `vectors` has, filled with these."""

    def __init__(self, f: Function, kind: str, vectors: Sequence[str]):
        self.f, self.kind, self.count = f, kind, len(vectors)
        self.memory = f.fresh("stack")
        f.entry.append(f"  {self.memory} = alloca [{self.count} x {kind}], align 64")
        for number, vector in enumerate(vectors):
            self.put(number, vector)

    def _place(self, number: Int) -> str:
        return self.f.let(f"getelementptr {self.kind}, ptr {self.memory}, i64 {number}", "p")

    def put(self, number: Int, vector: str) -> None:
        """Keep `vector` at place `number`."""
        self.f.line(f"store {self.kind} {vector}, ptr {self._place(number)}")

    def get(self, number: Int) -> str:
        """The vector at place `number`."""
        return self.f.let(f"load {self.kind}, ptr {self._place(number)}")

    def all(self) -> list[str]:
        """All vectors, in order."""
        return [self.get(number) for number in range(self.count)]
