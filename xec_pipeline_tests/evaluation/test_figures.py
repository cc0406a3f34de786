import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from xec_pipeline.errors import CorruptFileError, DataError
from xec_pipeline.evaluation.cross_truth import with_cross_truth
from xec_pipeline.evaluation.metadata import PredictionMeta, read_meta, write_meta
from xec_pipeline.evaluation.report import draw_task, write_resolution_figures
from xec_pipeline.evaluation.tables import TASK_QUANTITIES, write_prediction_csvs
from xec_pipeline_tests.evaluation.synthetic import prediction_table

TASKS = tuple(TASK_QUANTITIES)
META = PredictionMeta(run_name="r", sample="data/toy/val", is_toy=True, git_revision="abcdef0")

CONTRACT_PANELS = {
    "angle": {
        "resolution_theta_vs_theta",
        "resolution_phi_vs_phi",
        "resolution_psi_vs_theta",
        "resolution_psi_vs_phi",
    },
    "energy": {f"resolution_energy_vs_{name}" for name in "uvw"},
    "timing": {"residual_timing", "resolution_timing_vs_timing", "scatter_timing"},
    "uvwFI": {*(f"residual_{x}" for x in "uvw"), *(f"resolution_{x}_vs_{x}" for x in "uvw")},
}
"""What the contract promises of each figure."""
ENERGY_ROW = [
    "residual_energy",
    "resolution_energy_vs_energy",
    "relative_resolution_vs_energy",
    "scatter_energy",
]
"""First row of the energy's figure, in the contract's order."""


def n_pages(path):
    return path.read_bytes().count(b"/Type /Page ")


def drawn(tmp_path, task, table):
    path = tmp_path / f"resolution_{task}_r.pdf"
    draw_task(task, table, META, path)
    return path, json.loads(path.with_suffix(".json").read_text())


def panels(content):
    return {key: panel for page in content["pages"] for key, panel in page["panels"].items()}


def test_four_figures_with_the_names_of_the_contract(tmp_path):
    write_prediction_csvs(prediction_table(300), tmp_path, "r")
    paths = write_resolution_figures(tmp_path, "r")
    assert {task: path.name for task, path in paths.items()} == {
        task: f"resolution_{task}_r.pdf" for task in TASKS
    }
    assert [n_pages(paths[task]) for task in TASKS] == [4, 3, 3, 5]
    drawn_panels = {
        task: list(panels(json.loads(path.with_suffix(".json").read_text())))
        for task, path in paths.items()
    }
    for task, wanted in CONTRACT_PANELS.items():
        assert not wanted - set(drawn_panels[task])
    assert drawn_panels["energy"][:4] == ENERGY_ROW


def test_second_drawing_is_byte_identical(tmp_path):
    write_prediction_csvs(prediction_table(200), tmp_path, "r")
    write_meta(META, tmp_path)
    first = write_resolution_figures(tmp_path, "r", ["energy", "angle"], tmp_path / "a")
    second = write_resolution_figures(tmp_path, "r", ["energy", "angle"], tmp_path / "b")
    for task, path in first.items():
        assert path.read_bytes() == second[task].read_bytes()
        one, other = (p.with_suffix(".json").read_bytes() for p in (path, second[task]))
        assert one == other


def test_drawn_numbers_are_those_injected(tmp_path):
    table = prediction_table(6_000)
    table["pred_timing"] += 0.02
    _, content = drawn(tmp_path, "timing", table)
    histogram = panels(content)["residual_timing"]
    assert histogram["n"] == 6_000
    assert histogram["68 % half width"]["value"] == pytest.approx(60, rel=0.05)
    assert histogram["mean"]["value"] == pytest.approx(20, abs=4)
    assert histogram["core fit"]["sigma"]["value"] == pytest.approx(60, rel=0.06)
    profile = panels(content)["resolution_timing_vs_timing"]["profile"]
    assert sum(profile["n"]) == 6_000
    assert set(profile) == {"estimator", "edges", "x", "value", "error", "n"}
    assert content["is_toy"] is True


def test_energy_fit_is_in_the_json(tmp_path):
    _, content = drawn(tmp_path, "energy", prediction_table(6_000))
    fit = panels(content)["relative_resolution_vs_energy"]["fit"]
    assert abs(fit["b"] - 0.012) < 3 * fit["b_error"]
    assert fit["ndf"] == 17
    assert fit["formula"].endswith("E in MeV")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("n_events", [0, 1, 2])
