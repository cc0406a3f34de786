"""The masked autoencoder: published numbers, leaks, places of sensors, gradients."""

from typing import Any

import numpy as np
import pytest
import torch

from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.model import EncoderConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.faces import FACE_NAMES, Face, sensors_of_face
from xec_pipeline.detector.layout import LEGACY, PHYSICAL, outer_fine_map
from xec_pipeline.models.decoders import OuterSensors, SplitOuterSensors
from xec_pipeline.models.encoder import XecV1Encoder
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.mae import (
    DecoderConfig,
    MaskedAutoencoder,
    Sentinels,
    build_mae,
    encoder_state_dict,
)
from xec_pipeline_tests.models.deterministic import mask, plain_input, set_weights, signature

POOL = (2, 2)
NORMALIZATION = {
    "npho_scheme": "sqrt",
    "npho_scale": 20000.0,
    "time_scale": 1e-8,
    "time_shift": 0.5,
}
KINDS: dict[str, dict[str, Any]] = {
    "v1 fine": {"encoder": "xec_v1"},
    "v1 pooled": {"encoder": "xec_v1", "outer_fine_pool": (3, 3)},
    "v1 split": {"encoder": "xec_v1", "outer_mode": "split"},
    "v2": {"encoder": "xec_v2"},
}
FEATURES = (("npho", "time"), ("npho",))
LATENT = (-4.077175, 629.992238, -0.23328050, -0.62743783)
IMAGES = {
    "inner": ((2, 2, 93, 44), (801.300195, 801.300195, 0.06754944, 0.04305451)),
    "us": ((2, 2, 24, 6), (22.717468, 22.729353, 0.02095675, 0.07489340)),
    "ds": ((2, 2, 24, 6), (27.870635, 27.870635, 0.04571854, 0.06577731)),
    "outer": ((2, 2, 22, 36), (152.597473, 152.597473, 0.05821455, 0.04010167)),
    "top": ((2, 2, 73), (-2.246271, 9.901766, -0.04793823, -0.04815716)),
    "bot": ((2, 2, 73), (-5.394738, 8.375380, 0.01695763, 0.00502412)),
}


def legacy_model() -> MaskedAutoencoder:
    config = EncoderConfig(
        encoder_dim=64,
        num_fusion_layers=1,
        dim_feedforward=256,
        outer_fine_pool=POOL,
        layout="legacy",
    )
    encoder = XecV1Encoder(config, LEGACY, sentinel_time=-1.0)
    decoders = DecoderConfig(16, ("npho", "time"), POOL)
    model = MaskedAutoencoder(encoder, LEGACY, decoders, Sentinels(npho=-1.0, time=-1.0))
    return set_weights(model.double())


def tiny_model(kind: str, features=FEATURES[0], **training: Any) -> MaskedAutoencoder:
    torch.manual_seed(0)
    run = MaeRun.model_validate(
        {
            "normalization": NORMALIZATION,
            "model": {
                "encoder_dim": 64,
                "hex_dim": 8,
                "num_fusion_layers": 1,
                "dropout": 0.0,
                "decoder_dim": 8,
                "predict_channels": features,
                **KINDS[kind],
            },
            "training": training,
        }
    )
    return build_mae(run)


@pytest.fixture(params=KINDS, ids=str)
def kind(request) -> str:
    name: str = request.param
    return name


