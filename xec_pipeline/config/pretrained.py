"""What runs have in common that may begin with a pre-trained encoder."""

from pathlib import Path

from pydantic import field_validator

from xec_pipeline.config.file_names import encoder_file
from xec_pipeline.config.output import check_run_name
from xec_pipeline.config.run_base import Run


class PretrainedRun(Run):
    """A run whose encoder may come from a masked autoencoder."""

    mae: str | None = None
    """Registered masked-autoencoder run whose encoder the training begins with; null for none."""

    @field_validator("mae")
    @classmethod
    def _mae_is_a_run_name(cls, value: str | None) -> str | None:
        return value if value is None else check_run_name(value)

    @property
    def encoder_path(self) -> Path | None:
        """File of the pre-trained encoder that `mae` names, in the folder beside this run's."""
        if self.mae is None:
            return None
        return Path(self.checkpoint.save_dir) / self.mae / encoder_file("best")
