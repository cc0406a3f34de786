import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from xec_pipeline.defs.resources.torch_ddp import TorchDDP

FOLDER = Path(__file__).parent
WORKER = "faulty_worker"


@pytest.fixture
def ddp(tmp_path: Path) -> TorchDDP:
    return TorchDDP(
        nproc_per_node="2",
        threads_per_rank=1,
        grace_seconds=2.0,
        run_check_seconds=0.5,
        log_dir=str(tmp_path / "ranks"),
        extra_env={"PYTHONPATH": str(FOLDER), "XEC_TEST_MARK": str(tmp_path)},
    )


def marked(tmp_path: Path) -> list[int]:
    """Processes that a test's resource started and that still live."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("XEC_TEST_MARK") == str(tmp_path):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def materialize(
    ddp: TorchDDP, mode: str, *, retries: int = 0, **options: Any
) -> dg.ExecuteInProcessResult:
    @dg.asset(key=["made", "thing"], retry_policy=dg.RetryPolicy(max_retries=retries))
    def thing(context: dg.AssetExecutionContext, ddp: TorchDDP) -> dg.MaterializeResult[None]:
        return ddp.run(context, WORKER, [mode], extras={"extra": "passed"}, **options)

    return dg.materialize([thing], resources={"ddp": ddp}, raise_on_error=False)


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, dict[str, Any]]:
    assert not result.success
    data = result.get_step_failure_events()[0].step_failure_data.user_failure_data
    assert data is not None
    return str(data.description), {name: value.value for name, value in data.metadata.items()}


def test_plain_worker_reports_result_and_epochs(ddp, tmp_path, capsys):
    result = materialize(ddp, "ok", profile="cpu")
    assert result.success
    (made,) = result.asset_materializations_for_node("made__thing")
    assert made.tags is not None
    assert made.tags["dagster/data_version"] == "v1"
    assert made.metadata["extra"].value == "passed"
    assert made.metadata["loss"].value == "nan"
    assert made.metadata["asset"].value == "made/thing"
    observed = result.get_asset_observation_events()
    losses = [event.asset_observation_data.asset_observation.metadata["loss"] for event in observed]
    assert [loss.value for loss in losses] == [1.0, 0.5]
    # Progress right after an epoch does not get through.
    log = capsys.readouterr().err
    assert "thing - step 1/9  loss 2" in log
    assert "thing - step 0" not in log
    assert marked(tmp_path) == []


def restarts(result: dg.ExecuteInProcessResult) -> int:
    return sum(event.is_step_up_for_retry for event in result.all_events)


def test_users_mistake_is_told_and_not_retried(ddp):
    result = materialize(ddp, "config", profile="cpu", retries=1)
    text, metadata = failure(result)
    assert text == "rank 0 failed: ConfigError: key 'lr' is unknown"
    assert "Traceback" in metadata["traceback"]
    assert restarts(result) == 0


def test_other_failures_are_retried_and_the_worker_knows(ddp):
    result = materialize(ddp, "flaky", profile="cpu", retries=1)
    assert result.success
    assert restarts(result) == 1


def test_worker_without_a_result_makes_no_asset(ddp, tmp_path):
    (tmp_path / "silent_worker.py").write_text("")
    silent = ddp.model_copy(update={"extra_env": {"PYTHONPATH": str(tmp_path)}})

    @dg.asset
    def thing(context: dg.AssetExecutionContext):
        return silent.run(context, "silent_worker", profile="cpu")

    result = dg.materialize([thing], raise_on_error=False)
    assert "reported 0 results" in failure(result)[0]


@pytest.mark.ddp
def test_two_ranks_run_and_only_rank_0_speaks(ddp, tmp_path):
    result = materialize(ddp, "ok")
    assert result.success
    assert len(result.get_asset_observation_events()) == 2
    (made,) = result.asset_materializations_for_node("made__thing")
    assert made.metadata["ranks"].value == 2
    assert marked(tmp_path) == []


@pytest.mark.ddp
def test_exception_of_the_guilty_rank_is_the_assets_error(ddp, tmp_path):
    text, metadata = failure(materialize(ddp, "raise"))
    assert text == "rank 1 failed: ValueError: the loss is odd"
    assert "faulty_worker.py" in metadata["traceback"]
    assert Path(metadata["rank_logs"]).is_dir()
    assert marked(tmp_path) == []


@pytest.mark.ddp
def test_killed_rank_fails_the_asset_with_rank_and_signal(ddp, tmp_path):
    started = time.monotonic()
    text, metadata = failure(materialize(ddp, "kill"))
    assert time.monotonic() - started < 30
    assert text == "rank 1 failed: killed by SIGKILL (exit code -9)"
    assert metadata["first_failed_rank"] == 1
    assert metadata["signal"] == "SIGKILL"
    assert marked(tmp_path) == []


@pytest.mark.ddp
@pytest.mark.parametrize("mode", ["hang", "stubborn"])
def test_interrupt_leaves_no_process(ddp, tmp_path, mode):
    def interrupt() -> None:
        wait_for(lambda: len(marked(tmp_path)) >= 3, seconds=30)
        time.sleep(2)
        interrupted_at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    interrupted_at: list[float] = []
    threading.Thread(target=interrupt).start()
    result = materialize(ddp, mode, retries=1)
    assert time.monotonic() - interrupted_at[0] < ddp.grace_seconds + 3
    assert failure(result)[0] == "cancelled; its worker was stopped"
    assert restarts(result) == 0
    assert marked(tmp_path) == []


def test_run_ended_from_outside_stops_its_worker(ddp, tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:

        @dg.asset
        def thing(context: dg.AssetExecutionContext):
            context.instance.report_run_canceled(context.run)
            return ddp.run(context, WORKER, ["hang"], profile="cpu")

        result = dg.materialize([thing], instance=instance, raise_on_error=False)
        assert failure(result)[0].endswith("is CANCELED; its worker was stopped")
    assert marked(tmp_path) == []


STEP = """
import dagster as dg
from xec_pipeline.defs.resources.torch_ddp import TorchDDP

