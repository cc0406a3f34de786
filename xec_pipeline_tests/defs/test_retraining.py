"""Schedules, the sensor that builds shards, files that are still being copied."""

import datetime as dt
import logging
import os
import time
from pathlib import Path

import dagster as dg
import pytest
import yaml

from xec_pipeline.config.registry import registered_regressor
from xec_pipeline.definitions import defs
from xec_pipeline.defs import code, keys
from xec_pipeline.defs.assets.production import SelectionConfig
from xec_pipeline.defs.assets.regressor import predictions_csv, weights
from xec_pipeline.defs.automation import observation, schedules, sensors
from xec_pipeline.defs.automation.retraining import (
    Plan,
    plan,
    schedule_names,
    training_run,
    was_judged,
)
from xec_pipeline.defs.automation.up_to_date import changes, look_at
from xec_pipeline.defs.partitions import DATASETS
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHARDS = [(keys.SHARDS, name) for name in ("data.toy.test", "data.toy.train", "data.toy.val")]
FRESH = dict.fromkeys([*SHARDS, *((key, "demo") for key in keys.RETRAINED)], "FRESH")
ALL = [*keys.RETRAINED, keys.SELECTION, keys.PRODUCTION_ONNX]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XEC_RUNS", str(tmp_path / "runs"))
    folder = tmp_path / "runs" / "regressor"
    folder.mkdir(parents=True)
    monkeypatch.setenv("XEC_FILE_AGE", "0")
    (folder / "demo.yaml").write_text("preset: demo\nschedule: {cron: 0 3 * * 1}\n")
    (folder / "never.yaml").write_text("preset: demo\n")
    (folder / "broken.yaml").write_text("presett: demo\n")
    return folder


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.mark.parametrize(
    ("changed", "assets", "reason"),
    [
        ({}, [], "training again would give the same weights"),
        ({SHARDS[1]: "STALE"}, [], "data/shards of data.toy.train are not up to date"),
        ({(keys.WEIGHTS, "demo"): "STALE"}, [*keys.RETRAINED], "its weights are stale"),
        ({(keys.WEIGHTS, "demo"): "MISSING"}, [*keys.RETRAINED], "its weights are missing"),
        (
            {(keys.PREDICTIONS, "demo"): "STALE"},
            [keys.PREDICTIONS, keys.TABLE],
            "weights are fresh, but predictions_csv stale",
        ),
        ({(keys.ONNX, "demo"): "MISSING"}, [keys.ONNX], "weights are fresh, but onnx missing"),
    ],
)
def test_plan_makes_what_is_not_up_to_date(registry, changed, assets, reason):
    found = plan(registered_regressor("demo"), {**FRESH, **changed}, {})
    assert list(found.assets) == assets
    assert found.is_due is bool(assets)
    assert reason in found.reason


def test_force_trains_all_the_same_but_not_on_old_shards(registry):
    run = registered_regressor("demo")
    assert plan(run, FRESH, {}, force=True).assets == keys.RETRAINED
    assert plan(run, {**FRESH, SHARDS[0]: "STALE"}, {}, force=True).assets == ()


def test_weights_that_were_not_judged_are_not_trained_again_but_judged(registry):
    run = registered_regressor("demo")
    found = plan(run, FRESH, {}, is_judged=False)
    assert found == Plan(is_due=True, reason="all is fresh, but was not judged yet")
    stale = {**FRESH, SHARDS[0]: "STALE"}
    assert not plan(run, stale, {}, is_judged=False).is_due
    failed = {(keys.ONNX, "demo"): ["a check failed"]}
    assert not plan(run, FRESH, failed, is_judged=False).is_due


def select(instance, challengers: str) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(keys.SELECTION, metadata={"challengers": challengers})
    )


@pytest.mark.parametrize("key", [keys.PREDICTIONS, keys.ONNX])
def test_a_run_is_judged_if_it_challenged_since_it_was_completed(instance, key):
    select(instance, "demo")
    for made in (keys.PREDICTIONS, keys.ONNX):
        report(instance, made, "1")
    assert not was_judged(instance, "demo"), "what it was before was judged"
    select(instance, "demo-scratch, my-demo")
    assert not was_judged(instance, "demo"), "others were judged"
    select(instance, "demo-scratch, demo")
    select(instance, "demo-scratch")
    assert was_judged(instance, "demo"), "by a choice before the last one"
    report(instance, key, "1", "demo-scratch")
    assert was_judged(instance, "demo")
    report(instance, key, "2")
    assert not was_judged(instance, "demo")


