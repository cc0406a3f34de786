import time

import pynvml
import pytest
import torch

from xec_pipeline.training.system_metrics import EpochClock, memory_metrics, throughput_metrics


def test_waiting_and_computing_are_told_apart():
    clock = EpochClock()
    time.sleep(0.01)
    clock.loaded(2, 64)
    time.sleep(0.02)
    clock.stepped()
    assert (clock.n_batches, clock.n_events) == (2, 64)
    assert clock.load_seconds >= 0.01
    assert clock.step_seconds >= 0.02
    assert clock.elapsed() >= clock.load_seconds + clock.step_seconds


def test_throughput_is_events_over_training_time():
    clock = EpochClock(load_seconds=0.03, step_seconds=0.06, n_batches=2, n_events=90)
    found = throughput_metrics(clock)
    assert found["system/avg_data_load_sec"] == pytest.approx(0.015)
    assert found["system/compute_efficiency"] == pytest.approx(100 * 2 / 3)
    assert found["system/throughput_events_per_sec"] == pytest.approx(1000)
    expected = "waiting for batches 0.03 s, steps 0.06 s, validation 0.50 s"
    assert clock.profile(0.5) == expected


def test_an_epoch_without_steps_has_a_duration_only():
    assert throughput_metrics(EpochClock()).keys() == {"system/epoch_duration_sec"}


def test_keys_of_a_gpu_are_absent_without_one():
    found = memory_metrics(torch.device("cpu"))
    assert found.keys() == {"system/ram_used_gb", "system/process_rss_gb"}
    assert found["system/ram_used_gb"] > found["system/process_rss_gb"] / 10


def test_gpu_memory_is_reported_as_the_contract_names_it(monkeypatch: pytest.MonkeyPatch):
    class Card:
        total_memory = 8e9

    for name, value in (
        ("memory_allocated", 2e9),
        ("memory_reserved", 4e9),
        ("max_memory_allocated", 3e9),
        ("get_device_properties", Card),
        ("mem_get_info", (3e9, 8e9)),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    found = memory_metrics(torch.device("cuda"))
    assert found["system/memory_allocated_GB"] == 2
    assert found["system/memory_reserved_GB"] == 4
    assert found["system/memory_peak_GB"] == 3
    assert found["system/gpu_memory_used_GB"] == 5
    assert found["system/gpu_utilization_pct"] == 25
    assert found["system/memory_fragmentation"] == 0.5


def test_how_busy_a_gpu_was_is_the_mean_of_what_the_driver_said(monkeypatch: pytest.MonkeyPatch):
    answers = iter([40, 80])
    monkeypatch.setattr(torch.cuda, "utilization", lambda _: next(answers))
    clock = EpochClock()
    for _ in range(2):
        clock.look_at(torch.device("cuda"))
    assert throughput_metrics(clock)["system/gpu_sm_pct"] == 60


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError(), RuntimeError("driver"), pynvml.NVMLError(3)]
)
def test_a_driver_that_does_not_tell_leaves_the_key_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def refuse(_):
        raise error

    monkeypatch.setattr(torch.cuda, "utilization", refuse)
    clock = EpochClock()
    clock.look_at(torch.device("cuda"))
    clock.look_at(torch.device("cpu"))
    assert "system/gpu_sm_pct" not in throughput_metrics(clock)
