"""Batches: the right events, on every rank, prepared ahead."""

import threading

import numpy as np
import pytest
import torch

from xec_pipeline.data import dataset
from xec_pipeline.data.dataset import EventBatches
from xec_pipeline.errors import DataError


def rows_of(batches, epoch=0, **options):
    return [batch.index_B.tolist() for batch in batches.epoch(epoch, **options)]


def test_values_belong_to_the_index(tiny_shards):
    energy = tiny_shards.columns["energyTruth"]
    batches = EventBatches(tiny_shards, {"energy": energy[:, None]}, batch_size=10, seed=5)
    for batch in batches.epoch():
        index = batch.index_B.numpy()
        np.testing.assert_array_equal(batch.npho_BS, tiny_shards.npho(index))
        np.testing.assert_array_equal(batch.time_ns_BS, tiny_shards.times_ns(index))
        np.testing.assert_array_equal(batch.targets["energy"][:, 0], energy[index])
        assert batch.npho_BS.dtype == batch.time_ns_BS.dtype == torch.float32
        assert len(batch) == batch.n_total == len(index)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(("batch_size", "world_size"), [(7, 1), (7, 3), (48, 2), (100, 5), (1, 1)])
def test_ranks_share_every_event_once(tiny_shards, batch_size, world_size, shuffle):
    ranks = [
        EventBatches(tiny_shards, batch_size=batch_size, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    per_rank = [rows_of(batches, 2, shuffle=shuffle) for batches in ranks]
    assert {len(steps) for steps in per_rank} == {ranks[0].n_steps} == {len(ranks[0])}
    seen = [row for steps in per_rank for step in steps for row in step]
    assert sorted(seen) == list(range(48))
    assert {bool(step) for steps in per_rank for step in steps} == {True}


def test_total_counts_the_events_of_all_ranks(tiny_shards):
    ranks = [
        EventBatches(tiny_shards, batch_size=7, rank=rank, world_size=3, events=np.arange(31))
        for rank in range(3)
    ]
    for step in zip(*(batches.epoch() for batches in ranks), strict=True):
        assert {batch.n_total for batch in step} == {sum(map(len, step))}


def test_fewer_events_than_ranks_gives_empty_batches(tiny_shards):
    ranks = [
        EventBatches(tiny_shards, batch_size=8, rank=rank, world_size=3, events=np.array([5, 9]))
        for rank in range(3)
    ]
    lengths = [[len(batch) for batch in batches.epoch()] for batches in ranks]
    assert sorted(lengths) == [[0], [1], [1]]


def test_order_without_shuffling_is_that_of_the_files(tiny_shards):
    batches = EventBatches(tiny_shards, batch_size=20)
    steps = rows_of(batches, shuffle=False)
    assert [row for step in steps for row in step] == list(range(48))


def test_order_is_fixed_by_seed_and_epoch(tiny_shards):
    one, same = (EventBatches(tiny_shards, batch_size=16, seed=3) for _ in range(2))
    other = EventBatches(tiny_shards, batch_size=16, seed=4)
    assert rows_of(one, 1) == rows_of(same, 1)
    assert rows_of(one, 1) != rows_of(one, 2)
    assert rows_of(one, 1) != rows_of(other, 1)


def test_two_ranks_see_what_one_sees(tiny_shards):
    one = rows_of(EventBatches(tiny_shards, batch_size=12))
    left, right = (
        rows_of(EventBatches(tiny_shards, batch_size=6, rank=rank, world_size=2))
        for rank in range(2)
    )
    assert [a + b for a, b in zip(left, right, strict=True)] == one


def test_resuming_in_the_middle(tiny_shards):
    batches = EventBatches(tiny_shards, batch_size=10, seed=1)
    assert rows_of(batches, 3, first_step=2) == rows_of(batches, 3)[2:]


def test_kept_batches_are_not_overwritten(tiny_shards):
    kept = list(EventBatches(tiny_shards, batch_size=4).epoch())
    for batch in kept:
        np.testing.assert_array_equal(batch.npho_BS, tiny_shards.npho(batch.index_B.numpy()))


def test_buffers_are_used_again(tiny_shards):
    places = set()
    for batch in EventBatches(tiny_shards, batch_size=2, prefetch=2).epoch():
        places.add(batch.npho_BS.data_ptr())
        del batch
    assert len(places) <= 5


def test_a_view_keeps_its_buffer(tiny_shards):
    batches = EventBatches(tiny_shards, batch_size=2).epoch(shuffle=False)
    first_row = next(batches).npho_BS[0]
    list(batches)
    np.testing.assert_array_equal(first_row, tiny_shards.npho(np.array([0]))[0])


def test_stopping_early_ends_the_thread(tiny_shards):
    before = threading.active_count()
    batches = EventBatches(tiny_shards, batch_size=1).epoch()
    next(batches)
    assert threading.active_count() == before + 1
    batches.close()
    assert threading.active_count() == before


def test_errors_of_the_thread_reach_the_reader(tiny_shards, monkeypatch):
    def fail(*_):
        raise OSError("disk gone")

    monkeypatch.setattr(dataset._Reader, "read", fail)
    with pytest.raises(OSError, match="disk gone"):
        list(EventBatches(tiny_shards, batch_size=8).epoch())


def test_no_event_selected(tiny_shards):
    with pytest.raises(DataError, match="none of its 48 events is selected"):
        EventBatches(tiny_shards, batch_size=8, events=np.array([], dtype=int))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_batches_on_a_gpu_equal_those_on_the_cpu(tiny_shards):
    on_cpu = EventBatches(tiny_shards, batch_size=10)
    on_gpu = EventBatches(tiny_shards, batch_size=10, device=torch.device("cuda"))
    for a, b in zip(on_cpu.epoch(), on_gpu.epoch(), strict=True):
        np.testing.assert_array_equal(a.npho_BS, b.npho_BS.cpu())
        np.testing.assert_array_equal(a.time_ns_BS, b.time_ns_BS.cpu())
