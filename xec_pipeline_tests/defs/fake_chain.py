"""`python fake_chain.py [look]`: a demo of the package in PYTHONPATH, without the work.

Prints what was made, then the status of every asset partition, as JSON. Workers are replaced by a
resource that reports a version; the environment variable FAKE_VERSIONS gives it, by module.
"""

import datetime as dt
import json
import os
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import dagster as dg

# Dagster offers staleness through GraphQL only, which takes seconds for each question.
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView  # noqa: TID251
from dagster._core.definitions.data_version import CachingStaleStatusResolver  # noqa: TID251
from dagster._core.definitions.temporal_context import TemporalContext  # noqa: TID251

from xec_pipeline import demo
from xec_pipeline.config.registry import registered_regressor
from xec_pipeline.definitions import defs
from xec_pipeline.defs.acceptance import BLOCKING
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.defs.staleness import AssetPartition

VERSIONS = json.loads(os.environ.get("FAKE_VERSIONS", "{}"))


class FakeDDP(TorchDDP):
    def run(  # type: ignore[override]  # accepts all that the real one does, and ignores it
        self, _context, module, _arguments=(), *, extras=None, **_options
    ):
        name = module.rpartition(".")[2]
        # A training ends elsewhere if it begins with another encoder.
        begun_with = (extras or {}).get("encoder", {}).get("data_version", "")
        version = VERSIONS.get(name, name) + begun_with
        return dg.MaterializeResult(data_version=dg.DataVersion(version))


def fake_make(
    instance: dg.DagsterInstance, made: list[str]
) -> Callable[[Sequence[AssetPartition]], None]:
    assets = [asset for asset in defs().assets or () if isinstance(asset, dg.AssetsDefinition)]
    resources = {"ddp": FakeDDP(), "mlflow": MlflowTracking(tracking_uri="none")}

    def make(items: Sequence[AssetPartition]) -> None:
        made.extend(f"{key.to_user_string()}[{partition}]" for key, partition in items)
        dg.materialize(
            assets,
            instance=instance,
            partition_key=items[0][1],
            selection=dg.AssetSelection.assets(*(key for key, _ in items)).without_checks(),
            resources=resources,
        )
        for item in items:
            pass_checks(instance, *item)

    return make


def pass_checks(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> None:
    """Report that what was just made passed its blocking checks."""
    run_id = str(uuid.uuid4())
    for name in BLOCKING.get(key, ()):
        passed = dg.AssetCheckEvaluation(
            asset_key=key, check_name=name, passed=True, metadata={}, partition=partition
        )
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name="reported",
            event_specific_data=passed,
        )
        instance.report_dagster_event(event, run_id=run_id)


def quick_ask(
    instance: dg.DagsterInstance, items: list[AssetPartition]
) -> dict[AssetPartition, str]:
    """Ask the same code in Dagster that answers the query, in this process."""
    graph = defs().resolve_asset_graph()
    now = TemporalContext(effective_dt=dt.datetime.now(dt.timezone.utc), last_event_id=None)
    view = AssetGraphView(temporal_context=now, instance=instance, asset_graph=graph)
    resolver = CachingStaleStatusResolver(instance, graph, view)
    return {item: resolver.get_status(*item).value for item in items}


def look(instance: dg.DagsterInstance) -> dict[str, str]:
    """Return the status of everything that the demo makes, after a look at the outside world."""
    demo.observe(instance)
    items = demo.wanted_partitions([registered_regressor(name) for name in demo.RUNS])
    return named(quick_ask(instance, items))


def named(found: Mapping[AssetPartition, str]) -> dict[str, str]:
    return {f"{key.to_user_string()}[{part}]": status for (key, part), status in found.items()}


def main() -> None:
    made: list[str] = []
    runs = [registered_regressor(name) for name in demo.RUNS]
    with dg.DagsterInstance.get() as instance:
        demo.observe(instance)
        items = demo.wanted_partitions(runs)
        wanted = items if "look" not in sys.argv else []
        as_users_do = "as_users_do" in sys.argv
        ask = demo.ask_with(instance) if as_users_do else partial(quick_ask, instance, items)
        demo.bring_up_to_date(wanted, ask, fake_make(instance, made), instance)
        found = named(ask())
    sys.stdout.write(f"\n{json.dumps({'made': made, 'status': found})}\n")


if __name__ == "__main__":
    main()
