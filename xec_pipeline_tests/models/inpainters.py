"""Tiny inpainters of every kind, and events for them."""

from typing import Any

import torch

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.models.inpainter import Inpainter, build_inpainter
from xec_pipeline.models.input_norm import InputNormalizer

NORMALIZATION = {
    "npho_scheme": "sqrt",
    "npho_scale": 20000.0,
    "time_scale": 1e-8,
    "time_shift": 0.5,
    "sentinel_time": -2.0,
}
POOLED = {"outer_fine_pool": (5, 3)}
KINDS: dict[str, dict[str, Any]] = {
    "faces v1": POOLED,
    "faces v1 split": {"outer_mode": "split"},
    "faces v2": {"encoder": "xec_v2"},
    "attention v1": {"use_masked_attention": True, **POOLED},
    "attention v1 split": {"use_masked_attention": True, "outer_mode": "split"},
    "tokens v1": {"use_local_context": False, **POOLED},
    "sensors v1 split": {"head_type": "cross_attention", "outer_mode": "split"},
    "sensors v2": {"head_type": "cross_attention", "encoder": "xec_v2"},
    "relative v1": {"head_type": "cross_attention", "relative_values": True, **POOLED},
    "relative v2": {"head_type": "cross_attention", "relative_values": True, "encoder": "xec_v2"},
}
"""Options of the model by name."""


def tiny_inpainter(
    kind: str,
    features: tuple[str, ...] = ("npho", "time"),
    *,
    outputs_start_at_zero: bool = True,
    **model: Any,
) -> Inpainter:
    """Return a network with random weights; dropout is off unless asked for."""
    torch.manual_seed(0)
    run = InpainterRun.model_validate(
        {
            "normalization": NORMALIZATION,
            "model": {
                "encoder_dim": 64,
                "hex_dim": 8,
                "num_fusion_layers": 1,
                "dropout": 0.0,
                "head_width": 8,
                "hex_head_width": 8,
                "cross_attn_hidden": 8,
                "cross_attn_latent_dim": 8,
                "cross_attn_k": 8,
                "predict_channels": features,
                **KINDS[kind],
                **model,
            },
        }
    )
    built = build_inpainter(run)
    if not outputs_start_at_zero:
        with torch.no_grad():
            for weight in built.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.02)
    return built


def events(n: int, seed: int = 0) -> torch.Tensor:
    """Return normalized events of random light (n, 4760, 2)."""
    generator = torch.Generator().manual_seed(seed)
    npho = 3e4 * torch.rand(n, 4760, generator=generator) ** 6
    times = 1e-8 * torch.rand(n, 4760, generator=generator)
    normalizer = InputNormalizer(NormalizationConfig.model_validate(NORMALIZATION))
    x: torch.Tensor = normalizer(npho, times)
    return x


def hidden(n: int, ratio: float = 0.1, seed: int = 4) -> torch.Tensor:
    """Return a random mask (n, 4760)."""
    return torch.rand(n, 4760, generator=torch.Generator().manual_seed(seed)) < ratio
