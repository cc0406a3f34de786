"""Checkpoints with the keys, prefixes, tables and types of the earlier system's files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.faces import face_of_sensor
from xec_pipeline.detector.layout import LEGACY, Layout

NORMALIZATION = NormalizationConfig(
    npho_scheme="log1p", npho_scale=0.58, npho_scale2=1.0, time_scale=6.5e-8, time_shift=0.5
)
FLAT = {
    "outer_mode": "finegrid",
    "outer_fine_pool": [2, 2],
    "encoder_dim": 64,
    "dim_feedforward": None,
    "num_fusion_layers": 1,
    "npho_branch": "npho",
    "time_branch": "relative_time",
}


def flat_config(kind: str, **changes: Any) -> dict[str, Any]:
    """Return the flat configuration that a file of one kind holds."""
    flat = FLAT | NORMALIZATION.model_dump()
    if kind == "regressor":
        flat |= {"hidden_dim": 16, "drop_path_rate": 0.0, "active_tasks": [], "nll_tasks": []}
    elif kind == "inpainter":
        flat |= {"mask_ratio": 0.1, "predict_channels": ["npho", "time"], "freeze_encoder": False}
        flat |= {"mask_npho_flat": True, "head_type": "cross_attention", "cross_attn_k": 16}
    else:
        del flat["npho_threshold"]
        flat |= {"mask_ratio": 0.65, "decoder_dim": 16, "predict_channels": ["npho", "time"]}
    return flat | changes


def tables(prefix: str, layout: Layout = LEGACY) -> dict[str, Tensor]:
    """Return the index tables that stood among the encoder's weights."""
    arrays = {
        "hex_edge_index": layout.hex_edges,
        "top_hex_indices": layout.top,
        "bottom_hex_indices": layout.bottom,
    }
    return {prefix + name: torch.tensor(array) for name, array in arrays.items()}


def earlier_state(
    model: nn.Module, prefix: str, layout: Layout = LEGACY, unused: Mapping[str, int] | None = None
) -> dict[str, Tensor]:
    """Return the weights of one of our models as the earlier system saved them.

    Parameters
    ----------
    model
        Regressor, masked autoencoder or encoder.
    prefix
        `backbone.`, `encoder.` or nothing.
    layout
        Whose tables to add.
    unused
        Heads that existed but were never trained: name to number of outputs.
    """
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state |= tables(prefix, layout)
    if prefix == "encoder.":
        adjacency = torch.tensor(layout.hex_edges)
        state |= {f"dec_{face}.adj_matrix": adjacency for face in ("top", "bot")}
    for name, n_outputs in (unused or {}).items():
        first, middle = torch.nn.Linear(6 * 64, 16), torch.nn.Linear(16, 16)
        parts = {0: first, 1: nn.LayerNorm(16), 4: middle, 6: nn.Linear(16, n_outputs)}
        for place, layer in parts.items():
            state |= {f"heads.{name}.{place}.{k}": v for k, v in layer.state_dict().items()}
    return state


def earlier_inpainter(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of one of our inpainters with LEGACY layout as they were saved."""
    state = {
        name: tensor.clone()
        for name, tensor in model.state_dict().items()
        if name.rpartition(".")[2] not in {"no_neighbour", "nothing"}
    }
    state |= tables("encoder.")
    maps = {
        "inner_idx": LEGACY.inner,
        "us_idx": LEGACY.us,
        "ds_idx": LEGACY.ds,
        "outer_coarse_idx": LEGACY.outer_coarse,
        "top_hex_indices": LEGACY.top,
        "bottom_hex_indices": LEGACY.bottom,
    }
    state |= {name: torch.tensor(ids) for name, ids in maps.items()}
    if "cross_attn_head.pos_embed" in state:
        state["cross_attn_head.sensor_positions"] = torch.zeros(4760, 3)
        state["cross_attn_head.face_ids"] = torch.tensor(face_of_sensor()).long()
        state["cross_attn_head.token_face_ids_map"] = torch.arange(6)
    else:
        state |= {f"head_{face}.edge_index": torch.tensor(LEGACY.hex_edges) for face in _HEX}
        state["head_outer_sensor.valid_positions"] = torch.ones(234, 6, dtype=torch.bool)
    return state


_HEX = ("top", "bot")


def averaged(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` as the average of a wrapped model is saved."""
    return {"n_averaged": torch.tensor(7)} | {f"module.{k}": v for k, v in state.items()}


def write_earlier(
    path: Path,
    state: Mapping[str, Tensor],
    flat: Mapping[str, Any] | None,
    ema: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write a file with all keys of the earlier system."""
    content = {
        "epoch": 12,
        "model_state_dict": dict(state),
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "scheduler_state_dict": {"last_epoch": 12, "_last_lr": [1e-4]},
        "scaler_state_dict": {},
        "ema_state_dict": None if ema is None else dict(ema),
        "best_val_loss": 0.25,
        "mlflow_run_id": "0a1b2c",
    }
    torch.save(content | ({} if flat is None else {"config": dict(flat)}), path)
    return path
