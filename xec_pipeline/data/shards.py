"""From ROOT files to memory-mapped shards, once; later runs find them unchanged.

A killed run loses only the files it was working on: every source becomes its own part, and a part
whose name carries the hash of the source's content and of the settings is current.
"""

import contextlib
import logging
import multiprocessing
import os
import queue
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from filelock import FileLock
from tqdm import tqdm

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.data.root_files import check_root_header, find_root_files
from xec_pipeline.data.shard_format import (
    MANIFEST_NAME,
    PART_NAME,
    PARTS_FOLDER,
    PartRecord,
    ShardManifest,
    ShardSettings,
    build_manifest,
    hash_file,
    part_key,
    read_record,
    write_record,
)
from xec_pipeline.data.shard_part import Advance, build_part
from xec_pipeline.data.shard_set import ShardSet, open_shards
from xec_pipeline.errors import CorruptFileError, DataError
from xec_pipeline.lifetime import start_in_pool

__all__ = [
    "ShardSet",
    "build_shards",
    "ensure_shards",
    "open_built_shards",
    "open_shards",
    "shard_dir_for",
]

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class _Source:
    path: Path
    hash: str
    key: str


def shard_dir_for(config: DataConfig, path: str) -> Path:
    """Return the folder where the shards of the ROOT files at `path` live."""
    return Path(config.shard_dir) / dataset_key(path)


def is_shard_dir(path: Path | str) -> bool:
    """Return whether `path` is a shard folder."""
    return (Path(path) / MANIFEST_NAME).is_file()


def ensure_shards(
    config: DataConfig, path: str, *, jobs: int | None = None, progress: bool = True
) -> ShardSet:
    """Return the shards of the events at `path`; build what is missing or outdated.

    Parameters
    ----------
    config
        How to read, and where shards live.
    path
        ROOT file, folder or glob pattern, or a shard folder, which is used as it is.
    jobs
        Processes; default `config.num_workers`.
    progress
        Show a bar if the terminal can.

    Raises
    ------
    XecError
        If the events cannot be read or the disk is full.
    """
    if is_shard_dir(path):
        return open_shards(path)
    out_dir = shard_dir_for(config, path)
    build_shards(find_root_files(path), out_dir, config, jobs=jobs, progress=progress)
    return open_shards(out_dir)


def open_built_shards(config: DataConfig, path: str) -> ShardSet:
    """Return the shards of the events at `path` as they were built; build nothing.

    Parameters
    ----------
    config
        How to read, and where shards live.
    path
        As in `ensure_shards`.

    Raises
    ------
    DataError
        If they are missing, or were built from other files, with other options, or by other code.
    """
    if is_shard_dir(path):
        return open_shards(path)
    folder, settings = shard_dir_for(config, path), ShardSettings.of(config)
    advice = f"materialize data/shards [{dataset_key(path)}]"
    if not is_shard_dir(folder):
        raise DataError(f"{folder}: no shards of {path} are here; {advice}")
    shards = open_shards(folder)
    built = shards.manifest.settings
    if built != settings:
        raise DataError(
            f"{folder}: built with {_differences(built, settings)}; {advice}. All runs that name "
            "these events share their shards, and need the same options"
        )
    parts = shards.manifest.sources
    sources = [_identify(file, parts, settings) for file in find_root_files(path)]
    if [source.key for source in sources] != [_key_of(part.folder) for part in parts]:
        raise DataError(f"{folder}: not of the ROOT files that are now in {path}; {advice}")
    return shards


def _differences(built: ShardSettings, wanted: ShardSettings) -> str:
    return ", ".join(
        f"{name} {getattr(built, name)!r} instead of {getattr(wanted, name)!r}"
        for name in ShardSettings.model_fields
        if getattr(built, name) != getattr(wanted, name)
    )


def build_shards(
    files: Sequence[Path],
    out_dir: Path,
    config: DataConfig,
    *,
    jobs: int | None = None,
    progress: bool = True,
    on_progress: Callable[[int], object] | None = None,
) -> ShardManifest:
    """Convert ROOT files into a shard folder.

    Parameters
    ----------
    files
        Sources; the order of the events follows this order.
    out_dir
        Folder to fill. Parts of unchanged sources are kept, parts of others removed.
    config
        How to read.
    jobs
        Processes, one file each; default `config.num_workers`.
    progress
        Show a bar if the terminal can.
    on_progress
        Told the number of events converted so far.

    Returns
    -------
    ShardManifest
        What the folder then holds.

    Raises
    ------
    DataError
        If `files` is empty, or a file cannot be used; the message names file, branch and entry.
    OutputError
        If the disk is full.
    """
    if not files:
        raise DataError(f"{out_dir}: no ROOT files to build shards from")
    settings = ShardSettings.of(config)
    parts_dir = out_dir / PARTS_FOLDER
    parts_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(out_dir / ".lock"):
        _remove_leftovers(parts_dir)
        known = _known_parts(parts_dir)
        sources = [_identify(path, known.values(), settings) for path in files]
        missing = {source.key: source for source in sources if source.key not in known}
        n_jobs = config.num_workers if jobs is None else jobs
        with _counting(progress=progress, tell=on_progress) as advance:
            for key, record in _build(list(missing.values()), parts_dir, config, n_jobs, advance):
                known[key] = record
        records = [_as_found(known[source.key], source.path) for source in sources]
        manifest = build_manifest(records, settings)
        _write_if_changed(out_dir / MANIFEST_NAME, manifest)
        _remove_unused(parts_dir, {record.folder for record in records})
    _report(out_dir, manifest, len(missing), config)
    return manifest


