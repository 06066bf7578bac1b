"""`gcn`: two graph convolutions on a citation graph of Cora's size, full batch, dropout 0.5."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .base import Start, Workload


@dataclass(frozen=True)
class Sparse:
    """A sparse matrix in compressed rows."""

    values: np.ndarray  # (entries,) float32
    columns: np.ndarray  # (entries,) int64, rising in each row
    starts: np.ndarray  # (rows + 1,) int64
    shape: tuple[int, int]

    @property
    def rows(self) -> np.ndarray:
        return np.repeat(np.arange(self.shape[0]), np.diff(self.starts))

    def dense(self) -> np.ndarray:
        found = np.zeros(self.shape, np.float32)
        found[self.rows, self.columns] = self.values
        return found


def _compressed(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Sparse:
    order = np.lexsort((columns, rows))
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=shape[0]))])
    return Sparse(values[order].astype(np.float32), columns[order], starts, shape)


@dataclass(frozen=True, kw_only=True)
class GraphConvolutional(Workload):
    """``A (dropout(relu(A (dropout(X) W0) + b0)) W1) + b1``, cross entropy over the nodes with a label to learn from.

    X are words of documents, sparse on all sides unless `features` says dense; A is the adjacency with self loops,
    normalised by the roots of both degrees.
    """

    nodes: int = 2708
    edges: int = 5429
    words: int = 1433
    words_each: int = 18
    hidden: tuple[int, ...] = (16,)
    classes: int = 7
    labelled: int = 140
    dropout: float = 0.5
    activation: str = "relu"
    features: str = "sparse"

    network = "graph"

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.words, *self.hidden, self.classes)

    def graph(self) -> tuple[Sparse, Sparse]:
        """The normalised adjacency ``(nodes, nodes)`` and the features ``(nodes, words)``."""
        return _graph(self.nodes, self.edges, self.words, self.words_each)

    def starts(self) -> dict[str, Start]:
        found: dict[str, Start] = {}
        for number, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:])):
            found[f"convolutions.{number}.weight"] = ((fan_in, fan_out), (6 / (fan_in + fan_out)) ** 0.5)
            found[f"convolutions.{number}.bias"] = ((fan_out,), "zeros")
        return found

    def data(self) -> tuple[np.ndarray, ...]:
        generator = self.generator("data")
        nodes = generator.permutation(self.nodes)[: self.labelled]
        return nodes, generator.integers(0, self.classes, self.nodes)[nodes]

    def draws(self, rows: int) -> tuple[np.ndarray, ...]:
        generator = self.generator("draws")
        features = self.graph()[1]
        shapes = [features.values.shape if self.features == "sparse" else features.shape]
        shapes += [(self.nodes, width) for width in self.hidden]
        return tuple((generator.random(shape) >= self.dropout).astype(np.float32) for shape in shapes)

    def macs(self) -> Iterator[tuple[int, bool]]:
        adjacency, features = self.graph()
        entries = features.values.size if self.features == "sparse" else self.nodes * self.words
        for number, (fan_in, fan_out) in enumerate(zip(self.widths, self.widths[1:])):
            yield (self.nodes * fan_in if number else entries) * fan_out, number > 0
            # no derivative by the adjacency: it counts as data in the other place
            yield adjacency.values.size * fan_out, False


@lru_cache(maxsize=2)
def _graph(nodes: int, edges: int, words: int, words_each: int) -> tuple[Sparse, Sparse]:
    generator = np.random.default_rng(2708)
    # popular nodes and popular words, as in citations and texts
    popularity = (1.0 / np.arange(1, nodes + 1)) ** 0.5
    pairs = generator.choice(nodes, (4 * edges, 2), p=popularity / popularity.sum())
    pairs = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], 1), axis=0)
    pairs = generator.permutation(pairs)[:edges]
    own = np.arange(nodes)
    rows, columns = np.concatenate([pairs, pairs[:, ::-1], np.stack([own, own], 1)]).T
    scale = np.bincount(rows, minlength=nodes) ** -0.5
    adjacency = _compressed(rows, columns, scale[rows] * scale[columns], (nodes, nodes))
    frequency = (1.0 / np.arange(1, words + 1)) ** 0.5
    found = generator.choice(words, (nodes, words_each), p=frequency / frequency.sum())
    documents, present = np.unique(np.stack([np.repeat(own, words_each), found.ravel()], 1), axis=0).T
    each = np.bincount(documents, minlength=nodes)
    return adjacency, _compressed(documents, present, 1 / each[documents], (nodes, words))


WORKLOAD = GraphConvolutional(
    name="gcn", batch=140, rows=140, aim=2.0, learning_rate=0.01, weight_decay=5e-4, scans=(16, 128)
)
VARIANTS = [
    WORKLOAD.variant("widths", hidden=(24,)),
    WORKLOAD.variant("width-64", hidden=(64,)),
    WORKLOAD.variant("hidden-2", hidden=(16, 16)),
    WORKLOAD.variant("tanh", activation="tanh"),
    WORKLOAD.variant("elu", activation="elu"),
    WORKLOAD.variant("sgd", optimizer="sgd", learning_rate=0.1),
    WORKLOAD.variant("citeseer", nodes=3327, edges=4552, words=3703, words_each=32, classes=6),
    WORKLOAD.variant("dense", features="dense"),
]
