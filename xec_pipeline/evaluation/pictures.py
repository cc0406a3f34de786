"""Pages of PDFs as small PNGs, for where a PDF cannot be shown: web pages, metadata of assets."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pypdfium2
from PIL import Image

from xec_pipeline.errors import CorruptFileError

_POINTS_PER_INCH: Final = 72
_CSS_PER_INCH: Final = 96


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One page as a PNG."""

    png: bytes
    width: int
    """Pixels."""
    height: int
    dpi: float
    """Pixels per inch of the page."""

    @property
    def css_width(self) -> int:
        """Width of the page on a screen at its own size [CSS pixels, 96 per inch]."""
        return round(self.width * _CSS_PER_INCH / self.dpi)

    @property
    def css_height(self) -> int:
        """The same of its height."""
        return round(self.height * _CSS_PER_INCH / self.dpi)

    def data_uri(self) -> str:
        """Return the picture as the address of an image that is in the address itself."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def page_count_and_area(path: Path) -> tuple[int, float]:
    """Return how many pages a PDF has, and the area of the first [square inches].

    Raises
    ------
    CorruptFileError
        If it is no PDF.
    """
    with _open(path) as document:
        width, height = document[0].get_size()
        return len(document), width * height / _POINTS_PER_INCH**2


def page_pictures(
    path: Path, *, dpi: float, most_pages: int | None = None, colours: int = 256
) -> list[Picture]:
    """Return the pages of a PDF as pictures with a palette; equal files give equal bytes.

    Parameters
    ----------
    path
        The PDF.
    dpi
        Pixels per inch.
    most_pages
        The first so many pages; None for all.
    colours
        Of the palette, 2 to 256. Few make the picture small; figures need no more than 256.

    Raises
    ------
    CorruptFileError
        If the file is not a PDF.
    """
    with _open(path) as document:
        shown = len(document) if most_pages is None else min(most_pages, len(document))
        pages = (document[number] for number in range(shown))
        images = [page.render(scale=dpi / _POINTS_PER_INCH).to_pil() for page in pages]
    return [_picture(image, dpi, colours) for image in images]


def _open(path: Path) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(path)
    except (pypdfium2.PdfiumError, OSError) as error:
        raise CorruptFileError(f"{path}: not a PDF that can be read: {error}") from None


def _picture(image: Image.Image, dpi: float, colours: int) -> Picture:
    # The octree is fast and has no random part; dithering would only make the file larger.
    few = image.convert("RGB").quantize(
        colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )
    buffer = io.BytesIO()
    few.save(buffer, "PNG", compress_level=6)  # 9 takes six times as long for 8 % less
    return Picture(png=buffer.getvalue(), width=few.width, height=few.height, dpi=dpi)
