"""The two databases of the drill: a SQLite file, and a PostgreSQL server of its own."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import text

from app.storage import Storage

# Debian and its kin keep the server's programs out of PATH.
_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Store(Protocol):
    """A database that the drill owns."""

    name: str
    url: str
    restarts: int

    def restart(self) -> None:
        """End it as a crash would, and start it again."""

    def version(self) -> str:
        """Its version, for the report."""

    def close(self) -> None:
        """End it."""


class SqliteStore:
    """A file. There is no server that could be restarted."""

    name = "SQLite"
    restarts = 0

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory}/relay.db"

    def restart(self) -> None:
        """Do nothing."""

    def version(self) -> str:
        return sqlite3.sqlite_version

    def close(self) -> None:
        """Do nothing."""


class PostgresStore:
    """A cluster in a directory of its own, on a free port, with fsync on as by default."""

    name = "PostgreSQL"

    def __init__(self, directory: Path) -> None:
        self.restarts = 0
        self._programs = programs()
        self._place = directory / "cluster"
        self._port = free_port()
        self._owner: dict[str, Any] = {}
        self._place.mkdir()
        if os.getuid() == 0:
            # The server refuses to run as root.
            owner = pwd.getpwnam(_unprivileged())
            os.chown(self._place, owner.pw_uid, owner.pw_gid)
            for above in (directory, *directory.parents[:1]):
                above.chmod(0o755)
            self._owner = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
        self._run("initdb", "--auth=trust", "--username=drill", "--encoding=UTF8", "--locale=C")
        self._start()
        self.url = f"postgresql://drill@127.0.0.1:{self._port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            (self._programs / program, "-D", str(self._place / "db"), *arguments),
            check=True,
            cwd=self._place,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            **self._owner,
        )

    def _start(self) -> None:
        options = (
            f"-p {self._port} -k {self._place} -c listen_addresses=127.0.0.1 -c max_connections=200"
        )
        log = str(self._place / "log")
        self._run("pg_ctl", "-w", "-t", "30", "-l", log, "-o", options, "start")

    def restart(self) -> None:
        """Stop it without a checkpoint, as a crash would, and start it a second later."""
        self._run("pg_ctl", "-m", "immediate", "stop")
        time.sleep(1)
        self._start()
        self.restarts += 1

    def version(self) -> str:
        storage = Storage(self.url)
        with storage.read() as connection:
            found = str(connection.execute(text("SHOW server_version")).scalar_one())
        storage.close()
        return found.split(maxsplit=1)[0]

    def close(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "stop")


def programs() -> Path:
    """Where initdb and pg_ctl are; raises `FileNotFoundError`."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    for place in _PLACES:
        for directory in sorted(glob.glob(place), reverse=True):
            if (Path(directory) / "initdb").exists():
                return Path(directory)
    raise FileNotFoundError("initdb: install the PostgreSQL server's programs")


def _unprivileged() -> str:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise FileNotFoundError("a user that is not root, to run PostgreSQL")
