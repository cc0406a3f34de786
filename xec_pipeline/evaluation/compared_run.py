"""A run that is to be compared: found by its name or folder, and what is known of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.config.origin import REGISTERED
from xec_pipeline.config.registry import RunKind, run_names, run_path
from xec_pipeline.config.run_base import Run
from xec_pipeline.data.shard_format import MANIFEST_NAME, ShardManifest, read_record
from xec_pipeline.data.shards import shard_dir_for
from xec_pipeline.errors import DataError, did_you_mean
from xec_pipeline.training.checkpoint import Checkpoint, load_checkpoint
from xec_pipeline.training.tracking import flattened
from xec_pipeline.training.weight_count import n_weights

KINDS: Final[tuple[RunKind, ...]] = ("regressor", "inpainter", "mae")
ROLES: Final = ("train", "val", "test")
_VERSION_DIGITS: Final = 12
_SPEED: Final = frozenset({"system/throughput_events_per_sec", "system/epoch_duration_sec"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """One run.

    Attributes
    ----------
    label
        What tables call it.
    name, kind, folder
        Its name, what was trained, and where its files are.
    options
        Every option by dotted name: those it was trained with, else those of its file.
    checkpoint
        Best epoch; None if it was not trained yet.
    notes
        What one should know about it.
    """

    label: str
    name: str
    kind: RunKind
    folder: Path
    options: Mapping[str, Any]
    checkpoint: Checkpoint | None
    notes: tuple[str, ...] = ()

    def sample(self, role: str) -> str:
        """Return path, number of events and content version of a sample, as far as known."""
        path = str(self.options.get(f"data.{role}_path") or "")
        if not path:
            return "-"
        trained_on = dict(self.checkpoint.data).get(role) if self.checkpoint else None
        manifest = self._manifest(path)
        version = trained_on or (manifest.data_version if manifest else None)
        if version is None:
            return f"{path}, no shards"
        is_same = manifest is not None and manifest.data_version == version
        count = f"{manifest.n_events} events, " if manifest and is_same else ""
        changed = "" if manifest is None or is_same else " (since changed)"
        return f"{path}, {count}content {version[:_VERSION_DIGITS]}{changed}"

    def training(self) -> dict[str, Any]:
        """Return how the training went; nothing if there was none."""
        made = self.checkpoint
        if made is None:
            return {}
        encoder = made.encoder_source or {}
        begun = encoder.get("run_name") or encoder.get("file") or "random weights"
        digest = f", {str(encoder['tensor_digest'])[:_VERSION_DIGITS]}" if encoder else ""
        return {
            "best epoch": made.best_epoch or made.epoch,
            "begins with": f"{begun}{digest}",
            "weights": n_weights(made.inference_weights()),
            **{name: made.best_metrics[name] for name in filter(_tells, sorted(made.best_metrics))},
            "revision": made.git_revision or "not known",
        }

    def _manifest(self, path: str) -> ShardManifest | None:
        shard_dir = str(self.options.get("data.shard_dir") or DataConfig().shard_dir)
        folder = shard_dir_for(DataConfig(shard_dir=shard_dir), path)
        manifest = folder / MANIFEST_NAME
        return read_record(manifest, ShardManifest) if manifest.is_file() else None


def _tells(metric: str) -> bool:
    """Tell whether a metric says how a training went; resolutions are measured elsewhere."""
    return metric in _SPEED or (metric.startswith(("train/", "val/")) and "loss" in metric)


def find_runs(words: Sequence[str], kind: RunKind | None = None) -> list[ComparedRun]:
    """Return the runs that are named, all of one kind.

    Parameters
    ----------
    words
        Names in the registry, or folders of runs.
    kind
        What is compared; None for the first kind that all have, of regressor, inpainter, mae.

    Raises
    ------
    DataError
        If there is no such run, or the runs have no kind in common.
    """
    kinds = {word: _kinds(word) for word in words}
    common = [each for each in KINDS if all(each in found for found in kinds.values())]
    if kind is not None and kind not in common:
        missing = [word for word in words if kind not in kinds[word]]
        raise DataError(f"no {kind}: {', '.join(missing)}")
    if not common:
        found = "; ".join(f"{word} is {' and '.join(all_of)}" for word, all_of in kinds.items())
        raise DataError(f"these runs have no kind in common: {found}")
    chosen = kind or common[0]
    labels = _labels(words)
    return [_read(word, chosen, label) for word, label in zip(words, labels, strict=True)]


def _kinds(word: str) -> list[RunKind]:
    registered = [kind for kind in KINDS if word in run_names(kind)]
    if registered:
        return registered
    folder = Path(word)
    if not folder.is_dir():
        known = sorted({name for kind in get_args(RunKind) for name in run_names(kind)})
        raise DataError(
            f"{word}: neither a registered run nor a folder{did_you_mean(word, known)}; "
            f"registered: {', '.join(known) or 'none'}"
        )
    trained: list[RunKind] = [kind for kind in KINDS if _best(folder, kind).is_file()]
    if not trained:
        expected = ", ".join(checkpoint_file(kind, "best") for kind in KINDS)
        raise DataError(f"{folder}: not the folder of a trained run; expected one of {expected}")
    return trained


def _read(word: str, kind: RunKind, label: str) -> ComparedRun:
    registered = REGISTERED[kind](word) if word in run_names(kind) else None
    folder = Path(word) if registered is None else registered.run_dir
    path = _best(folder, kind)
    made = load_checkpoint(path, kind) if path.is_file() else None
    tree = made.config if made is not None else registered.model_dump() if registered else {}
    options = flattened(tree)
    name = str(options.get("mlflow.run_name") or (registered.name if registered else folder.name))
    notes = () if registered is None else tuple(_notes(word, kind, registered, made))
    return ComparedRun(
        label=label,
        name=name,
        kind=kind,
        folder=folder,
        options=options,
        checkpoint=made,
        notes=notes,
    )


def _notes(word: str, kind: RunKind, registered: Run, made: Checkpoint | None) -> list[str]:
    if made is None:
        return [f"{word}: not trained yet; its options are those of {run_path(kind, word)}"]
    if made.config_digest and made.config_digest != registered.digest():
        return [f"{word}: {run_path(kind, word)} was changed since; shown is what was trained"]
    return []


def _best(folder: Path, kind: RunKind) -> Path:
    return folder / checkpoint_file(kind, "best")


def _labels(words: Sequence[str]) -> list[str]:
    """Return the last parts of paths where these tell the runs apart."""
    short = [Path(word).name or word for word in words]
    return short if len(set(short)) == len(short) else list(words)
