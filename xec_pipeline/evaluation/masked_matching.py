"""The masked sensors that several files of predictions have in common."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Final

import numpy as np
import pandas as pd

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.masked_methods import MODEL
from xec_pipeline.evaluation.masked_samples import (
    TRUTH,
    Floor,
    Origin,
    Sample,
    Space,
    count_sample,
    energies_of,
    has_truth,
    older_remarks,
)
from xec_pipeline.evaluation.masked_table import MaskedTable
from xec_pipeline.evaluation.resolution import Values

_KEY: Final = ["run_number", "event_number", "sensor_id"]
_SAME_TRUTH: Final = 1e-3
"""Relative difference that the transforms of two normalizations may leave."""
_COMPARED_ABOVE: Final = 10.0
"""Photons; dimmer and negative counts are clipped by older files."""

_log = logging.getLogger(__name__)


def common_sample(
    tables: Mapping[str, MaskedTable], space: Space, floor: Floor | None = None
) -> Sample:
    """Return the sensors that all tables predict, with each model by its label.

    Parameters
    ----------
    tables
        Tables by label. Baselines are those of the first table that has them.
    space
        Tables of different normalization can be compared in photons only.
    floor
        See `count_sample`.

    Notes
    -----
    Rows are the same if run, event and sensor are. The numbers of rows matched and left out are
    logged and are in the origin's remarks.

    Raises
    ------
    DataError
        If no row is in all tables, a table has one twice, the truths differ, or normalized values
        of different normalizations were to be compared.
    """
    _check_normalizations(tables, space)
    matched = _matched(tables)
    samples = {}
    for label, table in tables.items():
        rows = matched[label].to_numpy()
        part = dataclasses.replace(table, rows=table.rows.taken(rows))
        samples[label] = count_sample(part, space, floor)
    _check_truths(tables, samples)
    counts = {label: int(has_truth(table.rows).sum()) for label, table in tables.items()}
    first = next(iter(samples.values()))
    parts = ", ".join(f"{label}: {len(first)} of {count}" for label, count in counts.items())
    remark = f"{len(first)} readings of masked sensors are in all files ({parts})."
    _log.info("%s", remark)
    return dataclasses.replace(
        first,
        predictions=_predictions(samples),
        n_left_out=max(counts.values()) - len(first),
        origin=_common_origin(tables, first, remark),
    )


def _predictions(samples: Mapping[str, Sample]) -> dict[str, Values]:
    found = {label: sample.predictions[MODEL] for label, sample in samples.items()}
    for sample in samples.values():
        for name, values in sample.predictions.items():
            if name != MODEL:
                found.setdefault(name, values)
    return found


def _check_normalizations(tables: Mapping[str, MaskedTable], space: Space) -> None:
    schemes = {label: table.metadata.normalization for label, table in tables.items()}
    if space == "normalized" and len(set(map(repr, schemes.values()))) > 1:
        listed = "; ".join(f"{label}: {scheme}" for label, scheme in schemes.items())
        raise DataError(
            f"the files have different normalizations, so their values can only be compared in "
            f"photons (--space photons): {listed}"
        )


def _matched(tables: Mapping[str, MaskedTable]) -> pd.DataFrame:
    """Return the rows of the same sensors, a column of positions per table."""
    common: pd.DataFrame | None = None
    for label, table in tables.items():
        known = np.flatnonzero(has_truth(table.rows))
        frame = pd.DataFrame({name: getattr(table.rows, name)[known] for name in _KEY})
        if (is_repeated := frame.duplicated()).any():
            key = frame[is_repeated].iloc[0].to_dict()
            raise DataError(f"{table.path}: two rows of the same sensor and event: {key}")
        frame[label] = known
        common = frame if common is None else common.merge(frame, on=_KEY)
    if common is None or common.empty:
        listed = ", ".join(str(table.path) for table in tables.values())
        raise DataError(
            f"no masked sensor (run, event, sensor) is in all of {listed}; predict the same events "
            "with the same masks (seed and mode)"
        )
    return common


def _check_truths(tables: Mapping[str, MaskedTable], samples: Mapping[str, Sample]) -> None:
    (first, reference), *others = samples.items()
    truth = reference.references[TRUTH]
    for label, sample in others:
        other = sample.references[TRUTH]
        compared = truth > (_COMPARED_ABOVE if sample.in_photons else 0)
        differ = compared & ~np.isclose(truth, other, rtol=_SAME_TRUTH)
        if differ.any():
            row = int(np.argmax(differ))
            raise DataError(
                f"{tables[first].path} and {tables[label].path}: the truth differs for "
                f"{int(differ.sum())} of {len(truth)} common sensors, for example {truth[row]:g} "
                f"and {other[row]:g} {sample.unit}; they were made from different samples"
            )


def _common_origin(tables: Mapping[str, MaskedTable], common: Sample, remark: str) -> Origin:
    remarks = [remark]
    schemes = {table.metadata.normalization.npho_scheme for table in tables.values()}
    if len(schemes) > 1:
        remarks.append(f"Normalizations differ ({', '.join(sorted(schemes))}); photons do not.")
    modes = sorted({table.metadata.mode for table in tables.values()})
    samples = sorted({table.metadata.sample for table in tables.values()} - {""})
    patterns = {(table.metadata.mode, table.metadata.dead_pattern) for table in tables.values()}
    if len(patterns) > 1:
        remarks.append(
            "The files hid different sets of sensors, so their methods did not see the same "
            "others; compare with care."
        )
    energies = {energies_of(table.metadata) for table in tables.values()}
    remarks += sorted({text for table in tables.values() for text in older_remarks(table)})
    return Origin(
        run_name=" vs ".join(tables),
        paths=tuple(table.path for table in tables.values()),
        mode=", ".join(modes),
        is_toy=any(table.metadata.toy for table in tables.values()),
        sample=", ".join(samples),
        data_version=next(iter(tables.values())).metadata.data_version,
        dead_pattern="; ".join(_patterns(tables)),
        n_events=common.n_events,
        masked_per_event=len(common) / common.n_events,
        energy_mev=energies.pop() if len(energies) == 1 else None,
        remarks=tuple(remarks),
    )


def _patterns(tables: Mapping[str, MaskedTable]) -> list[str]:
    """Return the dead patterns of the files; none if no file has one."""
    found = {table.metadata.dead_pattern for table in tables.values()}
    return sorted(pattern or "none" for pattern in found) if any(found) else []
