"""The head that predicts light relative to that of the neighbours."""

import numpy as np
import pytest
import torch

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.layout import PHYSICAL
from xec_pipeline.detector.neighbours import nearest_neighbours
from xec_pipeline.detector.solid_angle import solid_angle_fraction
from xec_pipeline.models.cross_attention import MaskedEvents
from xec_pipeline.models.encoder import build_encoder
from xec_pipeline.models.input_norm import (
    InputNormalizer,
    Light,
    forward_npho,
    inverse_npho,
    normalized_root,
)
from xec_pipeline.models.relative_light import RelativeHead
from xec_pipeline_tests.models.inpainters import NORMALIZATION

CONFIG = NormalizationConfig.model_validate(NORMALIZATION)
SCHEMES = ("sqrt", "log1p", "anscombe", "linear")


class Setup:
    """A head, the tokens it gets whatever the event, and the way from photons to photons."""

    def __init__(self, config: NormalizationConfig = CONFIG, features=("npho",)) -> None:
        torch.manual_seed(0)
        model = InpainterRun.model_validate(
            {
                "model": {
                    "encoder": "xec_v2",
                    "encoder_dim": 64,
                    "head_type": "cross_attention",
                    "relative_values": True,
                    "predict_channels": features,
                    "cross_attn_k": 24,
                }
            }
        ).model
        encoder = build_encoder(model, PHYSICAL, config)
        self.head = RelativeHead(encoder, model, config)
        self.tokens = torch.randn(1, encoder.n_tokens, encoder.width)
        self.config = config

    def untrain(self) -> "Setup":
        """Give all weights random values, so that everything takes part."""
        with torch.no_grad():
            for weight in self.head.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.05)
        return self

    @torch.no_grad()
    def __call__(self, npho, is_hidden, time_s=None):
        npho = torch.as_tensor(npho, dtype=torch.float32).view(1, 4760)
        time_s = torch.full_like(npho, torch.nan) if time_s is None else time_s
        x = InputNormalizer(self.config)(npho, time_s)
        is_blind = is_hidden | (x[..., 0] == -1.0)
        x = torch.where(is_hidden[..., None], torch.tensor([-1.0, -2.0]), x)
        return self.head(self.tokens, MaskedEvents(x, is_hidden, is_blind))

    def photons(self, npho, is_hidden):
        found = self(npho, is_hidden)[..., 0]
        return inverse_npho(self.config, found)[is_hidden]


def some(ids) -> torch.Tensor:
    is_hidden = torch.zeros(1, 4760, dtype=torch.bool)
    is_hidden[:, ids] = True
    return is_hidden


def light_of_a_point(depth_cm: float = 4.0) -> np.ndarray:
    point = np.array([[-65.0 - depth_cm, 0.0, 0.3]])
    return np.asarray(4e6 * solid_angle_fraction(point, ideal_geometry())[0] + 5.0)


def test_bright_events_have_no_scale():
    setup = Setup().untrain()
    is_hidden = some([*range(1500, 2500, 9), 4200, 4350, 4500, 4600, 4700, 4750])
    light = light_of_a_point()
    one, ten = (setup.photons(factor * light, is_hidden) for factor in (3e4, 3e5))
    torch.testing.assert_close(ten, 10 * one, rtol=3e-4, atol=0)


def test_an_untrained_head_interpolates_better_than_a_mean_over_neighbours():
    light = light_of_a_point()
    ids = np.arange(1000, 3000, 7)
    nearest, distance_cm = nearest_neighbours(ideal_geometry(), 24)
    is_hidden = some(ids)
    visible = ~is_hidden[0].numpy()[nearest[ids]] / distance_cm[ids] ** 2
    mean = (visible * light[nearest[ids]]).sum(axis=1) / visible.sum(axis=1)
    found = Setup().photons(light, is_hidden).numpy()
    is_bright = light[ids] > 1000
    assert is_bright.sum() > 20
    errors = [spread(values[is_bright] / light[ids][is_bright]) for values in (found, mean)]
    assert errors[0] < 0.75 * errors[1]


