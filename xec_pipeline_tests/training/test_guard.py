import pytest
import torch

from xec_pipeline.errors import TrainingDivergedError
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.guard import Step, StepGuard, StopSignal


def step(number: int, *losses: float, norm: float = 1.0) -> Step:
    return Step(
        epoch=2,
        number=number,
        losses=torch.tensor(losses),
        events=torch.arange(len(losses)),
        gradient_norm=torch.tensor(norm),
    )


def guard(*, is_late: bool = False) -> StepGuard:
    made = StepGuard(DistContext(), StopSignal(), lambda events: [f"event {e}" for e in events])
    made._is_late = is_late  # what a GPU would choose
    return made


def test_a_finite_step_passes():
    assert not guard().must_stop(step(1, 0.5, 0.25))


def test_the_first_bad_events_are_named_and_the_others_counted():
    bad = [float("inf")] * 7
    with pytest.raises(TrainingDivergedError, match=r"epoch 2, step 3: .* event 5 and 2 more; all"):
        guard().must_stop(step(3, 1.0, *bad))


def test_a_gradient_alone_can_be_bad():
    with pytest.raises(TrainingDivergedError, match="finite but the gradient norm is nan"):
        guard().must_stop(step(1, 1.0, norm=float("nan")))


def test_on_a_gpu_a_step_is_looked_at_one_step_late_and_none_is_forgotten():
    late = guard(is_late=True)
    late.must_stop(step(1, float("nan")))
    with pytest.raises(TrainingDivergedError, match="step 1"):
        late.must_stop(step(2, 1.0))
    late = guard(is_late=True)
    late.must_stop(step(6, float("nan")))
    with pytest.raises(TrainingDivergedError, match="step 6"):
        late.finish()
