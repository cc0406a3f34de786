"""Dead sensors of real runs from the experiment's database, which is only read.

Any database that SQLAlchemy speaks to will do. A missing link between the tables is an error; a run
whose status has rows, none of them bad, has no dead sensor.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from xec_pipeline.detector.database_url import open_engine, parse_url, shown_url
from xec_pipeline.detector.dead_query import DeadQueries
from xec_pipeline.detector.dead_table import DeadInterval, merge_neighbours
from xec_pipeline.errors import DataError


class DeadImport(NamedTuple):
    """What a range of runs gave."""

    intervals: tuple[DeadInterval, ...]
    n_runs: int
    """Runs whose dead sensors are known now."""
    left_out: tuple[str, ...]
    """Why runs were left out, one line for each."""


class DeadDatabase:
    """The database behind a URL.

    Parameters
    ----------
    url
        `dialect+driver://user:password@host/name`, as SQLAlchemy writes it. Messages show it
        without user and password.

    Raises
    ------
    ConfigError
        If this is no URL, or its driver is not installed.
    DataError
        If the SQLite file does not exist.
    """

    def __init__(self, url: str) -> None:
        parsed = parse_url(url)
        self.name = shown_url(parsed)
        self._password = parsed.password
        # "Connecting" to a SQLite file that is not there would make an empty one.
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
            raise DataError(f"{self.name}: no such SQLite file")
        self._engine = open_engine(parsed, self.name)

    def of_run(self, run: int) -> DeadInterval:
        """Return the dead sensors of one run, with the status they come from.

        Raises
        ------
        DataError
            If the run is not in RunCatalog (naming the nearest), a link of the chain is missing
            (naming table and key), or the database cannot be read.
        """
        with self._reading() as queries:
            chains = queries.chains(run, run)
            if not chains:
                raise queries.unknown(run, run)
            return queries.interval(run, chains[run])

    def all_intervals(self) -> tuple[DeadInterval, ...]:
        """Raise DataError: a database is asked for given runs."""
        raise DataError(f"{self.name}: name the runs; a database is not read as a whole")

    def of_runs(
        self, first: int, last: int, *, skip_incomplete: bool = False, progress: bool = False
    ) -> DeadImport:
        """Return the dead sensors of all runs that RunCatalog knows from `first` to `last`.

        Runs that follow one another with the same status are one interval; a number that
        RunCatalog lacks ends it, so an unknown run stays unknown.

        Parameters
        ----------
        first, last
            Range of runs, both included.
        skip_incomplete
            Leave out runs with a missing link instead of raising.
        progress
            Show a bar if this is a terminal.

        Raises
        ------
        DataError
            As `of_run`; also if the range holds no run.
        """
        found, left_out = [], []
        with self._reading() as queries:
            for run, chains in queries.iterate_chains(first, last, progress=progress):
                try:
                    found.append(queries.interval(run, chains))
                except DataError as error:
                    if not skip_incomplete:
                        raise
                    left_out.append(str(error))
            if not found and not left_out:
                raise queries.unknown(first, last)
        return DeadImport(tuple(merge_neighbours(found)), len(found), tuple(left_out))

    @contextmanager
    def _reading(self) -> Iterator[DeadQueries]:
        """Open a connection; turn what SQLAlchemy raises into DataError, without URL and SQL."""
        try:
            with self._engine.connect() as connection:
                yield DeadQueries(connection, self.name)
        except SQLAlchemyError as error:
            reason = str(error.orig if isinstance(error, DBAPIError) else error).strip()
            if self._password:
                reason = reason.replace(str(self._password), "***")
            # The chained error could show what was just taken out.
            raise DataError(f"{self.name}: {reason}") from None
