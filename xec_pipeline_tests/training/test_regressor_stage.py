from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.reweighting import ReweightingConfig
from xec_pipeline.data.reweighting import event_weights
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.data.shards import build_shards, open_shards
from xec_pipeline.errors import DataError
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline_tests.training.tiny import Fitted, fit, tiny_run


def stage_of(run, shards: ShardSet) -> RegressorStage:
    return RegressorStage(run, DistContext(), shards, shards)


def shards_of(folder: Path, events: dict[str, Any]) -> ShardSet:
    write_tree(folder / "MC_1.root", "tree", events)
    build_shards([folder / "MC_1.root"], folder / "s", DataConfig(), jobs=1, progress=False)
    return open_shards(folder / "s")


@pytest.fixture
def half_labelled(tmp_path: Path, event_factory: Callable[..., Any]) -> ShardSet:
    """Return 12 events of which the first six have no energy, and one no truth at all."""
    events = event_factory(12, seed=3)
    events["energyTruth"][:6] = 1e10
    for name in ("uvwTruth", "emiAng", "timeTruth"):
        events[name][0] = 1e10
    return shards_of(tmp_path, events)


def test_targets_have_mean_0_and_width_1(tiny_shards: ShardSet, tmp_path: Path):
    stage = stage_of(tiny_run(tmp_path), tiny_shards)
    for task, values in stage._train.chosen_targets().items():
        standard = stage.scaling.standardize(task, torch.from_numpy(values)).numpy()
        assert standard.mean(axis=0) == pytest.approx(0, abs=1e-5)
        assert standard.std(axis=0) == pytest.approx(1, abs=1e-5)


def test_time_is_learned_relative_and_stored_absolute(tiny_shards: ShardSet, trained: Fitted):
    learned = trained.stage._train.targets["timing"][:, 0]
    table = trained.tables[1]
    offset_ns = np.asarray(tiny_shards.columns["time_min_used"], dtype=np.float64) * 1e9
    assert table["true_timing"] == pytest.approx(learned + offset_ns, abs=1e-5)
    # The toy's times spread over 20 ns, but relative to the first sensor only by a fraction.
    assert table["true_timing"].std() > 3 > 3 * learned.std()
    assert np.abs(table["pred_timing"] - table["true_timing"]).max() < 5


def test_validation_takes_the_likelihood_as_it_is(tiny_shards: ShardSet, tmp_path: Path):
    found, trained_with = [], []
    for beta in (0.0, 0.9):
        nll = {"enabled": True, "loss_fn": "gaussian_nll", "loss_beta": beta}
        stage = stage_of(tiny_run(tmp_path, tasks={"energy": nll}), tiny_shards)
        stage.model.eval()
        found.append(stage.validate(stage.model).metrics["val/loss_energy"])
        losses = stage.event_losses(stage.model, next(stage.batches(1, 0)))
        trained_with.append(float(losses.detach().sum()))
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert trained_with[0] != pytest.approx(trained_with[1], rel=1e-6)


