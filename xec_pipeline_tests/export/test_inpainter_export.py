import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml

from xec_pipeline.config.loader import load_inpainter_run
from xec_pipeline.errors import CheckpointError, ParityError
from xec_pipeline.export import inpainter as exporter
from xec_pipeline.export.inpainter import export_inpainter
from xec_pipeline.export.inpainter_graph import InpainterGraph
from xec_pipeline.export.inpainter_parity import (
    allowed_in_words,
    check_inpainter,
    masked_sample,
)
from xec_pipeline.export.parity import open_session
from xec_pipeline.export.samples import RawEvents, sample_events
from xec_pipeline.export.torchscript import open_torchscript
from xec_pipeline.models.inpainter import build_inpainter
from xec_pipeline.training.checkpoint import Checkpoint, write_checkpoint
from xec_pipeline.training.inpainter_inference import load_inpainter_for_inference
from xec_pipeline.workers import export_inpainter as worker
from xec_pipeline_tests.models.inpainters import KINDS

NO_SHARDS = {"data.val_path": "", "data.test_path": ""}
TINY = {
    "model.encoder": "xec_v1",
    "model.hex_dim": 8,
    "model.head_type": "per_face",
    "model.relative_values": False,
    "model.head_width": 8,
    "model.hex_head_width": 8,
    "model.cross_attn_hidden": 8,
    "model.cross_attn_latent_dim": 8,
    "model.cross_attn_k": 8,
    "model.dropout": 0.2,
    "model.drop_path_rate": 0.2,
}
EXPORTED = ("faces v2", "attention v1 split", "sensors v2", "relative v2")
"""One of each kind of head, both encoders, both forms of the outer face."""


@pytest.fixture(scope="module")
def events() -> RawEvents:
    return sample_events(load_inpainter_run("inpainter-demo", NO_SHARDS).data, 9)


