"""Metrics of masked sensors: of all, per face, per method, in bins of the signal; dead sensors.

All errors are predicted - reference. The reference is the measured value (`truth`) or, where a
simulation knows it, the mean of the count (`mean`, in names `_vs_mean`). `68pct` and `95pct` are
quantiles of |error|, at 68.27 % and 95 %; `std` divides by n. Uncertainties are those of
`event_bootstrap`. Counts are in photons and times in ns, or both normalized. `n` is a number of
readings (one sensor in one event), `n_sensors` of different sensors.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from xec_pipeline.detector.faces import FACE_NAMES
from xec_pipeline.evaluation.event_bootstrap import EventBootstrap, Resampled, content_seed
from xec_pipeline.evaluation.masked_rows import ARTIFICIAL, DEAD, Bools, MaskedRows
from xec_pipeline.evaluation.masked_samples import (
    MEAN,
    TRUTH,
    Sample,
    Space,
    event_number,
    face_scopes,
)
from xec_pipeline.evaluation.masked_table import MaskedTable
from xec_pipeline.evaluation.resolution import Estimate, Values

Record = dict[str, Any]

SIGNAL_EDGES: Final = (100.0, 300.0, 1000.0, 3000.0, 10_000.0, math.inf)
"""Bins of the signal in tables [photons]."""
MIN_PER_BIN: Final = 20
"""A bin with fewer rows has a count but no estimate."""
METHOD_NAMES: Final[Mapping[str, str]] = {
    "avg": "neighbor_avg",
    "sa": "solid_angle",
    "localfit": "local_fit",
    "knn": "k_nearest",
}
"""Names of the conventional methods in tables; other methods have their own."""


def global_metrics(
    table: MaskedTable, counts: Sample, times: Sample | None, method: str, min_photons: float
) -> list[Record]:
    """Return `metric, value, error, n, unit` of everything together."""
    rows = table.rows
    numbers = {
        "n_total": len(rows),
        "n_with_truth": len(counts),
        "n_artificial": int((rows.mask_type == ARTIFICIAL).sum()),
        "n_dead": int((rows.mask_type == DEAD).sum()),
        "n_events": counts.n_events,
    }
    records: list[Record] = [_plain("mode", table.metadata.mode)]
    records += [_plain(name, number) for name, number in numbers.items()]
    everything = counts.on_face(None)
    for name, one in _errors(counts, method, everything).items():
        records.append(_record(name, one.estimate(), counts.unit))
    for name, one in _relative(counts, method, everything, min_photons).items():
        records.append(_record(f"{name}_above_{min_photons:g}_photons", one.estimate(), "1"))
    if times is not None:
        for name, one in _errors(times, method, times.on_face(None)).items():
            records.append(_record(name, one.estimate(), times.unit))
    return records


def face_metrics(counts: Sample, times: Sample | None, method: str) -> list[Record]:
    """Return one record per face; `<metric>_error` is the uncertainty of `<metric>`.

    If all events hide the same sensors, it is for these: how much other sensors of a face differ is
    not in it, but in `<metric>_error_of_sensors`, from resampled sensors; NaN for fewer than five.
    """
    records = []
    for name, face in face_scopes().items():
        if face is None:
            continue
        on_face = counts.on_face(face)
        record: Record = {"face": name, "n": int(on_face.sum())}
        record |= {"n_sensors": counts.n_sensors(on_face)}
        record |= _wide(_errors(counts, method, on_face)) | {"unit": counts.unit}
        record |= _of_sensors(counts, method, on_face)
        if times is not None:
            rows = times.on_face(face)
            n_valid = int((rows & np.isfinite(times.predicted(method))).sum())
            record |= {"n_valid_time": n_valid} | _wide(_errors(times, method, rows))
            record |= {"time_unit": times.unit} | _of_sensors(times, method, rows)
        records.append(record)
    return records


def method_metrics(sample: Sample, methods: Sequence[str], min_photons: float) -> list[Record]:
    """Return `method, scope, metric, value, error, n, unit` of each method, in all and per face."""
    records = []
    for method in methods:
        for scope, face in face_scopes().items():
            rows = sample.on_face(face)
            found = {
                name: (one, sample.unit) for name, one in _errors(sample, method, rows).items()
            }
            for name, one in _relative(sample, method, rows, min_photons).items():
                found[f"{name}_above_{min_photons:g}_photons"] = one, "1"
            keys = {"method": METHOD_NAMES.get(method, method), "scope": scope}
            for name, (one, unit) in found.items():
                records.append(keys | _record(name, one.estimate(), unit))
    return records


def signal_metrics(sample: Sample, methods: Sequence[str], edges: Sequence[float]) -> list[Record]:
    """Return relative errors in bins of the signal, of each method, in all and per face.

    A bin holds low <= reference < high [photons]; an estimate needs `MIN_PER_BIN` rows.
    """
    records = []
    for reference, method in itertools.product(sample.references, methods):
        known = sample.references[reference]
        error = sample.relative_error(method, reference)
        for (scope, face), (low, high) in itertools.product(
            face_scopes().items(), itertools.pairwise(edges)
        ):
            found = sample.summary(error, sample.on_face(face) & in_bin(known, low, high))
            keys: Record = {"method": METHOD_NAMES.get(method, method), "scope": scope}
            keys |= {"reference": reference, "low": low, "high": high}
            for metric, one in found.items():
                records.append(keys | _record(f"relative_{metric}", enough(one.estimate()), "1"))
    return records


def dead_statistics(table: MaskedTable, space: Space) -> list[Record]:
    """Return `metric, value, error, n, unit` of the predictions for dead sensors; maybe empty.

    Where a simulation knows what a dead sensor would have seen, the errors against its mean too.
    """
    is_dead = table.rows.mask_type == DEAD
    if not is_dead.any():
        return []
    rows = table.rows.taken(is_dead)
    values = table.pred_photons if space == "photons" else table.rows.pred_npho
    predicted = np.asarray(values, dtype=np.float64)[is_dead]
    bootstrap = EventBootstrap(event_number(rows), content_seed(rows.event_number, predicted))
    records = [_plain("n", len(rows)), _plain("n_sensors", len(np.unique(rows.sensor_id)))]
    records += _dead_distribution(bootstrap, predicted, rows, space)
    if rows.mean_photons is not None and space == "photons":
        error = predicted - rows.mean_photons
        for name, one in bootstrap.summary(error).items():
            records.append(_record(f"npho_{name}_vs_mean", one.estimate(), space))
    return records


def signal_edges(min_photons: float) -> tuple[float, ...]:
    """Return `SIGNAL_EDGES` from `min_photons` on."""
    return (min_photons, *(edge for edge in SIGNAL_EDGES if edge > min_photons))


def in_bin(values: Values, low: float, high: float) -> Bools:
    """Return where low <= value < high; an infinite upper edge belongs to its bin."""
    inside: Bools = (values >= low) & ((values < high) | np.isposinf(high))
    return inside


def enough(estimate: Estimate) -> Estimate:
    """Return the estimate, or NaN with its count if it is of fewer than `MIN_PER_BIN` rows."""
    if estimate.n >= MIN_PER_BIN:
        return estimate
    return Estimate(value=math.nan, error=math.nan, n=estimate.n, estimator=estimate.estimator)


def _errors(sample: Sample, method: str, rows: Bools) -> dict[str, Resampled]:
    """Return the estimates against all references, with the names of the tables."""
    return _resampled(sample, method, rows, sample.bootstrap)


def _of_sensors(sample: Sample, method: str, rows: Bools) -> Record:
    """Return the uncertainties of the same estimates if sensors are drawn in place of events."""
    found = _resampled(sample, method, rows, sample.sensor_bootstrap)
    return {f"{name}_error_of_sensors": one.estimate().error for name, one in found.items()}


def _resampled(
    sample: Sample, method: str, rows: Bools, bootstrap: EventBootstrap
) -> dict[str, Resampled]:
    found = {}
    for reference in sample.references:
        error, suffix = sample.error(method, reference), _suffix(reference)
        for name, one in bootstrap.summary(error[rows], rows).items():
            found[f"{sample.quantity}_{name}{suffix}"] = one
    return found


def _relative(sample: Sample, method: str, rows: Bools, min_photons: float) -> dict[str, Resampled]:
    if not sample.in_photons:
        return {}
    found = {}
    for reference, values in sample.references.items():
        chosen = rows & (values >= min_photons)
        error = sample.relative_error(method, reference)
        for name, one in sample.summary(error, chosen).items():
            found[f"npho_relative_{name}{_suffix(reference)}"] = one
    return found


def _suffix(reference: str) -> str:
    return {TRUTH: "", MEAN: "_vs_mean"}[reference]


def _dead_distribution(
    bootstrap: EventBootstrap, predicted: Values, rows: MaskedRows, space: Space
) -> Iterator[Record]:
    everything = bootstrap.summary(predicted)
    yield _record("mean", everything["bias"].estimate(), space)
    yield _record("std", everything["std"].estimate(), space)
    yield _plain("min", float(predicted.min()), space)
    yield _plain("max", float(predicted.max()), space)
    negative = bootstrap.summary((rows.pred_npho < 0).astype(np.float64))["bias"]
    yield _record("fraction_negative", negative.estimate(), "1")
    for face, name in FACE_NAMES.items():
        on_face = rows.face_id == face
        if on_face.any():
            mean = bootstrap.summary(predicted[on_face], on_face)["bias"]
            yield _record(f"mean_{name}", mean.estimate(), space)


def _plain(metric: str, value: str | float, unit: str = "") -> Record:
    return {"metric": metric, "value": value, "error": "", "n": "", "unit": unit}


def _record(metric: str, estimate: Estimate, unit: str) -> Record:
    return {
        "metric": metric,
        "value": estimate.value,
        "error": estimate.error,
        "n": estimate.n,
        "unit": unit,
    }


def _wide(found: Mapping[str, Resampled]) -> Record:
    record: Record = {}
    for name, one in found.items():
        estimate = one.estimate()
        record |= {name: estimate.value, f"{name}_error": estimate.error}
    return record
