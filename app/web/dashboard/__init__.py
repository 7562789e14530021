"""The dashboard: what is happening, what is stuck, one event's whole story, and what a person does.

Server-rendered; a few lines of script keep a page live, and every page works without them. Only
somebody with the admin token gets in, and without an admin token there is no dashboard at all. A
page shows what the ledger says and calls the ledger's verbs; it must not decide anything itself.
"""

from app.web.dashboard.acting import NAME as ACTIONS
from app.web.dashboard.door import NAME as DOOR
from app.web.dashboard.mounting import mount
from app.web.dashboard.reading import NAME as PAGES

__all__ = ["ACTIONS", "DOOR", "PAGES", "mount"]
