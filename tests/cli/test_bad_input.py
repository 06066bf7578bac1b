"""Each kind of bad input: exit status 2, one message, no traceback, nothing half-written."""

import os
import shutil

import pytest

from . import tables


@pytest.fixture
def refused(chainrule, tmp_path):
    """Run a command that has to fail without leaving anything; returns its one message."""

    def run(*arguments):
        before = sorted(os.listdir(tmp_path))
        status, output, errors = chainrule(*arguments)
        assert status == 2, (output, errors)
        assert "Traceback" not in errors
        assert errors.count("error:") == 1
        assert sorted(os.listdir(tmp_path)) == before
        return errors

    return run


@pytest.fixture
def train(refused, tmp_path):
    """Train on a CSV text."""

    def run(text, target, *arguments):
        path = tmp_path / "t.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return refused("train", path, "--target", target, "--out", tmp_path / "run", *arguments)

    return run


ROWS = "".join(f"{i / 7},{'ab'[i % 2]}\n" for i in range(40))


def test_missing_file(refused, tmp_path):
    assert "there is no file" in refused("train", tmp_path / "none.csv", "--target", "y", "--out", tmp_path / "run")


def test_neither_file_nor_recipe(refused):
    errors = refused("train", "irsi")
    assert "no file and no recipe 'irsi'" in errors and "did you mean 'iris'" in errors


def test_target_is_no_column(train):
    errors = train("x,kind\n" + ROWS, "kin")
    assert "the target 'kin' is not a column" in errors and "did you mean 'kind'" in errors


def test_no_target(refused, tmp_path):
    (tmp_path / "t.csv").write_text("x,kind\n" + ROWS)
    errors = refused("train", tmp_path / "t.csv", "--out", tmp_path / "run")
    assert "--target is needed" in errors and "x, kind" in errors


def test_one_class(train):
    assert "one class only, 'a'" in train("x,y\n" + "".join(f"{i / 7},a\n" for i in range(40)), "y")


@pytest.mark.parametrize("text", ["", "\n\n", "   \n"])
def test_empty_file(train, text):
    assert "is empty" in train(text, "y")


def test_header_only(train):
    assert "no rows" in train("x,y\n", "y")


def test_too_few_rows(train):
    assert "at least 10 are needed" in train("x,y\n1,a\n2,b\n3,a\n", "y")


def test_row_with_too_many_fields(train):
    assert "line 4: too many fields, 3 where the header has 2" in train("x,y\n1,a\n2,b\n3,a,7\n" + ROWS, "y")


def test_column_of_missing_values(train):
    text = "x,z,y\n" + "".join(f"{i / 7},?,{'ab'[i % 2]}\n" for i in range(40))
    errors = train(text, "y")
    assert "column 'z' holds missing values only" in errors and "drop=z" in errors


