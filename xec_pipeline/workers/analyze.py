"""Measure predictions for masked sensors: tables and figures from ROOT files.

python -m xec_pipeline.workers.analyze artifacts/demo/predictions.root --output artifacts/demo
python -m xec_pipeline.workers.analyze small=a.root large=b.root --output both [--no_plots]

Nothing is predicted and torch is not imported; the files are enough.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from xec_pipeline.errors import XecError
from xec_pipeline.evaluation.masked_flags import add_arguments, labelled
from xec_pipeline.evaluation.masked_report import Settings, analyze
from xec_pipeline.evaluation.previews import previews
from xec_pipeline.evaluation.recovery_table import AGAINST, RecoveryTable
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report, open_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return its exit status."""
    args = build_parser().parse_args(argv)
    try:
        with open_report() as report:
            work(args, report)
    except XecError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this worker's options."""
    parser = argparse.ArgumentParser(prog="xec_pipeline.workers.analyze", description=__doc__)
    add_arguments(parser)
    return parser


def work(args: argparse.Namespace, report: Report) -> None:
    """Analyze the files, print the recovery table, and report its main numbers."""
    settings = Settings(
        space=args.space, min_photons=args.min_photons, with_plots=not args.no_plots
    )
    analysis = analyze(labelled(args.files), args.output_dir, settings)
    sys.stdout.write(analysis.table.text())
    report.log("\n".join(str(path) for path in analysis.files))
    metadata = {
        **{path.name: path for path in analysis.files},
        "n_files": len(analysis.files),
        "recovery": {"raw_value": analysis.table.markdown(), "type": "md"},
        **previews({path.stem: path for path in analysis.files if path.suffix == ".pdf"}),
        **main_numbers(analysis.table),
    }
    report.result(metadata, files_version(analysis.files, args.output_dir))


def main_numbers(table: RecoveryTable) -> dict[str, Any]:
    """Return the relative RMS errors [%] of the networks by model, bin and reference."""
    numbers = {}
    for row in table.rows:
        for model in table.models:
            estimate = row.estimate(model)
            if estimate is not None and np.isfinite(estimate.value):
                end = f"to_{row.high:g}" if np.isfinite(row.high) else "up"
                name = f"{model}_vs_{AGAINST[row.reference]}_{row.low:g}_{end}_photons_percent"
                numbers[name] = estimate.value
    return numbers


if __name__ == "__main__":
    sys.exit(main())
