"""The web part as gunicorn loads it: `app.web.wsgi:app`. Built in each worker, after the fork."""

from __future__ import annotations

import os

from app.bootstrap import build_web
from app.config import load_settings
from app.web import create_app

app = create_app(build_web(load_settings(os.environ)))
