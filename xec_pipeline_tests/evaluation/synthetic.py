"""Prediction tables of known width and bias."""

import numpy as np
import pandas as pd

WIDTHS = {"theta": 3.0, "phi": 1.0, "energy": 0.9, "timing": 0.06, "u": 0.2, "v": 0.18, "w": 0.25}


def prediction_table(n_events: int, *, seed: int = 1, energy_mev: float | None = None):
    """Return a table in internal units; residuals are Gaussian with `WIDTHS`, energy by formula."""
    rng = np.random.default_rng(seed)
    truth = {
        "theta": rng.uniform(60, 120, n_events),
        "phi": rng.uniform(-60, 60, n_events),
        "energy": rng.uniform(15, 60, n_events)
        if energy_mev is None
        else np.full(n_events, energy_mev, dtype=np.float32),
        "timing": rng.uniform(-12.5, 12.5, n_events),
        "u": rng.uniform(-24, 24, n_events),
        "v": rng.uniform(-68, 68, n_events),
        "w": np.minimum(rng.exponential(4.0, n_events), 38),
    }
    widths = dict(WIDTHS)
    relative = np.sqrt(0.1**2 / truth["energy"] + 0.012**2 + (0.3 / truth["energy"]) ** 2)
    columns: dict[str, np.ndarray] = {
        "run": np.ones(n_events, dtype=np.int64),
        "event": np.arange(n_events),
    }
    for name, true in truth.items():
        sigma = relative * true if name == "energy" else widths[name]
        columns[f"true_{name}"] = true
        columns[f"pred_{name}"] = true + sigma * rng.standard_normal(n_events)
    return pd.DataFrame(columns)
