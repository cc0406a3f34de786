import math

import pytest
import torch

from xec_pipeline.config.training import TrainingConfig
from xec_pipeline.training.schedule import Schedule

COSINE = [
    *(1e-5, 3.4e-4, 6.7e-4, 1e-3, 9.91e-4, 9.66e-4, 9.25e-4, 8.70e-4, 8.02e-4, 7.23e-4),
    *(6.37e-4, 5.47e-4, 4.54e-4, 3.64e-4, 2.78e-4, 1.99e-4, 1.31e-4, 7.58e-5, 3.47e-5, 9.5e-6),
]
RESTARTS = [
    *(1e-5, 3.4e-4, 6.7e-4, 1e-3, 9.05e-4, 6.55e-4, 3.46e-4, 9.64e-5, 1e-3, 9.76e-4),
    *(9.05e-4, 7.94e-4, 6.55e-4, 5.01e-4, 3.46e-4, 2.07e-4, 9.64e-5, 2.54e-5, 1e-3, 9.94e-4),
]
ONECYCLE = [
    *(4e-5, 1.32e-4, 3.72e-4, 6.68e-4, 9.08e-4, 1e-3, 9.87e-4, 9.50e-4, 8.91e-4, 8.12e-4),
    *(7.17e-4, 6.11e-4, 5.0e-4, 3.89e-4, 2.83e-4, 1.88e-4, 1.09e-4, 4.95e-5, 1.25e-5, 4e-9),
]
"""Learning rate of each of 20 epochs: lr 1e-3, lr_min 1e-6, 3 epochs of warm-up."""


def config(**options) -> TrainingConfig:
    return TrainingConfig(
        **{"epochs": 20, "lr": 1e-3, "lr_min": 1e-6, "warmup_epochs": 3, **options}
    )


def rates(schedule: Schedule, n_epochs: int = 20) -> list[float]:
    return [schedule.lr(epoch) for epoch in range(n_epochs)]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("options", "published"),
    [
        ({"lr_scheduler": "cosine"}, COSINE),
        (
            {
                "lr_scheduler": "cosine_restarts",
                "lr_restart_period": 5,
                "lr_restart_mult": 2,
            },
            RESTARTS,
        ),
        ({"lr_scheduler": "onecycle", "max_lr": 1e-3, "lr": 5e-5}, ONECYCLE),
    ],
    ids=["cosine", "cosine_restarts", "onecycle"],
)
def test_rates_at_epoch_starts_are_the_published_sequences(options, published):
    assert rates(Schedule(config(**options))) == pytest.approx(published, rel=6e-3)


def optimizer(lr: float = 1e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=lr)


def stepped(optim: torch.optim.Optimizer, scheduler, losses=None) -> list[float]:
    """Return the rate of each of 20 epochs with a scheduler of torch."""
    found = []
    for epoch in range(20):
        found.append(optim.param_groups[0]["lr"])
        optim.step()
        scheduler.step(losses[epoch]) if losses is not None else scheduler.step()
    return found


def test_onecycle_is_torchs_and_peaks_at_lr_if_no_peak_is_given():
    optim = optimizer()
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optim, max_lr=1e-3, total_steps=20, pct_start=0.3, cycle_momentum=False
    )
    schedule = Schedule(config(lr_scheduler="onecycle"))
    found = rates(schedule)
    expected = [optim.param_groups[0]["lr"]]
    for _ in range(19):
        optim.step()
        theirs.step()
        expected.append(optim.param_groups[0]["lr"])
    assert found == pytest.approx(expected, rel=1e-9)
    assert schedule.lr(19.5) == pytest.approx(4e-9)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_onecycle_of_very_few_epochs_still_trains(epochs):
    schedule = Schedule(config(lr_scheduler="onecycle", epochs=epochs))
    assert schedule.lr(0) == pytest.approx(1e-3)
    assert 0 < schedule.lr(0.99) < 1e-3
    assert schedule.lr(epochs) == pytest.approx(4e-9)


def test_restarts_are_torchs():
    optim = optimizer()
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optim, 4, 1, eta_min=1e-6)
    options = {"lr_scheduler": "cosine_restarts", "lr_restart_period": 4, "lr_restart_mult": 1}
    found = rates(Schedule(config(**options, warmup_epochs=0)))
    assert found == pytest.approx(stepped(optim, theirs), rel=1e-9)


LOSSES = [5, 4, 4, 4, 4, 3.9999, 3, 3.2, 3.1, 3.0, 3.3, 3.3, 2.9, 3, 3, 3, 3, 3, 3, 3]


