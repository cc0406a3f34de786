"""Sensors: they look at the outside world and at what should follow by itself."""

from typing import Final

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.automation.intervals import sensor_seconds
from xec_pipeline.defs.automation.observation import changed_configs, changed_datasets

# A tick must answer within a minute; larger files than fit are read over several ticks.
_READING_SECONDS: Final = 20.0


@dg.sensor(
    minimum_interval_seconds=sensor_seconds(30),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports changed run configurations of the registry.",
)
def run_registry(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Report the versions of run configurations that changed."""
    return _result(list(changed_configs(context.instance)), "no run configuration changed")


@dg.sensor(
    minimum_interval_seconds=sensor_seconds(60),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports new and changed ROOT files of the datasets that runs name.",
)
def datasets(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Report the versions of datasets that changed."""
    found = changed_datasets(context.instance, reading_seconds=_READING_SECONDS)
    return _result(list(found), "no dataset changed")


def _result(events: list[dg.AssetObservation], otherwise: str) -> dg.SensorResult | dg.SkipReason:
    return dg.SensorResult(asset_events=events) if events else dg.SkipReason(otherwise)


figures_follow = dg.AutomationConditionSensorDefinition(
    "figures_follow",
    target=dg.AssetSelection.assets(keys.FIGURES, keys.TABLE, keys.ANALYSIS),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=sensor_seconds(30),
    description="Draws figures and tables again when their tables or their code changed.",
)
