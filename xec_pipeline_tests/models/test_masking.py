import math

import hypothesis.extra.numpy as hnp
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xec_pipeline.models.masking import FIXED_DRAW, draw_hidden, event_keys, sensor_noise

N = 4760
FEW = 200


def keys(events, *, seed=7, draw=1, run=1000):
    numbers = torch.as_tensor(events)
    return event_keys(seed, draw, torch.full_like(numbers, run), numbers)


def noise(events, n=N, **identity):
    return sensor_noise(keys(events, **identity), n)


booleans = hnp.arrays(bool, (3, FEW))


@settings(max_examples=50, deadline=None)
@given(alive=booleans, ratio=st.floats(0.01, 0.99), favour=st.floats(0.2, 50))
def test_the_number_of_hidden_sensors_is_exact_and_dead_ones_are_left_alone(alive, ratio, favour):
    alive = torch.from_numpy(alive)
    favoured = torch.arange(FEW).expand(3, -1) % 3 == 0
    hidden = draw_hidden(noise([1, 2, 3], FEW), alive, ratio, favoured_BS=favoured, favour=favour)
    assert not (hidden & ~alive).any()
    expected = [math.floor(n * ratio + 1e-9) for n in alive.sum(dim=1).tolist()]
    assert hidden.sum(dim=1).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(
    events=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6),
    seed=st.integers(0, 2**63),
    draw=st.integers(0, 1000),
)
def test_a_mask_depends_on_its_event_alone(events, seed, draw):
    together = noise(events, FEW, seed=seed, draw=draw)
    for position, event in enumerate(events):
        alone = noise([event], FEW, seed=seed, draw=draw)
        assert torch.equal(alone[0], together[position])


def test_masks_change_with_seed_draw_run_and_event():
    reference = noise([5])
    others = [noise([6]), noise([5], seed=8), noise([5], draw=FIXED_DRAW), noise([5], run=1001)]
    # Swapped run and event are other events too.
    others.append(noise([1000], run=5))
    for other in others:
        correlation = torch.corrcoef(torch.cat((reference, other)))[0, 1]
        assert abs(float(correlation)) < 5 / math.sqrt(N)


def test_noise_is_uniform_and_sensors_are_hidden_equally_often():
    values = noise(range(400))
    assert 0 <= float(values.min()) < float(values.max()) < 1
    assert float(values.mean()) == pytest.approx(0.5, abs=5 / math.sqrt(12 * values.numel()))
    assert float(values.var()) == pytest.approx(1 / 12, abs=1e-3)
    hidden = draw_hidden(values, torch.ones_like(values, dtype=torch.bool), 0.6)
    often = hidden.double().mean(dim=0)
    sigma = math.sqrt(0.6 * 0.4 / 400)
    assert float(often.std()) == pytest.approx(sigma, rel=0.1)
    assert float((often - 0.6).abs().max()) < 5.5 * sigma
    neighbours = torch.corrcoef(torch.stack((values[:, :-1].flatten(), values[:, 1:].flatten())))
    assert abs(float(neighbours[0, 1])) < 5 / math.sqrt(values.numel())


def test_published_rule_of_favoured_sensors():
    # With a ratio of 0.6 and a factor of 5, every favoured sensor is hidden if they are few.
    values = noise(range(20))
    alive = torch.ones_like(values, dtype=torch.bool)
    favoured = torch.arange(N).expand(20, -1) % 5 == 0
    plain = draw_hidden(values, alive, 0.6)
    scaled = draw_hidden(values, alive, 0.6, favoured_BS=favoured, favour=5.0)
    assert float(plain[favoured].double().mean()) == pytest.approx(0.6, abs=0.02)
    assert float(scaled[favoured].double().mean()) == 1.0
    assert float(scaled[~favoured].double().mean()) == pytest.approx(0.5, abs=0.02)
    unchanged = draw_hidden(values, alive, 0.6, favoured_BS=favoured, favour=1.0)
    assert torch.equal(unchanged, plain)


@pytest.mark.parametrize(("ratio", "n_alive", "expected"), [(0.29, 100, 29), (0.6, 5, 3)])
def test_ratios_that_floats_cannot_hold(ratio, n_alive, expected):
    alive = torch.arange(FEW)[None] < n_alive
    assert int(draw_hidden(noise([1], FEW), alive, ratio).sum()) == expected


def test_noise_is_splitmix64():
    # The published first outputs of the generator for the seed 1234567.
    published = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    found = sensor_noise(torch.tensor([1234567]), 3)
    assert found[0].tolist() == [(word >> 11) * 2.0**-53 for word in published]


def test_masks_stay_the_same_between_versions():
    """Written with Python's integers; validation losses could not be compared otherwise."""
    word = 2**63 + 5
    for part in (3, 1000, 77):
        word = mixed(((word + 0x9E3779B97F4A7C15) ^ part) % 2**64)
    found = event_keys(2**63 + 5, 3, torch.tensor([1000]), torch.tensor([77]))
    assert int(found) % 2**64 == word


def mixed(word: int) -> int:
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
    return word ^ word >> 31


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_masks_are_the_same_on_a_gpu():
    cpu = noise(range(50))
    gpu = sensor_noise(keys(range(50)).cuda(), N)
    assert torch.equal(gpu.cpu(), cpu)
    alive = torch.rand(50, N) < 0.9
    hidden = draw_hidden(gpu, alive.cuda(), 0.6)
    assert torch.equal(hidden.cpu(), draw_hidden(cpu, alive, 0.6))
