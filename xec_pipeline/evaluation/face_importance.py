"""How much each face of the detector counts for a regressor: its weights, and a permutation test.

The first linear layer of a head reads all tokens of the encoder side by side; the mean of |weight|
over a token's columns is what the contract calls the feature importance. It depends on how large
the numbers in a token are. The permutation test does not: what a face shows is exchanged between
events, and the resolution that is lost says what the face was worth, given all others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from xec_pipeline.data.dataset import Batch
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.data.targets import TARGETS
from xec_pipeline.detector.coordinates import wrapped_deg
from xec_pipeline.detector.faces import FACE_NAMES, Face, sensors_of_face
from xec_pipeline.evaluation.networks import Predictor
from xec_pipeline.evaluation.resolution import COVERAGE, Estimate, half_width_68
from xec_pipeline.models.regressor import Regressor
from xec_pipeline.training.stages.regressor_events import RegressorEvents

Values = NDArray[np.float64]
Residuals = dict[str, Values]

N_EVENTS: Final = 1000
"""Events of the permutation test."""
_N_RESAMPLES: Final = 200
_MIN_FOR_ERROR: Final = 5
_TAIL: Final = (1 - COVERAGE) / 2
_LARGEST_BATCH: Final = 256
_ESTIMATOR: Final = "68 % half width after shuffling / before - 1"


@dataclass(frozen=True, kw_only=True)
class Permutation:
    """Loss of resolution when a face is exchanged between events.

    Attributes
    ----------
    n_events, seed
        Events used, and seed of their choice, their exchange and the bootstrap.
    half_width
        68 % half width with all faces intact by quantity, in internal units.
    increase
        By face, then by quantity: half width after / before - 1; the uncertainty is that of the
        same events drawn anew for both.
    """

    n_events: int
    seed: int
    half_width: Mapping[str, Estimate]
    increase: Mapping[str, Mapping[str, Estimate]]


def token_weights(regressor: Regressor) -> dict[str, dict[str, float]]:
    """Return the mean |weight| of the first linear layer by head, then by token of the encoder.

    Tokens have the names of the encoder: the faces (outer_coarse and outer_center where it splits
    the outer face), and what else it derives, such as window, moments or estimates.
    """
    encoder = regressor.backbone
    found = {}
    for task, head in regressor.heads.items():
        first = next(layer for layer in head.modules() if isinstance(layer, torch.nn.Linear))
        by_token = first.weight.detach().double().abs().reshape(-1, encoder.n_tokens, encoder.width)
        means = by_token.mean(dim=(0, 2)).cpu().tolist()
        found[task] = dict(zip(encoder.token_names, means, strict=True))
    return found


def permute_faces(
    predictor: Predictor,
    events: RegressorEvents,
    *,
    n_events: int = N_EVENTS,
    seed: int = 0,
    device: torch.device,
    on_progress: Callable[[int], object] | None = None,
) -> Permutation:
    """Exchange one face after the other between events and measure the half widths.

    Photons and times of the face's sensors, dead ones too, go from each event to another one, so
    that every event gets a foreign face that by itself is a possible one.

    Parameters
    ----------
    predictor
        Network on `device`.
    events
        Sample with targets.
    n_events
        So many of them are chosen at random; all if there are fewer.
    seed
        Of choice, exchange and bootstrap.
    device
        Where the network computes.
    on_progress
        Told the number of predictions made.
    """
    rng = np.random.default_rng(seed)
    count = min(n_events, len(events.chosen))
    rows = np.sort(rng.choice(events.chosen, count, replace=False))
    donors = _donors(count, rng)
    predict = _Predict(predictor, events, rows, device, on_progress)
    intact = predict.residuals()
    increase = {}
    for face, name in FACE_NAMES.items():
        shuffled = predict.residuals(face, donors)
        increase[name] = {
            quantity: _increase(intact[quantity], shuffled[quantity], seed) for quantity in intact
        }
    widths = {name: half_width_68(values) for name, values in intact.items()}
    return Permutation(n_events=count, seed=seed, half_width=widths, increase=increase)


def _donors(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return from which event each takes the face: a random cycle, so never its own."""
    order = rng.permutation(count)
    donors = np.empty(count, dtype=np.int64)
    donors[order] = np.roll(order, 1)
    return donors


