"""One event of the detector, and the nets that show it."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.evaluation.display.draw import PREDICTED, TRUTH, Mark, NetContent
from xec_pipeline.evaluation.display.page import DisplayPage
from xec_pipeline.evaluation.display.scales import number, photon_scale, time_scale

Channel = Literal["npho", "time"]
CHANNELS: Final[tuple[Channel, ...]] = ("npho", "time")
Vector = tuple[float, float, float]
Values = NDArray[np.float32]

TIME_FROM_PHOTONS: Final = 100.0
"""The time of a sensor with fewer photons is not used, by networks neither."""
UNKNOWN: Final[Vector] = (np.nan, np.nan, np.nan)


@dataclass(frozen=True, kw_only=True)
class DisplayEvent:
    """An event with what is known of it; NaN, or -1 for whole numbers, where it is not.

    Attributes
    ----------
    run, event, entry
        Run number, number in the run, and number in the sample from 0.
    npho
        Photons (4760,); NaN is a dead sensor.
    time_ns
        Time after the earliest bright sensor (4760,) [ns]; NaN is not measured.
    source
        File or folder.
    is_toy
        Of the toy detector.
    energy_mev, uvw_cm
        Truth: energy, and first interaction (u, v, w).
    reco_energy_mev, reco_uvw_cm
        Conventional reconstruction of the file.
    """

    run: int
    event: int
    entry: int
    npho: Values
    time_ns: Values
    source: str
    is_toy: bool
    energy_mev: float = np.nan
    uvw_cm: Vector = UNKNOWN
    reco_energy_mev: float = np.nan
    reco_uvw_cm: Vector = UNKNOWN

    @property
    def is_dead(self) -> NDArray[np.bool_]:
        """Sensors without a count (4760,)."""
        return ~np.isfinite(self.npho)

    def usable_times_ns(self, from_photons: float = TIME_FROM_PHOTONS) -> Values:
        """Return the times of bright sensors [ns], NaN elsewhere, shape (4760,)."""
        usable = np.isfinite(self.time_ns) & (np.nan_to_num(self.npho, nan=-1) >= from_photons)
        return np.where(usable, self.time_ns, np.float32(np.nan))

    def title(self) -> str:
        """Return run, event, energy and first interaction, as far as known."""
        parts = [self.name()]
        true, reco = np.isfinite(self.energy_mev), np.isfinite(self.reco_energy_mev)
        if true or reco:
            energy = self.energy_mev if true else self.reco_energy_mev
            parts.append(f"E_{'true' if true else 'reco'} = {energy:.2f} MeV")
        known = np.isfinite(self.uvw_cm).all()
        if known or np.isfinite(self.reco_uvw_cm).all():
            point = self.uvw_cm if known else self.reco_uvw_cm
            kind = "FI" if known else "FI reco"
            parts.append(f"{kind} (u, v, w) = {vector_text(point)} cm")
        return "  |  ".join(parts)

    def name(self) -> str:
        """Return run and event, or the entry where these are not known."""
        if self.run < 0 and self.event < 0:
            return f"Entry {self.entry}"
        return f"Run {self.run}  Event {self.event}"

    def file_name(self) -> str:
        """Return the part of a file's name that says which event it shows."""
        if self.run < 0 and self.event < 0:
            return f"entry_{self.entry}"
        return f"run_{self.run}_event_{self.event}"

    def marks(self) -> tuple[Mark, ...]:
        """Return the first interaction as known from the file."""
        true = Mark(label="true first interaction", uvw_cm=self.uvw_cm, colour=TRUTH, marker="+")
        reco = Mark(
            label="reconstruction of the file", uvw_cm=self.reco_uvw_cm, colour=PREDICTED,
            marker="x",
        )  # fmt: skip
        return tuple(mark for mark in (true, reco) if mark.is_known)


def vector_text(vector: Vector) -> str:
    """Return a point in cm with two decimals."""
    return f"({', '.join(f'{value:.2f}' for value in vector)})"


def event_page(
    event: DisplayEvent,
    channels: tuple[Channel, ...] = CHANNELS,
    *,
    marks: tuple[Mark, ...] | None = None,
    further_head: tuple[str, ...] = (),
) -> DisplayPage:
    """Return the page of an event: photons above, times below.

    Parameters
    ----------
    event
        What is shown.
    channels
        Photons, times or both.
    marks
        Points instead of those that the event knows.
    further_head
        Lines below the title.
    """
    nets = event_nets(event, event.marks() if marks is None else marks)
    return DisplayPage(
        head=(event.title(), *further_head),
        rows=tuple((nets[channel],) for channel in channels),
        foot=f"{event.source}   ·   entry {event.entry}",
        is_toy=event.is_toy,
    )


def event_nets(
    event: DisplayEvent, marks: tuple[Mark, ...], time_from_photons: float = TIME_FROM_PHOTONS
) -> dict[Channel, NetContent]:
    """Return the nets of photons and of times."""
    is_dead, times = event.is_dead, event.usable_times_ns(time_from_photons)
    total = number(float(np.nansum(event.npho)))
    return {
        "npho": NetContent(
            title="Photons",
            values=event.npho,
            is_dead=is_dead,
            scale=photon_scale(event.npho),
            marks=marks,
            note=f"sum of {int((~is_dead).sum())} sensors: {total} photons",
        ),
        "time": NetContent(
            title="Time",
            values=times,
            is_dead=is_dead,
            scale=time_scale(times),
            marks=marks,
            no_value=f"below {time_from_photons:g} photons, or no time",
        ),
    }
