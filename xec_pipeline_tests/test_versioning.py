import pytest

from xec_pipeline import versioning
from xec_pipeline.errors import DataError


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
