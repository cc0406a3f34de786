"""A report as one HTML file that needs nothing else: no network, no script."""

import base64
import dataclasses
from pathlib import Path
from typing import Final

import jinja2
import xxhash
from markdown_it import MarkdownIt
from markupsafe import Markup

from xec_pipeline.atomic import replacing
from xec_pipeline.evaluation.run_report.content import RunReport

_PACKAGE: Final = "xec_pipeline.evaluation.run_report"
_FOLDED: Final = "\n#### "
"""Begins a part of a table that is long and folded away."""


def write_report(report: RunReport, path: Path) -> str:
    """Write a report; whole or not at all.

    Returns
    -------
    str
        Version of what the report tells: a hash of the page without the ids of Dagster's runs,
        which change although nothing else does.
    """
    page = as_html(report)
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    without_ids = as_html(dataclasses.replace(report, made=())) if report.made else page
    return xxhash.xxh3_128(without_ids.encode()).hexdigest()


def as_html(report: RunReport) -> str:
    """Return a report as a page; equal reports give equal text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markdown": markdown, "anchor": anchor, "svg_uri": svg_uri}
    page: str = environment.get_template("report.html.j2").render(report=report)
    return page


def markdown(text: str) -> Markup:
    """Return Markdown of tables as HTML; tags in it are shown, not obeyed.

    Parts under a heading of fourth order are folded.
    """
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    first, *folded = f"\n{text}".split(_FOLDED)
    html = [_scrolling(reader.render(first.strip()))]
    for part in folded:
        title, _, rest = part.partition("\n")
        body = _scrolling(reader.render(rest.strip()))
        html.append(f"<details><summary>{Markup.escape(title)}</summary>{body}</details>")
    return Markup("".join(html))  # made by the reader, which escapes what it does not know


def anchor(title: str) -> str:
    """Return a heading as the name that links use."""
    kept = "".join(sign if sign.isalnum() else "-" for sign in title.lower())
    return "-".join(filter(None, kept.split("-")))


def svg_uri(svg: str) -> str:
    """Return a drawing as the address of an image."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _scrolling(html: str) -> str:
    """Put each table into a box of its own, so that a wide one scrolls and not the page."""
    return html.replace("<table>", '<div class="scroll"><table>').replace(
        "</table>", "</table></div>"
    )
