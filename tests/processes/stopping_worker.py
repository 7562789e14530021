"""A worker for tests, started as a process: it stops itself right before its first claim commits.

The main thread writes nothing before that but what the claim takes, so the claim's locks are held.
"""

from __future__ import annotations

import os
import signal
import threading

from sqlalchemy import Connection, Engine, event

from app.cli import main


def stop(_connection: Connection) -> None:
    """Stop the process, as SIGSTOP from outside would; other threads write as they please."""
    if threading.current_thread() is threading.main_thread():
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    event.listen(Engine, "commit", stop)
    main(["worker"])
