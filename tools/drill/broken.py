"""The web with the fault that this service is built to avoid: enqueue after commit.

The event is committed first, and its jobs in a second transaction. A process that ends in between
has accepted an event that nobody acts on, and the sender's repeat is taken for a duplicate. Only
the drill starts this, to show that it would notice: `gunicorn tools.drill.broken:app`.
"""

from __future__ import annotations

import time

from sqlalchemy import select

from app import bootstrap
from app.errors import WebhookRejected
from app.ledger import Accepted, accept
from app.ledger.accepting import add_jobs
from app.ledger.arriving import Batch
from app.storage import Storage
from app.storage.tables import now_ms, webhook_events

# What a call to a broker or to a second database would take.
BETWEEN = 0.05


def accept_then_enqueue(storage: Storage, batch: Batch) -> list[Accepted | WebhookRejected]:
    """Do what `accept` does in two transactions instead of one."""
    answers = accept(storage, [(event, ()) for event, _ in batch])
    time.sleep(BETWEEN)
    with storage.write() as connection:
        now = connection.execute(select(now_ms())).scalar_one()
        for place, ((event, plans), answer) in enumerate(zip(batch, answers, strict=True)):
            if not isinstance(answer, Accepted) or answer.status != "ignored" or not plans:
                continue
            row_id = connection.execute(
                select(webhook_events.c.id).where(
                    webhook_events.c.hub == event.hub, webhook_events.c.event_id == event.id
                )
            ).scalar_one()
            add_jobs(connection, plans, hub=event.hub, event_row=row_id, now=now)
            answers[place] = Accepted("accepted", len(plans))
    return answers


vars(bootstrap)["accept"] = accept_then_enqueue

from app.web.wsgi import app  # noqa: E402 - it is built when it is imported

__all__ = ["app"]
