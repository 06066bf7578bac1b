"""`chainrule train`, `evaluate` and `predict` on files."""

import csv
import json
import os
import subprocess
import sys

import pytest

from . import tables

FILES = ["config.json", "curves.png", "log.jsonl", "metrics.json", "model.safetensors", "timing.json"]


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_run_folder_of_a_classification(trained):
    run = trained / "flowers-run"
    assert sorted(os.listdir(run)) == FILES
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["task"] == "classification"
    assert metrics["test"]["accuracy"] > 0.9 > metrics["baseline"]["accuracy"]
    assert metrics["test"]["nll"] < metrics["baseline"]["nll"]
    assert metrics["rows"] == {"train": 84, "validation": 18, "test": 18}
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, metrics["epochs"] + 1))
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_run_folder_of_a_regression(trained):
    metrics = json.loads((trained / "houses-run" / "metrics.json").read_text())
    assert metrics["task"] == "regression"
    assert metrics["test"]["r2"] > 0.8
    assert metrics["test"]["rmse"] < metrics["baseline"]["rmse"] / 2
    assert metrics["test"]["nll"] < metrics["baseline"]["nll"]
    config = json.loads((trained / "houses-run" / "config.json").read_text())
    assert [column["name"] for column in config["columns"]] == ["area", "town"]
    assert any("'id' is left out" in note for note in config["notes"])


def test_same_seed_same_bytes(chainrule, trained, tmp_path):
    source = trained / "flowers.csv"
    runs = {}
    for name, seed in (("one", 5), ("two", 5), ("other", 6)):
        out = tmp_path / name
        assert chainrule("train", source, "--target", "kind", "epochs=3", "--seed", seed, "--out", out)[0] == 0
        runs[name] = {file: (out / file).read_bytes() for file in FILES if file != "timing.json"}
    assert runs["one"] == runs["two"]
    assert runs["one"]["model.safetensors"] != runs["other"]["model.safetensors"]
    assert str(tmp_path) not in runs["one"]["config.json"].decode() + runs["one"]["metrics.json"].decode()
    timing = json.loads((tmp_path / "one" / "timing.json").read_text())
    assert timing["paths"] == {"run": str(tmp_path / "one"), "data": str(source)}


def test_output_names_decisions_and_results(chainrule, trained, tmp_path):
    status, output, errors = chainrule(
        "train", trained / "houses.csv", "--target", "price", "epochs=2", "--out", tmp_path / "run"
    )
    assert (status, errors) == (0, "")
    for text in ("task: regression", "'id' is left out", "epoch", "R^2", "baseline", "run folder:"):
        assert text in output


def test_task_overrides(chainrule, tmp_path):
    path = tables.write_rows(tmp_path / "t.csv", ["x", "y"], [[i / 7, i % 5] for i in range(100)])
    status, output, _ = chainrule("train", path, "--target", "y", "epochs=1", "--out", tmp_path / "a")
    assert status == 0 and "task: classification" in output
    arguments = ("train", path, "--target", "y", "epochs=1", "--out", tmp_path / "b", "--task", "regression")
    status, output, _ = chainrule(*arguments)
    assert status == 0 and "task: regression" in output


def test_file_without_header_and_column_by_number(chainrule, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("".join(f"{i / 7},{'ab'[i % 2]},{i % 2}\n" for i in range(60)))
    run = tmp_path / "run"
    assert chainrule("train", path, "--target", "3", "epochs=3", "--out", run)[0] == 0
    assert chainrule("evaluate", run, path)[0] == 0
    status, output, _ = chainrule("predict", run, path)
    assert status == 0 and len(output.splitlines()) == 61


def test_evaluate(chainrule, trained, tmp_path):
    fresh = tables.houses(tmp_path / "fresh.csv", rows=50, seed=1)
    file = tmp_path / "metrics.json"
    status, output, errors = chainrule("evaluate", trained / "houses-run", fresh, "--json", file)
    assert (status, errors) == (0, "")
    metrics = json.loads(file.read_text())
    assert metrics["model"]["r2"] > 0.8 > metrics["baseline"]["r2"]
    assert "R^2" in output and "baseline" in output
    _, _, errors = chainrule("evaluate", trained / "houses-run", trained / "houses.csv")
    assert "the file that the model was trained on" in errors


def test_predict_classes_with_probabilities(chainrule, trained, tmp_path):
    out = tmp_path / "out.csv"
    status, _, errors = chainrule("predict", trained / "flowers-run", trained / "flowers.csv", "--out", out)
    assert status == 0 and "120 predictions" in errors
    rows, truth = read(out), read(trained / "flowers.csv")
    assert list(rows[0]) == ["prediction", "probability_iris", "probability_lily", "probability_rose"]
    assert sum(row["prediction"] == real["kind"] for row, real in zip(rows, truth)) > 110
    for row in rows:
        values = {name.partition("_")[2]: float(value) for name, value in row.items() if name != "prediction"}
        assert sum(values.values()) == pytest.approx(1, abs=1e-4)
        assert max(values, key=values.get) == row["prediction"]


def test_predict_means_with_standard_deviations_in_own_units(chainrule, trained, tmp_path):
    out = tmp_path / "out.csv"
    assert chainrule("predict", trained / "houses-run", trained / "houses.csv", "--out", out)[0] == 0
    rows, truth = read(out), read(trained / "houses.csv")
    assert list(rows[0]) == ["mean", "standard_deviation"]
    inside = sum(
        abs(float(row["mean"]) - float(real["price"])) < 2 * float(row["standard_deviation"])
        for row, real in zip(rows, truth)
    )
    assert inside > 150
    assert all(float(row["standard_deviation"]) > 0 for row in rows)


def test_predict_needs_no_target_column_and_ignores_others(chainrule, trained, tmp_path):
    path = tables.write_rows(tmp_path / "new.csv", ["extra", "town", "area"], [["x", "Ulm", 100], ["y", "Kiel", 50]])
    status, output, errors = chainrule("predict", trained / "houses-run", path)
    assert status == 0
    assert len(output.splitlines()) == 3
    assert "'town': 1 values were not seen in training ('Kiel'); treated as missing" in errors


def test_predictions_do_not_depend_on_the_other_rows(chainrule, trained, tmp_path):
    header, *lines = (trained / "flowers.csv").read_text().splitlines()
    (tmp_path / "one.csv").write_text("\n".join([header, lines[7]]) + "\n")
    _, alone, _ = chainrule("predict", trained / "flowers-run", tmp_path / "one.csv")
    _, among, _ = chainrule("predict", trained / "flowers-run", trained / "flowers.csv")
    assert alone.splitlines()[1] == among.splitlines()[8]


def test_full_disk_leaves_nothing(trained, tmp_path):
    """The system refuses files above 1000 bytes: no run folder, and the former predictions survive."""
    program = (
        "import resource, signal, sys\n"
        "from chainrule.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    former = tmp_path / "out.csv"
    former.write_text("former")
    flowers = trained / "flowers.csv"
    for arguments in (
        ["train", flowers, "--target", "kind", "epochs=1", "--out", tmp_path / "run"],
        ["predict", trained / "flowers-run", flowers, "--out", former],
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            capture_output=True, text=True, env={**os.environ, "CHAINRULE_CACHE": ""},
        )  # fmt: skip
        assert done.returncode == 2
        assert "could not be written: File too large" in done.stderr
        assert "Traceback" not in done.stderr
    assert former.read_text() == "former"
    assert os.listdir(tmp_path) == ["out.csv"]
