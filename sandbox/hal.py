"""Writes the Management API's resources and pages in the shapes that Amplience uses (HAL).

Reads the state's values and changes nothing. Shapes follow
https://amplience.com/developers/docs/apis/content-management-reference/ and the vendor's own SDK.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from flask import request

from sandbox.errors import Json, management_error
from sandbox.models import Item, LocalizationJob, PublishingJob, Snapshot, timestamp
from sandbox.options import Repository
from sandbox.state import State

T = TypeVar("T")
DEFAULT_PAGE_SIZE = 20


def links(base: str, **paths: str) -> Json:
    """Write links; a rel's underscores become hyphens, and braces make the link a template."""
    made: Json = {}
    for rel, path in paths.items():
        made[rel.replace("_", "-")] = {"href": base + path} | (
            {"templated": True} if "{" in path else {}
        )
    return made


def given() -> Json:
    """Read the JSON object that was sent, or refuse with 400. No body is an empty object."""
    if not request.get_data():
        return {}
    body = request.get_json(silent=True, force=True)
    if not isinstance(body, dict):
        raise management_error(400, "BAD_REQUEST", "The request body must be a JSON object.")
    return body


def whole_number(name: str, default: int, *, least: int) -> int:
    """Read a number from the query, or refuse with 400."""
    text = request.args.get(name, str(default))
    if not text.isdigit() or int(text) < least:
        raise management_error(400, "BAD_REQUEST", f"{name} must be a number from {least} up.")
    return int(text)


