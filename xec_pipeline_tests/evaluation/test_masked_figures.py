import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.masked_methods import MODEL
from xec_pipeline.evaluation.masked_report import Settings, analyze
from xec_pipeline.evaluation.masked_samples import count_sample, time_sample
from xec_pipeline.evaluation.masked_table import read_masked_table, write_masked_table
from xec_pipeline.evaluation.metadata import PredictionMeta
from xec_pipeline.evaluation.plots.bar_panel import GroupedBarPanel, RankingPanel
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
from xec_pipeline.evaluation.plots.pages import Page, draw_page, write_pages
from xec_pipeline.evaluation.plots.panels import NotePanel
from xec_pipeline_tests.evaluation.synthetic_masked import masked_metadata, masked_rows

TABLES = ["global_metrics.csv", "face_metrics.csv", "signal_metrics.csv"]
RECOVERY = [f"recovery_table_wide.{ending}" for ending in ("csv", "json", "md", "txt")]
CAPTION = SensorCaption(
    run_name="wide",
    n_events=40,
    n_left_out=2,
    meta=PredictionMeta(run_name="wide", is_toy=True, epoch=3, model_digest="0123456789"),
    n_readings=2400,
    n_sensors=60,
    mode="mc",
    dead_pattern="0.03 of the sensors, drawn with seed 1",
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
    ranking, per_face = summary.rows[0]
    assert isinstance(ranking, RankingPanel)
    bright = common & (counts.references["mean"] >= 100)
    n_sensors = len(np.unique(counts.sensor_id[bright]))
    n = f"N = {bright.sum()} readings / {n_sensors} sensors"
    assert ranking.title == f"RMS, {n}\nthat all methods predict (inner face only)"
    assert ranking.x_label.endswith("[%], μ ≥ 100 photons")
    assert isinstance(per_face, GroupedBarPanel)
    assert per_face.title == "RMS per face, μ ≥ 100 photons"
    n_bright = (counts.references["mean"] >= 100).sum()
    assert summary.notes[0] == (
        f"Readings with μ ≥ 100 photons: {n_bright} of {len(counts)}. On the left: {n} that all "
        "methods predict (inner face only), because local fit predicts nothing on us, ds, outer, "
        "top, bot."
    )
    found = ranking.numbers()
    assert {entry["n"] for name, entry in found.items() if name != "x"} == {bright.sum()}
    error = counts.relative_error("knn", "mean")[bright]
    assert found["k nearest"]["value"] == pytest.approx(100 * np.sqrt((error**2).mean()))
    overlay = residual_pages(counts, None, MODEL, 100)[1].rows[0][1]
    assert isinstance(overlay, OverlayPanel)
    assert {len(one.values) for one in overlay.distributions} == {common.sum()}
    n_sensors = len(np.unique(counts.sensor_id[common]))
    assert overlay.readings == (
        f"N = {common.sum()} readings / {n_sensors} sensors\n"
        "that all methods predict (inner face only)"
    )
    alone = dataclasses.replace(counts, predictions={MODEL: counts.predictions[MODEL]})
    page = summary_pages(alone, 100)[1]
    ranking, _ = page.rows[0]
    assert isinstance(ranking, RankingPanel)
    assert ranking.title.startswith(f"RMS, N = {n_bright} readings / ")
    assert ranking.title.endswith("of all faces")
    assert "because" not in page.notes[0]


def test_faces_that_remain_are_those_of_the_predictions(counts):
    predictions = dict(counts.predictions)
    predictions["localfit"] = np.where(counts.face_id == 4, np.nan, counts.predictions["avg"])
    page = summary_pages(dataclasses.replace(counts, predictions=predictions), 100)[1]
    assert (
        "(inner, us, ds, outer, bot faces only), because local fit predicts nothing on top."
        in (page.notes[0])
    )
    predictions["localfit"] = counts.predictions["avg"].copy()
    predictions["localfit"][np.flatnonzero(counts.references["mean"] >= 100)[:5]] = np.nan
    page = summary_pages(dataclasses.replace(counts, predictions=predictions), 100)[1]
    assert page.notes[0].endswith("sensors that all methods predict.")


def panels(page) -> list[Any]:
    """Return the panels of the first row, of whatever kind."""
    return list(page.rows[0])


def fixed_pattern(sample, n_sensors):
    """Return the sample as if the same few sensors had been hidden in all events."""
    return dataclasses.replace(sample, sensor_id=sample.sensor_id % n_sensors)


def test_faces_have_their_readings_and_sensors(counts):
    sample = fixed_pattern(counts, 7)
    on_us = (sample.face_id == 1) & (sample.references["truth"] >= 100)
    n_us = on_us.sum()
    assert n_us > sample.n_sensors(on_us) > 1
    expected = f"{n_us} readings / {sample.n_sensors(on_us)} sensors"
    signal, histograms = face_signal_pages(sample, 100)[0], face_pages(sample, MODEL, 100)[0]
    for page in (signal, histograms):
        assert panels(page)[1].title == f"us: {expected}"
        assert "Readings / sensors with n ≥ 100 photons: inner " in page.notes[0]
        assert f", us {n_us} / {sample.n_sensors(on_us)}, ds " in page.notes[0]
        assert page.notes[1] == (
            "± is from resampled events, for these sensors (this dead pattern): "
            "how much other sensors of a face differ is not in it."
        )
    drawn_anew = face_pages(counts, MODEL, 100)[0].notes[1]
    assert drawn_anew == "± is from resampled events, which hide different sensors."
    drawn = panels(signal)[1].numbers()["inpainter"]
    assert sum(drawn["n"]) == n_us
    bars = panels(summary_pages(sample, 100)[0])[1]
    assert bars.numbers()["n_sensors"]["us"] == sample.n_sensors(on_us)
    figure = draw_page(summary_pages(sample, 100)[0], CAPTION, "1/1")
    axes = figure.axes[1]
    assert axes.get_xlabel() == "face / readings / sensors"
    assert axes.get_xticklabels()[1].get_text() == f"us\n{n_us}\n{sample.n_sensors(on_us)}"


def test_nothing_is_called_a_sensor_that_is_a_reading(counts):
    one = fixed_pattern(counts, 1)
    pages = [residual_pages(one, None, MODEL, 100)[0], scatter_pages(one)[0]]
    histogram, scatter = (panels(page)[0] for page in pages)
    assert (histogram.counted, scatter.counted) == ("readings", "readings")
    assert "readings / 1 sensor\n" in panels(summary_pages(one, 100)[0])[0].title


def test_the_foot_names_the_pattern_and_the_events():
    text = CAPTION.text()
    assert "N = 2400 readings of 60 sensors in 40 events   ·   2 left out   ·   masks mc" in text
    assert "dead pattern: 0.03 of the sensors, drawn with seed 1   ·   sample not stated" in text
    assert "± from 200 bootstraps of the events" in text
    assert "dead pattern: none" in dataclasses.replace(CAPTION, dead_pattern="").text()


@pytest.mark.parametrize("pattern", ["drawn with seed 1", "/data/dead/" + 30 * "period_" + ".txt"])
def test_the_foot_stays_on_the_page(pattern):
    caption = dataclasses.replace(CAPTION, dead_pattern=pattern)
    notes = ("A first sentence. " * 12, "A second one.")
    page = Page(title="t", rows=((NotePanel(key="k", text="nothing"),),), notes=notes)
    figure = draw_page(page, caption, "12/12")
    FigureCanvasAgg(figure).draw()
    title, *lines, position, _ = figure.texts
    assert (title.get_text(), position.get_text()) == ("t", "12/12")
    boxes = [text.get_window_extent() for text in lines]
    assert max(box.x1 for box in boxes) < position.get_window_extent().x0
    assert min(box.y0 for box in boxes) > 0
    assert max(box.y1 for box in boxes) < figure.axes[0].bbox.y0
    # From the caption, at the foot, upwards to the notes.
    written = "".join(line.get_text() for line in reversed(lines)).replace(" ", "")
    expected = "".join((*notes, caption.text())).replace(" ", "")
    assert written.replace("·", "") == expected.replace("·", "")
    assert page.numbers()["notes"] == list(notes)


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
    assert (content["is_toy"], content["n_readings"], content["masks"]) == (True, 2400, "mc")
    assert (content["n_sensors"], content["dead_pattern"]) == (60, CAPTION.dead_pattern)
    assert CAPTION.detector() == "toy detector"


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
    assert (content["dead_pattern"], content["n_events"]) == ("dead.txt", 12)
    assert content["n_sensors"] < content["n_readings"] == len(rows)
    table = json.loads((tmp_path / "out" / "recovery_table_wide.json").read_text())
    assert table["sample"] == "data/toy/val"


def test_normalized_figures_have_no_relative_errors(toy):
    sample = count_sample(toy, "normalized")
    pages = residual_pages(sample, None, MODEL, 100) + signal_pages(sample, 100)
    pages += face_pages(sample, MODEL, 100) + scatter_pages(sample) + summary_pages(sample, 100)
    content = json.dumps(numbers(pages))
    assert "photons" not in content.replace("no reading above 10 photons", "")
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
