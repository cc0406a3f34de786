"""Draw the resolution figures of a run from its prediction tables, or fill its resolution table.

python -m xec_pipeline.workers.figures artifacts/demo --run_name demo [--tasks energy angle]
python -m xec_pipeline.workers.figures artifacts/demo --run_name demo --table

Nothing is predicted and torch is not imported; the CSVs are enough.
"""

import argparse
import functools
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from xec_pipeline.errors import XecError
from xec_pipeline.evaluation.compared_tables import MODEL
from xec_pipeline.evaluation.comparison import ResolutionTable, write_resolution_table
from xec_pipeline.evaluation.flags import add_arguments
from xec_pipeline.evaluation.plots.choice import choice_of
from xec_pipeline.evaluation.previews import previews
from xec_pipeline.evaluation.report import write_resolution_figures, write_test_figures
from xec_pipeline.evaluation.tables import TEST_FOLDER, predicted_tasks
from xec_pipeline.lifetime import start_in_pool
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report, open_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return its exit status."""
    args = build_parser().parse_args(argv)
    try:
        with open_report() as report:
            if args.table:
                fill_table(args, report)
            else:
                draw(args, report)
    except XecError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this worker's options."""
    parser = argparse.ArgumentParser(prog="xec_pipeline.workers.figures", description=__doc__)
    add_arguments(parser)
    return parser


def draw(args: argparse.Namespace, report: Report) -> None:
    """Draw the figures and report them.

    Those of the test sample are drawn into its folder if it has predictions and no other folder is
    asked for.
    """
    run_name, choice = args.run_name or args.run_dir.resolve().name, choice_of(args)
    draw_own = functools.partial(
        write_resolution_figures,
        *(args.run_dir, run_name, args.tasks, args.output_dir, args.suffix),
        choice=choice,
    )
    draw_test = functools.partial(
        write_test_figures, args.run_dir, run_name, args.tasks, args.suffix, choice
    )
    has_test = args.output_dir is None and predicted_tasks(args.run_dir / TEST_FOLDER, run_name)
    pdfs, of_test = _both(draw_own, draw_test) if has_test else (draw_own(), {})
    folder = args.output_dir or args.run_dir
    drawn = {f"pdf_{task}": path for task, path in pdfs.items()}
    drawn |= {f"test_pdf_{task}": path for task, path in of_test.items()}
    files = [file for path in drawn.values() for file in (path, path.with_suffix(".json"))]
    report.log("\n".join(str(path) for path in drawn.values()))
    report.result({**drawn, **previews(drawn)}, files_version(files, folder))


def _both(
    draw: Callable[[], dict[str, Path]], draw_beside: Callable[[], dict[str, Path]]
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Call both, the second in a process of its own: threads would wait for each other."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, start_in_pool, (os.getpid(),)) as pool:
        drawing = pool.submit(draw_beside)
        return draw(), drawing.result()


def fill_table(args: argparse.Namespace, report: Report) -> None:
    """Write and print the table of resolutions, and report its main numbers."""
    run_name = args.run_name or args.run_dir.resolve().name
    table, paths = write_resolution_table(
        args.run_dir, run_name, args.output_dir, args.suffix, tasks=args.tasks
    )
    sys.stdout.write(table.text())
    metadata = {
        "table": paths["md"],
        "selection": table.selection,
        "resolutions": {"raw_value": table.markdown(), "type": "md"},
        **main_numbers(table),
        # For the checks, which compare with an earlier table of the same events.
        "events_version": table.meta.data_version or "not known",
        "estimates": {"raw_value": estimates(table), "type": "json"},
    }
    report.result(metadata, files_version(paths.values(), args.output_dir or args.run_dir))


def estimates(table: ResolutionTable) -> list[dict[str, Any]]:
    """Return what the table holds of the network; NaN is text, which JSON lacks."""
    return [
        {name: str(item) if item != item else item for name, item in record.items()}
        for record in table.records()
        if record["method"] == MODEL
    ]


def main_numbers(table: ResolutionTable) -> dict[str, float]:
    """Return the network's half widths, or containments of distances, by name and unit."""
    numbers: dict[str, float] = {}
    for row in table.rows:
        if row.estimator != "median bias":
            # The half width comes after the containment and replaces it.
            unit = {"%": "percent"}.get(row.unit, row.unit)
            numbers[f"{row.quantity.replace(' ', '_')}_{unit}"] = row.entries[MODEL].value
    return numbers


if __name__ == "__main__":
    sys.exit(main())
