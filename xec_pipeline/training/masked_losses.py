"""How wrong predictions of hidden sensors are, for all trainings that hide sensors.

Only hidden sensors count, and a time only if it can be learnt. Means may be weighted by the light;
weights are relative within an event, or within a face of it. Training and validation use the same
functions.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from xec_pipeline.config.masked import MaskedRun
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.faces import FACE_NAMES, Face, face_of_sensor
from xec_pipeline.training.losses import ELEMENT_LOSSES, TargetUnits
from xec_pipeline.units import INVALID_ABOVE

FACES: Final = tuple(FACE_NAMES[face] for face in Face)
"""Names of the faces in the order of the last axis of face losses."""

_FEATURE_PLANES: Final = {"npho": 0, "time": 1}


def _runs_of_faces() -> tuple[list[int], list[int]]:
    """Return face codes and lengths of the runs of successive sensors on one face."""
    face = face_of_sensor().tolist()
    starts = [i for i, code in enumerate(face) if i == 0 or code != face[i - 1]]
    ends = [*starts[1:], len(face)]
    return [face[i] for i in starts], [end - i for i, end in zip(starts, ends, strict=True)]


_RUN_FACES, _RUN_LENGTHS = _runs_of_faces()


class SensorTruth(NamedTuple):
    """What is known of the sensors before any is hidden; tensors are (B, 4760) or (B, 4760, 2)."""

    x: Tensor
    """Normalized npho and time (B, 4760, 2)."""
    npho: Tensor
    """Photons; 0 for a dead sensor."""
    alive: Tensor
    """True where there is a photon count, so that the sensor can be hidden and predicted."""
    timed: Tensor
    """True where there is a time bright enough to be learnt; such a sensor is alive."""


class FeatureLoss(NamedTuple):
    """Losses of one feature, and what errors are computed from."""

    event: Tensor
    """Loss of the event (B,), without the weight of the feature."""
    faces: Tensor
    """Mean loss over the hidden sensors of each face (B, 6), 0 where there is none."""
    has_any: Tensor
    """True where there is one."""
    used: Tensor
    """True for the sensors that were counted."""
    error: Tensor
    """Predicted - true, normalized."""


def sensor_truth(
    x: Tensor, npho: Tensor, config: NormalizationConfig, threshold: float
) -> SensorTruth:
    """Return which values of an input can be learnt.

    Parameters
    ----------
    x
        Normalized input.
    npho
        Photons it was made of; NaN, infinite or above 9e9 where dead.
    config
        How it was made.
    threshold
        Smallest count [photons] of a sensor whose time is learnt.
    """
    alive = npho.abs() <= INVALID_ABOVE
    npho = torch.where(alive, npho, 0.0)
    has_time = x[..., 1] != config.sentinel_time
    return SensorTruth(x, npho, alive, alive & has_time & (npho >= threshold))


def visible_means(truth: SensorTruth, is_hidden: Tensor, features: Sequence[str]) -> Tensor:
    """Return the mean of each feature over the sensors that are not hidden, for every sensor.

    Parameters
    ----------
    truth
        The complete input.
    is_hidden
        Sensors that were hidden (B, 4760).
    features
        Which are predicted: `npho`, `time`.

    Returns
    -------
    Tensor
        Normalized (B, 4760, C); 0 where an event has no such sensor.
    """
    means = []
    for name in features:
        seen = ~is_hidden & (truth.alive if name == "npho" else truth.timed)
        values = torch.where(seen, truth.x[..., _FEATURE_PLANES[name]].float(), 0.0)
        means.append(values.sum(dim=1) / seen.sum(dim=1).clamp_min(1))
    return torch.stack(means, dim=-1)[:, None, :].expand(-1, is_hidden.shape[1], -1)


def face_sums(values: Tensor) -> Tensor:
    """Return the sum over each face's sensors (B, 6); the order of summation is fixed."""
    sums: list[Tensor | None] = [None] * len(FACES)
    for face, part in zip(_RUN_FACES, torch.split(values, _RUN_LENGTHS, dim=1), strict=True):
        total, before = part.sum(dim=1), sums[face]
        sums[face] = total if before is None else before + total
    return torch.stack([total for total in sums if total is not None], dim=1)


def quotient(sums: Tensor, weights: Tensor) -> Tensor:
    """Return means from weighted sums and weights, 0 where all weights are 0."""
    has_any = weights > 0
    return torch.where(has_any, sums / torch.where(has_any, weights, 1.0), 0.0)


class MaskedLoss(abc.ABC):
    """Losses of hidden sensors as a run configures them.

    Parameters
    ----------
    run
        Its predicted features, loss and weights.
    """

    def __init__(self, run: MaskedRun) -> None:
        self.features = run.model.predict_channels
        self._config = run.training
        self._element = ELEMENT_LOSSES[run.training.loss_fn]
        self._smallest_npho = max(run.time_threshold, 1.0)
        self._weights: dict[str, float] = {
            "npho": run.training.npho_weight,
            "time": run.training.time.weight,
        }

    def feature_losses(
        self, prediction: Tensor, truth: SensorTruth, is_hidden: Tensor
    ) -> dict[str, FeatureLoss]:
        """Return the losses of every predicted feature, in float32 and without their weights.

        Parameters
        ----------
        prediction
            Normalized predictions (B, 4760, C).
        truth
            The complete input.
        is_hidden
            Sensors that were hidden; only they count.
        """
        losses: dict[str, FeatureLoss] = {}
        for position, name in enumerate(self.features):
            used = is_hidden & (truth.alive if name == "npho" else truth.timed)
            predicted = prediction[..., position].float()
            true = truth.x[..., _FEATURE_PLANES[name]].float()
            units = TargetUnits(true.new_zeros(()), true.new_ones(()))
            loss = self._element(predicted, true, self._config.loss_beta, units)
            weight = torch.where(used, self._sensor_weights(name, truth.npho), 0.0)
            sums, weights = face_sums(loss * weight), face_sums(weight)
            losses[name] = FeatureLoss(
                event=self._of_event(sums, weights),
                faces=quotient(sums, weights),
                has_any=face_sums(used.float()) > 0,
                used=used,
                error=(predicted - true).detach(),
            )
        return losses

    def event_losses(self, losses: Mapping[str, FeatureLoss]) -> Tensor:
        """Return the objective of each event (B,) from what `feature_losses` returned."""
        parts = [self._weights[name] * loss.event for name, loss in losses.items()]
        return torch.stack(parts).sum(dim=0)

    @abc.abstractmethod
    def _of_event(self, sums: Tensor, weights: Tensor) -> Tensor:
        """Return the loss of each event (B,) from the faces' weighted sums and weights (B, 6)."""

    def _sensor_weights(self, name: str, npho: Tensor) -> Tensor:
        """Return the relative weights of sensors (B, S)."""
        if name == "npho" and self._config.npho_loss_weight.enabled:
            return (npho.clamp_min(1.0) + 1.0) ** self._config.npho_loss_weight.alpha
        if name == "time" and self._config.time.use_npho_weight:
            return npho.clamp_min(self._smallest_npho).sqrt()
        return torch.ones_like(npho)
