import hashlib
import json
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.errors import CheckpointError, ParityError
from xec_pipeline.export import parity
from xec_pipeline.export.onnx import OPSET, export_onnx
from xec_pipeline.export.parity import TOLERANCE, open_session, run_in_batches
from xec_pipeline.export.samples import sample_events
from xec_pipeline.models.regressor import PhysicalRegressor
from xec_pipeline.training.checkpoint import load_regressor_for_inference
from xec_pipeline_tests.export.conftest import STATISTICS

KINDS: dict[str, dict[str, Any]] = {
    "v2": {},
    "v2 nll": {"tasks.uvwFI.loss_fn": "gaussian_nll", "normalization.npho_scheme": "log1p"},
    "v1 pooled, with dropout": {
        "model.encoder": "xec_v1",
        "model.dropout": 0.2,
        "model.head_dropout": 0.5,
        "model.drop_path_rate": 0.2,
    },
    "v1 fine nll": {
        "model.encoder": "xec_v1",
        "model.outer_fine_pool": None,
        "tasks.energy.loss_fn": "gaussian_nll",
        "tasks.timing.enabled": False,
    },
    "v1 split, legacy": {
        "model.encoder": "xec_v1",
        "model.outer_mode": "split",
        "model.layout": "legacy",
    },
}


@pytest.fixture(scope="module")
def events():
    run = load_regressor_run("demo", {"data.val_path": "", "data.test_path": ""})
    return sample_events(run.data, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_both_variants_agree_with_torch(kind, checkpoint_of, events, tmp_path):
    exported = export_onnx(checkpoint_of(**KINDS[kind]), tmp_path / "model.onnx", *events)
    for file in (exported.normalized, exported.raw):
        onnx.checker.check_model(onnx.load(str(file.path)), full_check=True)
        assert max(entry.of_allowed for entry in file.parity) <= 1
    assert exported.raw.path.name == "model_raw.onnx"
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == ["model.onnx", "model_raw.onnx"]


def test_names_shapes_and_batches(checkpoint_of, events, tmp_path):
    path = checkpoint_of(**{"tasks.uvwFI.loss_fn": "gaussian_nll"})
    exported = export_onnx(path, tmp_path / "model.onnx", *events)
    stored = onnx.load(str(exported.normalized.path))
    assert stored.opset_import[0].version == OPSET
    session = open_session(exported.normalized.path)
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("input", ["batch", 4760, 2])]
    outputs = {output.name: output.shape[1] for output in session.get_outputs()}
    assert outputs == {"output_angle": 2, "output_energy": 1, "output_timing": 1, "output_uvwFI": 6}
    raw = open_session(exported.raw.path)
    assert [i.name for i in raw.get_inputs()] == ["npho", "time"]
    names = ["theta_deg", "phi_deg", "energy_mev", "relative_time_ns", "u_cm", "v_cm", "w_cm"]
    names += ["sigma_u_cm", "sigma_v_cm", "sigma_w_cm"]
    assert [output.name for output in raw.get_outputs()] == names


def test_values_are_physical_and_averaged(checkpoint_of, events, tmp_path):
    path = checkpoint_of()
    exported = export_onnx(path, tmp_path / "model.onnx", *events)
    model = load_regressor_for_inference(path, use_ema=True)
    physical = PhysicalRegressor(model.normalizer, model.regressor, model.scaling)
    with torch.no_grad():
        truth = physical(torch.from_numpy(events.npho), torch.from_numpy(events.time_s))
    raw = run_in_batches(open_session(exported.raw.path), list(events), 5)
    np.testing.assert_allclose(raw["energy_mev"], truth["energy_mev"][:, 0], rtol=1e-4)
    np.testing.assert_allclose(raw["v_cm"], truth["uvw_cm"][:, 1], atol=4e-3)
    assert (raw["energy_mev"] > 0).all()
    plain = export_onnx(path, tmp_path / "plain.onnx", *events, use_ema=False)
    other = run_in_batches(open_session(plain.raw.path), list(events), 5)
    assert not np.allclose(other["u_cm"], raw["u_cm"], atol=1e-3)


