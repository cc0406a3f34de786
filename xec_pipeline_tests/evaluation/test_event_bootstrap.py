import numpy as np
import pytest

from xec_pipeline.evaluation.event_bootstrap import (
    ESTIMATORS,
    EventBootstrap,
    content_seed,
)


def correlated(n_events, per_event, seed, common=1.0):
    rng = np.random.default_rng(seed)
    event = np.repeat(np.arange(n_events), per_event)
    error = common * rng.standard_normal(n_events)[event] + rng.standard_normal(len(event))
    return error + 0.3, event


def test_values_are_those_of_the_definitions():
    error, event = correlated(30, 7, 1)
    found = EventBootstrap(event, seed=1).summary(error)
    assert list(found) == list(ESTIMATORS)
    expected = {
        "mae": np.abs(error).mean(),
        "rmse": np.sqrt((error**2).mean()),
        "bias": error.mean(),
        "std": error.std(),
        "68pct": np.quantile(np.abs(error), 0.6827),
        "95pct": np.quantile(np.abs(error), 0.95),
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)
    assert {(one.n, one.n_events) for one in found.values()} == {(210, 30)}


def test_resamples_of_quantiles_are_weighted_quantiles():
    error, event = correlated(40, 50, 2)
    bootstrap = EventBootstrap(event, seed=3)
    found = bootstrap.summary(error)
    rows = [np.flatnonzero(event == number) for number in range(40)]
    for draw in range(20):
        weights = bootstrap._weights[draw].astype(int)
        drawn = np.abs(np.concatenate([np.repeat(error[rows[i]], weights[i]) for i in range(40)]))
        for name, fraction in (("68pct", 0.6827), ("95pct", 0.95)):
            expected, near = np.quantile(drawn, fraction), 0.3 * found[name].draws.std()
            assert found[name].draws[draw] == pytest.approx(expected, abs=near)
        assert found["mae"].draws[draw] == pytest.approx(drawn.mean())


def test_uncertainties_cover():
    """In 68 % of the samples the truth lies within one deviation, although rows correlate."""
    truth = {"bias": 0.3, "rmse": np.sqrt(2.09), "std": np.sqrt(2)}
    large, _ = correlated(400_000, 2, 5)
    truth |= {"mae": np.abs(large).mean()}
    truth |= {
        "68pct": np.quantile(np.abs(large), 0.6827),
        "95pct": np.quantile(np.abs(large), 0.95),
    }
    inside = dict.fromkeys(truth, 0)
    n_samples = 300
    for seed in range(n_samples):
        error, event = correlated(80, 25, 100 + seed)
        for name, one in EventBootstrap(event, content_seed(error)).summary(error).items():
            estimate = one.estimate()
            inside[name] += abs(estimate.value - truth[name]) < estimate.error
    assert {name: count / n_samples for name, count in inside.items()} == pytest.approx(
        dict.fromkeys(truth, 0.68), abs=0.07
    )


def test_common_errors_of_an_event_are_seen():
    error, event = correlated(100, 100, 4)
    by_event = EventBootstrap(event, seed=1).summary(error)["bias"].estimate().error
    by_row = EventBootstrap(np.arange(len(error)), seed=1).summary(error)["bias"].estimate().error
    assert by_event == pytest.approx(np.sqrt(1.01 / 100), rel=0.25)
    assert by_row == pytest.approx(np.sqrt(2 / 10_000), rel=0.25)


def test_many_events_are_drawn_in_groups():
    error, event = correlated(20_000, 1, 6, common=0.0)
    bootstrap = EventBootstrap(event * 7 + 3, seed=2)
    assert bootstrap.cluster.max() == 4999
    found = bootstrap.summary(error)["bias"].estimate()
    assert found.error == pytest.approx(1 / np.sqrt(20_000), rel=0.2)


def test_ratios_profit_from_what_is_common():
    error, event = correlated(60, 20, 8)
    bootstrap = EventBootstrap(event, seed=1)
    first, second = bootstrap.summary(error)["rmse"], bootstrap.summary(2 * error)["rmse"]
    ratio = first.over(second)
    assert (ratio.value, ratio.error) == pytest.approx((0.5, 0))
    assert first.estimate().error > 0.02


def test_a_part_of_the_rows_and_values_that_are_not_finite():
    error, event = correlated(50, 10, 9)
    error[::3] = np.nan
    bootstrap = EventBootstrap(event, seed=1)
    is_chosen = event < 20
    part = bootstrap.summary(error[is_chosen], is_chosen)
    kept = error[is_chosen & np.isfinite(error)]
    assert part["bias"].value == pytest.approx(kept.mean())
    assert (part["bias"].n, part["bias"].n_events) == (len(kept), 20)
    same = bootstrap.summary(error[is_chosen], np.flatnonzero(is_chosen))
    np.testing.assert_array_equal(same["68pct"].draws, part["68pct"].draws)


@pytest.mark.parametrize("n_events", [0, 1, 4])
def test_few_events_have_no_uncertainty(n_events):
    error, event = correlated(n_events, 3, 1)
    for one in EventBootstrap(event, seed=1).summary(error).values():
        estimate = one.estimate()
        assert np.isnan(estimate.error)
        assert np.isnan(estimate.value) == (n_events == 0)
        assert estimate.n == 3 * n_events


def test_constant_errors_have_no_width():
    found = EventBootstrap(np.arange(20), seed=1).summary(np.full(20, 2.0))
    assert (found["std"].value, found["std"].estimate().error) == (0, 0)
    assert found["68pct"].estimate().error == 0


def test_the_seed_follows_the_content():
    values = np.arange(4.0)
    assert content_seed(values, values) == content_seed(values.copy(), values)
    assert content_seed(values) != content_seed(values + 1)
