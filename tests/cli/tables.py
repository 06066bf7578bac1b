"""Small CSV files that the tests of the command train on."""

import numpy as np


def write_rows(path, header, rows):
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")
    return path


def houses(path, rows=200, seed=0):
    """Regression: price from area and town, with missing values and an identifier."""
    generator = np.random.default_rng(seed)
    lines = []
    for number in range(1, rows + 1):
        area, town = generator.uniform(20, 200), generator.choice(["Bonn", "Ulm"])
        price = round(1000 * area + (50000 if town == "Bonn" else 0) + generator.normal(0, 5000), 2)
        lines.append([number, "" if number % 17 == 0 else round(area, 3), "?" if number % 23 == 0 else town, price])
    return write_rows(path, ["id", "area", "town", "price"], lines)


def flowers(path, rows=120, seed=0):
    """Classification: three kinds from two lengths and a colour."""
    generator = np.random.default_rng(seed)
    lines = []
    for number in range(rows):
        kind = number % 3
        a, b = generator.normal((kind, -kind), 0.3)
        lines.append([f"{a:.4f}", f"{b:.4f}", ["red", "blue", "white"][kind], ["rose", "iris", "lily"][kind]])
    return write_rows(path, ["a", "b", "colour", "kind"], lines)
