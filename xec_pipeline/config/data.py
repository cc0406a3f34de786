"""Where the events come from and how they are read."""

from typing import Literal

from pydantic import Field

from xec_pipeline.config.section import Section


class FiducialConfig(Section):
    """Cut on the true first interaction point: |u| < u_max, |v| < v_max, w_min <= w <= w_max."""

    enabled: bool = False
    """Apply the cut to the training and validation events."""
    u_max: float = Field(default=23.9, gt=0)
    """Largest |u| [cm]."""
    v_max: float = Field(default=67.9, gt=0)
    """Largest |v| [cm]."""
    w_min: float = 0.0
    """Smallest depth w [cm]."""
    w_max: float | None = None
    """Largest depth w [cm]; null for no limit."""


class DataConfig(Section):
    """ROOT files, branches and batches."""

    train_path: str = ""
    """Training events: a ROOT file, a folder of them, or a glob pattern."""
    val_path: str = ""
    """Validation events; they choose the best epoch."""
    test_path: str = ""
    """Events for the final numbers (signal energy); empty for the validation events."""
    shard_dir: str = "data/shards"
    """Folder for the tensor shards made from the ROOT files; safe to delete."""
    tree_name: str = "tree"
    """Name of the TTree; `Tree`, `events`, `Events` or a file's only tree will do."""
    batch_size: int = Field(default=256, ge=1)
    """Events per step and per rank."""
    chunksize: int = Field(default=4000, ge=1)
    """Events per ROOT read; larger is slower and needs 38 kB of memory for each event."""
    num_workers: int = Field(default=2, ge=0)
    """Processes that build shards in parallel."""
    num_threads: int = Field(default=2, ge=1)
    """Decompression threads per process."""
    prefetch_factor: int = Field(default=2, ge=1)
    """Batches prepared ahead of the training step."""
    npho_branch: str = "npho"
    """Branch of the photon counts."""
    time_branch: str = "relative_time"
    """Branch of the sensor times [s]."""
    truth_time_unit: Literal["ns", "s"] = "ns"
    """Unit of `timeTruth` in the file; never guessed."""
    nonfinite: Literal["error", "dead"] = "error"
    """What NaN or infinity in a sensor branch is: an error, or a dead sensor (counted)."""
    log_invalid_npho: bool = True
    """Log how many sensor values are dead."""
    fiducial: FiducialConfig = FiducialConfig()
    """Cut on the true position."""
