"""Dead sensors from a database: SQLite always, PostgreSQL where a server can be started."""

import logging
import traceback

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from xec_pipeline.detector import dead_query
from xec_pipeline.detector.database_url import open_engine, parse_url, shown_url
from xec_pipeline.detector.dead_database import DeadDatabase
from xec_pipeline.detector.dead_query import SCHEMA, chain_statement, table_as
from xec_pipeline.detector.dead_runs import dead_mask_for
from xec_pipeline.detector.dead_table import DeadTable
from xec_pipeline.errors import ConfigError, DataError
from xec_pipeline_tests import postgres
from xec_pipeline_tests.detector import made_up_database
from xec_pipeline_tests.detector.made_up_database import BAD


def filled(url, *, folded=False):
    engine = sa.create_engine(url, poolclass=NullPool)
    made_up_database.create(engine, folded=folded)
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "postgresql folded"])
def url(request, tmp_path_factory):
    """URL of a database with the made-up content; "folded" has lower-case names and booleans."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("database") / "meg.db"
        return filled(make_url(f"sqlite:///{path}"))
    server = request.getfixturevalue("postgres_server")
    name = request.param.replace("postgresql", "meg").replace(" ", "_")
    admin = sa.create_engine(server, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return filled(server.set(database=name), folded="folded" in request.param)


@pytest.fixture
def sqlite_url(tmp_path):
    return filled(make_url(f"sqlite:///{tmp_path / 'meg.db'}"))


def test_bad_sensors_of_a_run(url):
    dead = DeadDatabase(url).of_run(101)
    assert (dead.run_first, dead.run_last, dead.status_id) == (101, 101, 21)
    assert dead.channels == BAD
    assert np.flatnonzero(dead_mask_for(url, 101)).tolist() == list(BAD)


def test_status_without_bad_sensors_is_empty(url):
    dead = DeadDatabase(url).of_run(104)
    assert (dead.channels, dead.status_id) == ((), 22)
    assert not dead_mask_for(url, 104).any()


@pytest.mark.parametrize(
    ("run", "near"),
    [(105, "104 before, 106 after"), (1, "100 after"), (9999, "209 before")],
)
def test_unknown_run_is_an_error_that_names_the_nearest(url, run, near):
    with pytest.raises(DataError) as caught:
        dead_mask_for(url, run)
    assert f"table RunCatalog: nothing is known of run {run} (nearest: {near})" in str(caught.value)


@pytest.mark.parametrize(
    ("run", "table", "what"),
    [
        (200, "RunCatalog", "has an empty XECConf_id in the row with id = 200"),
        (201, "XECConf", "has no row with id = 9"),
        (202, "XECConf", "has an empty XECPMStatusDB_id in the row with id = 4"),
        (203, "XECPMStatusDB", "has no row with id = 99"),
        (204, "XECPMStatusDB", "has an empty XECPMStatus_id in the row with id = 13"),
        (205, "XECPMStatus", "has no row with id = 98"),
        (206, "XECPMStatus", ", id = 23: an idx is not between 0 and 4759"),
        (207, "XECPMStatus", ", id = 24: idx 5 is there twice"),
    ],
)
def test_missing_link_names_table_and_key(url, run, table, what):
    with pytest.raises(DataError) as caught:
        DeadDatabase(url).of_run(run)
    separator = "" if what.startswith(",") else " "
    assert f"run {run}: table {table}{separator}{what}" in str(caught.value)


def test_strange_flag(sqlite_url):
    with pytest.raises(DataError, match=r"id = 25: IsBad is 2, expected 0 or 1"):
        DeadDatabase(sqlite_url).of_run(208)


def test_short_status_is_taken_with_a_warning(url, caplog):
    with caplog.at_level(logging.WARNING):
        assert DeadDatabase(url).of_run(209).channels == (7,)
    assert "id = 26: 2 of 4760 sensors" in caplog.text


def test_flags_as_bytes_of_a_bit_column(sqlite_url):
    with sa.create_engine(sqlite_url, poolclass=NullPool).begin() as connection:
        connection.execute(sa.text("UPDATE XECPMStatus SET IsBad = x'00' WHERE IsBad = 0"))
        connection.execute(sa.text("UPDATE XECPMStatus SET IsBad = x'01' WHERE IsBad = 1"))
    assert DeadDatabase(sqlite_url).of_run(100).channels == BAD


def test_run_that_leads_to_two_statuses(sqlite_url):
    with sa.create_engine(sqlite_url, poolclass=NullPool).begin() as connection:
        connection.execute(sa.text("INSERT INTO XECConf VALUES (1, 12)"))
    with pytest.raises(DataError, match="run 100: leads to 2 statuses"):
        DeadDatabase(sqlite_url).of_run(100)


def test_range_of_runs_becomes_intervals(url, monkeypatch):
    monkeypatch.setattr(dead_query, "_RUNS_AT_ONCE", 2)
    got = DeadDatabase(url).of_runs(0, 150)
    spans = [(item.run_first, item.run_last, item.status_id) for item in got.intervals]
    assert spans == [(100, 102, 21), (103, 104, 22), (106, 106, 22), (107, 107, 21)]
    assert (got.n_runs, got.left_out) == (7, ())
    table = DeadTable("imported", got.intervals)
    for run in (100, 102, 103, 106, 107):
        assert table.of_run(run).channels == DeadDatabase(url).of_run(run).channels
    with pytest.raises(DataError, match="nothing is known of run 105"):
        table.of_run(105)


def test_each_status_is_read_once(sqlite_url, monkeypatch):
    read = []
    original = dead_query.DeadQueries._bad

    def counting(self, run, status):
        read.append(status)
        return original(self, run, status)

    monkeypatch.setattr(dead_query.DeadQueries, "_bad", counting)
    DeadDatabase(sqlite_url).of_runs(100, 107)
    assert sorted(read) == [21, 22]


def test_broken_runs_of_a_range_stop_it_or_are_left_out(url):
    database = DeadDatabase(url)
    with pytest.raises(DataError, match="run 200: table RunCatalog"):
        database.of_runs(107, 205)
    got = database.of_runs(107, 205, skip_incomplete=True)
    assert [item.runs for item in got.intervals] == ["107"]
    assert (got.n_runs, len(got.left_out)) == (1, 6)
    assert "run 205: table XECPMStatus has no row with id = 98" in got.left_out[-1]


def test_range_without_runs(url):
    with pytest.raises(DataError, match=r"of the runs 110 to 150 \(nearest: 107 before, 200 after"):
        DeadDatabase(url).of_runs(110, 150)


def test_a_database_is_not_read_as_a_whole(sqlite_url):
    with pytest.raises(DataError, match="name the runs"):
        DeadDatabase(sqlite_url).all_intervals()
    with pytest.raises(DataError, match="name the run"):
        dead_mask_for(sqlite_url, None)


def test_missing_table_and_column(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}", poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE RunCatalogue (id INT)"))
    with pytest.raises(
        DataError, match=r"table 'RunCatalog' is missing \(did you mean 'RunCatalogu"
    ):
        DeadDatabase(f"sqlite:///{tmp_path / 'a.db'}").of_run(1)
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE RunCatalogue RENAME TO RunCatalog"))
    with pytest.raises(
        DataError, match=r"table RunCatalog: column 'XECConf_id' is missing.*are id"
    ):
        DeadDatabase(f"sqlite:///{tmp_path / 'a.db'}").of_run(1)


def test_missing_sqlite_file_is_not_made(tmp_path):
    with pytest.raises(DataError, match="no such SQLite file"):
        DeadDatabase(f"sqlite:///{tmp_path / 'none.db'}")
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match="no such SQLite file"):
        DeadDatabase("sqlite://")


def test_other_file_than_sqlite(tmp_path):
    path = tmp_path / "a.db"
    path.write_text("nothing of this kind" * 100)
    with pytest.raises(DataError, match="file is not a database"):
        DeadDatabase(f"sqlite:///{path}").of_run(1)


def test_wrong_password_is_not_shown(postgres_server):
    wrong = postgres_server.set(password="Hidden4711")
    with pytest.raises(DataError, match="password authentication failed") as caught:
        DeadDatabase(wrong.render_as_string(hide_password=False)).of_run(1)
    everything = "".join(traceback.format_exception(caught.value))
    assert "Hidden4711" not in everything
    assert postgres.PASSWORD not in everything


def test_source_of_an_interval_holds_no_account(url):
    source = DeadDatabase(url).of_run(100).source
    assert postgres.USER not in source
    assert postgres.PASSWORD not in source
    assert source.startswith(("sqlite:///", "postgresql+psycopg://"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql+pymysql://me:Secret@host:3306/meg", "mysql+pymysql://host:3306/meg"),
        ("postgresql://host/meg?password=Secret&host=/run", "postgresql://host/meg?host=%2Frun"),
        ("sqlite:////data/meg.db", "sqlite:////data/meg.db"),
    ],
)
def test_shown_url(url, shown):
    assert shown_url(parse_url(url)) == shown


@pytest.mark.parametrize("url", ["mysql+pymysql://me:Secret@host:port/meg", "://Secret", ""])
def test_url_that_cannot_be_parsed_is_not_shown(url):
    with pytest.raises(ConfigError, match="cannot be parsed") as caught:
        DeadDatabase(url)
    assert "Secret" not in "".join(traceback.format_exception(caught.value))


def test_unknown_dialect_and_missing_driver(monkeypatch):
    with pytest.raises(ConfigError, match="SQLAlchemy knows no database 'nosql'"):
        DeadDatabase("nosql://me:Secret@host/meg")

    def no_driver(*args, **options):
        raise ModuleNotFoundError("No module named 'pymysql'", name="pymysql")

    monkeypatch.setattr(sa, "create_engine", no_driver)
    with pytest.raises(ConfigError, match="driver 'pymysql' is not installed: pip install pymysql"):
        open_engine(make_url("mysql+pymysql://me:Secret@host/meg"), "meg")


def test_query_in_the_words_of_mysql():
    names = {table: dict(zip(columns, columns, strict=True)) for table, columns in SCHEMA.items()}
    tables = {table: table_as(table, spelling) for table, spelling in names.items()}
    statement = str(chain_statement(tables).compile(dialect=mysql.dialect()))
    assert " ".join(statement.split()) == (
        "SELECT `RunCatalog`.id, `RunCatalog`.`XECConf_id`, `XECConf`.id AS id_1, "
        "`XECConf`.`XECPMStatusDB_id`, `XECPMStatusDB`.id AS id_2, "
        "`XECPMStatusDB`.`XECPMStatus_id` FROM `RunCatalog` "
        "LEFT OUTER JOIN `XECConf` ON `XECConf`.id = `RunCatalog`.`XECConf_id` "
        "LEFT OUTER JOIN `XECPMStatusDB` ON `XECPMStatusDB`.id = `XECConf`.`XECPMStatusDB_id` "
        "WHERE `RunCatalog`.id BETWEEN %s AND %s ORDER BY `RunCatalog`.id"
    )
