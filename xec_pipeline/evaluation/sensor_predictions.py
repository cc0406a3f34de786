"""Predictions for single sensors in ROOT files: the trees `predictions` and `metadata`.

Values are in the network's normalized units; `metadata` holds all that leads back to photons and
seconds. Every tree is a TTree that any ROOT version and any other reader understands.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import uproot
from numpy.typing import NDArray

from xec_pipeline.atomic import replacing
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.root_io import check_tree, iterate_tree, open_tree
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import DataError, did_you_mean

SCHEMA_VERSION: Final = 1
TREE: Final = "predictions"
METADATA_TREE: Final = "metadata"
CHANNELS: Final = ("npho", "time")
"""Features that can be predicted; also their order in arrays of shape (..., 2)."""

_ROWS_PER_BASKET: Final = 500
_FIRST_BASKETS: Final = 64
_NORMALIZATION_KEYS: Final = tuple(NormalizationConfig.model_fields)

Values = NDArray[np.float32]
Columns = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SensorBlock:
    """Some events with what the network saw and what it predicted.

    Attributes
    ----------
    event, run, entry
        Event number, run number and position in the sample (B,).
    truth
        Normalized npho and time before masking (B, 4760, 2).
    masked_input
        The network's input: as `truth`, with the sentinels where masked (B, 4760, 2).
    is_masked
        Sensors hidden at random (B, 4760); dead sensors are not among them.
    pred
        Normalized predictions for all sensors, in the order of the predicted features (B, 4760, C).
    """

    event: NDArray[np.integer]
    run: NDArray[np.integer]
    entry: NDArray[np.integer]
    truth: Values
    masked_input: Values
    is_masked: NDArray[np.bool_]
    pred: Values

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.event)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionMetadata:
    """The single entry of the tree `metadata`.

    Attributes
    ----------
    predict_channels
        Predicted features, `("npho",)` or `("npho", "time")`.
    normalization
        How inputs were made. What an older file does not say has its default.
    epoch
        Completed epochs of the network, from 1; -1 if unknown.
    checkpoint_digest
        Hash of the weights; empty if unknown.
    run_name, data_version
        Training run, and version of the events' shards; empty if unknown.
    toy
        Events come from the toy detector.
    schema_version
        Version of this list; 0 for files of the earlier system.
    """

    predict_channels: tuple[str, ...]
    normalization: NormalizationConfig
    epoch: int = -1
    checkpoint_digest: str = ""
    run_name: str = ""
    data_version: str = ""
    toy: bool = False
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        for name in self.predict_channels:
            if name not in CHANNELS:
                near = did_you_mean(name, CHANNELS)
                raise DataError(f"unknown feature '{name}'{near}; known: {', '.join(CHANNELS)}")


def write_mae_predictions(
    path: Path, blocks: Iterable[SensorBlock], metadata: PredictionMetadata
) -> Path:
    """Write predictions of masked sensors, block by block; the file is whole or not there.

    One entry of `predictions` is one event: `event_id`, `run_id`, `entry`, and per sensor (4760)
    `truth_npho`, `mask` (1 where masked), `masked_npho`, `masked_time`, `pred_npho`, and
    `err_npho` = predicted - true; `truth_time`, `pred_time` and `err_time` only if times are
    predicted. Errors mean something where `mask` is 1 and the truth is not the sentinel.

    Parameters
    ----------
    path
        The file, `mae_predictions_epoch_{epoch}.root` in the contract.
    blocks
        Events in the order of the file; held in memory one block at a time.
    metadata
        Written into the tree `metadata`.

    Raises
    ------
    DataError
        If a block's arrays do not have the shapes of `SensorBlock`.
    OutputError
        If the disk is full.
    """
    types = _branch_types(metadata.predict_channels)
    with (
        replacing(path) as partial,
        uproot.recreate(partial, compression=uproot.ZSTD(5)) as file,
    ):
        write_metadata_entry(file, metadata)
        tree = file.mktree(TREE, types, initial_basket_capacity=_FIRST_BASKETS)
        for block in blocks:
            _check_shapes(path, block, len(metadata.predict_channels))
            columns = _columns(block, metadata.predict_channels)
            for first in range(0, len(block), _ROWS_PER_BASKET):
                rows = slice(first, first + _ROWS_PER_BASKET)
                tree.extend({name: values[rows] for name, values in columns.items()})
    return path


def read_prediction_metadata(path: Path) -> PredictionMetadata:
    """Return what the tree `metadata` says.

    Raises
    ------
    DataError
        If there is no such tree, or it names no predicted features.
    CorruptFileError
        If the file is damaged.
    """
    return PredictionMetadata(**metadata_fields(path, read_metadata_entry(path)))


def metadata_fields(path: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `PredictionMetadata` from the entry of a tree `metadata`.

    Raises
    ------
    DataError
        If the entry names no predicted features; `path` is only for the message.
    """
    if "predict_channels" not in found:
        raise DataError(
            f"{path}: tree '{METADATA_TREE}' has no branch 'predict_channels'; "
            f"it holds {', '.join(sorted(found)) or 'nothing'}"
        )
    given = {name: found[name] for name in _NORMALIZATION_KEYS if name in found}
    return {
        "predict_channels": tuple(str(found["predict_channels"]).split(",")),
        "normalization": NormalizationConfig.model_validate(given),
        "epoch": int(found.get("epoch", -1)),
        "checkpoint_digest": str(found.get("checkpoint_digest", "")),
        "run_name": str(found.get("run_name", "")),
        "data_version": str(found.get("data_version", "")),
        "toy": bool(found.get("toy", False)),
        "schema_version": int(found.get("schema_version", 0)),
    }


