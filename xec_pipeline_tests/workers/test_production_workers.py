"""Selection, publication and board, on two runs whose tables are synthetic."""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from xec_pipeline.config.registry import production_config
from xec_pipeline.errors import (
    ConfigError,
    CorruptFileError,
    DataError,
    ParityError,
)
from xec_pipeline.evaluation.champion import Candidate, champion_dir, read_champion
from xec_pipeline.evaluation.comparison import write_resolution_table
from xec_pipeline.evaluation.metadata import PredictionMeta, write_meta
from xec_pipeline.evaluation.tables import write_prediction_csvs
from xec_pipeline.workers import leaderboard, publish, select_champion
from xec_pipeline.workers.pipes import Report
from xec_pipeline_tests.evaluation.synthetic import WIDTHS, prediction_table

PRODUCTION = Path("artifacts/production")


class Heard(Report):
    """Keeps what a worker reports; tells it what a Dagster step would."""

    def __init__(self, **extras: Any) -> None:
        super().__init__(0, extras)
        self.metadata: dict[str, Any] = {}
        self.version = ""

    def result(self, metadata, data_version):
        self.metadata, self.version = dict(metadata), data_version


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XEC_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    (tmp_path / "runs" / "regressor").mkdir(parents=True)


def train(name: str, version: str, scale: float = 1.0, *, data: str = "d1") -> Candidate:
    """Write the files of a run whose residuals are `scale` times as wide as usual."""
    Path(f"runs/regressor/{name}.yaml").write_text("preset: demo\n")
    folder = Path("artifacts") / name
    table = prediction_table(500, energy_mev=52.83)
    for quantity in WIDTHS:
        residual = table[f"pred_{quantity}"] - table[f"true_{quantity}"]
        table[f"pred_{quantity}"] = table[f"true_{quantity}"] + scale * residual
    for where in (folder, folder / "test"):
        write_prediction_csvs(table, where, name)
        meta = PredictionMeta(
            run_name=name, model_digest=version, data_version=data, sample="toy", is_toy=True
        )
        write_meta(meta, where)
    write_resolution_table(folder, name)
    write(folder / "checkpoint_best.pth", f"weights {version}".encode())
    for file in ("model.onnx", "model_raw.onnx"):
        write(folder / file, onnx_bytes(version))
    return Candidate(run=name, weights_version=version, dagster_run=f"run-of-{version}")


def write(path: Path, content: bytes) -> None:
    """Write a file as trainings do: another one takes its name."""
    partial = path.with_suffix(".part")
    partial.write_bytes(content)
    partial.replace(path)


def onnx_bytes(version: str) -> bytes:
    info = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [info], [out]))
    entry = model.metadata_props.add()
    entry.key, entry.value = "weights_version", version
    return bytes(model.SerializeToString())


def select(
    *candidates: Candidate, told: dict[str, dict[str, str]] | None = None, **options: str
) -> Heard:
    heard = Heard(candidates=[vars(candidate) for candidate in candidates], **(told or {}))
    given = {"challenger": None, "promote": None, "reason": "", **options}
    select_champion.work(argparse.Namespace(**given), heard)
    return heard


def test_first_complete_run_is_taken_and_the_better_one_takes_over():
    good, better, worse = (
        train("good", "g1"),
        train("better", "b1", 0.85),
        train("worse", "w1", 1.2),
    )
    first = select(good)
    assert first.version == "good@g1"
    assert first.metadata["decision"] == "promoted"
    assert "first complete run" in first.metadata["reason"]
    kept = select(good, worse, challenger="worse")
    assert kept.version == "good@g1"
    assert kept.metadata["decision"] == "kept"
    assert "worse beyond 2 sigma" in kept.metadata["reason"]
    promoted = select(good, better, challenger="better")
    assert promoted.version == "better@b1"
    assert "better beyond 2.7 sigma" in promoted.metadata["reason"]
    assert "good (in use)" in promoted.metadata["comparison"]["raw_value"]
    assert "no MLflow store" in promoted.metadata["mlflow_alias"]
    file = json.loads((PRODUCTION / "champion.json").read_text())
    assert file["decisions"][0]["numbers"][0]["quantity"] == "energy [%]"
    assert select(good, better, worse).version == "better@b1"


