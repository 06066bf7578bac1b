"""The report of a training run."""

import base64
import re

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ConfigError, RunError
from chainrule.train import History, fit

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
    assert "70 epochs in" in page and "the weights are those of epoch 1." in page
    pictures = PNG.findall(page)
    assert [name for name, _ in pictures] == ["Loss", "Accuracy"]
    assert all(base64.b64decode(image).startswith(b"\x89PNG") for _, image in pictures)
    assert re.findall(r"<th>(.*?)</th>", page) == ["epoch", "train loss", "validation loss", "validation accuracy"]
    rows = re.findall(r"<tr.*?><td>(\d+)</td><td>(.*?)</td>", page)
    assert [int(epoch) for epoch, _ in rows] == [1, *range(2, 71, 2)]
    assert [float(loss) for _, loss in rows] == pytest.approx([run.records[int(e) - 1]["train_loss"] for e, _ in rows],
                                                              rel=1e-5)  # fmt: skip
    assert page.count('<tr class="best"><td>1</td>') == 1


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
