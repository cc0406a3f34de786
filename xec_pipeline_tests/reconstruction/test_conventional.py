"""What the conventional reconstruction resolves, and what it does where it cannot."""

import dataclasses
import json

import numpy as np
import pytest

from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.reconstruction.conventional import Conventional
from xec_pipeline.reconstruction.observables import Observer

LIGHT_CM_PER_NS = 29.9792458


def observe(events):
    time_ns = events["relative_time"] * np.float32(1e9)
    return Observer(ideal_geometry()).observe(events["npho"], time_ns)


def truth(events, reference="interaction"):
    time_ns = events["timeTruth"] - 1e9 * events["time_min_used"].astype(np.float64)
    if reference == "interaction":
        way_cm = np.linalg.norm(events["xyzTruth"] - events["xyzVTX"], axis=1)
        time_ns = time_ns + way_cm / LIGHT_CM_PER_NS
    return {
        "energy": 1e3 * events["energyTruth"][:, None].astype(np.float64),
        "timing": time_ns[:, None],
        "uvwFI": events["uvwTruth"].astype(np.float64),
    }


def half_width(values):
    """Return the 68 % half width around the median."""
    return np.percentile(np.abs(values - np.median(values, axis=0)), 68.27, axis=0)


@pytest.fixture(scope="module")
def calibration(calibration_events):
    return observe(calibration_events), calibration_events


@pytest.fixture(scope="module")
def conventional(calibration):
    seen, events = calibration
    return Conventional.fit(seen, truth(events), "interaction")


@pytest.fixture(scope="module")
def tested(toy_events):
    return observe(toy_events), truth(toy_events)


def test_resolution_on_toy_events(conventional, tested):
    """Known to be reached: u 2.6, v 2.4, w 4.3 mm, energy 1.69 %, time 61 to 64 ps.

    The calibration has only 900 events, of all energies.
    """
    seen, true = tested
    predicted = conventional.predict(seen)
    error_mm = 10 * (predicted["uvwFI"] - true["uvwFI"])
    assert np.all(half_width(error_mm) < [2.85, 2.6, 4.4])
    assert np.all(np.abs(np.median(error_mm, axis=0)) < [0.3, 0.3, 0.5])
    ratio = predicted["energy"] / true["energy"] - 1
    assert half_width(ratio) < 0.0185
    assert abs(np.median(ratio)) < 0.003
    error_ps = 1e3 * (predicted["timing"] - true["timing"])
    assert half_width(error_ps) < 70
    assert abs(np.median(error_ps)) < 10


def test_calibration_narrows_and_centres(conventional, tested):
    seen, true = tested
    raw, calibrated = (
        10 * (uvw - true["uvwFI"]) for uvw in (seen.point_cm, conventional.fitted_position(seen))
    )
    assert np.all(half_width(calibrated)[[0, 2]] < 0.8 * half_width(raw)[[0, 2]])
    assert np.median(raw[:, 2]) > 10 > abs(np.median(calibrated[:, 2]))
    mean = 10 * (seen.mean_uv_cm - true["uvwFI"][:, :2])
    window = 10 * (conventional.window_position(seen) - true["uvwFI"])
    assert np.all(half_width(window[:, :2]) < 0.85 * half_width(mean))
    assert half_width(window)[2] < 5.2


def test_emission_is_earlier_by_the_flight_from_the_target(calibration, tested, toy_events):
    """The vertex is not seen; it adds about 40 ps."""
    seen, events = calibration
    time = {"timing": truth(events, "emission")["timing"]}
    predicted = Conventional.fit(seen, time, "emission").predict(tested[0])
    assert set(predicted) == {"timing"}
    error_ps = 1e3 * (predicted["timing"] - truth(toy_events, "emission")["timing"])
    assert half_width(error_ps) < 82
    assert abs(np.median(error_ps)) < 10


def test_tasks_without_truth_are_left_out(calibration):
    seen, events = calibration
    known = {"energy": truth(events)["energy"]}
    assert set(Conventional.fit(seen, known, "interaction").predict(seen)) == {"energy"}


def test_unknown_truth_of_some_events_is_left_out(calibration, conventional):
    seen, events = calibration
    known = truth(events)
    known["energy"][:30] = np.nan
    fitted = Conventional.fit(seen, known, "interaction").predict(seen)["energy"]
    np.testing.assert_allclose(fitted, conventional.predict(seen)["energy"], rtol=0.03)


def test_without_a_fit_the_calibrated_window_is_the_position(conventional, tested):
    seen, _ = tested
    failed = dataclasses.replace(seen, is_fitted=np.arange(len(seen)) % 2 == 0)
    predicted = conventional.predict(failed)["uvwFI"]
    np.testing.assert_array_equal(predicted[1::2], conventional.window_position(seen)[1::2])
    np.testing.assert_array_equal(predicted[::2], conventional.fitted_position(seen)[::2])
    assert np.isnan(conventional.fitted_position(failed)[1::2]).all()


def test_events_without_light_are_nan_without_a_warning(conventional, tested):
    seen, _ = tested
    empty = dataclasses.replace(
        seen,
        **{
            name: np.full_like(getattr(seen, name), np.nan)
            for name in ("point_cm", "mean_uv_cm", "ln_shares", "face_photons", "light_time_ns")
        },
        is_fitted=np.zeros(len(seen), dtype=bool),
    )
    assert all(np.isnan(values).all() for values in conventional.predict(empty).values())


def test_too_few_events_are_an_error(calibration):
    seen, events = calibration
    known = {name: values.copy() for name, values in truth(events).items()}
    known["uvwFI"][5:] = np.nan
    with pytest.raises(ValueError, match="5 events with light and truth"):
        Conventional.fit(seen, known, "interaction")


def test_record_round_trip(conventional, tested):
    read = Conventional.from_record(json.loads(json.dumps(conventional.record())))
    first, second = (each.predict(tested[0]) for each in (conventional, read))
    for task, values in first.items():
        np.testing.assert_allclose(second[task], values, atol=1e-6, err_msg=task)
