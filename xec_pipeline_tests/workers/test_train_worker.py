"""The worker as a person starts it: one process, small events, all files of the contract."""

import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import yaml

from xec_pipeline.config.file_names import finished_file
from xec_pipeline.config.loader import load_regressor_run, validate
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.shards import ensure_shards
from xec_pipeline.evaluation.tables import read_prediction_csvs
from xec_pipeline.training.checkpoint import Checkpoint, load_checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.start import GoingOn
from xec_pipeline.workers import entry, training
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.train import main
from xec_pipeline_tests.training.tiny import tiny_tree

TASKS = ("angle", "energy", "timing", "uvwFI")


@pytest.fixture
def words(tmp_path: Path, tiny_root_dir: Path) -> list[str]:
    """Return the command line of a tiny run in `tmp_path`."""
    tree = tiny_tree(tmp_path / "artifacts")
    events = {"train_path": str(tiny_root_dir), "val_path": str(tiny_root_dir)}
    tree["data"] |= {**events, "shard_dir": str(tmp_path / "shards"), "num_workers": 1}
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(tree))
    return ["--config", str(config)]


def test_a_training_leaves_the_files_of_the_contract(tmp_path: Path, words: list[str]):
    assert main([*words, "--epochs", "2"]) == 0
    folder = tmp_path / "artifacts" / "tiny"
    best = load_checkpoint(folder / "checkpoint_best.pth")
    names = {path.name for path in folder.iterdir()}
    for task in TASKS:
        assert f"predictions_{task}_tiny.csv" in names
        assert f"predictions_{task}_tiny_ep{best.best_epoch}.csv" in names
        final = (folder / f"predictions_{task}_tiny.csv").read_bytes()
        assert final == (folder / f"predictions_{task}_tiny_ep{best.epoch}.csv").read_bytes()
    tables = read_prediction_csvs(folder, "tiny")
    assert {len(table) for table in tables.values()} == {48}


def test_a_folder_with_checkpoints_is_only_overwritten_on_request(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
):
    short = [*words, "--epochs", "1", "--save_artifacts", "false"]
    assert main(short) == 0
    path = tmp_path / "artifacts" / "tiny" / "checkpoint_last.pth"
    first = path.stat().st_mtime_ns
    assert main(short) == 2
    assert "give --overwrite to begin again" in capsys.readouterr().err
    assert path.stat().st_mtime_ns == first
    assert main([*short, "--overwrite"]) == 0
    assert path.stat().st_mtime_ns > first
    assert main([*words, "--epochs", "2", "--auto_resume"]) == 2
    assert "another configuration" in capsys.readouterr().err
    assert not list(path.parent.glob("*.csv"))


def test_a_start_that_fails_keeps_what_the_folder_holds(tmp_path: Path, words: list[str]):
    assert main([*words, "--epochs", "1"]) == 0
    folder = tmp_path / "artifacts" / "tiny"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    nothing_left = ["--set", "data.fiducial.enabled=true", "--set", "data.fiducial.w_min=9999"]
    assert main([*words, "--epochs", "1", "--overwrite", *nothing_left]) == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_resuming_by_hand_adds_epochs_and_writes_the_best_table(tmp_path: Path, words: list[str]):
    folder = tmp_path / "artifacts" / "tiny"
    assert main([*words, "--epochs", "1", "--skip_final"]) == 0
    assert not (folder / "predictions_energy_tiny.csv").exists()
    resume = ["--resume_from", str(folder / "checkpoint_last.pth")]
    assert main([*words, "--epochs", "2", *resume]) == 0
    assert load_checkpoint(folder / "checkpoint_last.pth").epoch == 2
    assert (folder / "predictions_energy_tiny.csv").exists()


