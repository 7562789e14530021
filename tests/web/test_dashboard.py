from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from html import unescape

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from app.advice import ALERTS, REASONS
from app.bootstrap import WebLedger
from app.config import Settings
from app.db import Storage, upgrade_schema
from app.db.tables import destination_states, jobs, now_ms
from app.queue import accept, heartbeat, pagination
from app.queue.alerts import Alert, raise_alert
from app.queue.filters import JobFilter
from app.queue.search import find_event, list_events, list_jobs, show_job
from app.web import GUARDS, create_app
from app.web.auth import TRIES
from app.web.dashboard import session
from tests.browser.scene import EVIL, TOKEN, WORKER, Scene, fill, scene_settings
from tests.builders import make_destination, make_settings
from tests.queue.making import event
from tests.servers import Reply, ScriptedServer
from tests.traces import STATE, TRACE, TRACEPARENT
from tests.web.conftest import FakeLedger, Services

PAGES = ("/", "/events", "/dead", "/destinations")


@dataclass(frozen=True)
class Desk:
    """A browser without scripts, the ledger that it looks at, and what is in it."""

    client: FlaskClient
    storage: Storage
    scene: Scene

    def page(self, path: str) -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def csrf(self) -> str:
        return field(self.page("/destinations"), session.CSRF_FIELD)

    def press(self, path: str, **fields: str) -> TestResponse:
        return self.client.post(path, data={session.CSRF_FIELD: self.csrf(), **fields})

    def state(self, label: str, target: str) -> str:
        return show_job(self.storage, self.scene.jobs[label, target]).job.state


