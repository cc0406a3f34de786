import math

import numpy as np
import pytest

from xec_pipeline.evaluation.gaussian_core import gaussian_core
from xec_pipeline.evaluation.resolution import (
    containment_68,
    half_width_68,
    mean_bias,
    median_bias,
    sigma_eff,
)

ALL = (half_width_68, containment_68, sigma_eff, mean_bias, median_bias)


def test_hand_numbers():
    residual = np.array([-3, -1, -0.5, -0.2, 0, 0.1, 0.3, 0.6, 1.2, 5])
    assert sigma_eff(residual).value == pytest.approx(0.8)
    assert median_bias(residual).value == pytest.approx(0.05)
    assert mean_bias(residual).value == pytest.approx(0.25)
    assert half_width_68(np.arange(10_001.0)).value == pytest.approx(0.6827 * 5_000, rel=2e-4)
    assert containment_68([-1.0, 1.0, 1.0]).value == 1.0


def test_injected_width_and_bias_are_recovered():
    residual = np.random.default_rng(1).normal(0.3, 2.0, 200_000)
    assert half_width_68(residual).value == pytest.approx(2.0, rel=0.01)
    assert sigma_eff(residual).value == pytest.approx(2.0, rel=0.02)
    assert median_bias(residual).value == pytest.approx(0.3, abs=0.02)
    assert mean_bias(residual).value == pytest.approx(0.3, abs=0.02)
    # |x| < q holds 68.27 % of N(0.3, 2) at q = 2.045 (closed form by bisection).
    assert containment_68(residual).value == pytest.approx(2.0224, rel=0.01)


def test_half_width_ignores_a_bias_and_containment_sees_it():
    residual = np.random.default_rng(2).normal(0, 1, 5_000)
    assert half_width_68(residual + 7).value == pytest.approx(half_width_68(residual).value)
    assert containment_68(residual + 7).value > 7


def test_one_percent_of_far_outliers_moves_the_width_little():
    residual = np.random.default_rng(3).normal(0, 2, 20_000)
    residual[:200] = 50
    assert half_width_68(residual).value == pytest.approx(2.0, rel=0.04)
    assert residual.std() > 5


@pytest.mark.parametrize("estimator", ALL)
@pytest.mark.parametrize("residual", [[], [1.0], [1.0, 2.0], [np.nan, np.inf], [3.0] * 30])
def test_few_or_constant_values_never_fail(estimator, residual):
    estimate = estimator(np.array(residual))
    assert estimate.n == int(np.isfinite(residual).sum())
    assert math.isnan(estimate.value) or estimate.value >= 0


def test_values_that_are_not_finite_are_not_counted():
    assert half_width_68([1.0, np.nan, 2.0, np.inf]).n == 2


def test_scaled_changes_value_and_error():
    estimate = half_width_68(np.random.default_rng(6).normal(0, 1, 100))
    scaled = estimate.scaled(10)
    assert scaled.value == pytest.approx(10 * estimate.value)
    assert scaled.error == pytest.approx(10 * estimate.error)


def test_core_fit_finds_the_core_under_a_tail():
    rng = np.random.default_rng(7)
    residual = np.concatenate([rng.normal(0.5, 1, 20_000), rng.exponential(4, 2_000) * -1])
    fit = gaussian_core(residual, half_widths=1.5)
    assert fit.note == ""
    assert fit.mean.value == pytest.approx(0.5, abs=0.1)
    assert fit.sigma.value == pytest.approx(1.0, abs=0.1)


def test_core_fit_pulls_and_chi2_on_gaussians():
    rng = np.random.default_rng(8)
    fits = [gaussian_core(rng.normal(0, 1, 1_000)) for _ in range(100)]
    pulls = np.array([(f.sigma.value - 1) / f.sigma.error for f in fits])
    assert abs(pulls.mean()) < 0.4
    assert 0.75 < pulls.std() < 1.25
    assert 0.8 < np.mean([f.chi2 / f.ndf for f in fits]) < 1.2
    assert fits[0].density(0.0) == pytest.approx(1_000 / math.sqrt(2 * math.pi), rel=0.2)


@pytest.mark.parametrize("residual", [[], [1.0], [0.0] * 100, np.arange(10.0)])
def test_core_fit_says_why_there_is_none(residual):
    fit = gaussian_core(np.array(residual))
    assert fit.note
    assert math.isnan(fit.sigma.value)
