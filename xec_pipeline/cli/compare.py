"""`xec compare`: runs beside each other."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xec_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from xec_pipeline.evaluation.run_comparison import RunComparison

_EPILOG = """\
examples
  xec compare demo demo-scratch
  xec compare artifacts/demo /old/artifacts/demo --output demo_then_and_now.md
  xec compare demo other --kind inpainter --output inpainters.csv
Exit status: 0 if compared, 2 after an error. All runs of an experiment: xec scan-summary."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare",
        help="set runs side by side",
        description="Show in which options runs differ, from which events they learned, their "
        "losses, and what they resolve, with uncertainties; predictions of the same events are "
        "compared event by event with those of the first run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="registered name, or run's folder")
    parser.add_argument(
        "--kind",
        choices=("regressor", "inpainter", "mae"),
        help="of the runs (default: the first of these that all of them are)",
    )
    parser.add_argument("--output", type=Path, help="also write a file: .csv, .json, .md or .txt")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    if args.output is not None and args.output.suffix not in _ENDINGS:
        raise ConfigError(f"--output {args.output}: expected a name in {', '.join(_ENDINGS)}")
    from xec_pipeline.evaluation.compared_run import find_runs
    from xec_pipeline.evaluation.run_comparison import compare

    found = compare(find_runs(args.runs, args.kind))
    sys.stdout.write(found.text())
    if args.output is not None:
        _WRITERS[args.output.suffix](args.output, found)
        sys.stdout.write(f"{args.output}\n")
    return 0


def _write_csv(path: Path, found: "RunComparison") -> None:
    from xec_pipeline.evaluation.records import write_records

    write_records(path, found.records())


def _write_json(path: Path, found: "RunComparison") -> None:
    from xec_pipeline.evaluation.metadata import write_json

    write_json(path, found.content())


def _write_text(path: Path, found: "RunComparison") -> None:
    from xec_pipeline.atomic import replacing

    with replacing(path) as partial:
        partial.write_text(found.markdown() if path.suffix == ".md" else found.text())


_WRITERS: Final[Mapping[str, Callable[[Path, "RunComparison"], None]]] = {
    ".csv": _write_csv,
    ".json": _write_json,
    ".md": _write_text,
    ".txt": _write_text,
}
_ENDINGS: Final = tuple(_WRITERS)
