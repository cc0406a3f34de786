from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from xec_pipeline.defs import keys
from xec_pipeline.defs.automation import observation, sensors
from xec_pipeline.defs.automation.conditions import on_changed_data_or_code
from xec_pipeline.defs.checks.partitioned import partition_check
from xec_pipeline.defs.partitions import DATASETS
from xec_pipeline_tests.detector import made_up_database

DATASET = "data.toy.val"


@pytest.fixture
def instance(tmp_path: Path):
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "instance")) as found:
        yield found


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ROOT file in the place of the toy validation events; all other datasets are absent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XEC_FILE_AGE", "0")
    path = tmp_path / DATASETS[DATASET].path / "MCGamma_000001.root"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"events")
    return path


def tick(sensor, instance) -> list[dg.AssetObservation]:
    result = sensor(dg.build_sensor_context(instance=instance))
    found = result.asset_events if isinstance(result, dg.SensorResult) else []
    events = [event for event in found if isinstance(event, dg.AssetObservation)]
    for event in events:
        instance.report_runless_asset_event(event)
    return events


def test_each_version_of_a_dataset_is_reported_once(instance, dataset):
    (first,) = tick(sensors.datasets, instance)
    assert first.partition == DATASET
    assert tick(sensors.datasets, instance) == []
    dataset.write_bytes(b"other events")
    (second,) = tick(sensors.datasets, instance)
    assert second.tags != first.tags
    dataset.write_bytes(b"events")
    (third,) = tick(sensors.datasets, instance)
    assert third.tags == first.tags


def test_large_datasets_are_read_over_several_ticks(instance, dataset):
    assert list(observation.changed_datasets(instance, reading_seconds=0)) == []
    assert len(list(observation.changed_datasets(instance))) == 1
    assert len(list(observation.changed_datasets(instance, reading_seconds=0))) == 1


def test_run_configuration_is_reported_by_its_options(instance, tmp_path, monkeypatch):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    path = tmp_path / "regressor" / "demo.yaml"
    path.parent.mkdir()
    path.write_text("preset: demo\n")
    assert len(tick(sensors.run_registry, instance)) == 4, "training, evaluation, export; rule"
    path.write_text("preset: demo  # as it is\n")
    assert tick(sensors.run_registry, instance) == []
    path.write_text("preset: demo\ntraining: {lr: 7.7e-3}\n")
    assert len(tick(sensors.run_registry, instance)) == 1
    path.write_text("preset: demo\ntraining: {lr: 7.7e-3}\nexport: {onnx: other.onnx}\n")
    (event,) = tick(sensors.run_registry, instance)
    assert event.asset_key == keys.EXPORT_CONFIG
    path.write_text("preset: demo\ntraining: {lrr: 7.7e-3}\n")
    assert tick(sensors.run_registry, instance) == []


def test_configurations_of_masked_autoencoders_are_reported_too(instance, tmp_path, monkeypatch):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    path = tmp_path / "mae" / "demo.yaml"
    path.parent.mkdir()
    tick(sensors.run_registry, instance)
    path.write_text("")
    (event,) = tick(sensors.run_registry, instance)
    assert (event.asset_key, event.partition) == (keys.MAE_CONFIG, "demo")
    path.write_text("# as it is\n")
    assert tick(sensors.run_registry, instance) == []
    path.write_text("model: {mask_ratio: 0.55}\n")
    assert len(tick(sensors.run_registry, instance)) == 1


def test_dead_sensors_in_a_database_count_as_they_are(instance, tmp_path, monkeypatch):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    url = f"sqlite:///{tmp_path / 'meg.db'}"
    engine = sa.create_engine(url, poolclass=NullPool)
    made_up_database.create(engine)
    path = tmp_path / "inpainter" / "demo.yaml"
    path.parent.mkdir()
    path.write_text(f"preset: inpainter-demo\nvalidation: {{dead_file: '{url}', dead_run: 101}}\n")

    def reported() -> bool:
        found = tick(sensors.run_registry, instance)
        return keys.MEASUREMENT_CONFIG in {event.asset_key for event in found}

    assert reported()
    assert not reported()
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE XECPMStatus SET IsBad = 1 WHERE id = 21 AND idx = 7"))
    assert reported()
    (tmp_path / "meg.db").unlink()
    assert not reported(), "a database that does not answer says nothing"


