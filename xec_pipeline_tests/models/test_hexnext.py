import pytest
import torch
from torch import nn

from xec_pipeline.detector.layout import LEGACY, PHYSICAL
from xec_pipeline.models.hexnext import HexConv, HexEncoder


def numbered(layout):
    """Return a convolution whose weight in slot t is t."""
    conv = HexConv(1, layout.hex_neighbours)
    with torch.no_grad():
        conv.weight.copy_(torch.arange(7.0).view(1, 7, 1))
    return conv


@pytest.mark.golden
@torch.no_grad()
def test_published_sums():
    y = numbered(LEGACY)(torch.arange(73.0).view(1, 73, 1)).flatten()
    assert y[[0, 12, 40, 72]].tolist() == [34, 222, 810, 142]
    assert float(y.sum()) == 41394


@pytest.mark.parametrize("layout", [LEGACY, PHYSICAL], ids=lambda layout: layout.name)
def test_equals_a_sum_over_edges(layout):
    conv = HexConv(3, layout.hex_neighbours)
    nn.init.normal_(conv.bias)
    x = torch.randn(2, 73, 3)
    expected = conv.bias.expand(2, 73, 3).clone()
    for sender, receiver, slot in layout.hex_edges.T:
        expected[:, receiver] += conv.weight[0, slot] * x[:, sender]
    torch.testing.assert_close(conv(x), expected)


def test_hidden_nodes_do_not_matter():
    encoder = HexEncoder(PHYSICAL.hex_neighbours, 8, 16, n_layers=2).eval()
    x = torch.randn(2, 73, 2)
    hidden = torch.rand(2, 73) < 0.3
    other = torch.where(hidden[..., None], torch.randn(2, 73, 2), x)
    torch.testing.assert_close(encoder(x, hidden), encoder(other, hidden), rtol=0, atol=0)
    assert not torch.allclose(encoder(x), encoder(other))
