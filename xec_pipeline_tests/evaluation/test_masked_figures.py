import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.masked_report import Settings, analyze
from xec_pipeline.evaluation.masked_samples import MODEL, count_sample, time_sample
from xec_pipeline.evaluation.masked_table import read_masked_table, write_masked_table
from xec_pipeline.evaluation.metadata import PredictionMeta
from xec_pipeline.evaluation.plots.bar_panel import RankingPanel
from xec_pipeline.evaluation.plots.inpainting import (
    SensorCaption,
    face_pages,
    residual_pages,
    scatter_pages,
    summary_pages,
)
from xec_pipeline.evaluation.plots.inpainting_signal import face_signal_pages, signal_pages
from xec_pipeline.evaluation.plots.methods import looks
from xec_pipeline.evaluation.plots.overlay_panel import OverlayPanel
from xec_pipeline.evaluation.plots.pages import Page, write_pages
from xec_pipeline_tests.evaluation.synthetic_masked import masked_metadata, masked_rows

TABLES = ["global_metrics.csv", "face_metrics.csv", "signal_metrics.csv"]
RECOVERY = [f"recovery_table_wide.{ending}" for ending in ("csv", "json", "md", "txt")]
CAPTION = SensorCaption(
    run_name="wide",
    n_events=40,
    n_left_out=2,
    meta=PredictionMeta(run_name="wide", is_toy=True, epoch=3, model_digest="0123456789"),
    n_sensors=2400,
    mode="mc",
)


def written(path: Path, rows):
    return write_masked_table(path, [rows], masked_metadata(rows))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    rows = masked_rows(60, 60, with_time=True)
    return read_masked_table(written(tmp_path_factory.mktemp("toy") / "p.root", rows))


@pytest.fixture(scope="module")
def counts(toy):
    return count_sample(toy, "photons")


def numbers(pages):
    return [page.numbers() for page in pages]


def test_residuals_of_the_figure_are_those_of_the_sample(toy, counts):
    first, second = numbers(residual_pages(counts, time_sample(toy, "photons"), MODEL, 100))
    assert first["title"] == "Residuals of masked sensors: inpainter"
    histogram = first["panels"]["npho_relative_mean"]
    assert histogram["x"] == "(predicted - true mean) / true mean [%]"
    assert histogram["mean"]["value"] == pytest.approx(3, abs=0.3)
    assert histogram["RMS"]["value"] == pytest.approx(5, abs=0.3)
    assert histogram["RMS"]["error"] > 0
    assert sum(histogram["contents"]) + histogram["outside"] == histogram["n"]
    assert first["panels"]["time_error_truth"]["x"] == "predicted - true time [ns]"
    overlay = second["panels"]["npho_relative_mean_all"]
    assert overlay["neighbour average"]["width"]["value"] > overlay["inpainter"]["width"]["value"]


def test_signal_figure_has_the_floor_against_the_count_only(counts):
    by_truth, by_pred, by_mean, _ = numbers(signal_pages(counts, 100))
    panel = by_truth["panels"]["rmse_truth_inner_face"]
    assert panel["y"] == "RMS of (p - n) / n [%]"
    assert panel["x"] == "measured count n [photons]"
    floor, model = panel["floor: true mean"], panel["inpainter"]
    assert (
        np.nansum(model["n"]) == ((counts.face_id == 0) & (counts.references["truth"] >= 100)).sum()
    )
    assert floor["value"][-1] < model["value"][-1]
    assert "floor: true mean" not in by_mean["panels"]["rmse_mean_inner_face"]
    assert by_pred["panels"]["rmse_truth_PMTs"]["x"] == "predicted p [photons]"
    assert "in bins of p" in by_pred["title"]


def test_every_face_has_its_panels(counts):
    pages = numbers(face_signal_pages(counts, 100))
    assert len(pages) == 4
    assert all(len(page["panels"]) == 6 for page in pages)
    pages = numbers(face_pages(counts, MODEL, 100))
    assert [page["title"].split(",")[0] for page in pages] == [
        "Relative error",
        "Residual against the measured count",
        "Relative error",
    ]
    faces = pages[0]["panels"]
    assert (
        sum(panel.get("n", 0) for panel in faces.values())
        == (counts.references["truth"] >= 100).sum()
    )


def test_methods_are_ranked_with_uncertainties(counts):
    page = numbers(summary_pages(counts, 100))[1]
    ranking = page["panels"]["rmse_relative_mean"]
    assert ranking["inpainter"]["value"] == pytest.approx(5, abs=0.3)
    assert all(entry["error"] > 0 for name, entry in ranking.items() if name != "x")
    per_face = page["panels"]["rmse_relative_mean_per_face"]
    assert per_face["local fit"]["us"]["n"] == 0
    assert per_face["k nearest"]["us"]["n"] > 0


def test_methods_are_compared_on_the_sensors_that_all_predict(counts):
    common = np.isfinite(counts.predictions["localfit"])
    assert 0 < common.sum() < len(counts)
    summary = summary_pages(counts, 100)[1]
    ranking = summary.rows[0][0]
    assert isinstance(ranking, RankingPanel)
    bright = common & (counts.references["mean"] >= 100)
    assert ranking.title == f"RMS, N = {bright.sum()} sensors that all methods predict"
    found = ranking.numbers()
    assert {entry["n"] for name, entry in found.items() if name != "x"} == {bright.sum()}
    error = counts.relative_error("knn", "mean")[bright]
    assert found["k nearest"]["value"] == pytest.approx(100 * np.sqrt((error**2).mean()))
    overlay = residual_pages(counts, None, MODEL, 100)[1].rows[0][1]
    assert isinstance(overlay, OverlayPanel)
    assert {len(one.values) for one in overlay.distributions} == {common.sum()}
    assert overlay.sensors == f"N = {common.sum()} sensors that all methods predict"
    alone = dataclasses.replace(counts, predictions={MODEL: counts.predictions[MODEL]})
    n_bright = (counts.references["mean"] >= 100).sum()
    (ranking, _), *_ = summary_pages(alone, 100)[1].rows
    assert isinstance(ranking, RankingPanel)
    assert ranking.title == f"RMS, N = {n_bright} sensors of all faces"