@pytest.mark.parametrize(
    ("item", "changed", "assets"),
    [
        (SHARDS[1], {(keys.WEIGHTS, "demo"): "STALE"}, []),
        ((keys.ENCODER, "demo"), {(keys.WEIGHTS, "demo"): "STALE"}, []),
        ((keys.WEIGHTS, "demo"), {(keys.ONNX, "demo"): "MISSING"}, []),
        ((keys.WEIGHTS, "demo"), {(keys.WEIGHTS, "demo"): "STALE"}, [*keys.RETRAINED]),
        ((keys.ONNX, "demo"), {(keys.ONNX, "demo"): "STALE"}, [keys.ONNX]),
        ((keys.ONNX, "demo"), {(keys.PREDICTIONS, "demo"): "STALE"}, []),
    ],
)
def test_nothing_follows_what_failed_its_checks(registry, item, changed, assets):
    found = plan(registered_regressor("demo"), {**FRESH, **changed}, {item: ["a check failed"]})
    assert list(found.assets) == assets
    assert ("a check failed" in found.reason) is not bool(assets)


def tick(instance, when: dt.datetime):
    return schedules.evaluate("demo", instance, when, logging.getLogger("tick"))


def test_tick_asks_once_for_each_time_it_is_for(registry, instance, monkeypatch):
    known = {**FRESH, (keys.WEIGHTS, "demo"): "STALE"}
    monkeypatch.setattr(schedules, "look_at", lambda *_asked: (known, ["a reason"]))
    monday = dt.datetime(2026, 11, 30, 3, tzinfo=dt.timezone.utc)
    first, again = tick(instance, monday), tick(instance, monday)
    later = tick(instance, monday + dt.timedelta(days=7))
    assert first.run_key == again.run_key == "demo 2026-11-30T03:00Z"
    assert later.run_key != first.run_key
    assert first.partition_key == "demo"
    assert first.asset_selection == ALL
    assert first.run_config["ops"]["production__selection"]["config"] == {"challenger": "demo"}
    known[keys.WEIGHTS, "demo"] = "FRESH"
    select(instance, "demo")
    skipped = tick(instance, monday)
    assert isinstance(skipped, dg.SkipReason)
    assert "training again would give the same weights" in str(skipped.skip_message)


def asked_by_schedule() -> dg.RunRequest:
    """Return what the schedule of the run `demo` asks for, as the daemon resolves it."""
    (schedule,) = schedules.schedules().schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition)
    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance,
            scheduled_execution_time=dt.datetime(2026, 11, 30, 3, tzinfo=dt.timezone.utc),
            repository_def=defs().get_repository_def(),
        )
        (asked,) = schedule.evaluate_tick(context).run_requests or ()
    return asked


def test_tick_lets_a_run_challenge_that_was_trained_but_not_judged(registry, instance, monkeypatch):
    monkeypatch.setattr(schedules, "look_at", lambda *_asked: (FRESH, []))
    told = []

    def answer(_ddp, _context, module, arguments=(), **_options) -> dg.MaterializeResult[None]:
        told.append((module.rpartition(".")[2], list(arguments)))
        return dg.MaterializeResult(metadata={"challengers": "demo"})

    monkeypatch.setattr(TorchDDP, "run", answer)
    asked = asked_by_schedule()
    assert asked.asset_selection == [keys.SELECTION, keys.PRODUCTION_ONNX]
    job = defs().resolve_job_def("retrain_regressor")
    job.execute_in_process(
        run_config=asked.run_config,
        tags=asked.tags,
        asset_selection=asked.asset_selection,
        partition_key=asked.partition_key,
        instance=instance,
        raise_on_error=False,  # nothing was published, and a check tells so
    )
    assert told == [("select_champion", ["--challenger=demo"]), ("publish", [])]
    assert was_judged(instance, "demo")


