"""From files of predictions for masked sensors to tables and figures."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.masked_matching import common_sample
from xec_pipeline.evaluation.masked_methods import MODEL
from xec_pipeline.evaluation.masked_metrics import (
    dead_statistics,
    face_metrics,
    global_metrics,
    method_metrics,
    signal_edges,
    signal_metrics,
)
from xec_pipeline.evaluation.masked_samples import (
    Floor,
    Sample,
    Space,
    count_sample,
    time_sample,
)
from xec_pipeline.evaluation.masked_table import MaskedTable, read_masked_table
from xec_pipeline.evaluation.metadata import PredictionMeta
from xec_pipeline.evaluation.plots.inpainting import (
    SensorCaption,
    face_pages,
    residual_pages,
    scatter_pages,
    summary_pages,
)
from xec_pipeline.evaluation.plots.inpainting_signal import face_signal_pages, signal_pages
from xec_pipeline.evaluation.plots.pages import Page, write_pages
from xec_pipeline.evaluation.records import write_records
from xec_pipeline.evaluation.recovery_table import (
    RecoveryTable,
    build_recovery_table,
    write_recovery_table,
)

COMPARISON: Final = "comparison"
MIN_PHOTONS: Final = 100.0
_TABLES: Final = (
    "global_metrics",
    "face_metrics",
    "baseline_metrics",
    "dead_channel_stats",
    "signal_metrics",
    "comparison_metrics",
)
_FIGURES: Final = (
    "residual_distributions",
    "residual_per_face_npho",
    "residual_per_face_time",
    "scatter_truth_vs_pred",
    "resolution_vs_signal",
    "resolution_vs_signal_per_face",
    "metrics_summary",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How files are analyzed.

    Attributes
    ----------
    space
        Unit of tables and figures; the recovery table is in photons always.
    min_photons
        Smallest reference for relative errors [photons].
    with_plots
        Draw the figures as well.
    floor
        Standard deviation of a count about its mean, by sensor; shown where the mean is known.
        Without it the floor is what the true mean itself scores.
    """

    space: Space = "photons"
    min_photons: float = MIN_PHOTONS
    with_plots: bool = True
    floor: Floor | None = None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What an analysis made.

    Attributes
    ----------
    table
        Recovery table: of the file, or of all files on their common sensors.
    files
        All files written.
    """

    table: RecoveryTable
    files: tuple[Path, ...]


def analyze(
    paths: Mapping[str, Path], output_dir: Path, settings: Settings | None = None
) -> Analysis:
    """Write tables and figures of one or more files of predictions for masked sensors.

    Parameters
    ----------
    paths
        Files by label, see `masked_table.read_masked_table`.
    output_dir
        One file's results stand here. Of several files, each has a folder of its label, and the
        comparison on the sensors that all have in common stands here.
    settings
        By default photons, relative errors from 100 photons on, with figures.

    Notes
    -----
    `global_metrics.csv`, `face_metrics.csv`, `baseline_metrics.csv`, `dead_channel_stats.csv` if
    there are dead sensors, `signal_metrics.csv`, `recovery_table_{run}.{txt,md,csv,json}`, and
    figures (PDF and JSON) `residual_distributions`, `residual_per_face_npho`,
    `residual_per_face_time`, `scatter_truth_vs_pred`, `resolution_vs_signal`,
    `resolution_vs_signal_per_face`, `metrics_summary`. A comparison has `comparison_metrics.csv` in
    place of the first four. Equal files give equal bytes. Tables and figures of an earlier analysis
    in the same folder are removed, but for recovery tables of runs with another name.

    Raises
    ------
    DataError
        If a file cannot be used, or several cannot be compared.
    """
    chosen = settings or Settings()
    if not paths:
        raise DataError("no file to analyze")
    tables = {label: read_masked_table(path) for label, path in paths.items()}
    if len(tables) == 1:
        (label, table), *_ = tables.items()
        return _analyze_one(table, table.metadata.run_name or label, output_dir, chosen)
    # First, so that files that do not fit fail before anything is written.
    compared = {space: common_sample(tables, space) for space in {chosen.space, "photons"}}
    files: list[Path] = []
    for label, table in tables.items():
        files += _analyze_one(table, label, output_dir / label, chosen).files
    common = _compare(compared, list(tables), output_dir, chosen)
    return Analysis(table=common.table, files=(*files, *common.files))


def _analyze_one(table: MaskedTable, name: str, folder: Path, settings: Settings) -> Analysis:
    counts = count_sample(table, settings.space, settings.floor)
    times = time_sample(table, settings.space)
    photons = counts if counts.in_photons else count_sample(table, "photons", settings.floor)
    baselines = [method for method in counts.predictions if method != MODEL]
    lowest = settings.min_photons
    records = {
        "global_metrics": global_metrics(table, counts, times, MODEL, lowest),
        "face_metrics": face_metrics(counts, times, MODEL),
        "baseline_metrics": method_metrics(counts, baselines, lowest),
        "dead_channel_stats": dead_statistics(table, settings.space),
    }
    _remove_earlier(folder)
    files = [write_records(folder / f"{stem}.csv", rows) for stem, rows in records.items() if rows]
    recovery, shared = _shared_tables(photons, [MODEL], name, folder, settings)
    files += shared
    if settings.with_plots:
        files += _draw(counts, times, folder, settings)
    return Analysis(table=recovery, files=tuple(files))


def _compare(
    samples: Mapping[Space, Sample], labels: list[str], folder: Path, settings: Settings
) -> Analysis:
    sample = samples[settings.space]
    records = method_metrics(sample, list(sample.predictions), settings.min_photons)
    _remove_earlier(folder)
    files = [write_records(folder / "comparison_metrics.csv", records)]
    recovery, shared = _shared_tables(samples["photons"], labels, COMPARISON, folder, settings)
    files += shared
    if settings.with_plots:
        pages = {
            "scatter_truth_vs_pred": scatter_pages(sample),
            **_signal_figures(sample, settings.min_photons),
        }
        files += _write_figures(pages, sample, folder)
    return Analysis(table=recovery, files=tuple(files))


def _remove_earlier(folder: Path) -> None:
    """Remove what an earlier analysis wrote, which may have had more than this one."""
    names = [f"{stem}.csv" for stem in _TABLES]
    names += [f"{stem}.{ending}" for stem in _FIGURES for ending in ("pdf", "json")]
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _shared_tables(
    photons: Sample, models: list[str], name: str, folder: Path, settings: Settings
) -> tuple[RecoveryTable, list[Path]]:
    edges = signal_edges(settings.min_photons)
    records = signal_metrics(photons, list(photons.predictions), edges)
    signal = write_records(folder / "signal_metrics.csv", records)
    table = build_recovery_table(photons, edges, models)
    return table, [signal, *write_recovery_table(table, folder, name).values()]


def _draw(counts: Sample, times: Sample | None, folder: Path, settings: Settings) -> list[Path]:
    lowest = settings.min_photons
    pages = {
        "residual_distributions": residual_pages(counts, times, MODEL, lowest),
        "residual_per_face_npho": face_pages(counts, MODEL, lowest),
        "scatter_truth_vs_pred": scatter_pages(counts),
        **_signal_figures(counts, lowest),
    }
    if times is not None:
        pages["residual_per_face_time"] = face_pages(times, MODEL, lowest)
    return _write_figures(pages, counts, folder)


def _signal_figures(sample: Sample, min_photons: float) -> dict[str, list[Page]]:
    return {
        "resolution_vs_signal": signal_pages(sample, min_photons),
        "resolution_vs_signal_per_face": face_signal_pages(sample, min_photons),
        "metrics_summary": summary_pages(sample, min_photons),
    }


def _write_figures(pages: Mapping[str, list[Page]], sample: Sample, folder: Path) -> list[Path]:
    files = []
    for stem, drawn in pages.items():
        path = folder / f"{stem}.pdf"
        write_pages(drawn, _caption(sample), path, f"{stem}, {sample.origin.run_name}")
        files += [path, path.with_suffix(".json")]
        _log.info("%s", path)
    return files


def _caption(sample: Sample) -> SensorCaption:
    origin = sample.origin
    meta = PredictionMeta(
        run_name=origin.run_name,
        sample=origin.sample or None,
        is_toy=origin.is_toy,
        data_version=origin.data_version or None,
        model_digest=origin.checkpoint_digest or None,
        epoch=origin.epoch if origin.epoch >= 0 else None,
    )
    return SensorCaption(
        run_name=origin.run_name,
        n_events=sample.n_events,
        n_left_out=sample.n_left_out,
        meta=meta,
        n_readings=len(sample),
        n_sensors=sample.n_sensors(),
        mode=origin.mode,
        dead_pattern=origin.dead_pattern,
        files=tuple(path.name for path in origin.paths),
    )
