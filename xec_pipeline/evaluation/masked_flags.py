"""Flags of the analysis of masked sensors, for worker and command; loads nothing heavy."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from xec_pipeline.errors import ConfigError

_TAKEN: Final = frozenset({"avg", "sa", "localfit", "knn", "true mean", "counting noise"})
_LABEL: Final = re.compile(r"[\w.+-]+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags to `parser`; words may be joined by underscores or hyphens."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="PATH | LABEL=PATH",
        help="ROOT files of predictions for masked sensors; several are compared as well",
    )
    parser.add_argument(
        "--output_dir",
        "--output-dir",
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to write",
    )
    parser.add_argument(
        "--no_plots", "--no-plots", action="store_true", help="write the tables only"
    )
    parser.add_argument(
        "--space",
        choices=("photons", "normalized"),
        default="photons",
        help="unit of tables and figures (default: photons, times in ns)",
    )
    parser.add_argument(
        "--min_photons",
        "--min-photons",
        type=_positive,
        default=100.0,
        metavar="N",
        help="relative errors are of readings with at least so many photons (default: 100)",
    )


def labelled(items: Iterable[str]) -> dict[str, Path]:
    """Return the files by label; without a label it is the name of the file, or that of its folder.

    Raises
    ------
    ConfigError
        If a label stands twice, or cannot be the name of a folder.
    """
    found: dict[str, Path] = {}
    for item in items:
        label, path = _split(item)
        label = label or (path.stem if path.stem not in found else path.absolute().parent.name)
        if not _LABEL.fullmatch(label):
            raise ConfigError(
                f"'{item}': label '{label}' may hold letters, digits and . + - _ only, because it "
                "is the name of a folder; write LABEL=PATH"
            )
        if label in _TAKEN:
            raise ConfigError(
                f"label '{label}' is the name of a method in the tables; take another"
            )
        if label in found:
            raise ConfigError(f"label '{label}' stands for {found[label]} and {path}; name both")
        found[label] = path
    return found


def _split(item: str) -> tuple[str, Path]:
    label, separator, path = item.partition("=")
    # A path may hold the sign itself.
    if not separator or Path(item).exists():
        return "", Path(item)
    return label, Path(path)


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number above zero")
    return number
