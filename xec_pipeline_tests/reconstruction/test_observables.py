import dataclasses

import numpy as np

from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.reconstruction.observables import DEPTH_WITHOUT_FIT_CM, Observables, Observer

FIELDS = [field.name for field in dataclasses.fields(Observables)]


def observe(events, rows=slice(None)):
    npho, time_ns = events["npho"][rows], events["relative_time"][rows] * np.float32(1e9)
    return Observer(ideal_geometry()).observe(npho, time_ns)


def test_events_do_not_depend_on_their_companions(toy_events):
    together, alone = observe(toy_events, slice(0, 300)), observe(toy_events, slice(270, 280))
    assert (len(together), len(alone)) == (300, 10)
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(alone, name), getattr(together, name)[270:280], atol=1e-6, err_msg=name
        )


def test_no_events_are_no_observables(toy_events):
    assert len(observe(toy_events, slice(0, 0))) == 0


def test_dead_sensors_hardly_change_what_is_seen(toy_events):
    """A tenth of the sensors is dead: filled light differs from the lost one by its noise only."""
    events = {name: toy_events[name][:200].copy() for name in ("npho", "relative_time")}
    whole = observe(events)
    dead = np.random.default_rng(1).random((200, N_SENSORS)) < 0.1
    events["npho"][dead] = events["relative_time"][dead] = 1e10
    hurt = observe(events)
    assert hurt.is_fitted.mean() > 0.98
    ratio = hurt.face_photons.sum(axis=1) / whole.face_photons.sum(axis=1)
    assert abs(np.median(ratio) - 1) < 0.003
    assert ratio[hurt.is_fitted].std() < 0.02
    difference = hurt.ln_shares - whole.ln_shares
    assert np.abs(np.median(difference, axis=0)).max() < 0.01


def test_without_a_fit_the_window_says_where(toy_events):
    events = {name: toy_events[name][:2].copy() for name in ("npho", "relative_time")}
    rng = np.random.default_rng(3)
    events["npho"][:] = rng.normal(0, 1 / 0.12, events["npho"].shape)
    seen = observe(events)
    assert not seen.is_fitted.any()
    np.testing.assert_allclose(seen.point_cm[:, :2], seen.mean_uv_cm)
    np.testing.assert_allclose(seen.point_cm[:, 2], DEPTH_WITHOUT_FIT_CM)


def test_dead_event_is_nan_without_a_warning(toy_events):
    events = {name: np.full_like(toy_events[name][:1], 1e10) for name in ("npho", "relative_time")}
    seen = observe(events)
    assert not seen.is_fitted.any()
    for name in set(FIELDS) - {"is_fitted"}:
        assert np.isnan(getattr(seen, name)).all(), name


def test_shards_give_what_their_events_give(tiny_shards):
    events = np.arange(tiny_shards.n_events)[::-3]
    observer = Observer(ideal_geometry())
    seen = observer.observe_shards(tiny_shards, events)
    direct = observer.observe(tiny_shards.npho(events), tiny_shards.times_ns(events))
    np.testing.assert_array_equal(seen.point_cm, direct.point_cm)
    assert len(observer.observe_shards(tiny_shards, events[:0])) == 0