def _report(out_dir: Path, manifest: ShardManifest, n_built: int, config: DataConfig) -> None:
    logger.info(
        "%s: %d events in %d files, %d converted now, data version %s",
        out_dir,
        manifest.n_events,
        len(manifest.sources),
        n_built,
        manifest.data_version[:12],
    )
    if config.log_invalid_npho:
        logger.info("%s: %.2f %% of sensor values are dead", out_dir, 100 * manifest.dead_fraction)
    if manifest.n_nonfinite:
        logger.warning("%s: %d NaN or infinite values taken as dead", out_dir, manifest.n_nonfinite)


def _remove_leftovers(parts_dir: Path) -> None:
    for item in parts_dir.glob(".*.part"):
        shutil.rmtree(item)


def _known_parts(parts_dir: Path) -> dict[str, PartRecord]:
    """Return the parts on disk by key; a damaged one is dropped, so that it is made again."""
    known: dict[str, PartRecord] = {}
    for path in sorted(parts_dir.glob(f"*/{PART_NAME}")):
        try:
            known[_key_of(path.parent.name)] = read_record(path, PartRecord)
        except CorruptFileError as error:
            logger.warning("%s", error)
    return known


def _key_of(folder: str) -> str:
    return folder.rpartition("-")[2]


def _identify(path: Path, known: Iterable[PartRecord], settings: ShardSettings) -> _Source:
    """Return a source with its hash; read the file only if size or date differ from the record."""
    check_root_header(path)
    status = path.stat()
    for record in known:
        same = (record.source, record.size, record.mtime_ns)
        if same == (str(path), status.st_size, status.st_mtime_ns):
            return _Source(path, record.source_hash, part_key(record.source_hash, settings))
    content = hash_file(path)
    return _Source(path, content, part_key(content, settings))


def _as_found(record: PartRecord, path: Path) -> PartRecord:
    status = path.stat()
    return record.model_copy(
        update={
            "source": str(path),
            "size": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }
    )


def _write_if_changed(path: Path, manifest: ShardManifest) -> None:
    """Keep the old manifest, and the revision in it, if the folder holds the same as before."""
    if path.is_file():
        try:
            old = read_record(path, ShardManifest)
        except CorruptFileError as error:
            logger.warning("%s", error)
        else:
            if old.model_copy(update={"git_revision": manifest.git_revision}) == manifest:
                return
    write_record(path, manifest)


def _remove_unused(parts_dir: Path, used: set[str]) -> None:
    for item in parts_dir.iterdir():
        if item.name not in used:
            logger.info("%s: no source of this dataset any more, removed", item)
            shutil.rmtree(item)


@contextlib.contextmanager
def _counting(*, progress: bool, tell: Callable[[int], object] | None) -> Iterator[Advance]:
    """Yield a function that counts events into a bar and into `tell`."""
    with tqdm(
        desc="shards", unit=" events", unit_scale=True, disable=None if progress else True
    ) as bar:
        total = 0

        def advance(n_events: int) -> None:
            nonlocal total
            total += n_events
            bar.update(n_events)
            if tell is not None:
                tell(total)

        yield advance


def _build(
    sources: Sequence[_Source], parts_dir: Path, config: DataConfig, jobs: int, advance: Advance
) -> Iterator[tuple[str, PartRecord]]:
    if jobs > 1 and len(sources) > 1:
        yield from _build_in_processes(sources, parts_dir, config, jobs, advance)
        return
    for source in sources:
        record = build_part(source.path, source.hash, source.key, parts_dir, config, advance)
        yield source.key, record


def _build_in_processes(
    sources: Sequence[_Source],
    parts_dir: Path,
    config: DataConfig,
    jobs: int,
    advance: Advance,
) -> Iterator[tuple[str, PartRecord]]:
    # Spawned processes inherit neither threads nor locks; the parent may hold both.
    context = multiprocessing.get_context("spawn")
    finished: Any = context.Queue()
    n_workers = min(jobs, len(sources))
    started = (os.getpid(), _start_worker, finished)
    with ProcessPoolExecutor(n_workers, context, start_in_pool, started) as pool:
        pending = {
            pool.submit(_build_in_worker, source, parts_dir, config): source.key
            for source in sources
        }
        try:
            yield from _collect(pending, finished, advance)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            _drain(finished, advance)
            finished.close()


def _collect(
    pending: dict[Future[PartRecord], str], finished: Any, advance: Advance
) -> Iterator[tuple[str, PartRecord]]:
    while pending:
        done, _ = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
        _drain(finished, advance)
        for future in done:
            yield pending.pop(future), future.result()


def _drain(finished: Any, advance: Advance) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            advance(finished.get_nowait())


_worker_queue: list[Any] = []
"""In a worker process: where finished events are reported."""


def _start_worker(finished: Any) -> None:
    _worker_queue.append(finished)


def _build_in_worker(source: _Source, parts_dir: Path, config: DataConfig) -> PartRecord:
    return build_part(source.path, source.hash, source.key, parts_dir, config, _worker_queue[0].put)
