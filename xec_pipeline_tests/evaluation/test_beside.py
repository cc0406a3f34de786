import json
import shutil

import numpy as np
import pandas as pd
import pytest

from xec_pipeline.evaluation.beside import conventional_table, with_conventional
from xec_pipeline.evaluation.report import write_resolution_figures
from xec_pipeline.evaluation.tables import TASK_QUANTITIES, write_prediction_csvs
from xec_pipeline_tests.evaluation.synthetic import prediction_table

TASKS = ("energy", "timing", "uvwFI")


def write_both(folder, n_events=2_000):
    """Write a network, and a conventional reconstruction that is twice as wide, shuffled."""
    table = prediction_table(n_events)
    wide = table.copy()
    for names in TASK_QUANTITIES.values():
        for name in names:
            wide[f"pred_{name}"] = 2 * table[f"pred_{name}"] - table[f"true_{name}"]
    write_prediction_csvs(table, folder, "r")
    write_prediction_csvs(wide.iloc[::-1], folder, "r", tasks=TASKS, method="conventional")
    return table


def panels(folder, task):
    content = json.loads((folder / f"resolution_{task}_r.json").read_text())
    return {key: panel for page in content["pages"] for key, panel in page["panels"].items()}


def test_events_are_matched_by_their_numbers(tmp_path):
    table = write_both(tmp_path, 50)
    joined = with_conventional({"energy": table, "angle": table}, tmp_path, "r")
    residual = joined["energy"]["conventional_energy"] - table["true_energy"]
    expected = 2 * (table["pred_energy"] - table["true_energy"])
    np.testing.assert_allclose(residual, expected, atol=1e-6)
    beside = conventional_table(joined["energy"])
    assert beside is not None
    np.testing.assert_array_equal(beside["pred_energy"], joined["energy"]["conventional_energy"])
    assert conventional_table(joined["angle"]) is None


def test_event_that_the_other_lacks_is_nan(tmp_path):
    table = write_both(tmp_path, 50)
    extra = table.copy()
    extra.loc[7, "event"] = 999
    joined = with_conventional({"uvwFI": extra}, tmp_path, "r")["uvwFI"]
    assert np.flatnonzero(joined["conventional_u"].isna()).tolist() == [7]


def test_truth_of_other_events_is_not_used(tmp_path, caplog):
    write_both(tmp_path, 50)
    other = prediction_table(50, seed=2)
    joined = with_conventional({"energy": other}, tmp_path, "r")["energy"]
    assert "conventional_energy" not in joined
    assert "baseline_conventional_energy_r.csv: not used" in caplog.text


def test_tables_without_numbers_of_events_stay_alone(tmp_path):
    table = write_both(tmp_path, 50).drop(columns=["run", "event"])
    joined = with_conventional({"energy": table}, tmp_path, "r")["energy"]
    pd.testing.assert_frame_equal(joined, table)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a folder with CSVs, and figures of the tasks that both methods have."""
    folder = tmp_path_factory.mktemp("drawn")
    write_both(folder, 1_000)
    write_resolution_figures(folder, "r", TASKS)
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_profiles_show_both_in_the_same_bins(drawn, task):
    found = panels(drawn, task)
    name = TASK_QUANTITIES[task][0]
    shown = [key for key, panel in found.items() if "conventional" in panel]
    assert {f"resolution_{name}_vs_{name}", f"bias_{name}_vs_{name}"} <= set(shown)
    for key in shown:
        own, other = found[key]["profile"], found[key]["conventional"]
        assert own["edges"] == other["edges"]
        assert own["n"] == other["n"]
    own, other = (found[f"resolution_{name}_vs_energy"][key] for key in ("profile", "conventional"))
    np.testing.assert_allclose(other["value"], 2 * np.array(own["value"]), rtol=1e-4)


def test_distance_and_relative_energy_show_both(drawn):
    distance = panels(drawn, "uvwFI")["resolution_distance_vs_energy"]
    own, other = distance["68 % of events"], distance["conventional, 68 %"]
    np.testing.assert_allclose(other["value"], 2 * np.array(own["value"]), rtol=1e-4)
    relative = panels(drawn, "energy")["relative_resolution_vs_energy"]
    own, other = relative["profile"], relative["conventional"]
    np.testing.assert_allclose(other["value"], 2 * np.array(own["value"]), rtol=1e-4)
    assert other["value"][0] > 1  # per cent


def test_tables_alone_give_the_same_figure_and_without_its_file_the_network_stays(drawn, tmp_path):
    for path in drawn.glob("*_timing_r.csv"):
        shutil.copy(path, tmp_path)
    write_resolution_figures(tmp_path, "r", ["timing"])
    for ending in ("json", "pdf"):
        name = f"resolution_timing_r.{ending}"
        assert (drawn / name).read_bytes() == (tmp_path / name).read_bytes()
    with_it = panels(tmp_path, "timing")
    (tmp_path / "baseline_conventional_timing_r.csv").unlink()
    write_resolution_figures(tmp_path, "r", ["timing"])
    for key, panel in panels(tmp_path, "timing").items():
        assert panel == {name: with_it[key][name] for name in panel}
        assert "conventional" not in panel