def page_of(rel: str, rows: Sequence[T], render: Callable[[T], Json]) -> Json:
    """Write the page that the query asks for. An empty one has no `_embedded`."""
    number = whole_number("page", 0, least=0)
    size = whole_number("size", DEFAULT_PAGE_SIZE, least=1)
    shown = [render(row) for row in rows[number * size : (number + 1) * size]]
    answer: Json = {"_embedded": {rel: shown}} if shown else {}
    answer["_links"] = {"self": {"href": request.base_url}}
    answer["page"] = {
        "size": size,
        "totalElements": len(rows),
        "totalPages": -(-len(rows) // size),
        "number": number,
    }
    return answer


def sorted_items(rows: list[Item]) -> list[Item]:
    """Sort as the query asks: `sort=lastModifiedDate,desc`. Unknown fields keep the order."""
    field, _, direction = request.args.get("sort", "").partition(",")
    keys: dict[str, Callable[[Item], float | str]] = {
        "createdDate": lambda item: item.created,
        "lastModifiedDate": lambda item: item.modified,
        "label": lambda item: item.label,
    }
    key = keys.get(field)
    return sorted(rows, key=key, reverse=direction.lower() == "desc") if key else rows


def hub(state: State) -> Json:
    """Write the hub."""
    options = state.options
    path = f"/hubs/{options.hub_id}"
    return {
        "id": options.hub_id,
        "name": options.hub_name,
        "label": options.hub_name,
        "description": "A pretend hub",
        "status": "ACTIVE",
        "settings": {"localization": {"locales": list(options.locales)}},
        "_links": links(
            state.api_url,
            self=path,
            content_repositories=path + "/content-repositories{?page,size,sort}",
            facet_content_items=path + "/content-items/facet{?page,projection,query,size,sort}",
            webhooks=path + "/webhooks{?page,size,sort}",
            create_webhook=path + "/webhooks",
        ),
    }


def repository(state: State, found: Repository) -> Json:
    """Write a content repository."""
    path = f"/content-repositories/{found.id}"
    return {
        "id": found.id,
        "name": found.name,
        "label": found.name,
        "status": "ACTIVE",
        "features": [],
        "type": "CONTENT",
        "contentTypes": [],
        "itemLocales": list(found.locales or ()),
        "_links": links(
            state.api_url,
            self=path,
            hub=f"/hubs/{state.options.hub_id}",
            content_items=path + "/content-items{?page,size,sort,status,folderId,projection}",
            create_content_item=path + "/content-items",
        ),
    }


def item(state: State, found: Item) -> Json:
    """Write a content item."""
    resource: Json = {
        "id": found.id,
        "contentRepositoryId": found.repository_id,
        "folderId": found.folder_id,
        "body": found.body,
        "version": found.version,
        "label": found.label,
        "status": found.status,
        "createdBy": found.created_by,
        "createdDate": timestamp(found.created),
        "lastModifiedBy": found.created_by,
        "lastModifiedDate": timestamp(found.modified),
        "publishingStatus": found.publishing_status,
        "deliveryId": found.id,
        "validationState": "VALID",
    }
    # An item without a locale or folder has no such key at all.
    if found.folder_id is None:
        del resource["folderId"]
    if found.locale is not None:
        resource["locale"] = found.locale
    if found.published is not None:
        resource["lastPublishedVersion"] = found.published_version
        resource["lastPublishedDate"] = timestamp(found.published)
    if found.unpublished is not None:
        resource["lastUnpublishedDate"] = timestamp(found.unpublished)
    resource["_links"] = item_links(state.api_url, found)
    return resource


def item_links(base: str, found: Item) -> Json:
    """Write the links of a content item."""
    path = f"/content-items/{found.id}"
    return links(
        base,
        self=path,
        content_item=path + "{?projection}",
        publish=path + "/publish",
        unpublish=path + "/unpublish",
        update=path,
        archive=path + "/archive",
        unarchive=path + "/unarchive",
        content_repository=f"/content-repositories/{found.repository_id}",
        content_item_version=path + "/versions{/version}",
        content_item_versions=path + "/versions{?page,size,sort}",
        content_item_history=path + "/history{?page,size,sort}",
        set_locale=path + "/locale",
        create_localizations=path + "/localize",
        localizations=path + "/localizations{?page,size,sort}",
        localization_jobs="/localization-jobs/search/findByRootContentItem"
        f"?id={found.id}{{&page,size,sort}}",
        edit_workflow=path + "/workflow",
        content_item_with_children=f"/content-items/search/findByIdWithChildren?id={found.id}",
        **({"folder": f"/folders/{found.folder_id}"} if found.folder_id else {}),
    )


def basic_item(state: State, found: Item) -> Json:
    """Write a content item without its body."""
    return {key: value for key, value in item(state, found).items() if key != "body"}


def facet_item(state: State, found: Item) -> Json:
    """Write a search result: no body, but the schema and delivery key beside the other fields."""
    meta = found.body.get("_meta", {})
    keys = {name: meta[name] for name in ("deliveryKey", "deliveryKeys") if meta.get(name)}
    return {**basic_item(state, found), "schema": found.schema, **keys}


def localization_job(state: State, job: LocalizationJob) -> Json:
    """Write a localization job, which has no id and no link to itself."""
    root = state.items[job.root_id]
    return {
        "status": job.status,
        "rootContentItem": {"id": root.id, "label": root.label, "locale": root.locale},
        "requestedLocales": job.locales,
        "createdBy": job.created_by,
        "createdDate": timestamp(job.created),
        "_links": links(
            state.api_url,
            content_root=f"/content-items/{root.id}",
            findByRootContentItem="/localization-jobs/search/findByRootContentItem"
            f"?id={root.id}{{&page,size,sort}}",
        ),
    }


def publishing_job(state: State, job: PublishingJob) -> Json:
    """Write a publishing job."""
    path = f"/publishing-jobs/{job.id}"
    return {
        "id": job.id,
        "scheduledDate": timestamp(job.created),
        "createdDate": timestamp(job.created),
        "createdBy": job.created_by,
        "state": job.state,
        "_links": links(
            state.api_url,
            self=path,
            publishing_job=path,
            snapshot=f"/snapshots/{job.snapshot_id}",
        ),
    }


def snapshot(state: State, found: Snapshot) -> Json:
    """Write a snapshot, as its API and the `snapshot.published` event do."""
    roots = [_root(found.items[root_id]) for root_id in found.root_ids]
    path = f"/snapshots/{found.id}"
    # The published sample of a snapshot of one item has no list.
    several = {"rootContentItems": roots} if len(roots) > 1 else {}
    return {
        "id": found.id,
        "comment": found.comment,
        "createdDate": timestamp(found.created),
        "createdBy": found.created_by,
        "createdFrom": "content-item",
        "type": "SYSTEM",
        "meta": [],
        "taggedEditions": [],
        "locale": None,  # as in the one published sample
        "rootContentItem": roots[0],
        **several,
        "_links": links(state.api_url, self=path, snapshot=path),
    }


def _root(item: Json) -> Json:
    return {
        "label": item["label"],
        "contentTypeUri": item["body"]["_meta"]["schema"],
        "id": item["id"],
    }


def webhook(state: State, found: Json) -> Json:
    """Write a webhook. Secret header values and notification addresses read back as null."""
    path = f"/hubs/{state.options.hub_id}/webhooks/{found['id']}"
    headers = [
        {**header, "value": None if header.get("secret") else header["value"]}
        for header in found["headers"]
    ]
    return {
        **found,
        "headers": headers,
        "notifications": [{"email": None} for _ in found["notifications"]],
        "_links": links(
            state.api_url,
            self=path,
            hub=f"/hubs/{state.options.hub_id}",
            requests=path + "/requests{?cursor,limit,excludeStatus}",
            event_types=f"/hubs/{state.options.hub_id}/webhooks/event-types",
            update=path,
            delete=path,
        ),
    }
