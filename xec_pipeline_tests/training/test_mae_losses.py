"""The objective of the masked autoencoder, against loops over events, faces and sensors."""

from typing import Any

import numpy as np
import pytest
import torch

from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.masked import IntensityReweighting
from xec_pipeline.detector.faces import Face, sensors_of_face
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.intensity import IntensityWeights, log_light
from xec_pipeline.training.mae_losses import MaeLoss
from xec_pipeline.training.masked_losses import (
    FACES,
    SensorTruth,
    face_sums,
    quotient,
    sensor_truth,
)
from xec_pipeline.training.masked_metrics import MaskedSums

N = 4760
BETA = 0.1


def run_with(*, features=("npho", "time"), **training: Any) -> MaeRun:
    return MaeRun.model_validate(
        {
            "normalization": {"npho_scheme": "sqrt", "npho_scale": 20000.0, "time_scale": 1e-8},
            "model": {"predict_channels": features},
            "training": {"loss_beta": BETA, **training},
        }
    )


def truth_of(run: MaeRun, n: int = 3, seed: int = 0) -> SensorTruth:
    """Return events in which some sensors are dead, and many have no time."""
    generator = torch.Generator().manual_seed(seed)
    npho = 2000 * torch.rand(n, N, generator=generator) ** 4
    npho[:, 50:60] = float("nan")
    time_ns = 20 * torch.rand(n, N, generator=generator)
    time_ns[:, 60:90] = float("nan")
    x = InputNormalizer(run.normalization).from_ns(npho, time_ns)
    return sensor_truth(x, npho, run.normalization, run.time_threshold)


def hidden_of(truth: SensorTruth) -> torch.Tensor:
    noise = torch.rand(truth.alive.shape, generator=torch.Generator().manual_seed(5))
    return (noise < 0.6) & truth.alive


