import csv
import json

import numpy as np
import pytest

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.comparison import BIAS
from xec_pipeline.evaluation.dead_study import AVERAGE, COMPLETE, RAW
from xec_pipeline.evaluation.dead_table import build_strategy_table
from xec_pipeline.evaluation.resolution import median_bias
from xec_pipeline.evaluation.side_by_side import paired_error
from xec_pipeline_tests.evaluation.synthetic import WIDTHS, prediction_table

TASKS = ("energy", "uvwFI")


def tables(widening, n_events=4000, shifts_mm=None):
    """Return predictions whose u residuals are wider by a factor, and shifted, by strategy."""
    complete = prediction_table(n_events, energy_mev=52.83)
    found = {}
    for strategy, factor in widening.items():
        table = complete.copy()
        table["pred_u"] = table["true_u"] + factor * (table["pred_u"] - table["true_u"])
        table["pred_u"] += (shifts_mm or {}).get(strategy, 0.0) / 10
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
    assert "difference to the same events with all sensors alive" in text


def test_a_shift_is_found_though_it_is_small_beside_the_width():
    shifts = {RAW: 0.2}
    table = build_strategy_table(
        tables({COMPLETE: 1.0, RAW: 1.05}, shifts_mm=shifts), "run demo, 143 dead"
    )
    row = row_of(table, "u [mm]", BIAS)
    difference = row.entries[RAW].value - row.entries[COMPLETE].value
    assert abs(difference - 0.2) < 0.02
    assert row.in_sigma[RAW] > 8  # 0.2 mm, the unpaired uncertainty is 0.06 mm
    for text in (table.text(), table.markdown()):
        (line,) = [line for line in text.splitlines() if "u [mm]" in line and BIAS in line]
        assert f"({row.in_sigma[RAW]:+.1f})" in line
    records = [record for record in table.records() if record["estimator"] == BIAS]
    assert {record["quantity"] for record in records} == {
        "energy [%]",
        "u [mm]",
        "v [mm]",
        "w [mm]",
    }


def test_sigma_of_a_shift_is_the_spread_of_new_events():
    rng = np.random.default_rng(3)
    shifts, errors = [], []
    for _ in range(120):
        alive = rng.standard_normal(400)
        dead = alive + 0.1 + 0.3 * rng.standard_normal(400)
        shifts.append(median_bias(dead).value - median_bias(alive).value)
        errors.append(paired_error(median_bias, dead, alive))
    assert abs(np.mean(shifts) - 0.1) < 4 * np.std(shifts) / np.sqrt(120)
    # The bootstrap of a median is a little too wide, never too narrow.
    assert 0.9 < np.mean(errors) / np.std(shifts, ddof=1) < 1.4


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
