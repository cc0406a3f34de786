import numpy as np
import pytest
from scipy import stats

from xec_pipeline.simulation.sampling import draw_normal, draw_poisson


@pytest.mark.parametrize("mean", [0.003, 0.03, 0.0624, 0.5, 1.03, 2.5, 7.77, 15.999])
def test_poisson_probabilities(mean):
    n = 400_000
    counts = draw_poisson(np.full(n, mean, dtype=np.float32), np.random.default_rng(9))
    observed = np.bincount(counts.astype(int))
    expected = n * stats.poisson.pmf(np.arange(len(observed)), mean)
    seen = expected > 20
    chi2 = ((observed[seen] - expected[seen]) ** 2 / expected[seen]).sum()
    assert stats.chi2.sf(chi2, seen.sum()) > 1e-3


def test_poisson_of_mixed_means():
    rng = np.random.default_rng(10)
    mean = rng.uniform(0, 16, size=(37, 1001)).astype(np.float32)
    counts = draw_poisson(mean, rng)
    assert counts.shape == mean.shape
    assert counts.dtype == np.float32
    pull = (counts - mean).sum() / np.sqrt(mean.sum())
    assert abs(pull) < 4
    assert ((counts - mean) ** 2).sum() / mean.sum() == pytest.approx(1, abs=0.04)


def test_zero_mean_gives_zero():
    assert not draw_poisson(np.zeros(100_000, dtype=np.float32), np.random.default_rng(1)).any()


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (7,)])
def test_shapes(shape):
    rng = np.random.default_rng(2)
    assert draw_normal(shape, rng).shape == shape
    assert draw_poisson(np.ones((2, 3), dtype=np.float32), rng).shape == (2, 3)


def test_normal_distribution():
    x = draw_normal((300_001,), np.random.default_rng(3)).astype(np.float64)
    assert stats.kstest(x, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(x[:150_000], x[150_001:])[0, 1]) < 0.01
    assert np.abs(x).max() > 4
