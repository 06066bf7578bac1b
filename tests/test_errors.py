"""Errors of constructors and options name the user's line, as those of operations do."""

import inspect

import pytest

import chainrule as cr
from chainrule import nn, objectives, optim
from chainrule.errors import ConfigError, DTypeError

F = nn.functional
P = nn.Linear(2, 2).parameters

WRONG = {
    "Linear": lambda: nn.Linear(0, 2),
    "Conv2d": lambda: nn.Conv2d(3, 4, 3, groups=2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(3, 4, 3, output_padding=1),
    "MaxPool2d": lambda: nn.MaxPool2d("3"),
    "MaxPool1d": lambda: nn.MaxPool1d(3, padding=2),
    "AvgPool1d": lambda: nn.AvgPool1d(2, stride=0),
    "AvgPool3d": lambda: nn.AvgPool3d((2, 2)),
    "LPPool2d": lambda: nn.LPPool2d(0, 2),
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d((1, 2, 3)),
    "AdaptiveMaxPool1d": lambda: nn.AdaptiveMaxPool1d(0),
    "Upsample": lambda: nn.Upsample(mode="nearest"),
    "UpsamplingNearest2d": lambda: nn.UpsamplingNearest2d(2, 3),
    "PixelShuffle": lambda: nn.PixelShuffle(0),
    "PixelUnshuffle": lambda: nn.PixelUnshuffle(1.5),
    "Unfold": lambda: nn.Unfold(2, stride=0),
    "Fold": lambda: nn.Fold((4, 4, 4), 2),
    "ZeroPad2d": lambda: nn.ZeroPad2d(1.5),
    "BatchNorm1d": lambda: nn.BatchNorm1d(4, eps="small"),
    "InstanceNorm1d": lambda: nn.InstanceNorm1d(4, momentum="x"),
    "LayerNorm": lambda: nn.LayerNorm(3.5),
    "RMSNorm": lambda: nn.RMSNorm(3, eps=-1.0),
    "GRU": lambda: nn.GRU(2, 3, activation="tanh"),
    "LSTMCell": lambda: nn.LSTMCell(2, 3, gate_activation=None),
    "RNN": lambda: nn.RNN(2, 3, dropout="half"),
    "scaled_dot_product_attention": lambda: F.scaled_dot_product_attention(*[cr.ones((1, 2))] * 3, scale="none"),
    "dropout": lambda: F.dropout(cr.ones(2), "half"),
    "GradScaler": lambda: optim.GradScaler(init_scale=0),
    "MultiheadAttention": lambda: nn.MultiheadAttention(10, 3),
    "GroupNorm": lambda: nn.GroupNorm(3, 4),
    "GELU": lambda: nn.GELU("sigmoid"),
    "EmbeddingBag": lambda: nn.EmbeddingBag(3, 2, mode="least"),
    "LSTM": lambda: nn.LSTM(2, -1),
    "TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(8, 2, activation="none"),
    "gelu": lambda: F.gelu(cr.ones(2), approximate="sigmoid"),
    "mse_loss": lambda: F.mse_loss(cr.ones(2), cr.ones(2), reduction="least"),
    "huber_loss": lambda: F.huber_loss(cr.ones(2), cr.ones(2), delta=0),
    "SGD": lambda: optim.SGD(P(), lr=0.1, nesterov=True),
    "Adam": lambda: optim.Adam(P(), lr=-1.0),
    "RMSprop": lambda: optim.RMSprop(P(), alpha=2.0),
    "LBFGS": lambda: optim.LBFGS(P(), max_iter=0),
    "StepLR": lambda: optim.lr_scheduler.StepLR(optim.SGD(P(), lr=0.1), 0),
    "Gaussian": lambda: objectives.Gaussian(spread=-1),
    "compile": lambda: cr.compile(lambda x: x, tune=-1),
    "autocast": lambda: cr.autocast("float64"),
    "fit": lambda: cr.fit(nn.Linear(1, 1), F.mse_loss, optim.SGD(lr=0.1), ([], []), epochs=1),
    "jacfwd": lambda: cr.jacfwd(cr.sin, chunk_size=0),
    "tree_unflatten": lambda: cr.tree_unflatten(cr.tree_structure([1, 2]), [1]),
    "tree_map": lambda: cr.tree_map(lambda a, b: a, [1], [1, 2]),
    "tree_reduce": lambda: cr.tree_reduce(max, []),
    "vmap": lambda: cr.vmap(lambda x: x, in_axes=({"a": 0},))(P()),
    "set_num_threads": lambda: cr.set_num_threads(0),
    "set_memory_limit": lambda: cr.set_memory_limit(-1),
    "profile": lambda: cr.profile().text(),
    "explain": lambda: cr.explain(3),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_name_the_line(name):
    with pytest.raises(ConfigError) as caught:
        WRONG[name]()
    problem, place = str(caught.value).splitlines()[:2]
    assert problem.startswith(f"{name}: ")
    _, line = inspect.getsourcelines(WRONG[name])
    assert place == f"recorded at {__file__}:{line}"


def test_a_wrong_dtype_names_the_line():
    with pytest.raises(DTypeError, match=r"'real' is not a dtype of Chainrule; .*\nrecorded at .*test_errors.py:\d+$"):
        cr.zeros(2, dtype="real")


def test_the_cure_comes_last():
    with pytest.raises(ConfigError) as caught:
        nn.MultiheadAttention(10, 3)
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [
        "MultiheadAttention:",
        "recorded",
        "help:",
    ]


def test_a_layer_of_the_users_own():
    """The line is that of the layer's own constructor: the first one outside the package."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 0)

    with pytest.raises(ConfigError, match=r"Linear: out_features must be .*\nrecorded at .*test_errors.py:\d+$"):
        Own()


def test_widths_of_keys_and_values():
    for width in ("kdim", "vdim"):
        with pytest.raises(ConfigError, match=f"MultiheadAttention: {width} must be a positive whole number, not 0"):
            nn.MultiheadAttention(4, 2, **{width: 0})


@pytest.mark.parametrize("transform", [cr.grad, cr.value_and_grad, cr.vjp, cr.vmap, cr.jacfwd, cr.hessian, cr.compile])
def test_what_is_no_function_is_refused_at_once(transform):
    with pytest.raises(ConfigError, match=r"(f|function) is no function but Own\nrecorded at .*test_errors.py:\d+$"):
        transform(type("Own", (), {})())
