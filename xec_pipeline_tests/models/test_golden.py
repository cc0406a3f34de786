"""The public architecture must give the numbers that were measured with its original program."""

import pytest
import torch

from xec_pipeline.config.model import ModelConfig
from xec_pipeline.detector.layout import LEGACY
from xec_pipeline.models.encoder import XecV1Encoder
from xec_pipeline.models.regressor import Regressor
from xec_pipeline_tests.models.deterministic import (
    mask,
    masked_input,
    plain_input,
    set_weights,
    signature,
)

pytestmark = pytest.mark.golden

FINE = {
    "plain": (1.141291, 701.976866, 0.61819433, -0.30081460),
    "masked, with mask": (1.124028, 681.018462, -1.12157945, -0.27896970),
    "masked, without mask": (0.655765, 662.632710, 0.43708062, -0.23159958),
}
POOLED = {
    "plain": (1.140837, 702.011460, 0.61818985, -0.30081652),
    "masked, with mask": (0.574702, 673.129601, -1.12067171, -0.27909208),
    "masked, without mask": (0.469119, 653.118028, 0.43701660, -0.23158716),
}
CASES = [
    (pool, name, numbers)
    for pool, table in ((None, FINE), ((2, 2), POOLED))
    for name, numbers in table.items()
]
TOKENS = (58.22047, 61.41171, 60.12901, 59.06659, 57.26412, 57.27406)


def encoder(pool):
    config = ModelConfig(
        encoder_dim=64,
        num_fusion_layers=1,
        dim_feedforward=256,
        outer_fine_pool=pool,
        layout="legacy",
    )
    return XecV1Encoder(config, LEGACY, sentinel_time=-1.0).double()


@torch.no_grad()
@pytest.mark.parametrize(("pool", "case", "expected"), CASES)
def test_encoder_tokens(pool, case, expected):
    network = set_weights(encoder(pool))
    x = plain_input() if case == "plain" else masked_input()
    tokens = network.forward_features(x, mask() if case == "masked, with mask" else None)
    assert tokens.shape == (2, 6, 64)
    assert signature(tokens) == pytest.approx(expected, abs=1e-5)


@torch.no_grad()
def test_each_token():
    tokens = set_weights(encoder(None)).forward_features(plain_input())
    assert tokens[0].abs().sum(dim=1).tolist() == pytest.approx(TOKENS, abs=1e-5)


@torch.no_grad()
def test_regressor():
    heads = {"angle": 2, "energy": 2, "timing": 1, "uvwFI": 3}
    network = set_weights(Regressor(encoder((2, 2)), heads, hidden_dim=16, dropout=0.2).double())
    found = {task: output[0].tolist() for task, output in network(plain_input()).items()}
    assert found["angle"] == pytest.approx((0.0615514, 0.0529029), abs=1e-6)
    assert found["energy"] == pytest.approx((0.0124202, -0.0022303), abs=1e-6)
    assert found["timing"] == pytest.approx((0.0535540,), abs=1e-6)
    assert found["uvwFI"] == pytest.approx((-0.0386635, -0.0461418, -0.0473865), abs=1e-6)


def test_published_size():
    # 25,743,104 weights with width 1024 and two fusion layers, 5,936 fewer index entries apart.
    with torch.device("meta"):
        network = XecV1Encoder(ModelConfig(encoder_dim=1024), LEGACY, sentinel_time=-1.0)
    assert sum(p.numel() for p in network.parameters()) == 25_743_104
