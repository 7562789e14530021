"""The Management API: hub, repositories, content items, jobs and snapshots.

Routes only: they read the request, call the verbs in `content`, and write the shapes in `hal`.
"""

from flask import Blueprint, Response, jsonify, request

from sandbox import hal
from sandbox.auth import check_token
from sandbox.content import Content
from sandbox.core import Core
from sandbox.errors import Json, management_error, not_found
from sandbox.models import Item
from sandbox.search import facet
from sandbox.state import State
from sandbox.subscriptions import add_log_routes, add_webhook_routes, check_hub

Answer = tuple[Response, int]


def create_management(core: Core) -> Blueprint:
    """Make every route below /v2/content; all of them need a token."""
    routes = Blueprint("management", __name__, url_prefix="/v2/content")
    routes.before_request(lambda: check_token(core.state))
    add_hub_routes(routes, core.state)
    add_repository_routes(routes, core.state, core.content)
    add_item_routes(routes, core.state, core.content)
    add_action_routes(routes, core.state, core.content)
    add_archive_routes(routes, core.state, core.content)
    add_job_routes(routes, core.state)
    add_log_routes(routes, core.state)
    add_webhook_routes(routes, core.state)
    return routes


def add_hub_routes(routes: Blueprint, state: State) -> None:
    """Add the hub, what it lists, and its search."""

    @routes.get("/hubs")
    def list_hubs() -> Json:
        return hal.page_of("hubs", [state], hal.hub)

    @routes.get("/hubs/<hub_id>")
    def get_hub(hub_id: str) -> Json:
        check_hub(state, hub_id)
        return hal.hub(state)

    @routes.get("/hubs/<hub_id>/content-repositories")
    def list_repositories(hub_id: str) -> Json:
        check_hub(state, hub_id)
        repositories = state.options.repositories
        return hal.page_of(
            "content-repositories", repositories, lambda one: hal.repository(state, one)
        )

    @routes.post("/hubs/<hub_id>/content-items/facet")
    def facet_items(hub_id: str) -> Json:
        check_hub(state, hub_id)
        with state.lock:
            return facet(state, hal.given(), request.args.get("query", ""))


def add_repository_routes(routes: Blueprint, state: State, content: Content) -> None:
    """Add content repositories, and what is listed and created in them."""

    @routes.get("/content-repositories/<repository_id>")
    def get_repository(repository_id: str) -> Json:
        return hal.repository(state, state.repository(repository_id))

    @routes.get("/content-repositories/<repository_id>/localization-group/locales")
    def group_locales(repository_id: str) -> Json:
        locales = state.group_locales(state.repository(repository_id))
        return {"locales": locales, "_links": {"self": {"href": request.base_url}}}

    @routes.get("/content-repositories/<repository_id>/content-items")
    def list_items(repository_id: str) -> Json:
        state.repository(repository_id)
        status, folder = request.args.get("status"), request.args.get("folderId")
        basic = request.args.get("projection") == "basic"

        def shown(item: Item) -> Json:
            return hal.basic_item(state, item) if basic else hal.item(state, item)

        with state.lock:
            rows = [
                item
                for item in state.items.values()
                if item.repository_id == repository_id
                and status in {None, item.status}
                and folder in {None, item.folder_id}
            ]
            return hal.page_of("content-items", hal.sorted_items(rows), shown)

    @routes.post("/content-repositories/<repository_id>/content-items")
    def create_item(repository_id: str) -> Answer:
        body = hal.given()
        with state.lock:
            item = content.create(
                repository_id,
                label=body.get("label", ""),
                body=body.get("body", {}),
                locale=body.get("locale"),
                folder_id=body.get("folderId"),
            )
            return jsonify(hal.item(state, item)), 201


