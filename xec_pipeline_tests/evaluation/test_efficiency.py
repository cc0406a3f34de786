import csv
import json

import numpy as np
import pandas as pd
import pytest

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.compared_tables import MODEL
from xec_pipeline.evaluation.efficiency import (
    HALF_WIDTH,
    RMS,
    Sample,
    expected_half_width,
    rows_of,
)
from xec_pipeline.evaluation.efficiency_report import build_efficiency_table, write_efficiency
from xec_pipeline.evaluation.efficiency_table import WARNING
from xec_pipeline.evaluation.tables import write_prediction_csvs
from xec_pipeline_tests.evaluation.synthetic import prediction_table

LIMIT_OF = {
    "theta": "lim_theta",
    "phi": "lim_phi",
    "energy": "lim_E",
    "timing": "lim_t",
    "u": "lim_u",
    "v": "lim_v",
    "w": "lim_w",
}


def at_the_limit(n_events, width=1.0, seed=4):
    """Predictions `width` times as wide as limits that grow with depth, and these limits."""
    rng = np.random.default_rng(seed)
    table = prediction_table(n_events, energy_mev=52.83)
    grown = 1 + table["true_w"].to_numpy() / 5
    limits = {"run": table["run"], "event": table["event"], "w": table["true_w"]}
    for quantity, name in LIMIT_OF.items():
        limits[name] = (grown if quantity in "uvw" else 1) * np.full(n_events, 0.1)
        shift = width * limits[name] * rng.standard_normal(n_events)
        table[f"pred_{quantity}"] = table[f"true_{quantity}"] + shift
    limits |= {"t_FI": table["true_timing"], "lim_t_emission": np.full(n_events, 0.2)}
    return table, {name: np.asarray(values) for name, values in limits.items()}


def written(folder, table, method=None, tasks=None):
    write_prediction_csvs(table, folder, "r", method=method, tasks=tasks)


def found(table, quantity, estimator):
    """Return the row of all depths."""
    return next(
        row
        for row in table.rows
        if (row.quantity, row.estimator, row.depth_cm) == (quantity, estimator, None)
    )


def test_residuals_as_wide_as_their_limits_have_efficiency_and_pull_one(tmp_path):
    table, limits = at_the_limit(1500)
    written(tmp_path, table)
    made = build_efficiency_table(tmp_path, "r", limits)
    assert {row.quantity for row in made.rows} == {"energy", "u", "v", "w", "time", "theta", "phi"}
    overall = [row for row in made.rows if row.depth_cm is None]
    assert [row.estimator for row in overall] == [RMS, HALF_WIDTH] * 7
    for row in overall:
        efficiency, pull = row.efficiency[MODEL], row.pull[MODEL]
        assert abs(efficiency.value - 1) < 3.5 * efficiency.error
        assert abs(pull.value - 1) < 3.5 * pull.error
        assert 0.01 < efficiency.error < 0.05
        assert row.n == 1500
    assert found(made, "energy", RMS).limit.value == pytest.approx(100 * 0.1 / 52.83)
    assert found(made, "time", RMS).limit.value == pytest.approx(100)
    assert not made.warnings()


def test_error_of_an_efficiency_covers_the_truth():
    pulls = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        limit = rng.uniform(1, 3, 300)
        residual = 1.5 * limit * rng.standard_normal(300)
        sample = Sample(
            quantity="u",
            unit="mm",
            residual={MODEL: residual},
            limit=limit,
            depth_cm=np.full(300, 2.5),
        )
        for row in list(rows_of(sample))[:2]:
            estimate = row.efficiency[MODEL]
            pulls.append((estimate.value - 1 / 1.5) / estimate.error)
    assert 0.75 < np.std(pulls) < 1.3
    assert abs(np.mean(pulls)) < 0.35


def test_half_width_of_residuals_with_different_limits():
    limit = np.random.default_rng(1).exponential(2.0, 400) + 0.1
    half = expected_half_width(limit)
    drawn = np.repeat(limit, 2000) * np.random.default_rng(2).standard_normal(800_000)
    assert half == pytest.approx(np.quantile(np.abs(drawn), 0.6827), rel=5e-3)
    assert expected_half_width(np.full(9, 2.5)) == pytest.approx(2.5, rel=1e-4)
    assert np.isnan(expected_half_width(np.empty(0)))


def test_ranges_of_depth_hold_every_event_once(tmp_path):
    table, limits = at_the_limit(3000, width=1.25)
    written(tmp_path, table, tasks=["uvwFI"])
    made = build_efficiency_table(tmp_path, "r", limits)
    ranges = [row for row in made.rows if row.depth_cm and row.estimator == RMS]
    of_w = [row for row in ranges if row.quantity == "w"]
    assert [(row.depth_cm or (-1.0, 0.0))[0] for row in of_w] == [0, 0.5, 1, 2, 3, 5, 8, 12, 20]
    assert sum(row.n for row in of_w) == 3000
    values = [row.limit.value for row in of_w if row.n >= 10]
    assert values == sorted(values)
    for row in of_w:
        if row.n >= 50:
            assert abs(row.efficiency[MODEL].value - 0.8) < 4 * row.efficiency[MODEL].error


