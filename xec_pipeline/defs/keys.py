"""Names of the assets, and of what they have in common."""

from typing import Final

import dagster as dg

ROOT_FILES: Final = dg.AssetKey(["raw", "root_files"])
CONFIG: Final = dg.AssetKey(["config", "regressor"])
MAE_CONFIG: Final = dg.AssetKey(["config", "mae"])
INPAINTER_CONFIG: Final = dg.AssetKey(["config", "inpainter"])
EVALUATION_CONFIG: Final = dg.AssetKey(["config", "regressor_evaluation"])
EXPORT_CONFIG: Final = dg.AssetKey(["config", "regressor_export"])
INPAINTER_EXPORT_CONFIG: Final = dg.AssetKey(["config", "inpainter_export"])
MEASUREMENT_CONFIG: Final = dg.AssetKey(["config", "inpainter_measurement"])
PRODUCTION_CONFIG: Final = dg.AssetKey(["config", "production"])
SHARDS: Final = dg.AssetKey(["data", "shards"])
ENCODER: Final = dg.AssetKey(["mae", "encoder"])
WEIGHTS: Final = dg.AssetKey(["regressor", "weights"])
PREDICTIONS: Final = dg.AssetKey(["regressor", "predictions_csv"])
BASELINES: Final = dg.AssetKey(["regressor", "baselines_csv"])
FIGURES: Final = dg.AssetKey(["regressor", "resolution_pdf"])
TABLE: Final = dg.AssetKey(["regressor", "resolution_table"])
ONNX: Final = dg.AssetKey(["regressor", "onnx"])
DISPLAYS: Final = dg.AssetKey(["regressor", "event_displays"])
EFFICIENCY: Final = dg.AssetKey(["regressor", "efficiency"])
INPAINTER: Final = dg.AssetKey(["inpainter", "weights"])
RECOVERED: Final = dg.AssetKey(["inpainter", "predictions_root"])
ANALYSIS: Final = dg.AssetKey(["inpainter", "analysis"])
DEAD_STUDY: Final = dg.AssetKey(["inpainter", "dead_study"])
INPAINTER_EXPORT: Final = dg.AssetKey(["inpainter", "export"])
REPORT: Final = dg.AssetKey(["regressor", "report"])
MAE_REPORT: Final = dg.AssetKey(["mae", "report"])
INPAINTER_REPORT: Final = dg.AssetKey(["inpainter", "report"])
SELECTION: Final = dg.AssetKey(["production", "selection"])
PRODUCTION_ONNX: Final = dg.AssetKey(["production", "onnx"])
LEADERBOARD: Final = dg.AssetKey(["leaderboard"])
RETRAINED: Final = (WEIGHTS, PREDICTIONS, BASELINES, TABLE, ONNX)
"""What a retraining makes of a run, before it challenges the model in use."""
UNPARTITIONED: Final = (PRODUCTION_CONFIG, SELECTION, PRODUCTION_ONNX, LEADERBOARD)
"""What concerns all runs."""

OWNERS: Final = ["team:xec"]
GPU_POOL: Final = "gpu"
PRODUCTION_POOL: Final = "production"
"""One at a time: two selections at once would both compare with the same champion."""
VERSION_TAG: Final = "dagster/data_version"
"""Tag under which Dagster keeps the data version of a materialization or an observation."""
CODE_TAG: Final = "dagster/code_version"
"""Tag under which Dagster keeps the version of the code that made something."""


def all_keys() -> list[dg.AssetKey]:
    """Return the names of all assets."""
    return [value for value in globals().values() if isinstance(value, dg.AssetKey)]
