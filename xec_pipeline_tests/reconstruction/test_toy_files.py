import json
import pickle

import numpy as np

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import aligned_geometry
from xec_pipeline.detector.solid_angle import solid_angle_fraction
from xec_pipeline.reconstruction.toy_constants import load_constants, make_constants
from xec_pipeline.reconstruction.toy_files import ToyReconstruction
from xec_pipeline.simulation.provenance import MODEL_VERSION

COLUMNS = ("npho", "relative_time", "time_min_used", "xyzVTX")
INVALID = np.float32(1e10)


def some(events, n_events):
    return {name: events[name][:n_events].copy() for name in COLUMNS}


def half_width(values):
    return np.percentile(np.abs(values - np.median(values, axis=0)), 68.27, axis=0)


def test_branches_hold_what_the_method_resolves(toy_events):
    found = ToyReconstruction("ideal")(some(toy_events, 1200))
    error_mm = 10 * (found["uvwRecoFI"] - toy_events["uvwTruth"])
    np.testing.assert_allclose(half_width(error_mm), [2.55, 2.35, 3.7], rtol=0.1)
    np.testing.assert_allclose(np.median(error_mm, axis=0), 0, atol=0.5)
    ratio = found["energyReco"] / toy_events["energyTruth"] - 1
    np.testing.assert_allclose(half_width(ratio), 0.0165, rtol=0.1)
    assert abs(np.median(ratio)) < 0.002
    error_ps = 1e3 * (found["timeReco"] - toy_events["timeTruth"])
    np.testing.assert_allclose(half_width(error_ps), 63, rtol=0.1)
    # The light comes from behind the first interaction.
    deeper_mm = 10 * (found["uvwRecoLC"] - toy_events["uvwTruth"])[:, 2]
    assert 12 < np.median(deeper_mm) < 18


def test_branches_fit_together(toy_events):
    found = ToyReconstruction("aligned")(some(toy_events, 8))
    for kind in ("FI", "LC"):
        xyz = uvw_to_xyz(found[f"uvwReco{kind}"])
        np.testing.assert_allclose(found[f"xyzReco{kind}"], xyz, atol=1e-4)
    omega = solid_angle_fraction(found["xyzRecoFI"], aligned_geometry())
    np.testing.assert_allclose(found["solid_angle"], omega, rtol=1e-3, atol=1e-7)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_nothing_is_1e10_and_a_solid_angle_of_0(toy_events):
    events = some(toy_events, 2)
    events["npho"][0] = events["relative_time"][0] = events["time_min_used"][0] = INVALID
    found = ToyReconstruction("ideal")(events)
    for name, values in found.items():
        assert (values[0] == (0 if name == "solid_angle" else INVALID)).all(), name
        assert (np.abs(values[1]) < 9e9).all(), name


def test_constants_say_where_they_come_from_and_are_those_of_this_code():
    conventional, origin = load_constants()
    assert origin["detector"] == "toy detector"
    # Other events or other estimators need other constants: make them anew.
    assert origin["model_version"] == MODEL_VERSION
    made = make_constants(100)["conventional"]["corrections"]
    assert made.keys() == conventional.corrections.keys()
    for name, polynomial in conventional.corrections.items():
        assert polynomial.degree == 3
        assert len(polynomial.lowest) == len(made[name]["lowest"])
        assert len(polynomial.coefficients) == polynomial.terms(polynomial.lowest[None]).shape[1]


def test_constants_are_decided_by_their_seed():
    first, second = (json.dumps(make_constants(60)) for _ in range(2))
    assert first == second


def test_reconstruction_can_be_sent_to_processes(toy_events):
    here = ToyReconstruction("ideal")
    there = pickle.loads(pickle.dumps(here))  # what multiprocessing does
    assert there.record == here.record
    events = some(toy_events, 4)
    np.testing.assert_array_equal(there(events)["uvwRecoFI"], here(events)["uvwRecoFI"])
