import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.models.blocks import ConvNeXtBlock, DropPath, Fusion, FusionLayer, ResponseNorm


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(3)


def test_response_norm_numbers():
    norm = ResponseNorm(2)
    nn.init.ones_(norm.gamma)
    nn.init.constant_(norm.beta, 0.5)
    result = norm(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])).flatten().tolist()
    assert result == pytest.approx([2.3284269, 4.8431451, 5.9852807, 9.1862903], abs=1e-5)


def test_response_norm_folds_into_the_linear_layer():
    norm, linear = ResponseNorm(12).double(), nn.Linear(12, 5).double()
    nn.init.normal_(norm.gamma)
    nn.init.normal_(norm.beta)
    x = torch.randn(3, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(norm.then_linear(x, linear), linear(norm(x)), rtol=0, atol=1e-13)


def test_response_norm_of_nothing_is_finite_with_its_gradient():
    norm, linear = ResponseNorm(4), nn.Linear(4, 2)
    x = torch.zeros(2, 3, 4, requires_grad=True)
    norm.then_linear(x, linear).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def straightforward(block: ConvNeXtBlock, x, visible):
    """Compute the block as the paper writes it, channels first."""
    y = block.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    if visible is not None:
        x, y = x * visible, y * visible
    y = F.gelu(block.pwconv1(block.norm(y)))
    g = y.norm(dim=(1, 2), keepdim=True)
    y = block.grn.gamma * (y * g / (g.mean(dim=-1, keepdim=True) + 1e-6)) + block.grn.beta + y
    return x + block.pwconv2(y)


@pytest.mark.parametrize("masked", [False, True])
def test_convnext_block_is_the_paper_s(masked):
    block = ConvNeXtBlock(6).double()
    nn.init.normal_(block.grn.gamma)
    nn.init.normal_(block.grn.beta)
    x = torch.randn(2, 9, 8, 6, dtype=torch.float64)
    visible = (torch.rand(2, 9, 8, 1) > 0.4).double() if masked else None
    torch.testing.assert_close(block(x, visible), straightforward(block, x, visible))


@pytest.mark.parametrize("norm_first", [False, True])
def test_fusion_layer_is_torch_s(norm_first):
    reference = nn.TransformerEncoderLayer(
        16, 8, 40, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_first
    ).double()
    layer = FusionLayer(16, 40, 0.0, norm_first=norm_first).double()
    layer.load_state_dict(reference.state_dict())
    x = torch.randn(3, 6, 16, dtype=torch.float64)
    torch.testing.assert_close(layer(x), reference(x), rtol=0, atol=1e-12)


def test_fusion_drops_out_only_in_training():
    fusion = Fusion(16, 2, None, 0.5)
    x = torch.randn(3, 6, 16)
    assert not torch.equal(fusion(x), fusion(x))
    fusion.eval()
    assert torch.equal(fusion(x), fusion(x))


def test_drop_path_keeps_the_mean_and_whole_events():
    drop = DropPath(0.25)
    y = drop(torch.ones(4000, 2, 3))
    assert y.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(y[:, 0, 0], y[:, 1, 2])
    assert float(y.mean()) == pytest.approx(1.0, abs=0.05)
    assert torch.equal(drop.eval()(y), y)
