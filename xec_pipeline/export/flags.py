"""Flags of an export, for the worker and for the command; loads nothing heavy."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to `parser`; words may be joined by underscores or hyphens."""
    parser.add_argument(
        "--config", required=True, metavar="RUN", help="YAML file of the run, or name of a preset"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="default: the best one of the run"
    )
    parser.add_argument(
        "--output_dir",
        "--output-dir",
        type=Path,
        metavar="FOLDER",
        help="where to write export.onnx; default: the run's folder",
    )
    parser.add_argument(
        "--no_ema",
        "--no-ema",
        action="store_true",
        help="export the last weights instead of their running average",
    )
