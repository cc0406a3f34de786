"""`xec import-checkpoint`: a checkpoint of the earlier system becomes one of this program."""

import argparse
import sys
from pathlib import Path

from xec_pipeline.config.tasks import TASK_NAMES

_DESCRIPTION = """\
Convert a checkpoint of the earlier system. The network stays what it was, with the sensor maps it
was trained for (model.layout legacy); predictions come out in MeV, ns, cm and degrees. Heads that
were never trained, the optimizer and its schedule are left behind.

What the file does not say is taken from the YAML file of its training (--config), or assumed, and
then a line says so. Configurations need no conversion: xec train reads them as they are."""

_EXAMPLE = """\
examples
  xec import-checkpoint old/checkpoint_best.pth --kind regressor --config old/train.yaml \\
      --out artifacts/old/checkpoint_best.pth
  xec validate artifacts/old/checkpoint_best.pth --val_path data/val
  xec import-checkpoint old/mae_checkpoint_best.pth --kind encoder --out encoders/old.pth"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "import-checkpoint",
        help="convert a checkpoint of the earlier system",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, metavar="OLD.pth", help="file to convert")
    parser.add_argument(
        "--kind",
        required=True,
        choices=("regressor", "mae", "inpainter", "encoder"),
        help="what to make; an encoder can also be cut out of an MAE checkpoint",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="NEW.pth", help="file to write")
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="configuration it was trained with"
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASK_NAMES,
        metavar="TASK",
        help=f"heads to keep, of {', '.join(TASK_NAMES)} [all that were trained]",
    )
    for spelling in ("--time_unit", "--time-unit"):
        parser.add_argument(
            spelling,
            dest="time_unit",
            choices=("s", "ns"),
            default="s",
            help="unit of timeTruth in the files it was trained on [s]"
            if spelling == "--time_unit"
            else argparse.SUPPRESS,
        )


def run(args: argparse.Namespace) -> int:
    """Convert; return 0."""
    # torch takes seconds to load, and `xec --help` does not need it.
    from xec_pipeline.training.legacy_checkpoint import ImportOptions, import_checkpoint
    from xec_pipeline.training.weight_count import n_weights

    options = ImportOptions(
        config=args.config,
        time_unit=args.time_unit,
        tasks=tuple(args.tasks) if args.tasks else None,
    )
    made = import_checkpoint(args.checkpoint, args.out, args.kind, options)
    average = "with averaged weights" if made.ema_state_dict else "no averaged weights"
    sys.stdout.write(
        f"{args.out}: {made.kind} of {n_weights(made.model_state_dict):,} weights ({average}), "
        f"layout {made.layout}, {made.epoch} epochs\n"
    )
    return 0