def test_few_events_are_drawn_with_a_note(tmp_path, task, n_events):
    path, content = drawn(tmp_path, task, prediction_table(n_events))
    assert n_pages(path) >= 1
    assert content["n_events"] == n_events
    if not n_events:
        assert "no event" in panels(content)["note"]["note"]


@pytest.mark.parametrize("task", TASKS)
def test_one_energy_is_drawn(tmp_path, task):
    _, content = drawn(tmp_path, task, prediction_table(200, energy_mev=52.83))
    assert content["n_events"] == 200
    if task == "energy":
        assert "1 of 4 points" in panels(content)["relative_resolution_vs_energy"]["fit"]["note"]


@pytest.mark.parametrize("task", TASKS)
def test_predictions_that_are_not_finite_are_left_out_and_counted(tmp_path, task, caplog):
    table = prediction_table(100)
    for name in TASK_QUANTITIES[task]:
        table.loc[:9, f"pred_{name}"] = np.nan
        table.loc[10, f"pred_{name}"] = np.inf
    _, content = drawn(tmp_path, task, table)
    assert (content["n_events"], content["n_left_out"]) == (89, 11)
    assert "11 events without finite truth or prediction" in caplog.text


@pytest.mark.parametrize("task", TASKS)
def test_all_predictions_constant_are_drawn(tmp_path, task):
    table = prediction_table(80)
    for name in TASK_QUANTITIES[task]:
        table[f"pred_{name}"] = 1.0
        table[f"true_{name}"] = 1.0
    path, content = drawn(tmp_path, task, table)
    assert n_pages(path) == len(content["pages"])
    assert (content["n_events"], content["n_left_out"]) == (80, 0)
    histogram = panels(content)[f"residual_{TASK_QUANTITIES[task][0]}"]
    assert histogram["mean"]["value"] == 0
    assert histogram["68 % half width"]["value"] == 0


@pytest.mark.parametrize("task", TASKS)
def test_missing_truth_gives_a_note(tmp_path, task):
    names = [f"{side}_{name}" for side in ("true", "pred") for name in TASK_QUANTITIES[task]]
    _, content = drawn(tmp_path, task, prediction_table(150)[names])
    notes = [panel["note"] for panel in panels(content).values() if "note" in panel]
    assert any("in the prediction table" in note for note in notes)


def test_phi_is_compared_across_the_seam(tmp_path):
    table = prediction_table(100)
    table["true_phi"], table["pred_phi"] = 179.9, -179.9
    _, content = drawn(tmp_path, "angle", table)
    assert panels(content)["residual_phi"]["mean"]["value"] == pytest.approx(0.2)


def test_truth_is_taken_over_by_key_and_by_row():
    keyed = prediction_table(5)
    energy = keyed[["run", "event", "true_energy", "pred_energy"]].iloc[::-1]
    position = keyed[["run", "event", "true_u", "true_v", "true_w", "pred_u", "pred_v", "pred_w"]]
    joined = with_cross_truth({"energy": energy, "uvwFI": position})["energy"]
    pd.testing.assert_series_equal(
        joined["true_u"].reset_index(drop=True),
        keyed["true_u"].iloc[::-1].reset_index(drop=True),
    )
    plain = {
        "energy": keyed[["true_energy", "pred_energy"]],
        "uvwFI": keyed[["true_u", "true_v", "true_w", "pred_u", "pred_v", "pred_w"]],
    }
    assert "true_w" in with_cross_truth(plain)["energy"]
    plain["uvwFI"] = plain["uvwFI"].iloc[:3]
    assert "true_w" not in with_cross_truth(plain)["energy"]


def test_suffix_and_output_folder(tmp_path):
    write_prediction_csvs(prediction_table(30), tmp_path, "r", "_ep4", tasks=["timing"])
    paths = write_resolution_figures(
        tmp_path, "r", None, tmp_path / "new", "_v2", csv_suffix="_ep4"
    )
    assert paths["timing"] == tmp_path / "new" / "resolution_timing_r_v2.pdf"
    with pytest.raises(DataError, match="no predictions"):
        write_resolution_figures(tmp_path, "r")


def test_meta_round_trip_and_damage(tmp_path):
    path = write_meta(META, tmp_path)
    assert read_meta(tmp_path, "r") == META
    assert read_meta(tmp_path, "other") == PredictionMeta(run_name="other")
    path.write_text("{")
    with pytest.raises(CorruptFileError, match="not JSON"):
        read_meta(tmp_path, "r")


def test_drawing_never_imports_torch():
    code = (
        "import sys, xec_pipeline.evaluation.report; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'onnxruntime', 'dagster')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
