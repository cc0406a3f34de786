"""The predictor that looks at nothing: the mean of the training events.

What a network must beat to have learned anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainingMean:
    """Mean target of the training events, shape (k,) by task."""

    means: Mapping[str, NDArray[np.float64]]

    @classmethod
    def fit(cls, targets: Mapping[str, NDArray[np.floating]]) -> "TrainingMean":
        """Return the means of targets, shape (n_events, k) by task; events without truth are out.

        Raises
        ------
        ValueError
            If a task has no event with truth.
        """
        means = {}
        for task, values in targets.items():
            known = values[np.isfinite(values).all(axis=1)].astype(np.float64)
            if not len(known):
                raise ValueError(f"no training event has truth for {task}")
            means[task] = known.mean(axis=0)
        return cls(means)

    def predict(self, n_events: int) -> dict[str, NDArray[np.float64]]:
        """Return the means for every event, shape (n_events, k) by task."""
        return {task: np.tile(mean, (n_events, 1)) for task, mean in self.means.items()}
