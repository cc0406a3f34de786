import csv
import dataclasses
import json
import math

import numpy as np
import pytest

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.normalization import Normalization
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.masked_matching import common_sample
from xec_pipeline.evaluation.masked_methods import MODEL
from xec_pipeline.evaluation.masked_metrics import (
    dead_statistics,
    face_metrics,
    global_metrics,
    method_metrics,
    signal_edges,
    signal_metrics,
)
from xec_pipeline.evaluation.masked_samples import MEAN, TRUTH, count_sample, time_sample
from xec_pipeline.evaluation.masked_table import MaskedTable, read_masked_table, write_masked_table
from xec_pipeline.evaluation.plots.methods import looks
from xec_pipeline.evaluation.recovery_table import build_recovery_table, write_recovery_table
from xec_pipeline.evaluation.signal_profiles import (
    error_profiles,
    linear_edges,
    log_edges,
    predicted_profiles,
)
from xec_pipeline.evaluation.text import with_error
from xec_pipeline.reconstruction.inpainting.fitted_light import LIGHT_WINDOWS
from xec_pipeline.reconstruction.inpainting.inverse_distance import N_NEAREST
from xec_pipeline.reconstruction.inpainting.neighbour_average import MIN_NEIGHBOUR_LIGHT
from xec_pipeline.reconstruction.inpainting.neighbour_sums import NEIGHBOUR_RADIUS_CM
from xec_pipeline_tests.evaluation.synthetic_masked import (
    BIAS,
    VARIANCE_PER_PHOTON,
    WIDTH,
    masked_metadata,
    masked_rows,
)

EDGES = signal_edges(100)


@pytest.fixture
def as_table(tmp_path):
    """Return a function from rows to the table as read from a file."""

    def read(rows, name="p", **changes):
        path = write_masked_table(
            tmp_path / f"{name}.root", [rows], masked_metadata(rows, **changes)
        )
        return read_masked_table(path)

    return read


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> MaskedTable:
    rows = masked_rows(100, 60, with_time=True, n_dead=3)
    path = tmp_path_factory.mktemp("toy") / "p.root"
    return read_masked_table(write_masked_table(path, [rows], masked_metadata(rows)))


def spread_of_the_count(mean, sensor):
    assert sensor.shape == mean.shape
    return np.sqrt(VARIANCE_PER_PHOTON * mean)


def values(records):
    return {record["metric"]: record["value"] for record in records}


def test_global_numbers_are_those_of_the_rows(toy):
    counts, times = count_sample(toy, "photons"), time_sample(toy, "photons")
    records = global_metrics(toy, counts, times, MODEL, 100)
    found, rows = values(records), toy.rows
    is_known = rows.mask_type == 0
    error = (toy.pred_photons - rows.truth_photons)[is_known].astype(float)
    assert {name: found[name] for name in ("mode", "n_total", "n_with_truth", "n_dead")} == {
        "mode": "mc",
        "n_total": 6000,
        "n_with_truth": 5700,
        "n_dead": 300,
    }
    assert found["npho_mae"] == pytest.approx(np.abs(error).mean())
    assert found["npho_rmse"] == pytest.approx(np.sqrt((error**2).mean()))
    assert found["npho_bias"] == pytest.approx(error.mean())
    assert found["npho_std"] == pytest.approx(error.std())
    assert found["npho_95pct"] == pytest.approx(np.quantile(np.abs(error), 0.95))
    against_mean = (toy.pred_photons - rows.arrays()["mean_photons"])[is_known].astype(float)
    assert found["npho_rmse_vs_mean"] == pytest.approx(np.sqrt((against_mean**2).mean()))
    assert found["time_std"] == pytest.approx(0.01 * 114, rel=0.05)
    units = {record["metric"]: record["unit"] for record in records}
    assert (units["npho_mae"], units["time_mae"]) == ("photons", "ns")
    assert units["npho_relative_rmse_above_100_photons"] == "1"
    assert all(record["error"] > 0 for record in records if record["metric"].endswith("_rmse"))


def test_injected_bias_and_width_are_found(toy):
    counts = count_sample(toy, "photons")
    for record in method_metrics(counts, list(counts.predictions), 100):
        if record["scope"] != "global":
            continue
        name = {"neighbor_avg": "avg", "solid_angle": "sa", "local_fit": "localfit"}.get(
            record["method"], "knn" if record["method"] == "k_nearest" else MODEL
        )
        expected = {
            "npho_relative_bias_vs_mean_above_100_photons": BIAS[name],
            "npho_relative_std_vs_mean_above_100_photons": WIDTH[name],
        }.get(record["metric"])
        if expected is not None:
            assert abs(record["value"] - expected) < 4 * record["error"]
            assert 0 < record["error"] < 0.01


