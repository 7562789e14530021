"""A pace: bursts pass, and then calls are spread."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.amplience.pace import Pace


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_burst_passes_and_then_calls_come_at_the_rate() -> None:
    moment = Time()
    pace = Pace(10, 3, clock=moment.clock, sleep=moment.sleep)
    for _ in range(5):
        pace.wait()
    assert moment.slept == [pytest.approx(0.1), pytest.approx(0.1)]


def test_burst_comes_back_with_time_and_never_grows() -> None:
    moment = Time()
    pace = Pace(10, 3, clock=moment.clock, sleep=moment.sleep)
    for _ in range(3):
        pace.wait()
    moment.now += 60
    for _ in range(4):
        pace.wait()
    assert moment.slept == [pytest.approx(0.1)]


def test_threads_share_the_rate() -> None:
    pace = Pace(100, 2)
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        for _ in range(12):
            threads.submit(pace.wait)
    assert time.monotonic() - began >= 10 / 100 - 0.005
