from pathlib import Path

import dagster as dg
import pytest

from xec_pipeline.config.registry import registered_mae, registered_regressor
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.defs import keys
from xec_pipeline.defs.assets import regressor
from xec_pipeline.defs.assets.regressor import weights
from xec_pipeline.defs.lineage import UpstreamEncoder, recorded_asset, upstream_encoder
from xec_pipeline.defs.partitions import encoder_of_run, mae_partitions, run_partitions
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline_tests.defs.checking import report_checks


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def record(instance: dg.DagsterInstance, version: str, **metadata: dg.MetadataValue) -> None:
    tags = {"dagster/data_version": version}
    event = dg.AssetMaterialization(keys.ENCODER, partition="demo", tags=tags, metadata=metadata)
    instance.report_runless_asset_event(event)
    report_checks(instance, keys.ENCODER)


def test_encoder_is_the_latest_that_was_recorded(instance, tmp_path: Path):
    record(instance, "v1")
    record(instance, "v2", encoder=dg.MetadataValue.path(str(tmp_path / "there.pth")))
    found = upstream_encoder(instance, "demo")
    assert (found.data_version, found.path) == ("v2", str(tmp_path / "there.pth"))
    assert found.extras() == {"encoder": {"path": found.path, "data_version": "v2"}}
    assert found.metadata()["upstream_mae"].value == "demo"
    assert found.metadata()["upstream_mae_data_version"].value == "v2"


def test_without_a_path_in_the_record_it_is_where_the_run_puts_it(instance):
    record(instance, "v1")
    expected = registered_mae("demo").encoder_path.absolute()
    assert upstream_encoder(instance, "demo").path == str(expected)


def test_encoder_that_was_never_made_is_told(instance):
    with pytest.raises(dg.Failure, match=r"mae/encoder \[demo\] was never materialized"):
        upstream_encoder(instance, "demo")


def test_a_step_knows_what_was_recorded_of_its_asset_before(instance):
    told = []

    def asset(name: str, partitions: dg.PartitionsDefinition | None) -> dg.AssetsDefinition:
        @dg.asset(key=["made", name], partitions_def=partitions, code_version=f"code of {name}")
        def made(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
            told.append(recorded_asset(context))
            return dg.MaterializeResult(data_version=dg.DataVersion(f"{name}{len(told)}"))

        return made

    each, only = asset("each", dg.StaticPartitionsDefinition(["a", "b"])), asset("only", None)
    for partition in ("a", "b", "a"):
        dg.materialize([each], instance=instance, partition_key=partition)
    for _ in range(2):
        dg.materialize([only], instance=instance)
    known = [(asset["key"], asset["partition"], asset["data_version"]) for asset in told]
    assert known == [
        ("made/each", "a", None),
        ("made/each", "b", None),
        ("made/each", "a", "each1"),
        ("made/only", None, None),
        ("made/only", None, "only4"),
    ]
    assert {asset["code_version"] for asset in told} == {"code of each", "code of only"}


def test_mapping_is_that_of_the_registry():
    mapped = {name: registered_regressor(name).mae for name in run_partitions.get_partition_keys()}
    for name, mae in mapped.items():
        subset = run_partitions.subset_with_partition_keys([name])
        above = encoder_of_run.get_upstream_mapped_partitions_result_for_partitions(
            subset, run_partitions, mae_partitions
        )
        keys_above = set(above.partitions_subset.get_partition_keys())
        assert keys_above == ({mae} if mae else set())


@pytest.mark.parametrize(("run_name", "mae"), [("demo", "demo"), ("demo-scratch", None)])
def test_worker_and_metadata_know_the_encoder(instance, monkeypatch, run_name, mae):
    told = []

    def run(_self, _context, _module, _arguments, *, extras=None, **_options):
        told.append(extras)
        return dg.MaterializeResult(data_version=dg.DataVersion("w"))

    monkeypatch.setattr(TorchDDP, "run", run)
    record(instance, "v1")
    result = dg.materialize(
        [weights],
        instance=instance,
        partition_key=run_name,
        resources={"ddp": TorchDDP(), "mlflow": MlflowTracking(tracking_uri="none")},
    )
    (made,) = result.asset_materializations_for_node("regressor__weights")
    if mae is None:
        assert told == [None]
        assert "upstream_mae" not in made.metadata
    else:
        known: UpstreamEncoder = upstream_encoder(instance, mae)
        assert told == [known.extras()]
        assert made.metadata["upstream_mae_data_version"].value == "v1"


def resuming(file: str) -> RegressorRun:
    """Return the run `demo-scratch` as if it had been told to resume a file of another run."""
    run = registered_regressor("demo-scratch")
    options = run.checkpoint.model_copy(update={"resume_from": file})
    return run.model_copy(update={"checkpoint": options})


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("artifacts/demo/checkpoint_best.pth", keys.WEIGHTS),
        ("artifacts/demo/mae_encoder_epoch_1.pth", keys.ENCODER),
    ],
)
def test_a_resumed_run_is_told_as_it_was_before_the_training(
    instance, monkeypatch, file: str, key: dg.AssetKey
):
    def record_source(version: str) -> None:
        tags = {"dagster/data_version": version}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(key, partition="demo", tags=tags)
        )

    def run(_self, _context, _module, _arguments, *, extras=None, **_options):
        assert extras is None
        record_source("made meanwhile")
        return dg.MaterializeResult(data_version=dg.DataVersion("w"))

    monkeypatch.setattr(TorchDDP, "run", run)
    monkeypatch.setattr(regressor, "registered_regressor", lambda _: resuming(file))
    record_source("v1")
    result = dg.materialize(
        [weights],
        instance=instance,
        partition_key="demo-scratch",
        resources={"ddp": TorchDDP(), "mlflow": MlflowTracking(tracking_uri="none")},
    )
    (made,) = result.asset_materializations_for_node("regressor__weights")
    told = {name: value.value for name, value in made.metadata.items()}
    assert (told["resumed_from_run"], told["resumed_from_file"]) == ("demo", file)
    assert told["resumed_from_data_version"] == "v1"
    assert told["resumed_from_asset"] == key
    assert "resumed_from_dagster_run" in told
