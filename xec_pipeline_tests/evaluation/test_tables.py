import numpy as np
import pandas as pd
import pytest

from xec_pipeline.errors import CorruptFileError, DataError, NonFiniteDataError
from xec_pipeline.evaluation.tables import (
    TASK_QUANTITIES,
    prediction_path,
    read_prediction_csv,
    read_prediction_csvs,
    write_prediction_csvs,
)
from xec_pipeline_tests.evaluation.synthetic import prediction_table

CONTRACT = {
    "angle": "true_theta,true_phi,pred_theta,pred_phi",
    "energy": "true_energy,pred_energy",
    "timing": "true_timing,pred_timing",
    "uvwFI": "true_u,true_v,true_w,pred_u,pred_v,pred_w",
}


def test_contract_columns_come_first_then_keys(tmp_path):
    paths = write_prediction_csvs(prediction_table(3), tmp_path, "r")
    for task, columns in CONTRACT.items():
        assert paths[task].name == f"predictions_{task}_r.csv"
        header = paths[task].read_text().splitlines()[0]
        assert header.startswith(columns + ",run,event")


def test_units_of_the_files_are_gev_and_seconds(tmp_path):
    table = prediction_table(4)
    paths = write_prediction_csvs(table, tmp_path, "r")
    energy, timing = pd.read_csv(paths["energy"]), pd.read_csv(paths["timing"])
    np.testing.assert_allclose(energy["pred_energy"], table["pred_energy"] / 1e3, rtol=1e-8)
    np.testing.assert_allclose(energy["true_energy"], table["true_energy"] / 1e3, rtol=1e-8)
    np.testing.assert_allclose(timing["pred_timing"], table["pred_timing"] / 1e9, rtol=1e-11)
    np.testing.assert_allclose(timing["true_energy"], table["true_energy"] / 1e3, rtol=1e-8)


def test_round_trip_keeps_float32_and_subpicosecond_times(tmp_path):
    table = prediction_table(50)
    table["pred_energy"] = table["pred_energy"].astype(np.float32)
    table["true_timing"] += 5_000.0
    table["pred_timing"] += 5_000.0
    write_prediction_csvs(table, tmp_path, "r")
    back = read_prediction_csvs(tmp_path, "r")
    assert tuple(back) == tuple(TASK_QUANTITIES)
    restored = back["energy"]["pred_energy"].to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(restored, table["pred_energy"].to_numpy())
    difference_ns = back["timing"]["pred_timing"].to_numpy() - table["pred_timing"].to_numpy()
    assert np.abs(difference_ns).max() < 1e-7
    assert back["uvwFI"]["event"].dtype == np.int64


def test_equal_tables_give_equal_bytes_and_suffix_is_kept(tmp_path):
    first = write_prediction_csvs(prediction_table(20), tmp_path / "a", "r", "_ep3")
    second = write_prediction_csvs(dict(prediction_table(20)), tmp_path / "b", "r", "_ep3")
    assert first["angle"].name == "predictions_angle_r_ep3.csv"
    for task, path in first.items():
        assert path.read_bytes() == second[task].read_bytes()


def test_only_present_tasks_are_written(tmp_path):
    table = prediction_table(5)[["run", "event", "true_energy", "pred_energy"]]
    assert list(write_prediction_csvs(table, tmp_path, "r")) == ["energy"]
    with pytest.raises(DataError, match=r"column 'true_theta' of task angle is missing"):
        write_prediction_csvs(table, tmp_path, "r", tasks=["angle"])


def test_predicted_sigma_is_the_last_column(tmp_path):
    table = prediction_table(5).assign(pred_sigma_energy=0.5)
    path = write_prediction_csvs(table, tmp_path, "r")["energy"]
    assert path.read_text().splitlines()[0].endswith(",pred_sigma_energy")
    np.testing.assert_allclose(read_prediction_csv(path, "energy")["pred_sigma_energy"], 0.5)


def test_events_without_truth_are_left_out_and_counted(tmp_path, caplog):
    table = prediction_table(5)
    table.loc[[1, 3], "true_energy"] = np.nan
    paths = write_prediction_csvs(table, tmp_path, "r")
    assert len(read_prediction_csv(paths["energy"], "energy")) == 3
    assert len(read_prediction_csv(paths["uvwFI"], "uvwFI")) == 5
    assert "2 events without truth left out" in caplog.text


def test_file_with_contract_columns_alone_is_read(tmp_path):
    path = tmp_path / "predictions_energy_x.csv"
    path.write_text("pred_energy,true_energy,extra\n0.05,0.052,1\n")
    table = read_prediction_csv(path, "energy", strict=True)
    np.testing.assert_allclose(table["pred_energy"], 50.0)


def test_baselines_have_their_own_names(tmp_path):
    paths = write_prediction_csvs(prediction_table(2), tmp_path, "r", method="trivial")
    assert paths["uvwFI"] == prediction_path(tmp_path, "uvwFI", "r", method="trivial")
    assert paths["uvwFI"].name == "baseline_trivial_uvwFI_r.csv"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", CorruptFileError, "not a table"),
        (
            "true_energy,pred_enrgy\n1,2\n",
            DataError,
            r"e\.csv: column 'pred_energy'.*did you mean 'pred_enrgy'",
        ),
        ("true_energy,pred_energy\n1,abc\n", CorruptFileError, "line 2: 'abc' is not a number"),
        ("true_energy,pred_energy\n", DataError, "holds no event"),
        ("true_energy,pred_energy\n1,2\n1,nan\n", NonFiniteDataError, "1 of 2 events.*line 3"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, content, error, message):
    path = tmp_path / "e.csv"
    path.write_text(content)
    with pytest.raises(error, match=message):
        read_prediction_csv(path, "energy", strict=True)


def test_missing_file_names_its_neighbour(tmp_path):
    write_prediction_csvs(prediction_table(2), tmp_path, "demo")
    with pytest.raises(DataError, match=r"did you mean 'predictions_energy_demo\.csv'"):
        read_prediction_csvs(tmp_path, "demos", tasks=["energy"])
    with pytest.raises(DataError, match="no predictions: expected files"):
        read_prediction_csvs(tmp_path / "none", "demo")


def test_empty_table_gives_files_with_a_header(tmp_path):
    paths = write_prediction_csvs(prediction_table(0), tmp_path, "r")
    assert len(read_prediction_csv(paths["angle"], "angle")) == 0


def test_columns_of_different_length_are_refused(tmp_path):
    with pytest.raises(DataError, match="differ in length"):
        write_prediction_csvs({"run": [1], "event": [1, 2]}, tmp_path, "r")
    with pytest.raises(DataError, match="needs the columns event"):
        write_prediction_csvs({"run": [1]}, tmp_path, "r")
