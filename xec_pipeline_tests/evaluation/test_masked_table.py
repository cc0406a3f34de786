import dataclasses
import time

import numpy as np
import pytest
import uproot
from numpy.testing import assert_array_equal

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.errors import DataError, MissingBranchError
from xec_pipeline.evaluation.masked_rows import joined, photons, times_ns
from xec_pipeline.evaluation.masked_table import read_masked_table, write_masked_table
from xec_pipeline_tests.evaluation.jsroot import read_trees
from xec_pipeline_tests.evaluation.synthetic_masked import SCHEME, masked_metadata, masked_rows

COMMON = {
    *("event_idx", "run_number", "event_number", "sensor_id", "face", "face_id", "mask_type"),
    *("truth_npho", "pred_npho", "error_npho", "truth_photons"),
}
TIMES = {"truth_time", "pred_time", "error_time"}
FACES = np.array(["inner", "us", "ds", "outer", "top", "bot"])


def written(path, rows, **changes):
    return write_masked_table(path, [rows], masked_metadata(rows, **changes))


def missing(values, truth):
    return np.where(np.isnan(truth), np.float32(-999), values)


def test_an_independent_reader_finds_every_value(tmp_path):
    rows = masked_rows(6, 40, with_time=True, n_dead=3)
    assert set(np.unique(rows.face_id)) == set(range(6))
    blocks = [rows.taken(slice(0, 50)), rows.taken(slice(50, 51)), rows.taken(slice(51, None))]
    metadata = masked_metadata(rows, energy_low_mev=52.8, energy_high_mev=52.8)
    path = write_masked_table(tmp_path / "p.root", blocks, metadata)
    trees = read_trees(path)
    assert {name: tree["type"] for name, tree in trees.items()} == {
        "metadata": "TTree",
        "predictions": "TTree",
    }
    columns = trees["predictions"]["columns"]
    numbers = {n: np.array(v, dtype="f8") for n, v in columns.items() if n != "face"}
    baselines = {
        f"baseline_{name}{kind}_npho" for name in rows.baselines for kind in ("", "_error")
    }
    assert set(columns) == COMMON | TIMES | baselines | {"mean_photons"}
    for name in ("event_idx", "run_number", "event_number", "sensor_id", "face_id", "mask_type"):
        assert_array_equal(numbers[name], getattr(rows, name))
    assert columns["face"] == FACES[rows.face_id].tolist()
    for channel in ("npho", "time"):
        truth, pred = getattr(rows, f"truth_{channel}"), getattr(rows, f"pred_{channel}")
        assert_array_equal(numbers[f"truth_{channel}"], missing(truth, truth))
        assert_array_equal(numbers[f"pred_{channel}"], pred)
        assert_array_equal(numbers[f"error_{channel}"], missing(pred - truth, truth))
    # JSON has null for NaN, which numpy turns back.
    assert_array_equal(numbers["truth_photons"], rows.truth_photons)
    assert_array_equal(numbers["mean_photons"], rows.mean_photons)
    for name, values in rows.baselines.items():
        assert_array_equal(numbers[f"baseline_{name}_npho"], values)
        assert_array_equal(numbers[f"baseline_{name}_error_npho"], values - rows.truth_npho)
    found = {name: values[0] for name, values in trees["metadata"]["columns"].items()}
    assert found == {
        **SCHEME.model_dump(),
        "predict_channels": "npho,time",
        "epoch": 10,
        "checkpoint_digest": "0123abcd",
        "run_name": "wide",
        "data_version": "d4t4",
        "toy": True,
        "schema_version": 1,
        "mode": "mc",
        "baselines": "avg,sa,localfit,knn",
        "dead_pattern": "dead.txt",
        "sample": "data/toy/val",
        "n_events": 6,
        "energy_low_mev": 52.8,
        "energy_high_mev": 52.8,
    }


@pytest.mark.parametrize("with_time", [False, True])
@pytest.mark.parametrize("with_mean", [False, True])
def test_tables_come_back_as_they_were(tmp_path, with_time, with_mean):
    rows = masked_rows(5, 20, with_time=with_time, with_mean=with_mean, n_dead=2)
    table = read_masked_table(written(tmp_path / "p.root", rows))
    assert table.metadata == masked_metadata(rows)
    expected = rows.arrays()
    assert set(table.rows.arrays()) == set(expected)
    for name, values in table.rows.arrays().items():
        assert_array_equal(values, expected[name], err_msg=name)
    with uproot.open(tmp_path / "p.root") as file:
        assert (set(file["predictions"].keys()) >= TIMES) is with_time
    assert [item.name for item in tmp_path.iterdir()] == ["p.root"]


