"""One door to the dead sensors of a run: text file, folder of them, table, or database."""

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.dead_channels import read_dead_file, read_lines, write_dead_file
from xec_pipeline.detector.dead_table import LAST_RUN, DeadInterval, unknown_run
from xec_pipeline.detector.dead_table_file import TABLE_NAME, read_dead_table
from xec_pipeline.detector.faces import FACE_NAMES, Face, sensors_of_face
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import ConfigError, DataError

if TYPE_CHECKING:  # SQLAlchemy is optional
    from xec_pipeline.detector.dead_database import DeadDatabase

DATABASE: Final = "database"
"""Source that stands for the URL in the environment; a URL with a password belongs in no file."""
URL_VARIABLE: Final = "XEC_DEAD_DB"

_FILE_NAME: Final = re.compile(r"dead_(?:channels_)?run([0-9]{1,9})\.txt")
_SOURCE: Final = "source: "
_STATUS: Final = re.compile(r"XECPMStatus_id[ :=]+([0-9]{1,9})\b")


class DeadSource(Protocol):
    """Something that knows the dead sensors of runs."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def of_run(self, run: int) -> DeadInterval:
        """Return the dead sensors of a run; DataError if it is unknown."""

    def all_intervals(self) -> tuple[DeadInterval, ...]:
        """Return all that is known; DataError if it can only be asked for given runs."""


def open_dead_source(source: str | Path) -> DeadSource:
    """Open a source of dead sensors, once for any number of runs.

    Parameters
    ----------
    source
        A text file with one sensor number per line; a folder of such files named
        `dead_run{RUN}.txt` or `dead_channels_run{RUN}.txt`; an interval table (`.csv`); the URL of
        a database; or `database` for the URL in the variable XEC_DEAD_DB.

    Raises
    ------
    XecError
        If it does not exist, cannot be read, or is not valid; see the readers.
    """
    if str(source) == DATABASE:
        return open_dead_database()
    if isinstance(source, str) and is_database(source):
        return open_dead_database(source)
    path = Path(source)
    if path.is_dir():
        return DeadFolder(path)
    return read_dead_table(path) if path.suffix == ".csv" else DeadFile(path)


def is_database(source: str) -> bool:
    """Return whether a source of dead sensors is a database, by name or by URL."""
    # A Path would have lost one of the two slashes.
    return source == DATABASE or "://" in source


def open_dead_database(url: str | None = None) -> "DeadDatabase":
    """Open the database behind a URL, or behind the one in the variable XEC_DEAD_DB.

    Raises
    ------
    XecError
        If there is no URL, SQLAlchemy or the driver is not installed, or a SQLite file is missing.
    """
    url = url or os.environ.get(URL_VARIABLE, "")
    if not url:
        raise ConfigError(
            f"no source of dead sensors is named, and the variable {URL_VARIABLE} is not set; "
            "expected the URL of the database, such as mysql+pymysql://user:password@host/name"
        )
    try:
        from xec_pipeline.detector.dead_database import DeadDatabase
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"reading a database needs '{error.name}': pip install 'xec_pipeline[db]'"
        ) from None
    return DeadDatabase(url)


def dead_mask_for(source: str | Path, run: int | None) -> NDArray[np.bool_]:
    """Return the dead sensors of one run.

    Parameters
    ----------
    source
        See `open_dead_source`.
    run
        Run number. None takes a text file as it is, whichever run its name states; the other
        sources need a run.

    Returns
    -------
    ndarray
        Mask, shape (4760,).

    Raises
    ------
    XecError
        If the source is not valid or does not know the run. An unknown run never gives an empty
        mask.
    """
    opened = open_dead_source(source)
    if run is not None:
        return opened.of_run(run).mask()
    if isinstance(opened, DeadFile):
        return opened.interval.mask()
    raise DataError(f"{opened.name}: name the run; only a text file can be used without one")


class DeadFile:
    """A text file of dead sensors; holds for the run in its name, or for every run.

    Raises
    ------
    DataError
        See `read_dead_file`.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        run = _run_in(path)
        status_id, source = _read_header(path)
        self.interval = DeadInterval(
            run_first=0 if run is None else run,
            run_last=LAST_RUN if run is None else run,
            channels=tuple(np.flatnonzero(read_dead_file(path)).tolist()),
            status_id=status_id,
            source=source or self.name,
        )

    def of_run(self, run: int) -> DeadInterval:
        """Return the dead sensors; DataError if the file's name states another run."""
        if not self.interval.run_first <= run <= self.interval.run_last:
            raise DataError(
                f"{self.name}: the name says run {self.interval.run_first}, asked for was run "
                f"{run}; to use the list for other runs, take a name without a run"
            )
        return self.interval

    def all_intervals(self) -> tuple[DeadInterval, ...]:
        """Return the one list."""
        return (self.interval,)


