"""Flags of the figures, for the worker and for the command; loads nothing heavy."""

import argparse
from pathlib import Path

from xec_pipeline.config.tasks import TASK_NAMES


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