@pytest.mark.parametrize(
    ("job", "selection", "tags", "waits"),
    [
        ("retrain_regressor", None, {"xec/retrain": "demo"}, True),
        ("train_regressor", None, {"dagster/partition": "demo"}, True),
        ("train_regressor", None, {"dagster/partition": "never"}, False),
        ("draw_figures", None, {"dagster/partition": "demo"}, False),
        ("__ASSET_JOB", {keys.WEIGHTS}, {"dagster/partition": "demo"}, True),
        ("__ASSET_JOB", {keys.TABLE}, {"dagster/partition": "demo"}, False),
    ],
)
@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_tick_waits_for_a_training_that_is_not_finished(
    registry, instance, monkeypatch, job, selection, tags, waits, status
):
    known = {**FRESH, (keys.WEIGHTS, "demo"): "STALE"}
    monkeypatch.setattr(schedules, "look_at", lambda *_asked: (known, ["a reason"]))
    run = dg.DagsterRun(job_name=job, asset_selection=selection, tags=tags, status=status)
    instance.add_run(run)
    monday = dt.datetime(2026, 11, 30, 3, tzinfo=dt.timezone.utc)
    found = tick(instance, monday)
    assert isinstance(found, dg.SkipReason) is waits
    assert waits is (run.run_id in str(getattr(found, "skip_message", "")))
    instance.delete_run(run.run_id)
    instance.add_run(run.with_status(dg.DagsterRunStatus.FAILURE))
    assert isinstance(tick(instance, monday), dg.RunRequest), "a finished one is no obstacle"


def test_schedules_are_named_after_runs_and_off_at_first(registry):
    (schedule,) = schedules.schedules().schedules or ()
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.name == "retrain_demo"
    assert schedule.cron_schedule == "0 3 * * 1"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    names = schedule_names(["a-b", "a.b", "c-d"])
    assert names["c-d"] == "retrain_c_d"
    assert len({*names.values()}) == 3
    assert all(name.isidentifier() for name in names.values())


def test_what_a_tick_asks_for_is_a_run_of_the_job():
    request = training_run(Plan(is_due=True, assets=keys.RETRAINED), "demo", "now")
    definitions = defs()
    job = definitions.resolve_job_def("retrain_regressor")
    assert set(request.asset_selection or ()) == job.asset_layer.selected_asset_keys
    ((step, given),) = request.run_config["ops"].items()
    assert step == definitions.resolve_assets_def(keys.SELECTION).op.name
    assert SelectionConfig(**given["config"]).arguments() == ["--challenger=demo"]


def observe(instance, version: str, dataset: str = "data.toy.val") -> None:
    tags = {keys.VERSION_TAG: version}
    event = dg.AssetObservation(keys.ROOT_FILES, partition=dataset, tags=tags)
    instance.report_runless_asset_event(event)


def build(instance, dataset: str = "data.toy.val", version: str | None = None) -> None:
    """Make the shards of a dataset from what was observed, by the present code or another."""

    @dg.asset(
        key=keys.SHARDS,
        deps=[keys.ROOT_FILES],
        code_version=version or code.SHARDS.version(),
        partitions_def=dg.StaticPartitionsDefinition(sorted(DATASETS)),
    )
    def shards() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion("s"))

    files = dg.AssetSpec(
        keys.ROOT_FILES, partitions_def=dg.StaticPartitionsDefinition(sorted(DATASETS))
    )
    dg.materialize([shards, files], instance=instance, partition_key=dataset, selection=[shards])


def test_shards_follow_files_that_changed_and_nothing_else(instance):
    assert list(sensors.shard_requests(instance)) == []
    observe(instance, "1")
    (first,) = sensors.shard_requests(instance)
    (again,) = sensors.shard_requests(instance)
    assert first.partition_key == "data.toy.val"
    assert first.run_key == again.run_key
    assert "data.toy.val 1" in str(first.run_key)
    build(instance)
    assert list(sensors.shard_requests(instance)) == []
    result = sensors.shards_follow(dg.build_sensor_context(instance))
    assert isinstance(result, dg.SkipReason)
    observe(instance, "2")
    (second,) = sensors.shard_requests(instance)
    assert second.run_key != first.run_key
    build(instance)
    observe(instance, "1")
    (back,) = sensors.shard_requests(instance)
    assert back.run_key != first.run_key, "an earlier content is built again"
    assert sensors.shards_follow.default_status == dg.DefaultSensorStatus.STOPPED


