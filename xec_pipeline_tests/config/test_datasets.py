"""Names of datasets."""

import re

import pytest

from xec_pipeline.config.datasets import dataset_key


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("data/toy/train", "data.toy.train"),
        ("data/toy/train/", "data.toy.train"),
        ("./data//toy/train", "data.toy.train"),
        ("large_train.root", "large_train.root"),
        ("data/large-train.root", "data.large-train.root"),
    ],
)
def test_plain_paths_stay_readable(path, key):
    assert dataset_key(path) == key


@pytest.mark.parametrize(
    "path", ["/data/toy", "../data/toy", "data/run.5/x", "data/*.root", "a b", "ä"]
)
def test_other_paths_get_a_hash_and_stay_usable_as_names(path):
    assert re.fullmatch(r"[A-Za-z0-9_.-]+-[0-9a-f]{8}", dataset_key(path))


def test_paths_that_would_collide_differ():
    paths = ["data/toy", "/data/toy", "../data/toy", "data.toy", "data/t?y", "data/t*y"]
    assert len({dataset_key(path) for path in paths}) == len(paths)
