"""What can be asked of Content Delivery 2's filter, checked before it is.

Source of the rules: https://amplience.com/docs/development/contentdelivery/filterandsort.html and
https://amplience.com/developers/docs/apis/limits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from app.errors import Refused

MOST_PATHS = 6
# More may be allowed where links are not followed; 12 is allowed everywhere.
LARGEST_PAGE = 12

_POINTER = re.compile(r"(/([^~/]|~[01])*)+")


@dataclass(frozen=True)
class FilterQuery:
    """Which items to find: those that have at every path of `where` the value that goes with it.

    A path is a JSON pointer into the content, such as `/_meta/schema`; all but that one and
    `/_meta/hierarchy/parentId` must be filterable in the content type. Values are compared
    exactly: a text, a number, true or false. `sort_key` names a sort of the content type; without
    one the oldest item is first. Refused where the filter would be.
    """

    where: tuple[tuple[str, str | float | bool], ...]
    sort_key: str | None = None
    descending: bool = False
    size: int = LARGEST_PAGE

    def __post_init__(self) -> None:
        if not 1 <= len(self.where) <= MOST_PATHS:
            raise Refused(f"a filter has 1 to {MOST_PATHS} paths")
        for path, value in self.where:
            if not _POINTER.fullmatch(path):
                raise Refused("a path is a JSON pointer, such as /_meta/schema")
            if not isinstance(value, str | int | float):
                raise Refused("a value is a text, a number, true or false")
        if not 1 <= self.size <= LARGEST_PAGE:
            raise Refused(f"a page has 1 to {LARGEST_PAGE} items")
        if self.sort_key == "":
            raise Refused("a sort key has a name")

    @property
    def as_json(self) -> dict[str, Any]:
        """The form that goes over the wire, without page and parameters."""
        body: dict[str, Any] = {
            "filterBy": [{"path": path, "value": value} for path, value in self.where]
        }
        if self.sort_key or self.descending:
            order = "DESC" if self.descending else "ASC"
            body["sortBy"] = {"key": self.sort_key or "default", "order": order}
        return body
