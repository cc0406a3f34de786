import dataclasses

import numpy as np
import pytest

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.normalization import Normalization
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.display.comparison import comparison_page, number_lines
from xec_pipeline.evaluation.display.draw import NetContent
from xec_pipeline.evaluation.display.page import draw_display_page
from xec_pipeline.evaluation.display.predicted import (
    file_kind,
    read_inpainter_event,
    read_mae_event,
)
from xec_pipeline.evaluation.display.sources import Wanted
from xec_pipeline.evaluation.masked_rows import MaskedRows
from xec_pipeline.evaluation.masked_table import MaskedMetadata, write_masked_table
from xec_pipeline.evaluation.sensor_predictions import (
    PredictionMetadata,
    SensorBlock,
    write_mae_predictions,
)

SCHEME = NormalizationConfig(npho_scheme="sqrt", npho_scale=1000)
N_EVENTS = 4
FIRST_ENTRY = 20


@pytest.fixture(scope="module")
def sample(tiny_shards):
    """Return photons, times [ns], masks and predicted photons of four events from entry 20."""
    rows = np.arange(FIRST_ENTRY, FIRST_ENTRY + N_EVENTS)
    npho, times = tiny_shards.npho(rows), tiny_shards.times_ns(rows)
    masked = (np.random.default_rng(1).random(npho.shape) < 0.3) & np.isfinite(npho)
    pred = np.where(np.isfinite(npho), np.abs(npho) + 7, 50).astype("f4")
    return npho, times, masked, pred


@pytest.fixture(scope="module")
def keys(tiny_shards):
    rows = np.arange(FIRST_ENTRY, FIRST_ENTRY + N_EVENTS)
    return tiny_shards.columns["run"][rows], tiny_shards.columns["event"][rows], rows


def write_mae(path, sample, keys, channels=("npho", "time")):
    npho, times, masked, pred = sample
    scheme = Normalization(SCHEME)
    truth = scheme.normalize(npho, times / np.float32(1e9))
    values = [scheme.forward_npho(pred), truth[..., 1] + np.float32(1e-9 / SCHEME.time_scale)]
    seen = truth.copy()
    seen[masked] = -1
    block = SensorBlock(
        event=keys[1],
        run=keys[0],
        entry=keys[2],
        truth=truth,
        masked_input=seen,
        is_masked=masked,
        pred=np.stack(values[: len(channels)], axis=-1),
    )
    metadata = PredictionMetadata(
        predict_channels=channels, normalization=SCHEME, epoch=9, run_name="m", toy=True
    )
    return write_mae_predictions(path, [block], metadata)


def write_inpainter(path, values, keys, **changes):
    npho, _, masked, pred = values
    scheme, is_dead = Normalization(SCHEME), ~np.isfinite(npho)
    event, sensor = np.nonzero(masked | is_dead)
    true = npho[event, sensor]
    rows = MaskedRows(
        event_idx=keys[2][event],
        run_number=keys[0][event],
        event_number=keys[1][event],
        sensor_id=sensor,
        mask_type=is_dead[event, sensor].astype("i4"),
        truth_npho=scheme.forward_npho(np.maximum(true, 0)),
        pred_npho=scheme.forward_npho(pred[event, sensor]),
        truth_photons=true,
    )
    metadata = MaskedMetadata(
        predict_channels=("npho",), normalization=SCHEME, epoch=4, run_name="fill", **changes
    )
    return write_masked_table(path, [rows], metadata)


def nets_of(page):
    return [item for row in page.rows for item in row if isinstance(item, NetContent)]


def test_kinds_of_files_are_told_apart(tmp_path, sample, keys, tiny_root_file):
    assert file_kind(tiny_root_file) == "data"
    assert file_kind(write_mae(tmp_path / "m.root", sample, keys)) == "mae"
    assert file_kind(write_inpainter(tmp_path / "i.root", sample, keys)) == "inpainter"


def test_mae_event_in_photons_and_ns(tmp_path, sample, keys, tiny_shards):
    npho, times, masked, pred = sample
    path = write_mae(tmp_path / "m.root", sample, keys)
    found = read_mae_event(path, Wanted(entry=22), str(tiny_shards.path))
    assert (found.event.run, found.event.event) == (keys[0][2], keys[1][2])
    assert found.event.uvw_cm == pytest.approx(tiny_shards.columns["uvwTruth"][22])
    np.testing.assert_array_equal(found.event.is_dead, ~np.isfinite(npho[2]))
    bright = np.nan_to_num(npho[2]) > 100
    np.testing.assert_allclose(found.truth("npho")[bright], npho[2][bright], rtol=1e-4)
    np.testing.assert_allclose(found.truth("time")[bright], times[2][bright], atol=0.02)
    shown = masked[2] & bright
    np.testing.assert_allclose(found.predicted("npho")[shown], pred[2][shown], rtol=1e-4)
    np.testing.assert_allclose(found.residual("npho")[shown], 7, atol=0.1)
    np.testing.assert_allclose(found.residual("time")[shown & np.isfinite(times[2])], 1, atol=0.02)
    assert np.isnan(found.predicted("npho")[~masked[2] & ~found.event.is_dead]).all()
    assert np.isnan(found.residual("npho")[~masked[2]]).all()


