import shutil

import numpy as np
import pytest
import uproot

from xec_pipeline.__main__ import main
from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.data import limit_files
from xec_pipeline.data.limit_files import limits_path, read_limits
from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.data.root_io import read_provenance_tree, write_tree
from xec_pipeline.data.schema import LIMIT_BRANCHES
from xec_pipeline.errors import ConfigError, DataError
from xec_pipeline.evaluation import limits as limits_module
from xec_pipeline.evaluation.limits import calculate_limits
from xec_pipeline.simulation.dataset import simulate_dataset
from xec_pipeline.simulation.limits.event_limit import EventLimits

OPTIONS = {"events": 12, "files": 2, "energy_mev": (52.83, 52.83), "dead_fraction": 0.01}


def simulate(folder, **options):
    config = simulation_config("meg2", OPTIONS | options)
    return simulate_dataset(config, folder, progress=False)


@pytest.fixture(scope="module")
def calculated(tmp_path_factory):
    """Two files of six events and their limits; do not write."""
    files = simulate(tmp_path_factory.mktemp("toy"))
    calculate_limits(files, progress=False)
    return files


@pytest.fixture
def copied(calculated, tmp_path):
    """Own copies of the events, without limits."""
    for path in calculated:
        shutil.copy(path, tmp_path)
    return find_root_files(tmp_path)


def read(path):
    with uproot.open(limits_path(path)) as file:
        return file["limits"].arrays(library="np")


def test_files_hold_the_limits_of_their_events_in_their_units(calculated):
    for path in calculated:
        columns = read(path)
        assert list(columns) == list(LIMIT_BRANCHES)
        with uproot.open(path) as file:
            events = file["tree"].arrays(["run", "event", "uvwTruth"], library="np")
        np.testing.assert_array_equal(columns["event"], events["event"])
        np.testing.assert_array_equal(columns["run"], events["run"])
        np.testing.assert_allclose(columns["w"], events["uvwTruth"][:, 2], atol=1e-4)
        np.testing.assert_allclose(columns["lim_E"], 0.0163 * 0.05283, rtol=0.05)
        np.testing.assert_allclose(columns["lim_t"], 0.053, rtol=0.12)
        assert (columns["lim_t_emission"] > columns["lim_t"]).all()
        for name in ("lim_u", "lim_v", "lim_w"):
            assert ((columns[name] > 0.03) & (columns[name] < 1)).all()


def test_limits_are_read_in_internal_units_and_in_the_order_of_the_files(calculated):
    columns = read_limits(calculated)
    assert columns["run"].tolist() == [1] * 6 + [2] * 6
    np.testing.assert_allclose(columns["lim_E"][:6], 1e3 * read(calculated[0])["lim_E"])


def test_latents_of_the_file_and_simulated_again_give_the_same(calculated, tmp_path):
    files = simulate(tmp_path, truth_light=True)
    calculate_limits(files, progress=False)
    for with_latents, without in zip(files, calculated, strict=True):
        stored, again = read(with_latents), read(without)
        for name in LIMIT_BRANCHES:
            np.testing.assert_allclose(stored[name], again[name], rtol=1e-5, err_msg=name)


def test_limits_are_calculated_once_and_continued(copied, monkeypatch):
    asked = []
    original = EventLimits.limits

    def counted(self, events):
        asked.append(len(events))
        return original(self, events)

    monkeypatch.setattr(EventLimits, "limits", counted)
    assert calculate_limits(copied, n_events=4, progress=False) == [limits_path(copied[0])]
    first = read(copied[0])
    assert asked == [4]
    calculate_limits(copied, n_events=8, progress=False)
    assert asked == [4, 2, 2]
    calculate_limits(copied, progress=False)
    calculate_limits(copied, progress=False)
    assert asked == [4, 2, 2, 4]
    calculate_limits(copied, n_events=1, progress=False)
    for name, values in read(copied[0]).items():
        assert len(values) == 6
        np.testing.assert_allclose(values[:4], first[name], rtol=1e-6)