def test_normalized_numbers(toy):
    counts, times = count_sample(toy, "normalized"), time_sample(toy, "normalized")
    photons = values(global_metrics(toy, count_sample(toy, "photons"), None, MODEL, 100))
    found = values(global_metrics(toy, counts, times, MODEL, 100))
    assert found["npho_mae"] == pytest.approx(photons["npho_mae"] / 1000, rel=1e-5)
    assert found["npho_mae_vs_mean"] == pytest.approx(photons["npho_mae_vs_mean"] / 1000, rel=1e-5)
    assert found["time_std"] == pytest.approx(0.01, rel=0.05)
    assert not any("relative" in name for name in found)


def test_per_face(toy):
    counts, times = count_sample(toy, "photons"), time_sample(toy, "photons")
    records = {record["face"]: record for record in face_metrics(counts, times, MODEL)}
    assert list(records) == ["inner", "us", "ds", "outer", "top", "bot"]
    assert sum(record["n"] for record in records.values()) == len(counts)
    sensors = toy.rows.sensor_id[toy.rows.mask_type == 0]
    n_sensors = sum(record["n_sensors"] for record in records.values())
    assert n_sensors == counts.n_sensors() == len(np.unique(sensors)) < len(counts)
    for face, record in enumerate(records.values()):
        rows = counts.face_id == face
        assert record["npho_bias"] == pytest.approx(counts.error(MODEL)[rows].mean())
        assert record["n_valid_time"] < record["n"]
        assert record["npho_bias_error"] > 0


def test_sensors_that_differ_widen_the_uncertainty_of_the_face(toy):
    counts = count_sample(toy, "photons")
    # Of a face with as many sensors as the table has rows per event, each with a shift of its own.
    sensor = np.arange(len(counts)) % 50
    shift = np.random.default_rng(3).standard_normal(50)
    noise = 0.1 * np.random.default_rng(4).standard_normal(len(counts))
    truth = counts.references[TRUTH]
    few = np.where(counts.face_id == 4, sensor % 3, sensor)
    sample = dataclasses.replace(
        counts, sensor_id=few, predictions={MODEL: truth + shift[few] + noise}
    )
    records = {record["face"]: record for record in face_metrics(sample, None, MODEL)}
    inner, top = records["inner"], records["top"]
    expected = shift.std() / np.sqrt(49)
    assert inner["npho_bias_error_of_sensors"] == pytest.approx(expected, rel=0.25)
    assert inner["npho_bias_error"] < expected / 5
    assert top["n_sensors"] == 3
    assert math.isnan(top["npho_bias_error_of_sensors"])


def test_only_predicted_times_are_counted_as_valid(toy):
    counts, times = count_sample(toy, "photons"), time_sample(toy, "photons")
    assert times is not None
    known = {
        record["face"]: record["n_valid_time"] for record in face_metrics(counts, times, MODEL)
    }
    predicted = times.predictions[MODEL].copy()
    predicted[np.flatnonzero(times.face_id == 0)[:7]] = np.nan
    partial = dataclasses.replace(times, predictions={MODEL: predicted})
    found = {
        record["face"]: record["n_valid_time"] for record in face_metrics(counts, partial, MODEL)
    }
    assert found == known | {"inner": known["inner"] - 7}


def test_without_times_and_means_nothing_is_said_of_them(as_table):
    table = as_table(masked_rows(10, 30, with_mean=False, baselines=()))
    counts = count_sample(table, "photons")
    assert list(counts.references) == [TRUTH]
    assert time_sample(table, "photons") is None
    found = global_metrics(table, counts, None, MODEL, 100)
    assert not any("time" in name or "mean" in name for name in values(found))
    assert not any("time" in name for name in face_metrics(counts, None, MODEL)[0])
    assert method_metrics(counts, [], 100) == []
    assert dead_statistics(table, "photons") == []


