"""Export a trained regressor as ONNX files that were checked against it.

python -m xec_pipeline.workers.export --config demo [--checkpoint FILE] [--output_dir FOLDER]
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from xec_pipeline.config.file_names import checkpoint_file, parity_file
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import ConfigError, XecError
from xec_pipeline.export.flags import add_arguments
from xec_pipeline.export.onnx import Exported, ExportedFile, export_onnx
from xec_pipeline.export.parity import PARITY_EVENTS, TOLERANCE
from xec_pipeline.export.parity_file import write_parity
from xec_pipeline.export.samples import sample_events
from xec_pipeline.versioning import content_hash
from xec_pipeline.workers.pipes import Report, open_report


def main(argv: Sequence[str] | None = None) -> int:
    """Export as the command line says; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.export", description=__doc__, allow_abbrev=False
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        with open_report() as report:
            export(args, report)
    except XecError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def export(args: argparse.Namespace, report: Report) -> Exported:
    """Write both ONNX files of a run and report what was made.

    Parameters
    ----------
    args
        What `export.flags` defines.
    report
        Receives the numbers and, as data version, a hash of the file for normalized inputs.
    """
    run = load_regressor_run(args.config)
    return export_run(
        run, report, checkpoint=args.checkpoint, out_dir=args.output_dir, use_ema=not args.no_ema
    )


def export_run(
    run: RegressorRun,
    report: Report,
    *,
    checkpoint: Path | None = None,
    out_dir: Path | None = None,
    use_ema: bool = True,
) -> Exported:
    """Write both ONNX files of `run`, by default of its best checkpoint into its folder.

    Raises
    ------
    ParityError
        If a file does not agree with its network; neither is written.
    """
    out_path = output_path(run, out_dir)
    started = time.perf_counter()
    events = sample_events(run.data, PARITY_EVENTS)
    exported = export_onnx(
        checkpoint or run.run_dir / checkpoint_file("regressor", "best"),
        out_path,
        events.npho,
        events.time_s,
        use_ema=use_ema,
    )
    files = (exported.normalized, exported.raw)
    told = out_path.with_name(parity_file("regressor", run.name))
    write_parity(told, files, exported.model.sha, f"{TOLERANCE:g} of the target's spread")
    metadata = {
        "run_name": run.name,
        "onnx": exported.normalized.path,
        "onnx_raw": exported.raw.path,
        "megabytes": out_path.stat().st_size / 1e6,
        "weights_version": exported.model.sha,
        "parity_events": PARITY_EVENTS,
        **_parity(exported.normalized),
        **_parity(exported.raw),
        "parity_of_allowed": max(entry.of_allowed for file in files for entry in file.parity),
        "seconds": time.perf_counter() - started,
    }
    report.result(metadata, content_hash(out_path))
    return exported


def output_path(run: RegressorRun, output_dir: Path | None) -> Path:
    """Return the file to write.

    Raises
    ------
    ConfigError
        If the run asks for no export.
    """
    if run.export.onnx is None:
        raise ConfigError(f"run '{run.name}': export.onnx is null, so there is nothing to export")
    return (output_dir or run.run_dir) / run.export.onnx


def _parity(file: ExportedFile) -> dict[str, float]:
    """Return the largest difference of each output, in its own unit."""
    return {f"parity_{entry.output}": entry.largest_absolute for entry in file.parity}


if __name__ == "__main__":
    sys.exit(main())
