"""What figures of masked sensors say of their readings: how many, of which sensors and faces.

A reading is one sensor in one event; a dead pattern hides the same few sensors in all events.
"""

import numpy as np

from xec_pipeline.detector.faces import FACE_NAMES
from xec_pipeline.evaluation.masked_rows import Bools
from xec_pipeline.evaluation.masked_samples import Sample
from xec_pipeline.evaluation.plots.methods import looks


def counted(sample: Sample, rows: Bools) -> str:
    """Return how many readings some rows are, and of how many sensors."""
    return f"{_number(int(rows.sum()), 'reading')} / {_number(sample.n_sensors(rows), 'sensor')}"


def compared_text(sample: Sample, rows: Bools, compared: Bools) -> str:
    """Return on how many of some rows methods are compared, and which these are."""
    text = f"N = {counted(sample, compared)}"
    if compared.sum() == rows.sum():
        return f"{text}\nof all faces"
    left, asked = faces_of(sample, compared), faces_of(sample, rows)
    where = "" if left == asked else f" ({', '.join(left) or 'no'} face{_s(len(left))} only)"
    return f"{text}\nthat all methods predict{where}"


def missing_text(sample: Sample, rows: Bools, compared: Bools) -> str:
    """Return which methods keep which faces out of a comparison; empty if none does."""
    left = faces_of(sample, compared)
    parts = []
    for method, look in looks(list(sample.predictions)).items():
        answered = faces_of(sample, rows & np.isfinite(sample.predictions[method]))
        missing = [name for name in faces_of(sample, rows) if name not in answered]
        if missing and not set(missing) & set(left):
            parts.append(f"{look.label} predicts nothing on {', '.join(missing)}")
    return "; ".join(parts)


def faces_of(sample: Sample, rows: Bools) -> list[str]:
    """Return the names of the faces that some rows are on."""
    present = set(np.unique(sample.face_id[rows]).tolist())
    return [name for face, name in FACE_NAMES.items() if face in present]


def face_notes(sample: Sample, rows: Bools, selection: str) -> tuple[str, ...]:
    """Return the notes of a page per face: readings and sensors of each, and what ± holds."""
    parts = []
    for face, name in FACE_NAMES.items():
        on_face = rows & sample.on_face(face)
        parts.append(f"{name} {on_face.sum()} / {sample.n_sensors(on_face)}")
    chosen = f" with {selection}" if selection else ""
    return (f"Readings / sensors{chosen}: {', '.join(parts)}.", uncertainty_note(sample))


def uncertainty_note(sample: Sample) -> str:
    """Return what the uncertainties of a part of the detector hold and what not.

    If every event hides other sensors, these are drawn anew with the events.
    """
    if 2 * len(sample) < sample.n_sensors() * sample.n_events:
        return "± is from resampled events, which hide different sensors."
    return (
        "± is from resampled events, for these sensors (this dead pattern): "
        "how much other sensors of a face differ is not in it."
    )


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
