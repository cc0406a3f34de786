"""`xec recover`: hidden sensors of events, by an inpainter and by methods without a network."""

import argparse

from xec_pipeline.evaluation.recovery_flags import add_arguments

_EPILOG = """\
examples
  a pattern of dead sensors on simulated events:
    xec recover --config runs/inpainter/demo.yaml --input data/toy/test
  15 live sensors of each real event, beside those that are dead:
    xec recover --config runs/inpainter/full.yaml --mode data --input /data/run430000.root \\
        --dead_file dead_run430000.txt
  then look at the table:
    xec analyze artifacts/demo/inpainter_mc_demo.root --output artifacts/demo/inpainter_analysis"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "recover",
        help="recover hidden and dead sensors with an inpainter",
        description="Hide sensors of events, recover them with an inpainter and with neighbour "
        "average, solid-angle weights, local fit and inverse-distance weights, and write one row "
        "for each recovered sensor to a ROOT file.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    from xec_pipeline.workers.pipes import Report
    from xec_pipeline.workers.recover import work

    return work(args, Report(rank=0))