def prediction_of(truth: SensorTruth, n_features: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(9)
    noise = torch.randn((*truth.alive.shape, n_features), generator=generator)
    return truth.x[..., :n_features] + 0.2 * noise


def smooth_l1(d: float) -> float:
    return 0.5 * d * d / BETA if abs(d) < BETA else abs(d) - BETA / 2


def by_hand(prediction, truth: SensorTruth, hidden, plane: int, weight) -> np.ndarray:
    """Return the mean losses (B, 6) by loops."""
    usable = truth.alive if plane == 0 else truth.timed
    found = np.zeros((len(hidden), len(Face)))
    for event in range(len(hidden)):
        for face in Face:
            total = norm = 0.0
            for sensor in sensors_of_face(face):
                if hidden[event, sensor] and usable[event, sensor]:
                    d = float(prediction[event, sensor, plane] - truth.x[event, sensor, plane])
                    w = weight(float(truth.npho[event, sensor]))
                    total += w * smooth_l1(d)
                    norm += w
            found[event, face] = total / norm if norm else 0.0
    return found


@pytest.mark.parametrize("weighted", [False, True])
def test_losses_are_means_over_hidden_sensors_of_each_face(weighted):
    run = run_with(
        npho_loss_weight={"enabled": weighted, "alpha": 0.5}, time={"use_npho_weight": weighted}
    )
    truth = truth_of(run, n=2)
    hidden = hidden_of(truth)
    prediction = prediction_of(truth, 2)
    found = MaeLoss(run).feature_losses(prediction, truth, hidden)
    expected = {
        "npho": by_hand(
            prediction, truth, hidden, 0, lambda n: (max(n, 1) + 1) ** 0.5 if weighted else 1.0
        ),
        "time": by_hand(
            prediction, truth, hidden, 1, lambda n: max(n, 100.0) ** 0.5 if weighted else 1.0
        ),
    }
    for feature, loss in found.items():
        assert loss.faces.numpy() == pytest.approx(expected[feature], rel=2e-4, abs=1e-6)
    total = MaeLoss(run).event_losses(found)
    sums = expected["npho"].sum(axis=1) + expected["time"].sum(axis=1)
    assert total.numpy() == pytest.approx(sums, rel=1e-4)


def test_an_unusable_time_never_hides_a_good_npho():
    run = run_with()
    truth = truth_of(run)
    dim = truth.alive & ~truth.timed
    assert float(dim.float().mean()) > 0.3
    hidden = dim.clone()
    losses = MaeLoss(run).feature_losses(prediction_of(truth, 2), truth, hidden)
    assert torch.equal(losses["npho"].used, dim)
    assert not losses["time"].used.any()
    assert (losses["time"].faces == 0).all()
    assert (losses["npho"].faces > 0).all()


def test_only_hidden_usable_sensors_matter():
    run = run_with()
    truth = truth_of(run)
    hidden = hidden_of(truth)
    prediction = prediction_of(truth, 2).requires_grad_()
    losses = MaeLoss(run).feature_losses(prediction, truth, hidden)
    MaeLoss(run).event_losses(losses).sum().backward()
    assert prediction.grad is not None
    assert torch.equal(prediction.grad[..., 0] != 0, hidden)
    assert torch.equal(prediction.grad[..., 1] != 0, hidden & truth.timed)
    assert torch.isfinite(prediction.grad).all()


def test_time_threshold_is_the_normalizations_unless_given():
    strict = run_with(time={"npho_threshold": 500.0})
    assert run_with().time_threshold == 100.0
    found = truth_of(strict)
    assert torch.equal(found.timed, truth_of(run_with()).timed & (found.npho >= 500))
    lax = run_with(time={"npho_threshold": 1.0})
    # A time that the input does not hold cannot be learnt.
    assert torch.equal(truth_of(lax).timed, truth_of(run_with()).timed)


def test_face_sums_count_every_sensor_once():
    sums = face_sums(torch.ones(2, N))
    assert sums[0].tolist() == [len(sensors_of_face(face)) for face in Face]
    values = torch.rand(1, N)
    for face in Face:
        ids = torch.from_numpy(sensors_of_face(face).copy())
        torch.testing.assert_close(face_sums(values)[0, face], values[0, ids].sum())
    assert (quotient(face_sums(values), torch.zeros(1, 6)) == 0).all()


def test_given_weights_of_features():
    run = run_with(npho_weight=2.0, time={"weight": 0.5})
    truth = truth_of(run)
    loss = MaeLoss(run)
    losses = loss.feature_losses(prediction_of(truth, 2), truth, hidden_of(truth))
    parts = [losses[name].faces.sum(dim=1) for name in ("npho", "time")]
    torch.testing.assert_close(loss.event_losses(losses), 2 * parts[0] + 0.5 * parts[1])


@pytest.mark.parametrize("features", [("npho", "time"), ("npho",)], ids=str)
def test_learned_variances_settle_at_the_mean_loss_of_a_face(features):
    run = run_with(features=features, auto_channel_weight=True)
    truth = truth_of(run)
    loss = MaeLoss(run)
    losses = loss.feature_losses(prediction_of(truth, len(features)), truth, hidden_of(truth))
    means = torch.stack([losses[name].faces.mean() for name in features])
    s = means.log().requires_grad_()
    total = loss.balanced_event_losses(losses, s)
    expected = 0.5 * len(FACES) * (len(features) + means.log().sum())
    assert float(total.detach().mean()) == pytest.approx(float(expected), rel=1e-5)
    (gradient,) = torch.autograd.grad(total.mean(), s)
    assert gradient.abs().max() < 1e-5


@pytest.mark.parametrize(
    "name", ["smooth_l1", "huber", "l1", "mse", "l2", "relative_l1", "relative_mse"]
)
def test_every_loss_of_the_configuration_exists(name):
    run = run_with(loss_fn=name)
    truth = truth_of(run)
    loss = MaeLoss(run)
    losses = loss.feature_losses(prediction_of(truth, 2), truth, hidden_of(truth))
    assert torch.isfinite(loss.event_losses(losses)).all()


def test_brighter_sensors_count_more_when_asked_to():
    plain, weighted = run_with(), run_with(npho_loss_weight={"enabled": True, "alpha": 1.0})
    truth = truth_of(plain)
    prediction = truth.x.clone()
    # Wrong only where there is much light.
    prediction[..., 0] += torch.where(truth.npho > 500, 0.5, 0.0)
    values = [
        MaeLoss(run).feature_losses(prediction, truth, hidden_of(truth))["npho"].faces
        for run in (plain, weighted)
    ]
    assert (values[1] > 2 * values[0]).all()


def test_metrics_are_sums_over_events_and_sensors():
    run = run_with()
    loss = MaeLoss(run)
    sums = MaskedSums(loss.features, torch.device("cpu"))
    errors, hidden_count, alive_count, totals = [], 0, 0, []
    for n, seed in ((3, 1), (1, 2)):
        truth = truth_of(run, n=n, seed=seed)
        hidden = hidden_of(truth)
        losses = loss.feature_losses(prediction_of(truth, 2), truth, hidden)
        weight = torch.full((n,), 2.0)
        event_loss = weight * loss.event_losses(losses)
        sums.add(event_loss, weight, losses, truth, hidden)
        errors.append(losses["time"].error[losses["time"].used])
        hidden_count += int(hidden.sum())
        alive_count += int(truth.alive.sum())
        totals.append(event_loss)
    found = sums.over_ranks(DistContext())
    assert found.n_events == 4
    metrics = (
        found.losses("val/") | found.face_losses("val/", of_all_events=True) | found.errors("val/")
    )
    mean = float(torch.cat(totals).mean())
    assert metrics["val/total_loss"] == pytest.approx(mean)
    assert metrics["val/npho_loss"] + metrics["val/time_loss"] == pytest.approx(mean)
    for feature in ("npho", "time"):
        assert metrics[f"val/loss_{feature}"] == metrics[f"val/{feature}_loss"]
        faces = sum(metrics[f"val/loss_{face}_{feature}"] for face in FACES)
        assert faces == pytest.approx(metrics[f"val/{feature}_loss"])
    error = torch.cat(errors).double()
    assert metrics["val/mae_time"] == pytest.approx(float(error.abs().mean()))
    assert metrics["val/rmse_time"] == pytest.approx(float(error.square().mean().sqrt()))
    assert metrics["val/actual_mask_ratio"] == pytest.approx(hidden_count / alive_count)
    assert metrics["val/n_masked_total"] == hidden_count


def test_errors_of_times_are_left_out_where_there_are_none():
    run = run_with(time={"npho_threshold": 1e6})
    truth = truth_of(run)
    hidden = hidden_of(truth)
    loss = MaeLoss(run)
    losses = loss.feature_losses(prediction_of(truth, 2), truth, hidden)
    sums = MaskedSums(loss.features, torch.device("cpu"))
    sums.add(loss.event_losses(losses), torch.ones(3), losses, truth, hidden)
    assert set(sums.over_ranks(DistContext()).errors("val/")) == {"val/mae_npho", "val/rmse_npho"}


@pytest.mark.parametrize(("target", "power"), [("uniform", 0.0), ("sqrt", 0.5)])
def test_intensity_weights_flatten_what_they_say(target, power):
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.uniform(0, 1, 900), rng.uniform(1, 2, 90), [0.0, 2.0]])
    config = IntensityReweighting(enabled=True, nbins=2, target=target, max_weight=50.0)
    weights = IntensityWeights.fit(values, config)
    counts = np.array([(values < 1).sum(), (values >= 1).sum()])
    populations = counts * weights.weights
    assert populations[1] / populations[0] == pytest.approx((counts[1] / counts[0]) ** power)
    assert (counts * weights.weights).sum() == pytest.approx(len(values))


