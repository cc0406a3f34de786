import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from xec_pipeline.config.production import ProductionConfig
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.metadata import PredictionMeta
from xec_pipeline.evaluation.promotion import (
    Model,
    challenge,
    decide,
    differences,
    paired_error,
    records,
    rule_text,
)
from xec_pipeline.evaluation.resolution import Estimate, containment_68
from xec_pipeline.evaluation.side_by_side import Difference
from xec_pipeline_tests.evaluation.synthetic import WIDTHS, prediction_table

RULE = ProductionConfig()
ALL = ("energy", "u", "v", "w", "time")


def difference(sigmas: float) -> Difference:
    """Return a line where the challenger is `sigmas` standard deviations wider."""
    first = Estimate(value=2 + 0.01 * sigmas, error=0.02, n=1000, estimator="")
    second = Estimate(value=2.0, error=0.02, n=1000, estimator="")
    return Difference(label="x", estimator="", first=first, second=second, error=0.01)


def lines(**sigmas: float) -> dict[str, Difference]:
    return {
        name: difference(value) for name, value in {**dict.fromkeys(ALL, 0.0), **sigmas}.items()
    }


@pytest.mark.parametrize(
    ("sigmas", "promoted", "reason"),
    [
        ({}, False, "nothing is better beyond 2.7 sigma"),
        ({"time": -2.5}, False, "most time (-2.5 sigma)"),
        ({"time": -2.8}, True, "better beyond 2.7 sigma in time (-2.8 sigma)"),
        ({"time": -9.0, "u": 1.9}, True, "nothing is worse beyond 2 sigma"),
        ({"time": -9.0, "u": 2.1}, False, "worse beyond 2 sigma in u (+2.1 sigma)"),
        ({"time": -9.0, "theta": 2.1}, False, "worse beyond 2 sigma in theta"),
        ({"theta": -9.0}, False, "nothing is better"),
        ({"energy": math.nan}, False, "nothing is better"),
    ],
)
def test_rule_in_words_and_numbers(sigmas, promoted, reason):
    verdict = decide(lines(**sigmas), [], RULE)
    assert verdict.is_promoted is promoted
    assert reason in verdict.reason


def test_what_decides_is_configured():
    better = lines(time=-2.2)
    one = ProductionConfig(decides_on=("time",))
    assert decide(better, [], one).is_promoted
    assert not decide(better, [], ProductionConfig(decides_on=("u",))).is_promoted
    nothing = decide({"theta": difference(-9)}, [], one)
    assert not nothing.is_promoted
    assert "have none of time in common" in nothing.reason
    assert "One of time must be better, at a chance of 2 %" in rule_text(one)


def test_a_challenger_that_predicts_less_is_refused():
    verdict = decide(lines(energy=-9.0), ["time"], RULE)
    assert not verdict.is_promoted
    assert "does not predict time" in verdict.reason


def model(name: str, n: int = 600, *, seed: int = 1, scale: float = 1.0, noise: int = 0) -> Model:
    """Return a model of the events of `seed`; `noise` draws other residuals of the same width."""
    table = prediction_table(n, seed=seed)
    if noise:
        other = prediction_table(n, seed=1000 + noise)
        for quantity in WIDTHS:
            residual = other[f"pred_{quantity}"] - other[f"true_{quantity}"]
            table[f"pred_{quantity}"] = table[f"true_{quantity}"] + residual
    for quantity in WIDTHS:
        residual = table[f"pred_{quantity}"] - table[f"true_{quantity}"]
        table[f"pred_{quantity}"] = table[f"true_{quantity}"] + scale * residual
    tables = dict.fromkeys(("energy", "uvwFI", "timing", "angle"), table)
    meta = PredictionMeta(run_name=name, is_toy=True, data_version="d1", sample="toy/test")
    return Model(name=name, tables=tables, meta=meta, folder=Path(name))


def test_a_better_model_is_promoted_and_a_worse_one_is_not():
    champion = model("champion")
    better = challenge(champion, model("better", scale=0.9), RULE)
    assert better.is_promoted
    assert better.is_toy
    assert better.decides_on == ALL
    text = better.markdown("champion", "better")
    assert "toy detector" in text
    assert "must not be worse" in text
    found = {record["quantity"]: record for record in records(better)}
    assert found["time [ps]"]["challenger"] == pytest.approx(0.9 * found["time [ps]"]["champion"])
    assert not challenge(champion, model("worse", scale=1.1), RULE).is_promoted
    itself = challenge(champion, champion, RULE)
    assert not itself.is_promoted
    assert all(math.isnan(line.in_sigma) for line in itself.differences.values())


def test_models_that_are_no_better_are_promoted_at_most_as_often_as_said():
    """Challengers with independent residuals of the champion's widths: 120 null experiments."""
    rule = ProductionConfig(false_promotion_rate=0.05, worse_sigma=100)
    promoted = 0
    rng = np.random.default_rng(5)
    n_trials, n_events = 120, 200
    for _ in range(n_trials):
        first, second = rng.standard_normal((2, len(ALL), n_events))
        found = null_lines(first, second)
        promoted += decide(found, [], rule).is_promoted
    assert promoted <= 0.05 * n_trials + 3 * math.sqrt(0.05 * 0.95 * n_trials)
    assert promoted > 0, "the rule must not be deaf"


def null_lines(first, second) -> dict[str, Difference]:
    return {
        name: Difference(
            label=name,
            estimator="",
            first=containment_68(one),
            second=containment_68(other),
            error=paired_error(one, other, 50),
        )
        for name, one, other in zip(ALL, first, second, strict=True)
    }


def test_other_events_are_refused_and_never_compared():
    champion = model("champion")
    with pytest.raises(DataError, match="different events"):
        challenge(champion, model("fewer", 500), RULE)
    with pytest.raises(DataError, match=r"different events.*xec promote"):
        challenge(champion, model("others", seed=2), RULE)
    other = model("newer")
    meta = dataclasses.replace(other.meta, data_version="d2")
    with pytest.raises(DataError, match=r"data version d1 of toy/test.*d2 of toy/test"):
        challenge(champion, dataclasses.replace(other, meta=meta), RULE)


def test_differences_are_paired():
    """Noise that both models share cancels."""
    alike = differences(model("a"), model("b", scale=1.02))["time"]
    apart = differences(model("a"), model("c", noise=3))["time"]
    assert alike.error < 0.2 * apart.error