def test_dead_sensors(toy):
    found = values(dead_statistics(toy, "photons"))
    is_dead = toy.rows.mask_type == 1
    predicted = toy.pred_photons[is_dead]
    assert found["n"] == 300
    assert found["mean"] == pytest.approx(predicted.mean(), rel=1e-6)
    assert (found["min"], found["max"]) == (predicted.min(), predicted.max())
    assert found["fraction_negative"] == 0
    error = predicted - toy.rows.arrays()["mean_photons"][is_dead]
    assert found["npho_bias_vs_mean"] == pytest.approx(error.mean(), rel=1e-6)
    assert "mean_inner" in found


def test_bins_are_half_open_and_hold_the_brightest(as_table):
    rows = masked_rows(4, 60, baselines=())
    count = np.tile([99.999, 100, 299.99, 300, 9999, 10_000, 1e9, 5e4], 30).astype("f4")
    rows = dataclasses.replace(rows, truth_photons=count, truth_npho=count / 1000)
    counts = count_sample(as_table(rows), "photons")
    found = {
        record["low"]: record["n"]
        for record in signal_metrics(counts, [MODEL], EDGES)
        if record["scope"] == "global" and record["reference"] == TRUTH
    }
    assert found == {100: 60, 300: 30, 1000: 0, 3000: 30, 10_000: 90}
    edges = log_edges(counts.references[TRUTH], 100)
    assert (edges[0], edges[-1]) == (100, 1e9)
    profile = error_profiles(counts, MODEL, TRUTH, edges, counts.on_face(None))["rmse"]
    assert profile.n.sum() == 210
    assert profile.n[-1] == 30
    short = np.array([100.0, 300.0, 400.0])
    profile = error_profiles(counts, MODEL, TRUTH, short, counts.on_face(None))["rmse"]
    assert profile.n.tolist() == [60, 30]


def test_bins_of_few_sensors_have_a_count_only(as_table):
    counts = count_sample(as_table(masked_rows(30, 5, baselines=())), "photons")
    for record in signal_metrics(counts, [MODEL], EDGES):
        assert math.isnan(record["value"]) == (record["n"] < 20)


def test_errors_in_bins_of_the_prediction_are_relative_to_it(toy):
    counts = count_sample(toy, "photons")
    predicted = counts.predicted(MODEL)
    edges = np.array([1000.0, 3000.0])
    rows = counts.face_id == 0
    found = predicted_profiles(counts, MODEL, MEAN, edges, rows)["bias"]
    inside = rows & (predicted >= 1000) & (predicted <= 3000)
    expected = 100 * (counts.error(MODEL, MEAN) / predicted)[inside].mean()
    assert found.value[0] == pytest.approx(expected)
    assert found.n[0] == inside.sum()


def test_linear_edges_do_not_gather_what_is_beyond():
    edges = linear_edges(np.linspace(-1, 99, 101))
    assert (edges[0], edges[-1], len(edges)) == (0, 94, 31)
    assert linear_edges(np.array([])).tolist() == [0, 1]


def test_recovery_table(toy, tmp_path):
    counts = count_sample(toy, "photons", spread_of_the_count)
    table = build_recovery_table(counts, EDGES, [MODEL])
    assert table.columns == (MODEL, "avg", "sa", "localfit", "knn", "true mean", "counting noise")
    assert len(table.rows) == 10
    for row in table.rows:
        for name in ("model", "avg", "sa", "localfit", "knn"):
            estimate = row.estimate(name)
            assert estimate is not None
            expected = 100 * math.hypot(BIAS[name], WIDTH[name])
            if row.reference == MEAN:
                assert abs(estimate.value - expected) < 4 * estimate.error
            else:
                assert estimate.value > expected - 3 * estimate.error
            bias = row.bias(name)
            assert bias is not None
            if row.reference == MEAN:
                assert abs(bias.value - 100 * BIAS[name]) < 4 * bias.error
            assert abs(bias.value) <= estimate.value
    first = table.rows[0]
    known, noise = first.estimate("true mean"), first.estimate("counting noise")
    assert known is not None
    assert noise is not None
    assert known.value == pytest.approx(noise.value, abs=4 * known.error)
    assert table.rows[-1].estimate("true mean") is None
    paths = write_recovery_table(table, tmp_path, "wide")
    text = paths["txt"].read_text()
    assert "toy detector" in text.splitlines()[0]
    assert "RMS of inpainter / neighbour average, against the count: 0." in text
    assert "> 10000" in text
    assert {ending: path.name for ending, path in paths.items()} == {
        ending: f"recovery_table_wide.{ending}" for ending in ("csv", "json", "md", "txt")
    }
    assert len(paths["csv"].read_text().splitlines()) == 1 + 5 * 7 + 5 * 5


