import json
import re
import shutil

import pytest
import torch

from xec_pipeline.__main__ import main
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.tables import contract_columns, find_run_name, write_prediction_csvs
from xec_pipeline.versioning import content_hash
from xec_pipeline_tests.evaluation.synthetic import prediction_table
from xec_pipeline_tests.training.tiny import fit, tiny_run


def test_plots_command_of_the_contract(tmp_path, capsys):
    run_dir, out_dir = tmp_path / "demo", tmp_path / "plots"
    write_prediction_csvs(prediction_table(60), run_dir, "demo")
    arguments = ["plots", str(run_dir), "--tasks", "energy", "angle"]
    assert main([*arguments, "--output_dir", str(out_dir), "--suffix", "_v2"]) == 0
    assert sorted(path.name for path in out_dir.glob("*.pdf")) == [
        "resolution_angle_demo_v2.pdf",
        "resolution_energy_demo_v2.pdf",
    ]
    assert str(out_dir / "resolution_energy_demo_v2.pdf") in capsys.readouterr().out


def test_plots_fails_if_one_requested_task_fails_and_draws_the_others(tmp_path, capsys):
    write_prediction_csvs(prediction_table(30), tmp_path, "demo", tasks=["energy"])
    arguments = ["plots", str(tmp_path), "--run-name", "demo", "--tasks", "timing", "energy"]
    assert main(arguments) == 1
    assert (tmp_path / "resolution_energy_demo.pdf").is_file()
    assert "predictions_timing_demo.csv: no such file" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "plots_manifest_demo.json").read_text())
    assert "predictions_timing_demo.csv" in manifest["failed"]["timing"]


def test_the_same_tables_elsewhere_give_the_same_numbers_and_manifest(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    table = prediction_table(60)
    write_prediction_csvs(table, first, "demo", tasks=["energy", "timing"])
    second.mkdir()
    for path in first.glob("predictions_*_demo.csv"):
        shutil.copy(path, second)
    for folder in (first, second):
        assert main(["plots", str(folder)]) == 0
    for name in ("resolution_energy_demo", "resolution_timing_demo", "plots_manifest_demo"):
        drawn = [(folder / f"{name}.json").read_bytes() for folder in (first, second)]
        assert drawn[0] == drawn[1]
    manifest = json.loads((first / "plots_manifest_demo.json").read_text())
    hashes = manifest["sources"]["predictions_energy_demo.csv"]
    assert hashes == {"content_hash": content_hash(first / "predictions_energy_demo.csv")}
    assert manifest["figures"]["timing"]["pdf"] == "resolution_timing_demo.pdf"
    assert manifest["failed"] == {}


def test_plots_of_a_best_epoch(tmp_path):
    write_prediction_csvs(prediction_table(30), tmp_path, "demo", "_ep12", tasks=["timing"])
    assert main(["plots", str(tmp_path), "--epoch", "12"]) == 0
    assert (tmp_path / "resolution_timing_demo_ep12.pdf").is_file()


def test_plots_table(tmp_path, capsys):
    write_prediction_csvs(prediction_table(200), tmp_path, "demo")
    assert main(["plots", str(tmp_path), "--table"]) == 0
    assert "68 % half width" in capsys.readouterr().out
    assert (tmp_path / "resolution_table_demo.md").is_file()


def test_plots_table_of_a_best_epoch_and_of_one_task(tmp_path, capsys):
    table = prediction_table(80, energy_mev=52.83)
    write_prediction_csvs(table, tmp_path, "demo")
    table["pred_energy"] = table["true_energy"] + 5.283
    write_prediction_csvs(table, tmp_path, "demo", "_ep3")
    arguments = ["plots", str(tmp_path), "--table", "--epoch", "3", "--tasks", "energy"]
    assert main([*arguments, "--suffix", "_v2"]) == 0
    assert "theta" not in capsys.readouterr().out
    rows = json.loads((tmp_path / "resolution_table_demo_ep3_v2.json").read_text())["rows"]
    (bias,) = [row["value"] for row in rows if row["estimator"] == "median bias"]
    assert bias == pytest.approx(10, rel=1e-4)


def test_empty_folder_is_one_line(tmp_path, capsys):
    assert main(["plots", str(tmp_path)]) == 2
    assert "give --run_name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "suffix", "expected"),
    [
        (["demo", "demo_ep3", "demo_ep10"], "", "demo"),
        (["demo_ep3"], "_ep3", "demo"),
        (["only_ep3"], "", "only_ep3"),
        (["a_energy_b"], "", "a_energy_b"),
    ],
)
def test_run_name_is_found_from_the_files(tmp_path, names, suffix, expected):
    for name in names:
        write_prediction_csvs(prediction_table(1), tmp_path, name, tasks=["uvwFI"])
    assert find_run_name(tmp_path, suffix) == expected


