from pathlib import Path

import pytest

from xec_pipeline import versioning
from xec_pipeline.errors import DataError

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
    return versioning.code_version_of("pack.worker", package_dir=pack, **options)


def test_imports_are_followed_also_inside_functions(pack):
    reached = versioning.modules_reached("pack.worker", package_dir=pack)
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
        versioning.code_version_of("pack.absent", package_dir=pack)


def test_content_hash_is_of_the_bytes(tmp_path):
    for name, text in {"a": "1", "b": "1", "c": "2"}.items():
        (tmp_path / name).write_text(text)
    first, same, other = (versioning.content_hash(tmp_path / name) for name in "abc")
    assert first == same != other
    with pytest.raises(DataError, match="absent: cannot be read"):
        versioning.content_hash(tmp_path / "absent")


def test_known_files_are_not_read_again(tmp_path, monkeypatch):
    path, cache = tmp_path / "data", tmp_path / "cache.json"
    path.write_text("1")
    value = versioning.ContentHashes(cache).of(path)
    monkeypatch.setattr(versioning, "content_hash", lambda _: "read again")
    hashes = versioning.ContentHashes(cache)
    assert hashes.remembers(path)
    assert hashes.of(path) == value
    path.write_text("12")
    assert not hashes.remembers(path)
    assert hashes.of(path) == "read again"


def test_a_damaged_cache_is_forgotten(tmp_path):
    (tmp_path / "cache.json").write_text("{")
    (tmp_path / "data").write_text("1")
    assert versioning.ContentHashes(tmp_path / "cache.json").of(tmp_path / "data")


def test_set_of_files_does_not_depend_on_order_but_on_names(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_text("1")
    hashes = versioning.ContentHashes(tmp_path / "cache.json")
    before = hashes.of_all(paths)
    assert hashes.of_all(reversed(paths)) == before
    assert hashes.of_all([paths[0], paths[1].rename(tmp_path / "c")]) != before
