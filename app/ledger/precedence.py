"""Which jobs of one key say the same, so that of those that wait only the newest is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, or_, true

from app.storage.tables import jobs

# The `kind` in the arguments of a job that tells a destination that an item is gone.
DELETED = "deleted"


def same_say(rule: str, args: Mapping[str, Any]) -> ColumnElement[bool]:
    """The condition on jobs of one key: the newer of them and a job of `rule` and `args` will do.

    Two rules can send one item in two ways, and both are wanted. But when it is gone, it is gone
    for every rule, and when it is published again no deletion is left to tell.
    """
    if args.get("kind") == DELETED:
        return true()
    return or_(jobs.c.rule == rule, jobs.c.args["kind"].as_string() == DELETED)
