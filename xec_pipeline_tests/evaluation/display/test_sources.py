import numpy as np
import pytest

from xec_pipeline.data.root_io import write_tree
from xec_pipeline.errors import DataError, MissingBranchError
from xec_pipeline.evaluation.display.sources import Wanted, open_source, read_event


def test_root_files_and_shards_show_the_same_event(tiny_root_dir, tiny_shards):
    files, shards = open_source(str(tiny_root_dir)), open_source(str(tiny_shards.path))
    assert files.n_events == shards.n_events == 48
    for wanted in (Wanted(entry=30), Wanted(run=1002, event=6)):
        one, other = read_event(files, wanted), read_event(shards, wanted)
        assert (one.run, one.event, one.entry) == (1002, 6, 30)
        assert (other.run, other.event, other.entry) == (1002, 6, 30)
        np.testing.assert_allclose(one.npho, other.npho, rtol=2e-3)
        np.testing.assert_allclose(one.time_ns, other.time_ns, rtol=2e-3, atol=1e-3)
        np.testing.assert_array_equal(one.is_dead, other.is_dead)
        assert one.is_dead.sum() >= 1
        assert one.uvw_cm == pytest.approx(other.uvw_cm)
        assert 15 < one.energy_mev < 60
        assert one.reco_energy_mev == pytest.approx(1.01 * one.energy_mev, rel=1e-5)


@pytest.mark.parametrize("kind", ["files", "shards"])
@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(entry=48), "no entry 48; expected 0 to 47"),
        (Wanted(entry=-1), "no entry -1"),
        (Wanted(run=1003, event=1), "no run 1003; the nearest of 2 runs: 1001, 1002"),
        (
            Wanted(run=1001, event=30),
            "run 1001 has no event 30; the nearest of 24 events: 21, 22, 23",
        ),
    ],
)
def test_an_event_that_is_not_there_names_the_nearest(
    kind, wanted, message, tiny_root_dir, tiny_shards
):
    path = {"files": tiny_root_dir, "shards": tiny_shards.path}[kind]
    with pytest.raises(DataError, match=message):
        read_event(open_source(str(path)), wanted)


def test_missing_branches_are_named(tmp_path, event_factory):
    events = event_factory(3)
    nameless = {name: events[name] for name in ("npho", "relative_time")}
    path = write_tree(tmp_path / "nameless.root", "tree", nameless)
    source = open_source(str(path))
    event = read_event(source, Wanted(entry=2))
    assert event.title() == "Entry 2"
    assert event.file_name() == "entry_2"
    with pytest.raises(MissingBranchError, match="'run' is missing"):
        read_event(source, Wanted(run=1, event=2))
    timeless = write_tree(tmp_path / "timeless.root", "tree", {"npho": events["npho"]})
    with pytest.raises(MissingBranchError, match="relative_time"):
        read_event(open_source(str(timeless)), Wanted(entry=0))


def test_repeated_numbers_take_the_first_and_say_so(tmp_path, event_factory, caplog):
    events = event_factory(4)
    events["event"][:] = 5
    path = write_tree(tmp_path / "twice.root", "tree", events)
    event = read_event(open_source(str(path)), Wanted(run=1000, event=5))
    assert event.entry == 0
    assert "is there 4 times, the first is taken" in caplog.text


def test_a_failed_reconstruction_is_no_point(tmp_path, event_factory):
    events = event_factory(1)
    events["uvwRecoFI"][:] = -1000
    path = write_tree(tmp_path / "failed.root", "tree", events)
    event = read_event(open_source(str(path)), Wanted(entry=0))
    assert np.isnan(event.reco_uvw_cm).all()
    assert [mark.label for mark in event.marks()] == ["true first interaction"]
