"""From the bytes at the border to our own types, with marshmallow.

It must not know HTTP, the database, or what is done with an event.
"""

from app.schemas.webhooks import load_event

__all__ = ["load_event"]