def test_several_runs_in_a_folder_need_a_name(tmp_path):
    for name in ("a", "b"):
        write_prediction_csvs(prediction_table(1), tmp_path, name)
    with pytest.raises(DataError, match=r"CSVs of 2 runs \(a, b\)"):
        find_run_name(tmp_path)


def test_validate_command_needs_no_yaml(tiny_shards, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tiny_run(tmp_path, training={"epochs": 1})
    fit(run, tiny_shards)
    checkpoint = run.run_dir / "checkpoint_best.pth"
    arguments = ["validate", str(checkpoint), "--val_path", str(tiny_shards.path)]
    out_dir = tmp_path / "out"
    assert main([*arguments, "--tasks", "energy", "angle", "--output_dir", str(out_dir)]) == 0
    assert sorted(path.name for path in out_dir.iterdir()) == [
        "predictions_angle_tiny.csv",
        "predictions_energy_tiny.csv",
        "predictions_meta_tiny.json",
        "resolution_angle_tiny.json",
        "resolution_angle_tiny.pdf",
        "resolution_energy_tiny.json",
        "resolution_energy_tiny.pdf",
    ]
    printed = capsys.readouterr().out
    number = r"[\d.]+ ± [\d.]+ +48\n"
    assert f"run tiny, all events, sample {tiny_shards.path}" in printed
    assert re.search(rf"energy \[%\] +68 % of \|res\| within +{number}", printed)
    assert re.search(rf"opening angle \[deg\] +68 % of \|res\| within +{number}", printed)
    assert "± is one standard deviation" in printed
    assert re.search(r"48 events with ema weights at \d+ events/s", printed)
    assert main([*arguments, "--weights", "raw", "--tasks", "energy", "--output_dir", "out"]) == 0
    assert "with raw weights" in capsys.readouterr().out
    assert_mistakes_are_one_line(checkpoint, tmp_path, capsys)


def assert_mistakes_are_one_line(checkpoint, tmp_path, capsys):
    """Mistakes are one line that names the file."""
    nowhere = tmp_path / "nowhere"
    assert main(["validate", str(checkpoint), "--val_path", str(nowhere)]) == 2
    assert f"{nowhere}: no such" in capsys.readouterr().err
    content = torch.load(checkpoint, weights_only=True)
    other = tmp_path / "mae_checkpoint_best.pth"
    torch.save({**content, "kind": "mae"}, other)
    assert main(["validate", str(other), "--val_path", "x"]) == 2
    assert "holds a mae checkpoint, expected a regressor" in capsys.readouterr().err
    foreign = tmp_path / "other.onnx"
    foreign.write_bytes(b"no model")
    assert main(["validate", str(foreign), "--val_path", "x"]) == 2
    assert f"{foreign}: not an ONNX model" in capsys.readouterr().err


def test_validate_without_events_says_which_flag(tiny_shards, tmp_path, capsys):
    run = tiny_run(tmp_path, training={"epochs": 1})
    fit(run, tiny_shards)
    assert main(["validate", str(run.run_dir / "checkpoint_best.pth")]) == 2
    assert "--val_path" in capsys.readouterr().err


def foreign_tables(folder):
    """Write tables as another program would: the contract's columns alone, 1e10 for no truth."""
    table = prediction_table(120)
    table.loc[0, "true_energy"] = 1e13
    for task in ("energy", "uvwFI"):
        path = folder / f"predictions_{task}_other.csv"
        columns = list(contract_columns(task))
        scale = 1e-3 if task == "energy" else 1.0
        (table[columns] * scale).to_csv(path, index=False)


def test_tables_of_another_program_are_joined_by_row(tmp_path):
    foreign_tables(tmp_path)
    arguments = ["plots", str(tmp_path), "--tasks", "energy", "--gaussian-fit", "--bins", "3"]
    assert main([*arguments, "--pred-vs-true-bins", "15"]) == 0
    content = json.loads((tmp_path / "resolution_energy_other.json").read_text())
    assert (content["n_events"], content["n_left_out"]) == (119, 1)
    panels = {key: panel for page in content["pages"] for key, panel in page["panels"].items()}
    assert panels["resolution_energy_vs_u"]["profile"]["estimator"] == "Gaussian core sigma"
    assert panels["scatter_energy"]["bins"] == 15
    manifest = json.loads((tmp_path / "plots_manifest_other.json").read_text())
    assert manifest["choice"]["estimator"] == "gaussian"


def test_a_damaged_table_keeps_no_other_from_being_drawn(tmp_path, capsys):
    write_prediction_csvs(prediction_table(20), tmp_path, "demo", tasks=["timing", "energy"])
    (tmp_path / "predictions_energy_demo.csv").write_text("true_energy,pred_energy\n1,x\n")
    assert main(["plots", str(tmp_path)]) == 1
    assert (tmp_path / "resolution_timing_demo.pdf").is_file()
    assert "'x' is not a number" in capsys.readouterr().err


def test_bins_must_be_positive(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["plots", str(tmp_path), "--bins", "0"])
    assert "0 is not at least 1" in capsys.readouterr().err
