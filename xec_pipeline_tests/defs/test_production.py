"""The assets on top of the graph, with a resource that reports instead of working."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import Field

from xec_pipeline.defs import keys
from xec_pipeline.defs.assets.production import (
    SelectionConfig,
    complete_runs,
    leaderboard,
    no_first_champions,
    production_onnx,
    reconsidered,
    rejected_runs,
    selection,
)
from xec_pipeline.defs.automation.conditions import on_changed_data_or_code
from xec_pipeline.defs.checks.production import published_model_is_the_selected_one
from xec_pipeline.defs.checks.regressor import onnx_reproduces_network
from xec_pipeline.defs.partitions import run_partitions
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.versioning import content_hash
from xec_pipeline_tests.defs.checking import report_checks

CALLS: list[tuple[str, list[str], dict[str, Any]]] = []


class Reports(TorchDDP):
    """Keeps what a worker would have been told, and reports what `answers` holds for it."""

    answers: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def run(  # type: ignore[override]  # accepts all that the real one does, and ignores most
        self, _context, module, arguments=(), *, extras=None, **_options
    ):
        name = module.rpartition(".")[2]
        CALLS.append((name, list(arguments), dict(extras or {})))
        metadata = self.answers.get(name, {})
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(name))


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    CALLS.clear()
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    (tmp_path / "regressor").mkdir()
    for name in ("demo", "other"):
        (tmp_path / "regressor" / f"{name}.yaml").write_text("preset: demo\n")
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def report(instance, key: dg.AssetKey, version: str, partition: str = "demo", **metadata) -> None:
    tags = {keys.VERSION_TAG: version}
    instance.report_runless_asset_event(
        dg.AssetMaterialization(key, partition=partition or None, metadata=metadata, tags=tags)
    )


def finish(instance, run: str = "demo", weights: str = "w1") -> None:
    report(instance, keys.WEIGHTS, weights, run, mlflow_run_id="m1")
    report(instance, keys.PREDICTIONS, f"p{weights}", run, model_digest=weights)
    report(
        instance,
        keys.ONNX,
        f"o{weights}",
        run,
        weights_version=weights,
        parity_energy_mev=1e-6,
        parity_events=8,
    )
    report_checks(instance, keys.WEIGHTS, run, beats_a_constant=True)
    for key in (keys.PREDICTIONS, keys.ONNX):
        report_checks(instance, key, run)


def make(instance, asset, answers: dict[str, Any], **config: str) -> dg.AssetMaterialization:
    resources = {"ddp": Reports(answers=answers), "mlflow": MlflowTracking(tracking_uri="none")}
    run_config = {"ops": {asset.op.name: {"config": config}}} if config else None
    result = dg.materialize([asset], instance=instance, resources=resources, run_config=run_config)
    (event,) = result.asset_materializations_for_node(asset.op.name)
    return event


def test_only_what_belongs_together_is_complete(instance):
    assert list(complete_runs(instance)) == []
    finish(instance)
    (found,) = complete_runs(instance)
    assert (found["run"], found["weights_version"], found["mlflow_run"]) == ("demo", "w1", "m1")
    report(instance, keys.WEIGHTS, "w2")
    report_checks(instance, keys.WEIGHTS)
    assert list(complete_runs(instance)) == [], "its predictions are of other weights now"
    finish(instance, "other")
    assert [found["run"] for found in complete_runs(instance)] == ["other"]


@pytest.mark.parametrize(
    ("key", "partition", "check"),
    [
        (keys.WEIGHTS, "demo", "losses_are_finite"),
        (keys.PREDICTIONS, "demo", "predictions_are_complete"),
        (keys.ONNX, "demo", "onnx_reproduces_network"),
        (keys.SHARDS, "data.toy.test", "samples_do_not_overlap"),
    ],
)
def test_what_failed_a_blocking_check_is_not_complete(instance, key, partition, check):
    finish(instance)
    report(instance, keys.SHARDS, "s", "data.toy.test")
    report_checks(instance, keys.SHARDS, "data.toy.test")
    assert [found["run"] for found in complete_runs(instance)] == ["demo"]
    report_checks(instance, key, partition, **{check: False})
    assert list(complete_runs(instance)) == []
    name = "/".join(key.path)
    assert rejected_runs(instance) == {"demo": f"check {check} failed for {name} [{partition}]"}
    report_checks(instance, key, partition)
    assert rejected_runs(instance) == {}, "the latest word counts"


def test_a_broken_run_file_rejects_that_run_only(instance, tmp_path):
    finish(instance)
    finish(instance, "other")
    (tmp_path / "regressor" / "other.yaml").write_text("presett: demo\n")
    assert [found["run"] for found in complete_runs(instance)] == ["demo"]
    assert "presett" in rejected_runs(instance)["other"]


def test_a_run_no_better_than_a_constant_is_no_first_champion(instance):
    finish(instance)
    candidates = list(complete_runs(instance))
    assert no_first_champions(instance, candidates) == {}
    report_checks(instance, keys.WEIGHTS, beats_a_constant=False)
    told = "check beats_a_constant failed for regressor/weights [demo]"
    assert no_first_champions(instance, candidates) == {"demo": told}


def test_selection_tells_who_was_compared_and_links_both_trainings(instance):
    finish(instance)
    finish(instance, "other", "w9")
    answer = {
        "champion": "demo",
        "champion_weights_version": "w1",
        "champion_dagster_run": "run-1",
        "challengers": "other",
    }
    made = make(instance, selection, {"select_champion": answer}, challenger="other")
    ((name, arguments, extras),) = CALLS
    assert (name, arguments) == ("select_champion", ["--challenger=other"])
    assert [found["run"] for found in extras["candidates"]] == ["demo", "other"]
    assert isinstance(made.metadata["champion_training"], dg.DagsterRunMetadataValue)
    assert made.metadata["champion_training"].value == "run-1"


def test_a_wrong_rule_is_told_and_hides_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    usual = reconsidered()
    (tmp_path / "production.yaml").write_text("worse_sigm: 3\n")
    assert reconsidered() == usual
    assert "production.yaml: unknown key 'worse_sigm'" in caplog.text
    (tmp_path / "production.yaml").write_text("reconsider_days: null\n")
    assert reconsidered() is None


def test_promotion_by_hand_reaches_the_worker():
    config = SelectionConfig(promote="demo", reason="better in data")
    assert config.arguments() == ["--promote=demo", "--reason=better in data"]


def test_publication_is_told_the_parity_of_the_champions_export_only(instance):
    finish(instance)
    report(instance, keys.SELECTION, "demo@w1", "", champion="demo", champion_weights_version="w1")
    make(instance, production_onnx, {})
    assert CALLS[-1][2] == {"parity": {"parity_energy_mev": 1e-6}}
    finish(instance, weights="w2")
    make(instance, production_onnx, {})
    assert CALLS[-1][2] == {"parity": None}


def test_leaderboard_is_told_when_runs_were_trained(instance):
    finish(instance)
    make(instance, leaderboard, {})
    (told,) = CALLS[-1][2].values()
    assert list(told) == ["demo"]
    assert told["demo"].endswith(" UTC")


@pytest.mark.parametrize(
    ("selected", "content", "passes"),
    [("w1", b"model", True), ("w2", b"model", False), ("w1", b"other", False)],
)
def test_published_model_must_be_the_selected_one(instance, tmp_path, selected, content, passes):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"model")
    sidecar = tmp_path / "model.json"
    sidecar.write_text(json.dumps({"content_hashes": {"model.onnx": content_hash(model)}}))
    model.write_bytes(content)
    report(instance, keys.SELECTION, "x", "", champion_weights_version=selected)

    @dg.asset(key=keys.PRODUCTION_ONNX)
    def published() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"weights_version": "w1", "sidecar": str(sidecar)})

    result = dg.materialize(
        [published, published_model_is_the_selected_one], instance=instance, raise_on_error=False
    )
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed is passes
    assert evaluation.blocking


@pytest.mark.parametrize("parity", [0.2, 9.0], ids=["passes", "fails"])
def test_publication_waits_for_a_selection_and_not_for_the_models_of_all_runs(instance, parity):
    @dg.asset(key=keys.SELECTION)
    def selected() -> None:
        """Tells the model in use."""

    @dg.asset(key=keys.ONNX, partitions_def=run_partitions)
    def exported() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata={"parity_of_allowed": parity, "parity_events": 64})

    everything = [selected, exported, onnx_reproduces_network, production_onnx]
    definitions = dg.Definitions(
        [selected, exported, production_onnx],
        asset_checks=[onnx_reproduces_network],
        resources={"ddp": Reports()},
    )
    cursor = None

    def asked_for() -> bool:
        nonlocal cursor
        result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        cursor = result.cursor
        return bool(result.total_requested)

    def make(asset, partition: str | None = None) -> None:
        dg.materialize(
            everything,
            instance=instance,
            selection=dg.AssetSelection.assets(asset.key),
            partition_key=partition,
            resources={"ddp": Reports()},
            raise_on_error=False,
        )

    assert not asked_for()
    make(exported, "demo")
    assert not asked_for(), "nothing is selected yet"
    make(selected)
    assert asked_for()


def test_publication_does_not_wait_while_a_training_makes_its_model(instance):
    cursor = None
    asked = []

    @dg.asset(key=keys.SELECTION)
    def selected() -> None:
        """Tells the model in use."""

    @dg.asset(key=keys.ONNX, partitions_def=run_partitions)
    def exported() -> None:
        asked.append(asked_for())

    def asked_for() -> bool:
        nonlocal cursor
        definitions = dg.Definitions(
            [selected, exported, production_onnx], resources={"ddp": Reports()}
        )
        result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        cursor = result.cursor
        return bool(result.total_requested)

    assert not asked_for()
    dg.materialize([selected], instance=instance)
    dg.materialize([exported], instance=instance, partition_key="demo")
    assert asked == [True]


class Board:
    """Runs with partitions, and what looks at all of them, with the condition under test."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: Any = None
        self.versions = {"a": "1", "b": "1"}

    def definitions(self) -> dg.Definitions:
        @dg.asset(code_version="1", partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]))
        def table(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
            version = self.versions[context.partition_key]
            return dg.MaterializeResult(data_version=dg.DataVersion(version))

        @dg.asset(
            deps=[table],
            code_version="1",
            automation_condition=on_changed_data_or_code(with_all_inputs=False),
        )
        def board() -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(data_version=dg.DataVersion(str(self.versions)))

        return dg.Definitions([table, board])

    def make(self, name: str, partition: str | None = None) -> None:
        found = self.definitions().assets or ()
        assets = [asset for asset in found if isinstance(asset, dg.AssetsDefinition)]
        dg.materialize(assets, instance=self.instance, selection=[name], partition_key=partition)

    def asked_for(self) -> bool:
        result = dg.evaluate_automation_conditions(
            self.definitions(), instance=self.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        if result.total_requested:
            self.make("board")
        return bool(result.total_requested)


def test_board_follows_each_run_and_does_not_wait_for_all(instance):
    board = Board(instance)
    assert not board.asked_for(), "there is no run yet"
    board.make("table", "a")
    assert board.asked_for()
    assert not board.asked_for()
    board.make("table", "b")
    assert board.asked_for(), "a run that had no table before"
    board.make("table", "b")
    assert not board.asked_for(), "the same content again"
    board.versions["a"] = "2"
    board.make("table", "a")
    assert board.asked_for()
    assert not board.asked_for()
