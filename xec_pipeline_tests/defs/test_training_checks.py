import dagster as dg
import pytest

from xec_pipeline.defs import keys
from xec_pipeline.defs.checks import resolution
from xec_pipeline.defs.checks.training import training_checks
from xec_pipeline.defs.partitions import run_partitions
from xec_pipeline_tests.defs.checking import check, numbers

TRAININGS = {
    keys.WEIGHTS: ("train/loss", "val/loss"),
    keys.ENCODER: ("train/total_loss", "val/total_loss"),
    keys.INPAINTER: ("train/total_loss", "val/total_loss"),
}


def of_training(key: dg.AssetKey, name: str) -> dg.AssetChecksDefinition:
    found = [
        each
        for each in training_checks().asset_checks or ()
        for spec in each.check_specs
        if (spec.asset_key, spec.name) == (key, name)
    ]
    (definition,) = found
    assert isinstance(definition, dg.AssetChecksDefinition)
    return definition


@pytest.mark.parametrize("key", TRAININGS, ids=str)
@pytest.mark.parametrize(
    ("losses", "passes"), [((0.2, 0.3), True), ((0.2, "nan"), False), (("inf", 0.3), False)]
)
def test_losses_must_be_numbers(key, losses, passes):
    told = {"best_val_loss": losses[1], **dict(zip(TRAININGS[key], losses, strict=True))}
    evaluation = check(of_training(key, "losses_are_finite"), key, None, **told)
    assert evaluation.passed is passes
    assert evaluation.blocking
    assert numbers(evaluation)["run"] == "demo"


def test_an_unknown_training_loss_is_no_failure_but_an_unknown_best_one_is():
    definition = of_training(keys.WEIGHTS, "losses_are_finite")
    assert check(definition, keys.WEIGHTS, best_val_loss=0.3).passed
    assert not check(definition, keys.WEIGHTS, None, **{"val/loss": 0.3}).passed


@pytest.mark.parametrize(
    ("key", "told", "passes"),
    [
        (keys.WEIGHTS, {"val/loss": 0.1, "constant_val/loss": 0.9}, True),
        (keys.WEIGHTS, {"val/loss": 0.9, "constant_val/loss": 0.9}, False),
        (keys.WEIGHTS, {"val/loss": 0.9}, False),
        (
            keys.ENCODER,
            {
                "val/npho_loss": 0.1,
                "constant_val/npho_loss": 0.9,
                "val/time_loss": 0.5,
                "constant_val/time_loss": 0.4,
            },
            False,
        ),
        (keys.INPAINTER, {"val/npho_loss": 0.1, "constant_val/npho_loss": 0.9}, True),
    ],
)
def test_a_training_must_beat_an_answer_without_learning(key, told, passes):
    evaluation = check(of_training(key, "beats_a_constant"), key, None, **told)
    assert evaluation.passed is passes
    assert not evaluation.blocking
    if told.keys() > {"val/loss"}:
        assert numbers(evaluation)["constant_val/loss"] == 0.9


@pytest.mark.parametrize("key", TRAININGS, ids=str)
@pytest.mark.parametrize(
    ("losses", "passes", "ratio"),
    [
        ((0.2, 0.3), True, 1.5),
        ((0.2, 0.31), False, 1.55),
        ((-0.2, 0.3), True, "not comparable"),
    ],
)
def test_over_training_is_a_warning_with_its_bound(key, losses, passes, ratio):
    told = dict(zip(TRAININGS[key], losses, strict=True))
    evaluation = check(of_training(key, "is_not_overfitted"), key, None, **told)
    assert evaluation.passed is passes
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    found = numbers(evaluation)["val_over_train"]
    assert found == (ratio if isinstance(ratio, str) else pytest.approx(ratio))


def table(
    energy: float = 1.0, bias: float = 0.01, error: float = 0.01, events: str = "v1"
) -> dict[str, object]:
    """Return what the table of resolutions reports."""
    rows = [
        ("68 % of |res| within", energy, error),
        ("68 % half width", energy, error),
        ("median bias", bias, error),
    ]
    estimates = [
        {"quantity": "energy", "unit": "%", "estimator": name, "value": value, "error": sigma}
        for name, value, sigma in rows
    ]
    return {"estimates": estimates, "events_version": events}


@pytest.mark.parametrize(
    ("bias", "passes"), [(0.24, True), (-0.24, True), (0.27, True), (0.29, False), (-0.4, False)]
)
def test_biases_are_held_against_the_width_and_their_own_error(bias, passes):
    evaluation = check(resolution.biases_are_small, keys.TABLE, None, **table(bias=bias))
    assert evaluation.passed is passes
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert numbers(evaluation)["energy bias / half width"] == pytest.approx(bias)


def test_a_table_without_numbers_does_not_pass():
    assert not check(resolution.biases_are_small, keys.TABLE).passed
    assert not check(resolution.resolution_is_no_worse, keys.TABLE).passed


def test_a_table_that_was_never_made_does_not_pass(instance):
    @dg.asset(key=keys.TABLE, partitions_def=run_partitions)
    def table() -> None:
        """Stand for the table, and is not made."""

    result = dg.materialize(
        [table, resolution.resolution_is_no_worse],
        tags={"dagster/partition": "demo"},
        instance=instance,
        selection=dg.AssetSelection.checks_for_assets(table),
    )
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed
    assert "no earlier table" in numbers(evaluation)["compared_with"]


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def judge(instance, run: str = "demo", /, **made) -> dg.AssetCheckEvaluation:
    return check(resolution.resolution_is_no_worse, keys.TABLE, instance, run, **table(**made))


def test_the_first_table_passes_and_a_worse_one_does_not(instance):
    first = judge(instance)
    assert first.passed
    assert "no earlier table" in numbers(first)["compared_with"]
    assert judge(instance, energy=1.04).passed, "within five percent"
    worse = judge(instance, energy=1.11)
    assert not worse.passed
    assert worse.severity == dg.AssetCheckSeverity.WARN
    assert numbers(worse)["energy ratio"] == pytest.approx(1.11 / 1.04)
    # Still held against the last one that passed, not against the worse one.
    much = judge(instance, energy=1.3)
    assert not much.passed
    assert much.severity == dg.AssetCheckSeverity.ERROR
    assert numbers(much)["energy ratio"] == pytest.approx(1.25)
    assert judge(instance, energy=0.9).passed


def test_tables_of_other_runs_in_between_change_nothing(instance):
    assert judge(instance, "demo").passed
    assert judge(instance, "demo-scratch", energy=2.0).passed
    worse = judge(instance, "demo", energy=1.1)
    assert numbers(worse)["energy ratio"] == pytest.approx(1.1)
    assert judge(instance, "demo-scratch", energy=2.0).passed


def test_a_difference_within_its_errors_is_none(instance):
    assert judge(instance, error=0.2).passed
    assert judge(instance, energy=1.3, error=0.2).passed


def test_tables_of_other_events_are_not_compared(instance):
    assert judge(instance, events="v1").passed
    other = judge(instance, energy=2.0, events="v2")
    assert other.passed
    assert "no earlier table of these events" in numbers(other)["compared_with"]
