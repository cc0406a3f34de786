"""The table of the contract: which checkpoint can start which training."""

import itertools
from pathlib import Path

import pytest
import torch

from xec_pipeline.errors import CheckpointError
from xec_pipeline.training.checkpoint import KINDS, Checkpoint, write_checkpoint
from xec_pipeline.training.compatibility import TRANSFERS, Transfer, transfer
from xec_pipeline.training.start import choose_encoder, choose_start
from xec_pipeline_tests.training.tiny import tiny_run

TARGETS = ("regressor", "mae", "inpainter")
NAMES = {
    "regressor": "heads.energy.0.weight",
    "mae": "encoder.pos_embed",
    "inpainter": "encoder.pos_embed",
    "encoder": "pos_embed",
}
FULL, ENCODER = Transfer.FULL, Transfer.ENCODER
TABLE = {
    ("regressor", "regressor"): FULL,
    ("mae", "regressor"): ENCODER,
    ("mae", "mae"): FULL,
    ("inpainter", "inpainter"): FULL,
    ("regressor", "mae"): "Pre-train afresh without --resume_from",
    ("regressor", "inpainter"): "Start the inpainter from an MAE",
    # Not in the contract's table: an encoder file is an MAE without decoders.
    ("encoder", "regressor"): ENCODER,
    ("mae", "inpainter"): ENCODER,
    ("encoder", "inpainter"): ENCODER,
    ("encoder", "mae"): "Resume the mae_checkpoint_best.pth",
    ("inpainter", "regressor"): "Start the regressor from that one",
    ("inpainter", "mae"): "Resume that one",
}


def test_the_table_is_complete():
    assert set(TABLE) == set(itertools.product(KINDS, TARGETS))
    assert set(TRANSFERS) == {
        pair for pair, expected in TABLE.items() if isinstance(expected, Transfer)
    }


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [(*pair, expected) for pair, expected in TABLE.items()],
    ids=[
        f"{source} -> {target}: {expected.value if isinstance(expected, Transfer) else 'refused'}"
        for (source, target), expected in TABLE.items()
    ],
)
def test_a_checkpoint_starts_what_the_contract_says(
    tmp_path: Path, source: str, target: str, expected: Transfer | str
):
    path = tmp_path / f"{source}.pth"
    weights = {NAMES[source]: torch.zeros(1)}
    write_checkpoint(path, Checkpoint(kind=source, model_state_dict=weights, epoch=1))
    run = tiny_run(tmp_path, checkpoint={"resume_from": str(path)})
    if isinstance(expected, str):
        pair = f"'{source}' cannot start a training of kind '{target}': .*{expected}"
        with pytest.raises(CheckpointError, match=pair):
            choose_encoder(run, target)
        with pytest.raises(CheckpointError, match=pair):
            choose_start(run, target, {})
        return
    encoder = choose_encoder(run, target)
    assert (encoder is not None) == (expected is ENCODER)
    found = choose_start(run, target, {}, encoder=encoder)
    assert (found is not None) == (expected is FULL)
    if found is not None:
        assert found[0].kind == source


def test_foreign_files_are_refused_with_a_way_out():
    with pytest.raises(CheckpointError, match=r"kind 'foreign' .* 'xec import-checkpoint'"):
        transfer("foreign", "regressor", Path("x.pth"))
