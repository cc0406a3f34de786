"""Batched fits: exact models, variances from the model, limits."""

import numpy as np
import pytest

from xec_pipeline.reconstruction.least_squares import Limits, minimise

X = np.linspace(0, 2, 30)
FREE = Limits(
    lowest=np.full(2, -20.0),
    highest=np.full(2, 20.0),
    largest_step=np.full(2, 2.0),
    tolerance=np.full(2, 1e-7),
)


def decay(parameters, _rows):
    """Return exp(a - b x) and its derivatives."""
    value = np.exp(parameters[:, :1] - parameters[:, 1:] * X)
    return value, np.stack([value, -X * value])


def unit_variance(expected, _rows):
    return np.ones_like(expected)


def own_variance(expected, _rows):
    return expected


def test_exact_data_give_their_parameters():
    truth = np.random.default_rng(1).uniform([0, -1], [4, 3], size=(50, 2))
    data, _ = decay(truth, None)
    found = minimise(decay, unit_variance, data, np.tile([1.0, 0.0], (50, 1)), FREE)
    assert found.is_converged.all()
    np.testing.assert_allclose(found.parameters, truth, atol=1e-6)
    np.testing.assert_allclose(found.chi2, 0, atol=1e-12)


def test_a_fit_does_not_depend_on_its_companions():
    truth = np.random.default_rng(2).uniform([0, -1], [4, 3], size=(8, 2))
    data = decay(truth, None)[0] + np.random.default_rng(3).normal(0, 0.1, (8, len(X)))
    start = np.tile([1.0, 0.0], (8, 1))
    together = minimise(decay, unit_variance, data, start, FREE)
    for row in range(8):
        alone = minimise(decay, unit_variance, data[row : row + 1], start[row : row + 1], FREE)
        np.testing.assert_allclose(alone.parameters[0], together.parameters[row], atol=1e-9)


def test_expected_variances_do_not_bias_counts():
    """Weights from the model leave the sum of counts where it is; weights from counts would not."""
    rng = np.random.default_rng(4)
    truth = np.tile([2.0, 0.5], (2000, 1))
    data = rng.poisson(decay(truth, None)[0]).astype(float)
    found = minimise(decay, own_variance, data, truth, FREE)
    assert found.is_converged.all()
    expected, slopes = decay(truth[:1], None)
    information = np.einsum("kbn,lbn,bn->kl", slopes, slopes, 1 / expected)
    error = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(found.parameters.std(axis=0), error, rtol=0.08)
    assert np.all(np.abs(found.parameters.mean(axis=0) - truth[0]) < 5 * error / np.sqrt(2000))
    assert found.chi2.mean() / (len(X) - 2) == pytest.approx(1, abs=0.03)


def test_infinite_variance_leaves_a_datum_out():
    data, _ = decay(np.array([[1.0, 0.5]]), None)
    data[0, ::3] = 1e6

    def variance(expected, _rows):
        return np.where(np.arange(len(X)) % 3 == 0, np.inf, np.ones_like(expected))

    found = minimise(decay, variance, data, np.zeros((1, 2)), FREE)
    np.testing.assert_allclose(found.parameters, [[1.0, 0.5]], atol=1e-6)


def test_parameters_stay_inside_their_limits():
    limits = Limits(
        lowest=np.array([-20.0, 0.0]),
        highest=np.array([20.0, 1.0]),
        largest_step=FREE.largest_step,
        tolerance=FREE.tolerance,
    )
    data, _ = decay(np.array([[1.0, 2.0], [1.0, -2.0]]), None)
    found = minimise(decay, unit_variance, data, np.zeros((2, 2)), limits)
    np.testing.assert_array_equal(found.parameters[:, 1], [1.0, 0.0])


def test_no_fits_at_all():
    found = minimise(decay, unit_variance, np.empty((0, len(X))), np.empty((0, 2)), FREE)
    assert found.parameters.shape == (0, 2)
