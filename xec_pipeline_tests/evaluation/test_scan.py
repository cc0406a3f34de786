import math
from pathlib import Path

import pytest

from xec_pipeline.__main__ import main
from xec_pipeline.config.output import MlflowConfig
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.plots.scan import draw_losses, write_scan_pdf
from xec_pipeline.evaluation.scan import Scan, ScanRun, made_with_toy, read_scan
from xec_pipeline.training.tracking import MlflowTracker, closing_run

# MLflow's own tables use options that SQLAlchemy 2.1 gives up.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
ENERGY = "energy_res_68pct"


def track(config: MlflowConfig, name: str, lr: float, losses: list[float], **metrics: list[float]):
    tracker = MlflowTracker(config, name)
    with closing_run(tracker):
        tracker.start({"training": {"lr": lr, "epochs": 3}, "checkpoint": {"save_dir": name}}, {})
        for epoch, loss in enumerate(losses, 1):
            values = {key: many[epoch - 1] for key, many in metrics.items()}
            tracker.epoch(epoch, {"val/loss": loss, "train/loss": 2 * loss, **values})


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store of two scans; the best resolution of `ene_b` is not in its best epoch."""
    store = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlruns.db"
    config = MlflowConfig(tracking_uri=store, experiment="scan")
    track(config, "ene_a", 1e-3, [0.5, 0.2, 0.4], energy_res_68pct=[1.5, 1.0, 0.9])
    track(config, "ene_b", 1e-4, [0.3, 0.4, 0.6], energy_res_68pct=[1.2, 0.8, 0.7])
    track(config, "ene_lost", 1e-3, [math.nan], energy_res_68pct=[math.nan])
    track(config, "other", 1e-2, [0.1, 0.1, 0.1])
    return store


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_runs_are_ranked_by_what_their_best_weights_resolve(uri):
    scan = read_scan(uri, "scan", "ene_")
    assert (scan.metric, scan.unit) == (ENERGY, "MeV")
    assert [run.name for run in scan.runs] == ["ene_a", "ene_b", "ene_lost"]
    first, second, lost = scan.records()
    assert (first["best_epoch"], first[ENERGY], first["val/loss"]) == (2, 1.0, 0.2)
    assert (second["best_epoch"], second[ENERGY], second["train/loss"]) == (1, 1.2, 0.6)
    assert lost["best_epoch"] is None
    assert math.isnan(lost[ENERGY])


def test_only_what_was_trained_otherwise_differs(uri):
    scan = read_scan(uri, "scan", "ene_")
    assert scan.differing() == ["training.lr"]
    assert [record["training.lr"] for record in scan.records()] == ["0.001", "0.0001", "0.001"]
    assert "training.epochs" not in scan.text()


def test_without_a_resolution_the_loss_ranks(uri):
    scan = read_scan(uri, "scan", "other")
    assert (scan.metric, scan.unit) == ("val/loss", "")


def scan_of(*losses: float, metrics: tuple[str, ...] = ("val/loss",)) -> Scan:
    by_epoch = dict(enumerate(losses, 1))
    run = ScanRun(
        run_id="1",
        name="r",
        status="FINISHED",
        params={},
        histories=dict.fromkeys(metrics, by_epoch),
    )
    return Scan(experiment="x", metric="val/loss", unit="", runs=(run,))


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ((0.5, 0.2), "log"),
        ((0.5, -0.3), "linear"),
        ((0.5, 0.0), "linear"),
        ((0.5, math.nan), "log"),
    ],
)
def test_every_loss_is_drawn(losses, scale):
    (ax,) = draw_losses(scan_of(*losses)).axes
    assert ax.get_yscale() == scale
    low, high = ax.get_ylim()
    assert all(low < loss < high for loss in losses if math.isfinite(loss))


def test_a_ranking_by_the_loss_says_what_it_cannot_compare(uri):
    several = scan_of(0.5, metrics=("val/loss", ENERGY, "timing_res_68pct"))
    said = " ".join(several.text().split())
    assert "not to be compared by val/loss" in said
    assert "To rank by one task: --task energy, timing." in said
    ranked = read_scan(uri, "scan", "ene_")
    assert "not to be compared by val/loss" not in ranked.text()


def test_equal_scans_give_equal_bytes(tmp_path):
    for name in ("a.pdf", "b.pdf"):
        write_scan_pdf(scan_of(0.5, -0.3), tmp_path / name, is_toy=True)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_the_command_writes_numbers_and_figure(uri, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["scan-summary", "--experiment", "scan", "--tracking-uri", uri]) == 0
    assert "scan: 4 runs by energy_res_68pct [MeV]" in capsys.readouterr().out
    pdf = Path("scan_scan_summary.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    rows = Path("scan_scan_summary.csv").read_text().splitlines()
    assert rows[0].startswith("rank,run,mlflow_run_id,status,epochs,best_epoch,energy_res_68pct")
    assert [row.split(",")[1] for row in rows[1:]] == ["ene_a", "ene_b", "ene_lost", "other"]


def test_what_is_not_there_is_named(uri, tmp_path):
    with pytest.raises(DataError, match="no experiment scann; there are Default, scan"):
        read_scan(uri, "scann")
    with pytest.raises(DataError, match=r"no run in scan begins with 'tim'; there are .*ene_a"):
        read_scan(uri, "scan", "tim")
    with pytest.raises(DataError, match=r"no run has the metric timing_res_68pct; .*energy_res"):
        read_scan(uri, "scan", task="timing")
    absent = tmp_path / "absent.db"
    with pytest.raises(DataError, match="no such MLflow store"):
        read_scan(f"sqlite:///{absent}", "scan")
    assert not absent.exists()


def test_where_events_come_from_is_not_guessed(uri):
    assert made_with_toy(read_scan(uri, "scan").runs) is None
