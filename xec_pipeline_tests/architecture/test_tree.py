"""The shape of the source tree: sizes, empty package files, what a light import may bring."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xec_pipeline.units

PACKAGE = Path(xec_pipeline.units.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_is_of_readable_size(source):
    assert len(source.read_text().splitlines()) <= 600


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_holds(source):
    text = source.read_text()
    if source.name == "__init__.py":
        assert text == ""
    else:
        assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc", "base"])
def test_no_drawer_for_leftovers(name):
    assert not list(PACKAGE.rglob(f"{name}.py"))


def test_command_line_help_needs_no_heavy_library():
    code = (
        "import sys\n"
        "from xec_pipeline.__main__ import build_parser\n"
        "build_parser().format_help()\n"
        "heavy = {'torch', 'uproot', 'matplotlib', 'pandas', 'mlflow', 'dagster', 'scipy'}\n"
        "sys.exit(','.join(sorted(heavy & set(sys.modules))) or 0)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
