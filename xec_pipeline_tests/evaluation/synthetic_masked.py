"""Tables of masked sensors of known width and bias."""

import numpy as np

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.normalization import Normalization
from xec_pipeline.evaluation.masked_rows import MaskedRows
from xec_pipeline.evaluation.masked_table import MaskedMetadata

SCHEME = NormalizationConfig(npho_scheme="linear", npho_scale=1000)
VARIANCE_PER_PHOTON = 6.0
"""Variance of a count over its mean."""
BIAS = {"model": 0.03, "avg": -0.10, "sa": 0.05, "localfit": 0.0, "knn": 0.08}
WIDTH = {"model": 0.04, "avg": 0.20, "sa": 0.12, "localfit": 0.06, "knn": 0.15}
"""Relative bias and spread of a prediction around the true mean."""


def masked_rows(
    n_events=40,
    per_event=60,
    *,
    seed=1,
    baselines=("avg", "sa", "localfit", "knn"),
    event_width=0.0,
    with_mean=True,
    with_time=False,
    n_dead=0,
):
    """Return rows of `n_events`; `event_width` is a relative error that an event's rows share.

    The local fit predicts inner sensors only; the first `n_dead` rows of an event are dead.
    """
    rng = np.random.default_rng(seed)
    event = np.repeat(np.arange(n_events), per_event)
    sensor = np.concatenate([rng.choice(4760, per_event, replace=False) for _ in range(n_events)])
    mean = np.exp(rng.uniform(np.log(3), np.log(30_000), len(event)))
    count = mean + np.sqrt(VARIANCE_PER_PHOTON * mean) * rng.standard_normal(len(event))
    is_dead = np.arange(len(event)) % per_event < n_dead
    count[is_dead] = np.nan
    shared = event_width * rng.standard_normal(n_events)[event]
    predicted = {
        name: mean * (1 + BIAS[name] + shared + WIDTH[name] * rng.standard_normal(len(event)))
        for name in ("model", *baselines)
    }
    if "localfit" in predicted:
        predicted["localfit"][sensor >= 4092] = np.nan
    forward = Normalization(SCHEME).forward_npho
    times = {}
    if with_time:
        true = np.where(count > 100, rng.uniform(0.2, 1.0, len(event)), np.nan).astype("f4")
        times = {"truth_time": true, "pred_time": rng.uniform(0.2, 1.0, len(event)).astype("f4")}
        times["pred_time"][count > 100] = (true + 0.01 * rng.standard_normal(len(event)))[
            count > 100
        ]
    return MaskedRows(
        event_idx=event,
        run_number=np.full(len(event), 430_000),
        event_number=event + 10_000,
        sensor_id=sensor,
        mask_type=is_dead.astype("i4"),
        truth_npho=forward(count),
        pred_npho=forward(predicted.pop("model")),
        truth_photons=count.astype("f4"),
        mean_photons=mean.astype("f4") if with_mean else None,
        baselines={name: forward(values) for name, values in predicted.items()},
        **times,
    )


def masked_metadata(rows, **changes):
    """Return metadata that fit to `rows`."""
    return MaskedMetadata(
        **{
            "predict_channels": ("npho",) if rows.pred_time is None else ("npho", "time"),
            "normalization": SCHEME,
            "epoch": 10,
            "checkpoint_digest": "0123abcd",
            "run_name": "wide",
            "data_version": "d4t4",
            "toy": rows.mean_photons is not None,
            "mode": "mc",
            "baselines": tuple(rows.baselines),
            "dead_pattern": "dead.txt",
            "n_events": len(np.unique(rows.event_idx)),
            "sample": "data/toy/val",
            **changes,
        }
    )
