"""The one service that says which sensors are hidden, for models, other methods and validation.

The mask of an event depends on a seed, a draw (the epoch, or `FIXED_DRAW`), its run and its event
number. It does not depend on the other events of the batch, on the rank or on the device, so that
validation losses compare between epochs, and trainings with any number of ranks see the same masks.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xec_pipeline.config.inpainter import FaceRatios, InpainterModelConfig, InpainterRun
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.detector.dead_channels import BOARD_SENSORS, N_BOARDS
from xec_pipeline.detector.faces import FACE_NAMES, sensors_of_face
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import ConfigError, did_you_mean
from xec_pipeline.models.event_noise import (
    event_keys,
    hide_first,
    npho_bins,
    places_in_turn,
    sensor_noise,
    share_of,
)

FIXED_DRAW: Final = 0
"""Draw of masks that never change; epochs count from 1."""

_TIE_SEED: Final = 1
"""Added to the seed for a second, independent set of random numbers."""
_BIN_OF_DEAD: Final = -1
"""They must not take turns among the live sensors of a bin."""


class Quota(NamedTuple):
    """How many of some sensors are hidden.

    Attributes
    ----------
    sensors
        Their numbers; None for all.
    ratio
        This fraction of the live ones, rounded down.
    number
        Instead: so many of the live ones, or all if there are fewer.
    """

    sensors: NDArray[np.int64] | None = None
    ratio: float = 0.0
    number: int | None = None

    def hidden(self, place_BS: Tensor, alive_BS: Tensor) -> Tensor:
        """Return the sensors to hide (B, S), those with the smallest places, of its own sensors."""
        count_B = (
            share_of(alive_BS, self.ratio)
            if self.number is None
            else torch.full(alive_BS.shape[:1], self.number, device=alive_BS.device)
        )
        return hide_first(place_BS, alive_BS, count_B)


class Favour(NamedTuple):
    """Sensors that are hidden more readily, with the number of hidden ones unchanged.

    Attributes
    ----------
    factor
        What divides their random number; 1 for none.
    npho
        They have at least so many photons.
    """

    factor: float = 1.0
    npho: float = 0.0


class SensorMasks:
    """Hides sensors of events; see `from_run`, `artificial` and `pattern`.

    A mask is a function of the seed, the draw, and the event's run, number and live sensors with
    their photons. It never holds a dead sensor, and whether a sensor has a time plays no part.

    Parameters
    ----------
    quotas
        How many sensors of which groups; the groups do not overlap.
    seed
        Root of all masks.
    is_flat
        Hide as many sensors of one bin of ln(npho) as of any other, as far as each group has them.
    favour
        Sensors to hide more readily, if `is_flat` does not decide.
    n_boards
        Whole electronics boards of the inner face among the hidden sensors of each event.
    """

    def __init__(
        self,
        quotas: tuple[Quota, ...],
        seed: int,
        *,
        is_flat: bool = False,
        favour: Favour = Favour(),  # noqa: B008 - immutable
        n_boards: int = 0,
    ) -> None:
        self._quotas, self._seed = quotas, seed
        self._is_flat, self._favour, self._n_boards = is_flat, favour, n_boards

    @classmethod
    def from_run(cls, run: MaeRun | InpainterRun) -> "SensorMasks":
        """Return the masks of a training.

        Raises
        ------
        ConfigError
            If a face's ratio is above zero and yet would hide none of its sensors.
        """
        ratio = run.model.mask_ratio
        by_face = ratio.model_dump() if isinstance(ratio, FaceRatios) else {}
        quotas = (
            tuple(Quota(_sensors(face), ratio=value) for face, value in by_face.items() if value)
            if isinstance(ratio, FaceRatios)
            else (Quota(ratio=ratio),)
        )
        for quota in quotas:
            n_sensors = N_SENSORS if quota.sensors is None else len(quota.sensors)
            if not int(share_of(torch.ones(1, n_sensors, dtype=torch.bool), quota.ratio)):
                raise ConfigError(
                    f"model.mask_ratio: {quota.ratio} of {n_sensors} sensors is less than one; "
                    f"give at least {1 / n_sensors:.4f}, or 0 for none"
                )
        return cls(
            quotas,
            run.training.seed,
            is_flat=isinstance(run, InpainterRun) and run.model.mask_npho_flat,
            favour=Favour(run.training.time.mask_ratio_scale, run.time_threshold),
            n_boards=_boards_of(run),
        )

    @classmethod
    def artificial(cls, counts: Mapping[str, int], seed: int) -> "SensorMasks":
        """Return masks with so many live sensors of each face; faces left out have none.

        Raises
        ------
        ConfigError
            If there is no face of such a name.
        """
        return cls(tuple(Quota(_sensors(face), number=n) for face, n in counts.items()), seed)

    @classmethod
    def pattern(cls, is_dead: NDArray[np.bool_]) -> "SensorMasks":
        """Return the same mask for all events, (4760,), without an event's own dead sensors."""
        sensors = np.flatnonzero(is_dead).astype(np.int64)
        return cls((Quota(sensors, number=len(sensors)),), seed=0)

    def draw(
        self, draw: int, run_B: Tensor, event_B: Tensor, npho_BS: Tensor, alive_BS: Tensor
    ) -> Tensor:
        """Return the hidden sensors (B, 4760), boolean.

        Parameters
        ----------
        draw
            Epoch from 1, or `FIXED_DRAW`.
        run_B, event_B
            Identity of the events, integers.
        npho_BS
            Photons (B, 4760); arbitrary where dead.
        alive_BS
            Boolean (B, 4760): sensors that have a photon count.
        """
        noise_BS = _noise(self._seed, draw, run_B, event_B)
        hidden_BS = torch.zeros_like(alive_BS)
        if self._is_flat:
            tie_BS = _noise(self._seed + _TIE_SEED, draw, run_B, event_B)
            bin_BS = npho_bins(npho_BS).masked_fill(~alive_BS, _BIN_OF_DEAD)
            for quota, own in self._groups(alive_BS.device):
                place_BS = places_in_turn(bin_BS[:, own], noise_BS[:, own], tie_BS[:, own])
                hidden_BS[:, own] = quota.hidden(place_BS, alive_BS[:, own])
            return hidden_BS
        if self._favour.factor != 1.0:
            is_favoured_BS = npho_BS >= self._favour.npho
            noise_BS = torch.where(is_favoured_BS, noise_BS / self._favour.factor, noise_BS)
        if self._n_boards:
            tie_BS = _noise(self._seed + _TIE_SEED, draw, run_B, event_B)
            noise_BS = torch.where(self._on_boards(tie_BS), noise_BS - 1.0, noise_BS)
        for quota, own in self._groups(alive_BS.device):
            hidden_BS[:, own] = quota.hidden(noise_BS[:, own], alive_BS[:, own])
        return hidden_BS

    def _on_boards(self, noise_BS: Tensor) -> Tensor:
        """Return the sensors of the boards that fail (B, 4760), those with the smallest noise."""
        chosen_BN = noise_BS[:, :N_BOARDS].argsort(dim=1, stable=True)[:, : self._n_boards]
        is_chosen_BN = torch.zeros_like(noise_BS[:, :N_BOARDS], dtype=torch.bool)
        is_chosen_BN.scatter_(1, chosen_BN, value=True)
        inner_BS = is_chosen_BN.repeat_interleave(BOARD_SENSORS, dim=1)
        return nn.functional.pad(inner_BS, (0, N_SENSORS - inner_BS.shape[1]))

    def draw_numpy(
        self,
        draw: int,
        run_B: NDArray[np.integer[Any]],
        event_B: NDArray[np.integer[Any]],
        npho_BS: NDArray[np.floating[Any]],
        alive_BS: NDArray[np.bool_],
    ) -> NDArray[np.bool_]:
        """Return what `draw` returns, of arrays: the same sensors."""
        identity = (torch.from_numpy(np.asarray(each, np.int64)) for each in (run_B, event_B))
        light = (torch.from_numpy(np.ascontiguousarray(each)) for each in (npho_BS, alive_BS))
        hidden: NDArray[np.bool_] = self.draw(draw, *identity, *light).numpy()
        return hidden

    def _groups(self, device: torch.device) -> Iterator[tuple[Quota, Tensor | slice]]:
        """Go through the quotas with the columns of their sensors."""
        for quota in self._quotas:
            if quota.sensors is None:
                yield quota, slice(None)
            else:
                yield quota, torch.as_tensor(quota.sensors, device=device)


def _boards_of(run: MaeRun | InpainterRun) -> int:
    """Return how many boards fail among the hidden sensors of an event, rounded to whole ones."""
    model = run.model
    if not isinstance(model, InpainterModelConfig) or isinstance(model.mask_ratio, FaceRatios):
        return 0
    return round(model.mask_boards * model.mask_ratio * N_SENSORS / BOARD_SENSORS)


def _noise(seed: int, draw: int, run_B: Tensor, event_B: Tensor) -> Tensor:
    return sensor_noise(event_keys(seed, draw, run_B, event_B), N_SENSORS)


def _sensors(face_name: str) -> NDArray[np.int64]:
    codes = {name: face for face, name in FACE_NAMES.items()}
    if face_name not in codes:
        raise ConfigError(
            f"unknown face '{face_name}'{did_you_mean(face_name, list(codes))}; "
            f"known: {', '.join(codes)}"
        )
    return sensors_of_face(codes[face_name]).copy()
