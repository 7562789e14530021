"""Eyes: logs, error reports and counters, with every secret masked on its way out.

This room must know nothing of what it watches: no settings, no tables, no HTTP. What is secret is
handed in at start.
"""

from app.observability.logs import configure_logging, log_context
from app.observability.masking import Mask
from app.observability.metrics import (
    count_webhook,
    webhooks_by_outcome,
)
from app.observability.sentry import configure_sentry, report

__all__ = [
    "Mask",
    "configure_logging",
    "configure_sentry",
    "count_webhook",
    "log_context",
    "report",
    "webhooks_by_outcome",
]
