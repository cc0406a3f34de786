"""What is logged of a validation: how far predictions are from the truth, in internal units.

All functions take the predictions of every event once. Events without truth, and predictions that
are not finite, are left out and counted.

Names that end in `_68pct`, and `val_resolution_deg`, are the 68th percentile of |residual|, of the
distance or of the opening angle: 68 % exactly. The figures and the table of resolutions
(`evaluation.resolution`) use 68.27 %, the content of one Gaussian standard deviation; that is
0.6 % more for a Gaussian.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.targets import TARGETS
from xec_pipeline.detector.coordinates import opening_angle_deg, wrapped_deg

Columns = Mapping[str, NDArray[Any]]
Values = NDArray[np.float64]

COVERAGE_PERCENT: Final = 68.0
"""Of the metrics' percentile; figures and tables have 68.27, see `evaluation.resolution`."""


def task_metrics(task: str, table: Columns) -> dict[str, float]:
    """Return the metrics of one task by their MLflow names.

    Parameters
    ----------
    task
        angle, energy, timing or uvwFI.
    table
        Columns `true_<column>`, `pred_<column>` and perhaps `pred_sigma_<column>`, each (N,), in
        MeV, ns, cm and degree.

    Returns
    -------
    dict
        Empty if no event can be used. Values that are not defined (the skewness of one event) are
        left out. `val/n_bad_<task>` counts events with truth whose prediction is not finite.
    """
    target = TARGETS[task]
    true, pred = _stacked(table, target.csv_true), _stacked(table, target.csv_pred)
    has_truth = np.isfinite(true).all(axis=1)
    usable = has_truth & np.isfinite(pred).all(axis=1)
    metrics = {f"val/n_bad_{task}": float((has_truth & ~usable).sum())}
    if usable.any():
        metrics |= _BY_TASK[task](true[usable], pred[usable])
        sigma = table.get(target.csv_sigma[0])
        if task == "energy" and sigma is not None:
            metrics |= _energy_calibration(true[usable], pred[usable], sigma[usable])
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def shape_metrics(name: str, residual: Values) -> dict[str, float]:
    """Return mean, standard deviation and skewness of residuals as `<name>_bias, _rms, _skew`.

    Notes
    -----
    Population moments; skew = m3 / m2^1.5, NaN if all residuals are equal. By the contract `rms` is
    the standard deviation about the mean.
    """
    centred = residual - residual.mean()
    variance = float(np.mean(centred**2))
    skew = float(np.mean(centred**3)) / variance**1.5 if variance > 0 else float("nan")
    return {
        f"{name}_bias": float(residual.mean()),
        f"{name}_rms": variance**0.5,
        f"{name}_skew": skew,
    }


def _stacked(table: Columns, names: Iterable[str]) -> Values:
    return np.stack([np.asarray(table[name], dtype=np.float64) for name in names], axis=1)


def _angle(true: Values, pred: Values) -> dict[str, float]:
    psi = opening_angle_deg(pred, true)
    return {
        **shape_metrics("theta", pred[:, 0] - true[:, 0]),
        **shape_metrics("phi", wrapped_deg(pred[:, 1] - true[:, 1])),
        "val_resolution_deg": _percentile(psi),
        "angle_resolution_68pct": _percentile(psi),
    }


def _energy(true: Values, pred: Values) -> dict[str, float]:
    return _bias_and_width("energy", (pred - true)[:, 0])


def _timing(true: Values, pred: Values) -> dict[str, float]:
    return _bias_and_width("timing", (pred - true)[:, 0])


def _position(true: Values, pred: Values) -> dict[str, float]:
    residual = pred - true
    distance = np.sqrt((residual**2).sum(axis=1))
    metrics: dict[str, float] = {}
    for index, name in enumerate(TARGETS["uvwFI"].columns):
        metrics |= _bias_and_width(f"uvw_{name}", residual[:, index])
    return metrics | {
        "uvw_dist_68pct": _percentile(distance),
        "uvw_dist_bias": float(distance.mean()),
    }


def _energy_calibration(true: Values, pred: Values, sigma: NDArray[Any]) -> dict[str, float]:
    mean_sigma = float(np.mean(sigma))
    width = float((pred - true).std())
    ratio = mean_sigma / width if width > 0 else float("nan")
    return {"energy_pred_std_mean": mean_sigma, "energy_calibration_ratio": ratio}


def _bias_and_width(name: str, residual: Values) -> dict[str, float]:
    return {
        f"{name}_bias": float(residual.mean()),
        f"{name}_res_68pct": _percentile(np.abs(residual)),
    }


def _percentile(values: Values) -> float:
    return float(np.percentile(values, COVERAGE_PERCENT))


_BY_TASK: Final[Mapping[str, Callable[[Values, Values], dict[str, float]]]] = {
    "angle": _angle,
    "energy": _energy,
    "timing": _timing,
    "uvwFI": _position,
}
