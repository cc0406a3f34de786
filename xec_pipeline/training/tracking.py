"""What MLflow learns of a training: parameters, one batch of metrics per epoch, the outcome.

Only rank 0 tracks. The run's id comes from MLFLOW_RUN_ID (a launcher opened the run), from the
checkpoint that is resumed, or is new. The store: MLFLOW_TRACKING_URI or the run's options.
"""

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from filelock import FileLock

from xec_pipeline.config.output import MlflowConfig
from xec_pipeline.errors import DataError
from xec_pipeline.versioning import content_hash

NO_TRACKING: Final = frozenset({"", "none", "null"})
"""Values of `mlflow.tracking_uri` that turn tracking off."""

_PARAMS_PER_CALL: Final = 100
_LONGEST_PARAM: Final = 500
_SQLITE: Final = "sqlite:///"

_log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Where the numbers of a training go."""

    @property
    def run_id(self) -> str | None:
        """Id to continue the run by; None without tracking."""

    def start(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Note what is about to be trained."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Note an epoch's numbers, all at once; those not finite are left out."""

    def finish(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""


class NullTracker:
    """Tracks nothing: other ranks, and runs without MLflow."""

    run_id: str | None = None

    def start(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Do nothing."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def finish(self, status: str) -> None:
        """Do nothing."""


class MlflowTracker:
    """Tracks in MLflow through its client, so that no global run is opened or ended by surprise.

    Parameters
    ----------
    config
        Experiment, name and store.
    run_name
        Name of the run shown in MLflow.
    continued
        Run to continue if it is still in the store; MLFLOW_RUN_ID wins over it.
    """

    def __init__(
        self, config: MlflowConfig, run_name: str, *, continued: str | None = None
    ) -> None:
        # Imported here because it takes seconds and only rank 0 of a tracked run needs it.
        from mlflow import MlflowClient

        uri = tracking_uri(config)
        given = os.environ.get("MLFLOW_RUN_ID") or continued
        with _store_lock(uri):
            self._client = MlflowClient(tracking_uri=uri)
            experiment = _experiment(self._client, config.experiment, uri)
            self._run_id = _existing(self._client, given) or _new(
                self._client, experiment, run_name
            )
        self._client.update_run(self._run_id, status="RUNNING")

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run."""
        return self._run_id

    def start(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Log parameters and tags.

        A parameter of MLflow cannot change; where a continued run has another value, the new one is
        logged as the tag `resumed.<name>`.
        """
        from mlflow.entities import Param, RunTag

        known = self._client.get_run(self._run_id).data.params
        wanted = {name: str(value)[:_LONGEST_PARAM] for name, value in flattened(params).items()}
        fresh = [Param(name, value) for name, value in wanted.items() if name not in known]
        changed = {
            f"resumed.{name}": value
            for name, value in wanted.items()
            if known.get(name, value) != value
        }
        for first in range(0, len(fresh), _PARAMS_PER_CALL):
            self._client.log_batch(self._run_id, params=fresh[first : first + _PARAMS_PER_CALL])
        run_tags = [RunTag(name, value) for name, value in {**tags, **changed}.items()]
        self._client.log_batch(self._run_id, tags=run_tags)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log the finite metrics in one batch; a store that is out of order stops no training."""
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        batch = [
            Metric(name, float(value), now, epoch)
            for name, value in metrics.items()
            if math.isfinite(value)
        ]
        try:
            self._client.log_batch(self._run_id, metrics=batch)
        except MlflowException as error:
            _log.warning("MLflow did not take the metrics of epoch %d: %s", epoch, error)

    def finish(self, status: str) -> None:
        """Close the run; a store that is out of order hides no other error."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.set_terminated(self._run_id, status=status)
        except MlflowException as error:
            _log.warning("MLflow run %s could not be closed as %s: %s", self._run_id, status, error)


def open_tracker(
    config: MlflowConfig, run_name: str, *, is_main: bool, continued: str | None = None
) -> Tracker:
    """Return the tracker of this rank."""
    if not is_main or tracking_uri(config).lower() in NO_TRACKING:
        return NullTracker()
    return MlflowTracker(config, run_name, continued=continued)


def refer_to(config: MlflowConfig, run_id: str | None, name: str, paths: Iterable[Path]) -> None:
    """Log files as artifacts of a run by reference: where they are, how large, what they hold.

    They are not copied; a checkpoint may have a gigabyte. The artifact is `references/<name>.json`,
    by the names of the files below their common folder. A store that is out of order stops nothing.

    Parameters
    ----------
    config
        Names the store.
    run_id
        The run; None without tracking.
    name
        Of the group of files.
    paths
        The files.
    """
    uri = tracking_uri(config)
    files = sorted(path.absolute() for path in paths if path.is_file())
    if run_id is None or uri.lower() in NO_TRACKING or not files:
        return
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    folder = os.path.commonpath([path.parent for path in files])
    try:
        references = {
            path.relative_to(folder).as_posix(): {
                "path": str(path),
                "bytes": path.stat().st_size,
                "content_hash": content_hash(path),
            }
            for path in files
        }
        MlflowClient(tracking_uri=uri).log_dict(run_id, references, f"references/{name}.json")
    except (MlflowException, OSError, DataError) as error:
        _log.warning("MLflow did not take the references to %s: %s", name, error)


@contextlib.contextmanager
def closing_run(tracker: Tracker) -> Iterator[Callable[[str], None]]:
    """Close the tracked run when the block ends: FAILED after an exception, else FINISHED.

    Yields
    ------
    callable
        Call it with another status, such as KILLED, to close with that.
    """
    statuses = ["FINISHED"]
    try:
        yield statuses.append
    except BaseException:
        statuses.append("FAILED")
        raise
    finally:
        tracker.finish(statuses[-1])


def tracking_uri(config: MlflowConfig) -> str:
    """Return the store, MLFLOW_TRACKING_URI or the configured one; SQLite paths are absolute."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or config.tracking_uri
    path = _sqlite_path(uri)
    return uri if path is None else f"{_SQLITE}{path.absolute()}"


def tracking_uri_exists(uri: str) -> bool:
    """Tell whether a store is there; a server is taken to be. MLflow would make an empty one."""
    path = _sqlite_path(uri)
    return path is None or path.is_file()


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one level with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _sqlite_path(uri: str) -> Path | None:
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


@contextlib.contextmanager
def _store_lock(uri: str) -> Iterator[None]:
    """Let one process at a time create the store: two at once break MLflow's own migrations."""
    path = _sqlite_path(uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(path.suffix + ".lock"), timeout=300):
        yield


def _experiment(client: Any, name: str, uri: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # Stated, because MLflow would otherwise fix the working folder of whoever came first.
    path = _sqlite_path(uri)
    place = (path.parent / "mlruns" / name).as_uri() if path is not None else None
    return str(client.create_experiment(name, artifact_location=place))


def _existing(client: Any, run_id: str | None) -> str | None:
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        run = client.get_run(run_id)
    except MlflowException:
        _log.warning("MLflow run %s is not in this store; a new run is opened", run_id)
        return None
    return run_id if run.info.lifecycle_stage == "active" else None


def _new(client: Any, experiment: str, run_name: str) -> str:
    return str(client.create_run(experiment, run_name=run_name).info.run_id)
