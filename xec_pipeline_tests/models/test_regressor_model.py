import pytest
import torch

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.models.heads import RegressionHead
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.regressor import PhysicalRegressor, build_regressor, head_widths
from xec_pipeline.models.target_scaling import TargetScaling, TargetStatistics

STATISTICS = {
    "energy": TargetStatistics(mean=[3.5], scale=[0.4], log=True),
    "uvwFI": TargetStatistics(mean=[0.0, 1.0, 5.0], scale=[15.0, 40.0, 5.0], log=False),
}
ONLY_TWO = {"tasks.angle.enabled": False, "tasks.timing.enabled": False, "model.encoder_dim": 32}


@pytest.fixture(params=["xec_v1", "xec_v2"])
def run(request):
    return load_regressor_run(
        "demo", {**ONLY_TWO, "model.encoder": request.param, "tasks.uvwFI.loss_fn": "gaussian_nll"}
    )


def raw(n=3):
    generator = torch.Generator().manual_seed(1)
    npho = 3e4 * torch.rand(n, 4760, generator=generator) ** 6
    npho[0, ::9] = 1e10
    return npho, 1e-8 * torch.rand(n, 4760, generator=generator)


def test_only_active_heads_exist(run):
    model = build_regressor(run)
    assert head_widths(run.tasks) == {"energy": 1, "uvwFI": 6}
    assert list(model.heads) == ["energy", "uvwFI"]
    heads = {name.split(".")[1] for name in model.state_dict() if name.startswith("heads.")}
    assert heads == {"energy", "uvwFI"}
    assert {f"heads.energy.{i}.weight" for i in (0, 1, 4, 6)} <= set(model.state_dict())


def test_same_seed_same_weights(run):
    states = []
    for _ in range(2):
        torch.manual_seed(run.training.seed)
        states.append(build_regressor(run).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@torch.no_grad()
def test_physical_outputs(run):
    scaling = TargetScaling(STATISTICS)
    model = PhysicalRegressor(InputNormalizer(run.normalization), build_regressor(run), scaling)
    outputs = model.eval()(*raw())
    shapes = {name: tuple(values.shape) for name, values in outputs.items()}
    assert shapes == {"energy_mev": (3, 1), "uvw_cm": (3, 3), "sigma_uvw_cm": (3, 3)}
    assert (outputs["sigma_uvw_cm"] > 0).all()
    assert (outputs["energy_mev"] > 0).all()


def test_head_starts_from_its_estimates():
    head = RegressionHead(10, 2, 8, 0.0, n_estimates=4)
    bias = head.state_dict()["6.bias"]
    assert torch.count_nonzero(head(torch.randn(5, 10)) - bias) == 0
    assert head.shortcut is not None
    torch.nn.init.ones_(head.shortcut.weight)
    x = torch.randn(5, 10)
    torch.testing.assert_close(head(x), bias + x[:, 6:].sum(dim=1, keepdim=True))


def test_heads_answer_in_float32_under_autocast(run):
    model = build_regressor(run).eval()
    x = InputNormalizer(run.normalization)(*raw())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(x)
    assert {values.dtype for values in outputs.values()} == {torch.float32}
