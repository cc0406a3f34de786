import json

import numpy as np
import pytest

from xec_pipeline.reconstruction.polynomial import Polynomial


def sample(n_events, seed=1):
    """Return two observables of very different size, and a polynomial of them."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-1, 3, n_events), rng.uniform(1e4, 5e4, n_events)
    scaled = y / 1e4
    truth = 2 + x - 0.5 * scaled + 0.3 * x * scaled + 0.1 * x**3 - 0.02 * scaled**3
    return np.column_stack([x, y]), truth


def test_a_cubic_is_found_again():
    observables, truth = sample(500)
    found = Polynomial.fit(observables, truth)
    assert found.degree == 3
    inside = ((observables >= found.lowest) & (observables <= found.highest)).all(axis=1)
    np.testing.assert_allclose(found(observables)[inside], truth[inside], atol=2e-3)


def test_outliers_do_not_pull():
    observables, truth = sample(2000)
    noisy = truth + np.random.default_rng(2).normal(0, 0.1, 2000)
    noisy[::20] += 50.0
    error = Polynomial.fit(observables, noisy)(observables) - truth
    assert np.sqrt((error**2).mean()) < 0.03


def test_beyond_the_range_the_end_of_it_counts():
    observables, truth = sample(500)
    found = Polynomial.fit(observables, truth)
    end = found(found.highest[None])
    np.testing.assert_allclose(found(found.highest[None] + [[100.0, 1e9]]), end)


def test_nan_is_left_out_and_passed_on():
    observables, truth = sample(500)
    observables[3, 0], truth[5] = np.nan, np.nan
    found = Polynomial.fit(observables, truth)
    value = found(observables)
    assert np.flatnonzero(np.isnan(value)).tolist() == [3]


@pytest.mark.parametrize(("n_events", "degree"), [(20, 0), (40, 1), (60, 2), (80, 3)])
def test_few_events_give_a_lower_degree(n_events, degree):
    assert Polynomial.fit(*sample(n_events)).degree == degree


def test_too_few_events_are_an_error():
    with pytest.raises(ValueError, match="19 events with light and truth, 20 are needed"):
        Polynomial.fit(*sample(19))


def test_an_observable_that_never_changes_is_harmless():
    observables, truth = sample(300)
    observables = np.column_stack([observables, np.full(300, 7.0)])
    assert np.isfinite(Polynomial.fit(observables, truth)(observables)).all()


def test_record_round_trip():
    observables, truth = sample(300)
    found = Polynomial.fit(observables, truth)
    read = Polynomial.from_record(json.loads(json.dumps(found.record())))
    np.testing.assert_allclose(read(observables), found(observables), rtol=1e-6)
