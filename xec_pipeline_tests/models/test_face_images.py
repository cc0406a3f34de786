import numpy as np
import pytest
import torch

from xec_pipeline.detector.layout import LEGACY, PHYSICAL
from xec_pipeline.models.faces import FaceImages, OuterFineGrid


def one_sensor(number: int) -> torch.Tensor:
    x = torch.zeros(1, 4760, 2)
    x[0, number] = torch.tensor([1.0, 0.5])
    return x


def test_images_hold_their_sensors():
    faces = FaceImages({"us": PHYSICAL.us, "top": PHYSICAL.top})
    x = torch.arange(4760.0).view(1, 4760, 1).expand(3, -1, 2)
    us = faces.values("us", x)
    assert us.shape == (3, 24, 6, 2)
    assert np.array_equal(us[1, :, :, 0].numpy(), PHYSICAL.us)
    assert faces.hidden("us", None) is None
    hidden = torch.zeros(3, 4760, dtype=torch.bool)
    hidden[2, PHYSICAL.top[5]] = True
    found = faces.hidden("top", hidden)
    assert found is not None
    assert found.nonzero().tolist() == [[2, 5]]


@pytest.mark.golden
def test_published_cells_of_the_fine_grid():
    grid = OuterFineGrid(LEGACY, None, -1.0)
    dense = grid.values(one_sensor(4742))[0, :, :, 0]
    assert dense.nonzero().unique(dim=0).tolist() == [
        [r, c] for r in (18, 19, 20) for c in (30, 31)
    ]
    assert dense.max().item() == pytest.approx(1 / 6)
    both = grid.values(one_sensor(4185))[0, :, :, 0]
    assert both.sum().item() == pytest.approx(2.0)
    assert both[15:18, 30:32].tolist() == pytest.approx(np.full((3, 2), 1 / 6))
    assert both[15:20, 63:66].tolist() == pytest.approx(np.full((5, 3), 1 / 15))


def test_every_outer_sensor_counts_once():
    grid = OuterFineGrid(PHYSICAL, None, -1.0)
    outer = np.union1d(PHYSICAL.outer_coarse, PHYSICAL.outer_center)
    sums = [grid.values(one_sensor(int(number)))[..., 0].sum().item() for number in outer]
    assert sums == pytest.approx(np.ones(234))


def test_pooled_time_is_the_mean_of_usable_times():
    grid = OuterFineGrid(PHYSICAL, (45, 72), -1.0)
    x = torch.full((2, 4760, 2), -1.0)
    x[0, PHYSICAL.outer_coarse[0, :2].tolist(), 1] = torch.tensor([1.0, 3.0])
    time = grid.values(x)[:, 0, 0, 1]
    assert time.tolist() == pytest.approx([2.0, -1.0])


@pytest.mark.parametrize("pool", [None, (2, 2), (3, 3)])
def test_mask_follows_the_values(pool):
    grid = OuterFineGrid(PHYSICAL, pool, -1.0)
    for number in (4092, 4185, 4742, 4759, 4307):
        hidden = torch.zeros(1, 4760, dtype=torch.bool)
        hidden[0, number] = True
        seen = grid.values(one_sensor(number))[..., 0] > 0
        found = grid.hidden(hidden)
        assert found is not None
        assert torch.equal(found, seen)
