"""The public architecture in its fast form beside the form in which it is usually written.

The straightforward form has the same weights and gives the same numbers: channels-first images with
permutations around the pointwise layers, the response norm as its own pass, one call per face, and
messages on the hexagonal faces added up by scatter.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.model import ModelConfig
from xec_pipeline.detector.layout import PHYSICAL
from xec_pipeline.models.encoder import FaceBackbone, XecV1Encoder
from xec_pipeline.models.hexnext import HexEncoder
from xec_pipeline.models.regressor import build_regressor

_BATCH = 16
_ROUNDS = 3
_CONFIG = ModelConfig(encoder_dim=256, num_fusion_layers=2, outer_fine_pool=(2, 2), dropout=0.0)


def run() -> dict[str, float]:
    """Return events per second forward and per training step, and ratios of the same run."""
    torch.manual_seed(0)
    fast = XecV1Encoder(_CONFIG, PHYSICAL, sentinel_time=-1.0).eval()
    plain = Straightforward(fast).eval()
    x = torch.rand(_BATCH, 4760, 2)
    with torch.no_grad():
        difference = float((fast(x) - plain(x)).abs().max())
    rates = {
        (way, name): _BATCH / seconds
        for way, step in (("forward", _forward), ("training step", _step))
        for name, seconds in _in_turn({"fast": fast, "plain": plain}, x, step).items()
    }
    numbers = {
        f"xec_v1 D=256, {name} form, {way}, events/s": rate for (way, name), rate in rates.items()
    }
    for way in ("forward", "training step"):
        numbers[f"ratio, {way}"] = rates[way, "fast"] / rates[way, "plain"]
    return numbers | {"largest difference of a token": difference, **_demo_rates()}


class Straightforward(nn.Module):
    """The mathematics of `XecV1Encoder`, written face by face."""

    def __init__(self, fast: XecV1Encoder) -> None:
        super().__init__()
        self.fast = fast
        senders, receivers, slots = (torch.tensor(row) for row in PHYSICAL.hex_edges.copy())
        self.edges = (senders, receivers, slots)

    def forward(self, x):
        fast = self.fast
        tokens = [_cnn(fast.backbone, fast.faces.values(f, x)) for f in ("inner", "us", "ds")]
        tokens.append(_cnn(fast.backbone, fast.outer.values(x)))
        tokens += [self._hex(fast.hex_encoder, fast.faces.values(f, x)) for f in ("top", "bot")]
        return fast.fusion_transformer(torch.stack(tokens, dim=1) + fast.pos_embed)

    def _hex(self, network: HexEncoder, x):
        x = network.stem(x)
        senders, receivers, slots = self.edges
        for block in network.layers:
            conv = block.get_submodule("spatial_conv")
            messages = x[:, senders] * conv.get_parameter("weight")[0, slots]
            index = receivers[None, :, None].expand_as(messages)
            y = torch.zeros_like(x).scatter_add(1, index, messages)
            x = x + _pointwise(block, y + conv.get_parameter("bias"), (1,))
        return network.proj(x.mean(dim=1))


def _cnn(network: FaceBackbone, image):
    x = network.stem[0](image.permute(0, 3, 1, 2).contiguous())
    x = _norm_channels_first(network.stem[1], x)
    for block in network.stage1:
        x = _block(block, x)
    x = network.downsample[1](_norm_channels_first(network.downsample[0], x))
    for block in network.stage2:
        x = _block(block, x)
    return F.interpolate(x, size=(4, 4), mode="bilinear", align_corners=False).flatten(1)


def _block(block, x):
    y = block.dwconv(x).permute(0, 2, 3, 1)
    return x + _pointwise(block, y, (1, 2)).permute(0, 3, 1, 2)


def _pointwise(block, y, axes):
    y = F.gelu(block.pwconv1(block.norm(y)))
    norm = torch.norm(y, p=2, dim=axes, keepdim=True)
    relative = norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)
    return block.pwconv2(block.grn.gamma * (y * relative) + block.grn.beta + y)


def _norm_channels_first(norm, x):
    mean = x.mean(dim=1, keepdim=True)
    variance = (x - mean).pow(2).mean(dim=1, keepdim=True)
    x = (x - mean) / torch.sqrt(variance + norm.eps)
    return norm.weight[:, None, None] * x + norm.bias[:, None, None]


def _forward(model: nn.Module, x: torch.Tensor) -> None:
    with torch.no_grad():
        model(x)


def _step(model: nn.Module, x: torch.Tensor) -> None:
    model.zero_grad()
    result = model(x)
    outputs = result.values() if isinstance(result, dict) else [result]
    torch.stack([output.square().mean() for output in outputs]).sum().backward()


def _in_turn(
    models: dict[str, nn.Module], x: torch.Tensor, step: Callable[[nn.Module, torch.Tensor], None]
) -> dict[str, float]:
    """Return the shortest of some times of each, taken in turn so that all share disturbances."""
    best = dict.fromkeys(models, float("inf"))
    for model in models.values():
        step(model, x)
    for _ in range(_ROUNDS):
        for name, model in models.items():
            start = time.perf_counter()
            step(model, x)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _demo_rates() -> dict[str, float]:
    """Return the rates of the network that the demo trains."""
    run = load_regressor_run("demo")
    model = build_regressor(run)
    x = torch.rand(run.data.batch_size, 4760, 2)
    rates = {}
    for way, step in (("forward", _forward), ("training step", _step)):
        seconds = _in_turn({"demo": model}, x, step)["demo"]
        rates[f"demo network, {way}, events/s"] = len(x) / seconds
    return rates