def test_shards_follow_the_code_that_makes_them(instance):
    observe(instance, "1")
    (first,) = sensors.shard_requests(instance)
    build(instance, version="older")
    (second,) = sensors.shard_requests(instance)
    assert second.partition_key == "data.toy.val"
    assert second.run_key != first.run_key
    assert code.SHARDS.version() in str(second.run_key)
    build(instance, version="newer")
    (back,) = sensors.shard_requests(instance)
    assert back.run_key != second.run_key, "earlier code makes them again"
    build(instance)
    assert list(sensors.shard_requests(instance)) == []


@pytest.fixture
def as_installed():
    """Yield an instance that starts runs again as the project's file says."""
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.ephemeral(settings={"run_retries": settings["run_retries"]}) as found:
        yield found


def tags_of_build(instance) -> dict[str, str]:
    observe(instance, "1")
    (asked,) = sensors.shard_requests(instance)
    return dict(asked.tags)


def test_a_build_whose_process_was_killed_begins_again(as_installed):
    tags, status = tags_of_build(as_installed), dg.DagsterRunStatus.STARTED
    run = dg.DagsterRun(job_name="build_shards", tags=tags, status=status)
    as_installed.add_run(run)
    as_installed.report_run_failed(run)  # as the server does that finds the process gone
    assert begins_again(as_installed, run.run_id) == "true"
    assert tags["dagster/max_runtime"] == str(24 * 3600), "nobody finds it after a reboot"


def test_a_build_that_failed_does_not_begin_again(as_installed):
    @dg.op
    def build() -> None:
        raise dg.Failure("wrong data", allow_retries=False)

    @dg.job
    def failing() -> None:
        build()

    tags = tags_of_build(as_installed)
    result = failing.execute_in_process(instance=as_installed, tags=tags, raise_on_error=False)
    assert begins_again(as_installed, result.run_id) == "false"


def begins_again(instance, run_id: str) -> str:
    """Return what Dagster noted for its daemon, which starts runs again."""
    ended = instance.get_run_by_id(run_id)
    assert ended.status == dg.DagsterRunStatus.FAILURE
    return str(ended.tags["dagster/will_retry"])


def test_shards_of_files_that_were_not_observed_yet_are_made_again(instance):
    build(instance)
    assert list(sensors.shard_requests(instance)) == []
    observe(instance, "1")
    (first,) = sensors.shard_requests(instance)
    assert first.partition_key == "data.toy.val"
    build(instance)
    assert list(sensors.shard_requests(instance)) == []


