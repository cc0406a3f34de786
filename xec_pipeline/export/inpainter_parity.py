"""Check that an exported inpainter computes what its network computes."""

import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from xec_pipeline.errors import ParityError
from xec_pipeline.export.inpainter_graph import InpainterGraph
from xec_pipeline.export.parity import PARITY_BATCHES, Parity
from xec_pipeline.export.samples import RawEvents
from xec_pipeline.units import NS_PER_S, PS_PER_NS

LIGHT_TOLERANCE: Final = 1e-2
"""Largest |file - torch| over sqrt(n + 10) for n photons: at most 4 permille of the counting noise.

Both compute in float32 and sum in different orders.
"""
TIME_TOLERANCE_NS: Final = 1e-3
_FLOOR: Final = 10.0
_UNITS: Final = ("photons", "s")
_SEED: Final = 20250702

_log = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]
Predict = Callable[[F32, F32], Sequence[F32]]
"""Runs an exported file on values (B, 4760, 2) and a mask (B, 4760)."""


class MaskedSample(NamedTuple):
    """Events to compare on."""

    values: F32
    """Photons and times [s], (N, 4760, 2)."""
    mask: F32
    """1 for sensors to recover, (N, 4760)."""


def masked_sample(events: RawEvents) -> MaskedSample:
    """Return events with masks of all kinds.

    In turn: few sensors, a third of them, the dead ones, those in a row, none, all.
    """
    count, n_sensors = events.npho.shape
    rng = np.random.default_rng(_SEED)
    mask = rng.random((count, n_sensors)) < np.array([0.03, 0.3])[np.arange(count) % 2][:, None]
    kind = np.arange(count) % 6
    is_dead = ~(np.abs(events.npho) < 9e9)
    mask[kind == 2] = is_dead[kind == 2]
    first = rng.integers(0, n_sensors - 400, size=(count, 1))
    in_a_row = (np.arange(n_sensors) >= first) & (np.arange(n_sensors) < first + 400)
    mask[kind == 3] = in_a_row[kind == 3]
    mask[kind == 4], mask[kind == 5] = False, True
    values = np.stack([events.npho, events.time_s], axis=2)
    return MaskedSample(values, mask.astype(np.float32))


def check_inpainter(
    predict: Predict, graph: InpainterGraph, sample: MaskedSample, label: str
) -> list[Parity]:
    """Compare an exported file with the network, for several batch sizes.

    Parameters
    ----------
    predict
        Runs the file.
    graph
        The network it was made from, in evaluation mode on the CPU.
    sample
        Events and masks.
    label
        What to call the file in messages.

    Returns
    -------
    list of Parity
        One entry per output: largest difference [photons, or s], and the same over what is
        allowed.

    Raises
    ------
    ParityError
        If a recovered value differs by more than is allowed or is not finite, if another value is
        not the input's, or if a shape differs.
    """
    with torch.no_grad():
        truth = graph(torch.from_numpy(sample.values), torch.from_numpy(sample.mask))
    expected = [tensor.numpy() for tensor in truth]
    worst = [(0.0, 0.0)] * len(expected)
    for batch in PARITY_BATCHES:
        found = _in_batches(predict, sample, batch)
        for index, name in enumerate(graph.output_names):
            what = f"{label}: output '{name}' with batch {batch}"
            given = sample.values[:, :, index]
            differs = _difference(what, found[index], expected[index], given, sample.mask > 0)
            worst[index] = (max(worst[index][0], differs[0]), max(worst[index][1], differs[1]))
    results = [
        Parity(name, *pair, unit)
        for name, pair, unit in zip(graph.output_names, worst, _UNITS, strict=False)
    ]
    for result in results:
        _log.debug("%s: %s differs by %.1e at most", label, result.output, result.largest_absolute)
    return results


def allowed_in_words(output_names: Sequence[str]) -> str:
    """Return how far outputs of these names may differ."""
    light = f"{LIGHT_TOLERANCE:g} sqrt(n + {_FLOOR:g}) for n photons"
    if not any(_is_time(name) for name in output_names):
        return light
    return f"{light}, {TIME_TOLERANCE_NS * PS_PER_NS:g} ps for times"


def _in_batches(predict: Predict, sample: MaskedSample, batch: int) -> list[F32]:
    parts = [
        predict(sample.values[start : start + batch], sample.mask[start : start + batch])
        for start in range(0, len(sample.mask), batch)
    ]
    return [np.concatenate(pieces) for pieces in zip(*parts, strict=True)]


def _difference(
    what: str, found: F32, expected: F32, given: F32, is_masked: npt.NDArray[np.bool_]
) -> tuple[float, float]:
    if found.shape != expected.shape:
        raise ParityError(
            f"{what} has shape {found.shape}, expected {expected.shape}; no file was written"
        )
    if not np.array_equal(found[~is_masked], given[~is_masked], equal_nan=True):
        raise ParityError(f"{what} changes sensors that are not masked; no file was written")
    if not is_masked.any():
        return 0.0, 0.0
    absolute = np.abs(found[is_masked].astype(np.float64) - expected[is_masked])
    of_allowed = absolute / _allowed(what, expected[is_masked].astype(np.float64))
    # Negated, so that NaN fails.
    bad = ~(of_allowed <= 1.0)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        event, sensor = (int(index[first]) for index in np.nonzero(is_masked))
        raise ParityError(
            f"{what}: {int(bad.sum())} of {bad.size} recovered sensors differ, the first is sensor "
            f"{sensor} of event {event}: the file gives {found[event, sensor]}, torch "
            f"{expected[event, sensor]}; no file was written"
        )
    return float(absolute.max()), float(of_allowed.max())


def _allowed(what: str, expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if _is_time(what):
        return np.full_like(expected, TIME_TOLERANCE_NS / NS_PER_S)
    return LIGHT_TOLERANCE * np.sqrt(np.maximum(expected, 0.0) + _FLOOR)


def _is_time(name: str) -> bool:
    return "output_time" in name
