"""Which code decides the content of which asset."""

import dataclasses
from pathlib import Path
from typing import Final

from xec_pipeline.code_versions import PACKAGE_DIR, code_version_of

# What talks to the user, or only carries names and paths, changes no content.
_NO_CONTENT: Final = (
    "xec_pipeline.cli",
    "xec_pipeline.code_versions",
    "xec_pipeline.config.cron",
    "xec_pipeline.config.flags",
    "xec_pipeline.config.registry",
    "xec_pipeline.config.retraining",
    "xec_pipeline.data.shard_summary",
    "xec_pipeline.errors",
    "xec_pipeline.revision",
    "xec_pipeline.evaluation.previews",
    "xec_pipeline.training.model_registry",
    "xec_pipeline.training.record",
    "xec_pipeline.training.reporting",
    "xec_pipeline.training.system_metrics",
    "xec_pipeline.training.tracking",
    "xec_pipeline.lifetime",
    "xec_pipeline.workers.pipes",
    "xec_pipeline.workers.table_metadata",
)
# How shards are made reaches the rest through the content of the shards.
_SHARD_MAKING: Final = (
    "xec_pipeline.data.root_files",
    "xec_pipeline.data.root_io",
    "xec_pipeline.data.validation",
)
_DRAWING: Final = ("xec_pipeline.evaluation.plots", "xec_pipeline.evaluation.report")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Code:
    """The modules that a worker reaches, but for some; further files, versions of libraries."""

    worker: str
    without: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()

    def version(self, package_dir: Path = PACKAGE_DIR) -> str:
        """Return what is to be an asset's `code_version`."""
        return code_version_of(
            f"xec_pipeline.workers.{self.worker}",
            without=(*_NO_CONTENT, *self.without),
            libraries=self.libraries,
            resources=self.resources,
            package_dir=package_dir,
        )


SHARDS: Final = Code(worker="shards", libraries=("uproot",))
# Trainings leave tables of predictions beside the weights, and what writes those takes part too.
WEIGHTS: Final = Code(worker="train", without=_SHARD_MAKING, libraries=("torch",))
ENCODER: Final = Code(worker="train_mae", without=_SHARD_MAKING, libraries=("torch",))
PREDICTIONS: Final = Code(
    worker="evaluate", without=(*_SHARD_MAKING, *_DRAWING), libraries=("torch",)
)
BASELINES: Final = Code(worker="baselines", without=(*_SHARD_MAKING, *_DRAWING))
# One worker draws the figures or fills the table.
FIGURES: Final = Code(
    worker="figures",
    without=("xec_pipeline.evaluation.comparison", "xec_pipeline.evaluation.compared_tables"),
    libraries=("matplotlib",),
)
TABLE: Final = Code(worker="figures", without=_DRAWING)
ONNX: Final = Code(
    worker="export",
    # The events that the check of the exported model uses, and how the model was trained.
    without=(*_SHARD_MAKING, "xec_pipeline.simulation", "xec_pipeline.training.loop"),
    libraries=("torch", "onnx"),
)
DISPLAYS: Final = Code(
    worker="displays",
    without=(*_SHARD_MAKING, "xec_pipeline.training.loop"),
    libraries=("torch", "matplotlib"),
)
EFFICIENCY: Final = Code(worker="efficiency", libraries=("matplotlib",))
INPAINTER: Final = Code(worker="train_inpainter", without=_SHARD_MAKING, libraries=("torch",))
RECOVERED: Final = Code(worker="recover", without=_DRAWING, libraries=("torch",))
ANALYSIS: Final = Code(worker="analyze", libraries=("matplotlib",))
DEAD_STUDY: Final = Code(
    worker="dead_study", without=(*_SHARD_MAKING, *_DRAWING), libraries=("torch",)
)
INPAINTER_EXPORT: Final = Code(
    worker="export_inpainter",
    without=(*_SHARD_MAKING, "xec_pipeline.simulation", "xec_pipeline.training.loop"),
    libraries=("torch", "onnx"),
)
REPORT: Final = Code(
    worker="report",
    # It shows what files tell; how a checkpoint without a record is read does not matter.
    without=("xec_pipeline.training", "xec_pipeline.data", "xec_pipeline.simulation"),
    libraries=("matplotlib", "pypdfium2", "jinja2", "markdown-it-py"),
    resources=("evaluation/run_report/templates/*",),
)
SELECTION: Final = Code(worker="select_champion", without=("xec_pipeline.evaluation.plots",))
PUBLISHED: Final = Code(worker="publish")
LEADERBOARD: Final = Code(worker="leaderboard")
