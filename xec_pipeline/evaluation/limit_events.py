"""The truth and latents of events in toy files, as parameters of the physical limit.

A file written with `--truth_light` holds the latents. Any other is simulated again, from the record
of how it was made, and must come out the same.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from xec_pipeline.config.simulation import SimulationConfig
from xec_pipeline.data.root_io import iterate_events, open_tree
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import DataError
from xec_pipeline.simulation.dataset import event_seed
from xec_pipeline.simulation.events import BLOCK, Simulator
from xec_pipeline.simulation.instrument import Instrument, build_instrument
from xec_pipeline.simulation.limits.parameters import event_parameters
from xec_pipeline.simulation.provenance import DETECTOR, MODEL_VERSION, read_provenance
from xec_pipeline.simulation.truth import Photons
from xec_pipeline.units import MEV_PER_GEV

Branches = Mapping[str, NDArray[Any]]
Values = NDArray[np.float64]

LATENT_BRANCH: Final = "latent"
_TRUTH: Final = ("run", "event", "energyTruth", "timeTruth", "xyzTruth", "xyzVTX", "emiVec")
_RELATIVE, _ABSOLUTE = 2e-3, 0.1
"""Photons may differ by the rounding of the file."""
_LEAST_EQUAL: Final = 0.99
"""Sensors of an event that must hold the same light; another machine may round a few differently,
but one random number more or less changes all that follow."""


@dataclass(frozen=True, kw_only=True)
class ToyFile:
    """One file of toy events and how it was made."""

    path: Path
    config: SimulationConfig
    instrument: Instrument
    """With the dead sensors of the record; the file they came from need not be there."""
    run: int
    n_events: int


@dataclass(frozen=True, kw_only=True)
class EventBlock:
    """Consecutive events: numbers of shape (n,), parameters (n, 18)."""

    run: NDArray[np.int32]
    event: NDArray[np.int32]
    parameters: Values


def open_toy_file(path: Path) -> ToyFile:
    """Return what is written about the making of a file.

    Raises
    ------
    DataError
        If the file holds no record of a toy simulation, or one of another version of the toy
        detector.
    """
    record = read_provenance(path)
    if record is None or record.get("detector") != DETECTOR:
        raise DataError(
            f"{path}: holds no record of a toy simulation; the physical limit is known only for "
            "events of `xec simulate`"
        )
    if record.get("model_version") != MODEL_VERSION:
        raise DataError(
            f"{path}: made by version {record.get('model_version')} of the toy detector, expected "
            f"{MODEL_VERSION}; simulate it again"
        )
    is_dead = np.zeros(N_SENSORS, dtype=bool)
    is_dead[record["dead_sensors"]] = True
    try:
        config = SimulationConfig.model_validate({**record["config"], "dead_file": None})
    except ValidationError as error:
        raise DataError(f"{path}: its record is not one of this program: {error}") from None
    instrument = dataclasses.replace(build_instrument(config), is_dead=is_dead)
    return ToyFile(
        path=path,
        config=config,
        instrument=instrument,
        run=record["run"],
        n_events=record["n_events"],
    )


def event_blocks(toy: ToyFile, n_events: int) -> Iterator[EventBlock]:
    """Yield the first events of a file.

    Raises
    ------
    DataError
        If the file has no latents and its events cannot be simulated again.
    CorruptFileError
        If it is damaged.
    """
    with open_tree(toy.path) as tree:
        has_latents = LATENT_BRANCH in tree.keys()  # noqa: SIM118 - a tree, not a mapping
        n_held = tree.num_entries
    if n_held != toy.n_events:
        raise DataError(
            f"{toy.path}: holds {n_held} events, expected the {toy.n_events} of its record"
        )
    blocks = _with_latents(toy) if has_latents else _simulated_again(toy)
    for start, block in zip(itertools.count(0, BLOCK), blocks, strict=False):
        if start >= n_events:
            return
        yield _event_block(toy, {k: v[: n_events - start] for k, v in block.items()})


def _event_block(toy: ToyFile, block: Branches) -> EventBlock:
    values = {name: np.asarray(block[name], dtype=np.float64) for name in _TRUTH}
    photons = Photons(
        energy_mev=values["energyTruth"] * MEV_PER_GEV,
        vertex_cm=values["xyzVTX"],
        direction=values["emiVec"],
        conversion_cm=values["xyzTruth"],
        emission_ns=values["timeTruth"],
    )
    latents = np.asarray(block[LATENT_BRANCH], dtype=np.float64)
    return EventBlock(
        run=block["run"],
        event=block["event"],
        parameters=event_parameters(photons, latents, toy.config.beam),
    )


def _with_latents(toy: ToyFile) -> Iterator[Branches]:
    for chunk in iterate_events([toy.path], [*_TRUTH, LATENT_BRANCH], BLOCK):
        yield chunk.arrays


def _simulated_again(toy: ToyFile) -> Iterator[Branches]:
    config = toy.config.model_copy(update={"truth_light": True})
    seed = event_seed(config.seed, toy.run)
    blocks = Simulator(config).blocks(seed, toy.n_events, run=toy.run)
    chunks = iterate_events([toy.path], [*_TRUTH, "npho"], BLOCK)
    for chunk, block in zip(chunks, blocks, strict=True):
        _require_same(toy, chunk.arrays, block)
        yield block


def _require_same(toy: ToyFile, held: Branches, again: Branches) -> None:
    """Raise unless the events of a file and those simulated again are the same."""
    close = [
        np.isclose(held[name], again[name], rtol=1e-5, atol=1e-5).reshape(len(held["event"]), -1)
        for name in _TRUTH
    ]
    is_same = np.concatenate(close, axis=1).all(axis=1)
    npho = np.isclose(held["npho"], again["npho"], rtol=_RELATIVE, atol=_ABSOLUTE)
    is_same &= (npho | toy.instrument.is_dead).mean(axis=1) >= _LEAST_EQUAL
    if not is_same.all():
        first = int(np.argmin(is_same))
        raise DataError(
            f"{toy.path}: event {held['event'][first]} of run {held['run'][first]} does not come "
            "out the same when it is simulated again from the file's record, so its latents are "
            "not known here; simulate the file on this machine, or with --truth_light"
        )