def test_plateau_is_torchs():
    optim = optimizer()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optim, factor=0.1, patience=2, min_lr=2e-6, eps=0
    )
    options = {"lr_scheduler": "plateau", "lr_patience": 2, "lr_factor": 0.1, "lr_min": 2e-6}
    schedule = Schedule(config(**options, warmup_epochs=0))
    found = []
    for epoch, loss in enumerate(LOSSES):
        found.append(schedule.lr(epoch + 0.5))
        schedule.observe(epoch + 1, loss)
    assert found == pytest.approx(stepped(optim, theirs, LOSSES), rel=1e-9)
    assert len(set(found)) == 4


def test_plateau_begins_to_judge_after_the_warmup_and_knows_negative_losses():
    schedule = Schedule(config(lr_scheduler="plateau", lr_patience=0))
    for epoch in (1, 2, 3):
        schedule.observe(epoch, -5)
    for epoch, loss in ((4, -1), (5, -2), (6, -3)):
        schedule.observe(epoch, loss)
        assert schedule.lr(epoch) == 1e-3
    schedule.observe(7, -2.9999)
    assert schedule.lr(7) == 5e-4
    assert schedule.lr(1) == pytest.approx(3.4e-4)


def test_plateau_goes_on_from_its_state():
    first = Schedule(config(lr_scheduler="plateau", lr_patience=1, warmup_epochs=0))
    second = Schedule(config(lr_scheduler="plateau", lr_patience=1, warmup_epochs=0))
    for epoch, loss in enumerate((3, 2, 2, 2, 2), start=1):
        first.observe(epoch, loss)
    assert not second.load_state_dict(first.state_dict())
    first.observe(6, 2)
    second.observe(6, 2)
    assert first.lr(6) == second.lr(6) == 2.5e-4


def test_a_resumed_cosine_is_the_contracts_formula():
    state = Schedule(config()).state_dict()
    resumed = Schedule(config(epochs=50, lr=7e-3))
    resumed.load_state_dict(state)
    for epoch in (3, 7, 12.5, 19):
        part = (epoch - 3) / (20 - 3)
        expected = 1e-6 + 0.5 * (1e-3 - 1e-6) * (1 + math.cos(part * math.pi))
        assert resumed.lr(epoch) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scheduler", ["cosine", "cosine_restarts", "onecycle", "plateau"])
def test_a_refreshed_schedule_runs_over_the_remaining_epochs(scheduler):
    options = {"lr_scheduler": scheduler, "lr_restart_period": 5}
    fresh = Schedule(config(**options, epochs=35, warmup_epochs=0))
    refreshed = Schedule(config(**options, epochs=50), start_epoch=15)
    for epoch in (0, 3.25, 17, 34.5):
        assert refreshed.lr(15 + epoch) == pytest.approx(fresh.lr(epoch), rel=1e-12)


def test_rate_moves_within_an_epoch_and_ends_at_its_minimum():
    schedule = Schedule(config())
    assert schedule.lr(0.5) == pytest.approx(1e-3 * (0.01 + 0.99 / 6))
    assert schedule.lr(20) == pytest.approx(1e-6)
    assert schedule.lr(27) == pytest.approx(1e-6)


@pytest.mark.parametrize("scheduler", ["none", None])
def test_without_a_scheduler_the_rate_stays_after_the_warmup(scheduler):
    schedule = Schedule(config(lr_scheduler=scheduler))
    assert schedule.lr(0) == pytest.approx(1e-5)
    assert schedule.lr(3) == schedule.lr(19) == 1e-3


def test_warmup_longer_than_the_training_is_only_a_warmup():
    schedule = Schedule(config(epochs=2))
    assert schedule.lr(2) == pytest.approx(1e-3 * (0.01 + 0.99 * 2 / 3))


def test_a_refreshed_schedule_begins_at_the_peak_and_ends_with_the_training():
    schedule = Schedule(config(), start_epoch=15)
    assert schedule.lr(15) == 1e-3
    assert schedule.lr(17.5) == pytest.approx(0.5 * (1e-3 + 1e-6))
    assert schedule.lr(20) == pytest.approx(1e-6)


def test_a_resumed_schedule_keeps_its_curve_and_says_if_the_configured_one_differs():
    first, second = Schedule(config()), Schedule(config(epochs=40))
    assert second.load_state_dict(first.state_dict())
    assert second.lr(10) == first.lr(10)
    assert not Schedule(config()).load_state_dict(first.state_dict())
    # What does not touch the curve is no difference.
    assert not Schedule(config(lr_patience=1)).load_state_dict(first.state_dict())
    longer = Schedule(config(lr_scheduler="none", epochs=40))
    assert not longer.load_state_dict(Schedule(config(lr_scheduler="none")).state_dict())
