"""What every part of a run configuration has in common."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """Frozen group of options; unknown keys are refused, the text under a field is its help.

    A group of options inside that is present but empty, `training:` with nothing below, has its
    defaults.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        validate_default=True,
        allow_inf_nan=False,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_groups_have_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        groups = {
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
        }
        return {
            name: value for name, value in given.items() if value is not None or name not in groups
        }
