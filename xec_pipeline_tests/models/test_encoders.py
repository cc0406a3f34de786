"""What must hold for every encoder."""

from typing import Any

import pytest
import torch

from xec_pipeline.config.model import ModelConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.layout import PHYSICAL
from xec_pipeline.models.encoder import build_encoder
from xec_pipeline.models.input_norm import InputNormalizer

NORMALIZATION = NormalizationConfig(
    npho_scheme="sqrt", npho_scale=20000.0, time_scale=1e-8, time_shift=0.5
)
KINDS: dict[str, dict[str, Any]] = {
    "v1 fine": {"encoder": "xec_v1"},
    "v1 pooled": {"encoder": "xec_v1", "outer_fine_pool": (3, 3)},
    "v1 split": {"encoder": "xec_v1", "outer_mode": "split"},
    "v2": {"encoder": "xec_v2"},
}


@pytest.fixture(params=KINDS, ids=str)
def encoder(request):
    torch.manual_seed(0)
    config = ModelConfig(
        encoder_dim=64, hex_dim=8, num_fusion_layers=1, dropout=0.0, **KINDS[request.param]
    )
    return build_encoder(config, PHYSICAL, NORMALIZATION)


def events(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    npho = 3e4 * torch.rand(n, 4760, generator=generator) ** 6
    times = 1e-8 * torch.rand(n, 4760, generator=generator)
    x: torch.Tensor = InputNormalizer(NORMALIZATION)(npho, times)
    return x


@torch.no_grad()
def test_shape_for_any_batch(encoder):
    tokens = encoder.eval().forward_features(events(3))
    assert tokens.shape == (3, encoder.n_tokens, 64)
    one = encoder.forward_features(events(3)[1:2])
    torch.testing.assert_close(one[0], tokens[1], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_hidden_sensors_do_not_matter(encoder):
    encoder.eval()
    x, other = events(2), events(2, seed=1)
    hidden = torch.rand(2, 4760, generator=torch.Generator().manual_seed(4)) < 0.2
    hidden[:, PHYSICAL.outer_center[2:4].reshape(-1).copy()] = True
    mixed = torch.where(hidden[..., None], other, x)
    expected = encoder.forward_features(x, hidden)
    torch.testing.assert_close(encoder.forward_features(mixed, hidden), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(encoder.forward_features(mixed), encoder.forward_features(x))


@torch.no_grad()
@pytest.mark.parametrize("npho", [0.0, 1e10])
def test_events_without_light_are_finite(encoder, npho):
    nothing = torch.full((2, 4760), npho)
    x = InputNormalizer(NORMALIZATION)(nothing, torch.full((2, 4760), 1e10))
    assert torch.isfinite(encoder.eval().forward_features(x)).all()


def test_all_weights_learn(encoder):
    encoder.forward_features(events(3)).square().sum().backward()
    unused = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert unused == []
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())


@torch.no_grad()
def test_first_layers_stay_in_float32_under_autocast(encoder):
    seen = {}
    layers = (torch.nn.Linear, torch.nn.Conv2d)
    for name, module in encoder.named_modules():
        if isinstance(module, layers):
            module.register_forward_hook(lambda _m, _x, y, name=name: seen.update({name: y.dtype}))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tokens = encoder.eval()(events(2))
    assert torch.isfinite(tokens).all()
    stems = {dtype for name, dtype in seen.items() if name.endswith(("stem", "stem.0"))}
    assert stems == {torch.float32}
    assert torch.bfloat16 in set(seen.values())


def test_index_tables_are_not_weights(encoder):
    assert all(tensor.is_floating_point() for tensor in encoder.state_dict().values())
    assert set(encoder.state_dict()) == {name for name, _ in encoder.named_parameters()}
