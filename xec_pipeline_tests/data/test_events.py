"""Clean events from every kind of file."""

import numpy as np
import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.events import iterate_sensor_events
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.errors import MissingBranchError

VARIANTS = {
    "PrepareRealData": [
        "npho time relative_npho relative_time run event ch_npho_max ch_time_min npho_max_used",
        "time_min_used xyzVTX emiVec emiAng energyReco uvwRecoFI",
    ],
    "PrepareRealDataInpainter": [
        "npho time relative_npho relative_time run event ch_npho_max ch_time_min npho_max_used",
        "time_min_used",
    ],
    "CEX": [
        "npho time nphe relative_time run event ch_npho_max ch_time_min npho_max_used",
        "time_min_used uvwRecoFI energyReco energyTruth timeTruth uvwTruth xyzTruth dead nDead",
    ],
}


def one_chunk(path, **options):
    (events,) = iterate_sensor_events([path], DataConfig(**options))
    return events


def valid(values):
    return np.where(np.abs(values) > 9e9, np.nan, values)


@pytest.mark.parametrize("variant", VARIANTS)
def test_real_data_variants_are_read(tmp_path, event_factory, variant):
    truth = event_factory(4)
    truth["relative_npho"] = truth["npho"] / 100
    truth["nDead"] = np.full(4, 2, "i4")
    truth["dead"] = truth["npho"] > 9e9
    names = " ".join(VARIANTS[variant]).split()
    path = write_tree(tmp_path / "DataGamma_000123.root", "tree", {n: truth[n] for n in names})
    events = one_chunk(path)
    np.testing.assert_array_equal(events.npho, valid(truth["npho"]))
    np.testing.assert_array_equal(events.time_s, valid(truth["relative_time"]))
    assert ("uvwTruth" in events.columns) == (variant == "CEX")
    assert events.n_dead == 8


def test_sensor_marked_dead_is_dead_whatever_it_holds(tmp_path, event_factory):
    truth = event_factory(2)
    truth["dead"] = np.zeros((2, 4760), bool)
    truth["dead"][1, 33] = True
    path = write_tree(tmp_path / "a.root", "tree", truth)
    events = one_chunk(path)
    assert np.isnan(events.npho[1, 33])
    assert events.n_dead == 2 * 2 + 1


def test_relative_times_are_derived_where_the_file_lacks_them(tmp_path, event_factory):
    truth = event_factory(5)
    kept = {name: truth[name] for name in ("run", "event", "npho", "nphe", "time")}
    events = one_chunk(write_tree(tmp_path / "a.root", "tree", kept))
    np.testing.assert_allclose(events.time_s, valid(truth["relative_time"]), atol=1e-14)
    np.testing.assert_allclose(events.columns["time_min_used"], truth["time_min_used"], rtol=1e-6)


def test_without_photoelectrons_the_light_decides(tmp_path, event_factory):
    truth = event_factory(5)
    kept = {name: truth[name] for name in ("npho", "time")}
    events = one_chunk(write_tree(tmp_path / "a.root", "tree", kept))
    # The factory's nphe is 0.12 npho, the efficiency that the fallback assumes.
    np.testing.assert_allclose(events.time_s, valid(truth["relative_time"]), atol=1e-14)


def test_event_without_an_accepted_time_has_no_times(tmp_path, event_factory):
    truth = event_factory(2)
    kept = {name: truth[name] for name in ("npho", "nphe", "time")}
    kept["nphe"][0] = 10
    events = one_chunk(write_tree(tmp_path / "a.root", "tree", kept))
    assert np.isnan(events.time_s[0]).all()
    assert np.isnan(events.columns["time_min_used"][0])
    assert np.isfinite(events.time_s[1]).any()


def test_absolute_times_become_relative_ones(tmp_path, event_factory):
    truth = event_factory(3)
    path = write_tree(tmp_path / "a.root", "tree", truth)
    events = one_chunk(path, time_branch="time")
    np.testing.assert_allclose(events.time_s, valid(truth["relative_time"]), atol=1e-14)


def test_file_without_any_time(tmp_path, event_factory):
    path = write_tree(tmp_path / "a.root", "tree", {"npho": event_factory(2)["npho"]})
    with pytest.raises(MissingBranchError, match=r"a\.root: branch 'relative_time' is missing"):
        one_chunk(path)


def test_columns_are_nan_where_not_measured(tmp_path, event_factory):
    truth = event_factory(3)
    truth["uvwTruth"][1] = 1e10
    truth["energyTruth"][2] = np.nan
    events = one_chunk(write_tree(tmp_path / "a.root", "tree", truth))
    assert np.isnan(events.columns["uvwTruth"]).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(events.columns["energyTruth"]).tolist() == [False, False, True]
    assert events.columns["entry"].tolist() == [0, 1, 2]
    assert events.columns["run"].dtype == np.int32
