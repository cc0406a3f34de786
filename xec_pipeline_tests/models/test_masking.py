"""The mask service: exact numbers, no dead sensor, the same for every batch, flat where asked."""

import math
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from xec_pipeline.config.inpainter import ArtificialSensors, InpainterRun
from xec_pipeline.config.loader import validate
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.detector.faces import FACE_NAMES, face_of_sensor, sensors_of_face
from xec_pipeline.errors import ConfigError
from xec_pipeline.models.event_noise import event_keys, npho_bins, sensor_noise
from xec_pipeline.models.masking import FIXED_DRAW, SensorMasks

N = 4760
FACE = torch.from_numpy(face_of_sensor().copy())
BY_FACE = {"inner": 0.05, "us": 0.15, "outer": 0.1, "top": 0.15}


def masks_of(ratio: object = 0.05, *, flat: bool = False, seed: int = 7) -> SensorMasks:
    tree = {
        "model": {"mask_ratio": ratio, "mask_npho_flat": flat},
        "training": {"seed": seed},
    }
    return SensorMasks.from_run(validate(InpainterRun, tree, "run"))


def events(n: int, seed: int = 0, dead: float = 0.03) -> dict[str, torch.Tensor]:
    """Return events whose light spans five decades, with dead sensors that read as 0 photons."""
    generator = torch.Generator().manual_seed(seed)
    npho = torch.exp(4 + 1.5 * torch.randn(n, N, generator=generator)) - 2
    alive = torch.rand(n, N, generator=generator) >= dead
    number = torch.arange(n) + 100 * seed
    return {
        "run_B": torch.full_like(number, 1000),
        "event_B": number,
        "npho_BS": torch.where(alive, npho, 0.0),
        "alive_BS": alive,
    }


ALL_KINDS: dict[str, SensorMasks] = {
    "uniform": masks_of(0.1),
    "by face": masks_of(BY_FACE),
    "flat": masks_of(0.05, flat=True),
    "flat by face": masks_of(BY_FACE, flat=True),
    "boards": SensorMasks.from_run(
        validate(InpainterRun, {"model": {"mask_ratio": 0.05, "mask_boards": 0.5}}, "run")
    ),
    "artificial": SensorMasks.artificial(ArtificialSensors().model_dump(), 42),
    "pattern": SensorMasks.pattern(np.arange(N) % 31 == 0),
}


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_a_mask_depends_on_its_event_alone_and_spares_the_dead(kind: str):
    masks, some = ALL_KINDS[kind], events(7)
    together = masks.draw(2, **some)
    assert together.any(dim=1).all()
    assert not (together & ~some["alive_BS"]).any()
    reverse = {name: values.flip(0) for name, values in some.items()}
    assert torch.equal(masks.draw(2, **reverse).flip(0), together)
    for row in range(7):
        alone = {name: values[row : row + 1] for name, values in some.items()}
        assert torch.equal(masks.draw(2, **alone)[0], together[row])
    arrays = {name: values.numpy() for name, values in some.items()}
    assert np.array_equal(masks.draw_numpy(2, **arrays), together.numpy())


@settings(max_examples=25, deadline=None)
@given(
    alive=hnp.arrays(bool, (2, N)), ratio=st.floats(0.001, 0.9), flat=st.booleans(), light=st.data()
)
def test_exactly_the_floor_of_the_ratio_is_hidden(
    *, alive: Any, ratio: float, flat: bool, light: st.DataObject
):
    scale = light.draw(st.floats(0, 1e6))
    some = events(2) | {"alive_BS": torch.from_numpy(alive)}
    some["npho_BS"] = some["npho_BS"] * scale
    hidden = masks_of(ratio, flat=flat).draw(1, **some)
    expected = [math.floor(n * ratio + 1e-9) for n in alive.sum(axis=1).tolist()]
    assert hidden.sum(dim=1).tolist() == expected
    assert not (hidden & ~some["alive_BS"]).any()


@pytest.mark.parametrize("flat", [False, True])
def test_ratios_of_faces_are_rounded_down_face_by_face(*, flat: bool):
    some = events(5)
    hidden = masks_of(BY_FACE, flat=flat).draw(1, **some)
    for code, name in FACE_NAMES.items():
        ids = torch.from_numpy(sensors_of_face(code).copy())
        alive = some["alive_BS"][:, ids].sum(dim=1).tolist()
        expected = [math.floor(n * BY_FACE.get(name, 0.0) + 1e-9) for n in alive]
        assert hidden[:, ids].sum(dim=1).tolist() == expected


def test_a_face_does_not_change_with_the_ratio_of_another():
    some = events(3)
    one = masks_of({"us": 0.2}).draw(1, **some)
    both = masks_of({"us": 0.2, "inner": 0.3}).draw(1, **some)
    assert torch.equal(one[:, FACE == 1], both[:, FACE == 1])


