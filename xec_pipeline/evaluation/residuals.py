"""From a prediction table to residuals: predicted minus true, in internal units."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.targets import TARGETS
from xec_pipeline.detector.coordinates import opening_angle_deg, wrapped_deg
from xec_pipeline.evaluation.resolution import Values
from xec_pipeline.evaluation.tables import PredictionTable

SIGNAL_WINDOW_MEV: Final = (50.0, 55.0)
"""True energies that count as signal-like in a sample of many energies."""


def column(table: PredictionTable, name: str) -> Values:
    """Return one column as float64, shape (n_events,)."""
    return table[name].to_numpy(dtype=np.float64)


def residual(table: PredictionTable, quantity: str) -> Values:
    """Return predicted minus true `quantity`; phi is wrapped to [-180, 180) degrees."""
    difference: Values = column(table, f"pred_{quantity}") - column(table, f"true_{quantity}")
    return wrapped_deg(difference) if quantity == "phi" else difference


def opening_angle(table: PredictionTable) -> Values:
    """Return the angle between the predicted and the true direction [deg]."""
    predicted = np.stack([column(table, "pred_theta"), column(table, "pred_phi")], axis=-1)
    true = np.stack([column(table, "true_theta"), column(table, "true_phi")], axis=-1)
    return opening_angle_deg(predicted, true)


def distance(table: PredictionTable) -> Values:
    """Return the distance of the predicted from the true (u, v, w) [cm]."""
    squares = [residual(table, name) ** 2 for name in ("u", "v", "w")]
    total: Values = np.sqrt(np.sum(squares, axis=0))
    return total


def is_usable(table: PredictionTable, task: str) -> NDArray[np.bool_]:
    """Return True where truth and prediction of `task` are finite, shape (n_events,)."""
    target = TARGETS[task]
    values = table[[*target.csv_true, *target.csv_pred]].to_numpy(dtype=np.float64)
    usable: NDArray[np.bool_] = np.isfinite(values).all(axis=1)
    return usable


def usable(table: PredictionTable, task: str) -> PredictionTable:
    """Return the rows whose truth and prediction of `task` are finite."""
    kept: PredictionTable = table[is_usable(table, task)].reset_index(drop=True)
    return kept


def is_in_signal_window(table: PredictionTable) -> NDArray[np.bool_]:
    """Return True where the true energy is in the signal window, shape (n_events,)."""
    energy, (low, high) = column(table, "true_energy"), SIGNAL_WINDOW_MEV
    inside: NDArray[np.bool_] = (energy >= low) & (energy <= high)
    return inside


def in_signal_window(table: PredictionTable) -> PredictionTable:
    """Return the rows whose true energy is in the signal window."""
    kept: PredictionTable = table[is_in_signal_window(table)].reset_index(drop=True)
    return kept
