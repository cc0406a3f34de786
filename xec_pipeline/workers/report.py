"""Write the report of a run: one HTML file with its numbers, figures and origin.

python -m xec_pipeline.workers.report artifacts/demo --kind regressor

Nothing is predicted and torch is not imported, unless the training left no record; what is missing
in the folder is said in the report.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xec_pipeline.config.file_names import report_file
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.run_report.collect import collect
from xec_pipeline.evaluation.run_report.content import Made, RunReport
from xec_pipeline.evaluation.run_report.flags import add_arguments
from xec_pipeline.evaluation.run_report.page import write_report
from xec_pipeline.evaluation.run_report.parts import kinds_in
from xec_pipeline.evaluation.text import markdown_lines
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.pipes import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.report", description=__doc__, allow_abbrev=False
    )
    add_arguments(parser)
    return run_worker(parser.parse_args(argv), work)


def work(args: argparse.Namespace, report: Report) -> int:
    """Write the report of one kind of run and tell what is in it; return 0."""
    kind = args.kind or only_kind(args.run_dir)
    made = upstream(report.extras)
    told, path, version = write_run_report(
        args.run_dir, args.run_name, kind, args.output_dir, made=made
    )
    report.log(f"{path} ({path.stat().st_size / 1e6:.1f} MB); open it in any browser")
    report.result({"report": path, **described(told, path)}, version)
    return 0


def write_run_report(
    run_dir: Path,
    run_name: str | None,
    kind: str,
    out_dir: Path | None = None,
    *,
    made: Sequence[Made] = (),
) -> tuple[RunReport, Path, str]:
    """Write the report of one kind of run; return it, its file and its version.

    Raises
    ------
    DataError
        If the folder holds nothing of this kind.
    """
    name = run_name or run_dir.resolve().name
    told = collect(run_dir, name, kind, made)
    path = (out_dir or run_dir) / report_file(kind, name)
    return told, path, write_report(told, path)


def only_kind(run_dir: Path) -> str:
    """Return the kind of run in a folder.

    Raises
    ------
    DataError
        If there are several, or none.
    """
    found = kinds_in(run_dir)
    if len(found) != 1:
        raise DataError(f"{run_dir}: holds {' and '.join(found) or 'no run'}; give --kind")
    return found[0]


def upstream(extras: Mapping[str, Any]) -> tuple[Made, ...]:
    """Return upstream assets as the Dagster step tells them; none by hand."""
    return tuple(Made(**entry) for entry in extras.get("made", ()))


def described(told: RunReport, path: Path) -> dict[str, Any]:
    """Return what the metadata say of a report."""
    missing = [part.title for part in told.tables if part.note]
    missing += [part.title for part in told.figures if part.note]
    numbers: dict[str, Any] = {
        "megabytes": path.stat().st_size / 1e6,
        "figures": sum(len(part.figures) for part in told.figures),
        "missing": ", ".join(dict.fromkeys(missing)) or "nothing",
        "open_with": f"any browser: {path.name} needs nothing else, so a copy of it will do",
    }
    if told.key.numbers:
        cells = [["quantity", "value", "unit", "beside"]]
        cells += [[n.label, n.text, n.unit, ", ".join(n.beside)] for n in told.key.numbers]
        text = "\n".join([told.key.title, "", *markdown_lines(cells, 1)])
        numbers["key_numbers"] = {"raw_value": text, "type": "md"}
    return numbers


if __name__ == "__main__":
    sys.exit(main())
