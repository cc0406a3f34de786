"""`python killed_run.py RUN DATASET...`: a training through Dagster of which one rank is killed.

A rank gets SIGKILL in the third epoch or later. Prints what Dagster kept of it:
the epochs that were told, how often the step was begun again, and what was materialized.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import psutil

from xec_pipeline.config.file_names import training_record_file
from xec_pipeline.config.registry import registered_regressor
from xec_pipeline.definitions import defs
from xec_pipeline.defs import keys
from xec_pipeline.training.record import read_epochs

_SECONDS = 120
_EPOCHS_BEFORE = 2
_MOST_EPOCHS = 100


def main(name: str, *datasets: str) -> None:
    record = registered_regressor(name).run_dir / training_record_file("regressor")
    with dg.DagsterInstance.get() as instance:
        shards = defs().resolve_job_def("build_shards")
        for dataset in datasets:
            shards.execute_in_process(partition_key=dataset, instance=instance)
        killer = threading.Thread(target=_kill_a_rank, args=(record,), daemon=True)
        killer.start()
        result = (
            defs()
            .resolve_job_def("train_regressor")
            .execute_in_process(
                partition_key=name,
                asset_selection=[keys.WEIGHTS],
                instance=instance,
                raise_on_error=False,
            )
        )
        records = instance.fetch_observations(keys.WEIGHTS, limit=1000, ascending=True).records
    observations = [record.event_log_entry.asset_observation for record in records]
    told = {
        "epochs": [seen.metadata["epoch"].value for seen in observations if seen is not None],
        "begun_again": sum(event.is_step_up_for_retry for event in result.all_events),
        "made": [
            event.asset_key.to_user_string()
            for event in result.get_asset_materialization_events()
            if event.asset_key is not None
        ],
    }
    sys.stdout.write(f"\n{json.dumps(told)}\n")


def _kill_a_rank(record: Path) -> None:
    end = time.monotonic() + _SECONDS
    # An epoch that is recorded is not yet saved, but all before it are.
    while len(read_epochs(record, _MOST_EPOCHS)) <= _EPOCHS_BEFORE and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(_ranks()[-1], signal.SIGKILL)


def _ranks() -> list[int]:
    """Return the processes that torchrun started."""
    found = []
    for process in psutil.process_iter(["pid", "environ", "cmdline"]):
        command, environ = process.info["cmdline"] or [], process.info["environ"] or {}
        if "xec_pipeline.workers.train" in command and "LOCAL_RANK" in environ:
            found.append(process.info["pid"])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
