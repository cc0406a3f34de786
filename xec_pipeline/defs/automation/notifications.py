"""What happens when a run failed: it is logged, and told to a web hook if one is set."""

import json
import os
from time import sleep
from typing import Any, Final
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import dagster as dg

from xec_pipeline.errors import ConfigError

_HOOK_VARIABLE: Final = "XEC_FAILURE_WEBHOOK"
_UI_VARIABLE: Final = "XEC_UI_URL"
_UI_DEFAULT: Final = "http://127.0.0.1:3000"
_TIMEOUT_SECONDS: Final = 10.0
_PAUSES_SECONDS: Final = (1.0, 5.0)
"""Before the second try, and the third; Dagster tells of a failed run once."""


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
    # Runs that no code location started, as those of `dg launch`, count as being of another one.
    monitor_all_code_locations=True,
    description=(
        f"Logs failed runs with their root cause; posts them as JSON to {_HOOK_VARIABLE} if set."
    ),
)
def failed_runs(context: dg.RunFailureSensorContext) -> None:
    """Tell of a failed run."""
    told = failure(context)
    context.log.error("%s", json.dumps(told, indent=1))
    hook = os.environ.get(_HOOK_VARIABLE, "")
    if hook:
        post(hook, told)


def failure(context: dg.RunFailureSensorContext) -> dict[str, Any]:
    """Return what is said of a failed run: what, why, where to look."""
    run = context.dagster_run
    failed = [
        {"asset": _asset(run, event.step_key), "root_cause": _cause(event)}
        for event in context.get_step_failure_events()
    ]
    cause = failed[0]["root_cause"] if failed else context.failure_event.message
    partition = run.tags.get("dagster/partition")
    assets = [entry["asset"] for entry in failed]
    what = ", ".join(map(str, assets)) or run.job_name
    return {
        # Chat programs show this key.
        "text": f"{what}{f' [{partition}]' if partition else ''} failed: {cause}",
        "run_id": run.run_id,
        "job": run.job_name,
        "assets": assets,
        "partition": partition,
        "root_cause": cause,
        "failures": failed,
        "url": f"{ui_url()}/runs/{quote(run.run_id)}",
    }


def ui_url() -> str:
    """Return where the UI is: XEC_UI_URL, or this machine."""
    return os.environ.get(_UI_VARIABLE, _UI_DEFAULT).rstrip("/")


def post(url: str, content: dict[str, Any]) -> None:
    """Send JSON to a web hook; if all tries fail, so does the sensor's tick.

    Raises
    ------
    ConfigError
        If the address is not one of the web.
    OSError
        If the hook cannot be reached within ten seconds, or refuses, three times.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"environment variable {_HOOK_VARIABLE}: expected http:// or https://")
    request = Request(
        url,
        data=json.dumps(content).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    for pause in (*_PAUSES_SECONDS, None):
        try:
            with urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
                answer.read()
                return
        except OSError:
            if pause is None:
                raise
            sleep(pause)


def _asset(run: dg.DagsterRun, step_key: str | None) -> str:
    """Return the asset that a step makes; the step's own name if it makes none."""
    for key in run.asset_selection or ():
        if key.to_python_identifier() == step_key:
            return key.to_user_string()
    return (step_key or "").replace("__", "/")


def _cause(event: dg.DagsterEvent) -> str:
    """Return the description of a Failure, else the innermost exception's message."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else str(event.message)
