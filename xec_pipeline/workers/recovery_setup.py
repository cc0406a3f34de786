"""Which events an inpainter is measured with, and which of their sensors are hidden."""

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.data.mean_light import mean_photons
from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.data.shards import ShardSet, is_shard_dir
from xec_pipeline.detector.dead_channels import read_dead_file, study_pattern
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import ConfigError, DataError
from xec_pipeline.evaluation.recovery import (
    HideInFront,
    HidePattern,
    Hides,
    HideSome,
    MeanPhotons,
)
from xec_pipeline.models.masking import SensorMasks


def sample_path(run: InpainterRun, given: str | None) -> str:
    """Return the events to use: those given, else the test events, else the validation events.

    Raises
    ------
    ConfigError
        If there are none.
    """
    path = given or run.data.test_path or run.data.val_path
    if not path:
        raise ConfigError(
            f"run {run.name}: data.test_path and data.val_path are empty; give --input"
        )
    return path


def dead_pattern(run: InpainterRun) -> tuple[NDArray[np.bool_], str]:
    """Return the dead sensors to try (4760,), and in words where they come from."""
    options = run.validation
    if options.dead_file is not None:
        return read_dead_file(options.dead_file), options.dead_file
    drawn = study_pattern(options.dead_fraction, options.dead_seed)
    return drawn, f"{options.dead_fraction:g} of the sensors, drawn with seed {options.dead_seed}"


def hiding(mode: str, run: InpainterRun, shards: ShardSet) -> tuple[Hides, str]:
    """Return what is hidden in a mode, and in words which sensors are dead."""
    if mode == "sensorfront":
        return HideInFront(shards.columns["uvwTruth"], ideal_geometry()), ""
    if mode == "mc":
        is_dead, words = dead_pattern(run)
        return HidePattern(is_dead), words
    options = run.validation
    is_dead = np.zeros(N_SENSORS, dtype=np.bool_)
    if options.dead_file is not None:
        is_dead = read_dead_file(options.dead_file)
    masks = SensorMasks.artificial(options.n_artificial.model_dump(), options.seed)
    return HideSome(masks, is_dead), options.dead_file or "as in the events"


def chosen_events(hide: Hides, shards: ShardSet, run: InpainterRun) -> NDArray[np.int64]:
    """Return the numbers of the events in use, from the first on.

    Raises
    ------
    DataError
        If there are none.
    """
    events = hide.events if isinstance(hide, HideInFront) else np.arange(shards.n_events)
    if not len(events):
        raise DataError(f"{shards.path}: no event has a sensor in front of its first interaction")
    return events[: run.validation.max_events]


def mean_of(path: str) -> MeanPhotons | None:
    """Return what gives the mean counts of simulated events; None if the files do not tell them."""
    if is_shard_dir(path):
        return None
    files = find_root_files(path)
    nothing = np.zeros(0, dtype=np.int64)
    if mean_photons(files, nothing, nothing, nothing) is None:
        return None

    def means(
        run: NDArray[np.int64], event: NDArray[np.int64], sensor: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        found = mean_photons(files, run, event, sensor)
        if found is None:
            raise DataError(f"{path}: its files hold no mean counts any more")
        return found

    return means
