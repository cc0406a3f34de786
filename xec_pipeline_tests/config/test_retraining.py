from pathlib import Path

import dagster as dg
import pytest

from xec_pipeline.config.cron import check_cron
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.output import check_run_name
from xec_pipeline.config.production import QUANTITIES, ProductionConfig
from xec_pipeline.config.registry import production_config
from xec_pipeline.errors import ConfigError
from xec_pipeline.evaluation.comparison import MEASURES

GOOD = ["0 3 * * 1", "*/15 0-6 1,15 jan-MAR mon", "59 23 31 12 7", "0 3 29 2 *", "5-50/5 * * * *"]


@pytest.mark.parametrize("text", GOOD)
def test_dagster_takes_every_expression_that_is_taken_here(text):
    @dg.job
    def nothing() -> None:
        pass

    assert check_cron(f"  {text} ") == text
    schedule = dg.ScheduleDefinition("s", job=nothing, cron_schedule=text)
    assert schedule.cron_schedule == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 3 * *", "has 4 fields, expected 5: minute, hour"),
        ("0 0 3 * * 1", "has 6 fields"),
        ("@daily", "has 1 fields"),
        ("60 3 * * *", "minute '60' is not in 0-59"),
        ("0 25 * * *", "hour '25' is not in 0-23"),
        ("0 3 * * monday", "day of the week 'monday' is not in 0-7, or sun, mon"),
        ("0 3 0 * *", "day of the month '0' is not in 1-31"),
        ("0 3 30 2 *", "no such month has day 30"),
        ("0 3 31 apr,jun *", "no such month has day 31"),
        ("0 9-3 * * *", "9 is after 3"),
        ("*/90 * * * *", "a step must fit"),
        ("5/10 * * * *", "a step must fit"),
        ("*/0 * * * *", "a step must fit"),
        ("0 3 * * 1-", "none of"),
        ("0 3 , * *", "none of"),
    ],
)
def test_a_wrong_expression_is_explained(text, expected):
    with pytest.raises(ValueError, match=r".") as caught:
        check_cron(text)
    assert expected in str(caught.value)


def run_with(tmp_path: Path, text: str):
    path = tmp_path / "mine.yaml"
    path.write_text(f"preset: demo\n{text}\n")
    return load_regressor_run(path)


def test_schedule_does_not_touch_the_digest(tmp_path):
    plain = run_with(tmp_path, "")
    planned = run_with(tmp_path, "schedule: {cron: '0 3 * * 1', timezone: Europe/Zurich}")
    assert planned.schedule.cron == "0 3 * * 1"
    assert planned.digest() == plain.digest() == load_regressor_run("demo").digest()
    assert run_with(tmp_path, "schedule:").schedule.cron is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("schedule: {cron: 0 3 * * 8}", "schedule.cron: day of the week '8' is not in 0-7"),
        ("schedule: {crom: 0 3 * * 1}", "unknown key 'schedule.crom' (did you mean 'cron'"),
        (
            "schedule: {cron: 0 3 * * 1, timezone: Europe/Zuerich}",
            "schedule.timezone: unknown time zone 'Europe/Zuerich' (did you mean 'Europe/Zurich'",
        ),
        ("schedule: {timezone: /etc/passwd}", "unknown time zone"),
        ("schedule: {cron: 0 3 * * 1}\nexport: {onnx: null}", "export.onnx is null"),
    ],
)
def test_a_wrong_schedule_names_file_key_and_what_is_near(tmp_path, text, expected):
    with pytest.raises(ConfigError) as caught:
        run_with(tmp_path, text)
    assert str(tmp_path / "mine.yaml") in str(caught.value)
    assert expected in str(caught.value)


def test_rule_of_promotion_comes_from_the_registry_or_is_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    assert production_config() == ProductionConfig()
    path = tmp_path / "production.yaml"
    path.write_text("decides_on: [time]\nworse_sigma: 3\n")
    assert production_config().decides_on == ("time",)
    path.write_text("decides_on: [tyme]\n")
    with pytest.raises(ConfigError, match=r"production\.yaml: decides_on\.0: Input should be"):
        production_config()
    path.write_text("decides_on: []\n")
    with pytest.raises(ConfigError, match="name quantities, each once"):
        production_config()


def test_quantities_are_those_of_the_table_of_resolutions():
    assert tuple(measure.name for measure in MEASURES) == QUANTITIES


def test_no_run_takes_the_folder_of_the_model_in_use():
    with pytest.raises(ValueError, match="folder of the model in use"):
        check_run_name("production")