def test_masks_change_with_seed_draw_run_and_event():
    some = events(1)
    masks = masks_of(0.5)
    reference = masks.draw(1, **some)
    others = [masks_of(0.5, seed=8).draw(1, **some), masks.draw(FIXED_DRAW, **some)]
    others.append(masks.draw(1, **some | {"run_B": some["run_B"] + 1}))
    others.append(masks.draw(1, **some | {"event_B": some["event_B"] + 1}))
    for other in others:
        both = float((reference & other).sum()) / float(reference.sum())
        assert both == pytest.approx(0.5, abs=0.06)


def mae_masks(ratio: float, favour: float = 1.0) -> SensorMasks:
    training = {"seed": 7, "time": {"mask_ratio_scale": favour, "npho_threshold": 500.0}}
    tree = {"model": {"mask_ratio": ratio}, "training": training}
    return SensorMasks.from_run(validate(MaeRun, tree, "run"))


def test_masks_of_an_autoencoder_hide_the_sensors_with_the_smallest_numbers():
    some = events(4)
    noise = sensor_noise(event_keys(7, 2, some["run_B"], some["event_B"]), N)
    hidden = mae_masks(0.6).draw(2, **some)
    for row in range(4):
        alive = some["alive_BS"][row]
        assert noise[row][hidden[row]].max() < noise[row][alive & ~hidden[row]].min()


def test_published_rule_of_favoured_sensors():
    # With a ratio of 0.6 and a factor of 5, every favoured sensor is hidden if they are few.
    some = events(20, dead=0.0)
    some["npho_BS"] = torch.where(torch.arange(N) % 5 == 0, 900.0, 10.0).expand(20, -1)
    favoured = some["npho_BS"] >= 500
    plain, scaled = (mae_masks(0.6, favour).draw(1, **some) for favour in (1.0, 5.0))
    assert float(plain[favoured].double().mean()) == pytest.approx(0.6, abs=0.02)
    assert float(scaled[favoured].double().mean()) == 1.0
    assert float(scaled[~favoured].double().mean()) == pytest.approx(0.5, abs=0.02)
    assert scaled.sum(dim=1).tolist() == plain.sum(dim=1).tolist()


def test_sensors_are_hidden_equally_often():
    often = mae_masks(0.6).draw(1, **events(400, dead=0.0)).double().mean(dim=0)
    sigma = math.sqrt(0.6 * 0.4 / 400)
    assert float(often.std()) == pytest.approx(sigma, rel=0.1)
    assert float((often - 0.6).abs().max()) < 5.5 * sigma


@pytest.mark.parametrize(("ratio", "n_alive", "expected"), [(0.29, 100, 29), (0.6, 5, 3)])
def test_ratios_that_floats_cannot_hold(ratio: float, n_alive: int, expected: int):
    some = events(1) | {"alive_BS": torch.arange(N)[None] < n_alive}
    assert int(masks_of(ratio).draw(1, **some).sum()) == expected


def test_a_flat_mask_takes_as_many_sensors_from_every_bin_as_it_holds():
    some = events(6)
    hidden = masks_of(0.05, flat=True).draw(1, **some)
    bins = npho_bins(some["npho_BS"])
    for row in range(6):
        alive = some["alive_BS"][row]
        population = torch.bincount(bins[row][alive], minlength=82)
        taken = torch.bincount(bins[row][hidden[row]], minlength=82)
        level = int(taken.max())
        # Filled like communicating vessels: up to the level, or up to what there is.
        assert (population == 0).any()
        assert (taken >= torch.minimum(population, torch.tensor(level - 1))).all()
        assert (taken <= population).all()


def test_the_last_turn_of_a_flat_mask_prefers_no_bin():
    """Over many events, bins that never run out are hidden equally often (chi-square)."""
    # Bin b holds (b + 1) times as many sensors as bin 0; edges are far away.
    rank = torch.arange(N) % 55
    bins = torch.searchsorted(torch.cumsum(torch.arange(1, 11), 0), rank, right=True)
    npho = (3.0 * 2.0**bins).expand(400, -1)
    number = torch.arange(400)
    alive = torch.ones(400, N, dtype=torch.bool)
    # 15 sensors of 10 bins: one turn, and half of the next.
    hidden = masks_of(15.5 / N, flat=True).draw(1, number, number, npho, alive)
    assert (hidden.sum(dim=1) == 15).all()
    second_turn = torch.stack([hidden[:, bins == b].sum(dim=1) - 1 for b in range(10)], dim=1)
    assert (second_turn >= 0).all()
    taken = second_turn.sum(dim=0).double()
    expected = 400 * 5 / 10
    # Five of ten are drawn without replacement, which shrinks variances by (10 - 5) / (10 - 1).
    statistic = float(((taken - expected) ** 2 / expected).sum()) / (5 / 9)
    assert statistic < chi2.ppf(0.999, 9)
    # Within a bin, all sensors are hidden equally often.
    often = hidden[:, bins == 9].sum(dim=0).double()
    mean = float(often.mean())
    assert float(((often - mean) ** 2 / mean).sum()) < chi2.ppf(0.999, len(often) - 1)


