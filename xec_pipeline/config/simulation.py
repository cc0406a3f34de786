"""The toy detector: every number that decides what its events look like.

Model in one line: photon -> conversion -> three light points -> light on each sensor -> charge
and time. Each random step has a written probability density, so the resolution limit of an event
can be calculated.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from xec_pipeline.config.section import Section
from xec_pipeline.errors import ConfigError, did_you_mean

PresetName = Literal["meg2", "sharp", "point"]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]

PRESETS: Final[Mapping[str, Mapping[str, Mapping[str, float]]]] = {
    "meg2": {},
    "sharp": {"shower": {"yield_spread": 0.004}, "response": {"clock_jitter_ns": 0.010}},
    "point": {
        "shower": {
            "yield_spread": 0.0,
            "length_cm": 0.0,
            "fraction_spread": 0.0,
            "transverse": 0.0,
        },
        "response": {"clock_jitter_ns": 0.0},
    },
}
"""What each preset changes; `meg2` is the default everywhere."""

DATASET_FIELDS: Final = ("events", "files", "first_run")
"""Options that say how many events there are, not what they look like."""

_CODEC_LEVELS: Final = {"zlib": 9, "lz4": 12, "zstd": 22, "lzma": 9}


class BeamConfig(Section):
    """Where photons start and which of them are kept."""

    target_slant_deg: float = 15.0
    """Angle between the target plane and the beam axis [deg]."""
    spot_along_cm: Positive = 4.3
    """Gaussian width of the beam spot along the slanted target [cm]."""
    spot_across_cm: Positive = 1.2
    """Gaussian width of the beam spot in y [cm]."""
    half_length_cm: Positive = 13.5
    """Half length of the target along the slant [cm]."""
    half_width_cm: Positive = 3.3
    """Half width of the target in y [cm]."""
    max_u_cm: Positive = 26.0
    """Conversions with larger |u| are not written [cm]."""
    max_v_cm: Positive = 70.0
    """Conversions with larger |v| are not written [cm]."""
    max_w_cm: Positive = 38.5
    """Deeper conversions are not written [cm]."""
    time_window_ns: NonNegative = 12.5
    """Emission time is uniform within plus or minus this around the trigger [ns]."""


class ShowerConfig(Section):
    """Light yield and the three points that stand for the shower."""

    photons_per_mev: Positive = 40000.0
    """Scintillation photons per MeV."""
    yield_spread: NonNegative = 0.016
    """Relative spread of the light yield at 52.83 MeV; falls as one over the root of the energy."""
    length_cm: NonNegative = 2.0
    """Mean shower scale at 52.83 MeV [cm]; 0 puts all light at the conversion point."""
    length_slope: float = 0.25
    """Growth of the scale with the logarithm of the energy."""
    length_spread: NonNegative = 0.50
    """Log-normal spread of the scale."""
    positions: tuple[NonNegative, NonNegative, NonNegative] = (0.20, 1.0, 2.3)
    """Distance of the light points from the conversion, in shower scales, rising."""
    fractions: tuple[Positive, Positive, Positive] = (0.30, 0.42, 0.28)
    """Median share of the light at each point."""
    fraction_spread: NonNegative = 0.45
    """Spread of the logarithms of the shares."""
    transverse: NonNegative = 0.28
    """Sideways rms displacement per unit of longitudinal step."""


class LightConfig(Section):
    """From light points to the mean number of photo-electrons and the mean arrival time."""

    pde_sipm: Annotated[float, Field(gt=0, le=1)] = 0.12
    """Photon detection efficiency of a SiPM."""
    qe_pmt: Annotated[float, Field(gt=0, le=1)] = 0.16
    """Quantum efficiency of a PMT."""
    pde_spread: NonNegative = 0.10
    """Relative sensor-to-sensor spread of the efficiency; the calibration knows it."""
    diffuse: NonNegative = 0.15
    """Strength of the diffuse light, which stands for scattering and reflection."""
    diffuse_range_cm: Positive = 30.0
    """Distance within which the diffuse light is flat [cm]."""
    diffuse_path: Positive = 1.3
    """Path of diffuse light over the straight distance."""
    refractive_index: Positive = 1.61
    """Index that sets the speed of scintillation light in xenon."""


class ResponseConfig(Section):
    """Charge and time of one sensor, given its mean light."""

    gain_spread_sipm: NonNegative = 0.45
    """Relative width of one photo-electron in a SiPM, crosstalk included."""
    gain_spread_pmt: NonNegative = 0.60
    """Relative width of one photo-electron in a PMT."""
    pedestal_sipm: NonNegative = 1.0
    """Pedestal noise of a SiPM [photo-electrons]."""
    pedestal_pmt: NonNegative = 0.5
    """Pedestal noise of a PMT [photo-electrons]."""
    time_noise_ns: NonNegative = 7.0
    """Time spread of one photo-electron [ns]; falls as one over the root of the charge."""
    time_floor_ns: NonNegative = 0.35
    """Time spread that remains at large charge [ns]."""
    clock_jitter_ns: NonNegative = 0.045
    """Spread common to all sensors of an event [ns]."""
    threshold_pe: Positive = 4.0
    """A smaller charge gives no time [photo-electrons]."""


class PileupConfig(Section):
    """A second photon in the same event."""

    probability: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of events with a second photon."""
    min_energy_mev: Annotated[float, Field(ge=2)] = 5.0
    """Smallest energy of the second photon [MeV]; its spectrum falls as 1/E."""
    max_energy_mev: Annotated[float, Field(le=200)] = 50.0
    """Largest energy of the second photon [MeV]."""
    window_ns: Positive = 100.0
    """Its emission is uniform within plus or minus this around the first [ns]."""
    merge_ns: NonNegative = 20.0
    """Pulses of one sensor closer than this are one pulse, with the earlier time [ns]."""

    @model_validator(mode="after")
    def _rising(self) -> "PileupConfig":
        if self.min_energy_mev >= self.max_energy_mev:
            raise ValueError("pileup.min_energy_mev must be below pileup.max_energy_mev")
        return self


