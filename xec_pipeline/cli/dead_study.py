"""`xec dead-study`: what dead sensors cost a regressor, left dead and filled."""

import argparse

from xec_pipeline.evaluation.dead_flags import add_arguments


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "dead-study",
        help="resolutions of a regressor with dead sensors: raw, neighbour average, inpainted",
        description="Predict the same events with a regressor four times: as they are, and with "
        "a pattern of dead sensors that are left dead, filled with the average of their "
        "neighbours, or filled by an inpainter. Prints the table of resolutions.",
        epilog="Example: xec dead-study --config runs/inpainter/demo.yaml",
        allow_abbrev=False,
    )
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    from xec_pipeline.workers.dead_study import work
    from xec_pipeline.workers.pipes import Report

    return work(args, Report(rank=0))
