"""What other Dagster runs may take up: only what passed its blocking checks."""

import dagster as dg
import pytest

from xec_pipeline.definitions import defs
from xec_pipeline.defs import acceptance, keys
from xec_pipeline.defs.acceptance import BLOCKING, objections, require_accepted
from xec_pipeline.defs.assets.inpainter import inpainter_weights
from xec_pipeline.defs.assets.mae import encoder
from xec_pipeline.defs.assets.regressor import weights
from xec_pipeline.defs.assets.shards import shards
from xec_pipeline.defs.checks import data
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline_tests.defs.checking import report_checks

DATASET = "data.toy.val"
SOUND = {"events": 10, "sensors": 4760, "dead_percent": 1.0, "nonfinite_values": 0}


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the workers report."""
    numbers = dict(SOUND)

    def run(_self, _context, _module, _arguments, **_options):
        return dg.MaterializeResult(data_version=dg.DataVersion("v"), metadata=dict(numbers))

    monkeypatch.setattr(TorchDDP, "run", run)
    return numbers


def build(instance: dg.DagsterInstance, partition: str = DATASET) -> None:
    """Make shards with two of their checks, as a run of its own does."""
    dg.materialize(
        [shards, data.shards_are_sound, data.samples_do_not_overlap],
        instance=instance,
        partition_key=partition,
        resources={"ddp": TorchDDP()},
        raise_on_error=False,
    )


def test_blocking_checks_are_those_of_the_graph():
    specs = [spec for each in defs().asset_checks or () for spec in each.check_specs]
    blocking = {(spec.asset_key, spec.name) for spec in specs if spec.blocking}
    assert {(key, name) for key, names in BLOCKING.items() for name in names} == {
        (key, name) for key, name in blocking if key in BLOCKING
    }
    assert (keys.WEIGHTS, acceptance.BEATS_A_CONSTANT) in {(s.asset_key, s.name) for s in specs}


def test_only_a_check_of_this_very_materialization_counts(instance, told):
    assert list(objections(instance, keys.SHARDS, DATASET)) == [], "never made"
    build(instance)
    assert list(objections(instance, keys.SHARDS, DATASET)) == []
    told["events_shared_with_data.toy.test"] = 7
    build(instance, "data.toy.train")
    assert list(objections(instance, keys.SHARDS, DATASET)) == [], "another dataset"
    build(instance)
    found = f"samples_do_not_overlap failed for data/shards [{DATASET}]"
    assert list(objections(instance, keys.SHARDS, DATASET)) == [f"check {found}"]
    instance.report_runless_asset_event(dg.AssetMaterialization(keys.SHARDS, partition=DATASET))
    assert [text.split(" for ")[0] for text in objections(instance, keys.SHARDS, DATASET)] == [
        "check samples_do_not_overlap was not finished",
        "check shards_are_sound was not finished",
    ]
    report_checks(instance, keys.SHARDS, DATASET)
    require_accepted(instance, [(keys.SHARDS, DATASET)])


def test_older_evaluations_are_found_behind_many_of_others(instance, monkeypatch):
    monkeypatch.setattr(acceptance, "_PAGE", 2)
    for name in ("a", "b", "c", "d", "e"):
        instance.report_runless_asset_event(dg.AssetMaterialization(keys.WEIGHTS, partition=name))
        report_checks(instance, keys.WEIGHTS, name)
    assert list(objections(instance, keys.WEIGHTS, "a")) == []


@pytest.mark.parametrize("training", [weights, encoder, inpainter_weights], ids=lambda a: a.op.name)
def test_nothing_learns_from_shards_that_failed(instance, told, training):
    told["events_shared_with_data.toy.test"] = 7
    build(instance)
    report = dg.AssetMaterialization(keys.ENCODER, partition="demo", tags={keys.VERSION_TAG: "e"})
    instance.report_runless_asset_event(report)
    report_checks(instance, keys.ENCODER)
    result = dg.materialize(
        [training],
        instance=instance,
        partition_key="demo",
        resources={"ddp": TorchDDP(), "mlflow": MlflowTracking(tracking_uri="none")},
        raise_on_error=False,
    )
    (failed,) = result.get_step_failure_events()
    told_why = failed.step_failure_data.user_failure_data
    assert f"samples_do_not_overlap failed for data/shards [{DATASET}]" in str(told_why)


def test_nothing_begins_with_an_encoder_that_failed(instance, told):
    report = dg.AssetMaterialization(keys.ENCODER, partition="demo", tags={keys.VERSION_TAG: "e"})
    instance.report_runless_asset_event(report)
    report_checks(instance, keys.ENCODER, losses_are_finite=False)
    result = dg.materialize(
        [weights],
        instance=instance,
        partition_key="demo",
        resources={"ddp": TorchDDP(), "mlflow": MlflowTracking(tracking_uri="none")},
        raise_on_error=False,
    )
    assert not result.success
    (failed,) = result.get_step_failure_events()
    told_why = failed.step_failure_data.user_failure_data
    assert "losses_are_finite failed for mae/encoder [demo]" in str(told_why)
