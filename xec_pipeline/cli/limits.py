"""`xec limits`: how well any method can know toy events, and how near a network comes."""

import argparse
import sys
from pathlib import Path

_DESCRIPTION = """\
Calculate the physical limit of every event of toy files: the resolution in energy, position and
time that no method can beat, given what the sensors of this event can tell and with its shower
unknown. Limits are kept in <name>_limits.root beside the events and calculated only once. With
--compare, tell how near the predictions of a run come to them."""

_EXAMPLES = """\
examples
  limits of test events:                  xec limits data/toy/test --jobs 2
  of the first 500 of them:               xec limits data/toy/test --events 500
  and the efficiency of a run:            xec limits data/toy/test --compare artifacts/demo

About 13 ms of one processor per event. Files with pile-up are refused: their limit is not known."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command; words may be joined by underscores or hyphens."""
    parser = subparsers.add_parser(
        "limits",
        help="the physical limit of toy events, and how near a run comes to it",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("path", help="file of toy events, folder of them, or pattern")
    parser.add_argument("--events", type=int, metavar="N", help="only the first N events [all]")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes [1]")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="RUN_DIR",
        help="folder of a run that predicted these events: write and print its efficiency",
    )
    parser.add_argument(
        "--run_name", "--run-name", help="run to compare (default: found from the folder)"
    )
    parser.add_argument(
        "--output_dir", "--output-dir", type=Path, help="folder for its efficiency [RUN_DIR]"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    from xec_pipeline.data.root_files import find_root_files
    from xec_pipeline.evaluation.limits import calculate_limits

    files = find_root_files(args.path)
    written = calculate_limits(files, n_events=args.events, jobs=args.jobs)
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0 if args.compare is None else _compare(args, files)


def _compare(args: argparse.Namespace, files: list[Path]) -> int:
    from xec_pipeline.data.limit_files import read_limits
    from xec_pipeline.evaluation.compared_tables import sample_dir
    from xec_pipeline.evaluation.efficiency_report import write_efficiency
    from xec_pipeline.evaluation.tables import find_run_name

    run_name = args.run_name or find_run_name(args.compare)
    folder = sample_dir(args.compare, run_name)
    table, paths = write_efficiency(
        folder, run_name, read_limits(files), args.output_dir or args.compare
    )
    sys.stdout.write(table.summary())
    sys.stdout.writelines(f"{path}\n" for path in paths.values())
    return 0
