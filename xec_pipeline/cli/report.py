"""`xec report`: the report of a run as one HTML file."""

import argparse
import sys

from xec_pipeline.evaluation.run_report.flags import add_arguments

_EPILOG = """\
examples
  xec report artifacts/demo                          # a report for each kind of run in the folder
  xec report artifacts/demo --kind inpainter
  xec report artifacts/demo --output_dir to_send     # figures are inside: send the one file

The report shows key numbers, tables, learning curves and figures, then the whole configuration,
the origin of events and weights, the environment, and all files with their hashes. What the folder
lacks is said in the report. Equal files give an equal report."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "report",
        help="put all about a run into one HTML file",
        description="Write the report of a run: one HTML file that needs nothing else, to open in "
        "a browser, print or send. Nothing is predicted or drawn again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    from xec_pipeline.evaluation.run_report.parts import kinds_in
    from xec_pipeline.workers.report import write_run_report

    # Without a kind that is there, the message of the first one tells what was looked for.
    kinds = [args.kind] if args.kind else kinds_in(args.run_dir) or ["regressor"]
    for kind in kinds:
        told, path, _ = write_run_report(args.run_dir, args.run_name, kind, args.output_dir)
        sys.stdout.write(f"{path}\n")
        for note in told.notes:
            sys.stderr.write(f"xec report: {note}\n")
    return 0
