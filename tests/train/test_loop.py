"""The training loop."""

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, objectives, optim
from chainrule.errors import ConfigError, RunError
from chainrule.train import fit, predict
from chainrule.train.loop import batch_sizes


def line(rows=64):
    x = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    return x, (2 * x[:, 0] + 1).astype(np.float32)


def model():
    cr.manual_seed(0)
    return nn.Linear(1, 1)


def mean_squared(outputs, targets):
    return nn.functional.mse_loss(outputs.reshape((-1,)), targets)


def test_learns_a_line():
    network = model()
    history = fit(network, mean_squared, optim.SGD(network.parameters(), lr=0.2), line(), epochs=60, batch_size=10)
    assert len(history.records) == history.best_epoch == 60
    assert history.series("train_loss")[-1] < 1e-6
    assert predict(network, np.zeros((3, 1), np.float32)) == pytest.approx(np.ones((3, 1)), abs=1e-3)


def test_equals_the_plain_loop_on_full_batches():
    data = line(16)
    network, reference = model(), model()
    fit(network, mean_squared, optim.SGD(network.parameters(), lr=0.1), data, epochs=5, batch_size=100)
    optimizer = optim.SGD(reference.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        mean_squared(reference(cr.tensor(data[0])), cr.tensor(data[1])).backward()
        optimizer.step()
    for name, value in network.state_dict().items():
        # the rows stand in another order, so that sums round differently
        assert value.numpy() == pytest.approx(reference.state_dict()[name].numpy(), abs=1e-6)


def test_same_seed_same_bits():
    results = []
    for seed in (3, 3, 4):
        network = model()
        fit(network, mean_squared, optim.Adam(network.parameters()), line(50), epochs=3, batch_size=16, seed=seed)
        results.append(network.state_dict()["weight"].numpy().tobytes())
    assert results[0] == results[1] != results[2]


def test_early_stopping_restores_the_best_weights():
    network = model()
    values = iter([3.0, 1.0, 2.0, 2.0, 2.0, 0.5])
    seen = []

    def measure(outputs, targets):
        seen.append(network.state_dict()["weight"].numpy().copy())
        return {"loss": next(values)}

    history = fit(
        network, mean_squared, optim.SGD(network.parameters(), lr=0.1), line(), epochs=10, batch_size=64,
        validation=line(8), patience=3, measure=measure,
    )  # fmt: skip
    assert history.stopped_early
    assert history.best_epoch == 2
    assert len(history.records) == 5
    assert np.array_equal(network.state_dict()["weight"].numpy(), seen[1])
    assert not np.array_equal(seen[1], seen[-1])


def test_validation_by_the_objective():
    network = model()
    history = fit(network, mean_squared, optim.SGD(network.parameters(), lr=0.2), line(), epochs=20, validation=line(9))
    assert history.series("validation_loss")[-1] < 1e-2


def test_unbound_optimizer_and_callbacks():
    network, epochs = model(), []
    fit(network, mean_squared, lambda p: optim.SGD(p, lr=0.1), line(), epochs=3, callbacks=[epochs.append])
    assert epochs == [1, 2, 3]
    fit(network, mean_squared, optim.SGD(lr=0.1), line(), epochs=1)


def test_dropout_is_off_outside_training():
    cr.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    fit(network, objectives.Gaussian(), optim.Adam(network.parameters()), line(), epochs=2, validation=line(8))
    assert network.training
    x = line(5)[0]
    assert np.array_equal(predict(network, x), predict(network, x))
    assert network.training


def test_divergence_is_one_clear_error():
    network = model()
    with pytest.raises(RunError, match="training diverged: the loss of epoch"):
        fit(network, mean_squared, optim.SGD(network.parameters(), lr=1e20), line(), epochs=10)


def test_bad_arguments():
    network = model()
    optimizer = optim.SGD(network.parameters(), lr=0.1)
    x, y = line()
    with pytest.raises(ConfigError, match="64 rows of inputs and 63 of targets"):
        fit(network, mean_squared, optimizer, (x, y[1:]), epochs=1)
    with pytest.raises(ConfigError, match="batch_size"):
        fit(network, mean_squared, optimizer, (x, y), epochs=1, batch_size=0)


def test_batch_sizes():
    assert batch_sizes(10, 4).tolist() == [4, 4, 2]
    assert batch_sizes(8, 4).tolist() == [4, 4]
