"""The directory in which the web processes of one gunicorn keep what they count.

It is always one of our own, below the directory that the operator names: other files there are
neither read nor deleted. Its lock shows that it is in use, so that the next start can remove one
that a killed process left behind. A process id in its name could not: containers that share a
volume do not see each other's processes.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.errors import ConfigError, ConfigProblem

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "dc-relay-counters-"
# The end of the names that prometheus_client gives to its files.
_COUNTERS = ".db"


def named_parent(environ: Mapping[str, str], otherwise: str) -> Path:
    """The directory that the operator names; a variable that is blank is not set."""
    return Path(environ.get(VARIABLE, "").strip() or otherwise)


class CounterDirectory:
    """A new, locked directory below `parent`, which is made if it is missing.

    The lock lives as long as this process and those forked from it. Raises `ConfigError` when
    `parent` cannot be used.
    """

    def __init__(self, parent: Path) -> None:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _remove_unused(parent)
            self.path, self._descriptor = _made_and_locked(parent)
        except OSError as error:
            problem = ConfigProblem(
                place=VARIABLE,
                message=f"{parent} cannot be used for counters: {error.strerror or error}.",
                advice="Name a directory that the web process may write to, or unset it.",
            )
            raise ConfigError([problem]) from error

    def remove(self) -> None:
        """Remove the directory, unless it holds other files than counters."""
        _remove(self.path, self._descriptor)


def _made_and_locked(parent: Path) -> tuple[Path, int]:
    while True:
        made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        # Until it is locked, another process that starts now may take it for an unused one.
        with suppress(FileNotFoundError):
            descriptor = _opened(made)
            if _locked(descriptor) and made.exists():
                return made, descriptor
            os.close(descriptor)


def _remove_unused(parent: Path) -> None:
    for found in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, or gone
            descriptor = _opened(found)
            try:
                if os.fstat(descriptor).st_uid == os.geteuid() and _locked(descriptor):
                    _remove(found, descriptor)
            finally:
                os.close(descriptor)


def _remove(directory: Path, descriptor: int) -> None:
    with suppress(OSError):
        for name in os.listdir(descriptor):
            if name.endswith(_COUNTERS):
                os.unlink(name, dir_fd=descriptor)
        directory.rmdir()


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened(directory: Path) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
