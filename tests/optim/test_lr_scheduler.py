"""Learning-rate schedules against PyTorch over 40 steps."""

import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ConfigError

torch = pytest.importorskip("torch")

CASES = [
    ("StepLR", {"step_size": 7, "gamma": 0.3}),
    ("MultiStepLR", {"milestones": [3, 3, 20], "gamma": 0.5}),
    ("ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.01}),
    ("LinearLR", {"start_factor": 0.25, "end_factor": 0.75, "total_iters": 9}),
    ("LambdaLR", {"lr_lambda": lambda k: 1 / (1 + k)}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 41, "cycle_momentum": False}),
    ("OneCycleLR", {"max_lr": 0.7, "epochs": 6, "steps_per_epoch": 7, "anneal_strategy": "linear"}),
]


def optimizers():
    ours = optim.SGD([{"params": [nn.Parameter(cr.ones((1,)))]}, {"params": [nn.Parameter(cr.ones((1,)))], "lr": 0.5}],
                     lr=0.1)  # fmt: skip
    one = lambda: torch.nn.Parameter(torch.ones(1))  # noqa: E731
    theirs = torch.optim.SGD([{"params": [one()]}, {"params": [one()], "lr": 0.5}], lr=0.1)
    return ours, theirs


def rates(optimizer):
    return [float(g["lr"]) for g in optimizer.param_groups]


def make(optimizer, kit, name, options):
    if kit is optim:
        options = {k: v for k, v in options.items() if k != "cycle_momentum"}
    elif name == "OneCycleLR":
        options = {**options, "cycle_momentum": False}
    return getattr(kit.lr_scheduler, name)(optimizer, **options)


@pytest.mark.parametrize("name, options", CASES, ids=[f"{n} {i}" for i, (n, _) in enumerate(CASES)])
@pytest.mark.filterwarnings("ignore")
def test_rates(name, options):
    a, b = optimizers()
    ours, theirs = make(a, optim, name, options), make(b, torch.optim, name, options)
    for _ in range(40):
        assert rates(a) == pytest.approx(rates(b), rel=1e-9, abs=1e-12)
        assert ours.get_last_lr() == pytest.approx(theirs.get_last_lr(), rel=1e-9, abs=1e-12)
        ours.step()
        theirs.step()


def test_resuming():
    a, _ = optimizers()
    schedule = optim.lr_scheduler.StepLR(a, 3, 0.5)
    for _ in range(4):
        schedule.step()
    b, _ = optimizers()
    other = optim.lr_scheduler.StepLR(b, 99)
    b.load_state_dict(a.state_dict())
    other.load_state_dict(schedule.state_dict())
    for _ in range(5):
        schedule.step()
        other.step()
        assert rates(a) == rates(b)


def test_errors():
    a, _ = optimizers()
    with pytest.raises(ConfigError, match="no optimiser"):
        optim.lr_scheduler.ExponentialLR(nn.Linear(1, 1), 0.9)
    with pytest.raises(ConfigError, match="functions for 2 groups"):
        optim.lr_scheduler.LambdaLR(a, [lambda k: 1.0])
    with pytest.raises(ConfigError, match="total_steps"):
        optim.lr_scheduler.OneCycleLR(a, 1.0)
    short = optim.lr_scheduler.OneCycleLR(a, 1.0, total_steps=2)
    short.step()
    with pytest.raises(ConfigError, match="of a schedule of 2 steps"):
        short.step()
