import json

import numpy as np
import pytest

from xec_pipeline.evaluation.compared_tables import MODEL, compared_tables
from xec_pipeline.evaluation.comparison import build_resolution_table, write_resolution_table
from xec_pipeline.evaluation.efficiency_report import build_efficiency_table
from xec_pipeline.evaluation.metadata import PredictionMeta, earlier_tables, read_meta
from xec_pipeline.evaluation.origins import write_origin
from xec_pipeline.evaluation.promotion import read_model
from xec_pipeline.evaluation.report import write_resolution_figures
from xec_pipeline.evaluation.same_events import is_of_events, same_events
from xec_pipeline.evaluation.tables import contract_columns, write_prediction_csvs
from xec_pipeline_tests.evaluation.synthetic import prediction_table
from xec_pipeline_tests.evaluation.test_efficiency import at_the_limit

TASKS = ("angle", "energy", "timing", "uvwFI")
OLD = PredictionMeta(run_name="r", sample="toy/val", data_version="d1", model_digest="w1")
NEW = PredictionMeta(
    run_name="r",
    sample="toy/test",
    data_version="d2",
    model_digest="w1",
    n_without_truth={"energy": 3},
)


def predicted(folder, table, meta, tasks=TASKS):
    """Write tables and their origin as an evaluation of `tasks` does."""
    write_prediction_csvs(table, folder, meta.run_name, tasks=tasks)
    write_origin(meta, folder, tasks=tasks)


def quantities(table):
    return {row.quantity for row in table.rows}


@pytest.fixture
def partly_new(tmp_path):
    """Tables of one sample, of which that of energy was written anew for another sample."""
    predicted(tmp_path, prediction_table(120), OLD)
    predicted(tmp_path, prediction_table(80, seed=2), NEW, ["energy"])
    return tmp_path


def test_tables_that_were_not_predicted_anew_keep_their_origin(partly_new):
    assert read_meta(partly_new, "r", task="energy") == read_meta(partly_new, "r") == NEW
    for task in ("angle", "timing", "uvwFI"):
        assert read_meta(partly_new, "r", task=task) == OLD
    assert set(earlier_tables(partly_new, "r")) == {"angle", "timing", "uvwFI"}
    figure = write_resolution_figures(partly_new, "r", ["timing"])["timing"]
    assert json.loads(figure.with_suffix(".json").read_text())["sample"] == "toy/val"


def test_only_tables_of_one_origin_stand_in_a_table(partly_new):
    made = build_resolution_table(partly_new, "r")
    assert quantities(made) == {"energy"}
    (left_out,) = (note for note in made.notes() if "predictions_uvwFI_r.csv" in note)
    assert "sample toy/val (content d1)" in left_out
    assert set(read_model(partly_new, "r", "r").tables) == {"energy"}


def test_tables_predicted_one_by_one_of_the_same_events_stand_together(partly_new):
    for task in ("angle", "timing", "uvwFI"):
        predicted(partly_new, prediction_table(80, seed=2), NEW, [task])
    assert not earlier_tables(partly_new, "r")
    assert read_meta(partly_new, "r").n_without_truth == {"energy": 3}
    assert {"energy", "u", "time", "phi"} <= quantities(build_resolution_table(partly_new, "r"))


def test_the_same_choice_of_events_holds_for_all_tasks(tmp_path):
    table = prediction_table(600)
    for task in ("angle", "energy", "uvwFI"):
        scale = 1e-3 if task == "energy" else 1.0
        path = tmp_path / f"predictions_{task}_r.csv"
        (table[list(contract_columns(task))] * scale).to_csv(path, index=False)
    made = build_resolution_table(tmp_path, "r")
    assert made.selection == "true energy 50 to 55 MeV"
    expected = int(table["true_energy"].between(50, 55).sum())
    assert {row.entries[MODEL].n for row in made.rows} == {expected}


def test_without_energy_for_some_tasks_all_events_are_taken_and_it_is_said(tmp_path):
    table = prediction_table(300)
    write_prediction_csvs(table, tmp_path, "r", tasks=["energy"])
    plain = table[list(contract_columns("angle"))].iloc[:200]
    plain.to_csv(tmp_path / "predictions_angle_r.csv", index=False)
    made = build_resolution_table(tmp_path, "r")
    assert made.selection == "all events (true energy not known for angle)"
    assert {row.quantity: row.entries[MODEL].n for row in made.rows} == {
        "energy": 300, "theta": 200, "phi": 200, "opening angle": 200,
    }  # fmt: skip


def test_another_method_of_other_events_is_left_out_with_a_note(tmp_path):
    table, limits = at_the_limit(300)
    other, _ = at_the_limit(300, seed=5)
    write_prediction_csvs(table, tmp_path, "r", tasks=["energy", "uvwFI"])
    write_prediction_csvs(table, tmp_path, "r", tasks=["energy"], method="conventional")
    # The same numbers of runs and events, and other positions.
    other["true_u"] += 0.5
    write_prediction_csvs(other, tmp_path, "r", tasks=["uvwFI"], method="conventional")
    made = build_resolution_table(tmp_path, "r")
    compared = {row.quantity for row in made.rows if "conventional" in row.entries}
    assert compared == {"energy"}
    assert any("baseline_conventional_uvwFI_r.csv, whose truth" in note for note in made.notes())
    rows = build_efficiency_table(tmp_path, "r", limits).rows
    assert {row.quantity for row in rows if "conventional" in row.efficiency} == {"energy"}


def test_predictions_that_are_no_numbers_are_counted(tmp_path):
    table = prediction_table(200, energy_mev=52.83)
    worst = np.argsort(np.abs(table["pred_energy"] - table["true_energy"]))[-60:]
    write_prediction_csvs(table, tmp_path, "r", method="trivial")
    table.loc[worst, "pred_energy"] = np.nan
    write_prediction_csvs(table, tmp_path, "r")
    made, paths = write_resolution_table(tmp_path, "r")
    expected = "model: events without finite truth or prediction left out: energy 60."
    assert expected in made.notes()
    assert expected in paths["txt"].read_text()
    assert json.loads(paths["json"].read_text())["n_left_out"] == {"model": {"energy": 60}}


def test_a_table_of_one_epoch_and_of_some_tasks(tmp_path):
    table = prediction_table(100, energy_mev=52.83)
    write_prediction_csvs(table, tmp_path, "r")
    table["pred_energy"] = table["true_energy"] + 5
    write_prediction_csvs(table, tmp_path, "r", "_ep3")
    write_prediction_csvs(table, tmp_path, "r", method="trivial")
    found = compared_tables(tmp_path, "r", "_ep3", ["energy"])
    assert list(found.tables[MODEL]) == ["energy"]
    read = found.tables[MODEL]["energy"]
    assert (read["pred_energy"] - read["true_energy"]).to_numpy() == pytest.approx(5)
    assert len(found.tables["training mean"]["energy"]) == 100


def test_events_are_the_same_by_number_and_truth():
    first, other = prediction_table(30), prediction_table(30, seed=2)
    assert same_events(first, first.copy())
    assert not same_events(first, other)
    assert not same_events(first, first.iloc[:20])
    assert is_of_events(first.iloc[5:20], first, "uvwFI")
    assert not is_of_events(other, first, "uvwFI")
    assert not is_of_events(first.assign(run=2), first, "uvwFI")
    bare = first.drop(columns=["run", "event"])
    assert is_of_events(bare, first, "uvwFI")
    assert not is_of_events(bare.iloc[:20], first, "uvwFI")