def test_a_pretrained_encoder_begins_a_training_and_is_remembered(tmp_path: Path, words: list[str]):
    short = [*words, "--epochs", "1", "--save_artifacts", "false"]
    assert main([*short, "--run_name", "first"]) == 0
    first = load_checkpoint(tmp_path / "artifacts" / "first" / "checkpoint_best.pth")
    encoder = tmp_path / "mae_encoder_epoch_1.pth"
    own = {name: w for name, w in first.model_state_dict.items() if name.startswith("backbone.")}
    torch.save({name.removeprefix("backbone."): w for name, w in own.items()}, encoder)
    assert main([*short, "--resume_from", str(encoder)]) == 0
    made = load_checkpoint(tmp_path / "artifacts" / "tiny" / "checkpoint_last.pth")
    assert made.epoch == 1
    assert made.encoder_source is not None
    assert made.encoder_source["file"] == str(encoder)


def test_an_mlflow_run_is_continued_unless_a_new_one_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    monkeypatch.setattr(
        training, "open_tracker", lambda *_, continued, **__: asked.append(continued)
    )
    before = Checkpoint(kind="regressor", model_state_dict={}, mlflow_run_id="abc")
    run = validate(RegressorRun, tiny_tree(tmp_path), "tiny")
    new = run.checkpoint.model_copy(update={"new_mlflow_run": True})
    found = GoingOn(before, tmp_path / "checkpoint_last.pth")
    training.open_tracker_for(run, "regressor", DistContext(), found)
    training.open_tracker_for(
        run.model_copy(update={"checkpoint": new}), "regressor", DistContext(), found
    )
    training.open_tracker_for(run, "regressor", DistContext(), None)
    assert asked == ["abc", None, None]
    # Epochs that count from 1 again would draw over the curves of before.
    again = run.checkpoint.model_copy(update={"reset_epoch": True})
    run = run.model_copy(update={"checkpoint": again})
    training.open_tracker_for(run, "regressor", DistContext(), found)
    training.open_tracker_for(run, "regressor", DistContext(), found._replace(is_own=True))
    assert asked[3:] == [None, "abc"]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--val_path", ""], "data.val_path is empty; give --val_path"),
        (["--val_path", "nowhere/"], "nowhere"),
        (["--run_name", "a/b"], "run name 'a/b' must start with"),
        (["--resume_from", "none.pth"], "none.pth: no such checkpoint"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    words: list[str], flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]
):
    assert main([*words, *flags]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error


def test_sigterm_saves_the_state_and_leaves_with_143(tmp_path: Path, words: list[str]):
    long = [*words, "--epochs", "400", "--save_artifacts", "false", "--auto_resume"]
    command = [sys.executable, "-m", "xec_pipeline.workers.train", *long]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    worker = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    path = tmp_path / "artifacts" / "tiny" / "checkpoint_last.pth"
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    worker.send_signal(signal.SIGTERM)
    _, text = worker.communicate(timeout=60)
    assert worker.returncode == 143, text
    saved = load_checkpoint(path)
    assert 1 <= saved.epoch < 400
    assert saved.global_step == 6 * saved.epoch + saved.step_in_epoch


def started_by_dagster(monkeypatch: pytest.MonkeyPatch, code: str, version: str | None) -> None:
    told = {"code_version": code, "data_version": version}
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(entry, "open_report", lambda _: nullcontext(Report(0, {"asset": told})))


def test_under_dagster_shards_are_not_built(
    tmp_path: Path,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    started_by_dagster(monkeypatch, "c1", None)
    assert main(words) == 2
    assert "materialize data/shards [" in capsys.readouterr().err
    assert not (tmp_path / "shards").exists()


def test_under_dagster_a_training_is_taken_up_by_its_own_code_only(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
):
    last = tmp_path / "artifacts" / "tiny" / "checkpoint_last.pth"
    run = load_regressor_run(words[1])
    ensure_shards(run.data, run.data.train_path, progress=False)

    def train(code: str, version: str | None) -> tuple[float, str]:
        started_by_dagster(monkeypatch, code, version)
        assert main([*words, "--epochs", "1", "--auto_resume", "--overwrite", "--skip_final"]) == 0
        assert load_checkpoint(last).code_version == code
        return last.stat().st_mtime_ns, (last.parent / finished_file("regressor")).read_text()

    first, version = train("c1", None)
    # The step failed after the worker's end: nothing was recorded.
    assert train("c1", None) == (first, version)
    again, same = train("c1", version.strip())
    assert again > first
    assert same == version
    assert train("c2", None)[0] > again
