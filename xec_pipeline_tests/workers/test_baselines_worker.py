"""Methods without a network on toy events: calibrated on one sample, judged on another."""

import numpy as np
import pandas as pd
import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.data.shards import build_shards, open_shards
from xec_pipeline.simulation.dataset import simulate_dataset
from xec_pipeline.workers.baselines import calibrate, possible_of, with_tasks, write_tables


def toy_shards(folder, **options):
    files = simulate_dataset(simulation_config("meg2", options), folder / "root", progress=False)
    build_shards(files, folder / "shards", DataConfig(), jobs=1, progress=False)
    return open_shards(folder / "shards")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Return shards of training events, and of test events from another seed."""
    train = toy_shards(tmp_path_factory.mktemp("train"), events=300)
    test = toy_shards(
        tmp_path_factory.mktemp("test"), events=100, seed=2, first_run=2, energy_mev=(52.83, 52.83)
    )
    return train, test


def predict(samples, folder, timing=None):
    """Return the conventional tables of the test events by task."""
    train, test = samples
    run = RegressorRun.model_validate(
        {"tasks": {"energy": {"enabled": True}, "timing": timing or {}}}
    ).named("toy")
    calibrated = calibrate(train, with_tasks(run, possible_of(train, run)))
    write_tables(calibrated, test, run, folder)
    return {
        task: pd.read_csv(folder / f"baseline_conventional_{task}_toy.csv")
        for task in ("energy", "timing", "uvwFI")
    }


def half_width(table, name):
    residual = table[f"pred_{name}"] - table[f"true_{name}"]
    assert abs(np.median(residual)) < np.percentile(np.abs(residual), 50)
    return np.percentile(np.abs(residual - np.median(residual)), 68.27)


@pytest.fixture(scope="module")
def tables(samples, tmp_path_factory):
    return predict(samples, tmp_path_factory.mktemp("tables"))


def test_conventional_tables_resolve_energy_position_and_time(tables):
    assert half_width(tables["energy"], "energy") < 0.03 * 0.05283
    assert all(half_width(tables["uvwFI"], name) < 0.6 for name in "uvw")
    assert half_width(tables["timing"], "timing") < 100e-12
    assert {len(table) for table in tables.values()} == {len(tables["energy"])}


def test_all_methods_stand_side_by_side(samples, tmp_path):
    predict(samples, tmp_path)
    assert {path.name.removesuffix("_toy.csv") for path in tmp_path.iterdir()} == {
        *(f"baseline_trivial_{task}" for task in ("angle", "energy", "timing", "uvwFI")),
        *(f"baseline_charge_weighted_{task}" for task in ("energy", "uvwFI")),
        *(f"baseline_conventional_{task}" for task in ("energy", "timing", "uvwFI")),
    }


def test_time_does_not_depend_on_what_the_network_counts_from(samples, tables, tmp_path):
    free = predict(samples, tmp_path, {"origin": "none"})["timing"]
    pd.testing.assert_frame_equal(free, tables["timing"], rtol=1e-9)


def test_time_of_emission_is_earlier_by_the_flight(samples, tables, tmp_path):
    emitted = predict(samples, tmp_path, {"reference": "emission"})["timing"]
    assert half_width(emitted, "timing") < 120e-12
    earlier_ns = 1e9 * (tables["timing"]["pred_timing"] - emitted["pred_timing"])
    assert earlier_ns.between(2.1, 3.7).all()


def test_sample_without_light_that_fits_has_no_conventional_tables(tiny_shards, tmp_path, caplog):
    run = RegressorRun.model_validate({"tasks": {"energy": {"enabled": True}}}).named("toy")
    few = with_tasks(run, possible_of(tiny_shards, run))
    few = few.model_copy(
        update={
            "data": few.data.model_copy(
                update={"fiducial": few.data.fiducial.model_copy(update={"u_max": 10.0})}
            )
        }
    )
    calibrated = calibrate(tiny_shards, few)
    assert calibrated.conventional is None
    assert "no conventional reconstruction" in caplog.text
    write_tables(calibrated, tiny_shards, few, tmp_path)
    assert not list(tmp_path.glob("baseline_conventional_*"))
    assert len(list(tmp_path.glob("baseline_trivial_*"))) == 4
