"""`xec scan-summary`: the runs of an MLflow experiment beside each other."""

import argparse
import sys
from pathlib import Path

_EPILOG = """\
examples
  all regressors of this folder's store:     xec scan-summary
  those of one scan, by energy:              xec scan-summary --prefix ene_ --task energy
  inpainters, numbers only:                  xec scan-summary --experiment inpainting --no_plot"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "scan-summary",
        help="compare the runs of an MLflow experiment",
        description="Rank the runs of an MLflow experiment, show in which parameters they differ, "
        "and draw their losses. Writes scan_<experiment>_summary.pdf and a .csv beside it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--experiment", default="xec_regressor", help="default: %(default)s")
    parser.add_argument("--prefix", default="", help="only runs whose names begin so")
    parser.add_argument(
        "--tracking_uri",
        "--tracking-uri",
        help="MLflow store (default: MLFLOW_TRACKING_URI, or sqlite:///mlruns.db)",
    )
    parser.add_argument(
        "--task",
        choices=("angle", "energy", "timing", "uvwFI"),
        help="rank by its resolution (default: the only task that the runs have, else the loss)",
    )
    parser.add_argument(
        "--output", type=Path, help="PDF (default: scan_<experiment>_summary.pdf in this folder)"
    )
    parser.add_argument("--no_plot", "--no-plot", action="store_true", help="write no PDF")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from xec_pipeline.config.output import MlflowConfig
    from xec_pipeline.evaluation.records import write_records
    from xec_pipeline.evaluation.scan import made_with_toy, read_scan
    from xec_pipeline.training.tracking import tracking_uri

    uri = args.tracking_uri or tracking_uri(MlflowConfig())
    scan = read_scan(uri, args.experiment, args.prefix, args.task)
    sys.stdout.write(scan.text())
    pdf = args.output or Path(f"scan_{args.experiment}_summary.pdf")
    paths = [write_records(pdf.with_suffix(".csv"), scan.records())]
    if not args.no_plot:
        from xec_pipeline.evaluation.plots.scan import write_scan_pdf

        write_scan_pdf(scan, pdf, is_toy=made_with_toy(scan.runs))
        paths.append(pdf)
    sys.stdout.writelines(f"{path}\n" for path in paths)
    return 0
