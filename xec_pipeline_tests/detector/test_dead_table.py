"""Intervals of runs: reading with every possible fault, looking up, adding."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xec_pipeline.detector.dead_table import DeadInterval, DeadTable, merge_neighbours
from xec_pipeline.detector.dead_table_file import (
    add_to_dead_table,
    read_dead_table,
    write_dead_table,
)
from xec_pipeline.errors import DataError

HEADER = "run_first,run_last,status_id,channel,source\n"


@pytest.fixture
def table_file(tmp_path):
    def write(text: str):
        path = tmp_path / "dead_channels.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def interval(first, last, *channels, status=None, source=""):
    return DeadInterval(
        run_first=first, run_last=last, channels=channels, status_id=status, source=source
    )


def test_table_is_read(table_file):
    path = table_file(
        HEADER + "200,299,8,,\n100,199,7,4092,logbook\n\n100,199,7,12,logbook\n300,300,,5,\n"
    )
    assert read_dead_table(path).intervals == (
        interval(100, 199, 12, 4092, status=7, source="logbook"),
        interval(200, 299, status=8),
        interval(300, 300, 5),
    )


def test_spreadsheet_with_byte_order_mark_other_order_and_spaces(table_file):
    path = table_file("\ufeffchannel, run_last ,run_first\r\n12, 199,100\r\n")
    assert read_dead_table(path).intervals == (interval(100, 199, 12),)


def test_header_alone_is_a_table_that_knows_no_run(table_file):
    table = read_dead_table(table_file(HEADER))
    assert table.all_intervals() == ()
    with pytest.raises(DataError, match="knows no run at all"):
        table.of_run(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column 'run_first', 'run_last', 'channel'; expected run_first,"),
        (
            "run_first,run_last,chanel\n",
            "line 1: unknown column 'chanel' (did you mean 'channel'?)",
        ),
        ("run_first,run_last,channel,channel\n", "line 1: column 'channel' is there twice"),
        ("run_first,channel\n", "line 1: no column 'run_last'"),
        (HEADER + "1,2,3,4\n", "line 2: 4 values, expected 5"),
        (HEADER + "1,2,,4,x\n\n1,b,,5,x\n", "line 4: run_last 'b' is not a run number"),
        (HEADER + "-1,2,,4,\n", "line 2: run_first '-1' is not a run number"),
        (HEADER + "1.0,2,,4,\n", "line 2: run_first '1.0' is not a run number"),
        (HEADER + "1,9999999999,,4,\n", "line 2: run_last '9999999999' is not a run number"),
        (HEADER + "1,2,,4760,\n", "line 2: '4760' is not a sensor number"),
        (HEADER + "1,2,,3 4,\n", "line 2: '3 4' is not a sensor number"),
        (HEADER + "1,2,x,4,\n", "line 2: status_id 'x' is not a whole number"),
        (HEADER + "1,2,,4,\n1,2,,5,\n1,2,,4,\n", "line 4: sensor 4 stands already in"),
        (HEADER + "1,2,,,\n1,2,,5,\n", "line 3: the runs have a line without channel"),
        (HEADER + "1,2,,5,\n1,2,,,\n", "line 3: the runs have a line without channel"),
        (HEADER + "1,2,,,\n1,2,,,\n", "line 3: no channel stands already in"),
        (HEADER + "1,2,7,5,\n1,2,8,6,\n", "line 3: status_id or source differ"),
        (HEADER + "1,2,,5,a\n1,2,,6,b\n", "line 3: status_id or source differ"),
        (HEADER + "5,4,,1,\n", "line 2: run_first 5 is after run_last 4"),
        (HEADER + "1,5,,1,\n9,9,,1,\n5,8,,1,\n", "line 4: runs 5-8 overlap with 1-5 ("),
        (HEADER + "1,9,,1,\n3,4,,1,\n", "line 3: runs 3-4 overlap with 1-9 ("),
        (HEADER + '1,2,,4,"open\n', "line 2: not comma-separated"),
    ],
)
def test_fault_is_named_with_its_line(table_file, text, message):
    path = table_file(text)
    with pytest.raises(DataError, match="^" + re.escape(f"{path}, {message}")):
        read_dead_table(path)


def test_missing_table_names_the_nearest(table_file):
    path = table_file(HEADER)
    with pytest.raises(DataError, match=r"did you mean 'dead_channels\.csv'"):
        read_dead_table(path.with_name("dead_chanels.csv"))


@pytest.mark.parametrize(
    ("run", "near"),
    [
        (99, "nearest: 100-199 after"),
        (200, "nearest: 100-199 before, 250 after"),
        (251, "nearest: 250 before"),
    ],
)
def test_unknown_run_names_the_nearest_intervals(run, near):
    table = DeadTable("dead.csv", (interval(250, 250, 2), interval(100, 199, 1)))
    with pytest.raises(DataError) as caught:
        table.of_run(run)
    assert f"dead.csv: nothing is known of run {run} ({near})" in str(caught.value)
    assert "not a run without dead sensors" in str(caught.value)


def test_both_ends_belong_to_an_interval():
    table = DeadTable("dead.csv", (interval(100, 199, 1), interval(200, 299)))
    assert [table.of_run(run).channels for run in (100, 199, 200, 299)] == [(1,), (1,), (), ()]


@pytest.mark.parametrize("intervals", [[(1, 5), (5, 6)], [(1, 5), (1, 5)], [(6, 5)]])
def test_impossible_intervals(intervals):
    with pytest.raises(DataError, match=r"^here: "):
        DeadTable("here", tuple(interval(*runs) for runs in intervals))


def test_neighbours_are_joined_if_equal_and_without_gap():
    parts = [
        interval(4, 4, 1),
        interval(1, 2, 1),
        interval(3, 3, 1),
        interval(6, 6, 1),
        interval(7, 7, 2),
        interval(8, 8, 2, status=5),
    ]
    assert merge_neighbours(parts) == [
        interval(1, 4, 1),
        interval(6, 6, 1),
        interval(7, 7, 2),
        interval(8, 8, 2, status=5),
    ]


def test_new_intervals_replace_what_stood_for_their_runs():
    table = DeadTable("t", (interval(1, 100, 1), interval(200, 300, 2)))
    table = table.with_intervals([interval(50, 60, 9), interval(90, 250), interval(301, 310, 2)])
    assert table.intervals == (
        interval(1, 49, 1),
        interval(50, 60, 9),
        interval(61, 89, 1),
        interval(90, 250),
        interval(251, 310, 2),
    )


def test_adding_to_a_file(tmp_path):
    path = tmp_path / "new" / "dead_channels.csv"
    add_to_dead_table(path, [interval(1, 5, 3)])
    add_to_dead_table(path, [interval(4, 6, 3)])
    assert read_dead_table(path).intervals == (interval(1, 6, 3),)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"holds other dead sensors for runs 1-6 than .* 6-7"):
        add_to_dead_table(path, [interval(6, 7)])
    assert path.read_bytes() == before
    add_to_dead_table(path, [interval(6, 7)], replace=True)
    assert read_dead_table(path).intervals == (interval(1, 5, 3), interval(6, 7))


LISTS = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.integers(0, 5),
        st.sets(st.integers(0, 4759), max_size=4),
        st.none() | st.integers(0, 99),
        st.sampled_from(["", "a,b", 'log "book"', "é"]),
    ),
    max_size=5,
)


@given(LISTS)
def test_what_is_written_is_read_again(tmp_path_factory, parts):
    intervals, run = [], 0
    for gap, length, channels, status, source in parts:
        run += gap
        intervals.append(
            interval(run, run + length, *sorted(channels), status=status, source=source)
        )
        run += length
    path = tmp_path_factory.getbasetemp() / "dead_round_trip.csv"
    write_dead_table(path, DeadTable(str(path), tuple(intervals)))
    assert read_dead_table(path) == DeadTable(str(path), tuple(intervals))
