"""`xec new-run`: the file of a new run, which states only what differs from a preset."""

import argparse
import logging
import sys
from pathlib import Path

from xec_pipeline.config.flags import set_options
from xec_pipeline.config.new_run import new_run, path_of_new, stated_options, write_new_run
from xec_pipeline.config.run_base import Run
from xec_pipeline.errors import ConfigError

_EPILOG = """\
examples
  xec new-run regressor deep --preset demo --set training.epochs=10 --set training.lr=1e-3
  xec new-run regressor deep-mae --from deep --mae demo      as deep, but pre-trained
  xec new-run regressor mine --preset full --set data.train_path=/data/train \\
      --set data.val_path=/data/val
Every option has its help in `xec train <kind> --help`."""
_WEIGHTS = {
    "regressor": "regressor/weights",
    "mae": "mae/encoder",
    "inpainter": "inpainter/weights",
}
_WORDS = {"True": "true", "False": "false", "None": "null"}
_SAMPLES = ("train_path", "val_path", "test_path")
_REQUIRED = ("train_path", "val_path")

_log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "new-run",
        help="write the file of a new run",
        description="Write runs/<kind>/<name>.yaml with what differs from a preset or from another "
        "run, after checking it as a training would. Nothing is trained.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=list(_WEIGHTS), help="what is to be trained")
    parser.add_argument("name", help="of the run, its artifact folder and its partition")
    parser.add_argument("--preset", help="preset to begin with (default: that of --from)")
    parser.add_argument(
        "--from", dest="other", metavar="RUN", help="registered run whose options are taken over"
    )
    parser.add_argument(
        "--mae", metavar="RUN", help="registered masked autoencoder to begin with; null for none"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option by its full name, for example --set training.lr=1e-4; may be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the file of that name")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    words = [*args.set, *([] if args.mae is None else [f"mae={args.mae}"])]
    if args.kind == "mae" and args.mae is not None:
        raise ConfigError("a masked autoencoder begins with no other one; leave --mae out")
    wanted, text = new_run(
        args.kind, args.name, preset=args.preset, other=args.other, options=set_options(words)
    )
    path = path_of_new(args.kind, args.name)
    write_new_run(path, text, overwrite=args.overwrite)
    for warning in missing_data(wanted):
        _log.warning("%s: %s", path, warning)
    sys.stdout.write("\n".join([f"{path}:", *_stated(text), "", *_next(args, path), ""]))
    return 0


def missing_data(wanted: Run) -> list[str]:
    """Return what cannot be found of the events that a run names."""
    from xec_pipeline.data.root_files import find_root_files
    from xec_pipeline.data.shard_format import MANIFEST_NAME
    from xec_pipeline.errors import DataError

    warnings = []
    data = wanted.model_dump()["data"]
    for name in _SAMPLES:
        path = data.get(name) or ""
        if not path:
            if name in _REQUIRED:
                warnings.append(f"data.{name} is empty; give --set data.{name}=PATH")
            continue
        try:
            if not (Path(path) / MANIFEST_NAME).is_file():
                find_root_files(path)
        except DataError as error:
            warnings.append(f"data.{name}: {error}")
    return warnings


def _stated(text: str) -> list[str]:
    options = stated_options(text)
    width = max(map(len, options), default=0)
    return [
        f"  {name:<{width}}  {_WORDS.get(str(value), value)}" for name, value in options.items()
    ]


def _next(args: argparse.Namespace, path: Path) -> list[str]:
    lines = [
        "next",
        f"  train it here:  xec train {args.kind} --config {path}",
        f"  or in the UI:   make ui, reload, materialize {_WEIGHTS[args.kind]} [{args.name}]",
    ]
    if args.other is not None:
        lines.append(f"  then compare:   xec compare {args.other} {args.name}")
    return lines
