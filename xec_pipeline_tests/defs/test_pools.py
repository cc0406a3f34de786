"""Trainings that want the GPUs of a machine take turns; what needs none does not wait."""

import threading
import time
from pathlib import Path

import dagster as dg
import pytest

from xec_pipeline.defs import keys
from xec_pipeline.defs.resources.torch_ddp import TorchDDP

REPOSITORY = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
SECONDS = 1.5


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the repository's dagster.yaml."""
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def training(name: str, pool: str | None) -> dg.AssetsDefinition:
    """An asset whose worker, a process of its own, notes when it begins and ends."""

    @dg.asset(name=name, pool=pool)
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        ddp = TorchDDP(log_dir="ranks", poll_seconds=0.05, extra_env={"PYTHONPATH": str(FOLDER)})
        return ddp.run(context, "slow_worker", [name, str(SECONDS)], profile="cpu")

    return asset


def together(*assets: dg.AssetsDefinition) -> dict[str, tuple[float, float]]:
    """Run each asset in a run of its own, all at the same time; return when workers worked."""
    with dg.DagsterInstance.get() as instance:
        results: list[dg.ExecuteInProcessResult] = []

        def work(asset: dg.AssetsDefinition) -> None:
            results.append(dg.materialize([asset], instance=instance))

        threads = [threading.Thread(target=work, args=(asset,)) for asset in assets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [result.success for result in results] == [True] * len(assets)
    return {path.stem: _interval(path) for path in Path.cwd().glob("*.times")}


def _interval(path: Path) -> tuple[float, float]:
    began, ended = map(float, path.read_text().split())
    return began, ended


@pytest.mark.slow
def test_two_trainings_take_turns_and_other_work_goes_on(home):
    started = time.time()
    times = together(
        training("first", keys.GPU_POOL),
        training("second", keys.GPU_POOL),
        training("figures", None),
    )
    early, late = sorted((times["first"], times["second"]))
    assert early[1] <= late[0], "one ended before the other began"
    assert times["figures"][0] < late[0], "what needs no GPU did not wait"
    assert late[1] - started > 2 * SECONDS
