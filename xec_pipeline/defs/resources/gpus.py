"""How many GPUs a worker would see, asked of the driver; torch is not needed for that."""

import os

import pynvml


def visible_gpus() -> int:
    """Return the number of GPUs that are present and not hidden by CUDA_VISIBLE_DEVICES."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        present = int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return present
    return min(present, sum(part.strip() not in {"", "-1"} for part in allowed.split(",")))
