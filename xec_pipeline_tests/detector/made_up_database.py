"""Made-up content of the four tables that lead from a run to its dead sensors."""

from typing import Any, Final

import sqlalchemy as sa

BAD: Final = (3, 4092, 4745)
"""Dead sensors of status 21: one SiPM, one coarse and one dense sensor of the outer face."""

_SOUND: Final = {100: 1, 101: 1, 102: 1, 103: 2, 104: 2, 106: 3, 107: 1}
"""Run 105 is missing."""
_BROKEN: Final = {200: None, 201: 9, 202: 4, 203: 5, 204: 6, 205: 7}
"""One broken link each."""
_STRANGE: Final = {206: 8, 207: 10, 208: 11, 209: 12}
"""Runs whose status makes no sense; 209: a status with few rows."""
_CONF: Final = {1: 11, 2: 12, 3: 12, 4: None, 5: 99, 6: 13, 7: 14, 8: 15, 10: 16, 11: 17, 12: 18}
_DB: Final = {11: 21, 12: 22, 13: None, 14: 98, 15: 23, 16: 24, 17: 25, 18: 26}


def create(engine: sa.Engine, *, folded: bool = False) -> None:
    """Create and fill the tables.

    With `folded`, all names are lower case and IsBad is a boolean, as some databases have it; the
    status with IsBad = 2 is then left out.
    """
    metadata = sa.MetaData()
    flag: Any = sa.Boolean if folded else sa.Integer

    def table(name: str, *columns: "sa.Column[Any]") -> sa.Table:
        return sa.Table(
            name.lower() if folded else name, metadata, sa.Column("id", sa.Integer), *columns
        )

    def column(name: str, kind: Any = sa.Integer) -> "sa.Column[Any]":
        return sa.Column(name.lower() if folded else name, kind, key=name)

    tables = (
        table("RunCatalog", column("XECConf_id"), column("Junk")),
        table("XECConf", column("XECPMStatusDB_id")),
        table("XECPMStatusDB", column("XECPMStatus_id")),
        table("XECPMStatus", column("idx"), column("IsBad", flag)),
    )
    rows: tuple[list[dict[str, Any]], ...] = (
        [
            {"id": run, "XECConf_id": conf, "Junk": 0}
            for run, conf in (_SOUND | _BROKEN | _STRANGE).items()
        ],
        [{"id": conf, "XECPMStatusDB_id": db} for conf, db in _CONF.items()],
        [{"id": db, "XECPMStatus_id": status} for db, status in _DB.items()],
        [
            {"id": status, "idx": idx, "IsBad": bool(bad) if folded else bad}
            for status, idx, bad in _statuses()
            if not (folded and bad == 2)
        ],
    )
    metadata.create_all(engine)
    with engine.begin() as connection:
        for made, content in zip(tables, rows, strict=True):
            connection.execute(made.insert(), content)


def _statuses() -> list[tuple[int, int, int]]:
    whole = [(21, idx, int(idx in BAD)) for idx in reversed(range(4760))]
    whole += [(22, idx, 0) for idx in range(4760)]
    return [
        *whole,
        *[(23, 5, 0), (23, 4760, 1)],
        *[(24, 5, 0), (24, 5, 1)],
        *[(25, 5, 2)],
        *[(26, 7, 1), (26, 8, 0)],
    ]
