"""What a user can choose about figures, and the pages at the signal energy and of pulls."""

import json

import numpy as np
import pytest

from xec_pipeline.evaluation.calibration import LEVELS, coverage, pulls
from xec_pipeline.evaluation.metadata import PredictionMeta, write_json
from xec_pipeline.evaluation.plots.choice import Choice
from xec_pipeline.evaluation.plots.pages import draw_page
from xec_pipeline.evaluation.plots.style import Caption
from xec_pipeline.evaluation.report import pages_of
from xec_pipeline.evaluation.residuals import usable
from xec_pipeline.evaluation.resolution import COVERAGE
from xec_pipeline.evaluation.tables import TASK_QUANTITIES
from xec_pipeline_tests.evaluation.synthetic import WIDTHS, prediction_table

TASKS = tuple(TASK_QUANTITIES)
GAUSSIAN = Choice(estimator="gaussian", with_bin_histograms=True)
FACTORS = {"timing": 1_000, "u": 10, "v": 10, "w": 10}
"""Drawn over internal unit."""


def fail(constant):
    raise AssertionError(f"{constant} is not JSON")


def panels(pages, tmp_path):
    """Return the panels of `pages` as they are written, by key."""
    path = tmp_path / "figure.json"
    write_json(path, {"pages": [page.numbers() for page in pages]})
    content = json.loads(path.read_text(), parse_constant=fail)
    return {key: panel for page in content["pages"] for key, panel in page["panels"].items()}


def one_energy(table, names):
    return table.assign(true_energy=52.83)


def constant(table, names):
    return table.assign(**{f"pred_{name}": 1.0 for name in names})


def not_finite(table, names):
    table.loc[::2, f"pred_{names[0]}"] = np.nan
    table.loc[1, f"pred_{names[0]}"] = np.inf
    return table


def far(table, names):
    table.loc[3, f"pred_{names[0]}"] = 1e10
    return table


def own_columns(table, names):
    return table[[f"{side}_{name}" for side in ("true", "pred") for name in names]]


def no_event(table, names):
    return table.iloc[:0]


def single(table, names):
    return table.iloc[:1]


def pair(table, names):
    return table.iloc[:2]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "changed", [no_event, single, pair, one_energy, constant, not_finite, far, own_columns]
)
def test_gaussian_fits_meet_any_table(tmp_path, task, changed):
    table = usable(changed(prediction_table(130), TASK_QUANTITIES[task]), task)
    pages = pages_of(task, table, GAUSSIAN)
    assert panels(pages, tmp_path)
    caption = Caption(run_name="r", n_events=len(table), meta=PredictionMeta(run_name="r"))
    # The other tasks have panels of the same kinds.
    for page in pages if task in ("angle", "energy") else pages[:1]:
        assert draw_page(page, caption, "1/1").axes


@pytest.mark.parametrize("task", ["energy", "timing", "uvwFI"])
def test_signal_window_gives_what_was_injected(tmp_path, task):
    table = prediction_table(4_000, energy_mev=52.83)
    drawn = panels(pages_of(task, table), tmp_path)["signal_window"]
    assert drawn["n"] == 4_000
    assert drawn["window_mev"] == [50, 55]
    shapes = {key: value for key, value in drawn.items() if isinstance(value, dict)}
    units = {"energy": ["E [MeV]", "E [% of 52.83]"], "timing": ["t [ps]"]}
    assert list(shapes) == units.get(task, ["u [mm]", "v [mm]", "w [mm]"])
    relative = np.sqrt(0.1**2 / 52.83 + 0.012**2 + (0.3 / 52.83) ** 2)
    expected = {"E [MeV]": relative * 52.83, "E [% of 52.83]": 100 * relative}
    names = [name for name in TASK_QUANTITIES[task] if name != "energy"]
    expected |= {
        key: WIDTHS[name] * FACTORS[name] for key, name in zip(shapes, names, strict=False)
    }
    for key, shape in shapes.items():
        for estimate, factor in (("half_width_68", 1), ("fwhm", 2.35482)):
            found = shape[estimate]
            assert abs(found["value"] - factor * expected[key]) < 4 * found["error"]
        assert (
            abs(shape["core"]["sigma"]["value"] - expected[key])
            < 4 * shape["core"]["sigma"]["error"]
        )
        for tail in ("tail_low", "tail_high"):
            assert abs(shape[tail]["value"] - shape["gaussian_tail"]) < 4 * shape[tail]["error"]


