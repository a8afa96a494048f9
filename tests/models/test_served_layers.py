"""Linear maps that oneDNN computes: the same numbers, gradients and weights, few different sizes."""

from typing import Any

import pytest
import torch
from torch import nn

from iec_hub.models.served_layers import ServedLinear, ServedPointwise, serve_by_onednn


def served(layer: nn.Module) -> nn.Module:
    holder = nn.Sequential(layer)
    serve_by_onednn(holder)
    return holder[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3,), (95,), (96,), (2, 50), (7, 131)])
def test_a_linear_map_gives_the_same_numbers_and_gradients(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(48, 30, bias=bias)
    ours, inputs = served(plain), torch.randn(*shape, 48)
    assert type(ours) is ServedLinear and ours.weight is plain.weight and ours.bias is plain.bias
    results = []
    for layer in (ours, plain):
        given = inputs.clone().requires_grad_()
        output = layer(given)
        assert output.shape == (*shape, 30)
        results.append((output, *torch.autograd.grad(output.square().sum(), given)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", [0, "valid", "same"])
@pytest.mark.parametrize(("batch", "side"), [(1, 4), (1, 40), (3, 12)])
def test_a_pointwise_convolution_gives_the_same_numbers_and_gradients(batch: int, side: int, padding: Any) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(20, 36, 1, padding=padding).to(memory_format=torch.channels_last)
    ours, pixels = served(plain), torch.randn(batch, 20, side, side).to(memory_format=torch.channels_last)
    assert type(ours) is ServedPointwise and ours.weight is plain.weight
    results = []
    for layer in (ours, plain):
        given = pixels.clone().requires_grad_()
        output = layer(given)
        results.append((output, *torch.autograd.grad(output.square().sum(), given)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert results[0][0].is_contiguous(memory_format=torch.channels_last), "the next layer had to copy it"


class _Special(nn.Linear):
    """As quantised layers and those of attention are: it multiplies in its own way."""


@pytest.mark.parametrize(
    "layer",
    [
        _Special(4, 4),
        nn.Linear(4, 4, dtype=torch.bfloat16),
        nn.Linear(4, 4, device="meta"),
        nn.Linear(2**12, 2**11, device="meta"),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 1, stride=2),
        nn.Conv2d(4, 4, 1, groups=2),
        nn.Conv2d(4, 4, 1, padding=1),
    ],
    ids=str,
)
def test_other_layers_stay_as_they_are(layer: nn.Module) -> None:
    assert served(layer) is layer


def test_few_different_sizes_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = set()
    through = torch.mkldnn_convolution

    def noted(inputs: torch.Tensor, *rest: Any) -> torch.Tensor:
        sizes.add(tuple(inputs.shape))
        return through(inputs, *rest)

    monkeypatch.setattr(torch, "mkldnn_convolution", noted)
    layer = served(nn.Linear(4, 4))
    for rows in range(1, 2000, 3):
        assert layer(torch.zeros(rows, 4)).shape == (rows, 4)
    assert 3 <= len(sizes) <= 12
