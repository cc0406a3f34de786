"""Weights of the tasks that are learned with them."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from xec_pipeline.config.run import RegressorRun

LIKELIHOOD = "gaussian_nll"


class LossBalance(nn.Module):
    """One logarithm of a variance s per task; a mean loss L counts exp(-s) L / 2 + s / 2.

    The minimum over s is at exp(s) = L, where every task has the same share (Kendall, Gal and
    Cipolla, arXiv:1705.07115, eq. 7).

    Parameters
    ----------
    tasks
        Names. Losses of these tasks must not be negative, or s falls without end.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        super().__init__()
        self.log_vars = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in tasks})

    def forward(self, task: str, losses: Tensor) -> Tensor:
        """Return the share of `losses` (B,) in the objective; its mean is that of the mean loss."""
        log_var: Tensor = self.log_vars[task]
        return 0.5 * (torch.exp(-log_var) * losses + log_var)

    def metrics(self) -> dict[str, float]:
        """Return s and the factor exp(-s) / 2 of every task by their names in MLflow."""
        found: dict[str, float] = {}
        for task, log_var in self.log_vars.items():
            found[f"task/{task}_log_var"] = float(log_var.detach())
            found[f"task/{task}_weight"] = float(0.5 * torch.exp(-log_var.detach()))
        return found


@runtime_checkable
class LearnsObjective(Protocol):
    """A stage whose objective has parameters of its own, such as a `LossBalance`."""

    @property
    def objective(self) -> nn.Module | None:
        """Module on the stage's device; its gradients are averaged over ranks by the loop."""


def objective_of(stage: object) -> nn.Module | None:
    """Return what the objective of `stage` learns, or None if it learns nothing."""
    return stage.objective if isinstance(stage, LearnsObjective) else None


def build_balance(run: RegressorRun) -> LossBalance | None:
    """Return the weights that `run` learns, None for given ones.

    A task with gaussian_nll is a likelihood already, with a variance for each event, and may become
    negative: it keeps the weight that is given.
    """
    tasks = [task for task in run.tasks.active if run.tasks[task].loss_fn != LIKELIHOOD]
    return LossBalance(tasks) if run.loss_balance == "auto" and tasks else None


def balanced(
    balance: LossBalance | None, losses: Mapping[str, Tensor], weights: Mapping[str, float]
) -> Tensor:
    """Return the objective of each event (B,).

    Parameters
    ----------
    balance
        Learned weights, if any.
    losses
        Losses (B,) by task.
    weights
        Given weights by task, for the tasks that `balance` does not know.
    """
    shares = [
        balance(task, loss)
        if balance is not None and task in balance.log_vars
        else weights[task] * loss
        for task, loss in losses.items()
    ]
    return torch.stack(shares).sum(dim=0)