def test_signal_window_says_what_is_missing(tmp_path):
    table = prediction_table(60)
    outside = panels(pages_of("timing", table[table["true_energy"] < 50]), tmp_path)
    assert "no event" in outside["signal_window"]["note"]
    unknown = pages_of("timing", table.drop(columns="true_energy"))[2].numbers()
    assert "no true E" in unknown["panels"]["no_E"]["note"]


def test_gaussian_profiles_and_the_fit_of_every_bin(tmp_path):
    table = prediction_table(1_200)
    drawn = panels(pages_of("timing", table, GAUSSIAN), tmp_path)
    profile = drawn["resolution_timing_vs_energy"]["profile"]
    assert profile["estimator"] == "Gaussian core sigma"
    assert drawn["bias_timing_vs_energy"]["profile"]["estimator"] == "Gaussian core mean"
    bins = [drawn[f"resolution_timing_vs_energy bin {i + 1}"] for i in range(len(profile["n"]))]
    assert [one["n"] for one in bins] == profile["n"]
    assert [one["core fit"]["sigma"]["value"] for one in bins] == profile["value"]
    assert np.mean(profile["value"]) == pytest.approx(60, rel=0.1)


def test_bin_without_a_fit_says_why(tmp_path):
    fine = Choice(estimator="gaussian", with_bin_histograms=True, bins=3)
    drawn = panels(pages_of("timing", prediction_table(70), fine), tmp_path)
    assert drawn["resolution_timing_vs_energy bin 1"]["core fit"]["note"] == ""
    few = panels(pages_of("timing", prediction_table(40), fine), tmp_path)
    note = few["resolution_timing_vs_energy bin 1"]["core fit"]["note"]
    assert note == "fewer than 50 events"


def test_numbers_of_bins_can_be_chosen(tmp_path):
    choice = Choice(bins=4, scatter_bins=37)
    drawn = panels(pages_of("energy", prediction_table(600), choice), tmp_path)
    assert len(drawn["resolution_energy_vs_energy"]["profile"]["n"]) == 4
    assert len(drawn["resolution_energy_vs_w"]["profile"]["n"]) <= 4
    assert drawn["scatter_energy"]["bins"] == 37


def with_sigma(task, *, too_small=1.0):
    table = prediction_table(3_000, seed=2)
    rng = np.random.default_rng(3)
    for name in TASK_QUANTITIES[task]:
        sigma = rng.uniform(0.5, 1.5, len(table))
        table[f"pred_{name}"] = table[f"true_{name}"] + sigma * rng.standard_normal(len(table))
        table[f"pred_sigma_{name}"] = sigma / too_small
    return table


@pytest.mark.parametrize("task", TASKS)
def test_right_uncertainties_have_unit_pulls_and_nominal_coverage(tmp_path, task):
    drawn = panels(pages_of(task, with_sigma(task)), tmp_path)
    for name in TASK_QUANTITIES[task]:
        pull = drawn[f"pull_{name}"]
        for label, truth in (("mean", 0), ("68 % half width", 1)):
            assert abs(pull[label]["value"] - truth) < 4 * pull[label]["error"]
        found = drawn[f"coverage_{name}"]
        deviation = np.abs(np.subtract(found["observed"], found["nominal"]))
        assert np.all(deviation < 4 * np.array(found["error"]))
        profile = drawn[f"width_{name}_vs_sigma"]["profile"]
        ratio = np.divide(profile["value"], profile["x"])
        assert np.abs(ratio - 1).max() < 0.4
        assert ratio.mean() == pytest.approx(1, abs=0.05)


def test_uncertainties_that_are_too_small_show(tmp_path):
    drawn = panels(pages_of("energy", with_sigma("energy", too_small=2)), tmp_path)
    assert drawn["pull_energy"]["68 % half width"]["value"] == pytest.approx(2, rel=0.05)
    observed = drawn["coverage_energy"]["observed"][LEVELS.index(COVERAGE)]
    # A Gaussian within half of its width.
    assert observed == pytest.approx(0.383, abs=0.03)


def test_without_usable_uncertainties_there_is_a_note_or_no_page(tmp_path):
    table = prediction_table(60)
    assert "pull_energy" not in panels(pages_of("energy", table), tmp_path)
    drawn = panels(pages_of("energy", table.assign(pred_sigma_energy=0.0)), tmp_path)
    assert "no positive predicted σ" in drawn["no_pull_energy"]["note"]


def test_pulls_and_coverage_of_nothing():
    assert np.isnan(pulls([1.0, 1.0], [0.0, np.nan])).all()
    nothing = coverage(np.array([np.nan]))
    assert nothing.n == 0
    assert np.isnan(nothing.observed).all()
