"""Flags of the figures, for the worker and for the command; loads nothing heavy."""

import argparse
from pathlib import Path
from typing import Final

from xec_pipeline.config.tasks import TASK_NAMES

HALF_WIDTH: Final = "half_width"
GAUSSIAN: Final = "gaussian"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to `parser`; words may be joined by underscores or hyphens."""
    parser.add_argument("run_dir", type=Path, help="folder with predictions_*.csv")
    parser.add_argument("--run_name", "--run-name", help="default: found from the files or folder")
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASK_NAMES,
        metavar="TASK",
        help=f"of {', '.join(TASK_NAMES)} (default: all that are there)",
    )
    parser.add_argument(
        "--output_dir", "--output-dir", type=Path, help="folder to write (default: run_dir)"
    )
    parser.add_argument("--suffix", default="", help="put behind the run's name in file names")
    parser.add_argument(
        "--table",
        action="store_true",
        help="write and print the table of resolutions beside the baselines instead",
    )
    _add_choice(parser.add_argument_group("how the figures are drawn"))


def _add_choice(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--estimator",
        choices=(HALF_WIDTH, GAUSSIAN),
        default=HALF_WIDTH,
        help="widths in profiles: half the central 68 %% interval, or a Gaussian fitted to the "
        "core of every bin, with pages that show each fit (default: half_width)",
    )
    group.add_argument(
        "--gaussian_fit",
        "--gaussian-fit",
        "--gaussian",
        dest="estimator",
        action="store_const",
        const=GAUSSIAN,
        help="the same as --estimator gaussian",
    )
    group.add_argument(
        "--bins", type=_at_least_one, default=20, help="most bins of a profile (default: 20)"
    )
    group.add_argument(
        "--pred_vs_true_bins",
        "--pred-vs-true-bins",
        type=_at_least_one,
        metavar="N",
        help="bins of predicted against true value (default: by the number of events, 20 to 100)",
    )
    group.add_argument(
        "--bin_histograms",
        "--bin-histograms",
        action="store_true",
        help="add pages with the distribution in every bin, as --estimator gaussian does",
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number
