"""The web part as gunicorn loads it: `app.web.wsgi:app`. Built in each worker, after the fork."""

from __future__ import annotations

import atexit
import os

from app import __version__
from app.bootstrap import build_web, watch_from_the_web
from app.config import load_settings
from app.observability import configure_sentry, tracing
from app.web import create_app

_settings = load_settings(os.environ)
configure_sentry(
    _settings.sentry_dsn,
    _settings.sentry_environment,
    f"dc-relay@{__version__}",
    secrets=_settings.secrets,
)
tracing.configure(_settings.traces_endpoint, __version__, secrets=_settings.secrets)
atexit.register(tracing.close)
_services = build_web(_settings)
atexit.register(_services.ledger.close)
watch_from_the_web(_services)
app = create_app(_services)
