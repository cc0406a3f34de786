"""`xec export`: a checkpoint to ONNX files."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xec_pipeline.export.flags import add_arguments

if TYPE_CHECKING:
    from xec_pipeline.export.onnx import ExportedFile

_DESCRIPTION = """\
Write the best checkpoint of a run as two ONNX files, for inference without this package:
  model.onnx      normalized input (batch, 4760, 2); one output per task, output_<task>
  model_raw.onnx  photons and sensor times (batch, 4760) as in the file; one output per quantity
Both give MeV, cm, degree and ns, hold the normalization and the units in their metadata (see
`xec inspect`), take any batch size, and are written only if onnxruntime and torch agree.

With --kind inpainter, two files for the recovery of dead sensors, checked in the same way:
  inpainter.pt    TorchScript; photons and seconds (batch, 4760, 2) and a mask (batch, 4760) in,
  inpainter.onnx  ONNX; photons of all sensors out, predicted where the mask is 1"""

_EXAMPLE = """\
examples
  xec export --config demo
  xec export --config runs/regressor/demo.yaml --checkpoint artifacts/demo/checkpoint_last.pth \\
      --output_dir exported
  xec export --kind inpainter --config runs/inpainter/demo.yaml"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "export",
        help="write a trained model as ONNX and check it",
        description=_DESCRIPTION,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--kind",
        choices=("regressor", "inpainter"),
        default="regressor",
        help="what was trained (default: regressor)",
    )
    add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Export; return 0."""
    return _export_inpainter(args) if args.kind == "inpainter" else _export_regressor(args)


def _export_regressor(args: argparse.Namespace) -> int:
    # torch and onnxruntime take seconds to load, and `xec --help` needs neither.
    from xec_pipeline.workers.export import export
    from xec_pipeline.workers.pipes import open_report

    with open_report() as report:
        exported = export(args, report)
    _write_agreement((exported.normalized, exported.raw))
    return 0


def _export_inpainter(args: argparse.Namespace) -> int:
    from xec_pipeline.workers.export_inpainter import export
    from xec_pipeline.workers.pipes import open_report

    with open_report() as report:
        exported = export(args, report)
    _write_agreement(exported.files)
    return 0


def _write_agreement(files: "Sequence[ExportedFile]") -> None:
    for file in files:
        for entry in file.parity:
            sys.stdout.write(
                f"{file.path}: {entry.output} agrees with the checkpoint to "
                f"{entry.largest_absolute:.1e} {entry.unit}, {entry.of_allowed:.2g} of what is "
                "allowed\n"
            )
