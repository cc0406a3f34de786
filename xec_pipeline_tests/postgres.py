"""A PostgreSQL server of our own for the time of a test: in a temporary folder, no network port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

USER = "xec_reader"
PASSWORD = "s3cret/@:%word"
_SERVERS = Path("/usr/lib/postgresql")
_LOG_LINES = 20


def require_server() -> Path:
    """Return the folder of the server's programs, or skip the test and say why."""
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed; `pip install -e .[dev]` brings it")
    found = sorted(_SERVERS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if initdb is None:
        pytest.skip(
            f"no PostgreSQL server in {_SERVERS}/*/bin or on the path; where there is one "
            "(Debian: apt-get install postgresql), this test starts its own"
        )
    if os.geteuid() == 0 and (shutil.which("runuser") is None or _other_user() is None):
        pytest.skip("PostgreSQL refuses to run as root, and there is no runuser or other user")
    return Path(initdb).parent


@contextmanager
def running_server(programs: Path) -> Iterator[URL]:
    """Start a server that asks for a password; yield the URL of its database `postgres`."""
    # Not below pytest's own folder, which other users cannot enter; a socket needs a short path.
    folder = Path(tempfile.mkdtemp(prefix="xec_pg_", dir="/tmp"))
    try:
        _prepare(programs, folder)
        _run([programs / "pg_ctl", *_where(folder), "-w", "-l", folder / "log", "start"], folder)
        try:
            query = {"host": str(folder)}
            yield URL.create("postgresql+psycopg", USER, PASSWORD, None, None, "postgres", query)
        finally:
            _run([programs / "pg_ctl", *_where(folder), "-w", "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder)


def _prepare(programs: Path, folder: Path) -> None:
    password = folder / "password"
    password.write_text(PASSWORD)
    if (user := _other_user()) is not None and os.geteuid() == 0:
        for path in (folder, password):
            os.chown(path, user.pw_uid, user.pw_gid)
    options: list[str | Path] = [
        "-U",
        USER,
        "-A",
        "scram-sha-256",
        "--pwfile",
        password,
        "--locale=C",
        "-E",
        "UTF8",
    ]
    _run([programs / "initdb", *_where(folder), *options, "--no-sync"], folder)
    with (folder / "data" / "postgresql.conf").open("a") as conf:
        conf.write(f"listen_addresses = ''\nunix_socket_directories = '{folder}'\nfsync = off\n")


def _where(folder: Path) -> list[str | Path]:
    return ["-D", folder / "data"]


def _run(command: Sequence[str | Path], folder: Path) -> None:
    words = [str(word) for word in command]
    user = _other_user()
    if os.geteuid() == 0 and user is not None:
        words = ["runuser", "-u", user.pw_name, "--", *words]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=100, cwd=folder
    )
    log = folder / "log"
    tail = log.read_text().splitlines()[-_LOG_LINES:] if log.is_file() else []
    assert done.returncode == 0, "\n".join([" ".join(words), done.stdout, done.stderr, *tail])


def _other_user() -> pwd.struct_passwd | None:
    """Return a user that is not root."""
    users = {user.pw_name: user for user in pwd.getpwall()}
    return users.get("postgres") or users.get("nobody")