def field(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found
    return found[1]


def text_of(page: str) -> str:
    """What a person reads, in one line."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("<main")[2]).split())


def sign_in(client: FlaskClient, token: str = TOKEN, **fields: str) -> TestResponse:
    form = client.get("/login").text
    given = {session.CSRF_FIELD: field(form, session.CSRF_FIELD), "token": token, **fields}
    return client.post("/login", data=given)


def client_of(storage: Storage, settings: Settings) -> FlaskClient:
    return create_app(Services(settings, WebLedger(storage), storage)).test_client()


def opened(storage: Storage, settings: Settings | None = None) -> Desk:
    settings = settings or scene_settings()
    scene = fill(storage, settings)
    client = client_of(storage, settings)
    assert sign_in(client).status_code == 303
    return Desk(client, storage, scene)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """For tests that change nothing."""
    storage = Storage(f"sqlite:///{tmp_path_factory.mktemp('dashboard')}/relay.db")
    upgrade_schema(storage)
    yield opened(storage)
    storage.close()


@pytest.fixture
def stranger() -> FlaskClient:
    """A client that is not signed in; its database is never opened."""
    return create_app(Services(scene_settings(), FakeLedger())).test_client()


# Who gets in


@pytest.mark.parametrize(
    "path", [*PAGES, "/login", "/events/1", "/dead/group", "/assets/dashboard.css"]
)
def test_without_an_admin_token_there_is_no_dashboard(path: str) -> None:
    client = create_app(Services(make_settings(), FakeLedger())).test_client()
    assert client.get(path).status_code == 404


def test_every_page_and_action_sends_a_stranger_to_the_login(stranger: FlaskClient) -> None:
    rules = list(stranger.application.url_map.iter_rules())
    guarded = [r for r in rules if GUARDS[r.endpoint.rpartition(".")[0]] == "admin-session"]
    assert len(guarded) > 12
    for rule in guarded:
        path = re.sub(r"<int[^>]*>", "1", rule.rule).replace("<name>", "search")
        method = "POST" if "POST" in (rule.methods or ()) else "GET"
        answer = stranger.open(path, method=method)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (
            303,
            "/login",
        ), rule


def test_what_is_open_of_the_dashboard_is_the_door(stranger: FlaskClient) -> None:
    rules = stranger.application.url_map.iter_rules()
    doors = {rule.rule for rule in rules if rule.endpoint.startswith("dashboard-door.")}
    assert doors == {"/login", "/logout", "/assets/<path:filename>"}


def test_login_leads_to_the_page_that_was_asked_for(stranger: FlaskClient) -> None:
    answer = stranger.get("/events?label=Spring")
    assert answer.headers["Location"] == "/login?next=/events?label%3DSpring"
    assert sign_in(stranger, next="/events?label=Spring").headers["Location"] == (
        "/events?label=Spring"
    )


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "/\t/evil.example"]
)
def test_login_leads_nowhere_else(stranger: FlaskClient, path: str) -> None:
    assert sign_in(stranger, next=path).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("protocol", "secure"), [("", False), ("http", False), ("https", True), ("http, https", True)]
)
def test_session_cookie_is_strict_and_not_for_scripts(
    stranger: FlaskClient, protocol: str, *, secure: bool
) -> None:
    stranger.environ_base["HTTP_X_FORWARDED_PROTO"] = protocol
    cookies = sign_in(stranger).headers.getlist("Set-Cookie")
    cookie = next(each for each in cookies if each.startswith("dc_relay_session"))
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert ("Secure" in cookie) is secure
    assert "Domain" not in cookie


def test_session_ends_after_twelve_hours(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    client = desk.client.application.test_client()
    sign_in(client)

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(hours=12, seconds=1)

    assert client.get("/destinations").status_code == 200
    monkeypatch.setattr(session, "datetime", Later)
    assert client.get("/destinations").status_code == 303


def test_another_token_ends_every_session(desk: Desk) -> None:
    cookie = desk.client.get_cookie("dc_relay_session")
    assert cookie
    for token, status in ((TOKEN, 200), ("a-newer-token", 303)):
        other = client_of(desk.storage, scene_settings(admin_token=token))
        other.set_cookie("dc_relay_session", cookie.value)
        assert other.get("/dead").status_code == status


def test_wrong_token_is_refused_and_then_slowed_also_if_it_is_right(
    stranger: FlaskClient,
) -> None:
    for _ in range(TRIES):
        answer = sign_in(stranger, "a-guess")
        assert answer.status_code == 401
        assert "This is not the admin token" in answer.text
    slowed = sign_in(stranger)
    assert slowed.status_code == 429
    assert int(slowed.headers["Retry-After"]) > 0
    assert stranger.get("/dead").status_code == 303


def test_sign_out_ends_the_session(desk: Desk) -> None:
    client = desk.client.application.test_client()
    sign_in(client)
    token = field(client.get("/dead").text, session.CSRF_FIELD)
    assert client.post("/logout", data={session.CSRF_FIELD: token}).status_code == 303
    assert client.get("/dead").status_code == 303


# What proves a form


def test_every_form_that_posts_has_a_token(desk: Desk) -> None:
    event = f"/events/{desk.scene.events['Shop hero']}"
    group = "/dead/group?reason=destination-refused&action=forward&target=shop"
    for path in (*PAGES, event, group):
        forms = re.findall(r'<form method="post".*?</form>', desk.page(path), re.DOTALL)
        assert forms
        assert all(session.CSRF_FIELD in form for form in forms)


@pytest.mark.parametrize("token", [None, "", "another"])
def test_form_without_our_token_does_nothing(desk: Desk, token: str | None) -> None:
    form = {} if token is None else {session.CSRF_FIELD: token}
    for path in (
        f"/jobs/{desk.scene.jobs['Shop hero', 'shop']}/retry",
        f"/events/{desk.scene.events['Shop hero']}/replay",
        "/dead/retry",
        "/destinations/search/pause",
        "/logout",
    ):
        assert desk.client.post(path, data=form).status_code == 403
    assert desk.state("Shop hero", "shop") == "dead"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_form_from_another_site_does_nothing(desk: Desk, headers: dict[str, str]) -> None:
    form = {session.CSRF_FIELD: desk.csrf()}
    path = f"/jobs/{desk.scene.jobs['Shop hero', 'shop']}/retry"
    assert desk.client.post(path, data=form, headers=headers).status_code == 403
    assert desk.state("Shop hero", "shop") == "dead"


def test_login_form_needs_its_token(stranger: FlaskClient) -> None:
    assert stranger.post("/login", data={"token": TOKEN}).status_code == 403


def test_every_answer_has_a_strict_policy(desk: Desk, stranger: FlaskClient) -> None:
    answers = [desk.client.get(path) for path in (*PAGES, "/events/999999", "/assets/dashboard.js")]
    open_pages = ("/", "/login", "/api/v1/docs", "/api/v1/openapi.json")
    for answer in [*answers, *(stranger.get(path) for path in open_pages)]:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        answer.close()


def test_pages_ask_nobody_else_for_anything(desk: Desk) -> None:
    for path in PAGES:
        page = desk.page(path)
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page)
        assert not re.findall(r"<script(?! src)|<style|style=|\son[a-z]+=", page)


# What the pages say


def test_overview_says_what_is_wrong_and_how_much_there_is(desk: Desk) -> None:
    heartbeat(desk.storage, owner=WORKER, host="host-1", pid=41, running=[])
    said = text_of(desk.page("/"))
    assert "3 jobs were given up. See why, mend the cause, and retry." in said
    assert "shop fails, so its breaker is open." in said
    assert "site-build is paused. Its queue is kept until somebody resumes it." in said
    assert "No worker is running" not in said
    assert re.search(
        r"Received, 1 h 9 \d+ in 5 min .* Dead 3 wait for a person Workers 1 seen just now", said
    )
    assert "95 % within" in said
    assert "Spring banner" in said
    assert said.count("The numbers as a table") == 2


def test_empty_ledger_is_told_from_one_that_is_well(storage: Storage) -> None:
    client = client_of(storage, scene_settings())
    sign_in(client)
    said = text_of(client.get("/").text)
    assert "No worker is running" in said
    assert "Nothing has come in yet" in said
    assert "Nothing waits" in said


@pytest.mark.parametrize(
    ("search", "found", "missing"),
    [
        ("label=summer", "Summer sale", "Spring banner"),
        ("state=running", "Store finder", "Summer sale"),
        ("target=main", "Store finder", "Summer sale"),
        ("schema=banner.json", "Summer sale", "edition.published"),
        ("state=dead&target=shop", "Shop hero", "Store finder"),
        ("state=nonsense", "Summer sale", "Nothing was found"),
        ("label=%00summer", "Summer sale", "Spring banner"),
        ("event_id=nobody", "Nothing was found", "Summer sale"),
    ],
)
def test_search_finds_events(desk: Desk, search: str, found: str, missing: str) -> None:
    said = text_of(desk.page(f"/events?{search}"))
    assert found in said
    assert missing not in said


def test_search_that_looked_far_says_how_far(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "_WINDOW", 1)
    monkeypatch.setattr(pagination, "_WINDOWS", 2)
    newest = list_events(desk.storage).rows[0]
    assert newest.label
    found = text_of(desk.page(f"/events?label={newest.label}"))
    assert "events were looked through for this page. Older ones may match as well." in found
    nothing = desk.page("/events?label=nobody")
    assert "Nothing among the newest 100,000 events." in text_of(nothing)
    older = re.search(r'rel="next" href="([^"]+)"', nothing)
    assert older
    assert "Nothing among these 100,000 events." in text_of(desk.page(unescape(older[1])))


def test_search_by_item_finds_all_of_its_events(desk: Desk) -> None:
    page = desk.page(f"/events/{desk.scene.events['Spring banner']}")
    link = re.search(r'href="(/events\?item_id=[^"]+)"', page)
    assert link
    assert desk.page(link[1]).count("Spring banner</a>") == 2


def test_cursor_of_nobody_is_a_page_that_says_so(desk: Desk) -> None:
    answer = desk.client.get("/events?cursor=nonsense")
    assert answer.status_code == 422
    assert "Begin with the newest again" in answer.text


def test_event_tells_its_whole_story(desk: Desk) -> None:
    said = text_of(desk.page(f"/events/{desk.scene.events['Summer sale']}"))
    for told in (
        "Received",
        "its signature was right",
        "Rule “publish everywhere” asked for it",
        "Attempt 1: succeeded",
        "POST https://shop.example/*** answered 422 in 0.18 s (2312 bytes sent)",
        "Attempt 1: failed, given up",
        "Given up: https://shop.example/*** answered 422 destination-refused",
        f"What to do: {REASONS['destination-refused'].todo}.",
        "Given up. Mend the cause and retry it",
        "after it came",
        "a person cancelled it",
        "only the EU does not want it: it needs that $.payload.region in",
        "here it is missing",
        "&#34;rootContentItem&#34;",
    ):
        assert told in said, told


def test_event_says_in_short_how_each_job_stands(desk: Desk) -> None:
    page = desk.page(f"/events/{desk.scene.events['Summer sale']}")
    job = desk.scene.jobs["Summer sale", "shop"]
    assert f'href="#job-{job}">shop: dead</a>' in page
    assert "search: succeeded" in page


def test_alert_is_a_page_that_says_what_to_do(storage: Storage) -> None:
    desk = opened(storage)
    raise_alert(storage, Alert("id-conflict", "main e", "1", "Event e came again."), to=["shop"])
    page = desk.page(f"/events/{find_event(storage, 'alert:id-conflict:main e:1')}")
    said = text_of(page)
    assert f"Event e came again. What to do: {ALERTS['id-conflict'].todo}." in said
    assert "No rule was asked: this is no webhook." in said
    assert "/replay" not in page


def test_event_names_its_trace_where_it_has_one(storage: Storage) -> None:
    traced = event("a", trace=f"{TRACEPARENT} {STATE}")
    accept(storage, [(traced, []), (event("b"), [])])
    desk = opened(storage)
    first, second = (text_of(desk.page(f"/events/{number}")) for number in (1, 2))
    assert f"Trace {TRACE}" in first
    assert STATE not in first
    assert "Trace " not in second


def test_event_says_what_comes_next(desk: Desk) -> None:
    events = desk.scene.events
    assert "site-build is paused" in text_of(desk.page(f"/events/{events['Shop hero']}"))
    assert "something newer took its place. Job" in text_of(
        desk.page(f"/events/{events['Spring banner']}")
    )


def test_retry_that_waits_says_when(storage: Storage) -> None:
    desk = opened(storage)
    desk.press("/destinations/site-build/resume")
    said = text_of(desk.page(f"/events/{desk.scene.events['Shop hero']}"))
    assert re.search(r"Next try \d\d:\d\d:\d\d in 1 h 5\d min|Next try .* in 1 h 5\d min", said)


def test_what_comes_from_outside_is_text(desk: Desk) -> None:
    event = f"/events/{desk.scene.events[EVIL]}"
    group = "/dead/group?reason=destination-refused&action=forward&target=shop"
    search = "/events?label=%3Cscript%3Edocument"
    for path in ("/", "/events", event, "/dead", group, search):
        page = desk.page(path)
        assert "<script>document" not in page
        assert "<b>Bold" not in page
        assert "&lt;script&gt;document" in page


def test_raw_body_is_plain_text(desk: Desk) -> None:
    answer = desk.client.get(f"/events/{desk.scene.events[EVIL]}/body")
    assert answer.content_type == "text/plain; charset=utf-8"
    assert EVIL in answer.text


@pytest.mark.parametrize("path", ["/events/999999", "/jobs/999999", "/events/99999999999999999999"])
def test_what_is_not_there_is_a_page_that_says_so(desk: Desk, path: str) -> None:
    answer = desk.client.get(path)
    assert answer.status_code == 404


def test_job_leads_to_its_place_in_the_event(desk: Desk) -> None:
    job = desk.scene.jobs["Summer sale", "shop"]
    event = desk.scene.events["Summer sale"]
    assert desk.client.get(f"/jobs/{job}").headers["Location"] == f"/events/{event}#job-{job}"


def test_dead_letters_are_grouped_by_reason(desk: Desk) -> None:
    page = desk.page("/dead")
    said = text_of(page)
    assert "3 forward → shop destination-refused Retry all 3" in said
    assert f"What to do: {REASONS['destination-refused'].todo}." in said
    assert "Newest: <" not in said
    link = re.search(r'href="(/dead/group[^"]+)"', page)
    assert link
    said = text_of(desk.page(link[1].replace("&amp;", "&")))
    assert "Retry 3 dead jobs" in said
    assert "What to do:" in said
    assert "Shop hero" in said


def test_group_is_retried_from_the_list_of_groups(storage: Storage) -> None:
    desk = opened(storage)
    page = desk.page("/dead")
    [form] = re.findall(r'(?s)<form method="post" action="/dead/retry".*?</form>', page)
    fields = {name: field(form, name) for name in ("reason", "action", "target")}
    answer = desk.press("/dead/retry", **fields)
    assert answer.headers["Location"] == "/dead"
    assert "No job waits for you." in desk.page("/dead")


def test_destinations_show_state_and_queue(desk: Desk) -> None:
    said = text_of(desk.page("/destinations"))
    assert re.search(r"shop breaker open http://127.0.0.1:9/… not signed, 32 at once", said)
    assert re.search(r"5 failures in a row: the breaker is open since", said)
    assert re.search(r"site-build paused .* Paused .* rebuild of the site, until Monday", said)


def test_probe_of_a_destination_is_never_in_the_past(storage: Storage) -> None:
    desk = opened(storage)
    waiting = list_jobs(storage, JobFilter(state="waiting", target="shop")).rows[0]
    event = f"/events/{waiting.event}"
    for minutes, told in ((-1, ", as soon as a worker is free"), (1, r" \d\d:\d\d:\d\d in")):
        with storage.write() as connection:
            due = now_ms() + minutes * 60_000
            connection.execute(update(destination_states).values(probe_at=due))
        assert re.search(f"see whether it is back{told}", text_of(desk.page(event)))
        assert not re.search(r"is back[^.]* ago", text_of(desk.page("/destinations")))


def test_late_queue_is_a_trouble_unless_its_destination_is_held(storage: Storage) -> None:
    desk = opened(storage)
    with storage.write() as connection:
        waits = jobs.c.state == "waiting"
        connection.execute(update(jobs).where(waits).values(run_at=now_ms() - 400_000))
    said = text_of(desk.page("/"))
    assert "Jobs of forward for search are 6 min 40 s late" in said or "are 6 min late" in said
    assert "Jobs of forward for site-build" not in said


def test_live_answer_leaves_out_what_cannot_change(desk: Desk) -> None:
    path = f"/events/{desk.scene.events['Summer sale']}"
    live = desk.client.get(path, headers={"X-Live": "1"}).text
    assert "What happened" in live
    assert "rootContentItem" not in live


def test_live_request_of_a_stranger_is_refused_without_a_form(stranger: FlaskClient) -> None:
    assert stranger.get("/", headers={"X-Live": "1"}).status_code == 401


def test_ledger_that_is_away_is_a_page_that_says_so(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    storage = Storage(f"sqlite:///{tmp_path_factory.mktemp('away')}/none/relay.db")
    client = create_app(Services(scene_settings(), FakeLedger(), storage)).test_client()
    sign_in(client)
    answer = client.get("/")
    assert answer.status_code == 503
    assert "The database does not answer" in answer.text


# What a person does


def test_every_page_and_action_works_on_this_database(storage: Storage) -> None:
    desk = opened(storage)
    for path in (*PAGES, *(f"/events/{each}" for each in desk.scene.events.values())):
        desk.page(path)
    assert desk.press(f"/jobs/{desk.scene.jobs['Shop hero', 'shop']}/retry").status_code == 303
    assert desk.state("Shop hero", "shop") == "waiting"
    assert desk.press(f"/jobs/{desk.scene.jobs['Shop hero', 'shop']}/cancel").status_code == 303
    assert desk.state("Shop hero", "shop") == "cancelled"
    answer = desk.press(f"/events/{desk.scene.events['Shop hero']}/replay")
    assert "The event is replayed: 2 new jobs. 1 job of it waited" in text_of(
        desk.page(answer.headers["Location"])
    )


def test_group_is_retried_and_nothing_else(storage: Storage) -> None:
    desk = opened(storage)
    answer = desk.press(
        "/dead/retry", reason="destination-refused", action="forward", target="shop"
    )
    assert answer.headers["Location"] == "/dead"
    assert "3 jobs will be tried again now." in text_of(desk.page("/dead"))
    for label in ("Shop hero", "Summer sale", EVIL):
        assert desk.state(label, "shop") == "waiting"
    assert desk.state("Summer sale", "site-build") == "cancelled"


def test_empty_group_retries_nothing(storage: Storage) -> None:
    desk = opened(storage)
    desk.press("/dead/retry")
    assert desk.state("Shop hero", "shop") == "dead"


def test_pause_and_resume(storage: Storage) -> None:
    desk = opened(storage)
    desk.press("/destinations/search/pause", reason="a new index <is> built")
    assert "Paused" in text_of(desk.page("/destinations"))
    assert "a new index &lt;is&gt; built" in desk.page("/destinations")
    desk.press("/destinations/search/resume")
    assert "search flowing" in text_of(desk.page("/destinations"))


def test_destination_that_is_not_configured_cannot_be_paused(desk: Desk) -> None:
    answer = desk.press("/destinations/nobody/pause")
    assert answer.status_code == 404
    assert "destination-unknown" in answer.text


def test_running_job_cannot_be_retried(desk: Desk) -> None:
    answer = desk.press(f"/jobs/{desk.scene.jobs['Store finder', 'main']}/retry")
    assert answer.status_code == 409
    assert "is running" in answer.text


def test_test_of_a_destination_tells_its_answer(storage: Storage) -> None:
    server = ScriptedServer(lambda _: Reply(status=418, body=b"short and stout"))
    try:
        place = make_destination("search", url=server.url)
        desk = opened(storage, scene_settings(destinations=(place,)))
        desk.press("/destinations/search/test")
    finally:
        server.close()
    said = text_of(desk.page("/destinations"))
    assert "search did not take the test" in said
    assert "answered 418" in said
    assert [request.json["type"] for request in server.received] == ["dc-relay.test"]
