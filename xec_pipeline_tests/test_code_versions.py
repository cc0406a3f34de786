import json
import subprocess
import sys
from pathlib import Path

import pytest

from xec_pipeline import code_versions

MODULES = {
    "__init__": "",
    "worker": '"""Doc."""\nfrom pack.sub import plots\n\n\ndef main():\n    return plots.draw()\n',
    "sub/__init__": "",
    "sub/plots": "def draw():\n    from pack.sub.style import COLOUR\n    return COLOUR\n",
    "sub/style": "COLOUR = 1\n",
    "sub/other": "X = 1\n",
}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    for name, text in MODULES.items():
        path = tmp_path / "pack" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pack"


def version(pack: Path, **options) -> str:
    return code_versions.code_version_of("pack.worker", package_dir=pack, **options)


def test_imports_are_followed_also_inside_functions(pack):
    reached = code_versions.modules_reached("pack.worker", package_dir=pack)
    assert reached == ["pack.sub.plots", "pack.sub.style", "pack.worker"]


REWORDED = '''"""Other doc."""
from pack.sub import plots

def main():  # why
    """Doc."""
    return plots.draw()
'''


@pytest.mark.parametrize(
    ("module", "text"),
    [("worker", REWORDED), ("sub/other", "X = 2\n")],
    ids=["documentation", "a module not used"],
)
def test_version_stays_when_nothing_that_matters_changes(pack, module, text):
    before = version(pack)
    (pack / f"{module}.py").write_text(text)
    assert version(pack) == before


def test_version_changes_with_a_module_far_down(pack):
    before = version(pack)
    (pack / "sub/style.py").write_text("COLOUR = 20\n")
    assert version(pack) != before


def test_excluded_modules_and_what_only_they_import_do_not_count(pack):
    before = version(pack, without=("pack.sub.plots",))
    (pack / "sub/style.py").write_text("COLOUR = 20\n")
    assert version(pack, without=("pack.sub.plots",)) == before


def test_library_versions_can_take_part(pack):
    assert version(pack, libraries=("numpy",)) != version(pack)


def test_missing_entry_is_an_error(pack):
    with pytest.raises(ModuleNotFoundError, match=r"pack\.absent"):
        code_versions.code_version_of("pack.absent", package_dir=pack)


def test_sources_are_parsed_once_over_processes(pack):
    """What the first process parsed, the second reads from the file; a change is parsed again."""
    first = version(pack)
    cache = pack / "__pycache__" / code_versions._CACHE_NAME
    content = json.loads(cache.read_text())
    assert set(content["modules"]) == {"pack", "pack.sub", "pack.worker"} | {
        f"pack.sub.{name}" for name in ("plots", "style", "other")
    }
    content["modules"]["pack.sub.style"][2] = "remembered"
    cache.write_text(json.dumps(content))
    assert version_in_new_process(pack) != first
    (pack / "sub/style.py").write_text("COLOUR =  1\n")
    assert version_in_new_process(pack) == first


@pytest.mark.parametrize("content", ["", "{", "[]", '{"reader": "of before", "modules": {}}'])
def test_a_cache_that_cannot_be_used_is_forgotten(pack, content):
    first = version(pack)
    cache = pack / "__pycache__" / code_versions._CACHE_NAME
    cache.write_text(content)
    assert version_in_new_process(pack) == first
    assert json.loads(cache.read_text())["modules"]


def version_in_new_process(pack: Path) -> str:
    code = (
        "from pathlib import Path; from xec_pipeline.code_versions import code_version_of as of; "
        f"print(of('pack.worker', package_dir=Path({str(pack)!r})))"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
