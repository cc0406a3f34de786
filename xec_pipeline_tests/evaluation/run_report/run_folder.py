"""A folder of runs as trainings and workers leave it, with tiny files and known numbers."""

import json
from pathlib import Path

from matplotlib.figure import Figure

from xec_pipeline.evaluation.plots.style import save_pdf
from xec_pipeline.training.record import RecordingTracker
from xec_pipeline.training.tracking import NullTracker

TABLE = """### Resolution: run tiny, 52.83 MeV, sample data/toy/test, toy detector

| quantity | estimator | model | conventional | N |
| --- | --- | ---: | ---: | ---: |
| energy [%] | 68 % half width | 1.730 ± 0.027 | 1.762 ± 0.026 | 4000 |

res = predicted - true. '68 % of \\|res\\| within' includes a <b>bias</b>.

#### Versus depth

| w | energy [%] |
| --- | ---: |
| 0-1 cm | 1.234 ± 0.056 |
"""
CONFIG = {
    "data": {"train_path": "data/toy/train", "val_path": "data/toy/val", "test_path": ""},
    "mlflow": {"run_name": "tiny"},
    "training": {"lr": 0.001},
}
ORIGIN = {
    "encoder.run_name": "my_mae",
    "encoder.tensor_digest": "3ae19f8f5872ba18",
    "encoder.train_data_version": "dcea006dc0c8",
}


def estimates(method: str, value: float) -> dict[str, object]:
    row = {"quantity": "energy", "unit": "%", "estimator": "68 % half width", "method": method}
    return {**row, "value": value, "error": 0.027, "n": 4000}


def write_record(run_dir: Path, name: str = "training_record.json") -> None:
    tracker = RecordingTracker(NullTracker(), run_dir / name)
    tags = {
        "git_revision": "e1b304f0f03e",
        "config_digest": "d8ba3e2e3262",
        "train_data_version": "aaaa1111",
        "val_data_version": "bbbb2222",
        "detector": "toy",
        **ORIGIN,
    }
    facts = {"total_params": 1409575, "n_train_events": 32000, "world_size": 2}
    tracker.start({**CONFIG, **facts, "resume_state": "encoder"}, tags)
    for epoch, loss in ((1, 0.3), (2, 0.1), (3, 0.2)):
        metrics = {"train/loss": 2 * loss, "val/loss": loss, "energy_res_68pct": 8 * loss}
        tracker.epoch(epoch, {**metrics, "lr": 1e-3, "val/mae_npho": loss / 3})
    tracker.finish("FINISHED")


def draw(path: Path, n_pages: int = 1) -> None:
    figures = []
    for page in range(n_pages):
        figure = Figure(figsize=(4, 2))
        figure.add_subplot().plot([0, page + 1], [1, 2])
        figures.append(figure)
    save_pdf(figures, path, "figure")


def make_run_folder(run_dir: Path) -> Path:
    """Fill the folder of a regressor `tiny`, and of a masked autoencoder of the same name."""
    run_dir.mkdir(parents=True)
    write_record(run_dir)
    write_record(run_dir, "mae_training_record.json")
    (run_dir / ".regressor_finished").write_text("a76ebaa881ce1338\n")
    (run_dir / "checkpoint_best.pth").write_bytes(b"weights")
    (run_dir / "mae_checkpoint_best.pth").write_bytes(b"other weights")
    (run_dir / "resolution_table_tiny.md").write_text(TABLE)
    rows = [estimates("model", 1.73), estimates("conventional", 1.762)]
    table = {"selection": "52.83 MeV", "sample": "data/toy/test", "rows": rows}
    (run_dir / "resolution_table_tiny.json").write_text(json.dumps(table))
    draw(run_dir / "resolution_energy_tiny.pdf", 2)
    draw(run_dir / "worst_events" / "worst_01_tiny.pdf")
    draw(run_dir / "something_new.pdf")
    return run_dir
