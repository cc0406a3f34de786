import argparse

import numpy as np
import pytest
import uproot

from xec_pipeline.cli import simulate
from xec_pipeline.config.simulation import SimulationConfig, simulation_config
from xec_pipeline.errors import ConfigError
from xec_pipeline.simulation.provenance import read_provenance


def _parse(*flags):
    parser = argparse.ArgumentParser()
    simulate.add_parser(parser.add_subparsers())
    return parser.parse_args(["simulate", "--out", "data", *flags])


def _config(*flags):
    args = _parse(*flags)
    return simulation_config(args.preset, simulate.options_from(args))


def test_defaults():
    assert _config() == SimulationConfig()


def test_every_flag():
    config = _config(
        *("--events", "50", "--files", "5", "--energy", "52.83", "--geometry", "aligned"),
        *("--dead", "0.01", "--dead-boards", "2", "--pileup", "0.1", "--branches", "full"),
        *("--codec", "lz4:4", "--rounding", "off", "--truth-light", "--seed", "7"),
        *("--first_run", "30", "--preset", "sharp", "--detector_seed", "3"),
    )
    assert config.energy_mev == (52.83, 52.83)
    assert config.file_events() == dict.fromkeys(range(30, 35), 10)
    assert (config.dead_fraction, config.dead_boards) == (0.01, 2)
    assert config.pileup.probability == 0.1
    assert (config.codec, config.rounding, config.truth_light) == ("lz4:4", False, True)
    assert config.shower.yield_spread == 0.004
    assert (config.seed, config.detector_seed) == (7, 3)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--energy", "fast"), "expected one energy such as 52.83"),
        (("--energy", "60:15"), "14.5 <= low <= high"),
        (("--energy", "nan"), "energy_mev"),
        (("--preset", "mg2"), "did you mean 'meg2'"),
        (("--codec", "zstd"), "zstd:1 to zstd:22"),
        (("--codec", "ztsd:1"), "did you mean 'zstd'"),
        (("--dead", "2"), "dead_fraction"),
        (("--dead_boards", "200"), "dead_boards"),
        (("--pileup", "1.5"), "pileup.probability"),
        (("--events", "3", "--files", "4"), "4 files need at least as many events"),
        (("--first_run", "999999", "--files", "2"), "below 1000000"),
        (("--branches", "all"), "'min' or 'full'"),
    ],
)
def test_bad_values(flags, message):
    with pytest.raises(ConfigError, match=message):
        _config(*flags)


def test_unknown_option_names_what_is_near():
    with pytest.raises(ConfigError, match=r"unknown option 'sede' \(did you mean 'seed'"):
        simulation_config("meg2", {"sede": 1})
    with pytest.raises(ConfigError, match=r"unknown option 'shower.lenght_cm'.*'length_cm'"):
        simulation_config("meg2", {"shower": {"lenght_cm": 1}})


def test_help_teaches(capsys):
    with pytest.raises(SystemExit):
        _parse("--help")
    text = capsys.readouterr().out
    assert "examples" in text
    assert "--dead_boards" in text
    assert "--dead-boards" in text


def test_run_writes_files(tmp_path, capsys):
    args = _parse("--events", "3", "--preset", "point")
    args.out = tmp_path / "toy"
    assert simulate.run(args) == 0
    assert "3 toy events in 1 files" in capsys.readouterr().out
    record = read_provenance(tmp_path / "toy" / "MCGamma_000001.root")
    assert record is not None
    assert record["preset"] == "point"


def test_reconstruction_is_written_on_request(tmp_path):
    args = _parse("--events", "3", "--energy", "52.83", "--reconstruct")
    args.out = tmp_path / "toy"
    assert simulate.run(args) == 0
    path = tmp_path / "toy" / "MCGamma_000001.root"
    with uproot.open(path) as file:
        events = file["tree"].arrays(library="np")
    np.testing.assert_allclose(events["uvwRecoFI"], events["uvwTruth"], atol=3)
    np.testing.assert_allclose(events["energyReco"], 0.05283, rtol=0.1)
    np.testing.assert_allclose(events["timeReco"], events["timeTruth"], atol=0.4)
    assert events["solid_angle"].sum(axis=1).min() > 0.2
    record = read_provenance(path)
    assert record is not None
    assert record["reconstruction"]["method"] == "conventional"
    assert len(record["reconstruction"]["constants"]["sha256"]) == 64


def test_remainder_goes_to_the_first_files():
    config = simulation_config("meg2", {"events": 11, "files": 3, "first_run": 5})
    assert config.file_events() == {5: 4, 6: 4, 7: 3}
