"""The queries that lead from a run to its dead sensors, through four tables of a database.

Each table names a row of the next:

    RunCatalog (id = run, XECConf_id) -> XECConf (id, XECPMStatusDB_id)
    -> XECPMStatusDB (id, XECPMStatus_id) -> XECPMStatus (id, idx = sensor, IsBad = 1 if dead)

Two selects with bound whole numbers: one for the keys of runs, one for the rows of a status, which
thousands of runs share.
"""

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from tqdm import tqdm

from xec_pipeline.detector.dead_table import DeadInterval, unknown_run
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import DataError, did_you_mean

logger = logging.getLogger(__name__)

SCHEMA: Final = {
    "RunCatalog": ("id", "XECConf_id"),
    "XECConf": ("id", "XECPMStatusDB_id"),
    "XECPMStatusDB": ("id", "XECPMStatus_id"),
    "XECPMStatus": ("id", "idx", "IsBad"),
}
"""Tables and the columns that are read."""
_RUNS_AT_ONCE: Final = 1000

Tables = Mapping[str, sa.Table]
"""The tables of `SCHEMA` by documented name, columns too, however the database spells them."""


class Chain(NamedTuple):
    """The keys found on the way from a run to its status; None from the missing link on."""

    run: int
    conf_key: int | None
    conf: int | None
    db_key: int | None
    db: int | None
    status: int | None


