"""Resources as the assets find them."""

import os

import dagster as dg

from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP


@dg.definitions
def resources() -> dg.Definitions:
    """Return the resources; XEC_NPROC and XEC_BACKEND choose number of ranks and backend."""
    ddp = TorchDDP(
        nproc_per_node=os.environ.get("XEC_NPROC", "auto"),
        backend=os.environ.get("XEC_BACKEND", "auto"),
    )
    return dg.Definitions(resources={"ddp": ddp, "mlflow": MlflowTracking()})
