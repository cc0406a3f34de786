import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xec_pipeline.models.event_noise import event_keys, hide_first, sensor_noise

N = 4760
FEW = 200


def keys(events, *, seed=7, draw=1, run=1000):
    numbers = torch.as_tensor(events)
    return event_keys(seed, draw, torch.full_like(numbers, run), numbers)


def noise(events, n=N, **identity):
    return sensor_noise(keys(events, **identity), n)


@settings(max_examples=30, deadline=None)
@given(
    events=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=6),
    seed=st.integers(0, 2**63),
    draw=st.integers(0, 1000),
)
def test_noise_depends_on_its_event_alone(events, seed, draw):
    together = noise(events, FEW, seed=seed, draw=draw)
    for position, event in enumerate(events):
        alone = noise([event], FEW, seed=seed, draw=draw)
        assert torch.equal(alone[0], together[position])


def test_noise_changes_with_seed_draw_run_and_event():
    reference = noise([5])
    others = [noise([6]), noise([5], seed=8), noise([5], draw=0), noise([5], run=1001)]
    # Swapped run and event are other events too.
    others.append(noise([1000], run=5))
    for other in others:
        correlation = torch.corrcoef(torch.cat((reference, other)))[0, 1]
        assert abs(float(correlation)) < 5 / math.sqrt(N)


def test_noise_is_uniform_and_neighbours_are_independent():
    values = noise(range(400))
    assert 0 <= float(values.min()) < float(values.max()) < 1
    assert float(values.mean()) == pytest.approx(0.5, abs=5 / math.sqrt(12 * values.numel()))
    assert float(values.var()) == pytest.approx(1 / 12, abs=1e-3)
    neighbours = torch.corrcoef(torch.stack((values[:, :-1].flatten(), values[:, 1:].flatten())))
    assert abs(float(neighbours[0, 1])) < 5 / math.sqrt(values.numel())


def test_noise_is_splitmix64():
    # The published first outputs of the generator for the seed 1234567.
    published = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    found = sensor_noise(torch.tensor([1234567]), 3)
    assert found[0].tolist() == [(word >> 11) * 2.0**-53 for word in published]


def test_keys_stay_the_same_between_versions():
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


def test_of_equal_places_the_first_are_hidden():
    place = torch.tensor(
        [[0.5, 0.1, 0.5, 0.5, 0.2], [0.3, 0.1, 0.5, 0.4, 0.2]], dtype=torch.float64
    )
    alive = torch.ones(2, 5, dtype=torch.bool)
    alive[1, 1] = False
    found = hide_first(place, alive, torch.tensor([3, 9]))
    assert found.tolist() == [[True, True, False, False, True], [True, False, True, True, True]]
    distinct = hide_first(place[1:], alive[1:], torch.tensor([2]))
    assert distinct.tolist() == [[True, False, False, False, True]]
    assert not hide_first(place, alive, torch.tensor([0, 0])).any()
    assert hide_first(place[:0], alive[:0], torch.tensor([], dtype=torch.int64)).shape == (0, 5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_noise_is_the_same_on_a_gpu():
    cpu = noise(range(50))
    gpu = sensor_noise(keys(range(50)).cuda(), N)
    assert torch.equal(gpu.cpu(), cpu)
