"""The graph as text, one fact a line, so that a difference is read at once.

`python -m xec_pipeline_tests.defs.snapshot` writes definitions.txt beside this file anew. What
follows from the run registry, partitions and schedules, is that of the repository's own one.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from xec_pipeline.definitions import defs

FILE = Path(__file__).parent / "definitions.txt"
RENEW = "python -m xec_pipeline_tests.defs.snapshot"


def lines(definitions: dg.Definitions) -> Iterator[str]:
    """Yield assets, checks, jobs and sensors, each kind sorted by name."""
    graph = definitions.resolve_asset_graph()
    for key in sorted(graph.get_all_asset_keys()):
        yield from _asset(graph.get(key))
    for check in sorted(graph.asset_check_keys):
        yield f"check {check.asset_key.to_user_string()} {check.name}"
    for job in sorted(definitions.jobs or (), key=lambda job: job.name):
        made = definitions.resolve_job_def(job.name).asset_layer.selected_asset_keys
        yield f"job {job.name}: {_names(made)}"
    for sensor in sorted(definitions.sensors or (), key=lambda sensor: sensor.name):
        yield f"sensor {sensor.name}: {sensor.default_status.value.lower()}"
    for schedule in sorted(definitions.schedules or (), key=lambda schedule: schedule.name):
        cron = getattr(schedule, "cron_schedule", "by partition")
        yield f"schedule {schedule.name}: {cron}, {schedule.default_status.value.lower()}"


def _asset(node) -> Iterator[str]:
    kinds = " ".join(sorted(node.kinds))
    made = "made" if node.is_materializable else "outside"
    pools = " ".join(sorted(node.pools or ())) or "none"
    follows = "follows by itself" if node.automation_condition else "on demand"
    yield f"asset {node.key.to_user_string()}"
    yield f"    {made}, {follows}, group {node.group_name}, kinds {kinds}, pool {pools}"
    yield f"    from {_names(node.parent_keys)}"


def _names(keys) -> str:
    return ", ".join(sorted(key.to_user_string() for key in keys)) or "nothing"


def text() -> str:
    """Return the whole graph of this package."""
    return "".join(f"{line}\n" for line in lines(defs()))


if __name__ == "__main__":
    FILE.write_text(text())
    sys.stdout.write(f"{FILE} written\n")
