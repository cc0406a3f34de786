"""Sensors that a network predicted beside what was measured: five nets and their numbers."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.faces import FACE_NAMES, Face, sensors_of_face
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.display.draw import NetContent
from xec_pipeline.evaluation.display.event import Channel, DisplayEvent
from xec_pipeline.evaluation.display.page import DisplayPage, TextBlock
from xec_pipeline.evaluation.display.scales import (
    Scale,
    photon_scale,
    residual_scale,
    time_scale,
)

_HEADER: Final = (
    f"{'face':6s}{'sensors':>8s}{'dead':>6s}{'masked':>8s}{'compared':>10s}"
    f"{'mean':>11s}{'MAE':>10s}{'RMSE':>10s}"
)

Values = NDArray[np.float32]
Bools = NDArray[np.bool_]

RELATIVE_FROM_PHOTONS: Final = 100.0
"""Relative residuals are shown for sensors with at least so many true photons."""
_UNITS: Final = {"npho": "photons", "time": "ns"}
_NAMES: Final = {"npho": "photons", "time": "time"}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One event with predictions for sensors; arrays have shape (4760,).

    Attributes
    ----------
    event
        As measured.
    model
        What predicted, in words.
    is_masked
        Sensors hidden from the network although they work.
    pred_npho
        Predicted photons; NaN where there is no prediction.
    pred_time_ns
        Predicted times after the earliest bright sensor [ns]; None if not predicted.
    source
        File of the predictions.
    time_from_photons
        Times of dimmer sensors are not used.
    """

    event: DisplayEvent
    model: str
    is_masked: Bools
    pred_npho: Values | None
    pred_time_ns: Values | None
    source: str
    time_from_photons: float

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Return what was predicted."""
        given: dict[Channel, Values | None] = {"npho": self.pred_npho, "time": self.pred_time_ns}
        return tuple(channel for channel, values in given.items() if values is not None)

    def truth(self, channel: Channel) -> Values:
        """Return what was measured: photons, or usable times [ns]."""
        if channel == "npho":
            return self.event.npho
        return self.event.usable_times_ns(self.time_from_photons)

    def predicted(self, channel: Channel) -> Values:
        """Return what was predicted for masked and dead sensors; NaN elsewhere.

        A time is shown where there is a true one, or a dead sensor is predicted to be bright.

        Raises
        ------
        DataError
            If this channel was not predicted.
        """
        values = self.pred_npho if channel == "npho" else self.pred_time_ns
        if values is None:
            raise DataError(
                f"{self.source}: {channel} was not predicted, only {', '.join(self.channels)}"
            )
        shown = self.is_masked | self.event.is_dead
        if channel == "time":
            shown &= self._has_time()
        return np.where(shown, values, np.float32(np.nan))

    def _has_time(self) -> Bools:
        """Return whose time means something: usable, or of a dead sensor predicted to be bright."""
        is_bright = np.ones_like(self.is_masked)
        if self.pred_npho is not None:
            is_bright = self.pred_npho >= self.time_from_photons
        has_time: Bools = np.isfinite(self.truth("time")) | (self.event.is_dead & is_bright)
        return has_time

    def residual(self, channel: Channel, *, relative: bool = False) -> Values:
        """Return predicted - true of masked sensors; NaN where one of them is not known.

        Relative residuals are divided by the true photons, of sensors with at least 100 of them.
        """
        true = self.truth(channel)
        difference = np.where(self.is_masked, self.predicted(channel) - true, np.nan)
        if not relative or channel == "time":
            return difference.astype(np.float32)
        bright = np.where(true >= RELATIVE_FROM_PHOTONS, true, np.nan)
        ratio: Values = (difference / bright).astype(np.float32)
        return ratio


def comparison_page(
    comparison: Comparison, channel: Channel, *, relative: bool = False
) -> DisplayPage:
    """Return the page of one channel: truth, masked, predicted, residual, mask.

    Raises
    ------
    DataError
        If the channel was not predicted.
    """
    nets = _nets(comparison, channel, relative=relative)
    text = TextBlock(lines=tuple(number_lines(comparison, channel, relative=relative)))
    event = comparison.event
    origin = [comparison.source]
    if event.source != comparison.source:
        origin.append(f"event from {event.source}, entry {event.entry}")
    return DisplayPage(
        head=(event.title(), f"{comparison.model}: {_NAMES[channel]} of masked sensors"),
        rows=(nets[:3], (*nets[3:], text)),
        foot="   ·   ".join(origin),
        is_toy=event.is_toy,
    )


def _nets(comparison: Comparison, channel: Channel, *, relative: bool) -> tuple[NetContent, ...]:
    event, truth = comparison.event, comparison.truth(channel)
    masked, predicted = comparison.is_masked, comparison.predicted(channel)
    filled = np.where(np.isfinite(predicted), predicted, truth)
    residual = comparison.residual(channel, relative=relative)
    is_filled_dead = event.is_dead & np.isfinite(predicted)
    scale = photon_scale(truth) if channel == "npho" else time_scale(truth)
    if not np.isfinite(truth).any():
        scale = photon_scale(filled) if channel == "npho" else time_scale(filled)
    same = replace(scale, note="colours as for the truth")
    return (
        _net(comparison, "Truth", truth, scale, channel),
        _net(comparison, "Masked: what the network saw", truth, same, channel, hidden=masked),
        NetContent(
            title="Predicted, where masked or dead",
            values=filled,
            is_dead=event.is_dead & ~is_filled_dead,
            scale=same,
            is_framed=is_filled_dead,
            frame_meaning="dead, predicted",
            marks=event.marks(),
            no_value=_no_value(comparison, channel),
        ),
        NetContent(
            title="Residual of masked sensors",
            values=residual,
            is_dead=event.is_dead,
            scale=residual_scale(residual, _residual_label(channel, relative=relative)),
            no_value="not masked, or no truth",
            marks=event.marks(),
        ),
        NetContent(
            title="Mask",
            values=np.full_like(truth, np.nan),
            is_dead=event.is_dead,
            scale=None,
            is_masked=masked,
            no_value="seen by the network",
        ),
    )


def _net(
    comparison: Comparison,
    title: str,
    values: Values,
    scale: Scale,
    channel: Channel,
    hidden: Bools | None = None,
) -> NetContent:
    event = comparison.event
    return NetContent(
        title=title,
        values=values,
        is_dead=event.is_dead,
        scale=scale,
        is_masked=np.zeros_like(comparison.is_masked) if hidden is None else hidden,
        marks=event.marks(),
        no_value=_no_value(comparison, channel),
    )


def _no_value(comparison: Comparison, channel: Channel) -> str:
    if channel == "npho":
        return "no value"
    return f"below {comparison.time_from_photons:g} photons, or no time"


def _residual_label(channel: Channel, *, relative: bool) -> str:
    if channel == "time":
        return "predicted - true time [ns]"
    if relative:
        return f"(predicted - true) / true, from {RELATIVE_FROM_PHOTONS:g} photons"
    return "predicted - true photons"


def number_lines(comparison: Comparison, channel: Channel, *, relative: bool = False) -> list[str]:
    """Return a table of masked sensors by face: counts, and errors in photons, 1 or ns."""
    residual = comparison.residual(channel, relative=relative).astype(np.float64)
    is_dead, masked = comparison.event.is_dead, comparison.is_masked
    unit = "relative to the truth" if relative and channel == "npho" else f"in {_UNITS[channel]}"
    n_alive = int((~is_dead).sum())
    share = 100 * int(masked.sum()) / n_alive if n_alive else 0.0
    lines = [
        f"masked: {int(masked.sum())} of {n_alive} live sensors ({share:.1f} %), residuals {unit}",
        _HEADER,
    ]
    scopes = {name: sensors_of_face(face) for face, name in FACE_NAMES.items()}
    scopes = {"all": np.concatenate([sensors_of_face(face) for face in Face])} | scopes
    for name, ids in scopes.items():
        known = residual[ids][np.isfinite(residual[ids])]
        counts = f"{len(ids):8d}{int(is_dead[ids].sum()):6d}{int(masked[ids].sum()):8d}"
        lines.append(f"{name:6s}{counts}{len(known):10d}{_errors(known)}")
    return lines


def _errors(residual: NDArray[np.float64]) -> str:
    if not len(residual):
        return f"{'-':>11s}{'-':>10s}{'-':>10s}"
    mae, rmse = np.abs(residual).mean(), np.sqrt((residual**2).mean())
    return f"{residual.mean():11.4g}{mae:10.4g}{rmse:10.4g}"
