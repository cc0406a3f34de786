from pathlib import Path

import numpy as np
import pytest
import uproot
from numpy.testing import assert_array_equal

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.errors import DataError, MissingBranchError
from xec_pipeline.evaluation.sensor_predictions import (
    PredictionMetadata,
    SensorBlock,
    iterate_mae_predictions,
    read_prediction_metadata,
    write_mae_predictions,
)
from xec_pipeline_tests.evaluation.jsroot import read_trees

BOTH = ("npho", "time")
COMMON = {"event_id", "run_id", "entry", "mask", "truth_npho", "masked_npho", "masked_time"}
NPHO = COMMON | {"pred_npho", "err_npho"}
TIME = NPHO | {"truth_time", "pred_time", "err_time"}


def block(n_events: int, first: int, channels: tuple[str, ...] = BOTH) -> SensorBlock:
    rng = np.random.default_rng(first)
    truth = rng.normal(size=(n_events, 4760, 2)).astype("f4")
    is_masked = rng.random((n_events, 4760)) < 0.6
    return SensorBlock(
        event=np.arange(first, first + n_events) + 10_000,
        run=np.full(n_events, 430_000 + first),
        entry=np.arange(first, first + n_events),
        truth=truth,
        masked_input=np.where(is_masked[..., None], np.float32(-1), truth),
        is_masked=is_masked,
        pred=rng.normal(size=(n_events, 4760, len(channels))).astype("f4"),
    )


def metadata(channels: tuple[str, ...] = BOTH) -> PredictionMetadata:
    scheme = NormalizationConfig(npho_scheme="sqrt", npho_scale=20000, sentinel_time=-5)
    return PredictionMetadata(
        predict_channels=channels,
        normalization=scheme,
        epoch=10,
        checkpoint_digest="0123abcd",
        run_name="wide",
        toy=True,
    )


@pytest.fixture
def blocks() -> list[SensorBlock]:
    return [block(3, 0), block(1, 3), block(2, 4)]


@pytest.fixture
def written(tmp_path: Path, blocks: list[SensorBlock]) -> Path:
    path = tmp_path / "mae_predictions_epoch_10.root"
    return write_mae_predictions(path, iter(blocks), metadata())


def joined(blocks: list[SensorBlock], name: str) -> np.ndarray:
    return np.concatenate([getattr(item, name) for item in blocks])


def test_an_independent_reader_finds_every_value(written: Path, blocks: list[SensorBlock]):
    trees = read_trees(written)
    assert {name: tree["type"] for name, tree in trees.items()} == {
        "metadata": "TTree",
        "predictions": "TTree",
    }
    found = {name: np.asarray(v) for name, v in trees["predictions"]["columns"].items()}
    assert set(found) == TIME
    truth, masked, pred = (joined(blocks, name) for name in ("truth", "masked_input", "pred"))
    assert_array_equal(found["event_id"], joined(blocks, "event"))
    assert_array_equal(found["run_id"], joined(blocks, "run"))
    assert_array_equal(found["entry"], np.arange(6))
    assert_array_equal(found["mask"], joined(blocks, "is_masked"))
    for i, channel in enumerate(BOTH):
        assert_array_equal(found[f"truth_{channel}"], truth[..., i])
        assert_array_equal(found[f"masked_{channel}"], masked[..., i])
        assert_array_equal(found[f"pred_{channel}"], pred[..., i])
        assert_array_equal(found[f"err_{channel}"], pred[..., i] - truth[..., i])
    assert trees["metadata"]["entries"] == 1
    assert {name: values[0] for name, values in trees["metadata"]["columns"].items()} == {
        **NormalizationConfig(npho_scheme="sqrt", npho_scale=20000, sentinel_time=-5).model_dump(),
        "predict_channels": "npho,time",
        "epoch": 10,
        "checkpoint_digest": "0123abcd",
        "run_name": "wide",
        "data_version": "",
        "toy": True,
        "schema_version": 1,
    }


def test_files_come_back_as_they_were(written: Path, blocks: list[SensorBlock]):
    assert read_prediction_metadata(written) == metadata()
    chunks = list(iterate_mae_predictions(written, step=4))
    assert [len(chunk["mask"]) for chunk in chunks] == [4, 2]
    assert set(chunks[0]) == TIME
    pred = np.concatenate([chunk["pred_time"] for chunk in chunks])
    assert pred.dtype == np.float32
    assert_array_equal(pred, joined(blocks, "pred")[..., 1])
    assert [item.name for item in written.parent.iterdir()] == [written.name]


@pytest.mark.parametrize(
    ("channels", "branches"),
    [(("npho",), NPHO), (("time",), TIME - {"pred_npho", "err_npho"}), (("time", "npho"), TIME)],
)
def test_only_what_is_predicted_has_predictions(
    tmp_path: Path, channels: tuple[str, ...], branches: set[str]
):
    item = block(2, 0, channels)
    path = write_mae_predictions(tmp_path / "p.root", [item], metadata(channels))
    (found,) = iterate_mae_predictions(path)
    assert set(found) == branches
    for position, name in enumerate(channels):
        assert_array_equal(found[f"pred_{name}"], item.pred[..., position])
    assert read_prediction_metadata(path).predict_channels == channels


def test_many_events_are_cut_into_baskets(tmp_path: Path):
    item = block(2, 0)
    many = SensorBlock(**{name: np.repeat(v, 300, axis=0) for name, v in vars(item).items()})
    path = write_mae_predictions(tmp_path / "p.root", [many], metadata())
    with uproot.open(path) as file:
        assert file["predictions/pred_npho"].num_baskets == 2
        assert file["predictions"].num_entries == 600


def test_files_of_the_earlier_system_can_be_read(tmp_path: Path):
    path = tmp_path / "mae_predictions_epoch_5.root"
    values = np.arange(2 * 4760, dtype="f4").reshape(2, 4760)
    with uproot.recreate(path) as file:
        file.mktree("tree", {"event_id": np.int32, "pred_npho": (np.float32, (4760,))}).extend(
            {"event_id": np.arange(2, dtype="i4"), "pred_npho": values}
        )
        file.mktree("metadata", {"predict_channels": "string", "npho_scale": np.float64}).extend(
            {"predict_channels": ["npho"], "npho_scale": [0.58]}
        )
    (found,) = iterate_mae_predictions(path, ["pred_npho"])
    assert_array_equal(found["pred_npho"], values)
    old = read_prediction_metadata(path)
    assert old.predict_channels == ("npho",)
    assert old.normalization == NormalizationConfig(npho_scale=0.58)
    assert (old.schema_version, old.epoch) == (0, -1)
    with pytest.raises(MissingBranchError, match="branch 'pred_time' is missing"):
        next(iterate_mae_predictions(path, ["pred_time"]))


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path):
    def interrupted():
        yield block(1, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_mae_predictions(tmp_path / "p.root", interrupted(), metadata())
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_refused(tmp_path: Path, tiny_root_file: Path):
    with pytest.raises(DataError, match=r"pred of a block has shape \(1, 4760, 2\), expected"):
        write_mae_predictions(tmp_path / "p.root", [block(1, 0)], metadata(("npho",)))
    with pytest.raises(DataError, match=r"unknown feature 'nfo' \(did you mean 'npho'\?\)"):
        metadata(("nfo",))
    with pytest.raises(DataError, match="no tree 'metadata', so this is not a file of predictions"):
        read_prediction_metadata(tiny_root_file)
