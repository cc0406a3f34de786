"""The objective of the inpainter, against loops over events and sensors."""

from typing import Any

import pytest
import torch

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.detector.faces import face_of_sensor
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.inpainter_losses import InpainterLoss
from xec_pipeline.training.masked_losses import SensorTruth, sensor_truth
from xec_pipeline.training.masked_metrics import MaskedSums

N = 4760
BETA = 0.1
FACE = torch.from_numpy(face_of_sensor().copy())


def run_with(**training: Any) -> InpainterRun:
    return InpainterRun.model_validate(
        {
            "normalization": {"npho_scheme": "sqrt", "npho_scale": 20000.0, "time_scale": 1e-8},
            "model": {"predict_channels": ("npho", "time")},
            "training": {"loss_beta": BETA, **training},
        }
    )


def events(run: InpainterRun, n: int = 3) -> tuple[SensorTruth, torch.Tensor, torch.Tensor]:
    """Return truth, hidden sensors and predictions of events with dead and untimed sensors."""
    generator = torch.Generator().manual_seed(0)
    npho = 2000 * torch.rand(n, N, generator=generator) ** 4
    npho[:, 50:60] = float("nan")
    time_ns = 20 * torch.rand(n, N, generator=generator)
    x = InputNormalizer(run.normalization).from_ns(npho, time_ns)
    truth = sensor_truth(x, npho, run.normalization, run.time_threshold)
    # Another number of hidden sensors in each event, and none on the upstream face.
    ratio = torch.linspace(0.05, 0.2, n)[:, None]
    hidden = (torch.rand(n, N, generator=generator) < ratio) & truth.alive & (FACE != 1)
    prediction = truth.x + 0.2 * torch.randn((n, N, 2), generator=generator)
    return truth, hidden, prediction


def smooth_l1(d: float) -> float:
    return 0.5 * d * d / BETA if abs(d) < BETA else abs(d) - BETA / 2


@pytest.mark.parametrize("alpha", [0.0, 0.5])
def test_the_loss_is_the_mean_over_the_hidden_sensors_of_an_event(alpha: float):
    run = run_with(
        npho_loss_weight={"enabled": alpha > 0, "alpha": alpha},
        npho_weight=2.0,
        time={"weight": 0.5, "use_npho_weight": alpha > 0},
    )
    truth, hidden, prediction = events(run)
    losses = InpainterLoss(run).feature_losses(prediction, truth, hidden)
    found = InpainterLoss(run).event_losses(losses)
    for event in range(3):
        sums = {"npho": [0.0, 0.0], "time": [0.0, 0.0]}
        for sensor in hidden[event].nonzero().flatten().tolist():
            light = float(truth.npho[event, sensor])
            error = (prediction - truth.x)[event, sensor].tolist()
            parts = {"npho": (error[0], (max(light, 1) + 1) ** alpha)}
            if truth.timed[event, sensor]:
                parts["time"] = (error[1], max(light, 100.0) ** alpha)
            for name, (d, weight) in parts.items():
                sums[name][0] += weight * smooth_l1(d)
                sums[name][1] += weight
        means = {name: total / norm for name, (total, norm) in sums.items()}
        for name, mean in means.items():
            assert float(losses[name].event[event]) == pytest.approx(mean, rel=2e-4)
        expected = 2.0 * means["npho"] + 0.5 * means["time"]
        assert float(found[event]) == pytest.approx(expected, rel=2e-4)


def test_a_large_face_counts_by_its_sensors():
    run = run_with()
    truth, hidden, _ = events(run)
    prediction = truth.x.clone()
    prediction[..., 0] += torch.where(FACE == 0, 1.0, 0.0)
    losses = InpainterLoss(run).feature_losses(prediction, truth, hidden)
    inner = (hidden & (FACE == 0)).sum(dim=1) / hidden.sum(dim=1)
    torch.testing.assert_close(losses["npho"].event, inner * (1 - BETA / 2))


def test_events_without_usable_times_have_no_time_loss_but_count():
    run = run_with(time={"npho_threshold": 1e6})
    truth, hidden, prediction = events(run)
    prediction.requires_grad_()
    losses = InpainterLoss(run).feature_losses(prediction, truth, hidden)
    total = InpainterLoss(run).event_losses(losses)
    torch.testing.assert_close(total, losses["npho"].event)
    total.sum().backward()
    assert prediction.grad is not None
    assert torch.isfinite(prediction.grad).all()
    assert torch.equal(prediction.grad[..., 0] != 0, hidden)


def test_metrics_of_faces_are_means_over_the_events_that_have_them():
    run = run_with()
    loss = InpainterLoss(run)
    truth, hidden, prediction = events(run)
    hidden[0] &= FACE == 0
    losses = loss.feature_losses(prediction, truth, hidden)
    sums = MaskedSums(loss.features, torch.device("cpu"))
    sums.add(loss.event_losses(losses), torch.ones(3), losses, truth, hidden)
    totals = sums.over_ranks(DistContext())
    metrics = totals.losses("val/") | totals.face_losses("val/", of_all_events=False)
    assert "val/loss_us_npho" not in metrics
    outer = losses["npho"].faces[1:, 3].mean()
    assert metrics["val/loss_outer_npho"] == pytest.approx(float(outer))
    inner = losses["npho"].faces[:, 0].mean()
    assert metrics["val/loss_inner_npho"] == pytest.approx(float(inner))
    assert metrics["val/npho_loss"] == pytest.approx(float(losses["npho"].event.mean()))
    assert metrics["val/n_masked_total"] == int(hidden.sum())