def test_recovery_table_shows_the_bias_in_all_files(toy, tmp_path):
    table = build_recovery_table(count_sample(toy, "photons"), EDGES, [MODEL])
    cells = table.cells()
    assert [line[0] for line in cells] == ["error", *["RMS"] * 10, *["bias"] * 10]
    row = table.rows[-1]
    bias = row.bias("avg")
    assert bias is not None
    assert with_error(bias.value, bias.error) in cells[-1]
    paths = write_recovery_table(table, tmp_path, "wide")
    stored = json.loads(paths["json"].read_text())["rows"][-3:]
    with paths["csv"].open(newline="") as file:
        lines = list(csv.DictReader(file))[-3:]
    for record, line, name in zip(stored, lines, ("sa", "localfit", "knn"), strict=True):
        assert record["method"] == line["method"] == name
        expected = row.bias(name)
        assert expected is not None
        assert record["relative_bias_percent"] == expected.value
        assert record["bias_error_percent"] == expected.error
        assert float(line["relative_bias_percent"]) == expected.value
    assert "includes the method's own bias" in paths["txt"].read_text()
    assert max(map(len, paths["txt"].read_text().splitlines()[: len(cells) + 4])) <= 150


def test_recovery_table_says_what_it_was_made_from(as_table, tmp_path):
    rows = masked_rows(40, 60)
    pattern = "0.03 of the sensors, drawn with seed 1"
    read = as_table(rows, dead_pattern=pattern, energy_low_mev=52.83, energy_high_mev=52.83)
    table = build_recovery_table(count_sample(read, "photons"), EDGES, [MODEL])
    for part in ("mode mc (60 sensors per event)", "40 events of data/toy/val", "52.83 MeV"):
        assert part in table.title
    text = table.text()
    assert f"Dead sensors: {pattern}. Weights of the inpainter: after epoch 10, digest" in text
    assert "Data version of the events: d4t4." in text
    paths = write_recovery_table(table, tmp_path, "wide")
    content = json.loads(paths["json"].read_text())
    assert content["dead_pattern"] == pattern
    assert (content["n_events"], content["masked_per_event"]) == (40, 60)
    assert (content["epoch"], content["energy_mev"]) == (10, [52.83, 52.83])


def test_what_is_not_known_is_not_in_the_title(as_table):
    rows = masked_rows(40, 60)
    unknown = {"sample": "", "dead_pattern": "", "epoch": -1, "checkpoint_digest": ""}
    read = as_table(rows, data_version="", **unknown)
    table = build_recovery_table(count_sample(read, "photons"), EDGES, [MODEL])
    title = "masks of mode mc (60 sensors per event), 40 events, toy detector"
    assert table.title.endswith(title)
    assert "Weights" not in table.text()


def test_methods_have_the_names_of_the_figures_and_definitions(as_table):
    read = as_table(masked_rows(40, 60))
    table = build_recovery_table(count_sample(read, "photons"), EDGES, [MODEL])
    methods = [MODEL, "avg", "sa", "localfit", "knn"]
    assert table.cells()[0][4:9] == [looks(methods)[method].label for method in methods]
    (line,) = [note for note in table.notes() if note.startswith("neighbour average: ")]
    (window,) = LIGHT_WINDOWS
    width = 2 * window.half_width + 1
    for words in (
        f"within {NEIGHBOUR_RADIUS_CM:g} cm",
        f"at most {MIN_NEIGHBOUR_LIGHT:g} photons",
        f"the {width} x {width} sensors",
        f"the {N_NEAREST} nearest",
    ):
        assert words in line
    without = as_table(masked_rows(40, 60, baselines=()), "without")
    notes = build_recovery_table(count_sample(without, "photons"), EDGES, [MODEL]).notes()
    assert not any("neighbour" in note for note in notes)


def test_a_file_of_the_earlier_system_says_so_of_its_methods(as_table):
    read = as_table(masked_rows(40, 60), schema_version=0)
    table = build_recovery_table(count_sample(read, "photons"), EDGES, [MODEL])
    assert "those of the earlier system, which may differ" in table.text()


