"""The databases that the tools run the service on: SQLite files, and a PostgreSQL server."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from tools.service import free_port

_PLACES = ("/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin")


class Store:
    """A kind of database, with as many databases as are asked for; here without a server."""

    name: str
    restarts = 0

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def database(self, name: str) -> str:
        """Make an empty database; returns its URL."""
        raise NotImplementedError

    def restart(self) -> None:
        """Crash the server, and start it again."""

    def close(self) -> None:
        """Stop the server."""


class SqliteStore(Store):
    """Files in a directory."""

    name = "SQLite"

    def database(self, name: str) -> str:
        return f"sqlite:///{self._directory}/{name}.db"


class PostgresStore(Store):
    """A cluster in a directory of its own, on a free port, with fsync on as by default."""

    name = "PostgreSQL"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._programs = _programs()
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
        self._run("initdb", "--auth=trust", "--username=tools", "--encoding=UTF8", "--locale=C")
        try:
            self._start()
        except BaseException:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.close()
            raise

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            (self._programs / program, "-D", str(self._place / "db"), *arguments),
            check=True,
            cwd=self._place,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            # A signal to the tool's process group must not take the server away first.
            start_new_session=True,
            **self._owner,
        )

    def _start(self) -> None:
        options = (
            f"-p {self._port} -k {self._place} -c listen_addresses=127.0.0.1 -c max_connections=200"
        )
        log = str(self._place / "log")
        self._run("pg_ctl", "-w", "-t", "30", "-l", log, "-o", options, "start")

    def _url(self, name: str) -> str:
        return f"postgresql://tools@127.0.0.1:{self._port}/{name}"

    def database(self, name: str) -> str:
        with connected(self._url("postgres")) as server:
            server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self._url(name)

    def restart(self) -> None:
        """Stop the server without a checkpoint, and start it a second later."""
        self._run("pg_ctl", "-m", "immediate", "stop")
        time.sleep(1)
        self._start()
        self.restarts += 1

    def close(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "stop")


KINDS: dict[str, type[Store]] = {"sqlite": SqliteStore, "postgresql": PostgresStore}


@contextlib.contextmanager
def store(kind: type[Store]) -> Iterator[tuple[Store, Path]]:
    """A store for the block, and a directory that is removed after it."""
    with tempfile.TemporaryDirectory(prefix="dc-relay-") as directory:
        made = kind(Path(directory))
        try:
            yield made, Path(directory)
        finally:
            made.close()


@contextlib.contextmanager
def connected(url: str) -> Iterator[Any]:
    """A driver's own connection to a database; each statement is a transaction."""
    # `Any`: the two drivers have `execute(...).fetchall()` in common, and no type.
    opened: Any
    if url.startswith("sqlite:///"):
        opened = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=30)
    else:
        opened = psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)
    try:
        yield opened
    finally:
        opened.close()


def _programs() -> Path:
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
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise FileNotFoundError("a user that is not root, to run PostgreSQL")