def test_too_good_resolutions_are_flagged(tmp_path):
    table, limits = at_the_limit(2000, width=0.8)
    written(tmp_path, table, tasks=["uvwFI"])
    made = build_efficiency_table(tmp_path, "r", limits)
    assert found(made, "u", RMS).is_suspicious(MODEL)
    assert WARNING in made.text()
    assert f"model, u, all w, RMS: {WARNING}" in made.markdown()
    close, limits = at_the_limit(2000, width=0.95)
    written(tmp_path, close, tasks=["uvwFI"])
    assert not build_efficiency_table(tmp_path, "r", limits).warnings()


def test_ranges_of_few_events_are_not_judged(tmp_path):
    table, limits = at_the_limit(400, width=0.6)
    written(tmp_path, table, tasks=["uvwFI"])
    made = build_efficiency_table(tmp_path, "r", limits)
    judged = {row.n for row in made.rows if row.is_suspicious(MODEL)}
    assert min(judged) >= 100
    assert any(10 <= row.n < 100 and row.efficiency[MODEL].value > 1.5 for row in made.rows)
    assert "Rows of fewer than 100 events are not judged" in made.text()


def test_other_methods_stand_beside_the_network_but_not_the_training_mean(tmp_path):
    table, limits = at_the_limit(1000)
    wide, _ = at_the_limit(1000, width=2.0, seed=5)
    written(tmp_path, table)
    written(tmp_path, wide, "charge_weighted", ["energy", "uvwFI"])
    written(tmp_path, table.assign(pred_energy=52.83), "trivial", ["energy"])
    made = build_efficiency_table(tmp_path, "r", limits)
    assert made.methods == (MODEL, "charge-weighted")
    row = found(made, "u", RMS)
    assert row.efficiency["charge-weighted"].value == pytest.approx(0.5, rel=0.1)
    assert "charge-weighted" not in found(made, "time", RMS).resolution


def test_emission_times_are_compared_with_their_own_limit(tmp_path):
    table, limits = at_the_limit(400)
    limits["t_FI"] = limits["t_FI"] + 2.3
    written(tmp_path, table)
    made = build_efficiency_table(tmp_path, "r", limits)
    assert found(made, "time", RMS).limit.value == pytest.approx(200)
    limits["t_FI"] = limits["t_FI"] + 20
    with pytest.raises(DataError, match="neither those of the first interaction nor"):
        build_efficiency_table(tmp_path, "r", limits)


def test_events_without_a_limit_are_left_out_and_other_events_refused(tmp_path):
    table, limits = at_the_limit(400)
    written(tmp_path, table)
    some = {name: values[100:150] for name, values in limits.items()}
    assert found(build_efficiency_table(tmp_path, "r", some), "u", RMS).n == 50
    with pytest.raises(DataError, match="they are of other events"):
        build_efficiency_table(tmp_path, "r", limits | {"w": limits["w"][::-1]})
    with pytest.raises(DataError, match="none of the 400 predicted events"):
        build_efficiency_table(tmp_path, "r", limits | {"run": limits["run"] + 7})
    twice = {name: np.concatenate([values, values]) for name, values in limits.items()}
    with pytest.raises(DataError, match="event 0 of run 1 twice"):
        build_efficiency_table(tmp_path, "r", twice)


def test_tables_without_run_and_event_cannot_be_matched(tmp_path):
    table, limits = at_the_limit(50)
    written(tmp_path, table, tasks=["uvwFI"])
    path = tmp_path / "predictions_uvwFI_r.csv"
    pd.read_csv(path).drop(columns=["run", "event"]).to_csv(path, index=False)
    with pytest.raises(DataError, match="no column 'run'"):
        build_efficiency_table(tmp_path, "r", limits)


def test_files(tmp_path):
    table, limits = at_the_limit(300)
    written(tmp_path, table, tasks=["uvwFI"])
    made, paths = write_efficiency(tmp_path, "r", limits, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *(f"efficiency_table_r.{ending}" for ending in ("csv", "json", "md", "txt")),
        "limit_efficiency_r.json",
        "limit_efficiency_r.pdf",
    ]
    with paths["csv"].open() as file:
        records = list(csv.DictReader(file))
    assert len(records) == len(made.records()) == 3 * 2 * 10
    first = found(made, "u", RMS)
    assert float(records[0]["efficiency"]) == first.efficiency[MODEL].value
    assert paths["txt"].read_text() == made.text()
    assert "toy detector" in made.summary()
    drawn = json.loads((tmp_path / "out" / "limit_efficiency_r.json").read_text())
    assert drawn["is_toy"] is True
    panel = drawn["pages"][0]["panels"]["u RMS"]
    assert sum(panel["n"]) == 300


def test_two_events_give_a_table_without_values(tmp_path):
    table, limits = at_the_limit(2)
    written(tmp_path, table, tasks=["uvwFI"])
    made, _ = write_efficiency(tmp_path, "r", limits)
    assert np.isnan(found(made, "u", RMS).limit.value)
    assert "n/a" in made.text()