def test_sensors_without_a_prediction_are_counted(as_table):
    rows = masked_rows(40, 60, baselines=("avg",))
    rows.baselines["avg"][::2] = np.nan
    table = build_recovery_table(count_sample(as_table(rows), "photons"), EDGES, [MODEL])
    entries = table.rows[2].entries
    assert entries["avg"].n < 0.7 * entries[MODEL].n
    assert "left out: neighbour average " in table.text()


def test_files_are_compared_on_common_sensors(as_table):
    rows = masked_rows(30, 40)
    shuffled = np.random.default_rng(1).permutation(1200)[:900]
    narrow = rows.mean_photons / 1000 * np.float32(1.02)
    other = dataclasses.replace(rows, pred_npho=narrow, baselines={}).taken(shuffled)
    tables = {"wide": as_table(rows), "narrow": as_table(other, "other", run_name="narrow")}
    sample = common_sample(tables, "photons")
    assert (len(sample), sample.n_left_out) == (900, 300)
    assert list(sample.predictions) == ["wide", "narrow", "avg", "sa", "localfit", "knn"]
    np.testing.assert_allclose(sample.relative_error("narrow", MEAN), 0.02, rtol=1e-3)
    assert sample.origin.remarks == (
        "900 readings of masked sensors are in all files (wide: 900 of 1200, narrow: 900 of 900).",
    )
    text = build_recovery_table(sample, EDGES, ["wide", "narrow"]).text()
    assert "wide / narrow" in text
    assert "narrow / wide" not in text
    assert "900 readings of masked sensors are in all files" in text
    assert "(30 sensors per event), 30 events of data/toy/val" in text
    assert sample.origin.dead_pattern == "dead.txt"


def test_compared_files_say_which_patterns_they_hid(as_table):
    rows = masked_rows(20, 40, baselines=())
    alike = {name: as_table(rows, name) for name in ("a", "b")}
    assert common_sample(alike, "photons").origin.dead_pattern == "dead.txt"
    differ = alike | {"c": as_table(rows, "c", dead_pattern="")}
    origin = common_sample(differ, "photons").origin
    assert origin.dead_pattern == "dead.txt; none"
    assert any("hid different sets of sensors" in remark for remark in origin.remarks)
    neither = {name: as_table(rows, name, dead_pattern="") for name in ("d", "e")}
    assert common_sample(neither, "photons").origin.dead_pattern == ""


def test_different_normalizations_compare_in_photons_only(as_table):
    rows = masked_rows(20, 40, baselines=())
    scheme = NormalizationConfig(npho_scheme="log1p")
    forward = Normalization(scheme).forward_npho
    other = dataclasses.replace(
        rows,
        truth_npho=forward(1000 * np.maximum(rows.truth_npho, -0.9)),
        pred_npho=forward(1000 * rows.pred_npho),
    )
    tables = {"a": as_table(rows), "b": as_table(other, "b", normalization=scheme)}
    sample = common_sample(tables, "photons")
    np.testing.assert_allclose(sample.predicted("a"), sample.predicted("b"), rtol=1e-3)
    assert "Normalizations differ (linear, log1p)" in sample.origin.remarks[1]
    with pytest.raises(DataError, match=r"different normalizations.*--space photons"):
        common_sample(tables, "normalized")


def test_what_cannot_be_compared_is_refused(as_table):
    rows = masked_rows(5, 10, baselines=())
    first = as_table(rows)
    later = as_table(dataclasses.replace(rows, run_number=rows.run_number + 1), "later")
    with pytest.raises(DataError, match=r"no masked sensor .* is in all of"):
        common_sample({"a": first, "b": later}, "photons")
    brighter = dataclasses.replace(rows, truth_photons=rows.truth_photons * np.float32(1.1))
    with pytest.raises(DataError, match="the truth differs for"):
        common_sample({"a": first, "b": as_table(brighter, "c")}, "photons")
    twice = as_table(rows.taken(np.array([0, 1, 0])), "d")
    with pytest.raises(DataError, match=r"d\.root: two rows of the same sensor and event"):
        common_sample({"a": first, "b": twice}, "photons")


def test_tables_that_cannot_be_scored_are_refused(as_table):
    rows = masked_rows(5, 10, baselines=(), n_dead=10)
    with pytest.raises(DataError, match="none of the 50 rows has a truth"):
        count_sample(as_table(rows), "photons")
    broken = masked_rows(5, 10, baselines=())
    broken.pred_npho[7] = np.nan
    with pytest.raises(DataError, match="not finite in 1 of 50 rows, first in row 7"):
        count_sample(as_table(broken, "q"), "photons")
