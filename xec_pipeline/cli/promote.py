"""`xec promote`: put a run's model to use without a comparison."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

_EPILOG = """\
example
  xec promote my_run --reason "corrected time offsets; agreed on 12 May"

The same by hand: in the UI, job choose_model, Launchpad, with
  ops: {production__selection: {config: {promote: my_run, reason: "..."}}}"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "promote",
        help="put a run's model to use",
        description="Make a complete run the model in use and publish its ONNX files, whatever a "
        "comparison would say. Dagster records who is in use since when, and the reason. Start it "
        "in the folder of the repository.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="a regressor run with weights, predictions and ONNX files")
    parser.add_argument("--reason", required=True, help="why; it is recorded")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from xec_pipeline.config.registry import registered_regressor
    from xec_pipeline.errors import ConfigError

    name = registered_regressor(args.run).name
    if not args.reason.strip():
        raise ConfigError("--reason is empty: say why")
    env = {"DAGSTER_HOME": str(Path.cwd()), **os.environ}
    return subprocess.run(_command(name, args.reason), env=env, check=False).returncode


def _command(name: str, reason: str) -> list[str]:
    """Return the command that lets Dagster select and publish."""
    step = {"config": {"promote": name, "reason": reason}}
    config = json.dumps({"ops": {"production__selection": step}})
    dg = str(Path(sys.executable).with_name("dg"))
    return [dg, "launch", "--job", "choose_model", "--config-json", config]
