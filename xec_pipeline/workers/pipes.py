"""What a worker tells the outside: Dagster when it listens, the terminal always.

Only rank 0 speaks. The other ranks read the context, so that all ranks see the same extras.
"""

import contextlib
import json
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster_pipes import (
    DAGSTER_PIPES_CONTEXT_ENV_VAR,
    PipesContext,
    PipesDefaultContextLoader,
    PipesEnvVarParamsLoader,
    open_dagster_pipes,
)

from xec_pipeline.errors import XecError
from xec_pipeline.lifetime import die_with_parent

ERROR_FILE_ENV = "XEC_ERROR_FILE"
_TORCH_ERROR_FILE_ENV = "TORCHELASTIC_ERROR_FILE"
_PROGRESS_SECONDS = 60.0

_log = logging.getLogger(__name__)


class Report:
    """The worker's voice; see `open_report`.

    Attributes
    ----------
    rank
        Rank of this process; all but rank 0 are silent.
    extras
        What the Dagster step passed on; empty by hand.
    retry_number
        How often Dagster restarted the step; 0 by hand.
    """

    def __init__(
        self,
        rank: int,
        extras: Mapping[str, Any] | None = None,
        retry_number: int = 0,
        pipes: PipesContext | None = None,
    ) -> None:
        self.rank = rank
        self.extras: Mapping[str, Any] = extras or {}
        self.retry_number = retry_number
        self._pipes = pipes
        self._quiet_until = 0.0

    def progress(self, **numbers: float | str) -> None:
        """Report where the work stands; it passes if nothing was reported for a minute."""
        if self.rank == 0 and time.monotonic() >= self._quiet_until:
            self._send("progress", numbers)

    def epoch(self, **numbers: float | str) -> None:
        """Report an epoch's numbers; none is dropped. In Dagster they are curves of the asset."""
        if self.rank == 0:
            self._send("epoch", numbers)

    def log(self, text: str) -> None:
        """Report a sentence."""
        if self.rank == 0:
            _log.info("%s", text)
            if self._pipes is not None:
                self._pipes.log.info(text)

    def result(self, metadata: Mapping[str, Any], data_version: str) -> None:
        """Report what was made; call it once, when all files are complete.

        Parameters
        ----------
        metadata
            Numbers, text, paths (as `Path`) of files that were made, lists and mappings; the unit
            stands in the name. The size of the files is added as `size_bytes`.
        data_version
            Hash of the content that was made; equal content has an equal version.
        """
        if self.rank != 0:
            return
        metadata = {**metadata, **_sizes(metadata.values())}
        single = {
            name: value for name, value in metadata.items() if not isinstance(value, list | dict)
        }
        _log.info("data version %s: %s", data_version, as_line(single))
        if self._pipes is not None:
            typed = {name: _pipes_value(value) for name, value in metadata.items()}
            self._pipes.report_asset_materialization(metadata=typed, data_version=data_version)

    def _send(self, kind: str, numbers: Mapping[str, float | str]) -> None:
        self._quiet_until = time.monotonic() + _PROGRESS_SECONDS
        _log.info("%s", as_line(numbers))
        if self._pipes is not None:
            plain = {name: _finite_or_text(value) for name, value in numbers.items()}
            self._pipes.report_custom_message({"kind": kind, "numbers": plain})


@contextlib.contextmanager
def open_report(rank: int = 0) -> Iterator[Report]:
    """Open the worker's report for the length of its work; put the whole of `main` inside.

    Started by Dagster, rank 0 opens Pipes; the process dies with its parent; and an exception is
    written to the error file, from which the step reads why the asset failed. Started by hand, the
    report goes to the terminal.

    Parameters
    ----------
    rank
        Rank of this process, from the environment variable RANK; 0 for a single process.

    Yields
    ------
    Report
        Methods progress, epoch, log and result.
    """
    die_with_parent()
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.WARNING,
        format="%(message)s",
        stream=sys.stderr,
    )
    try:
        with _report(rank) as report:
            yield report
    except BaseException as error:
        _write_error(error)
        raise


@contextlib.contextmanager
def _report(rank: int) -> Iterator[Report]:
    if DAGSTER_PIPES_CONTEXT_ENV_VAR not in os.environ:
        yield Report(rank)
    elif rank == 0:
        with open_dagster_pipes() as pipes:
            yield Report(rank, pipes.extras, pipes.retry_number, pipes)
    else:
        loader = PipesEnvVarParamsLoader()  # type: ignore[no-untyped-call]  # has no annotations
        params = loader.load_context_params()
        with PipesDefaultContextLoader().load_context(params) as data:
            yield Report(rank, data["extras"], data["retry_number"])


def _write_error(error: BaseException) -> None:
    """Write what torchrun's error files hold, so that one reader serves both."""
    name = os.environ.get(_TORCH_ERROR_FILE_ENV) or os.environ.get(ERROR_FILE_ENV)
    if not name or isinstance(error, SystemExit | KeyboardInterrupt):
        return
    extra = {
        "py_callstack": "".join(traceback.format_exception(error)),
        "timestamp": str(int(time.time())),
        "is_final": isinstance(error, XecError),
    }
    text = f"{type(error).__name__}: {error}"
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"message": {"message": text, "extraInfo": extra}}))


def _sizes(values: Iterable[Any]) -> dict[str, int]:
    """Return the size of all files and folders among `values`; nothing if none is there."""
    there = {value for value in values if isinstance(value, Path) and value.exists()}
    files = {file for path in there for file in (path, *path.rglob("*")) if file.is_file()}
    return {"size_bytes": sum(file.stat().st_size for file in files)} if there else {}


def _pipes_value(value: Any) -> Any:
    if isinstance(value, Path):
        return {"raw_value": str(value.absolute()), "type": "path"}
    return _finite_or_text(value)


def _finite_or_text(value: Any) -> Any:
    """Return JSON's own types; NaN and infinity, which JSON lacks, become text."""
    if isinstance(value, float) or hasattr(value, "dtype"):
        number = value.item() if hasattr(value, "item") else value
        return str(number) if isinstance(number, float) and not math.isfinite(number) else number
    if isinstance(value, Mapping):
        return {str(name): _finite_or_text(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_or_text(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def as_line(numbers: Mapping[str, Any]) -> str:
    """Return names and values as one line, numbers to five digits."""
    return "  ".join(
        f"{name} {value:.5g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in numbers.items()
    )
