"""Files of the earlier system become checkpoints of this one and predict as before."""

import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from xec_pipeline.__main__ import main
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.detector.layout import LEGACY, PHYSICAL
from xec_pipeline.errors import CheckpointError, ConfigError
from xec_pipeline.export.onnx import export_onnx
from xec_pipeline.models.encoder import build_encoder
from xec_pipeline.models.mae import build_mae
from xec_pipeline.models.regressor import PhysicalRegressor, Regressor
from xec_pipeline.training.checkpoint import (
    load_checkpoint,
    load_regressor_for_inference,
    load_weights,
)
from xec_pipeline.training.legacy_checkpoint import ImportOptions, import_checkpoint
from xec_pipeline.training.transfer import load_encoder, read_encoder
from xec_pipeline_tests.models.deterministic import (
    mask,
    masked_input,
    plain_input,
    set_weights,
    signature,
)
from xec_pipeline_tests.training.earlier_files import (
    NORMALIZATION,
    averaged,
    earlier_state,
    flat_config,
    write_earlier,
)

OUTPUTS = {"angle": 2, "energy": 2, "timing": 1, "uvwFI": 3}
UNUSED = {"angleVec": 3, "n_gamma": 5}
ACTIVE = flat_config("regressor", active_tasks=[*OUTPUTS], nll_tasks=["energy"])
YAML = Path(__file__).parents[1] / "config" / "earlier"


def encoder(layout=LEGACY):
    model = MaeRun.model_validate(
        {"model": {"encoder_dim": 64, "num_fusion_layers": 1, "outer_fine_pool": (2, 2)}}
    ).model
    return build_encoder(model, layout, NORMALIZATION)


def regressor(seed: int = 1) -> Regressor:
    torch.manual_seed(seed)
    return Regressor(encoder(), OUTPUTS, hidden_dim=16, dropout=0.2).eval()


def mae(channels=("npho", "time")):
    torch.manual_seed(3)
    tree = {
        "normalization": NORMALIZATION.model_dump(),
        "model": {
            "layout": "legacy",
            "encoder_dim": 64,
            "num_fusion_layers": 1,
            "outer_fine_pool": (2, 2),
            "decoder_dim": 16,
            "predict_channels": channels,
        },
    }
    return build_mae(MaeRun.model_validate(tree)).eval()


@pytest.fixture
def raw_events() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    npho = rng.lognormal(4, 2, size=(3, 4760)).astype("f4")
    npho[:, ::100] = 1e10
    time_s = rng.normal(3e-8, 1e-8, size=(3, 4760)).astype("f4")
    return torch.from_numpy(npho), torch.from_numpy(time_s)


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    state = earlier_state(regressor(1), "backbone.", unused=UNUSED)
    ema = averaged(earlier_state(regressor(2), "backbone.", unused=UNUSED))
    return write_earlier(tmp_path / "old.pth", state, ACTIVE, ema)


