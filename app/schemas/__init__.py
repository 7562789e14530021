"""From the bytes at the border to our own types, with marshmallow."""

from app.schemas.webhooks import load_event

__all__ = ["load_event"]
