"""The webhooks of a hub, as the Management API keeps them.

Source of all shapes: https://github.com/amplience/dc-management-sdk-js (`Webhook.ts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from marshmallow import fields, post_load

from app.amplience.answers import (
    AnswerSchema,
    loaded_value,
    optional_date,
    optional_text,
    required_id,
    texts_at,
    value_at,
)
from app.amplience.http import Call
from app.amplience.management_http import ManagementHttp, path_id


@dataclass(frozen=True)
class Webhook:
    """One webhook of a hub. `handlers` are the addresses that it is sent to.

    `active` and `secret` are None where they are not told. The values of secret headers and the
    addresses of `notifications` read back as null: never write back what was read.
    """

    id: str
    label: str | None = None
    events: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    active: bool | None = None
    method: str | None = None
    secret: str | None = field(default=None, repr=False)
    created: datetime | None = None
    modified: datetime | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class WebhookLogPage:
    """A part of what was sent for a webhook.

    The form of an entry is not documented, so each is as it came. `cursor` asks for what follows;
    None at the end.
    """

    requests: tuple[Mapping[str, Any], ...]
    cursor: str | None = None


class _WebhookAnswer(AnswerSchema):
    id = required_id()
    label = optional_text()
    active = fields.Boolean(load_default=None, allow_none=True)
    method = optional_text()
    secret = optional_text()
    created = optional_date("createdDate")
    modified = optional_date("lastModifiedDate")

    @post_load(pass_original=True)
    def _value(self, loaded: dict[str, Any], original: Mapping[str, Any], **_: object) -> Webhook:
        return Webhook(
            events=texts_at(original, "events"),
            handlers=texts_at(original, "handlers"),
            extra=original,
            **loaded,
        )


_WEBHOOK = _WebhookAnswer()


def _webhook(answer: Any) -> Webhook:
    return cast(Webhook, loaded_value(_WEBHOOK, answer, what="webhook"))


class WebhookVerbs(ManagementHttp):
    """List, create, read, change and delete webhooks, and what was sent for them."""

    def webhooks(self, hub_id: str) -> list[Webhook]:
        """Every webhook of a hub: `GET /hubs/{id}/webhooks`, all pages. NotFound without it."""
        return [
            _webhook(one) for one in self._pages(f"/hubs/{path_id(hub_id)}/webhooks", "webhooks")
        ]

    def webhook(self, hub_id: str, webhook_id: str) -> Webhook:
        """One webhook: `GET /hubs/{id}/webhooks/{id}`. NotFound where there is none."""
        path = f"/hubs/{path_id(hub_id)}/webhooks/{path_id(webhook_id)}"
        return _webhook(self._get(path))

    def create_webhook(
        self,
        hub_id: str,
        *,
        label: str,
        events: Sequence[str],
        handlers: Sequence[str],
        secret: str | None = None,
        active: bool = True,
        filters: Sequence[Mapping[str, Any]] = (),
    ) -> Webhook:
        """Make a webhook, and return it with its id: `POST /hubs/{id}/webhooks`.

        Without a `secret` Amplience makes one; read it from the answer. At most 10 filters, each
        `{"type": "equal" | "in", "arguments": [{"jsonPath": …}, {"value": …}]}`. After an error
        with `maybe_done` there may be one: look before making another.
        """
        body: dict[str, Any] = {
            "label": label,
            "events": list(events),
            "handlers": list(handlers),
            "active": active,
            "method": "POST",
        }
        body |= {"secret": secret} if secret else {}
        body |= {"filters": [dict(one) for one in filters]} if filters else {}
        return _webhook(self._post(f"/hubs/{path_id(hub_id)}/webhooks", body))

    def update_webhook(self, hub_id: str, webhook_id: str, changes: Mapping[str, Any]) -> Webhook:
        """Change the given fields and no other: `PATCH /hubs/{id}/webhooks/{id}`.

        `changes` are under Amplience's names (`handlers`, `events`, `active`, `secret`, …); a list
        replaces the whole list. NotFound where there is no such webhook.
        """
        path = f"/hubs/{path_id(hub_id)}/webhooks/{path_id(webhook_id)}"
        return _webhook(self._ask(Call("PATCH", path, json=dict(changes))))

    def delete_webhook(self, hub_id: str, webhook_id: str) -> None:
        """Delete one webhook: `DELETE /hubs/{id}/webhooks/{id}`. NotFound where there is none."""
        path = f"/hubs/{path_id(hub_id)}/webhooks/{path_id(webhook_id)}"
        self._order(Call("DELETE", path))

    def webhook_requests(
        self,
        hub_id: str,
        webhook_id: str,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        exclude_status: str | None = None,
    ) -> WebhookLogPage:
        """What was sent for a webhook: `GET /hubs/{id}/webhooks/{id}/requests`.

        `cursor` of an earlier page goes on after it. `exclude_status` leaves requests out by how
        they went. NotFound where there is no such webhook.
        """
        query: dict[str, str | int] = {"cursor": cursor} if cursor else {}
        query |= {"limit": limit} if limit is not None else {}
        query |= {"excludeStatus": exclude_status} if exclude_status else {}
        path = f"/hubs/{path_id(hub_id)}/webhooks/{path_id(webhook_id)}/requests"
        page = self._get(path, **query)
        # The rel's name is written nowhere, and there is only one.
        entries = _first_list(value_at(page, "_embedded"))
        return WebhookLogPage(
            requests=tuple(one for one in entries if isinstance(one, dict)), cursor=_cursor(page)
        )

    def webhook_event_types(self, hub_id: str) -> list[str]:
        """The event names that a webhook can ask for: `GET /hubs/{id}/webhooks/event-types`.

        The form of the answer is not documented: a list of names or of objects with one, alone or
        in an object. Empty where it is none of these.
        """
        answer = self._get(f"/hubs/{path_id(hub_id)}/webhooks/event-types")
        return [name for entry in _first_list(answer) if (name := _event_name(entry))]


def _cursor(page: Any) -> str | None:
    """The cursor of what follows: in the page, or in the link to it, which is not called."""
    for name in ("cursor", "nextCursor"):
        found = value_at(page, "page", name)
        if isinstance(found, str) and found:
            return found
    link = value_at(page, "_links", "next", "href")
    if not isinstance(link, str):
        return None
    return next(iter(parse_qs(urlsplit(link).query).get("cursor", [])), None)


def _first_list(answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return answer
    if not isinstance(answer, dict):
        return []
    found = next((one for one in answer.values() if isinstance(one, list)), None)
    return _first_list(answer.get("_embedded")) if found is None else found


def _event_name(entry: Any) -> str | None:
    name = value_at(entry, "name") or value_at(entry, "id") if isinstance(entry, dict) else entry
    return name if isinstance(name, str) else None
