"""Dead sensors of several periods: counts, similarity, changes, and the files."""

import csv

import numpy as np
import pytest

from xec_pipeline.detector.dead_table import DeadInterval
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.dead_comparison import (
    DeadComparison,
    Period,
    jaccard,
    write_dead_comparison,
)


def period(label, run, *channels, source="table"):
    dead = DeadInterval(run_first=run, run_last=run, channels=channels, status_id=7, source=source)
    return Period(label=label, run=run, dead=dead)


@pytest.fixture
def comparison():
    return DeadComparison(
        (
            period("2021", 391066, 1, 2, 3, 4092),
            period("2022|a", 427120, 2, 3, 4745, 4759),
            period("2023", 520134),
        )
    )


def test_jaccard():
    assert jaccard((1, 2, 3), (2, 3, 4)) == 0.5
    assert jaccard((1,), ()) == 0
    assert jaccard((), ()) == 1


def test_changes(comparison):
    first, second, third = comparison.changes()
    assert first is None
    assert (second.new, second.recovered) == ((4745, 4759), (1, 4092))
    assert second.jaccard == 2 / 6
    assert (third.new, third.recovered, third.jaccard) == ((), (2, 3, 4745, 4759), 0)


def test_similarity_is_symmetric_with_ones_on_the_diagonal(comparison):
    expected = np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 1]])
    assert np.allclose(comparison.similarity(), expected)


def test_records(comparison):
    first, second, _ = comparison.records()
    assert (first["inner"], first["outer"], first["total"], first["new"]) == (3, 1, 4, None)
    assert (second["outer"], second["new"], second["recovered"]) == (2, 2, 2)
    assert second["fraction"] == 4 / 4760


def test_text_and_markdown(comparison):
    line = comparison.text().splitlines()[5]
    assert line.split() == [
        *("2022|a", "427120", "2", "0", "0", "2", "0", "0", "4", "0.08", "%", "2", "2", "0.333"),
    ]
    assert "| 2022\\|a | 427120 | 2 |" in comparison.markdown()
    assert "toy detector" not in comparison.text()


def test_lists_from_toy_events_are_called_so(tmp_path):
    source = "no value in a.root (toy detector)"
    toy = DeadComparison((period("a", 1, 5), period("b", 2, 5, source=source)))
    assert toy.is_toy
    assert toy.text().startswith("Dead sensors by period, toy detector")
    assert "Jaccard similarity of the dead sets, toy detector" in toy.text()


def test_files(comparison, tmp_path):
    paths = write_dead_comparison(comparison, tmp_path / "new")
    rows = list(csv.DictReader(paths["csv"].read_text().splitlines()))
    assert [row["period"] for row in rows] == ["2021", "2022|a", "2023"]
    assert [row["jaccard_with_previous"] for row in rows] == ["", str(2 / 6), "0.0"]
    changes = [
        tuple(row.values()) for row in csv.DictReader(paths["changes"].read_text().splitlines())
    ]
    assert len(changes) == 8
    assert ("2021", "2022|a", "4092", "recovered") in changes
    assert paths["txt"].read_text() == comparison.text()
    assert paths["md"].read_text() == comparison.markdown()
    first = paths["pdf"].read_bytes()
    assert first.startswith(b"%PDF")
    assert write_dead_comparison(comparison, tmp_path / "new")["pdf"].read_bytes() == first


def test_one_period_and_many(tmp_path):
    one = DeadComparison((period("a", 1, 5),))
    assert write_dead_comparison(one, tmp_path)["changes"].read_text() == (
        "before,after,channel,change\n"
    )
    many = DeadComparison(tuple(period(f"p{n}", n, *range(n)) for n in range(1, 13)))
    assert write_dead_comparison(many, tmp_path)["pdf"].stat().st_size > 5000


@pytest.mark.parametrize("labels", [[], ["a", "b", "a"]])
def test_periods_need_different_labels(labels):
    with pytest.raises(DataError, match="expected different labels"):
        DeadComparison(tuple(period(label, 1) for label in labels))
