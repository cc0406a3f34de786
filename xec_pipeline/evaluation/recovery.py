"""Hide sensors of events whose truth is known, and recover them with a network and without.

Three ways to hide: a pattern of dead sensors on simulated events; a few live sensors of each event
in data that have dead ones; the one sensor in front of the first interaction. Network and baselines
recover the same sensors from the same others.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xec_pipeline.data.dataset import Batch, EventBatches
from xec_pipeline.data.identity import event_identity
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.evaluation.inpainter_network import InpainterNetwork
from xec_pipeline.evaluation.masked_rows import ARTIFICIAL, DEAD, MaskedRows
from xec_pipeline.evaluation.sensor_front import mask_of, sensor_in_front
from xec_pipeline.models.input_norm import forward_npho, npho_minimum
from xec_pipeline.models.masking import FIXED_DRAW, SensorMasks
from xec_pipeline.reconstruction.inpainting.baselines import Baseline

IDENTITY: Final = ("run", "event")

MeanPhotons = Callable[
    [NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]
]
"""Run, event and sensor numbers (N,) to mean counts [photons] (N,)."""


@dataclass(frozen=True, kw_only=True)
class Hidden:
    """Which sensors of a batch are recovered, all (B, 4760).

    Attributes
    ----------
    is_masked
        To recover.
    is_dead
        Of these, those without a truth.
    """

    is_masked: Tensor
    is_dead: Tensor


class Hides(Protocol):
    """A way to hide sensors."""

    def __call__(self, batch: Batch) -> Hidden:
        """Return what is hidden of a batch."""


class DeadOfRuns:
    """Dead sensors of the events of a batch, as the run of each has them.

    Parameters
    ----------
    of_run
        Gives the dead sensors (4760,) of a run number; it is asked once for each run.
    """

    def __init__(self, of_run: Callable[[int], NDArray[np.bool_]]) -> None:
        self._of_run = functools.cache(of_run)

    def __call__(self, batch: Batch) -> Tensor:
        """Return which sensors are dead (B, 4760)."""
        runs = batch.targets["run"].cpu().numpy()
        masks = np.stack([self._of_run(int(run)) for run in runs])
        return torch.as_tensor(masks).to(batch.npho_BS.device)


class HidePattern:
    """The dead sensors of a run, or the same sensors in every event, of simulated events."""

    def __init__(self, is_dead: DeadOfRuns) -> None:
        self._is_dead = is_dead

    def __call__(self, batch: Batch) -> Hidden:
        """Return the pattern; a sensor that had no count before has no truth."""
        is_masked = self._is_dead(batch)
        return Hidden(is_masked=is_masked, is_dead=is_masked & ~torch.isfinite(batch.npho_BS))


class HideSome:
    """A few live sensors of each event, beside those that are dead.

    Parameters
    ----------
    masks
        Draws them.
    is_dead
        Sensors that are dead in the event's run, also where the event holds a count.
    """

    def __init__(self, masks: SensorMasks, is_dead: DeadOfRuns) -> None:
        self._masks, self._is_dead = masks, is_dead

    def __call__(self, batch: Batch) -> Hidden:
        """Return the dead sensors and those drawn among the others."""
        is_dead = ~torch.isfinite(batch.npho_BS) | self._is_dead(batch)
        run, event = (batch.targets[name] for name in IDENTITY)
        drawn = self._masks.draw(FIXED_DRAW, run, event, batch.npho_BS, ~is_dead)
        return Hidden(is_masked=drawn | is_dead, is_dead=is_dead)


class HideInFront:
    """The sensor in front of the first interaction, where there is one.

    Parameters
    ----------
    uvw_cm
        True first interactions of all events of the shards (n_events, 3).
    geometry
        Sensor positions.
    """

    def __init__(self, uvw_cm: NDArray[np.floating], geometry: Geometry) -> None:
        self.sensor = sensor_in_front(uvw_cm, geometry)

    @property
    def events(self) -> NDArray[np.int64]:
        """Numbers of the events that have such a sensor."""
        return np.flatnonzero(self.sensor >= 0)

    def __call__(self, batch: Batch) -> Hidden:
        """Return the sensor of each event; a dead one has no truth and is left out."""
        found = mask_of(self.sensor[batch.index_B.numpy()])
        is_masked = torch.as_tensor(found).to(batch.npho_BS.device) & torch.isfinite(batch.npho_BS)
        return Hidden(is_masked=is_masked, is_dead=torch.zeros_like(is_masked))


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Events, what is hidden of them, and who recovers it.

    Attributes
    ----------
    network
        The inpainter.
    shards, events
        Events, and the numbers of those in use.
    hide
        What is hidden.
    baselines
        Methods without a network.
    mean_photons
        Gives the mean counts of a simulation; None if they are not known.
    depth_cm
        Depths of the first interactions (n_events,), to be kept in the table; None to leave out.
    """

    network: InpainterNetwork
    shards: ShardSet
    events: NDArray[np.int64]
    hide: Hides
    baselines: Sequence[Baseline] = ()
    mean_photons: MeanPhotons | None = None
    depth_cm: NDArray[np.floating] | None = None

    def blocks(self, batch_size: int) -> Iterator[MaskedRows]:
        """Yield the recovered sensors, batch by batch, in the order of the files."""
        batches = EventBatches(
            self.shards,
            event_identity(self.shards),
            events=self.events,
            batch_size=batch_size,
            device=self.network.device,
        )
        for batch in batches.epoch(shuffle=False):
            yield self._rows(batch)

    def _rows(self, batch: Batch) -> MaskedRows:
        hidden = self.hide(batch)
        place = hidden.is_masked.nonzero(as_tuple=True)
        event, sensor = (axis.cpu().numpy() for axis in place)
        run, number = (batch.targets[name].cpu().numpy()[event] for name in IDENTITY)
        true = _true_values(batch, hidden, place, self.network)
        pred = _numpy(
            self.network.predict(batch.npho_BS, batch.time_ns_BS, hidden.is_masked)[place]
        )
        rows = {f"pred_{name}": pred[:, i] for i, name in enumerate(self.network.features)}
        if self.mean_photons is not None:
            rows["mean_photons"] = self.mean_photons(run, number, sensor)
        if self.depth_cm is not None:
            rows["w_fip"] = self.depth_cm[batch.index_B.numpy()][event]
        return MaskedRows(
            event_idx=batch.index_B.numpy()[event],
            run_number=run,
            event_number=number,
            sensor_id=sensor,
            mask_type=np.where(hidden.is_dead[place].cpu().numpy(), DEAD, ARTIFICIAL),
            baselines=self._baseline_rows(batch, hidden, place),
            **true,
            **rows,
        )

    def _baseline_rows(
        self, batch: Batch, hidden: Hidden, place: tuple[Tensor, ...]
    ) -> Mapping[str, NDArray[np.float32]]:
        npho, is_masked = _numpy(batch.npho_BS), hidden.is_masked.cpu().numpy()
        where = tuple(axis.cpu().numpy() for axis in place)
        found = {each.name: each.predict(npho, is_masked)[where] for each in self.baselines}
        return {name: self._normalized(photons) for name, photons in found.items()}

    def _normalized(self, photons: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return normalized counts; what is below the scheme's domain becomes its smallest."""
        scheme = self.network.run.normalization
        in_domain = torch.as_tensor(photons).clamp_min(npho_minimum(scheme))
        return _numpy(forward_npho(scheme, in_domain))


def _true_values(
    batch: Batch, hidden: Hidden, place: tuple[Tensor, ...], network: InpainterNetwork
) -> dict[str, NDArray[np.float32]]:
    """Return the truth of the hidden sensors, NaN for dead ones and unusable times."""
    nothing = torch.full((), float("nan"))
    is_dead = hidden.is_dead[place]
    x = network.normalized(batch.npho_BS, batch.time_ns_BS)[place]
    true = {
        "truth_npho": torch.where(is_dead, nothing, x[:, 0]),
        "truth_photons": torch.where(is_dead, nothing, batch.npho_BS[place]),
    }
    if "time" in network.features:
        is_timed = ~is_dead & (x[:, 1] != network.run.normalization.sentinel_time)
        true["truth_time"] = torch.where(is_timed, x[:, 1], nothing)
    return {name: _numpy(values) for name, values in true.items()}


def _numpy(values: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = values.float().cpu().numpy()
    return found