def test_a_champion_keeps_its_files_when_its_run_is_trained_again():
    first = train("demo", "v1")
    select(first)
    worse = train("demo", "v2", 1.3)
    kept = select(worse, challenger="demo")
    assert kept.version == "demo@v1"
    assert "worse beyond" in kept.metadata["reason"]
    assert (champion_dir(PRODUCTION, first) / "checkpoint_best.pth").read_text() == "weights v1"
    better = train("demo", "v3", 0.8)
    assert select(better, challenger="demo").version == "demo@v3"
    Path("runs/regressor/demo.yaml").unlink()
    other = train("other", "o1", 1.2)
    heard = select(other, challenger="other")
    assert heard.version == "demo@v3"
    assert "no longer registered" in heard.metadata["mlflow_alias"]


def test_other_test_events_change_nothing_and_say_what_to_do():
    select(train("demo", "v1"))
    newer = train("other", "o1", 0.5, data="d2")
    with pytest.raises(DataError, match="tested on data version d1"):
        select(newer, challenger="other")
    champion = read_champion(PRODUCTION)
    assert champion is not None
    assert champion.label == "demo@v1"


def test_one_run_of_other_test_events_does_not_stop_the_others():
    select(train("demo", "v1"))
    elsewhere = train("elsewhere", "e1", 0.5, data="d2")
    better = train("other", "o1", 0.8)
    heard = select(elsewhere, better)
    assert heard.version == "other@o1"
    assert "elsewhere: not compared: demo (in use) was tested on" in heard.metadata["reason"]
    Path("runs/regressor/other.yaml").unlink()
    for file in champion_dir(PRODUCTION, better).rglob("predictions_*"):
        file.unlink()
    with pytest.raises(DataError, match="no predictions of run other"):
        select(elsewhere)


def test_the_first_champion_beats_an_answer_without_learning():
    lazy, good = train("a_lazy_one", "l1", 0.9), train("good", "g1")
    told = {"no_first": {"a_lazy_one": "check beats_a_constant failed for it"}}
    with pytest.raises(DataError, match="a_lazy_one: check beats_a_constant failed"):
        select(lazy, told=told)
    heard = select(lazy, good, told=told)
    assert heard.metadata["challengers"] == "good, a_lazy_one"
    assert heard.metadata["reason"].startswith("good: the first complete run; a_lazy_one: ")


def test_runs_that_failed_a_blocking_check_take_no_part():
    told = {"rejected": {"demo": "check losses_are_finite failed for it"}}
    with pytest.raises(DataError, match=r"no run is complete: .*demo: check losses_are_finite"):
        select(told=told)
    for option in ({"challenger": "demo"}, {"promote": "demo", "reason": "x"}):
        with pytest.raises(ConfigError, match="must not be used: check losses_are_finite failed"):
            select(train("good", "g1"), told=told, **option)


def test_a_person_decides_with_a_reason_only():
    demo, worse = train("demo", "v1"), train("worse", "w1", 2.0)
    select(demo)
    with pytest.raises(ConfigError, match="say why"):
        select(demo, worse, promote="worse", reason=" ")
    with pytest.raises(ConfigError, match=r"run 'wors' is not complete \(did you mean 'worse'"):
        select(demo, worse, promote="wors", reason="x")
    heard = select(demo, worse, promote="worse", reason="calibrated anew")
    assert heard.version == "worse@w1"
    assert "by hand: calibrated anew" in heard.metadata["reason"]


