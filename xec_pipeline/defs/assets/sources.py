"""What comes from outside: ROOT files and run configurations. Sensors report their versions."""

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.partitions import dataset_partitions, run_partitions

root_files = dg.AssetSpec(
    keys.ROOT_FILES,
    description=(
        "ROOT files of a dataset: photons (npho) and relative time [s] of 4760 sensors and, in "
        "Monte Carlo, the truth. The version is the hash of the files' bytes."
    ),
    partitions_def=dataset_partitions,
    group_name="raw",
    kinds={"root"},
    owners=keys.OWNERS,
)

regressor_config = dg.AssetSpec(
    keys.CONFIG,
    description=(
        "YAML file of a run in the registry. The version is the hash of all options that can "
        "change the trained weights, so a comment changes nothing."
    ),
    partitions_def=run_partitions,
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)
