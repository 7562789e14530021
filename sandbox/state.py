"""Everything a sandbox remembers, under one lock, with the clock it lives by.

Holds and counts; the rules of Amplience are in `content`, `delivery` and `auth`.
"""

import threading
import time
from collections import deque

from sandbox.errors import Json, not_found
from sandbox.models import (
    Call,
    CdnCopy,
    Item,
    LocalizationJob,
    PublishingJob,
    Received,
    Snapshot,
    WebhookRequest,
)
from sandbox.options import Repository, SandboxOptions

LOG_LIMIT = 20_000


class State:
    """The memory of one sandbox. Take `lock` around anything that reads twice or writes."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.url = "http://127.0.0.1"
        self.user = "00000000-0000-4000-8000-000000000001"
        self.reset()

    def reset(self) -> None:
        """Forget everything, and set the clock right again."""
        with self.lock:
            self.offset = 0.0
            self.items: dict[str, Item] = {}
            self.families: dict[str, list[Item]] = {}
            self.delivery_keys: dict[str, str] = {}
            self.snapshots: dict[str, Snapshot] = {}
            self.published: dict[str, Snapshot] = {}
            self.publishing_jobs: dict[str, PublishingJob] = {}
            self.localization_jobs: list[LocalizationJob] = []
            self.webhooks: dict[str, Json] = {}
            self.webhook_requests: deque[WebhookRequest] = deque(maxlen=LOG_LIMIT)
            self.tokens: dict[str, float] = {}
            self.token_requests = 0
            self.personal_access_token_valid = True
            self.publish_times: deque[float] = deque()
            self.calls: deque[Call] = deque(maxlen=LOG_LIMIT)
            self.downstream: dict[str, deque[Received]] = {}
            self.cdn_copies: dict[tuple[object, ...], CdnCopy] = {}
            self.fresh_left = self.options.fresh_burst
            self.fresh_time = self.now()
            self.changed.notify_all()

    def now(self) -> float:
        """Tell the sandbox's time: the real one, plus what it was moved by."""
        return time.time() + self.offset

    def advance(self, seconds: float) -> None:
        """Move the clock on; tokens, quotas and the CDN follow it, running tasks do not."""
        with self.lock:
            self.offset += seconds

    @property
    def api_url(self) -> str:
        """The Management API's address, as it stands in links."""
        return f"{self.url}/v2/content"

    def item(self, item_id: str) -> Item:
        """Find a content item, or refuse with 404."""
        found = self.items.get(item_id)
        if found is None:
            raise not_found("Content item")
        return found

    def repository(self, repository_id: str) -> Repository:
        """Find a content repository, or refuse with 404."""
        for repository in self.options.repositories:
            if repository.id == repository_id:
                return repository
        raise not_found("Content repository")

    def group(self, repository: Repository) -> list[Repository]:
        """List the repositories of its localization group, itself first."""
        others = [
            other
            for other in self.options.repositories
            if other.group is not None and other.group == repository.group and other != repository
        ]
        return [repository, *others]

    def locales_of(self, repository: Repository) -> list[str]:
        """List the locales that the repository itself holds."""
        return list(repository.locales or self.options.locales)

    def group_locales(self, repository: Repository) -> list[str]:
        """List the locales that items of this repository can be localized into."""
        found = dict.fromkeys(
            locale for member in self.group(repository) for locale in self.locales_of(member)
        )
        return list(found)

    def variants(self, item: Item) -> list[Item]:
        """List the item and its localized variants, oldest first."""
        return list(self.families[item.family])
