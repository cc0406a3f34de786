"""What stands on top of all runs: which model is in use, its files, all runs beside each other."""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from xec_pipeline.config.production import ProductionConfig
from xec_pipeline.config.registry import production_config, registered_regressor, run_names
from xec_pipeline.defs import code, keys
from xec_pipeline.defs.acceptance import BEATS_A_CONSTANT, objections, used_by
from xec_pipeline.defs.automation.conditions import on_changed_data_or_code
from xec_pipeline.defs.lineage import latest_of, latest_unpartitioned
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.defs.retries import figure_retries
from xec_pipeline.errors import ConfigError

_log = logging.getLogger(__name__)


class SelectionConfig(dg.Config):
    """Who is compared with the model in use, or takes its place without a comparison."""

    challenger: str = Field(
        default="", description="Run that challenges; empty: all complete runs, by name."
    )
    promote: str = Field(
        default="", description="Run that becomes the model in use without a comparison."
    )
    reason: str = Field(default="", description="Why; needed with promote.")

    def arguments(self) -> list[str]:
        """Return the worker's command line."""
        given = {"--challenger": self.challenger, "--promote": self.promote}
        given["--reason"] = self.reason
        return [f"{flag}={value}" for flag, value in given.items() if value]


def reconsidered() -> dg.FreshnessPolicy | None:
    """Return after which time a selection is overdue; None for never.

    A wrong rule must not hide all assets: it is told here, and refused when a model is chosen.
    """
    try:
        rule = production_config()
    except ConfigError as error:
        _log.warning("%s", error)
        rule = ProductionConfig()
    days = rule.reconsider_days
    if days is None:
        return None
    return dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(days=days))


@dg.asset(
    key=keys.SELECTION,
    deps=[keys.WEIGHTS, keys.PREDICTIONS, keys.ONNX, keys.PRODUCTION_CONFIG],
    group_name="production",
    kinds={"json", "mlflow"},
    owners=keys.OWNERS,
    code_version=code.SELECTION.version(),
    freshness_policy=reconsidered(),
    pool=keys.PRODUCTION_POOL,
)
def selection(
    context: dg.AssetExecutionContext,
    config: SelectionConfig,
    ddp: TorchDDP,
    mlflow: MlflowTracking,
) -> dg.MaterializeResult[None]:
    """Which run's weights are in use; another run takes over if it resolves better beyond chance.

    The version is `<run>@<version of its weights>`. The first complete run is taken as it is, if
    it beats an answer without learning. Runs with a failed blocking check take no part.
    """
    candidates = list(complete_runs(context.instance))
    extras = {
        "candidates": candidates,
        "rejected": rejected_runs(context.instance),
        "no_first": no_first_champions(context.instance, candidates),
    }
    made = ddp.run(
        context,
        "xec_pipeline.workers.select_champion",
        config.arguments(),
        profile="cpu",
        extras=extras,
        env=mlflow.store_env(),
    )
    return with_runs(made, candidates)


@dg.asset(
    key=keys.PRODUCTION_ONNX,
    deps=[keys.SELECTION, keys.ONNX],
    group_name="production",
    kinds={"onnx"},
    owners=keys.OWNERS,
    code_version=code.PUBLISHED.version(),
    retry_policy=figure_retries(),
    # The models of all runs: that of the one in use was kept when it was selected.
    automation_condition=on_changed_data_or_code(
        dg.AssetSelection.assets(keys.ONNX), waits_for_optional=False
    ),
    pool=keys.PRODUCTION_POOL,
)
def production_onnx(context: dg.AssetExecutionContext, ddp: TorchDDP) -> dg.MaterializeResult[None]:
    """ONNX model in use: photons and seconds in, MeV, ns, cm, deg out; `current/model_raw.onnx`."""
    extras = {"parity": parity_of_champion(context.instance)}
    return ddp.run(context, "xec_pipeline.workers.publish", profile="cpu", extras=extras)


@dg.asset(
    key=keys.LEADERBOARD,
    deps=[keys.TABLE, keys.SELECTION],
    group_name="production",
    kinds={"csv", "markdown"},
    owners=keys.OWNERS,
    code_version=code.LEADERBOARD.version(),
    retry_policy=figure_retries(),
    automation_condition=on_changed_data_or_code(with_all_inputs=False),
)
def leaderboard(context: dg.AssetExecutionContext, ddp: TorchDDP) -> dg.MaterializeResult[None]:
    """Resolutions of all runs at the signal energy in %, mm, ps, deg, the best first."""
    extras = {"trained": dict(training_dates(context.instance))}
    return ddp.run(context, "xec_pipeline.workers.leaderboard", profile="cpu", extras=extras)


