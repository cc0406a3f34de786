import csv
import json

import numpy as np
import pytest

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.dead_study import AVERAGE, COMPLETE, RAW
from xec_pipeline.evaluation.dead_table import build_strategy_table
from xec_pipeline_tests.evaluation.synthetic import WIDTHS, prediction_table

TASKS = ("energy", "uvwFI")


def tables(widening, n_events=4000):
    """Return predictions whose u residuals are wider by a factor for each strategy."""
    complete = prediction_table(n_events, energy_mev=52.83)
    found = {}
    for strategy, factor in widening.items():
        table = complete.copy()
        table["pred_u"] = table["true_u"] + factor * (table["pred_u"] - table["true_u"])
        found[strategy] = dict.fromkeys(TASKS, table)
    return found


def row_of(table, label, estimator):
    return next(row for row in table.rows if row.label == label and row.estimator == estimator)


def test_widths_and_their_differences_are_found():
    table = build_strategy_table(tables({COMPLETE: 1.0, RAW: 1.3, AVERAGE: 1.0}), "run demo")
    row = row_of(table, "u [mm]", "68 % half width")
    for name, factor in ((COMPLETE, 1.0), (RAW, 1.3), (AVERAGE, 1.0)):
        entry = row.entries[name]
        assert abs(entry.value - 10 * WIDTHS["u"] * factor) < 4 * entry.error
    assert row.in_sigma[RAW] > 10
    assert np.isnan(row.in_sigma[AVERAGE])  # equal events: no difference, and no spread of it
    assert COMPLETE not in row.in_sigma


def test_table_says_what_it_shows():
    text = build_strategy_table(tables({COMPLETE: 1.0, RAW: 1.3}), "run demo, 143 dead").text()
    assert text.startswith("run demo, 143 dead, 52.83 MeV\n")
    assert "no dead sensor" in text
    assert "left dead" in text
    assert "4000" in text


def test_files_hold_the_same_numbers(tmp_path):
    table = build_strategy_table(tables({COMPLETE: 1.0, RAW: 1.3}, 500), "run demo")
    paths = table.write(tmp_path / "inpainter_dead_study_demo")
    assert {path.name for path in paths.values()} == {
        f"inpainter_dead_study_demo.{ending}" for ending in ("csv", "json", "md", "txt")
    }
    with paths["csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    stored = json.loads(paths["json"].read_text())["rows"]
    assert [float(row["value"]) for row in rows] == [row["value"] for row in stored]
    assert paths["txt"].read_text() == table.text()


def test_no_usable_event_is_an_error():
    empty = {COMPLETE: dict.fromkeys(TASKS, prediction_table(0))}
    with pytest.raises(DataError, match="no event has truth and prediction"):
        build_strategy_table(empty, "run demo")
