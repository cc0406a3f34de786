import dagster as dg
import pytest

from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.defs import keys, partitions
from xec_pipeline.defs.checks import data
from xec_pipeline_tests.defs.checking import DATASET, check, numbers

SOUND = {
    "events": 100,
    "sensors": 4760,
    "dead_percent": 1.5,
    "nonfinite_values": 0,
    "time_missing_percent": 70.0,
}


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({}, True),
        ({"sensors": 4759}, False),
        ({"events": 0}, False),
        ({"dead_percent": 60.0}, False),
        ({"nonfinite_values": 400}, True),
        ({"nonfinite_values": 4760}, False),
        ({"sensors": "none"}, False),
    ],
)
def test_shards_hold_events_of_all_sensors(change, passes):
    evaluation = check(data.shards_are_sound, keys.SHARDS, **(SOUND | change))
    assert evaluation.passed is passes
    assert evaluation.blocking
    assert numbers(evaluation)["dataset"] == DATASET


@pytest.mark.parametrize(("dead", "passes"), [(143, True), (476, True), (477, False)])
def test_many_dead_sensors_are_a_warning(dead, passes):
    evaluation = check(data.dead_sensors_are_few, keys.SHARDS, dead_sensors=dead)
    assert evaluation.passed is passes
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert numbers(evaluation)["dead_sensors"] == dead


@pytest.mark.parametrize(
    ("ranges", "outside"),
    [
        ({"true_energy_mev_min": 15.0, "true_energy_mev_max": 60.0}, "none"),
        ({"true_energy_mev_min": 15.0, "true_energy_mev_max": 60000.0}, "true_energy_mev"),
        ({"true_w_cm_min": -5.0, "true_w_cm_max": 30.0}, "true_w_cm"),
        ({"true_time_ns_min": -1e-8, "true_time_ns_max": 1e4}, "true_time_ns"),
        ({}, "none"),
    ],
)
def test_truth_in_other_units_is_a_warning(ranges, outside):
    evaluation = check(data.truth_is_in_range, keys.SHARDS, **ranges)
    assert evaluation.passed is (outside == "none")
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    found = numbers(evaluation)
    assert found["outside"] == outside
    assert {name: found[name] for name in ranges} == ranges


@pytest.mark.parametrize(("shared", "passes"), [(0, True), (3, False)])
def test_events_of_two_samples_are_an_error(shared, passes):
    told = {"events_shared_with_data.toy.val": shared, "events_shared_with_data.toy.test": 0}
    evaluation = check(data.samples_do_not_overlap, keys.SHARDS, None, **told)
    assert evaluation.passed is passes
    assert evaluation.blocking
    assert evaluation.severity == dg.AssetCheckSeverity.ERROR
    assert numbers(evaluation)["compared_with"] == 2


def test_a_sample_used_twice_is_an_error(monkeypatch):
    run = load_regressor_run("demo", {"data.val_path": "data/toy/train"})
    monkeypatch.setattr(partitions, "_RUNS", {"mixed": run})
    key = dataset_key("data/toy/train")
    evaluation = check(data.samples_do_not_overlap, keys.SHARDS, None, key)
    assert not evaluation.passed
    assert numbers(evaluation)["runs_that_use_it_twice"] == "regressor mixed"


def test_samples_beside_another_are_those_of_the_same_runs():
    assert partitions.samples_beside("data.toy.train") == ["data/toy/test", "data/toy/val"]
    assert partitions.runs_that_mix("data.toy.train") == []
