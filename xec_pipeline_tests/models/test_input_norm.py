import numpy as np
import pytest
import torch

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.normalization import Normalization
from xec_pipeline.models.input_norm import InputNormalizer

RAW = [-1500, -999, -10, -0.3, 0, 50, 100, 1000, 20000, 150000, 600000]
TABLE = {
    ("log1p", 1000.0, 4.08): [
        0, -1.6931, -0.0025, -0.0001, 0, 0.0120, 0.0234, 0.1699, 0.7462, 1.2297, 1.5683,
    ],
    ("anscombe", 1000.0, 1.0): [
        0, 0, 0, 0.0087, 0.0194, 0.2244, 0.3168, 1, 4.4713, 12.2452, 24.4903,
    ],
    ("sqrt", 1000.0, 1.0): [0, 0, 0, 0, 0, 0.2236, 0.3162, 1, 4.4721, 12.2474, 24.4949],
    ("sqrt", 20000.0, 1.0): [0, 0, 0, 0, 0, 0.05, 0.0707, 0.2236, 1, 2.7386, 5.4772],
    ("linear", 1000.0, 1.0): [-1.5, -0.999, -0.01, -0.0003, 0, 0.05, 0.1, 1, 20, 150, 600],
    ("log1p", 0.58, 1.0): [
        0, 0, 0, -0.7282, 0, 4.4683, 5.1557, 7.4531, 10.4482, 12.4631, 13.8494,
    ],
}  # fmt: skip
SCHEMES = ("log1p", "anscombe", "sqrt", "linear")


def config(scheme, scale=1000.0, scale2=4.08, **more):
    return NormalizationConfig(npho_scheme=scheme, npho_scale=scale, npho_scale2=scale2, **more)


@pytest.mark.parametrize("key", TABLE, ids=str)
def test_worked_numbers(key):
    npho = torch.tensor([RAW])
    y = InputNormalizer(config(*key))(npho, torch.zeros_like(npho))[0, :, 0]
    assert y.tolist() == pytest.approx(TABLE[key], abs=6e-5)


@pytest.mark.parametrize(
    ("time_s", "expected"),
    [(-5e-8, 0.02140), (0, 0.46), (1e-9, 0.46877), (1e-8, 0.54772), (1e10, -1), (np.nan, -1)],
)
def test_worked_times(time_s, expected):
    x = InputNormalizer(config("sqrt"))(torch.tensor([[500.0]]), torch.tensor([[time_s]]).float())
    assert x[0, 0, 1].item() == pytest.approx(expected, abs=1e-5)


def awkward():
    """Return all pairs of ordinary and invalid values."""
    npho = [-1e10, -1500, -0.3, 0, 99.99, 100, 1e4, 9.5e9, 1e10, np.nan, np.inf, -np.inf]
    times = [-2e-7, -5e-9, 0, 1e-9, 3e-7, 1e10, -1e10, np.nan, np.inf]
    grid = np.meshgrid(np.array(npho, "f4"), np.array(times, "f4"), indexing="ij")
    return [axis.reshape(1, -1) for axis in grid]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_agrees_with_the_numpy_form(scheme):
    npho, time_s = awkward()
    settings = config(scheme, sentinel_npho=-3.0, sentinel_time=-2.0)
    expected = Normalization(settings).normalize(npho, time_s)
    found = InputNormalizer(settings)(torch.tensor(npho), torch.tensor(time_s)).numpy()
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


def test_nanoseconds_and_seconds_agree():
    normalizer = InputNormalizer(config("sqrt", time_scale=1e-8, time_shift=0.5))
    npho, time_ns = torch.full((1, 50), 300.0), torch.linspace(-5, 20, 50)[None]
    from_s = normalizer(npho, time_ns * 1e-9)
    torch.testing.assert_close(normalizer.from_ns(npho, time_ns), from_s, rtol=0, atol=1e-6)


def test_stays_exact_under_autocast():
    normalizer = InputNormalizer(config("sqrt"))
    npho, time_s = torch.full((1, 40), 300.0), torch.linspace(0, 1e-8, 40)[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = normalizer(npho.bfloat16(), time_s)
    assert x.dtype == torch.float32
    assert x[0, :, 1].unique().numel() == 40


@pytest.mark.parametrize("scheme", SCHEMES)
def test_light_is_read_back(scheme):
    normalizer = InputNormalizer(config(scheme))
    npho = torch.tensor([[0.0, 150.0, 2e3, 6e5, np.nan, 1e10, -20.0, 500.0]])
    time_s = torch.tensor([[1e-9, 2e-9, np.nan, -3e-9, 1e-9, 1e-9, 1e-9, 5e-9]])
    hidden = torch.arange(8)[None] == 7
    light = normalizer.light(normalizer(npho, time_s), hidden)
    assert light.npho[0].tolist() == pytest.approx(
        [0, 150, 2e3, 6e5, 0, 0, 0, 0], rel=1e-4, abs=1e-6
    )
    assert light.time_ns[0].tolist() == pytest.approx([0, 2, 0, -3, 0, 0, 0, 0], abs=1e-4)
    assert light.alive[0].tolist() == [1, 1, 1, 1, 0, 0, 1, 0]
    assert light.timed[0].tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