def test_events_without_a_target_contribute_nothing_to_its_task(
    half_labelled: ShardSet, tmp_path: Path
):
    stage = stage_of(tiny_run(tmp_path / "run"), half_labelled)
    assert stage.n_events == 11
    batch = next(stage.batches(1, 0))
    inputs = stage._normalizer.from_ns(batch.npho_BS, batch.time_ns_BS)
    losses = stage._task_losses(stage.model(inputs), batch, stage._run.tasks)
    assert (losses["energy"] == 0).tolist() == (batch.index_B < 6).tolist()
    assert (losses["uvwFI"] > 0).all()
    stage.event_losses(stage.model, batch).sum().backward()
    gradients = [weight.grad for weight in stage.model.parameters() if weight.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_objective_is_the_mean_over_labelled_events_of_each_task(
    half_labelled: ShardSet, tmp_path: Path
):
    run = tiny_run(tmp_path / "run", tasks={"energy": {"enabled": True, "weight": 3.0}})
    stage = stage_of(run, half_labelled)
    with torch.no_grad():
        losses = [stage.event_losses(stage.model, batch) for batch in stage.batches(1, 0)]
    validation = stage.validate(stage.model)
    assert float(torch.cat(losses).mean()) == pytest.approx(validation.loss, rel=1e-5)
    parts = {task: validation.metrics[f"val/loss_{task}"] for task in run.tasks.active}
    assert validation.loss == pytest.approx(sum(parts.values()) + 2 * parts["energy"])


def test_tasks_without_any_truth_are_named_with_their_branches(
    tmp_path: Path, event_factory: Callable[..., Any]
):
    events = event_factory(6, seed=3)
    for name in ("energyTruth", "emiAng"):
        events[name][:] = 1e10
    shards = shards_of(tmp_path, events)
    expected = r"no truth for angle, energy in any of 6 events \(angle needs emiAng; energy needs"
    with pytest.raises(DataError, match=expected):
        stage_of(tiny_run(tmp_path / "run"), shards)


def test_fiducial_cut_selects_training_and_validation_events(tiny_shards: ShardSet, tmp_path: Path):
    cut = {"enabled": True, "u_max": 10.0, "w_max": 20.0}
    stage = stage_of(tiny_run(tmp_path, data={"fiducial": cut}), tiny_shards)
    u, _, w = np.asarray(tiny_shards.columns["uvwTruth"]).T
    expected = int(((np.abs(u) < 10) & (w <= 20)).sum())
    assert stage.n_events == expected
    table = stage.validate(stage.model).table
    assert table is not None
    assert len(table["run"]) == expected
    nowhere = {"enabled": True, "w_min": 500.0}
    with pytest.raises(DataError, match="no event is inside the fiducial cut"):
        stage_of(tiny_run(tmp_path, data={"fiducial": nowhere}), tiny_shards)


def test_predicted_uncertainties_reach_the_table(tiny_shards: ShardSet, tmp_path: Path):
    nll = {"enabled": True, "loss_fn": "gaussian_nll", "loss_beta": 0.5}
    run = tiny_run(tmp_path, tasks={"energy": nll, "uvwFI": nll}, training={"epochs": 1})
    fitted = fit(run, tiny_shards)
    table = fitted.tables[1]
    assert {"pred_sigma_energy", "pred_sigma_u", "pred_sigma_w"} <= table.keys()
    assert (table["pred_sigma_energy"] > 0).all()
    assert "energy_calibration_ratio" in fitted.curve.epochs[1]


def test_sensors_are_dropped_in_training_only(tiny_shards: ShardSet, tmp_path: Path):
    run = tiny_run(tmp_path, training={"channel_dropout_rate": 0.25})
    stage = stage_of(run, tiny_shards)
    batch = next(stage.batches(1, 0))
    dropped = torch.isnan(stage._with_dropout(batch.npho_BS)).float().mean()
    assert float(dropped) == pytest.approx(0.25, abs=0.02)
    first, second = stage.validate(stage.model), stage.validate(stage.model)
    assert first.loss == second.loss


def test_training_lowers_the_loss_and_every_epoch_is_measured(trained: Fitted):
    losses = [metrics["train/loss"] for metrics in trained.curve.epochs.values()]
    assert losses[2] < losses[1] < losses[0]
    expected = {"theta_bias", "theta_rms", "theta_skew", "val_resolution_deg", "val/loss", "lr"}
    expected |= {"system/ram_used_gb", "system/epoch_duration_sec", "system/avg_data_load_sec"}
    expected |= {"system/throughput_events_per_sec", "system/compute_efficiency"}
    for metrics in trained.curve.epochs.values():
        assert metrics.keys() >= expected
        assert ("system/memory_peak_GB" in metrics) == torch.cuda.is_available()


def test_the_same_seed_gives_the_same_training(tiny_shards: ShardSet, tmp_path: Path):
    dropout = {"dropout": 0.1, "head_dropout": 0.2}
    losses = [
        fit(
            tiny_run(tmp_path / str(i), training={"epochs": 1, "seed": seed}, model=dropout),
            tiny_shards,
        ).curve.epochs[1]["train/loss"]
        for i, seed in enumerate((5, 5, 6))
    ]
    assert losses[0] == losses[1] != losses[2]


def test_weights_of_events_act_in_training_only(tiny_shards: ShardSet, tmp_path: Path):
    run = tiny_run(
        tmp_path,
        reweighting={"energy": {"enabled": True, "nbins": 12}, "max_weight": 2.0},
        data={"fiducial": {"enabled": True, "u_max": 15.0}},
    )
    stage = stage_of(run, tiny_shards)
    plain = stage_of(run.model_copy(update={"reweighting": ReweightingConfig()}), tiny_shards)
    chosen = stage._train.chosen_targets()
    assert len(chosen["energy"]) < tiny_shards.n_events
    weights = event_weights(chosen, run.reweighting)
    assert weights is not None
    assert weights.mean() == pytest.approx(1)
    assert 1.2 < weights.max() <= 2
    by_event = dict(zip(stage._train.chosen.tolist(), weights, strict=True))
    seen = 0
    with torch.no_grad():
        for weighted, other in zip(stage.batches(1, 0), plain.batches(1, 0), strict=True):
            expected = [by_event[event] for event in weighted.index_B.tolist()]
            ratio = stage.event_losses(stage.model, weighted) / plain.event_losses(
                plain.model, other
            )
            assert ratio.numpy() == pytest.approx(expected, rel=1e-4)
            seen += len(expected)
    assert seen == len(weights)
    assert stage.validate(stage.model).loss == plain.validate(plain.model).loss


def test_weights_from_a_target_without_truth_are_refused(
    tmp_path: Path, event_factory: Callable[..., Any]
):
    events = event_factory(6, seed=3)
    events["energyTruth"][:] = 1e10
    run = tiny_run(
        tmp_path / "run",
        tasks={"energy": {"enabled": False}},
        reweighting={"energy": {"enabled": True}},
    )
    with pytest.raises(DataError, match=r"reweighting\.energy\.enabled needs the truth of energy"):
        stage_of(run, shards_of(tmp_path, events))


def test_a_logarithm_is_learned_and_predictions_are_physical(tiny_shards: ShardSet, tmp_path: Path):
    logarithmic = {"enabled": True, "log_transform": True}
    run = tiny_run(tmp_path, tasks={"energy": logarithmic}, training={"epochs": 1})
    fitted = fit(run, tiny_shards)
    energy = torch.from_numpy(fitted.stage._train.chosen_targets()["energy"])
    standard = fitted.stage.scaling.standardize("energy", energy)
    logarithm = torch.log(energy)
    expected = (logarithm - logarithm.mean()) / logarithm.std(correction=0)
    assert standard.numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    table = fitted.tables[1]
    assert table["true_energy"] == pytest.approx(energy[:, 0].numpy(), rel=1e-6)
    assert 0.3 * table["true_energy"].min() < table["pred_energy"].min()
    assert table["pred_energy"].max() < 3 * table["true_energy"].max()


def test_a_logarithm_of_negative_values_names_the_option(tiny_shards: ShardSet, tmp_path: Path):
    logarithmic = {"enabled": True, "log_transform": True}
    run = tiny_run(tmp_path, tasks={"uvwFI": logarithmic})
    with pytest.raises(DataError, match=r"tasks\.uvwFI\.log_transform needs positive values.* cm"):
        stage_of(run, tiny_shards)
