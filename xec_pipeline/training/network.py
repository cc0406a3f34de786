"""The model as it is called in training: copied to the ranks, compiled, in short floats."""

import inspect
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from xec_pipeline.config.training import TrainingConfig
from xec_pipeline.training.distributed import DistContext


def wrapped_for_ranks(model: nn.Module, dist: DistContext) -> DistributedDataParallel | None:
    """Return `model` in DDP, or None for a single rank."""
    if dist.world_size == 1:
        return None
    devices = [dist.device] if dist.device.type == "cuda" else None
    # No buffer changes in training, so none need be sent; the option was renamed in torch 2.13.
    known = inspect.signature(DistributedDataParallel).parameters
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {option: False, "gradient_as_bucket_view": True}
    return DistributedDataParallel(model, device_ids=devices, **options)


def compiled(network: nn.Module, config: TrainingConfig, dist: DistContext) -> nn.Module:
    """Return `network` compiled as configured; as it is on the CPU."""
    if config.compile == "none" or dist.device.type != "cuda":
        return network
    # torch.compile returns a module for a module, but its annotation says a function.
    return cast(
        nn.Module,
        torch.compile(
            network, mode=config.compile, fullgraph=config.compile_fullgraph, dynamic=False
        ),
    )


def mixed_precision(config: TrainingConfig, dist: DistContext) -> torch.autocast:
    """Return bfloat16 autocast as configured; it does nothing on the CPU."""
    device = dist.device.type
    return torch.autocast(device, dtype=torch.bfloat16, enabled=config.amp and device == "cuda")
