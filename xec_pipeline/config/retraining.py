"""When a run is trained again without being asked; of no effect on what is trained."""

import zoneinfo

from pydantic import field_validator

from xec_pipeline.config.cron import check_cron
from xec_pipeline.config.section import Section
from xec_pipeline.errors import did_you_mean


class ScheduleConfig(Section):
    """Scheduled retraining; Dagster shows it as schedule `retrain_<run>`, switched off at first."""

    cron: str | None = None
    """Minute, hour, day of the month, month, day of the week: '0 3 * * 1'; null for never."""
    timezone: str = "UTC"
    """Time zone of `cron`, by its name in the IANA data base, such as Europe/Zurich."""
    force: bool = False
    """Train also if neither data nor configuration nor code changed; the weights come out equal."""

    @field_validator("cron")
    @classmethod
    def _cron_can_be_read(cls, value: str | None) -> str | None:
        return value if value is None else check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _timezone_is_known(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            # All names are looked up on disk, so only for the message.
            known = sorted(zoneinfo.available_timezones())
            raise ValueError(f"unknown time zone {value!r}{did_you_mean(value, known)}") from None
        return value
