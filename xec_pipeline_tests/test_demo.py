from pathlib import Path

import dagster as dg
import pytest

from xec_pipeline import demo
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.registry import registered_regressor
from xec_pipeline.defs import keys
from xec_pipeline.defs.staleness import AssetPartition, statuses
from xec_pipeline.errors import DataError, XecError

A = (keys.WEIGHTS, "demo")
B = (keys.PREDICTIONS, "demo")
C = (keys.FIGURES, "demo")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def bring_up_to_date(
    instance: dg.DagsterInstance, *answers: dict[AssetPartition, str]
) -> tuple[list[list[AssetPartition]], int]:
    """Return what was made together, and how many answers of Dagster were not asked for."""
    waiting = list(answers)
    made: list[list[AssetPartition]] = []
    n_made = demo.bring_up_to_date(
        [A, B, C], lambda: waiting.pop(0), lambda items: made.append(list(items)), instance
    )
    assert n_made == sum(map(len, made))
    return made, len(waiting)


def test_fresh_things_are_left_alone(instance):
    assert bring_up_to_date(instance, {A: "FRESH", B: "FRESH", C: "FRESH"}) == ([], 0)


def test_missing_things_are_made_in_order_without_asking_again(instance):
    answer = {A: "MISSING", B: "MISSING", C: "MISSING"}
    assert bring_up_to_date(instance, answer) == ([[A, B], [C]], 0)


def test_what_was_fresh_is_judged_again_after_a_change_before_it(instance):
    first = {A: "STALE", B: "FRESH", C: "FRESH"}
    second = {A: "FRESH", B: "STALE", C: "FRESH"}
    third = {A: "FRESH", B: "FRESH", C: "FRESH"}
    assert bring_up_to_date(instance, first, second, third) == ([[A], [B]], 0)


def test_dagster_is_asked_once_there_is_something_to_judge(instance, monkeypatch):
    monkeypatch.setattr(demo, "statuses", lambda _: {A: "FRESH"})
    ask = demo.ask_with(instance)
    assert ask()[A] == "MISSING"
    instance.report_runless_asset_event(dg.AssetMaterialization(keys.SHARDS, partition="toy"))
    assert ask()[A] == "FRESH"


def test_deleted_files_are_made_again(instance, tmp_path):
    path = tmp_path / "model.pth"
    path.write_text("weights")
    metadata = {"checkpoint": dg.MetadataValue.path(str(path))}
    event = dg.AssetMaterialization(keys.WEIGHTS, partition="demo", metadata=metadata)
    instance.report_runless_asset_event(event)
    fresh = {A: "FRESH", B: "FRESH", C: "FRESH"}
    assert bring_up_to_date(instance, fresh) == ([], 0)
    path.unlink()
    assert bring_up_to_date(instance, fresh, fresh) == ([[A]], 0)


def test_everything_of_the_run_is_wanted_after_what_it_is_made_from():
    runs = [registered_regressor(name) for name in demo.RUNS]
    wanted = demo.wanted_partitions(runs)
    names = [key.to_user_string() for key, _ in wanted]
    assert names[:6] == [
        *["data/shards"] * 3,
        "mae/encoder",
        "regressor/weights",
        "regressor/predictions_csv",
    ]
    scratch = [key for key, partition in wanted if partition == "demo-scratch"]
    assert scratch == [keys.WEIGHTS, keys.PREDICTIONS], "there to compare with"
    assert names[-7:] == [
        "inpainter/weights",
        "inpainter/predictions_root",
        "inpainter/analysis",
        "inpainter/dead_study",
        "inpainter/export",
        "inpainter/report",
        "mae/report",
    ]
    assert len(wanted) == 22


def test_toy_events_belong_to_the_datasets_of_the_run():
    assert set(demo.TOYS) == set(demo.dataset_paths([load_regressor_run("demo")]))


def test_the_runs_of_the_demo_differ_in_the_encoder_only():
    first, second = (registered_regressor(name) for name in demo.RUNS)
    assert (first.mae, second.mae) == ("demo", None)
    assert first.model_copy(update={"mae": None}).digest() == second.digest()


def test_failed_simulation_stops_the_demo(monkeypatch, tmp_path):
    monkeypatch.setenv("XEC_RUNS", str(Path("runs").absolute()))
    monkeypatch.chdir(tmp_path)
    Path("data").write_text("a file where a folder is needed")
    with pytest.raises(DataError, match="toy events could not be made"):
        demo.simulate([load_regressor_run("demo")])


def test_outside_the_repository_the_demo_says_where_to_start_it(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert demo.main() == 2
    assert "start the demo in the folder of the repository" in capsys.readouterr().out


def test_unknown_staleness_is_an_error_with_dagsters_words(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text("load_from: [{python_module: {module_name: no_such_module}}]\n")
    with pytest.raises(XecError, match="no_such_module"):
        statuses(workspace)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*run_id.*is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*expected_writer_count.*:dagster.PreviewWarning")
def test_failed_asset_stops_the_demo_with_its_cause(tmp_path, monkeypatch):
    monkeypatch.setenv("XEC_RUNS", str(Path("runs").absolute()))
    monkeypatch.chdir(tmp_path)  # where there are no ROOT files
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        make = demo.make_with(instance)
        wanted = r"data/shards \[data.toy.val\] failed: rank 0 failed: DataError: "
        with pytest.raises(XecError, match=wanted):
            make([(keys.SHARDS, "data.toy.val")])