def test_bins_are_equally_wide_in_the_logarithm():
    assert npho_bins(torch.tensor([[-5.0, 0.0, 0.99]])).tolist() == [[0, 0, 0]]
    assert npho_bins(torch.tensor([[1.0, 2.0, 4.0, 1024.0]])).tolist() == [[1, 5, 9, 41]]
    edge = 2.0**0.25
    assert npho_bins(torch.tensor([[edge * 0.9999, edge * 1.0001]])).tolist() == [[1, 2]]


def test_artificial_masks_hide_fifteen_sensors():
    some = events(20)
    hidden = ALL_KINDS["artificial"].draw(FIXED_DRAW, **some)
    counts = [hidden[:, code == FACE].sum(dim=1) for code in FACE_NAMES]
    assert torch.stack(counts, dim=1).tolist() == 20 * [[10, 1, 1, 1, 1, 1]]
    often = hidden[:, FACE == 0].sum(dim=0)
    assert int(often.max()) <= 5


def test_a_face_with_too_few_live_sensors_gives_all_of_them():
    some = events(2)
    some["alive_BS"] = torch.arange(N).expand(2, -1) < 4
    hidden = ALL_KINDS["artificial"].draw(FIXED_DRAW, **some)
    assert torch.equal(hidden, some["alive_BS"])


def test_a_pattern_is_the_same_in_all_events():
    some = events(4)
    hidden = ALL_KINDS["pattern"].draw(5, **some)
    wanted = torch.arange(N) % 31 == 0
    assert torch.equal(hidden, wanted & some["alive_BS"])
    assert not SensorMasks.pattern(np.zeros(N, bool)).draw(1, **some).any()


def test_what_cannot_be_hidden_is_refused():
    with pytest.raises(ConfigError, match=r"0\.01 of 73 sensors is less than one.*0\.0137"):
        masks_of({"top": 0.01})
    with pytest.raises(ConfigError, match=r"unknown face 'bottom'.*known: inner, us, ds"):
        SensorMasks.artificial({"bottom": 1}, 1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("uniform", [4685, 4691, 4701, 4707, 4709, 4734, 4743, 4748]),
        ("flat", [4117, 4162, 4169, 4255, 4262, 4325, 4380, 4673]),
        ("artificial", [2575, 2692, 3598, 4392, 4568, 4601, 4738, 4744]),
    ],
)
def test_masks_stay_the_same_between_versions(kind: str, expected: list[int]):
    """Validation losses, and predictions for the same sensors, could not be compared otherwise."""
    npho = (torch.arange(N) % 997 + 1.0)[None]
    number = torch.tensor([77])
    alive = torch.ones(1, N, dtype=torch.bool)
    hidden = ALL_KINDS[kind].draw(3, torch.tensor([1000]), number, npho, alive)
    assert hidden[0].nonzero().flatten()[-8:].tolist() == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_masks_are_the_same_on_a_gpu(kind: str):
    some = events(20)
    on_gpu = {name: values.cuda() for name, values in some.items()}
    found = ALL_KINDS[kind].draw(2, **on_gpu)
    assert torch.equal(found.cpu(), ALL_KINDS[kind].draw(2, **some))


def test_half_of_the_hidden_sensors_are_on_whole_boards():
    some = events(40, dead=0.0)
    hidden = ALL_KINDS["boards"].draw(1, **some)
    assert hidden.sum(dim=1).tolist() == [238] * 40  # 5 % of 4760
    boards = hidden[:, :4092].unflatten(1, (186, 22)).all(dim=2)
    # 5 whole boards hold 110 of them; a sixth by chance is out of the question.
    assert boards.sum(dim=1).tolist() == [5] * 40
    assert len(boards.float().sum(dim=0).nonzero()) > 90  # other boards in other events


@pytest.mark.parametrize("model", [{"mask_ratio": BY_FACE}, {"mask_npho_flat": True}])
def test_boards_need_one_ratio(model: dict[str, Any]):
    with pytest.raises(ConfigError, match="mask_boards needs one mask_ratio"):
        validate(InpainterRun, {"model": {**model, "mask_boards": 0.5}}, "run")
