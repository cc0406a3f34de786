"""Inpainters of the earlier system become checkpoints of this one and predict as before."""

from pathlib import Path
from typing import Any

import pytest
import torch

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.errors import CheckpointError
from xec_pipeline.models.inpainter import Inpainter, build_inpainter
from xec_pipeline.training.checkpoint import load_checkpoint, load_weights
from xec_pipeline.training.legacy_checkpoint import ImportOptions, import_checkpoint
from xec_pipeline_tests.models.deterministic import mask, plain_input, set_weights, signature
from xec_pipeline_tests.training.earlier_files import (
    NORMALIZATION,
    averaged,
    earlier_inpainter,
    flat_config,
    write_earlier,
)

YAML = Path(__file__).parents[1] / "config" / "earlier" / "inpainter.yaml"
HEADS: dict[str, dict[str, Any]] = {
    "one head": {"head_type": "cross_attention", "cross_attn_k": 12, "cross_attn_hidden": 32},
    "per face": {"head_type": "per_face"},
    "attention": {"head_type": "per_face", "use_masked_attention": True},
    "global": {"head_type": "per_face", "use_local_context": False, "head_width": 32},
}


def earlier(heads: dict[str, Any]) -> Inpainter:
    tree = {
        "normalization": NORMALIZATION.model_dump(),
        "model": {
            "layout": "legacy",
            "encoder_dim": 64,
            "num_fusion_layers": 1,
            "outer_fine_pool": (2, 2),
            "predict_channels": ("npho", "time"),
            "freeze_encoder": False,
            **heads,
        },
    }
    return set_weights(build_inpainter(InpainterRun.model_validate(tree)).double())


def converted(folder: Path, network: Inpainter, **flat: Any) -> tuple[InpainterRun, Inpainter]:
    state = earlier_inpainter(network)
    old = write_earlier(folder / "o.pth", state, flat_config("inpainter", **flat))
    import_checkpoint(old, folder / "n.pth", "inpainter")
    made = load_checkpoint(folder / "n.pth", "inpainter")
    run = InpainterRun.model_validate(made.config)
    again = build_inpainter(run).double().eval()
    load_weights(again, made.model_state_dict, old)
    return run, again


@torch.no_grad()
@pytest.mark.parametrize("name", HEADS)
def test_an_inpainter_predicts_as_before(name: str, tmp_path: Path):
    network = earlier(HEADS[name])
    run, again = converted(tmp_path, network)
    options = run.model.model_dump()
    assert {key: options[key] for key in HEADS[name]} == HEADS[name]
    assert (run.model.mask_ratio, run.model.mask_npho_flat) == (0.1, True)
    assert (run.model.freeze_encoder, run.model.layout) == (False, "legacy")
    assert run.normalization == NORMALIZATION
    x, is_hidden = plain_input(), mask()
    assert torch.equal(again(x, is_hidden)[is_hidden], network(x, is_hidden)[is_hidden])


@torch.no_grad()
@pytest.mark.golden
def test_published_numbers_survive_the_import(tmp_path: Path):
    _, again = converted(tmp_path, earlier(HEADS["per face"]))
    found = again(plain_input(), mask())[mask()]
    expected = (121.712595, 143.243079, 0.06136559, -0.06455126)
    assert signature(found) == pytest.approx(expected, abs=1e-5)


def test_what_differs_and_what_is_kept_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    network = earlier(HEADS["one head"])
    state = earlier_inpainter(network)
    state["cross_attn_head.knn_indices"] = state["cross_attn_head.knn_indices"].flip(1)
    ema = {k: v + 1 if v.is_floating_point() else v for k, v in state.items()}
    old = write_earlier(tmp_path / "o.pth", state, flat_config("inpainter"), averaged(ema))
    made = import_checkpoint(old, tmp_path / "n.pth", "inpainter", ImportOptions(config=YAML))
    assert made.ema_state_dict is not None
    for saved in (made.model_state_dict, made.ema_state_dict):
        table = saved["cross_attn_head.knn_indices"]
        assert torch.equal(table, state["cross_attn_head.knn_indices"])
        assert "cross_attn_head.sensor_positions" not in saved
        assert not saved["cross_attn_head.no_neighbour"].any()
    assert (made.epoch, made.kind, made.layout) == (13, "inpainter", "legacy")
    assert made.config["training"]["npho_loss_weight"]["enabled"]
    assert made.config["model"]["mask_ratio"] == 0.1
    assert "here such a sensor is predicted without neighbours" in caplog.text
    assert "it never saw sensors without a usable time" in caplog.text


def test_an_inpainter_that_cannot_be_used_is_refused(tmp_path: Path):
    def refused(state: dict[str, torch.Tensor], message: str) -> None:
        old = write_earlier(tmp_path / "o.pth", state, flat_config("inpainter"))
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(old, tmp_path / "n.pth", "inpainter")

    state = earlier_inpainter(earlier(HEADS["one head"]))
    refused(
        state | {"cross_attn_head.face_ids": torch.zeros(4760, dtype=torch.int64)},
        "not legacy because of cross_attn_head.face_ids",
    )
    del state["cross_attn_head.knn_indices"]
    refused(state, "not the heads of the earlier system: 'cross_attn_head.knn_indices'")
    faces = earlier_inpainter(earlier(HEADS["per face"]))
    refused(faces | {"us_idx": faces["ds_idx"]}, "not legacy because of us_idx")
    split = {"outer_mode": "split", "outer_fine_pool": None}
    state = earlier_inpainter(earlier(HEADS["per face"] | split))
    refused(state, "has no head for the centre of the outer face")
    old = write_earlier(tmp_path / "o.pth", faces, flat_config("inpainter"))
    with pytest.raises(CheckpointError, match=r"holds a inpainter .* with --kind inpainter"):
        import_checkpoint(old, tmp_path / "n.pth", "mae")