def test_events_are_found_by_run_and_event(tmp_path, sample, keys):
    path = write_mae(tmp_path / "m.root", sample, keys)
    table = write_inpainter(tmp_path / "i.root", sample, keys)
    run, event = int(keys[0][3]), int(keys[1][3])
    assert read_mae_event(path, Wanted(run=run, event=event)).event.entry == 23
    for read, file in ((read_mae_event, path), (read_inpainter_event, table)):
        with pytest.raises(DataError, match="no prediction for entry 3 of the sample; the nearest"):
            read(file, Wanted(entry=3))
        with pytest.raises(DataError, match=r"no run 1; the nearest of 1 runs: 1001"):
            read(file, Wanted(run=1, event=event))


def test_inpainter_event_stands_in_its_original(tmp_path, sample, keys, tiny_shards):
    npho, _, masked, pred = sample
    path = write_inpainter(tmp_path / "i.root", sample, keys, sample=str(tiny_shards.path))
    found = read_inpainter_event(path, Wanted(entry=21))
    np.testing.assert_array_equal(found.is_masked, masked[1])
    np.testing.assert_array_equal(found.truth("npho"), npho[1])
    filled = masked[1] | ~np.isfinite(npho[1])
    np.testing.assert_allclose(found.predicted("npho")[filled], pred[1][filled], rtol=1e-4)
    assert np.isnan(found.predicted("npho")[~filled]).all()
    with pytest.raises(DataError, match="time was not predicted, only npho"):
        comparison_page(found, "time")


def test_the_original_must_be_given_and_be_the_right_one(tmp_path, sample, keys, tiny_shards):
    path = write_inpainter(tmp_path / "i.root", sample, keys)
    with pytest.raises(DataError, match="--original"):
        read_inpainter_event(path, Wanted(entry=21))
    npho, times, masked, pred = sample
    other = write_inpainter(tmp_path / "o.root", (npho * 2, times, masked, pred), keys)
    with pytest.raises(DataError, match="not made from"):
        read_inpainter_event(other, Wanted(entry=21), str(tiny_shards.path))


def test_the_original_of_an_mae_event_must_have_its_photons(tmp_path, sample, keys, tiny_shards):
    npho, times, masked, pred = sample
    other = write_mae(tmp_path / "o.root", (npho * 2, times, masked, pred), keys)
    with pytest.raises(DataError, match=r"not made from .*: sensor \d+ of Run 1001 *Event 21 has"):
        read_mae_event(other, Wanted(entry=21), str(tiny_shards.path))


def test_relative_residuals_are_of_bright_sensors(tmp_path, sample, keys):
    npho, _, masked, _ = sample
    found = read_mae_event(write_mae(tmp_path / "m.root", sample, keys), Wanted(entry=20))
    ratio = found.residual("npho", relative=True)
    bright = masked[0] & (np.nan_to_num(npho[0]) > 101)
    np.testing.assert_allclose(ratio[bright], 7 / npho[0][bright], rtol=0.02)
    assert np.isnan(ratio[masked[0] & (np.nan_to_num(npho[0]) < 99)]).all()


def test_table_of_numbers_counts_and_averages(tmp_path, sample, keys):
    npho, _, masked, _ = sample
    found = read_mae_event(write_mae(tmp_path / "m.root", sample, keys), Wanted(entry=20))
    title, _, everything, inner, *_ = number_lines(found, "npho")
    assert f"masked: {masked[0].sum()} of {np.isfinite(npho[0]).sum()} live sensors" in title
    assert everything.split()[:5] == [
        "all",
        "4760",
        "2",
        str(masked[0].sum()),
        str(masked[0].sum()),
    ]
    assert float(everything.split()[5]) == pytest.approx(7, rel=0.2)
    assert inner.split()[1] == "4092"


def test_page_has_five_nets_and_the_numbers(tmp_path, sample, keys):
    path = write_mae(tmp_path / "m.root", sample, keys, channels=("npho",))
    found = read_mae_event(path, Wanted(entry=20))
    assert found.channels == ("npho",)
    page = comparison_page(found, "npho")
    nets = nets_of(page)
    assert [len(row) for row in page.rows] == [3, 3]
    assert [net.title.split(",")[0].split(":")[0] for net in nets] == [
        "Truth",
        "Masked",
        "Predicted",
        "Residual of masked sensors",
        "Mask",
    ]
    assert nets[1].is_masked.sum() == found.is_masked.sum()
    assert nets[2].is_framed.sum() == found.event.is_dead.sum()
    assert len(draw_display_page(page).axes) == 6


def test_nothing_masked_and_all_dead_are_drawn(tmp_path, sample, keys):
    path = write_mae(tmp_path / "m.root", sample, keys)
    found = read_mae_event(path, Wanted(entry=20))
    nothing = dataclasses.replace(found, is_masked=np.zeros(4760, dtype=bool))
    dead = dataclasses.replace(found.event, npho=np.full(4760, np.nan, dtype="f4"))
    gone = dataclasses.replace(found, event=dead, is_masked=np.zeros(4760, dtype=bool))
    for comparison in (nothing, gone):
        assert "masked: 0 of" in number_lines(comparison, "npho")[0]
        for channel in ("npho", "time"):
            page = comparison_page(comparison, channel)
            scales = [net.scale for net in nets_of(page) if net.scale is not None]
            assert len(scales) == 4
            assert all(0 < scale.high < np.inf for scale in scales)