def complete_runs(instance: dg.DagsterInstance) -> Iterator[dict[str, str]]:
    """Yield the runs whose files belong together and passed their blocking checks."""
    for candidate in _matching_runs(instance):
        if not _against(instance, candidate["run"]):
            yield candidate


def rejected_runs(instance: dg.DagsterInstance) -> dict[str, str]:
    """Return the runs whose files belong together, but must not be used, and why."""
    names = [candidate["run"] for candidate in _matching_runs(instance)]
    found = {name: _against(instance, name) for name in names}
    return {name: "; ".join(texts) for name, texts in found.items() if texts}


def _against(instance: dg.DagsterInstance, name: str) -> list[str]:
    try:
        run = registered_regressor(name)
    except ConfigError as error:
        return [str(error)]
    return [text for item in used_by(run) for text in objections(instance, *item)]


def no_first_champions(
    instance: dg.DagsterInstance, candidates: Iterable[Mapping[str, str]]
) -> dict[str, str]:
    """Return the candidates that may challenge, but not be taken without a comparison, and why."""
    found = {}
    for candidate in candidates:
        name = candidate["run"]
        against = list(objections(instance, keys.WEIGHTS, name, [BEATS_A_CONSTANT]))
        if against:
            found[name] = "; ".join(against)
    return found


def _matching_runs(instance: dg.DagsterInstance) -> Iterator[dict[str, str]]:
    """Yield the runs whose predictions and ONNX files were made from their present weights."""
    for name in run_names("regressor"):
        found = [
            latest_of(instance, key, name) for key in (keys.WEIGHTS, keys.PREDICTIONS, keys.ONNX)
        ]
        if any(one is None for one in found):
            continue
        (weights, dagster_run), (predictions, _), (onnx, _) = (one for one in found if one)
        version = (weights.tags or {}).get(keys.VERSION_TAG, "")
        used = _text(predictions, "model_digest"), _text(onnx, "weights_version")
        if used == (version, version):
            yield {
                "run": name,
                "weights_version": version,
                "dagster_run": dagster_run,
                "mlflow_run": _text(weights, "mlflow_run_id"),
            }


def with_runs(
    made: dg.MaterializeResult[None], candidates: list[dict[str, str]]
) -> dg.MaterializeResult[None]:
    """Return a selection with links to the Dagster runs that trained champion and challengers."""
    metadata = dict(made.metadata or {})
    named = {"champion": _plain(metadata.get("champion"))}
    for number, name in enumerate(_plain(metadata.get("challengers")).split(", "), start=1):
        named[f"challenger_{number}"] = name
    trained = {found["run"]: found["dagster_run"] for found in candidates}
    trained |= {named["champion"]: _plain(metadata.pop("champion_dagster_run", ""))}
    links = {
        f"{role}_training": dg.MetadataValue.dagster_run(trained[name])
        for role, name in named.items()
        if trained.get(name)
    }
    return made._replace(metadata={**metadata, **links})


def parity_of_champion(instance: dg.DagsterInstance) -> dict[str, float] | None:
    """Return how well the export of the model in use reproduces the network, by output.

    None if the latest export of its run was of other weights.
    """
    made = latest_unpartitioned(instance, keys.SELECTION)
    exported = latest_of(instance, keys.ONNX, _text(made, "champion")) if made else None
    if made is None or exported is None:
        return None
    onnx = exported[0]
    if _text(onnx, "weights_version") != _text(made, "champion_weights_version"):
        return None
    return {
        name: float(_plain(value))
        for name, value in onnx.metadata.items()
        if name.startswith("parity_") and name != "parity_events"
    }


def training_dates(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """Yield each run whose weights were made, and when, in UTC."""
    for name in run_names("regressor"):
        wanted = dg.AssetRecordsFilter(asset_key=keys.WEIGHTS, asset_partitions=[name])
        for record in instance.fetch_materializations(wanted, limit=1).records:
            made = dt.datetime.fromtimestamp(record.timestamp, tz=dt.timezone.utc)
            yield name, made.strftime("%Y-%m-%d %H:%M UTC")


def _text(made: dg.AssetMaterialization, name: str) -> str:
    return _plain(made.metadata.get(name))


def _plain(value: Any) -> str:
    """Return a metadata value, or a plain one, as text; empty for None."""
    inner = getattr(value, "value", value)
    return "" if inner is None else str(inner)
