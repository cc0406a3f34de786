"""The inpainter: published numbers and names, leaks, places of sensors, gradients."""

from typing import Any

import numpy as np
import pytest
import torch

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.detector.faces import FACE_NAMES, Face, sensors_of_face
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.layout import LEGACY, PHYSICAL
from xec_pipeline.models.cross_attention import position_code
from xec_pipeline.models.inpainter import FaceInpainter, Inpainter, build_inpainter
from xec_pipeline.models.inpainter_attention import box_neighbours, graph_neighbours
from xec_pipeline.models.inpainter_heads import OuterHead, outer_regions
from xec_pipeline.models.places import hidden_places, scattered
from xec_pipeline_tests.models.deterministic import mask, plain_input, set_weights, signature
from xec_pipeline_tests.models.inpainters import KINDS, events, hidden, tiny_inpainter

GOLDEN = {
    "all": ((0, 4760), (121.712595, 143.243079, 0.06136559, -0.06455126)),
    "top": ((4596, 4669), (-0.054953, 0.269929, -0.00810711, 0.00536270)),
    "outer coarse": ((4092, 4308), (-4.377987, 4.377987, -0.00422338, -0.06472813)),
}
SIZES: dict[int, dict[str, Any]] = {
    27_198_855: {},
    26_537_222: {"use_local_context": False},
    # Five heads also learn what stands for the neighbours of a sensor that has none.
    27_196_172 + 3 * 64 + 2 * 96: {"use_masked_attention": True},
    25_974_209 + 64: {"head_type": "cross_attention"},
}
NAMES = {
    "": "head_inner head_us head_ds head_outer_sensor head_top head_bot",
    "head_outer_sensor.": "latent_proj.0 local_encoder.0 local_encoder.1 attn_weight.0 pred_head.0",
    "head_us.": "latent_proj.0 local_encoder.0 local_encoder.1 pred_head.0 pred_head.2",
    "head_us.local_encoder.4.": "norm pwconv1 grn pwconv2 dwconv",
    "head_top.": "latent_proj.0 input_proj gnn_layers.0 gnn_layers.2 pred_head.0 pred_head.3",
    "cross_attn_head.": "pos_embed knn_indices face_embedding neighbor_proj query_proj_local "
    "latent_proj latent_face_proj query_proj_global k_proj v_proj global_out_proj pred_mlp.0 "
    "pred_mlp.1 pred_mlp.3",
}
LOGIT_SHIFTS = ("attn_weight.bias", "attn_weight.0.bias", "k_proj.bias")


@pytest.fixture(params=KINDS, ids=str)
def kind(request) -> str:
    name: str = request.param
    return name


def published(**model: Any) -> Inpainter:
    config = {"layout": "legacy", "outer_fine_pool": (2, 2), "freeze_encoder": False, **model}
    return build_inpainter(InpainterRun.model_validate({"model": config}))


@pytest.mark.golden
@torch.no_grad()
def test_published_numbers():
    model = published(
        encoder_dim=64,
        num_fusion_layers=1,
        dim_feedforward=256,
        predict_channels=("npho", "time"),
    )
    found = set_weights(model.double())(plain_input(), mask())
    sensor = torch.arange(4760)
    for name, ((first, end), expected) in GOLDEN.items():
        values = found[mask() & (sensor >= first) & (sensor < end)]
        found_signature = signature(values)
        # As many digits as were published.
        assert found_signature[:2] == pytest.approx(expected[:2], rel=0, abs=5.1e-7), name
        assert found_signature[2:] == pytest.approx(expected[2:], rel=0, abs=5.1e-9), name


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes(size):
    model = published(encoder_dim=1024, **SIZES[size])
    assert sum(p.numel() for p in model.parameters()) == size


@pytest.mark.parametrize("head_type", ["per_face", "cross_attention"])
def test_published_names(head_type):
    state = published(encoder_dim=64, head_type=head_type).state_dict()
    for prefix, names in NAMES.items():
        if prefix.startswith("cross") == (head_type == "cross_attention"):
            for name in names.split():
                assert any(key.startswith(prefix + name) for key in state), prefix + name
    heads = {key.split(".")[0] for key in state} - {"encoder"}
    assert heads == ({"cross_attn_head"} if head_type[0] == "c" else set(NAMES[""].split()))


