from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from xec_pipeline.config.output import MlflowConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TaskConfig, TasksConfig
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking, OpenRun, link_to_run
from xec_pipeline.defs.resources.torch_ddp import Interrupted

# MLflow and its resource: what their own dependencies deprecate, and what they call beta.
pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*mlflow.*:dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore:.*dagster_run is deprecated:DeprecationWarning"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegressorRun:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    config = MlflowConfig(tracking_uri=f"sqlite:///{tmp_path}/mlruns.db", run_name="demo")
    return RegressorRun(tasks=TasksConfig(energy=TaskConfig(enabled=True)), mlflow=config)


def materialize(
    run: RegressorRun,
    errors: list[Exception | None],
    tracking: MlflowTracking | None = None,
    during: Callable[[OpenRun], None] = lambda _: None,
) -> dg.ExecuteInProcessResult:
    """Materialize an asset whose attempts raise `errors` in turn."""
    attempts = iter(errors)

    @dg.asset(
        key=["regressor", "weights"],
        partitions_def=dg.StaticPartitionsDefinition(["demo"]),
        retry_policy=dg.RetryPolicy(max_retries=1),
    )
    def weights(context: dg.AssetExecutionContext, mlflow: MlflowTracking):
        with mlflow.run_for(context, run) as tracked:
            during(tracked)
            error = next(attempts)
            if error is not None:
                raise error
            made = dg.MaterializeResult[None](data_version=dg.DataVersion("v1"))
            return tracked.link(made)

    resources = {"mlflow": tracking or MlflowTracking()}
    return dg.materialize(
        [weights], partition_key="demo", resources=resources, raise_on_error=False
    )


def mlflow_runs(run: RegressorRun) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=run.mlflow.tracking_uri)
    experiment = client.get_experiment_by_name(run.mlflow.experiment)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def test_the_link_opens_the_run_on_a_server_and_tells_the_command_for_a_file():
    handle = SimpleNamespace(experiment=SimpleNamespace(experiment_id="7"))
    for uri in ("http://mlflow.example:5000", "https://mlflow.example/"):
        link = link_to_run(uri, handle, "abc")
        assert isinstance(link, dg.UrlMetadataValue)
        assert link.value == f"{uri.rstrip('/')}/#/experiments/7/runs/abc"
    link = link_to_run("sqlite:////here/mlruns.db", handle, "abc")
    assert isinstance(link, dg.TextMetadataValue)
    told = "abc (see it with: mlflow ui --backend-store-uri sqlite:////here/mlruns.db)"
    assert link.value == told


@pytest.mark.slow
def test_run_is_linked_both_ways_and_finished(run):
    result = materialize(run, [None])
    (tracked,) = mlflow_runs(run)
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_name == "demo regressor/weights"
    assert tracked.data.tags["dagster_run_id"] == result.run_id
    assert tracked.data.tags["dagster_asset_key"] == "regressor/weights"
    assert tracked.data.tags["dagster_partition"] == "demo"
    assert tracked.data.tags["data_version"] == "v1"
    (made,) = result.asset_materializations_for_node("regressor__weights")
    assert str(made.metadata["mlflow_run"].value).startswith(tracked.info.run_id)


@pytest.mark.slow
def test_retry_continues_the_run_and_failure_and_cancel_differ(run):
    assert materialize(run, [ValueError("once"), None]).success
    assert not materialize(run, [ValueError("once"), ValueError("twice")]).success
    assert not materialize(run, [Interrupted("cancelled")]).success
    assert sorted(found.info.status for found in mlflow_runs(run)) == [
        "FAILED",
        "FINISHED",
        "KILLED",
    ]


@pytest.mark.slow
def test_a_store_that_is_out_of_order_loses_no_weights(run, monkeypatch, caplog):
    def is_lost(*_: object) -> None:
        from mlflow.exceptions import MlflowException

        raise MlflowException("the database is locked")

    def lose(tracked: OpenRun) -> None:
        for name in ("set_tag", "end_run"):
            monkeypatch.setattr(type(tracked.handle), name, is_lost)

    result = materialize(run, [None], during=lose)
    assert result.success
    (made,) = result.asset_materializations_for_node("regressor__weights")
    assert "mlflow_run" in made.metadata
    for what in ("data version", "end"):
        assert f"MLflow did not take the {what} of run" in caplog.text


def test_without_tracking_there_is_nothing_to_link(run, tmp_path):
    result = materialize(run, [None], MlflowTracking(tracking_uri="none"))
    assert result.success
    assert not list(tmp_path.glob("mlruns*"))
