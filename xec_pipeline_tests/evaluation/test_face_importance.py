import json

import numpy as np
import pytest
import torch

from xec_pipeline.detector.faces import FACE_NAMES, Face, sensors_of_face
from xec_pipeline.evaluation.face_importance import permute_faces, token_weights
from xec_pipeline.evaluation.metadata import PredictionMeta
from xec_pipeline.evaluation.plots.face_importance import (
    draw_face_weights,
    face_weights_path,
    write_face_weights,
)
from xec_pipeline.evaluation.plots.style import Caption
from xec_pipeline.models.regressor import build_regressor
from xec_pipeline.training.stages.regressor_events import RegressorEvents
from xec_pipeline_tests.training.tiny import tiny_run

CPU = torch.device("cpu")
OTHERS = [name for name in FACE_NAMES.values() if name != "inner"]


class InnerLight:
    """Predicts the energy from the light of the inner face, and the angle from nothing."""

    tasks = ("energy", "angle")

    def __call__(self, batch):
        inner = torch.nan_to_num(batch.npho_BS[:, :4092]).sum(dim=1)
        angle = np.zeros((len(batch), 2), dtype="f4")
        return {"energy": inner.numpy()[:, None] / 1e4, "angle": angle}


@pytest.fixture(scope="module")
def events(tiny_shards):
    """Return events whose energy is the inner light plus a little noise; phi is near the seam."""
    rng = np.random.default_rng(2)
    everything = np.arange(tiny_shards.n_events)
    inner = np.nan_to_num(tiny_shards.npho(everything)[:, sensors_of_face(Face.INNER)]).sum(axis=1)
    energy = (inner / 1e4 + 0.1 * rng.standard_normal(len(inner))).astype("f4")
    angle = np.stack([rng.normal(0, 2, len(inner)), 360 + rng.normal(0, 3, len(inner))], axis=1)
    targets = {"energy": energy[:, None], "angle": angle.astype("f4")}
    targets["energy"][5] = np.nan
    return RegressorEvents(shards=tiny_shards, chosen=everything, targets=targets)


@pytest.fixture(scope="module")
def permutation(events):
    return permute_faces(InnerLight(), events, seed=3, device=CPU)


def test_only_the_face_that_is_used_counts(permutation):
    assert permutation.n_events == 48
    inner = permutation.increase["inner"]["energy"]
    assert inner.value > 5
    assert 0 < inner.error < inner.value
    assert inner.n == 47
    for name in OTHERS:
        assert permutation.increase[name]["energy"].value == 0
        assert permutation.increase[name]["energy"].error == 0
    assert permutation.increase["inner"]["theta"].value == 0


def test_half_widths_are_those_injected_and_phi_is_wrapped(permutation):
    assert permutation.half_width["energy"].value == pytest.approx(0.1, rel=0.4)
    assert permutation.half_width["phi"].value == pytest.approx(3, rel=0.4)


def test_equal_seeds_give_equal_numbers(events, permutation):
    assert permute_faces(InnerLight(), events, seed=3, device=CPU) == permutation
    assert permute_faces(InnerLight(), events, seed=4, device=CPU) != permutation


def test_every_event_gets_a_foreign_face_of_the_chosen_ones(events):
    seen = []

    class Watching(InnerLight):
        def __call__(self, batch):
            seen.append((batch.index_B.numpy(), batch.npho_BS.numpy(), batch.time_ns_BS.numpy()))
            return super().__call__(batch)

    done: list[int] = []
    permute_faces(Watching(), events, n_events=20, device=CPU, on_progress=done.append)
    assert len(seen) == 7
    assert done == [20 * k for k in range(1, 8)]
    (rows, npho, times), *shuffled = seen
    for face, (again, new_npho, new_times) in zip(Face, shuffled, strict=True):
        np.testing.assert_array_equal(again, rows)
        ids = sensors_of_face(face)
        others = np.setdiff1d(np.arange(4760), ids)
        np.testing.assert_array_equal(new_npho[:, others], npho[:, others])
        from_event = [
            int(np.flatnonzero((npho[:, ids] == row).sum(axis=1) > len(ids) / 2)[0])
            for row in new_npho[:, ids]
        ]
        assert sorted(from_event) == list(range(20))
        assert all(own != other for own, other in enumerate(from_event))
        np.testing.assert_array_equal(new_times[:, ids], times[from_event][:, ids])


@pytest.mark.parametrize("n_events", [1, 2, 4])
def test_few_events_have_no_uncertainty(events, n_events):
    found = permute_faces(InnerLight(), events, n_events=n_events, device=CPU)
    estimate = found.increase["inner"]["energy"]
    assert np.isnan(estimate.error)
    assert np.isnan(estimate.value) == (n_events == 1)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ({"encoder": "xec_v1"}, ("inner", "us", "ds", "outer", "top", "bot")),
        (
            {"encoder": "xec_v1", "outer_mode": "split"},
            ("inner", "outer_coarse", "outer_center", "us", "ds", "top", "bot"),
        ),
        (
            {"encoder": "xec_v2"},
            ("inner", "us", "ds", "outer", "top", "bot", "window", "moments", "estimates"),
        ),
    ],
)
def test_weights_by_the_names_of_the_tokens(tmp_path, model, names):
    regressor = build_regressor(tiny_run(tmp_path, model=model))
    width = regressor.backbone.width
    with torch.no_grad():
        for head in regressor.heads.values():
            next(head.parameters()).fill_(-0.5)
        next(regressor.heads["energy"].parameters())[:, width : 2 * width] = 2.0
    weights = token_weights(regressor)
    assert set(weights) == {"angle", "energy", "timing", "uvwFI"}
    assert tuple(weights["timing"]) == names
    assert weights["energy"][names[1]] == 2.0
    assert {value for name, value in weights["energy"].items() if name != names[1]} == {0.5}


def test_figure_and_its_numbers(tmp_path, permutation):
    weights = {task: dict.fromkeys(FACE_NAMES.values(), 0.1) for task in ("angle", "energy")}
    meta = PredictionMeta(run_name="r", sample="s", is_toy=True)
    caption = Caption(run_name="r", n_events=48, meta=meta)
    path = face_weights_path(tmp_path, "r")
    write_face_weights(weights, permutation, caption, path)
    assert path.name == "face_weights_r.pdf"
    first = path.read_bytes()
    content = json.loads(path.with_suffix(".json").read_text())
    increase = content["permutation"]["increase"]["inner"]["energy"]
    assert increase["value"] == permutation.increase["inner"]["energy"].value
    assert content["mean_abs_weight_of_first_layer"]["energy"]["us"] == 0.1
    write_face_weights(weights, permutation, caption, path)
    assert path.read_bytes() == first


def test_a_figure_without_numbers_says_so(events):
    found = permute_faces(InnerLight(), events, n_events=1, device=CPU)
    caption = Caption(run_name="r", n_events=1, meta=PredictionMeta(run_name="r"))
    figure = draw_face_weights({"energy": {"inner": 0.1}}, found, caption)
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts == ["no event with a truth and a width"]
