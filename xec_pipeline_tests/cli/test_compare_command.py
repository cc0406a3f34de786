import csv
import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from xec_pipeline.__main__ import main
from xec_pipeline.config.loader import load_inpainter_run, load_mae_run, load_regressor_run
from xec_pipeline.evaluation.metadata import PredictionMeta, write_meta
from xec_pipeline.evaluation.tables import TASK_QUANTITIES, write_prediction_csvs
from xec_pipeline.training.checkpoint import Checkpoint, write_checkpoint
from xec_pipeline_tests.evaluation.synthetic import prediction_table

LOADERS = {
    "regressor": ("demo", load_regressor_run),
    "mae": ("mae-demo", load_mae_run),
    "inpainter": ("inpainter-demo", load_inpainter_run),
}
PREFIX = {"regressor": "", "mae": "mae_", "inpainter": "inpainter_"}


def trained(name: str, kind: str = "regressor", **options: object) -> Path:
    """Write the checkpoint of a run as its training would; return its folder."""
    preset, load = LOADERS[kind]
    overrides = {key.replace("__", "."): value for key, value in options.items()}
    run = load(preset, {**overrides, "mlflow.run_name": name})
    made = Checkpoint(
        kind=kind,
        model_state_dict={"weight": torch.zeros(3)},
        best_epoch=2,
        best_metrics={"val/loss": 0.25, "train/loss": 0.5, "energy_bias": 0.1},
        config=run.model_dump(),
        config_digest=run.digest(),
        data={"train": "abc123", "val": "def456"},
    )
    write_checkpoint(run.run_dir / f"{PREFIX[kind]}checkpoint_best.pth", made)
    return run.run_dir


def registered(name: str, text: str, kind: str = "regressor") -> None:
    path = Path("runs") / kind / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XEC_RUNS", raising=False)


@pytest.fixture
def two_runs() -> None:
    """Runs `base` and `wide` of the same events; `wide` has residuals a quarter wider."""
    base = prediction_table(400)
    wide = base.copy()
    for name in (name for names in TASK_QUANTITIES.values() for name in names):
        residual = base[f"pred_{name}"] - base[f"true_{name}"]
        wide[f"pred_{name}"] = base[f"true_{name}"] + 1.25 * residual
    for name, table, rate in (("base", base, 1e-3), ("wide", wide, 2e-3)):
        registered(name, f"preset: demo\ntraining: {{lr: {rate}}}\n")
        folder = trained(name, training__lr=rate)
        write_prediction_csvs(table, folder, name)
        write_meta(PredictionMeta(run_name=name, is_toy=True, sample="data/toy/val"), folder)


def line_of(text: str, *begins: str) -> list[str]:
    (found,) = [
        line.split() for line in text.splitlines() if line.split()[: len(begins)] == [*begins]
    ]
    return found[len(begins) :]


def test_what_differs_and_what_is_resolved(two_runs, capsys):
    assert main(["compare", "base", "wide"]) == 0
    shown = capsys.readouterr().out
    assert line_of(shown, "training.lr") == ["0.001", "0.002"]
    assert "training.epochs" not in shown
    assert line_of(shown, "val/loss") == ["0.25", "0.25"]
    assert "energy_bias" not in shown
    assert "data/toy/train, content abc123" in shown
    *_, sigma = line_of(shown, "energy", "[%]", "68", "%", "half", "width")
    assert float(sigma) > 3, "the second run is worse, and the events are the same"
    assert "toy detector, N = " in shown
    assert "events resampled for" in shown


@pytest.mark.parametrize("ending", ["csv", "json", "md", "txt"])
def test_files_hold_the_same(two_runs, ending, capsys):
    assert main(["compare", "artifacts/base", "artifacts/wide", "--output", f"out.{ending}"]) == 0
    text = Path(f"out.{ending}").read_text()
    shown = capsys.readouterr().out
    if ending == "csv":
        width = {
            row["run"]: row
            for row in csv.DictReader(text.splitlines())
            if (row["name"], row["estimator"]) == ("energy [%]", "68 % half width")
        }
        base, wide = (float(width[name]["value"]) for name in ("base", "wide"))
        assert wide / base == pytest.approx(1.25, rel=1e-3)
        assert float(width["wide"]["sigma"]) > 3
        assert int(width["wide"]["n"]) > 0
    elif ending == "json":
        content = json.loads(text)
        assert [run["name"] for run in content["runs"]] == ["base", "wide"]
        assert {row["section"] for row in content["rows"]} == {
            "option", "sample", "training", "result",
        }  # fmt: skip
    elif ending == "md":
        assert "| training.lr | 0.001 | 0.002 |" in text
    else:
        assert text == shown.removesuffix("out.txt\n")


def test_other_events_are_compared_without_pairing(two_runs, capsys):
    registered("few", "preset: demo\n")
    write_prediction_csvs(prediction_table(300), trained("few"), "few")
    assert main(["compare", "base", "few"]) == 0
    assert "added in quadrature" in " ".join(capsys.readouterr().out.split())


