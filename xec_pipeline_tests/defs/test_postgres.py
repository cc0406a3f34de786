"""Dagster's history in PostgreSQL, as the comment in dagster.yaml says.

Needs the server programs of PostgreSQL (Debian: apt-get install postgresql) and the extra
`postgres`; `.ci/run` installs the extra, and the machine of the CI has the server.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

REPOSITORY = Path(__file__).parents[2]
DATABASE = "dagster"


def as_told(text: str) -> str:
    """Return dagster.yaml after the edit that its comment asks for."""
    sqlite, postgres = r"^storage: \{sqlite.*$", r"^# (storage: \{postgres.*)$"
    assert [len(re.findall(line, text, re.MULTILINE)) for line in (sqlite, postgres)] == [1, 1]
    without = re.sub(sqlite, "", text, flags=re.MULTILINE)
    return re.sub(postgres, r"\1", without, flags=re.MULTILINE)


@pytest.fixture
def home(postgres_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with the edited file; return the URL of its database for our own look."""
    admin = sa.create_engine(postgres_server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {DATABASE}"))
    url = postgres_server.set(database=DATABASE)
    text = as_told((REPOSITORY / "dagster.yaml").read_text())
    (tmp_path / "dagster.yaml").write_text(text)
    plain = url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False)
    monkeypatch.setenv("XEC_POSTGRES_URL", plain)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return url


@contextlib.contextmanager
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        yield found


def materialize() -> dg.ExecuteInProcessResult:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["demo"]), pool="gpu")
    def thing() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"loss": 0.25}, data_version=dg.DataVersion("v1"))

    with instance() as found:
        return dg.materialize([thing], instance=found, partition_key="demo")


def test_history_is_kept_in_the_database_and_read_back(home, tmp_path):
    done = materialize()
    assert done.success
    with instance() as again:
        wanted = dg.AssetRecordsFilter(dg.AssetKey("thing"), asset_partitions=["demo"])
        (record,) = again.fetch_materializations(wanted, limit=5).records
        made = record.event_log_entry.asset_materialization
        assert made is not None
        assert made.metadata["loss"].value == 0.25
        assert (made.tags or {})["dagster/data_version"] == "v1"
        run = again.get_run_by_id(done.run_id)
        assert run is not None
        assert run.is_success
    engine = sa.create_engine(home, poolclass=NullPool)
    with engine.connect() as connection:
        n_events = connection.execute(sa.text("SELECT count(*) FROM event_logs")).scalar_one()
        n_runs = connection.execute(sa.text("SELECT count(*) FROM runs")).scalar_one()
    assert n_events > 5
    assert n_runs == 1
    assert not list(tmp_path.rglob("*.db")), "nothing went into SQLite"
