"""How photon counts and times become network inputs."""

from typing import Literal

from pydantic import Field

from xec_pipeline.config.section import Section

NphoScheme = Literal["log1p", "anscombe", "sqrt", "linear"]


class NormalizationConfig(Section):
    """y_npho = forward(npho); y_time = t / time_scale - time_shift; sentinels where invalid."""

    npho_scheme: NphoScheme = "log1p"
    """log1p ln(1 + n/s)/s2, anscombe sqrt(n + 3/8)/sqrt(s + 3/8), sqrt sqrt(n/s), linear n/s."""
    npho_scale: float = Field(default=1000.0, gt=0)
    """s [photons]."""
    npho_scale2: float = Field(default=4.08, gt=0)
    """s2 of log1p."""
    time_scale: float = Field(default=1.14e-7, gt=0)
    """Time unit of the network [s]."""
    time_shift: float = -0.46
    """Subtracted after the division; a negative value adds."""
    sentinel_time: float = -1.0
    """Fill value of an unusable time."""
    sentinel_npho: float = -1.0
    """Fill value of a dead sensor."""
    npho_threshold: float = 100.0
    """Smallest photon count whose time is used [photons]."""