def test_files_that_are_still_being_copied_are_not_read(instance, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XEC_FILE_AGE", "60")
    folder = tmp_path / DATASETS["data.toy.val"].path
    folder.mkdir(parents=True)
    old, new = folder / "MCGamma_000001.root", folder / "MCGamma_000002.root"
    for path in (old, new):
        path.write_bytes(b"events")
    os.utime(old, (time.time() - 600,) * 2)
    result = sensors.datasets(dg.build_sensor_context(instance))
    assert isinstance(result, dg.SkipReason)
    assert "data.toy.val: 1 files, such as MCGamma_000002.root" in str(result.skip_message)
    assert not observation.HASH_CACHE.exists(), "nothing was hashed"
    os.utime(new, (time.time() - 61,) * 2)
    result = sensors.datasets(dg.build_sensor_context(instance))
    assert isinstance(result, dg.SensorResult)
    assert len(result.asset_events) == 1
    monkeypatch.setenv("XEC_FILE_AGE", "a minute")
    with pytest.raises(ConfigError, match="XEC_FILE_AGE is 'a minute': expected whole seconds"):
        sensors.min_age_seconds()


def report(instance, key: dg.AssetKey, version: str, partition: str = "demo", **tags: str) -> None:
    instance.report_runless_asset_event(
        dg.AssetMaterialization(key, partition=partition, tags={keys.VERSION_TAG: version, **tags})
    )


class Chain:
    """The inputs of predictions of the run `demo`, and predictions that were made from them."""

    def __init__(self, instance) -> None:
        self.instance = instance
        self.weights("w1")
        for key in ("data.toy.test", "data.toy.val", "data.toy.train"):
            report(instance, keys.SHARDS, "s1", key)

    def weights(self, version: str, run: str = "demo") -> None:
        report(self.instance, keys.WEIGHTS, version, run)

    def predict(self, code: str | None = None) -> None:
        """Make the predictions: tags as Dagster writes them."""
        pointers = {}
        for key in (keys.WEIGHTS, keys.SHARDS):
            record = self.instance.get_latest_data_version_record(key)
            pointers[f"dagster/input_event_pointer/{'/'.join(key.path)}"] = str(record.storage_id)
        version = code or str(predictions_csv.get_asset_spec().code_version)
        report(
            self.instance,
            keys.PREDICTIONS,
            "p",
            "demo",
            **{"dagster/code_version": version, **pointers},
        )

    def changes(self) -> list[str]:
        return list(changes(self.instance, predictions_csv, "demo"))


def test_what_changed_is_read_from_the_events(instance):
    chain = Chain(instance)
    assert chain.changes() == ["was never made"]
    chain.predict()
    assert chain.changes() == []
    chain.weights("w1")
    assert chain.changes() == [], "the same content again"
    chain.weights("w2", "demo-scratch")
    report(instance, keys.SHARDS, "s2", "data.toy.train")
    assert chain.changes() == [], "of no concern to these predictions"
    chain.weights("w2")
    report(instance, keys.SHARDS, "s2", "data.toy.test")
    assert chain.changes() == [
        "has other input: regressor/weights [demo]",
        "has other input: data/shards [data.toy.test]",
    ]
    chain.predict()
    assert chain.changes() == []
    chain.predict(code="older")
    assert chain.changes() == ["has other code"]


def train(instance, run: str = "demo") -> None:
    """Make weights from what is there, so that Dagster itself writes the tags."""
    spec = weights.get_asset_spec()

    @dg.asset(
        key=spec.key,
        deps=spec.deps,
        code_version=spec.code_version,
        partitions_def=weights.partitions_def,
    )
    def trained() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(data_version=dg.DataVersion("w"))

    definitions = defs()
    above = [definitions.resolve_assets_def(dep.asset_key) for dep in spec.deps]
    dg.materialize([trained, *above], instance=instance, partition_key=run, selection=[trained])


def test_inputs_without_any_event_are_no_obstacle(instance):
    train(instance)
    assert list(changes(instance, weights, "demo")) == []
    report(instance, keys.ENCODER, "e1")
    report(instance, keys.SHARDS, "s1", "data.toy.val")
    assert list(changes(instance, weights, "demo")) == [
        "has other input: data/shards [data.toy.val]",
        "has other input: mae/encoder [demo]",
    ]
    train(instance)
    assert list(changes(instance, weights, "demo")) == []


def test_tick_sees_new_root_files_configurations_and_encoders(instance):
    run = registered_regressor("demo")
    observe(instance, "1", "data.toy.train")
    statuses, causes = look_at(instance, run)
    assert set(statuses.values()) == {"MISSING"}
    assert len(statuses) == len(causes) == len(FRESH)
    version = str(weights.get_asset_spec().code_version)
    build(instance, "data.toy.train")
    report(instance, keys.ENCODER, "e1")
    pointers = {}
    for key in (keys.SHARDS, keys.ENCODER):
        record = instance.get_latest_data_version_record(key)
        pointers[f"dagster/input_event_pointer/{'/'.join(key.path)}"] = str(record.storage_id)
    report(instance, keys.WEIGHTS, "w", "demo", **{"dagster/code_version": version, **pointers})
    assert list(changes(instance, weights, "demo")) == []
    report(instance, keys.ENCODER, "e2")
    event = dg.AssetObservation(keys.CONFIG, partition="demo", tags={keys.VERSION_TAG: "c2"})
    instance.report_runless_asset_event(event)
    assert list(changes(instance, weights, "demo")) == [
        "has other input: config/regressor [demo]",
        "has other input: mae/encoder [demo]",
    ]