@torch.no_grad()
@pytest.mark.parametrize(("use_ema", "seed"), [(True, 2), (False, 1)])
def test_a_regressor_predicts_as_before(tmp_path: Path, old_file: Path, raw_events, use_ema, seed):
    import_checkpoint(old_file, tmp_path / "new.pth", "regressor")
    model = load_regressor_for_inference(tmp_path / "new.pth", use_ema=use_ema)
    found = PhysicalRegressor(model.normalizer, model.regressor, model.scaling)(*raw_events)
    expected = regressor(seed)(model.normalizer(*raw_events))
    assert torch.equal(found["angles_deg"], expected["angle"])
    assert torch.equal(found["uvw_cm"], expected["uvwFI"])
    mean, log_variance = expected["energy"].split(1, dim=1)
    torch.testing.assert_close(found["energy_mev"], 1e3 * mean, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        found["sigma_energy_mev"], 1e3 * torch.exp(0.5 * log_variance), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(
        found["relative_time_ns"], 1e9 * expected["timing"], rtol=1e-5, atol=100
    )


def test_a_regressor_says_what_it_is(tmp_path: Path, old_file: Path):
    import_checkpoint(old_file, tmp_path / "new.pth", "regressor")
    made = load_checkpoint(tmp_path / "new.pth")
    run = RegressorRun.model_validate(made.config)
    assert (made.layout, run.model.layout) == ("legacy", "legacy")
    assert run.tasks.active == tuple(OUTPUTS)
    assert run.tasks.energy.loss_fn == "gaussian_nll"
    assert (run.tasks.timing.reference, run.tasks.timing.origin) == ("emission", "none")
    assert run.data.truth_time_unit == "s"
    assert run.model.outer_fine_pool == (2, 2)
    assert run.normalization == NORMALIZATION
    assert (made.epoch, made.best_val, made.mlflow_run_id) == (12, 0.25, None)
    assert made.target_statistics["uvwFI"] == {"mean": [0.0] * 3, "scale": [1.0] * 3, "log": False}
    assert made.optimizer_state_dict is None
    names = [*made.model_state_dict, *(made.ema_state_dict or ())]
    assert not any("index" in name or "module" in name or "angleVec" in name for name in names)
    assert made.config_digest == run.digest()


@torch.no_grad()
@pytest.mark.golden
def test_published_numbers_survive_the_import(tmp_path: Path):
    network = set_weights(regressor().double())
    old = write_earlier(tmp_path / "old.pth", earlier_state(network, "backbone."), ACTIVE)
    import_checkpoint(old, tmp_path / "new.pth", "regressor")
    model = load_regressor_for_inference(tmp_path / "new.pth")
    again = model.regressor.double()
    again.load_state_dict(model.checkpoint.model_state_dict)
    found = {task: output[0].tolist() for task, output in again(plain_input()).items()}
    assert found["angle"] == pytest.approx((0.0615514, 0.0529029), abs=1e-6)
    assert found["uvwFI"] == pytest.approx((-0.0386635, -0.0461418, -0.0473865), abs=1e-6)
    log_variance = -0.0022303 + 2 * math.log(1e3)
    assert found["energy"] == pytest.approx((1e3 * 0.0124202, log_variance), rel=1e-5)
    assert found["timing"] == pytest.approx((1e9 * 0.0535540,), rel=1e-5)


@torch.no_grad()
def test_a_logarithm_that_was_learned_is_told_by_the_yaml_file(
    tmp_path: Path, old_file: Path, raw_events
):
    out = tmp_path / "new.pth"
    options = ImportOptions(config=YAML / "regressor.yaml", time_unit="ns", tasks=("energy",))
    import_checkpoint(old_file, out, "regressor", options)
    model = load_regressor_for_inference(out)
    assert model.run.tasks.active == ("energy",)
    assert model.run.data.train_path == "data/train"
    assert model.run.normalization == NORMALIZATION
    found = PhysicalRegressor(model.normalizer, model.regressor, model.scaling)(*raw_events)
    logarithm, log_variance = regressor(2)(model.normalizer(*raw_events))["energy"].split(1, dim=1)
    torch.testing.assert_close(found["energy_mev"], 1e3 * torch.exp(logarithm), rtol=1e-5, atol=0)
    sigma = found["energy_mev"] * torch.exp(0.5 * log_variance)
    torch.testing.assert_close(found["sigma_energy_mev"], sigma, rtol=1e-5, atol=0)


@torch.no_grad()
@pytest.mark.golden
def test_a_mae_reconstructs_as_before(tmp_path: Path):
    network = set_weights(mae().double())
    old = write_earlier(tmp_path / "o.pth", earlier_state(network, "encoder."), flat_config("mae"))
    import_checkpoint(old, tmp_path / "new.pth", "mae")
    made = load_checkpoint(tmp_path / "new.pth", "mae")
    run = MaeRun.model_validate(made.config)
    assert (made.epoch, made.layout, made.ema_state_dict) == (13, "legacy", None)
    assert (run.model.mask_ratio, run.model.decoder_dim) == (0.65, 16)
    assert run.normalization.npho_threshold == 100
    again = build_mae(run).double().eval()
    load_weights(again, made.model_state_dict, old)
    tokens = again.encode(masked_input(), mask())
    expected = (-4.077175, 629.992238, -0.23328050, -0.62743783)
    assert signature(tokens) == pytest.approx(expected, abs=1e-5)
    assert torch.equal(again(masked_input(), mask()), network(masked_input(), mask()))


def test_learned_variances_of_a_mae_are_kept(tmp_path: Path):
    state = earlier_state(mae(("npho",)), "encoder.") | {"channel_log_vars": torch.tensor([0.5])}
    flat = flat_config("mae", predict_channels=["npho"])
    write_earlier(tmp_path / "o.pth", state, flat, averaged(state))
    options = ImportOptions(config=YAML / "mae.yaml")
    made = import_checkpoint(tmp_path / "o.pth", tmp_path / "n.pth", "mae", options)
    assert made.config["training"]["auto_channel_weight"] is True
    assert made.config["model"]["predict_channels"] == ("npho",)
    assert made.normalization["npho_threshold"] == 10
    assert made.ema_state_dict is not None
    assert made.ema_state_dict["channel_log_vars"] == 0.5


def test_an_encoder_alone_is_imported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    network = encoder()
    torch.save(earlier_state(network, ""), tmp_path / "mae_encoder_epoch_10.pth")
    import_checkpoint(tmp_path / "mae_encoder_epoch_10.pth", tmp_path / "new.pth", "encoder")
    made = load_checkpoint(tmp_path / "new.pth", "encoder")
    load_weights(network, made.model_state_dict, tmp_path)
    assert made.layout == "legacy"
    assert made.config["model"] == {
        "encoder": "xec_v1",
        "layout": "legacy",
        "outer_mode": "finegrid",
        "encoder_dim": 64,
        "hex_dim": 96,
        "dim_feedforward": 256,
        "num_fusion_layers": 1,
    }
    assert not made.normalization
    assert "weights alone; a run that starts from them must have the normalization" in caplog.text


def test_an_imported_encoder_starts_a_regressor_with_its_layout(tmp_path: Path):
    old = write_earlier(
        tmp_path / "o.pth",
        earlier_state(mae(), "encoder."),
        flat_config("mae", dim_feedforward=256),
    )
    import_checkpoint(old, tmp_path / "n.pth", "encoder")
    model = {"encoder_dim": 64, "num_fusion_layers": 1, "outer_fine_pool": (2, 2)}
    tree = {
        "normalization": NORMALIZATION.model_dump(),
        "model": {**model, "layout": "legacy"},
        "tasks": {"energy": {"enabled": True}},
    }
    run = RegressorRun.model_validate(tree)
    pretrained = read_encoder(tmp_path / "n.pth")
    started = encoder()
    load_encoder(started, pretrained, run)
    assert torch.equal(started.pos_embed, mae().encoder.pos_embed)
    other = RegressorRun.model_validate({**tree, "model": model})
    with pytest.raises(CheckpointError, match="layout is legacy in the file, physical in the run"):
        load_encoder(started, pretrained, other)


def test_an_encoder_is_cut_out_of_a_mae(tmp_path: Path):
    state = earlier_state(mae(), "encoder.")
    ema = averaged({k: v + 1 if v.is_floating_point() else v for k, v in state.items()})
    old = write_earlier(tmp_path / "o.pth", state, flat_config("mae"), ema)
    made = import_checkpoint(old, tmp_path / "n.pth", "encoder")
    assert torch.equal(made.model_state_dict["pos_embed"], state["encoder.pos_embed"] + 1)
    assert made.config["model"]["outer_fine_pool"] == (2, 2)
    assert made.normalization == NORMALIZATION.model_dump()
    assert not any(name.startswith("dec_") for name in made.model_state_dict)
    options = ImportOptions(config=YAML / "mae.yaml")
    torch.save(earlier_state(encoder(), ""), tmp_path / "bare.pth")
    known = import_checkpoint(tmp_path / "bare.pth", tmp_path / "n.pth", "encoder", options)
    assert known.normalization["npho_threshold"] == 10
    assert known.config["model"]["outer_fine_pool"] is None


def test_the_tables_tell_the_layout(tmp_path: Path):
    state = earlier_state(encoder(PHYSICAL), "", PHYSICAL)
    order = torch.randperm(state["hex_edge_index"].shape[1])
    state["hex_edge_index"] = state["hex_edge_index"][:, order]
    torch.save(state, tmp_path / "o.pth")
    assert import_checkpoint(tmp_path / "o.pth", tmp_path / "n.pth", "encoder").layout == "physical"


def broken(name: str) -> dict[str, torch.Tensor]:
    state = earlier_state(regressor(), "backbone.")
    edges = "backbone.hex_edge_index"
    if name == "other edges":
        state[edges] = state[edges].clone()
        state[edges][1, 5] = 40
    elif name == "other ids":
        state["backbone.top_hex_indices"] = torch.arange(73)
    elif name == "unknown table":
        state["backbone.outer_idx"] = torch.arange(5)
    elif name == "no edges":
        del state[edges]
    elif name == "no positions":
        del state["backbone.pos_embed"]
    elif name == "missing":
        del state["backbone.backbone.stage1.0.grn.beta"]
    else:
        state["heads.energy.6.weight"] = torch.zeros(5, 16)
    return state


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("other edges", "of no known layout: not legacy because of backbone.hex_edge_index"),
        ("other ids", "not legacy because of backbone.top_hex_indices; not physical because of"),
        ("unknown table", "not legacy because of backbone.outer_idx"),
        (
            "no edges",
            r"holds no table of hexagonal neighbours .*; index tables: backbone\.bottom",
        ),
        ("no positions", "not the network of the earlier system: 'pos_embed'"),
        ("missing", r"1 missing \['backbone.backbone.stage1.0.grn.beta'\]"),
        ("other shape", r"heads.energy.6.weight: \(5, 16\) in the file, \(2, 16\) in the model"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, name: str, message: str):
    old = write_earlier(tmp_path / "old.pth", broken(name), ACTIVE)
    with pytest.raises(CheckpointError, match=message) as caught:
        import_checkpoint(old, tmp_path / "new.pth", "regressor")
    assert str(caught.value).startswith(f"{old}: ")
    assert not (tmp_path / "new.pth").exists()


def test_a_wrong_kind_says_the_right_one(tmp_path: Path, old_file: Path):
    new = tmp_path / "new.pth"
    with pytest.raises(CheckpointError, match=r"holds a regressor .* expected mae; import it with"):
        import_checkpoint(old_file, new, "mae")
    with pytest.raises(CheckpointError, match="holds a regressor checkpoint, expected encoder"):
        import_checkpoint(old_file, new, "encoder")
    import_checkpoint(old_file, new, "regressor")
    with pytest.raises(CheckpointError, match="already a checkpoint of this program, of kind 'reg"):
        import_checkpoint(new, tmp_path / "newer.pth", "regressor")
    state = earlier_state(mae(), "encoder.")
    old = write_earlier(tmp_path / "mae.pth", state, flat_config("mae"))
    with pytest.raises(CheckpointError, match=r"holds a mae checkpoint.*; import it with --kind"):
        import_checkpoint(old, new, "regressor")
    with pytest.raises(CheckpointError, match=r"nowhere\.pth: no such checkpoint"):
        import_checkpoint(tmp_path / "nowhere.pth", new, "mae")


@pytest.mark.parametrize(
    ("flat", "options", "message"),
    [
        (None, ImportOptions(), "does not say which of its heads .* were trained; give --config"),
        ({"active_tasks": ["energy"]}, ImportOptions(), "lacks npho_scheme, .* give --config"),
        (ACTIVE | {"active_tasks": ["n_gamma"]}, ImportOptions(), "for any known target; trained:"),
        (
            ACTIVE | {"active_tasks": ["energy"]},
            ImportOptions(tasks=("energy", "angle")),
            "no trained head for angle; trained: energy",
        ),
        (ACTIVE | {"npho_scheme": "cube"}, ImportOptions(), "configuration cannot be used"),
    ],
)
def test_what_a_file_must_say(tmp_path: Path, flat, options: ImportOptions, message: str):
    old = write_earlier(tmp_path / "old.pth", earlier_state(regressor(), "backbone."), flat)
    with pytest.raises((CheckpointError, ConfigError), match=message) as caught:
        import_checkpoint(old, tmp_path / "new.pth", "regressor", options)
    assert str(caught.value).startswith(f"{old}: ")


def test_code_in_a_file_is_not_run(tmp_path: Path):
    torch.save({"model_state_dict": {}, "config": Path("x")}, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match="not a checkpoint of tensors and plain values"):
        import_checkpoint(tmp_path / "old.pth", tmp_path / "new.pth", "regressor")


def test_the_command_converts(
    tmp_path: Path,
    old_file: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    out = tmp_path / "new" / "checkpoint_best.pth"
    arguments = ["import-checkpoint", str(old_file), "--kind", "regressor", "--out", str(out)]
    with caplog.at_level(logging.INFO):
        assert main([*arguments, "--tasks", "energy", "uvwFI", "--time-unit", "ns"]) == 0
    assert "regressor of" in capsys.readouterr().out
    assert "heads left behind: angle, angleVec, n_gamma, timing" in caplog.text
    assert "it was MLflow run 0a1b2c" in caplog.text
    assert load_regressor_for_inference(out).run.tasks.active == ("energy", "uvwFI")
    assert main([*arguments]) == 0
    events = np.ones((2, 4760), dtype="f4")
    with pytest.raises(CheckpointError, match="tells the time without reference to time_min_used"):
        export_onnx(out, tmp_path / "model.onnx", events, events)
    bad = tmp_path / "bad.yaml"
    bad.write_text(yaml.safe_dump({"trainng": {}}))
    assert main([*arguments, "--config", str(bad)]) == 2
    assert "unknown key 'trainng'" in capsys.readouterr().err