class DeadFolder:
    """Text files, one per run; each is read when it is asked for.

    Raises
    ------
    DataError
        If there is none, or two for the same run.
    """

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._paths: dict[int, Path] = {}
        for path in sorted(folder.iterdir()):
            run = _run_in(path)
            if run is None:
                continue
            if run in self._paths:
                raise DataError(f"{path} and {self._paths[run].name} are both of run {run}")
            self._paths[run] = path
        if not self._paths:
            is_table = (folder / TABLE_NAME).is_file()
            hint = f"; for the table, give {folder / TABLE_NAME}" if is_table else ""
            raise DataError(f"{folder}: expected files dead_run<RUN>.txt, there is none{hint}")

    def of_run(self, run: int) -> DeadInterval:
        """Return the dead sensors of a run; DataError if it has no file."""
        if run not in self._paths:
            known = [DeadInterval(run_first=n, run_last=n, channels=()) for n in self._paths]
            raise unknown_run(self.name, run, run, known)
        return DeadFile(self._paths[run]).interval

    def all_intervals(self) -> tuple[DeadInterval, ...]:
        """Return the lists of all runs, in their order."""
        return tuple(DeadFile(self._paths[run]).interval for run in sorted(self._paths))


def dead_file_name(run: int) -> str:
    """Return the name of a run's text file."""
    return f"dead_run{run}.txt"


def write_run_file(folder: Path, interval: DeadInterval) -> Path:
    """Write one run's dead sensors as `dead_run{RUN}.txt` and return the path.

    The header states run, status, number of dead sensors and their source.
    """
    run = interval.run_first
    path = folder / dead_file_name(run)
    return write_dead_file(path, interval.mask(), file_header(interval))


def file_header(interval: DeadInterval) -> list[str]:
    """Return the comments that a text file of dead sensors begins with."""
    status = "unknown" if interval.status_id is None else interval.status_id
    counts = f"run {interval.runs}, XECPMStatus_id {status}, n {len(interval.channels)}"
    return [counts, *([f"{_SOURCE}{interval.source}"] if interval.source else [])]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeadSummary:
    """How many sensors are dead, and where."""

    n_dead: int
    by_face: Mapping[str, int]
    """Dead sensors by face name: inner, us, ds, outer (all 234 sensors), top, bot."""
    digest: str
    """Hash of the sensor numbers, 12 hexadecimal digits; equal masks have equal digests."""

    @property
    def fraction(self) -> float:
        """Share of the 4760 sensors that is dead."""
        return self.n_dead / N_SENSORS


def summarize_dead(is_dead: NDArray[np.bool_]) -> DeadSummary:
    """Count the dead sensors of a mask, shape (4760,)."""
    sensors = np.flatnonzero(is_dead).tolist()
    by_face = {FACE_NAMES[face]: int(is_dead[sensors_of_face(face)].sum()) for face in Face}
    digest = hashlib.sha256(" ".join(map(str, sensors)).encode()).hexdigest()[:12]
    return DeadSummary(n_dead=len(sensors), by_face=by_face, digest=digest)


def _run_in(path: Path) -> int | None:
    match = _FILE_NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def _read_header(path: Path) -> tuple[int | None, str]:
    """Return status id and source as `file_header` writes them, where the comments have them."""
    status_id, source = None, ""
    for line in read_lines(path):
        if not line.startswith("#"):
            break
        comment = line.removeprefix("#").strip()
        if comment.startswith(_SOURCE):
            source = comment.removeprefix(_SOURCE)
        elif match := _STATUS.search(comment):
            status_id = int(match[1])
    return status_id, source
