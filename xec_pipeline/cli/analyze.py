"""`xec analyze`: how well an inpainter recovers sensors, beside what can be had without one."""

import argparse
import sys

from xec_pipeline.evaluation.masked_flags import add_arguments, labelled

_EPILOG = """\
what is written (DIR; of several files DIR/LABEL each, and the comparison in DIR)
  recovery_table_<run>.txt .md .csv .json   relative error, RMS and bias, in bins of photons
  global_, face_, baseline_, signal_metrics.csv, dead_channel_stats.csv
  residual_*.pdf, scatter_truth_vs_pred.pdf, resolution_vs_signal*.pdf, metrics_summary.pdf

examples
  one file:          xec analyze artifacts/demo/inpainter_predictions_epoch_10.root \\
                         --output artifacts/demo/analysis
  two runs:          xec analyze small=a/predictions.root large=b/predictions.root --output both
  tables only:       xec analyze predictions.root --output out --no_plots

Several files are compared on the sensors (run, event, sensor) that all of them predict. Photon
counts are compared whatever the normalization; with --space normalized it must be the same."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "analyze",
        help="measure predictions for masked sensors",
        description="Tables and figures of predictions for masked sensors: against the truth, "
        "beside conventional methods, in bins of the signal. Uncertainties come from events drawn "
        "anew. Nothing is predicted again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from xec_pipeline.evaluation.masked_report import Settings, analyze

    settings = Settings(
        space=args.space, min_photons=args.min_photons, with_plots=not args.no_plots
    )
    analysis = analyze(labelled(args.files), args.output_dir, settings)
    sys.stdout.write(analysis.table.text())
    sys.stdout.writelines(f"{path}\n" for path in analysis.files)
    return 0
