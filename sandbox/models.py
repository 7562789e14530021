"""The things a sandbox remembers.

Plain values with the few facts that follow from them; no rule about who may change them.
"""

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandbox.errors import Json, RefusalError


def new_uuid() -> str:
    """Make the id of a content item, an event or a request."""
    return str(uuid.uuid4())


def new_hex() -> str:
    """Make the id of anything else: 24 hexadecimal digits."""
    return secrets.token_hex(12)


def timestamp(seconds: float) -> str:
    """Write a time as Amplience does: ISO 8601, UTC, milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


@dataclass
class Item:
    """A content item, or one of its localized variants."""

    id: str
    repository_id: str
    label: str
    body: Json
    created: float
    created_by: str
    family: str
    """Shared by an item and its variants."""
    locale: str | None = None
    folder_id: str | None = None
    version: int = 1
    status: str = "ACTIVE"
    modified: float = 0
    published_version: int | None = None
    published: float | None = None
    unpublished: float | None = None

    @property
    def schema(self) -> str:
        """The content type's URI."""
        return str(self.body.get("_meta", {}).get("schema", ""))

    @property
    def publishing_status(self) -> str:
        """NONE, EARLY (changed since it was published), LATEST or UNPUBLISHED."""
        if self.unpublished is not None:
            return "UNPUBLISHED"
        if self.published_version is None:
            return "NONE"
        return "LATEST" if self.published_version == self.version else "EARLY"


@dataclass(frozen=True)
class Snapshot:
    """One or more root items and all that they link to, as they were at one moment."""

    id: str
    root_id: str
    created: float
    created_by: str
    comment: str
    items: dict[str, Json]
    """Content item resources by id, the root's first."""
    other_root_ids: tuple[str, ...] = ()

    @property
    def root_ids(self) -> tuple[str, ...]:
        """The ids of all root items."""
        return self.root_id, *self.other_root_ids


@dataclass
class PublishingJob:
    """One request to publish."""

    id: str
    snapshot_id: str
    item_id: str
    created: float
    created_by: str
    state: str = "CREATED"


@dataclass
class LocalizationJob:
    """One request to localize. Amplience gives it no id."""

    root_id: str
    locales: list[str]
    created: float
    created_by: str
    status: str = "IN_PROGRESS"


@dataclass
class WebhookRequest:
    """One event on its way to one handler of one webhook."""

    id: str
    webhook_id: str
    url: str
    method: str
    headers: dict[str, str]
    body: bytes
    envelope: Json
    created: float
    status: str = "PENDING"
    attempts: list[Json] = field(default_factory=list)


@dataclass
class Call:
    """One request that the sandbox received."""

    where: str
    method: str
    path: str
    query: str
    json: object
    time: float
    traceparent: str | None = None
    status: int | None = None
    fault: str | None = None


@dataclass(frozen=True)
class CdnCopy:
    """An answer that the CDN keeps: what it was, or how it was refused, and when."""

    outcome: Json | RefusalError
    time: float


@dataclass(frozen=True)
class Received:
    """One request that reached the pretend downstream."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    time: float
