"""Where the code of each asset stands, for the link beside its name in the UI."""

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import dagster as dg

from xec_pipeline.defs.assets import sources

_ADDRESS: Final = "XEC_CODE_URL"
_PROJECT: Final = Path(__file__).resolve().parents[2]
_METADATA: Final = "dagster/code_references"

Link: TypeAlias = dg.LocalFileCodeReference | dg.UrlCodeReference


def with_code_links(definitions: dg.Definitions) -> dg.Definitions:
    """Return the definitions with a link to its code at each asset.

    The link names a file of this machine. If the environment variable XEC_CODE_URL holds the
    address under which a forge shows the repository, like `https://forge.org/group/name/blob/main`,
    it is an address below that.
    """
    with warnings.catch_warnings():
        # Whoever loads the definitions can do nothing about what Dagster has not settled yet.
        for unsettled in (dg.BetaWarning, dg.PreviewWarning):
            warnings.simplefilter("ignore", unsettled)
        return _linked(definitions)


def _linked(definitions: dg.Definitions) -> dg.Definitions:
    links = _links_by_key(definitions.assets or ())
    outside = dg.LocalFileCodeReference(file_path=str(Path(sources.__file__).resolve()))

    def with_link(spec: dg.AssetSpec) -> dg.AssetSpec:
        link = _published(links.get(spec.key, outside))
        value = dg.CodeReferencesMetadataValue(code_references=[link])
        return spec.merge_attributes(metadata={_METADATA: value})

    return definitions.map_asset_specs(func=with_link)


def _links_by_key(assets: Iterable[object]) -> Mapping[dg.AssetKey, dg.LocalFileCodeReference]:
    """Return where the functions of assets stand."""
    made = [asset for asset in assets if isinstance(asset, dg.AssetsDefinition)]
    found: dict[dg.AssetKey, dg.LocalFileCodeReference] = {}
    for asset in dg.with_source_code_references(made):
        if isinstance(asset, dg.AssetsDefinition):
            for spec in asset.specs:
                value = spec.metadata.get(_METADATA)
                for link in getattr(value, "code_references", ()):
                    if isinstance(link, dg.LocalFileCodeReference):
                        found.setdefault(spec.key, link)
    return found


def _published(link: dg.LocalFileCodeReference) -> Link:
    """Return the address of a file in the forge, if there is one."""
    address = os.environ.get(_ADDRESS, "").rstrip("/")
    if not address:
        return link
    path = Path(link.file_path).resolve().relative_to(_PROJECT).as_posix()
    line = f"#L{link.line_number}" if link.line_number else ""
    return dg.UrlCodeReference(url=f"{address}/{path}{line}")
