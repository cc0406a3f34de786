"""Predictions for masked sensors in memory: one row per masked sensor of an event."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.normalization import Normalization
from xec_pipeline.detector.faces import face_of_sensor
from xec_pipeline.units import NS_PER_S

ARTIFICIAL: Final = 0
"""Mask type of a sensor that was hidden although it works: its truth is known."""
DEAD: Final = 1
"""Mask type of a dead sensor: there is no truth."""

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedRows:
    """Masked sensors of some events, all arrays of shape (n_rows,); NaN where not known.

    Attributes
    ----------
    event_idx
        Entry of the event in the sample.
    run_number, event_number, sensor_id
        Which sensor of which event.
    mask_type
        `ARTIFICIAL` or `DEAD`.
    truth_npho, pred_npho
        Normalized photon counts.
    truth_photons
        Count as measured [photons], also where it is negative and no scheme can transform it.
    truth_time, pred_time
        Normalized times; None if times are not predicted.
    mean_photons
        Mean of the count, which only a simulation knows [photons]; None if not known.
    w_fip
        Depth of the first interaction in front of the sensor [cm]; None if not asked for.
    baselines
        Normalized predictions of conventional methods by name; NaN where a method gives nothing.
    """

    event_idx: Integers
    run_number: Integers
    event_number: Integers
    sensor_id: Integers
    mask_type: Integers
    truth_npho: Floats
    pred_npho: Floats
    truth_photons: Floats
    truth_time: Floats | None = None
    pred_time: Floats | None = None
    mean_photons: Floats | None = None
    w_fip: Floats | None = None
    baselines: Mapping[str, Floats] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.sensor_id)

    @property
    def face_id(self) -> NDArray[np.int8]:
        """Face code of every row."""
        return face_of_sensor()[self.sensor_id]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all columns that are there, those of the baselines as `baseline_<name>`."""
        own = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "baselines" and getattr(self, field.name) is not None
        }
        return own | {f"baseline_{name}": values for name, values in self.baselines.items()}

    def taken(self, rows: Bools | Integers | slice) -> "MaskedRows":
        """Return some of the rows."""
        return from_arrays({name: values[rows] for name, values in self.arrays().items()})


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> MaskedRows:
    """Return the rows whose `MaskedRows.arrays` are `arrays`."""
    prefix = "baseline_"
    own = {name: values for name, values in arrays.items() if not name.startswith(prefix)}
    baselines = {
        name.removeprefix(prefix): values for name, values in arrays.items() if name not in own
    }
    return MaskedRows(**own, baselines=baselines)


def joined(parts: Sequence[MaskedRows]) -> MaskedRows:
    """Return the rows of several parts, which have the same columns, in one."""
    columns = [part.arrays() for part in parts]
    return from_arrays({name: np.concatenate([c[name] for c in columns]) for name in columns[0]})


def photons(normalized: Floats, normalization: NormalizationConfig) -> Floats:
    """Return photon counts of normalized ones.

    Notes
    -----
    Squares are not monotonic: with the schemes sqrt and anscombe a prediction below zero means the
    smallest count that they can express, and not a large one.
    """
    values = np.asarray(normalized, dtype=np.float32)
    if normalization.npho_scheme in {"sqrt", "anscombe"}:
        values = np.maximum(values, np.float32(0))
    return Normalization(normalization).inverse_npho(values)


def times_ns(normalized: Floats, normalization: NormalizationConfig) -> Floats:
    """Return times [ns] of normalized ones."""
    return Normalization(normalization).inverse_time(normalized) * np.float32(NS_PER_S)


def gathered(blocks: Iterable[MaskedRows], n_rows: int) -> Iterable[MaskedRows]:
    """Yield the rows of `blocks` in parts of at least `n_rows`, except for the last."""
    waiting: list[MaskedRows] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= n_rows:
            yield joined(waiting)
            waiting = []
    if waiting:
        yield joined(waiting)