class SimulationConfig(Section):
    """A toy data set. Make one with `simulation_config(preset, ...)`, which applies the preset."""

    preset: PresetName = "meg2"
    """Preset that the numbers below started from."""
    geometry: Literal["ideal", "aligned"] = "ideal"
    """Sensor positions: the drawing, or the surveyed detector."""
    events: Annotated[int, Field(ge=1)] = 1000
    """Events in the whole data set."""
    files: Annotated[int, Field(ge=1)] = 1
    """ROOT files the events are spread over."""
    first_run: Annotated[int, Field(ge=1, le=999_999)] = 1
    """Run number of the first file; the run number and the seed decide a file's events."""
    energy_mev: tuple[float, float] = (15.0, 60.0)
    """Photon energy [MeV]: uniform between the two, or fixed if they are equal."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Seed of the events; seed, run number and options decide them, not the number of processes."""
    detector_seed: Annotated[int, Field(ge=0)] = 20240501
    """Seed of the efficiencies and dead sensors, which should be equal in every data set."""
    dead_fraction: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    """Share of randomly chosen dead sensors."""
    dead_boards: Annotated[int, Field(ge=0, le=186)] = 0
    """Dead readout boards of 22 neighbouring SiPMs."""
    dead_file: Path | None = None
    """Text file of dead sensors, one number per line, `#` for comments."""
    branches: Literal["min", "full"] = "min"
    """`min`: npho, relative_time and truth; `full`: every branch of the MC files."""
    codec: str = "zstd:1"
    """Compression as name:level with zstd, lz4, zlib or lzma; or none."""
    rounding: bool = True
    """Round light to `npho_bits` and times to `time_grid_ps`: smaller files, nothing lost."""
    npho_bits: Annotated[int, Field(ge=4, le=23)] = 10
    """Mantissa bits kept of npho, nphe and relative_npho (10 bits: 5e-4)."""
    time_grid_ps: Positive = 10.0
    """Grid of time and relative_time [ps]."""
    truth_light: bool = False
    """Write the true mean light `npho_mean` and the random numbers `latent` of each shower too."""
    beam: BeamConfig = BeamConfig()
    """Photons."""
    shower: ShowerConfig = ShowerConfig()
    """Light points."""
    light: LightConfig = LightConfig()
    """Light collection."""
    response: ResponseConfig = ResponseConfig()
    """Charge and time."""
    pileup: PileupConfig = PileupConfig()
    """Second photon."""

    @field_validator("energy_mev")
    @classmethod
    def _physical_energies(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not 14.5 <= low <= high <= 200.0:
            raise ValueError("expected 14.5 <= low <= high <= 200 MeV")
        return value

    @field_validator("codec")
    @classmethod
    def _known_codec(cls, value: str) -> str:
        if value == "none":
            return value
        name, _, level = value.partition(":")
        if name not in _CODEC_LEVELS:
            known = ("none", *_CODEC_LEVELS)
            raise ValueError(
                f"unknown codec '{name}'{did_you_mean(name, known)}; known: {', '.join(known)}"
            )
        if not level.isdecimal() or not 1 <= int(level) <= _CODEC_LEVELS[name]:
            raise ValueError(f"expected {name}:1 to {name}:{_CODEC_LEVELS[name]}")
        return value

    @model_validator(mode="after")
    def _counts_fit(self) -> "SimulationConfig":
        if self.files > self.events:
            raise ValueError(f"{self.files} files need at least as many events, got {self.events}")
        if self.first_run + self.files > 1_000_000:
            raise ValueError("run numbers must stay below 1000000")
        return self

    def file_events(self) -> dict[int, int]:
        """Return the number of events of each run; the first files hold the remainder."""
        share, more = divmod(self.events, self.files)
        return {self.first_run + i: share + (i < more) for i in range(self.files)}


def simulation_config(
    preset: str = "meg2", options: Mapping[str, Any] | None = None
) -> SimulationConfig:
    """Return a checked simulation configuration.

    Parameters
    ----------
    preset
        `meg2` (as the real detector), `sharp` (light yield to 0.4 %, clock 10 ps: shows headroom
        in energy and time) or `point` (all light at one point: photon counting only, for tests).
    options
        Fields of `SimulationConfig` that differ; nested sections as mappings.

    Raises
    ------
    ConfigError
        For an unknown preset or option, or a value out of range; names what is near.
    """
    if preset not in PRESETS:
        raise ConfigError(
            f"unknown simulation preset '{preset}'{did_you_mean(preset, PRESETS)}; "
            f"known: {', '.join(PRESETS)}"
        )
    tree: dict[str, Any] = {
        "preset": preset,
        **{name: dict(section) for name, section in PRESETS[preset].items()},
    }
    for name, value in (options or {}).items():
        below = tree.get(name)
        tree[name] = (
            {**below, **value} if isinstance(below, dict) and isinstance(value, Mapping) else value
        )
    try:
        return SimulationConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    lines = []
    for detail in error.errors():
        path = [str(part) for part in detail["loc"]]
        key = ".".join(path)
        if detail["type"] == "extra_forbidden":
            lines.append(
                f"unknown option '{key}'{did_you_mean(path[-1], _option_names(path[:-1]))}"
            )
        else:
            text = detail["msg"].removeprefix("Value error, ")
            got = f" (got {detail['input']!r:.60})" if key else ""
            lines.append(f"{key + ': ' if key else ''}{text}{got}")
    return "simulation: " + "; ".join(lines)


def _option_names(path: Sequence[str]) -> list[str]:
    kind: type[BaseModel] = SimulationConfig
    for part in path:
        below = kind.model_fields[part].annotation
        if isinstance(below, type) and issubclass(below, BaseModel):
            kind = below
    return list(kind.model_fields)