def test_limits_of_other_events_are_not_taken(calculated, copied, tmp_path):
    other = simulate(tmp_path / "other", seed=2)
    shutil.copy(limits_path(calculated[0]), limits_path(other[0]))
    with pytest.raises(DataError, match="xec limits"):
        read_limits(other[:1])
    calculate_limits(other[:1], progress=False)
    assert not np.allclose(read(other[0])["w"], read(calculated[0])["w"])


def test_limits_by_other_code_are_not_taken(calculated, monkeypatch):
    monkeypatch.setattr(limit_files, "calculating_code", lambda: "another")
    with pytest.raises(DataError, match="xec limits"):
        read_limits(calculated[:1])
    monkeypatch.undo()
    assert len(read_limits(calculated[:1])["event"]) == 6


def test_processes_give_the_same_limits(calculated, copied, monkeypatch):
    monkeypatch.setattr(limits_module, "_CHUNK", 2)
    calculate_limits(copied[:1], jobs=2, progress=False)
    for name, values in read(copied[0]).items():
        np.testing.assert_array_equal(values, read(calculated[0])[name])


def test_dead_sensors_are_those_of_the_record(tmp_path):
    listed = tmp_path / "dead.txt"
    listed.write_text("\n".join(map(str, range(0, 4760, 5))))
    more = {"events": 3, "files": 1, "dead_fraction": 0.0}
    dead = simulate(tmp_path / "dead", dead_file=listed, **more)
    listed.unlink()
    alive = simulate(tmp_path / "alive", **more)
    calculate_limits(dead, progress=False)
    calculate_limits(alive, progress=False)
    for name in ("lim_E", "lim_u", "lim_v", "lim_w", "lim_t"):
        assert (read(dead[0])[name] > read(alive[0])[name]).all()


def test_events_that_do_not_come_out_again_are_refused(copied):
    with uproot.open(copied[0]) as file:
        events = file["tree"].arrays(library="np")
    events["npho"][3] *= np.float32(1.1)
    record = read_provenance_tree(copied[0])
    write_tree(copied[0], "tree", events, provenance=record)
    with pytest.raises(DataError, match=r"event 3 of run 1 does not come out.*--truth_light"):
        calculate_limits(copied[:1], progress=False)


def test_pileup_and_files_of_other_origin_are_refused(tmp_path, tiny_root_file):
    files = simulate(tmp_path, pileup={"probability": 0.5}, files=1, events=2)
    with pytest.raises(ConfigError, match=r"MCGamma_000001\.root.*second photon"):
        calculate_limits(files, progress=False)
    with pytest.raises(DataError, match="no record of a toy simulation"):
        calculate_limits([tiny_root_file], progress=False)
    with pytest.raises(ConfigError, match="jobs must be at least 1"):
        calculate_limits(files, jobs=0)
    with pytest.raises(ConfigError, match="events must be at least 1"):
        calculate_limits(files, n_events=0)


def test_limits_beside_events_are_not_taken_for_events(calculated):
    folder = calculated[0].parent
    assert find_root_files(folder) == calculated
    assert find_root_files(f"{folder}/*.root") == calculated
    assert find_root_files(limits_path(calculated[0])) == [limits_path(calculated[0])]
    config = simulation_config("meg2", OPTIONS)
    assert simulate_dataset(config, folder, progress=False) == calculated


def test_a_file_of_its_own_may_be_called_limits(tmp_path, tiny_root_file):
    shutil.copy(tiny_root_file, tmp_path / "test_limits.root")
    assert find_root_files(tmp_path) == [tmp_path / "test_limits.root"]


def test_command(copied, capsys):
    assert main(["limits", str(copied[0].parent), "--events", "2"]) == 0
    assert capsys.readouterr().out == f"{limits_path(copied[0])}\n"
    assert len(read(copied[0])["event"]) == 2
    assert main(["inspect", str(limits_path(copied[0]))]) == 0
    assert "limit of the photon energy" in capsys.readouterr().out
