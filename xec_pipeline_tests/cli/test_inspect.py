"""`xec inspect` on every kind of file."""

import argparse
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from xec_pipeline.cli import inspect as command
from xec_pipeline.cli.inspect import describe
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.errors import CheckpointError, CorruptFileError, DataError


def text_of(path):
    return "\n".join(describe(Path(path)))


def test_root_file(tiny_root_file):
    text = text_of(tiny_root_file)
    assert "events          24" in text
    assert "tasks possible  angle, energy, timing, uvwFI" in text
    assert "npho           float[4760]  photon" in text


def test_toy_file_shows_how_it_was_simulated(tmp_path, event_factory):
    provenance = {"detector": "toy", "energy_mev": [15.0, 60.0]}
    path = write_tree(tmp_path / "a.root", "tree", event_factory(2), provenance=provenance)
    text = text_of(path)
    assert "toy detector    yes" in text
    assert "energy_mev  15, 60" in text


def test_folder_of_root_files(tiny_root_dir):
    text = text_of(tiny_root_dir)
    assert "events  48" in text
    assert "MCGamma_000002.root" in text


def test_shards(tiny_shards):
    text = text_of(tiny_shards.path)
    assert tiny_shards.data_version in text
    assert "MCGamma_000002.root" in text
    assert text == text_of(tiny_shards.path / "manifest.json")


def test_table(tmp_path):
    path = tmp_path / "predictions_energy_a.csv"
    path.write_text("true_energy,pred_energy,run\n0.05,0.051,1\n0.02,0.018,1\n")
    lines = text_of(path).splitlines()
    assert lines[1:3] == ["  rows     2", "  columns  3"]
    assert lines[-1].split() == ["energy", "-0.0005", "0.00212132"]


def test_checkpoint(tmp_path):
    path = tmp_path / "checkpoint_best.pth"
    content = {
        "kind": "regressor",
        "epoch": 4,
        "best_val": 0.25,
        "model_state_dict": {"backbone.a.w": torch.zeros(3, 2), "heads.energy.0": torch.zeros(5)},
        "config": {"tasks": {"energy": {"enabled": True}, "angle": {"enabled": False}}},
        "data": {"train": "abc"},
    }
    torch.save(content, path)
    text = text_of(path)
    for expected in (
        "kind              regressor",
        "best_val          0.25",
        "tasks             energy",
        "parameters        11",
        "train  abc",
    ):
        assert expected in text


def test_onnx(tmp_path):
    end = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 4760])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 4760])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [end], [out]))
    onnx.helper.set_model_props(model, {"layout": "physical"})
    onnx.save(model, tmp_path / "model.onnx")
    text = text_of(tmp_path / "model.onnx")
    assert "input   x     float  (batch, 4760)" in text
    assert "layout  physical" in text


@pytest.mark.parametrize(
    ("name", "error"),
    [("a.root", CorruptFileError), ("a.pth", CheckpointError), ("a.onnx", CorruptFileError)],
)
def test_damaged_files_are_errors(tmp_path, name, error):
    path = tmp_path / name
    path.write_bytes(b"nothing of this kind")
    with pytest.raises(error, match=name):
        text_of(path)


def test_empty_table(tmp_path):
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(CorruptFileError, match="not a table"):
        text_of(tmp_path / "a.csv")


def test_unknown_kind_lists_the_known(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"cannot tell what this is; expected .*\.pth"):
        text_of(tmp_path / "a.npy")


def test_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "model.onnx").touch()
    with pytest.raises(DataError, match=r"did you mean 'model\.onnx'"):
        text_of(tmp_path / "modle.onnx")


def test_command_line(tiny_root_file, capsys):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    assert command.run(parser.parse_args(["inspect", str(tiny_root_file)])) == 0
    assert "Branches" in capsys.readouterr().out
