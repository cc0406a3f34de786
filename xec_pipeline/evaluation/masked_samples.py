"""Masked sensors with a known truth, and what one or more methods predicted for them.

A row is a reading: one sensor in one event. A sensor that is hidden in all events has many.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xec_pipeline.data.normalization import Normalization
from xec_pipeline.detector.faces import FACE_NAMES, Face
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.event_bootstrap import EventBootstrap, Resampled, content_seed
from xec_pipeline.evaluation.masked_methods import MODEL
from xec_pipeline.evaluation.masked_rows import ARTIFICIAL, Bools, Integers, MaskedRows
from xec_pipeline.evaluation.masked_table import MaskedMetadata, MaskedTable
from xec_pipeline.evaluation.resolution import Values

Space = Literal["photons", "normalized"]
Floor = Callable[[Values, Integers], Values]
"""From mean counts [photons] and sensor numbers to the standard deviation of the counts."""

TRUTH: Final = "truth"
"""What was measured: a count with its noise, or a time."""
MEAN: Final = "mean"
"""The mean of the count, which only a simulation knows."""
TRUE_MEAN: Final = "true mean"
"""The method that knows the mean of the count; against the count, nothing can do better."""

_OLDER_METHODS: Final = (
    "The methods without a network are those of the earlier system, which may differ in detail."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the numbers come from, for captions and tables."""

    run_name: str
    paths: tuple[Path, ...]
    mode: str
    is_toy: bool
    sample: str = ""
    """ROOT files or shards with the events; empty if not known."""
    epoch: int = -1
    checkpoint_digest: str = ""
    data_version: str = ""
    dead_pattern: str = ""
    """Source of the dead sensors; empty if none was given."""
    n_events: int = -1
    """Events with masked sensors; -1 if not known."""
    masked_per_event: float = -1.0
    """Mean number of masked sensors; -1 if not known."""
    energy_mev: tuple[float, float] | None = None
    """Least and greatest true energy; None if not known."""
    remarks: tuple[str, ...] = ()
    """What a reader must know, in sentences."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    """Readings whose truth is known; arrays of shape (n_rows,).

    Attributes
    ----------
    quantity
        `npho` or `time`.
    unit
        Of all values: photons, ns, or normalized.
    event
        Number that rows of one event have in common.
    sensor_id
        Sensor number.
    face_id
        Face code.
    references
        What predictions are compared with: `TRUTH`, and `MEAN` where it is known.
    predictions
        Predicted values by method; NaN where a method gives nothing.
    floor
        Spread of the measured count about its mean, from a formula; None if not known.
    n_left_out
        Rows without a truth, or not in all compared files.
    """

    quantity: str
    unit: str
    event: Integers
    sensor_id: Integers
    face_id: NDArray[np.int8]
    references: Mapping[str, Values]
    predictions: Mapping[str, Values]
    floor: Values | None = None
    n_left_out: int = 0
    origin: Origin

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.event)

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(np.unique(self.event))

    def n_sensors(self, rows: Bools | None = None) -> int:
        """Return how many different sensors some rows are of; all rows for None."""
        sensors = self.sensor_id if rows is None else self.sensor_id[rows]
        return len(np.unique(sensors))

    @property
    def in_photons(self) -> bool:
        """Values are counts, so that errors may be taken relative to them."""
        return self.unit == "photons"

    @cached_property
    def bootstrap(self) -> EventBootstrap:
        """Resamples of the events, a function of the events and the truth."""
        return EventBootstrap(self.event, content_seed(self.event, self.references[TRUTH]))

    @cached_property
    def sensor_bootstrap(self) -> EventBootstrap:
        """Resamples of the sensors in place of the events."""
        return EventBootstrap(self.sensor_id, content_seed(self.sensor_id, self.references[TRUTH]))

    def on_face(self, face: Face | None) -> Bools:
        """Return which rows are on a face; all for None."""
        return np.ones(len(self), dtype=bool) if face is None else self.face_id == face

    def compared(self, rows: Bools) -> Bools:
        """Return those of some rows that every method predicts which predicts any of them.

        Methods are compared on these: one that answers easy sensors only would look better.
        """
        common = rows
        for values in self.predictions.values():
            known = rows & np.isfinite(values)
            if known.any():
                common = common & known
        return common

    def error(self, method: str, reference: str = TRUTH) -> Values:
        """Return predicted minus reference."""
        difference: Values = self.predicted(method) - self.references[reference]
        return difference

    def relative_error(self, method: str, reference: str = TRUTH) -> Values:
        """Return (predicted - reference) / reference, NaN where the reference is not positive."""
        known = self.references[reference]
        ratio: Values = self.error(method, reference) / np.where(known > 0, known, np.nan)
        return ratio

    def predicted(self, method: str) -> Values:
        """Return the predictions of a method, which may be `TRUE_MEAN`."""
        return self.references[MEAN] if method == TRUE_MEAN else self.predictions[method]

    def summary(self, error: Values, rows: Bools) -> dict[str, Resampled]:
        """Return the estimates of `event_bootstrap.ESTIMATORS` for the errors of some rows."""
        return self.bootstrap.summary(error[rows], rows)


def face_scopes() -> dict[str, Face | None]:
    """Return the parts of the detector by name: all of it as `global`, then each face."""
    return {"global": None, **{name: face for face, name in FACE_NAMES.items()}}


def count_sample(table: MaskedTable, space: Space, floor: Floor | None = None) -> Sample:
    """Return the photon counts of one table with the model and the baselines.

    Raises
    ------
    DataError
        If no masked sensor has a truth, or a prediction of the model is not finite.
    """
    rows = table.rows
    kept = has_truth(rows)
    if not kept.any():
        raise DataError(
            f"{table.path}: none of the {len(rows)} rows has a truth (mask_type 0 and a finite "
            "truth_npho), so nothing can be compared; mask sensors that work as well"
        )
    predictions = {MODEL: _model(table, space)} | _baselines(table, space)
    return Sample(
        quantity="npho",
        unit=space,
        event=event_number(rows)[kept],
        sensor_id=rows.sensor_id[kept],
        face_id=rows.face_id[kept],
        references={name: values[kept] for name, values in _references(table, space).items()},
        predictions={name: values[kept] for name, values in predictions.items()},
        floor=_floor(table, floor, kept) if space == "photons" else None,
        n_left_out=int((rows.mask_type == ARTIFICIAL).sum() - kept.sum()),
        origin=origin_of(table),
    )


def time_sample(table: MaskedTable, space: Space) -> Sample | None:
    """Return the times of one table in ns or normalized; None if no time was predicted."""
    rows = table.rows
    times = table.times_ns() if space == "photons" else (rows.truth_time, rows.pred_time)
    if times is None or times[0] is None or times[1] is None:
        return None
    true, pred = (np.asarray(values, dtype=np.float64) for values in times)
    kept = (rows.mask_type == ARTIFICIAL) & np.isfinite(true)
    return Sample(
        quantity="time",
        unit="ns" if space == "photons" else "normalized",
        event=event_number(rows)[kept],
        sensor_id=rows.sensor_id[kept],
        face_id=rows.face_id[kept],
        references={TRUTH: true[kept]},
        predictions={MODEL: pred[kept]},
        origin=origin_of(table),
    )


def has_truth(rows: MaskedRows) -> Bools:
    """Return which rows can be compared with a truth."""
    is_known: Bools = (rows.mask_type == ARTIFICIAL) & np.isfinite(rows.truth_npho)
    return is_known


def origin_of(table: MaskedTable) -> Origin:
    """Return the origin of one table."""
    metadata = table.metadata
    n_events = len(np.unique(event_number(table.rows)))
    return Origin(
        run_name=metadata.run_name or table.path.stem,
        paths=(table.path,),
        mode=metadata.mode,
        is_toy=metadata.toy,
        sample=metadata.sample,
        epoch=metadata.epoch,
        checkpoint_digest=metadata.checkpoint_digest,
        data_version=metadata.data_version,
        dead_pattern=metadata.dead_pattern,
        n_events=n_events,
        masked_per_event=len(table.rows) / max(n_events, 1),
        energy_mev=energies_of(metadata),
        remarks=older_remarks(table),
    )


def older_remarks(table: MaskedTable) -> tuple[str, ...]:
    """Return what must be said of a file of the earlier system that holds its own methods."""
    is_older = not table.metadata.schema_version and bool(table.rows.baselines)
    return (_OLDER_METHODS,) if is_older else ()


def energies_of(metadata: MaskedMetadata) -> tuple[float, float] | None:
    """Return least and greatest true energy of the events [MeV]; None if not known."""
    low, high = metadata.energy_low_mev, metadata.energy_high_mev
    return (low, high) if low >= 0 and high >= 0 else None


def event_number(rows: MaskedRows) -> Integers:
    """Return a number that the rows of one event (run and event) have in common."""
    return pd.MultiIndex.from_arrays([rows.run_number, rows.event_number]).factorize()[0]


def _model(table: MaskedTable, space: Space) -> Values:
    values = table.pred_photons if space == "photons" else table.rows.pred_npho
    is_bad = has_truth(table.rows) & ~np.isfinite(values)
    if is_bad.any():
        raise DataError(
            f"{table.path}: pred_npho is not finite in {int(is_bad.sum())} of {len(is_bad)} rows, "
            f"first in row {int(np.argmax(is_bad))}; the model is at fault"
        )
    return np.asarray(values, dtype=np.float64)


def _baselines(table: MaskedTable, space: Space) -> dict[str, Values]:
    return {
        name: np.asarray(
            table.baseline_photons(name) if space == "photons" else values, dtype=np.float64
        )
        for name, values in table.rows.baselines.items()
    }


def _references(table: MaskedTable, space: Space) -> dict[str, Values]:
    rows = table.rows
    truth = rows.truth_photons if space == "photons" else rows.truth_npho
    found = {TRUTH: np.asarray(truth, dtype=np.float64)}
    if rows.mean_photons is not None:
        mean = rows.mean_photons
        if space == "normalized":
            mean = Normalization(table.metadata.normalization).forward_npho(mean)
        found[MEAN] = np.asarray(mean, dtype=np.float64)
    return found


def _floor(table: MaskedTable, floor: Floor | None, kept: Bools) -> Values | None:
    if floor is None or table.rows.mean_photons is None:
        return None
    mean = np.asarray(table.rows.mean_photons, dtype=np.float64)[kept]
    return np.asarray(floor(mean, table.rows.sensor_id[kept]), dtype=np.float64)