def test_predictions_of_other_weights_are_refused():
    train("demo", "v1")
    with pytest.raises(DataError, match="predictions of weights v1, expected v2"):
        select(Candidate(run="demo", weights_version="v2"))
    with pytest.raises(DataError, match="no run is complete"):
        select()
    demo = train("demo", "v1")
    (Path("artifacts/demo") / "model_raw.onnx").unlink()
    with pytest.raises(DataError, match=r"model_raw\.onnx: missing, so run demo cannot"):
        select(demo)
    assert read_champion(PRODUCTION) is None


def test_a_damaged_selection_is_no_first_selection():
    demo = train("demo", "v1")
    select(demo)
    (PRODUCTION / "champion.json").write_text("{")
    with pytest.raises(CorruptFileError, match="does not say which model is in use"):
        select(demo)


def published(parity: dict[str, float] | None = None) -> Heard:
    heard = Heard(parity=parity)
    publish.work(argparse.Namespace(), heard)
    return heard


def test_published_files_are_the_champions_and_change_in_one_step():
    with pytest.raises(DataError, match="no model is in use"):
        published()
    demo, better = train("demo", "v1"), train("better", "b1", 0.8)
    select(demo)
    with pytest.raises(ParityError, match="materialize regressor/onnx of demo"):
        published()
    first = published({"parity_energy_mev": 1e-6})
    current = PRODUCTION / "current"
    assert current.is_symlink()
    about = json.loads((current / "model.json").read_text())
    assert (about["run_name"], about["weights_version"]) == ("demo", "v1")
    assert about["parity"] == {"parity_energy_mev": 1e-6}
    assert first.metadata["onnx_raw"] == current / "model_raw.onnx"
    select(better, challenger="better")
    assert json.loads((current / "model.json").read_text())["run_name"] == "demo", "not before"
    second = published({"parity_energy_mev": 2e-6})
    assert second.version != first.version
    assert json.loads((current / "model.json").read_text())["run_name"] == "better"
    # An export of other weights since then says nothing of these; what was checked still holds.
    assert published(None).version == second.version


def test_files_of_other_weights_are_not_published():
    demo = train("demo", "v1")
    write(Path("artifacts/demo/model_raw.onnx"), onnx_bytes("v0"))
    select(demo)
    with pytest.raises(DataError, match=r"model_raw\.onnx: holds weights v0, expected v1"):
        published({"parity_energy_mev": 1e-6})
    shutil.copyfile(__file__, champion_dir(PRODUCTION, demo) / "model.onnx")
    with pytest.raises(CorruptFileError, match="not an ONNX model"):
        published({"parity_energy_mev": 1e-6})
    assert not (PRODUCTION / "current").exists()


def test_board_lists_runs_with_the_one_in_use_and_those_without_a_table():
    demo = train("demo", "v1")
    train("better", "b1", 0.8)
    Path("runs/regressor/new.yaml").write_text("preset: demo\n")
    Path("runs/regressor/broken.yaml").write_text("presett: demo\n")
    select(demo)
    heard = Heard(trained={"demo": "2026-11-28 20:41 UTC"})
    leaderboard.work(argparse.Namespace(), heard)
    assert heard.metadata["best"] == "better"
    assert "new" in heard.metadata["missing"]
    assert "unknown key 'presett'" in heard.metadata["missing"]
    records = heard.metadata["leaderboard"]["raw_value"]["records"]
    assert [(record["run"], record["in use"]) for record in records] == [
        ("better", ""),
        ("demo", "yes"),
    ]
    assert records[1]["trained"] == "2026-11-28 20:41 UTC"
    assert records[1]["encoder"] == "xec_v2"
    assert np.isclose(float(records[1]["score"]), 1.25, atol=0.01)
    again = Heard(trained={"demo": "2026-11-28 20:41 UTC"})
    leaderboard.work(argparse.Namespace(), again)
    assert again.version == heard.version
    assert production_config().folder == str(PRODUCTION)
