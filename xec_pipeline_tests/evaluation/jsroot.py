"""ROOT files read by JSROOT, an implementation that shares no code with uproot."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

VERSION = "7.11.2"
_SCRIPT = Path(__file__).with_name("read_with_jsroot.mjs")


def read_trees(path: Path) -> dict[str, Any]:
    """Return type, number of entries and columns of every tree in `path`."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed; they run JSROOT, the independent reader")
    command = [node, str(_SCRIPT), str(_installed()), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def _installed() -> Path:
    """Return the folder of JSROOT in the user's cache; install it there on the first call."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "xec_pipeline_tests" / f"jsroot-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    package = folder / "node_modules" / "jsroot"
    with FileLock(folder / ".lock"):
        if not (package / "package.json").is_file():
            options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
            command = ["npm", "install", *options, f"jsroot@{VERSION}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
            assert done.returncode == 0, done.stderr
    return package
