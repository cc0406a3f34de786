"""What an inpainter leaves beside its checkpoints: predictions for hidden validation sensors."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from torch import nn

from xec_pipeline.config.file_names import checkpoint_file, inpainter_predictions_file
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.evaluation.masked_rows import ARTIFICIAL, MaskedRows
from xec_pipeline.evaluation.masked_table import MaskedMetadata, write_masked_table
from xec_pipeline.training.checkpoint import Checkpoint, load_checkpoint, tensor_digest
from xec_pipeline.training.loop import EpochEnd
from xec_pipeline.training.stages.inpainter import InpainterStage
from xec_pipeline.training.stages.masked import MaskedPrediction


class InpainterFiles:
    """Writes the files of rank 0.

    Parameters
    ----------
    run
        Configuration.
    stage
        Predicts the validation events.
    """

    def __init__(self, run: InpainterRun, stage: InpainterStage) -> None:
        self._run, self._stage = run, stage

    def after_epoch(self, end: EpochEnd) -> None:
        """Write predictions if they are due after an epoch: regularly, and after the last."""
        if end.is_last or end.checkpoint.epoch % self._run.checkpoint.root_save_interval == 0:
            self._write_predictions(end.checkpoint, end.model)

    def complete(self, model: nn.Module) -> None:
        """Write what is missing after the last epoch: a process can die between two files.

        Parameters
        ----------
        model
            Network after the last epoch.
        """
        last = load_checkpoint(
            self._run.run_dir / checkpoint_file("inpainter", "last"), "inpainter"
        )
        if not (self._run.run_dir / inpainter_predictions_file(last.epoch)).exists():
            self._write_predictions(last, model)

    def _write_predictions(self, checkpoint: Checkpoint, model: nn.Module) -> None:
        options = self._run.checkpoint
        if not (options.save_predictions and options.save_artifacts):
            return
        shards = self._stage.validation_shards
        n_validated = self._stage.n_val_events
        n_events = min(options.max_predicted_events or n_validated, n_validated)
        metadata = MaskedMetadata(
            predict_channels=self._run.model.predict_channels,
            normalization=self._run.normalization,
            epoch=checkpoint.epoch,
            checkpoint_digest=tensor_digest(checkpoint.inference_weights()),
            run_name=self._run.name,
            data_version=shards.data_version,
            toy=bool(shards.toy),
            n_events=n_events,
            sample=self._run.data.val_path,
        )
        path = self._run.run_dir / inpainter_predictions_file(checkpoint.epoch)
        write_masked_table(path, self._blocks(model), metadata)

    def _blocks(self, model: nn.Module) -> Iterator[MaskedRows]:
        for part in self._stage.predict(model, self._run.checkpoint.max_predicted_events):
            yield self._rows(part)

    def _rows(self, part: MaskedPrediction) -> MaskedRows:
        """Return the hidden sensors, event by event."""
        event, sensor = np.nonzero(part.is_masked)
        truth, pred = part.truth[event, sensor], part.pred[event, sensor]
        rows = MaskedRows(
            event_idx=part.index[event],
            run_number=part.run[event],
            event_number=part.event[event],
            sensor_id=sensor,
            mask_type=np.full(len(sensor), ARTIFICIAL),
            truth_npho=truth[:, 0],
            pred_npho=pred[:, 0],
            truth_photons=part.npho[event, sensor],
        )
        if "time" not in self._run.model.predict_channels:
            return rows
        has_time = truth[:, 1] != np.float32(self._run.normalization.sentinel_time)
        true_time = np.where(has_time, truth[:, 1], np.float32(np.nan))
        return dataclasses.replace(rows, truth_time=true_time, pred_time=pred[:, 1])