def iterate_mae_predictions(
    path: Path, branches: Sequence[str] | None = None, step: int = _ROWS_PER_BASKET
) -> Iterator[Columns]:
    """Yield the events of a prediction file, `step` at a time, as arrays by branch.

    Parameters
    ----------
    path
        A file of `write_mae_predictions`, or of the earlier system, whose tree is called `tree`.
    branches
        What to read; None for all branches of the file.
    step
        Events at a time; one of them needs up to 200 kB.

    Raises
    ------
    MissingBranchError, CorruptFileError, DataError
        Naming file, branch and entry.
    """
    with open_tree(path, TREE) as tree, ThreadPoolExecutor(1) as pool:
        names = check_tree(path, tree, tree.keys() if branches is None else branches)
        for chunk in iterate_tree(path, tree, names, step, pool):
            yield chunk.arrays


def _branch_types(channels: Sequence[str]) -> dict[str, Any]:
    per_sensor = (np.float32, (N_SENSORS,))
    names = ["mask", "masked_npho", "masked_time"]
    names += [f"{kind}_{channel}" for channel in channels for kind in ("truth", "pred", "err")]
    if "npho" not in channels:
        names.append("truth_npho")
    return {"event_id": np.int32, "run_id": np.int64, "entry": np.int64} | dict.fromkeys(
        names, per_sensor
    )


def _columns(block: SensorBlock, channels: Sequence[str]) -> Columns:
    columns: Columns = {
        "event_id": block.event.astype(np.int32),
        "run_id": block.run.astype(np.int64),
        "entry": block.entry.astype(np.int64),
        "mask": block.is_masked.astype(np.float32),
        "truth_npho": block.truth[..., 0],
    }
    columns |= {f"masked_{name}": block.masked_input[..., i] for i, name in enumerate(CHANNELS)}
    for position, name in enumerate(channels):
        true, pred = block.truth[..., CHANNELS.index(name)], block.pred[..., position]
        columns |= {f"truth_{name}": true, f"pred_{name}": pred, f"err_{name}": pred - true}
    return {
        name: np.ascontiguousarray(values, dtype=np.float32) if values.ndim > 1 else values
        for name, values in columns.items()
    }


def _check_shapes(path: Path, block: SensorBlock, n_channels: int) -> None:
    sensors = (len(block), N_SENSORS)
    expected = {
        "event": (len(block),),
        "run": (len(block),),
        "entry": (len(block),),
        "truth": (*sensors, len(CHANNELS)),
        "masked_input": (*sensors, len(CHANNELS)),
        "is_masked": sensors,
        "pred": (*sensors, n_channels),
    }
    for name, shape in expected.items():
        found = getattr(block, name).shape
        if found != shape:
            raise DataError(f"{path}: {name} of a block has shape {found}, expected {shape}")


def write_metadata_entry(file: Any, metadata: PredictionMetadata) -> None:
    """Write the tree `metadata`; do it first, so that a reader finds it without passing the rows.

    Parameters
    ----------
    file
        Open `uproot.WritableFile`.
    metadata
        Its fields, also those of a subclass, become branches; tuples are joined by commas.
    """
    entry: dict[str, Any] = {}
    for field in dataclasses.fields(metadata):
        value = getattr(metadata, field.name)
        if isinstance(value, NormalizationConfig):
            entry |= value.model_dump()
        else:
            entry[field.name] = ",".join(value) if isinstance(value, tuple) else value
    kinds = {name: _scalar_type(value) for name, value in entry.items()}
    file.mktree(METADATA_TREE, kinds).extend({name: [value] for name, value in entry.items()})


def read_metadata_entry(path: Path) -> dict[str, Any]:
    """Return the single entry of the tree `metadata` by branch.

    Raises
    ------
    DataError
        If there is no such tree.
    CorruptFileError
        If the file is damaged.
    """
    with open_tree(path, METADATA_TREE) as tree, ThreadPoolExecutor(1) as pool:
        if tree.name != METADATA_TREE:
            raise DataError(
                f"{path}: no tree '{METADATA_TREE}', so this is not a file of predictions for "
                f"sensors; it holds the tree '{tree.name}'"
            )
        chunk = next(iterate_tree(path, tree, check_tree(path, tree, tree.keys()), 1, pool))
    return {name: values[0] for name, values in chunk.arrays.items()}


def _scalar_type(value: object) -> Any:
    kinds: Mapping[type, Any] = {str: "string", bool: np.bool_, int: np.int32, float: np.float64}
    return kinds[type(value)]
