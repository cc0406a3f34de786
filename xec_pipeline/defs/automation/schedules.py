"""One schedule for each run whose file has one: `retrain_<run>`, switched off at first."""

import datetime as dt
import logging

import dagster as dg

from xec_pipeline.config.registry import registered_regressor
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.defs.automation.jobs import retrain_regressor
from xec_pipeline.defs.automation.observation import changed_configs, changed_datasets
from xec_pipeline.defs.automation.retraining import (
    RUN_TAG,
    plan,
    schedule_names,
    scheduled_runs,
    training_now,
    training_run,
    was_judged,
    what_speaks_against,
)
from xec_pipeline.defs.automation.sensors import min_age_seconds
from xec_pipeline.defs.automation.up_to_date import look_at

# A tick must answer within a minute.
_READING_SECONDS = 20.0


def evaluate(
    name: str, instance: dg.DagsterInstance, time: dt.datetime, log: logging.Logger
) -> dg.RunRequest | dg.SkipReason:
    """Return the Dagster run that a tick of a run's schedule asks for, or why it asks for none.

    Parameters
    ----------
    name
        The run.
    instance
        Knows what was made from what.
    time
        What the tick is for; a restarted daemon evaluates the same one again, and launches nothing.
    log
        Is told why.
    """
    run = registered_regressor(name)
    observe(instance)
    if busy := training_now(instance, name):
        return dg.SkipReason(f"{name} is being trained or waits for it: Dagster run {busy}")
    known, causes = look_at(instance, run)
    found = plan(
        run,
        known,
        what_speaks_against(instance, run),
        force=run.schedule.force,
        is_judged=was_judged(instance, name),
    )
    if not found.is_due:
        return dg.SkipReason(found.reason)
    for line in (found.reason, *causes):
        log.info("%s: %s", name, line)
    tick = time.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
    return training_run(found, name, tick)


def observe(instance: dg.DagsterInstance) -> None:
    """Report what changed outside, so that a tick does not depend on when sensors looked last."""
    files = changed_datasets(
        instance, reading_seconds=_READING_SECONDS, min_age_seconds=min_age_seconds()
    )
    for observation in (*changed_configs(instance), *files):
        instance.report_runless_asset_event(observation)


def schedule_of(run: RegressorRun, name: str) -> dg.ScheduleDefinition:
    """Return the schedule of one run."""

    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        time = context.scheduled_execution_time
        return evaluate(run.name, context.instance, time, context.log)

    return dg.ScheduleDefinition(
        name=name,
        job=retrain_regressor,
        cron_schedule=str(run.schedule.cron),
        execution_timezone=run.schedule.timezone,
        execution_fn=tick,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description=(
            f"Trains run {run.name} again if its data, configuration or code changed, and lets it "
            "challenge the model in use."
        ),
        tags={RUN_TAG: run.name},
        metadata={"force": run.schedule.force},
    )


@dg.definitions
def schedules() -> dg.Definitions:
    """Return the schedules of all runs that have one."""
    runs = scheduled_runs()
    names = schedule_names(runs)
    return dg.Definitions(schedules=[schedule_of(run, names[name]) for name, run in runs.items()])