class DeadQueries:
    """What can be asked over one open connection.

    Parameters
    ----------
    connection
        Open connection; it is only read.
    name
        What messages call the database.

    Raises
    ------
    DataError
        If one of the four tables, or a column, is missing.
    """

    def __init__(self, connection: sa.Connection, name: str) -> None:
        self._connection = connection
        self._name = name
        self._tables = _find_tables(connection, name)
        self._bad_of_status: dict[int, tuple[int, ...]] = {}

    def chains(self, first: int, last: int) -> dict[int, list[Chain]]:
        """Return the keys of all runs from `first` to `last`; a sound run has one chain."""
        rows = self._connection.execute(
            chain_statement(self._tables), {"first": first, "last": last}
        )
        by_run: dict[int, list[Chain]] = {}
        for chain in map(Chain._make, rows):
            by_run.setdefault(int(chain.run), []).append(chain)
        return by_run

    def iterate_chains(
        self, first: int, last: int, *, progress: bool
    ) -> Iterator[tuple[int, list[Chain]]]:
        """Yield run and chains of a range, however long, in ascending order."""
        run = self._tables["RunCatalog"].c.id
        inside = run.between(sa.bindparam("first"), sa.bindparam("last"))
        ends = sa.select(sa.func.min(run), sa.func.max(run)).where(inside)
        bounds = self._connection.execute(ends, {"first": first, "last": last}).one()
        if None in bounds:
            return
        first, last = map(int, bounds)
        with tqdm(total=last - first + 1, unit="run", disable=None if progress else True) as bar:
            for start in range(first, last + 1, _RUNS_AT_ONCE):
                stop = min(start + _RUNS_AT_ONCE - 1, last)
                yield from self.chains(start, stop).items()
                bar.update(stop - start + 1)

    def interval(self, run: int, chains: Sequence[Chain]) -> DeadInterval:
        """Return the dead sensors of a run.

        Raises
        ------
        DataError
            If a link is missing, naming table and key, or the status makes no sense.
        """
        status = self._status(run, chains)
        if status not in self._bad_of_status:
            self._bad_of_status[status] = self._bad(run, status)
        return DeadInterval(
            run_first=run,
            run_last=run,
            channels=self._bad_of_status[status],
            status_id=status,
            source=self._name,
        )

    def unknown(self, first: int, last: int) -> DataError:
        """Return the error for runs that RunCatalog lacks, naming the nearest it has."""
        run = self._tables["RunCatalog"].c.id
        nearest = sa.select(
            sa.select(sa.func.max(run)).where(run < sa.bindparam("first")).scalar_subquery(),
            sa.select(sa.func.min(run)).where(run > sa.bindparam("last")).scalar_subquery(),
        )
        found = self._connection.execute(nearest, {"first": first, "last": last}).one()
        runs = [int(number) for number in found if number is not None]
        known = [DeadInterval(run_first=n, run_last=n, channels=()) for n in runs]
        return unknown_run(f"{self._name}: table RunCatalog", first, last, known)

    def _status(self, run: int, chains: Sequence[Chain]) -> int:
        """Return the XECPMStatus_id, or raise naming the link that is missing."""
        where, tables = f"{self._name}: run {run}", list(SCHEMA)
        if len(chains) > 1:
            raise DataError(
                f"{where}: leads to {len(chains)} statuses; expected every id once in "
                f"{', '.join(tables[:-1])}"
            )
        chain = chains[0]
        if chain.status is not None:
            return int(chain.status)
        # The keys stand in pairs: the row of a table, and the row of the next that it names.
        place = chain.index(None)
        table, key = tables[place // 2], chain[place - 1]
        what = f"has an empty {SCHEMA[table][1]} in the row" if place % 2 else "has no row"
        raise DataError(
            f"{where}: table {table} {what} with id = {key}; "
            f"expected {' -> '.join(tables)} without a gap"
        )

    def _bad(self, run: int, status: int) -> tuple[int, ...]:
        """Return the sensors that a status calls bad, ascending."""
        of = self._tables["XECPMStatus"].c
        chosen = of.id == sa.bindparam("status")
        statement = sa.select(of.idx, of.IsBad).where(chosen).order_by(of.idx)
        found = self._connection.execute(statement, {"status": status})
        rows = [(sensor, _flag(value)) for sensor, value in found]
        where = f"{self._name}: run {run}: table XECPMStatus"
        if not rows:
            raise DataError(f"{where} has no row with id = {status}; expected one for each sensor")
        fault = _fault(rows)
        if fault:
            raise DataError(f"{where}, id = {status}: {fault}")
        if len(rows) < N_SENSORS:
            logger.warning(
                "%s, id = %d: %d of %d sensors; the others are taken as alive",
                where,
                status,
                len(rows),
                N_SENSORS,
            )
        return tuple(int(sensor) for sensor, is_bad in rows if is_bad)


def chain_statement(tables: Tables) -> sa.Select[Any]:
    """Return the query for the keys of runs, with the parameters `first` and `last`.

    Outer joins keep a run whose chain is broken, so that the missing link can be named.
    """
    catalog, conf, db = (tables[name] for name in list(SCHEMA)[:3])
    joined = catalog.outerjoin(conf, conf.c.id == catalog.c.XECConf_id)
    joined = joined.outerjoin(db, db.c.id == conf.c.XECPMStatusDB_id)
    return (
        sa.select(*catalog.c, *conf.c, *db.c)
        .select_from(joined)
        .where(catalog.c.id.between(sa.bindparam("first"), sa.bindparam("last")))
        .order_by(catalog.c.id)
    )


def table_as(name: str, spelling_of: Mapping[str, str]) -> sa.Table:
    """Return a table whose columns are addressed by documented name, whatever their spelling."""
    columns: list[sa.Column[Any]] = [
        sa.Column(spelling, key=column) for column, spelling in spelling_of.items()
    ]
    return sa.Table(name, sa.MetaData(), *columns)


def _find_tables(connection: sa.Connection, name: str) -> Tables:
    """Return the tables as this database spells them; some fold all names to lower case."""
    inspector = sa.inspect(connection)
    present = [*inspector.get_table_names(), *inspector.get_view_names()]
    tables = {}
    for table, columns in SCHEMA.items():
        found = _spelling(table, present, f"{name}: table")
        held = [column["name"] for column in inspector.get_columns(found)]
        where = f"{name}: table {found}: column"
        tables[table] = table_as(found, {key: _spelling(key, held, where) for key in columns})
    return tables


def _spelling(name: str, present: Sequence[str], where: str) -> str:
    same = [other for other in present if other.lower() == name.lower()]
    if not same:
        held = f"there are {', '.join(present)}" if present else "there is none"
        raise DataError(f"{where} '{name}' is missing{did_you_mean(name, present)}; {held}")
    return name if name in same else same[0]


def _flag(value: Any) -> Any:
    """Return a flag as a number where it comes as the bytes of a BIT column, as MySQL has it."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) else value


def _fault(rows: Sequence[tuple[Any, ...]]) -> str:
    """Return what is wrong with the sensors and flags of a status, or nothing."""
    sensors = [sensor for sensor, _ in rows]
    if not all(sensor is not None and 0 <= sensor < N_SENSORS for sensor in sensors):
        return f"an idx is not between 0 and {N_SENSORS - 1}"
    if len(set(sensors)) < len(sensors):
        twice = next(a for a, b in itertools.pairwise(sensors) if a == b)
        return f"idx {twice} is there twice"
    # A boolean is equal to 0 or 1.
    strange = [flag for _, flag in rows if flag not in (0, 1)]
    return f"IsBad is {strange[0]!r}, expected 0 or 1" if strange else ""
