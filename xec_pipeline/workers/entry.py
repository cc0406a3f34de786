"""How a worker runs: with an open report, and a user's mistake as one line.

Apart from the trainings' common parts, because workers that train nothing need no training loop.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Callable

from xec_pipeline.errors import XecError
from xec_pipeline.workers.pipes import Report, open_report


def run_worker(args: argparse.Namespace, work: Callable[[argparse.Namespace, Report], int]) -> int:
    """Do `work` with an open report; a mistake that the user can mend is one line and status 2."""
    # A depthwise kernel has an axis of length 1, whose stride is arbitrary; nothing gets slower.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
    rank = int(os.environ.get("RANK", "0"))
    try:
        with open_report(rank) as report:
            return work(args, report)
    except XecError as error:
        sys.stderr.write(f"rank {rank}: {error}\n" if "RANK" in os.environ else f"{error}\n")
        return 2