def test_equal_numbers_give_equal_bytes(counts, tmp_path):
    for folder in ("a", "b"):
        made = scatter_pages(counts), signal_pages(counts, 100), summary_pages(counts, 100)
        # One panel of each kind.
        (scatter, *_), (width, bias, _), bars = (pages[0].rows[0] for pages in made)
        page = Page(title="all kinds", rows=((scatter, width, bias), bars))
        write_pages([page], CAPTION, tmp_path / folder / "x.pdf", "x")
    for name in ("x.pdf", "x.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    content = json.loads((tmp_path / "a" / "x.json").read_text())
    assert (content["is_toy"], content["n_sensors"], content["masks"]) == (True, 2400, "mc")
    assert CAPTION.detector() == "toy detector"
    assert "N = 2400 sensors in 40 events   ·   2 left out   ·   masks mc" in CAPTION.text()


def leave_earlier_files(folder: Path) -> None:
    """Leave what an analysis of times, dead sensors and baselines, or a comparison, has more."""
    folder.mkdir()
    figure = [f"residual_per_face_time.{ending}" for ending in ("pdf", "json")]
    tables = [
        f"{name}.csv" for name in ("dead_channel_stats", "baseline_metrics", "comparison_metrics")
    ]
    for name in [*figure, *tables, "notes.txt"]:
        (folder / name).touch()


def test_all_figures_of_a_small_file_with_times_only_where_predicted(tmp_path):
    rows = masked_rows(12, 30, baselines=(), with_mean=False)
    path = written(tmp_path / "p.root", rows)
    leave_earlier_files(tmp_path / "out")
    analysis = analyze({"x": path}, tmp_path / "out")
    names = {file.name for file in analysis.files}
    figures = {
        "residual_distributions",
        "residual_per_face_npho",
        "scatter_truth_vs_pred",
        "resolution_vs_signal",
        "resolution_vs_signal_per_face",
        "metrics_summary",
    }
    expected = {f"{figure}.{ending}" for figure in figures for ending in ("pdf", "json")}
    assert names == expected | {*TABLES, *RECOVERY}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names | {"notes.txt"}
    content = json.loads((tmp_path / "out" / "metrics_summary.json").read_text())
    assert (content["sample"], content["files"]) == ("data/toy/val", ["p.root"])
    table = json.loads((tmp_path / "out" / "recovery_table_wide.json").read_text())
    assert table["sample"] == "data/toy/val"


def test_normalized_figures_have_no_relative_errors(toy):
    sample = count_sample(toy, "normalized")
    pages = residual_pages(sample, None, MODEL, 100) + signal_pages(sample, 100)
    pages += face_pages(sample, MODEL, 100) + scatter_pages(sample) + summary_pages(sample, 100)
    content = json.dumps(numbers(pages))
    assert "photons" not in content.replace("no sensor above 10 photons", "")
    assert "p - n [normalized]" in content


def test_few_sensors_are_drawn_with_notes(tmp_path):
    rows = masked_rows(1, 3, baselines=())
    path = written(tmp_path / "p.root", rows)
    sample = count_sample(read_masked_table(path), "photons")
    pages = [scatter_pages(sample)[0], signal_pages(sample, 100)[0], *summary_pages(sample, 100)]
    pages += residual_pages(sample, None, MODEL, 100)
    write_pages(pages, CAPTION, tmp_path / "x.pdf", "x")
    assert (tmp_path / "x.pdf").stat().st_size > 1000


def test_a_comparison_stands_beside_the_files_own_folders(tmp_path):
    rows = masked_rows(10, 30, n_dead=2)
    paths = {name: written(tmp_path / f"{name}.root", rows) for name in ("a", "b")}
    settings = Settings(with_plots=False, space="normalized")
    leave_earlier_files(tmp_path / "out")
    files = analyze(paths, tmp_path / "out", settings).files
    names = {str(file.relative_to(tmp_path / "out")) for file in files}
    recovery = {f"recovery_table_comparison.{e}" for e in ("csv", "json", "md", "txt")}
    assert {name for name in names if "/" not in name} == recovery | {
        "comparison_metrics.csv",
        "signal_metrics.csv",
    }
    assert {"a/global_metrics.csv", "b/dead_channel_stats.csv", "a/recovery_table_a.txt"} <= names
    here = {file.name for file in (tmp_path / "out").iterdir()}
    assert here - {name for name in names if "/" not in name} == {"a", "b", "notes.txt"}
    again = analyze(paths, tmp_path / "again", settings).files
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in again]
    with pytest.raises(DataError, match="no file to analyze"):
        analyze({}, tmp_path / "out")


def test_networks_look_different_and_conventional_methods_the_same():
    found = looks(["small", "avg", "large", "knn"])
    assert found["small"].colour != found["large"].colour
    assert found["avg"] == looks(["avg"])["avg"]
    assert found["knn"].is_conventional
    assert looks([MODEL])[MODEL].label == "inpainter"
