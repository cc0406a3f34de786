"""True means of the toy detector, found by run and event."""

import numpy as np
import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.mean_light import mean_photons
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shards import build_shards, open_shards
from xec_pipeline.errors import DataError

N_EVENTS = 700
"""Per file: more than one step of reading."""


def mean_of(run, event, sensor):
    """Return the value that stands at a place; exact in float32."""
    return (run % 10) * 1_000_000 + event * 1000 + sensor % 1000


def write_means(path, run, events, *, with_means=True):
    columns = {"run": np.full(len(events), run, "i4"), "event": events.astype("i4")}
    if with_means:
        sensors = np.arange(4760)
        means = mean_of(run, events[:, None], sensors).astype("f4")
        columns["npho_mean"] = means
    return write_tree(path, "tree", columns)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("means")
    shuffled = np.random.default_rng(1).permutation(N_EVENTS)
    return [
        write_means(folder / "a.root", 3, np.arange(N_EVENTS)),
        write_means(folder / "b.root", 4, shuffled),
    ]


def test_rows_in_any_order_and_more_than_once(files):
    rng = np.random.default_rng(2)
    run, event = rng.integers(3, 5, 5000), rng.integers(0, N_EVENTS, 5000)
    sensor = rng.integers(0, 4760, 5000)
    found = mean_photons(files, run, event, sensor)
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, mean_of(run, event, sensor))


def test_no_rows(files):
    none = np.empty(0, dtype=np.int64)
    found = mean_photons(files, none, none, none)
    assert found is not None
    assert found.shape == (0,)


def test_an_event_that_is_nowhere_is_named(files):
    run, event = np.array([3, 4, 4]), np.array([1, N_EVENTS, 2])
    message = r"run 4, event 700 is in none of 2 files .*a\.root.*1 of 3 events are missing"
    with pytest.raises(DataError, match=message):
        mean_photons(files, run, event, np.zeros(3, int))


def test_an_event_in_two_files_is_refused_only_if_asked_for(files, tmp_path):
    again = write_means(tmp_path / "again.root", 3, np.array([5, 900]))
    one = np.array([0])
    assert mean_photons([*files, again], one + 3, one + 6, one) is not None
    with pytest.raises(DataError, match=r"run 3, event 5 is in .*a\.root and again in .*again"):
        mean_photons([*files, again], one + 3, one + 5, one)


def test_files_without_means_have_none(tmp_path, files):
    bare = write_means(tmp_path / "bare.root", 5, np.arange(3), with_means=False)
    one = np.array([0])
    assert mean_photons([bare], one + 5, one, one) is None
    assert mean_photons([], one, one, one) is None
    with pytest.raises(DataError, match=r"bare\.root: no branch 'npho_mean', but 2 of 3 files"):
        mean_photons([*files, bare], one + 3, one, one)


def test_shards_do_not_hold_the_means(event_factory, tmp_path):
    events = event_factory(6, seed=3)
    with_means = events | {"npho_mean": np.full((6, 4760), 7.0, "f4")}
    stored = []
    for name, columns in (("bare", events), ("means", with_means)):
        path = write_tree(tmp_path / f"{name}.root", "tree", columns)
        build_shards([path], tmp_path / name, DataConfig(), jobs=1, progress=False)
        stored.append(open_shards(tmp_path / name))
    bare, means = stored
    np.testing.assert_array_equal(bare.npho(np.arange(6)), means.npho(np.arange(6)))
    assert list(bare.columns) == list(means.columns)
    assert "npho_mean" not in means.columns
