from __future__ import annotations

import io
import json
import logging
import threading
import time
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from app.observability import configure_logging, log_context

SECRET = "the-webhook-secret"

log = structlog.get_logger("app.tests")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_a_line_is_one_json_object_with_the_constant_event_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("INFO", "json")

    log.info("webhook_accepted", jobs=2, note="two\nlines")

    (line,) = lines(capsys)
    written = datetime.fromisoformat(line.pop("timestamp"))
    assert line == {
        "event": "webhook_accepted",
        "jobs": 2,
        "note": "two\nlines",
        "level": "info",
        "logger": "app.tests",
    }
    assert written.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - written) < timedelta(minutes=1)


def test_library_lines_take_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json", secrets=[SECRET])

    with log_context(job_id=7):
        logging.getLogger("gunicorn.error").info("Listening at: %s (%s)", "http://[::]", SECRET)

    (line,) = lines(capsys)
    assert line["event"] == "Listening at: http://[::] (***)"
    assert line["logger"] == "gunicorn.error"
    assert line["level"] == "info"
    assert line["job_id"] == 7
    assert "timestamp" in line


def test_context_is_on_every_line_inside_the_block_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("INFO", "json")

    with log_context(hub="main", event_id="e1"):
        with log_context(job_id=7, destination="search", worker="w1"):
            log.info("inner")
        log.info("outer")
    log.info("after")

    names = {"hub", "event_id", "job_id", "destination", "worker"}
    inner, outer, after = ({k: v for k, v in x.items() if k in names} for x in lines(capsys))
    assert inner == {
        "hub": "main",
        "event_id": "e1",
        "job_id": 7,
        "destination": "search",
        "worker": "w1",
    }
    assert outer == {"hub": "main", "event_id": "e1"}
    assert after == {}


def test_context_of_one_thread_is_not_on_the_lines_of_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("INFO", "json")

    with log_context(job_id=7):
        other = threading.Thread(target=lambda: log.info("elsewhere"))
        other.start()
        other.join()

    (line,) = lines(capsys)
    assert "job_id" not in line


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_is_written(
    log_format: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("INFO", log_format, secrets=[SECRET])

    log.info("plain", note=f"<{SECRET}>")
    log.info("deep", request={"headers": {"Authorization": "Basic abc", "x": [SECRET]}})
    log.info("by_name", token="unknown-token", signature="unknown-signature")
    try:
        local = SECRET + "-local"
        raise ValueError(SECRET, len(local))
    except ValueError:
        log.exception("failed")
        logging.getLogger("sqlalchemy").exception("failed %s", SECRET)

    err = capsys.readouterr().err
    assert SECRET not in err
    assert "unknown-" not in err
    assert "Basic abc" not in err
    assert err.count("***") >= 7


def test_an_exception_is_one_field(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "json")

    try:
        raise ValueError("no such locale")
    except ValueError as error:
        log.exception("attempt_failed")
        log.error("attempt_failed", exc_info=error)
        logging.getLogger("alembic").exception("attempt_failed")

    for line in lines(capsys):
        assert line["exception"].startswith("Traceback (most recent call last):")
        assert line["exception"].endswith("ValueError: no such locale")
        assert "exc_info" not in line


def test_level_holds_for_our_lines_and_the_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")

    log.info("too_low")
    logging.getLogger("gunicorn.error").info("too low")
    log.warning("high_enough")

    assert [line["event"] for line in lines(capsys)] == ["high_enough"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="LOUD"):
        configure_logging("LOUD", "json")


def test_a_second_call_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("INFO", "console")
    configure_logging("INFO", "json", secrets=[SECRET])

    log.info("once", note=SECRET)

    (line,) = lines(capsys)
    assert (line["event"], line["note"]) == ("once", "***")


def test_a_warning_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging("INFO", "json")
        warnings.warn("old ways", stacklevel=1)
        logging.captureWarnings(capture=False)

    (line,) = lines(capsys)
    assert line["logger"] == "py.warnings"
    assert "old ways" in line["event"]


def test_paths_of_outgoing_calls_are_not_written_even_at_debug(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging("DEBUG", "json")

    logging.getLogger("urllib3.connectionpool").debug('"POST /services/T0/B0/key HTTP/1.1" 200')
    logging.getLogger("urllib3.connectionpool").warning("Connection pool is full")

    assert [line["event"] for line in lines(capsys)] == ["Connection pool is full"]


def test_server_chatter_is_shown_at_debug_only(capsys: pytest.CaptureFixture[str]) -> None:
    chatter = logging.getLogger("werkzeug")

    configure_logging("INFO", "json")
    chatter.info("GET /healthz")
    configure_logging("DEBUG", "json")
    chatter.info("GET /readyz")

    assert [line["event"] for line in lines(capsys)] == ["GET /readyz"]


class SlowStream(io.StringIO):
    """Lets other threads go on in the middle of a write, as a pipe does."""

    def write(self, text: str) -> int:
        written = super().write(text)
        time.sleep(0.0005)
        return written


def test_lines_of_many_threads_are_whole_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SlowStream()
    monkeypatch.setattr("sys.stderr", stream)
    configure_logging("INFO", "json")

    def talk(name: int) -> None:
        for number in range(50):
            log.info("said", thread=name, number=number)

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(said) == 16 * 50
    for name in range(16):
        assert [line["number"] for line in said if line["thread"] == name] == list(range(50))


def test_stream_that_breaks_ends_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(logging, "raiseExceptions", False)
    configure_logging("INFO", "json")
    stream.close()
    log.info("said")
    log.info("said again")
