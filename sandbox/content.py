"""What can be done with content: create, change, localize, publish, unpublish, archive.

The rules of Amplience's content live here, behind both its API and its own clock; HTTP does not.
Rules: https://amplience.com/developers/docs/apis/content-management/content-management-overview
"""

import copy
from collections.abc import Iterator

from sandbox import hal
from sandbox.errors import Json, management_error
from sandbox.graph import content_links, delivery_keys
from sandbox.models import (
    Item,
    LocalizationJob,
    PublishingJob,
    Snapshot,
    new_hex,
    new_uuid,
)
from sandbox.scheduler import Scheduler
from sandbox.state import State
from sandbox.webhooks import WebhookSender

QUOTA_WINDOW = 60


class Content:
    """The verbs on content items; each is whole under the state's lock and sends its webhooks."""

    def __init__(self, state: State, scheduler: Scheduler, sender: WebhookSender) -> None:
        self._state = state
        self._scheduler = scheduler
        self._sender = sender

    def create(
        self,
        repository_id: str,
        *,
        label: str,
        body: Json,
        locale: str | None = None,
        folder_id: str | None = None,
    ) -> Item:
        """Create an item and announce it."""
        with self._state.lock:
            self._check_body(label, body)
            repository = self._state.repository(repository_id)
            if locale is not None and locale not in self._state.group_locales(repository):
                raise management_error(400, "BAD_REQUEST", f"Locale {locale} is not supported.")
            item_id = new_uuid()
            self._check_keys(body, item_id)
            return self._add(
                Item(
                    id=item_id,
                    repository_id=repository.id,
                    label=label,
                    body=copy.deepcopy(body),
                    created=self._state.now(),
                    created_by=self._state.user,
                    family=item_id,
                    locale=locale,
                    folder_id=folder_id,
                ),
                announce=True,
            )

    def update(self, item_id: str, version: object, changes: Json) -> Item:
        """Change label, body or folder. Only this makes a new version."""
        with self._state.lock:
            item = self._editable(item_id, version)
            label, body = changes.get("label", item.label), changes.get("body", item.body)
            self._check_body(label, body)
            self._check_keys(body, item.id)
            self._release_keys(item)
            item.label, item.body = label, copy.deepcopy(body)
            self._hold_keys(item)
            item.folder_id = changes.get("folderId", item.folder_id)
            item.version += 1
            return self._touch(item)

    def set_locale(self, item_id: str, version: object, locale: str) -> Item:
        """Give an item its locale, which it then keeps."""
        with self._state.lock:
            item = self._editable(item_id, version)
            if item.locale not in {None, locale}:
                raise management_error(400, "LOCALE_IMMUTABLE", "The locale cannot be changed.")
            if locale not in self._state.group_locales(self._state.repository(item.repository_id)):
                raise management_error(400, "BAD_REQUEST", f"Locale {locale} is not supported.")
            item.locale = locale
            item.modified = self._state.now()
            return item

    def localize(self, item_id: str, version: object, locales: list[str]) -> LocalizationJob:
        """Start creating variants. One that exists already is passed over without a word."""
        with self._state.lock:
            item = self._editable(item_id, version)
            if item.locale is None:
                raise management_error(400, "BAD_REQUEST", "The content item has no locale.")
            allowed = self._state.group_locales(self._state.repository(item.repository_id))
            if wrong := [locale for locale in locales if locale not in allowed]:
                raise management_error(
                    400, "BAD_REQUEST", f"Locales are not supported: {', '.join(wrong)}."
                )
            job = LocalizationJob(item.id, locales, self._state.now(), self._state.user)
            self._state.localization_jobs.append(job)
            self._scheduler.later(
                self._state.options.localize_delay, lambda: self._finish_localizing(job)
            )
            return job

    def publish(self, item_id: str, *more_ids: str) -> PublishingJob:
        """Take one snapshot of the items and their links now, and publish it a little later."""
        with self._state.lock:
            self._spend_quota()
            roots = [self._state.item(each) for each in dict.fromkeys((item_id, *more_ids))]
            if any(root.status != "ACTIVE" for root in roots):
                raise management_error(400, "BAD_REQUEST", "An archived item cannot be published.")
            item, seen = roots[0], {root.id for root in roots}
            graph = [*roots, *(child for root in roots for child in self._linked(root, seen))]
            snapshot = Snapshot(
                id=new_hex(),
                root_id=item.id,
                created=self._state.now(),
                created_by=self._state.user,
                comment=f"Publish Manifest for content item {item.label}",
                items={one.id: copy.deepcopy(hal.item(self._state, one)) for one in graph},
                other_root_ids=tuple(root.id for root in roots[1:]),
            )
            job = PublishingJob(
                new_hex(), snapshot.id, item.id, self._state.now(), self._state.user
            )
            self._state.snapshots[snapshot.id] = snapshot
            self._state.publishing_jobs[job.id] = job
            self._scheduler.later(
                self._state.options.publish_delay, lambda: self._finish_publishing(job)
            )
            return job

    def unpublish(self, item_id: str) -> None:
        """Take this one item off delivery; published parents keep their copy of it."""
        with self._state.lock:
            self._spend_quota()
            item = self._state.item(item_id)
            if item.publishing_status not in {"EARLY", "LATEST"}:
                raise management_error(400, "BAD_REQUEST", "The content item is not published.")
            item.unpublished = self._state.now()
            self._state.published.pop(item.id, None)

    def archive(self, item_id: str, version: object, *, archived: bool) -> Item:
        """Archive an item or bring it back. Archiving does not take it off delivery."""
        with self._state.lock:
            item = self._current(item_id, version)
            status = "ARCHIVED" if archived else "ACTIVE"
            if item.status == status:
                raise management_error(400, "BAD_REQUEST", f"The content item is {status} already.")
            if archived:
                self._release_keys(item)
            else:
                self._check_keys(item.body, item.id)
                self._hold_keys(item)
            item.status = status
            return self._touch(item)

    def _finish_localizing(self, job: LocalizationJob) -> None:
        with self._state.lock:
            item = self._state.items.get(job.root_id)
            if item is not None:
                for locale in job.locales:
                    self._variant(item, locale, {})
            job.status = "COMPLETED"
            self._state.changed.notify_all()

    def _variant(self, item: Item, locale: str, made: dict[str, Item]) -> Item:
        """Find or make the item's variant in a locale; `made` ends circles of links."""
        for other in [*made.values(), *self._state.variants(item)]:
            if other.family == item.family and other.locale == locale:
                return other
        group = self._state.group(self._state.repository(item.repository_id))
        homes = [one.id for one in group if locale in self._state.locales_of(one)]
        body = copy.deepcopy(item.body)
        for key in ("deliveryKey", "deliveryKeys"):
            body["_meta"].pop(key, None)
        variant = Item(
            id=new_uuid(),
            repository_id=homes[0] if homes else item.repository_id,
            label=item.label,
            body=body,
            created=self._state.now(),
            created_by=self._state.user,
            family=item.family,
            locale=locale,
        )
        made[variant.id] = variant
        for link in content_links(body) if self._state.options.localize_linked else ():
            target = self._state.items.get(link["id"])
            if target is not None and target.locale is not None:
                link["id"] = self._variant(target, locale, made).id
        return self._add(variant, announce=self._state.options.variants_fire_created)

    def _finish_publishing(self, job: PublishingJob) -> None:
        with self._state.lock:
            snapshot = self._state.snapshots[job.snapshot_id]
            for item_id, published in snapshot.items.items():
                item = self._state.items[item_id]
                item.published_version, item.published = published["version"], self._state.now()
                item.unpublished = None
                self._state.published.pop(item_id, None)  # so that the newest is the last
                self._state.published[item_id] = snapshot
            job.state = "COMPLETED"
            self._emit("snapshot.published", hal.snapshot(self._state, snapshot))

    def _linked(self, item: Item, seen: set[str]) -> Iterator[Item]:
        for link in content_links(item.body):
            child = self._state.items.get(link["id"])
            if child is not None and child.id not in seen:
                seen.add(child.id)
                yield child
                yield from self._linked(child, seen)

    def _add(self, item: Item, *, announce: bool) -> Item:
        item.modified = item.created
        self._state.items[item.id] = item
        self._state.families.setdefault(item.family, []).append(item)
        self._hold_keys(item)
        if announce:
            self._emit("content-item.created", hal.item(self._state, item))
        return item

    def _touch(self, item: Item) -> Item:
        item.modified = self._state.now()
        self._emit("content-item.updated", hal.item(self._state, item))
        return item

    def _emit(self, event: str, payload: Json) -> None:
        self._sender.emit(f"dynamic-content.{event}", payload)
        self._state.changed.notify_all()

    def _current(self, item_id: str, version: object) -> Item:
        item = self._state.item(item_id)
        if version != item.version:
            raise management_error(
                409,
                "CONTENT_ITEM_VERSION_NOT_LATEST",
                f"The latest version of the content item is not {version}.",
            )
        return item

    def _editable(self, item_id: str, version: object) -> Item:
        item = self._current(item_id, version)
        if item.status != "ACTIVE":
            raise management_error(400, "BAD_REQUEST", "An archived item cannot be changed.")
        return item

    def _check_body(self, label: object, body: object) -> None:
        if not isinstance(label, str) or not label:
            raise management_error(400, "BAD_REQUEST", "label is required.", property="label")
        meta = body.get("_meta") if isinstance(body, dict) else None
        if not isinstance(meta, dict) or not isinstance(meta.get("schema"), str):
            raise management_error(
                400, "BAD_REQUEST", "body._meta.schema is required.", property="body._meta.schema"
            )

    def _check_keys(self, body: Json, item_id: str) -> None:
        """Refuse a delivery key that another active item of the hub holds."""
        for key in delivery_keys(body):
            if self._state.delivery_keys.get(key, item_id) != item_id:
                raise management_error(
                    409,
                    "CONTENT_ITEM_DELIVERY_KEY_DUPLICATE",
                    "Required delivery key already exists on this hub",
                    property="body._meta.deliveryKey",
                    entity="ContentItem",
                    invalidValue=key,
                )

    def _hold_keys(self, item: Item) -> None:
        for key in delivery_keys(item.body):
            self._state.delivery_keys[key] = item.id

    def _release_keys(self, item: Item) -> None:
        for key in delivery_keys(item.body):
            self._state.delivery_keys.pop(key, None)

    def _spend_quota(self) -> None:
        """Count a publish or unpublish; over 100 in any 60 seconds Amplience answers 429."""
        now, times = self._state.now(), self._state.publish_times
        while times and times[0] <= now - QUOTA_WINDOW:
            times.popleft()
        if len(times) >= self._state.options.publish_quota_per_minute:
            raise management_error(429, "TOO_MANY_REQUESTS", "Too many publish requests.")
        times.append(now)
