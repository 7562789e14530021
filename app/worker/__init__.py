"""The worker: claims jobs, runs their actions, records the outcomes, beats, takes over."""

from app.worker.loop import Chore, Worker, WorkerOptions
from app.worker.running import Runner

__all__ = ["Chore", "Runner", "Worker", "WorkerOptions"]