def test_dropping_that_column_helps(chainrule, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,z,y\n" + "".join(f"{i / 7},?,{'ab'[i % 2]}\n" for i in range(40)))
    assert chainrule("train", path, "--target", "y", "drop=z", "epochs=1", "--out", tmp_path / "run")[0] == 0


def test_target_of_missing_values(train):
    assert "holds missing values only" in train("x,y\n" + "".join(f"{i / 7},NA\n" for i in range(40)), "y")


@pytest.mark.parametrize("place", ["x", "y"])
def test_infinities(train, place):
    lines = [f"{i / 7},{i * 1.5}" for i in range(40)]
    lines[3] = "inf,4.5" if place == "x" else "3,-inf"
    errors = train("x,y\n" + "\n".join(lines), "y")
    assert f"column '{place}' holds the infinite value" in errors and "in line 5" in errors


def test_settings(train):
    assert "did you mean 'epochs'" in train("x,y\n" + ROWS, "y", "epoch=3")
    assert "must be a whole number" in train("x,y\n" + ROWS, "y", "epochs=x")
    assert "not a setting of the form key=value" in train("x,y\n" + ROWS, "y", "fast")
    assert "'z' is not a column" in train("x,y\n" + ROWS, "y", "drop=z")
    assert "leave no rows" in train("x,y\n" + ROWS, "y", "test_fraction=0.8", "validation_fraction=0.3")


def test_divergence(train):
    text = "x,y\n" + "".join(f"{i / 7},{i * 1.5}\n" for i in range(60))
    errors = train(text, "y", "lr=1000", "optimizer=sgd", "momentum=0", "dropout=0", "weight_decay=0")
    assert "training diverged" in errors and "lr=" in errors


def test_run_folder_exists(refused, trained, tmp_path):
    shutil.copytree(trained / "flowers-run", tmp_path / "run")
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    errors = refused("train", trained / "flowers.csv", "--target", "kind", "--out", tmp_path / "run")
    assert "exists already" in errors and "--out" in errors and "run-2" in errors
    assert "exists already" in refused("recipe", "iris-optimisers", "--out", tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before


def test_seed_and_options(refused):
    assert "--seed" in refused("train", "iris", "--seed", "-1")
    assert "--seed" in refused("train", "iris", "--seed", "x")
    assert "unrecognised arguments: --sedd" in refused("train", "iris", "--sedd", "3")
    assert "invalid choice" in refused("train", "iris", "--task", "ranking")
    assert "for CSV files" in refused("train", "iris", "--target", "species")
    assert "invalid choice" in refused("trian", "iris")
    assert "did you mean 'uncertainty'" in refused("recipe", "uncertain")


@pytest.mark.parametrize("damage", ["truncated", "empty", "corrupt", "absent"])
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_damaged_weights(refused, trained, tmp_path, damage, command):
    run = tmp_path / "run"
    shutil.copytree(trained / "flowers-run", run)
    path = run / "model.safetensors"
    data = path.read_bytes()
    if damage == "absent":
        path.unlink()
    else:
        changed = data[:-100] + bytes(100)
        path.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "corrupt": changed}[damage])
    errors = refused(command, run, trained / "flowers.csv")
    assert "model.safetensors" in errors


def test_damaged_config(refused, trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained / "flowers-run", run)
    path = run / "config.json"
    text = path.read_text()
    for changed in ("", "[]", "{}", text[:300], text.replace('"kind": "categorical"', '"kind": "strange"')):
        path.write_text(changed)
        assert "config.json is damaged" in refused("predict", run, trained / "flowers.csv")


def test_run_is_none(refused, trained, tmp_path):
    assert "there is no run folder" in refused("predict", tmp_path / "none", trained / "flowers.csv")
    assert "not a run folder" in refused("predict", tmp_path, trained / "flowers.csv")


def test_tables_that_do_not_fit_the_run(refused, trained, tmp_path):
    lines = (trained / "flowers.csv").read_text().splitlines()
    path = tables.write_rows(tmp_path / "t.csv", ["a", "c", "colour", "kind"], [line.split(",") for line in lines[1:]])
    assert "has no column 'b'" in refused("predict", trained / "flowers-run", path)
    path.write_text("\n".join([*lines, "1,2,red,tulip"]))
    assert "'tulip' is not a class" in refused("evaluate", trained / "flowers-run", path)
    path.write_text("a,b,colour\n1,2,red\n")
    assert "the target 'kind' is not a column" in refused("evaluate", trained / "flowers-run", path)
    path.write_text("a,b,colour\n1,inf,red\n")
    assert "infinite value" in refused("predict", trained / "flowers-run", path)


def test_unseen_categories_are_a_warning(chainrule, trained, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,colour,kind\n0,0,green,rose\n1,-1,green,iris\n")
    status, _, errors = chainrule("evaluate", trained / "flowers-run", path)
    assert status == 0
    assert "warning: 'colour': 2 values were not seen in training ('green'); treated as missing" in errors


def test_output_of_predictions_cannot_be_written(refused, trained, tmp_path):
    flowers = trained / "flowers.csv"
    assert "could not be written" in refused(
        "predict", trained / "flowers-run", flowers, "--out", tmp_path / "no" / "out.csv"
    )
    assert "is a folder" in refused("predict", trained / "flowers-run", flowers, "--out", tmp_path)


def test_data_folder_is_not_set(refused, monkeypatch):
    monkeypatch.delenv("CHAINRULE_DATA", raising=False)
    assert "CHAINRULE_DATA" in refused("train", "titanic")
