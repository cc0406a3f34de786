"""Options that the worker and `xec report` share."""

import argparse
from pathlib import Path

from xec_pipeline.config.file_names import report_file

_KINDS = ("regressor", "mae", "inpainter")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("run_dir", type=Path, help="folder of the run, artifacts/<run>")
    parser.add_argument(
        "--kind",
        choices=_KINDS,
        help="kind of run (default: a report for each kind that the folder holds)",
    )
    parser.add_argument("--run_name", "--run-name", help="default: the folder's name")
    names = ", ".join(report_file(kind, "<run>") for kind in _KINDS)
    parser.add_argument(
        "--output_dir", "--output-dir", type=Path, help=f"folder for {names} (default: the run's)"
    )
