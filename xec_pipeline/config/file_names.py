"""Names of the weights in a run's folder, which runs of several kinds may share."""

from pathlib import Path
from typing import Final

_PREFIXES: Final = {"regressor": "", "mae": "mae_", "inpainter": "inpainter_"}
ANALYSIS_FOLDER: Final = "inpainter_analysis"
"""Folder in a run's folder for tables and figures of recovered sensors."""


def checkpoint_file(kind: str, which: str) -> str:
    """Return the name of a checkpoint.

    Parameters
    ----------
    kind
        What is trained: regressor, mae or inpainter.
    which
        `last`, `best`, `epoch_{n}`, or `*` for a pattern.
    """
    return f"{_PREFIXES[kind]}checkpoint_{which}.pth"


def finished_file(kind: str) -> str:
    """Return the name of the mark that a training of a kind has left and reported all its files."""
    return f".{kind}_finished"


def training_record_file(kind: str) -> str:
    """Return the name of the file that tells what a training was and how it went."""
    return f"{_PREFIXES[kind]}training_record.json"


def parity_file(kind: str, run_name: str) -> str:
    """Return the name of the file that tells how well exported models agree with the network."""
    return f"{_PREFIXES[kind]}export_parity_{run_name}.json"


def report_file(kind: str, run_name: str) -> str:
    """Return the name of the report of a run."""
    return f"{_PREFIXES[kind]}report_{run_name}.html"


def encoder_file(which: str) -> str:
    """Return the name of the encoder cut out of an MAE: `best`, `epoch_{n}`, or `*`.

    Those of epochs hold weights alone, for any program; the best one is a checkpoint.
    """
    return f"mae_encoder_{which}.pth"


def encoder_sidecar(which: str) -> str:
    """Return the name of the file that tells where an encoder comes from; see `encoder_file`."""
    return f"mae_encoder_{which}.json"


def sensor_predictions_file(epoch: int | str) -> str:
    """Return the name of an MAE's predictions for sensors after `epoch`, or `*`."""
    return f"mae_predictions_epoch_{epoch}.root"


def inpainter_predictions_file(epoch: int | str) -> str:
    """Return the name of an inpainter's predictions for hidden sensors after `epoch`, or `*`."""
    return f"inpainter_predictions_epoch_{epoch}.root"


def recovered_file(mode: str, run_name: str) -> str:
    """Return the name of the table of sensors that an inpainter recovered in a mode."""
    return f"inpainter_{mode}_{run_name}.root"


def dead_study_file(run_name: str) -> str:
    """Return the name of the study of dead sensors, without its ending."""
    return f"inpainter_dead_study_{run_name}"


def face_weights_file(run_name: str) -> str:
    """Return the name of the figure of what faces count for, without its ending."""
    return f"face_weights_{run_name}"


def worst_event_file(rank: int | str, run_name: str) -> str:
    """Return the path, without its ending, of an event's display in the folder of a sample.

    Parameters
    ----------
    rank
        From 1, the worst; or `*` for a pattern.
    run_name
        Name of the run.
    """
    number = rank if isinstance(rank, str) else f"{rank:02d}"
    return f"worst_events/worst_{number}_{run_name}"


def raw_onnx_file(name: str) -> str:
    """Return the name of an exported model's variant for raw inputs: `model_raw.onnx`."""
    path = Path(name)
    return str(path.with_name(f"{path.stem}_raw{path.suffix}"))
