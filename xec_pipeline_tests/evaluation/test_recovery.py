import numpy as np
import pytest
import torch

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.dead_channels import random_dead
from xec_pipeline.detector.faces import FACE_NAMES, Face
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.evaluation.masked_rows import ARTIFICIAL, DEAD, joined, photons
from xec_pipeline.evaluation.recovery import (
    DeadOfRuns,
    HideInFront,
    HidePattern,
    HideSome,
    Recovery,
)
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.masking import SensorMasks

PATTERN = random_dead(0.02, np.random.default_rng(5))
COUNTS = {"inner": 10, "us": 1, "ds": 1, "outer": 1, "top": 1, "bot": 1}


class Blind:
    """An inpainter that answers 0.25 for photons and 0.5 for times, and notes what it was asked."""

    def __init__(self, features=("npho",)):
        self.features = features
        self.run = InpainterRun()
        self.device = torch.device("cpu")
        self.asked = []

    def normalized(self, npho, time_ns):
        return InputNormalizer(self.run.normalization).from_ns(npho, time_ns)

    def predict(self, npho, _, is_masked):
        self.asked.append(is_masked)
        values = torch.tensor([0.25, 0.5])[: len(self.features)]
        return values.expand(*npho.shape, -1)


class Constant:
    """A baseline that gives ten photons, but nothing for sensor 0."""

    name = "avg"

    def predict(self, _, is_masked):
        found = np.where(is_masked, np.float32(10.0), np.float32("nan"))
        found[:, 0] = np.nan
        return found


def always(is_dead):
    return DeadOfRuns(lambda _: is_dead)


def recovered(shards, hide, events=None, **options):
    network = options.pop("network", Blind())
    chosen = np.arange(shards.n_events) if events is None else events
    recovery = Recovery(network=network, shards=shards, events=chosen, hide=hide, **options)
    return joined(list(recovery.blocks(20)))


def test_a_pattern_gives_its_sensors_in_every_event(tiny_shards):
    rows = recovered(tiny_shards, HidePattern(always(PATTERN)))
    assert len(rows) == 48 * PATTERN.sum()
    assert set(rows.sensor_id) == set(np.flatnonzero(PATTERN))
    # The place in the sample: that in the file is not unique.
    np.testing.assert_array_equal(np.unique(rows.event_idx), np.arange(48))
    first = rows.taken(slice(0, int(PATTERN.sum())))
    stored = tiny_shards.npho(np.array([0]))[0, first.sensor_id]
    np.testing.assert_array_equal(first.truth_photons, stored)


def test_truth_is_normalized_and_absent_where_the_sensor_was_dead(tiny_shards):
    rows = recovered(tiny_shards, HidePattern(always(np.ones(N_SENSORS, dtype=bool))))
    is_dead = np.isnan(rows.truth_photons)
    assert is_dead.sum() == np.isnan(tiny_shards.npho(np.arange(48))).sum() > 0
    np.testing.assert_array_equal(rows.mask_type, np.where(is_dead, DEAD, ARTIFICIAL))
    np.testing.assert_array_equal(np.isnan(rows.truth_npho), is_dead)
    back = photons(rows.truth_npho, InpainterRun().normalization)
    bright = rows.truth_photons > 1
    np.testing.assert_allclose(back[bright], rows.truth_photons[bright], rtol=2e-3)


def test_some_live_sensors_are_hidden_beside_dead_ones(tiny_shards):
    network = Blind()
    masks = SensorMasks.artificial(COUNTS, 42)
    rows = recovered(tiny_shards, HideSome(masks, always(PATTERN)), network=network)
    live = rows.taken(rows.mask_type == ARTIFICIAL)
    assert len(live) == 48 * 15
    for face in Face:
        assert (live.face_id == face).sum() == 48 * COUNTS[FACE_NAMES[face]]
    assert not PATTERN[live.sensor_id].any()
    assert np.isfinite(live.truth_photons).all()
    dead = rows.taken(rows.mask_type == DEAD)
    assert np.isnan(dead.truth_npho).all()
    assert (
        np.bincount(dead.sensor_id, minlength=N_SENSORS)[PATTERN].tolist() == [48] * PATTERN.sum()
    )
    # Dead and hidden ones alike are asked for, so that none of them is looked at.
    assert sum(int(asked.sum()) for asked in network.asked) == len(rows)


def test_masks_do_not_depend_on_batches_or_on_other_events(tiny_shards):
    hide = HideSome(SensorMasks.artificial(COUNTS, 42), always(np.zeros(N_SENSORS, dtype=bool)))
    rows = recovered(tiny_shards, hide)
    alone = recovered(tiny_shards, hide, events=np.array([7]))
    assert len(alone) > 0
    same = rows.event_number == alone.event_number[0]
    same &= rows.run_number == alone.run_number[0]
    np.testing.assert_array_equal(rows.sensor_id[same], alone.sensor_id)


def test_the_sensor_in_front_is_hidden_alone(tiny_shards):
    geometry = ideal_geometry()
    uvw = np.full((48, 3), np.nan)
    uvw[3] = [*xyz_to_uvw(geometry.position_cm[[2046]])[0, :2], 0.5]
    hide = HideInFront(uvw, geometry)
    assert hide.events.tolist() == [3]
    rows = recovered(tiny_shards, hide, events=hide.events, depth_cm=uvw[:, 2])
    assert rows.sensor_id.tolist() == [2046]
    assert rows.w_fip is not None
    assert rows.w_fip.tolist() == [0.5]


@pytest.mark.parametrize("features", [("npho",), ("npho", "time")])
def test_columns_follow_what_is_predicted(tiny_shards, features):
    rows = recovered(tiny_shards, HidePattern(always(PATTERN)), network=Blind(features))
    assert (rows.pred_npho == 0.25).all()
    if "time" not in features:
        assert rows.pred_time is None
        return
    assert rows.pred_time is not None
    assert rows.truth_time is not None
    assert (rows.pred_time == 0.5).all()
    # A dim sensor has no usable time, and a true time is never the sentinel.
    assert np.isnan(rows.truth_time[rows.truth_photons < 100]).all()
    assert np.isfinite(rows.truth_time).any()
    assert (rows.truth_time[np.isfinite(rows.truth_time)] != -1.0).all()


def test_baselines_and_means_stand_beside(tiny_shards):
    def means(run, event, sensor):
        return (sensor + 0.5).astype("f4")

    everything = PATTERN.copy()
    everything[0] = True
    rows = recovered(
        tiny_shards, HidePattern(always(everything)), baselines=[Constant()], mean_photons=means
    )
    expected = np.log1p(10 / 1000) / 4.08
    gives = rows.sensor_id != 0
    np.testing.assert_allclose(rows.baselines["avg"][gives], expected, rtol=1e-5)
    assert np.isnan(rows.baselines["avg"][~gives]).all()
    np.testing.assert_array_equal(rows.mean_photons, (rows.sensor_id + 0.5).astype("f4"))


def test_each_event_has_the_dead_sensors_of_its_run(tiny_shards):
    runs = sorted(set(tiny_shards.columns["run"]))
    assert len(runs) == 2
    asked = []

    def of_run(run):
        asked.append(run)
        is_dead = np.zeros(N_SENSORS, dtype=bool)
        is_dead[100 + runs.index(run)] = True
        return is_dead

    rows = recovered(tiny_shards, HidePattern(DeadOfRuns(of_run)))
    expected = 100 + np.searchsorted(runs, rows.run_number)
    np.testing.assert_array_equal(rows.sensor_id, expected)
    assert sorted(asked) == runs  # once each
