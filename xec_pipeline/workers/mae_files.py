"""What a masked autoencoder leaves beside its checkpoints: encoders, predictions for sensors."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from xec_pipeline.config.file_names import checkpoint_file, encoder_file, sensor_predictions_file
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.errors import CheckpointError
from xec_pipeline.evaluation.sensor_predictions import (
    PredictionMetadata,
    SensorBlock,
    write_mae_predictions,
)
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    tensor_digest,
    write_checkpoint,
    write_weights,
)
from xec_pipeline.training.loop import EpochEnd
from xec_pipeline.training.stages.mae import MaeStage
from xec_pipeline.training.transfer import encoder_checkpoint


class MaeFiles:
    """Writes the files of rank 0.

    Parameters
    ----------
    run
        Configuration.
    stage
        Predicts the validation events.
    """

    def __init__(self, run: MaeRun, stage: MaeStage) -> None:
        self._run, self._stage = run, stage

    def after_epoch(self, end: EpochEnd) -> None:
        """Write what is due after an epoch: encoders at the best and the last, and regularly.

        Those of single epochs are bare weights for any program; that of the best is a checkpoint.
        """
        options, epoch = self._run.checkpoint, end.checkpoint.epoch
        if end.is_best:
            self._write_best(end.checkpoint)
        if end.is_best or end.is_last or epoch % options.save_interval == 0:
            self._write_encoder(end.checkpoint)
        if end.is_last or epoch % options.root_save_interval == 0:
            self._write_predictions(end.checkpoint, end.model)

    def complete(self, model: nn.Module) -> None:
        """Write what is missing after the last epoch: a process can die between two files.

        Parameters
        ----------
        model
            Network after the last epoch.
        """
        best, last = (load_checkpoint(self._checkpoint(which), "mae") for which in ("best", "last"))
        if not self._is_written(best, encoder_file("best")):
            self._write_best(best)
        for checkpoint in (best, last):
            if not self._is_written(checkpoint, encoder_file(f"epoch_{checkpoint.epoch}")):
                self._write_encoder(checkpoint)
        if not (self._run.run_dir / sensor_predictions_file(last.epoch)).exists():
            self._write_predictions(last, model)

    def _checkpoint(self, which: str) -> Path:
        return self._run.run_dir / checkpoint_file("mae", which)

    def _is_written(self, checkpoint: Checkpoint, name: str) -> bool:
        path = self._run.run_dir / name
        try:
            return load_checkpoint(path, "encoder").epoch == checkpoint.epoch
        except CheckpointError:
            return False  # missing, or what stands beside it tells of other weights

    def _write_best(self, checkpoint: Checkpoint) -> None:
        path = self._run.run_dir / encoder_file("best")
        write_checkpoint(path, encoder_checkpoint(checkpoint, path))

    def _write_encoder(self, checkpoint: Checkpoint) -> None:
        path = self._run.run_dir / encoder_file(f"epoch_{checkpoint.epoch}")
        write_weights(path, encoder_checkpoint(checkpoint, path))

    def _write_predictions(self, checkpoint: Checkpoint, model: nn.Module) -> None:
        options = self._run.checkpoint
        if not (options.save_predictions and options.save_artifacts):
            return
        shards = self._stage.validation_shards
        metadata = PredictionMetadata(
            predict_channels=self._run.model.predict_channels,
            normalization=self._run.normalization,
            epoch=checkpoint.epoch,
            checkpoint_digest=tensor_digest(checkpoint.inference_weights()),
            run_name=self._run.name,
            data_version=shards.data_version,
            toy=bool(shards.toy),
        )
        path = self._run.run_dir / sensor_predictions_file(checkpoint.epoch)
        write_mae_predictions(path, self._blocks(model), metadata)

    def _blocks(self, model: nn.Module) -> Iterator[SensorBlock]:
        for part in self._stage.predict(model, self._run.checkpoint.max_predicted_events):
            yield SensorBlock(
                **{
                    field.name: getattr(part, field.name)
                    for field in dataclasses.fields(SensorBlock)
                }
            )
