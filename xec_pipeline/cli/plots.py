"""`xec plots`: resolution figures again from prediction tables."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from xec_pipeline.evaluation.flags import add_arguments

_EPILOG = """\
examples
  all figures whose tables are there:        xec plots artifacts/demo
  two of them, elsewhere, other names:       xec plots artifacts/demo --tasks energy angle \\
                                                 --output_dir plots --suffix _v2
  Gaussian fits in every bin, 30 bins:       xec plots artifacts/demo --estimator gaussian --bins 30
  those of the best epoch 7:                 xec plots artifacts/demo --epoch 7
  the comparison with the baselines:         xec plots artifacts/demo --table
  the same of epoch 7, energy alone:         xec plots artifacts/demo --table --epoch 7 \\
                                                 --tasks energy"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "plots",
        help="draw resolution figures from prediction tables",
        description="Draw the resolution figures of a run from its predictions_*.csv, each with a "
        "JSON file of the numbers drawn, and plots_manifest_<run>.json with the hashes of what "
        "was read. Nothing is predicted again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    parser.add_argument("--epoch", type=int, help="draw the tables of this best epoch (_ep<N>)")


def run(args: argparse.Namespace) -> int:
    """Run the command; return 1 if a requested figure could not be drawn."""
    from xec_pipeline.evaluation.comparison import write_resolution_table
    from xec_pipeline.evaluation.tables import find_run_name

    csv_suffix = "" if args.epoch is None else f"_ep{args.epoch}"
    run_name = args.run_name or find_run_name(args.run_dir, csv_suffix)
    if args.table:
        suffix = csv_suffix + args.suffix
        table, paths = write_resolution_table(
            args.run_dir,
            run_name,
            args.output_dir,
            suffix,
            csv_suffix=csv_suffix,
            tasks=args.tasks,
        )
        sys.stdout.write(table.text())
        sys.stdout.writelines(f"{path}\n" for path in paths.values())
        return 0
    return _draw(args, run_name, csv_suffix)


def _draw(args: argparse.Namespace, run_name: str, csv_suffix: str) -> int:
    from xec_pipeline.errors import DataError
    from xec_pipeline.evaluation.manifest import source_tables, write_manifest
    from xec_pipeline.evaluation.plots.choice import choice_of
    from xec_pipeline.evaluation.report import write_resolution_figures
    from xec_pipeline.evaluation.tables import predicted_tasks

    out_dir, suffix = args.output_dir or args.run_dir, csv_suffix + args.suffix
    choice = choice_of(args)
    figures: dict[str, Path] = {}
    failed: dict[str, str] = {}
    # One by one: a bad table of one task does not keep the others from being drawn.
    wanted = args.tasks or predicted_tasks(args.run_dir, run_name, csv_suffix)
    one_by_one: list[list[str] | None] = [[task] for task in wanted]
    for tasks in one_by_one or [None]:
        try:
            figures |= write_resolution_figures(
                args.run_dir,
                run_name,
                tasks,
                out_dir,
                suffix,
                csv_suffix=csv_suffix,
                choice=choice,
            )
        except DataError as error:
            sys.stderr.write(f"xec plots: {error}\n")
            failed |= {task: str(error) for task in tasks or ("all",)}
    sys.stdout.writelines(f"{path}\n" for path in figures.values())
    if figures:
        sources = source_tables(args.run_dir, run_name, csv_suffix)
        path = out_dir / f"plots_manifest_{run_name}{suffix}.json"
        sys.stdout.write(f"{write_manifest(path, sources, figures, failed, asdict(choice))}\n")
    return 1 if failed else 0