def test_numbers_in_photons_and_nanoseconds(tmp_path):
    rows = masked_rows(5, 20, with_time=True)
    table = read_masked_table(written(tmp_path / "p.root", rows))
    np.testing.assert_allclose(table.pred_photons, 1000 * rows.pred_npho, rtol=1e-6)
    np.testing.assert_allclose(
        table.baseline_photons("localfit"), 1000 * rows.baselines["localfit"], rtol=1e-6
    )
    times = table.times_ns()
    assert times is not None
    true, pred = times
    np.testing.assert_allclose(true, 114 * (rows.truth_time - 0.46), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(pred - true, 114 * (rows.pred_time - rows.truth_time), atol=1e-4)


@pytest.mark.parametrize(
    ("scheme", "lowest"), [("sqrt", 0.0), ("anscombe", -0.375), ("linear", -200), ("log1p", -558.0)]
)
def test_predictions_below_zero_are_not_large_counts(scheme, lowest):
    config = NormalizationConfig(npho_scheme=scheme)
    found = photons(np.array([-0.2, 0.0, 0.1], dtype="f4"), config)
    assert found[0] == pytest.approx(lowest, abs=0.5)
    assert (np.diff(found) >= 0).all()
    assert times_ns(np.array([0.46], dtype="f4"), config)[0] == pytest.approx(0, abs=1e-5)


def test_a_million_rows_in_seconds(tmp_path):
    part = masked_rows(500, 200)
    block = joined([part] * 2)
    begin = time.process_time()
    write_masked_table(tmp_path / "p.root", [block] * 5, masked_metadata(part))
    table = read_masked_table(tmp_path / "p.root")
    seconds = time.process_time() - begin
    assert len(table.rows) == 1_000_000
    assert seconds < 20
    assert_array_equal(table.rows.pred_npho[-100_000:], part.pred_npho)


def test_tables_without_rows_cannot_be_read(tmp_path):
    rows = masked_rows(1, 2)
    path = write_masked_table(tmp_path / "p.root", [], masked_metadata(rows))
    with pytest.raises(DataError, match="tree 'predictions' has no entries"):
        read_masked_table(path)


def older_file(path, metadata, **columns):
    types = {name: values.dtype for name, values in columns.items()}
    with uproot.recreate(path) as file:
        file.mktree("tree", types).extend(columns)
        kinds = {n: "string" if isinstance(v, str) else np.float64 for n, v in metadata.items()}
        file.mktree("metadata", kinds).extend({n: [v] for n, v in metadata.items()})
    return path


def test_files_of_the_earlier_system_can_be_read(tmp_path):
    path = older_file(
        tmp_path / "old.root",
        {"predict_channels": "npho,time", "npho_scheme": "sqrt", "npho_scale": 4000.0},
        event_idx=np.array([3, 3, 8], dtype="i4"),
        sensor_id=np.array([0, 4742, 4100], dtype="i4"),
        face=np.array([0, -1, 3], dtype="i4"),
        truth_npho=np.array([0.5, 0.1, -999], dtype="f4"),
        pred_npho=np.array([0.6, 0.1, 0.3], dtype="f4"),
        truth_time=np.array([0.5, -1.0, -1.0], dtype="f4"),
        pred_time=np.array([0.4, 0.2, 0.2], dtype="f4"),
        baseline_avg_npho=np.array([0.55, -999, 0.2], dtype="f4"),
    )
    table = read_masked_table(path)
    assert_array_equal(table.rows.face_id, [0, 3, 3])
    np.testing.assert_allclose(table.rows.truth_photons, [1000, 40, np.nan], rtol=1e-5)
    assert_array_equal(np.isnan(table.rows.arrays()["truth_time"]), [False, True, True])
    assert_array_equal(np.isnan(table.rows.baselines["avg"]), [False, True, False])
    assert_array_equal(table.rows.mask_type, 0)
    assert_array_equal(table.rows.event_number, [3, 3, 8])


def test_raw_photons_and_seconds_of_the_earlier_system(tmp_path):
    path = older_file(
        tmp_path / "raw.root",
        {"predict_channels": "npho,time", "npho_scheme": "raw", "time_scale": 1.14e-7},
        event_idx=np.array([0, 0], dtype="i4"),
        run=np.array([7, 7], dtype="i4"),
        event=np.array([70, 70], dtype="i4"),
        sensor_id=np.array([0, 9], dtype="i4"),
        mask_type=np.array([0, 1], dtype="i4"),
        truth_npho=np.array([1500, -999], dtype="f4"),
        pred_npho=np.array([1400, 20], dtype="f4"),
        truth_time=np.array([2e-8, -999], dtype="f4"),
        pred_time=np.array([3e-8, 1e-8], dtype="f4"),
    )
    table = read_masked_table(path)
    assert_array_equal(table.pred_photons, [1400, 20])
    assert_array_equal(table.rows.truth_photons, [1500, np.nan])
    assert_array_equal((table.rows.run_number[0], table.rows.event_number[0]), (7, 70))
    times = table.times_ns()
    assert times is not None
    true, pred = times
    assert_array_equal(np.isnan(true), [False, True])
    np.testing.assert_allclose(pred, [30, 10], rtol=1e-6)


def test_a_table_that_cannot_be_finished_leaves_nothing(tmp_path):
    rows = masked_rows(2, 3)

    def interrupted():
        yield rows
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_masked_table(tmp_path / "p.root", interrupted(), masked_metadata(rows))
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_refused(tmp_path):
    rows, path = masked_rows(2, 3), tmp_path / "p.root"
    with pytest.raises(DataError, match="differing: baseline_nearest"):
        written(path, rows, baselines=(*rows.baselines, "nearest"))
    with pytest.raises(DataError, match="differing: pred_time, truth_time"):
        written(path, rows, predict_channels=("npho", "time"))
    without = dataclasses.replace(rows, mean_photons=None)
    with pytest.raises(DataError, match="differing: mean_photons"):
        write_masked_table(path, [rows, without], masked_metadata(rows))
    with pytest.raises(DataError, match=r"columns of a block differ in length"):
        written(path, dataclasses.replace(rows, pred_npho=rows.pred_npho[:2]))
    with pytest.raises(DataError, match=r"p.root: sensor_id 4760 in row 1, expected 0 to 4759"):
        written(path, dataclasses.replace(rows, sensor_id=np.array([0, 4760, 1, 2, 3, 4])))
    assert not list(tmp_path.iterdir())
    short = older_file(path, {"predict_channels": "npho"}, sensor_id=np.zeros(2, dtype="i4"))
    with pytest.raises(MissingBranchError, match="branch 'event_idx' is missing"):
        read_masked_table(short)