def events(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    npho = 3e4 * torch.rand(n, 4760, generator=generator) ** 6
    times = 1e-8 * torch.rand(n, 4760, generator=generator)
    config = NormalizationConfig.model_validate(NORMALIZATION)
    x: torch.Tensor = InputNormalizer(config)(npho, times)
    return x


def hidden(n: int, ratio: float = 0.6) -> torch.Tensor:
    return torch.rand(n, 4760, generator=torch.Generator().manual_seed(4)) < ratio


@pytest.mark.golden
@torch.no_grad()
def test_published_numbers():
    model = legacy_model()
    tokens = model.encode(plain_input(), mask())
    assert signature(tokens) == pytest.approx(LATENT, abs=1e-5)
    images = model.decode(tokens)
    assert list(images) == list(IMAGES)
    for face, (shape, expected) in IMAGES.items():
        assert images[face].shape == shape
        assert signature(images[face]) == pytest.approx(expected, abs=1e-5), face


@torch.no_grad()
def test_legacy_sensors_are_sums_of_npho_and_means_of_times():
    model = legacy_model()
    images = model.decode(model.encode(plain_input(), mask()))
    found = model.to_sensors(images)
    for name, ids in (("inner", LEGACY.inner), ("us", LEGACY.us), ("bot", LEGACY.bottom)):
        at = torch.from_numpy(ids.copy())
        torch.testing.assert_close(found[:, at].movedim(-1, 1), images[name])
    fine = images["outer"].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    fine = torch.cat((fine, fine[:, :, -1:]), dim=2)
    corner = fine[:, :, :5, :3].flatten(2)
    expected = torch.stack((corner[:, 0].sum(dim=1), corner[:, 1].mean(dim=1)), dim=1)
    torch.testing.assert_close(found[:, LEGACY.outer_coarse[0, 0]], expected)
    last = fine[:, 0, 40:, 69:].flatten(1).sum(dim=1)
    torch.testing.assert_close(found[:, LEGACY.outer_coarse[8, 23], 0], last)
    center = fine[:, 0, 15:18, 32:34].flatten(1).sum(dim=1)
    assert LEGACY.outer_center[0, 1] == 4744
    torch.testing.assert_close(found[:, 4744, 0], center)


def test_published_size():
    run = MaeRun()
    with torch.device("meta"):
        both, npho = (
            build_mae(run.model_copy(update={"model": run.model.model_copy(update=change)}))
            for change in ({}, {"predict_channels": ("npho",)})
        )
    assert sum(p.numel() for p in both.parameters()) == 45_031_436
    assert sum(p.numel() for p in npho.parameters()) == 45_028_870


@torch.no_grad()
def test_what_is_hidden_cannot_be_seen_on_any_face(kind):
    """The encoder alone must not let it through, even if the values are not overwritten."""
    encoder = tiny_model(kind).encoder.eval()
    x = events(1)
    groups = {FACE_NAMES[face]: sensors_of_face(face) for face in Face}
    for name, ids in {**groups, "centre": np.arange(4742, 4760)}.items():
        is_hidden = torch.zeros(1, 4760, dtype=torch.bool)
        is_hidden[:, torch.from_numpy(ids.copy())] = hidden(1)[:, : len(ids)]
        is_hidden[:, ids[0]] = True
        other = torch.where(is_hidden[..., None], events(1, seed=1), x)
        expected = encoder.forward_features(x, is_hidden)
        found = encoder.forward_features(other, is_hidden)
        assert torch.allclose(found, expected, rtol=0, atol=1e-6), name
        visible = encoder.forward_features(other), encoder.forward_features(x)
        assert not torch.allclose(*visible, atol=1e-6), name


@torch.no_grad()
def test_predictions_do_not_depend_on_hidden_values(kind):
    model = tiny_model(kind).eval()
    x, is_hidden = events(2), hidden(2)
    other = torch.where(is_hidden[..., None], events(2, seed=1), x)
    prediction = model(x, is_hidden)
    assert prediction.shape == (2, 4760, 2)
    assert torch.equal(model(other, is_hidden), prediction)
    assert (model.masked(x, is_hidden)[is_hidden] == -1.0).all()
    assert torch.equal(model.masked(x, is_hidden)[~is_hidden], x[~is_hidden])
    assert not torch.allclose(model(x, torch.zeros_like(is_hidden)), prediction)


@torch.no_grad()
def test_a_dead_sensor_is_like_a_hidden_one(kind):
    model = tiny_model(kind).eval()
    x = events(1)
    x[:, 100:200] = -1.0
    is_hidden = torch.zeros(1, 4760, dtype=torch.bool)
    alike = is_hidden.clone()
    alike[:, 100:200] = True
    assert torch.equal(model(x, is_hidden), model(x, alike))


def test_every_face_of_the_physical_layout_finds_its_sensors():
    model = tiny_model("v1 pooled")
    images = model.decode(model.encode(events(1), hidden(1)))
    for number, name in enumerate(images):
        images[name] = torch.full_like(images[name], float(number))
    found = model.to_sensors(images)[0, :, 0]
    for face in Face:
        expected = list(images).index(FACE_NAMES[face])
        values = found[torch.from_numpy(sensors_of_face(face).copy())]
        assert values.tolist() == pytest.approx([expected] * len(values)), face


def test_outer_sensors_are_means_over_their_own_cells():
    outer = OuterSensors(PHYSICAL, (3, 3), ("npho", "time"))
    assert outer.shape == (45, 72)
    # The image of sensor numbers gives every sensor its own number back.
    image = torch.tensor(outer_fine_map(PHYSICAL).ids, dtype=torch.float32)[None, None]
    found = outer(image.expand(1, 2, -1, -1))
    expected = torch.tensor(sensors_of_face(Face.OUTER), dtype=torch.float32)
    torch.testing.assert_close(found, expected.expand(1, 2, -1))


def test_split_outer_face_takes_the_dense_centre_from_its_own_image():
    split = SplitOuterSensors(PHYSICAL)
    coarse = torch.tensor(PHYSICAL.outer_coarse)[None, None].float()
    center = torch.tensor(PHYSICAL.outer_center)[None, None].float()
    expected = torch.tensor(sensors_of_face(Face.OUTER)).float()
    assert torch.equal(split(coarse, center)[0, 0], expected)
    own = split(torch.zeros_like(coarse), center)[0, 0]
    assert int((own > 0).sum()) == 30


@pytest.mark.parametrize("features", FEATURES, ids=str)
def test_gradients_reach_every_weight(kind, features):
    model = tiny_model(kind, features)
    prediction = model(events(3), hidden(3))
    assert prediction.shape == (3, 4760, len(features))
    prediction.square().sum().backward()
    without = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert without == []


def test_encoder_weights_fit_a_regressor_of_the_same_shape(kind):
    first, second = tiny_model(kind), tiny_model(kind)
    with torch.no_grad():
        for weight in first.parameters():
            weight.add_(0.01)
    exported = encoder_state_dict(first)
    assert not any(name.startswith(("encoder.", "dec_")) for name in exported)
    second.encoder.load_state_dict(exported, strict=True)
    x = events(1)
    found, expected = (model.eval().encoder.forward_features(x) for model in (second, first))
    assert torch.equal(found, expected)


def test_variances_are_held_only_if_learned():
    assert tiny_model("v2").channel_log_vars is None
    learned = tiny_model("v2", ("npho",), auto_channel_weight=True)
    assert learned.state_dict()["channel_log_vars"].shape == (1,)


@torch.no_grad()
def test_predictions_are_float32_under_autocast(kind):
    model = tiny_model(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(events(1), hidden(1)).dtype == torch.float32
