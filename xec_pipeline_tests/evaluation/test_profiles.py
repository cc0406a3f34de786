import numpy as np
import pytest

from xec_pipeline.evaluation.profiles import bin_edges, binned_profile, depth_edges
from xec_pipeline.evaluation.resolution import half_width_68, mean_bias


def test_every_event_is_in_one_bin_also_at_the_upper_edge():
    x = np.linspace(0, 1, 1_001)
    profile = binned_profile(x, x, mean_bias)
    assert profile.n.sum() == len(x)
    assert len(profile.n) == 20
    assert profile.edges[0] == 0.0
    assert profile.edges[-1] == 1.0


def test_abscissa_is_the_mean_of_the_events():
    x = np.concatenate([np.full(50, 0.1), np.full(50, 0.9)])
    profile = binned_profile(x, x, mean_bias, edges=np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(profile.x, [0.1, 0.9])
    np.testing.assert_allclose(profile.value, [0.1, 0.9])


def test_width_that_grows_with_x_is_recovered():
    rng = np.random.default_rng(1)
    x = rng.uniform(1, 2, 40_000)
    profile = binned_profile(x, rng.standard_normal(len(x)) * x, half_width_68)
    pull = (profile.value - profile.x) / profile.error
    assert np.abs(pull).max() < 4
    assert 0.5 < pull.std() < 1.6


def test_sparse_bins_have_a_count_but_no_value():
    x = np.array([0.0] * 30 + [1.0] * 3)
    profile = binned_profile(x, x, mean_bias, edges=np.array([0.0, 0.5, 1.0]))
    np.testing.assert_array_equal(profile.n, [30, 3])
    np.testing.assert_array_equal(profile.is_drawn, [True, False])


@pytest.mark.parametrize("values", [[], [2.0], [52.83] * 40, [1.0, 2.0], [0.0] * 5])
def test_few_or_constant_values_give_one_bin(values):
    x = np.array(values, dtype=np.float32)
    profile = binned_profile(x, x, half_width_68, min_events=1)
    assert len(profile.n) == 1
    assert profile.n.sum() == len(x)


def test_fewer_events_give_fewer_bins():
    assert len(bin_edges(np.linspace(0, 1, 250))) == 6
    assert len(bin_edges(np.linspace(0, 1, 10**5))) == 21


def test_depth_bins_hold_similar_numbers_of_events():
    w = np.random.default_rng(2).exponential(4, 4_000)
    edges = depth_edges(w)
    counts, _ = np.histogram(w, edges)
    assert np.all(np.diff(edges) > 0)
    assert edges[0] == w.min()
    assert edges[-1] == w.max()
    assert counts.min() > 50


def test_events_that_are_not_finite_are_left_out():
    profile = binned_profile([0.0, np.nan, 1.0], [1.0, 1.0, np.nan], mean_bias, min_events=1)
    assert profile.n.sum() == 1
