"""The command line: `xec <command>`, the same as `python -m xec_pipeline <command>`."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from xec_pipeline.errors import XecError

COMMANDS = (
    "simulate",
    "shards",
    "new-run",
    "train",
    "validate",
    "plots",
    "report",
    "scan-summary",
    "compare",
    "display",
    "analyze",
    "limits",
    "export",
    "promote",
    "recover",
    "dead-study",
    "inspect",
    "dead",
    "import-checkpoint",
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; each command's module adds its own part."""
    parser = argparse.ArgumentParser(
        prog="xec",
        description="From ROOT files of the MEG II photon detector to trained and exported models.",
        epilog="Order of work: simulate (or your own ROOT files) -> shards -> new-run -> train -> "
        "validate -> plots -> export; compare sets runs side by side, inspect looks into any file "
        "on the way, dead keeps the lists of dead sensors. Options may be written with underscores "
        "or hyphens. The Dagster UI does the same: make ui.",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="log more")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name in COMMANDS:
        _module(name).add_parser(subparsers)
    return parser


def _module(command: str) -> ModuleType:
    return import_module(f"xec_pipeline.cli.{command.replace('-', '_')}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; a user's error is one line, not a traceback."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO, format="%(levelname)s %(message)s"
    )
    command = _module(args.command)
    try:
        status = int(command.run(args))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except XecError as error:
        if args.verbose:
            raise
        sys.stderr.write(f"xec {args.command}: {error}\n")
        return 2
    return status


if __name__ == "__main__":
    sys.exit(main())
