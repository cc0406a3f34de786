"""The numpy form and the network's own layer are the same function."""

import numpy as np
import pytest
import torch

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.normalization import Normalization
from xec_pipeline.models.input_norm import InputNormalizer

ODD = [np.nan, np.inf, -np.inf, 1e10, -1e10, 0, -0.3, -20, -999, 99.99, 100, 5e5]


@pytest.mark.parametrize("threshold", [100.0, -5000.0])
@pytest.mark.parametrize(
    ("scheme", "scale"), [("log1p", 1000), ("anscombe", 1000), ("sqrt", 20000), ("linear", 1000)]
)
def test_numpy_and_torch_agree(scheme, scale, threshold):
    config = NormalizationConfig(npho_scheme=scheme, npho_scale=scale, npho_threshold=threshold)
    rng = np.random.default_rng(0)
    npho = rng.choice(ODD, size=(40, 200)).astype(np.float32)
    npho[::2] = rng.gamma(0.5, 2000, size=(20, 200))
    time_s = rng.normal(0, 1e-8, size=npho.shape).astype(np.float32)
    time_s[:, ::5] = rng.choice([np.nan, np.inf, 1e10], size=(40, 40))
    expected = Normalization(config).normalize(npho, time_s)
    layer = InputNormalizer(config)
    found = layer(torch.from_numpy(npho), torch.from_numpy(time_s)).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)
    from_ns = layer.from_ns(torch.from_numpy(npho), torch.from_numpy(time_s * np.float32(1e9)))
    np.testing.assert_allclose(from_ns.numpy(), expected, rtol=2e-6, atol=2e-6)
