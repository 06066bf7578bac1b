"""Cut points of a numeric column where the target changes: a regression tree of one variable."""

from __future__ import annotations

import heapq

import numpy as np


def cut_points(values: np.ndarray, targets: np.ndarray, leaves: int, least: int) -> np.ndarray:
    """Cut points between at most `leaves` intervals of `values` that explain `targets` best.

    Intervals are split greedily, the split of the largest gain first, where the gain of splitting a set
    into L and R is the fall in squared error, ``|sum_L t|^2 / |L| + |sum_R t|^2 / |R| - |sum t|^2 / n``
    (for one-hot targets this is the Gini gain).

    Args:
        values: (rows,) float64 without NaN.
        targets: (rows, outputs) float64.
        leaves: most intervals.
        least: rows that each interval has to keep.

    Returns:
        Rising cut points, halfway between neighbouring values; possibly none.

    Reference: Gorishniy, Rubachev, Babenko, "On embeddings for numerical features in tabular deep
    learning", NeurIPS 2022, section 3.2 (piecewise-linear encoding, target-aware bins).
    """
    order = np.argsort(values, kind="stable")
    values, targets = values[order], targets[order]
    sums = np.concatenate([np.zeros((1, targets.shape[1])), np.cumsum(targets, axis=0)])

    def best_split(low: int, high: int) -> tuple[float, int, int, int] | None:
        places = np.arange(low + least, high - least + 1)
        places = places[values[places - 1] < values[places]] if len(places) else places
        if not len(places):
            return None
        left, right, whole = sums[places] - sums[low], sums[high] - sums[places], sums[high] - sums[low]
        gain = (left**2).sum(1) / (places - low) + (right**2).sum(1) / (high - places)
        best = int(np.argmax(gain))
        improvement = float(gain[best] - (whole**2).sum() / (high - low))
        return (-improvement, low, int(places[best]), high) if improvement > 1e-9 * len(values) else None

    heap = [split for split in [best_split(0, len(values))] if split]
    cuts: list[float] = []
    while heap and len(cuts) < leaves - 1:
        _, low, place, high = heapq.heappop(heap)
        cuts.append(float(values[place - 1] + values[place]) / 2)
        for split in (best_split(low, place), best_split(place, high)):
            if split:
                heapq.heappush(heap, split)
    return np.sort(np.array(cuts))
