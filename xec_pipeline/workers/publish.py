"""Publish the ONNX files of the model in use, if they are what they are said to be.

python -m xec_pipeline.workers.publish

Looks into both files for the version of their weights, writes `model.json` beside them and lets the
link `current` in the folder of the model in use point there. Programs read
`artifacts/production/current/model_raw.onnx`.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xec_pipeline.config.registry import production_config
from xec_pipeline.errors import DataError, ParityError
from xec_pipeline.evaluation.champion import (
    ONNX,
    ONNX_RAW,
    SIDECAR,
    Candidate,
    champion_dir,
    point_current_to,
    read_champion,
    read_sidecar,
)
from xec_pipeline.evaluation.metadata import write_json
from xec_pipeline.export.embedded import read_metadata
from xec_pipeline.versioning import content_hash
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.publish", description=__doc__
    )
    return run_worker(parser.parse_args(argv), work)


def work(_args: argparse.Namespace, report: Report) -> int:
    """Check, publish and report; return 0."""
    production = Path(production_config().folder)
    champion = read_champion(production)
    if champion is None:
        raise DataError(f"{production}: no model is in use; materialize production/selection first")
    folder = champion_dir(production, champion)
    about = checked(champion, folder, report.extras.get("parity"))
    write_json(folder / SIDECAR, about)
    link = point_current_to(production, folder)
    files = [folder / name for name in (ONNX, ONNX_RAW, SIDECAR)]
    report.result(
        {
            "champion": champion.run,
            "weights_version": champion.weights_version,
            "onnx": link / ONNX,
            "onnx_raw": link / ONNX_RAW,
            "sidecar": link / SIDECAR,
            **about["parity"],
        },
        files_version(files, folder),
    )
    return 0


def checked(
    champion: Candidate, folder: Path, parity: Mapping[str, float] | None
) -> dict[str, Any]:
    """Return what the sidecar says.

    Parameters
    ----------
    champion, folder
        The model, and where its files are kept.
    parity
        Largest difference of each output to the network, as the export reported it; None if it was
        not the export of these weights. Then that of an earlier publication is taken.

    Raises
    ------
    DataError
        If a file is missing or holds other weights.
    ParityError
        If it is not known that the files reproduce the network.
    """
    found = parity or read_sidecar(folder).get("parity")
    if not found:
        raise ParityError(
            f"{folder}: no export of weights {champion.weights_version[:12]} reported how well it "
            f"reproduces the network; materialize regressor/onnx of {champion.run}, then select "
            "and publish again"
        )
    hashes = {}
    for name in (ONNX, ONNX_RAW):
        told = read_metadata(folder / name)
        if told.get("weights_version") != champion.weights_version:
            raise DataError(
                f"{folder / name}: holds weights {told.get('weights_version', 'not stated')}, "
                f"expected {champion.weights_version} of run {champion.run}; materialize "
                "regressor/onnx, then production/selection"
            )
        hashes[name] = content_hash(folder / name)
    return {
        "run_name": champion.run,
        "weights_version": champion.weights_version,
        "dagster_run": champion.dagster_run,
        "mlflow_run": champion.mlflow_run,
        "parity": dict(found),
        "checks": {"weights_version_in_files": True, "parity_with_network": True},
        "content_hashes": hashes,
    }


if __name__ == "__main__":
    sys.exit(main())
