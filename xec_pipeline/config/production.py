"""Which model is in use: where it is kept and by which rule another takes its place."""

from typing import Final, Literal, get_args

from pydantic import Field, field_validator

from xec_pipeline.config.run_base import short_hash
from xec_pipeline.config.section import Section

Quantity = Literal["energy", "u", "v", "w", "time", "theta", "phi", "opening angle"]
QUANTITIES: Final[tuple[Quantity, ...]] = get_args(Quantity)
"""What a rule may decide on, by the names of the table of resolutions."""


class ProductionConfig(Section):
    """The model in use; options of the registry's file `production.yaml`, if there is one.

    A challenger takes the champion's place if it resolves one of the quantities `decides_on` better
    beyond chance, and none worse.
    """

    folder: str = "artifacts/production"
    """Where the model in use is published."""
    decides_on: tuple[Quantity, ...] = ("energy", "u", "v", "w", "time")
    """Quantities of which one must be better; those that the champion does not predict are left
    out."""
    false_promotion_rate: float = Field(default=0.02, gt=0, lt=0.5)
    """Chance to promote a model that is no better. Shared out among the quantities `decides_on`:
    0.02 for five of them asks for one that is 2.7 sigma better."""
    worse_sigma: float = Field(default=2.0, gt=0)
    """No quantity of the champion may be worse by more than this many standard deviations."""
    registered_model: str = Field(default="xec_regressor", min_length=1)
    """Name in MLflow's model registry; its alias `champion` is the model in use."""
    reconsider_days: int | None = Field(default=90, ge=1)
    """Days after which Dagster calls the selection overdue if none was made; null for never."""

    def digest(self) -> str:
        """Return the hash of what can change who is selected, and where it is published."""
        return short_hash(self.model_dump(exclude={"reconsider_days"}))

    @field_validator("decides_on")
    @classmethod
    def _something_decides(cls, value: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
        if not value or len(set(value)) < len(value):
            raise ValueError(f"name quantities, each once, of: {', '.join(QUANTITIES)}")
        return value
