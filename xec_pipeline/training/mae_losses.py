"""The objective of a masked autoencoder: how wrong the predictions of hidden sensors are.

The loss of an event is the sum over features and faces of the mean over the hidden sensors of the
face, so that 73 sensors on top count as much as 4092 inside. A mean may be weighted, within the
event and the face; a face without a usable hidden sensor contributes nothing. Training and
validation use the same functions.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import torch
from torch import Tensor

from xec_pipeline.config.mae import MaeRun
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


def face_sums(values: Tensor) -> Tensor:
    """Return the sum over each face's sensors (B, 6); the order of summation is fixed."""
    sums: list[Tensor | None] = [None] * len(FACES)
    for face, part in zip(_RUN_FACES, torch.split(values, _RUN_LENGTHS, dim=1), strict=True):
        total, before = part.sum(dim=1), sums[face]
        sums[face] = total if before is None else before + total
    return torch.stack([total for total in sums if total is not None], dim=1)


def face_means(loss: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean over each face's sensors (B, 6), 0 where all weights are 0."""
    weights = face_sums(weight)
    has_any = weights > 0
    sums = face_sums(loss * weight)
    return torch.where(has_any, sums / torch.where(has_any, weights, 1.0), 0.0)


class MaeLoss:
    """Losses of hidden sensors as a run configures them.

    Parameters
    ----------
    run
        Its predicted features, loss and weights.
    """

    def __init__(self, run: MaeRun) -> None:
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
            losses[name] = FeatureLoss(
                faces=face_means(loss, weight),
                has_any=face_sums(used.float()) > 0,
                used=used,
                error=(predicted - true).detach(),
            )
        return losses

    def event_losses(
        self, losses: Mapping[str, FeatureLoss], log_variances: Tensor | None
    ) -> Tensor:
        """Return the objective of each event (B,).

        Parameters
        ----------
        losses
            What `feature_losses` returned.
        log_variances
            Learned s (C,) in the order of the features, or None for the configured weights. A
            face's loss L then counts as (exp(-s) L + s) / 2, if it has a sensor: the likelihood of
            errors with variance exp(s) (Kendall, Gal and Cipolla, arXiv:1705.07115, eq. 7).
        """
        parts = []
        for position, (name, loss) in enumerate(losses.items()):
            total = loss.faces.sum(dim=1)
            if log_variances is None:
                parts.append(self._weights[name] * total)
            else:
                s = log_variances[position].float()
                parts.append(0.5 * (torch.exp(-s) * total + s * loss.has_any.sum(dim=1)))
        return torch.stack(parts).sum(dim=0)

    def _sensor_weights(self, name: str, npho: Tensor) -> Tensor:
        """Return the relative weights of sensors within an event and face (B, S)."""
        if name == "npho" and self._config.npho_loss_weight.enabled:
            return (npho.clamp_min(1.0) + 1.0) ** self._config.npho_loss_weight.alpha
        if name == "time" and self._config.time.use_npho_weight:
            return npho.clamp_min(self._smallest_npho).sqrt()
        return torch.ones_like(npho)
