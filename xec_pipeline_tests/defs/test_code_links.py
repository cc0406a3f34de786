from pathlib import Path

import dagster as dg
import pytest

from xec_pipeline.defs.automation.intervals import sensor_seconds
from xec_pipeline.defs.code_links import with_code_links
from xec_pipeline.errors import ConfigError

ADDRESS = "https://forge.example/group/name/blob/main"


@dg.asset
def made() -> None: ...


def links(*assets) -> dict[str, str]:
    """Return where the code of each asset is said to stand."""
    definitions = with_code_links(dg.Definitions(assets))
    return {
        spec.key.to_user_string(): spec.metadata["dagster/code_references"]
        .code_references[0]
        .source
        for spec in definitions.resolve_all_asset_specs()
    }


def line_of_made() -> int:
    return Path(__file__).read_text().splitlines().index("@dg.asset") + 1


def test_link_leads_to_the_line_of_the_function(monkeypatch):
    monkeypatch.delenv("XEC_CODE_URL", raising=False)
    assert links(made) == {"made": f"{Path(__file__).resolve()}:{line_of_made()}"}


def test_what_comes_from_outside_is_linked_to_its_declaration(monkeypatch):
    monkeypatch.delenv("XEC_CODE_URL", raising=False)
    (link,) = links(dg.AssetSpec("outside")).values()
    assert link.endswith("xec_pipeline/defs/assets/sources.py")


@pytest.mark.parametrize("address", [ADDRESS, f"{ADDRESS}/"])
def test_link_leads_to_a_forge_if_there_is_one(monkeypatch, address):
    monkeypatch.setenv("XEC_CODE_URL", address)
    expected = f"{ADDRESS}/xec_pipeline_tests/defs/test_code_links.py#L{line_of_made()}"
    assert links(made) == {"made": expected}


def test_interval_of_sensors_can_be_set(monkeypatch):
    monkeypatch.delenv("XEC_SENSOR_SECONDS", raising=False)
    assert sensor_seconds(30) == 30
    monkeypatch.setenv("XEC_SENSOR_SECONDS", "7")
    assert sensor_seconds(30) == 7
    for wrong in ("0", "-1", "a minute"):
        monkeypatch.setenv("XEC_SENSOR_SECONDS", wrong)
        with pytest.raises(ConfigError, match="XEC_SENSOR_SECONDS"):
            sensor_seconds(30)