def checkpoint_of(folder: Path, kind: str = "relative v2", **overrides: Any) -> Path:
    """Write a checkpoint with random weights."""
    changes = {f"model.{name}": value for name, value in KINDS[kind].items()}
    run = load_inpainter_run("inpainter-demo", NO_SHARDS | TINY | changes | overrides)
    torch.manual_seed(2)
    model = build_inpainter(run)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.02)
    state = model.state_dict()
    averaged = {
        name: 0.9 * tensor if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    path = folder / "run" / "inpainter_checkpoint_best.pth"
    checkpoint = Checkpoint(
        kind="inpainter", model_state_dict=state, ema_state_dict=averaged, config=run.model_dump()
    )
    write_checkpoint(path, checkpoint)
    return path


@pytest.mark.parametrize("kind", EXPORTED)
def test_both_formats_agree_with_torch(kind, events, tmp_path):
    features = ("npho",) if kind == "faces v2" else ("npho", "time")
    path = checkpoint_of(tmp_path, kind, **{"model.predict_channels": features})
    out = (tmp_path / "inpainter.onnx", tmp_path / "inpainter.pt")
    few = RawEvents(*(array[-6:] for array in events))
    exported = export_inpainter(path, out, few)
    names = ["output", "output_time"][: len(features)]
    for file in exported.files:
        assert [entry.output for entry in file.parity] == names
        assert max(entry.of_allowed for entry in file.parity) <= 1.0
        assert file.path.is_file()
    onnx.checker.check_model(onnx.load(str(out[0])), full_check=True)
    session = open_session(out[0])
    inputs = [(entry.name, entry.type, entry.shape) for entry in session.get_inputs()]
    assert inputs == [
        ("input", "tensor(float)", ["batch", 4760, 2]),
        ("mask", "tensor(float)", ["batch", 4760]),
    ]
    assert [output.name for output in session.get_outputs()] == names


def test_what_the_files_return(events, tmp_path):
    path = checkpoint_of(tmp_path)
    out = tmp_path / "inpainter.pt"
    export_inpainter(path, (out,), events)
    model, metadata = open_torchscript(out)
    values, mask = map(torch.from_numpy, masked_sample(events))
    with torch.no_grad():
        (found,) = model(values, mask)
        (as_bool,) = model(values, mask > 0)
    torch.testing.assert_close(found, as_bool, rtol=0, atol=0, equal_nan=True)
    is_masked = mask > 0
    assert (found[is_masked] >= 0).all()
    # Dead sensors that are not in the mask stay as they are.
    given = values[..., 0]
    torch.testing.assert_close(found[~is_masked], given[~is_masked], rtol=0, atol=0, equal_nan=True)
    assert (found[~is_masked] > 9e9).any()
    trained = load_inpainter_for_inference(path)
    x = trained.normalizer(given, values[..., 1])
    with torch.no_grad():
        expected = 20000 * trained.model(x, is_masked)[..., 0].clamp_min(0).square()
    torch.testing.assert_close(found[is_masked], expected[is_masked], rtol=1e-3, atol=1e-2)
    assert json.loads(metadata["normalization"])["npho_scale"] == 20000


@torch.no_grad()
def test_negative_predictions_are_clamped_if_asked_for(events, tmp_path):
    options = {"normalization.npho_scheme": "log1p", "normalization.npho_scale": 1000.0}
    trained = load_inpainter_for_inference(checkpoint_of(tmp_path, "sensors v2", **options))
    torch.nn.init.constant_(trained.model.get_parameter("cross_attn_head.pred_mlp.3.bias"), -0.2)
    values, mask = map(torch.from_numpy, masked_sample(events))
    parts = trained.normalizer, trained.model
    free, clamped = (
        InpainterGraph(*parts, clamp_negative=clamp).eval()(values, mask)[0][mask > 0]
        for clamp in (False, True)
    )
    assert (free < 0).any()
    torch.testing.assert_close(clamped, free.clamp_min(0), rtol=1e-5, atol=1e-3)


def test_metadata_suffices_to_use_the_file(events, tmp_path):
    path = checkpoint_of(tmp_path)
    out = (tmp_path / "inpainter.onnx", tmp_path / "inpainter.pt")
    exported = export_inpainter(path, out, events, clamp_negative=False, use_ema=False)
    props = {p.key: p.value for p in onnx.load(str(out[0])).metadata_props}
    assert props == open_torchscript(out[1])[1]
    assert props["weights_version"] == exported.model.sha
    assert json.loads(props["features"]) == ["npho"]
    assert json.loads(props["clamp_negative"]) is False
    assert json.loads(props["outputs"])["output"]["unit"] == "photons"
    assert set(json.loads(props["inputs"])) == {"input", "mask"}
    assert {"layout", "encoder", "config_digest", "checkpoint_sha256", "git_revision"} <= set(props)


def test_masks_are_of_all_kinds(events):
    values, mask = masked_sample(events)
    assert values.shape == (9, 4760, 2)
    assert set(np.unique(mask)) == {0.0, 1.0}
    counts = mask.sum(axis=1)
    assert 0 in counts
    assert 4760 in counts
    assert ((counts > 50) & (counts < 300)).any()
    np.testing.assert_array_equal(mask[8] > 0, ~(np.abs(values[8, :, 0]) < 9e9))


def test_disagreement_leaves_no_file(events, tmp_path, monkeypatch):
    out = (tmp_path / "out" / "inpainter.pt", tmp_path / "out" / "other.pt")
    exact = exporter._torchscript

    def wrong_in_one_sensor(path):
        predict = exact(path)

        def spoilt(values, mask):
            (found,) = predict(values, mask)
            if len(mask) == 7 and "other" in path.name:
                found[5, 17] += 20.0
            return [found]

        return spoilt

    monkeypatch.setattr(exporter, "_torchscript", wrong_in_one_sensor)
    with pytest.raises(ParityError, match=r"other.pt: output 'output' with batch 7: .*17 of event"):
        export_inpainter(checkpoint_of(tmp_path), out, events)
    assert list(out[0].parent.iterdir()) == []


def test_every_kind_of_disagreement_is_found(events, tmp_path):
    trained = load_inpainter_for_inference(checkpoint_of(tmp_path))
    graph = InpainterGraph(trained.normalizer, trained.model).eval()
    sample = masked_sample(RawEvents(*(array[-7:] for array in events)))
    with torch.no_grad():
        (right,) = graph(*map(torch.from_numpy, sample))

    def check(spoil, match):
        first_event = itertools.cycle(range(7))

        def predict(values, mask):
            start = next(first_event)
            return [spoil(right.numpy()[start : start + 1].copy())]

        with pytest.raises(ParityError, match=match):
            check_inpainter(predict, graph, sample, "file")

    check(lambda rows: rows * np.float32(np.nan), "changes sensors that are not masked|differ")
    check(lambda rows: rows[:, :-1], "has shape")
    check(lambda rows: np.where(rows > 9e9, np.float32(0), rows), "changes sensors")


def test_a_difference_of_half_the_allowed_one_is_told_as_such(events, tmp_path):
    trained = load_inpainter_for_inference(checkpoint_of(tmp_path))
    graph = InpainterGraph(trained.normalizer, trained.model).eval()
    sample = masked_sample(RawEvents(*(array[-7:] for array in events)))

    def off_by_half(values, mask):
        with torch.no_grad():
            (right,) = graph(torch.from_numpy(values), torch.from_numpy(mask))
        allowed = 1e-2 * np.sqrt(np.maximum(right.numpy(), 0) + 10)
        return [np.where(mask > 0, right.numpy() + 0.5 * allowed, values[..., 0])]

    (told,) = check_inpainter(off_by_half, graph, sample, "file")
    assert told.of_allowed == pytest.approx(0.5, abs=0.1)


def test_parity_is_told_beside_the_files(tmp_path):
    checkpoint_of(tmp_path)
    path = tmp_path / "run.yaml"
    tree = {
        "preset": "inpainter-demo",
        "data": {"val_path": "", "test_path": ""},
        "checkpoint": {"save_dir": str(tmp_path)},
    }
    path.write_text(yaml.safe_dump(tree))
    assert worker.main(["--config", str(path)]) == 0
    told = json.loads((tmp_path / "run" / "inpainter_export_parity_run.json").read_text())
    # Its network predicts no time, so none is spoken of.
    assert told["tolerance"] == "0.01 sqrt(n + 10) for n photons"
    outputs = [entry for file in told["files"] for entry in file["outputs"]]
    keys = {"output", "unit", "largest_absolute", "of_allowed"}
    assert [set(entry) for entry in outputs] == [keys, keys]
    assert all(0 <= entry["of_allowed"] <= 1 for entry in outputs)


def test_what_is_allowed_names_times_where_there_are_any():
    words = allowed_in_words(["output", "output_time"])
    assert words == "0.01 sqrt(n + 10) for n photons, 1 ps for times"


def test_missing_checkpoint(events, tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        export_inpainter(tmp_path / "none.pth", (tmp_path / "m.pt",), events)
