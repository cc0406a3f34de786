"""Where workers get their events: by hand from files, under Dagster from what it knows."""

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.shards import ShardSet, ensure_shards, open_built_shards
from xec_pipeline.workers.pipes import Report


def shards_of(report: Report, config: DataConfig, path: str, *, progress: bool = True) -> ShardSet:
    """Return the shards of the events at `path`.

    By hand they are built if need be. Under Dagster they are an asset of its own: a worker that
    built them would train on events of which Dagster knows nothing.

    Parameters
    ----------
    report
        The worker's; its extras tell whether Dagster started it.
    config
        How to read, and where shards live.
    path
        ROOT file, folder or glob pattern, or a shard folder, which is used as it is.
    progress
        Show a bar if the terminal can, while they are built.

    Raises
    ------
    XecError
        If the events cannot be read; under Dagster, if data/shards must be made first.
    """
    if "asset" in report.extras:
        return open_built_shards(config, path)
    return ensure_shards(config, path, progress=progress)
