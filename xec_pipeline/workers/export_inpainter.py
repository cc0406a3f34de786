"""Export a trained inpainter as TorchScript and ONNX files that were checked against it.

python -m xec_pipeline.workers.export_inpainter --config inpainter-demo [--checkpoint FILE]
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from xec_pipeline.config.file_names import checkpoint_file, parity_file
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import load_inpainter_run
from xec_pipeline.errors import ConfigError
from xec_pipeline.export.flags import add_arguments
from xec_pipeline.export.inpainter import ExportedInpainter, export_inpainter
from xec_pipeline.export.inpainter_parity import allowed_in_words
from xec_pipeline.export.parity import PARITY_EVENTS
from xec_pipeline.export.parity_file import write_parity
from xec_pipeline.export.samples import sample_events
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Export as the command line says; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.export_inpainter",
        description=__doc__,
        allow_abbrev=False,
    )
    add_arguments(parser)
    return run_worker(parser.parse_args(argv), work)


def work(args: argparse.Namespace, report: Report) -> int:
    """Export, report; return 0."""
    export(args, report)
    return 0


def export(args: argparse.Namespace, report: Report) -> ExportedInpainter:
    """Write the files that a run asks for and report what was made.

    Parameters
    ----------
    args
        What `export.flags` defines.
    report
        Receives the numbers and, as data version, a hash of the files.

    Raises
    ------
    ConfigError
        If the run asks for no export.
    ParityError
        If a file does not agree with its network; then none is written.
    """
    run = load_inpainter_run(args.config)
    started = time.perf_counter()
    exported = export_inpainter(
        args.checkpoint or run.run_dir / checkpoint_file("inpainter", "best"),
        output_paths(run, args.output_dir),
        sample_events(run.data, PARITY_EVENTS),
        use_ema=not args.no_ema,
        clamp_negative=run.export.clamp_negative,
    )
    numbers = {
        "run_name": run.name,
        "weights_version": exported.model.sha,
        "parity_events": PARITY_EVENTS,
        "seconds": time.perf_counter() - started,
    }
    for file in exported.files:
        kind = file.path.suffix.removeprefix(".")
        numbers |= {kind: file.path, f"megabytes_{kind}": file.path.stat().st_size / 1e6}
        for entry in file.parity:
            numbers[f"parity_{kind}_{entry.output}"] = entry.largest_absolute
    numbers["parity_of_allowed"] = max(
        entry.of_allowed for file in exported.files for entry in file.parity
    )
    paths = [file.path for file in exported.files]
    allowed = allowed_in_words([entry.output for file in exported.files for entry in file.parity])
    told = paths[0].with_name(parity_file("inpainter", run.name))
    write_parity(told, exported.files, exported.model.sha, allowed)
    report.result(numbers, files_version(paths, paths[0].parent))
    return exported


def output_paths(run: InpainterRun, output_dir: Path | None) -> tuple[Path, ...]:
    """Return the files to write: TorchScript first, then ONNX.

    Raises
    ------
    ConfigError
        If the run asks for neither.
    """
    names = [name for name in (run.export.torchscript, run.export.onnx) if name is not None]
    if not names:
        raise ConfigError(
            f"run '{run.name}': export.torchscript and export.onnx are null, so there is nothing "
            "to export"
        )
    return tuple((output_dir or run.run_dir) / name for name in names)


if __name__ == "__main__":
    sys.exit(main())
