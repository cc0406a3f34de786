"""What is logged of hidden sensors: sums over events and sensors, divided once at the end."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.masked_losses import FACES, FeatureLoss, SensorTruth


class MaskedSums:
    """Running sums on one rank, in float64; they stay on the device until asked for.

    Parameters
    ----------
    features
        What is predicted.
    device
        Where the batches are.
    """

    def __init__(self, features: Sequence[str], device: torch.device) -> None:
        self._features = tuple(features)
        names = ["events", "total", "hidden", "alive"]
        for feature in features:
            names += [f"{feature}/{face}" for face in FACES]
            names += [f"{feature}/{face}/weight" for face in FACES]
            names += [f"{feature}/{kind}" for kind in ("loss", "sensors", "absolute", "squared")]
        self._names = names
        self._values = torch.zeros(len(names), dtype=torch.float64, device=device)

    @classmethod
    def restored(
        cls, sums: Mapping[str, float], features: Sequence[str], device: torch.device
    ) -> "MaskedSums":
        """Return sums that begin with those of `MaskedTotals.sums`; at zero if one is missing."""
        made = cls(features, device)
        if sums.keys() >= set(made._names):
            made._values += torch.tensor(
                [sums[name] for name in made._names], dtype=torch.float64, device=device
            )
        return made

    def add(
        self,
        event_loss: Tensor,
        weight: Tensor,
        losses: Mapping[str, FeatureLoss],
        truth: SensorTruth,
        is_hidden: Tensor,
    ) -> None:
        """Add the events of a batch.

        Parameters
        ----------
        event_loss
            Objective of each event, weighted.
        weight
            Weights of the events.
        losses
            Losses of each feature, not weighted.
        truth
            Says which sensors are alive.
        is_hidden
            Which of them were hidden.
        """
        parts = [
            weight.new_full((1,), len(event_loss)),
            event_loss.sum(dtype=torch.float64)[None],
            is_hidden.sum()[None],
            truth.alive.sum()[None],
        ]
        for feature in self._features:
            loss = losses[feature]
            error = torch.where(loss.used, loss.error, 0.0)
            parts.append((weight[:, None] * loss.faces).sum(dim=0, dtype=torch.float64))
            parts.append((weight[:, None] * loss.has_any).sum(dim=0, dtype=torch.float64))
            parts.append((weight * loss.event).sum(dtype=torch.float64)[None])
            parts.append(loss.used.sum()[None])
            parts.append(error.abs().sum(dtype=torch.float64)[None])
            parts.append(error.square().sum(dtype=torch.float64)[None])
        self._values += torch.cat([part.detach().double() for part in parts])

    def over_ranks(self, dist: DistContext) -> "MaskedTotals":
        """Return the sums over all ranks; every rank must call it."""
        named = dict(zip(self._names, self._values.tolist(), strict=True))
        return MaskedTotals(self._features, dist.sum_over_ranks(named))


class MaskedTotals:
    """Sums over all ranks, as metrics.

    Attributes
    ----------
    sums
        By name.
    n_events
        Events that were added.
    """

    def __init__(self, features: Sequence[str], sums: Mapping[str, float]) -> None:
        self._features = tuple(features)
        self.sums = sums
        self.n_events = int(sums["events"])

    @property
    def loss(self) -> float:
        """Mean objective of an event."""
        return self.sums["total"] / self.n_events

    def losses(self, prefix: str) -> dict[str, float]:
        """Return the mean losses of an event, and how many sensors were hidden.

        Parameters
        ----------
        prefix
            `train/` or `val/`.

        Returns
        -------
        dict
            `total_loss` with all weights; `npho_loss` and `time_loss` (also as `loss_npho` and
            `loss_time`) without the weights of the features; `actual_mask_ratio`, of live sensors;
            `n_masked_total`, over all events.
        """
        metrics = {f"{prefix}total_loss": self.loss}
        for feature in self._features:
            loss = self.sums[f"{feature}/loss"] / self.n_events
            metrics |= {f"{prefix}{feature}_loss": loss, f"{prefix}loss_{feature}": loss}
        hidden, alive = self.sums["hidden"], self.sums["alive"]
        metrics[f"{prefix}actual_mask_ratio"] = hidden / alive if alive else 0.0
        metrics[f"{prefix}n_masked_total"] = hidden
        return metrics

    def face_losses(self, prefix: str, *, of_all_events: bool) -> dict[str, float]:
        """Return `loss_{face}_{feature}`, the mean losses of the faces.

        Parameters
        ----------
        prefix
            `train/` or `val/`.
        of_all_events
            Mean over all events, with 0 where a face has no hidden sensor; else over the events
            where it has one, and a face that never has is left out.
        """
        metrics = {}
        for feature in self._features:
            for face in FACES:
                total = self.sums[f"{feature}/{face}"]
                over = self.n_events if of_all_events else self.sums[f"{feature}/{face}/weight"]
                if over:
                    metrics[f"{prefix}loss_{face}_{feature}"] = total / over
        return metrics

    def errors(self, prefix: str) -> dict[str, float]:
        """Return mean absolute and root-mean-square errors of hidden sensors, normalized.

        A feature that no hidden sensor has is left out.
        """
        metrics = {}
        for feature in self._features:
            count = self.sums[f"{feature}/sensors"]
            if count:
                mean_square = self.sums[f"{feature}/squared"] / count
                metrics[f"{prefix}mae_{feature}"] = self.sums[f"{feature}/absolute"] / count
                metrics[f"{prefix}rmse_{feature}"] = mean_square**0.5
        return metrics
