"""What comes from outside: ROOT files and run configurations. Sensors report their versions."""

from typing import Final

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.partitions import (
    dataset_partitions,
    inpainter_partitions,
    mae_partitions,
    run_partitions,
)

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

_CONFIG_DESCRIPTION: Final = (
    "YAML file of a run in the registry. The version is the hash of all options that can change "
    "the trained weights, so a comment changes nothing."
)

regressor_config = dg.AssetSpec(
    keys.CONFIG,
    description=_CONFIG_DESCRIPTION,
    partitions_def=run_partitions,
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)

mae_config = dg.AssetSpec(
    keys.MAE_CONFIG,
    description=_CONFIG_DESCRIPTION,
    partitions_def=mae_partitions,
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)

measurement_config = dg.AssetSpec(
    keys.MEASUREMENT_CONFIG,
    description=(
        "Section `validation` of an inpainter's YAML file, and its test events: what is measured. "
        "The version is their hash, with the content of the file, folder or database of dead "
        "sensors; of a database, that of the run `dead_run`."
    ),
    partitions_def=inpainter_partitions,
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)

evaluation_config = dg.AssetSpec(
    keys.EVALUATION_CONFIG,
    description=(
        "What a regressor's YAML file says of events and targets: which samples it names, which "
        "quantities are asked for, how times are counted. The version is the hash of these."
    ),
    partitions_def=run_partitions,
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)

export_config = dg.AssetSpec(
    keys.EXPORT_CONFIG,
    description="Section `export` of a regressor's YAML file. The version is its hash.",
    partitions_def=run_partitions,
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)

inpainter_export_config = dg.AssetSpec(
    keys.INPAINTER_EXPORT_CONFIG,
    description="Section `export` of an inpainter's YAML file. The version is its hash.",
    partitions_def=inpainter_partitions,
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)

production_rule = dg.AssetSpec(
    keys.PRODUCTION_CONFIG,
    description=(
        "File production.yaml of the registry: by which rule another model comes into use. The "
        "version is the hash of its options but `reconsider_days`, or of the defaults."
    ),
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)

inpainter_config = dg.AssetSpec(
    keys.INPAINTER_CONFIG,
    description=_CONFIG_DESCRIPTION,
    partitions_def=inpainter_partitions,
    group_name="config",
    kinds={"yaml"},
    owners=keys.OWNERS,
)
