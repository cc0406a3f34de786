import json

import numpy as np
import pandas as pd
import pytest

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.compared_tables import sample_dir
from xec_pipeline.evaluation.comparison import (
    build_resolution_table,
    write_resolution_table,
)
from xec_pipeline.evaluation.metadata import PredictionMeta, write_meta
from xec_pipeline.evaluation.tables import TASK_QUANTITIES, write_prediction_csvs
from xec_pipeline_tests.evaluation.synthetic import prediction_table


def write_sample(folder, n_events=2_000, energy_mev=52.83):
    """Write a network of known width, a constant predictor, and an estimator twice as wide."""
    table = prediction_table(n_events, energy_mev=energy_mev)
    write_prediction_csvs(table, folder, "r")
    constant, wide = table.copy(), table.copy()
    for names in TASK_QUANTITIES.values():
        for name in names:
            constant[f"pred_{name}"] = 37.5
            wide[f"pred_{name}"] = 2 * table[f"pred_{name}"] - table[f"true_{name}"]
    write_prediction_csvs(constant, folder, "r", method="trivial")
    tasks = ["energy", "uvwFI"]
    write_prediction_csvs(wide, folder, "r", tasks=tasks, method="charge_weighted")
    write_meta(PredictionMeta(run_name="r", sample="data/toy/test", is_toy=True), folder)
    return table


def entries(table, quantity, estimator):
    return next(
        row.entries for row in table.rows if (row.quantity, row.estimator) == (quantity, estimator)
    )


def test_known_widths_are_found_for_every_method(tmp_path):
    write_sample(tmp_path)
    table = build_resolution_table(tmp_path, "r")
    width = entries(table, "u", "68 % half width")
    assert width["model"].value == pytest.approx(2.0, rel=0.06)
    assert width["charge-weighted"].value == pytest.approx(2 * width["model"].value)
    assert any("whole inner face" in note for note in table.notes())
    assert not any(note.startswith("Conventional") for note in table.notes())
    time = entries(table, "time", "68 % of |res| within")
    assert time["model"].value == pytest.approx(60, rel=0.06)
    assert "charge-weighted" not in time
    assert entries(table, "opening angle", "68 % of |res| within")["model"].value < 4


def test_conventional_reconstruction_has_its_column_and_note(tmp_path):
    table = write_sample(tmp_path, 400)
    tasks = ["energy", "timing", "uvwFI"]
    write_prediction_csvs(table, tmp_path, "r", tasks=tasks, method="conventional")
    made = build_resolution_table(tmp_path, "r")
    for quantity in ("energy", "w", "time"):
        found = entries(made, quantity, "68 % of |res| within")
        assert found["conventional"] == found["model"]
    assert "conventional" not in entries(made, "theta", "68 % of |res| within")
    assert made.cells()[0][2:4] == ["model", "conventional"]
    assert any(note.startswith("Conventional: a point") for note in made.notes())
    assert "model / conventional, 68 % of |res|: energy 1, u 1, v 1, w 1, time 1" in made.notes()


def test_constant_prediction_has_no_width_but_a_bias_at_one_energy(tmp_path):
    write_sample(tmp_path)
    table = build_resolution_table(tmp_path, "r")
    expected = 100 * (1 - 37.5 / 52.83)
    assert entries(table, "energy", "68 % half width")["training mean"].value == 0
    accuracy = entries(table, "energy", "68 % of |res| within")["training mean"].value
    assert accuracy == pytest.approx(expected, rel=1e-4)
    bias = entries(table, "energy", "median bias")["training mean"].value
    assert bias == pytest.approx(-expected, rel=1e-4)
    assert "52.83 MeV" in table.title


def test_only_signal_like_events_of_a_spectrum_are_compared(tmp_path):
    events = write_sample(tmp_path, energy_mev=None)
    table = build_resolution_table(tmp_path, "r")
    expected = int(events["true_energy"].between(50, 55).sum())
    assert {entry.n for row in table.rows for entry in row.entries.values()} == {expected}
    assert "true energy 50 to 55 MeV" in table.title


def test_text_is_aligned_and_states_sample_and_toy(tmp_path):
    write_sample(tmp_path, 500)
    text = build_resolution_table(tmp_path, "r").text()
    lines = text.splitlines()
    assert lines[0] == "run r, 52.83 MeV, sample data/toy/test, toy detector"
    body = lines[4 : lines.index(lines[1], 4)]
    assert len({len(line) for line in body}) == 1
    assert all(line.endswith(" 500") for line in body)
    assert any(
        line.startswith("model / charge-weighted, 68 % of |res|: energy 0.5") for line in lines
    )


def test_files_hold_every_number(tmp_path):
    write_sample(tmp_path / "test", 300)
    table, paths = write_resolution_table(tmp_path, "r", suffix="_x")
    assert paths["csv"] == tmp_path / "resolution_table_r_x.csv"
    frame = pd.read_csv(paths["csv"])
    assert list(frame.columns) == [
        "quantity", "unit", "estimator", "method", "value", "error", "n",
    ]  # fmt: skip
    assert len(frame) == len(table.records()) == 3 * 7 * 2 + 2 + 4 * 3
    assert json.loads(paths["json"].read_text())["rows"][0]["quantity"] == "energy"
    markdown = paths["md"].read_text()
    assert "| energy [%] | 68 % of \\|res\\| within |" in markdown


def test_test_sample_is_preferred(tmp_path):
    write_sample(tmp_path, 10)
    assert sample_dir(tmp_path, "r") == tmp_path
    write_sample(tmp_path / "test", 10)
    assert sample_dir(tmp_path, "r") == tmp_path / "test"


@pytest.mark.parametrize("n_events", [0, 1, 2])
def test_few_events_give_a_table(tmp_path, n_events):
    write_sample(tmp_path, n_events)
    table, _ = write_resolution_table(tmp_path, "r")
    assert "model" in table.text()


def test_network_alone_and_different_numbers_of_events(tmp_path):
    table = prediction_table(200, energy_mev=52.83)
    write_prediction_csvs(table, tmp_path, "r", method="trivial")
    with pytest.raises(DataError, match="no predictions for a table"):
        build_resolution_table(tmp_path, "r")
    table.loc[:4, "pred_energy"] = np.nan
    write_prediction_csvs(table.drop(columns="true_theta"), tmp_path, "r")
    made = build_resolution_table(tmp_path, "r")
    assert "195/200" in made.text()
    assert "theta" not in made.text()
