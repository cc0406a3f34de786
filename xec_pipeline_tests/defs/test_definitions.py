import subprocess
import sys

import dagster as dg
import pytest

from xec_pipeline.definitions import defs
from xec_pipeline.defs import keys

MADE = {
    "data/shards",
    "mae/encoder",
    "regressor/weights",
    "regressor/predictions_csv",
    "regressor/baselines_csv",
    "regressor/resolution_pdf",
    "regressor/resolution_table",
    "regressor/onnx",
    "regressor/event_displays",
    "regressor/efficiency",
    "inpainter/weights",
    "inpainter/predictions_root",
    "inpainter/analysis",
    "inpainter/dead_study",
    "inpainter/export",
    "regressor/report",
    "mae/report",
    "inpainter/report",
    "production/selection",
    "production/onnx",
    "leaderboard",
}
EXTERNAL = {"raw/root_files", "config/regressor", "config/mae", "config/inpainter"}
EXTERNAL |= {"config/regressor_evaluation", "config/regressor_export"}
EXTERNAL |= {"config/inpainter_measurement", "config/inpainter_export", "config/production"}
HEAVY = "torch uproot awkward matplotlib pandas mlflow dagster_mlflow scipy onnx onnxruntime"


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


@pytest.fixture(scope="module")
def specs(definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


LOAD = f"""
import sys, time
import dagster as dg
dagster_s = time.process_time()
from xec_pipeline.definitions import defs
dg.Definitions.validate_loadable(defs())
print(dagster_s, time.process_time())
sys.exit(",".join(sorted(set({HEAVY!r}.split()) & set(sys.modules))) or 0)
"""


def load() -> tuple[float, float]:
    """Return processor seconds of the import of Dagster, and of all until the graph is there."""
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    dagster_s, all_s = done.stdout.split()
    return float(dagster_s), float(all_s)


def test_loads_in_three_seconds_and_imports_nothing_heavy():
    """Three seconds are four times what the import of Dagster takes on a machine without load."""
    load()  # which may have to compile and parse all modules
    dagster_s, all_s = load()
    assert all_s < 4 * dagster_s


def test_graph_holds_the_chain(specs):
    assert set(specs) == MADE | EXTERNAL
    above = {
        name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in specs.items()
    }
    assert above["data/shards"] == {"raw/root_files"}
    assert above["mae/encoder"] == {"data/shards", "config/mae"}
    assert above["regressor/weights"] == {"data/shards", "config/regressor", "mae/encoder"}
    evaluated = {"data/shards", "config/regressor_evaluation"}
    assert above["regressor/predictions_csv"] == evaluated | {"regressor/weights"}
    for drawn in ("resolution_pdf", "resolution_table"):
        assert above[f"regressor/{drawn}"] == {
            "regressor/predictions_csv",
            "regressor/baselines_csv",
        }
    assert above["inpainter/weights"] == {"data/shards", "config/inpainter", "mae/encoder"}
    measured = {"data/shards", "inpainter/weights", "config/inpainter_measurement"}
    assert above["inpainter/predictions_root"] == measured | {"raw/root_files"}
    assert above["inpainter/analysis"] == {"inpainter/predictions_root"}
    assert above["inpainter/dead_study"] == measured | {"regressor/weights"}
    exported = {"data/shards", "inpainter/weights", "config/inpainter_export"}
    assert above["inpainter/export"] == exported
    assert above["regressor/onnx"] == {
        "data/shards",
        "regressor/weights",
        "config/regressor_export",
    }
    assert above["regressor/baselines_csv"] == evaluated
    made = {"regressor/weights", "regressor/predictions_csv", "regressor/onnx"}
    assert above["production/selection"] == made | {"config/production"}
    assert above["production/onnx"] == {"production/selection", "regressor/onnx"}
    assert above["leaderboard"] == {"regressor/resolution_table", "production/selection"}


def test_keys_tell_which_assets_have_no_partitions(specs):
    assert {key.to_user_string() for key in keys.all_keys()} == set(specs)
    without = {spec.key for spec in specs.values() if spec.partitions_def is None}
    assert without == set(keys.UNPARTITIONED)


@pytest.mark.parametrize("name", sorted(MADE | EXTERNAL))
def test_asset_is_described(specs, name):
    spec = specs[name]
    assert spec.description
    assert spec.metadata["dagster/code_references"].code_references
    assert spec.owners
    assert spec.kinds
    assert spec.group_name == ("production" if name == "leaderboard" else name.split("/")[0])
    assert (spec.code_version is not None) == (name in MADE)


CHECKS = {
    # True for those that stop what comes after them.
    "data/shards": {
        "shards_are_sound": True,
        "samples_do_not_overlap": True,
        "dead_sensors_are_few": False,
        "truth_is_in_range": False,
    },
    **{
        name: {"losses_are_finite": True, "beats_a_constant": False, "is_not_overfitted": False}
        for name in ("mae/encoder", "regressor/weights", "inpainter/weights")
    },
    "regressor/predictions_csv": {"predictions_are_complete": True},
    "regressor/resolution_table": {"biases_are_small": False, "resolution_is_no_worse": False},
    "regressor/onnx": {"onnx_matches_weights": True, "onnx_reproduces_network": True},
    "inpainter/predictions_root": {
        "recovered_sensors_are_complete": True,
        "network_beats_simple_methods": False,
    },
    "production/onnx": {"published_model_is_the_selected_one": True},
    "inpainter/export": {"exports_match_weights": False, "exports_reproduce_network": True},
}


def test_checks_are_described_and_block_where_a_result_must_not_be_used(definitions):
    specs = [spec for each in definitions.asset_checks or () for spec in each.check_specs]
    found: dict[str, dict[str, bool]] = {}
    for spec in specs:
        assert spec.description
        found.setdefault(spec.asset_key.to_user_string(), {})[spec.name] = spec.blocking
    assert found == CHECKS


def test_checks_have_the_partitions_of_their_assets(definitions, specs):
    for each in definitions.asset_checks or ():
        for check in each.check_specs:
            asset = specs[check.asset_key.to_user_string()]
            assert check.partitions_def == asset.partitions_def


def test_only_figures_and_tables_are_made_unasked(specs):
    automatic = {name for name, spec in specs.items() if spec.automation_condition is not None}
    assert automatic == {
        "regressor/resolution_pdf",
        "regressor/resolution_table",
        "inpainter/analysis",
        "regressor/report",
        "mae/report",
        "inpainter/report",
        "production/onnx",
        "leaderboard",
    }


def test_no_asset_returns_a_value(definitions):
    # A returned value would be pickled; only files and what is said about them may pass.
    for asset in definitions.assets or ():
        if isinstance(asset, dg.AssetsDefinition) and asset.is_executable:
            assert {output.dagster_type.kind.name for output in asset.op.output_defs} == {"NOTHING"}


@pytest.mark.parametrize(
    "name",
    [
        "mae/encoder",
        "regressor/weights",
        "regressor/predictions_csv",
        "regressor/event_displays",
        "inpainter/weights",
        "inpainter/predictions_root",
        "inpainter/dead_study",
    ],
)
def test_what_needs_a_gpu_waits_in_its_pool(definitions, name):
    key = dg.AssetKey.from_user_string(name)
    assert definitions.resolve_assets_def(key).op.pool == "gpu"


@pytest.mark.parametrize(
    "job",
    [
        "build_shards",
        "pretrain_mae",
        "train_regressor",
        "draw_figures",
        "export_onnx",
        "draw_displays",
        "compare_with_limit",
        "train_inpainter",
        "analyze_inpainter",
        "study_dead_sensors",
        "export_inpainter",
        "report_regressor",
        "report_mae",
        "report_inpainter",
        "retrain_regressor",
    ],
)
def test_jobs_can_be_built(definitions, job):
    assert definitions.resolve_job_def(job).partitions_def is not None