def test_intensity_weights_find_events_in_the_bins_they_were_counted_in():
    npho = 100 * torch.rand(50, N, generator=torch.Generator().manual_seed(1)) ** 3
    npho *= torch.logspace(-1, 2, 50)[:, None]
    npho[:, :20] = float("nan")
    npho[:, 20:40] = 1e10
    npho[:, 40:60] = -3.0
    config = IntensityReweighting(enabled=True, nbins=4)
    weights_of = IntensityWeights.fit(log_light(npho).numpy(), config)
    weights = weights_of(npho)
    assert float(weights.mean()) == pytest.approx(1.0, rel=1e-6)
    assert len(set(weights.tolist())) > 1
    # Far beyond the bins, and without any light, the outermost ones hold.
    assert float(weights_of(1e6 * npho[-1:])) == float(weights[-1])
    assert float(weights_of(torch.zeros(1, N))) == float(weights[0])


def test_intensity_weights_respect_the_cap():
    values = np.concatenate([np.zeros(999), [1.0]])
    config = IntensityReweighting(enabled=True, nbins=2, max_weight=3.0)
    weights = IntensityWeights.fit(values, config).weights
    assert weights.max() == pytest.approx(3.0)
    assert 999 * weights[0] + weights[1] == pytest.approx(1000)