def test_cells_of_the_outer_face_are_the_published_ones():
    counts = {
        (1, 1): {6: 30, 15: 204},
        (2, 2): {1: 12, 2: 75, 3: 45, 4: 57, 6: 45},
        (3, 3): {1: 99, 2: 135},
    }
    for pool, expected in counts.items():
        cells, is_cell = outer_regions(LEGACY, pool)
        sizes, sensors = np.unique(is_cell.sum(axis=1), return_counts=True)
        assert dict(zip(sizes.tolist(), sensors.tolist(), strict=True)) == expected
        assert cells.max() < (45 // pool[0]) * (72 // pool[1])


def test_neighbours_of_attention_heads():
    box = box_neighbours((24, 6))
    assert box.shape == (144, 24)
    assert box[0][box[0] < 144].tolist() == [1, 2, 6, 7, 8, 12, 13, 14]
    assert (box_neighbours((93, 44)) < 4092).sum(axis=1).max() == 24
    for layout in (LEGACY, PHYSICAL):
        graph = graph_neighbours(layout.hex_neighbours)
        assert graph.shape == (73, 18)
        assert not (graph == np.arange(73)[:, None]).any()


def test_every_sensor_is_found_at_its_place():
    for name in ("faces v1", "faces v1 split", "faces v2"):
        model = tiny_inpainter(name, ("npho",))
        assert isinstance(model, FaceInpainter)
        for head in model.heads.values():
            setattr(model, head, Echo(model.get_submodule(head)))
        sensor = torch.arange(4760, dtype=torch.float32)
        x = sensor[None, :, None].expand(2, -1, 2)
        found = model(x, torch.zeros(2, 4760, dtype=torch.bool))
        torch.testing.assert_close(found[1, :, 0], sensor), name


class Echo(torch.nn.Module):
    """Stands for a head and returns what it sees of each sensor."""

    def __init__(self, head: torch.nn.Module) -> None:
        super().__init__()
        self.head = [head]

    def forward(self, token, face):
        del token
        cells = face.values[..., :1].flatten(1, -2)
        head = self.head[0]
        if isinstance(head, OuterHead):
            weights = head.is_cell[..., None] / head.is_cell.sum(dim=1)[:, None, None]
            own = cells.index_select(1, head.cells).unflatten(1, head.region_shape)
            cells = (own * weights).sum(dim=2)
        return cells.transpose(1, 2)


@torch.no_grad()
def test_predictions_do_not_depend_on_hidden_values(kind):
    model = tiny_inpainter(kind).eval()
    x, is_hidden = events(2), hidden(2)
    is_hidden[1, 2000:] = False
    other = torch.where(is_hidden[..., None], events(2, seed=1), x)
    prediction = model(x, is_hidden)
    assert prediction.shape == (2, 4760, 2)
    assert prediction.isfinite().all()
    assert torch.equal(model(other, is_hidden), prediction)
    assert torch.equal(model.masked(x, is_hidden)[~is_hidden], x[~is_hidden])
    assert (model.masked(x, is_hidden)[is_hidden] == torch.tensor([-1.0, -2.0])).all()
    # Neither do they depend on the other events of the batch.
    alone = model(x[1:], is_hidden[1:])
    torch.testing.assert_close(alone[is_hidden[1:]], prediction[1:][is_hidden[1:]])


@torch.no_grad()
def test_all_hidden_sensors_are_predicted_on_every_face(kind):
    model = tiny_inpainter(kind).eval()
    is_hidden = (torch.arange(4760) % 5 == 0)[None]
    is_hidden[:, 4742:] = True
    one, other = (model(events(1, seed), is_hidden) for seed in (0, 1))
    differs = ((one - other).abs() > 0).all(dim=2)
    for face in Face:
        ids = torch.from_numpy(sensors_of_face(face).copy())
        assert differs[:, ids][is_hidden[:, ids]].all(), FACE_NAMES[face]


@torch.no_grad()
def test_a_dead_sensor_is_like_a_hidden_one(kind):
    model = tiny_inpainter(kind).eval()
    x = events(1)
    is_dead = hidden(1, 0.1, seed=9)
    x[is_dead] = torch.tensor([-1.0, -2.0])
    is_hidden = hidden(1, 0.05)
    found = model(x, is_hidden)[is_hidden]
    torch.testing.assert_close(model(x, is_hidden | is_dead)[is_hidden], found)
    assert (model(x, is_hidden | is_dead)[is_dead] != 0).any(dim=1).all()


@torch.no_grad()
def test_a_sensor_without_visible_neighbours_does_not_see_them():
    for name in ("attention v1", "attention v1 split", "sensors v2"):
        model = tiny_inpainter(name).eval()
        x, is_hidden = events(1), torch.ones(1, 4760, dtype=torch.bool)
        is_hidden[:, ::1700] = False
        x[..., 0][is_hidden] = -1.0
        found = model(x, is_hidden)
        for weight_name, weight in model.named_parameters():
            if weight_name.endswith(("pool.nothing", "no_neighbour")):
                weight.add_(1.0)
        assert ((model(x, is_hidden) != found).any(dim=2) & is_hidden).sum() > 3000


@torch.no_grad()
def test_nothing_hidden_and_nothing_alive(kind):
    model = tiny_inpainter(kind).eval()
    nothing = torch.zeros(2, 4760, dtype=torch.bool)
    assert model(events(2), nothing).isfinite().all()
    dead = torch.tensor([-1.0, -2.0]).expand(2, 4760, 2)
    assert model(dead, ~nothing).isfinite().all()


@pytest.mark.parametrize("features", [("npho", "time"), ("npho",)], ids=str)
def test_gradients_reach_every_weight(kind, features):
    model = tiny_inpainter(kind, features, freeze_encoder=False, outputs_start_at_zero=False)
    is_hidden = hidden(3)
    # Some sensors have no visible neighbour.
    is_hidden[0] = torch.arange(4760) % 1700 > 0
    prediction = model(events(3), is_hidden)
    assert prediction.shape == (3, 4760, len(features))
    prediction.square().sum().backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    # A constant added to all logits changes nothing.
    without = [
        name
        for name, gradient in gradients.items()
        if gradient is not None and not gradient.any() and not name.endswith(LOGIT_SHIFTS)
    ]
    assert without == []


def test_a_frozen_encoder_stays_as_it_is():
    model = tiny_inpainter("faces v2", ("npho",), freeze_encoder=True, dropout=0.5).train()
    assert not model.encoder.training
    assert model.get_submodule("head_inner").training
    x, is_hidden = events(1), hidden(1)
    assert torch.equal(model(x, is_hidden), model(x, is_hidden))
    model(x, is_hidden).sum().backward()
    assert all(weight.grad is None for weight in model.encoder.parameters())
    free = tiny_inpainter("faces v2", ("npho",), freeze_encoder=False, dropout=0.5).train()
    assert free.encoder.training
    assert not torch.equal(free(x, is_hidden), free(x, is_hidden))


@torch.no_grad()
def test_predictions_are_float32_under_autocast(kind):
    model = tiny_inpainter(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(events(1), hidden(1)).dtype == torch.float32


def test_lists_of_hidden_places():
    is_hidden = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 0]], dtype=torch.bool)
    places = hidden_places(is_hidden)
    assert places.ids.tolist() == [[1, 3, 4], [0, 1, 2]]
    assert places.is_hidden.tolist() == [[True] * 3, [True, False, False]]
    values = torch.arange(1.0, 7.0).view(2, 3, 1)
    assert scattered(values, places)[..., 0].tolist() == [[0, 1, 0, 2, 3], [4, 0, 0, 0, 0]]
    assert hidden_places(torch.zeros(2, 5, dtype=torch.bool)).ids.shape == (2, 1)


def test_position_code_keeps_to_what_sensors_can_sample():
    position = ideal_geometry().position_cm
    for is_legacy, ratio in ((True, 2**15), (False, 200 / 3.1)):
        code = position_code(position, 96, is_legacy=is_legacy)
        assert code.shape == (4760, 96)
        phase = 2 * np.pi / 200.0 * position
        np.testing.assert_allclose(code[:, 64], np.sin(phase[:, 2]))
        np.testing.assert_allclose(code[:, 16], np.cos(phase[:, 0]))
        np.testing.assert_allclose(code[:, 47], np.sin(ratio * phase[:, 1]), atol=1e-8)
