"""Flags of the study of dead sensors, for the worker and for the command."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to `parser`."""
    parser.add_argument("--config", required=True, help="preset or YAML file of an inpainter run")
    parser.add_argument(
        "--regressor", type=Path, help="checkpoint (default: of the run validation.regressor)"
    )
    parser.add_argument("--input", help="events (default: the test events)")
