"""The plan of an epoch, for all sizes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xec_pipeline.data.epoch_plan import event_order, n_steps, piece_bounds

sizes = st.integers(1, 3000)
batches = st.integers(1, 300)
worlds = st.integers(1, 9)


@settings(max_examples=300, deadline=None)
@given(sizes, batches, worlds)
def test_pieces_cover_every_event_once_with_equal_steps(n_events, batch_size, world_size):
    bounds = piece_bounds(n_events, batch_size, world_size)
    lengths = np.diff(bounds)
    assert bounds[0] == 0
    assert bounds[-1] == n_events
    assert len(lengths) == n_steps(n_events, batch_size, world_size) * world_size
    assert lengths.max() <= batch_size
    assert lengths.max() - lengths.min() <= 1
    if n_events >= world_size and batch_size > 1:
        assert lengths.min() >= 1


@settings(max_examples=200, deadline=None)
@given(sizes, batches, worlds)
def test_steps_depend_on_the_global_batch_only(n_events, batch_size, world_size):
    many = piece_bounds(n_events, batch_size, world_size)[::world_size]
    one = piece_bounds(n_events, batch_size * world_size)
    np.testing.assert_array_equal(many, one)


@settings(max_examples=200, deadline=None)
@given(sizes, st.integers(0, 99), st.integers(0, 99), st.integers(1, 70), st.integers(1, 40))
def test_order_is_a_permutation_that_seed_and_epoch_fix(n_events, seed, epoch, block, window):
    sizes = {"block_events": block, "window_blocks": window}
    order = event_order(n_events, seed=seed, epoch=epoch, **sizes)
    assert sorted(order.tolist()) == list(range(n_events))
    again = event_order(n_events, seed=seed, epoch=epoch, **sizes)
    np.testing.assert_array_equal(order, again)


def test_epochs_and_seeds_differ():
    first = event_order(500, seed=1, epoch=0)
    assert (first != event_order(500, seed=1, epoch=1)).any()
    assert (first != event_order(500, seed=2, epoch=0)).any()


def test_a_window_reads_whole_blocks():
    order = event_order(64 * 40, seed=0, epoch=0, window_blocks=8)
    for window in order.reshape(5, -1):
        blocks, counts = np.unique(window // 64, return_counts=True)
        assert len(blocks) == 8
        assert (counts == 64).all()


def test_sorted_files_are_mixed_well():
    # Variance of batch means of a sorted quantity, relative to independent draws.
    n_events, batch = 64 * 3000, 256
    order = event_order(n_events, seed=0, epoch=0)
    means = (order / n_events).reshape(-1, batch).mean(axis=1)
    design_effect = means.var() * batch * 12
    assert 0.85 < design_effect < 1.35


def test_no_events():
    assert len(event_order(0, seed=0, epoch=0)) == 0
    assert piece_bounds(0, 4, 2).tolist() == [0]