class _Predict:
    """Predicts the same events again and again, with one face exchanged."""

    def __init__(
        self,
        predictor: Predictor,
        events: RegressorEvents,
        rows: NDArray[np.int64],
        device: torch.device,
        on_progress: Callable[[int], object] | None,
    ) -> None:
        self._predictor, self._rows, self._device = predictor, rows, device
        self._shards: ShardSet = events.shards
        self._targets = {task: values[rows] for task, values in events.targets.items()}
        self._on_progress, self._n_done = on_progress, 0

    def residuals(
        self, face: Face | None = None, donors: NDArray[np.int64] | None = None
    ) -> Residuals:
        """Return predicted - true by quantity, NaN without truth; `face` comes from `donors`."""
        parts: list[Mapping[str, NDArray[Any]]] = []
        for first in range(0, len(self._rows), _LARGEST_BATCH):
            own = np.arange(first, min(first + _LARGEST_BATCH, len(self._rows)))
            npho, time_ns = self._sensors(own)
            if face is not None and donors is not None:
                ids = sensors_of_face(face)
                foreign_npho, foreign_time = self._sensors(donors[own])
                npho[:, ids], time_ns[:, ids] = foreign_npho[:, ids], foreign_time[:, ids]
            parts.append(self._predictor(self._batch(own, npho, time_ns)))
            self._n_done += len(own)
            if self._on_progress is not None:
                self._on_progress(self._n_done)
        predicted = {task: np.concatenate([part[task] for part in parts]) for task in self._targets}
        return self._compared(predicted)

    def _sensors(self, own: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        rows = self._rows[own]
        return self._shards.npho(rows), self._shards.times_ns(rows)

    def _batch(self, own: NDArray[np.int64], npho: NDArray[Any], time_ns: NDArray[Any]) -> Batch:
        return Batch(
            npho_BS=torch.from_numpy(npho).to(self._device),
            time_ns_BS=torch.from_numpy(time_ns).to(self._device),
            index_B=torch.from_numpy(self._rows[own]),
            n_total=len(own),
        )

    def _compared(self, predicted: Mapping[str, NDArray[Any]]) -> Residuals:
        found: Residuals = {}
        for task, true in self._targets.items():
            difference = predicted[task].astype(np.float64) - true
            for quantity, values in zip(TARGETS[task].columns, difference.T, strict=True):
                found[quantity] = wrapped_deg(values) if quantity == "phi" else values
        return found


def _increase(intact: Values, shuffled: Values, seed: int) -> Estimate:
    """Return by how much the half width grows, from events that have both residuals."""
    known = np.isfinite(intact) & np.isfinite(shuffled)
    pairs, n = np.stack([intact, shuffled])[:, known], int(known.sum())
    value = error = np.nan
    if n > 1 and (before := _half_width(pairs[0])) > 0:
        value = float(_half_width(pairs[1]) / before - 1)
    if n >= _MIN_FOR_ERROR and np.isfinite(value):
        drawn = pairs[:, np.random.default_rng(seed).integers(0, n, (_N_RESAMPLES, n))]
        before, after = _half_width(drawn)
        error = float((after[before > 0] / before[before > 0]).std(ddof=1))
    return Estimate(value=value, error=error, n=n, estimator=_ESTIMATOR)


def _half_width(values: Values) -> Values:
    """Return the 68 % half widths along the last axis."""
    low, high = np.quantile(values, (_TAIL, 1 - _TAIL), axis=-1)
    half: Values = np.asarray(high - low) / 2
    return half
