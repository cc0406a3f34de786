"""Jobs: what is started together by hand. Figures are not among it; they follow by themselves."""

import dagster as dg

from xec_pipeline.defs import keys

build_shards = dg.define_asset_job(
    "build_shards",
    dg.AssetSelection.assets(keys.SHARDS),
    description="ROOT files of a dataset to shards.",
    tags={"xec/kind": "data"},
)

pretrain_mae = dg.define_asset_job(
    "pretrain_mae",
    dg.AssetSelection.assets(keys.ENCODER),
    description="Train the encoder of a masked-autoencoder run.",
    tags={"xec/kind": "train"},
)

train_regressor = dg.define_asset_job(
    "train_regressor",
    dg.AssetSelection.assets(keys.WEIGHTS, keys.PREDICTIONS, keys.BASELINES),
    description="Train a run and write its tables.",
    tags={"xec/kind": "train"},
)

train_inpainter = dg.define_asset_job(
    "train_inpainter",
    dg.AssetSelection.assets(keys.INPAINTER, keys.RECOVERED),
    description="Train an inpainter and recover hidden sensors of the test events.",
    tags={"xec/kind": "train"},
)

study_dead_sensors = dg.define_asset_job(
    "study_dead_sensors",
    dg.AssetSelection.assets(keys.DEAD_STUDY),
    description="Resolutions of a regressor with dead sensors, left dead or filled.",
    tags={"xec/kind": "evaluate"},
)

analyze_inpainter = dg.define_asset_job(
    "analyze_inpainter",
    dg.AssetSelection.assets(keys.ANALYSIS),
    description="Tables and figures of the sensors that an inpainter recovered.",
    tags={"xec/kind": "figures"},
    executor_def=dg.in_process_executor,
)

export_inpainter = dg.define_asset_job(
    "export_inpainter",
    dg.AssetSelection.assets(keys.INPAINTER_EXPORT),
    description="TorchScript and ONNX model of an inpainter.",
    tags={"xec/kind": "export"},
)

evaluate_regressor = dg.define_asset_job(
    "evaluate_regressor",
    dg.AssetSelection.assets(
        keys.BASELINES,
        keys.FIGURES,
        keys.TABLE,
        keys.DISPLAYS,
        keys.EFFICIENCY,
        keys.ONNX,
        keys.REPORT,
    ),
    description=(
        "What follows from the tables and weights of a run: conventional reconstruction beside it, "
        "figures, limits, ONNX, report."
    ),
    tags={"xec/kind": "evaluate"},
)

evaluate_inpainter = dg.define_asset_job(
    "evaluate_inpainter",
    dg.AssetSelection.assets(
        keys.ANALYSIS, keys.DEAD_STUDY, keys.INPAINTER_EXPORT, keys.INPAINTER_REPORT
    ),
    description="Analysis, dead-sensor study, exported models and report of an inpainter.",
    tags={"xec/kind": "evaluate"},
)

draw_figures = dg.define_asset_job(
    "draw_figures",
    dg.AssetSelection.assets(keys.FIGURES, keys.TABLE),
    description="Figures and table of a run.",
    tags={"xec/kind": "figures"},
    executor_def=dg.in_process_executor,
)

draw_displays = dg.define_asset_job(
    "draw_displays",
    dg.AssetSelection.assets(keys.DISPLAYS),
    description="Worst events of a run, and what the faces of the detector count for.",
    tags={"xec/kind": "figures"},
)

compare_with_limit = dg.define_asset_job(
    "compare_with_limit",
    dg.AssetSelection.assets(keys.EFFICIENCY),
    description="Efficiency of a run against the physical limit of its toy events.",
    tags={"xec/kind": "evaluate"},
)

export_onnx = dg.define_asset_job(
    "export_onnx",
    dg.AssetSelection.assets(keys.ONNX),
    description="ONNX model of a run.",
    tags={"xec/kind": "export"},
)

report_regressor = dg.define_asset_job(
    "report_regressor",
    dg.AssetSelection.assets(keys.REPORT),
    description="All about a regressor in one HTML file.",
    tags={"xec/kind": "figures"},
    executor_def=dg.in_process_executor,
)

report_mae = dg.define_asset_job(
    "report_mae",
    dg.AssetSelection.assets(keys.MAE_REPORT),
    description="All about a masked autoencoder in one HTML file.",
    tags={"xec/kind": "figures"},
    executor_def=dg.in_process_executor,
)

report_inpainter = dg.define_asset_job(
    "report_inpainter",
    dg.AssetSelection.assets(keys.INPAINTER_REPORT),
    description="All about an inpainter in one HTML file.",
    tags={"xec/kind": "figures"},
    executor_def=dg.in_process_executor,
)

retrain_regressor = dg.define_asset_job(
    "retrain_regressor",
    dg.AssetSelection.assets(*keys.RETRAINED, keys.SELECTION, keys.PRODUCTION_ONNX),
    description=(
        "Train a run again, write its tables and its ONNX model, and let it challenge the model in "
        "use. Schedules start it."
    ),
    tags={"xec/kind": "train"},
)

choose_model = dg.define_asset_job(
    "choose_model",
    dg.AssetSelection.assets(keys.SELECTION, keys.PRODUCTION_ONNX),
    description="Choose the model in use among all complete runs, and publish it.",
    tags={"xec/kind": "evaluate"},
)
