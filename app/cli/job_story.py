"""Tells one job on a terminal: how it stands and why, what to do, and its attempts."""

from __future__ import annotations

import click

from app.advice import of_reason
from app.cli.tables import print_pairs
from app.ledger.records import JobStory


def tell_job(story: JobStory) -> None:
    """Print it."""
    job = story.job
    advice = of_reason(job.reason)
    click.echo(f"job {job.id}: rule {job.rule!r}, {job.action} at {job.target}: {job.state}")
    print_pairs(
        (
            ("  item", job.item_id),
            ("  reason", job.reason),
            ("  message", job.message),
            ("  it means", advice.meaning if advice else None),
            ("  what to do", advice.todo if advice and not advice.asks_for_nothing else None),
            ("  next try", job.run_at if job.state == "waiting" else None),
            ("  replay of", job.replay_of),
            ("  superseded by", job.superseded_by),
        )
    )
    for attempt in story.attempts:
        words = " ".join(filter(None, (attempt.outcome, attempt.reason, attempt.message)))
        at = attempt.finished_at
        ended = "at an unknown time" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"
        click.echo(f"  attempt {attempt.number}, {ended}: {words}")
