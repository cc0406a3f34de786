"""Dead sensors: the text file with its possible faults, and random patterns."""

import re

import numpy as np
import pytest

from xec_pipeline.detector.dead_channels import (
    dead_boards,
    dead_mask,
    random_dead,
    read_dead_file,
    study_pattern,
    write_dead_file,
)
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM
from xec_pipeline.errors import DataError


@pytest.fixture
def dead_file(tmp_path):
    def write(text: str, name: str = "dead_run430000.txt"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_numbers_and_comments(dead_file):
    path = dead_file("# run 430000\n\n12\n 4759  # cathode broken\r\n0\n   # nothing here\n007\n")
    assert np.flatnonzero(read_dead_file(path)).tolist() == [0, 7, 12, 4759]


@pytest.mark.parametrize("text", ["", "# none\n", "\n\n"])
def test_no_numbers_mean_no_dead_sensor(dead_file, text):
    is_dead = read_dead_file(dead_file(text))
    assert is_dead.shape == (N_SENSORS,)
    assert not is_dead.any()


def test_a_single_number(dead_file):
    assert np.flatnonzero(read_dead_file(dead_file("42"))).tolist() == [42]


@pytest.mark.parametrize(
    "entry", ["4760", "-1", "12.0", "1e3", "3 4", "1_000", "+5", "dead", "٣", "nan", "9" * 5000]
)
def test_bad_line_is_named(dead_file, entry):
    path = dead_file(f"# header\n3\n{entry}\n5\n")
    with pytest.raises(DataError) as caught:
        read_dead_file(path)
    assert f"{path}, line 3: '{entry}' is not a sensor number" in str(caught.value)
    assert "between 0 and 4759" in str(caught.value)


def test_repeated_number_is_named_with_both_lines(dead_file):
    path = dead_file("8\n9\n# x\n8\n")
    with pytest.raises(DataError, match=r"line 4: sensor 8 stands already in line 1"):
        read_dead_file(path)


def test_missing_file_names_the_nearest(dead_file):
    present = dead_file("1\n")
    wrong = present.with_name("dead_run43000.txt")
    with pytest.raises(DataError, match=re.escape(str(wrong)) + ".*did you mean 'dead_run430000"):
        read_dead_file(wrong)


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match="no such file of dead sensors"):
        read_dead_file(tmp_path / "nowhere" / "dead.txt")


def test_folder_instead_of_a_file(tmp_path):
    with pytest.raises(DataError, match="not a readable text file"):
        read_dead_file(tmp_path)


def test_binary_file(tmp_path):
    path = tmp_path / "dead.txt"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match="not a readable text file"):
        read_dead_file(str(path))


@pytest.mark.parametrize(("fraction", "count"), [(0, 0), (0.01, 48), (0.1, 476), (1, 4760)])
def test_random_dead_counts(fraction, count):
    assert random_dead(fraction, np.random.default_rng(1)).sum() == count


def test_random_dead_follows_its_generator():
    first, again = (random_dead(0.05, np.random.default_rng(3)) for _ in range(2))
    other = random_dead(0.05, np.random.default_rng(4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan")])
def test_impossible_fraction(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        random_dead(fraction, np.random.default_rng(1))


def test_boards_are_half_rows_of_the_inner_face():
    is_dead = dead_boards(7, np.random.default_rng(2))
    assert is_dead.sum() == 7 * 22
    assert not is_dead[N_SIPM:].any()
    halves = is_dead[:N_SIPM].reshape(93, 2, 22)
    assert (halves.all(axis=-1) == halves.any(axis=-1)).all()


@pytest.mark.parametrize("n_boards", [0, 186])
def test_none_and_all_boards(n_boards):
    assert dead_boards(n_boards, np.random.default_rng(2)).sum() == n_boards * 22


@pytest.mark.parametrize("n_boards", [-1, 187])
def test_impossible_number_of_boards(n_boards):
    with pytest.raises(ValueError, match="between 0 and 186"):
        dead_boards(n_boards, np.random.default_rng(2))


@pytest.mark.parametrize("sensors", [[], [42], [0, 4092, 4759]])
def test_written_file_is_read_again(tmp_path, sensors):
    path = write_dead_file(tmp_path / "new" / "dead.txt", dead_mask(sensors), ["run 1", "n"])
    assert path.read_text().splitlines() == ["# run 1", "# n", *map(str, sensors)]
    assert np.flatnonzero(read_dead_file(path)).tolist() == sensors


def test_line_break_in_a_comment_adds_no_sensor(tmp_path):
    path = write_dead_file(tmp_path / "dead.txt", dead_mask([7]), ["source: a\n9"])
    assert np.flatnonzero(read_dead_file(path)).tolist() == [7]


def test_study_pattern_follows_its_recipe():
    is_dead = study_pattern(0.03, seed=5)
    assert is_dead.sum() == 143
    halves = is_dead[:N_SIPM].reshape(186, 22)
    # Of 77 single sensors, hardly ever more than three meet on one half row.
    assert halves.all(axis=1).sum() == 3
    assert np.sort(halves.sum(axis=1))[-4] < 8
    assert is_dead[N_SIPM:].any()


@pytest.mark.parametrize(("fraction", "count"), [(0, 0), (0.001, 5), (0.5, 2380), (1, 4760)])
def test_study_pattern_counts(fraction, count):
    assert study_pattern(fraction, seed=1).sum() == count


def test_study_pattern_is_decided_by_its_seed():
    assert np.array_equal(study_pattern(0.03, 3), study_pattern(0.03, 3))
    assert not np.array_equal(study_pattern(0.03, 3), study_pattern(0.03, 4))


def test_single_sensors_of_study_patterns_are_spread_evenly():
    hits = np.mean([study_pattern(0.03, seed)[N_SIPM:] for seed in range(300)], axis=0)
    # 77 of the 4694 sensors beside the boards; 668 x 300 draws.
    assert hits.mean() == pytest.approx(77 / 4694, rel=0.1)


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan")])
def test_impossible_fraction_of_a_study_pattern(fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        study_pattern(fraction, seed=1)
