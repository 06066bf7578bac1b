"""Convolutions, pooling and resampling as layers: keys, printing, initial values and results are PyTorch's."""

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ConfigError

torch = pytest.importorskip("torch")

LAYERS = [
    (lambda kit: kit.Conv1d(4, 6, 3), (2, 4, 9)),
    (lambda kit: kit.Conv1d(4, 6, 2, padding="same", padding_mode="circular", bias=False), (2, 4, 9)),
    (lambda kit: kit.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), groups=2), (2, 4, 8, 7)),
    (lambda kit: kit.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="reflect", dilation=2), (4, 8, 7)),
    (lambda kit: kit.Conv2d(4, 2, 3, padding="valid"), (2, 4, 8, 7)),
    (lambda kit: kit.Conv3d(4, 2, 3, padding=1, padding_mode="replicate"), (1, 4, 4, 3, 5)),
    (lambda kit: kit.ConvTranspose1d(4, 6, 3, stride=3, output_padding=2), (2, 4, 5)),
    (lambda kit: kit.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 4, 5, 6)),
    (lambda kit: kit.ConvTranspose3d(4, 2, 2, bias=False, dilation=(1, 2, 1)), (4, 3, 4, 3)),
    (lambda kit: kit.MaxPool1d(2), (2, 3, 7)),
    (lambda kit: kit.MaxPool2d(3, 2, 1), (2, 3, 7, 8)),
    (lambda kit: kit.MaxPool3d((1, 2, 2), ceil_mode=True), (2, 3, 3, 5, 4)),
    (lambda kit: kit.AvgPool1d(2, 1), (2, 3, 7)),
    (lambda kit: kit.AvgPool2d((2, 3), padding=1, count_include_pad=False), (2, 3, 7, 8)),
    (lambda kit: kit.AvgPool3d(2, divisor_override=5), (2, 3, 4, 5, 4)),
    (lambda kit: kit.LPPool1d(2, 3), (2, 3, 7)),
    (lambda kit: kit.LPPool2d(2.0, 2, stride=1), (2, 3, 7, 6)),
    (lambda kit: kit.AdaptiveAvgPool1d(3), (2, 3, 7)),
    (lambda kit: kit.AdaptiveAvgPool2d((None, 1)), (2, 3, 7, 5)),
    (lambda kit: kit.AdaptiveAvgPool3d(2), (2, 3, 4, 5, 4)),
    (lambda kit: kit.AdaptiveMaxPool1d(2), (3, 7)),
    (lambda kit: kit.AdaptiveMaxPool2d(2), (2, 3, 7, 6)),
    (lambda kit: kit.AdaptiveMaxPool3d((1, 2, 3)), (2, 3, 4, 5, 4)),
    (lambda kit: kit.Upsample(scale_factor=2), (2, 3, 4, 5)),
    (lambda kit: kit.Upsample((5, 7), mode="bilinear", align_corners=True), (2, 3, 4, 5)),
    (lambda kit: kit.UpsamplingNearest2d(scale_factor=(2, 3)), (2, 3, 4, 5)),
    (lambda kit: kit.UpsamplingBilinear2d(size=6), (2, 3, 4, 5)),
    (lambda kit: kit.PixelShuffle(2), (2, 8, 3, 2)),
    (lambda kit: kit.PixelUnshuffle(2), (2, 3, 4, 6)),
    (lambda kit: kit.Unfold(2, padding=1, stride=2), (2, 3, 4, 6)),
    (lambda kit: kit.Fold((4, 5), 2), (2, 8, 12)),
    (lambda kit: kit.ConstantPad1d((1, 2), 3.5), (2, 3, 4)),
    (lambda kit: kit.ZeroPad2d(1), (2, 3, 4, 5)),
    (lambda kit: kit.ReflectionPad2d((1, 2, 0, 1)), (3, 4, 5)),
    (lambda kit: kit.ReplicationPad3d(2), (1, 3, 4, 5, 2)),
    (lambda kit: kit.CircularPad1d(2), (3, 4)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_layers_are_torchs(make, shape):
    ours, theirs = make(nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    x = np.abs(np.random.default_rng(0).normal(size=shape)).astype(np.float32)
    a, b = ours(cr.asarray(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    "make", [lambda kit: kit.Conv2d(8, 40, 5, groups=2), lambda kit: kit.ConvTranspose2d(40, 8, 5, groups=2)]
)
def test_initial_values_have_torchs_distribution(make):
    """Uniform within the same bound, which the largest of many draws nearly reaches."""
    cr.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = make(nn), make(torch.nn)
    bound = 1 / math.sqrt(math.prod(ours.weight.shape[1:]))
    for values in (ours.weight.detach().numpy(), theirs.weight.detach().numpy()):
        assert 0.999 * bound < np.abs(values).max() <= bound
        assert abs(values.std() / (bound / math.sqrt(3)) - 1) < 0.02
    assert np.abs(ours.bias.detach().numpy()).max() <= bound
    assert np.abs(ours.bias.detach().numpy()).max() > 0.7 * bound


def test_output_size_chooses_among_the_possible_ones():
    ours, theirs = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1), torch.nn.ConvTranspose2d(2, 3, 3, 2, 1)
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(1).normal(size=(1, 2, 4, 5)).astype(np.float32)
    for size in ((7, 9), (8, 10), (7, 10), (1, 3, 8, 9)):
        a, b = ours(cr.asarray(x), size), theirs(torch.tensor(x), size)
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=2e-6)
    with pytest.raises(ConfigError, match=r"output_size \(9, 9\) must lie between \[7, 9\] and \[8, 10\]"):
        ours(cr.asarray(x), (9, 9))


def test_training_a_small_network_is_torchs():
    """Three steps of gradient descent through convolution, pooling and a linear map."""

    def network(kit):
        return kit.Sequential(
            kit.Conv2d(1, 4, 3, padding=1), kit.ReLU(), kit.MaxPool2d(2), kit.Conv2d(4, 6, 3, stride=2), kit.ReLU(),
            kit.AdaptiveAvgPool2d(1), kit.Flatten(), kit.Linear(6, 3),
        )  # fmt: skip

    ours, theirs = network(nn), network(torch.nn)
    ours.load_state_dict(theirs.state_dict())
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(8, 1, 10, 10)).astype(np.float32), rng.integers(0, 3, 8)
    a, b = cr.optim.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(3):
        a.zero_grad()
        b.zero_grad()
        nn.functional.cross_entropy(ours(cr.asarray(x)), cr.asarray(y)).backward()
        torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y)).backward()
        a.step()
        b.step()
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key].numpy(), value.numpy(), rtol=2e-4, atol=2e-6)


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: nn.Conv2d(0, 3, 3), "Conv2d: in_channels must be a positive whole number, not 0"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "Conv2d: in_channels 3 does not divide into 2 groups"),
        (lambda: nn.Conv2d(4, 3, 3, groups=2), "Conv2d: out_channels 3 does not divide into 2 groups"),
        (lambda: nn.Conv2d(4, 3, (3, 3, 3)), "Conv2d: kernel_size must be a number or two, whole and at least 1, not"),
        (lambda: nn.Conv2d(4, 3, 3, 2, "same"), "Conv2d: padding 'same' keeps the extents, which stride (2, 2) does"),
        (lambda: nn.Conv2d(4, 3, 3, padding_mode="edge"), "Conv2d: padding_mode must be one of ('zeros', 'reflect',"),
        (lambda: nn.ConvTranspose2d(4, 3, 3, padding="same"), "ConvTranspose2d: padding must be numbers, not 'same'"),
        (lambda: nn.ConvTranspose1d(4, 3, 3, padding_mode="reflect"),
         "ConvTranspose1d: padding_mode must be one of ('zeros',), not 'reflect'"),
        (lambda: nn.ReflectionPad2d((1, 2)), "ReflectionPad2d: padding must be a whole number or 4 of them, not"),
    ],
)  # fmt: skip
def test_messages(make, text):
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value).startswith(text)
