"""Which revision of the source made a file."""

import subprocess
from functools import cache
from pathlib import Path


@cache
def git_revision() -> str:
    """Return the revision of this source tree, with `+` if files differ; `unknown` outside git."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        found = subprocess.run(
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip() or "unknown"
