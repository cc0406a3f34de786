"""How near the predictions of a regressor come to the physical limit of its toy events.

python -m xec_pipeline.workers.efficiency --config demo [--events 2000] [--jobs 2]

Needs the prediction tables of the run. The limits of the test events, else those of the validation
events, are calculated once and kept beside them.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.limit_files import read_limits
from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.errors import ConfigError
from xec_pipeline.evaluation.compared_tables import MODEL, sample_dir
from xec_pipeline.evaluation.efficiency_report import write_efficiency
from xec_pipeline.evaluation.efficiency_table import EfficiencyTable
from xec_pipeline.evaluation.limits import calculate_limits
from xec_pipeline.evaluation.previews import previews
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report

N_EVENTS: Final = 2000
"""Known to 1.6 %; each takes 13 ms of a processor."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.efficiency", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--config", required=True, help="preset or YAML file of a regressor run")
    parser.add_argument(
        "--events", type=int, default=N_EVENTS, help=f"the first N events [{N_EVENTS}]"
    )
    parser.add_argument("--jobs", type=int, help="processes [one per core, at most 8]")
    return run_worker(parser.parse_args(argv), work)


def work(args: argparse.Namespace, report: Report) -> int:
    """Calculate limits that are not there, compare, write and report; return 0."""
    run = load_regressor_run(args.config)
    files = find_root_files(sample_path(run))
    jobs = args.jobs or min(8, len(os.sched_getaffinity(0)))
    calculate_limits(files, n_events=args.events, jobs=jobs)
    table, paths = write_efficiency(
        sample_dir(run.run_dir, run.name), run.name, read_limits(files), run.run_dir
    )
    sys.stdout.write(table.summary())
    written = [*paths.values(), paths["pdf"].with_suffix(".json")]
    numbers = {
        "run_name": run.name,
        "table": paths["md"],
        "figure": paths["pdf"],
        "efficiencies": {"raw_value": table.markdown(), "type": "md"},
        **previews({"efficiency": paths["pdf"]}),
        **main_numbers(table),
    }
    report.result(numbers, files_version(written, run.run_dir))
    return 0


def sample_path(run: RegressorRun) -> str:
    """Return the events whose limits are looked at: test events, else validation events.

    Raises
    ------
    ConfigError
        If there are none.
    """
    path = run.data.test_path or run.data.val_path
    if not path:
        raise ConfigError(f"run {run.name}: data.test_path and data.val_path are empty")
    if not Path(path).exists() and "*" not in path:
        raise ConfigError(f"run {run.name}: {path} does not exist; limits need the ROOT files")
    return path


def main_numbers(table: EfficiencyTable) -> dict[str, float]:
    """Return the network's efficiencies over all depths, for curves over materializations."""
    return {
        f"efficiency {row.quantity} {row.estimator}": row.efficiency[MODEL].value
        for row in table.rows
        if row.depth_cm is None and MODEL in row.efficiency
    }


if __name__ == "__main__":
    sys.exit(main())
