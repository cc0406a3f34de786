"""The table `dead_channels.csv`: reading with all checks, writing, adding.

Columns `run_first,run_last,status_id,channel,source`, one line per dead sensor; both runs belong to
the interval. A line without channel says that no sensor is dead in it. `status_id` (of the database
the list came from) and `source` may be empty or left out.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from xec_pipeline.atomic import replacing
from xec_pipeline.detector.dead_channels import read_lines, sensor_number, whole_number
from xec_pipeline.detector.dead_table import LAST_RUN, DeadInterval, DeadTable, check_order
from xec_pipeline.errors import DataError, did_you_mean

TABLE_NAME: Final = "dead_channels.csv"
COLUMNS: Final = ("run_first", "run_last", "status_id", "channel", "source")
_NEEDED: Final = ("run_first", "run_last", "channel")


def read_dead_table(path: Path | str) -> DeadTable:
    """Read and check a table of intervals.

    Raises
    ------
    DataError
        If the file cannot be read, a column is unknown, missing or there twice, a number is none,
        an interval ends before it begins, two intervals overlap, or a sensor comes twice in one.
        The message names file and line.
    """
    path = Path(path)
    drafts: dict[tuple[int, int], _Draft] = {}
    for where, row in _rows(path):
        first, last = (_run_number(row[name], name, where) for name in ("run_first", "run_last"))
        draft = drafts.setdefault((first, last), _Draft(where, row))
        draft.add(row, where)
    placed = [(draft.interval(*runs), draft.where) for runs, draft in drafts.items()]
    check_order(placed)
    return DeadTable(str(path), tuple(interval for interval, _ in placed))


def write_dead_table(path: Path | str, table: DeadTable) -> Path:
    """Write a table that `read_dead_table` reads; equal tables give equal bytes.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    path = Path(path)
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for item in table.intervals:
            status = "" if item.status_id is None else item.status_id
            for channel in item.channels or ("",):
                writer.writerow((item.run_first, item.run_last, status, channel, item.source))
    return path


def add_to_dead_table(
    path: Path | str, new: Sequence[DeadInterval], *, replace: bool = False
) -> DeadTable:
    """Add intervals to the table in a file, which is made if it is not there; return the table.

    Parameters
    ----------
    path
        Table file.
    new
        Intervals that do not overlap.
    replace
        Let `new` replace other dead sensors of the same runs.

    Raises
    ------
    DataError
        If the file holds other dead sensors for some of the runs and `replace` is not set.
    """
    path = Path(path)
    table = read_dead_table(path) if path.exists() else DeadTable(str(path), ())
    for item in () if replace else new:
        for old in table.overlapping(item):
            if old.channels != item.channels:
                raise DataError(
                    f"{path}: holds other dead sensors for runs {old.runs} than those to add for "
                    f"{item.runs}; nothing was changed"
                )
    table = table.with_intervals(new)
    write_dead_table(path, table)
    return table


class _Draft:
    """What the lines of one interval said so far."""

    def __init__(self, where: str, row: Mapping[str, str]) -> None:
        self.where = where
        self._status = row["status_id"]
        self._source = row["source"]
        self._line_of_channel: dict[int | None, str] = {}

    def add(self, row: Mapping[str, str], where: str) -> None:
        """Take one line."""
        if (row["status_id"], row["source"]) != (self._status, self._source):
            raise DataError(
                f"{where}: status_id or source differ from those of the same runs in {self.where}; "
                "expected the same in all lines of an interval"
            )
        text = row["channel"]
        channel = sensor_number(text, where) if text else None
        if channel in self._line_of_channel:
            what = "no channel" if channel is None else f"sensor {channel}"
            raise DataError(f"{where}: {what} stands already in {self._line_of_channel[channel]}")
        self._line_of_channel[channel] = where
        if None in self._line_of_channel and len(self._line_of_channel) > 1:
            raise DataError(
                f"{where}: the runs have a line without channel (no sensor is dead) and one with; "
                "expected either"
            )

    def interval(self, run_first: int, run_last: int) -> DeadInterval:
        """Return the interval, all of whose lines were taken."""
        status = whole_number(self._status) if self._status else None
        if self._status and status is None:
            raise DataError(f"{self.where}: status_id '{self._status}' is not a whole number")
        return DeadInterval(
            run_first=run_first,
            run_last=run_last,
            channels=tuple(sorted(n for n in self._line_of_channel if n is not None)),
            status_id=status,
            source=self._source,
        )


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield file and line, and all columns by name, for each line below the header."""
    reader = csv.reader(read_lines(path, "utf-8-sig"), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, f"{path}, line 1")
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise DataError(
                    f"{where}: {len(cells)} values, expected {len(header)}: {','.join(header)}"
                )
            row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            yield where, dict.fromkeys(COLUMNS, "") | row
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not comma-separated: {error}") from None


def _check_header(header: Sequence[str], where: str) -> None:
    expected = f"expected {','.join(COLUMNS)}"
    for name in header:
        if name not in COLUMNS:
            near = did_you_mean(name, COLUMNS)
            raise DataError(f"{where}: unknown column '{name}'{near}; {expected}")
        if header.count(name) > 1:
            raise DataError(f"{where}: column '{name}' is there twice; {expected}")
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise DataError(f"{where}: no column {', '.join(map(repr, missing))}; {expected}")


def _run_number(text: str, column: str, where: str) -> int:
    run = whole_number(text)
    if run is None:
        raise DataError(
            f"{where}: {column} '{text}' is not a run number; "
            f"expected a whole number up to {LAST_RUN}"
        )
    return run
