"""Dagster's own verdict on the real graph, after edits of code, data and configuration.

Each case works on a copy of the package, so that code can be edited; only the workers are fake.
"""

from pathlib import Path

import pytest

from xec_pipeline_tests.defs.chain_copy import (
    DRAWN,
    INPAINTED,
    MAE,
    ONCE,
    REPORTS,
    RUNS,
    Copy,
    inpainter,
    regressor,
)


@pytest.fixture
def copy(finished_chain: Copy, tmp_path: Path) -> Copy:
    return finished_chain.duplicate(tmp_path / "chain")


@pytest.mark.slow
def test_second_demo_does_nothing_and_drawing_code_concerns_figures_only(copy):
    copy.append("xec_pipeline/evaluation/plots/energy.py", "\n# a comment is no change\n")
    assert copy.demo() == (set(), set())
    copy.append("xec_pipeline/evaluation/plots/energy.py", "\nADDED = 1\n")
    figures = regressor("resolution_pdf", runs=("demo",))
    never_made = regressor(*DRAWN, "baselines_csv", *ONCE, "report", runs=("demo-scratch",))
    never_made |= {"production/selection[]", "production/onnx[]", "leaderboard[]"}
    assert copy.demo("look", "as_users_do") == (set(), figures | never_made)
    assert copy.demo() == (figures, set())


@pytest.mark.slow
def test_changed_files_are_followed_only_as_far_as_content_changes(copy):
    copy.append("toy/test/MCGamma_000001.root", "more")
    # The mean light of each sensor is in the ROOT files alone.
    assert copy.demo()[0] == {"data/shards[toy.test]", "inpainter/predictions_root[demo]"}
    copy.append("toy/test/MCGamma_000001.root", "and more")
    made, not_fresh = copy.demo(versions={"shards": "other"})
    assert made == {
        "data/shards[toy.test]",
        *regressor("predictions_csv"),
        *regressor("baselines_csv", *ONCE, runs=("demo",)),
        *inpainter(*INPAINTED),
    }
    assert not_fresh == set()


@pytest.mark.slow
def test_changed_options_retrain_and_a_comment_does_not(copy):
    copy.append("runs/regressor/demo.yaml", "# a comment\n")
    assert copy.demo() == (set(), set())
    copy.append("runs/regressor/demo.yaml", "training: {epochs: 77}\n")
    made, not_fresh = copy.demo(versions={"train": "other"})
    assert not_fresh == set()
    assert "regressor/weights[demo]" in made
    assert "regressor/predictions_csv[demo]" in made
    assert "regressor/resolution_pdf[demo]" not in made
    assert not any(name.startswith(("data/", "mae/")) for name in made)
    assert not any("scratch" in name for name in made)
    assert made & inpainter("weights", "analysis", *INPAINTED) == inpainter("dead_study")


@pytest.mark.slow
def test_regressor_follows_the_encoder_it_names_only_if_its_weights_change(copy):
    copy.append("runs/mae/demo.yaml", "training: {epochs: 7}\n")
    assert copy.demo("look") == (set(), {"mae/encoder[demo]"})
    assert copy.demo() == ({"mae/encoder[demo]"}, set()), "an equal result"
    copy.append("runs/mae/demo.yaml", "model: {mask_ratio: 0.5}\n")
    made, not_fresh = copy.demo(versions={"train_mae": "other"})
    assert made == {
        "mae/encoder[demo]",
        *regressor("weights", "predictions_csv", "event_displays", "onnx", runs=("demo",)),
        *inpainter("weights", *INPAINTED),
        *REPORTS,
    }
    assert not_fresh == set()


@pytest.mark.slow
def test_another_encoder_can_be_named(copy):
    copy.write("runs/mae/other.yaml", MAE)
    copy.write("runs/regressor/demo.yaml", f"{RUNS}mae: other\n")
    made, not_fresh = copy.demo(versions={"train_mae": "other"})
    assert {"mae/encoder[other]", "regressor/weights[demo]"} <= made
    assert not any("scratch" in name for name in made)
    assert not_fresh == set()
