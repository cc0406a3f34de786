"""One MLflow run for each (Dagster run, asset, partition): opened, linked and closed by the step.

The worker's rank 0 fills it, by the id in its environment. mlflow and dagster-mlflow take seconds
to import, so that happens inside a step only.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import dagster as dg
from pydantic import Field

from xec_pipeline.config.output import MlflowConfig
from xec_pipeline.config.run_base import Run
from xec_pipeline.defs.lineage import latest_of
from xec_pipeline.defs.resources.torch_ddp import Interrupted
from xec_pipeline.training.tracking import NO_TRACKING, open_tracker, refer_to, tracking_uri

_log: Final = logging.getLogger(__name__)
# The fluent interface leaves these behind in the environment of the step.
_LEFT_BEHIND: Final = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")


@dataclasses.dataclass(frozen=True)
class OpenRun:
    """An MLflow run that a worker may continue; without tracking, nothing to continue.

    Attributes
    ----------
    run_id
        Its id; empty without tracking.
    env
        What the worker needs in its environment.
    handle
        `dagster_mlflow`'s resource, the fluent interface to the run; None without tracking.
    """

    run_id: str = ""
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    handle: Any = None

    def link(self, result: dg.MaterializeResult[None]) -> dg.MaterializeResult[None]:
        """Tell MLflow the data version that was made, and Dagster the MLflow run."""
        if self.handle is None:
            return result
        if result.data_version is not None:
            with _store_may_fail(f"the data version of run {self.run_id}"):
                self.handle.set_tag("data_version", result.data_version.value)
        link = {
            "mlflow_run": link_to_run(self.env["MLFLOW_TRACKING_URI"], self.handle, self.run_id)
        }
        return result._replace(metadata={**(result.metadata or {}), **link})


class MlflowTracking(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only inside Dagster
    """Opens MLflow runs. MLFLOW_TRACKING_URI, if set, wins over all other settings of the store."""

    tracking_uri: str = Field(
        default="", description="Store for all runs; empty: the one of each run's configuration."
    )

    @contextlib.contextmanager
    def run_for(self, context: dg.AssetExecutionContext, run: Run) -> Iterator[OpenRun]:
        """Open the MLflow run of a step and close it as the step ends.

        A retried step continues the run of its first attempt.

        Yields
        ------
        OpenRun
            Closed as FINISHED, KILLED if the step was cancelled, FAILED after any other exception.
        """
        config = self._store_of(run)
        uri = tracking_uri(config)
        if uri.lower() in NO_TRACKING:
            yield OpenRun()
            return
        tags = _tags(context)
        earlier = _earlier(context, config, tags)
        tracker = open_tracker(config, _name(tags), is_main=True, continued=earlier)
        run_id = tracker.run_id or ""
        env = {"MLFLOW_RUN_ID": run_id, "MLFLOW_TRACKING_URI": uri}
        status = "FAILED"
        try:
            with _environment_kept(), _fluent(context, config, uri, run_id, tags) as handle:
                yield OpenRun(run_id, env, handle)
            status = "FINISHED"
        except Interrupted:
            status = "KILLED"
            raise
        finally:
            tracker.finish(status)

    def refer(
        self,
        context: dg.AssetExecutionContext,
        run: Run,
        weights: dg.AssetKey,
        made: dg.MaterializeResult[None],
    ) -> dg.MaterializeResult[None]:
        """Tell the MLflow run of the training about files that were made from its weights.

        Parameters
        ----------
        context
            Of the step that made them.
        run
            Configuration of the training.
        weights
            Asset whose latest materialization names the MLflow run.
        made
            Names the files; returned as it is.
        """
        trained = latest_of(context.instance, weights, context.partition_key)
        told = trained[0].metadata.get("mlflow_run_id") if trained else None
        metadata = (made.metadata or {}).values()
        paths = [Path(str(v.value)) for v in metadata if isinstance(v, dg.PathMetadataValue)]
        if told is not None and paths:
            name = context.asset_key.path[-1]
            refer_to(self._store_of(run), str(told.value), name, paths)
        return made

    def store_env(self) -> dict[str, str]:
        """Return the environment in which a worker finds the store that is set here, if one is."""
        return {"MLFLOW_TRACKING_URI": self.tracking_uri} if self.tracking_uri else {}

    def _store_of(self, run: Run) -> MlflowConfig:
        given = {"tracking_uri": self.tracking_uri} if self.tracking_uri else {}
        return run.mlflow.model_copy(update=given)


@contextlib.contextmanager
def _fluent(
    context: dg.AssetExecutionContext,
    config: MlflowConfig,
    uri: str,
    run_id: str,
    tags: Mapping[str, str],
) -> Iterator[Any]:
    """Yield the resource of dagster-mlflow on a run that exists."""
    from dagster_mlflow import mlflow_tracking

    options = {
        "experiment_name": config.experiment,
        "mlflow_tracking_uri": uri,
        "mlflow_run_id": run_id,
        "env": {},
        "extra_tags": dict(tags),
    }
    with dg.build_resources(
        {"mlflow": mlflow_tracking},
        instance=context.instance,
        dagster_run=context.run,
        resource_config={"mlflow": {"config": options}},
    ) as resources:
        handle = resources.mlflow
        handle.set_tag("mlflow.runName", _name(tags))  # the resource named it after the job
        try:
            yield handle
        finally:
            with _store_may_fail(f"the end of run {run_id}"):
                handle.end_run()


@contextlib.contextmanager
def _store_may_fail(what: str) -> Iterator[None]:
    """Warn if MLflow does not take something: weights that are there already are not lost by it."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        _log.warning("MLflow did not take %s: %s", what, error)


def _tags(context: dg.AssetExecutionContext) -> dict[str, str]:
    return {
        "dagster_run_id": context.run.run_id,
        "dagster_asset_key": context.asset_key.to_user_string(),
        "dagster_partition": context.partition_key if context.has_partition_key else "",
    }


def _name(tags: Mapping[str, str]) -> str:
    return f"{tags['dagster_partition']} {tags['dagster_asset_key']}".strip()


def _earlier(
    context: dg.AssetExecutionContext, config: MlflowConfig, tags: Mapping[str, str]
) -> str | None:
    """Return the MLflow run of the step's first attempt."""
    if context.retry_number == 0:
        return None
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri(config))
    experiment = client.get_experiment_by_name(config.experiment)
    if experiment is None:
        return None
    wanted = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
    found = client.search_runs([experiment.experiment_id], wanted, max_results=1)
    return str(found[0].info.run_id) if found else None


def link_to_run(uri: str, handle: Any, run_id: str) -> dg.MetadataValue[Any]:
    """Return the page of an MLflow run on a server; for a file, how to look at it.

    Parameters
    ----------
    uri
        MLflow store.
    handle
        Knows the experiment; see `OpenRun`.
    run_id
        The run.
    """
    if uri.startswith("http"):
        experiment = handle.experiment.experiment_id
        return dg.MetadataValue.url(f"{uri.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}")
    return dg.MetadataValue.text(f"{run_id} (see it with: mlflow ui --backend-store-uri {uri})")


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    kept = {name: os.environ.get(name) for name in _LEFT_BEHIND}
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
