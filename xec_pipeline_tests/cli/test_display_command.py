import re

import numpy as np
import pytest

from xec_pipeline.__main__ import main
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.evaluation.sensor_predictions import (
    PredictionMetadata,
    SensorBlock,
    write_mae_predictions,
)
from xec_pipeline.evaluation.tables import write_prediction_csvs
from xec_pipeline_tests.evaluation.display.test_worst import shard_predictions


def n_pages(path):
    return path.read_bytes().count(b"/Type /Page ")


@pytest.fixture(scope="module")
def mae_file(tmp_path_factory):
    """Return photons, without times, that a masked autoencoder predicted for one event."""
    truth = np.full((1, 4760, 2), 0.5, dtype="f4")
    masked = np.zeros((1, 4760), dtype=bool)
    masked[0, :40] = True
    block = SensorBlock(
        event=np.array([7]),
        run=np.array([1]),
        entry=np.array([0]),
        truth=truth,
        masked_input=np.where(masked[..., None], np.float32(-1), truth),
        is_masked=masked,
        pred=truth[..., :1] * np.float32(1.1),
    )
    metadata = PredictionMetadata(predict_channels=("npho",), normalization=NormalizationConfig())
    path = tmp_path_factory.mktemp("mae") / "mae_predictions_epoch_1.root"
    return write_mae_predictions(path, [block], metadata)


def test_event_of_a_file_goes_into_a_file_with_its_name(
    tiny_root_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["display", str(tiny_root_file), "--entry", "3", "--channel", "time"]) == 0
    assert capsys.readouterr().out == "display_run_1001_event_3.pdf\n"
    assert n_pages(tmp_path / "display_run_1001_event_3.pdf") == 1


def test_event_with_predictions_of_a_regressor(tiny_shards, tmp_path):
    shard_predictions(tiny_shards, tmp_path)
    arguments = ["display", str(tiny_shards.path), "--run", "1002", "--event", "6"]
    arguments += ["--channel", "npho", "--predictions", str(tmp_path)]
    assert main([*arguments, "--output", str(tmp_path / "event")]) == 0
    assert n_pages(tmp_path / "event.pdf") == 1


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("true_energy", r"run 1002 event 6 has the true energy [\d.]+ MeV there and [\d.]+ MeV in"),
        ("true_v", r"has the true first interaction \(.*\) cm there and \(.*\) cm in"),
    ],
)
def test_predictions_of_other_events_with_the_same_numbers_are_refused(
    tiny_shards, tmp_path, capsys, column, message
):
    table = shard_predictions(tiny_shards, tmp_path)
    table[column] += 1
    write_prediction_csvs(table, tmp_path, "r", tasks=["uvwFI"])
    arguments = ["display", str(tiny_shards.path), "--run", "1002", "--event", "6"]
    output = tmp_path / "event.pdf"
    assert main([*arguments, "--predictions", str(tmp_path), "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "they were made from s" in error
    assert not output.exists()


def test_predictions_of_a_masked_autoencoder(mae_file, tmp_path, capsys):
    output = tmp_path / "mae.pdf"
    arguments = ["display", str(mae_file), "--run", "1", "--event", "7", "--relative"]
    assert main([*arguments, "--output", str(output)]) == 0
    out = capsys.readouterr().out
    assert "masked: 40 of 4760 live sensors (0.8 %), residuals relative to the truth" in out
    assert n_pages(output) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--entry", "0", "--channel", "time"], "time was not predicted, only npho"),
        (["--entry", "0", "--channel", "both"], "time was not predicted, only npho"),
        (["--run", "1", "--event", "9"], "run 1 has no event 9; the nearest of 1 events: 7"),
        (["--run", "1"], "say which event"),
        ([], "say which event"),
        (["--entry", "0", "--run", "1", "--event", "7"], "say which event"),
        (["--entry", "0", "--predictions", "."], "--predictions is for measured events"),
    ],
)
def test_user_errors_are_one_line(mae_file, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["display", str(mae_file), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_flags_of_predictions_are_refused_for_data(tiny_root_file, capsys):
    for flags in (["--relative"], ["--original", "x"]):
        assert main(["display", str(tiny_root_file), "--entry", "0", *flags]) == 2
        assert f"{flags[0]} is for predictions" in capsys.readouterr().err
