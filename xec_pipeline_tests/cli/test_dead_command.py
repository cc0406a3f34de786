"""`xec dead`, each action as a user types it."""

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from xec_pipeline.__main__ import main
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.detector.dead_channels import read_dead_file
from xec_pipeline.detector.dead_runs import dead_mask_for
from xec_pipeline.detector.dead_table_file import read_dead_table
from xec_pipeline_tests.detector import made_up_database
from xec_pipeline_tests.detector.made_up_database import BAD

TABLE = """\
run_first,run_last,status_id,channel,source
100,199,7,3,log
100,199,7,4745,log
200,299,8,,
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "dead_channels.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def database(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'meg.db'}"
    made_up_database.create(sa.create_engine(url, poolclass=NullPool))
    monkeypatch.setenv("XEC_DEAD_DB", url)
    return url


@pytest.fixture
def xec(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*words, status=0):
        assert main(["dead", *map(str, words)]) == status
        out, err = capsys.readouterr()
        return err if status else out

    return call


def test_list_prints_a_file_that_can_be_read(xec, table, tmp_path):
    out = xec("list", 150, "--source", table)
    assert out == "# run 150, XECPMStatus_id 7, n 2\n# source: log\n3\n4745\n"
    path = tmp_path / "dead.txt"
    path.write_text(out)
    assert np.flatnonzero(read_dead_file(path)).tolist() == [3, 4745]


def test_summary_of_all_intervals_and_of_runs(xec, table):
    lines = xec("summary", "--source", table).splitlines()
    assert lines[0].split() == [
        *("runs", "status", "inner", "us", "ds", "outer", "top", "bot", "total", "fraction"),
    ]
    assert lines[1].split() == ["100-199", "7", "1", "0", "0", "1", "0", "0", "2", "0.04", "%"]
    assert lines[2].split()[0] == "200-299"
    lines = xec("summary", 100, 250, "--source", table).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["100", "250"]


def test_unknown_run_is_one_line_of_error(xec, table):
    error = xec("summary", 300, "--source", table, status=2)
    assert error.startswith(f"xec dead: {table}: nothing is known of run 300 (nearest: 200-299")
    assert error.count("\n") == 1


def test_write_looks_up_all_before_it_writes(xec, table, tmp_path):
    xec("write", 100, 300, "--source", table, "--output_dir", tmp_path / "out", status=2)
    assert not (tmp_path / "out").exists()
    out = xec("write", 100, 250, "--source", table, "--output-dir", tmp_path / "out")
    assert out.split() == [str(tmp_path / "out" / f"dead_run{run}.txt") for run in (100, 250)]
    for run in (100, 250):
        assert np.array_equal(dead_mask_for(tmp_path / "out", run), dead_mask_for(table, run))


def test_compare(xec, table, tmp_path):
    out = xec("compare", "2021=120", "2022=210", 100, "--source", table, "--output_dir", "cmp")
    assert out.splitlines()[4].split()[:3] == ["2021", "120", "1"]
    assert (tmp_path / "cmp" / "dead_comparison.pdf").is_file()


def test_import_into_a_new_table(xec, database, tmp_path):
    out = xec("import", "--runs", "100:150")
    assert "7 runs from sqlite:///" in out
    table = read_dead_table(tmp_path / "dead_channels.csv")
    assert [item.runs for item in table.intervals] == ["100-102", "103-104", "106", "107"]
    assert table.of_run(101).channels == BAD
    xec("import", "--runs", "100:150")
    assert read_dead_table(tmp_path / "dead_channels.csv") == table


def test_import_keeps_and_replaces_what_a_table_says(xec, database, table):
    error = xec("import", "--runs", "100:107", "--out", table, status=2)
    assert "holds other dead sensors for runs 100-199" in error
    assert table.read_text() == TABLE
    xec("import", "--runs", "107", "--source", database, "--out", table, "--replace")
    merged = read_dead_table(table)
    assert [item.runs for item in merged.intervals] == ["100-106", "107", "108-199", "200-299"]


def test_import_of_incomplete_runs(xec, database):
    assert "run 200: table RunCatalog" in xec("import", "--runs", "106:201", status=2)
    out = xec("import", "--runs", "106:201", "--skip_incomplete")
    assert out.count("left out: ") == 2
    assert "2 runs from" in out


def test_without_a_source(xec, monkeypatch):
    monkeypatch.delenv("XEC_DEAD_DB", raising=False)
    assert "no source of dead sensors is named" in xec("list", 5, status=2)


@pytest.mark.parametrize("runs", ["", ":", "5:", ":5", "a:b", "9:5", "1-5"])
def test_impossible_range(xec, runs):
    assert f"--runs {runs}: " in xec("import", f"--runs={runs}", status=2)


@pytest.mark.parametrize("period", ["=5", "a=", "a=b", "x"])
def test_impossible_period(xec, table, period):
    assert "expected RUN or LABEL=RUN" in xec("compare", period, "--source", table, status=2)


@pytest.fixture
def events(tmp_path, event_factory):
    made = event_factory(20, seed=1)
    made["npho"][:, [10, 4745]] = 1e10
    return write_tree(tmp_path / "run.root", "tree", made, provenance={"detector": "toy"})


def test_from_data_into_table_list_and_folder(xec, events, tmp_path):
    out = xec("from-data", events, "--out", "seen.csv")
    assert "1001 (20 events)" in out
    xec("from-data", events, "--out", "seen.txt")
    xec("from-data", events, "--out", "lists")
    for source in ("seen.csv", "seen.txt", "lists"):
        mask = dead_mask_for(tmp_path / source, 1001)
        assert np.flatnonzero(mask).tolist() == [10, 4745]
    assert "(toy detector)" in (tmp_path / "seen.txt").read_text()
    compared = xec("compare", 1001, "--source", "lists")
    assert compared.startswith("Dead sensors by period, toy detector")


def test_from_data_warns_of_few_events(xec, tmp_path, event_factory):
    path = write_tree(tmp_path / "few.root", "tree", event_factory(3))
    assert "fewer than 20 events" in xec("from-data", path)


def test_from_data_without_run_numbers(xec, tmp_path):
    npho = np.ones((20, 4760), dtype="f4")
    npho[:, 5] = 1e10
    path = write_tree(tmp_path / "norun.root", "tree", {"npho": npho})
    assert "no run number" in xec("from-data", path, "--out", "a.csv", status=2)
    xec("from-data", path, "--out", "a.txt")
    assert np.flatnonzero(read_dead_file(tmp_path / "a.txt")).tolist() == [5]


@pytest.mark.parametrize("above", ["1", "-0.1", "nan"])
def test_impossible_share(xec, events, above):
    assert "expected a share" in xec("from-data", events, "--above", above, status=2)


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit):
        main(["dead", "--help"])
    out = capsys.readouterr().out
    assert "xec dead import --runs" in out
    assert "XEC_DEAD_DB" in out
