"""Flags of the recovery of hidden sensors, for the worker and for the command."""

import argparse
from pathlib import Path
from typing import Final

MODES: Final = ("mc", "data", "sensorfront")
"""What is hidden: a pattern of dead sensors; a few live ones; the one before the interaction."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to `parser`; words may be joined by underscores or hyphens."""
    parser.add_argument("--config", required=True, help="preset or YAML file of an inpainter run")
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="mc",
        help="mc: a pattern of dead sensors on simulated events; data: a few live sensors of each "
        "event beside its dead ones; sensorfront: the SiPM in front of the first interaction "
        "(default: mc)",
    )
    parser.add_argument(
        "--input", help="ROOT file, folder, pattern or shard folder (default: the test events)"
    )
    parser.add_argument(
        "--checkpoint", type=Path, help="default: inpainter_checkpoint_best.pth of the run"
    )
    parser.add_argument(
        "--output", type=Path, help="ROOT file to write (default: inpainter_<mode>_<run>.root)"
    )
    parser.add_argument(
        "--dead_file",
        "--dead-file",
        help="dead sensors: text file, folder, table or database (validation.dead_file)",
    )
    parser.add_argument("--dead_run", "--dead-run", type=int, help="run whose dead sensors to take")
    parser.add_argument("--max_events", "--max-events", type=int, help="events from the first on")
    parser.add_argument("--seed", type=int, help="of the masks of single events")
    parser.add_argument(
        "--weights",
        choices=("ema", "raw"),
        default="ema",
        help="averaged weights, or those of the last step (default: ema)",
    )
