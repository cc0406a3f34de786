import numpy as np
import pytest
from pydantic import ValidationError

from xec_pipeline.config.reweighting import ReweightingConfig
from xec_pipeline.data.reweighting import capped, event_weights, flattening_weights, summarize


def config(**sections) -> ReweightingConfig:
    return ReweightingConfig.model_validate(sections)


def test_occupied_bins_count_equally_and_the_mean_is_one():
    values = np.array([0.0, 1.0, 1.5, 2.9, 9.0, 10.0])[:, None]
    weights = flattening_weights(values, [5])
    # Bins of width 2: [0, 1, 1.5], [2.9], [], [], [9, 10]; the largest value is in the last.
    assert weights == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2, 1, 1])
    assert weights.mean() == pytest.approx(1)


def test_a_value_on_an_edge_belongs_to_the_bin_above_as_in_numpy():
    values = np.linspace(0, 4, 9)[:, None]
    counts, _ = np.histogram(values, bins=4)
    expected = 9 / 4 / np.repeat(counts, counts)
    assert flattening_weights(values, [4]) == pytest.approx(expected)


def test_bins_in_several_dimensions_make_the_histogram_flat():
    values = np.random.default_rng(1).normal(size=(4000, 2))
    weights = flattening_weights(values, [4, 3])
    sums, _ = np.histogramdd(values, bins=[4, 3], weights=weights)
    occupied = sums[sums > 0]
    assert occupied == pytest.approx(4000 / len(occupied))


def test_events_without_truth_and_fixed_values_count_as_average():
    values = np.array([[1.0, 5.0], [np.nan, 5.0], [2.0, 5.0], [2.0, 5.0]])
    assert flattening_weights(values, [2, 8]) == pytest.approx([1.5, 1, 0.75, 0.75])
    assert flattening_weights(np.full((3, 1), np.nan), [4]) == pytest.approx(1)


def test_the_cap_holds_and_the_mean_stays_one():
    weights = capped(np.array([1.0] * 97 + [50.0, 60.0, 70.0]), 4.0)
    assert weights.mean() == pytest.approx(1)
    assert weights.max() == 4
    assert weights[:97] == pytest.approx(88 / 97)
    assert capped(np.array([2.0, 1.0, 3.0]), 1.0) == pytest.approx(1)
    assert capped(np.array([2.0, 4.0]), 10.0) == pytest.approx([2 / 3, 4 / 3])


def test_targets_multiply_and_the_product_has_mean_one():
    random = np.random.default_rng(2)
    targets = {"energy": random.exponential(size=(500, 1)), "uvwFI": random.normal(size=(500, 3))}
    options = {
        "energy": {"enabled": True, "nbins": 4},
        "uvwFI": {"enabled": True, "nbins_2d": (3, 9)},
    }
    weights = event_weights(targets, config(**options, max_weight=1000))
    assert weights is not None
    product = flattening_weights(targets["energy"], [4])
    product = product * flattening_weights(targets["uvwFI"], [3, 3, 3])
    assert weights == pytest.approx(product / product.mean())
    cut = event_weights(targets, config(**options, max_weight=5))
    assert cut is not None
    assert (cut.max(), cut.mean()) == pytest.approx((5, 1))


def test_nothing_enabled_makes_no_weights():
    assert event_weights({"energy": np.ones((3, 1))}, config()) is None


def test_summary_tells_what_the_events_are_worth():
    assert summarize(np.ones(7)).effective_fraction == 1
    found = summarize(np.array([0.5, 1.5]))
    assert (found.smallest, found.largest) == (0.5, 1.5)
    assert found.effective_fraction == pytest.approx(4 / (2 * 2.5))


def test_configuration_names_bins_as_the_earlier_system_did():
    made = config(angle={"enabled": True, "nbins_2d": [20, 10]}, timing={"nbins": 7})
    assert made.active == ("angle",)
    assert made.bins_of("angle") == (20, 10)
    assert made.bins_of("timing") == (7,)
    assert made.bins_of("uvwFI") == (20, 20, 20)
    with pytest.raises(ValidationError):
        config(max_weight=0.5)