def spread(ratio: np.ndarray) -> float:
    return float(np.sqrt(np.mean((ratio - 1.0) ** 2)))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_dark_and_negative_counts_are_harmless(scheme):
    config = CONFIG.model_copy(update={"npho_scheme": scheme})
    setup = Setup(config).untrain()
    is_hidden = some(range(0, 4760, 11))
    noise = torch.randn(4760, generator=torch.Generator().manual_seed(1))
    for npho in (torch.zeros(4760), 8 * noise, torch.full((4760,), torch.nan)):
        found = setup(npho, is_hidden)
        assert found.isfinite().all()
        assert inverse_npho(config, found[..., 0])[is_hidden].abs().max() < 50


def test_gradients_stay_finite_in_the_dark():
    setup = Setup()
    is_hidden = some(range(0, 4760, 11))
    x = torch.zeros(1, 4760, 2)
    setup.head(setup.tokens, MaskedEvents(x, is_hidden, is_hidden)).sum().backward()
    gradients = [weight.grad for weight in setup.head.parameters() if weight.grad is not None]
    assert len(gradients) > 10
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_without_a_visible_neighbour_the_face_stands_in():
    light = light_of_a_point()
    is_hidden = some(np.r_[1848:2244, 4596:4669])
    found = Setup().photons(light, is_hidden).numpy()
    truth = light[is_hidden[0].numpy()]
    assert np.median(np.abs(np.log(found / truth))) < 0.5


def test_times_start_as_the_mean_of_the_neighbours():
    setup = Setup(features=("npho", "time"))
    is_hidden = some(range(0, 4760, 11))
    time_s = torch.full((1, 4760), 7e-9)
    found = setup(np.full(4760, 500.0), is_hidden, time_s)[is_hidden]
    torch.testing.assert_close(found[:, 1], torch.full_like(found[:, 1], 0.2))


def test_shape_is_the_solid_angle_of_its_points():
    setup = Setup()
    with torch.no_grad():
        setup.head.shape.depths.expected.fill_(1.0)
        setup.head.shape.diffuse.expected[0] = 0.0
    light = torch.as_tensor(light_of_a_point(8.0), dtype=torch.float32)[None]
    ones = torch.ones_like(light)
    shape = setup.head.shape(setup.tokens, Light(light, 0 * ones, ones, 0 * ones))
    center = shape.center[0].detach().numpy().astype(float)
    assert np.linalg.norm(center - [-73.0, 0.0, 0.3]) < 3.0
    expected = solid_angle_fraction(center[None], ideal_geometry())[0]
    share = shape.share[0].detach().numpy()
    is_lit = expected > 1e-5
    assert is_lit.sum() > 1000
    np.testing.assert_allclose(share[is_lit], expected[is_lit], rtol=0.15)


@torch.no_grad()
def test_shape_keeps_its_digits_in_single_precision():
    setup = Setup()
    point = uvw_to_xyz(np.array([[-23.0, 31.0, 2.1]]))
    mean = 4e5 * solid_angle_fraction(point, ideal_geometry()) + 20.0
    npho = torch.tensor(np.random.default_rng(1).poisson(mean), dtype=torch.float32)
    alive = torch.ones_like(npho)
    shapes = []
    for dtype in (torch.float32, torch.float64):
        light = Light(*(tensor.to(dtype) for tensor in (npho, 0 * npho, alive, alive)))
        shapes.append(setup.head.shape.to(dtype)(setup.tokens.to(dtype), light).share[0])
    single, double = shapes
    # Of the brightest sensor, 40000 photons, a 250th of the counting noise.
    assert (single - double).abs().div(double).max() < 2e-5


@pytest.mark.parametrize("scheme", SCHEMES)
def test_roots_are_normalized_like_their_squares(scheme):
    config = CONFIG.model_copy(update={"npho_scheme": scheme})
    root = torch.tensor([0.0, 0.1, 3.0, 100.0], requires_grad=True)
    found = normalized_root(config, root)
    torch.testing.assert_close(found, forward_npho(config, root.square()))
    found.sum().backward()
    assert root.grad is not None
    assert root.grad.isfinite().all()
    assert normalized_root(config, torch.tensor([-5.0])).isfinite().all()
