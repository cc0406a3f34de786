"""How the machine did: memory, throughput, waiting. Keys of a GPU are absent without one."""

import dataclasses
import time
from typing import Final

import psutil
import pynvml
import torch

_GIGA: Final = 1e9


@dataclasses.dataclass
class EpochClock:
    """Times of one epoch, summed while it runs.

    Attributes
    ----------
    load_seconds, step_seconds
        Waiting for batches, and everything else of the training steps.
    n_batches
        Batches trained on by this rank.
    n_events
        Events trained on by all ranks since this clock began; a resumed epoch has more.
    sm_percent
        How busy the GPU's processors were, looked at now and then; empty without a GPU.
    """

    load_seconds: float = 0.0
    step_seconds: float = 0.0
    n_batches: int = 0
    n_events: int = 0
    sm_percent: list[float] = dataclasses.field(default_factory=list)
    _started: float = dataclasses.field(default_factory=time.perf_counter)
    _last: float = dataclasses.field(default_factory=time.perf_counter)

    def loaded(self, n_batches: int, n_events: int) -> None:
        """Note that batches have arrived, on all ranks together with so many events."""
        self.load_seconds += self._lap()
        self.n_batches += n_batches
        self.n_events += n_events

    def stepped(self) -> None:
        """Note that the optimizer has stepped."""
        self.step_seconds += self._lap()

    def look_at(self, device: torch.device) -> None:
        """Note how busy a GPU is; nothing for a CPU, or if the driver does not tell."""
        busy = sm_utilization(device)
        if busy is not None:
            self.sm_percent.append(busy)

    def elapsed(self) -> float:
        """Return the seconds since the epoch began."""
        return time.perf_counter() - self._started

    def profile(self, validation_seconds: float) -> str:
        """Return in one line where the time of the epoch went."""
        return (
            f"waiting for batches {self.load_seconds:.2f} s, steps {self.step_seconds:.2f} s, "
            f"validation {validation_seconds:.2f} s"
        )

    def _lap(self) -> float:
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds


def sm_utilization(device: torch.device) -> float | None:
    """Return the percentage of the last moments in which a GPU computed; None if unknown."""
    if device.type != "cuda":
        return None
    try:
        return float(torch.cuda.utilization(device))
    except (ModuleNotFoundError, RuntimeError, pynvml.NVMLError):
        return None  # a driver without NVML, or one that does not tell in this container


def throughput_metrics(clock: EpochClock) -> dict[str, float]:
    """Return duration, events/s, waiting per batch and the computing percentage of an epoch.

    Of an epoch that was resumed in its middle, they tell of the part since then.

    Parameters
    ----------
    clock
        Read now, at the end of the epoch.
    """
    training = clock.load_seconds + clock.step_seconds
    found = {"system/epoch_duration_sec": clock.elapsed()}
    if clock.sm_percent:
        found["system/gpu_sm_pct"] = sum(clock.sm_percent) / len(clock.sm_percent)
    if not training:
        return found
    return found | {
        "system/throughput_events_per_sec": clock.n_events / training,
        "system/avg_data_load_sec": clock.load_seconds / max(clock.n_batches, 1),
        "system/compute_efficiency": 100.0 * clock.step_seconds / training,
    }


def memory_metrics(device: torch.device) -> dict[str, float]:
    """Return memory in use [GB = 1e9 bytes]; of the GPU only if `device` is one.

    The peak counts from the last `reset_peak`.
    """
    metrics = {
        "system/ram_used_gb": psutil.virtual_memory().used / _GIGA,
        "system/process_rss_gb": psutil.Process().memory_info().rss / _GIGA,
    }
    if device.type != "cuda":
        return metrics
    allocated = torch.cuda.memory_allocated(device)
    reserved = torch.cuda.memory_reserved(device)
    total = torch.cuda.get_device_properties(device).total_memory
    free, _ = torch.cuda.mem_get_info(device)
    return metrics | {
        "system/memory_allocated_GB": allocated / _GIGA,
        "system/memory_reserved_GB": reserved / _GIGA,
        # Of all processes, with what CUDA and nccl take beside the tensors.
        "system/gpu_memory_used_GB": (total - free) / _GIGA,
        "system/memory_peak_GB": torch.cuda.max_memory_allocated(device) / _GIGA,
        "system/gpu_utilization_pct": 100.0 * allocated / total,
        "system/memory_fragmentation": 1.0 - allocated / reserved if reserved else 0.0,
    }


def reset_peak(device: torch.device) -> None:
    """Start a new peak of GPU memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