def add_item_routes(routes: Blueprint, state: State, content: Content) -> None:
    """Add what reads and changes content items."""

    @routes.get("/content-items/<item_id>")
    def get_item(item_id: str) -> Json:
        with state.lock:
            item = state.item(item_id)
            # The real API may not find an item for a while after it was created.
            if state.now() < item.created + state.options.not_found_after_create:
                raise not_found("Content item")
            return hal.item(state, item)

    @routes.patch("/content-items/<item_id>")
    def update_item(item_id: str) -> Json:
        changes = hal.given()
        with state.lock:
            return hal.item(state, content.update(item_id, changes.get("version"), changes))

    @routes.get("/content-items/<item_id>/localizations")
    def list_localizations(item_id: str) -> Json:
        with state.lock:
            item = state.item(item_id)
            rows = state.variants(item)
            if not state.options.list_includes_self:
                rows.remove(item)
            return hal.page_of(
                "content-items", hal.sorted_items(rows), lambda one: hal.item(state, one)
            )


def add_action_routes(routes: Blueprint, state: State, content: Content) -> None:
    """Add localizing, publishing and unpublishing."""

    @routes.post("/content-items/<item_id>/locale")
    def set_locale(item_id: str) -> Json:
        body = hal.given()
        with state.lock:
            item = content.set_locale(item_id, body.get("version"), str(body.get("locale", "")))
            return hal.item(state, item)

    @routes.post("/content-items/<item_id>/localize")
    def localize(item_id: str) -> Answer:
        body = hal.given()
        locales = body.get("locales")
        if not isinstance(locales, list) or not locales:
            raise management_error(400, "BAD_REQUEST", "locales is required.", property="locales")
        with state.lock:
            job = content.localize(item_id, body.get("version"), [str(one) for one in locales])
            return jsonify(hal.localization_job(state, job)), 202

    @routes.post("/content-items/<item_id>/publish")
    def publish(item_id: str) -> Response:
        job = content.publish(item_id)
        # The job is named by this header alone.
        where = f"{request.root_url}v2/content/publishing-jobs/{job.id}"
        return Response(status=202, headers={"Location": where})

    @routes.post("/content-items/<item_id>/unpublish")
    def unpublish(item_id: str) -> Response:
        content.unpublish(item_id)
        return Response(status=202)


def add_archive_routes(routes: Blueprint, state: State, content: Content) -> None:
    """Add archiving and its undoing."""

    def set_archived(item_id: str, *, archived: bool) -> Json:
        version = hal.given().get("version")
        with state.lock:
            return hal.item(state, content.archive(item_id, version, archived=archived))

    @routes.post("/content-items/<item_id>/archive")
    def archive(item_id: str) -> Json:
        return set_archived(item_id, archived=True)

    @routes.post("/content-items/<item_id>/unarchive")
    def unarchive(item_id: str) -> Json:
        return set_archived(item_id, archived=False)


def add_job_routes(routes: Blueprint, state: State) -> None:
    """Add localization jobs, publishing jobs and snapshots."""

    @routes.get("/localization-jobs/search/findByRootContentItem")
    def find_localization_jobs() -> Json:
        item_id = request.args.get("id")
        with state.lock:
            jobs = [job for job in state.localization_jobs if job.root_id == item_id]
            return hal.page_of(
                "localization-jobs", jobs, lambda job: hal.localization_job(state, job)
            )

    @routes.get("/publishing-jobs/<job_id>")
    def get_publishing_job(job_id: str) -> Json:
        job = state.publishing_jobs.get(job_id)
        if job is None:
            raise not_found("Publishing job")
        return hal.publishing_job(state, job)

    @routes.get("/snapshots/<snapshot_id>")
    def get_snapshot(snapshot_id: str) -> Json:
        snapshot = state.snapshots.get(snapshot_id)
        if snapshot is None:
            raise not_found("Snapshot")
        return hal.snapshot(state, snapshot)

    @routes.get("/snapshots/<snapshot_id>/content-items/<item_id>")
    def get_snapshot_item(snapshot_id: str, item_id: str) -> Json:
        snapshot = state.snapshots.get(snapshot_id)
        if snapshot is None or item_id not in snapshot.items:
            raise not_found("Content item")
        return snapshot.items[item_id]
