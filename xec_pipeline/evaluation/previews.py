"""Figures inside the metadata of assets: the first page of each PDF, small enough for a database.

Metadata is kept in the rows of a database and sent to the browser as a whole, so a picture may have
50 kB and all of one materialization together 400 kB.
"""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from xec_pipeline.errors import OutputError, XecError
from xec_pipeline.evaluation.pictures import Picture, page_count_and_area, page_pictures

MOST_BYTES: Final = 50_000
"""Of one picture as text."""
MOST_BYTES_TOGETHER: Final = 400_000
_MOST_PIXELS: Final = 450_000
_FINEST_DPI: Final = 70.0
_ATTEMPTS: Final = ((1.0, 64), (0.8, 32), (0.65, 16))
"""Parts of the finest resolution, and colours; the best first."""

_log = logging.getLogger(__name__)


def previews(pdfs: Mapping[str, Path]) -> dict[str, dict[str, str]]:
    """Return the first pages of figures as Markdown, under `preview_<name>`.

    Parameters
    ----------
    pdfs
        Figures by name, the most important first: pictures beyond `MOST_BYTES_TOGETHER` are left
        out.

    Returns
    -------
    dict
        Values for the metadata of a worker's report. A figure that cannot be shown is left out,
        with a warning; the PDF itself is what the worker made.
    """
    found: dict[str, dict[str, str]] = {}
    left = MOST_BYTES_TOGETHER
    for name, path in pdfs.items():
        try:
            text = preview(path)
        except XecError as error:
            _log.warning("no preview: %s", error)
            continue
        if len(text) <= left:
            found[f"preview_{name}"] = {"raw_value": text, "type": "md"}
            left -= len(text)
    if len(found) < len(pdfs):
        _log.info("%d of %d figures have a preview", len(found), len(pdfs))
    return found


def preview(path: Path) -> str:
    """Return the first page of a PDF as an image in Markdown of at most `MOST_BYTES`.

    Raises
    ------
    CorruptFileError
        If the file is not a PDF.
    OutputError
        If even a coarse picture is too large.
    """
    count, area = page_count_and_area(path)
    finest = min(_FINEST_DPI, math.sqrt(_MOST_PIXELS / area))
    caption = f"{path.name}, page 1 of {count}" if count > 1 else path.name
    for part, colours in _ATTEMPTS:
        (picture,) = page_pictures(path, dpi=finest * part, most_pages=1, colours=colours)
        text = _markdown(picture, caption)
        if len(text) <= MOST_BYTES:
            return text
    raise OutputError(f"{path}: its first page is too detailed for {MOST_BYTES} bytes")


def _markdown(picture: Picture, caption: str) -> str:
    return f"![{caption}]({picture.data_uri()})\n\n{caption}"