def test_metadata_suffices_to_use_the_file(checkpoint_of, events, tmp_path):
    path = checkpoint_of()
    exported = export_onnx(path, tmp_path / "model.onnx", *events)
    outputs: dict[str, Any] = {}
    for file, variant in ((exported.normalized, "normalized"), (exported.raw, "raw")):
        props = {p.key: p.value for p in onnx.load(str(file.path)).metadata_props}
        assert props["variant"] == variant
        assert props["checkpoint_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert props["weights_version"] == exported.model.sha
        assert json.loads(props["tasks"]) == ["angle", "energy", "timing", "uvwFI"]
        assert json.loads(props["normalization"])["npho_scheme"] == "sqrt"
        outputs = json.loads(props["outputs"])
        assert set(outputs) == {entry.output for entry in file.parity}
        assert {"layout", "git_revision", "schema_version", "inputs"} <= set(props)
    assert outputs["energy_mev"]["columns"] == [["energy_mev", "MeV"]]


def test_exporting_again_gives_the_same_bytes(checkpoint_of, events, tmp_path):
    path = checkpoint_of()
    first = export_onnx(path, tmp_path / "a.onnx", *events)
    second = export_onnx(path, tmp_path / "b.onnx", *events)
    assert first.raw.path.read_bytes() == second.raw.path.read_bytes()
    assert first.normalized.path.read_bytes() == second.normalized.path.read_bytes()


def test_disagreement_leaves_no_file(checkpoint_of, events, tmp_path, monkeypatch):
    out = tmp_path / "out" / "model.onnx"
    exact = parity.run_in_batches

    def wrong_in_the_raw_variant(session, inputs, batch):
        found = dict(exact(session, inputs, batch))
        if "w_cm" in found and batch == 7:
            found["w_cm"] = found["w_cm"] + np.float32(0.01) * (np.arange(len(events.npho)) == 3)
        return found

    monkeypatch.setattr(parity, "run_in_batches", wrong_in_the_raw_variant)
    with pytest.raises(
        ParityError, match=r"model_raw.onnx: output 'w_cm' with batch 7: 1 of 16 .*3"
    ):
        export_onnx(checkpoint_of(), out, *events)
    assert list(out.parent.iterdir()) == []


def test_nan_and_wrong_shapes_are_disagreements(checkpoint_of, events, tmp_path, monkeypatch):
    exact, path = parity.run_in_batches, checkpoint_of()
    for spoil in (lambda values: values * np.nan, lambda values: values[:-1]):
        monkeypatch.setattr(
            parity,
            "run_in_batches",
            lambda *a, spoil=spoil: {name: spoil(v) for name, v in exact(*a).items()},
        )
        with pytest.raises(ParityError, match="no file was written"):
            export_onnx(path, tmp_path / "model.onnx", *events)


def test_a_difference_of_half_the_allowed_one_is_told_as_such(
    checkpoint_of, events, tmp_path, monkeypatch
):
    exact = parity.run_in_batches

    def off_by_half(session, inputs, batch):
        found = dict(exact(session, inputs, batch))
        if "w_cm" in found:
            found["w_cm"] = found["w_cm"] + np.float32(
                0.5 * TOLERANCE * STATISTICS["uvwFI"]["scale"][2]
            )
        return found

    monkeypatch.setattr(parity, "run_in_batches", off_by_half)
    exported = export_onnx(checkpoint_of(), tmp_path / "model.onnx", *events)
    told = {entry.output: entry.of_allowed for entry in exported.raw.parity}
    assert told["w_cm"] == pytest.approx(0.5, abs=0.1)
    assert told["u_cm"] < 0.1


def test_old_file_survives_a_failure(checkpoint_of, events, tmp_path, monkeypatch):
    out = tmp_path / "model.onnx"
    out.write_bytes(b"old")
    monkeypatch.setattr(parity, "TOLERANCE", -1.0)
    with pytest.raises(ParityError):
        export_onnx(checkpoint_of(), out, *events)
    assert out.read_bytes() == b"old"


def test_missing_checkpoint(events, tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        export_onnx(tmp_path / "none.pth", tmp_path / "model.onnx", *events)