def own_events(name: str, table: pd.DataFrame, meta: PredictionMeta) -> None:
    registered(name, "preset: demo\n")
    folder = trained(name)
    write_prediction_csvs(table, folder, name)
    write_meta(meta, folder)


def test_each_run_states_its_own_events_and_unlike_ones_have_no_sigma(two_runs, capsys):
    signal = prediction_table(200, energy_mev=52.83)
    own_events("signal", signal, PredictionMeta(run_name="signal", is_toy=False, sample="real"))
    assert main(["compare", "signal", "base", "wide"]) == 0
    shown = capsys.readouterr().out
    in_one_line = " ".join(shown.split())
    assert "Results of signal: 52.83 MeV, sample real, N = 200." in in_one_line
    window = int(prediction_table(400)["true_energy"].between(50, 55).sum())
    assert (
        "Results of base, wide: true energy 50 to 55 MeV, sample data/toy/val, toy detector, "
        f"N = {window}." in in_one_line
    )
    assert "sigma: not given, as its results are of another choice of events" in in_one_line
    assert "resampled" not in shown
    cells = line_of(shown, "energy", "[%]", "68", "%", "half", "width")
    assert cells.count("-") == 2


def test_sets_of_toy_events_with_the_same_numbers_are_not_paired(two_runs, capsys):
    toy = PredictionMeta(run_name="seed2", is_toy=True, sample="data/toy/other")
    own_events("seed2", prediction_table(400, seed=2), toy)
    assert main(["compare", "base", "wide", "seed2"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "sigma of wide: difference to the first run over its standard deviation" in shown
    assert "sigma of seed2: difference to the first run over the uncertainties added" in shown


def test_a_run_that_is_not_trained_yet_shows_its_options(two_runs, capsys):
    registered("plan", "preset: demo\nmodel: {encoder_dim: 32}\n")
    assert main(["compare", "base", "plan"]) == 0
    shown = capsys.readouterr().out
    assert line_of(shown, "model.encoder_dim") == ["64", "32"]
    assert "plan: not trained yet; its options are those of runs/regressor/plan.yaml" in shown
    assert line_of(shown, "val/loss") == ["0.25", "-"]


def test_a_file_that_was_changed_after_the_training_is_told(two_runs, capsys):
    registered("base", "preset: demo\ntraining: {lr: 0.5}\n")
    assert main(["compare", "base", "wide"]) == 0
    shown = capsys.readouterr().out
    assert line_of(shown, "training.lr") == ["0.001", "0.002"]
    assert "base: runs/regressor/base.yaml was changed since" in " ".join(shown.split())


def test_other_objectives_have_losses_that_cannot_be_compared(two_runs, capsys):
    registered("other", "preset: demo\n")
    trained("other", tasks__energy__weight=3.0)
    assert main(["compare", "base", "other"]) == 0
    assert "the losses of these runs cannot be compared" in capsys.readouterr().out


def test_inpainters_and_encoders(capsys):
    for name, ratio in (("few", 0.05), ("many", 0.2)):
        for kind in ("mae", "inpainter"):
            registered(name, f"preset: {kind}-demo\nmodel: {{mask_ratio: {ratio}}}\n", kind)
            trained(name, kind, model__mask_ratio=ratio)
        folder = Path("artifacts") / name
        table = folder / "inpainter_analysis" / f"recovery_table_{name}.csv"
        table.parent.mkdir()
        about = {"mode": "mc", "is_toy": True, "paths": [f"{name}.root"], "remarks": []}
        table.with_suffix(".json").write_text(json.dumps(about))
        table.write_text(
            "face,reference,low_photons,high_photons,method,relative_rms_percent,error_percent,n\n"
            f"inner,mean,100,300,model,{100 * ratio},1.0,500\ninner,mean,100,300,avg,90,1.0,500\n"
        )
    assert main(["compare", "few", "many"]) == 0
    shown = capsys.readouterr().out
    assert "inpainter runs: few, many" in shown
    assert line_of(shown, "model.mask_ratio") == ["0.05", "0.2"]
    *_, sigma = line_of(shown, "inner", "face,", "100", "-", "300", "photons", "[%]")
    assert float(sigma) == pytest.approx(15 / 2**0.5, abs=0.1)
    assert (
        "of few: masks of mode mc, sample few.root, toy detector, N = 500 sensors of a bin."
        in shown
    )
    assert main(["compare", "few", "many", "--kind", "mae"]) == 0
    assert "mae runs: few, many" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["base", "wid"], "wid: neither a registered run nor a folder (did you mean 'wide'?)"),
        (["base"], "name at least two runs"),
        (
            ["base", "runs"],
            "runs: not the folder of a trained run; expected one of checkpoint_best",
        ),
        (["base", "wide", "--kind", "mae"], "no mae: base, wide"),
        (["base", "wide", "--output", "x.pdf"], "--output x.pdf: expected a name in .csv, .json"),
        (["base", "encoder"], "no kind in common: base is regressor; encoder is mae"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(two_runs, words, expected, capsys):
    registered("encoder", "preset: mae-demo\n", "mae")
    assert main(["compare", *words]) == 2
    assert expected in capsys.readouterr().err