def test_the_rule_of_selection_is_reported_by_what_it_decides(instance, tmp_path, monkeypatch):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    (default,) = tick(sensors.run_registry, instance)
    assert (default.asset_key, default.partition) == (keys.PRODUCTION_CONFIG, None)
    path = tmp_path / "production.yaml"
    path.write_text("worse_sigma: 2  # as it is\nreconsider_days: 7\n")
    assert tick(sensors.run_registry, instance) == []
    path.write_text("worse_sigma: 3\n")
    (event,) = tick(sensors.run_registry, instance)
    assert event.tags != default.tags


def nothing() -> None:
    """Do nothing while an asset is being made."""


class Tables:
    """A CSV and its figure, as a graph with the condition under test."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: Any = None
        self.csv_version = "1"
        self.figure_code = "1"
        self.while_drawing: Callable[[], Any] = nothing

    def definitions(self) -> dg.Definitions:
        @dg.asset(code_version="1")
        def csv() -> dg.MaterializeResult[None]:
            return dg.MaterializeResult(data_version=dg.DataVersion(self.csv_version))

        @dg.asset(
            deps=[csv],
            code_version=self.figure_code,
            automation_condition=on_changed_data_or_code(),
        )
        def figure() -> dg.MaterializeResult[None]:
            read = dg.DataVersion(self.csv_version)
            self.while_drawing()
            return dg.MaterializeResult(data_version=read)

        return dg.Definitions([csv, figure])

    def make(self, *names: str) -> None:
        """Make them in one run whose record names them, as the web interface does."""
        job = self.definitions().resolve_implicit_global_asset_job_def()
        chosen = [dg.AssetKey(name) for name in names]
        job.execute_in_process(instance=self.instance, asset_selection=chosen, raise_on_error=False)

    def make_csv(self, version: str) -> None:
        self.csv_version = version
        self.make("csv")

    def make_figure(self, while_drawing: Callable[[], Any] = nothing) -> None:
        self.while_drawing = while_drawing
        self.make("figure")
        self.while_drawing = nothing

    def look(self) -> bool:
        """Let the sensor look, and return whether it asks for the figure."""
        result = dg.evaluate_automation_conditions(
            self.definitions(), instance=self.instance, cursor=self.cursor
        )
        self.cursor = result.cursor
        return bool(result.total_requested)

    def asked_for(self) -> bool:
        """Let the sensor look, and do what it asks for."""
        asked = self.look()
        if asked:
            self.make("figure")
        return asked


def test_figures_follow_content_and_code_and_nothing_else(instance):
    tables = Tables(instance)
    assert not tables.asked_for()
    tables.make_csv("1")
    assert tables.asked_for()
    assert not tables.asked_for()
    tables.make_csv("1")
    assert not tables.asked_for(), "the same content again"
    tables.make_csv("2")
    assert tables.asked_for()
    assert not tables.asked_for()
    tables.figure_code = "2"
    assert tables.asked_for()
    assert not tables.asked_for()
    tables.csv_version = "3"
    tables.make("csv", "figure")
    assert not tables.asked_for(), "made together"


def draw_then_change(tables: Tables) -> None:
    tables.make_figure()
    tables.make_csv("2")


def change_before_drawing(tables: Tables) -> None:
    tables.make_csv("2")


def change_while_drawing(tables: Tables) -> None:
    tables.make_figure(lambda: tables.make_csv("2"))


def look_while_drawing(tables: Tables) -> None:
    def change() -> None:
        tables.make_csv("2")
        assert not tables.look(), "it is being drawn"

    tables.make_figure(change)


def change_code_while_drawing(tables: Tables) -> None:
    def change() -> None:
        tables.figure_code = "2"
        assert not tables.look(), "it is being drawn"

    tables.make_figure(change)


@pytest.mark.parametrize(
    "change",
    [
        draw_then_change,
        change_before_drawing,
        change_while_drawing,
        look_while_drawing,
        change_code_while_drawing,
    ],
)
def test_what_comes_after_a_request_is_drawn_too(instance, change):
    tables = Tables(instance)
    assert not tables.look()
    tables.make_csv("1")
    assert tables.look()
    change(tables)
    assert tables.asked_for()
    assert not tables.asked_for()
    assert not tables.asked_for()


def fail() -> None:
    raise dg.Failure("the disk is full")


def test_a_figure_that_failed_beside_its_table_is_asked_for_once(instance):
    tables = Tables(instance)
    tables.make("csv", "figure")
    assert not tables.look()
    tables.csv_version, tables.while_drawing = "2", fail
    tables.make("csv", "figure")
    assert tables.asked_for()
    assert not tables.asked_for(), "it failed again"


def test_a_figure_that_was_missing_from_the_beginning_is_drawn(instance):
    tables = Tables(instance)
    tables.make_csv("1")
    assert tables.asked_for(), "the sensor looks for the first time"
    assert not tables.asked_for()


RUNS = dg.StaticPartitionsDefinition(["a", "b"])


class CheckedTables:
    """Tables of two runs with a blocking check, something optional, and what follows from them."""

    def __init__(self, instance: dg.DagsterInstance, *, waits_for_optional: bool = True) -> None:
        self.instance = instance
        self.cursor: Any = None
        self.versions = {"a": "1", "b": "1"}
        self.while_exporting: Callable[[], Any] = nothing
        self.is_complete = {"a": True, "b": True}

        @dg.asset(code_version="1", partitions_def=RUNS)
        def csv(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
            version = self.versions[context.partition_key]
            return dg.MaterializeResult(data_version=dg.DataVersion(version))

        @partition_check(
            asset=csv.key, partitions_def=RUNS, blocking=True, description="There are all rows."
        )
        def complete(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=self.is_complete[context.partition_key])

        @dg.asset(code_version="1", partitions_def=RUNS)
        def model() -> None:
            """Is there for some runs only."""
            self.while_exporting()

        @partition_check(
            asset=model.key, partitions_def=RUNS, blocking=True, description="It is exact."
        )
        def exact(_context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=False)

        @dg.asset(
            deps=[csv, model],
            code_version="1",
            partitions_def=RUNS,
            automation_condition=on_changed_data_or_code(
                dg.AssetSelection.assets(model.key), waits_for_optional=waits_for_optional
            ),
        )
        def figure() -> None:
            """Drawn from tables."""

        self.everything = (csv, complete, model, exact, figure)

    def make(self, name: str, run: str) -> None:
        selection = dg.AssetSelection.assets(name)
        dg.materialize(
            self.everything,
            instance=self.instance,
            partition_key=run,
            selection=selection,
            raise_on_error=False,
        )

    def asked_for(self) -> list[str]:
        """Let the sensor look, and do what it asks for."""
        csv, complete, model, exact, figure = self.everything
        result = dg.evaluate_automation_conditions(
            dg.Definitions([csv, model, figure], asset_checks=[complete, exact]),
            instance=self.instance,
            cursor=self.cursor,
        )
        self.cursor = result.cursor
        found = sorted(filter(None, result.get_requested_partitions(figure.key)))
        for run in found:
            self.make("figure", run)
        return found


def test_a_check_of_one_run_decides_over_no_other_one(instance):
    tables = CheckedTables(instance)
    tables.is_complete["b"] = False
    assert tables.asked_for() == []
    tables.make("csv", "b")
    assert tables.asked_for() == []
    tables.make("csv", "a")
    assert tables.asked_for() == ["a"], "that of a passed, that of b did not"
    assert tables.asked_for() == []
    tables.versions = {"a": "2", "b": "2"}
    tables.make("csv", "a")
    tables.make("csv", "b")
    assert tables.asked_for() == ["a"], "the latest evaluation of any run is not that of a"
    tables.is_complete["b"] = True
    tables.make("csv", "b")
    assert tables.asked_for() == ["b"]


def test_what_is_optional_holds_nothing_back(instance):
    tables = CheckedTables(instance)
    tables.asked_for()
    tables.make("model", "a")
    tables.make("csv", "a")
    assert tables.asked_for() == ["a"]


@pytest.mark.parametrize("waits", [True, False])
def test_what_shows_an_optional_input_waits_until_it_is_made(instance, waits):
    tables = CheckedTables(instance, waits_for_optional=waits)
    tables.asked_for()
    tables.make("csv", "a")
    found = []
    tables.while_exporting = lambda: found.append(tables.asked_for())
    tables.make("model", "a")
    assert found == [[] if waits else ["a"]]
    assert tables.asked_for() == ["a"], "now, or once more with the optional input"
