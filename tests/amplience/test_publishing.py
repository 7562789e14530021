"""Publish, unpublish, and the job that only a header names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.amplience.management import ManagementClient
from app.errors import NotFound, RateLimited, Refused, Unauthorized, Unavailable
from tests.amplience.conftest import Serve
from tests.servers import Reply, json_reply

Connect = Callable[..., ManagementClient]
ITEM = "5b0e6d3a-7c1f-4c0e-9e55-1f2a3b4c5d6e"
JOB = "65f1a0c2d3e4f50001a2b506"


@pytest.mark.parametrize(
    ("headers", "job"),
    [
        ({"Location": f"https://api.amplience.net/v2/content/publishing-jobs/{JOB}"}, JOB),
        ({"location": f"/v2/content/publishing-jobs/{JOB}"}, JOB),
        ({"LOCATION": f"http://elsewhere.example/publishing-jobs/{JOB}?a=b"}, JOB),
        ({"Location": f"https://api.amplience.net/publishing-jobs/{JOB}/more"}, JOB),
        ({"Location": "https://api.amplience.net/v2/content/publishing-jobs/"}, None),
        ({"Location": "https://api.amplience.net/v2/content/publishing-jobs/a%2Fb"}, None),
        ({}, None),
    ],
)
def test_publishing_job_is_named_by_the_header(
    serve: Serve, management: Connect, headers: dict[str, str], job: str | None
) -> None:
    server = serve(lambda _: Reply(202, headers=headers))
    assert management(server.url).publish(ITEM) == job
    (request,) = server.received
    assert (request.method, request.path) == ("POST", f"/v2/content/content-items/{ITEM}/publish")
    assert request.json == {}


def test_address_of_the_job_is_not_called(serve: Serve, management: Connect) -> None:
    other = serve(lambda _: json_reply({"id": JOB, "state": "COMPLETED"}))
    where = {"Location": f"{other.url}/v2/content/publishing-jobs/{JOB}"}
    ours = serve(
        lambda asked: (
            Reply(202, headers=where) if asked.method == "POST" else json_reply({"id": JOB})
        )
    )
    client = management(ours.url)
    job_id = client.publish(ITEM)
    assert job_id is not None
    assert client.publishing_job(job_id).id == JOB
    assert ours.received[1].path == f"/v2/content/publishing-jobs/{JOB}"
    assert other.received == []


def test_redirect_of_a_publish_is_not_followed(serve: Serve, management: Connect) -> None:
    other = serve(lambda _: Reply(202))
    ours = serve(lambda _: Reply(307, headers={"Location": f"{other.url}/publish"}))
    with pytest.raises(Refused):
        management(ours.url).publish(ITEM)
    assert other.received == []


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        ("CREATED", False),
        ("PREPARING", False),
        ("WAITING", False),
        ("PUBLISHING", False),
        ("COMPLETED", True),
        ("FAILED", True),
        ("CANCELLED", True),
        (None, False),
    ],
)
def test_job_has_ended_in_three_states(
    serve: Serve, management: Connect, state: str | None, ended: bool
) -> None:
    body = {"id": JOB, "state": state, "publishErrorStatus": "TIMEOUT"}
    job = management(serve(lambda _: json_reply(body)).url).publishing_job(JOB)
    assert (job.state, job.ended, job.problem) == (state, ended, "TIMEOUT")


@pytest.mark.parametrize("status", [200, 202, 204])
def test_unpublish_needs_no_body_back(serve: Serve, management: Connect, status: int) -> None:
    server = serve(lambda _: Reply(status, b"" if status == 204 else b"not JSON"))
    management(server.url).unpublish(ITEM)
    (request,) = server.received
    assert (request.method, request.path) == ("POST", f"/v2/content/content-items/{ITEM}/unpublish")
    assert request.json == {}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Refused), (403, Unauthorized), (404, NotFound), (429, RateLimited), (502, Unavailable)],
)
def test_failed_publish_and_unpublish_raise_what_fits(
    serve: Serve, management: Connect, status: int, kind: type[Exception]
) -> None:
    client = management(serve(lambda _: Reply(status, headers={"Retry-After": "7"})).url)
    for ask in (client.publish, client.unpublish):
        with pytest.raises(kind) as caught:
            ask(ITEM)
        if isinstance(caught.value, RateLimited):
            assert caught.value.retry_after == 7
        if isinstance(caught.value, Unavailable):
            assert caught.value.maybe_done
