import numpy as np
import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shard_summary import sensor_summary, shared_events, truth_ranges
from xec_pipeline.data.shards import build_shards, open_shards


@pytest.fixture
def shards_of(tmp_path):
    """Return a function that writes events to a file of that name and opens its shards."""

    def make(name: str, events):
        path = tmp_path / f"{name}.root"
        write_tree(path, "tree", events)
        build_shards([path], tmp_path / name, DataConfig(), jobs=1, progress=False)
        return open_shards(tmp_path / name)

    return make


def test_ranges_have_the_units_of_their_names(tiny_shards):
    ranges = truth_ranges(tiny_shards, "ns")
    energy = np.asarray(tiny_shards.columns["energyTruth"])
    assert ranges["true_energy_mev_max"] == pytest.approx(1e3 * energy.max())
    assert ranges["true_w_cm_min"] == pytest.approx(tiny_shards.columns["uvwTruth"][:, 2].min())
    assert truth_ranges(tiny_shards, "s")["true_time_ns_max"] == pytest.approx(
        1e9 * ranges["true_time_ns_max"]
    )


def test_events_without_truth_have_no_ranges(shards_of, event_factory):
    events = event_factory(8, seed=1)
    bare = {name: events[name] for name in ("npho", "relative_time", "run", "event")}
    assert truth_ranges(shards_of("bare", bare), "ns") == {}


def test_sensors_without_a_value_are_dead(shards_of, event_factory):
    events = event_factory(20, seed=1)
    events["npho"][:, [7, 4000]] = 1e10
    events["npho"][:15, 8] = 1e10  # in three quarters of the events
    found = sensor_summary(shards_of("dead", events))
    assert (found["sensors"], found["sampled_events"], found["dead_sensors"]) == (4760, 20, 2)
    assert 0 <= found["time_missing_percent"] <= 100


def test_shared_events_are_found_by_number_and_truth(shards_of, event_factory):
    first = shards_of("first", event_factory(24, seed=1))
    assert shared_events(first, shards_of("second", event_factory(24, seed=2))) == 0
    part = {name: values[4:10] for name, values in event_factory(24, seed=1).items()}
    assert shared_events(first, shards_of("part", part)) == 6
    # Simulations count their events alike; another energy tells them apart.
    other = dict(part, energyTruth=part["energyTruth"] + np.float32(0.001))
    assert shared_events(first, shards_of("other", other)) == 0


def test_files_of_equal_content_share_all_events(shards_of, tmp_path, event_factory):
    events = event_factory(10, seed=3)
    events = {name: values for name, values in events.items() if name not in ("run", "event")}
    first = shards_of("first", events)
    (tmp_path / "again.root").write_bytes((tmp_path / "first.root").read_bytes())
    build_shards(
        [tmp_path / "again.root"], tmp_path / "again", DataConfig(), jobs=1, progress=False
    )
    assert shared_events(first, open_shards(tmp_path / "again")) == 10
