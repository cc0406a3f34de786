"""Weights as the earlier system saved them: what their names, shapes and tables tell."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from numpy.typing import NDArray
from torch import Tensor

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.detector.faces import face_of_sensor
from xec_pipeline.detector.layout import LEGACY, PHYSICAL, Layout
from xec_pipeline.errors import CheckpointError
from xec_pipeline.models.heads import TASK_OUTPUTS

State = dict[str, Tensor]

_LAST_LAYER: Final = 6
"""Place of the last linear layer in a head."""
_SPLIT_TOKENS: Final = 7
"""Tokens of an encoder whose outer face is split in two."""
_EDGE_TABLES: Final = frozenset({"hex_edge_index", "adj_matrix", "edge_index"})
_DERIVED_TABLES: Final = frozenset(
    {
        "nbr_indices",
        "nbr_counts",
        "sensor_ids",
        "gather_indices",
        "valid_positions",
        "token_face_ids_map",
    }
)
"""Tables that follow from the sensor maps; nothing is gained by comparing them, too."""
_KEPT_TABLES: Final = frozenset({"knn_indices"})
"""Tables that our network keeps with its weights, as they were in training."""
_POSITIONS: Final = "sensor_positions"


def layout_of(state: Mapping[str, Tensor], source: Path) -> Layout:
    """Return the layout whose index tables are those among the weights.

    The table of hexagonal neighbours tells the two layouts apart. The map of the outer face is not
    in the files; it always went with those neighbours.

    Raises
    ------
    CheckpointError
        If there is no such table, or the tables are those of neither layout.
    """
    tables = {name: tensor for name, tensor in state.items() if not tensor.is_floating_point()}
    if not any(name.endswith("hex_edge_index") for name in tables):
        raise CheckpointError(
            f"{source}: holds no table of hexagonal neighbours (hex_edge_index), so its sensor "
            f"maps are unknown; index tables: {', '.join(sorted(tables)) or 'none'}"
        )
    reasons = []
    for layout in (LEGACY, PHYSICAL):
        differing = [name for name, table in tables.items() if not _agrees(layout, name, table)]
        if not differing:
            return layout
        reasons.append(f"not {layout.name} because of {', '.join(differing[:3])}")
    raise CheckpointError(f"{source}: its sensor maps are of no known layout: {'; '.join(reasons)}")


def without_tables(state: Mapping[str, Tensor]) -> State:
    """Return the weights proper, and tables that a network keeps; others follow from the layout."""
    leaves = {name: name.rpartition(".")[2] for name in state}
    return {
        name: tensor
        for name, tensor in state.items()
        if leaves[name] in _KEPT_TABLES
        or (tensor.is_floating_point() and leaves[name] != _POSITIONS)
    }


def inpainter_shapes(state: Mapping[str, Tensor], source: Path) -> dict[str, Any]:
    """Return the options of an inpainter's heads, by name, that can be read off its weights.

    Raises
    ------
    CheckpointError
        If these are not the heads of the public architecture.
    """
    head = "cross_attn_head."
    try:
        if any(name.startswith(head) for name in state):
            return {
                "head_type": "cross_attention",
                "cross_attn_k": state[f"{head}knn_indices"].shape[1],
                "cross_attn_hidden": len(state[f"{head}neighbor_proj.bias"]),
                "cross_attn_latent_dim": len(state[f"{head}latent_proj.bias"]),
                "cross_attn_pos_dim": state[f"{head}pos_embed"].shape[1],
            }
        return {
            "head_type": "per_face",
            "use_local_context": "head_inner.global_decoder.0.weight" not in state,
            "use_masked_attention": "head_inner.masked_pred_head.0.weight" in state,
            "head_width": len(state["head_inner.latent_proj.0.bias"]),
            "hex_head_width": len(state["head_top.latent_proj.0.bias"]),
        }
    except (KeyError, IndexError) as error:
        raise CheckpointError(
            f"{source}: not the heads of the earlier system: {error} (missing or misshapen)"
        ) from None


def with_new_vectors(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> State:
    """Return the weights with zeros for what a sensor without visible neighbours has learned.

    Parameters
    ----------
    state
        Weights of an earlier inpainter, which had no such vectors.
    own
        Weights of ours, for names and shapes.
    """
    new = [name for name in own if name.rpartition(".")[2] in {"no_neighbour", "nothing"}]
    return dict(state) | {name: torch.zeros_like(own[name]) for name in new}


def encoder_part(state: Mapping[str, Tensor]) -> State:
    """Return the encoder of an MAE or inpainter, or `state` itself if it is a bare encoder."""
    if "pos_embed" in state:
        return dict(state)
    prefix = "encoder."
    return {
        name.removeprefix(prefix): weight
        for name, weight in state.items()
        if name.startswith(prefix)
    }


def encoder_shapes(encoder: Mapping[str, Tensor], source: Path) -> dict[str, Any]:
    """Return the options of the encoder, by name, that can be read off its weights.

    Raises
    ------
    CheckpointError
        If these are not the weights of the public architecture.
    """
    prefix = "fusion_transformer.layers."
    layers = {
        name.removeprefix(prefix).split(".")[0] for name in encoder if name.startswith(prefix)
    }
    try:
        _, n_tokens, width = encoder["pos_embed"].shape
        return {
            "encoder": "xec_v1",
            "outer_mode": "split" if n_tokens == _SPLIT_TOKENS else "finegrid",
            "encoder_dim": width,
            "hex_dim": len(encoder["hex_encoder.stem.0.weight"]),
            "dim_feedforward": len(encoder[f"{prefix}0.linear1.weight"]),
            "num_fusion_layers": len(layers),
        }
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{source}: not the network of the earlier system: {error} (missing or misshapen)"
        ) from None


def heads_in(state: Mapping[str, Tensor]) -> set[str]:
    """Return the names of all heads of a regressor, also of those that were never trained."""
    return {name.split(".")[1] for name in state if name.startswith("heads.")}


def with_heads(state: Mapping[str, Tensor], tasks: Collection[str]) -> State:
    """Return the weights without the heads of other tasks."""
    return {
        name: tensor
        for name, tensor in state.items()
        if not name.startswith("heads.") or name.split(".")[1] in tasks
    }


def with_factors(
    state: Mapping[str, Tensor], factors: Mapping[str, float], run: RegressorRun
) -> State:
    """Return the weights of a regressor whose outputs are larger by `factors`, task by task.

    A head that predicts a logarithm gets ln(factor) added instead, and the logarithm of a variance
    2 ln(factor), unless it is the variance of a logarithm.
    """
    made = dict(state)
    for task in factors.keys() & set(run.tasks.active):
        factor, n_values = factors[task], TASK_OUTPUTS[task]
        names = [f"heads.{task}.{_LAST_LAYER}.{part}" for part in ("weight", "bias")]
        weight, bias = (made[name].to(torch.float64, copy=True) for name in names)
        if run.tasks[task].log_transform:
            bias[:n_values] += math.log(factor)
        else:
            weight[:n_values] *= factor
            bias[:n_values] *= factor
            bias[n_values:] += 2 * math.log(factor)
        made |= {n: new.to(made[n].dtype) for n, new in zip(names, (weight, bias), strict=True)}
    return made


def _agrees(layout: Layout, name: str, table: Tensor) -> bool:
    leaf = name.rpartition(".")[2]
    if leaf in _EDGE_TABLES:
        # The order of the edges means nothing.
        own = sorted(layout.hex_edges.T.tolist())
        return table.ndim == 2 and sorted(table.T.tolist()) == own
    if leaf in _KEPT_TABLES | _DERIVED_TABLES:
        return True
    maps: dict[str, NDArray[Any]] = {
        "top_hex_indices": layout.top,
        "bottom_hex_indices": layout.bottom,
        "inner_idx": layout.inner,
        "us_idx": layout.us,
        "ds_idx": layout.ds,
        "outer_coarse_idx": layout.outer_coarse,
        "face_ids": face_of_sensor(),
    }
    return leaf in maps and table.tolist() == maps[leaf].tolist()