@dg.asset
def thing(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    ddp = TorchDDP(log_dir={log_dir!r}, threads_per_rank=1)
    return ddp.run(context, "faulty_worker", ["hang"], profile={profile!r})

dg.materialize([thing])
"""


@pytest.mark.parametrize("profile", ["cpu", pytest.param("eval", marks=pytest.mark.ddp)])
def test_workers_die_with_a_killed_step(tmp_path, profile):
    script = STEP.format(log_dir=str(tmp_path), profile=profile)
    env = {**os.environ, "PYTHONPATH": str(FOLDER), "XEC_TEST_MARK": str(tmp_path)}
    step = subprocess.Popen([sys.executable, "-c", script], env=env, stderr=subprocess.DEVNULL)
    expected = 2 if profile == "cpu" else 3
    wait_for(lambda: len(marked(tmp_path)) >= expected, seconds=60)
    time.sleep(3)  # the worker asks the kernel for its end only once it runs
    step.kill()
    step.wait()
    wait_for(lambda: not marked(tmp_path), seconds=15)


def wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("options", "profile", "ranks"),
    [
        ({"nproc_per_node": "3"}, "train", 3),
        ({"nproc_per_node": "3"}, "eval", 1),
        ({"nproc_per_node": "auto", "backend": "gloo"}, "train", 1),
    ],
)
def test_number_of_ranks(options, profile, ranks):
    assert TorchDDP(**options).ranks(profile) == ranks


@pytest.mark.parametrize("options", [{"nproc_per_node": "0"}, {"backend": "mpi"}])
def test_options_are_checked(options):
    with pytest.raises(ValueError, match="must be auto"):
        TorchDDP(**options)
