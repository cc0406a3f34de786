"""Noise of the counts against published numbers and against the toy detector itself."""

import numpy as np
import pytest

from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.reconstruction.inpainting.floor import CountingNoise

SENSORS = np.arange(4760)
BINS = ((10, 30), (30, 100), (100, 1000), (1e3, 1e4), (1e4, 1e9))


@pytest.fixture(scope="module")
def noise():
    return CountingNoise.of_toy(simulation_config())


@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "published"),
    [
        (slice(0, 4092), (1.01, 0.49, 0.225, 0.076, 0.025)),
        (slice(4092, None), (0.61, 0.38, 0.177, 0.075, 0.025)),
    ],
    ids=["inner", "pmt"],
)
def test_published_floor_in_bins_of_the_mean(noise, toy_events, kind, published):
    mean = toy_events["npho_mean"][:400]
    floor, mean = noise.relative_error(mean, SENSORS)[:, kind], mean[:, kind]
    for (low, high), expected in zip(BINS, published, strict=True):
        inside = (mean >= low) & (mean < high)
        in_bin = np.sqrt((floor[inside] ** 2).mean())
        assert in_bin == pytest.approx(expected, rel=0.05), (low, high)


def test_variance_is_that_of_the_counts(noise, toy_events):
    npho, mean = (toy_events[name][:400] for name in ("npho", "npho_mean"))
    pull = (npho - mean) / np.sqrt(noise.variance(mean, SENSORS))
    assert pull.std() == pytest.approx(1, abs=0.01)


def test_by_hand():
    noise = CountingNoise.of_toy(simulation_config("meg2", {"light": {"pde_spread": 0.0}}))
    # 1000 photons on a SiPM: 120 p.e., variance 120 * 1.2025 + 1; on a PMT 160 * 1.36 + 0.25.
    errors = noise.relative_error([1000.0, 1000.0], np.array([5, 4100]))
    np.testing.assert_allclose(errors, np.sqrt([145.3, 217.85]) / [120, 160], rtol=1e-6)
    assert noise.relative_error(0.0, np.array([5])) == np.inf
