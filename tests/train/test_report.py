"""The report of a training run."""

import base64
import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, RunError
from chainrule.train import History, fit
from chainrule.train.metrics import calibration, calibration_error

PNG = re.compile(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)">')


def trained(epochs=70, **options):
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    labels = (x[:, 0] > 0.2).astype(np.int64)
    cr.manual_seed(0)
    return cr.fit(
        cr.nn.Linear(1, 2), cr.objectives.Categorical(), cr.optim.AdamW(lr=1e-2), (x, labels), epochs=epochs, **options
    )


def test_fit_is_the_training_rooms():
    assert cr.fit is fit


def test_report_shows_curves_and_epochs(tmp_path):
    def measure(outputs, targets):
        return {"loss": 1.0, "accuracy": float((outputs.argmax(1) == targets).mean())}

    run = trained(validation=(np.zeros((3, 1), np.float32), np.zeros(3, np.int64)), measure=measure)
    path = run.report(tmp_path / "run.html", title="a < b")
    assert path == tmp_path / "run.html"
    page = path.read_text(encoding="utf-8")
    assert "<h1>a &lt; b</h1>" in page
    assert "70 epochs in" in page and "the weights are those of epoch 1; calibration error" in page
    pictures = PNG.findall(page)
    assert [name for name, _ in pictures] == ["Loss", "Accuracy", "Calibration"]
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for _, image in pictures)
    assert re.findall(r"<th>(.*?)</th>", page) == ["epoch", "train loss", "validation loss", "validation accuracy"]
    rows = re.findall(r"<tr.*?><td>(\d+)</td><td>(.*?)</td>", page)
    assert [int(epoch) for epoch, _ in rows] == [1, *range(2, 71, 2)]
    assert [float(loss) for _, loss in rows] == pytest.approx([run.records[int(e) - 1]["train_loss"] for e, _ in rows],
                                                              rel=1e-5)  # fmt: skip
    assert page.count('<tr class="best"><td>1</td>') == 1


def test_calibration():
    """Bins by confidence, against the definition row by row."""
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(500, 3)) * 2, random.integers(0, 3, 500)
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = calibration(logits, labels, bins=5)
    assert sum(part["count"] for part in found) == 500
    wanted, error = [], 0.0
    for low in np.arange(5) / 5:
        rows = [n for n in range(500) if low < odds[n].max() <= low + 0.2]
        if rows:
            sure = np.mean([odds[n].max() for n in rows])
            right = np.mean([odds[n].argmax() == labels[n] for n in rows])
            wanted.append((sure, right, len(rows)))
            error += abs(sure - right) * len(rows) / 500
    assert [tuple(part.values()) for part in found] == [pytest.approx(part) for part in wanted]
    assert calibration_error(found) == pytest.approx(error)
    assert calibration(np.array([[1000.0, 0.0]]), np.array([0])) == [{"confidence": 1.0, "accuracy": 1.0, "count": 1.0}]


def test_calibration_is_that_of_the_restored_weights(tmp_path):
    x = np.linspace(-1, 1, 31, dtype=np.float32)[:, None]
    labels = (x[:, 0] > 0.2).astype(np.int64)
    model = cr.nn.Linear(1, 2)
    run = cr.fit(
        model, cr.objectives.Categorical(), cr.optim.SGD(lr=0.5), (x, labels), epochs=9, validation=(x, labels)
    )
    assert run.calibration == calibration(model(cr.asarray(x)).detach().numpy(), labels)
    error = f"calibration error on validation data {calibration_error(run.calibration):.3f}."
    assert error in run.report(tmp_path / "run.html").read_text()
    line = cr.nn.Linear(1, 1)
    other = cr.fit(line, cr.nn.functional.mse_loss, cr.optim.SGD(lr=0.1), (x, x), epochs=1, validation=(x, x))
    assert not other.calibration
    assert "calibration" not in other.report(tmp_path / "run.html").read_text()


def test_report_replaces_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained(epochs=2).report()
    first = (tmp_path / "report.html").read_text()
    trained(epochs=3).report()
    assert (tmp_path / "report.html").read_text() != first
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_report_refuses(tmp_path):
    with pytest.raises(ConfigError, match="the run has no epochs to show"):
        History().report(tmp_path / "run.html")
    with pytest.raises(RunError, match="nowhere"):
        trained(epochs=1).report(tmp_path / "nowhere" / "run.html")
    assert not list(tmp_path.iterdir())


def test_curves_below_zero_are_drawn(tmp_path):
    """A density's negative log-likelihood may be negative, where no logarithmic axis reaches."""
    run = History([{"epoch": 1, "train_loss": 1.0}, {"epoch": 2, "train_loss": -1.0}], best_epoch=2)
    assert "Loss" in dict(PNG.findall(run.report(tmp_path / "run.html").read_text()))
