"""Which events an inpainter is measured with, and which of their sensors are hidden."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.inpainter import InpainterRun, ValidationConfig
from xec_pipeline.data.mean_light import MeanLight, has_means
from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.data.shards import ShardSet, is_shard_dir
from xec_pipeline.detector.dead_channels import study_pattern
from xec_pipeline.detector.dead_runs import dead_mask_for, open_dead_source
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import ConfigError, DataError
from xec_pipeline.evaluation.recovery import (
    DeadOfRuns,
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
        return _dead_of(options)(options.dead_run), _words(options)
    drawn = study_pattern(options.dead_fraction, options.dead_seed)
    return drawn, f"{options.dead_fraction:g} of the sensors, drawn with seed {options.dead_seed}"


def hiding(mode: str, run: InpainterRun, shards: ShardSet) -> tuple[Hides, str]:
    """Return what is hidden in a mode, and in words which sensors are dead."""
    if mode == "sensorfront":
        return HideInFront(shards.columns["uvwTruth"], ideal_geometry()), ""
    if mode == "mc":
        is_dead, words = dead_pattern(run)
        return HidePattern(DeadOfRuns(lambda _: is_dead)), words
    options = run.validation
    masks = SensorMasks.artificial(options.n_artificial.model_dump(), options.seed)
    if options.dead_file is None:
        nothing = np.zeros(N_SENSORS, dtype=np.bool_)
        return HideSome(masks, DeadOfRuns(lambda _: nothing)), "as in the events"
    of_run = _dead_of(options)
    if options.dead_run is not None:
        only = of_run(options.dead_run)
        return HideSome(masks, DeadOfRuns(lambda _: only)), _words(options)
    return HideSome(masks, DeadOfRuns(of_run)), _words(options)


def _dead_of(options: ValidationConfig) -> Callable[[int | None], NDArray[np.bool_]]:
    """Return what gives the dead sensors of a run; only a plain text file needs no run number."""
    source = str(options.dead_file)
    opened = open_dead_source(source)

    def of_run(run: int | None) -> NDArray[np.bool_]:
        if run is None:
            return dead_mask_for(source, None)
        return opened.of_run(run).mask()

    return of_run


def _words(options: ValidationConfig) -> str:
    run = "" if options.dead_run is None else f", run {options.dead_run}"
    return f"{options.dead_file}{run}"


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
    return MeanLight(files) if has_means(files) else None
